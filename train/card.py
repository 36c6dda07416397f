"""Fills the card of a checkpoint, `model_card.md` at the top of the repository, from the record of its run.

`train/sft.py` writes the card. What is measured later is added to it, with its metadata:

```bash
python -m evaluation.run --model runs/demo/checkpoint --dataset umui --config urn-audio --split test
python -m train.card --checkpoint runs/demo/checkpoint \
    --report runs/evaluation/demo-checkpoint/urn-audio-test/report.json

# What no run can know
python -m train.card --checkpoint runs/clue-3b --base_model Qwen/Qwen2.5-Omni-3B --license other
```
"""

import argparse
import json
import shlex
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from datasets_scripts.commands import in_words
from datasets_scripts.digests import weights_digest
from modeling_clue.processing_clue import MODALITIES
from train.record import ROOT, read_record, replace_text, shown_path, told, write_record


TEMPLATE = ROOT / "model_card.md"
PREMISES = {"text": "texts", "audio": "sounds", "video": "videos", "audiovisual": "videos with their sound"}
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
VALIDATION_COLUMNS = {"loss": "loss", "mse": "MSE", "mae": "MAE", "constant_mean_mse": "MSE of the labels' mean"}

WHAT = """Given a premise (here {premises}) and a hypothesis, this model gives the probability that the hypothesis is \
true, \
{how}. It is a model of [CLUE](https://arxiv.org/abs/2604.08701), Qwen2.5-Omni's Thinker trained for uncertain \
inference."""
HOW = {
    "distribution": "as the mean of a distribution over confidence bins",
    "text": "written out as text (CLUE-T, the token-based baseline)",
}

AUTO_MODEL = """```python
from transformers import AutoModel, AutoProcessor

model = AutoModel.from_pretrained("{name}", trust_remote_code=True)
processor = AutoProcessor.from_pretrained("{name}", trust_remote_code=True)
output = model(**processor(["Two people laugh."], [["Somebody is happy.", "Nobody is there."]]))
output.probability  # one for each hypothesis
```"""
PIPELINE = """```python
from transformers import pipeline

clue = pipeline("uncertain-inference", model="{name}", trust_remote_code=True)
clue({{"text": "Two people laugh.", "hypotheses": ["Somebody is happy.", "Nobody is there."]}})
```

`{{"audio": "clip.flac", ...}}`, `{{"video": "clip.mp4", ...}}` (the frames) and `{{"video": "clip.mp4", "modality": \
"audiovisual", ...}}` (with its sound) are asked in the same way. Without the pipeline:

"""
ADAPTER = """```python
from peft import PeftModel
from transformers import AutoModel, AutoProcessor

base = AutoModel.from_pretrained("{base}", trust_remote_code=True)
model = PeftModel.from_pretrained(base, "{name}", subfolder="adapter")
processor = AutoProcessor.from_pretrained("{name}", trust_remote_code=True)
output = model(**processor(["Two people laugh."], [["Somebody is happy.", "Nobody is there."]]))
output.probability  # one for each hypothesis
```"""
TEXT = """```python
from transformers import AutoProcessor, Qwen2_5OmniThinkerForConditionalGeneration

model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained("{name}")
processor = AutoProcessor.from_pretrained("{name}", trust_remote_code=True)
inputs = processor(["Two people laugh."], [["Somebody is happy."]])
inputs.pop("branch_ids")  # one hypothesis at a time: there are no branches
written = model.generate(**inputs)
processor.tokenizer.decode(written[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
```

`python -m evaluation.run --model {name} ...` asks in batches, and counts the answers without a number."""
TEXT_ADAPTER = """The base of this adapter is the Thinker in `{base}` without CLUE's head (`load_text_model` in \
`train/answers.py`); the folder above has it merged into a plain Thinker that transformers loads."""


