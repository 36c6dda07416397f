"""Tables 1 and 5 of the paper for one's own teachers and items, with the paper's numbers beside them."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

from datasets_scripts.judgements.figures import draw_histograms
from datasets_scripts.paper_numbers import paper_numbers
from datasets_scripts.teachers.measures import Measured


# Table 5: teacher, votes, accuracy, MSE, alpha. Table 1 has the accuracy and MSE of the Thinking ones.
_TABLE_5 = paper_numbers(5)
PAPER = tuple(
    (*row.split(", "), *(_TABLE_5[row, measure].value for measure in ("accuracy", "mse", "krippendorff_alpha")))
    for row in dict.fromkeys(row for row, _ in _TABLE_5)
)
PAPER_NOTE = (
    "Rows marked (paper) are Table 5 of the paper as printed (where majority is called max); Table 1 repeats those of "
    "the Thinking models. They are about other items: a reference, no competitors. The paper does not say how its MSE "
    "is formed. Item by item, as here, 1.56e-5 beside an accuracy of 0.857 would need the items on the wrong side of "
    "0.5 to lie within about 0.01 of it, for teacher and people alike, so its MSE may be another measure."
)
MEASURES = ("accuracy", "mse", "alpha")
CSV_COLUMNS = (
    *("of", "teacher", "votes", "items", "missing", "undecided"),
    *(f"{measure}{part}" for measure in MEASURES for part in ("", "_low", "_high")),
)


def write_report(report: dict, out: Path) -> str:
    """
    Writes `quality.md`, `quality.csv`, `quality.json` and `histograms.png` (figure 4: how people and teachers answer).

    Args:
        report (`dict`): As [`report_on`] gives it.
        out (`Path`): The folder, made if it isn't there.

    Returns:
        `str`: the text of `quality.md`.
    """
    out.mkdir(parents=True, exist_ok=True)
    text = _markdown(report)
    numbers = report | {"rows": [asdict(row) for row in report["rows"]], "paper": [list(row) for row in PAPER]}
    _write(out / "quality.md", text)
    _write(out / "quality.json", json.dumps(numbers, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    partial = out / "quality.csv.partial"
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        for row in report["rows"]:
            measured = [cell for name in MEASURES for cell in _cells(vars(row)[name])]
            writer.writerow(["measured", row.teacher, row.votes, row.items, row.missing, row.undecided, *measured])
        for teacher, votes, *values in PAPER:
            writer.writerow(["paper", teacher, votes, "", "", "", *(x for value in values for x in (value, "", ""))])
    partial.replace(out / "quality.csv")
    draw_histograms({"annotators": report["distributions"]}, out / "histograms.png")
    return text


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)


def _cells(measured: Measured) -> list:
    return [measured.value, *(measured.interval or (None, None))]


def _markdown(report: dict) -> str:
    items, rows = report["items"], report["rows"]
    lines = [
        "# Teachers against people",
        "",
        f"{items['judged']:,} judged items, {items['judged_by_two']:,} of them by at least two people: only these "
        f"count. In brackets: {report['confidence']:.0%} percentile bootstrap intervals over items, "
        f"{report['resamples']:,} resamples, seed {report['seed']}.",
        "",
    ]
    for name, facts in report["teachers"].items():
        few, most = facts["fewest_answers"], facts["most_answers"]
        lines.append(
            f"- {name}: {facts['items']:,} of these items, {facts['not_asked']:,} it was not asked about; {most} "
            f"answers an item{'' if few == most else f', to some only {few}'}; {facts['unreadable_answers']:,} "
            f"answers without a probability; {facts['asked_beside']:,} other pairs not used."
        )
    header = ["teacher", "votes", "items", "missing", "accuracy", "MSE"]
    measured = [
        [
            row.teacher,
            row.votes,
            f"{row.items:,}",
            f"{row.missing:,}",
            _shown(row.accuracy, ".4f"),
            _shown(row.mse, ".3e"),
        ]
        for row in rows
    ]
    printed = [
        [f"{teacher} (paper)", votes, "", "", f"{accuracy:.4f}", f"{mse:.3e}"]
        for teacher, votes, accuracy, mse, _ in PAPER
    ]
    thinking = [row for row in printed if "Thinking" in row[0]]
    lines += ["", "## Accuracy and MSE (Table 1)", "", *_table(header, measured + thinking)]
    alphas = [[_shown(row.alpha, ".4f")] for row in rows] + [[f"{row[4]:.4f}"] for row in PAPER]
    full = [row + alpha for row, alpha in zip(measured + printed, alphas, strict=True)]
    lines += ["", "## With agreement (Table 5)", "", *_table([*header, "Krippendorff's alpha"], full), ""]
    if undecided := max(row.undecided for row in rows):
        lines += [f"People are undecided (mean 0.5) on up to {undecided:,} items, which accuracy leaves out.", ""]
    reasons = [
        f"- {row.teacher}, {row.votes}, {name}: {vars(row)[name].reason}."
        for row in rows
        for name in MEASURES
        if vars(row)[name].reason
    ]
    lines += [*reasons, ""] if reasons else []
    return "\n".join([*lines, PAPER_NOTE]) + "\n"


def _shown(measured: Measured, form: str) -> str:
    if measured.value is None:
        return "n/a"
    interval = measured.interval
    return f"{measured.value:{form}}" + (f" [{interval[0]:{form}}, {interval[1]:{form}}]" if interval else "")


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table; the first two columns are words, the others numbers."""
    cells = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def line(row: list[str]) -> str:
        padded = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "".join(f"{'-' * (w + 2)}|" if i < 2 else f"{'-' * (w + 1)}:|" for i, w in enumerate(widths))
    return [line(cells[0]), "|" + rule, *map(line, cells[1:])]
