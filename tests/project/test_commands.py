"""Every command is on the page of commands, calls the same thing by the same name, answers `--help`, and says in words
that its input is wrong."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from common.cli import ArgumentParser, exit_on_error


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
LISTED = re.findall(
    r"^\| `((?!--).+?)` \| .+ \|$", (ROOT / "docs/commands.md").read_text(encoding="utf-8"), re.MULTILINE
)

COMMANDS = {
    "evaluation.run": "--model {missing} --dataset umui --dataset-config urn-text",
    "evaluation.urn": "--model {missing} --suites {folder}",
    "evaluation.asked_together": "--dataset {missing}/a/b --dataset-config urn-text --output-dir {folder}/out",
    "evaluation.unknown": "--model {missing} --output-dir {folder}/out",
    "evaluation.over_time": "--model {missing} --output-dir {folder}/out",
    "evaluation.unknown.compare": "--model {missing} --dataset {folder}",
    "evaluation.coherence": "--model {missing} --suites {folder}",
    "evaluation.exclusive": "--model {missing}",
    "evaluation.posthoc": "--model {missing} --dataset umui --dataset-config urn-text --method isotonic "
    "--output-dir {folder}/out",
    "evaluation.paper": "table3 --predictions CLUE={missing} --output-dir {folder}",
    "evaluation.figures": "batching {missing} --output {folder}/figure.png",
    "evaluation.demo": "--config {missing} --output-dir {folder}/out",
    "evaluation.reproduce": "--raw {missing} --model m --output-dir {folder}/out",
    "modeling_clue.conversion": "to-clue --model {missing} --output-dir {folder}/out",
    "modeling_clue.decision_server": "--model {missing}",
    "modeling_clue.mirage": "--input {missing} --output {folder}/out",
    "modeling_clue.score": "--model {missing} --input pyproject.toml --output {folder}/out",
    "train.sft": "--config {missing} --output-dir {folder}/out",
    "train.card": "--model {missing}",
    "train.push": "--model {missing} --repo clue/missing",
    "train.tiny": "--dataset {missing}/a/b --output-dir {folder}/out",
    "datasets_scripts.build": "own --dataset-config own --table {missing}.csv --premise-column a "
    "--hypothesis-column b --probability-column c --output-dir {folder}",
    "datasets_scripts.release": "--dataset {missing} --repo clue/missing",
}

# Old options, their new names, and where they were.
RENAMED = {
    "--out --output-dir": "datasets_scripts.build urn|urn-stress|unli|clotho|wikivideo|own|restore, "
    "datasets_scripts.teacher ask, train.tiny, modeling_clue.conversion to-clue|to-thinker|from-research, "
    "evaluation.demo, evaluation.run, evaluation.urn, evaluation.posthoc, "
    "evaluation.paper table1|table2|table3|table4|table5|table7|table8|compare",
    "--out --output": "datasets_scripts.annotations aggregate, benchmarks/train_step.py, "
    "evaluation.figures agreement|annotators|teachers|batching|ratios|reliability|risk-coverage|item",
    "--config --dataset-config": "datasets_scripts.build restore, datasets_scripts.teacher ask|label, evaluation.run, "
    "evaluation.posthoc, spaces.release",
    "--configs --dataset-configs": "datasets_scripts.build clotho|wikivideo, datasets_scripts.release, train.tiny, "
    "train.sft",
    "--name --dataset-config": "datasets_scripts.build own",
    "--from --dataset": "datasets_scripts.build restore",
    "--recipe --config": "evaluation.demo",
    "--raw --annotations": "datasets_scripts.annotations aggregate, evaluation.figures agreement|annotators",
    "--answers --num-answers": "datasets_scripts.teacher ask",
    "--local --model": "datasets_scripts.teacher ask",
    "--source --model": "modeling_clue.conversion to-clue|to-thinker|from-research",
    "--from-research-checkpoint from-research --model": "modeling_clue.conversion",
    "--checkpoint --model": "train.card, train.push",
    "--base_model --base-model": "train.card",
    "--compare-on --compare-split": "evaluation.posthoc",
    "--hypotheses --hypotheses-per-premise": "datasets_scripts.build urn-stress, evaluation.urn, "
    "benchmarks/train_step.py",
    "--bootstrap --resamples": "evaluation.figures agreement|reliability|risk-coverage, "
    "evaluation.paper table1|table2|table3|table4|table5|table7|table8|compare",
}
# Old names that still mean something, and where.
STILL = {
    "--config": ("train.sft", "evaluation.demo"),
    "--hypotheses": ("evaluation.figures timeline",),
    "--raw": (
        *(f"datasets_scripts.build {source}" for source in ("unli", "nli", "clotho", "published")),
        "evaluation.reproduce",
    ),
    "--answers": (
        *("datasets_scripts.teacher label", "evaluation.run", "evaluation.coherence", "evaluation.figures teachers"),
        *("evaluation.paper table1", "evaluation.paper table5"),
    ),
}


def renamed():
    """Yields each old option of each command, and its new name."""
    for names, places in RENAMED.items():
        for place in places.split(", "):
            command, _, parts = place.partition(" ")
            for part in parts.split("|"):
                yield f"{command} {part}".strip(), *names.split(maxsplit=1)


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

    def check_names(command: str, help: str) -> None:
        """No underscores, but where trl has them, and none of the old names."""
        options = set(re.findall(r"(?<![\w-])--[a-zA-Z][\w-]*", help.split("options:")[1]))
        place = command.removeprefix("python ").removeprefix("-m ")
        old = {names.split()[0] for names in RENAMED} - {name for name, places in STILL.items() if place in places}
        assert not options & old
        assert place == "train.sft" or not [option for option in options if "_" in option]

    command = command_of(path)
    named = re.search(r"positional arguments:\n  \{(.+?)\}", help_of(command))
    commands = [f"{command} {name}" for name in named[1].split(",")] if named else [command]
    assert [line for line in LISTED if f"{line} ".startswith(f"{command} ")] == commands
    for one in commands:
        check_names(one, help_of(one))


def test_the_page_lists_nothing_else():
    """Its other lines are the targets of make."""
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    rest = [line for line in LISTED if not any(f"{line} ".startswith(f"{command_of(path)} ") for path in MAINS)]
    assert sorted(rest) == sorted(f"make {target}" for target in targets)


@pytest.mark.parametrize(("command", "old", "new"), list(renamed()))
@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import")
def test_an_option_that_was_renamed_names_the_new_one(command, old, new, capsys):
    """Before anything else is said of the command line, whether its value follows or is joined by `=`."""
    command = f"python {command}" if command.endswith(".py") else f"python -m {command}"
    for words in (f"{old} x", f"{old}=x"):
        with pytest.raises(SystemExit) as end:
            run(f"{command} {words}")
        assert end.value.code == 2
        assert capsys.readouterr().err.endswith(f"error: {old} is now {new}\n")


def test_an_option_is_never_taken_by_a_part_of_its_name(capsys):
    """An old name that begins a new one would mean that silently."""
    parser = ArgumentParser()
    parser.add_subparsers().add_parser("ask").add_argument("--output-dir")
    assert parser.parse_args(["ask", "--output-dir", "x"]).output_dir == "x"
    with pytest.raises(SystemExit):
        parser.parse_args(["ask", "--output", "x"])
    assert "unrecognized arguments: --output x" in capsys.readouterr().err


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

    with pytest.raises(SystemExit, match="^error: wrong$"), exit_on_error():
        raise ValueError("wrong")
    with pytest.raises(KeyError), exit_on_error():
        raise KeyError("broken")
    monkeypatch.setattr("common.cli.sys.flags", type("Flags", (), {"dev_mode": True}))
    with pytest.raises(ValueError, match="^wrong$"), exit_on_error():
        raise ValueError("wrong")