def write_card(folder: Path, record: dict, kind: str = "whole") -> None:
    """Writes the card of a checkpoint, that of the adapter within, and the record they are filled from.

    Args:
        folder (`Path`): Folder of the checkpoint.
        record (`dict`): What [`~train.record.describe_run`] collected, with progress and results since.
        kind (`str`, *optional*, defaults to `"whole"`): What the folder holds: `"whole"` weights, an `"adapter"` that
            `AutoModel` loads with its base, or `"part"`: the folder `adapter` of a whole one.
    """
    write_record(folder, record)
    replace_text(folder / "README.md", render_card(record, kind))
    if (folder / "adapter").is_dir():
        replace_text(folder / "adapter" / "README.md", render_card(record, "part"))


def render_card(record: dict, kind: str = "whole") -> str:
    """Fills the template.

    Args:
        record (`dict`), kind (`str`, *optional*): As of [`write_card`].

    Returns:
        `str`: the whole README.md.
    """
    progress, rows = record["progress"], record["data"]["rows"]
    trained_on = {row["modality"] for row in rows if row["use"] == "training"}
    modalities = [name for name in MODALITIES if name in trained_on]
    *most, last = [PREMISES[name] for name in modalities]
    premises = f"{', '.join(most)} and {last}" if most else last
    model = record["model"]
    size = f"{model['parameters']:,} parameters in {model['dtype']}; {model['trained']:,} were trained, in float32."
    if model["head"] is not None:
        size += " {bins} confidence bins, target `{target}`".format(**model["head"])
        size += "." if model["head"]["target"] == "mse" else f", sigma {model['head']['sigma']}."
    card = ModelCard.from_template(
        _metadata(record, kind),
        template_path=TEMPLATE,
        title=Path(record["name"]).name + (", adapter" if kind == "part" else ""),
        unfinished=None if progress["finished"] else f"{progress['step']:,} of {progress['max_steps']:,}",
        what=WHAT.format(premises=premises, how=HOW[record["variant"]]),
        base=_checkpoint_name(record["base"]),
        size=size,
        kind="whole" if kind == "whole" else "adapter",
        lora=model["lora"] is not None,
        rounded=None if model["dtype"] == "float32" else model["dtype"],
        usage=_usage(record, kind),
        variant=record["variant"],
        premises=premises,
        results=_results(record),
        data=_data(record),
        training=_training(record),
        licence=_licence(record),
        citation=_citation(),
    )
    return str(card).rstrip("\n") + "\n"


def add_report(record: dict, checkpoint: Path, path: Path) -> None:
    """Adds what `evaluation.run` measured to a record, in the place of an earlier measurement on the same split.

    Args:
        record (`dict`): The record.
        checkpoint (`Path`): Folder of the checkpoint.
        path (`Path`): A `report.json`.

    Raises:
        ValueError: if the report is of other weights, or of an earlier version.
    """
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
        "rows": report["n"],
        "premises": report["premises"],
        "without_number": report.get("without_number", {"n": 0})["n"],
        "measures": report["measures"],
        # Of a single premise there is no baseline.
        **{f"{kind}_mse": report[kind]["measures"]["mse"]["value"] if kind in report else None for kind in BASELINES},
        "command": report["command"],
        "date": report["date"],
    }
    added = told(added)
    where = told(where)
    others = [one for one in record["reports"] if any(one[name] != value for name, value in where.items())]
    record["reports"] = sorted([*others, added], key=lambda one: (one["dataset"], one["config"], one["split"]))


def _metadata(record: dict, kind: str) -> ModelCardData:
    base, data, results = record["base"], record["data"], _eval_results(record)
    adapter = kind != "whole"
    base_model = base["base_model"] if not adapter else base["on_hub"]
    modalities = {row["modality"] for row in data["rows"] if row["use"] == "training"}
    tags = ["uncertain-inference", "calibration", *(name for name in MODALITIES if name in modalities)]
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


def _eval_results(record: dict) -> list[EvalResult]:
    """What was measured, as the Hub has it: a later evaluation goes before that of the training on the same rows."""
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


