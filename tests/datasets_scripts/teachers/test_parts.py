"""The parts that ask a teacher: its messages, its pauses, its counts, its executor."""

import base64
import io
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import dill
import numpy as np
import pytest
import soundfile
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from PIL import Image

from chat.client import ChatClient, FailureCounter, RunStoppedError, read_sending_options, waiting_seconds
from chat.media import UnfitPairError
from chat.messages import chat_messages, question
from chat.rubrics import rubric
from datasets_scripts.building.drafts import new_row
from datasets_scripts.schema import combination
from datasets_scripts.teachers.ask import Counts, make_executor, parse_arguments
from datasets_scripts.teachers.engine import AskTeacher, Pairs, Question
from modeling_clue.media import load_audio, load_video


MANY = 10**9


def row(modality: str, path: Path | None = None, data: bytes | None = None) -> dict:
    """A row as `load_split` gives it."""
    media = {"path": str(path), "bytes": data}
    columns = {"text": {"premise": "A dog."}, "audio": {"audio": media}}.get(modality, {"video": media})
    return new_row(id="row-1", modality=modality, hypothesis="A dog barks.", **columns)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """A folder with a sound in three formats, a video with sound, one without, and a file that is neither."""
    folder = tmp_path_factory.mktemp("umui")
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 8000)
    soundfile.write(folder / "sound.wav", noise, 8000)
    soundfile.write(folder / "sound.flac", noise, 8000)
    soundfile.write(folder / "sound.mp3", noise, 8000)
    for name, sound in (("talkie", True), ("silent", False)):
        with av.open(str(folder / f"{name}.mp4"), "w") as output:
            pictures = output.add_stream("libx264", rate=10)
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
            track = output.add_stream("aac", rate=16000, layout="mono") if sound else None
            for index in range(10):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * index, np.uint8), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 10)
                output.mux(pictures.encode(frame))
            output.mux(pictures.encode(None))
            if track is not None:
                piece = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), format="s16", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = 16000, 0, Fraction(1, 16000)
                output.mux(track.encode(piece))
                output.mux(track.encode(None))
    (folder / "broken.flac").write_bytes(b"fLaC and no more")
    (folder / "page.html").write_text("<html>")
    return folder


def test_a_text_premise_is_one_string(dataset):
    """The content is the rubric itself, which every server takes."""
    assert chat_messages(row("text"), dataset, MANY) == [{"role": "user", "content": rubric(row("text"))}]


@pytest.mark.parametrize("name", ["sound.wav", "sound.mp3", "sound.flac"])
def test_sound_goes_as_wav_or_mp3(dataset, name):
    """WAV and MP3 arrive byte by byte; another format as a WAV file with the same sound."""
    (message,) = chat_messages(row("audio", dataset / name), dataset, MANY)
    sound, text = message["content"]
    assert text == {"type": "text", "text": rubric(row("audio"))}
    assert sound["type"] == "input_audio"
    data = base64.b64decode(sound["input_audio"]["data"])
    if name != "sound.flac":
        assert sound["input_audio"]["format"] == name[-3:]
        assert data == (dataset / name).read_bytes()
    else:
        assert sound["input_audio"]["format"] == "wav"
        waveform, rate = soundfile.read(io.BytesIO(data))
        expected = load_audio(dataset / name, sampling_rate=16000).waveform
        assert rate == 16000
        np.testing.assert_allclose(waveform, expected, atol=2 / 32768)


@pytest.mark.parametrize(
    ("modality", "kinds"), [("video", ["video_url"]), ("audiovisual", ["video_url", "input_audio"])]
)
def test_video_goes_as_it_is_and_its_sound_beside_it(dataset, modality, kinds):
    """The data address holds the file; an audiovisual premise's sound is that of the file."""
    (message,) = chat_messages(row(modality, dataset / "talkie.mp4"), dataset, MANY)
    *media, text = message["content"]
    assert text == {"type": "text", "text": rubric(row(modality))}
    assert [part["type"] for part in media] == kinds
    head, _, data = media[0]["video_url"]["url"].partition(",")
    assert head == "data:video/mp4;base64"
    assert base64.b64decode(data) == (dataset / "talkie.mp4").read_bytes()
    assert load_video(base64.b64decode(data), fps=1, max_frames=8).frames.shape[1:] == (48, 64, 3)
    if kinds[1:]:
        waveform, rate = soundfile.read(io.BytesIO(base64.b64decode(media[1]["input_audio"]["data"])))
        assert rate == 16000
        assert len(waveform) == pytest.approx(16000, abs=1100)


