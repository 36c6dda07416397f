"""Numbers and tables as reports show them: Markdown, read as well in a terminal, and CSV with all digits."""

from collections.abc import Callable, Iterable, Mapping

import pandas as pd


# What the paper reports (tables 2, 3, 4 and 8), what chance alone makes of the ECE, and whether the model orders the
# rows as people do.
MAIN_MEASURES = ("mse", "ece", "ece_by_chance", "nll", "spearman", "accuracy", "f1")
# Servers put numbers of requests and the like into their errors: no two are the same.
MOST_REASONS = 10
# What a sum of probabilities in float32 may be off by.
ROUNDING = 1e-7
# What the model has to beat: the heads of its columns, and where reports have it.
BESIDE = {"constant mean": "constant_mean", "hypothesis only": "hypothesis_only", "target's floor": "target_floor"}


def markdown_table(header: list[str], rows: list[list[str]], words: int = 1) -> str:
    """
    Lays out a table in Markdown, its columns aligned, without a final newline; no sign in a cell breaks it.

    The first columns, as many as `words`, go to the left, the others to the right.
    """
    table = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]

    def line(cells: list[str]) -> str:
        padded = [c.ljust(w) if i < words else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i < words else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(table[0]), rule, *map(line, table[1:])])


def csv_table(rows: Iterable[Mapping], line_end: str = "\n") -> str:
    """Returns rows as CSV with all digits; a cell is empty where a row has no such column, or `None` in it."""
    # As objects: a column of whole numbers with gaps would become one of decimals.
    return pd.DataFrame(list(rows), dtype=object).to_csv(index=False, lineterminator=line_end)


def number(value: float | None, digits: int = 4) -> str:
    """Shows `0.0123`, a dash where there is none, `4.0e-06` where only zeros would be left of more than rounding."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return f"{value:.1e}" if abs(value) > ROUNDING and not float(text) else text


def short(value: float | None) -> str:
    """Shows three significant digits, or a dash where there is none."""
    return "-" if value is None else f"{value:.3g}"


def with_interval(result: Mapping, show: Callable[[float | None], str] = number) -> str:
    """Shows `0.0123 [0.0101, 0.0150]` from the `value` and the `interval` of a measure, each number by `show`."""
    if result["interval"] is None:
        return show(result["value"])
    low, high = map(show, result["interval"])
    return f"{show(result['value'])} [{low}, {high}]"


def measures_table(report: dict) -> str:
    """Lays out the main measures of a report, the model with its interval beside what it has to beat."""
    table = _measures_table(report, [name for name in MAIN_MEASURES if name in report["measures"]])
    lacking = report.get("without_number")
    return table if lacking is None else f"{table}\n\n{lacking_table(lacking, report['n'])}"


def further_measures_table(report: dict) -> str:
    """Lays out the other measures as the main ones; a dash where a predictor has no distribution to measure."""
    return _measures_table(report, [name for name in report["measures"] if name not in MAIN_MEASURES])


def lacking_table(lacking: dict, n: int) -> str:
    """Lays out how many of `n` rows are measured, and why the others (`n` and `reasons` of `lacking`) are not."""
    reasons = sorted(lacking["reasons"].items(), key=lambda reason: -reason[1])
    counts = [("with a number, measured", n - lacking["n"]), *reasons[:MOST_REASONS]]
    if rest := reasons[MOST_REASONS:]:
        counts.append((f"{len(rest):,} other reasons (report.json)", sum(count for _, count in rest)))
    rows = [[reason, f"{count:,}", f"{count / n:.1%}"] for reason, count in counts]
    return markdown_table(["answers", "rows", "share"], rows)


def comparison_table(reports: dict[str, dict]) -> str:
    """Lays out a row for each configuration's report: the model's errors beside those of what it has to beat."""
    errors = {
        "MAE": (None, "mae"),
        "ECE": (None, "ece"),
        "constant mean MSE": ("constant_mean", "mse"),
        "hypothesis only MSE": ("hypothesis_only", "mse"),
        "floor MSE": ("target_floor", "mse"),
        "floor ECE": ("target_floor", "ece"),
    }
    rows = []
    for config, report in reports.items():
        values = [(report[of] if of else report)["measures"][name]["value"] for of, name in errors.values()]
        rows.append([config, str(report["n"]), with_interval(report["measures"]["mse"]), *map(number, values)])
    return markdown_table(["config", "n", "MSE [95%]", *errors], rows)


def _measures_table(report: dict, names: list[str]) -> str:
    columns = {title: report[key]["measures"] for title, key in BESIDE.items() if key in report}
    rows = []
    for name in names:
        result = report["measures"][name]
        title = f"{name} (nominal {result['nominal']:g})" if "nominal" in result else name
        beside = [number(measures[name]["value"]) if name in measures else "-" for measures in columns.values()]
        rows.append([title, with_interval(result), *beside])
    return markdown_table(["measure", "model [95%]", *columns], rows)
