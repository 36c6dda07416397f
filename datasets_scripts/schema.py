"""The columns of UMUI: one row is one premise-hypothesis pair with the probability that the hypothesis is true."""

import math
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from datasets import Audio, Features, List, Value, Video

from common.errors import InputError
from modeling_clue.modalities import MODALITIES, TABLE


# "label": the probability stands for a category (1, .5 or 0) until a teacher or people have given one.
PROBABILITY_SOURCES = ("human", "teacher", "label", "exact")
SPLITS = ("train", "validation", "test")
SENSES = ("text", "audio", "video")

# Media stay undecoded: `modeling_clue.media` reads them, so that a row is the same with and without torchcodec.
FEATURES = Features(
    {
        "id": Value("string"),
        "source": Value("string"),
        "modality": Value("string"),
        "premise": Value("string"),
        "audio": Audio(decode=False),
        "video": Video(decode=False),
        "hypothesis": Value("string"),
        "probability": Value("float64"),
        "label": Value("int64"),
        "probability_source": Value("string"),
        "human_probabilities": List(Value("float64")),
        "teacher_probabilities": List(Value("float64")),
        "evidence": List(Value("string")),
        "topic": Value("string"),
        "context": Value("string"),
    }
)


class RowError(InputError):
    """A row that does not fit the schema; the message names the row."""


def one_form(text: str) -> str:
    """
    A text in the form in which texts are compared: letters composed with their accents (NFC), and each run of white
    space, no-break spaces and line breaks included, one blank, with none at the ends.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def name_of(value: Any) -> str:
    """
    What a value names, whatever kind of table it comes from: 7, 7.0 and the text "7.0" are all "7".

    Args:
        value: The value.

    Returns:
        `str`: texts in [`one_form`], others as Python writes them.

    Raises:
        `ValueError`: if it is a number that names nothing, or that may have been rounded.
    """
    if isinstance(value, str):
        text = one_form(value)
        return str(int(text.split(".")[0])) if re.fullmatch(r"-?(0|[1-9][0-9]*)\.0*", text) else text
    if isinstance(value, (float, Decimal)):
        # From there on, not every whole number has a floating-point number of its own.
        if not math.isfinite(value) or (isinstance(value, float) and abs(value) >= 2**53):
            raise ValueError(f"must be text or a whole number with all its digits, got {value}")
        return str(int(value)) if value == int(value) else str(value)
    return str(value)


def validate_row(row: Mapping, name: str) -> None:
    """
    Checks one row before it is written.

    Args:
        row (`Mapping`): The row, with exactly the columns of `FEATURES`; `audio` and `video` are paths.
        name (`str`): How to call the row in an error, e.g. `"dev.csv row 17"`.

    Raises:
        `RowError`: if a column is missing, unknown, empty or out of its range.
    """

    complaint = _complaint(row)
    if complaint:
        raise RowError(f"{name}: {complaint}")


def _complaint(row: Mapping) -> str | None:
    if row.keys() != FEATURES.keys():
        missing, unknown = sorted(FEATURES.keys() - row.keys()), sorted(row.keys() - FEATURES.keys())
        return f"missing columns {missing}, unknown columns {unknown}"
    for column in ("id", "source", "hypothesis"):
        if not is_text(row[column]):
            return f"{column} must be a non-empty string, got {row[column]!r}"
    modality = row["modality"]
    if modality not in MODALITIES:
        return f"modality must be one of {MODALITIES}, got {modality!r}"
    for column in ("premise", "audio", "video"):
        if column == TABLE[modality].column:
            if not is_text(row[column]):
                return f"a premise of modality {modality} needs {column}, got {row[column]!r}"
        elif row[column] is not None:
            return f"a premise of modality {modality} must leave {column} empty"
    if not is_probability(row["probability"]):
        return f"probability must be in [0, 1], got {row['probability']!r}"
    if row["label"] not in (None, 0, 1):
        return f"label must be 0, 1 or None, got {row['label']!r}"
    if row["probability_source"] not in PROBABILITY_SOURCES:
        return f"probability_source must be one of {PROBABILITY_SOURCES}, got {row['probability_source']!r}"
    for column in ("human_probabilities", "teacher_probabilities"):
        values = row[column]
        if not (values is None or (isinstance(values, list) and all(map(is_probability, values)))):
            return f"{column} must be None or a list of values in [0, 1], got {values!r}"
    evidence = row["evidence"]
    if not (evidence is None or (isinstance(evidence, list) and all(sense in SENSES for sense in evidence))):
        return f"evidence must be None or a list out of {SENSES}, got {evidence!r}"
    for column in ("topic", "context"):
        if not (row[column] is None or is_text(row[column])):
            return f"{column} must be None or a non-empty string, got {row[column]!r}"
    return None


def is_text(value) -> bool:
    """Returns whether a value is a text that says something."""
    return isinstance(value, str) and bool(value.strip())


def is_probability(value) -> bool:
    """Returns whether a value is a number in [0, 1]."""
    # A comparison with NaN is false: NaN is rejected too.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
