"""Evaluations written by hand, whose measures are known without running anything."""

import csv
import json

import pytest

from common.digests import digest


def rows_of(predictions, targets, premises=None, labels=None):
    """Rows of `predictions.jsonl`; `None` is an answer without a number."""
    premises = premises or [f"p{number}" for number in range(len(targets))]
    labels = labels or [None] * len(targets)
    return [
        {"id": f"r{number}", "premise": premise, "hypothesis": f"h{number}", "prediction": p, "target": t, "label": y}
        for number, (p, t, premise, y) in enumerate(zip(predictions, targets, premises, labels, strict=True))
    ]


def read_csv(path, *keys):
    """Rows of a CSV file; with keys, each by its cells in these columns."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {tuple(row[key] for key in keys): row for row in rows} if keys else rows


@pytest.fixture
def evaluation(tmp_path):
    """Writes the folder of an evaluation and returns it."""

    def write(name, rows, config="unli", data=None, **settings):
        folder = tmp_path / name
        folder.mkdir()
        columns = ("id", "premise", "hypothesis", "target")
        settings = {
            **{"model": "m", "weights": "w", "dataset": "umui", "config": config, "split": "test"},
            "rows": digest([[row[column] for row in rows] for column in columns]),
            **settings,
        }
        (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "report.json").write_text(json.dumps({"n": len(rows), "settings": settings, "data": data}))
        return folder

    return write
