"""What a premise may be: every form of it, what is refused, and how errors say so."""

import io

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from datasets import Audio, Dataset, Video

from modeling_clue.media import MediaError, load_video
from modeling_clue.modalities import MODALITIES
from tests.modeling_clue.processors import assert_same, rebuilt


def test_every_form_of_a_sound_is_the_same(processor, clips):
    """A path, bytes, an open file, an array with its rate and a row of `datasets` give the same inputs."""
    expected = processor(clips.sound, "It is high.")
    waveform, rate = soundfile.read(clips.sound, dtype="float32")
    data = clips.sound.read_bytes()
    forms = [
        data,
        {"audio": str(clips.sound)},
        {"audio": clips.sound},
        {"audio": io.BytesIO(data)},
        {"audio": {"bytes": data, "path": None}},
        {"audio": {"bytes": None, "path": str(clips.sound)}},
        {"audio": {"array": waveform, "sampling_rate": rate}},
        {"audio": {"array": waveform.tolist(), "sampling_rate": rate}, "video": None, "text": None},
    ]
    for form in forms:
        inputs = processor(form, "It is high.")
        assert inputs.modalities == ["audio"]
        assert_same(inputs, expected)


def test_every_form_of_a_video_is_the_same(processor, clips):
    """A path, bytes, an open file, frames with their rate and a row of `datasets` give the same inputs."""
    expected = processor(clips.silent, "It is red.")
    assert expected.modalities == ["video"]
    frames = load_video(clips.silent, fps=25, max_frames=100).frames
    data = clips.silent.read_bytes()
    forms = [
        data,
        {"video": str(clips.silent)},
        {"video": io.BytesIO(data)},
        {"video": {"bytes": data, "path": "clip.mp4"}},
        {"video": {"frames": frames, "fps": 25}},
    ]
    for form in forms:
        assert_same(processor(form, "It is red."), expected)


@pytest.mark.parametrize("stored", ["paths", "bytes"])
def test_rows_of_a_dataset_are_premises(processor, clips, premises, stored):
    """Rows with undecoded media columns are premises as they are; columns of other modalities are None."""
    media = str if stored == "paths" else lambda path: {"bytes": path.read_bytes(), "path": path.name}
    none = {"premise": None, "audio": None, "video": None}
    rows = Dataset.from_list(
        [
            none | {"modality": "text", "premise": premises["text"]},
            none | {"modality": "audio", "audio": media(clips.sound)},
            none | {"modality": "video", "video": media(clips.silent)},
            none | {"modality": "audiovisual", "video": media(clips.talkie)},
        ]
    )
    rows = rows.cast_column("audio", Audio(decode=False)).cast_column("video", Video(decode=False))
    inputs = processor(list(rows), ["It is red."] * 4)
    assert inputs.modalities == list(MODALITIES)
    assert_same(inputs, processor([premises[name] for name in MODALITIES], ["It is red."] * 4))


def test_modality_decides_what_of_a_clip_is_used(processor, clips):
    """The same file is frames alone, sound alone, or both; a sound given beside it takes the place of its own."""
    talkie = str(clips.talkie)
    frames = processor({"video": talkie}, "Red.")
    sound = processor({"video": talkie, "modality": "audio"}, "Red.")
    both = processor({"video": talkie, "modality": "audiovisual"}, "Red.")
    dubbed = processor({"video": talkie, "audio": str(clips.sound)}, "Red.")
    assert [inputs.modalities[0] for inputs in (frames, sound, both, dubbed)] == [
        "video",
        "audio",
        "audiovisual",
        "audiovisual",
    ]
    assert "input_features" not in frames and "pixel_values_videos" not in sound
    assert_same(sound, processor({"audio": talkie}, "Red."))
    assert torch.equal(both["pixel_values_videos"], frames["pixel_values_videos"])
    assert torch.equal(both["input_features"], sound["input_features"])
    assert torch.equal(dubbed["input_features"], processor(clips.sound, "Red.")["input_features"])


