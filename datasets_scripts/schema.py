"""Defines the columns of UMUI: a row is a premise-hypothesis pair with the probability that the hypothesis is true."""

import math
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from datasets import Audio, Features, List, Value, Video

from modeling_clue.modalities import MODALITIES, TABLE


# "label": the probability stands for a category (1, .5 or 0) until a teacher or people have given one.
PROBABILITY_SOURCES = ("human", "teacher", "label", "exact")
SPLITS = ("train", "validation", "test")
SENSES = ("text", "audio", "video")
# On disk a split is a table, which names clips in columns of their own.
ROWS_FILE = "metadata.parquet"
MEDIA_COLUMNS = ("audio", "video")
CLIP_NAME_COLUMNS = ("audio_file_name", "video_file_name")

# Columns that datasets built before they were introduced lack: `None` in all of their rows.
LATER_COLUMNS = ("teacher_distribution",)

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
        "teacher_distribution": List(Value("float64")),
        "evidence": List(Value("string")),
        "topic": Value("string"),
        "context": Value("string"),
    }
)


def one_form(text: str) -> str:
    """Returns a text as texts are compared: letters composed with accents (NFC), each run of white space one blank."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def name_of(value: Any) -> str:
    """
    Returns what a value names, whatever kind of table it comes from: 7, 7.0 and the text "7.0" are all "7".

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


def row_complaint(row: Mapping) -> str | None:
    """Returns what keeps a row from being written, `audio` and `video` being paths; `None` for one that fits."""
    if row.keys() != FEATURES.keys():
        missing, unknown = sorted(FEATURES.keys() - row.keys()), sorted(row.keys() - FEATURES.keys())
        return f"missing columns {missing}, unknown columns {unknown}"
    for column in ("id", "source", "hypothesis"):
        if not is_text(row[column]):
            return f"{column} must be a non-empty string, got {row[column]!r}"
    modality = row["modality"]
    if modality not in MODALITIES:
        return f"modality must be one of {MODALITIES}, got {modality!r}"
    for column in ("premise", *MEDIA_COLUMNS):
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
    for column in ("human_probabilities", "teacher_probabilities", "teacher_distribution"):
        values = row[column]
        if not (values is None or (isinstance(values, list) and all(map(is_probability, values)))):
            return f"{column} must be None or a list of values in [0, 1], got {values!r}"
    evidence = row["evidence"]
    if evidence is not None and not is_evidence(evidence):
        return f"evidence must be None or a list out of {SENSES}, got {evidence!r}"
    for column in ("topic", "context"):
        if not (row[column] is None or is_text(row[column])):
            return f"{column} must be None or a non-empty string, got {row[column]!r}"
    return None


def is_text(value) -> bool:
    """Returns whether a value is a text that says something."""
    return isinstance(value, str) and bool(value.strip())


def is_evidence(value) -> bool:
    """Returns whether a value is a list out of `SENSES`."""
    return isinstance(value, list) and all(sense in SENSES for sense in value)


def is_probability(value) -> bool:
    """Returns whether a value is a number in [0, 1]."""
    # A comparison with NaN is false: NaN is rejected too.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
