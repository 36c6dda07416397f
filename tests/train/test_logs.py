"""The logs of a training: sums against a count by hand, and the bar that shows them."""

import json

import pytest
import torch
from accelerate import Accelerator
from transformers import TrainerControl, TrainerState, TrainingArguments

from tests.reading import history
from tests.train.test_sft import train
from train.callbacks import TrainingBar
from train.logs import TrainingSums
from train.trainer import CLUETrainer


TEXT, AUDIO, VIDEO = range(3)


@pytest.fixture
def sums(monkeypatch) -> TrainingSums:
    """Sums whose clock says that two seconds went by."""
    times = iter([10.0, 12.0, 12.0])
    monkeypatch.setattr("train.logs.time.perf_counter", lambda: next(times))
    return TrainingSums(torch.device("cpu"))


def add(sums: TrainingSums, modalities: list[int], losses: list[float], mask: list[list[int]]) -> None:
    """Adds a batch."""
    sums.add_batch(torch.tensor(modalities), torch.tensor(losses), torch.tensor(mask))


def test_the_logs_are_those_of_a_count_by_hand(sums):
    """A step of two text batches, one of sound, one of different batches: 11 hypotheses, 14 tokens on 20 places."""
    add(sums, [TEXT, TEXT, TEXT], [1.0, 2.0, 3.0], [[1, 1, 1], [1, 0, 0]])
    add(sums, [TEXT], [10.0], [[1, 1]])
    sums.end_step(torch.tensor(5.0))
    add(sums, [AUDIO, AUDIO], [0.25, 0.75], [[1, 1, 1, 1]])
    sums.end_step(7.0)
    add(sums, [AUDIO, TEXT, TEXT], [0.5, 0.0, 2.0], [[1, 0], [1, 0]])
    add(sums, [VIDEO, VIDEO], [4.0, 8.0], [[1, 1], [0, 0]])
    sums.end_step(torch.tensor(100.0))
    logs = sums.logs(Accelerator(cpu=True))
    assert logs == pytest.approx(
        {
            "loss_text": 18 / 6,
            "loss_audio": 1.5 / 3,
            "loss_video": 6.0,
            "grad_norm_text": 5.0,
            "grad_norm_audio": 7.0,
            "grad_norm_mixed": 100.0,
            "hypotheses_per_second": 5.5,
            "tokens_per_second": 7.0,
            "padding_share": 0.3,
        }
    )


