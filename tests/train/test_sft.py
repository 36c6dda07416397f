"""The training script, in this process, on a checkpoint and a dataset that take a second a run."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor

from datasets_scripts.building.drafts import Draft, new_row
from datasets_scripts.building.writer import write_config
from modeling_clue import CLUEForConfidenceEstimation
from modeling_clue.auto import BACKBONES
from modeling_clue.backbone import TOWERS, is_part_of
from modeling_clue.conversion import apply_adapter
from modeling_clue.modalities import MODALITIES
from tests.launching import run
from tests.reading import history
from tests.train.conftest import CONFIGS
from train.sft import main


ROOT = Path(__file__).resolve().parents[2]
DEMO = str(ROOT / "train" / "recipes" / "demo_cpu.yaml")
PREMISE, HYPOTHESES = "An urn holds 3 red balls and 1 blue ball.", ["It is red.", "It is blue."]


def train(dataset, checkpoint, output, *arguments: str, steps: int = 2) -> Path:
    """Trains by the demo's recipe with a few overrides, and returns the output folder."""
    main(
        [
            *("--config", DEMO, "--dataset", str(dataset), "--model_name_or_path", str(checkpoint)),
            *("--output_dir", str(output), "--max_steps", str(steps), "--warmup_steps", "0", "--logging_steps", "1"),
            *("--disable_tqdm", "true", "--cache_premises", "false", "--dataset-configs", "urn-text", "urn-audio"),
            *arguments,
        ]
    )
    return output


def changed(output: Path, checkpoint: Path) -> set[str]:
    """Names of the weights that training changed."""
    before, after = (load_file(folder / "model.safetensors") for folder in (checkpoint, output))
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.processes
def test_the_command_of_the_docstring_runs(dataset, tiny_checkpoint, tmp_path):
    """`accelerate launch train/sft.py --config ...` trains on all four modalities and leaves a whole checkpoint."""
    command = [
        *("-m", "accelerate.commands.launch", "--config_file", "train/accelerate_configs/single.yaml"),
        *("train/sft.py", "--config", "train/recipes/demo_cpu.yaml", "--dataset", dataset),
        *("--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path, "--max_steps", "4"),
        *("--logging_steps", "1"),
    ]
    result = run(*command)
    assert result.returncode == 0, result.stderr
    logged = {name for entry in history(tmp_path) for name in entry}
    assert {f"loss_{name}" for name in MODALITIES} | {f"grad_norm_{name}" for name in MODALITIES} <= logged


def test_help_tells_the_options(capsys):
    """`--help` names the options of all three groups."""
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(option in text for option in ("--modality_batching", "--decay_ratio", "--lora_r"))


def test_the_result_loads_by_itself_and_nothing_unused_was_trained(dataset, tiny_checkpoint, tmp_path):
    """AutoModel takes the output folder; `lm_head`, and towers that no batch went through, are as they were."""
    output = train(dataset, tiny_checkpoint, tmp_path / "out", "--target", "gaussian", "--sigma", "0.1")
    model = AutoModel.from_pretrained(output, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(output, trust_remote_code=True)
    assert model(**processor(PREMISE, HYPOTHESES)).probability.shape == (2,)
    assert (model.config.target, model.config.sigma) == ("gaussian", 0.1)
    assert not list(output.glob("*.bin"))
    names = changed(output, tiny_checkpoint)
    assert "confidence_head.weight" in names
    assert any(name.startswith("audio_tower.") for name in names)
    assert not any(name.startswith(("lm_head.", "visual.")) for name in names)


def test_frozen_towers_stay_as_they_are(dataset, tiny_checkpoint, tmp_path):
    """With `freeze_towers`, the language model and the head are trained alone."""
    output = train(dataset, tiny_checkpoint, tmp_path / "out", "--freeze_towers", "true")
    assert {name.split(".")[0] for name in changed(output, tiny_checkpoint)} == {"model", "confidence_head"}


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@pytest.mark.parametrize("options", [("--freeze_towers", "true"), ("--use_peft", "true")], ids=str)
def test_projections_are_trained_and_saved(dataset, tiny_checkpoint, tmp_path, options):
    """With `train_projections`, they and no other weights of the towers move: the same steps from the towers' cache as
    without. Of LoRA, the adapter holds them whole, and on its base it answers as the merged model does."""
    every = ("--dataset_configs", *CONFIGS[1:], "--per_device_train_batch_size", "5", "--train_projections", "true")
    output = train(dataset, tiny_checkpoint, tmp_path / "out", *every, *options, steps=6)
    cache = ("--tower_cache", str(tmp_path / "cache"))
    assert not changed(train(dataset, tiny_checkpoint, tmp_path / "cached", *every, *options, *cache, steps=6), output)
    model = AutoModel.from_pretrained(tiny_checkpoint)
    layers = [name for tower in TOWERS for name in model.backbone.projections_of(model.model, tower)]
    weights = {name for name in load_file(tiny_checkpoint / "model.safetensors") if is_part_of(name, layers)}
    assert {name for name in changed(output, tiny_checkpoint) if name.startswith((*TOWERS,))} == weights
    if "--use_peft" not in options:
        return
    adapter = load_file(output / "adapter" / "adapter_model.safetensors")
    assert {name.removeprefix("base_model.model.model.") for name in adapter if is_part_of(name, TOWERS)} == weights
    inputs = AutoProcessor.from_pretrained(output)({"video": next(dataset.rglob("*.mp4"))}, HYPOTHESES)
    adapted = PeftModel.from_pretrained(model, output / "adapter").eval()
    merged = AutoModel.from_pretrained(output).eval()
    torch.testing.assert_close(merged(**inputs).logits, adapted(**inputs).logits, rtol=1e-4, atol=1e-5)


def test_a_projection_is_new_until_it_is_trained(dataset, tiny_checkpoint, tmp_path):
    """The merged model, and the base with the adapter, take sound once it was trained on; frames that no premise had
    are still refused, and sound is not trained on through a projection that stays new."""
    base = shutil.copytree(tiny_checkpoint, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"new_projections": [*TOWERS]}))
    with pytest.raises(ValueError, match="can't judge by sound: its projection of sound has never"):
        train(dataset, base, tmp_path / "none", "--use_peft", "true")
    output = train(dataset, base, tmp_path / "out", "--use_peft", "true", "--train_projections", "true")
    applied = apply_adapter(base, output / "adapter", tmp_path / "applied")
    for folder in (output, applied):
        assert AutoModel.from_pretrained(folder).config.new_projections == ["visual"]
    whole = train(dataset, base, tmp_path / "whole")
    assert AutoModel.from_pretrained(whole).config.new_projections == ["visual"]


