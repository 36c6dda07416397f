"""A small urn world in all four modalities, an evaluation on it, and a cache of each test's own."""

import datasets
import pytest

from datasets_scripts.build import main as build
from evaluation import run


@pytest.fixture(scope="session")
def urn_world(tmp_path_factory):
    """A dataset folder with 3 test premises of each modality, 4 hypotheses about each."""
    folder = tmp_path_factory.mktemp("data") / "umui"
    sizes = "--train 4 --validation 2 --test 3 --hypotheses-per-premise 4 --workers 1"
    build(["urn", "--output-dir", str(folder), *sizes.split()])
    return folder


@pytest.fixture(scope="session")
def text_evaluation(tiny_checkpoint, urn_world, tmp_path_factory):
    """The output folder of an evaluation of the tiny checkpoint on texts, which tests read."""
    folder = tmp_path_factory.mktemp("evaluation")
    given = {"--model": tiny_checkpoint, "--dataset": urn_world, "--dataset-config": "urn-text"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder / "cache"))
        run.main([str(part) for pair in (given | {"--output-dir": folder / "text"}).items() for part in pair])
    return folder / "text"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """`datasets` keeps its copies in the test's folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
