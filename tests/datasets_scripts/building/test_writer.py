"""A config is written checked and whole or not at all; an interrupted build goes on; equal input gives equal files."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from common.errors import InputError
from datasets_scripts.build import main as build
from datasets_scripts.building.drafts import Clip, Draft, Problem, new_row, stored_name
from datasets_scripts.building.folder import folder_lock, recover, replace_config
from datasets_scripts.building.writer import DiskDict, write_config
from datasets_scripts.load import load_split
from datasets_scripts.schema import SPLITS
from datasets_scripts.sources.urn_media import write_video
from tests.reading import files_of


ROOT = Path(__file__).resolve().parents[3]
TINY = "--train 2 --validation 1 --test 1 --workers 1 --hypotheses-per-premise 2".split()
PLAN = {"source": "made-up"}


def text_draft(number: int, premise: str = "", **changes) -> Draft:
    """A draft about a text, good unless it is changed."""
    row = new_row(
        id=f"row-{number}",
        source="made-up",
        modality="text",
        premise=premise or f"Premise {number}.",
        hypothesis=f"Hypothesis {number}.",
        probability=0.5,
        probability_source="human",
    )
    return Draft(f"table row {number}", row | changes)


def sound_draft(clip: Clip, number: int, **changes) -> Draft:
    """A draft about a sound."""
    draft = text_draft(number, **({"modality": "audio", "audio": clip} | changes))
    return Draft(draft.place, draft.row | {"premise": None})


def write_tone(path: Path, pitch: float) -> Path:
    """Writes a tenth of a second of sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(1600) * pitch), 16_000)
    return path


def good_splits(**more) -> dict[str, list]:
    """A row for each split."""
    splits = {split: [text_draft(number)] for number, split in enumerate(SPLITS)}
    return splits | more


@pytest.mark.parametrize("existing", [False, True])
def test_a_failed_build_leaves_no_half_config(tmp_path, existing):
    """Whatever goes wrong on the way, the configs are as they were before, and a report says what it was."""
    if existing:
        write_config(tmp_path, "made-up", good_splits(), PLAN)
    before = files_of(tmp_path)

    def broken():
        yield text_draft(8)
        raise InputError("the source is broken")

    for splits, complaint in (
        (good_splits(test=[text_draft(7, probability=2.0)]), "table row 7: probability"),
        (good_splits(train=[]), "train split would be empty"),
        (good_splits(train=broken()), "the source is broken"),
        ({}, "no split to write"),
    ):
        with pytest.raises(InputError, match=complaint):
            write_config(tmp_path, "made-up", splits, PLAN, overwrite=True)
        (tmp_path / "made-up.problems.csv").unlink(missing_ok=True)
        assert files_of(tmp_path) == before


