"""The picture of belief over time: a curve a hypothesis, above what there was at each time; what is refused."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from datasets_scripts.sources.urn_media import RGB, write_sound, write_video
from evaluation.belief_pipeline import load_belief_pipeline
from evaluation.figures import __main__ as figures
from evaluation.figures.style import COLOURS
from evaluation.figures.timeline import Story, draw_timeline, read_story


CHECKPOINT = Path(__file__).parents[3] / "checkpoints" / "clue-urn-tiny"
TEXT = "There are 3 red balls in the urn. The lid costs $5 or $6. There are 3 blue balls in the urn."
HYPOTHESES = ["It is red.", "It is blue.", "It is neither red nor blue."]


@pytest.fixture(scope="module")
def clue():
    """The shipped checkpoint."""
    return load_belief_pipeline(CHECKPOINT)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A silent video and one with sound, and a sound of 4 s."""
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    write_video(folder / "silent.mp4", ["red", "red", "blue", "blue"], None, rng)
    write_video(folder / "talkie.mp4", ["red", "blue"] * 10, ["low", "high"] * 10, rng, event_samples=3200)
    write_sound(folder / "sound.flac", ["low", "high"] * 10, rng, event_samples=3200)
    return folder


def rows_of(figure) -> list:
    """The axes of a figure from top to bottom."""
    return sorted(figure.axes, key=lambda axes: axes.get_subplotspec().rowspan.start)


def test_curves_and_bands_are_the_answers(clue, clips):
    """Read back from the axes, with the interval that was asked for; frames of the video stand in its time."""
    premise = {"video": str(clips / "silent.mp4")}
    story = read_story(clue, premise, HYPOTHESES, interval=0.5)
    answers = clue.timeline({**premise, "modality": "video"}, HYPOTHESES, interval=0.5)
    figure, words = draw_timeline(story)
    belief, frames = rows_of(figure)
    assert len(belief.lines) == len(belief.collections) == 3
    for line, band, answer in zip(belief.lines, belief.collections, answers, strict=True):
        np.testing.assert_allclose(line.get_xydata().T, [answer["times"], answer["probability"]])
        edges = {tuple(np.round(point, 5)) for point in band.get_paths()[0].vertices}
        wanted = {(time, low) for time, (low, _) in zip(answer["times"], answer["interval"], strict=True)}
        assert {tuple(np.round(point, 5)) for point in wanted} <= edges
        assert answer["hypothesis"] in words
    assert {line.get_color() for line in belief.lines} == set(COLOURS[:3])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == HYPOTHESES
    assert belief.get_xlim() == frames.get_xlim() == (0, pytest.approx(0.64))
    pictures = frames.get_images()
    assert len(pictures) >= 4 and pictures[0].get_extent()[0] == 0 and pictures[-1].get_extent()[1] == 0.64
    middles = [picture.get_array()[50:60, 50:60].mean((0, 1)) for picture in pictures]
    shown = [min(RGB, key=lambda name: np.abs(middle - RGB[name]).sum()) for middle in middles]
    assert shown[0] == "red" and shown[-1] == "blue" and shown == sorted(shown, reverse=True)


def test_each_modality_has_what_there_was(clue, clips):
    """Frames and waveform of a video with sound, of which either can be left out; a sound its waveform."""
    talkie, high = str(clips / "talkie.mp4"), ["It is high."]
    for premise, images, fills, times in (
        ({"video": talkie}, [False, True, False], 1, 3),
        ({"video": talkie, "modality": "video"}, [False, True], 0, 20),
        ({"audio": str(clips / "sound.flac")}, [False, False], 1, 2),
    ):
        story = read_story(clue, premise, high, **({"fps": 10} if "video" in premise else {}))
        assert len(story.times) == times
        belief, *rest = rows_of(draw_timeline(story)[0])
        assert [bool(axes.images) for axes in (belief, *rest)] == images
        assert sum(len(axes.collections) for axes in rest) == fills
    samples, _ = soundfile.read(clips / "sound.flac")
    (wave,) = rest[-1].collections
    heights = wave.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(samples.max(), abs=1e-3) and heights.min() < 0


