"""Tables 1 and 5: teachers' votes against people, by premise."""

import csv
import json

import numpy as np
import pytest

from datasets_scripts.teachers.quality import report_on
from evaluation.paper.__main__ import main


@pytest.fixture
def judged(tmp_path):
    """Sixty items about fifteen videos that two people judged, one that one did, and the answers of two teachers."""
    generator = np.random.default_rng(0)
    people = {f"i{k}": generator.random(2).round(2).tolist() for k in range(60)}
    lines = [{"item": item, "human_probabilities": v, "video": f"v{int(item[1:]) // 4}"} for item, v in people.items()]
    lines.append({"item": "single", "human_probabilities": [0.3], "video": "v0"})
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("one", "two"):
        with (tmp_path / f"{name}.jsonl").open("w") as file:
            for number, (item, values) in enumerate(people.items()):
                given = [min(1, max(0, np.mean(values) + generator.normal(0, 0.3))) for _ in range(5)]
                answers = [{"text": "t", "probability": p, "reason": None} for p in given]
                if number < 2:  # the first answer of these can't be read
                    answers[0] = {"text": "t", "probability": None, "reason": "a range"}
                file.write(json.dumps({"id": item, "config": "c", "split": "test", "answers": answers}) + "\n")
    return tmp_path


def command(folder, table, *answers):
    """The command line of a table."""
    return [table, "--answers", *answers, "--judgements", str(folder / "people.jsonl"), "--out", str(folder / "t")]


@pytest.mark.parametrize("table", ["table1", "table5"])
def test_teachers_are_measured_as_their_own_report_does(judged, table):
    """Values are those of `datasets_scripts.teacher quality`; intervals are over videos; the paper's are beside."""
    path = judged / "one.jsonl"
    main(command(judged, table, f"Qwen3-VL Thinking={path}", f"mine={judged / 'two.jsonl'}"))
    with (judged / f"t/{table}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    by_place = {(row["teacher"], row["votes"]): row for row in rows}
    heads = {"accuracy": "accuracy", "mse": "MSE", "alpha": "Krippendorff's alpha"}
    if table == "table1":
        del heads["alpha"]
    for expected in report_on({"x": path}, judged / "people.jsonl", 10, 0)["rows"]:
        row = by_place["Qwen3-VL Thinking", expected.votes]
        assert (row["rows"], row["premises"]) == ("60", "15")
        assert int(row["without number"]) == expected.missing == (2 if expected.votes == "1" else 0)
        for name, head in heads.items():
            assert float(row[head]) == pytest.approx(vars(expected)[name].value)
            assert float(row[f"{head} low"]) < float(row[head]) < float(row[f"{head} high"])
    assert float(by_place["Qwen3-VL Thinking", "5-mean"]["MSE (paper)"]) == pytest.approx(1.56e-5)
    assert by_place["mine", "5-mean"]["MSE (paper)"] == ""
    assert len(rows) == 6 + (3 if table == "table1" else 9), "the paper's other teachers"


def test_teachers_asked_about_other_items_are_not_compared(judged):
    """The first item that only one of them has is named."""
    lines = (judged / "two.jsonl").read_text().splitlines(keepends=True)
    (judged / "two.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(SystemExit, match="one and two were not asked about the same.* 1 only to one, such as 'i0'"):
        main(command(judged, "table5", f"one={judged / 'one.jsonl'}", f"two={judged / 'two.jsonl'}"))
    with pytest.raises(SystemExit, match="2"):
        main(command(judged, "table5", f"one={judged / 'one.jsonl'}", f"one={judged / 'two.jsonl'}"))


def test_items_of_unknown_videos_are_premises_of_their_own(judged):
    """It is told how many there are."""
    text = (judged / "people.jsonl").read_text().replace('"video"', '"other"')
    (judged / "people.jsonl").write_text(text)
    main(command(judged, "table1", f"one={judged / 'one.jsonl'}"))
    text = (judged / "t/table1.md").read_text()
    assert "Of 60 items people.jsonl tells no video" in text
