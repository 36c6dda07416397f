"""UNLI from its published files: nothing lost, no premise on both sides of a split, bad rows named."""

import os
from argparse import Namespace
from pathlib import Path

import pytest

from common.errors import InputError
from datasets_scripts.build import main as build
from datasets_scripts.building.drafts import Draft, Problem
from datasets_scripts.load import load_split
from datasets_scripts.schema import SPLITS
from datasets_scripts.sources.unli import configs, read_rows


def unli_splits(raw: Path, seed: int) -> dict[str, list[dict]]:
    """The rows of each split; there must be no problem."""
    splits = {split: list(drafts) for split, drafts in configs(Namespace(raw=raw, seed=seed))["unli"].items()}
    assert all(isinstance(draft, Draft) for drafts in splits.values() for draft in drafts)
    return {split: [draft.row for draft in drafts] for split, drafts in splits.items()}


def premises(rows: list[dict]) -> set[str]:
    """The different premises of some rows."""
    return {row["premise"] for row in rows}


def test_a_development_set_alone_is_split_by_premise(unli_raw):
    """80/10/10 of the premises, every row once, no premise in two splits; the seed decides which."""
    splits = unli_splits(unli_raw, seed=0)
    counts = {split: len(premises(rows)) for split, rows in splits.items()}
    assert counts == {"train": 18, "validation": 2, "test": 2}
    assert len(set.union(*(premises(rows) for rows in splits.values()))) == sum(counts.values())
    rows = [row for split in SPLITS for row in splits[split]]
    assert {row["id"] for row in rows} == {f"unli-dev-{k}" for k in range(1, 44)} and len(rows) == 43
    assert [row["id"] for row in rows] != sorted(row["id"] for row in rows)
    assert unli_splits(unli_raw, seed=0) == splits
    assert unli_splits(unli_raw, seed=1) != splits


def test_values_are_those_of_the_file(unli_raw):
    """Probabilities are kept as published; entailment and contradiction are labels, neutral is none."""
    rows = {draft.row["id"]: draft.row for draft in read_rows(unli_raw / "dev.csv")}
    expected = {"1": (0.01, 0), "2": (0.6, None), "3": (0.99, 1)}
    for key, (probability, label) in expected.items():
        row = rows[f"unli-dev-{key}"]
        assert (row["probability"], row["label"], row["probability_source"]) == (probability, label, "human")
    assert rows["unli-dev-3"]["premise"] == "A dog runs." and rows["unli-dev-3"]["hypothesis"] == "An animal runs."


def test_published_splits_are_used_as_they_are(tmp_path):
    """With all three files there is nothing to split."""
    for number, file in enumerate(("train", "dev", "test")):
        (tmp_path / f"{file}.csv").write_text(f"id,pre,hyp,nli,unli\n1,Premise {number}.,Hypothesis.,1,0.5\n")
    splits = unli_splits(tmp_path, seed=0)
    found = {split: [(row["id"], row["premise"]) for row in rows] for split, rows in splits.items()}
    assert found == {
        "train": [("unli-train-1", "Premise 0.")],
        "validation": [("unli-dev-1", "Premise 1.")],
        "test": [("unli-test-1", "Premise 2.")],
    }


BAD = "id,pre,hyp,nli,unli\n1,P,H,1,0.5\n2,P,H,1,0.6\n3,P, ,1,0.5\n4,P,A,1,1.2\n5,P,B,7,nan\n5,P,C,1,x\n6,P,D,1,0,5\n"


def test_bad_rows_are_all_named(tmp_path, unli_raw):
    """One error lists every bad row by its number, the header being row 1, and nothing is written."""
    (tmp_path / "dev.csv").write_text(BAD)
    with pytest.raises(SystemExit) as error:
        build(["unli", "--raw", str(tmp_path), "--output-dir", str(tmp_path / "umui")])
    for complaint in (
        "dev.csv row 3: the same premise and hypothesis as dev.csv row 2",
        "row 4: hyp is empty",
        "row 5: unli must be a number in [0, 1], got '1.2'",
        "row 6: nli must be one of ['0', '1', '2'], got '7'",
        "unli must be a number in [0, 1], got 'nan'",
        "row 7: unli must be a number in [0, 1], got 'x'",
        "row 8: has 6 fields, the header 5",
    ):
        assert complaint in str(error.value)
    assert "row 2: " not in str(error.value)
    assert [path.name for path in (tmp_path / "umui").iterdir()] == ["unli.problems.csv"]


