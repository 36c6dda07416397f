"""Clotho entailment: categories become labels, clips are found by name, bad rows are named, splits stay apart."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.errors import InputError
from datasets_scripts.build import main as build
from datasets_scripts.building.drafts import Draft
from datasets_scripts.load import load_split
from datasets_scripts.schema import SPLITS, row_complaint
from datasets_scripts.sources import clotho
from tests.datasets_scripts.sources.reading import Drafts, drafts_of, problems_of, rows_of, touch


HEADER = ["Dataset", "Audio file", "Caption", "Entailment", "Neutral", "Contradiction"]


def write_csv(folder: Path, part: str, rows: list[tuple[str, str]]) -> None:
    """Writes a CSV file in the layout of CLE's, of (clip, captions); hypotheses tell their row."""
    folder.mkdir(exist_ok=True)
    with (folder / f"clotho_entailment_{part}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number, (clip, captions) in enumerate(rows, start=2):
            hypotheses = [f"{kind} {part} {number}." for kind in ("Yes", "Maybe", "No")]
            writer.writerow(["ClothoV2", clip, captions, *hypotheses])


def run(raw: Path, clips: Path | None = None, *arguments: object) -> dict[str, dict[str, Drafts]]:
    """Returns the drafts of each split of each config."""
    return drafts_of(clotho, "--raw", raw, *(["--clips", clips] if clips else []), *arguments)


def write_clip(path: Path, seed: int = 0) -> Path:
    """Writes a tenth of a second of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.3, 0.3, 1600), 16000)
    return path


@pytest.fixture
def raw(tmp_path) -> Path:
    """The three files, with a clip each."""
    for part in clotho.PARTS:
        write_csv(tmp_path / "raw", part, [(f"{part} 1.wav", f"['A {part} rings.']")])
    return tmp_path / "raw"


def test_categories_splits_and_ids(raw, tmp_path):
    """Each hypothesis is a row: entailed 1, contradicted 0, neutral without a label at 0.5; parts become splits."""
    clips = touch(tmp_path / "clips", *(f"{part}/{part} 1.wav" for part in clotho.PARTS))
    built = run(raw, clips)
    assert list(built) == ["clotho", "clotho-captions"]
    for config, modality in (("clotho", "audio"), ("clotho-captions", "text")):
        splits = {"train": "development", "validation": "validation", "test": "evaluation"}
        assert list(built[config]) == list(splits)
        for split, part in splits.items():
            rows = [draft.row for draft in built[config][split]]
            assert [(row["hypothesis"], row["label"], row["probability"]) for row in rows] == [
                (f"Yes {part} 2.", 1, 1.0),
                (f"Maybe {part} 2.", None, 0.5),
                (f"No {part} 2.", 0, 0.0),
            ]
            assert rows[0]["id"] == f"{config}-{part}-000002-entailment"
            assert built[config][split][1].place == f"clotho_entailment_{part}.csv row 2, Neutral"
            for row in rows:
                assert (row["modality"], row["probability_source"], row["evidence"]) == (modality, "label", [modality])
                assert row_complaint(row | ({"audio": "a.wav"} if modality == "audio" else {})) is None
    clip = built["clotho"]["test"][0].row["audio"]
    assert (clip.path, clip.key) == (clips / "evaluation/evaluation 1.wav", "evaluation/evaluation 1.wav")


def test_only_what_is_there_is_built(raw, tmp_path):
    """Without clips there are the captions; a part without its file gives no split; none at all is an error."""
    (raw / "clotho_entailment_validation.csv").unlink()
    assert {config: list(splits) for config, splits in run(raw).items()} == {"clotho-captions": ["train", "test"]}
    for arguments, complaint in (
        ((raw, None, "--dataset-configs", "clotho"), "pass --clips"),
        ((tmp_path,), "found none"),
        ((raw, tmp_path / "nowhere"), "--clips .*nowhere is not a folder"),
    ):
        with pytest.raises(InputError, match=complaint):
            run(*arguments)


def test_captions_become_sentences(tmp_path):
    """A premise has each caption once, as a sentence, in the file's order."""
    captions = ["a dog  barks ", "A dog barks.", "It rains!", "", "rain; falls, on roofs"]
    write_csv(tmp_path, "development", [("a.wav", repr(captions))])
    [draft, _, _] = run(tmp_path)["clotho-captions"]["train"]
    assert draft.row["premise"] == "A dog barks. It rains! Rain; falls, on roofs."


@pytest.mark.parametrize(
    "captions",
    [
        "['A dog barks.'",
        "a dog barks",
        "('A dog barks.',)",
        "[]",
        "['A dog barks.', 3]",
        "[print('hello')]",
        "[" * 5000,
        "-" * 9000 + "1",
        repr(["long" * 3000]),
        "['null \\x00']\0",
    ],
)
def test_broken_captions_are_problems(tmp_path, captions):
    """What is no list of strings is a problem of its row, is never run, and leaves the other rows alone."""
    write_csv(tmp_path, "development", [("a.wav", "['A.']"), ("b.wav", captions), ("c.wav", "['C.']")])
    first, *_, last = drafts = run(tmp_path)["clotho-captions"]["train"]
    [problem] = problems_of(drafts)
    assert (problem.kind, problem.place) == ("row", "clotho_entailment_development.csv row 3")
    assert len(drafts) == 7 and (first.row["premise"], last.row["premise"]) == ("A.", "C.")


def test_captions_do_not_matter_to_clips(tmp_path):
    """A broken caption does not cost the clip its rows."""
    write_csv(tmp_path / "raw", "development", [("a.wav", "broken")])
    built = run(tmp_path / "raw", touch(tmp_path / "clips", "a.wav"))
    assert [type(draft) for draft in built["clotho"]["train"]] == [Draft] * 3


def test_rows_that_are_no_rows(tmp_path):
    """Too few or too many fields, and names that lead out of the folder, are problems with their row's number."""
    (tmp_path / "clotho_entailment_evaluation.csv").write_text(
        ",".join(HEADER) + "\nC,a.wav,['A.'],E,N\nC,b.wav,['B.'],E,N,C,more\nC,../c.wav,['C.'],E,N,C\n"
        "C,..,['C.'],E,N,C\nC,e.wav,['E.'],E,N,C\n"
    )
    drafts = run(tmp_path)["clotho-captions"]["test"]
    found = [(problem.place[-1], problem.kind) for problem in problems_of(drafts)]
    assert found == [("2", "row"), ("3", "row"), ("4", "row"), ("5", "row")] and len(drafts) == 7
    (tmp_path / "clotho_entailment_development.csv").write_text("Audio file,Caption\na,b\n")
    with pytest.raises(InputError, match=r"lacks the columns \['Contradiction', 'Entailment', 'Neutral'\]"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Rain, Cracking,  Rumbling .wav", "development/Rain, Cracking,  Rumbling .wav"),
        ("a.b.wav", "a.b.wav"),
        ("a.wav", "clotho_audio_development/development/deep/a.wav"),
        ("a.wav", "clotho_audio_development/a.wav"),
        ("a.wav", "development/a.flac"),
        ("a.wav", "development/A.WAV"),
        ("a  b .wav", "development/a b.wav"),
        ("Henry&#39;s &amp; mine.wav", "development/Henry's & mine.wav"),
        ("Beat &gt; Tape.wav", "development/Beat _ Tape.ogg"),
        ("17_30.wav", "17:30.wav"),
    ],
)
def test_a_clip_is_found_by_its_name(tmp_path, name, file):
    """Case, white space, entities, forbidden characters and the ending may differ from the CSV file's name."""
    clips = touch(tmp_path / "clips", file, f"validation/{name}")
    write_csv(tmp_path / "raw", "development", [(name, "['A.']")])
    draft = run(tmp_path / "raw", clips)["clotho"]["train"][0]
    assert draft.row["audio"].path == clips / file
    assert draft.row["audio"].key == f"development/{Path(name).stem}{Path(file).suffix}"


