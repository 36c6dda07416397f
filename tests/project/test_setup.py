"""What is installed and shipped: the wheel, the version ranges, and torchvision beside a CPU build of torch."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement


ROOT = Path(__file__).resolve().parents[2]
AID = ROOT / "tools" / "torchvision_cpu" / "torchvision_cpu_ops.py"


def run_python(code: str, folder: Path, **environment: str) -> str:
    """Runs `code` in a clean interpreter in `folder` and returns what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def write_torchvision(folder: Path, library: str) -> None:
    """Writes a stand-in for torchvision with a compiled library that is "sound", "broken" or "absent"."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").touch()
    if library == "sound":
        shutil.copy(torch._C.__file__, package / "_C.so")
    elif library == "broken":
        (package / "_C.so").write_bytes(b"not a library")


@pytest.fixture
def aid():
    """The module that declares the missing operators, read from its file: it may be installed or not."""
    spec = importlib.util.spec_from_file_location("torchvision_cpu_ops_under_test", AID)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.processes
def test_wheel_holds_modeling_clue_alone(tmp_path):
    """Every file of the wheel is modeling_clue's or metadata, none of modeling_clue is left out, the licence is in."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    result = subprocess.run([*command, "-w", tmp_path, ROOT], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "modeling_clue").glob("*.py")}
    assert set(names) - metadata == sources | {"modeling_clue/py.typed"}
    assert any(name.endswith("/LICENSE") for name in metadata)


def test_ranges_start_at_the_tested_versions():
    """Each dependency's range starts at its version in constraints.txt and ends before a breaking one."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    requirements = [Requirement(text) for group in (project["dependencies"], *extras) for text in group]
    requirements = [requirement for requirement in requirements if requirement.name != project["name"]]
    assert {requirement.name for requirement in requirements} == set(tested)
    for requirement in requirements:
        bounds = {bound.operator: bound.version for bound in requirement.specifier}
        assert bounds.keys() == {">=", "<"}, requirement
        assert bounds[">="] == tested[requirement.name], requirement
        assert tested[requirement.name] in requirement.specifier


@pytest.mark.processes
def test_torchvision_can_be_imported(tmp_path):
    """A clean process that imports torch, then torchvision, gets a video processor that resizes frames."""
    code = (
        "import torch, torchvision\n"
        "from transformers import Qwen2VLVideoProcessor\n"
        "frames = torch.zeros(4, 3, 56, 56, dtype=torch.uint8)\n"
        "print(tuple(Qwen2VLVideoProcessor()([frames], return_tensors='pt')['video_grid_thw'].shape))"
    )
    assert run_python(code, tmp_path) == "(1, 3)"


@pytest.mark.parametrize(("library", "missing"), [("sound", False), ("broken", True), ("absent", False)])
def test_ops_are_missing_only_beside_a_broken_library(aid, tmp_path, monkeypatch, library, missing):
    """A torchvision whose library loads needs no help, nor does one without a library: only one that fails to load."""
    write_torchvision(tmp_path, library)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(aid, "ops_are_defined", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert aid.ops_are_missing() is missing


def test_nothing_is_declared_beside_a_cuda_build(aid, tmp_path, monkeypatch):
    """A library that does not load beside a CUDA build of torch is a fault, and stays visible."""
    write_torchvision(tmp_path, "broken")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(aid, "ops_are_defined", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert aid.ops_are_missing() is False


@pytest.mark.processes
def test_ops_are_declared_once(tmp_path):
    """With a broken library the operators are declared; where they exist already nothing is declared again."""
    write_torchvision(tmp_path, "broken")
    code = (
        "import sys, torch\n"
        "torch.version.cuda = torch.version.hip = None\n"
        f"sys.path[:0] = [{str(tmp_path)!r}, {str(AID.parent)!r}]\n"
        "import torchvision_cpu_ops as first\n"
        "first.define_missing_ops()\n"
        "del sys.modules['torchvision_cpu_ops']\n"
        "import torchvision_cpu_ops as second\n"
        "second.define_missing_ops()\n"
        "torch.ops.torchvision.nms, torch.ops.torchvision.qnms\n"
        "print(first._library is not None, second._library is not None)"
    )
    assert run_python(code, tmp_path, TORCH_DEVICE_BACKEND_AUTOLOAD="0") == "True False"