def test_each_log_begins_anew(sums):
    """What was logged is in no later log; gradient norms are averaged over steps, whatever their sizes."""
    add(sums, [VIDEO], [100.0], [[1, 0]])
    sums.end_step(100.0)
    sums.logs(Accelerator(cpu=True))
    times = iter([14.0, 14.0])
    for norms, count in [((1.0, 4.0), 1), ((None,), 3)]:
        for norm in norms:
            add(sums, [TEXT] * count, [1.0] * count, [[1]])
            sums.end_step(norm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.logs.time.perf_counter", lambda: next(times))
        logs = sums.logs(Accelerator(cpu=True))
    assert logs["grad_norm_text"] == 2.5 and "grad_norm_video" not in logs and "loss_video" not in logs
    assert (logs["hypotheses_per_second"], logs["padding_share"]) == (2.5, 0.0)


def test_a_log_is_the_mean_of_the_logs_of_its_steps(dataset, tiny_checkpoint, tmp_path, monkeypatch):
    """Logging every third step gives, by modality, what logging every step gives over them; padding too."""
    batches = []
    compute_loss = CLUETrainer.compute_loss

    def recording(self, model, inputs, *args, **kwargs):
        batches.append(inputs["attention_mask"])
        return compute_loss(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(CLUETrainer, "compute_loss", recording)
    # All of a premise's hypotheses in batches of one premise: every step has as many.
    options = ("--per_device_train_batch_size", "1", "--max_hypotheses_per_premise", "4")
    single = history(train(dataset, tiny_checkpoint, tmp_path / "single", *options, steps=6))[:-1]
    batches.clear()
    output = train(dataset, tiny_checkpoint, tmp_path / "thirds", *options, "--logging_steps", "3", steps=6)
    thirds = history(output)[:-1]
    assert [entry["step"] for entry in thirds] == [3, 6]
    for index, entry in enumerate(thirds):
        steps = single[3 * index : 3 * index + 3]
        names = {name for step in steps for name in step if name.startswith(("loss", "grad_norm_"))}
        assert names == {name for name in entry if name.startswith(("loss", "grad_norm_"))}
        for name in names:
            values = [step[name] for step in steps if name in step]
            assert entry[name] == pytest.approx(sum(values) / len(values), rel=1e-4)
        masks = batches[3 * index : 3 * index + 3]
        tokens, places = sum(mask.sum().item() for mask in masks), sum(mask.numel() for mask in masks)
        assert entry["padding_share"] == pytest.approx(1 - tokens / places, abs=1e-4)
        ratio = entry["tokens_per_second"] / entry["hypotheses_per_second"]
        assert ratio == pytest.approx(tokens / 12, rel=0.01)


def test_a_checkpoint_closes_the_logs(dataset, tiny_checkpoint, tmp_path, monkeypatch):
    """A run that goes on from a checkpoint between two logs has, in the end, the logs of one that was left alone."""
    options = (
        "--logging_steps",
        "4",
        "--save_strategy",
        "steps",
        "--save_steps",
        "3",
        "--lr_scheduler_type",
        "constant",
    )
    whole = train(dataset, tiny_checkpoint, tmp_path / "whole", *options, steps=8)
    cut = tmp_path / "cut"
    compute_loss = CLUETrainer.compute_loss

    def interrupted(self, *args, **kwargs):
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        return compute_loss(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CLUETrainer, "compute_loss", interrupted)
        train(dataset, tiny_checkpoint, cut, *options, steps=8)
    going_on = (*options, "--resume_from_checkpoint", str(cut / "checkpoint-3"))
    resumed = train(dataset, tiny_checkpoint, cut, *going_on, steps=8)

    def lasting(output):
        timed = ("_per_second", "_runtime")
        return [{k: v for k, v in entry.items() if not k.endswith(timed)} for entry in history(output)[:-1]]

    assert [entry["step"] for entry in lasting(whole)] == [3, 4, 6, 8]
    assert lasting(resumed) == lasting(whole)
    saved = json.loads((cut / "checkpoint-3" / "trainer_state.json").read_text())["log_history"]
    assert [entry["step"] for entry in saved] == [3]


def test_the_bar_tells_loss_throughput_and_padding(dataset, tiny_checkpoint, tmp_path, capsys):
    """The numbers behind the bar are those of the log; without a bar there is none of it."""
    output = train(dataset, tiny_checkpoint, tmp_path / "shown", "--disable_tqdm", "false", steps=1)
    entry = history(output)[0]
    shown = capsys.readouterr().err
    assert f"loss {entry['loss']:.4g}, {entry['hypotheses_per_second']:,.0f} hypotheses/s, " in shown
    assert f"{entry['tokens_per_second']:,.0f} tokens/s, {entry['padding_share']:.0%} padding" in shown
    train(dataset, tiny_checkpoint, tmp_path / "hidden", steps=1)
    assert "hypotheses/s" not in capsys.readouterr().err


def test_the_bar_is_on_the_main_process_only(tmp_path):
    """Another process has no bar to write behind."""
    bar, state = TrainingBar(), TrainerState(is_world_process_zero=False, max_steps=1)
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    bar.on_train_begin(args, state, TrainerControl())
    bar.on_log(args, state, TrainerControl(), logs={"loss": 1.0, "padding_share": 0.0})
    assert bar.training_bar is None
