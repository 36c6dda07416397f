"""Long clips judged window by window: as if each window was a clip of its own, with one window in memory."""

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from modeling_clue import media, processing_clue
from modeling_clue.media import load_audio, load_video
from modeling_clue.score import Judge, load, main
from modeling_clue.windows import encode_windows
from tests.launching import run
from tests.modeling_clue.conftest import RATE, write_clip


CHECKPOINT = Path(__file__).parents[2] / "checkpoints/clue-urn-tiny"
HYPOTHESES = ["The ball is red.", "There are two low beeps."]


@pytest.fixture(scope="module")
def clue():
    """The checkpoint that comes with the project."""
    return load(str(CHECKPOINT))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Clips of 7.3 s (sound), 7 s (video) and 5.2 s (video with sound), and one of 1 s."""
    folder = tmp_path_factory.mktemp("media")
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, round(7.3 * RATE)).astype(np.float32)
    # Each second sounds otherwise.
    noise *= np.repeat(np.linspace(0.1, 1, 8), RATE)[: len(noise)]
    soundfile.write(folder / "long.wav", noise, RATE, subtype="FLOAT")
    soundfile.write(folder / "short.wav", noise[:RATE], RATE, subtype="FLOAT")
    write_clip(folder / "silent.mp4", 7.0, sound=False)
    write_clip(folder / "talkie.mp4", 5.2, sound=True)
    return folder


def judge(folder: Path, items: list[dict], tmp_path: Path, *options: str) -> list[dict]:
    """The lines of the answers to items."""
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    command = ["--model", CHECKPOINT, "--input", tmp_path / "items.jsonl", "--output", tmp_path / "answers.jsonl"]
    (tmp_path / "answers.jsonl").unlink(missing_ok=True)
    main([str(word) for word in (*command, "--media-root", folder, *options)])
    return [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]


def check(answer: dict, cut: dict[tuple[float, float], dict], clue) -> None:
    """Compares the answer about a long clip with those about clips that were cut beforehand."""
    assert [(window["start"], window["end"]) for window in answer["windows"]] == list(cut)
    for window, premise in zip(answer["windows"], cut.values(), strict=True):
        (alone,) = clue(premise | {"hypothesis": answer["hypothesis"]})
        for key in ("probability", "standard_deviation"):
            assert window[key] == pytest.approx(alone[key], abs=1e-5)
        assert window["interval"] == pytest.approx(alone["interval"], abs=1e-4)
        assert (window["modality"], window["notes"]) == (alone["modality"], alone["notes"])
    best = max(answer["windows"], key=lambda window: window["probability"])
    assert answer["window"] == [best["start"], best["end"]]
    assert {key: answer[key] for key in best if key in answer} == {
        key: value for key, value in best.items() if key not in ("start", "end")
    }


def test_windows_are_judged_as_clips_that_were_cut(clue, folder, tmp_path):
    """Sound, frames, and both: to 1e-5 what a file of each window alone is judged as; short clips as ever."""
    items = [
        {"id": 1, "audio": "long.wav", "hypothesis": HYPOTHESES[0]},
        {"id": 2, "video": "silent.mp4", "hypotheses": HYPOTHESES},
        {"id": 3, "video": "talkie.mp4", "modality": "audiovisual", "hypothesis": HYPOTHESES[1]},
        {"id": 4, "audio": "short.wav", "hypothesis": HYPOTHESES[0]},
        {"id": 5, "text": "An urn holds 3 red balls.", "hypothesis": HYPOTHESES[0]},
        {"id": 6, "audio": "long.wav", "start": 1.5, "end": 5.9, "hypothesis": HYPOTHESES[0]},
    ]
    sound, frames, both, short, text, part = judge(folder, items, tmp_path, "--window", "2", "--batch-size", "3")
    wave = load_audio(folder / "long.wav").waveform
    cut = {}
    for bounds in ((0, 2), (2, 4), (4, 6), (6, 7.3)):
        path = tmp_path / f"{bounds}.wav"
        soundfile.write(path, wave[bounds[0] * RATE : round(bounds[1] * RATE)], RATE, subtype="FLOAT")
        cut[bounds] = {"audio": str(path)}
    check(sound, cut, clue)
    assert len({round(window["probability"], 6) for window in sound["windows"]}) == 4

    pictures = load_video(folder / "silent.mp4", fps=25, max_frames=1000).frames
    bounds = ((0, 2), (2, 4), (4, 6), (6, 7))
    cut = {(a, b): {"video": {"frames": pictures[25 * a : 25 * b], "fps": 25.0}} for a, b in bounds}
    for answer in frames["answers"]:
        check(answer, cut, clue)
    assert [answer["hypothesis"] for answer in frames["answers"]] == HYPOTHESES

    pictures = load_video(folder / "talkie.mp4", fps=25, max_frames=1000).frames
    wave = load_audio(folder / "talkie.mp4").waveform
    # What is left after 4 s is 1.2 s long; the sound lasts a little longer than the frames.
    bounds = {(0, 2): 2.0, (2, 4): 4.0, (4, round(len(wave) / RATE, 3)): 6.0}
    cut = {
        (a, b): {
            "video": {"frames": pictures[round(25 * a) : round(25 * end)], "fps": 25.0},
            "audio": {"array": wave[round(a * RATE) : round(end * RATE)], "sampling_rate": RATE},
        }
        for (a, b), end in bounds.items()
    }
    check(both, cut, clue)

    for answer, item in ((short, {"audio": str(folder / "short.wav")}), (text, {"text": items[4]["text"]})):
        (alone,) = clue(item | {"hypothesis": HYPOTHESES[0]})
        assert answer["probability"] == pytest.approx(alone["probability"], abs=1e-6) and "windows" not in answer
    assert [(window["start"], window["end"]) for window in part["windows"]] == [(1.5, 3.5), (3.5, 5.9)]


def test_a_window_of_a_premise_is_a_premise(clue, folder):
    """The pipeline takes `start` and `end` beside a clip; a part that isn't there is an error."""
    premise = {"audio": str(folder / "long.wav"), "hypotheses": HYPOTHESES}
    wave = load_audio(folder / "long.wav").waveform
    alone = clue({"audio": {"array": wave[2 * RATE : 4 * RATE], "sampling_rate": RATE}, "hypotheses": HYPOTHESES})
    for answer, other in zip(clue(premise | {"start": 2, "end": 4.0}), alone, strict=True):
        assert answer["probability"] == pytest.approx(other["probability"], abs=1e-6)
    inner = {"premise": {"audio": str(folder / "long.wav"), "start": 2, "end": 4}, "hypotheses": HYPOTHESES}
    assert clue(inner)[0]["probability"] == pytest.approx(alone[0]["probability"], abs=1e-6)
    with pytest.raises(ValueError, match="has no sound from 9 s on"):
        clue(premise | {"start": 9})
    with pytest.raises(ValueError, match="`end` must be a number of seconds, got 'two'"):
        clue(premise | {"end": "two"})