def combined(dataset: Path, *parts: tuple) -> dict:
    """A row about a combination, as `load_split` gives it."""
    clips = {content: {"path": str(dataset / content), "bytes": None} for kind, content in parts if kind != "text"}
    columns = combination(*((kind, clips.get(content, content)) for kind, content in parts))
    return new_row(id="row-1", hypothesis="A dog barks.", **columns)


def test_parts_go_in_their_order_each_under_its_name(dataset):
    """Texts, pictures, sounds and videos stand before the prompt, which speaks of the material."""
    Image.new("RGB", (8, 6), "red").save(dataset / "map.png")
    given = combined(
        dataset, ("text", "It is late."), ("image", "map.png"), ("audio", "sound.flac"), ("audiovisual", "talkie.mp4")
    )
    (message,) = chat_messages(given, dataset, MANY)
    *parts, last = message["content"]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    assert texts == [
        "Part 1 of the material, a text:\nIt is late.",
        "Part 2 of the material, a picture:",
        "Part 3 of the material, a recording:",
        "Part 4 of the material, a video with its sound:",
    ]
    kinds = ["text", "text", "image_url", "text", "input_audio", "text", "video_url", "input_audio"]
    assert [part["type"] for part in parts] == kinds
    assert last["text"] == rubric(given) and "the material" in last["text"] and "the video" not in last["text"]
    address = parts[2]["image_url"]["url"]
    assert address.startswith("data:image/png;base64,")
    assert base64.b64decode(address.partition(",")[2]) == (dataset / "map.png").read_bytes()
    with pytest.raises(UnfitPairError, match=r"media: .html file ending is none of .png, .jpg"):
        chat_messages(combined(dataset, ("image", "page.html")), dataset, MANY)


def test_a_question_is_about_all_parts(dataset):
    """In another order, with another text or of another sense it is another question."""
    text, video = ("text", "It is late."), ("video", "talkie.mp4")
    asked = [
        question(combined(dataset, *parts))
        for parts in (
            (text, video),
            (video, text),
            (("text", "It is early."), video),
            (text, ("audiovisual", "talkie.mp4")),
            (text, ("video", "silent.mp4")),
        )
    ]
    assert len(set(asked)) == len(asked) and asked[0] == question(combined(dataset, text, video))


def test_pairs_that_cannot_be_put_say_why(dataset, tmp_path):
    """Missing, large, unreadable and foreign media are each a stated reason."""
    outside = tmp_path / "secret.wav"
    outside.write_bytes((dataset / "sound.wav").read_bytes())
    link = dataset / "link.wav"
    link.symlink_to(outside)
    for path, modality, limit, reason in (
        (dataset / "none.wav", "audio", MANY, "there is no file none.wav"),
        (dataset / "sound.wav", "audio", 1000, "sound.wav has 0.0 MB, the limit is 0.001 MB"),
        (dataset / "broken.flac", "audio", MANY, "media: its sound"),
        (dataset / "silent.mp4", "audiovisual", MANY, "media: its sound"),
        (dataset / "page.html", "video", MANY, ".html file ending is none of .mp4"),
        (outside, "audio", MANY, "lies outside the dataset folder"),
        (link, "audio", MANY, "lies outside the dataset folder"),
        (dataset / ".." / outside.name, "audio", MANY, "lies outside the dataset folder"),
    ):
        with pytest.raises(UnfitPairError, match=reason):
            chat_messages(row(modality, path), dataset, limit)
    with pytest.raises(UnfitPairError, match="the limit is"):
        chat_messages(row("audio", Path("a.wav"), bytes(2000)), dataset, 1000)


