"""One table in forms that tell the same numbers: Markdown to read, CSV and JSON to compute with, LaTeX to print."""

import csv
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from common.files import write_text
from datasets_scripts.paper_numbers import PaperNumber
from evaluation.tables import markdown_table


# Digits of a number that is shown; the CSV and JSON files have all of them.
SIGNIFICANT = 3
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        # After the end of a row these would be an option of it.
        "[": "{[}",
        "*": "{*}",
        # Printed as an opening quotation mark, or as a Spanish one after ? and !.
        "`": r"\textasciigrave{}",
        **{sign: "\\" + sign for sign in "&%$#_{}"},
    }
)
# As small as it takes to be no wider than the page, and no larger than it is.
FIT = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}"


@dataclass(frozen=True)
class Column:
    """
    A measure of a table.

    Args:
        measure (`str`): Its name among `evaluation.metrics`.
        label (`str`): Its head in the table.
        scale (`float`): What it is multiplied by.
        key (`str`, *optional*): Where rows have it; `measure` by default.
        in_paper (`bool`): Whether the paper's number stands beside it.
    """

    measure: str
    label: str
    scale: float = 1.0
    key: str | None = None
    in_paper: bool = True


@dataclass(frozen=True)
class Row:
    """
    A row of a table.

    Args:
        names (`dict[str, str]`): What it is about: `{"predictor": "CLUE-D", "data": "UNLI"}`.
        counts (`dict[str, int | float | None]`): Rows, premises and the like; nothing in a row of the paper alone.
        results (`dict[str, dict]`): Measures, as `evaluation.metrics.uncertain_inference.measures.measure` gives them.
        paper (`dict[str, PaperNumber]`): The paper's, by measure.
        facts (`dict[str, str]`): Where the numbers come from, for the CSV and JSON files.
    """

    names: dict[str, str]
    counts: dict[str, int | float | None] = field(default_factory=dict)
    results: dict[str, dict] = field(default_factory=dict)
    paper: dict[str, PaperNumber] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """
    A table.

    Args:
        name (`str`): Name of its files: `"table3"`.
        caption (`str`): What it shows.
        header (`list[str]`): Heads of the columns as shown.
        shown (`list[list[str]]`): Cells as shown.
        words (`int`): How many of the first columns are words, not numbers.
        records (`list[dict]`): The same rows with all digits, for the CSV and JSON files; `""` where there is none.
        notes (`list[str]`): What has to be known to read it.
    """

    name: str
    caption: str
    header: list[str]
    shown: list[list[str]]
    words: int
    records: list[dict]
    notes: list[str]

    def markdown(self) -> str:
        """The table as Markdown."""
        notes = "".join(f"- {note}\n" for note in self.notes)
        return f"# {self.caption}\n\n{markdown_table(self.header, self.shown)}\n\n{notes}"

    def csv(self) -> str:
        """The table as CSV: every digit, each interval's ends and the paper's number in columns of their own."""
        # Rows of the paper alone have fewer columns.
        columns = list(dict.fromkeys(column for record in self.records for column in record))
        file = io.StringIO()
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.records)
        return file.getvalue()

    def json(self) -> str:
        """The rows as the CSV file has them, `null` where there is no number, with the caption and the notes."""
        rows = [{head: None if cell == "" else cell for head, cell in record.items()} for record in self.records]
        told = {"caption": self.caption, "rows": rows, "notes": self.notes}
        return json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def latex(self) -> str:
        """The table as a float of LaTeX; the document needs the packages booktabs and graphicx."""
        columns = "l" * self.words + "r" * (len(self.header) - self.words)
        lines = [" & ".join(map(in_latex, row)) + r" \\" for row in [self.header, *self.shown]]
        notes = [rf"\par {in_latex(note)}" for note in self.notes]
        return "\n".join(
            [
                r"% \usepackage{booktabs,graphicx}",
                r"\begin{table*}",
                r"\centering",
                r"\scriptsize" if len(self.header) > 8 else r"\footnotesize",
                r"\setlength{\tabcolsep}{3pt}",
                rf"\caption{{{in_latex(self.caption)}}}",
                rf"\label{{tab:{self.name}}}",
                rf"{FIT}{{\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
                *[r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}}"],
                *([r"\par\smallskip\raggedright", *notes] if notes else []),
                r"\end{table*}",
                "",
            ]
        )

    def write(self, folder: Path) -> None:
        """Writes a file of each form into a folder, made if it isn't there."""
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"--output-dir {folder} is a file: name a folder.")
        folder.mkdir(parents=True, exist_ok=True)
        for ending, text in (
            ("md", self.markdown()),
            ("csv", self.csv()),
            ("json", self.json()),
            ("tex", self.latex()),
        ):
            write_text(folder / f"{self.name}.{ending}", text)


