"""The demo, running, and the pipeline that its answers must agree with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from transformers import pipeline

from tests.hub.conftest import hub  # noqa: F401


ROOT = Path(__file__).resolve().parents[3]
SPACE = ROOT / "spaces" / "demo"


def draw_picture(path: Path, size: tuple[int, int] = (120, 90)) -> Path:
    """A red ball on grey, in the format that the ending says."""
    image = Image.new("RGB", size, (120, 120, 120))
    ImageDraw.Draw(image).ellipse((20, 10, 80, 70), (215, 40, 40))
    image.save(path)
    return path


def run_in_space(code: str, told: dict[str, str], given: str | None = None) -> subprocess.CompletedProcess:
    """Runs code as the Space would, in its folder, with some environment variables and what it is given to read."""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=SPACE, env=os.environ | told, input=given, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def demo(start_space, tmp_path_factory):
    """The demo as it runs on a laptop: the tiny checkpoint, no settings."""
    return start_space("demo", tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def clips() -> Path:
    """The clips of the examples: `beeps.flac`, `balls.mp4`, `balls_that_beep.mp4`."""
    return SPACE / "examples"


@pytest.fixture(scope="session")
def clue():
    """The pipeline, asked directly."""
    return pipeline("uncertain-inference", model=str(ROOT / "checkpoints" / "clue-urn-tiny"), trust_remote_code=True)