def test_every_kind_of_problem_is_reported_once_with_its_place(tmp_path):
    """One report names each bad row of all splits: what doesn't fit, is doubled, in two splits, or lacks its clip."""
    good = Clip(write_tone(tmp_path / "raw" / "good.wav", 0.3), "good.wav")
    again = Clip(shutil.copy(good.path, tmp_path / "raw" / "again.wav"), "again.wav")
    only = Clip(write_tone(tmp_path / "raw" / "only.wav", 0.5), "only.wav")
    noise = tmp_path / "raw" / "noise.wav"
    noise.write_bytes(b"no sound at all")
    splits = {
        "test": [text_draft(1), sound_draft(good, 2), Problem("table row 3", "join", "fits no row")],
        "train": [
            text_draft(4),
            sound_draft(only, 14),
            text_draft(5, "Premise 1."),
            text_draft(6, "Premise 4.", hypothesis="Hypothesis 4."),
            text_draft(7, id="row-4"),
            text_draft(8, hypothesis="  "),
            text_draft(9, probability=float("nan")),
            sound_draft(again, 10),
            sound_draft(Clip(tmp_path / "raw" / "none.wav", "none.wav"), 11),
            sound_draft(Clip(noise, "noise.wav"), 12),
            sound_draft(Clip(noise, "noise.wav"), 13),
        ],
    }
    expected = [
        ("table row 3", "join", "fits no row"),
        ("table row 5", "split", "its premise is that of table row 1, in the test split"),
        ("table row 6", "duplicate", "the same premise and hypothesis as table row 4"),
        ("table row 7", "duplicate", "the same id as table row 4: 'row-4'"),
        ("table row 8", "row", "hypothesis must be a non-empty string"),
        ("table row 9", "row", "probability must be in [0, 1], got nan"),
        ("table row 10", "split", "its premise is that of table row 2, in the test split"),
        ("table row 11", "media", "none.wav"),
        ("table row 12", "media", "noise.wav"),
        ("table row 13", "media", "noise.wav"),
    ]
    with pytest.raises(InputError, match=r"10 problems \(duplicate 2, join 1, media 3, row 2, split 2\)"):
        write_config(tmp_path / "umui", "mine", splits, PLAN, workers=2)
    with (tmp_path / "umui" / "mine.problems.csv").open(newline="") as file:
        found = [tuple(record.values()) for record in csv.DictReader(file)]
    assert [problem[:2] for problem in found] == [problem[:2] for problem in expected]
    for (*_, complaint), (*_, part) in zip(found, expected, strict=True):
        assert part in complaint

    summary = write_config(tmp_path / "umui", "mine", splits, PLAN, on_error="skip", workers=2)
    assert summary.skipped == {"duplicate": 2, "join": 1, "media": 3, "row": 2, "split": 2}
    assert summary.splits == {
        "train": {"rows": 2, "premises": 2, "clips": 1},
        "test": {"rows": 2, "premises": 2, "clips": 1},
    }
    assert [row["id"] for row in load_split(str(tmp_path / "umui"), "mine", "train")] == ["row-4", "row-14"]
    assert [file.name for file in tmp_path.glob("umui/mine/train/media/*")] == ["only.mkv.wav"]


def test_splits_with_and_without_clips_are_refused(tmp_path):
    """`datasets` takes one loader for all splits of a config and could not load it."""
    clip = Clip(write_tone(tmp_path / "raw" / "a.wav", 0.3), "a.wav")
    with pytest.raises(InputError, match="some splits have clips and others none"):
        write_config(tmp_path / "umui", "mine", {"train": [sound_draft(clip, 1)], "test": [text_draft(2)]}, PLAN)


def test_many_problems_are_counted_but_not_all_shown(tmp_path):
    """The message stays readable; the file has them all."""
    with pytest.raises(InputError, match="and 80 more") as error:
        write_config(tmp_path, "mine", {"train": [text_draft(k, probability=-1) for k in range(100)]}, PLAN)
    assert str(error.value).count("table row") == 20
    assert len((tmp_path / "mine.problems.csv").read_text().splitlines()) == 101


def test_a_text_is_one_premise_in_every_form(tmp_path):
    """Accents composed or not, and white space, make no other premise or pair: neither is in two splits, or twice."""
    forms = ["Un  café\u00a0fermé.", unicodedata.normalize("NFD", "Un café fermé.")]
    drafts = [text_draft(k, premise, hypothesis="C'est fermé.") for k, premise in enumerate(forms)]
    for splits, kind in (({"train": drafts}, "duplicate"), ({"train": drafts[:1], "test": drafts[1:]}, "split")):
        with pytest.raises(InputError, match=rf"1 problem \({kind} 1\):\n  table row"):
            write_config(tmp_path, "mine", splits, PLAN)


@pytest.mark.parametrize(
    ("highest", "source", "is_warned"),
    [(0.01, "human", True), (0.01, "teacher", True), (0.011, "human", False), (0.01, "exact", False)],
)
def test_answers_that_were_fractions_are_asked_about(tmp_path, capsys, highest, source, is_warned):
    """Nobody calls everything impossible: where nothing is above 1 %, a warning asks; exact numbers may be small."""
    answers = {"probability": highest, "probability_source": source}
    drafts = [text_draft(0, **answers), text_draft(1, **answers | {"probability": 0.0})]
    write_config(tmp_path, "mine", {"test": drafts}, PLAN)
    assert ("warning: no probability in mine is above 1%" in capsys.readouterr().err) == is_warned


def test_equal_clips_that_are_no_files_are_stored_once(tmp_path):
    """A clip in a table's cells is as good as one in a folder."""
    content = write_tone(tmp_path / "a.wav", 0.1).read_bytes()
    drafts = [sound_draft(Clip(Path("a.wav"), "a.wav", content=bytes(bytearray(content))), k) for k in range(3)]
    summary = write_config(tmp_path / "umui", "mine", {"train": drafts}, PLAN)
    assert summary.splits["train"] == {"rows": 3, "premises": 1, "clips": 1}
    assert [path.read_bytes() for path in (tmp_path / "umui").glob("mine/train/media/*")] == [content]


