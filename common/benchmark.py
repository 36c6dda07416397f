"""Names a dataset's tasks as the Hub's leaderboards do: in `eval.yaml` of the dataset and `.eval_results/` of a model.

A task of the Hub has one value, so each config of the dataset has a task for each of [`MEASURES`].
"""

from collections.abc import Iterable

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml


MEASURES = ("mse", "ece")
BENCHMARK_FILE = "eval.yaml"


def task_id(config: str, split: str, measure: str) -> str:
    """Returns the name of a task, `"urn-audio-mse"`: that of another split than `test` names the split too."""
    return "-".join([config, *([split] if split != "test" else []), measure])


def benchmark(name: str, framework: str, configs: Iterable[str]) -> str:
    """
    Returns the content of a dataset's `eval.yaml`, for the test splits of its configs.

    Args:
        name (`str`): The benchmark's name for people.
        framework (`str`): What evaluates it, by the name that the Hub has listed it under; others it refuses.
        configs (`Iterable[str]`): Those with a test split.
    """
    content = {
        "name": name,
        "description": "How probable is it that a hypothesis about a text, sound or video is true? Mean squared error "
        "(mse) and expected calibration error (ece) of the probabilities given; the lower, the better.",
        "evaluation_framework": framework,
        "tasks": [
            {"id": task_id(config, "test", measure), "config": config, "split": "test"}
            for config in configs
            for measure in MEASURES
        ],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=119)


def evaluation_entries(report: dict, source_url: str | None = None) -> list[EvalResultEntry]:
    """Returns a report's results on a dataset of the Hub, a task each; `report` is one of a checkpoint's record, and
    `source_url` is where a reader finds it whole."""
    return [
        EvalResultEntry(
            dataset_id=report["dataset"],
            task_id=task_id(report["config"], report["split"], measure),
            value=report["measures"][measure]["value"],
            dataset_revision=report.get("revision"),
            date=report["date"],
            source_url=source_url,
            notes=" ".join(report["command"]),
        )
        for measure in MEASURES
        if report["measures"].get(measure, {}).get("value") is not None
    ]


def entries_to_yaml(entries: list[EvalResultEntry]) -> str:
    """Returns the content of a file in `.eval_results/`."""
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=119)
