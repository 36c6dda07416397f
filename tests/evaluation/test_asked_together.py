"""What asking together changes, against a server whose answers are known."""

import json
from itertools import count

import pytest

from evaluation import asked_together
from tests.chat.decision_server import decision_server
from tests.datasets_scripts.teachers.test_ask import write_rows


@pytest.fixture
def dataset(tmp_path):
    """Two premises with four hypotheses each, all with the probability 0.5."""
    rows = [
        {"premise": f"Premise {number // 4}.", "hypothesis": f"#{number} is{' [left out]' if number == 7 else ''}."}
        for number in range(8)
    ]
    return write_rows(tmp_path / "umui", rows)


def ask(dataset, out, server, *options: str) -> dict:
    """The report of a run."""
    given = f"--dataset {dataset} --dataset-config pairs --split train --output-dir {out} --server {server.url}"
    return asked_together.main([*given.split(), "--server-model", "m", *options])


def test_changes_are_those_of_the_answers(dataset, tmp_path, capsys):
    """A server that gives the n-th question of a request n / 10, whatever it is: alone all rows have 0.1, in fours 0.1
    to 0.4. The row without an answer is in no line. What was asked is not asked again."""
    with decision_server() as server:
        report = ask(dataset, tmp_path / "out", server, "--together", "4", "2")
        requests = len(server.requests)
        again = ask(dataset, tmp_path / "out", server, "--together", "4", "2")
        assert requests == len(server.requests) == 8 + 8 + 4 + 2
    alone, twice, two, four = report["ways"]
    assert [way["requests"] for way in report["ways"]] == [8, 8, 4, 2]
    assert {way["rows"] for way in report["ways"]} == {7} and report["without_number"] == 1
    assert alone["mean_change"] == alone["largest_change"] == twice["largest_change"] == 0
    assert two["mean_change"] == pytest.approx(0.1 * 3 / 7)
    assert four["mean_change"] == pytest.approx((0.0 + 0.1 + 0.2 + 0.3 + 0.0 + 0.1 + 0.2) / 7)
    assert four["largest_change"] == pytest.approx(0.3) and four["furthest_row"] == "pairs-3"
    assert alone["mse"] == pytest.approx(0.16) and four["changed_sides"] == 0
    drop = {"seconds": 0}
    assert [way | drop for way in again["ways"]] == [way | drop for way in report["ways"]]
    assert json.loads((tmp_path / "out/report.json").read_text())["ways"] == again["ways"]
    assert "| alone, again " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--predictor binary", "--predictor binary asks one question a request: only systemone and decisions"),
        ("--questions-per-request 2", "--together says how many"),
    ],
)
def test_options_that_mean_nothing_here_are_told(options, complaint, capsys):
    """Before anything is read."""
    with pytest.raises(SystemExit):
        asked_together.parse(["--dataset", "d", "--dataset-config", "c", *options.split()])
    assert complaint in capsys.readouterr().err


def test_what_a_server_varies_by_itself_is_told_apart(dataset, tmp_path):
    """Where answers differ from one time to the next, the line of the second time says so."""
    turn = count()
    with decision_server(lambda parts, hypotheses: [0.4 + 0.2 * (next(turn) >= 8)] * len(hypotheses)) as server:
        alone, again, together = ask(dataset, tmp_path / "out", server, "--together", "8")["ways"]
    assert again["mean_change"] == together["mean_change"] == pytest.approx(0.2)
    assert again["changed_sides"] == again["rows"] == 7 and alone["changed_sides"] == 0