# Changes to a row about a sound that a teacher would see, and those that it would not.
SEEN = {
    "hypothesis": {"hypothesis": "A dog sleeps."},
    "background": {"context": "At night."},
    "the clip's content": {"audio": {"bytes": b"sound!", "path": "a.wav"}},
    "modality": {"modality": "video", "audio": None, "video": {"bytes": b"sound", "path": "a.wav"}},
}
UNSEEN = {
    "id": {"id": "row-2"},
    "the clip's name": {"audio": {"bytes": b"sound", "path": "elsewhere/b.wav"}},
    "topic, label and probabilities": {"topic": "dogs", "label": 1, "probability": 1.0, "human_probabilities": [1.0]},
}


@pytest.mark.parametrize("change", [*SEEN, *UNSEEN])
def test_a_question_is_all_that_is_asked_and_no_more(change):
    """Its digest changes with everything that reaches the teacher, and with nothing else."""
    asked = row("audio", "a.wav", b"sound")
    assert (question(asked) == question(asked | (SEEN | UNSEEN)[change])) == (change in UNSEEN)


def test_a_question_has_the_content_of_the_file_and_the_words_of_the_prompt(tmp_path, monkeypatch):
    """A file is read anew when it changes in place, and is the same wherever it lies and however it is held; a missing
    one is none of those that are there, nor another missing one. A text counts by itself, as do the rubric's words."""
    clip = tmp_path / "a.wav"
    clip.write_bytes(b"first")
    first = question(row("audio", clip))
    assert first == question(row("audio", Path("b.wav"), b"first"))
    clip.write_bytes(b"second")
    assert question(row("audio", clip)) == question(row("audio", Path("b.wav"), b"second")) != first
    clip.unlink()
    assert len({question(row("audio", tmp_path / name)) for name in ("a.wav", "b.wav")} | {first}) == 3
    said = question(row("text"))
    assert said != question(row("text") | {"premise": "A cat."})
    monkeypatch.setattr("chat.rubrics.REQUEST", "Give a number.")
    assert question(row("text")) != said


def test_pauses_double_and_respect_the_server():
    """A pause is between half and all of base x 2^k, never over a minute, and not under what the server asked for."""
    random.seed(0)
    for attempt in range(1, 40):
        longest = min(0.5 * 2 ** (attempt - 1), 60)
        pauses = [waiting_seconds(attempt, 0.5) for _ in range(50)]
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(set(pauses)) > 1
    assert waiting_seconds(1, 0.01, "7") == 7
    assert waiting_seconds(1, 0.01, "7000") == 60
    assert waiting_seconds(1, 0.01, "inf") == 60
    assert 25 < waiting_seconds(1, 0.01, format_datetime(datetime.now(UTC) + timedelta(seconds=30))) <= 30
    for nothing in ("-5", "nan", "soon", "", format_datetime(datetime.now(UTC) - timedelta(days=1))):
        assert waiting_seconds(1, 0.01, nothing) <= 0.01


def test_counts_by_hand():
    """Each answer is a probability, unparsable or failed, and repeated texts are counted by pair."""

    def answers(*triples):
        return {"answers": [dict(zip(("text", "probability", "reason"), triple, strict=True)) for triple in triples]}

    counts = Counts(
        [
            answers(("0.5", 0.5, None), ("0.5", 0.5, None)),
            answers(("0.5", 0.5, None), ("?", None, "no number")),
            answers((None, None, "HTTP 400"), (None, None, "HTTP 400")),
            answers(("0.1", 0.1, None)),
        ],
        expected=6,
        asked=2,
    )
    assert (counts.pairs, counts.answers, counts.probabilities, counts.incomplete, counts.repeated) == (4, 7, 4, 1, 1)
    assert counts.unparsable == {"no number": 1}
    assert counts.failed == {"HTTP 400": 2}
    assert "pairs: 4 of 6" in counts.report()
    assert "warning" not in counts.report()


@pytest.mark.parametrize(("same", "pairs", "told"), [(9, 10, True), (8, 10, False), (4, 4, False)])
def test_a_teacher_that_does_not_sample_is_told(same, pairs, told):
    """Where all answers of nearly all pairs have the same text, the counts end with a warning."""
    texts = [["0.5", "0.5" if number < same else "0.6"] for number in range(pairs)]
    answers = [[{"text": text, "probability": 0.5, "reason": None} for text in pair] for pair in texts]
    report = Counts([{"answers": pair} for pair in answers], pairs, 2).report()
    assert f"pairs whose answers all have the same text: {same}" in report
    assert ("warning: the teacher gives the same text each time" in report) == told