def _usage(record: dict, kind: str) -> str:
    names = {"name": record["name"], "base": record["base"]["name"]}
    if kind == "whole":
        return (TEXT if record["variant"] == "text" else PIPELINE + AUTO_MODEL).format(**names)
    if record["variant"] == "text":
        return TEXT_ADAPTER.format(**names)
    return (ADAPTER if kind == "part" else AUTO_MODEL).format(**names)


def _results(record: dict) -> str:
    parts = []
    if record["reports"]:
        header = ("dataset", "config", "split", "rows", "premises", "MSE", "MAE", "ECE")
        header += ("MSE of the constant mean", "MSE from the hypothesis alone")
        rows = [
            (
                *(f"`{one[name]}`" for name in ("dataset", "config", "split")),
                *(f"{one[name]:,}" for name in ("rows", "premises")),
                *(_with_interval(one["measures"][name]) for name in ("mse", "mae", "ece")),
                *("-" if (mse := one[f"{kind}_mse"]) is None else f"{mse:.4g}" for kind in BASELINES),
            )
            for one in record["reports"]
        ]
        parts += ["Evaluated after training, with 95 % intervals by resampling premises:", _table(header, rows, 3)]
        unread = [one for one in record["reports"] if one["without_number"]]
        if unread:
            told_of = ", ".join(f"{one['without_number']:,} on `{one['config']}`" for one in unread)
            parts.append(f"Answers without a number, which are in no measure: {told_of}.")
        commands = [f"{shlex.join(one['command'])}  # {one['date']}" for one in record["reports"]]
        parts.append("\n".join(["```bash", *commands, "```"]))
    if record["validation"]:
        columns = [name for name in VALIDATION_COLUMNS if name in record["validation"][0]["metrics"]]
        header = ("config", "split", "modality", "hypotheses", *(VALIDATION_COLUMNS[name] for name in columns))
        rows = [
            (
                f"`{one['config']}`",
                f"`{one['split']}`",
                one["modality"],
                f"{one['metrics']['hypotheses']:,}",
                *(f"{one['metrics'][name]:.4g}" for name in columns),
            )
            for one in record["validation"]
        ]
        parts += ["At the end of training, by the training command below:", _table(header, rows, 3)]
    return "\n\n".join(parts) or "Not evaluated."


def _with_interval(result: dict) -> str:
    if result["value"] is None:
        return "-"
    text = f"{result['value']:.4g}"
    return text if result["interval"] is None else f"{text} [{result['interval'][0]:.4g}, {result['interval'][1]:.4g}]"


def _data(record: dict) -> str:
    data = record["data"]
    header = ("for", "config", "split", "modality", "premises", "hypotheses", "probabilities from")
    rows = [
        (
            row["use"],
            f"`{row['config']}`",
            f"`{row['split']}`",
            row["modality"],
            f"{row['premises']:,}",
            f"{row['hypotheses']:,}",
            ", ".join(f"{source} {number:,}" for source, number in row["sources"].items()),
        )
        for row in data["rows"]
    ]
    table = _table(header, rows, 4)
    where = f"[`{data['dataset']}`](https://huggingface.co/datasets/{data['dataset']})"
    return f"From {where if data['on_hub'] else '`' + data['dataset'] + '`'}, as this run counted it:\n\n{table}"


