"""The checkpoint in `checkpoints/` is what a stranger would load: whole, small, current, and right."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from transformers import pipeline

from datasets_scripts.sources.urn import make_rows, sample_scene
from datasets_scripts.sources.urn_language import describe_urn, text_of
from datasets_scripts.sources.urn_media import write_sound, write_video


ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "checkpoints" / "clue-urn-tiny"
PREMISES = 6


@pytest.fixture(scope="module")
def clue():
    """The pipeline of the shipped checkpoint."""
    return pipeline("uncertain-inference", model=str(CHECKPOINT), trust_remote_code=True)


def test_remote_code_is_that_of_the_package():
    """The checkpoint's code and the package's are the same bytes."""
    copies = sorted(CHECKPOINT.glob("*.py"))
    assert {"modeling_clue.py", "processing_clue.py", "pipeline_clue.py"} <= {copy.name for copy in copies}
    for copy in copies:
        original = ROOT / "modeling_clue" / copy.name
        assert copy.read_bytes() == original.read_bytes(), f"cp {original} {copy}"


@pytest.mark.parametrize("name", ["clue-urn-tiny", "clue-small"])
def test_the_card_is_the_hubs(name):
    """The Hub's client reads the card, which says what kind of model it is and gives a licence."""
    card = ModelCard.load(CHECKPOINT.parent / name / "README.md")
    front = yaml.safe_load(card.content.split("---\n")[1])
    assert card.data.to_dict() == front
    assert {"uncertain-inference", "decision-model"} <= set(card.data.tags)
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "transformers")


def test_it_is_small_and_has_no_pickle():
    """Five megabytes at most, weights in safetensors, and nothing that could run code when it is read."""
    files = [file for file in CHECKPOINT.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 5_000_000
    assert {file.suffix for file in files} <= {".py", ".json", ".jinja", ".safetensors", ".md", ".png"}


@pytest.mark.parametrize("modality", ["text", "audio", "video", "audiovisual"])
def test_it_answers_urns_it_has_never_seen(clue, tmp_path, modality):
    """On new scenes its probabilities lie near those found by counting: a mean squared error of at most 0.02, where
    the constant mean has 0.1."""
    rng = np.random.default_rng(20261123)
    questions, truth = [], []
    for number in range(PREMISES):
        scene = sample_scene(modality, rng)
        if modality == "text":
            premise = text_of(describe_urn(list(scene.colours), rng))
        elif modality == "audio":
            premise = str(tmp_path / f"{number}.flac")
            write_sound(Path(premise), list(scene.pitches), rng)
        else:
            premise = str(tmp_path / f"{number}.mp4")
            write_video(Path(premise), list(scene.colours), scene.pitches and list(scene.pitches), rng)
        rows = make_rows(modality, str(number), scene, premise, 8, rng)
        key = {"text": "text", "audio": "audio"}.get(modality, "video")
        questions.append({key: premise, "modality": modality, "hypotheses": [row["hypothesis"] for row in rows]})
        truth += [row["probability"] for row in rows]
    answers = [answer["probability"] for answers in clue(questions, batch_size=3) for answer in answers]
    assert np.mean((np.array(answers) - np.array(truth)) ** 2) <= 0.02
    assert np.var(truth) > 0.05
