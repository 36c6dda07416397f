"""Reads back what `python -m evaluation.run` has written to its `--output-dir`."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.files import read_objects


@dataclass(frozen=True)
class EvaluationRun:
    """Holds one evaluation that is complete."""

    folder: Path
    name: str  # in tables and figures
    settings: dict  # what its predictions depend on: `model`, `weights`, `dataset`, `config`, `split` ...
    predictions: list[dict]  # a row for each hypothesis, in the order of the split, those without a number too
    report: dict

    @property
    def measurable(self) -> list[dict]:
        """Returns the predictions that are a number, over which every measure is taken."""
        return [row for row in self.predictions if row["prediction"] is not None]


def read_run(folder: str | Path, name: str | None = None) -> EvaluationRun:
    """Reads the output folder of one evaluation; by default it is called after its predictor, model and configuration.

    Refuses what is no such folder or unfinished, torn files, and files that do not belong together.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}: name the --output-dir of python -m evaluation.run.")
    if partial := sorted(path.name for path in folder.glob("predictions.jsonl*.partial")):
        raise ValueError(f"{folder} is unfinished, it holds {', '.join(partial)}: give its command again to go on.")
    settings, report = (_read_object(folder / file) for file in ("settings.json", "report.json"))
    predictions = _read_rows(folder / "predictions.jsonl")
    if report.get("settings") != settings:
        raise ValueError(f"{folder}: report.json is of other settings than settings.json: give its command again.")
    if report.get("n") != len(predictions):
        raise ValueError(
            f"{folder}: report.json tells of {report.get('n')} rows, predictions.jsonl has {len(predictions)}: give "
            "its command again."
        )
    return EvaluationRun(folder, name or _default_name(settings, folder), settings, predictions, report)


def _default_name(settings: dict, folder: Path) -> str:
    kind = settings.get("predictor", "auto")
    parts = [None if kind == "auto" else kind, *(settings.get(key) for key in ("model", "answers", "config"))]
    return " ".join(Path(part).name for part in parts if part) or folder.name


def _read_object(path: Path) -> dict:
    with _name_file_in_errors(path):
        found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold a JSON object.")
    return found


def _read_rows(path: Path) -> list[dict]:
    rows = []
    with _name_file_in_errors(path):
        found = list(read_objects(path))
    for number, row in found:
        if isinstance(row, str):
            raise ValueError(f"{path} line {number} {row}: give the command of the evaluation again.")
        missing = [key for key in ("id", "premise", "hypothesis", "prediction", "target") if key not in row]
        if missing:
            raise ValueError(f"{path} line {number} has no {', '.join(missing)}: it is no row of an evaluation.")
        rows.append(row)
    if not rows:
        raise ValueError(f"{path} holds no rows.")
    repeated = [name for name, count in Counter(row["id"] for row in rows).most_common(5) if count > 1]
    if repeated:
        raise ValueError(f"{path} holds rows twice: {', '.join(map(str, repeated))}. Evaluate anew in another folder.")
    return rows


@contextmanager
def _name_file_in_errors(path: Path) -> Iterator[None]:
    """Names a file that can't be read, and why."""
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(f"{path.parent} has no {path.name}: it is no finished evaluation.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} can't be read: {error}") from error
