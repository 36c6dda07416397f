"""
Gives birth to processes that have the libraries imported: what takes most of the time of a test that starts one.

```
python tests/warm.py SOCKET PID
```

It answers at a socket until the process of that number, which runs the tests, is gone. Who connects sends a command
of Python with its folder and environment, and the files that it reads and prints to; answered are the number of the
new process and, when it has ended, its exit status. Nothing of ours is imported here, so that a process takes it from
its own folder, and strangers have nothing of it.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import socket
import sys
import tempfile
import threading
import traceback
from types import ModuleType

import datasets
import huggingface_hub.hf_api
import torch
import transformers.dynamic_module_utils
import transformers.utils.hub


LIBRARIES = (
    "accelerate.commands.launch",
    "deepspeed",
    "gradio",
    "gradio.http_server",
    "matplotlib.pyplot",
    "peft",
    "sklearn.linear_model",
    "soundfile",
    "soxr",
    "torchvision",
    "transformers.hf_argparser",
    "transformers.models.qwen2_5_omni.modeling_qwen2_5_omni",
    "transformers.models.qwen2_5_omni.processing_qwen2_5_omni",
    "transformers.models.qwen2_vl.video_processing_qwen2_vl",
    "transformers.pipelines",
    "transformers.trainer",
    "trl",
)


def serve(address: str, parent: int) -> dict:
    """Answers until `parent` is gone. Returns in each new process alone, with what it is to do."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        print("ready", flush=True)
        while True:
            # Those that have told how theirs ended.
            with_children = True
            while with_children:
                try:
                    with_children = os.waitpid(-1, os.WNOHANG)[0] > 0
                except ChildProcessError:
                    with_children = False
            if not select.select([listening], [], [], 2)[0]:
                try:
                    os.kill(parent, 0)
                except ProcessLookupError:
                    for file in (address, f"{address}.lock"):
                        os.unlink(file)
                    sys.exit()
                continue
            client, _ = listening.accept()
            if os.fork() == 0:
                break
            client.close()
    _, files, *_ = socket.recv_fds(client, 1, 3)
    told = client.makefile().read()
    process = os.fork()
    if process:
        client.sendall(f"{process}\n".encode())
        _, status = os.waitpid(process, 0)
        client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    client.close()
    for stream, file in enumerate(files):
        os.dup2(file, stream)
        os.close(file)
    return json.loads(told)


def become(environment: dict[str, str], folder: str) -> None:
    """Takes an environment, and what libraries read of it when they were imported."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tempfile.tempdir = None
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", os.cpu_count())))
    constants = importlib.reload(huggingface_hub.constants)
    # Not the class that has taken the module's name.
    bars = sys.modules["huggingface_hub.utils.tqdm"]
    bars.HF_HUB_DISABLE_PROGRESS_BARS = constants.HF_HUB_DISABLE_PROGRESS_BARS
    # The functions of the library itself are this object's.
    huggingface_hub.hf_api.api.endpoint = constants.ENDPOINT
    importlib.reload(datasets.config)
    modules = environment.get("HF_MODULES_CACHE", os.path.join(constants.HF_HOME, "modules"))
    for module in (transformers.utils.hub, transformers.dynamic_module_utils):
        module.HF_MODULES_CACHE = modules
    importlib.reload(sys.modules["gradio.http_server"])


def run(path: list[str], what: str, *arguments: str) -> None:
    """Runs `-c CODE`, `-m MODULE`, `-` or a script, each with arguments, as Python does."""
    sys.path[:] = path
    if what in ("-c", "-"):
        code, *arguments = arguments if what == "-c" else (sys.stdin.read(), *arguments)
        sys.path.insert(0, "")
        sys.argv = [what, *arguments]
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), main.__dict__)
    elif what == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv = list(arguments)
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(what)))
        sys.argv = [what, *arguments]
        runpy.run_path(what, run_name="__main__")


def main() -> None:
    """Serves, and is whatever is asked for."""
    path = sys.path[1:]
    # Where libraries are: the folder of an editable install is none, and gradio would find a package `spaces` in it.
    sys.path[:] = [folder for folder in path if folder.startswith((sys.prefix, sys.base_prefix))]
    gc.disable()
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    gc.enable()
    job = serve(sys.argv[1], int(sys.argv[2]))
    become(job["environment"], job["folder"])
    more = [folder for folder in job["environment"].get("PYTHONPATH", "").split(os.pathsep) if folder]
    try:
        # What both name stands once, as site has it.
        run([*more, *(folder for folder in path if folder not in more)], *job["command"])
        status = 0
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        status = 1
    # What the interpreter does when it ends, but for taking all to pieces: that would copy all it shares.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
