"""A premise that is a combination of parts: built, loaded, streamed, released and restored as it was given."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from datasets import List, Video, load_dataset
from PIL import Image

from common.errors import InputError
from datasets_scripts.building.drafts import Clip, Draft, new_row
from datasets_scripts.building.writer import write_config
from datasets_scripts.load import load_split, stream_split
from datasets_scripts.releasing.labels_only import write_labels_only
from datasets_scripts.schema import FEATURES, MEDIA_COLUMNS, ROWS_FILE, combination
from datasets_scripts.sources import restore
from datasets_scripts.sources.urn_media import write_video
from datasets_scripts.teachers.labels import _own_media
from modeling_clue.modalities import parts_of_row
from tests.datasets_scripts.sources.reading import drafts_of


PLAN = {"source": "made-up"}
PART_MEDIA = ("image", "audio", "video")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A picture, a sound and a video."""
    folder = tmp_path_factory.mktemp("clips")
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "map.png")
    soundfile.write(folder / "tone.flac", 0.3 * np.sin(np.arange(16_000) * 0.1), 16_000)
    write_video(folder / "scene.mp4", ["red", "blue"], ["high", "low"], np.random.default_rng(0))
    return {path.stem: Clip(path, path.name) for path in sorted(folder.iterdir())}


def draft(number: int, *parts: tuple, **changes) -> Draft:
    """A draft about a combination."""
    row = new_row(
        id=f"row-{number}",
        source="made-up",
        hypothesis=f"Hypothesis {number}.",
        probability=0.5,
        probability_source="human",
    )
    return Draft(f"table row {number}", row | (combination(*parts) if parts else {}) | changes)


def combinations(clips: dict[str, Clip]) -> list[Draft]:
    """Combinations of every kind, one of them twice, and rows that are none."""
    picture, tone, scene = clips["map"], clips["tone"], clips["scene"]
    story = ("text", "It is the year 1900.")
    return [
        draft(1, story, ("audiovisual", scene)),
        draft(2, story, ("audiovisual", scene)),
        draft(3, ("audio", tone), story, ("audio", tone)),
        draft(4, ("image", picture)),
        draft(5, ("image", picture), ("audio", tone)),
        draft(6, ("video", scene), story),
        draft(7, modality="audio", audio=tone),
        draft(8, modality="text", premise="A text."),
    ]


@pytest.fixture(scope="module")
def built(clips, tmp_path_factory):
    """A folder with a config of them."""
    folder = tmp_path_factory.mktemp("built") / "umui"
    write_config(folder, "both", {"test": combinations(clips)}, PLAN, workers=2)
    return folder


def contents(row: dict) -> list:
    """What the parts of a row are, with the bytes of their clips."""
    return [
        (part["modality"], part["text"], *map(content, (part[name] for name in PART_MEDIA if part.get(name))))
        for part in (parts_of_row(row) if row["parts"] else [])
    ]


def content(clip: Clip | dict) -> bytes:
    """The bytes of a clip."""
    if isinstance(clip, Clip):
        return clip.path.read_bytes()
    return clip["bytes"] or Path(clip["path"]).read_bytes()


def test_parts_come_back_as_they_were(clips, built, tmp_path):
    """Loaded by this project, streamed, and loaded by the library, which knows nothing of parts."""
    wanted = [contents(one.row) for one in combinations(clips)]
    assert list(map(len, wanted)) == [2, 2, 3, 1, 2, 2, 0, 0]
    rows = load_split(str(built), "both", "test")
    assert rows.features == FEATURES and [contents(row) for row in rows] == wanted
    assert [contents(row) for row in stream_split(str(built), "both", "test")] == wanted
    theirs = load_dataset(str(built), "both", split="test", cache_dir=str(tmp_path / "theirs"))
    for name in MEDIA_COLUMNS:
        theirs = theirs.cast_column(name, Video(decode=False))
    theirs = theirs.cast_column("part_clips", List(Video(decode=False)))
    assert [contents(row) for row in theirs] == wanted
    assert len(list((built / "both/test/media").iterdir())) == 3  # each clip once


def test_what_cannot_be_combined_is_reported(clips, tmp_path):
    """Each with the place it is from and what is wrong."""
    text, tone = ("text", "It is late."), ("audio", clips["tone"])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    parts = draft(1, text, tone).row["parts"]
    for wrong, complaint in (
        (draft(1, text, text), "parts that are all text are one text"),
        (draft(1, tone), "one part alone is no combination"),
        (draft(1, text, tone, modality="video"), "the modality of text, audio is audio, got video"),
        (draft(1, text, tone, premise="A text."), "a premise of parts must leave premise empty"),
        (draft(1, text, tone, parts=[parts[0], {"modality": "smell", "text": None}]), "part 2 must have a modality"),
        (draft(1, text, tone, parts=[parts[0], parts[1] | {"text": "A tone."}]), "part 2, of modality audio, can't"),
        (draft(1, ("text", " "), tone), "part 1, of modality text, can't have the text ' '"),
        (draft(1, text, tone, part_clips=[]), "1 parts need a clip, got"),
        (draft(1, text, tone, part_clips=[tone[1], tone[1]]), "1 parts need a clip, got"),
        (draft(1, tone, ("image", Clip(broken, "broken.png"))), "broken.png"),
        (draft(1, text, ("audiovisual", clips["tone"])), "tone.flac"),
    ):
        with pytest.raises(InputError, match=complaint):
            write_config(tmp_path / "umui", "both", {"test": [wrong]}, PLAN)
        assert not (tmp_path / "umui/both").exists()


def test_a_combination_is_of_one_split(clips, tmp_path):
    """The same parts are the same premise, whatever their files are called; in another order they are another."""
    copy = tmp_path / "copy.flac"
    copy.write_bytes(clips["tone"].path.read_bytes())
    text, tone, twin = ("text", "It is late."), ("audio", clips["tone"]), ("audio", Clip(copy, "copy.flac"))
    splits = {"train": [draft(1, text, twin)], "test": [draft(2, text, tone)]}
    with pytest.raises(InputError, match="its premise is that of table row 2, in the test split"):
        write_config(tmp_path / "umui", "both", splits, PLAN)
    splits["train"] = [draft(1, twin, text)]
    assert write_config(tmp_path / "umui", "both", splits, PLAN).splits["train"]["premises"] == 1


def test_labels_released_without_clips_are_joined_again(clips, built, tmp_path):
    """Every part finds its own clip by its name, and the config is as it was built."""
    whole = built / "both/test" / ROWS_FILE
    released = tmp_path / "hub/both/test" / ROWS_FILE
    released.parent.mkdir(parents=True)
    write_labels_only(whole, released)
    options = ["--dataset", tmp_path / "hub", "--dataset-config", "both", "--clips", clips["map"].path.parent]
    *drafts, text = drafts_of(restore, *options)["both"]["test"]
    assert "clip must be a file name, got None" in text.complaint
    rows = [one.row for one in drafts]
    assert [contents(row) for row in rows] == [contents(one.row) for one in combinations(clips)][:7]


def test_a_teacher_is_asked_about_the_same_files(clips, built):
    """A config with a teacher's answers has the clips of the first, under names of its own."""
    new = built / "again/test"
    (new / "media").mkdir(parents=True)
    rows = load_split(str(built), "both", "test")
    row = _own_media(rows[4], built / "both/test", new)
    assert row["part_clips"] == ["media/map.mkv.png", "media/tone.mkv.flac"]
    assert all((new / name).samefile(built / "both/test" / name) for name in row["part_clips"])
