"""A small urn world in all four modalities, and a cache that no other dataset of its name shares."""

import datasets
import pytest

from datasets_scripts.build import main as build


@pytest.fixture(scope="session")
def urn_world(tmp_path_factory):
    """A dataset folder with 3 test premises of each modality, 4 hypotheses about each."""
    folder = tmp_path_factory.mktemp("data") / "umui"
    sizes = "--train 4 --validation 2 --test 3 --hypotheses-per-premise 4 --workers 1"
    build(["urn", "--output-dir", str(folder), *sizes.split()])
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """`datasets` keeps its copies in the test's folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
