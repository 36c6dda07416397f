"""The report of an evaluation: every measure beside the predictors that see less, and the target's floor."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from transformers import PreTrainedConfig

from common.cli import counted
from common.files import write_text
from evaluation.baselines import Baselines, describe_baselines
from evaluation.figures.reliability import draw_reliability, reliability
from evaluation.figures.style import prediction_histogram, save_figure
from evaluation.metrics.uncertain_inference.calibration_errors import NUM_BINS
from evaluation.metrics.uncertain_inference.measures import RESAMPLES, measure
from evaluation.prediction_files import EvaluationRun
from evaluation.predictors.prediction import INTERVAL_MASS
from evaluation.tables import further_measures_table, measures_table
from evaluation.target_floor import perfect_distributions, perfect_predictions, written_predictions


def make_report(
    config: PreTrainedConfig | None,
    answer: str | None,
    predictions: list[dict],
    baselines: Baselines,
    settings: dict,
    data: dict,
    people: list[list[float] | None] | None = None,
) -> dict:
    """
    Measures the predictions beside the constant mean, the best hypothesis-only predictor and the target's floor.

    Answers without a number are counted, by reason, and in no measure, of the model or of others; one at least must
    have a number. The floor is that of the target that `config`, of a checkpoint, or the format of written answers
    tells. `data` is what the rows are, as `evaluation.data.describe` tells it; `people` the answers of each row's
    annotators. Returns the content of `report.json`.
    """
    measurable = [row for row in predictions if row["prediction"] is not None]
    if not measurable:
        first = predictions[0]
        raise ValueError(
            f"None of the {len(predictions)} answers has a number to measure: read them in predictions.jsonl, the "
            f"first is {first['answer']!r} ({first['reason']})."
        )
    columns = {name: [row[name] for row in measurable] for name in ("id", "premise", "prediction", "target", "label")}
    targets = np.array(columns["target"])
    labels = None if any(label is None for label in columns["label"]) else np.array(columns["label"])

    # A predictor that gives no distribution has no such columns, and no such measures.
    distributions = {
        name: [row[name] for row in measurable]
        for name in ("standard_deviation", "entropy", "interval", "histogram")
        if all(row.get(name) is not None for row in measurable)
    }

    if people is not None:
        people = [given for given, row in zip(people, predictions, strict=True) if row["prediction"] is not None]

    def measured(values: ArrayLike, **given) -> dict[str, dict]:
        return measure(values, targets, labels, columns["premise"], columns["id"], people=people, **given)

    of_model = measured(columns["prediction"], distributions=distributions)
    if "interval" in distributions:
        of_model["coverage"]["nominal"] = INTERVAL_MASS

    learnt, floors = _floors(config, answer, targets, labels, people)
    bins, _ = reliability(columns["prediction"], targets, columns["premise"], resamples=0)
    reasons = Counter(row["reason"] for row in predictions if row["prediction"] is None)
    # What writes or is asked for its answers may give none.
    may_lack = any("reason" in row for row in predictions)
    counts = {"without_number": {"n": reasons.total(), "reasons": dict(reasons.most_common())}} if may_lack else {}
    return {
        "settings": settings,
        "data": data,
        "n": len(predictions),
        **counts,
        "premises": len({row["premise"] for row in predictions}),
        "rows_with_notes": sum(bool(row["notes"]) for row in predictions),
        "measures": of_model,
        "baselines": asdict(baselines.fitted_to),
        **{
            kind: {**one.facts, "measures": measured([one.answers[name] for name in columns["id"]])}
            for kind, one in baselines.by_kind.items()
        },
        **({} if learnt is None else {"target_floor": {"target": learnt, "measures": floors[learnt]}}),
        "floors": {
            target: {name: results[name]["value"] for name in ("mse", "mae", "ece")}
            for target, results in floors.items()
        },
        "reliability": [
            {
                "low": k / NUM_BINS,
                "high": (k + 1) / NUM_BINS,
                **{key: one[key] for key in ("n", "prediction", "target")},
            }
            for k, one in enumerate(bins)
        ],
    }


def _floors(
    config: PreTrainedConfig | None,
    answer: str | None,
    targets: np.ndarray,
    labels: np.ndarray | None,
    people: list[list[float] | None] | None,
) -> tuple[str | None, dict[str, dict]]:
    """Returns the target that was learnt, and measures perfect learners, of others that could have been as well."""
    if config is None:
        return None, {}
    if answer is not None:
        return "text", {
            "text": measure(written_predictions(answer, targets), targets, labels, resamples=0, people=people)
        }
    floors = {}
    for target in ("gaussian", "mean_preserving", "mse"):
        perfect = perfect_predictions(target, targets, config.num_bins, config.sigma)
        spread = None
        if target == config.target:
            spread = perfect_distributions(target, targets, config.num_bins, config.sigma, INTERVAL_MASS)
        floors[target] = measure(perfect, targets, labels, distributions=spread, resamples=0, people=people)
    return config.target, floors


def write_report(report: dict, predictions: list[dict], out: Path) -> None:
    """Writes `report.json`, `report.md` and the figures into the folder `out`."""
    settings = report["settings"]
    run = EvaluationRun(out, f"{settings['config']} {settings['split']}", settings, predictions, report)
    figure, words = draw_reliability([run])
    save_figure(figure, out / "reliability.png", words)
    prediction_histogram(
        [row["prediction"] for row in run.measurable],
        [row["target"] for row in run.measurable],
        out / "predictions.png",
        f"{run.name}: {counted(report['n'], 'row')}",
    )
    write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    write_text(
        out / "report.md",
        f"""# {_title(settings)} on {settings["config"]}, {settings["split"]}

{counted(report["n"], "row")} about {counted(report["premises"], "premise")} of `{settings["dataset"]}`;
{report["rows_with_notes"]:,} with something cut or left out of the premise (`notes` in `predictions.jsonl`).
{without_number(report)}
{measures_table(report)}

Intervals hold 95% of {RESAMPLES:,} resamples of the premises. {describe_baselines(report)} {_floor(report)}
A low ECE alone proves nothing: the constant mean can have it. `ece_by_chance` is what a perfectly calibrated predictor
with the same predictions shows on as many rows, on average, and in 95 of 100 cases.

Further measures; evaluation/metrics/README.md defines them all.

{further_measures_table(report)}

![reliability](reliability.png)

![predictions](predictions.png)
""",
    )


def _title(settings: dict) -> str:
    """Names what gave the predictions: the checkpoint of CLUE or CLUE-T, or the kind of predictor and its model."""
    kind = settings.get("predictor", "auto")
    named = settings["model"] or settings.get("answers")
    return named if kind == "auto" else f"Predictor {kind}" + (f", {named}," if named else "")


def _floor(report: dict) -> str:
    if "target_floor" not in report:
        return ""
    return f"The floor is the error of a perfect learner of the target `{report['target_floor']['target']}`. "


def without_number(report: dict) -> str:
    """Returns a line on how many answers have no number; nothing for a model that always gives one."""
    if "without_number" not in report:
        return ""
    n = report["without_number"]["n"]
    of_all = f" ({n / report['n']:.1%} of the rows)" if n else ""
    return f"Answers without a number, which are in no measure: {n:,}{of_all}.\n"
