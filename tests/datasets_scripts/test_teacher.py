"""The teacher's command line against a server that misbehaves: nothing is lost, asked again or leaked."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datasets_scripts.drafts import Draft, new_row
from datasets_scripts.teacher import main as teacher
from datasets_scripts.writer import write_config
from tests.datasets_scripts.bad_server import bad_server, wait_for


pytestmark = pytest.mark.processes
QUICK = "--backoff 0.01 --timeout 20".split()


def write_pairs(folder: Path, hypotheses: list[str], config: str = "pairs") -> Path:
    """A dataset folder with a training split of text pairs, the hypotheses numbered `#0`, `#1`..."""
    drafts = [
        Draft(
            f"row {number}",
            new_row(
                id=f"{config}-{number}",
                source=config,
                modality="text",
                premise=f"Premise {number}.",
                hypothesis=f"#{number} {hypothesis}",
                probability=0.5,
                probability_source="label",
            ),
        )
        for number, hypothesis in enumerate(hypotheses)
    ]
    write_config(folder, config, {"train": drafts}, {"source": config}, overwrite=True)
    return folder


def arguments(dataset: Path, out: Path, url: str, *more: str) -> list[str]:
    """A command line; later options override earlier ones."""
    common = ["--dataset", str(dataset), "--config", "pairs", "--out", str(out), "--server", url]
    return [*common, "--model", "teacher", *QUICK, *more]


def read(out: Path) -> dict[str, list[dict]]:
    """The answers by the pair's number; a pair twice is an error."""
    pairs = [json.loads(line) for shard in sorted(out.glob("*.jsonl")) for line in shard.read_text().splitlines()]
    answers = {pair["id"].rpartition("-")[2]: pair["answers"] for pair in pairs}
    assert len(answers) == len(pairs)
    return answers


def test_every_pair_gets_its_answers_and_no_more(tmp_path, capsys):
    """N requests a pair, with N seeds of its own, never more in flight than allowed; a second run asks nothing."""
    dataset = write_pairs(tmp_path / "umui", ["is true."] * 12)
    with bad_server(delay_ms=5) as server:
        teacher(arguments(dataset, tmp_path / "out", server.url, "--in-flight", "4"))
        counts = server.counts()
        assert counts["asked"] == {f"#{number}": 5 for number in range(12)}
        assert len({seed for seeds in counts["seeds"].values() for seed in seeds}) == 60
        assert counts["most"] == 4
        teacher(arguments(dataset, tmp_path / "out", server.url, "--in-flight", "4"))
        assert server.counts()["asked"] == counts["asked"]
    answers = read(tmp_path / "out")
    for number in range(12):
        seeds = counts["seeds"][f"#{number}"]
        assert sorted(answer["text"] for answer in answers[str(number)]) == sorted(f"{seed % 101}%" for seed in seeds)
        assert [answer["probability"] for answer in answers[str(number)]] == [
            pytest.approx(int(answer["text"][:-1]) / 100) for answer in answers[str(number)]
        ]
        assert {answer["reason"] for answer in answers[str(number)]} == {None}
    assert "pairs: 12 of 12\nanswers: 60, with a probability 60, unparsable 0, failed 0" in capsys.readouterr().out