def test_a_clip_that_is_not_there_is_drafted(raw, tmp_path):
    """The writer reports missing files: it is given the place where the file should be."""
    clips = touch(tmp_path / "clips", "validation/development 1.wav")
    draft = run(raw, clips)["clotho"]["train"][0]
    assert draft.row["audio"].path == clips / "development/development 1.wav"
    assert not draft.row["audio"].path.exists()


def test_what_may_be_another_clip_is_a_problem(tmp_path):
    """Names that differ in case alone are not mixed up; two files for one clip, and one for two, are reported."""
    write_csv(tmp_path / "raw", "development", [(f"{name}.wav", "['A.']") for name in ("Birds", "wind", "sea")])
    write_csv(tmp_path / "raw", "evaluation", [("birds.wav", "['A.']")])
    clips = touch(tmp_path / "clips", "birds.wav", "wind.flac", "wind.ogg", "sea.wav", "sea.flac")
    built = run(tmp_path / "raw", clips)["clotho"]
    assert built["test"][0].row["audio"].path == clips / "birds.wav"
    birds, _, _, wind, sea, _, _ = built["train"]
    assert birds.row["audio"].path == clips / "development/Birds.wav"
    assert (wind.kind, wind.place) == ("media", "clotho_entailment_development.csv row 3")
    assert "wind.flac" in wind.complaint and "wind.ogg" in wind.complaint
    assert sea.row["audio"].path == clips / "sea.wav"


