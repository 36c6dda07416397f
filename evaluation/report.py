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
from evaluation.metrics.uncertain_inference.calibration_errors import NUM_BINS
from evaluation.metrics.uncertain_inference.measures import RESAMPLES, measure
from evaluation.plots import prediction_histogram, save_figure
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
) -> dict:
    """
    Measures the predictions beside the constant mean, the best hypothesis-only predictor and the target's floor.

    Answers without a number are counted, by reason, and in no measure, of the model or of others.

    Args:
        config (`CLUEConfig`, *optional*): Configuration of the checkpoint, for the target it was trained on, whose
            perfect learner is measured too. What was trained on none has no such floor.
        answer (`str`, *optional*): The format of the answers of a model that writes them.
        predictions (`list[dict]`): The predictions, one for each row.
        baselines ([`Baselines`]): Those that can be had.
        settings (`dict`): What the predictions depend on, to be told.
        data (`dict`): What the rows are, as `evaluation.data.describe` tells it.

    Returns:
        `dict`: the content of `report.json`.

    Raises:
        `ValueError`: if no answer has a number.
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
        for name in ("standard_deviation", "entropy", "interval")
        if all(row.get(name) is not None for row in measurable)
    }

    def measured(values: ArrayLike, **given) -> dict[str, dict]:
        return measure(values, targets, labels, clusters=columns["premise"], ids=columns["id"], **given)

    of_model = measured(columns["prediction"], distributions=distributions)
    if "interval" in distributions:
        of_model["coverage"]["nominal"] = INTERVAL_MASS

    if config is None:
        learnt, perfect = None, {}
    elif answer is None:
        learnt = config.target
        perfect = {
            target: perfect_predictions(target, targets, config.num_bins, config.sigma)
            for target in ("gaussian", "mean_preserving", "mse")
        }
    else:
        learnt = "text"
        perfect = {learnt: written_predictions(answer, targets)}
    floors = {target: measure(values, targets, labels, resamples=0) for target, values in perfect.items()}
    if config is not None and answer is None:
        spread = perfect_distributions(learnt, targets, config.num_bins, config.sigma, INTERVAL_MASS)
        floors[learnt] = measure(perfect[learnt], targets, labels, distributions=spread, resamples=0)
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
A low ECE alone proves nothing: the constant mean can have it.

Further measures; evaluation/metrics/README.md defines them all.

{further_measures_table(report)}

![reliability](reliability.png)

![predictions](predictions.png)
""",
    )


def _title(settings: dict) -> str:
    """What gave the predictions: the checkpoint of CLUE or CLUE-T, or the kind of predictor and its model."""
    kind = settings.get("predictor", "auto")
    named = settings["model"] or settings.get("answers")
    return named if kind == "auto" else f"Predictor {kind}" + (f", {named}," if named else "")


def _floor(report: dict) -> str:
    if "target_floor" not in report:
        return ""
    return f"The floor is the error of a perfect learner of the target `{report['target_floor']['target']}`. "


def without_number(report: dict) -> str:
    """The line that tells how many answers have no number; empty for a model that always gives one."""
    if "without_number" not in report:
        return ""
    n = report["without_number"]["n"]
    of_all = f" ({n / report['n']:.1%} of the rows)" if n else ""
    return f"Answers without a number, which are in no measure: {n:,}{of_all}.\n"
