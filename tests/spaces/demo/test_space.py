"""The demo as a folder for the Hub: front matter, requirements, and which checkpoints it starts from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement


ROOT = Path(__file__).resolve().parents[3]
SPACE = ROOT / "spaces" / "demo"


def constrained_versions() -> dict[str, str]:
    """The versions of `constraints.txt`."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def test_front_matter_is_complete():
    """The Hub finds all it needs to build the Space, with the tested version of Gradio."""
    card = yaml.safe_load((SPACE / "README.md").read_text().split("---")[1])
    assert card["sdk"] == "gradio"
    assert card["sdk_version"] == constrained_versions()["gradio"]
    assert (SPACE / card["app_file"]).is_file()
    assert len(card["short_description"]) <= 60
    assert {"title", "emoji", "colorFrom", "colorTo", "python_version", "license", "tags", "models"} <= card.keys()
    assert card["suggested_hardware"] == "zero-a10g"


def test_requirements_are_the_constrained_versions():
    """What the Space installs is what the tests ran with; torch is the Space's own."""
    lines = [line for line in (SPACE / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    for requirement in map(Requirement, lines):
        wanted = "" if requirement.name.startswith("torch") else f"=={constrained_versions()[requirement.name]}"
        assert str(requirement.specifier) == wanted


@pytest.mark.processes
@pytest.mark.parametrize("revision", ["", "main", "0123abc"])
def test_code_of_the_hub_is_run_at_a_pinned_commit_only(revision):
    """A repository without the whole commit is refused before anything of it is looked at."""
    told = {"CLUE_MODEL": "someone/clue", "CLUE_REVISION": revision}
    done = subprocess.run(
        [sys.executable, "judge.py"], cwd=SPACE, env=os.environ | told, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "CLUE_REVISION the commit to run" in done.stderr