def test_modality_of_a_path_in_a_row_counts(processor, clips):
    """A path under `premise` is the clip that the row's modality speaks of."""
    talkie = {"premise": clips.talkie, "modality": "audiovisual"}
    expected = {"video": clips.talkie, "modality": "audiovisual"}
    assert_same(processor(talkie, "It is red."), processor(expected, "It is red."))


@pytest.mark.parametrize("empty", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, "", " "], ids=repr)
def test_empty_cells_count_as_missing(processor, clips, empty):
    """A column that a row does not use may hold whatever stands for nothing."""
    columns = dict.fromkeys(("text", "premise", "audio", "video", "modality"), empty)
    expected = processor("An urn.", "It is red.")
    for row in (columns | {"text": "An urn."}, columns | {"premise": "An urn.", "probability": 0.5}):
        assert_same(processor(row, "It is red."), expected)
        assert_same(processor(pd.Series(row, dtype=object), "It is red."), expected)
    path = str(clips.sound)
    for sound in (np.array(path), {"bytes": None if isinstance(empty, str) else empty, "path": path}):
        assert_same(processor(columns | {"audio": sound}, "It is red."), processor(clips.sound, "It is red."))
    with pytest.raises(ValueError, match="not empty|none of them"):
        processor(columns, "It is red.")


@pytest.mark.parametrize(
    "column",
    [
        tuple,
        np.array,
        lambda texts: np.array(texts, object),
        pd.Series,
        lambda texts: pd.Series(texts).array,
        pd.Index,
    ],
)
def test_columns_are_lists(processor, column):
    """Hypotheses, and premises, may be a column of numpy, pandas or `datasets`."""
    texts = ["It is red.", "It is blue."]
    assert_same(processor("An urn.", column(texts)), processor("An urn.", texts))
    assert_same(processor(column(["An urn.", "A bag."]), column(texts)), processor(["An urn.", "A bag."], texts))
    assert_same(processor(np.array("An urn."), np.array("It is red.")), processor("An urn.", "It is red."))


@pytest.mark.parametrize(
    ("premise", "message"),
    [
        ("", "text of a premise .* not empty"),
        (" \n", "text of a premise .* not empty"),
        ("\ud800", "lone surrogate"),
        ({"text": ""}, "not empty"),
        ({}, "none of them"),
        ({"premise": None, "audio": None}, "none of them.*premise, audio"),
        ({"modality": "audio", "text": "An urn."}, "said to be audio but has none"),
        ({"modality": "video", "audio": "a.wav"}, "said to be video but has none"),
        ({"modality": "audiovisual", "audio": "a.wav"}, "said to be audiovisual but has none"),
        ({"modality": "text", "video": "a.mp4"}, "said to be text but has none"),
        ({"modality": "smell", "text": "An urn."}, "'smell'"),
        ({"text": "An urn.", "audio": "a.wav"}, r"'text\+audio'"),
        (np.zeros(16000, np.float32), "sampling_rate"),
        ({"audio": np.zeros(16000, np.float32)}, "sampling_rate"),
        ({"audio": {"array": np.zeros(16000, np.float32)}}, "sampling_rate"),
        ({"audio": {"array": np.zeros(100, np.float32), "sampling_rate": 16000}}, "too short"),
        ({"audio": "no/such.wav"}, "no/such.wav"),
        (b"not a clip at all", "bytes"),
        (3, "int"),
        (None, "NoneType"),
    ],
)
def test_premises_that_cannot_be_used(processor, premise, message):
    """The error says what is wrong; among several premises it says which, and is of the same kind."""
    with pytest.raises(ValueError, match=message) as alone:
        processor(premise, "It is red.")
    with pytest.raises(type(alone.value), match=f"^Premise 1: (.|\n)*{message}"):
        processor(["An urn.", premise], ["It is red."] * 2)


