"""Teachers are measured by the formulas, on items that several people judged; what can't be read is never a 0."""

import csv
import json
import random
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from datasets_scripts.annotations import main as annotate
from datasets_scripts.schema import BuildError
from datasets_scripts.teachers.answers import Parsed
from datasets_scripts.teachers.measures import measure, votes_of
from datasets_scripts.teachers.quality import main, read_people, report_on
from datasets_scripts.teachers.tables import PAPER


def brute_force_alpha(first: list[float], second: list[float]) -> float:
    """Interval alpha of two coders without gaps: 1 - (disagreement within items) / (that of all pairs of values)."""
    within = np.mean([(a - b) ** 2 for a, b in zip(first, second, strict=True)])
    between = np.mean([(a - b) ** 2 for a, b in permutations([*first, *second], 2)])
    return 1 - within / between


def write_lines(path: Path, records: list[dict]) -> Path:
    """Writes a JSONL file."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def answer_line(item: str, probabilities, split: str = "test") -> dict:
    """A line of answers; `None` is one that can't be read."""
    answers = [{"text": "t", "probability": p, "reason": "a range" if p is None else None} for p in probabilities]
    return {"id": item, "config": "c", "split": split, "answers": answers}


def item_line(item: str, probabilities) -> dict:
    """A line of aggregated judgements, as far as it is read."""
    return {"item": item, "human_probabilities": list(probabilities), "claim": None}


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path, dict, dict]:
    """A file of answers (7 a pair, some unreadable) and one of judgements, with what is in them."""
    generator = random.Random(0)
    people, answers = {}, {}
    for number in range(80):
        truth = generator.random()
        people[f"i{number}"] = [round(min(1, max(0, generator.gauss(truth, 0.1))), 2) for _ in range(number % 4 + 1)]
        answers[f"i{number}"] = [
            None if generator.random() < 0.2 else round(min(1, max(0, generator.gauss(truth, 0.3))), 2)
            for _ in range(7)
        ]
    answers["i5"] = [None] * 7
    people["i6"] = [0.5, 0.5]
    del answers["i7"]
    answers["beside"] = [0.5] * 7
    lines = [answer_line(item, given) for item, given in answers.items()]
    generator.shuffle(lines)
    judgements = write_lines(tmp_path / "j.jsonl", [item_line(*pair) for pair in people.items()])
    return write_lines(tmp_path / "a.jsonl", lines), judgements, answers, people


def test_every_number_is_that_of_its_formula(files):
    """Accuracy, MSE and alpha of each vote, computed anew item by item in plain loops."""
    path, judgements, answers, people = files
    report = report_on({"omni": path}, judgements, resamples=50, random_seed=0)
    items = [item for item in people if len(people[item]) >= 2 and item in answers]
    assert report["items"] == {"judged": 80, "judged_by_two": 60}
    facts = report["teachers"]["omni"]
    assert (facts["items"], facts["not_asked"], facts["asked_beside"]) == (59, 1, len(answers) - 59)
    assert facts["unreadable_answers"] == sum(answers[item].count(None) for item in items)
    assert (facts["fewest_answers"], facts["most_answers"]) == (7, 7)
    assert [row.votes for row in report["rows"]] == ["1", "7-majority", "7-mean"]
    given = [value for item, values in people.items() if len(people[item]) >= 2 for value in values]
    told = [value for item in items for value in answers[item] if value is not None]
    for one, values in zip(report["distributions"], (given, told), strict=True):
        assert one["n"] == sum(one["histogram"]) == len(values)
    for row in report["rows"]:
        votes, means = [], []
        for item in items:
            valid = [p for p in answers[item] if p is not None]
            sides = [[p for p in valid if p >= 0.5], [p for p in valid if p < 0.5]]
            side = valid if len(sides[0]) == len(sides[1]) else max(sides, key=len)
            counted = {"1": answers[item][:1], "7-majority": side, "7-mean": valid}[row.votes]
            if counted and counted != [None]:
                votes.append(sum(counted) / len(counted))
                means.append(sum(people[item]) / len(people[item]))
        assert (row.items, row.missing) == (len(votes), 59 - len(votes))
        assert row.undecided == 1
        right = [(vote >= 0.5) == (mean > 0.5) for vote, mean in zip(votes, means, strict=True) if mean != 0.5]
        assert row.accuracy.value == pytest.approx(sum(right) / len(right))
        squares = [(vote - mean) ** 2 for vote, mean in zip(votes, means, strict=True)]
        assert row.mse.value == pytest.approx(sum(squares) / len(squares))
        assert row.alpha.value == pytest.approx(brute_force_alpha(votes, means))
    assert report["rows"][0].missing > 5 and report["rows"][1].missing == report["rows"][2].missing == 1


