"""
Declares the two operators without which torchvision cannot be imported beside a CPU build of torch.

PyPI's torchvision is compiled against a CUDA build of torch. Beside a CPU build its compiled library does not load, the
operators `torchvision::nms` and `torchvision::qnms` are never declared, and `import torchvision` fails where it
registers shapes for them; `transformers` then loses its video processors. The operators are declared here without an
implementation: torchvision imports, its Python transforms work, and a call of `nms` still says that it is missing.

`make` installs this package only on machines that need it. It belongs to no wheel and to no checkpoint.
"""

import ctypes
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


def compiled_library_loads() -> bool:
    """Whether torchvision's compiled library loads beside the installed torch. torchvision itself is not imported.

    Returns:
        `bool`: `False` also when torchvision has no compiled library at all.
    """
    package = PathFinder.find_spec("torchvision")
    if package is None or package.submodule_search_locations is None:
        return False
    library = PathFinder.find_spec("torchvision._C", package.submodule_search_locations)
    if library is None or library.origin is None:
        return False
    try:
        ctypes.CDLL(library.origin)
    except OSError:
        return False
    return True


def define_missing_ops() -> None:
    """Declares `torchvision::nms` and `torchvision::qnms` where torchvision cannot do so itself.

    Does nothing where torchvision is absent, where its compiled library loads, or where the operators exist: a second
    declaration of the namespace would raise.
    """
    global _library
    if PathFinder.find_spec("torchvision") is None or compiled_library_loads() or ops_are_defined():
        return
    _library = torch.library.Library("torchvision", "DEF")
    _library.define(f"nms{NMS_SCHEMA}")
    _library.define(f"qnms{NMS_SCHEMA}")
