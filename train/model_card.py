"""Fills the card of a checkpoint, `model_card.md` at the top of the repository, from the record of its run."""

import json
import shlex
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, ModelCardData

from common.benchmark import entries_to_yaml, evaluation_entries
from common.cards import fill_template, joined
from common.digests import weights_digest
from common.files import write_text
from modeling_clue.modalities import MODALITIES, TABLE
from train.record import ROOT, redact, write_record


TEMPLATE = ROOT / "model_card.md"
RESULTS_FOLDER = ".eval_results"
METRICS = {
    "mse": "Mean squared error",
    "mae": "Mean absolute error",
    "ece": "Expected calibration error",
    "nll": "Negative log-likelihood",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
}
BASELINES = ("constant_mean", "hypothesis_only")


def write_card(folder: Path, record: dict, kind: str = "whole", source_url: str | None = None) -> None:
    """Writes the card of a checkpoint, that of the adapter within, their record, and what was measured on the Hub's
    datasets as its leaderboards read it. `kind` is `"whole"`, `"adapter"` for one that `AutoModel` loads with its
    base, or `"part"` for the folder `adapter` of a whole one; `source_url` is where the record will lie."""
    write_record(folder, record)
    write_results(folder, record["reports"], source_url)
    write_text(folder / "README.md", render_card(record, kind))
    if (folder / "adapter").is_dir():
        write_text(folder / "adapter" / "README.md", render_card(record, "part"))


def render_card(record: dict, kind: str = "whole") -> str:
    """Returns the whole README.md."""
    return fill_template(
        TEMPLATE,
        _metadata(record, kind),
        **record,
        kind=kind,
        title=Path(record["name"]).name + (", adapter" if kind == "part" else ""),
        premises=joined([TABLE[name].many for name in _trained_on(record)], "and"),
        shell=shlex.join,
        yaml=yaml.safe_dump(record["options"], sort_keys=True, allow_unicode=True, width=119).strip(),
    )


def write_results(folder: Path, reports: list[dict], source_url: str | None = None) -> list[Path]:
    """Writes a file in `.eval_results` for each dataset of the Hub, and returns them; a dataset of this machine has no
    leaderboard, and the first rows of a split are none of its results."""
    by_dataset, paths = {}, []
    for report in reports:
        if report["on_hub"] and not report.get("limit"):
            by_dataset.setdefault(report["dataset"], []).extend(evaluation_entries(report, source_url))
    for dataset, entries in by_dataset.items():
        paths.append(folder / RESULTS_FOLDER / f"{dataset.replace('/', '--')}.yaml")
        paths[-1].parent.mkdir(exist_ok=True)
        write_text(paths[-1], entries_to_yaml(entries))
    return paths


def add_report(record: dict, checkpoint: Path, path: Path) -> None:
    """Adds a `report.json` of `evaluation.run` to a record, over one on the same split; refuses other weights."""
    report = json.loads(path.read_text(encoding="utf-8"))
    settings = report["settings"]
    if settings["weights"] != weights_digest(checkpoint):
        raise ValueError(
            f"{path} is about other weights than those in {checkpoint}: it was measured on {settings['model']}. "
            "Evaluate this checkpoint."
        )
    if "command" not in report:
        raise ValueError(f"{path} does not say with what command it was made: run the evaluation again.")
    where = {name: settings[name] for name in ("dataset", "config", "split")}
    added = {
        **where,
        "on_hub": not Path(settings["dataset"]).is_dir(),
        "revision": report.get("revision"),
        "limit": report.get("limit"),
        "rows": report["n"],
        "premises": report["premises"],
        "without_number": report.get("without_number", {"n": 0})["n"],
        "measures": report["measures"],
        # Of a single premise there is no baseline.
        **{f"{kind}_mse": report[kind]["measures"]["mse"]["value"] if kind in report else None for kind in BASELINES},
        "command": report["command"],
        "date": report["date"],
    }
    added = redact(added)
    where = redact(where)
    others = [one for one in record["reports"] if any(one[name] != value for name, value in where.items())]
    record["reports"] = sorted([*others, added], key=lambda one: (one["dataset"], one["config"], one["split"]))


def _metadata(record: dict, kind: str) -> ModelCardData:
    base, data, results = record["base"], record["data"], _eval_results(record)
    adapter = kind != "whole"
    base_model = base["base_model"] if not adapter else base["on_hub"]
    tags = ["uncertain-inference", "decision-model", "calibration", *_trained_on(record)]
    # None of the Hub's tasks is this one, and the widget of another would ask for the wrong thing: no `pipeline_tag`.
    return ModelCardData(
        base_model=base_model,
        base_model_relation=None if base_model is None else "adapter" if adapter else "finetune",
        datasets=[data["dataset"]] if data["on_hub"] else None,
        library_name="peft" if adapter else "transformers",
        license=record["license"] or base["license"],
        license_name=None if record["license"] else base["license_name"],
        metrics=sorted({result.metric_type for result in results}) or None,
        tags=[*tags, "lora"] if adapter else tags,
        eval_results=results or None,
        model_name=Path(record["name"]).name,
    )


def _trained_on(record: dict) -> list[str]:
    modalities = {row["modality"] for row in record["data"]["rows"] if row["use"] == "training"}
    return [name for name in MODALITIES if name in modalities]


def _eval_results(record: dict) -> list[EvalResult]:
    """Lists measurements as a model's page shows them, those of the training too, which no leaderboard takes; a later
    evaluation replaces that of the training on the same rows."""
    results = []
    evaluated = {_where(one) for one in record["reports"]}
    for one in record["validation"]:
        where = _where({**record["data"], **one})
        if where not in evaluated:
            measures = {name: one["metrics"][name] for name in METRICS if name in one["metrics"]}
            results += [_eval_result(*where, name, value) for name, value in measures.items()]
    for one in record["reports"]:
        measures = {name: result["value"] for name, result in one["measures"].items() if result["value"] is not None}
        where = _where(one)
        results += [_eval_result(*where, name, value) for name, value in measures.items()]
    return results


def _where(measured: dict) -> tuple[str, bool, str, str]:
    return measured["dataset"], measured["on_hub"], measured["config"], measured["split"]


def _eval_result(dataset: str, on_hub: bool, config: str, split: str, metric: str, value: float) -> EvalResult:
    return EvalResult(
        task_type="uncertain-inference",
        task_name="Uncertain inference",
        # A folder of this machine is known to nobody else: its name has to do.
        dataset_type=dataset if on_hub else Path(dataset).name,
        dataset_name=f"{Path(dataset).name} {config}",
        dataset_config=config,
        dataset_split=split,
        metric_type=metric,
        metric_name=METRICS.get(metric, metric),
        metric_value=value,
    )
