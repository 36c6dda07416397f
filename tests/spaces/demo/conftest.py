"""The demo, running, and the pipeline that its answers must agree with."""

from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from transformers import pipeline

from tests.hub.conftest import hub  # noqa: F401


ROOT = Path(__file__).resolve().parents[3]


def draw_picture(path: Path, size: tuple[int, int] = (120, 90)) -> Path:
    """A red ball on grey, in the format that the ending says."""
    image = Image.new("RGB", size, (120, 120, 120))
    ImageDraw.Draw(image).ellipse((20, 10, 80, 70), (215, 40, 40))
    image.save(path)
    return path


@pytest.fixture(scope="module")
def demo(start_space, tmp_path_factory):
    """The demo as it runs on a laptop: the tiny checkpoint, no settings."""
    return start_space("demo", tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def clips() -> Path:
    """The clips of the examples: `beeps.flac`, `balls.mp4`, `balls_that_beep.mp4`."""
    return ROOT / "spaces" / "demo" / "examples"


@pytest.fixture(scope="session")
def clue():
    """The pipeline, asked directly."""
    return pipeline("uncertain-inference", model=str(ROOT / "checkpoints" / "clue-urn-tiny"), trust_remote_code=True)
