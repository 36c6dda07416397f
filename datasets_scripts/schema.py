"""Defines the columns of UMUI: a row is a premise-hypothesis pair with the probability that the hypothesis is true."""

import math
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from datasets import Audio, Features, List, Value, Video

from modeling_clue.modalities import MODALITIES, PART_COLUMNS, TABLE, modality_of_parts


# "label": the probability stands for a category (1, .5 or 0) until a teacher or people have given one.
PROBABILITY_SOURCES = ("human", "teacher", "label", "exact")
SPLITS = ("train", "validation", "test")
SENSES = ("text", "audio", "video")
# On disk a split is a table, which names clips in columns of their own.
ROWS_FILE = "metadata.parquet"
MEDIA_COLUMNS = ("audio", "video")
CLIP_NAME_COLUMNS = ("audio_file_name", "video_file_name")
PART_CLIPS, PART_CLIP_NAMES = "part_clips", "part_clips_file_names"
# All that a premise is made of.
PREMISE_COLUMNS = ("modality", "premise", *MEDIA_COLUMNS, "parts", PART_CLIPS)

# Columns that datasets built before they were introduced lack, with what all of their rows have there.
LATER_COLUMNS = {"teacher_distribution": None, "parts": [], PART_CLIPS: [], "prefixes": []}

# Media stay undecoded: `modeling_clue.media` reads them, so that a row is the same with and without torchcodec.
FEATURES = Features(
    {
        "id": Value("string"),
        "source": Value("string"),
        "modality": Value("string"),
        "premise": Value("string"),
        "audio": Audio(decode=False),
        "video": Video(decode=False),
        # A combination: its parts in order, and the clips and pictures of those that are no text. The library's loader
        # takes no clips within parts (5.2), and no list that isn't there.
        "parts": List({"modality": Value("string"), "text": Value("string")}),
        PART_CLIPS: List(Video(decode=False)),
        "hypothesis": Value("string"),
        "probability": Value("float64"),
        # What is known of the premise cut short: how probable the hypothesis is if it ends `at` seconds or characters.
        "prefixes": List({"at": Value("float64"), "probability": Value("float64")}),
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
    parts, clips = row["parts"] or [], row[PART_CLIPS] or []
    if (parts or clips) and (complaint := _parts_complaint(parts, clips, modality)):
        return complaint
    for column in ("premise", *MEDIA_COLUMNS):
        if column == TABLE[modality].column and not parts:
            if not is_text(row[column]):
                return f"a premise of modality {modality} needs {column}, got {row[column]!r}"
        elif row[column] is not None:
            return f"a premise of {'parts' if parts else f'modality {modality}'} must leave {column} empty"
    if not is_probability(row["probability"]):
        return f"probability must be in [0, 1], got {row['probability']!r}"
    if complaint := prefixes_complaint(row["prefixes"] or []):
        return complaint
    if row["prefixes"] and parts:
        return "a premise of parts has no one time: leave prefixes empty"
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


def prefixes_complaint(prefixes: list[Mapping]) -> str | None:
    """Returns what is wrong with what is known of a premise cut short; `None` where nothing is."""
    last = 0.0
    for prefix in prefixes:
        at, probability = prefix.get("at"), prefix.get("probability")
        if not (isinstance(at, (int, float)) and last < at < math.inf):
            return f"prefixes must have rising times above 0, got {at!r} after {last!r}"
        if not is_probability(probability):
            return f"prefixes must have probabilities in [0, 1], got {probability!r} at {at!r}"
        last = at
    return None


def combination(*parts: tuple[str, Any]) -> dict:
    """Returns the columns of a premise that is a combination of `parts`: of each, which of `PART_COLUMNS` it is, and
    its text or its clip."""
    return {
        "modality": modality_of_parts(kind for kind, _ in parts),
        "parts": [{"modality": kind, "text": content if kind == "text" else None} for kind, content in parts],
        PART_CLIPS: [content for kind, content in parts if kind != "text"],
    }


def _parts_complaint(parts: list[dict], clips: list, modality: str) -> str | None:
    """Returns what keeps the parts of a premise from being written, clips being paths."""
    for number, part in enumerate(parts, 1):
        if part.keys() != {"modality", "text"} or part["modality"] not in PART_COLUMNS:
            return f"part {number} must have a modality out of {[*PART_COLUMNS]} and a text, got {part!r:.200}"
        if is_text(part["text"]) != (part["modality"] == "text"):
            return f"part {number}, of modality {part['modality']}, can't have the text {part['text']!r:.200}"
    kinds = [part["modality"] for part in parts]
    without = len(kinds) - kinds.count("text")
    if len(clips) != without or not all(map(is_text, clips)):
        return f"{without} parts need a clip, got {clips!r:.200}"
    if not without:
        return "parts that are all text are one text: put them into premise"
    if len(kinds) == 1 and kinds != ["image"]:
        return f"one part alone is no combination: its {kinds[0]} is the premise"
    if modality != modality_of_parts(kinds):
        return f"the modality of {', '.join(kinds)} is {modality_of_parts(kinds)}, got {modality}"
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
