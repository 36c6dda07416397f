"""Runs the whole chain on generated data whose exact probabilities are known, on a CPU: `make demo`.

```bash
python -m evaluation.demo            # anew, in runs/demo
python -m evaluation.demo --resume   # keeps the stages that were finished
```

Builds an urn world in four modalities, trains a tiny model from scratch, evaluates it against the exact probabilities
and asks it a question in each modality. Every stage is a command that can be run by hand; it is printed before it
runs.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import torch
from transformers import pipeline

from common.cli import ArgumentParser, exit_on_error
from common.files import write_text
from evaluation.data import load_rows, premise_keys
from evaluation.tables import comparison_table
from evaluation.unfinished import output_folder


CONFIGS = ("urn-text", "urn-audio", "urn-video", "urn-audiovisual")
RECIPE = "train/recipes/demo_cpu.yaml"
QUESTIONS_PER_PREMISE = 3
# Steps of a tiny model are too short for more.
MAX_THREADS = 4
# How threads wait for the next operation. Where nobody else wants the cores, training is a third faster
# if they spin for half a millisecond before they sleep; where somebody does, it is three times slower.
ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
SPINNING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
# A machine is idle where its cores are so busy at most, in per cent.
IDLE = 20


def main(arguments: list[str] | None = None) -> None:
    """Runs the demo from the root of the repository."""
    parser = ArgumentParser(prog="python -m evaluation.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--output-dir", type=Path, default=Path("runs/demo"), help="default: %(default)s")
    parser.add_argument("--config", default=RECIPE, help=f"training recipe (default: {RECIPE})")
    parser.add_argument(
        "--resume", action="store_true", help="keep the stages that were finished with the same command"
    )
    args = parser.parse_args(arguments)
    out = args.output_dir
    if not Path("train/sft.py").exists():
        parser.error("run it from the root of the repository, where train/sft.py is")
    if not Path(args.config).is_file():
        parser.error(f"there is no recipe '{args.config}': those of this repository are in train/recipes")
    clear(out, args.resume)

    for name, command in stages(out, args.config).items():
        run_stage(name, command, out)
    reports = {config: json.loads((out / "evaluation" / config / "report.json").read_text()) for config in CONFIGS}
    started = time.perf_counter()
    answers = ask(out)
    write_report(reports, out, time.perf_counter() - started)
    print(f"\n{answers}\n\n{comparison_table(reports)}\n")
    print(f"{out}/report.json has the numbers and the seconds of each stage, {out}/evaluation the figures,")
    print(f"{out}/checkpoint the model.")


def stages(out: Path, recipe: str) -> dict[str, str]:
    """Returns the commands of the demo by name, in their order, for the folder `out`."""
    data, initial, checkpoint = (shlex.quote(f"{out}/{name}") for name in ("umui", "init", "checkpoint"))
    recipe, threads = shlex.quote(recipe), min(torch.get_num_threads(), MAX_THREADS)
    return {
        "build": f"python -m datasets_scripts.build urn --output-dir {data} --overwrite",
        "initialise": f"python -m train.tiny --dataset {data} --output-dir {initial}",
        "train": "accelerate launch --config-file train/accelerate_configs/single.yaml "
        f"--num-cpu-threads-per-process {threads} train/sft.py --config {recipe} --dataset {data} "
        f"--model-name-or-path {initial} --output-dir {checkpoint}",
        "evaluate": f"python -m evaluation.run --model {checkpoint} --dataset {data} "
        f"--dataset-configs {' '.join(CONFIGS)} --split test --output-dir {shlex.quote(f'{out}/evaluation')}",
    }


def clear(out: Path, resume: bool) -> None:
    """Empties the folder of an earlier demo, or keeps it to resume; never a folder of something else."""
    output_folder(out)
    if not resume and out.exists():
        if any(out.iterdir()) and not (out / "stages.json").exists():
            raise ValueError(f"{out} holds something that is no earlier demo: give another --output-dir.")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "stages.json").exists():
        write_text(out / "stages.json", "{}\n")


def read_stages(out: Path) -> dict[str, dict]:
    """Reads the stages that were finished, with their commands and seconds."""
    try:
        return json.loads((out / "stages.json").read_text())
    except ValueError as error:
        raise ValueError(f"{out}/stages.json can't be read ({error}): run the demo without --resume.") from error


def run_stage(name: str, command: str, out: Path) -> None:
    """Runs a command, and notes it with its seconds in `stages.json`; skips it if it is there already.

    Stages depend on the ones before: where one runs, those after it in an earlier demo are forgotten. A failed command
    ends the demo with its exit status.
    """
    finished = read_stages(out)
    if name in finished and finished[name]["command"] == command:
        print(f"[{name}] finished before", flush=True)
        return
    if name in finished:
        names = list(finished)
        finished = {earlier: finished[earlier] for earlier in names[: names.index(name)]}
        write_text(out / "stages.json", json.dumps(finished, indent=2) + "\n")
        # Predictions of the model there was, which an evaluation of the new one would refuse to go on from.
        shutil.rmtree(out / "evaluation", ignore_errors=True)
    print(f"[{name}] {command}", flush=True)
    program, *options = shlex.split(command)
    # The interpreter that runs the demo, even where its environment is not the active one.
    modules = {"python": [], "accelerate": ["-m", "accelerate.commands.accelerate_cli"]}
    started = time.perf_counter()
    command_line = [sys.executable, *modules[program], *options]
    threads = waiting_threads() if program == "accelerate" else ASLEEP
    status = subprocess.run(command_line, check=False, env=threads | os.environ).returncode
    if status:
        sys.exit(f"The stage {name!r} failed with exit status {status}; mend it and go on with --resume.")
    finished[name] = {"command": command, "seconds": round(time.perf_counter() - started, 1)}
    write_text(out / "stages.json", json.dumps(finished, indent=2) + "\n")
    print(f"[{name}] {finished[name]['seconds']} s\n", flush=True)


def waiting_threads() -> dict[str, str]:
    """Returns how threads shall wait on a machine that is as busy as this one."""
    return SPINNING if psutil.cpu_percent(interval=1) <= IDLE else ASLEEP


def ask(out: Path) -> str:
    """Asks the pipeline about the first test premise of each modality, and tells its answers beside the truth."""
    infer = pipeline("uncertain-inference", model=f"{out}/checkpoint", trust_remote_code=True)
    lines = []
    for config in CONFIGS:
        rows = load_rows(f"{out}/umui", config, "test")
        first = premise_keys(rows.select(range(QUESTIONS_PER_PREMISE)))
        rows = [rows[i] for i, key in enumerate(first) if key == first[0]]
        question = premise(rows[0])
        answers = infer({**question, "hypotheses": [row["hypothesis"] for row in rows]})
        lines.append(f"{config}: {json.dumps(question)}")
        for row, answer in zip(rows, answers, strict=True):
            low, high = answer["interval"]
            lines.append(
                f"  {answer['probability']:.2f} [{low:.2f}, {high:.2f}], in truth {row['probability']:.2f}: "
                f"{answer['hypothesis']}"
            )
    return "\n".join(lines)


def premise(row: dict) -> dict[str, str]:
    """Returns the premise of a row as a person gives it to the pipeline: the text, or the path of a file."""
    if row["modality"] == "text":
        return {"text": row["premise"]}
    if row["modality"] == "audio":
        return {"audio": row["audio"]["path"]}
    return {"video": row["video"]["path"], "modality": row["modality"]}


def write_report(reports: dict[str, dict], out: Path, answering: float) -> None:
    """Writes `report.json`: the main numbers of each configuration and the seconds of each stage."""
    finished = read_stages(out)
    summary = {
        config: {
            **{name: report["measures"][name]["value"] for name in ("mse", "mae", "ece")},
            "constant_mean_mse": report["constant_mean"]["measures"]["mse"]["value"],
            "hypothesis_only_mse": report["hypothesis_only"]["measures"]["mse"]["value"],
            "floor_mse": report["target_floor"]["measures"]["mse"]["value"],
            "floor_ece": report["target_floor"]["measures"]["ece"]["value"],
            "n": report["n"],
        }
        for config, report in reports.items()
    }
    seconds = {name: stage["seconds"] for name, stage in finished.items()}
    summary["seconds"] = {**seconds, "answer": round(answering, 1)}
    write_text(out / "report.json", json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    with exit_on_error():
        main()