@pytest.mark.parametrize(
    "name",
    [
        "clip.mp4",
        " clip.mp4\r\n",
        "/srv/my clips/a.WAV",
        "C:\\clips\\a b.mov",
        "./a.flac",
        "/data/clips/0001",
        "../notes.txt",
        "file:///srv/my clips/a.wav",
        "https://example.org/watch?v=1",
        "s3://bucket/a.mp4",
        "data:audio/wav;base64,AA AA",
        "aB3/" * 100,
        "\r\n".join(["aB3/" * 19] * 9 + ["aB3="]),
    ],
)
@pytest.mark.parametrize("form", ["str", "text", "premise"])
def test_the_name_of_a_file_is_no_text(processor, name, form):
    """A clip's name given as a text is refused with the ways to give a clip, unless the letters are said to be meant:
    then a note tells."""
    with pytest.raises(ValueError, match="is the name of a file.*'video'"):
        processor.encode_premise(name if form == "str" else {form: name})
    if form != "str":
        meant = processor.encode_premise({form: name, "modality": "text"})
        assert meant.text == name and "letters are judged" in meant.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "He saved it as clip.mp4",
        "See main.wav for the sound.",
        "9/10",
        "and/or",
        "Rain.",
        "e.g.",
        "Data: 3 red.",
        "/s",
        "/ and \\ are strokes.",
        "\n".join(f"Ball{number}\nRed" for number in range(60)),
    ],
)
def test_sentences_about_files_are_texts(processor, text):
    """What is a sentence stays one."""
    premise = processor.encode_premise(text)
    assert premise.text == text and premise.notes == ()


def test_names_of_files_that_are_here(processor, tmp_path, monkeypatch):
    """Only under the working directory files are looked for: a clip by its name is refused, another file is noted, and
    a path that leads elsewhere is noted whether or not there is a file."""
    folder = tmp_path / "here"
    folder.mkdir()
    for path in (folder / "my clip.mp4", folder / "README", folder / "my notes", tmp_path / "secret word"):
        path.touch()
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match="is the name of a file"):
        processor.encode_premise("my clip.mp4")
    for here in ("README", "my notes", "./my notes"):
        assert "name of a file" in processor.encode_premise(here).notes[0]
    for missing in ("no clip.mp4", "no notes", "./no notes"):
        assert processor.encode_premise(missing).notes == ()
    for elsewhere in ("x/../../secret word", "../secret word", f"{tmp_path}/secret word", "~/my words"):
        (note,) = processor.encode_premise(elsewhere).notes
        assert processor.encode_premise(elsewhere.replace("word", "sound")).notes == (note,)


@pytest.mark.parametrize("source", ["data:audio/wav;base64," + "A" * 9000, "A" * 9000, "x" * 300 + ".wav"])
def test_errors_can_be_read(processor, source):
    """No error holds what was given when that is a whole file."""
    with pytest.raises(MediaError) as error:
        processor.encode_premise({"audio": source})
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    "row",
    [
        {"k" * 9000: 1},
        dict.fromkeys(map(str, range(9000))),
        {"modality": "m" * 9000, "text": "An urn."},
        {"text": "x" * 9000 + "\ud800"},
        {"text": ["x" * 9000]},
        {"premise": "data:audio/wav;base64," + "A" * 9000},
        {"video": {"frames": np.zeros((4, 2, 402, 3), np.uint8), "fps": 1, "path": "x" * 9000}},
    ],
    ids=lambda row: next(iter(row))[:10],
)
def test_errors_about_rows_are_short(processor, row):
    """No error holds the whole of what was given, alone or among other premises; nor do those about hypotheses,
    options and prompts."""
    for premises, hypotheses in ((row, "Red."), ([row, "An urn."], ["Red.", "Red."])):
        with pytest.raises(ValueError) as error:
            processor(premises, hypotheses)
        assert len(str(error.value)) <= 500
    long = "x" * 9000
    for call in (
        lambda: processor("An urn.", [[long]]),
        lambda: processor("An urn.", [long + "\ud800"]),
        lambda: processor("An urn.", "Red.", fps=long),
        lambda: processor("An urn.", "Red.", **{long: 1}),
        lambda: rebuilt(processor, prompt={"premise": long, "hypothesis": long}),
        lambda: rebuilt(processor, prompt={long: long}),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert len(str(error.value)) <= 500