def test_two_clips_of_one_name_are_refused(tmp_path):
    """A source that gives two files the same key would lose one of them."""
    drafts = [sound_draft(Clip(write_tone(tmp_path / f"{k}" / "a.wav", k / 10), "a.wav"), k) for k in (1, 2)]
    with pytest.raises(InputError, match="two clips of train are called 'a.wav'"):
        write_config(tmp_path / "umui", "mine", {"train": drafts}, PLAN)


def test_a_clip_of_two_modalities_must_be_good_for_both(tmp_path):
    """A video without sound is a premise as a video and none with its sound, whichever row comes first."""
    write_video(tmp_path / "silent.mp4", ["red", "blue"], None, np.random.default_rng(0))
    clip = Clip(tmp_path / "silent.mp4", "silent.mp4")
    for first, second in (("video", "audiovisual"), ("audiovisual", "video")):
        drafts = [
            text_draft(k, modality=modality).row | {"premise": None, "video": clip}
            for k, modality in enumerate((first, second))
        ]
        drafts = [Draft(f"row of {row['modality']}", row) for row in drafts]
        with pytest.raises(InputError, match="1 problem .media 1.:\n  row of audiovisual: .*no sound"):
            write_config(tmp_path / first, "mine", {"train": drafts}, PLAN)
        summary = write_config(tmp_path / first, "mine", {"train": drafts}, PLAN, on_error="skip")
        assert summary.splits["train"] == {"rows": 1, "premises": 1, "clips": 1}


@pytest.mark.parametrize("rows", [1, 25])
def test_groups_of_rows_change_nothing(tmp_path, monkeypatch, rows):
    """However few rows are written at a time, the split holds all of them, in their order."""
    monkeypatch.setattr("datasets_scripts.building.writer.ROWS_IN_A_GROUP", 10)
    write_config(tmp_path, "mine", {"train": (text_draft(k) for k in range(rows))}, PLAN)
    table = pq.read_table(tmp_path / "mine" / "train" / "metadata.parquet")
    assert table["id"].to_pylist() == [f"row-{k}" for k in range(rows)]


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_a_ratio_keeps_all_positives_and_as_many_negatives_as_asked(tmp_path, monkeypatch, ratio):
    """Counts are exact, the other splits whole, clips without rows gone, another seed another choice."""
    monkeypatch.setattr("datasets_scripts.building.writer.ROWS_IN_A_GROUP", 7)
    clips = [Clip(write_tone(tmp_path / "raw" / f"{k}.wav", 0.1 + k / 100), f"{k}.wav") for k in range(40)]

    def splits():
        drafts = [sound_draft(clip, k, label=int(k % 4 == 0)) for k, clip in enumerate(clips)]
        other = Clip(write_tone(tmp_path / "raw" / "test.wav", 0.9), "test.wav")
        return {"train": drafts, "test": [sound_draft(other, k, label=0) for k in range(50, 60)]}

    kept = {}
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        summary = write_config(tmp_path / "umui", name, splits(), PLAN, ratio=ratio, seed=seed)
        table = pq.read_table(tmp_path / "umui" / name / "train" / "metadata.parquet")
        labels = table["label"].to_pylist()
        assert (labels.count(1), labels.count(0)) == (10, round(10 * ratio))
        assert summary.splits["train"]["clips"] == len(labels) and summary.splits["test"]["rows"] == 10
        names = {file.name for file in (tmp_path / "umui" / name / "train" / "media").iterdir()}
        assert {f"media/{file}" for file in names} == set(table["audio_file_name"].to_pylist())
        kept[name] = table["id"].to_pylist()
    assert kept["one"] == kept["same"] != kept["other"]
    assert kept["one"] == sorted(kept["one"], key=lambda name: int(name.removeprefix("row-")))