def test_projections_are_trained_where_that_does_something(dataset, tiny_checkpoint, tmp_path):
    """Not beside towers that are trained whole, and not on text alone."""
    projections = ("--train_projections", "true")
    for options, message in (
        ((), "no effect where whole towers are trained: add `--freeze-towers true`"),
        (("--freeze_towers", "false"), "^train_projections has no effect with freeze_towers=false"),
        (("--use_peft", "true", "--freeze_towers", "false"), "^train_projections has no effect with freeze_towers=f"),
        (("--use_peft", "true", "--dataset-configs", "urn-text"), "^train_projections has no effect on text alone"),
    ):
        with pytest.raises(ValueError, match=message):
            train(dataset, tiny_checkpoint, tmp_path / "out", *projections, *options)


def test_lora_trains_attention_of_the_language_model_and_the_head(dataset, tiny_checkpoint, tmp_path):
    """The adapter holds nothing else; the output folder is the base with the adapter merged into it."""
    options = ("--use_peft", "--lora_r", "4", "--lora_dropout", "0")
    output = train(dataset, tiny_checkpoint, tmp_path / "out", *options)
    projections = {f"self_attn.{name}_proj.weight" for name in "qkvo"}
    names = changed(output, tiny_checkpoint)
    assert {name for name in names if not name.endswith(tuple(projections))} == {"confidence_head.weight"}
    assert all(name.startswith("model.layers.") for name in names - {"confidence_head.weight"})
    adapter = load_file(output / "adapter" / "adapter_model.safetensors")
    assert not [name for name in adapter if ".language_model.layers." not in name and "confidence_head" not in name]
    assert not [file for file in output.glob("adapter/*") if file.suffix in (".bin", ".pt", ".pth")]

    processor = AutoProcessor.from_pretrained(output, trust_remote_code=True)
    inputs = processor(PREMISE, HYPOTHESES)
    merged = AutoModel.from_pretrained(output, trust_remote_code=True)
    base = CLUEForConfidenceEstimation.from_pretrained(tiny_checkpoint)
    adapted = PeftModel.from_pretrained(base, output / "adapter")
    torch.testing.assert_close(merged(**inputs).logits, adapted(**inputs).logits, rtol=1e-4, atol=1e-5)

    applied = apply_adapter(tiny_checkpoint, output / "adapter", tmp_path / "applied")
    applied_weights, merged_weights = (load_file(folder / "model.safetensors") for folder in (applied, output))
    assert applied_weights.keys() == merged_weights.keys()
    for name, weight in merged_weights.items():
        torch.testing.assert_close(applied_weights[name], weight, rtol=1e-5, atol=1e-6)
    with pytest.raises(OSError, match="adapter_config.json"):
        apply_adapter(tiny_checkpoint, output, tmp_path / "other")


