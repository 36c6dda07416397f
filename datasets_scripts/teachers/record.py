"""How a folder of answers was asked for, so that answers of different teachers are never mixed."""

import json
from dataclasses import asdict
from pathlib import Path

from common.errors import InputError
from common.files import differences, write_text
from datasets_scripts.teachers.engine import Question
from datasets_scripts.teachers.shards import finished_pairs


NAME = "asked.json"


def keep_record(out: Path, question: Question) -> None:
    """
    Notes how it is asked, or makes sure that it is as it was before.

    Args:
        out (`Path`): The folder with the answers; made if it isn't there.
        question (`Question`): How it is asked. Holds no key.

    Raises:
        `InputError`: if the folder holds answers that were asked for otherwise; the message names each difference.
    """
    path = out / NAME
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: pass another --output-dir")
    out.mkdir(parents=True, exist_ok=True)
    asked = asdict(question)
    if path.exists():
        try:
            changes = differences(json.loads(path.read_text(encoding="utf-8")), asked)
        except (json.JSONDecodeError, AttributeError, TypeError) as error:
            raise InputError(f"{path} can't be read: pass another --output-dir") from error
        if changes:
            raise InputError(
                f"{out} holds answers to another question: {changes}. Pass another --output-dir, or ask as before"
            )
    elif any(out.glob("*.jsonl")):
        raise InputError(f"{out} holds answers but no {NAME}, which says to what: pass another --output-dir")
    for pair in finished_pairs(out):
        if pair.get("settings") != question.digest:
            what = "were asked for otherwise" if "settings" in pair else "don't say what was asked (an old version's)"
            raise InputError(
                f"{out} holds answers that {what}, such as those to {pair['id']}: pass another --output-dir"
            )
    write_text(path, json.dumps(asked, indent=2) + "\n")