def test_a_ratio_of_texts(tmp_path):
    """Without clips, rows are left out and nothing else is done."""
    drafts = [text_draft(k, label=k % 2) for k in range(10)]
    summary = write_config(tmp_path, "mine", {"train": drafts, "test": [text_draft(10)]}, PLAN, ratio=0.6)
    labels = load_split(str(tmp_path), "mine", "train")["label"][:]
    assert (labels.count(1), labels.count(0)) == (5, 3)
    assert summary.splits["train"] == {"rows": 8, "premises": 8, "clips": 0}


def test_a_ratio_that_cannot_be_had_is_refused(tmp_path, capsys):
    """Too few negatives are said, not silently made up for; so is a ratio that is none."""
    drafts = [text_draft(k, label=int(k > 2)) for k in range(6)]
    with pytest.raises(InputError, match="needs 6 negatives for the 3 positives of the training split, which has 3"):
        write_config(tmp_path, "mine", {"train": drafts}, PLAN, ratio=2.0)
    for ratio in ("2:1", "1:0", "1:inf", "1:x", "half"):
        with pytest.raises(SystemExit):
            build(["urn", "--output-dir", str(tmp_path), "--ratio", ratio])
        assert "must be full or 1:NEGATIVES" in capsys.readouterr().err


def test_names_of_clips_are_plain_and_never_shared():
    """Whatever a clip is called, its stored name is safe in a path and an address, and tells it from the others."""
    keys = "a.mkv a.webm a.mkv.wav a.wav a_b.wav a/b.wav a__b.wav ../a.wav ä#?%.WAV a.WAV .wav".split()
    keys += ["a b.wav", "é" * 300]
    names = [stored_name(key) for key in keys] + [stored_name(key, sound_only=True) for key in keys]
    assert len(set(names)) == len(names)
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert not name.startswith((".", "-")) and len(name) < 130
    assert stored_name("a.mp4") == "a.mp4" and stored_name("morning_2-b.flac") == "morning_2-b.mkv.flac"


def test_a_clip_in_two_configs_is_one_file(tmp_path):
    """The second config links to the clip of the first; a clip of that name with other content is its own."""
    for name, pitch in (("one", 0.1), ("two", 0.1), ("three", 0.2)):
        clip = Clip(write_tone(tmp_path / name / "a.wav", pitch), "a.wav")
        write_config(tmp_path / "umui", name, {"train": [sound_draft(clip, 1)]}, PLAN)
    one, two, three = (tmp_path / "umui" / name / "train/media/a.mkv.wav" for name in ("one", "two", "three"))
    assert one.samefile(two) and not one.samefile(three)
    assert three.read_bytes() == (tmp_path / "three" / "a.wav").read_bytes() != one.read_bytes()


@pytest.mark.processes
@pytest.mark.parametrize("modality", ["text", "audio", "audiovisual"])
def test_equal_builds_give_equal_files(tmp_path, modality):
    """Byte by byte, whatever the number of workers."""
    for name, workers in (("one", "1"), ("two", "2")):
        sizes = [*TINY, "--train", "20", "--workers", workers]
        build(["urn", "--modalities", modality, "--output-dir", str(tmp_path / name), *sizes])
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


KILLED = """
import os, signal, sys
from datasets_scripts.sources import urn
write, left = urn.write_sound, 30
def write_sound(*arguments):
    global left
    left -= 1
    if not left:
        os.kill(int(sys.argv[1]) or os.getpid(), signal.SIGKILL)
    write(*arguments)
urn.write_sound = write_sound
from datasets_scripts.build import main
main(sys.argv[2:])
"""


@pytest.mark.processes
def test_a_killed_build_goes_on_where_it_was(tmp_path):
    """After kill -9 the same command makes only the clips that are missing, and ends with the files of one go."""
    options = ["urn", "--modalities", "audio", "--output-dir", str(tmp_path / "umui"), *TINY, "--train", "50"]
    command = [sys.executable, "-c", KILLED, "0", *options]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    clips = {
        file.name: file.stat().st_mtime_ns for file in tmp_path.glob("umui/.urn-audio.partial/train/media/*.flac")
    }
    assert len(clips) == 29 - 2
    build(options)
    media = tmp_path / "umui" / "urn-audio" / "train" / "media"
    assert clips == {name: (media / name).stat().st_mtime_ns for name in clips}
    build([*options, "--output-dir", str(tmp_path / "one-go")])
    assert files_of(tmp_path / "umui") == files_of(tmp_path / "one-go")


