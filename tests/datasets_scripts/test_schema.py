"""What keeps a row from being written is said."""

import math
import re
from decimal import Decimal

import numpy as np
import pytest

from datasets_scripts.schema import FEATURES, name_of, row_complaint


ROW = dict.fromkeys(FEATURES) | {
    "id": "a-1",
    "source": "urn",
    "modality": "text",
    "premise": "An urn holds 3 red balls.",
    "hypothesis": "It is red.",
    "probability": 1.0,
    "label": 1,
    "probability_source": "exact",
    "evidence": ["text"],
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"label": None, "evidence": None, "human_probabilities": [0.0, 0.5], "topic": "balls"},
        {"modality": "audio", "premise": None, "audio": "media/1.flac"},
        {"prefixes": [{"at": 9.0, "probability": 0.5}, {"at": 26, "probability": 1}]},
        {"modality": "audiovisual", "premise": None, "video": "media/1.mp4"},
    ],
)
def test_good_rows_pass(change):
    """What the schema allows is not refused."""
    assert row_complaint(ROW | change) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hypothesis": " "}, "hypothesis must be"),
        ({"id": None}, "id must be"),
        ({"modality": "smell"}, "modality must be one of"),
        ({"premise": None}, "needs premise"),
        ({"audio": "media/1.flac"}, "must leave audio empty"),
        ({"modality": "audiovisual", "premise": None, "audio": "media/1.flac"}, "needs video|must leave audio"),
        ({"probability": 1.5}, "probability must be in"),
        ({"probability": math.nan}, "probability must be in"),
        ({"probability": "0.5"}, "probability must be in"),
        ({"prefixes": [{"at": 2.0, "probability": 0.5}, {"at": 1.0, "probability": 0.5}]}, "rising times"),
        ({"prefixes": [{"at": 2.0, "probability": 1.5}]}, r"prefixes must have probabilities in"),
        ({"prefixes": [{"at": math.nan, "probability": 0.5}]}, "rising times"),
        ({"label": 2}, "label must be"),
        ({"probability_source": "guess"}, "probability_source must be"),
        ({"human_probabilities": [0.5, -0.1]}, "human_probabilities must be"),
        ({"evidence": ["smell"]}, "evidence must be"),
        ({"topic": ""}, "topic must be"),
        ({"note": "x"}, r"unknown columns \['note'\]"),
        ({"topic": ...}, r"missing columns \['topic'\]"),
    ],
)
def test_bad_rows_are_refused(change, words):
    """The column is named; a row has all columns, empty ones too."""
    row = {name: value for name, value in (ROW | change).items() if value is not ...}
    assert re.search(words, row_complaint(row))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((7, 7.0, np.float32(7).item(), Decimal("7.00"), "7", " 7.0 ", "7.", "7.000"), "7"),
        ((0, 0.0, -0.0, "0.0"), "0"),
        (("007",), "007"),
        ((2.5, Decimal("2.5"), "2.5"), "2.5"),
        ((2**70, Decimal(2**70), str(2**70)), str(2**70)),
        (("Café au  lait", "Cafe\u0301 au\u00a0lait\n"), "Café au lait"),
        (("v1.0", "1.0.0", "1.0 a"), None),
    ],
)
def test_a_value_names_the_same_whatever_its_type(values, name):
    """Whole numbers by value, texts in one form; what only looks alike stays apart."""
    assert [name_of(value) for value in values] == [name or value for value in values]


@pytest.mark.parametrize("value", [math.nan, math.inf, 2.0**53, -(2.0**60), Decimal("nan"), Decimal("inf")])
def test_a_number_that_may_be_anothers_is_no_name(value):
    """Beyond 2 ** 53, neighbours are one floating-point number."""
    with pytest.raises(ValueError, match="must be text or a whole number"):
        name_of(value)
