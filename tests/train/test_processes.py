"""Two processes train together: what each of them sees, the gradients they agree on, and a run that is killed."""

import json
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from datasets_scripts.load import load_split
from modeling_clue import CLUEForConfidenceEstimation, CLUEProcessor
from modeling_clue.modalities import MODALITIES
from tests.launching import launch
from tests.train.conftest import CONFIGS, HYPOTHESES, TRAIN_PREMISES, VALIDATION_PREMISES
from train.premises import PREMISE_COLUMNS


pytestmark = pytest.mark.processes

RANKS = 2
EPOCHS = 3
# Two premises on each of two ranks, two of these to a step: 8 batches of each rank, 4 steps an epoch.
STEPS_PER_EPOCH = 4
KILLED_AT = 6


def train_on_two(
    output: Path,
    dataset: Path,
    checkpoint: Path,
    *arguments: str,
    config: str = "train/accelerate_configs/ddp_cpu.yaml",
    **environment: str,
) -> list[int]:
    """Trains on two processes and returns their exit status; what they print is in `log.txt`."""
    output.mkdir(exist_ok=True)
    command = [
        *("tests/train/record_run.py", "--use_cpu", "true", "--report_to", "none", "--disable_tqdm", "true"),
        *("--model_name_or_path", str(checkpoint), "--output_dir", str(output)),
        *("--dataset", str(dataset), "--dataset-configs", *CONFIGS, "--max_hypotheses_per_premise", "2"),
        *("--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "2", "--learning_rate", "1e-3"),
        *("--num_train_epochs", str(EPOCHS), "--max_grad_norm", "0", "--logging_steps", "1"),
        *("--eval_strategy", "epoch", "--per_device_eval_batch_size", "2", "--save_steps", "5"),
        *arguments,
    ]
    return launch(config, *command, log=output / "log.txt", **{"RECORDS": str(output)} | environment)


def records(output: Path) -> list[list[dict]]:
    """What each rank wrote down, batch by batch."""
    return [[*map(json.loads, (output / f"rank-{rank}.jsonl").read_text().splitlines())] for rank in range(RANKS)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, dataset, tiny_checkpoint) -> dict[str, Path]:
    """
    Folders of runs with the same settings: `whole` was left alone; `cut` was killed in the middle of its second epoch,
    `resumed` is the records of how it went on from there. `checkpoint` and `dataset` are what they started from.
    """
    home = tmp_path_factory.mktemp("two-processes")
    whole, cut, resumed = (home / name for name in ("whole", "cut", "resumed"))
    resumed.mkdir()
    assert train_on_two(whole, dataset, tiny_checkpoint) == [0, 0], (whole / "log.txt").read_text()
    ended = train_on_two(cut, dataset, tiny_checkpoint, KILL_AT=f"step:{KILLED_AT}")
    assert -signal.SIGKILL in ended, (cut / "log.txt").read_text()
    # As if the kill had come while a newer checkpoint was being written.
    torn = cut / "_partial" / f"checkpoint-{KILLED_AT}"
    torn.mkdir(parents=True)
    (torn / "trainer_state.json").write_text('{"global_step": 6, "ep')
    ended = train_on_two(cut, dataset, tiny_checkpoint, "--resume_from_checkpoint", "true", RECORDS=str(resumed))
    assert ended == [0, 0], (cut / "log.txt").read_text()
    return {"whole": whole, "cut": cut, "resumed": resumed, "checkpoint": tiny_checkpoint, "dataset": dataset}


@pytest.fixture(scope="module")
def rows(runs) -> dict[float, dict]:
    """Training rows by label."""
    loaded = [row for config in CONFIGS for row in load_split(str(runs["dataset"]), config, "train")]
    by_label = {torch.tensor(row["probability"], dtype=torch.float32).item(): row for row in loaded}
    assert len(by_label) == len(loaded) == HYPOTHESES * sum(TRAIN_PREMISES.values())
    return by_label


def premise_of(row: dict) -> str:
    """The premise of a row, as something to compare."""
    return str([row[column] for column in PREMISE_COLUMNS])


def test_all_ranks_have_the_same_modality_at_every_step(runs):
    """Every batch has one modality, and at every step that of the other rank's batch."""
    first, second = records(runs["whole"])
    assert len(first) == len(second) == EPOCHS * STEPS_PER_EPOCH * 2
    for batch, other in zip(first, second, strict=True):
        assert len({*batch["modality"], *other["modality"]}) == 1
        assert batch["step"] == other["step"]


def test_every_premise_comes_once_an_epoch_and_every_sample_once_in_two(runs, rows):
    """Over both ranks, tails included; with 2 of 4 hypotheses at a time, two epochs have every row exactly once."""
    batches = [batch for rank in records(runs["whole"]) for batch in rank]
    for epoch in range(EPOCHS):
        seen = [rows[label] for batch in batches if batch["epoch"] == epoch for label in batch["labels"]]
        assert Counter(map(premise_of, seen)) == dict.fromkeys(map(premise_of, rows.values()), 2)
    two_epochs = [label for batch in batches if batch["epoch"] < 2 for label in batch["labels"]]
    assert Counter(two_epochs) == dict.fromkeys(rows, 1)


def test_epochs_have_different_orders(runs, rows):
    """The premises of one rank come in another order, and with other batch mates, in every epoch."""
    batches = records(runs["whole"])[0]
    orders = [
        [premise_of(rows[label]) for batch in batches if batch["epoch"] == epoch for label in batch["labels"]]
        for epoch in range(EPOCHS)
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_gradients_are_those_of_one_process(runs, rows):
    """
    The gradient of the first step, of two ranks and two batches each, is that of the mean over all its hypotheses,
    computed here one by one. The batches differ in size: a mean of means would not do.
    """
    batches = [batch for rank in records(runs["whole"]) for batch in rank if batch["step"] == 0]
    assert len(batches) == 4 and len({len(batch["labels"]) for batch in batches}) > 1
    model = CLUEForConfidenceEstimation.from_pretrained(runs["checkpoint"])
    processor = CLUEProcessor.from_pretrained(runs["checkpoint"])
    labels = [label for batch in batches for label in batch["labels"]]
    for label in labels:
        premise = {column: rows[label][column] for column in PREMISE_COLUMNS}
        inputs = processor(premise, rows[label]["hypothesis"])
        model(**inputs, labels=torch.tensor([label]), num_items_in_batch=len(labels)).loss.backward()

    gradients = torch.load(runs["whole"] / "gradients.pt")
    expected = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert gradients.keys() == expected.keys()
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=float(1e-5 * largest))


def test_a_killed_run_goes_on_exactly(runs):
    """
    Killed in the middle of the second epoch, a run resumes from its newest whole checkpoint, sees the batches that the
    uninterrupted run saw, and ends with the same weights.
    """
    before, after, whole = records(runs["cut"]), records(runs["resumed"]), records(runs["whole"])
    resumed_at = after[0][0]["step"]
    assert STEPS_PER_EPOCH < resumed_at < KILLED_AT < 2 * STEPS_PER_EPOCH
    for rank in range(RANKS):
        assert before[rank] == [batch for batch in whole[rank] if batch["step"] < KILLED_AT]
        assert after[rank] == [batch for batch in whole[rank] if batch["step"] >= resumed_at]
    weights, expected = (load_file(runs[name] / "model.safetensors") for name in ("cut", "whole"))
    start = load_file(runs["checkpoint"] / "model.safetensors")
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert any(not torch.equal(start[name], expected[name]) for name in expected)


def test_evaluation_is_over_the_rows_of_all_ranks(runs):
    """Errors by modality are those of the final model on every validation row once, though ranks share unevenly."""
    history = json.loads((runs["whole"] / "trainer_state.json").read_text())["log_history"]
    logged = [entry for entry in history if "eval_mse" in entry]
    assert len(logged) == EPOCHS
    model = CLUEForConfidenceEstimation.from_pretrained(runs["whole"]).eval()
    processor = CLUEProcessor.from_pretrained(runs["whole"])
    for modality, config in zip(MODALITIES, CONFIGS, strict=True):
        errors = []
        for row in load_split(str(runs["dataset"]), config, "validation"):
            with torch.no_grad():
                output = model(**processor({column: row[column] for column in PREMISE_COLUMNS}, row["hypothesis"]))
            errors.append(output.probability.item() - row["probability"])
        assert logged[-1][f"eval_hypotheses_{modality}"] == len(errors) == VALIDATION_PREMISES * HYPOTHESES
        errors = torch.tensor(errors)
        assert logged[-1][f"eval_mse_{modality}"] == pytest.approx((errors**2).mean().item(), rel=1e-4)
        assert logged[-1][f"eval_mae_{modality}"] == pytest.approx(errors.abs().mean().item(), rel=1e-4)


def test_logs_tell_the_modalities_apart(runs):
    """Each step's loss is logged under the modalities of its batches, and averages over hypotheses."""
    history = json.loads((runs["whole"] / "trainer_state.json").read_text())["log_history"]
    steps = {entry["step"]: entry for entry in history if "loss" in entry}
    batches = [batch for rank in records(runs["whole"]) for batch in rank]
    for step in range(EPOCHS * STEPS_PER_EPOCH):
        counts = Counter(
            MODALITIES[index] for batch in batches if batch["step"] == step for index in batch["modality"]
        )
        entry = steps[step + 1]
        assert {name.removeprefix("loss_") for name in entry if name.startswith("loss_")} == set(counts)
        mean = sum(entry[f"loss_{name}"] * count for name, count in counts.items()) / counts.total()
        assert entry["loss"] == pytest.approx(mean, rel=1e-4)
        norms = [name for name in entry if name.startswith("grad_norm_")]
        assert norms == ["grad_norm_" + (next(iter(counts)) if len(counts) == 1 else "mixed")]
