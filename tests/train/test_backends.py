"""Two processes under each backend take the steps of one process; what they can't do is refused at the start."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel

import train.sft
from modeling_clue.backbone import QWEN2_5_OMNI
from modeling_clue.qwen3_omni import QWEN3_OMNI
from tests.launching import TIMEOUT, launch
from tests.train.backend_run import BackendTrainer, ZeroGradientsTrainer
from tests.train.conftest import CONFIGS
from train.answers import CLUEForTextAnswers
from train.backends import check_backend


ROOT = Path(__file__).resolve().parents[2]
ACCELERATE = "train/accelerate_configs"
STEPS = 5
# Of the loss of a step, relative to it, and of a weight, where Adam has moved the weights by up to 4e-3. Sums are
# in another order, and Adam brings out the sign of a gradient near zero: seen were 1e-6 and 7e-5.
LOSS_TOLERANCE = 1e-5
WEIGHT_TOLERANCE = 3e-4


def options(output: Path, dataset: Path, checkpoint: Path, processes: int) -> list[str]:
    """Four premises a batch over all processes, two batches a step, over all modalities."""
    return [
        *("--use_cpu", "true", "--report_to", "none", "--disable_tqdm", "true"),
        *("--model_name_or_path", str(checkpoint), "--output_dir", str(output)),
        *("--dataset", str(dataset), "--dataset-configs", *CONFIGS, "--max_hypotheses_per_premise", "2"),
        *("--per_device_train_batch_size", str(4 // processes), "--gradient_accumulation_steps", "2"),
        *("--learning_rate", "1e-3", "--max_grad_norm", "0.5", "--logging_steps", "1", "--max_steps", str(STEPS)),
        *("--save_strategy", "no"),
    ]


def train_on_one(output: Path, dataset: Path, checkpoint: Path, *arguments: str, missing: str = "none") -> None:
    """Trains in this process; weights without a gradient get one of zero if `missing` says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.sft, "CLUETrainer", ZeroGradientsTrainer if missing == "zero" else BackendTrainer)
        train.sft.main([*options(output, dataset, checkpoint, processes=1), *arguments])


def train_on_two(output: Path, dataset: Path, checkpoint: Path, *arguments: str, config: str, **environment: str):
    """Trains on two processes."""
    command = ["tests/train/backend_run.py", *options(output, dataset, checkpoint, processes=2), *arguments]
    log = output.with_suffix(".txt")
    ended = launch(f"{ACCELERATE}/{config}.yaml", *command, log=log, **environment)
    assert ended == [0, 0], log.read_text()


def steps(output: Path) -> list[dict]:
    """The logs of the steps."""
    history = json.loads((output / "trainer_state.json").read_text())["log_history"]
    return [entry for entry in history if "loss" in entry]


def assert_same_steps(output: Path, expected: Path) -> None:
    """Losses, gradient norms and final weights are the same, and the weights have moved much further."""
    assert len(steps(output)) == len(steps(expected)) == STEPS
    for entry, other in zip(steps(output), steps(expected), strict=True):
        values = [name for name in other if name.startswith(("loss", "grad_norm", "learning_rate"))]
        assert {name: entry[name] for name in values} == pytest.approx(
            {name: other[name] for name in values}, rel=LOSS_TOLERANCE
        )
    weights, others = (load_file(folder / "model.safetensors") for folder in (output, expected))
    assert weights.keys() == others.keys()
    for name, other in others.items():
        torch.testing.assert_close(weights[name], other, rtol=0, atol=WEIGHT_TOLERANCE)


