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
    """Returns the rows of each split; there must be no problem."""
    return {
        split: [draft.row for draft in drafts]
        for split, drafts in configs(Namespace(raw=raw, seed=seed))["unli"].items()
    }


def premises(rows: list[dict]) -> set[str]:
    """Returns the different premises of some rows."""
    return {row["premise"] for row in rows}


def test_a_development_set_alone_is_split_by_premise(unli_raw):
    """80/10/10 of the premises, every row once, no premise in two splits; the seed decides which."""
    splits = unli_splits(unli_raw, seed=0)
    counts = {split: len(premises(rows)) for split, rows in splits.items()}
    assert counts == {"train": 18, "validation": 2, "test": 2}
    assert len(set.union(*map(premises, splits.values()))) == sum(counts.values())
    ids = [row["id"] for split in SPLITS for row in splits[split]]
    assert set(ids) == {f"unli-dev-{k}" for k in range(1, 44)} and len(ids) == 43
    assert ids != sorted(ids)
    assert unli_splits(unli_raw, seed=0) == splits != unli_splits(unli_raw, seed=1)


def test_values_are_those_of_the_file(unli_raw):
    """Probabilities are kept as published; entailment and contradiction are labels, neutral is none."""
    columns = ("id", "premise", "hypothesis", "probability", "label", "probability_source")
    first = [tuple(draft.row[column] for column in columns) for draft in read_rows(unli_raw / "dev.csv")][:3]
    assert first == [
        ("unli-dev-1", "A man sleeps.", "A man runs.", 0.01, 0, "human"),
        ("unli-dev-2", "A man sleeps.", "A man is tired.", 0.6, None, "human"),
        ("unli-dev-3", "A dog runs.", "An animal runs.", 0.99, 1, "human"),
    ]


def test_published_splits_are_used_as_they_are(tmp_path):
    """With all three files there is nothing to split."""
    files = {"train": "train", "validation": "dev", "test": "test"}
    for file in files.values():
        (tmp_path / f"{file}.csv").write_text(f"id,pre,hyp,nli,unli\n1,Premise of {file}.,Hypothesis.,1,0.5\n")
    found = {split: [(row["id"], row["premise"]) for row in rows] for split, rows in unli_splits(tmp_path, 0).items()}
    assert found == {split: [(f"unli-{file}-1", f"Premise of {file}.")] for split, file in files.items()}


