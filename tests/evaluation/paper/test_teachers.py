"""Tables 1 and 5: teachers' votes against people, by the formulas and by premise; what can't be read is never a 0."""

import json
import random
from itertools import permutations

import numpy as np
import pytest

from chat.answers import Parsed
from datasets_scripts.paper_numbers import paper_numbers
from evaluation.paper.__main__ import main
from evaluation.paper.teachers import votes_of

from .conftest import read_csv


def brute_force_alpha(first: list[float], second: list[float]) -> float:
    """Interval alpha of two coders without gaps: 1 - (disagreement within items) / (that of all pairs of values)."""
    within = np.mean([(a - b) ** 2 for a, b in zip(first, second, strict=True)])
    between = np.mean([(a - b) ** 2 for a, b in permutations([*first, *second], 2)])
    return 1 - within / between


def write_answers(path, answers: dict[str, list]) -> None:
    """A file of answers; `None` is one that can't be read."""
    with path.open("w") as file:
        for item, given in answers.items():
            told = [{"text": "t", "probability": p, "reason": "a range" if p is None else None} for p in given]
            file.write(json.dumps({"id": item, "config": "c", "split": "test", "answers": told}) + "\n")


@pytest.fixture
def judged(tmp_path):
    """Eighty items about twenty videos that one to four people judged, and the answers of two teachers, seven an item,
    some unreadable: a folder with `people`, `one` and `two`, and what is in them."""
    generator = random.Random(0)
    people, answers = {}, {"one": {}, "two": {}}
    for number in range(80):
        truth = generator.random()
        people[f"i{number}"] = [round(min(1, max(0, generator.gauss(truth, 0.1))), 2) for _ in range(number % 4 + 1)]
        for given in answers.values():
            given[f"i{number}"] = [
                None if generator.random() < 0.2 else round(min(1, max(0, generator.gauss(truth, 0.3))), 2)
                for _ in range(7)
            ]
    people["i6"] = [0.5, 0.5]
    for name, given in answers.items():
        given["i5"] = [None] * 7
        given["beside"] = [0.5] * 7
        del given["i7"]
        write_answers(tmp_path / f"{name}.jsonl", given)
    lines = [{"item": item, "human_probabilities": v, "video": f"v{int(item[1:]) // 4}"} for item, v in people.items()]
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path, people, answers


def make(folder, table, *answers):
    """Makes a table and returns its rows as the CSV file has them."""
    out = folder / "t"
    main([table, "--answers", *answers, "--judgements", str(folder / "people.jsonl"), "--output-dir", str(out)])
    return read_csv(out / f"{table}.csv", "teacher", "votes")


@pytest.mark.parametrize("table", ["table1", "table5"])
def test_every_number_is_that_of_its_formula(judged, table):
    """Accuracy, MSE and alpha of each vote, computed anew item by item in plain loops; the paper's stand beside."""
    folder, people, answers = judged
    rows = make(folder, table, f"Qwen3-VL Thinking={folder / 'one.jsonl'}", f"mine={folder / 'two.jsonl'}")
    items = [item for item in people if len(people[item]) >= 2 and item in answers["one"]]
    for name, given in (("Qwen3-VL Thinking", answers["one"]), ("mine", answers["two"])):
        for ways in ("1", "7-majority", "7-mean"):
            votes, means = [], []
            for item in items:
                valid = [p for p in given[item] if p is not None]
                sides = [[p for p in valid if p >= 0.5], [p for p in valid if p < 0.5]]
                side = valid if len(sides[0]) == len(sides[1]) else max(sides, key=len)
                counted = {"1": given[item][:1], "7-majority": side, "7-mean": valid}[ways]
                if counted and counted != [None]:
                    votes.append(sum(counted) / len(counted))
                    means.append(sum(people[item]) / len(people[item]))
            row = rows[name, ways]
            assert (row["rows"], row["premises"], row["not asked"]) == ("59", "20", "1")
            assert int(row["without number"]) == 59 - len(votes) > 0
            right = [(vote >= 0.5) == (mean > 0.5) for vote, mean in zip(votes, means, strict=True) if mean != 0.5]
            known = {"accuracy": np.mean(right), "MSE": np.mean((np.array(votes) - means) ** 2)}
            if table == "table5":
                known["Krippendorff's alpha"] = brute_force_alpha(votes, means)
            for head, value in known.items():
                assert float(row[head]) == pytest.approx(value)
                assert float(row[f"{head} low"]) < value < float(row[f"{head} high"])
    assert float(rows["Qwen3-VL Thinking", "5-mean"]["MSE (paper)"]) == pytest.approx(1.56e-5)
    assert rows["mine", "7-mean"]["MSE (paper)"] == ""
    text = (folder / f"t/{table}.md").read_text()
    assert "80 judged items, 60 of them by at least two people" in text
    unread = sum(answers["two"][item].count(None) for item in items)
    assert f"mine: 7 answers an item; {unread:,} answers without a probability; 21 other pairs not used." in text
    assert "mine, 7-mean: accuracy is over 57 rows, without those whose probability is exactly 0.5" in text


