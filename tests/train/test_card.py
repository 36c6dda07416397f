"""The card of a checkpoint: every number is one of the run or of a report, and nothing of the machine is told."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from safetensors.torch import load_file

from common.digests import weights_digest
from modeling_clue.modalities import MODALITIES
from tests import launching
from tests.cards import check_layout
from tests.train.conftest import CONFIGS, HYPOTHESES, TRAIN_PREMISES, VALIDATION_PREMISES
from train.card import main as card
from train.model_card import add_report, render_card
from train.record import ROOT, redact, shown_path
from train.sft import main


pytestmark = pytest.mark.usefixtures("strict_templates")

RECIPE = str(ROOT / "train" / "recipes" / "demo_cpu.yaml")
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"
OPTIONS = [
    *("--config", RECIPE, "--max_steps", "2", "--warmup_steps", "0", "--disable_tqdm", "true"),
    *("--cache_premises", "false", "--eval_strategy", "no"),
]


@pytest.fixture(scope="module")
def run(dataset, tiny_checkpoint, tmp_path_factory) -> Path:
    """A folder with a run of two steps with LoRA and an evaluation, in `out`. What it started from is in `base`."""
    folder = tmp_path_factory.mktemp("card")
    (folder / "umui").symlink_to(dataset)
    base = folder / "base"
    base.mkdir()
    for file in tiny_checkpoint.iterdir():
        (base / file.name).symlink_to(file)
    (base / "README.md").write_text("---\nlicense: cc-by-4.0\nbase_model: clue/ancestor\n---\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(
            [
                *(*OPTIONS, "--model_name_or_path", "base", "--dataset", str(folder / "umui")),
                *("--output_dir", "out", "--use_peft", "--lora_r", "4", "--eval_strategy", "steps"),
                # The last step is none of those evaluated on the way.
                *("--eval_steps", "5", "--hub_token", TOKEN, f"--run_name={folder}/elsewhere/a-run"),
            ]
        )
    return folder


@pytest.fixture
def report(run, tmp_path) -> Path:
    """A report of an evaluation of the checkpoint."""
    measures = {
        "mse": {"value": 0.0125, "interval": [0.01, 0.015], "n": 36},
        "mae": {"value": 0.0875, "interval": None, "n": 36},
        "ece": {"value": 0.0625, "interval": [0.05, 0.075], "n": 36},
        "pearson": {"value": None, "interval": None, "n": 36},
    }
    others = {"mse": {"value": 0.375, "interval": None, "n": 36}}
    settings = {"model": "out", "weights": weights_digest(run / "out"), "dataset": "umui", "config": "urn-audio"}
    content = {
        "settings": {**settings, "split": "test"},
        **{"n": 36, "premises": 3, "measures": measures},
        **{"constant_mean": {"measures": others}, "hypothesis_only": {"measures": others}},
        "command": ["python", "-m", "evaluation.run", "--model", "out", "--output-dir", f"{tmp_path}/report"],
        "date": "2026-11-24",
    }
    path = tmp_path / "report.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def checkpoint(run, tmp_path) -> Path:
    """A copy of the checkpoint's folder, to add to."""
    copy = tmp_path / "out"
    (copy / "adapter").mkdir(parents=True)
    for file in (run / "out").rglob("*"):
        if file.is_file():
            (copy / file.relative_to(run / "out")).write_bytes(file.read_bytes())
    return copy


def results(folder: Path) -> dict[tuple, float]:
    """The values in a card's metadata by dataset, config, split and metric, as the Hub's client reads them."""
    found = ModelCard.load(folder / "README.md").data.eval_results or []
    return {
        (one.dataset_type, one.dataset_config, one.dataset_split, one.metric_type): one.metric_value for one in found
    }


