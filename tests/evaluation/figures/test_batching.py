"""Figure 5 from the Trainer's logs: the numbers against hand-made ones, and what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from evaluation.figures.__main__ import main
from evaluation.figures.curves import ALL, Curve, loss_levels, read_run, summarize


def write_run(folder: Path, entries: list[dict], *, checkpoint: int | None = None) -> Path:
    """Writes logs as the Trainer does, at the end of a run or in a checkpoint."""
    place = folder if checkpoint is None else folder / f"checkpoint-{checkpoint}"
    place.mkdir(parents=True, exist_ok=True)
    state = {"global_step": entries[-1]["step"], "log_history": entries}
    (place / "trainer_state.json").write_text(json.dumps(state))
    return folder


def batched(steps: int, offset: float = 0.0) -> list[dict]:
    """Logs of steps of text (odd, loss 2) and of sound (even, loss 1) in turn, and an evaluation."""
    entries = []
    for step in range(1, steps + 1):
        name, loss, norm = ("text", 2.0, 3.0) if step % 2 else ("audio", 1.0, 5.0)
        loss += offset
        entries.append(
            {"step": step, "loss": loss, f"loss_{name}": loss, "grad_norm": norm, f"grad_norm_{name}": norm}
        )
    return [*entries, {"step": steps, "eval_loss": 1.5, "eval_mse": 0.25, "eval_mse_audio": 0.125}]


def mixed(steps: int) -> list[dict]:
    """Logs of steps of text and sound whose losses begin at 4 and halve, and whose norms are their numbers."""
    losses = [4.0 * 0.5**step for step in range(steps)]
    return [
        {"step": step, "loss": loss, "loss_text": loss, "loss_audio": loss, "grad_norm": step, "grad_norm_mixed": step}
        for step, loss in enumerate(losses, start=1)
    ]


def test_running_means_are_those_of_the_steps_around():
    """Half of the window on either side, fewer values at the ends and where steps are missing."""
    steps = np.array([1, 2, 3, 7, 8])
    curve = Curve(steps, np.array([1.0, 2.0, 6.0, 10.0, 20.0]))
    found = curve.running_mean(np.array([1, 2, 5, 8, 20]), window=2)
    np.testing.assert_allclose(found, [1.5, 3.0, np.nan, 15.0, np.nan])


def test_a_summary_is_that_of_hand_made_losses(tmp_path):
    """Sixty steps: the running mean is over the two steps around, 30 of each modality, the last six the final ones."""
    run = read_run(write_run(tmp_path / "batched-3", batched(60)))
    assert (run.label, run.steps, run.window) == ("batched", 60, 2)
    summary = summarize(run, {ALL: 1.5, "text": 2.0, "audio": 0.5})
    # One step on either side: the mean of 2, 1, 2 is 5/3 and of 1, 2, 1 is 4/3; at the ends of two it is 3/2.
    residuals = [2 - 3 / 2, *([1 - 5 / 3, 2 - 4 / 3] * 29), 1 - 3 / 2]
    assert summary[ALL] == pytest.approx(
        {
            "final_loss": 1.5,
            "fluctuation": np.std(residuals),
            "fluctuation_apart": 0.0,
            "grad_norm": 4.0,
            "grad_norm_p95": 5.0,
            "steps_to_level": 1.0,
            "validation_loss": 1.5,
            "validation_mse": 0.25,
        }
    )
    assert summary["text"] == pytest.approx(
        {"final_loss": 2.0, "fluctuation": 0.0, "grad_norm": 3.0, "grad_norm_p95": 3.0, "steps_to_level": 1.0}
    )
    assert summary["audio"] == pytest.approx(
        {"final_loss": 1.0, "fluctuation": 0.0, "grad_norm": 5.0, "grad_norm_p95": 5.0, "validation_mse": 0.125}
    )


def test_the_jumps_between_modalities_are_told_apart(tmp_path):
    """Text at 2 and 4 in turn, sound always at 1: around its modality's mean, only text has something left."""
    entries = batched(120)
    for entry in entries[2:-1:4]:
        entry["loss"] = entry["loss_text"] = 4.0
    run = read_run(write_run(tmp_path / "run", entries))
    # The window of four steps has three values of text, two at the ends: 2 around 3 first, 4 around 3 last.
    squares = 2 * 1**2 + 58 * (4 / 3) ** 2
    levels = dict.fromkeys((ALL, "text", "audio"), 1.0)
    assert summarize(run, levels)[ALL]["fluctuation_apart"] == pytest.approx((squares / 120) ** 0.5)


