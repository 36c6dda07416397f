"""The files of a stress test: report.json, report.md, cells.csv, answers.csv and the heat map."""

import json
from collections.abc import Mapping
from pathlib import Path

from common.cli import counted
from common.files import write_text
from datasets_scripts.sources.urn_stress import Question
from evaluation.metrics.uncertain_inference.measures import RESAMPLES
from evaluation.stress.findings import (
    LARGEST_BASE_ERROR,
    SIGNIFICANCE,
    SLOPE_TOLERANCE,
    SMALLEST_EFFECT,
    SMALLEST_SLOPE,
)
from evaluation.stress.heatmap import heat_map
from evaluation.tables import csv_table, markdown_table, number, with_interval


MOST_SHOWN = 20
# A measure of a cell without numbers.
UNKNOWN = {"value": None, "interval": None}


def write_stress_report(
    report: dict, questions: Mapping[str, list[Question]], predictions: Mapping[str, float | None], out: Path
) -> None:
    """Writes all files of a report as `evaluation.urn` makes it, of its questions by modality and answers by id."""
    settings = report["settings"]
    heat_map(report["cells"], out / "heatmap.png", f"{report['name']}: error by difficulty")
    write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    write_text(out / "cells.csv", csv_table(map(_cell_row, report["cells"])))
    asked = [question for of_modality in questions.values() for question in of_modality]
    write_text(out / "answers.csv", csv_table(_answer_row(question, predictions[question.id]) for question in asked))
    suite = report["suite"]
    write_text(
        out / "report.md",
        f"""# {report["name"]} under the urn stress test

Suite `{suite["options"]["version"]}`, {suite["name"]}, digest `{suite["digest"]}`:
{counted(report["n"], "question")} in {counted(len(report["cells"]), "cell")},
{suite["options"]["premises"]} premises each. Reports with the same digest can be compared. Context in words was
{"given" if settings["context"] else "not given"}. Answers without a number, which are in no measure:
{report["without_number"]:,}.

## Where it goes wrong

{findings_text(report)}

## Cells, the worst first

{cells_table(report)}

All errors are against the exact probability; intervals hold 95% of {RESAMPLES:,} resamples of the premises. Bias is
the mean of prediction less truth. Slope is how far an answer moves with the exact probability, among hypotheses of one
form: 1 for the truth, 0 for what does not look at the premise. `constant` is the MSE of the cell's own mean.
`than base` is the mean absolute error less that in the base cell, premise by premise, with the p-value after
Holm's correction.

## Bias and slope by knob

{knobs_table(report)}

![Error by modality and knob](heatmap.png)
""",
    )


def findings_text(report: dict) -> str:
    """Lists the findings, or says that there are none; and what counts as one."""
    lines = []
    for finding in report["findings"]:
        cells = ", ".join(
            f"{cell['modality']} {cell['cell']} ({cell['effect']:+.2f})" for cell in finding["cells"][:MOST_SHOWN]
        )
        more = len(finding["cells"]) - MOST_SHOWN
        rest = f" and {more} more" if more > 0 else ""
        lines.append(f"- **{finding['what']}** in {len(finding['cells'])} of {finding['tested']} cells: {cells}{rest}")
    if report["without_number"]:
        lines.append(f"- **no number** in {report['without_number']:,} of {report['n']:,} answers")
    if not lines:
        lines = ["Nothing was found."]
    tests = len(report["tests"])
    rule = (
        f"A finding is significant at {SIGNIFICANCE} after Holm's correction over {tests} tests (random signs over "
        f"premises) and large enough: {SMALLEST_EFFECT} in error, bias or sway, a slope off 1 by {SLOPE_TOLERANCE}, a "
        f"slope below {SMALLEST_SLOPE} for not following the premise, an error above {LARGEST_BASE_ERROR} for a base "
        "cell. In brackets the effect: the difference of the error or answer, or the slope; for a mistake with a name "
        "how far answers lie from the truth (0) towards it (1)."
    )
    least = min(report["suite"]["options"]["premises"], 14)
    if 2.0**-least * tests >= SIGNIFICANCE:
        rule += " **There are too few premises for any finding: ask for more with --premises.**"
    return "\n".join(lines) + "\n\n" + rule


def cells_table(report: dict) -> str:
    """Lays out a row for each cell, the largest error first."""
    rows = []
    for cell in sorted(report["cells"], key=lambda cell: -(cell["mae"] or {"value": -1})["value"]):
        mae, mse, ece, bias, slope = (cell[name] or UNKNOWN for name in ("mae", "mse", "ece", "bias", "slope"))
        worse = cell["worse_than_base"]
        rows.append(
            [
                f"{cell['modality']} {cell['cell']}",
                with_interval(mae),
                *map(number, (mse["value"], cell["constant_mse"], ece["value"])),
                *map(with_interval, (bias, slope)),
                "-" if worse is None else f"{worse['difference']:+.4f} (p {worse['p_holm']:.3f})",
                str(cell["without_number"]),
                "; ".join(cell["findings"]),
            ]
        )
    header = ["cell", "MAE [95%]", "MSE", "constant", "ECE", "bias [95%]", "slope [95%]", "than base", "no number"]
    return markdown_table([*header, "findings"], rows)


def knobs_table(report: dict) -> str:
    """Lays out bias and slope at each level of each knob, a column for each modality."""
    modalities = list(dict.fromkeys(cell["modality"] for cell in report["cells"]))
    rows: dict[str, dict[str, str]] = {}
    for cell in report["cells"]:
        if cell["bias"] is not None:
            numbers = f"{cell['bias']['value']:+.3f}, {number(cell['slope']['value'], 3)}"
            rows.setdefault(cell["cell"], dict.fromkeys(modalities, ""))[cell["modality"]] = numbers
    return markdown_table(["bias, slope", *modalities], [[name, *row.values()] for name, row in rows.items()])


def _cell_row(cell: dict) -> dict:
    row = {name: cell[name] for name in ("modality", "cell", "knob", "level", "n", "without_number")}
    for name in ("mae", "mse", "ece", "bias", "slope"):
        result = cell[name] or UNKNOWN
        low, high = result["interval"] or (None, None)
        row |= {name: result["value"], f"{name}_low": low, f"{name}_high": high}
    worse = cell["worse_than_base"] or {"difference": None, "p_holm": None}
    row |= {"constant_mse": cell["constant_mse"], "mae_less_base": worse["difference"], "p_holm": worse["p_holm"]}
    return row | {"findings": "; ".join(cell["findings"])}


def _answer_row(question: Question, prediction: float | None) -> dict:
    return {
        **{"id": question.id, "modality": question.cell.modality, "cell": question.cell.name},
        **{"premise": question.premise.name, "hypothesis": question.hypothesis},
        **{"probability": question.probability, "prediction": prediction},
    }
