"""
The probabilities of the urn world against an independent reading of it.

The probabilities are checked without asking the generator what it meant: texts and sentences are parsed, sounds are
analysed by their spectrum and frames by their colour, and draws are simulated from what was read.
"""

import hashlib
import re
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from common.digests import digest
from datasets_scripts.build import main as build
from datasets_scripts.schema import LATER_COLUMNS, PART_CLIP_NAMES, SPLITS
from datasets_scripts.sources.urn import Scene, sample_scene
from datasets_scripts.sources.urn_language import sample_hypotheses
from datasets_scripts.sources.urn_media import draw, synthesize, write_video
from modeling_clue.media import load_audio, load_video
from modeling_clue.modalities import MODALITIES
from tests.reading import files_of


COLOURS = {"red": (215, 40, 40), "green": (40, 175, 60), "blue": (50, 80, 220), "yellow": (230, 210, 50)}
HERTZ = {"low": 300, "middle": 900, "high": 2700}
EVENT = 2560


def is_true(sentence: str, event: set[str]) -> bool:
    """Reads a hypothesis as English and says whether it is true of an event with these attributes."""
    claim = re.fullmatch(r"(?:It|The (?:ball|sound|draw)|A random (?:ball|sound|draw)) is (.+)\.", sentence)[1]
    claim = re.sub(r"neither (\w+) nor (\w+)", r"not (\1 or \2)", claim)
    claim = re.sub(r"\b(both|either) ", "", claim).replace(" but ", " and ")
    names = {name: name in event for name in [*COLOURS, *HERTZ]}
    return eval(claim, {"__builtins__": {}}, names)


def read_text(text: str) -> list[set[str]]:
    """Reads the balls of the urn from a premise, leaving out sentences about anything else."""
    about_the_urn = re.compile(r"An urn holds|in the urn|The urn( holds)?:")
    (sentence,) = [part for part in re.findall(r"[^.]+\.", text) if about_the_urn.search(part)]
    counted = re.findall(r"(\d+) (red|green|blue|yellow)", sentence)
    if counted:
        return [{colour} for number, colour in counted for _ in range(int(number))]
    return [{colour} for colour in re.findall(r"red|green|blue|yellow", sentence)]