def test_checkpointed_activations_change_nothing_with_lora(dataset, tiny_checkpoint, tmp_path):
    """Activations computed anew on the way back give the adapter the same steps, frozen embeddings or not."""
    options = ("--use_peft", "--lora_dropout", "0", "--activation_checkpointing")
    plain, anew = (
        train(dataset, tiny_checkpoint, tmp_path / value, *options, value) / "adapter" / "adapter_model.safetensors"
        for value in ("false", "true")
    )
    expected, found = load_file(plain), load_file(anew)
    assert any(value.any() for name, value in expected.items() if "lora_B" in name)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-7)


def test_accumulated_batches_are_one_batch(dataset, tiny_checkpoint, tmp_path):
    """Text alone fits into a batch of 7 premises or into batches of 3, 2 and 2: the step is the same."""
    options = ("--dataset-configs", "urn-text", "--optim", "sgd", "--weight_decay", "0", "--learning_rate", "0.1")
    whole = train(
        dataset, tiny_checkpoint, tmp_path / "whole", *options, "--per_device_train_batch_size", "7", steps=1
    )
    parts = train(
        *(dataset, tiny_checkpoint, tmp_path / "parts", *options),
        *("--per_device_train_batch_size", "3", "--gradient_accumulation_steps", "3"),
        steps=1,
    )
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, parts))
    assert changed(whole, tiny_checkpoint)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6)
    assert history(parts)[0]["loss"] == pytest.approx(history(whole)[0]["loss"], rel=1e-4)


def test_the_best_checkpoint_comes_back_whole(dataset, tiny_checkpoint, tmp_path):
    """`load_best_model_at_end` brings back all weights of the best step, not only those whose names agree."""
    output = train(
        *(dataset, tiny_checkpoint, tmp_path / "out", "--eval_strategy", "steps", "--eval_steps", "1"),
        *("--save_strategy", "steps", "--save_steps", "1", "--load_best_model_at_end", "true"),
        # The learning rate makes each step worse: the first is the best.
        *("--metric_for_best_model", "eval_loss", "--learning_rate", "1.0", "--lr_scheduler_type", "constant"),
        steps=3,
    )
    losses = {entry["step"]: entry["eval_loss"] for entry in history(output) if "eval_loss" in entry}
    best = min(losses, key=losses.get)
    assert best != max(losses)
    assert not changed(output, output / f"checkpoint-{best}")
    assert changed(output, output / f"checkpoint-{max(losses)}")


def test_mixed_batches_train_on_all_modalities_at_once(dataset, tiny_checkpoint, tmp_path):
    """The ablation runs, and its batches have several modalities: the gradient norm belongs to none."""
    options = ("--modality_batching", "mixed", "--dataset-configs", *CONFIGS, "--per_device_train_batch_size", "12")
    entry = history(train(dataset, tiny_checkpoint, tmp_path / "out", *options, steps=1))[0]
    assert "grad_norm_mixed" in entry
    assert sum(name.startswith("loss_") for name in entry) > 1