def test_the_number_of_answers_is_that_of_the_file():
    """One answer a pair is one way to vote; with different numbers the largest gives the name."""
    one, none = Parsed(0.2, None), Parsed(None, "a range")
    assert list(votes_of([(one,), (none,)])) == ["1"]
    votes = votes_of([(none, one, one), (one,)])
    assert list(votes) == ["1", "3-majority", "3-mean"]
    assert np.isnan(votes["1"][0]) and votes["1"][1] == 0.2
    assert votes["3-mean"].tolist() == [0.2, 0.2]


def test_a_teacher_of_whom_nothing_can_be_read_has_no_number(judged):
    """It stands in the table with its count and no measure, and the other teacher with its own."""
    folder, _, answers = judged
    write_answers(folder / "mute.jsonl", {item: [None] * 2 for item in answers["one"]} | {"i0": [None]})
    rows = make(folder, "table5", f"mute={folder / 'mute.jsonl'}", f"one={folder / 'one.jsonl'}")
    for votes in ("1", "2-majority", "2-mean"):
        row = rows["mute", votes]
        assert row["without number"] == row["rows"] == "59"
        assert row["accuracy"] == row["MSE low"] == row["Krippendorff's alpha"] == ""
    assert rows["one", "7-mean"]["MSE"]
    assert json.loads((folder / "t/table5.json").read_text())["rows"][0]["MSE"] is None


def test_teachers_asked_about_other_items_are_not_compared(judged):
    """The first item that only one of them has is named; two teachers of one name are wrong usage."""
    folder, _, answers = judged
    write_answers(folder / "two.jsonl", {item: given for item, given in answers["two"].items() if item != "i1"})
    with pytest.raises(SystemExit, match="one and two were not asked about the same.* 1 only to one, such as 'i1'"):
        make(folder, "table5", f"one={folder / 'one.jsonl'}", f"two={folder / 'two.jsonl'}")
    for given in (["one=a", "one=b"], ["a.jsonl"], ["=a.jsonl"]):
        with pytest.raises(SystemExit, match="2"):
            make(folder, "table5", *given)


def test_items_of_unknown_videos_are_premises_of_their_own(judged):
    """It is told how many there are; a video that is called as an item is, is another premise."""
    folder, people, _ = judged
    lines = [{"item": item, "human_probabilities": values} for item, values in people.items()]
    lines[1]["video"] = "item i2"
    (folder / "people.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = make(folder, "table1", f"one={folder / 'one.jsonl'}")
    assert rows["one", "1"]["premises"] == "59"
    assert "Of 58 items people.jsonl tells no video" in (folder / "t/table1.md").read_text()


def test_the_papers_numbers_fit_its_own_count_of_items():
    """All accuracies of Table 5 are whole numbers of 105 items, cut or rounded to four digits: none is misread."""
    accuracies = {row: number.value for (row, measure), number in paper_numbers(5).items() if measure == "accuracy"}
    for accuracy in accuracies.values():
        assert min(abs(accuracy - right / 105) for right in range(106)) < 1.0001e-4
    assert accuracies.keys() == {
        f"{name}{thinking}, {votes}"
        for name in ("Qwen3-VL", "Qwen3-Omni")
        for thinking in ("", " Thinking")
        for votes in ("1", "5-majority", "5-mean")
    }
