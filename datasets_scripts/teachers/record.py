"""What a folder of answers was asked with, so that answers to different questions are never mixed."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from datasets import Dataset

from datasets_scripts.schema import BuildError
from datasets_scripts.teachers.engine import Question
from datasets_scripts.teachers.rubrics import rubric


NAME = "asked.json"
# All columns but those of media and of answers.
WORDS = ["id", "source", "modality", "premise", "hypothesis", "topic", "context"]


def keep_record(out: Path, question: Question, config: str, rows: dict[str, Dataset]) -> None:
    """
    Notes what is asked, or makes sure that it is what was asked before.

    Args:
        out (`Path`): The folder with the answers; made if it isn't there.
        question (`Question`): What is asked. Holds no key.
        config (`str`): The dataset's config.
        rows (`dict[str, Dataset]`): The rows of each split that is asked about. A split may be added later.

    Raises:
        `BuildError`: if the folder holds answers to something else; the message names each difference.
    """
    path = out / NAME
    if out.exists() and not out.is_dir():
        raise BuildError(f"{out} is a file: pass another --out")
    out.mkdir(parents=True, exist_ok=True)
    asked = asdict(question) | {"config": config}
    prompts = {split: _digest(split, split_rows) for split, split_rows in rows.items()}
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            prompts_before = before.pop("prompts")
        except (json.JSONDecodeError, AttributeError, KeyError) as error:
            raise BuildError(f"{path} can't be read: pass another --out") from error
        changes = [
            f"{name} was {before.get(name)!r} and is {asked.get(name)!r}"
            for name in sorted(asked.keys() | before.keys())
            if before.get(name) != asked.get(name)
        ]
        changes += [
            f"the rows or the prompt of split {split} changed"
            for split in sorted(prompts.keys() & prompts_before.keys())
            if prompts[split] != prompts_before[split]
        ]
        if changes:
            raise BuildError(
                f"{out} holds answers to another question: {'; '.join(changes)}. Pass another --out, or ask as before"
            )
        prompts = prompts_before | prompts
    elif any(out.glob("*.jsonl")):
        raise BuildError(f"{out} holds answers but no {NAME}, which says to what: pass another --out")
    partial = out / f".{NAME}.partial"
    partial.write_text(json.dumps(asked | {"prompts": prompts}, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _digest(split: str, rows: Dataset) -> str:
    """A hash of each row's name and of all words that it is put with."""
    digest, names = hashlib.sha256(), set()
    # Row by row, a million take minutes.
    for table in rows.select_columns(WORDS).with_format("arrow").iter(batch_size=1000):
        for row in table.to_pylist():
            if row["id"] in names:
                raise BuildError(
                    f"two rows of split {split} have the id {row['id']!r}: their answers can't be told apart"
                )
            names.add(row["id"])
            digest.update(json.dumps([row["id"], row["modality"], rubric(row)]).encode())
    return digest.hexdigest()[:16]