FROZEN = ("--freeze_towers", "true")
LORA = ("--use_peft", "true", "--lora_dropout", "0")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("backend", "arguments", "missing", "environment"),
    [
        ("ddp_cpu", (), "none", {}),
        ("zero2", (), "zero", {}),
        ("zero2", LORA, "none", {}),
        ("zero3", (*FROZEN, "--prefix_share", "0.5"), "none", {}),
        ("fsdp2", (), "none", {"FSDP_ON_CPU": "true"}),
    ],
    ids=["ddp", "zero2", "zero2-lora", "zero3", "fsdp2"],
)
def test_two_processes_take_the_steps_of_one(
    backend, arguments, missing, environment, dataset, tiny_checkpoint, tmp_path
):
    """
    Over all modalities, with accumulated batches of unequal size, clipped gradients and, under ZeRO-3, premises cut
    short: same losses, norms and weights. What is saved is a checkpoint that anyone can load; with sharded weights,
    one that the run goes on from.
    """
    one, two = tmp_path / "one", tmp_path / "two"
    train_on_one(one, dataset, tiny_checkpoint, *arguments, missing=missing)
    sharded = backend in ("zero3", "fsdp2")
    if sharded:
        arguments = (*arguments, "--save_strategy", "steps", "--save_steps", "3")
    train_on_two(two, dataset, tiny_checkpoint, *arguments, config=backend, **environment)
    assert_same_steps(two, one)
    assert {path.name for path in two.glob("*.py")} == {path.name for path in one.glob("*.py")}
    model, info = AutoModel.from_pretrained(two, trust_remote_code=True, output_loading_info=True)
    assert type(model).__name__ == "CLUEForConfidenceEstimation"
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))

    if sharded:
        weights = load_file(two / "model.safetensors")
        (two / f"checkpoint-{STEPS}").rename(tmp_path / "removed")
        arguments = (*arguments, "--resume_from_checkpoint", "true")
        train_on_two(two, dataset, tiny_checkpoint, *arguments, config=backend, **environment)
        resumed = load_file(two / "model.safetensors")
        assert all(torch.equal(resumed[name], weights[name]) for name in weights)


@pytest.mark.processes
def test_two_machines_take_the_steps_of_one(dataset, tiny_checkpoint, tmp_path):
    """Two launchers that meet over the network, one process each."""
    train_on_two(tmp_path / "two", dataset, tiny_checkpoint, *FROZEN, config="multi_machine")
    train_on_one(tmp_path / "one", dataset, tiny_checkpoint, *FROZEN)
    assert_same_steps(tmp_path / "two", tmp_path / "one")