@pytest.mark.parametrize(("rest", "count"), [(0.2, 2), (0.49, 2), (0.5, 3), (0.8, 3)])
def test_a_rest_too_short_to_be_judged_belongs_to_the_window_before(clue, tmp_path, rest, count):
    """Less than half a second; and a clip longer than a window by less is judged as a whole."""
    for length, wanted in ((2 + rest, count), (1 + rest, count - 1)):
        path = tmp_path / f"{length}.wav"
        soundfile.write(path, np.full(round(length * RATE), 0.1, np.float32), RATE, subtype="FLOAT")
        windows = list(encode_windows(clue.processor, {"audio": str(path)}, 1.0))
        assert [window.last for window in windows] == [False] * (wanted - 1) + [True]
        whole = clue.processor.encode_premise({"audio": str(path)})
        if wanted == 1:
            assert windows[0].bounds is None and windows[0].premise.num_mel_frames == whole.num_mel_frames
        else:
            assert windows[-1].bounds == (wanted - 1, round(length, 3))
            assert sum(window.premise.num_mel_frames for window in windows) == whole.num_mel_frames


@pytest.mark.parametrize(("sound", "frames"), [(3.2, 5.0), (5.0, 3.2)])
def test_where_one_of_sound_and_frames_has_ended_the_other_is_judged(clue, folder, tmp_path, sound, frames):
    """And the notes say so: nothing is left out silently."""
    wave = load_audio(folder / "long.wav").waveform[: round(sound * RATE)]
    soundfile.write(tmp_path / "sound.wav", wave, RATE)
    write_clip(tmp_path / "frames.mp4", frames, sound=False)
    premise = {"audio": str(tmp_path / "sound.wav"), "video": str(tmp_path / "frames.mp4")}
    windows = list(encode_windows(clue.processor, premise, 2.0))
    assert [window.bounds for window in windows] == [(0, 2), (2, 4), (4, 5)]
    last = "video" if sound < frames else "audio"
    assert [window.premise.modality for window in windows] == ["audiovisual", "audiovisual", last]
    note = "the sound ends at 3.2 s: judged by the frames" if sound < frames else "the frames end at 3.2 s: judged by"
    assert note in windows[-1].premise.notes[-1] and windows[1].premise.notes == ()


