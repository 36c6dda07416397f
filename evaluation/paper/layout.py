"""One table in forms that tell the same numbers: Markdown to read, CSV and JSON to compute with, LaTeX to print."""

import json
import re
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from common.files import write_text
from datasets_scripts.paper_numbers import PaperNumber
from evaluation.tables import csv_table, markdown_table, short, with_interval


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
# A note on intervals; resamples and seed go into it.
INTERVALS = "In brackets: 95% of {:,} bootstrap resamples of whole premises, seed {}; none for one premise."
# As small as it takes to be no wider than the page, and no larger than it is.
FIT = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}"


@dataclass(frozen=True)
class Column:
    """
    A measure of a table: its name among `evaluation.metrics`, its head, and what it is multiplied by.

    `key` is where rows have it, by default `measure`; `in_paper` puts the paper's number beside it.
    """

    measure: str
    label: str
    scale: float = 1.0
    key: str | None = None
    in_paper: bool = True


@dataclass(frozen=True)
class Row:
    """
    A row of a table: what it is about, as `{"predictor": "CLUE-D", "data": "UNLI"}`, counts, measures by name and the
    paper's, and, for the CSV and JSON files, where the numbers come from. A row of the paper alone has no counts.
    """

    names: dict[str, str]
    counts: dict[str, int | float | None] = field(default_factory=dict)
    results: dict[str, dict] = field(default_factory=dict)
    paper: dict[str, PaperNumber] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """
    A table: the name of its files (`"table3"`), and what it shows.

    Its first columns are `words`, the others numbers. The CSV and JSON files have `records`, the same rows with all
    digits, `None` where there is none.
    """

    name: str
    caption: str
    header: list[str]
    cells: list[list[str]]
    words: int
    records: list[dict]
    notes: list[str]

    def markdown(self) -> str:
        """Returns the table as Markdown."""
        notes = "".join(f"- {note}\n" for note in self.notes)
        return f"# {self.caption}\n\n{markdown_table(self.header, self.cells)}\n\n{notes}"

    def json(self) -> str:
        """Returns the rows as the CSV file has them, `null` where there is no number, with caption and notes."""
        content = {"caption": self.caption, "rows": self.records, "notes": self.notes}
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def latex(self) -> str:
        """Returns the table as a float of LaTeX; the document needs the packages booktabs and graphicx."""
        columns = "l" * self.words + "r" * (len(self.header) - self.words)
        head, *body = [" & ".join(map(in_latex, row)) + r" \\" for row in [self.header, *self.cells]]
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
                *[r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}}"],
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
        forms = {"md": self.markdown(), "csv": csv_table(self.records), "json": self.json(), "tex": self.latex()}
        for ending, text in forms.items():
            write_text(folder / f"{self.name}.{ending}", text)


def lay_out(name: str, caption: str, rows: list[Row], columns: list[Column], notes: list[str]) -> Table:
    """
    Makes a table of measured rows and the paper's.

    At least one row has counts, and all those that have any have the same. To the notes are added those on measures
    and on what is doubtful about the paper's numbers.
    """
    counts = list(next(row.counts for row in rows if row.counts))
    names = list(rows[0].names)
    notes, footnotes, cells, records = [*notes], {}, [], []
    for row in rows:
        place = ", ".join(row.names.values())
        cells.append([*row.names.values(), *(_count(row.counts.get(count)) for count in counts)])
        record = {**row.names, **{count: row.counts.get(count) for count in counts}}
        for column in columns:
            result = row.results.get(column.key or column.measure, {"value": None, "interval": None})
            ends = [result["value"], *(result["interval"] or (None, None))]
            ends = [None if end is None else end * column.scale for end in ends]
            cells[-1].append(with_interval({"value": ends[0], "interval": result["interval"] and ends[1:]}, short))
            record |= zip((column.label, f"{column.label} low", f"{column.label} high"), ends, strict=True)
            if column.in_paper:
                number = row.paper.get(column.measure)
                doubts = [doubt for doubt in (number.contradicted, number.unsure) if doubt] if number else []
                marks = [f" ({footnotes.setdefault(doubt, len(footnotes) + 1)})" for doubt in doubts]
                cells[-1].append("".join([number.printed, *marks]) if number else "-")
                record[f"{column.label} (paper)"] = number.value * column.scale if number else None
                record[f"{column.label} (paper) note"] = " ".join(doubts) or None
            if result.get("reason"):
                notes.append(f"{place}: {column.label} is undefined, {result['reason']}.")
            elif "rows" in row.counts and result.get("n", inf) < row.counts["rows"] - row.counts["without number"]:
                notes.append(
                    f"{place}: {column.label} is over {result['n']:,} rows, without those whose probability is "
                    "exactly 0.5."
                )
        records.append({**record, **{fact: value or None for fact, value in row.facts.items()}})
    heads = [head for column in columns for head in (f"{column.label} [95%]", *(["paper"] if column.in_paper else []))]
    notes += [f"({number}) {text}" for text, number in footnotes.items()]
    return Table(name, caption, [*names, *counts, *heads], cells, len(names), records, notes)


def in_latex(text: str) -> str:
    """Returns a text that LaTeX prints as it is: no sign is a command, and two hyphens don't become a dash."""
    return re.sub("(?<=-)(?=-)", "{}", text.translate(LATEX))


def _count(value: int | float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else short(value)
