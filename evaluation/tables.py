"""Tables in Markdown, read as well in a terminal as in a report."""

# What the paper reports (tables 2, 3, 4 and 8), and whether the model orders the rows as people do.
MAIN_MEASURES = ("mse", "ece", "nll", "spearman", "accuracy", "f1")
# Servers put numbers of requests and the like into their errors: no two are the same.
MOST_REASONS = 10
# What a sum of probabilities in float32 may be off by.
ROUNDING = 1e-7


def markdown_table(header: list[str], rows: list[list[str]], words: int = 1) -> str:
    """
    Lays out a table with columns of one width.

    Args:
        header (`list[str]`): Names of the columns.
        rows (`list[list[str]]`): Cells; any text, which no sign of it breaks.
        words (`int`, defaults to 1): How many of the first columns go to the left; the others go to the right.

    Returns:
        `str`: the table in Markdown, without a final newline.
    """
    table = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]

    def line(cells: list[str]) -> str:
        padded = [c.ljust(w) if i < words else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i < words else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(table[0]), rule, *map(line, table[1:])])


def number(value: float | None, digits: int = 4) -> str:
    """`0.0123`, or a dash where there is none; `4.0e-06` where only zeros would be left of more than rounding."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return f"{value:.1e}" if abs(value) > ROUNDING and not float(text) else text


def with_interval(result: dict) -> str:
    """`0.0123 [0.0101, 0.0150]` from one measure of a report."""
    if result["interval"] is None:
        return number(result["value"])
    low, high = result["interval"]
    return f"{number(result['value'])} [{number(low)}, {number(high)}]"


def measures_table(report: dict) -> str:
    """
    The main measures of one report: a row for each, the model with its interval beside what it has to beat.

    Args:
        report (`dict`): A report of `evaluation.run`.

    Returns:
        `str`: the table in Markdown.
    """
    table = _measures_table(report, [name for name in MAIN_MEASURES if name in report["measures"]])
    lacking = report.get("without_number")
    if lacking is None:
        return table
    return f"{table}\n\n{lacking_table(lacking, report['n'])}"


def lacking_table(lacking: dict, n: int) -> str:
    """
    How many rows have an answer, which are those that are measured, and why the others have none.

    Args:
        lacking (`dict`): `n` rows without a number, and how many for each of the `reasons`.
        n (`int`): All rows.

    Returns:
        `str`: the table in Markdown.
    """
    reasons = sorted(lacking["reasons"].items(), key=lambda reason: -reason[1])
    counts = [("with a number, measured", n - lacking["n"]), *reasons[:MOST_REASONS]]
    if len(reasons) > MOST_REASONS:
        rest = reasons[MOST_REASONS:]
        counts.append((f"{len(rest):,} other reasons (report.json)", sum(count for _, count in rest)))
    rows = [[reason, f"{count:,}", f"{count / n:.1%}"] for reason, count in counts]
    return markdown_table(["answers", "rows", "share"], rows)


def further_measures_table(report: dict) -> str:
    """
    The measures of one report that are not among the main ones, laid out as those are.

    Args:
        report (`dict`): A report of `evaluation.run`.

    Returns:
        `str`: the table in Markdown. A dash where a predictor has no distribution to measure.
    """
    return _measures_table(report, [name for name in report["measures"] if name not in MAIN_MEASURES])


def _measures_table(report: dict, names: list[str]) -> str:
    columns = {
        "constant mean": "constant_mean",
        "hypothesis only": "hypothesis_only",
        "target's floor": "target_floor",
    }
    columns = {title: key for title, key in columns.items() if key in report}
    rows = []
    for name in names:
        result = report["measures"][name]
        beside = (report[key]["measures"].get(name) for key in columns.values())
        shown = f"{name} (nominal {result['nominal']:g})" if "nominal" in result else name
        rows.append([shown, with_interval(result), *("-" if b is None else number(b["value"]) for b in beside)])
    return markdown_table(["measure", "model [95%]", *columns], rows)


def comparison_table(reports: dict[str, dict]) -> str:
    """
    One row for each report: the model's errors beside those of what it has to beat.

    Args:
        reports (`dict[str, dict]`): Reports of `evaluation.run` by configuration.

    Returns:
        `str`: the table in Markdown.
    """
    header = [
        "config",
        "n",
        "MSE [95%]",
        "MAE",
        "ECE",
        "constant mean MSE",
        "hypothesis only MSE",
        "floor MSE",
        "floor ECE",
    ]
    rows = []
    for config, report in reports.items():
        measures, floor = report["measures"], report["target_floor"]["measures"]
        rows.append(
            [
                config,
                str(report["n"]),
                with_interval(measures["mse"]),
                number(measures["mae"]["value"]),
                number(measures["ece"]["value"]),
                number(report["constant_mean"]["measures"]["mse"]["value"]),
                number(report["hypothesis_only"]["measures"]["mse"]["value"]),
                number(floor["mse"]["value"]),
                number(floor["ece"]["value"]),
            ]
        )
    return markdown_table(header, rows)
