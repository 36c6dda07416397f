"""The files of a report of coherence: report.json and report.md."""

import json
from pathlib import Path

from common.cli import counted
from common.files import write_text
from evaluation.coherence.measures import TOLERANCE, commonest
from evaluation.coherence.questions import KINDS
from evaluation.metrics.uncertain_inference.measures import RESAMPLES
from evaluation.tables import markdown_table, number, with_interval


UNKNOWN = {"value": None, "interval": None}
PAIRS_LACK = (
    "Of pairs nothing is known but their words: which hypotheses exclude or imply each other is not asked, nor is any "
    "answer called right or wrong."
)


def write_coherence_report(report: dict, out: Path) -> None:
    """Writes all files of a report as `evaluation.coherence` makes it."""
    write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    questions = sum(of["questions"] for of in report["sets"])
    lacking = sum(of["without_number"] for of in report["sets"])
    write_text(
        out / "report.md",
        f"""# {report["name"]}: do its answers fit together?

{_about(report)}: {counted(questions, "question")}, asked {", ".join(report["calls"])}. Answers without a
number, which are in no measure: {lacking:,}.

{coherence_tables(report)}

## What must hold

{markdown_table(["kind", "rule"], [[kind, KINDS[kind].rule] for kind in _kinds(report)], words=2)}

## The largest violation of each kind

{_largest(report)}
""",
    )


def _about(report: dict) -> str:
    if suite := report["suite"]:
        return f"Suite `{suite['options']['version']}`, digest `{suite['digest']}`"
    return f"`{report['settings']['dataset']}`, {report['settings']['split']}"


def _kinds(report: dict) -> list[str]:
    found = {row["kind"] for of in report["sets"] for row in of["checks"]}
    return [kind for kind in KINDS if kind in found]


def coherence_tables(report: dict) -> str:
    """Lays out how the error splits, and how far answers are from each rule, set by set."""
    sets = report["sets"]
    known = any(of["split"]["mse"] for of in sets)
    names = ("mse", "incoherence", "coherent_mse") if known else ("incoherence",)
    split = [
        [f"{of['name']}{label}", f"{of[key]['n']:,}", *(with_interval(of[key][name] or UNKNOWN) for name in names)]
        for of in sets
        for key, label in (("split", ""), ("split_without_denials", " without denials"))
    ]
    heads = {"mse": "MSE [95%]", "incoherence": "incoherence [95%]", "coherent_mse": "MSE if made coherent [95%]"}
    checks = [
        [
            f"{of['name']} {row['kind']}",
            f"{row['n'] - row['without_number']:,}",
            with_interval(row["violation"] or UNKNOWN),
            _per_cent(row["broken"]),
            _signed(row["signed"]),
            "-" if row["largest"] is None else number(abs(row["largest"]["deviation"])),
            *([number((row["error"] or UNKNOWN)["value"])] if known else []),
        ]
        for of in sets
        for row in of["checks"]
    ]
    head = ["rule", "checks", "violation [95%]", f"off by > {TOLERANCE}", "signed", "largest"]
    left_out = [f"{of['name']}: {commonest(of['left_out'])}." for of in sets if of["left_out"]]
    notes = [PAIRS_LACK] if not known else []
    notes += [f"Not asked about: {' '.join(left_out)}"] if left_out else []
    error = " `error` is the mean absolute error of the answers in a check." if known else ""
    of_split = (
        "The MSE is at least the sum of incoherence, the squared distance from the nearest answers that fit together, "
        "and of the MSE of these, which is being wrong without contradicting oneself."
        if known
        else "Incoherence is the squared distance from the nearest answers that fit together."
    )
    return "\n\n".join(
        [
            markdown_table(["set", "answers", *(heads[name] for name in names)], split),
            of_split,
            markdown_table([*head, *(["error"] if known else [])], checks),
            f"A violation is how far answers are from a rule, on average; `signed` keeps the direction. Intervals "
            f"hold 95% of {RESAMPLES:,} resamples of whole premises.{error}",
            *notes,
        ]
    )


def _per_cent(result: dict | None) -> str:
    return "-" if result is None or result["value"] is None else f"{result['value']:.1%}"


def _signed(result: dict | None) -> str:
    if result is None or result["value"] is None:
        return "-"
    text = number(result["value"])
    return text if result["value"] <= 0 else f"+{text}"


def _largest(report: dict) -> str:
    lines = []
    for of in report["sets"]:
        for row in of["checks"]:
            largest = row["largest"]
            if largest is None or abs(largest["deviation"]) <= TOLERANCE:
                continue
            answers = "; ".join(_answer(answer) for answer in largest["answers"])
            lines.append(
                f"- {of['name']}, {row['kind']} ({largest['deviation']:+.3f}), `{largest['premise']}`: {answers}"
            )
    return "\n".join(lines) or f"None is above {TOLERANCE}."


def _answer(answer: dict) -> str:
    call = "" if answer["call"] == "together" else f" {answer['call']}"
    truth = "" if answer["truth"] is None else f" (true: {answer['truth']:.3f})"
    # A hypothesis may hold what Markdown takes for its own.
    words = " ".join(answer["hypothesis"].replace("`", "'").split())
    return f"`{words}`{call} {answer['answer']:.3f}{truth}"