@pytest.mark.processes
def test_deepspeed_needs_no_compiler(dataset, tiny_checkpoint, tmp_path):
    """
    As from a shell, two processes under ZeRO-2 on a machine that has Python alone, with nothing compiled before; in
    bfloat16, and what is no integer comes to the model in float32 all the same.
    """
    (tmp_path / "bin").mkdir()
    bare = {"PATH": str(tmp_path / "bin"), "CXX": "absent", "TORCH_EXTENSIONS_DIR": str(tmp_path / "extensions")}
    bfloat16 = ("--dtype", "bfloat16", "--bf16", "true", *FROZEN)
    launcher = ["--config_file", f"{ACCELERATE}/zero2.yaml", "--num_processes", "2", "--main_process_port", "0"]
    command = ["tests/train/backend_run.py", *options(tmp_path / "two", dataset, tiny_checkpoint, 2), *bfloat16]
    with (tmp_path / "log.txt").open("w") as log:
        launched = subprocess.Popen(
            [sys.executable, "-m", "accelerate.commands.launch", *launcher, *command],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | bare,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        assert launched.wait(TIMEOUT) == 0, (tmp_path / "log.txt").read_text()
    finally:
        if launched.poll() is None:
            os.killpg(launched.pid, signal.SIGKILL)
    assert not (tmp_path / "extensions").exists()
    train_on_one(tmp_path / "one", dataset, tiny_checkpoint, *FROZEN)
    losses = [[entry["loss"] for entry in steps(tmp_path / run)] for run in ("two", "one")]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


# What is refused


def trainer(**changes) -> SimpleNamespace:
    """A stand-in for a trainer on the CPU under DDP, with two hypotheses a premise, or with `changes`."""
    premises = SimpleNamespace(premises=[SimpleNamespace(hypotheses=["a", "b"])])
    collator = SimpleNamespace(max_hypotheses=None, processor=SimpleNamespace(one_hypothesis_a_row=False))
    facts = {
        "attention": "sdpa",
        "model_class": torch.nn.Linear,
        "stage": None,
        "gathers": True,
        "fsdp": None,
        "modality_batching": "batched",
        "most": None,
        "one_hypothesis_a_row": False,
        "eval_dataset": None,
        "best": False,
        "trained": "language_model.layers.0.mlp.up_proj.weight",
        "backbone": QWEN2_5_OMNI,
    } | changes
    collator.max_hypotheses = facts["most"]
    collator.processor.one_hypothesis_a_row = facts["one_hypothesis_a_row"]
    model = object.__new__(facts["model_class"])
    torch.nn.Module.__init__(model)
    text_config = SimpleNamespace(_attn_implementation=facts["attention"])
    model.__dict__["backbone"] = facts["backbone"]
    model.__dict__["config"] = SimpleNamespace(text_config=text_config)
    parameter = torch.nn.Parameter(torch.zeros(1))
    model.__dict__["named_parameters"] = lambda: [(facts["trained"], parameter)]
    return SimpleNamespace(
        model=model,
        train_dataset=premises,
        data_collator=collator,
        eval_dataset=premises if facts["eval_dataset"] else None,
        eval_collator=SimpleNamespace(max_hypotheses=None),
        modality_batching=facts["modality_batching"],
        args=SimpleNamespace(load_best_model_at_end=facts["best"]),
        is_deepspeed_enabled=facts["stage"] is not None,
        is_fsdp_enabled=facts["fsdp"] is not None,
        accelerator=SimpleNamespace(
            state=SimpleNamespace(
                deepspeed_plugin=SimpleNamespace(zero_stage=facts["stage"], zero3_save_16bit_model=facts["gathers"]),
                fsdp_plugin=facts["fsdp"],
            )
        ),
    )


FSDP2 = SimpleNamespace(fsdp_version=2, state_dict_type="StateDictType.FULL_STATE_DICT")
TOWER = "model.audio_tower.layers.0.fc1.weight"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"modality_batching": "mixed", "stage": 2, "best": True},
        {"modality_batching": "mixed", "trained": TOWER},
        {"stage": 2, "trained": TOWER},
        {"stage": 2, "model_class": PeftModel},
        {"stage": 2, "model_class": CLUEForTextAnswers},
        {"stage": 3},
        {"fsdp": FSDP2, "trained": TOWER},
        {"stage": 2, "backbone": QWEN3_OMNI},
        {"attention": "flash_attention_2", "most": 1},
        {"attention": "flash_attention_2", "one_hypothesis_a_row": True, "eval_dataset": True},
        {"attention": "eager"},
    ],
)
def test_what_works_is_not_refused(changes):
    """Nothing is in the way of what the runs above do."""
    check_backend(trainer(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modality_batching": "mixed", "stage": 3}, "modality_batching=mixed hangs under ZeRO-3"),
        ({"modality_batching": "mixed", "stage": 2, "trained": TOWER}, "fails under ZeRO-2"),
        ({"modality_batching": "mixed", "fsdp": FSDP2}, "modality_batching=mixed hangs under FSDP"),
        ({"attention": "flash_attention_2"}, "--max-hypotheses-per-premise 1"),
        ({"attention": "flash_attention_2", "most": 1, "eval_dataset": True}, "--eval-strategy no"),
        ({"stage": 3, "trained": TOWER}, "ZeRO-3 can't train the towers"),
        ({"stage": 3, "trained": "model.visual.merger.mlp.0.weight"}, "ZeRO-3 can't train the towers"),
        ({"stage": 3, "gathers": False}, "zero3_save_16bit_model: true"),
        ({"stage": 3, "model_class": PeftModel}, "LoRA is not supported under ZeRO-3"),
        ({"fsdp": FSDP2, "model_class": PeftModel}, "LoRA is not supported under FSDP"),
        ({"stage": 3, "model_class": CLUEForTextAnswers}, "variant=text is not supported under ZeRO-3"),
        ({"stage": 3, "backbone": QWEN3_OMNI}, "Qwen3-Omni hangs under ZeRO-3"),
        ({"fsdp": FSDP2, "backbone": QWEN3_OMNI}, "Qwen3-Omni hangs under FSDP"),
        ({"stage": 3, "best": True}, "load_best_model_at_end is not supported under ZeRO-3"),
        ({"fsdp": SimpleNamespace(fsdp_version=1, state_dict_type="FULL_STATE_DICT")}, "fsdp_version: 2"),
        ({"fsdp": SimpleNamespace(fsdp_version=2, state_dict_type="SHARDED_STATE_DICT")}, "FULL_STATE_DICT"),
    ],
)
def test_what_hangs_or_goes_wrong_is_refused(changes, message):
    """Each with what to do instead."""
    with pytest.raises(ValueError, match=message):
        check_backend(trainer(**changes))


def test_fsdp_is_not_left_out_in_silence(monkeypatch):
    """On the CPU accelerate would train as without it."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="On the CPU accelerate leaves FSDP out"):
        check_backend(trainer())
