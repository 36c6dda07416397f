"""
Declares the two operators without which torchvision cannot be imported beside a CPU build of torch.

PyPI's torchvision is compiled against a CUDA build of torch. Beside a CPU build its compiled library does not load,
the operators `torchvision::nms` and `torchvision::qnms` are never declared, and `import torchvision` fails where it
registers shapes for them; `transformers` then loses its video processors. The operators are declared here without an
implementation: torchvision imports, its Python transforms work, and a call of `nms` still says that it is missing.

`python torchvision_cpu_ops.py` says by its exit status whether this machine needs the package: 0 needed, 1 not needed.
`make` installs it only where it is. It belongs to no wheel and to no checkpoint.
"""

import argparse
import ctypes
import sys
from importlib.machinery import PathFinder

import torch


NMS_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

# A library's operators vanish with the object that declared them, so it has to outlive the import.
_library: torch.library.Library | None = None


def ops_are_defined() -> bool:
    """Whether `torchvision::nms` is declared in this process.

    Returns:
        `bool`: `True` when torchvision's own library, or an earlier call, has declared the operator.
    """
    try:
        torch.ops.torchvision.nms  # noqa: B018 (the look-up is the test)
    except AttributeError:
        return False
    return True


def compiled_library_fails() -> bool:
    """Whether torchvision is installed with a compiled library that does not load. torchvision is not imported.

    Returns:
        `bool`: `False` also when torchvision, or its compiled library, is not installed at all.
    """
    package = PathFinder.find_spec("torchvision")
    if package is None:
        return False
    library = PathFinder.find_spec("torchvision._C", package.submodule_search_locations)
    if library is None:
        return False
    try:
        ctypes.CDLL(library.origin)
    except OSError:
        return True
    return False


def ops_are_missing() -> bool:
    """Whether torchvision stands beside a CPU build of torch and cannot declare its operators itself.

    Returns:
        `bool`: `False` beside a CUDA or ROCm build of torch, where a library that does not load is a fault to be seen.
    """
    is_cpu_build = torch.version.cuda is None and torch.version.hip is None
    return is_cpu_build and not ops_are_defined() and compiled_library_fails()


def define_missing_ops() -> None:
    """Declares `torchvision::nms` and `torchvision::qnms` where torchvision cannot do so itself.

    Does nothing anywhere else: a second declaration of the namespace would raise.
    """
    global _library
    if ops_are_missing():
        _library = torch.library.Library("torchvision", "DEF")
        _library.define(f"nms{NMS_SCHEMA}")
        _library.define(f"qnms{NMS_SCHEMA}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    sys.exit(0 if ops_are_missing() else 1)