def test_one_recording_in_two_splits(tmp_path):
    """The later split keeps it, under either spelling of the name; the earlier one has a problem and no row."""
    write_csv(tmp_path / "raw", "development", [("x.wav", "['A.']"), ("y &#39;.wav", "['A.']"), ("z.wav", "['A.']")])
    write_csv(tmp_path / "raw", "validation", [("y __39_.wav", "['B.']"), ("z.wav", "['B.']")])
    write_csv(tmp_path / "raw", "evaluation", [("Z.wav", "['C.']"), ("z.wav", "['C.']")])
    built = run(tmp_path / "raw")["clotho-captions"]
    kept = {split: [int(row["id"].split("-")[3]) for row in rows_of(drafts)[::3]] for split, drafts in built.items()}
    assert kept == {"train": [2], "validation": [2], "test": [2, 3]}
    first, second, third = problems_of(built["train"] + built["validation"])
    assert {first.kind, second.kind, third.kind} == {"split"}
    assert "clotho_entailment_validation.csv row 2, which is kept" in first.complaint
    assert "clotho_entailment_evaluation.csv row 3, which is kept" in second.complaint
    # In one folder for all parts the file of such a clip may be either part's.
    built = run(tmp_path / "raw", touch(tmp_path / "clips", "z.wav"))["clotho"]
    assert "make a folder for each of them" in built["test"][3].complaint


def test_the_real_files():
    """All 5,929 rows arrive, 17,787 hypotheses, but for the five recordings that are in two splits."""
    folder = Path(os.environ.get("UMUI_DATA_DIR", "../shared/data")) / "clotho_entailment"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set UMUI_DATA_DIR to a folder with clotho_entailment")
    built = run(folder)["clotho-captions"]
    sizes = {split: len(rows_of(drafts)) for split, drafts in built.items()}
    assert sizes == {"train": 3 * (3839 - 3), "validation": 3 * (1045 - 2), "test": 3 * 1045}
    assert [problem.kind for drafts in built.values() for problem in problems_of(drafts)] == ["split"] * 5
    rows = [row for drafts in built.values() for row in rows_of(drafts)]
    assert len({row["id"] for row in rows}) == len({(row["premise"], row["hypothesis"]) for row in rows}) == len(rows)
    for row in rows:
        assert row_complaint(row) is None


def test_built_and_loaded(tmp_path):
    """As a user builds it: refused with a report while a row is bad, then loaded back with every clip stored once."""
    for seed, part in enumerate(clotho.PARTS):
        write_csv(tmp_path / "raw", part, [(f"{part} {k}.wav", f"['A {part} rings {k}.']") for k in range(2)])
        for k in range(2):
            write_clip(tmp_path / "clips" / part / f"{part} {k}.wav", seed=10 * seed + k)
    (tmp_path / "clips/development/development 1.wav").unlink()
    arguments = ["clotho", "--raw", tmp_path / "raw", "--clips", tmp_path / "clips", "--output-dir", tmp_path / "umui"]
    with pytest.raises(SystemExit, match=r"clotho has 3 problems \(media 3\)"):
        build(list(map(str, arguments)))
    build([*map(str, arguments), "--on-error", "skip"])
    for config, column in (("clotho", "audio"), ("clotho-captions", "premise")):
        sizes = {split: len(load_split(str(tmp_path / "umui"), config, split)) for split in SPLITS}
        assert sizes == {"train": 3 if config == "clotho" else 6, "validation": 6, "test": 6}
        found = load_split(str(tmp_path / "umui"), config, "test")
        assert found["label"] == [1, None, 0] * 2 and found["probability"] == [1.0, 0.5, 0.0] * 2
        assert all(row[column] for row in found)
    path = Path(load_split(str(tmp_path / "umui"), "clotho", "train")[0]["audio"]["path"])
    assert path.read_bytes() == (tmp_path / "clips/development/development 0.wav").read_bytes()
    assert len(list((tmp_path / "umui/clotho").glob("*/media/*"))) == 5
