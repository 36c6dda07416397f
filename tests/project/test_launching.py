"""A process that is forked with its libraries imported is what a clean one is."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.launching import ROOT, Process, run, write_python


pytestmark = pytest.mark.processes

# What libraries read of the environment when they are imported.
TELL = """
import json, sys, tempfile
from pathlib import Path
import datasets.config, gradio.http_server, huggingface_hub.constants, huggingface_hub.utils.tqdm, torch
import transformers.dynamic_module_utils, transformers.utils.hub
from huggingface_hub import HfApi, hf_api
modules = (
    datasets.config, gradio.http_server, huggingface_hub.constants, sys.modules["huggingface_hub.utils.tqdm"],
    transformers.dynamic_module_utils, transformers.utils.hub,
)
told = {
    f"{module.__name__}.{name}": str(value)
    for module in modules for name, value in vars(module).items()
    if name.isupper() and isinstance(value, (str, int, Path)) and name != "SESSION_ID"
}
told |= {"temporary": tempfile.gettempdir(), "threads": torch.get_num_threads()}
told |= {"endpoints": [HfApi().endpoint, hf_api.api.endpoint]}
ours = {"modeling_clue", "common", "chat", "datasets_scripts", "train", "evaluation"} & sys.modules.keys()
print(json.dumps(told | {"argv": sys.argv, "path": sys.path, "name": __name__, "ours": sorted(ours)}))
"""


def test_it_has_the_environment_of_its_own(tmp_path):
    """Addresses, caches, threads and the path of imports are those of a process that was started so."""
    told = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_DATASETS_OFFLINE": "1"}
    told |= {"TMPDIR": str(tmp_path)}
    told |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "2", "GRADIO_SERVER_PORT": "1234"}
    environment = os.environ | told | {"PYTHONPATH": str(ROOT)}
    environment.pop("HF_HUB_OFFLINE", None)
    warm = run("-c", TELL, "a", 1, folder=tmp_path, environment=environment)
    assert warm.returncode == 0, warm.stderr
    command = [sys.executable, "-c", TELL, "a", "1"]
    clean = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(warm.stdout) == json.loads(clean.stdout)


def test_it_ends_as_it_would(tmp_path):
    """With its exit status, what it said last, and what was to be done at the end; or by a signal."""
    done = run("-c", "import atexit; atexit.register(print, 'bye'); raise SystemExit('error: wrong')")
    assert (done.returncode, done.stdout, done.stderr) == (1, "bye\n", "error: wrong\n")
    done = run("-c", "1 / 0")
    assert done.returncode == 1 and done.stderr.endswith("\nZeroDivisionError: division by zero\n")
    with (tmp_path / "log").open("w") as log:
        held = Process("-c", "import signal; signal.pause()", stdout=log, stderr=log)
    assert held.poll() is None
    held.kill()
    assert held.wait() == held.poll() == -signal.SIGKILL


def test_a_shell_has_it(tmp_path):
    """`python` and `hf` on a shell's path, with code from its input too."""
    write_python(tmp_path)
    script = "echo 'import sys; print(sys.argv)' | python - a | cat; python -c 'exit(3)' || echo $?; hf version"
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euc", script], env=environment, capture_output=True, text=True)
    first, second, *rest = done.stdout.splitlines()
    assert (first, second) == ("['-', 'a']", "3") and "2." in "".join(rest)