def test_what_cannot_be_read_is_no_zero():
    """People sure it is true, two items without an answer: counted as 0 they would be two mistakes."""
    votes = np.array([1.0, np.nan, 0.9, np.nan, 0.1])
    row = measure("t", "1", votes, np.array([1.0, 1.0, 0.9, 1.0, 0.1]), 100, 0)
    assert (row.items, row.missing, row.accuracy.value, row.mse.value, row.alpha.value) == (3, 2, 1.0, 0.0, 1.0)


def test_intervals_are_those_of_the_mean():
    """For many items the bootstrap interval is that of the central limit theorem, for accuracy and for MSE."""
    generator = np.random.default_rng(0)
    people, noise = generator.uniform(size=2000), generator.normal(scale=0.3, size=2000)
    votes = np.clip(people + noise, 0, 1)
    row = measure("t", "1", votes, people, 4000, 1)
    right = ((votes >= 0.5) == (people > 0.5)).astype(float)
    for found, values in ((row.accuracy, right), (row.mse, (votes - people) ** 2)):
        half = 1.96 * values.std() / np.sqrt(len(values))
        assert found.interval == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert row.alpha.interval[0] < row.alpha.value < row.alpha.interval[1]
    assert measure("t", "1", votes, people, 200, 1) == measure("t", "1", votes, people, 200, 1)
    assert (
        measure("t", "1", votes, people, 200, 2).mse.interval != measure("t", "1", votes, people, 200, 1).mse.interval
    )


def test_too_little_has_no_number_but_a_reason():
    """No vote at all, one item, or one value only: what is undefined is None and says why."""
    none = measure("t", "1", np.array([np.nan, np.nan]), np.array([0.1, 0.2]), 10, 0)
    one = measure("t", "1", np.array([0.5, np.nan]), np.array([0.75, 0.2]), 10, 0)
    same = measure("t", "1", np.array([1.0, 1.0]), np.array([1.0, 1.0]), 10, 0)
    half = measure("t", "1", np.array([0.2, 0.8]), np.array([0.5, 0.5]), 10, 0)
    assert (none.items, none.missing) == (0, 2)
    assert none.accuracy.value is none.mse.value is none.alpha.value is None
    assert (one.accuracy.value, one.mse.value, one.mse.interval) == (1.0, 0.0625, None)
    assert same.alpha.value is None and same.mse.interval == (0.0, 0.0)
    assert half.accuracy.value is None and half.undecided == 2
    for row, names in ((none, ("accuracy", "mse", "alpha")), (one, ("mse", "alpha")), (same, ("alpha",))):
        assert all(vars(row)[name].reason for name in names)


def test_the_number_of_answers_is_that_of_the_file():
    """One answer a pair is one way to vote; with different numbers the largest gives the name."""
    one, none = Parsed(0.2, None), Parsed(None, "a range")
    assert list(votes_of([(one,), (none,)])) == ["1"]
    votes = votes_of([(none, one, one), (one,)])
    assert list(votes) == ["1", "3-majority", "3-mean"]
    assert np.isnan(votes["1"][0]) and votes["1"][1] == 0.2
    assert votes["3-mean"].tolist() == [0.2, 0.2]


