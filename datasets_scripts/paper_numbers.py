"""The numbers of the paper's tables, from the one file that holds them (`paper_numbers.yaml`)."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml


FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True)
class PaperNumber:
    """
    A number of the paper.

    Args:
        printed (`str`): As it is printed.
        scale (`float`): What the paper has multiplied the measure by.
        contradicted (`str`, *optional*): What the paper says elsewhere, where that differs.
        unsure (`str`, *optional*): Why it may have been misread, or misprinted.
    """

    printed: str
    scale: float = 1.0
    contradicted: str | None = None
    unsure: str | None = None

    @property
    def value(self) -> float:
        """The measure itself, without the scale."""
        return float(self.printed) / self.scale

    @property
    def precision(self) -> float:
        """Half a unit of its last digit, without the scale."""
        digits, _, exponent = self.printed.partition("e")
        decimals = len(digits.partition(".")[2])
        return 0.5 * 10.0 ** (int(exponent or 0) - decimals) / self.scale


@cache
def paper_numbers(table: int) -> dict[tuple[str, str], PaperNumber]:
    """
    The numbers of one table.

    Args:
        table (`int`): Its number: 1 to 5, 7 or 8.

    Returns:
        `dict[tuple[str, str], PaperNumber]`: by row and column, in the order of the paper. A column is named by its
        data, if the table has several, and its measure: `"WV-AV mse"`. Places without a number are left out.

    Raises:
        `ValueError`: if the file is wrong: a row has more or fewer numbers than there are columns.
    """
    content = _read()["tables"][table]
    columns, scale = content["columns"], float(content.get("scale", 1))
    notes = {kind: notes_on(kind) for kind in ("contradictions", "unsure")}
    numbers = {}
    for row, text in content["rows"].items():
        cells = text.split()
        if len(cells) != len(columns):
            raise ValueError(f"{FILE}: table {table}, {row} has {len(cells)} numbers for {len(columns)} columns.")
        for column, printed in zip(columns, cells, strict=True):
            if printed != "-":
                place = (table, row, column)
                numbers[row, column] = PaperNumber(
                    printed, scale, notes["contradictions"].get(place), notes["unsure"].get(place)
                )
    return numbers


def paper_title(table: int) -> str:
    """What the paper's table shows."""
    return _read()["tables"][table]["title"]


def notes_on(kind: str) -> dict[tuple[int, str, str], str]:
    """
    What is noted of single numbers.

    Args:
        kind (`str`): `"contradictions"` or `"unsure"`.

    Returns:
        `dict[tuple[int, str, str], str]`: notes by table, row and column.
    """
    return {tuple(place): entry["note"] for entry in _read()[kind] for place in entry["places"]}


@cache
def _read() -> dict:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))