def test_a_text_has_its_sentences(clue):
    """Each stands in its part of the axis, no sign in it a formula; the numbers are after each."""
    story = read_story(clue, {"text": TEXT}, HYPOTHESES[:1])
    belief, sentences = rows_of(draw_timeline(story)[0])
    said = [" ".join(text.get_text().split()) for text in sentences.texts]
    assert said == [f"{sentence}." for sentence in TEXT.rstrip(".").split(". ")]
    assert not any(text.get_parse_math() for text in sentences.texts)
    ends = [TEXT.index(sentence) + len(sentence) for sentence in said]
    assert belief.lines[0].get_xdata().tolist() == ends == story.times
    (once,) = read_story(clue, {"text": TEXT}, HYPOTHESES[:1], every=1000.0).curves
    assert once["times"] == [len(TEXT)]
    assert once["probability"] == pytest.approx(story.curves[0]["probability"][-1:], abs=1e-5)


def test_a_long_text_and_long_hypotheses_stay_within_the_figure():
    """Sentences are shortened, hypotheses broken into lines; every frame of it can be drawn."""
    text = "word " * 3000
    times = [100.0, len(text)]
    curve = {"times": times, "probability": [0.2, 0.4], "interval": [[0.1, 0.3], [0.3, 0.5]], "notes": ["cut"]}
    curves = [curve | {"hypothesis": f"{k} " + "long " * 40} for k in range(len(COLOURS))]
    figure, words = draw_timeline(Story("words", curves, text=text))
    assert figure.get_figheight() < 10 and "Note: cut." in words
    figure.draw_without_rendering()
    assert rows_of(figure)[0].get_window_extent().height > 1.5 * figure.dpi


def test_the_command_writes_picture_words_and_numbers(clips, tmp_path, capsys):
    """As many curves in the table as hypotheses, the same bytes a second time."""
    out = tmp_path / "new" / "curve.png"
    command = ["timeline", "--model", str(CHECKPOINT), "--video", str(clips / "silent.mp4"), "--output", str(out)]
    command += ["--hypotheses", *HYPOTHESES]
    figures.main(command)
    assert "It is neither red nor blue.: " in capsys.readouterr().out
    rows = list(csv.DictReader(out.with_suffix(".csv").open()))
    assert len(rows) == 3 * 4 and {row["hypothesis"] for row in rows} == set(HYPOTHESES)
    assert all(0 <= float(row["low"]) <= float(row["high"]) <= 1 for row in rows)
    first = out.read_bytes()
    figures.main(command)
    assert out.read_bytes() == first
    with Image.open(out) as image:
        assert image.text["Description"] == out.with_suffix(".alt.txt").read_text().strip()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--text", TEXT, "--hypotheses", "a", "a"], "named twice"),
        (["--text", TEXT, "--hypotheses", *map(str, range(8))], "8 curves could not be told apart: give at most 7"),
        (["--text", TEXT, "--hypotheses", "a", "--modality", "video"], "--modality says how a --video is judged"),
        (["--text", TEXT, "--hypotheses", "a", "--interval", "2"], "`interval` is a share"),
        (["--video", "nowhere.mp4", "--hypotheses", "a"], "nowhere.mp4"),
        (["--hypotheses", "a"], "one of the arguments --text --audio --video is required"),
        (["--text", TEXT, "--audio", "a.wav", "--hypotheses", "a"], "not allowed with argument"),
        (["--text", TEXT, "--hypotheses", "a", "--every", "0"], "must be above 0"),
    ],
)
def test_wrong_options_are_told(given, told, tmp_path, capsys):
    """In a line that says what to do, before anything is written."""
    with pytest.raises(SystemExit) as end:
        figures.main(["timeline", "--model", str(CHECKPOINT), "--output", str(tmp_path / "x.png"), *given])
    assert told in f"{end.value.code} {capsys.readouterr().err}"
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_tell_is_named(tmp_path, monkeypatch):
    """A checkpoint that writes its answers, and code of before."""
    monkeypatch.setattr("evaluation.belief_pipeline.answer_format", lambda *_: "{probability}")
    with pytest.raises(ValueError, match="writes its answers: only CLUE tells its belief over time"):
        load_belief_pipeline(CHECKPOINT)
    monkeypatch.setattr("evaluation.belief_pipeline.answer_format", lambda *_: None)
    old = shutil.copytree(CHECKPOINT, tmp_path / "old", ignore=shutil.ignore_patterns("timeline.py"))
    with pytest.raises(ValueError, match="is older than belief over time"):
        load_belief_pipeline(old)
