"""Scores side by side: on a small world, distances of the inputs tell more than the spread does."""

import re
from pathlib import Path

from datasets_scripts.build import main as build
from evaluation.unknown import compare


CHECKPOINT = Path(__file__).parents[3] / "checkpoints" / "clue-urn-tiny"


def test_every_score_has_its_row(tmp_path, capsys):
    """Each between 0 and 1; the distance of the inputs' means is best on sounds, as the page says, and ahead of the
    spread by far."""
    sizes = "--modalities audio --train 1 --validation 60 --test 10 --hypotheses-per-premise 6 --workers 1"
    build(["urn", "--output-dir", str(tmp_path), *sizes.split()])
    capsys.readouterr()
    given = ["--model", str(CHECKPOINT), "--dataset", str(tmp_path), "--modalities", "audio", "--premises", "3"]
    compare.main(given)
    rows = re.findall(r"^\| (\S.*?) +\| +([\d.]+) \| +([\d.]+) \(audio \w+\)", capsys.readouterr().out, re.MULTILINE)
    found = {name: (float(mean), float(worst)) for name, mean, worst in rows}
    assert len(found) == 13 and all(0 <= worst <= mean <= 1 for mean, worst in found.values())
    assert found["Mahalanobis, means, inputs"][0] > 0.95 > found["spread of the answer"][0] + 0.1