def test_results_are_those_of_the_run(run):
    """Metadata and table have the numbers that the Trainer logged of the final weights, for every modality."""
    history = json.loads((run / "out" / "trainer_state.json").read_text())["log_history"]
    [logged] = [entry for entry in history if "eval_loss" in entry]
    assert logged["step"] == 2
    expected = {
        ("umui", f"urn-{modality}", "validation", metric): logged[f"eval_{metric}_{modality}"]
        for modality in MODALITIES
        for metric in ("mse", "mae")
    }
    assert results(run / "out") == expected
    text = (run / "out" / "README.md").read_text()
    for modality in MODALITIES:
        numbers = [logged[f"eval_{name}_{modality}"] for name in ("loss", "mse", "mae", "constant_mean_mse")]
        hypotheses = VALIDATION_PREMISES * HYPOTHESES
        row = [
            f"`urn-{modality}`",
            "`validation`",
            modality,
            str(hypotheses),
            *(f"{number:.4g}" for number in numbers),
        ]
        assert f"| {' | '.join(row)} |" in text


def test_data_is_counted_from_the_run(run):
    """Premises and hypotheses of every config, and who gave the probabilities."""
    text = (run / "out" / "README.md").read_text()
    for config in CONFIGS:
        modality = config.removeprefix("urn-")
        sizes = {"training": ("train", TRAIN_PREMISES[modality]), "evaluation": ("validation", VALIDATION_PREMISES)}
        for use, (split, premises) in sizes.items():
            hypotheses = premises * HYPOTHESES
            row = [use, f"`{config}`", f"`{split}`", modality, str(premises), str(hypotheses), f"exact {hypotheses}"]
            assert f"| {' | '.join(row)} |" in text