def test_a_lone_quotation_mark_costs_its_own_row_alone(tmp_path):
    """Where some later mark seems to close it, too, and labels are told by value."""
    lines = [f"{k},Premise {k},Hypothesis {k},{k % 3}.0,0.5" for k in range(12)]
    lines[3] = '3,"He said hello and left,Hypothesis 3,1,0.9'
    lines[7] = '7,A screen of 32",Hypothesis 7,1,0.9'
    lines[9] = '9,Premise 9,"Hypothesis 9, in marks",1,0.9'
    (tmp_path / "dev.csv").write_text("id,pre,hyp,nli,unli\n" + "\r\n".join(lines))
    found = list(read_rows(tmp_path / "dev.csv"))
    assert [one.place for one in found] == [f"dev.csv row {k + 2}" for k in range(12)]
    assert [k for k, one in enumerate(found) if not isinstance(one, Draft)] == [3]
    assert "column 'pre'" in found[3].complaint and found[7].row["premise"] == 'A screen of 32"'


def test_bad_rows_are_skipped_on_request(tmp_path, unli_raw, capsys):
    """The good rows are built, the others counted and listed."""
    bad = (unli_raw / "dev.csv").read_text() + "".join(BAD.splitlines(True)[2:])
    (tmp_path / "dev.csv").write_text(bad.replace("2,P,H,1,0.6", "1,P,H,1,0.6"))
    out = tmp_path / "umui"
    build(["unli", "--raw", str(tmp_path), "--output-dir", str(out), "--on-error", "skip"])
    told = capsys.readouterr().out
    assert "left out: 1 duplicate, 5 row" in told and "unli.problems.csv" in told
    assert len((out / "unli.problems.csv").read_text().splitlines()) == 7
    rows = [row["id"] for split in SPLITS for row in load_split(str(out), "unli", split)]
    assert len(rows) == len(set(rows)) == 43


@pytest.mark.parametrize(
    ("files", "complaint"),
    [({}, "found none of them"), ({"dev.csv": "", "test.csv": ""}, r"found \['dev.csv', 'test.csv'\]")],
)
def test_incomplete_files_are_refused(tmp_path, files, complaint):
    """A test file without its training file is no published split."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=complaint):
        unli_splits(tmp_path, seed=0)


def test_missing_columns_are_named(tmp_path):
    """A file of another layout is refused before its rows are read."""
    (tmp_path / "dev.csv").write_text("id,premise,hyp,nli,unli\n1,P,H,1,0.5\n")
    with pytest.raises(InputError, match=r"lacks the columns \['pre'\]"):
        unli_splits(tmp_path, seed=0)


def test_a_file_that_is_no_table_in_utf8_is_named(tmp_path):
    """Another encoding is told of each row that it makes unreadable, or of the file if of its columns' names."""
    (tmp_path / "dev.csv").write_bytes("id,pre,hyp,nli,unli\n1,Café.,H,1,0.5\n".encode("latin-1"))
    assert [(one.place, one.complaint[:31]) for one in read_rows(tmp_path / "dev.csv")] == [
        ("dev.csv row 2", "holds bytes that are no UTF-8 text"[:31])
    ]
    (tmp_path / "dev.csv").write_text("id,pre,hyp,nli,unli\n1,P,H,1,0.5\n", encoding="utf-16")
    with pytest.raises(InputError, match="column names in UTF-8"):
        unli_splits(tmp_path, seed=0)


def test_published_files_are_read_row_by_row(tmp_path):
    """The first row is there before the last one is read, broken as it may be."""
    (tmp_path / "train.csv").write_bytes(b"id,pre,hyp,nli,unli\n" + b"1,P,H,1,0.5\n" * 100_000 + b"\xff\n")
    assert isinstance(next(read_rows(tmp_path / "train.csv")), Draft | Problem)


def test_the_real_development_set():
    """All 3,040 published rows arrive, their mean unchanged, their premises apart."""
    raw = Path(os.environ.get("UMUI_DATA_DIR", "../shared/data")) / "unli"
    if not (raw / "dev.csv").is_file():
        pytest.skip(f"no {raw / 'dev.csv'}: set UMUI_DATA_DIR to a folder with unli/dev.csv")
    splits = unli_splits(raw, seed=0)
    rows = [row for split in SPLITS for row in splits[split]]
    assert len(rows) == 3040
    assert sum(row["probability"] for row in rows) / 3040 == pytest.approx(0.385238, abs=1e-6)
    assert len(set.union(*(premises(splits[split]) for split in SPLITS))) == sum(
        len(premises(splits[split])) for split in SPLITS
    )