def test_a_falling_loss_reaches_its_level(tmp_path):
    """The first step at which the running mean, here the loss itself, is at or below the level."""
    run = read_run(write_run(tmp_path / "mixed", mixed(20)))
    assert run.window < 1
    summary = summarize(run, {ALL: 0.5, "text": 0.25, "audio": 1e-9})
    assert summary[ALL]["steps_to_level"] == 4
    assert summary["text"]["steps_to_level"] == 5
    assert "steps_to_level" not in summary["audio"] and "grad_norm" not in summary["audio"]
    assert summary[ALL]["grad_norm"] == 10.5 and "fluctuation_apart" not in summary[ALL]
    assert summary[ALL]["grad_norm_p95"] == pytest.approx(np.percentile(range(1, 21), 95))
    assert summary[ALL]["final_loss"] == pytest.approx((4.0 * 0.5**18 + 4.0 * 0.5**19) / 2)


def test_the_race_is_to_the_final_loss_of_the_last(tmp_path):
    """Of settings that end at 2.034 (two seeds) and at 1.5 the level is 2.1: every setting gets there."""
    runs = [
        read_run(write_run(tmp_path / f"{name}", batched(40, offset)))
        for name, offset in [("a-0", 0.5), ("a-1", 0.568), ("b-0", 0.0)]
    ]
    assert loss_levels(runs) == pytest.approx({ALL: 2.1, "text": 2.6, "audio": 1.6})


def test_figure_values_and_table_are_written(tmp_path):
    """The values are the logged ones, the table has the mean of the seeds and each, the figure is not empty; `--label`
    groups runs whatever their folders are called."""
    runs = [write_run(tmp_path / f"run-{seed}", batched(60, seed / 10)) for seed in range(2)]
    runs.append(write_run(tmp_path / "run-2", mixed(20)))
    labels = ["--label", "batched", "batched", "mixed"]
    main(["batching", *map(str, runs), *labels, "--output", str(tmp_path / "out" / "figure.png")])
    with (tmp_path / "out" / "figure.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = {(row["run"], row["modality"], int(row["step"])): (row["loss"], row["grad_norm"]) for row in rows}
    assert len(found) == len(rows) == 2 * (60 + 30 + 30) + 20 * (1 + 1 + 1 + 1)
    assert found["run-1", "audio", 6] == ("1.1", "5.0")
    assert ("run-1", "audio", 7) not in found
    assert found["run-2", "text", 3] == ("1.0", "") and found["run-2", "mixed", 3] == ("", "3.0")
    lines = (tmp_path / "out" / "figure.md").read_text().splitlines()
    table = {
        tuple(cells[1:3]): cells[3:-1] for line in lines[2:] if (cells := [c.strip() for c in line.split("|")])[1:]
    }
    words = (tmp_path / "out" / "figure.alt.txt").read_text()
    assert "batched, all: 1.5, 1.6." in words and "batched, text: 2, 2.1." in words
    assert table["all", "batched"][0] == "1.55 (1.5, 1.6)"
    assert table["audio", "mixed"][3] == "–"
    image = imread(tmp_path / "out" / "figure.png")
    assert image.shape[1] > image.shape[0] > 300 and image[..., :3].min() < 0.2


def test_the_longest_logs_are_read(tmp_path):
    """Those of the newest checkpoint of a run that was killed, or those at the end of one that was not."""
    folder = write_run(tmp_path / "run", mixed(2), checkpoint=2)
    write_run(folder, mixed(10), checkpoint=10)
    assert read_run(folder).steps == 10
    write_run(folder, mixed(12))
    assert read_run(folder).steps == 12
    assert read_run(folder / "checkpoint-2").steps == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "There is no folder"),
        (lambda folder: folder.mkdir(), "has no trainer_state.json"),
        (lambda folder: write_run(folder, [{"step": 3, "eval_loss": 1.0}]), "has no training loss in its logs"),
        (lambda folder: (write_run(folder, mixed(3)) / "trainer_state.json").write_text('{"global'), "is torn"),
    ],
)
def test_a_folder_without_logs_is_named(tmp_path, make, message):
    """The error says which folder, and what is missing in it; nothing is written."""
    make(tmp_path / "run")
    with pytest.raises(SystemExit, match=message) as error:
        main(["batching", str(tmp_path / "run"), "--output", str(tmp_path / "figure.png")])
    assert str(tmp_path / "run") in str(error.value)
    assert not list(tmp_path.glob("figure*"))


def test_runs_that_cannot_be_told_apart_are_refused(tmp_path):
    """Two folders of the same name would be one run in the tables; labels must be as many as runs."""
    runs = [str(write_run(tmp_path / place / "run-0", mixed(3))) for place in ("here", "there")]
    for arguments, message in [((), "Several runs are called run-0"), (("--label", "one"), "1 settings for 2 runs")]:
        with pytest.raises(SystemExit, match=message):
            main(["batching", *runs, "--output", str(tmp_path / "figure.png"), *arguments])
    assert not list(tmp_path.glob("figure*"))
