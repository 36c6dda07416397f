"""Judgements are read as the tool writes them; a teacher's answers are found that are about what people judged."""

import json
from pathlib import Path

import pytest

from common.errors import InputError
from datasets_scripts.annotations import main as annotate
from datasets_scripts.teachers.answer_files import read_answers
from evaluation.judged import judged_by_two, match, read_people


def write_lines(path: Path, records: list[dict]) -> Path:
    """Writes a JSONL file."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def answer_line(item: str, probability: float, split: str = "test", **fields) -> dict:
    """A line of answers."""
    answers = [{"text": "t", "probability": probability, "reason": None}]
    return {"id": item, "config": "c", "split": split, "answers": answers} | fields


def item_line(item: str, probabilities, claim: str | None = None) -> dict:
    """A line of aggregated judgements, as far as it is read."""
    return {"item": item, "human_probabilities": list(probabilities), "claim": claim}


def matched(folder: Path, answers: list[dict], judgements: list[dict]) -> dict:
    """The answers to each item that two people judged."""
    people, _ = judged_by_two(write_lines(folder / "j.jsonl", judgements))
    return match(read_answers(write_lines(folder / "a.jsonl", answers)), people, "t")


def test_judgements_come_from_the_tool_that_writes_them(tmp_path):
    """What `annotations aggregate` writes is read as it is; what one person judged alone is left out and counted."""
    raw = tmp_path / "raw.csv"
    raw.write_text("annotator,item,probability,video\nann,i0,80,v\nben,i0,60,v\nann,i1,0,\nben,i1,20,\nann,i2,50,\n")
    annotate(["aggregate", "--annotations", str(raw), "--output", str(tmp_path / "j.jsonl")])
    people, judged = judged_by_two(tmp_path / "j.jsonl")
    assert judged == 3 and list(people) == ["i0", "i1"]
    assert [item.mean for item in people.values()] == pytest.approx([0.7, 0.1])
    assert (people["i0"].video, people["i1"].video) == ("v", None)


@pytest.mark.parametrize(("claim", "same"), [("A  caf\u00e9.", True), (None, True), ("A cafe.", False)])
def test_an_item_is_the_claim_that_was_asked(tmp_path, claim, same):
    """Ids may be places in a table that has changed between teacher and people: where both tell the claim it must be
    one, but for blanks and the form of letters. The line, the item and both texts are named."""
    asked, judged = [answer_line("i0", 0.9, hypothesis="A cafe\u0301.")], [item_line("i0", [0.1, 0.2], claim)]
    if same:
        assert list(matched(tmp_path, asked, judged)) == ["i0"]
        return
    with pytest.raises(InputError, match="a.jsonl line 1 is about 'A .*', but people judged 'A cafe.' as item 'i0'"):
        matched(tmp_path, asked, judged)


def test_of_an_edited_pair_the_answers_to_the_claim_count(tmp_path):
    """A folder may hold answers to a row before and after it was edited: people judged one of both."""
    asked = [answer_line("i0", p, hypothesis=text, question=text) for p, text in ((0.9, "Old."), (0.4, "New."))]
    found = matched(tmp_path, asked, [item_line("i0", [0.4, 0.4], "New.")])
    assert found["i0"].valid == [0.4]


def test_an_item_of_two_pairs_is_refused(tmp_path):
    """An id that is in two splits could be either: the error names both lines."""
    asked = [answer_line("i0", 0.1), answer_line("i0", 0.2, split="train")]
    with pytest.raises(
        InputError, match=r"a.jsonl line 1 and, for another config, split or clip, in .*a.jsonl line 2"
    ):
        matched(tmp_path, asked, [item_line("i0", [0.1, 0.2])])


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        ([item_line("other", [0.1, 0.2])], "no answered pair is an item of --judgements: .*'i0'.*'other'"),
        ([item_line("i0", [0.1])], "none of 1 items was judged by two people"),
    ],
)
def test_nothing_to_measure_on_is_an_error(tmp_path, items, complaint):
    """The error shows what the names look like."""
    with pytest.raises(InputError, match=complaint):
        matched(tmp_path, [answer_line("i0", 0.1)], items)


def test_bad_judgements_are_all_named(tmp_path):
    """Every bad line by its number: no JSON, missing columns, values outside of [0, 1], an item twice."""
    good = json.dumps(item_line("i0", [0.1, 0.2]))
    bad = ["{", "[]", '{"item": "x"}', json.dumps(item_line("y", [1.5])), json.dumps(item_line("z", [True]))]
    bad += [json.dumps(item_line("w", [0.5]) | {"claim": 7}), good]
    (tmp_path / "j.jsonl").write_text("\n".join([good, "", *bad]))
    with pytest.raises(InputError) as error:
        read_people(tmp_path / "j.jsonl")
    told = str(error.value).splitlines()
    assert len(told) == 8 and [line.split(":")[0].strip() for line in told[1:]] == [f"line {n}" for n in range(3, 10)]
    assert "item 'i0' was there before, in line 1" in told[-1]
    with pytest.raises(InputError, match="can't be read"):
        read_people(tmp_path / "none.jsonl")
