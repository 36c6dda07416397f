"""What tests read of what was written: lines of JSON, all files of a folder, the logs of a run."""

import json
from pathlib import Path


def lines(path: Path) -> list[dict]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their contents."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def history(output: Path) -> list[dict]:
    """The logs of a training run."""
    return json.loads((output / "trainer_state.json").read_text())["log_history"]
