"""What is installed and shipped: the wheel, the version ranges, and torchvision beside a CPU build of torch."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import distribution, distributions, entry_points, packages_distributions
from pathlib import Path

import pytest
import torch
from hatchling.build import build_wheel
from packaging.dependency_groups import resolve_dependency_groups
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project.test_layers import imported_modules


ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "checkpoints" / "clue-urn-tiny"
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built by the installed backend."""
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return folder / build_wheel(str(folder))


def required_by(wheel: Path) -> set[str]:
    """Returns the names of what the wheel requires, by itself or for an extra."""
    (found,) = distributions(path=[str(wheel)])
    return {canonicalize_name(Requirement(text).name) for text in found.requires}


def test_wheel_holds_modeling_clue_alone(wheel):
    """Every file of the wheel is modeling_clue's or metadata, none of modeling_clue is left out, the licence is in."""
    names = zipfile.ZipFile(wheel).namelist()
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "modeling_clue").glob("*.py")}
    assert set(names) - metadata == sources | {"modeling_clue/py.typed"}
    assert any(name.endswith("/LICENSE") for name in metadata)


def test_wheel_requires_what_it_imports(wheel):
    """Its code imports the standard library and what is required or comes with an extra; and neither is for code that
    is not in it: only torchvision is imported by transformers, for the video processor."""
    imported = imported_modules("modeling_clue").keys() - sys.stdlib_module_names
    distributed = packages_distributions()
    used = {canonicalize_name(name) for module in imported for name in distributed[module]}
    assert used | {"torchvision"} == required_by(wheel)


@pytest.mark.processes
def test_wheel_alone_answers(wheel, tmp_path):
    """Where the wheel is installed with what it requires and nothing else is, the checkpoint answers with its own code
    and with the package's, about a video too, for which transformers imports torchvision."""
    venv.create(tmp_path / "env")
    (packages,) = (tmp_path / "env").glob("lib/*/site-packages")
    # Beside a CPU build of torch, what mends torchvision (see tools/torchvision_cpu) belongs to torch.
    names = required_by(wheel) | {point.dist.name for point in entry_points(group="torch.backends")}
    linked = set()
    while names - linked:
        linked.add(name := (names - linked).pop())
        found = distribution(name)
        for top in {file.parts[0] for file in found.files} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(found.locate_file(top))
        for needed in map(Requirement, found.requires or []):
            if not needed.marker or needed.marker.evaluate({"extra": ""}):
                names.add(canonicalize_name(needed.name))
    python = tmp_path / "env/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", wheel]
    result = subprocess.run(pip, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from transformers import AutoModel, AutoProcessor\n"
        "def ask(**remote):\n"
        "    model = AutoModel.from_pretrained(sys.argv[1], **remote)\n"
        "    processor = AutoProcessor.from_pretrained(sys.argv[1], **remote)\n"
        "    video = {'video': {'frames': np.zeros((4, 56, 56, 3), dtype=np.uint8), 'fps': 2}}\n"
        "    inputs = processor(['Balls in the urn: red, red, blue.', video], [['It is red.'], ['It is red.']])\n"
        "    print(type(model).__module__.split('.')[0], *model(**inputs).probability.tolist())\n"
        "ask(trust_remote_code=True)\n"
        "import modeling_clue.auto\n"
        "ask()\n"
    )
    command = [python, "-I", "-c", code, CHECKPOINT]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    remote, own = (line.split() for line in result.stdout.splitlines())
    assert (remote[0], own[0], own[1:]) == ("transformers_modules", "modeling_clue", remote[1:])
    assert float(own[1]) == pytest.approx(2 / 3, abs=0.02)


def test_ranges_start_at_the_tested_versions():
    """Each dependency's range starts at its version in constraints.txt and ends before a breaking one."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    dev = resolve_dependency_groups(pyproject["dependency-groups"], "dev")
    requirements = [Requirement(text) for text in (*pyproject["project"]["dependencies"], *dev)]
    assert {requirement.name for requirement in requirements} == set(tested)
    for requirement in requirements:
        bounds = {bound.operator: bound.version for bound in requirement.specifier}
        assert bounds.keys() == {">=", "<"}, requirement
        assert bounds[">="] == tested[requirement.name], requirement
        assert tested[requirement.name] in requirement.specifier


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