def _training(record: dict) -> str:
    progress, hardware, code = record["progress"], record["hardware"], record["code"]
    device = hardware["device"] if hardware["device"] != "CPU" else "CPU alone"
    processes = f"{hardware['processes']} process" + ("" if hardware["processes"] == 1 else "es")
    if hardware["backend"] is not None:
        processes += f" ({hardware['backend']})"
    since = f", resumed at step {progress['resumed_at']:,}" if progress["resumed_at"] else ""
    best = ""
    if progress["best_step"]:
        measure = record["options"]["metric_for_best_model"].removeprefix("eval_")
        best = f"; the weights are those of step {progress['best_step']:,}, the best by `{measure}`"
    if code["commit"] is None:
        source = f"version {code['version']}, not a git checkout"
    else:
        source = f"commit `{code['commit'][:12]}`" + (" with local changes" if code["changed"] else "")
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    lines = [
        f"- Recipe: {'`' + record['recipe'] + '`' if record['recipe'] else 'none, options alone'}",
        f"- Steps: {progress['step']:,} of {progress['max_steps']:,}, {progress['epoch']:.3g} epochs{since}{best}",
        f"- Time: {progress['seconds']:,.0f} s{' since then' if since else ''}, {progress['date']}",
        f"- Hardware: {processes}, {device}; {hardware['cpu']}, {hardware['cores']} cores, {hardware['system']}",
        f"- Versions: {versions}",
        f"- Code: {source}",
    ]
    lora = record["model"]["lora"]
    if lora is not None:
        parts = {name: ", ".join(value) if isinstance(value, list) else value for name, value in lora.items()}
        lines.append("- LoRA: " + "; ".join(f"{name} {value}" for name, value in parts.items() if value is not None))
    options = yaml.safe_dump(record["options"], sort_keys=True, allow_unicode=True, width=119).strip()
    return "\n".join(
        [
            "The command, where `accelerate launch` may have had options that the run does not know of:",
            "",
            "```bash",
            shlex.join(["accelerate", "launch", *record["command"]]),
            "```",
            "",
            *lines,
            "",
            "Options that are not at their defaults, those of the recipe included:",
            "",
            "```yaml",
            options,
            "```",
        ]
    )


def _checkpoint_name(base: dict) -> str:
    revision = f" at revision `{base['revision']}`" if base["revision"] and base["on_hub"] else ""
    if base["on_hub"]:
        return f"[`{base['on_hub']}`](https://huggingface.co/{base['on_hub']}){revision}"
    made_from = f", made from `{base['base_model']}`" if base["base_model"] else ""
    return f"the checkpoint `{base['name']}`{made_from}"


def _licence(record: dict) -> str:
    base = record["base"]
    terms = "The terms of the training data's sources apply beside it."
    if record["license"]:
        return f"`{record['license']}`. {terms}"
    if base["license"]:
        return f"`{base['license_name'] or base['license']}`, that of the checkpoint it was started from. {terms}"
    return f"Not stated: the checkpoint it was started from names none. {terms}"


def _citation() -> str:
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["preferred-citation"]
    authors = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"])
    return "\n".join(
        [
            f"@misc{{{paper['authors'][0]['family-names'].lower()}{paper['year']}umui,",
            f"  title         = {{{paper['title']}}},",
            f"  author        = {{{authors}}},",
            f"  year          = {{{paper['year']}}},",
            f"  eprint        = {{{paper['journal'].rpartition(':')[2]}}},",
            "  archivePrefix = {arXiv},",
            f"  url           = {{{paper['url']}}}",
            "}",
        ]
    )


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]], words: int) -> str:
    """A Markdown table whose first columns are words, and the others numbers."""
    rule = ["---" if place < words else "---:" for place in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def main(arguments: list[str] | None = None) -> None:
    """Adds to the card of a checkpoint."""
    parser = argparse.ArgumentParser(
        prog="python -m train.card", description="Add what was measured, and what no run can know, to a card."
    )
    parser.add_argument("--checkpoint", required=True, type=Path, help="folder that train/sft.py wrote")
    parser.add_argument(
        "--report", nargs="+", default=[], type=Path, help="report.json files of evaluation.run on this checkpoint"
    )
    parser.add_argument("--license", help="licence of the weights, by the Hub's name for it")
    parser.add_argument("--base_model", help="the model on the Hub that the weights come from, as ORG/NAME")
    args = parser.parse_args(arguments)
    record = read_record(args.checkpoint)
    for path in args.report:
        add_report(record, args.checkpoint, path)
    if args.license is not None:
        record["license"] = args.license
    if args.base_model is not None:
        record["base"]["base_model"] = args.base_model
    write_card(args.checkpoint, record)
    print(f"Wrote {shown_path(args.checkpoint / 'README.md')}.")


if __name__ == "__main__":
    with in_words():
        main()