def test_parts_are_not_cut_and_say_so(folder, tmp_path):
    """A combination with a clip is judged as a whole, as it was, with a note; one without has nothing to be cut."""
    clip = {"parts": [{"text": "An urn."}, {"audio": "long.wav"}], "hypothesis": HYPOTHESES[0]}
    items = [clip, {"parts": [{"text": "An urn."}, {"text": "A ball."}], "hypothesis": HYPOTHESES[0]}]
    whole = judge(folder, items, tmp_path)
    cut = judge(folder, items, tmp_path, "--window", "2")
    assert cut[0].pop("notes") == [
        *whole[0].pop("notes"),
        "a premise of parts is not cut into windows: judged as a whole",
    ]
    for one, other in zip(cut, whole, strict=True):
        assert one.pop("probability") == pytest.approx(other.pop("probability"), abs=1e-6)
        assert one.get("notes") == other.get("notes") and "windows" not in one


def test_every_window_is_decoded_once_for_all_items(folder, tmp_path, monkeypatch):
    """Items about one clip are judged together; one that spoils it for itself spoils it for no other."""
    loaded, decode = Counter(), processing_clue.load_audio

    def counted(source, **options):
        loaded[options["start"]] += 1
        return decode(source, **options)

    monkeypatch.setattr(processing_clue, "load_audio", counted)
    items = [{"audio": "long.wav", "hypothesis": text} for text in (*HYPOTHESES, "It is \ud800.", HYPOTHESES[0])]
    answers = judge(folder, items, tmp_path, "--window", "2", "--batch-size", "2")
    assert loaded == {0: 1, 2: 1, 4: 1, 6: 1}
    assert "Half a character" in answers[2]["error"]
    assert [len(answer["windows"]) for answer in (answers[0], answers[1], answers[3])] == [4, 4, 4]
    assert answers[0]["windows"] == answers[3]["windows"]


def test_one_window_is_in_memory(clue, tmp_path, monkeypatch):
    """Of ten minutes never more than a window and its margins are put together at once."""
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 44100, 1, format="FLAC") as output:
        for _ in range(600):
            output.write(np.random.default_rng(0).uniform(-0.3, 0.3, 44100).astype(np.float32))
    largest, kept, read = [], [], media.SoundReader.read

    def watched(reader, *bounds):
        found = read(reader, *bounds)
        largest.append(len(found[0]) / found[1])
        kept.append(sum(len(piece) for run in reader._runs for piece in run.pieces) / 44100)
        return found

    monkeypatch.setattr(media.SoundReader, "read", watched)
    windows = encode_windows(clue.processor, {"audio": str(tmp_path / "long.flac")}, 20.0)
    assert [window.bounds for window in windows] == [(20 * number, 20 * number + 20) for number in range(30)]
    assert max(largest) < 20 + 5 and max(kept) < 20 + 5