def read_sound(source: Path) -> list[str]:
    """Reads the pitch of each 0.16 s of sound from the peak of its spectrum."""
    waveform = load_audio(source).waveform
    beeps = waveform[: len(waveform) // EVENT * EVENT].reshape(-1, EVENT)
    peaks = np.fft.rfftfreq(EVENT, 1 / 16_000)[np.abs(np.fft.rfft(beeps)).argmax(1)]
    return [min(HERTZ, key=lambda name: abs(np.log(peak / HERTZ[name]))) for peak in peaks]


def read_video(source: Path) -> list[str]:
    """Reads the colour of every second frame from its middle, after shrinking it to 28 x 28."""
    frames = load_video(source, fps=12.5, max_frames=100).frames
    small = frames.reshape(len(frames), 28, 4, 28, 4, 3).mean((2, 4))
    middles = small[:, 12:16, 12:16].mean((1, 2))
    names = [min(COLOURS, key=lambda name: np.abs(middle - COLOURS[name]).sum()) for middle in middles]
    assert names[::2] == names[1::2], f"the two frames of a ball differ: {source}"
    return names[::2]


def read_premise(row: dict, folder: Path) -> list[set[str]]:
    """Reads the events of a premise, each a set of attributes."""
    match row["modality"]:
        case "text":
            return read_text(row["premise"])
        case "audio":
            return [{pitch} for pitch in read_sound(folder / row["audio_file_name"])]
        case "video":
            return [{colour} for colour in read_video(folder / row["video_file_name"])]
    clip = folder / row["video_file_name"]
    # AAC pads the sound to a whole packet, less than one event.
    colours, pitches = read_video(clip), read_sound(clip)
    return [{colour, pitch} for colour, pitch in zip(colours, pitches, strict=True)]


def read_rows(umui: Path, modality: str, split: str) -> list[dict]:
    """The rows on disk."""
    return pq.read_table(umui / f"urn-{modality}" / split / "metadata.parquet").to_pylist()


@pytest.mark.parametrize("modality", MODALITIES)
def test_probabilities_agree_with_simulated_draws(umui, modality):
    """Draws from the scene, as read from the files alone, are true as often as every row states."""
    rng = np.random.default_rng(0)
    draws = 4000
    for split in SPLITS:
        scenes = {}
        for row in read_rows(umui, modality, split):
            key = row["premise"] if modality == "text" else row["id"].rpartition("-")[0]
            if key not in scenes:
                scenes[key] = read_premise(row, umui / f"urn-{modality}" / split)
            truth = np.array([is_true(row["hypothesis"], event) for event in scenes[key]])
            assert 3 <= len(truth) <= 10, key
            simulated = truth[rng.integers(len(truth), size=draws)].mean()
            error = np.sqrt(row["probability"] * (1 - row["probability"]) / draws)
            assert abs(simulated - row["probability"]) <= 5 * error, row
            assert row["probability"] == pytest.approx(truth.mean(), abs=1e-12), row
            certain = row["probability"] in (0, 1)
            assert row["label"] == (row["probability"] if certain else None), row


@pytest.mark.parametrize("modality", MODALITIES[1:])
def test_prefixes_of_clips_are_true_of_what_was_there(umui, modality):
    """After each event, as read from the files, the share of those up to there; the last is the whole clip's."""
    for row in read_rows(umui, modality, "test")[::5]:
        truth = np.array(
            [is_true(row["hypothesis"], event) for event in read_premise(row, umui / f"urn-{modality}/test")]
        )
        shares = truth.cumsum() / np.arange(1, len(truth) + 1)
        assert [prefix["probability"] for prefix in row["prefixes"]] == pytest.approx(shares.tolist())
        assert [prefix["at"] for prefix in row["prefixes"]] == pytest.approx(0.16 * np.arange(1, len(truth) + 1))
        assert row["prefixes"][-1]["probability"] == row["probability"]


def test_prefixes_of_texts_are_true_of_what_was_told(tmp_path):
    """After each sentence from the first about the urn on, the share of the balls named, in as many sentences as were
    asked for or fewer. What is said of anything else changes nothing."""
    options = ["--modalities", "text", "--events", "2", "6", "--sentences", "3", "--hypotheses-per-premise", "3"]
    sizes = ["--train", "1", "--text-train", "150", "--validation", "1", "--test", "1"]
    build(["urn", "--output-dir", str(tmp_path / "umui"), *options, *sizes])
    counts, ignored = Counter(), 0
    for row in read_rows(tmp_path / "umui", "text", "train"):
        balls, wanted, start, about = [], [], 0, 0
        for sentence in re.findall(r"[^.]+\.", row["premise"]):
            start += len(sentence)
            if re.search(r"An urn holds|in the urn|The urn( holds)?:", sentence):
                balls += read_text(sentence)
                about += 1
            else:
                ignored += 1
            if balls:
                wanted.append((start, np.mean([is_true(row["hypothesis"], ball) for ball in balls])))
        assert 2 <= len(balls) <= 6
        counts[about] += 1
        assert [prefix["at"] for prefix in row["prefixes"]] == [at for at, _ in wanted], row["premise"]
        assert [prefix["probability"] for prefix in row["prefixes"]] == pytest.approx([share for _, share in wanted])
        assert row["prefixes"][-1] == {"at": len(row["premise"]), "probability": row["probability"]}
    assert set(counts) == {1, 2, 3} and ignored


def test_prefixes_of_corrected_texts(tmp_path):
    """A corrected text is true of its second urn; what it says of the first counts until that is taken back, and where
    it is nothing is known."""
    options = ["--modalities", "text", "--sentences", "2", "--hypotheses-per-premise", "2", "--suffix", "long"]
    sizes = ["--train", "1", "--text-train", "60", "--validation", "1", "--test", "1", "--corrected-share", "0.5"]
    build(["urn", "--output-dir", str(tmp_path / "umui"), *options, *sizes])
    corrected = 0
    for row in read_rows(tmp_path / "umui", "text-long", "train"):
        balls, wanted, start = [], [], 0
        for sentence in re.findall(r"[^.]+\.", row["premise"]):
            start += len(sentence)
            if "wrong" in sentence:
                balls, corrected = [], corrected + 1
                continue
            if re.search(r"An urn holds|in the urn|The urn( holds)?:", sentence):
                balls += read_text(sentence)
            if balls:
                wanted.append((start, np.mean([is_true(row["hypothesis"], ball) for ball in balls])))
        assert [prefix["at"] for prefix in row["prefixes"]] == [at for at, _ in wanted], row["premise"]
        assert [prefix["probability"] for prefix in row["prefixes"]] == pytest.approx([share for _, share in wanted])
        assert row["probability"] == pytest.approx(wanted[-1][1])
    assert 30 < corrected < 90  # of 120 rows


def test_looks_are_as_asked_for(tmp_path):
    """Fewest and most events of a length, and configs of a name; what can't be is refused."""
    out = ("--output-dir", str(tmp_path / "umui"), "--modalities", "audio", "--train", "1")
    build(["urn", *out, "--validation", "1", "--test", "6", "--events", "4", "5", "--event-seconds", "0.2"])
    samples = {soundfile.info(clip).frames for clip in (tmp_path / "umui").glob("urn-audio/test/media/*")}
    assert samples == {4 * 3200, 5 * 3200}
    again = ("urn", *out, "--overwrite")
    with pytest.raises(SystemExit, match="--events takes the fewest first: give 4 5"):
        build([*again, "--events", "5", "4"])
    for option, wrong in {
        "--event-seconds": ("0.17", "0.04", "nan", "x"),
        "--corrected-share": ("1.5", "-0.1", "nan"),
        "--suffix": ("", "../long", "Long", "a--b"),
    }.items():
        for value in wrong:
            with pytest.raises(SystemExit):
                build([*again, option, value])


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_stated_mix_of_hypotheses(modality):
    """The share of every form, of hypotheses that need both senses, and of certain ones is as designed."""
    rng = np.random.default_rng(0)
    forms, cross, probabilities, premises, number = Counter(), 0, [], 500, 12
    for _ in range(premises):
        scene = sample_scene(modality, rng)
        sampled = sample_hypotheses(modality, number, rng)
        assert len({sentence for _, sentence in sampled}) == number
        for predicate, sentence in sampled:
            assert len(sentence.split()) <= 8
            probabilities.append(predicate.probability(scene.events))
            if len(predicate.senses) == 2:
                cross += 1
            else:
                forms[predicate.form] += 1
    total = premises * number
    assert 0.4 <= cross / total <= 0.5 if modality == "audiovisual" else cross == 0
    for form, share in {"is": 0.4, "not": 0.2, "or": 0.25, "neither": 0.15}.items():
        assert forms[form] / forms.total() == pytest.approx(share, abs=0.03), form
    zeros, ones = (np.mean(np.array(probabilities) == value) for value in (0, 1))
    assert 0.05 < zeros < 0.4 and 0.02 < ones < 0.3
    assert np.var(probabilities) > 0.08


def test_a_predicate_returns_only_when_its_form_is_used_up():
    """All predicates of a form are heard before one of them comes again in other words."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        sampled = sample_hypotheses("audio", 30, rng)
        for form in ("is", "not", "or", "neither"):
            predicates = [predicate for predicate, _ in sampled if predicate.form == form]
            times = Counter(predicates)
            assert len(times) == min(3, len(predicates)), form
            assert all(number <= -(-len(predicates) // 3) for number in times.values()), form


def test_evidence_names_the_senses_a_hypothesis_needs(umui):
    """Of an audiovisual premise, words of colour need the video and words of pitch the audio."""
    for row in read_rows(umui, "audiovisual", "train"):
        words = set(re.findall(r"\w+", row["hypothesis"]))
        needed = (["audio"] if words & HERTZ.keys() else []) + (["video"] if words & COLOURS.keys() else [])
        assert row["evidence"] == needed, row


def test_texts_have_distractors_and_both_styles(umui):
    """Counts, lists, and sentences to be ignored all occur in the texts."""
    texts = {row["premise"] for row in read_rows(umui, "text", "train")}
    assert any(re.search(r"\d", text) for text in texts)
    assert any(re.search(r"red, red|blue, blue|green, green|yellow, yellow", text) for text in texts)
    assert 0.1 < np.mean([text.count(".") == 2 for text in texts]) < 0.4


def test_no_premise_is_in_two_splits(umui):
    """Neither a text nor the content of a clip of one split occurs in another."""
    texts = [{row["premise"] for row in read_rows(umui, "text", split)} for split in SPLITS]
    assert len(set.union(*texts)) == sum(map(len, texts)) == 3 * 24 + 6 + 12
    for modality in MODALITIES[1:]:
        clips = list((umui / f"urn-{modality}").glob("*/media/*"))
        assert len({clip.read_bytes() for clip in clips}) == len(clips) == 24 + 6 + 12


def test_a_rebuild_is_byte_identical(tmp_path):
    """Seed and sizes decide every byte, not the number of workers; another seed gives other files."""
    sizes = "--train 5 --validation 2 --test 2".split()
    for name, options in {"a": ["--workers", "1"], "b": ["--workers", "2"], "c": ["--seed", "1"]}.items():
        build(["urn", "--output-dir", str(tmp_path / name), *sizes, *options])
    a, b, c = (files_of(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert all(a[file] != c[file] for file in a if file != "README.md")


def test_a_larger_dataset_begins_with_the_smaller(umui, tmp_path):
    """More premises leave those already there as they are."""
    build(["urn", "--output-dir", str(tmp_path / "umui"), *"--train 4 --validation 6 --test 12 --workers 1".split()])
    for modality in MODALITIES:
        for split in SPLITS:
            small, large = (read_rows(folder, modality, split) for folder in (tmp_path / "umui", umui))
            assert small == large[: len(small)], (modality, split)


@pytest.mark.parametrize("events", range(3, 11))
def test_sound_and_picture_of_a_clip_keep_time(tmp_path, events):
    """A clip has two frames an event at 12.5 a second, and its sound starts where it was put, to the sample."""
    clip = tmp_path / "clip.mp4"
    scene = Scene(colours=tuple(list(COLOURS)[k % 4] for k in range(events)), pitches=("low", "high") * 5)
    pitches = list(scene.pitches[:events])
    write_video(clip, list(scene.colours), pitches, np.random.default_rng(events))
    with av.open(clip) as container:
        times = [frame.time for frame in container.decode(video=0)]
        stream = container.streams.audio[0]
        assert (stream.sample_rate, stream.channels) == (16_000, 1)
        assert stream.duration == events * EVENT
    assert times == pytest.approx(np.arange(2 * events) / 12.5)
    heard = load_audio(clip).waveform
    written = synthesize(pitches, np.random.default_rng(events))
    assert 0 <= len(heard) - len(written) < 1024
    # With a lag of one packet, let alone of the encoder's priming, the difference would be as loud as the sound.
    assert np.abs(heard[: len(written)] - written).mean() < 0.1 * np.abs(written).mean()


def test_audio_clips_are_16_khz_mono_flac(umui):
    """Sound is stored without loss, 0.16 s an event."""
    for clip in (umui / "urn-audio").glob("*/media/*"):
        about = soundfile.info(clip)
        assert (about.format, about.samplerate, about.channels) == ("FLAC", 16_000, 1)
        assert about.frames % EVENT == 0


def test_more_hypotheses_than_exist_are_refused(tmp_path):
    """The error says how many there are, and nothing is left behind."""
    with pytest.raises(SystemExit, match="only 72 different hypotheses exist about audio premises"):
        build(["urn", "--output-dir", str(tmp_path), "--modalities", "audio", "--hypotheses-per-premise", "73"])
    assert list(tmp_path.iterdir()) == []


def test_configs_stay_what_they_were(umui):
    """Whatever is added to the urn world: the same rows, frames and draws of chance as when checkpoints learnt it."""
    rows = [read_rows(umui, modality, split) for modality in MODALITIES for split in SPLITS]
    rng = np.random.default_rng(5)
    frames = draw(["red", "green", "blue", "yellow"], rng)
    waveform = synthesize(["low", "high", "middle"], rng)
    later = {*LATER_COLUMNS, PART_CLIP_NAMES}
    rows = [[{name: row[name] for name in row if name not in later} for row in those] for those in rows]
    assert digest(rows) == "422ac59da259ac59"
    assert hashlib.sha256(frames.tobytes()).hexdigest()[:16] == "9ca08a354a1026e8"
    # The last digits of a sine are the machine's own affair.
    assert np.abs(waveform).sum() == pytest.approx(808.078857421875, rel=1e-6)
    assert rng.random() == 0.2032528361145648