def test_the_record_is_what_was_run(run):
    """Options that differ from their defaults, versions, commit, command and progress."""
    record = yaml.safe_load((run / "out" / "training.yaml").read_text())
    recipe = yaml.safe_load(Path(RECIPE).read_text())
    options = record["options"]
    assert {name: options[name] for name in ("max_steps", "lora_r", "use_peft", "max_hypotheses_per_premise")} == {
        "max_steps": 2,
        "lora_r": 4,
        "use_peft": True,
        "max_hypotheses_per_premise": recipe["max_hypotheses_per_premise"],
    }
    assert options["adam_beta2"] == recipe["adam_beta2"] and "adam_beta1" not in options
    assert record["recipe"] == "train/recipes/demo_cpu.yaml"
    assert record["versions"]["torch"] and "deepspeed" not in record["versions"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    assert record["code"]["commit"] == (head.stdout.strip() if head.returncode == 0 else None)
    assert (record["progress"]["step"], record["progress"]["finished"]) == (2, True)
    assert record["model"]["lora"]["r"] == 4
    assert record["model"]["trained"] < record["model"]["parameters"]


def test_nothing_of_the_machine_is_told(run):
    """No token and no folder above that of the run, in the card, the adapter's card and the record."""
    for name in ("README.md", "adapter/README.md", "training.yaml"):
        text = (run / "out" / name).read_text()
        assert TOKEN not in text and str(run) not in text and str(run.parent) not in text
        assert not re.search(r"(?<![\w.:/~])/(home|root|tmp|private|var|Users)/", text)
        assert "--hub_token" in text and "elsewhere/a-run" in text


def test_metadata_of_both_cards(run):
    """What the base's card says of its licence and origin is passed on; the adapter's card names what it is for."""
    data = ModelCard.load(run / "out" / "README.md").data
    assert (data.library_name, data.license, data.base_model) == ("transformers", "cc-by-4.0", "clue/ancestor")
    assert data.get("datasets") is None  # a folder of this machine
    assert {"uncertain-inference", "decision-model", *MODALITIES} <= set(data.tags) and data.metrics == ["mae", "mse"]
    assert "`cc-by-4.0`" in (run / "out" / "README.md").read_text()
    adapter = ModelCard.load(run / "out" / "adapter" / "README.md")
    assert adapter.data.library_name == "peft" and "lora" in adapter.data.tags
    assert 'PeftModel.from_pretrained(base, "out", subfolder="adapter")' in adapter.text


@pytest.mark.processes
@pytest.mark.parametrize("name", ["README.md", "adapter/README.md"])
def test_code_of_the_card_runs(run, name):
    """The Python code of a card, run as it stands where the run was started, gives probabilities."""
    blocks = re.findall(r"```python\n(.*?)```", (run / "out" / name).read_text(), re.DOTALL)
    assert len(blocks) == (2 if name == "README.md" else 1)
    code = "\n".join(blocks) + "\nprint(len(output.probability))"
    if len(blocks) == 2:
        code = code.replace("clue({", "answers = clue({") + "\nprint([answer['probability'] for answer in answers])"
    done = launching.run("-c", code, folder=run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "2"


def test_reports_are_added_once(checkpoint, report):
    """What an evaluation measured stands in metadata and table, with its command; a second time changes nothing, and
    what the training measured stays."""
    before = results(checkpoint)
    card(["--model", str(checkpoint), "--report", str(report)])
    once = (checkpoint / "README.md").read_text()
    added = {("umui", "urn-audio", "test", name): value for name, value in [("mse", 0.0125), ("mae", 0.0875)]}
    assert results(checkpoint) == before | added | {("umui", "urn-audio", "test", "ece"): 0.0625}
    assert "| 36 | 3 | 0.0125 [0.01, 0.015] | 0.0875 | 0.0625 [0.05, 0.075] | 0.375 | 0.375 |" in once
    assert "python -m evaluation.run --model out --output-dir" in once and str(report.parent) not in once
    card(["--model", str(checkpoint), "--report", str(report)])
    assert (checkpoint / "README.md").read_text() == once


def test_results_on_the_hub_go_to_its_leaderboards(run, checkpoint, report, monkeypatch):
    """A report on a dataset of the Hub becomes one entry a task, read back by the Hub's client; one on a folder, whose
    name means nothing there, none."""
    content = json.loads(report.read_text())
    monkeypatch.chdir(run)
    card(["--model", str(checkpoint), "--report", str(report)])
    folder = checkpoint / ".eval_results"
    content["settings"]["dataset"], content["revision"] = "clue/umui", "5" * 40
    content["command"] += ["--dataset", "clue/umui"]
    report.write_text(json.dumps(content))
    card(["--model", str(checkpoint), "--report", str(report)])
    [file] = folder.iterdir()
    report.write_text(json.dumps(content | {"limit": 10, "settings": content["settings"] | {"split": "validation"}}))
    card(["--model", str(checkpoint), "--report", str(report)])  # the first rows of a split are no result on it
    entries = parse_eval_result_entries(yaml.safe_load(file.read_text()))
    assert {entry.task_id: entry.value for entry in entries} == {"urn-audio-mse": 0.0125, "urn-audio-ece": 0.0625}
    for entry in entries:
        assert (entry.dataset_id, entry.dataset_revision, entry.date) == ("clue/umui", "5" * 40, "2026-11-24")
        assert entry.notes.endswith("--dataset clue/umui") and str(report.parent) not in entry.notes


def test_a_card_of_its_own_stays(run, checkpoint, report, monkeypatch):
    """Of a checkpoint without a record, results on the Hub's datasets are written and nothing else changes; without
    any, the report is refused."""
    monkeypatch.chdir(run)
    (checkpoint / "training.yaml").unlink()
    before = {path: path.read_bytes() for path in checkpoint.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="none of the reports is about a dataset of the Hub"):
        card(["--model", str(checkpoint), "--report", str(report)])
    content = json.loads(report.read_text())
    content["settings"]["dataset"] = "clue/umui"
    report.write_text(json.dumps(content))
    card(["--model", str(checkpoint), "--report", str(report)])
    file = checkpoint / ".eval_results" / "clue--umui.yaml"
    entries = parse_eval_result_entries(yaml.safe_load(file.read_text()))
    assert {entry.task_id: entry.value for entry in entries} == {"urn-audio-mse": 0.0125, "urn-audio-ece": 0.0625}
    after = {path: path.read_bytes() for path in checkpoint.rglob("*") if path.is_file()}
    assert after.pop(file) and after == before


def test_the_record_does_not_change_what_is_measured(checkpoint, report):
    """Adding to the card leaves the digest of the weights, by which reports know their model."""
    before = weights_digest(checkpoint)
    card(["--model", str(checkpoint), "--report", str(report)])
    assert weights_digest(checkpoint) == before


def test_a_report_of_other_weights_is_refused(checkpoint, report):
    """The card says nothing of a checkpoint that was not measured."""
    content = json.loads(report.read_text())
    content["settings"]["weights"] = "0" * 16
    report.write_text(json.dumps(content))
    before = (checkpoint / "README.md").read_text()
    with pytest.raises(ValueError, match="is about other weights"):
        card(["--model", str(checkpoint), "--report", str(report)])
    assert (checkpoint / "README.md").read_text() == before


def test_what_no_run_knows_can_be_said(checkpoint):
    """Licence and base model, in text and metadata; results stay."""
    before = results(checkpoint)
    card(["--model", str(checkpoint), "--license", "mit", "--base-model", "clue/other"])
    data = ModelCard.load(checkpoint / "README.md").data
    assert (data.license, data.base_model) == ("mit", "clue/other")
    assert results(checkpoint) == before


@pytest.mark.parametrize("kind", ["whole", "adapter", "part"])
@pytest.mark.parametrize("variant", ["distribution", "text"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"validation": []},
        {"recipe": None, "license": "mit", "code": {"version": "0.1.0", "commit": None, "changed": None}},
    ],
)
def test_layout(checkpoint, report, kind, variant, changes):
    """What depends on the run is Markdown in any combination, with reports and without."""
    record = yaml.safe_load((checkpoint / "training.yaml").read_text()) | {"variant": variant} | changes
    check_layout(render_card(record, kind))
    record["progress"] |= {"finished": False, "resumed_at": 1}
    add_report(record, checkpoint, report)
    record["reports"].append(record["reports"][0] | {"without_number": 3, "constant_mean_mse": None})
    check_layout(render_card(record, kind))


def test_nothing_measured_is_said_so(dataset, tiny_checkpoint, tmp_path, monkeypatch):
    """Without an evaluation the card has no results and no licence; CLUE-T's tells how to generate."""
    monkeypatch.chdir(tmp_path)
    arguments = ["--model_name_or_path", str(tiny_checkpoint), "--dataset", str(dataset), "--output_dir", "out"]
    recipe = yaml.safe_load(Path(RECIPE).read_text())
    del recipe["target"]
    Path("text.yaml").write_text(yaml.safe_dump(recipe))
    options = ["text.yaml" if option == RECIPE else option for option in OPTIONS]
    main([*options, *arguments, "--dataset-configs", "urn-text", "--variant", "text"])
    loaded = ModelCard.load("out/README.md")
    assert loaded.data.get("license") is None and "Not stated" in loaded.text
    assert "Not evaluated." in loaded.text and loaded.data.eval_results is None
    [code] = re.findall(r"```python\n(.*?)```", loaded.text, re.DOTALL)
    names = {}
    exec(code.replace("processor.tokenizer.decode", "answer = processor.tokenizer.decode"), names)
    assert isinstance(names["answer"], str)


def test_a_folder_without_a_record_is_told(tiny_checkpoint):
    """The card of a checkpoint that training did not write is not made up."""
    with pytest.raises(ValueError, match="has no training.yaml"):
        card(["--model", str(tiny_checkpoint)])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("runs/demo", "runs/demo"),
        ("{cwd}/runs/demo", "runs/demo"),
        ("{home}/data/umui", "~/data/umui"),
        ("{home}", ".../"),
        ("/srv/alice/umui", ".../umui"),
        ("--dataset=/srv/alice/umui", "--dataset=.../umui"),
        ('{{"cache": "/srv/alice/towers"}}', '{{"cache": ".../towers"}}'),
        ("https://hub.example/clue/umui", "https://hub.example/clue/umui"),
        ("ORG/NAME", "ORG/NAME"),
        ("--hub_token=hf_0123456789abcdef", "--hub_token=***"),
        ("my secret word", "my *** word"),
        (["/srv/x/a", 3, None, True], [".../a", 3, None, True]),
    ],
)
def test_what_is_told(value, expected, tmp_path, monkeypatch):
    """Paths are shortened and secrets hidden, wherever they stand; all else stays as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/alice")
    if isinstance(value, str):
        value, expected = (text.format(cwd=tmp_path, home="/home/alice") for text in (value, expected))
    assert redact(value, ("secret",)) == expected


def test_paths_of_the_repository_are_relative_to_it(tmp_path, monkeypatch):
    """A recipe is named the same wherever the run was started."""
    monkeypatch.chdir(tmp_path)
    assert shown_path(RECIPE) == "train/recipes/demo_cpu.yaml"


def test_weights_are_told_as_they_are(run):
    """Of a merged LoRA: number and type of what is saved, and of what the adapter holds, which was trained."""
    record = yaml.safe_load((run / "out" / "training.yaml").read_text())["model"]
    whole = load_file(run / "out" / "model.safetensors")
    adapter = load_file(run / "out" / "adapter" / "adapter_model.safetensors")
    sizes = [sum(weight.numel() for weight in weights.values()) for weights in (whole, adapter)]
    assert [record["parameters"], record["trained"]] == sizes
    assert {str(weight.dtype) for weight in whole.values()} == {f"torch.{record['dtype']}"}
    assert f"{sizes[0]:,} parameters in float32; {sizes[1]:,} were trained" in (run / "out" / "README.md").read_text()


def test_the_best_step_and_what_was_trained_are_told(dataset, tiny_checkpoint, tmp_path, monkeypatch):
    """Of a model loaded in bfloat16 and held in float32: the step of the weights that are saved, not the last; as
    trained, the weights that changed, without a tower that nothing went through."""
    monkeypatch.chdir(tmp_path)
    arguments = ["--model_name_or_path", str(tiny_checkpoint), "--dataset", str(dataset), "--output_dir", "out"]
    steps = [word for name in ("eval", "save") for word in (f"--{name}_strategy", "steps", f"--{name}_steps", "1")]
    best = ["--load_best_model_at_end", "true", "--metric_for_best_model", "mse", "--learning_rate", "0.5"]
    options = [*OPTIONS, *arguments, "--dataset-configs", "urn-text", "--dtype", "bfloat16", "--max_steps", "4"]
    main([*options, *steps, *best])
    history = json.loads(Path("out/trainer_state.json").read_text())["log_history"]
    errors = {entry["step"]: entry["eval_mse"] for entry in history if "eval_mse" in entry}
    step = min(errors, key=errors.get)
    assert step < 4
    card = Path("out/README.md").read_text()
    assert f"- Steps: 4 of 4, 4 epochs; the weights are those of step {step}, the best by `mse`\n" in card
    assert f"| {errors[step]:.4g} |" in card

    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_checkpoint, Path("out")))
    moved = [weight for name, weight in after.items() if not before[name].bfloat16().float().equal(weight)]
    trained = yaml.safe_load(Path("out/training.yaml").read_text())["model"]
    assert trained["dtype"] == "float32" and {weight.dtype for weight in after.values()} == {torch.float32}
    assert trained["trained"] == sum(weight.numel() for weight in moved)