def test_the_learning_rate_warms_up_stays_and_decays(dataset, tiny_checkpoint, tmp_path):
    """Linear to the full rate, constant, and linear to zero over `decay_ratio` of the steps."""
    options = (
        *("--warmup_steps", "2", "--decay_ratio", "0.4"),
        *("--learning_rate", "1.0e-3", "--dataset-configs", "urn-text"),
    )
    rates = [
        entry["learning_rate"]
        for entry in history(train(dataset, tiny_checkpoint, tmp_path / "out", *options, steps=10))
        if "learning_rate" in entry
    ]
    assert rates == pytest.approx([0, 5e-4, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 7.5e-4, 5e-4, 2.5e-4])


def test_runs_are_not_mixed_up(dataset, tiny_checkpoint, tmp_path):
    """A folder with checkpoints is not started in anew, and an empty one can't be resumed."""
    with pytest.raises(ValueError, match="has no whole checkpoint"):
        train(dataset, tiny_checkpoint, tmp_path, "--resume_from_checkpoint", "true")
    (tmp_path / "checkpoint-7").mkdir()
    with pytest.raises(ValueError, match="has checkpoints of an earlier run"):
        train(dataset, tiny_checkpoint, tmp_path)


def test_a_missing_checkpoint_is_named_at_once(dataset, tmp_path):
    """A folder that is not there is told as such, not looked for on the Hub."""
    with pytest.raises(ValueError, match="no checkpoint folder '.*nowhere'"):
        train(dataset, tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize("variant", ["distribution", "text"])
def test_a_checkpoint_without_some_weights_is_not_trained(variant, dataset, tiny_checkpoint, tmp_path):
    """transformers would start them at random, with a warning only."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "part")
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"part' do not fit its configuration \(missing keys: .*norm.weight"):
        main(
            [
                *("--dataset", str(dataset), "--dataset-configs", "urn-text", "--model_name_or_path", str(folder)),
                *("--output_dir", str(tmp_path / "out"), "--use_cpu", "true", "--variant", variant),
            ]
        )


def test_a_missing_split_is_told_before_anything_is_loaded(tmp_path):
    """All configs without it are named, and the options that help; that there is no checkpoint comes later."""
    for config, splits in {"whole": ("train", "validation"), "bare": ("train",)}.items():
        drafts = {}
        for split in splits:
            text = {"modality": "text", "premise": f"An urn of {split}.", "hypothesis": "It is red."}
            row = new_row(id=split, source="made-up", probability=0.5, probability_source="exact", **text)
            drafts[split] = [Draft(split, row)]
        write_config(tmp_path / "umui", config, drafts, {"source": "made-up"})
    run = (tmp_path / "umui", tmp_path / "nowhere", tmp_path / "out", "--dataset-configs", "whole", "bare")
    with pytest.raises(ValueError, match="^bare of .* has no split 'validation', but whole has: .*--eval-configs"):
        train(*run, "--eval_strategy", "steps", "--eval_steps", "1")
    with pytest.raises(ValueError, match="^whole, bare of .* has no split 'pilot': .*--train-split"):
        train(*run, "--train_split", "pilot")


def test_some_configs_are_evaluated_on(dataset, tiny_checkpoint, tmp_path):
    """`eval_configs` chooses among the configs that are trained on, or others."""
    options = ("--eval_strategy", "steps", "--eval_steps", "1", "--eval_configs", "urn-text")
    entries = history(train(dataset, tiny_checkpoint, tmp_path / "out", *options, steps=1))
    logged = {name for entry in entries for name in entry}
    assert "eval_mse_text" in logged and "eval_mse_audio" not in logged


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_hypotheses_per_premise", "0"),
        ("per_device_train_batch_size", "0"),
        ("gradient_accumulation_steps", "0"),
        ("max_steps", "0"),
        ("sigma", "0"),
        ("decay_ratio", "1.5"),
        ("config_weights", "1"),
        ("projection_learning_rate", "0"),
        ("dataloader_persistent_workers", "1"),
    ],
)
def test_impossible_options_are_refused(option, value):
    """The error names the option."""
    with pytest.raises(ValueError, match=option):
        main(["--config", DEMO, f"--{option}", value])


@pytest.mark.parametrize("metric", ["mse", "loss_text", "eval_mae"])
def test_the_best_model_has_the_least_error(dataset, tiny_checkpoint, tmp_path, metric):
    """Of every number that is measured less is better: the checkpoint kept is the one with the least."""
    often = ("--save_strategy", "steps", "--save_steps", "1", "--eval_strategy", "steps", "--eval_steps", "1")
    best = ("--load_best_model_at_end", "true", "--metric_for_best_model", metric, "--learning_rate", "1e-2")
    output = train(dataset, tiny_checkpoint, tmp_path / "out", *often, *best, steps=4)
    name = f"eval_{metric.removeprefix('eval_')}"
    values = {entry["step"]: entry[name] for entry in history(output) if name in entry}
    state = json.loads((output / "trainer_state.json").read_text())
    assert len(values) == 4
    assert int(state["best_model_checkpoint"].rsplit("-", 1)[1]) == min(values, key=values.get)


@pytest.mark.parametrize("modules", [("q_proj", "v_proj"), ("all-linear",), (r".*\.(q|v|qkv)(_proj)?",)])
def test_adapters_never_reach_frozen_towers(dataset, tiny_checkpoint, tmp_path, modules):
    """However LoRA's modules are named, the weights of frozen towers stay as they were."""
    lora = ("--use_peft", "true", "--freeze_towers", "true", "--lora_r", "2", "--lora_target_modules", *modules)
    moved = changed(train(dataset, tiny_checkpoint, tmp_path / "out", *lora), tiny_checkpoint)
    assert any("q_proj" in name for name in moved)
    assert not [name for name in moved if "audio_tower" in name or "visual" in name]


@pytest.mark.parametrize("tiny_checkpoint", ["qwen3-omni"], indirect=True)
@pytest.mark.parametrize(
    "options", [(), ("--use_peft", "true", "--lora_r", "2"), ("--freeze_towers", "true")], ids=str
)
def test_another_backbone_trains(dataset, tiny_checkpoint, tmp_path, options):
    """Qwen3-Omni's Thinker takes a step in every modality: whole, with LoRA on its language model, or with the outputs
    of frozen towers kept. What is saved is a whole checkpoint, of which what was trained has moved."""
    cache = ("--tower_cache", str(tmp_path / "cache")) if "--freeze_towers" in options else ()
    every = ("--dataset_configs", *CONFIGS, "--learning_rate", "1e-3", *options, *cache)
    output = train(dataset, tiny_checkpoint, tmp_path / "out", *every, steps=8)
    logged = {name for entry in history(output) for name in entry}
    assert {f"loss_{name}" for name in MODALITIES} <= logged
    moved = changed(output, tiny_checkpoint)
    assert any("self_attn" in name for name in moved) and "confidence_head.weight" in moved
    towers = {name for name in moved if name.startswith(("audio_tower.", "visual."))}
    assert bool(towers) == (not options)
    assert any("experts" in name for name in moved) == any("mlp.gate" in name for name in moved)
    assert any("experts" in name for name in moved) == ("--use_peft" not in options)
    clue = AutoModel.from_pretrained(output).eval()
    inputs = AutoProcessor.from_pretrained(output)(PREMISE, HYPOTHESES)
    assert clue(**inputs).probability.isfinite().all()


def test_trained_weights_are_float32(dataset, tiny_checkpoint, tmp_path):
    """Of a checkpoint loaded in bfloat16 what is trained is kept in float32, where a small step moves it."""
    output = train(dataset, tiny_checkpoint, tmp_path / "out", "--dtype", "bfloat16", "--learning_rate", "1e-6")
    after = load_file(output / "model.safetensors")
    rounded = {
        name: weight.bfloat16().float() for name, weight in load_file(tiny_checkpoint / "model.safetensors").items()
    }
    moved = [
        (after[name] != rounded[name]).float().mean()
        for name in after
        if "mlp" in name and name.startswith("model.layers")
    ]
    assert moved and min(moved) > 0.9


def test_options_without_effect_are_refused_at_the_start(dataset, tiny_checkpoint, tmp_path):
    """Before anything is loaded or written."""
    with pytest.raises(ValueError, match="^Leave load_in_4bit out"):
        train(dataset, tiny_checkpoint, tmp_path / "out", "--load_in_4bit", "true")
    assert not (tmp_path / "out").exists()