def test_the_report_is_the_same_in_all_its_forms(files, tmp_path, capsys):
    """Markdown, CSV and JSON tell the same numbers; the paper's rows are marked as the paper's; a run repeats."""
    path, judgements, _, _ = files
    command = ["--answers", f"omni={path}", f"tw|n={path}", "--judgements", str(judgements), "--bootstrap", "50"]
    main([*command, "--out", str(tmp_path / "q")])
    text = capsys.readouterr().out
    assert text == (tmp_path / "q/quality.md").read_text()
    numbers = json.loads((tmp_path / "q/quality.json").read_text())
    with (tmp_path / "q/quality.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 6 + len(PAPER) and [row["of"] for row in table] == ["measured"] * 6 + ["paper"] * len(PAPER)
    cells = [[cell.strip() for cell in line.replace("\\|", "/").split("|")[1:-1]] for line in text.splitlines()]
    wide = [row for row in cells if len(row) == 7][2:]
    for row, told, shown in zip(numbers["rows"], table[:6], wide[:6], strict=True):
        for name in ("accuracy", "mse", "alpha"):
            assert float(told[name]) == row[name]["value"]
            assert [float(told[f"{name}_low"]), float(told[f"{name}_high"])] == row[name]["interval"]
        assert shown[:4] == [row["teacher"].replace("|", "/"), row["votes"], str(row["items"]), str(row["missing"])]
        assert shown[4].startswith(f"{row['accuracy']['value']:.4f} [")
        assert shown[5].startswith(f"{row['mse']['value']:.3e} [")
        assert shown[6].startswith(f"{row['alpha']['value']:.4f} [")
    assert all(row[0].endswith("(paper)") for row in wide[6:]) and len(wide) == 6 + len(PAPER)
    narrow = [row for row in cells if len(row) == 6][2:]
    assert narrow[:6] == [row[:6] for row in wide[:6]] and len(narrow) == 6 + 6
    main([*command, "--out", str(tmp_path / "again")])
    names = ["histograms.png", "quality.csv", "quality.json", "quality.md"]
    for name in names:
        assert (tmp_path / "q" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert sorted(file.name for file in (tmp_path / "q").iterdir()) == names


def test_the_papers_numbers_fit_its_own_count_of_items():
    """All accuracies of Table 5 are whole numbers of 105 items, cut or rounded to four digits: none is misread."""
    for _, _, accuracy, _, _ in PAPER:
        assert min(abs(accuracy - right / 105) for right in range(106)) < 1.0001e-4
    assert {(row[0], row[1]) for row in PAPER} == {
        (f"{name}{thinking}", votes)
        for name in ("Qwen3-VL", "Qwen3-Omni")
        for thinking in ("", " Thinking")
        for votes in ("1", "5-majority", "5-mean")
    }


def test_judgements_come_from_the_tool_that_writes_them(tmp_path):
    """What `annotations aggregate` writes is read as it is: raw per cent to the teacher's error."""
    raw = tmp_path / "raw.csv"
    raw.write_text("annotator,item,probability\nann,i0,80\nben,i0,60\nann,i1,0\nben,i1,20\nann,i2,50\n")
    annotate(["aggregate", "--raw", str(raw), "--out", str(tmp_path / "j.jsonl")])
    lines = [answer_line("i0", [0.9]), answer_line("i1", [0.1]), answer_line("i2", [0.0])]
    path = write_lines(tmp_path / "a.jsonl", lines)
    (row,) = report_on({"t": path}, tmp_path / "j.jsonl", 10, 0)["rows"]
    assert (row.votes, row.items) == ("1", 2)
    assert row.mse.value == pytest.approx(0.02) and row.accuracy.value == 1


@pytest.mark.parametrize(("claim", "same"), [("A  caf\u00e9.", True), (None, True), ("A cafe.", False)])
def test_an_item_is_the_claim_that_was_asked(tmp_path, claim, same):
    """Ids may be places in a table that has changed between teacher and people: where both tell the claim it must be
    one, but for blanks and the form of letters. The line, the item and both texts are named."""
    asked = answer_line("i0", [0.9]) | {"hypothesis": "A cafe\u0301."}
    path = write_lines(tmp_path / "a.jsonl", [asked])
    judgements = write_lines(tmp_path / "j.jsonl", [item_line("i0", [0.1, 0.2]) | {"claim": claim}])
    if same:
        assert report_on({"t": path}, judgements, 10, 0)["rows"][0].items == 1
        return
    with pytest.raises(BuildError, match="a.jsonl line 1 is about 'A .*', but people judged 'A cafe.' as item 'i0'"):
        report_on({"t": path}, judgements, 10, 0)


def test_of_an_edited_pair_the_answers_to_the_claim_count(tmp_path):
    """A folder may hold answers to a row before and after it was edited: people judged one of both."""
    lines = [
        answer_line("i0", [p]) | {"hypothesis": text, "question": text} for p, text in ((0.9, "Old."), (0.4, "New."))
    ]
    path = write_lines(tmp_path / "a.jsonl", lines)
    judgements = write_lines(tmp_path / "j.jsonl", [item_line("i0", [0.4, 0.4]) | {"claim": "New."}])
    assert report_on({"t": path}, judgements, 10, 0)["rows"][0].mse.value == pytest.approx(0)


def test_an_item_of_two_pairs_is_refused(tmp_path):
    """An id that is in two splits could be either: the error names both lines."""
    path = write_lines(tmp_path / "a.jsonl", [answer_line("i0", [0.1]), answer_line("i0", [0.2], split="train")])
    judgements = write_lines(tmp_path / "j.jsonl", [item_line("i0", [0.1, 0.2])])
    with pytest.raises(
        BuildError, match=r"a.jsonl line 1 and, for another config, split or clip, in .*a.jsonl line 2"
    ):
        report_on({"t": path}, judgements, 10, 0)


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        ([item_line("other", [0.1, 0.2])], "no answered pair is an item of --judgements: .*'i0'.*'other'"),
        ([item_line("i0", [0.1])], "none of 1 items was judged by two people"),
    ],
)
def test_nothing_to_measure_on_is_an_error(tmp_path, items, complaint):
    """There is no table without items; the error shows what the names look like."""
    path = write_lines(tmp_path / "a.jsonl", [answer_line("i0", [0.1])])
    with pytest.raises(SystemExit, match=f"error: .*{complaint}"):
        judgements = write_lines(tmp_path / "j.jsonl", items)
        main(["--answers", f"t={path}", "--judgements", str(judgements), "--out", str(tmp_path / "q")])
    assert not (tmp_path / "q").exists()


