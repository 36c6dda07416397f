"""
Processes of Python, without what takes most of their time: to import torch and all the rest anew in each. Each is
forked from one that has done so once for all tests (see warm.py), and is in all else as if it had been started.
"""

import functools
import json
import multiprocessing.connection
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from filelock import FileLock


ROOT = Path(__file__).resolve().parents[1]
# A run takes some 10 s, and more on a machine that has other work. What hangs is to fail.
TIMEOUT = 300
# A launcher sends SIGTERM to the processes that are left when one has failed.
PATIENCE = 10

TELL = """
import json, os, sys
from pathlib import Path
Path(sys.argv[1], os.environ["RANK"]).write_text(json.dumps(dict(os.environ)))
"""

# As little as can be: it forwards all it has, and ends as the other does.
PROGRAM = """#!{python} -IS
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
socket.send_fds(connection, [b" "], [0, 1, 2])
job = {{"command": {more} + sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
connection.sendall(json.dumps(job).encode())
connection.shutdown(socket.SHUT_WR)
process, status = connection.makefile()
sys.exit(int(status) % 256)
"""


class Process:
    """
    A running process of Python, with what of `subprocess.Popen` tests need.

    Args:
        command (`list[str]`): What follows `python`: `-c CODE`, `-m MODULE` or a script, with its arguments.
        folder (`Path`, *optional*): Where it runs, by default in the root of this repository.
        environment (`dict[str, str]`, *optional*): Its environment, by default that of the tests.
        stdout, stderr (`IO`): What it prints to, files.
        stdin (`IO`, *optional*): What it reads, by default nothing.
    """

    def __init__(
        self,
        *command: object,
        stdout: IO,
        stderr: IO,
        stdin: IO | socket.socket | None = None,
        folder: Path = ROOT,
        environment: Mapping | None = None,
    ):
        environment = dict(os.environ if environment is None else environment)
        job = {"command": [str(word) for word in command], "folder": str(folder), "environment": environment}
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(address())
        with open(os.devnull) as nothing:
            files = (stdin or nothing, stdout, stderr)
            socket.send_fds(self.connection, [b" "], [file.fileno() for file in files])
        self.connection.sendall(json.dumps(job).encode())
        self.connection.shutdown(socket.SHUT_WR)
        self._answers = self.connection.makefile()
        self.pid = int(self._answers.readline())
        self.returncode = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended; negative for a signal. `TimeoutError` if it does not end."""
        if self.returncode is None:
            if not multiprocessing.connection.wait([self.connection], timeout):
                raise TimeoutError(f"process {self.pid} took over {timeout} s")
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self.connection.close()
        return self.returncode

    def poll(self) -> int | None:
        """The exit status if it has ended."""
        if self.returncode is None and multiprocessing.connection.wait([self.connection], 0):
            self.wait()
        return self.returncode

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it may have ended just now
                os.kill(self.pid, number)


def run(
    *command: object, folder: Path = ROOT, environment: Mapping | None = None, timeout: float = TIMEOUT
) -> subprocess.CompletedProcess:
    """Runs Python to its end, as [`Process`] does. Returns its exit status, and what it printed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = Process(*command, folder=folder, environment=environment, stdout=out, stderr=err)
        try:
            process.wait(timeout)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, out.read(), err.read())


def write_python(folder: Path) -> None:
    """Writes the programs `python` and `hf` for a shell, which are processes of the same kind."""
    for name, more in {"python": (), "hf": ("-m", "huggingface_hub.cli.hf")}.items():
        program = folder / name
        program.write_text(PROGRAM.format(python=sys.executable, address=address(), more=list(more)))
        program.chmod(0o700)


@functools.cache
def address() -> str:
    """The socket of the process that all are forked from, which the first test to need it starts."""
    # One for all of xdist's workers.
    tests = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    place = os.path.join(tempfile.gettempdir(), f"clue-tests-{tests}")
    with FileLock(f"{place}.lock"):
        if not os.path.exists(place):
            server = subprocess.Popen(
                [sys.executable, str(ROOT / "tests/warm.py"), place, str(tests)],
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            with server.stdout as said:
                assert any(line == "ready\n" for line in said), "no process to fork from"
    return place


def wait_for(condition) -> None:
    """Looks at `condition` every 20 ms until it holds."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@functools.cache
def environments(config: str) -> list[dict[str, str]]:
    """What `accelerate launch` with this file sets for each of two processes."""
    machines = 2 if "num_machines: 2" in Path(ROOT, config).read_text() else 1
    # One launcher finds a port for itself; several are told where to meet.
    port = "0" if machines == 1 else free_port()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as said:
        script = Path(folder, "tell.py")
        script.write_text(TELL)
        launcher = ["-m", "accelerate.commands.launch", "--config_file", config, "--num_processes", "2"]
        launcher += ["--main_process_ip", "127.0.0.1", "--main_process_port", port, "--machine_rank"]
        started = [Process(*launcher, str(rank), script, folder, stdout=said, stderr=said) for rank in range(machines)]
        ended = [process.wait(TIMEOUT) for process in started]
        said.seek(0)
        assert not any(ended), said.read()
        told = [json.loads(Path(folder, rank).read_text()) for rank in "01"]
    return [{name: value for name, value in one.items() if os.environ.get(name) != value} for one in told]


def launch(
    config: str, *command: str, log: Path, whole: Mapping | None = None, **environment: str
) -> list[int | None]:
    """
    Runs a command in two processes; when one fails, ends the other.

    Args:
        config (`str`): A file of `train/accelerate_configs`.
        command (`str`): A script, or `-m` and a module, with its arguments.
        log (`Path`): Where to write what they print.
        whole (`dict[str, str]`, *optional*): What their environment begins with, by default that of the tests.
        environment (`str`): What is set beside.

    Returns:
        `list[int]`: The exit status of each process, negative for the signal that killed it.
    """
    # They meet at the first process, with no launcher to meet at.
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "TORCHELASTIC_USE_AGENT_STORE": "False"}
    own = {"OMP_NUM_THREADS": "1"} | meeting | environment
    first = dict(os.environ if whole is None else whole)
    with log.open("a") as file:
        processes = [
            Process(*command, environment=first | given | own, stdout=file, stderr=file)
            for given in environments(config)
        ]
    deadline = time.monotonic() + TIMEOUT
    while alive := [process for process in processes if process.poll() is None]:
        multiprocessing.connection.wait([process.connection for process in alive], deadline - time.monotonic())
        if any(process.poll() for process in processes) or time.monotonic() > deadline:
            break
    for process in alive:
        process.kill(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except TimeoutError:
            process.kill()
            process.wait()
    assert time.monotonic() < deadline, f"took over {TIMEOUT} s\n{log.read_text()}"
    return [process.returncode for process in processes]
