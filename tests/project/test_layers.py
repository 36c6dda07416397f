"""Which package may import what: the arrows between the project's own folders, and the libraries each group brings."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.dependency_groups import resolve_dependency_groups
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import modeling_clue
from tests.launching import run


ROOT = Path(__file__).resolve().parents[2]
OURS = {"modeling_clue", "common", "chat", "datasets_scripts", "train", "evaluation", "spaces", "tests"}

# Folder: the folders of ours it may import, and the dependency groups whose libraries it may import.
LAYERS = {
    "modeling_clue": (set(), []),
    "common": (set(), ["data"]),
    "chat": ({"modeling_clue", "common"}, ["data"]),
    "datasets_scripts": ({"modeling_clue", "common", "chat"}, ["teacher"]),
    "train": ({"modeling_clue", "common", "datasets_scripts"}, ["train", "deepspeed"]),
    "evaluation": ({"modeling_clue", "common", "chat", "datasets_scripts"}, ["eval"]),
    "spaces": ({"common"}, ["space"]),
}
COMMANDS_AND_LIBRARIES = [
    path for folder in ("common", "chat", "datasets_scripts", "evaluation") for path in (ROOT / folder).rglob("*.py")
]
SPACES = sorted(path.parent.name for path in (ROOT / "spaces").glob("*/app.py"))


def imported_modules(folder: str) -> dict[str, str]:
    """Maps each top-level module imported under `folder` (relative imports aside) to a file that imports it."""
    modules = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            else:
                continue
            modules |= {name.split(".")[0]: path.relative_to(ROOT).as_posix() for name in names}
    return modules


@pytest.mark.parametrize("folder", LAYERS)
def test_arrows_point_one_way(folder):
    """A folder imports no other folder of ours than the ones below it."""
    below = LAYERS[folder][0] | {folder}
    astray = {module: path for module, path in imported_modules(folder).items() if module in OURS - below}
    assert not astray


def test_no_command_is_the_library_of_another():
    """What has a `main` is imported by nothing, but by the command that it is a part of."""
    files = {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in COMMANDS_AND_LIBRARIES}
    commands = {
        ".".join(path.with_suffix("").parts)
        for path, tree in files.items()
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
    }
    imports = {
        (path.as_posix(), name)
        for path, tree in files.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    }
    parts = {("datasets_scripts/teacher.py", f"datasets_scripts.teachers.{part}") for part in ("ask", "labels")}
    assert {(path, name) for path, name in imports if name in commands} == parts


@pytest.mark.parametrize("space", SPACES)
def test_a_space_stands_alone(space):
    """On the Hub the folder of a Space is the root, and takes a checkpoint as a stranger would, with its remote code:
    it imports nothing of ours. The one `spaces` there is Hugging Face's package for ZeroGPU."""
    assert not OURS - {"spaces"} & imported_modules(f"spaces/{space}").keys()
    beside = {path.stem for path in (ROOT / "spaces").iterdir() if path.stem not in SPACES}
    for path in (ROOT / "spaces" / space).rglob("*.py"):
        assert not re.search(rf"spaces(\.| import )({'|'.join(beside)})", path.read_text(encoding="utf-8")), path


def test_modeling_clue_never_names_its_own_package():
    """Saved beside a checkpoint, the files import one another as siblings: the package may not be installed."""
    assert "modeling_clue" not in imported_modules("modeling_clue")


@pytest.mark.processes
def test_what_needs_no_model_does_not_wait_for_torch():
    """Neither torch nor transformers, of several seconds each, is imported to build, to send, or to ask a server."""
    code = "import sys"
    for module in (
        *("modeling_clue.media", "datasets_scripts.build", "datasets_scripts.release"),
        "datasets_scripts.teachers.ask",
    ):
        code += f"\nimport {module}\nprint('{module}', {{'torch', 'transformers'}} & sys.modules.keys())"
    told = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert all(line.endswith(" set()") for line in told.splitlines()), told


@pytest.mark.processes
def test_a_name_of_the_package_makes_it_known_to_transformers():
    """Whichever name is taken first, `AutoConfig` and `AutoModel` know CLUE without remote code."""
    code = (
        "from modeling_clue import CLUEProcessor; from transformers import AutoConfig, AutoModel\n"
        "config = AutoConfig.from_pretrained('checkpoints/clue-urn-tiny')\n"
        "print(type(config).__module__, type(AutoModel.from_config(config)).__module__)"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["modeling_clue.configuration_clue", "modeling_clue.modeling_clue"]
    with pytest.raises(AttributeError, match="module 'modeling_clue' has no attribute 'CLUEModel'"):
        _ = modeling_clue.CLUEModel


@pytest.mark.parametrize("folder", LAYERS)
def test_every_imported_library_is_declared(folder):
    """A library that a folder imports is a dependency of the project, or in an extra or the groups made for it."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = {
        canonicalize_name(Requirement(text).name)
        for text in (
            *pyproject["project"]["dependencies"],
            *resolve_dependency_groups(pyproject["dependency-groups"], *LAYERS[folder][1]),
            *(pyproject["project"]["optional-dependencies"]["server"] if folder == "modeling_clue" else ()),
        )
    }
    distributions = packages_distributions()
    # The folder of a Space is the root on the Hub: its files import each other by their names.
    siblings = {path.stem for path in (ROOT / "spaces").glob("*/*.py")} if folder == "spaces" else set()
    undeclared = {
        module: path
        for module, path in imported_modules(folder).items()
        if module not in OURS | siblings | sys.stdlib_module_names
        and not declared & {canonicalize_name(name) for name in distributions.get(module, [])}
    }
    assert not undeclared