def test_bad_judgements_are_all_named(tmp_path):
    """Every bad line by its number: no JSON, missing columns, values outside of [0, 1], an item twice."""
    good = json.dumps(item_line("i0", [0.1, 0.2]))
    bad = ["{", "[]", '{"item": "x"}', json.dumps(item_line("y", [1.5])), json.dumps(item_line("z", [True]))]
    bad += [json.dumps(item_line("w", [0.5]) | {"claim": 7}), good]
    (tmp_path / "j.jsonl").write_text("\n".join([good, "", *bad]))
    with pytest.raises(BuildError) as error:
        read_people(tmp_path / "j.jsonl")
    told = str(error.value).splitlines()
    assert len(told) == 8 and [line.split(":")[0].strip() for line in told[1:]] == [f"line {n}" for n in range(3, 10)]
    assert "item 'i0' was there before, in line 1" in told[-1]
    with pytest.raises(BuildError, match="can't be read"):
        read_people(tmp_path / "none.jsonl")


@pytest.mark.parametrize("answers", [["a.jsonl"], ["=a.jsonl"], ["t=a", "t=b"]])
def test_teachers_need_names_of_their_own(tmp_path, answers, capsys):
    """A teacher without a name, or two with one, are refused as wrong usage."""
    with pytest.raises(SystemExit) as error:
        main(["--answers", *answers, "--judgements", "j", "--out", str(tmp_path / "q")])
    assert error.value.code == 2 and "--answers" in capsys.readouterr().err
