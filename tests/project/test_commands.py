"""Every command is on the page of commands, answers `--help`, and says in words that its input is wrong."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from common.cli import in_words


ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("modeling_clue", "chat", "datasets_scripts", "train", "evaluation", "spaces", "benchmarks", "tools")
# Commands that only name what has taken their place.
OLD = ("train/plots.py",)
# The files that run as a command, and the lines of the page.
MAINS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if re.search(r"^if __name__ == .__main__.:", path.read_text(encoding="utf-8"), re.MULTILINE)
    and path.relative_to(ROOT).as_posix() not in OLD
)
LISTED = re.findall(r"^\| `(.+?)` \| .+ \|$", (ROOT / "docs/commands.md").read_text(encoding="utf-8"), re.MULTILINE)

COMMANDS = {
    "evaluation.run": "--model {missing} --dataset umui --dataset-config urn-text",
    "evaluation.urn": "--model {missing} --suites {folder}",
    "evaluation.posthoc": "--model {missing} --dataset umui --dataset-config urn-text --method isotonic "
    "--output-dir {folder}/out",
    "evaluation.paper": "table3 --predictions CLUE={missing} --output-dir {folder}",
    "evaluation.figures": "batching {missing} --output {folder}/figure.png",
    "evaluation.demo": "--config {missing} --output-dir {folder}/out",
    "modeling_clue.conversion": "to-clue --model {missing} --output-dir {folder}/out",
    "train.sft": "--config {missing} --output-dir {folder}/out",
    "train.card": "--model {missing}",
    "train.push": "--model {missing} --repo clue/missing",
    "train.tiny": "--dataset {missing}/a/b --output-dir {folder}/out",
    "datasets_scripts.build": "own --dataset-config own --table {missing}.csv --premise-column a "
    "--hypothesis-column b --probability-column c --output-dir {folder}",
    "datasets_scripts.release": "--dataset {missing} --repo clue/missing",
}


def command_of(path: str) -> str:
    """Returns how a file is run: a module of a package by its name, any other file by its path."""
    if not (ROOT / path).with_name("__init__.py").exists():
        return f"python {path}"
    return "python -m " + path.removesuffix(".py").removesuffix("/__main__").replace("/", ".")


def run(command: str) -> None:
    """Runs a command, as it stands on the page and with its options, in this process."""
    _, *words = command.split()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [word for word in words if word != "-m"])
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")


@pytest.mark.parametrize("path", MAINS)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import")
def test_a_command_is_on_the_page_and_answers_help(path, capsys):
    """The page has a line for each file with a main, or one for each command that its help names; each tells how it
    is used and ends well."""

    def help_of(command: str) -> str:
        with pytest.raises(SystemExit) as end:
            run(f"{command} --help")
        said = capsys.readouterr()
        assert (end.value.code, said.err) == (0, "")
        assert said.out.startswith("usage: ") and "show this help message and exit" in said.out
        return said.out

    command = command_of(path)
    named = re.search(r"positional arguments:\n  \{(.+?)\}", help_of(command))
    commands = [f"{command} {name}" for name in named[1].split(",")] if named else [command]
    assert [line for line in LISTED if f"{line} ".startswith(f"{command} ")] == commands
    for one in commands if named else ():
        help_of(one)


def test_the_page_lists_nothing_else():
    """Its other lines are the targets of make."""
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    rest = [line for line in LISTED if not any(f"{line} ".startswith(f"{command_of(path)} ") for path in MAINS)]
    assert sorted(rest) == sorted(f"make {target}" for target in targets)


@pytest.mark.parametrize("module", COMMANDS)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import")
def test_a_folder_that_is_missing_is_named(module, tmp_path, capsys):
    """Without a traceback: the process ends with a line that begins with the word error and has the folder's name."""
    missing = tmp_path / "not-here"
    with pytest.raises(SystemExit) as end:
        run(f"python -m {module} {COMMANDS[module].format(missing=missing, folder=tmp_path)}")
    # argparse prints, and ends with 2; the others end with what Python prints then.
    said = capsys.readouterr().err if end.value.code == 2 else end.value.code
    assert "error: " in said and "not-here" in said
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("module", "words", "new"),
    [
        ("datasets_scripts.teacher", "quality --answers a=b", "python -m evaluation.paper table1 or table5"),
        ("datasets_scripts.annotations", "agreement --annotations a", "python -m evaluation.figures agreement"),
        ("train.plots", "run --output a.png", "python -m evaluation.figures batching"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import")
def test_a_command_that_moved_names_the_new_one(module, words, new, monkeypatch):
    """Whatever its options were, an old command ends with the name of what does it now."""
    monkeypatch.setattr(sys, "argv", [module, *words.split()])
    with pytest.raises(SystemExit, match=f"^error: .* is now {re.escape(new)}"):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def test_developers_see_where(monkeypatch):
    """Under `python -X dev` the error is raised as it is; what is no fault of the input always is."""

    with pytest.raises(SystemExit, match="^error: wrong$"), in_words():
        raise ValueError("wrong")
    with pytest.raises(KeyError), in_words():
        raise KeyError("broken")
    monkeypatch.setattr("common.cli.sys.flags", type("Flags", (), {"dev_mode": True}))
    with pytest.raises(ValueError, match="^wrong$"), in_words():
        raise ValueError("wrong")
