"""A Hub on this machine, and clients of it, each in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests import launching


HERE = Path(__file__).parent
TOKEN = "hf_local_tests"


@dataclass(frozen=True)
class LocalHub:
    """
    A running Hub.

    Args:
        endpoint (`str`): Its address.
        token (`str`): The token of its one user, who may write to `tester/...` and `clue/...`.
    """

    endpoint: str
    token: str = TOKEN

    def env(self, home: Path, token: bool = True) -> dict[str, str]:
        """
        The environment of a client.

        Args:
            home (`Path`): The client's caches: another folder is another computer.
            token (`bool`, *optional*, defaults to `True`): Whether it is signed in.
        """
        # What the tests' own process was told of a Hub or of caches is not for this client.
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))
        }
        told = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        return kept | told | ({"HF_TOKEN": self.token} if token else {})

    def run(self, home: Path, code: str, *arguments: object, token: bool = True, check: bool = True):
        """
        Runs Python code as a client.

        Args:
            home (`Path`): As in [`env`].
            code (`str`): What to run; `sys.argv[1:]` are the `arguments`.
            check (`bool`, *optional*, defaults to `True`): Whether it must end well.

        Returns:
            `subprocess.CompletedProcess`: with what it printed.
        """
        return self.call(home, "-c", code, *arguments, token=token, check=check)

    def call(self, home: Path, *command: object, token: bool = True, check: bool = True):
        """Runs any command of Python as a client; as [`run`]."""
        done = launching.run(*command, environment=self.env(home, token))
        assert not check or done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done

    def ask(self, method: str, path: str, headers: dict | None = None) -> bytes:
        """One request as it is, signed in."""
        request = Request(
            self.endpoint + path, method=method, headers={"Authorization": f"Bearer {self.token}"} | (headers or {})
        )
        with urlopen(request, timeout=30) as answer:
            return answer.read()

    def clear_log(self) -> None:
        """Forgets what was asked so far."""
        self.ask("DELETE", "/_test/log")

    def log(self) -> list[dict]:
        """What was asked since then: `{"method", "path", "bytes_in", "status"}` each."""
        return json.loads(self.ask("GET", "/_test/log"))["requests"]

    def held(self) -> int:
        """How many requests are held by [`fail_after`]."""
        return json.loads(self.ask("GET", "/_test/log"))["held"]

    def uploads(self) -> list[dict]:
        """The requests of the log that asked where to put contents."""
        return [entry for entry in self.log() if "/xet-write-token/" in entry["path"]]

    def received(self) -> set[str]:
        """The SHA-256 of all contents that clients ever sent through Xet."""
        return set(json.loads(self.ask("GET", "/_test/log"))["received"])

    def commits(self) -> list[dict]:
        """The requests of the log that made a commit."""
        return [entry for entry in self.log() if entry["method"] == "POST" and "/commit/" in entry["path"]]

    def fail_after(self, uploads: int | None = None, commits: int | None = None, how: str = "refuse") -> None:
        """Lets so many more uploads or commits pass; the next is refused, or (`how="hold"`) never answered."""
        wanted = {"uploads": uploads, "commits": commits}
        limits = [f"{kind}={number}" for kind, number in wanted.items() if number is not None]
        self.ask("POST", "/_test/fail_after?" + "&".join([*limits, f"how={how}"]))

    def work_again(self) -> None:
        """Ends [`fail_after`]."""
        self.ask("DELETE", "/_test/fail_after")


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    """A Hub for the whole session; tests keep apart by the names of their repositories."""
    command = [sys.executable, str(HERE / "server.py"), str(tmp_path_factory.mktemp("hub"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            endpoint = server.stdout.readline().strip()
            assert endpoint, "the Hub did not start"
            yield LocalHub(endpoint)
        finally:
            server.kill()