def answered(*reasons: str | None) -> dict:
    """A finished pair with an answer a reason, `None` for one with a probability."""
    return {
        "answers": [{"text": None, "probability": None if reason else 0.5, "reason": reason} for reason in reasons]
    }


def test_words_of_servers_are_counted_by_kind():
    """Words that differ with each answer, by a request's number say, are one count with the commonest of them."""
    reasons = [*(f"HTTP 400: request {number % 30}" for number in range(31)), "refused: No.", "timed out"]
    report = Counts([answered(reason) for reason in reasons], 33, 1).report()
    assert "  failed: 31 x HTTP 400: request 0 (and 29 like it)\n" in report
    assert "  failed: 1 x refused: No.\n" in report and "  failed: 1 x timed out\n" in report


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ([], [], None),
        ([], ["refused: No.", None], None),
        ([None], [None], None),
        ([], ["refused: No.", "refused: No.", "timed out"], "none of the 3 .* most often: 2 x refused: No[.] Put"),
        (
            [None, "timed out"],
            [None, "timed out", "refused: No."],
            "none of the 1 .* most often: 1 x refused: No[.] Put",
        ),
        (["timed out"], ["timed out"], "none of the 1 answers has a probability, most often: 1 x timed out[.] Put"),
        (["timed out"], ["timed out", None], None),
    ],
)
def test_a_run_that_got_nothing_is_an_error(before, after, complaint):
    """Whether the first or one that goes on; one that found all finished is judged by what there is."""
    earlier, later = (Counts([answered(reason) for reason in reasons], 9, 1) for reasons in (before, after))
    if complaint is None:
        later.raise_if_in_vain(earlier)
    else:
        with pytest.raises(RunStoppedError, match=complaint):
            later.raise_if_in_vain(earlier)


EXECUTORS = {
    "": (LocalPipelineExecutor, {"start_method": "spawn"}),
    "--slurm-partition gpu --slurm-time 1:00:00 --slurm-cpus 4 --slurm-gpus 1": (
        SlurmPipelineExecutor,
        {"partition": "gpu", "time": "1:00:00", "cpus_per_task": 4, "gpus_per_task": 1},
    ),
    "--ray --ray-cpus 4 --ray-gpus 1": (RayPipelineExecutor, {"cpus_per_task": 4, "gpus_per_task": 1}),
}


@pytest.mark.parametrize("where", EXECUTORS)
def test_each_executor_takes_the_same_step(tmp_path, monkeypatch, where):
    """The step reaches the other process whole, and nothing of what is pickled holds the key."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setattr("datasets_scripts.teachers.ask.find_spec", lambda _: True)
    command = f"--dataset umui --dataset-config clotho --output-dir {tmp_path} --server http://teacher:8000/v1"
    options = parse_arguments(f"{command} --server-model model --tasks 6 --workers 3 {where}".split())
    pairs = Pairs(tmp_path, "clotho", {"train": {0: "abc"}}, tmp_path, MANY)
    connect = partial(ChatClient, read_sending_options(options), "model", 8, FailureCounter(100))
    executor = make_executor(options, AskTeacher(Question("model", 5, 0.7, 256, 0, {}), pairs, connect, 8))
    kind, expected = EXECUTORS[where]
    assert type(executor) is kind
    assert executor.__dict__ | expected | {"tasks": 6, "workers": 3} == executor.__dict__
    pickled = dill.dumps(executor, fmode=dill.CONTENTS_FMODE)
    assert b"sk-test" not in pickled
    (step,) = dill.loads(pickled).pipeline
    assert (step.question, step.pairs, step.connect.args[0]) == (executor.pipeline[0].question, pairs, connect.args[0])
    assert type(step.connect()) is ChatClient


def test_without_ray_it_is_said(capsys):
    """What to install is told before anything is done."""
    with pytest.raises(SystemExit):
        parse_arguments("--dataset umui --dataset-config clotho --output-dir answers --model model --ray".split())
    assert "--ray needs Ray: pip install 'datatrove[ray]'" in capsys.readouterr().err