def test_an_interrupted_build_of_another_plan_is_not_taken_over(tmp_path, monkeypatch):
    """Clips made with another seed are made anew."""
    from datasets_scripts.sources import urn

    write, left = urn.write_sound, [4]

    def fails_after_some(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise InputError("enough")
        write(*arguments)

    options = ["urn", "--modalities", "audio", *TINY, "--train", "5", "--output-dir"]
    monkeypatch.setattr(urn, "write_sound", fails_after_some)
    with pytest.raises(SystemExit, match="enough"):
        build([*options, str(tmp_path / "umui"), "--seed", "1"])
    assert len(list(tmp_path.glob("umui/.urn-audio.partial/*/media/*.flac"))) == 4
    monkeypatch.undo()
    build([*options, str(tmp_path / "umui")])
    build([*options, str(tmp_path / "new")])
    assert files_of(tmp_path / "umui") == files_of(tmp_path / "new")


KILLED_WITH_WORKERS = """
import os, signal, sys
from datasets_scripts.building import writer
def killed(drafts, *_, **__):
    next(drafts)
    os.kill(os.getpid(), signal.SIGKILL)
writer.tqdm = killed
from datasets_scripts.build import main
main(sys.argv[1:])
"""


@pytest.mark.processes
def test_workers_end_with_a_killed_build(tmp_path):
    """After kill -9 no worker goes on writing into the folder of the next build."""
    options = ["urn", "--modalities", "audio", "--output-dir", str(tmp_path / "umui"), *TINY, "--workers", "2"]
    # Workers hold the pipe open that they inherit: it is read to its end only when the last of them has gone.
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WITH_WORKERS, *options, "--test", "100"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert {path.name for path in (tmp_path / "umui").iterdir()} == {".lock", ".urn-audio.partial"}
    build(options)
    assert sorted(path.name for path in (tmp_path / "umui").iterdir()) == ["README.md", "urn-audio"]


@pytest.mark.parametrize("step", ["moved aside", "in place", "named"])
def test_a_kill_in_the_middle_of_replacing_loses_nothing(tmp_path, monkeypatch, step):
    """Between any two steps of taking its place there is a whole config, and the next build puts things right."""
    write_config(tmp_path, "mine", {"train": [text_draft(1)]}, PLAN)
    folder = tmp_path / "new"
    shutil.copytree(tmp_path / "mine", folder)
    (folder / "build.json").write_text("{}")
    steps = []

    def dies_after(name):
        def rename(self, target):
            os.rename(self, target)
            steps.append(name)
            if len(steps) == {"moved aside": 1, "in place": 2, "named": 9}[step]:
                raise KeyboardInterrupt

        return rename

    monkeypatch.setattr(Path, "rename", dies_after("rename"))
    if step == "named":
        monkeypatch.setattr("shutil.rmtree", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        replace_config(tmp_path, "mine", folder)
    monkeypatch.undo()
    recover(tmp_path, "mine")
    assert ((tmp_path / "mine" / "build.json").read_text() == "{}") == (step != "moved aside")
    assert not list(tmp_path.glob(".mine*"))
    write_config(tmp_path, "other", {"train": [text_draft(1)]}, PLAN)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    shutil.copytree(tmp_path / "mine", fresh / "mine")
    recover(fresh, "mine")
    digest = [line for line in (fresh / "README.md").read_text().splitlines() if "sha256" in line]
    assert digest[0] in (tmp_path / "README.md").read_text()


def test_two_builds_at_once_are_refused(tmp_path):
    """They share a README: the second is told to wait."""
    with folder_lock(tmp_path), pytest.raises(InputError, match="another build is writing"):
        write_config(tmp_path, "mine", good_splits(), PLAN)
    write_config(tmp_path, "mine", good_splits(), PLAN)


def test_a_dictionary_on_disk_keeps_the_first_value(tmp_path):
    """Ten thousand random keys, many of them doubled, against `dict.setdefault`; a new one begins empty."""
    rng, seen, truth = random.Random(0), DiskDict(tmp_path / "seen.sqlite"), {}
    for number in range(10_000):
        key = f"ключ {rng.randrange(6_000)}"
        expected = truth.get(key)
        truth.setdefault(key, str(number))
        assert seen.put_if_absent(key, str(number)) == expected
    assert len(seen) == len(truth) and not len(DiskDict(tmp_path / "seen.sqlite"))