def test_the_jsonl_form_is_read(tmp_path):
    """All three splits as they are, without labels, and each bad line by its number."""
    good = '{"premise": "A  man sleeps.", "hypothesis": "He is tired.", "label": 0.6, "other": 1}'
    for split in SPLITS:
        (tmp_path / f"{split}.jsonl").write_text(f"{good}\n".replace("man", split))
    splits = unli_splits(tmp_path, 0)
    assert {split: [row["premise"] for row in rows] for split, rows in splits.items()} == {
        split: [f"A {split} sleeps."] for split in SPLITS
    }
    (row,) = splits["test"]
    assert (row["id"], row["probability"], row["label"]) == ("unli-test-1", 0.6, None)
    lines = [
        good,
        "{",
        good.replace("0.6", "60"),
        good.replace("0.6", '"0.6"'),
        good.replace('"He is tired."', "null"),
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    draft, *problems = configs(Namespace(raw=tmp_path, seed=0))["unli"]["train"]
    assert isinstance(draft, Draft) and [problem.place for problem in problems] == [
        f"train.jsonl row {row}" for row in (2, 3, 4, 5)
    ]
    assert "label must be a number in [0, 1], got 60" in problems[1].complaint
    assert "label must be a number in [0, 1], got '0.6'" in problems[2].complaint
    assert "hypothesis must be a text, got None" in problems[3].complaint


BAD = "id,pre,hyp,nli,unli\n1,P,H,1,0.5\n2,P,H,1,0.6\n3,P, ,1,0.5\n4,P,A,1,1.2\n5,P,B,7,nan\n5,P,C,1,x\n6,P,D,1,0,5\n"


def test_bad_rows_are_all_named(tmp_path):
    """One error lists every bad row by its number, the header being row 1, and nothing is written."""
    (tmp_path / "dev.csv").write_text(BAD)
    with pytest.raises(SystemExit) as error:
        build(["unli", "--raw", str(tmp_path), "--output-dir", str(tmp_path / "umui")])
    for complaint in (
        "dev.csv row 3: the same premise and hypothesis as dev.csv row 2",
        "row 4: hyp is empty",
        "row 5: unli must be a number in [0, 1], got '1.2'",
        "row 6: nli must be one of ['0', '1', '2'], got '7'; unli must be a number in [0, 1], got 'nan'",
        "row 7: unli must be a number in [0, 1], got 'x'",
        "row 8: has 6 fields, the header 5",
    ):
        assert complaint in str(error.value)
    assert "row 2: " not in str(error.value)
    assert [path.name for path in (tmp_path / "umui").iterdir()] == ["unli.problems.csv"]


def test_bad_rows_are_skipped_on_request(tmp_path, unli_raw, capsys):
    """The good rows are built, the others counted and listed."""
    bad = (unli_raw / "dev.csv").read_text() + "".join(BAD.splitlines(True)[2:])
    (tmp_path / "dev.csv").write_text(bad.replace("2,P,H,1,0.6", "1,P,H,1,0.6"))
    out = tmp_path / "umui"
    build(["unli", "--raw", str(tmp_path), "--output-dir", str(out), "--on-error", "skip"])
    printed = capsys.readouterr().out
    assert "left out: 1 duplicate, 5 row" in printed and "unli.problems.csv" in printed
    assert len((out / "unli.problems.csv").read_text().splitlines()) == 7
    ids = [row["id"] for split in SPLITS for row in load_split(str(out), "unli", split)]
    assert len(ids) == len(set(ids)) == 43


def test_a_lone_quotation_mark_costs_its_own_row_alone(tmp_path):
    """Where some later mark seems to close it, too, and labels are read by value."""
    lines = [f"{k},Premise {k},Hypothesis {k},{k % 3}.0,0.5" for k in range(12)]
    lines[3] = '3,"He said hello and left,Hypothesis 3,1,0.9'
    lines[7] = '7,A screen of 32",Hypothesis 7,1,0.9'
    lines[9] = '9,Premise 9,"Hypothesis 9, in marks",1,0.9'
    (tmp_path / "dev.csv").write_text("id,pre,hyp,nli,unli\n" + "\r\n".join(lines))
    found = list(read_rows(tmp_path / "dev.csv"))
    assert [one.place for one in found] == [f"dev.csv row {k + 2}" for k in range(12)]
    assert [k for k, one in enumerate(found) if not isinstance(one, Draft)] == [3]
    assert "column 'pre'" in found[3].complaint and found[7].row["premise"] == 'A screen of 32"'


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "found none of them"),
        ({"dev.csv": b"", "test.csv": b""}, r"found \['dev.csv', 'test.csv'\]"),
        ({"test.jsonl": b"", "dev.csv": b""}, r"found \['dev.csv', 'test.jsonl'\]"),
        ({"dev.csv": b"id,premise,hyp,nli,unli\n1,P,H,1,0.5\n"}, r"lacks the columns \['pre'\]"),
    ],
)
def test_files_of_another_layout_are_refused(tmp_path, files, complaint):
    """A test file without its training file is no published split; columns are looked at before rows."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        unli_splits(tmp_path, seed=0)


def test_published_files_are_read_row_by_row(tmp_path):
    """The first row is there before the last one is read, broken as it may be: a row in another encoding is named."""
    (tmp_path / "train.csv").write_bytes(b"id,pre,hyp,nli,unli\n" + b"1,P,H,1,0.5\n" * 20_000 + b"1,\xff,H,1,0.5\n")
    found = read_rows(tmp_path / "train.csv")
    assert isinstance(next(found), Draft)
    *_, last = found
    assert isinstance(last, Problem) and last.place == "train.csv row 20002" and "no UTF-8 text" in last.complaint


def test_the_real_development_set():
    """All 3,040 published rows arrive, their mean unchanged, their premises apart."""
    raw = Path(os.environ.get("UMUI_DATA_DIR", "../shared/data")) / "unli"
    if not (raw / "dev.csv").is_file():
        pytest.skip(f"no {raw / 'dev.csv'}: set UMUI_DATA_DIR to a folder with unli/dev.csv")
    splits = unli_splits(raw, seed=0)
    rows = [row for split in SPLITS for row in splits[split]]
    assert len(rows) == 3040
    assert sum(row["probability"] for row in rows) / 3040 == pytest.approx(0.385238, abs=1e-6)
    assert len(premises(rows)) == sum(len(premises(splits[split])) for split in SPLITS)
