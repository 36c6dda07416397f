"""A command whose input is wrong says so in words."""

import runpy
import sys

import pytest

from datasets_scripts.commands import in_words


COMMANDS = {
    "evaluation.run": "--model {missing} --dataset umui --config urn-text",
    "evaluation.urn": "--model {missing} --suites {folder}",
    "evaluation.posthoc": "--model {missing} --dataset umui --config urn-text --method isotonic --out {folder}/out",
    "evaluation.paper": "table3 --predictions CLUE={missing} --out {folder}",
    "evaluation.figures": "reliability {missing} --out {folder}/figure.png",
    "evaluation.demo": "--recipe {missing} --out {folder}/out",
    "modeling_clue.conversion": "to-clue --source {missing} --out {folder}/out",
    "train.sft": "--config {missing} --output_dir {folder}/out",
    "train.card": "--checkpoint {missing}",
    "train.push": "--checkpoint {missing} --repo clue/missing",
    "train.plots": "{missing}",
    "train.tiny": "--dataset {missing}/a/b --out {folder}/out",
    "datasets_scripts.build": "own --name own --table {missing}.csv --premise-column a --hypothesis-column b "
    "--probability-column c --out {folder}",
    "datasets_scripts.release": "--dataset {missing} --repo clue/missing",
}


@pytest.mark.parametrize("module", COMMANDS)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import")
def test_a_folder_that_is_missing_is_named(module, tmp_path, monkeypatch, capsys):
    """Without a traceback: the process ends with a line that begins with the word error and has the folder's name."""
    missing = tmp_path / "not-here"
    words = COMMANDS[module].format(missing=missing, folder=tmp_path).split()
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    # argparse prints, and ends with 2; the others end with what Python prints then.
    said = capsys.readouterr().err if end.value.code == 2 else end.value.code
    assert "error: " in said and "not-here" in said
    assert not list(tmp_path.glob("out*"))


def test_developers_see_where(monkeypatch):
    """Under `python -X dev` the error is raised as it is; what is no fault of the input always is."""

    with pytest.raises(SystemExit, match="^error: wrong$"), in_words():
        raise ValueError("wrong")
    with pytest.raises(KeyError), in_words():
        raise KeyError("broken")
    monkeypatch.setattr("datasets_scripts.commands.sys.flags", type("Flags", (), {"dev_mode": True}))
    with pytest.raises(ValueError, match="^wrong$"), in_words():
        raise ValueError("wrong")
