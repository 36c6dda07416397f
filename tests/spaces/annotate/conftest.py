"""A dataset folder to annotate, and the Space's own modules."""

import csv
import sys
from pathlib import Path

import pytest


SPACE = Path(__file__).resolve().parents[3] / "spaces" / "annotate"
# As on the Hub, where the Space's folder is the root.
sys.path.insert(0, str(SPACE))

CLAIMS = {
    "harbour.mp4": ["A vessel crosses.", "The sun sets.", "<b onclick=alert(1)>It rains.</b>"],
    "mirror.mp4": ["A bird is seen.", "A horn is heard.", "Somebody speaks."],
}
STORY = "A ferry runs every hour."


@pytest.fixture(scope="session")
def umui(tmp_path_factory) -> Path:
    """A dataset folder with two clips, three claims about each."""
    from datasets_scripts.build import main as build

    folder = tmp_path_factory.mktemp("annotate")
    clip = (SPACE / "training" / "harbour.mp4").read_bytes()
    (folder / "clips").mkdir()
    (folder / "clips" / "harbour.mp4").write_bytes(clip)
    # A free box at the end of the file makes it another clip.
    (folder / "clips" / "mirror.mp4").write_bytes(clip + b"\x00\x00\x00\x08free")
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "claim", "p", "topic", "story"])
        for name, claims in CLAIMS.items():
            writer.writerows([name, claim, 0.5, "Harbour", STORY] for claim in claims)
    options = "--name own --media-column file --hypothesis-column claim --probability-column p --topic-column topic"
    options += " --context-column story --modality audiovisual --split test --workers 1"
    table, clips = folder / "pairs.csv", folder / "clips"
    build(["own", *options.split(), "--table", str(table), "--media-root", str(clips), "--out", str(folder / "umui")])
    return folder / "umui"


@pytest.fixture(scope="session")
def urn_umui(tmp_path_factory) -> Path:
    """A dataset folder of all four modalities, two test premises each, three claims about each."""
    from datasets_scripts.build import main as build

    folder = tmp_path_factory.mktemp("urn") / "umui"
    sizes = "--train 1 --validation 1 --test 2 --hypotheses-per-premise 3 --workers 1"
    build(["urn", "--out", str(folder), *sizes.split()])
    return folder
