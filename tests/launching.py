"""
The processes of `accelerate launch`, without what takes most of their time: to import torch and all the rest anew in
each. Each is forked from a server that has done so once, and has the environment that `accelerate launch` gives it.
"""

import functools
import json
import multiprocessing
import multiprocessing.connection
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import datasets
import torch


ROOT = Path(__file__).resolve().parents[1]
# A run takes some 10 s. What hangs is to fail.
TIMEOUT = 150
# A launcher sends SIGTERM to the processes that are left when one has failed.
PATIENCE = 10

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["deepspeed", "train.sft", "evaluation.urn", "evaluation.predictors.prompting"])

TELL = """
import json, os, sys
from pathlib import Path
Path(sys.argv[1], os.environ["RANK"]).write_text(json.dumps(dict(os.environ)))
"""


@functools.cache
def environments(config: str) -> list[dict[str, str]]:
    """What `accelerate launch` with this file sets for each of two processes."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "tell.py")
        script.write_text(TELL)
        launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config]
        launcher += ["--num_processes", "2", "--main_process_port", "0"]
        subprocess.run([*launcher, str(script), folder], cwd=ROOT, check=True, capture_output=True)
        told = [json.loads(Path(folder, rank).read_text()) for rank in "01"]
    return [{name: value for name, value in one.items() if os.environ.get(name) != value} for one in told]


def launch(config: str, *command: str, log: Path, **environment: str) -> list[int | None]:
    """
    Runs a command in two processes; when one fails, ends the other.

    Args:
        config (`str`): A file of `train/accelerate_configs`.
        command (`str`): A script, or `-m` and a module, with its arguments.
        log (`Path`): Where to write what they print.
        environment (`str`): What is set beside.

    Returns:
        `list[int]`: The exit status of each process, negative for the signal that killed it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # They meet at the first process, with no launcher to meet at.
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": "False"}
    own = {"OMP_NUM_THREADS": "1"} | meeting | environment
    processes = [
        SERVER.Process(target=_run, args=(command, dict(os.environ) | given | own, log))
        for given in environments(config)
    ]
    for process in processes:
        process.start()
    deadline = time.monotonic() + TIMEOUT
    while alive := [process for process in processes if process.exitcode is None]:
        multiprocessing.connection.wait([process.sentinel for process in alive], deadline - time.monotonic())
        if any(process.exitcode for process in processes) or time.monotonic() > deadline:
            break
    for process in alive:
        process.terminate()
        process.join(PATIENCE)
        process.kill()
        process.join()
    assert time.monotonic() < deadline, f"took over {TIMEOUT} s\n{log.read_text()}"
    return [process.exitcode for process in processes]


def _run(command: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
    """Becomes a process that runs a command."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    # These were read when the libraries were imported.
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    datasets.config.HF_DATASETS_CACHE = environment.get("HF_DATASETS_CACHE", datasets.config.HF_DATASETS_CACHE)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    if command[0] == "-m":
        sys.argv = list(command[1:])
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(command)
        runpy.run_path(command[0], run_name="__main__")