def test_it_goes_on_with_the_same_window_alone(folder, tmp_path, monkeypatch):
    """After a stop each item is judged once, those whose windows were not all judged from their first window on."""
    texts = [{"text": f"An urn holds {number} red balls.", "hypothesis": HYPOTHESES[0]} for number in range(3)]
    items = [*texts, *({"audio": "long.wav", "hypothesis": text} for text in HYPOTHESES)]
    whole = judge(folder, items, tmp_path, "--window", "2", "--batch-size", "2")
    (tmp_path / "answers.jsonl").unlink()
    judge_batch, judged = Judge._judge, []

    def stopped(judge, batch):
        if len(judged) == 3:  # within the windows of the last premise
            raise KeyboardInterrupt
        judged.append(batch)
        return judge_batch(judge, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Judge, "_judge", stopped)
        judge(folder, items, tmp_path, "--window", "2", "--batch-size", "2")
    lines = (tmp_path / "answers.jsonl.partial").read_text().splitlines()
    assert [json.loads(line).get("line") for line in lines] == [None, 1, 2, 3]
    with pytest.raises(ValueError, match=r"begun with other settings .window was 2\.0"):
        judge(folder, items, tmp_path)
    assert judge(folder, items, tmp_path, "--window", "2", "--batch-size", "2") == [
        {**answer, "probability": pytest.approx(answer["probability"])} | _close(answer) for answer in whole
    ]


@pytest.mark.processes
def test_it_goes_on_after_a_kill(folder, tmp_path):
    """A process that is killed for good among windows leaves whole items alone, and the next judges the rest."""
    names = [f"{number}.wav" for number in range(60)]
    (tmp_path / "media").mkdir()
    for name in names:
        shutil.copy(folder / "long.wav", tmp_path / "media" / name)
    items = [{"audio": name, "hypothesis": HYPOTHESES[0]} for name in names]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    paths = {"--input": "items.jsonl", "--output": "answers.jsonl", "--media-root": "media"}
    command = ["-m", "modeling_clue.score", "--model", str(CHECKPOINT), "--window", "1"]
    command += [word for option, name in paths.items() for word in (option, str(tmp_path / name))]
    journal = tmp_path / "answers.jsonl.partial"
    with subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < 4):
            time.sleep(0.01)
        process.kill()
    assert 3 <= journal.read_bytes().count(b"\n") - 1 < 60
    done = run(*command)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [answer["line"] for answer in answers] == list(range(1, 61))
    assert {len(answer["windows"]) for answer in answers} == {7}


def _close(answer: dict) -> dict:
    """An answer whose numbers may differ in their last places, as those of another batch do."""
    close = {key: pytest.approx(answer[key], abs=1e-6) for key in ("standard_deviation", "interval")}
    if "windows" in answer:
        close["windows"] = [window | _close(window) for window in answer["windows"]]
    return close | {"probability": pytest.approx(answer["probability"], abs=1e-6)}


def test_a_clip_that_is_damaged_further_on_is_an_error(folder, tmp_path):
    """Its item has an error, whatever its first windows were judged as; a window too short to be one is refused."""
    shutil.copy(folder / "long.wav", tmp_path / "long.wav")
    content = (folder / "talkie.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    items = [
        {"video": name, "modality": "audiovisual", "hypothesis": HYPOTHESES[0]} for name in ("cut.mp4", "none.mp4")
    ]
    items.append({"audio": "long.wav", "hypothesis": HYPOTHESES[0]})
    answers = judge(tmp_path, items, tmp_path, "--window", "2")
    assert ["error" in answer for answer in answers] == [True, True, False]
    for value in ("0.5", "nan", "inf", "x"):
        with pytest.raises(SystemExit):
            judge(folder, items, tmp_path, "--window", value)
