"""Joins the processes of a command that `accelerate launch` has started several times; one of them otherwise.

```bash
accelerate launch --multi-gpu --num-processes 8 -m evaluation.run --model CHECKPOINT --dataset umui \\
    --dataset-config unli
accelerate launch --config-file train/accelerate_configs/ddp_cpu.yaml -m evaluation.run ...   # two, without a GPU
```
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list


# How long a process waits for the others. They may have clips of another length, or a server that is busy; one that
# fails ends all of them through its launcher, whatever this says.
TIMEOUT = timedelta(days=7)

Value = TypeVar("Value")


@contextmanager
def joined_processes() -> Iterator[PartialState]:
    """Joins the other processes of this command, and parts from them when all is done; after an error the launcher
    does.

    Yields which process this is, of how many. On GPUs each has its own as the current device.
    """
    processes = PartialState(cpu=not torch.cuda.is_available(), timeout=TIMEOUT)
    yield processes
    processes.wait_for_everyone()
    processes.destroy_process_group()


def compute_on_main(processes: PartialState, make: Callable[[], Value]) -> Value:
    """Returns on each process what `make` gives on the main one, so that files of a dataset are read once."""
    return broadcast_object_list([make() if processes.is_main_process else None])[0]