def lay_out(name: str, caption: str, rows: list[Row], columns: list[Column], notes: list[str]) -> Table:
    """
    Makes a table of measured rows and the paper's.

    Args:
        name (`str`): Name of its files.
        caption (`str`): What it shows.
        rows (`list[Row]`): Its rows; at least one has counts, and all those that have any have the same.
        columns (`list[Column]`): Its measures.
        notes (`list[str]`): What has to be known to read it; what is doubtful about the paper's numbers is added.

    Returns:
        `Table`: the table.
    """
    counts = list(next(row.counts for row in rows if row.counts))
    names = list(rows[0].names)
    footnotes, shown, records = {}, [], []
    for row in rows:
        cells = [*row.names.values(), *(_count(row.counts.get(count)) for count in counts)]
        record = {**row.names, **{count: _known(row.counts.get(count)) for count in counts}}
        for column in columns:
            key = column.key or column.measure
            result = row.results.get(key)
            cells.append("-" if result is None else with_interval(result, column.scale))
            value, interval = (None, None) if result is None else (result["value"], result["interval"])
            low, high = interval or (None, None)
            ends = {column.label: value, f"{column.label} low": low, f"{column.label} high": high}
            record |= {head: "" if end is None else end * column.scale for head, end in ends.items()}
            if column.in_paper:
                number = row.paper.get(column.measure)
                cells.append("-" if number is None else number.printed + _marks(number, footnotes))
                record[f"{column.label} (paper)"] = "" if number is None else number.value * column.scale
                doubts = [] if number is None else [doubt for doubt in _doubts(number) if doubt]
                record[f"{column.label} (paper) note"] = " ".join(doubts)
            if result is not None and result.get("reason"):
                notes = [*notes, f"{', '.join(row.names.values())}: {column.label} is undefined, {result['reason']}."]
            elif result is not None and "rows" in row.counts:
                measured = row.counts["rows"] - row.counts["without number"]
                if result["n"] < measured:
                    notes = [
                        *notes,
                        f"{', '.join(row.names.values())}: {column.label} is over {result['n']:,} rows, without those "
                        "whose probability is exactly 0.5.",
                    ]
        shown.append(cells)
        records.append({**record, **row.facts})
    heads = [head for column in columns for head in (f"{column.label} [95%]", *(["paper"] if column.in_paper else []))]
    notes = [*notes, *(f"({number}) {text}" for text, number in footnotes.items())]
    return Table(name, caption, [*names, *counts, *heads], shown, len(names), records, notes)


def in_latex(text: str) -> str:
    """A text that LaTeX prints as it is: no sign is a command, and two hyphens don't become a dash."""
    return re.sub("(?<=-)(?=-)", "{}", text.translate(LATEX))


def with_interval(result: dict, scale: float = 1.0) -> str:
    """`0.0123 [0.0101, 0.015]` from a measure."""
    if result["value"] is None:
        return "-"
    value = short(result["value"] * scale)
    if result["interval"] is None:
        return value
    low, high = (short(end * scale) for end in result["interval"])
    return f"{value} [{low}, {high}]"


def short(value: float) -> str:
    """A number as it is shown."""
    return f"{value:.{SIGNIFICANT}g}"


def _count(value: int | float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else short(value)


def _known(value):
    return "" if value is None else value


def _doubts(number: PaperNumber) -> tuple[str | None, str | None]:
    return number.contradicted, number.unsure


def _marks(number: PaperNumber, footnotes: dict[str, int]) -> str:
    """Numbers of the notes on a number of the paper, which are added to `footnotes`."""
    found = [footnotes.setdefault(doubt, len(footnotes) + 1) for doubt in _doubts(number) if doubt]
    return "".join(f" ({number})" for number in found)
