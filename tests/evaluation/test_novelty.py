"""Fitting novelty: regions against closed forms, shares over many draws, and what the command saves."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.spatial.distance import mahalanobis
from transformers import AutoModel

from datasets_scripts.build import main as build
from evaluation import novelty, posthoc
from evaluation.data import load_rows, premise_keys
from evaluation.predictors.checkpoints import CLUEPredictor
from modeling_clue.novelty import NOVELTY_FILE, SIDES, distances


def draw(premises: int, hypotheses: int, seed: int, size: int = 6, scale: float = 1.0) -> tuple[novelty.Inputs, list]:
    """Rows about premises, all means Gaussian, those of a premise's rows the same."""
    rng = torch.Generator().manual_seed(seed)
    spread = torch.linspace(0.2, 2, size) * scale
    premise = (torch.randn(premises, size, generator=rng) * spread).repeat_interleave(hypotheses, dim=0)
    hypothesis = torch.randn(premises * hypotheses, size, generator=rng) * spread + 3
    return novelty.Inputs(premise, hypothesis), [str(number // hypotheses) for number in range(len(premise))]


@pytest.fixture(scope="module")
def urns(tmp_path_factory):
    """Texts and sounds of the urn world, enough to fit to."""
    folder = tmp_path_factory.mktemp("urns") / "umui"
    sizes = "--modalities text audio --train 2 --text-train 2 --validation 24 --test 4 --hypotheses-per-premise 3"
    build(["urn", "--output-dir", str(folder), *sizes.split(), "--workers", "1"])
    return folder


def test_a_region_is_the_covariance(monkeypatch):
    """With all directions but one and next to no ridge, distances are Mahalanobis' by the sample covariance."""
    monkeypatch.setattr(novelty, "RIDGE", 1e-9)
    monkeypatch.setattr(novelty, "LEAST", 0.0)
    points = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.arange(1.0, 6.0))
    found = distances(points[:20], novelty.fit_region(points))
    mean, inverse = points.mean(0).numpy(), np.linalg.inv(np.cov(points.double().numpy().T))
    np.testing.assert_allclose(found, [mahalanobis(one, mean, inverse) for one in points[:20].numpy()], rtol=1e-4)


def test_points_that_are_all_the_same_have_a_region():
    """Nothing differs: no distance is divided by 0, and what is elsewhere is far."""
    region = novelty.fit_region(torch.ones(30, 4))
    assert distances(torch.ones(1, 4), region).item() < 1
    assert distances(torch.tensor([[1.0, 1.0, 1.0, 2.0]]), region).item() > 100


def test_of_new_premises_no_more_are_novel_than_asked_for():
    """Over 30 splits of 100 premises with 3 hypotheses, 0.1 asked for: the share of new premises any row of which is
    novel is 0.1 on average at most, up to what the draws allow, and not much less; a larger spread is found."""
    share, found, missed = 0.1, [], []
    for seed in range(30):
        inputs, keys = draw(100, 3, seed)
        fitted = novelty.fit_novelty(inputs, keys, share)
        assert fitted.part["share"] == share
        fresh, _ = draw(200, 3, 1000 + seed)
        found.append((fitted.of(fresh) > 0).reshape(200, 3).any(dim=1).float().mean().item())
        far, _ = draw(200, 3, 2000 + seed, scale=6)
        missed.append((fitted.of(far) == 0).float().mean().item())
    assert 0.5 * share < np.mean(found) < 1.15 * share
    assert np.mean(missed) < 0.01


@pytest.mark.parametrize("side", SIDES)
def test_of_one_side_the_other_may_be_anything(side):
    """All of the share is for that side, whose region is what it is beside the other's; the other tells nothing."""
    share, found = 0.1, []
    for seed in range(30):
        inputs, keys = draw(100, 3, seed)
        fitted = novelty.fit_novelty(inputs, keys, share, sides=[side])
        assert fitted.part.keys() == {side, "share"} and fitted.part["share"] == share
        both = novelty.fit_novelty(inputs, keys, share)
        assert all(torch.equal(tensor, both.tensors[name]) for name, tensor in fitted.tensors.items())
        fresh, _ = draw(200, 3, 1000 + seed)
        far, _ = draw(200, 3, 2000 + seed, scale=100)
        known = fitted.of(fresh)
        found.append((known > 0).reshape(200, 3).any(dim=1).float().mean().item())
        other = {name: getattr(fresh if name == side else far, name) for name in SIDES}
        assert torch.equal(fitted.of(novelty.Inputs(**other)), known)
    assert 0.5 * share < np.mean(found) < 1.15 * share
    few, keys = draw(40, 2, 0)
    assert novelty.fit_novelty(few, keys, 0.001, sides=[side]).part["share"] == pytest.approx(1 / 41)


def test_few_premises_have_the_furthest_one_for_a_limit():
    """Less than their number can tell is not promised; too few are refused; a premise counts once, however many rows
    it has."""
    inputs, keys = draw(40, 2, 0)
    fitted = novelty.fit_novelty(inputs, keys, 0.001)
    assert fitted.part["share"] == pytest.approx(2 / 41)
    twice = novelty.Inputs(inputs.premise.repeat(2, 1), inputs.hypothesis.repeat(2, 1))
    again = novelty.fit_novelty(twice, keys * 2, 0.001)
    assert again.part["premise"] == pytest.approx(fitted.part["premise"], rel=1e-5)
    with pytest.raises(ValueError, match="takes 20 premises"):
        novelty.fit_novelty(inputs[np.arange(38)], keys[:38], 0.001)


def test_the_command_saves_what_it_fits(tiny_checkpoint, urns, tmp_path, capsys):
    """Novelty of new rows through the model, and the table's numbers, are those of the fit; another modality's
    tensors stay, those of a part that is gone go, and the checkpoint itself is as it was."""
    before = {file.name: file.read_bytes() for file in tiny_checkpoint.iterdir() if file.is_file()}

    def command(model, config, *more):
        options = ["--model", str(model), "--dataset", str(urns), "--dataset-config", config]
        return posthoc.main([*options, "--compare-split", "test", *more])

    fit = ("--method", "novelty", "conformal", "--coverage", "0.5", "--by-modality")
    out = command(tiny_checkpoint, "urn-text", *fit, "--output-dir", str(tmp_path / "out"))
    said = capsys.readouterr().out
    assert {file.name: file.read_bytes() for file in tiny_checkpoint.iterdir() if file.is_file()} == before
    rows = load_rows(str(urns), "urn-text", "test")
    keys = premise_keys(rows)
    logits, inputs = posthoc.logits_and_inputs(tiny_checkpoint, rows, keys, 3, "text", True)
    model = AutoModel.from_pretrained(out, trust_remote_code=True).eval()
    assert model.config.calibration["text"].keys() == {"conformal", "novelty", "fitted"}
    fitted = novelty.FittedNovelty(model.config.calibration["text"]["novelty"], model.novelty_tensors, "text")
    values = fitted.of(inputs)
    predictor = CLUEPredictor(out)
    answered = predictor.answer(predictor.prepare(list(rows)))
    for one in predictor.prepare(list(rows)):
        with torch.no_grad():
            output = predictor.model(**one.inputs)
        torch.testing.assert_close(output.novelty, values[one.rows], atol=1e-4, rtol=0)
        assert [answered[row].probability for row in one.rows] == pytest.approx(output.probability.tolist())
    parts = model.config.calibration["text"]
    assert posthoc.comparison(logits, rows["probability"][:], parts, values) in said
    assert f"above 0 for {float((values > 0).float().mean()):.2%} of the answers" in said

    assert command(out, "urn-audio", *fit) == out
    scopes = {name.split(".")[0] for name in load_file(out / NOVELTY_FILE)}
    assert scopes == {"text", "audio"}
    command(out, "urn-text", *fit, "--novel-sides", "premise")
    names = {tuple(name.split(".")[:2]) for name in load_file(out / NOVELTY_FILE)}
    assert names == {("text", "premise"), ("audio", "premise"), ("audio", "hypothesis")}
    model = AutoModel.from_pretrained(out)
    part = model.config.calibration["text"]["novelty"]
    assert part["premise"] == parts["novelty"]["premise"] and "hypothesis" not in part
    command(out, "urn-text", "--method", "isotonic", "--by-modality")
    assert {name.split(".")[0] for name in load_file(out / NOVELTY_FILE)} == {"audio"}
    command(out, "urn-audio", "--method", "isotonic", "--by-modality")
    assert not (out / NOVELTY_FILE).exists()
    assert json.loads((out / "config.json").read_text())["calibration"].keys() == {"text", "audio"}


def test_for_all_premises_and_beside_an_adapter(tiny_checkpoint, urns, tmp_path):
    """Without --by-modality it is for all; `--adapter` has the tensors too."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    out = posthoc.main(
        [
            "--model",
            str(tiny_checkpoint),
            "--dataset",
            str(urns),
            "--dataset-config",
            "urn-text",
            "--method",
            "novelty",
        ]
        + ["--adapter", str(tmp_path / "adapter"), "--output-dir", str(tmp_path / "out")]
    )
    saved, beside = (load_file(folder / NOVELTY_FILE) for folder in (out, tmp_path / "adapter"))
    assert {name.split(".")[0] for name in saved} == {"all"} and saved.keys() == beside.keys()
    assert AutoModel.from_pretrained(out).novelty_tensors.keys() == saved.keys()


def test_code_that_does_not_know_it_is_refused(tiny_checkpoint, urns, tmp_path):
    """A checkpoint whose own code is older would not load with it."""
    (tmp_path / "modeling_clue.py").write_text("")
    (tmp_path / "config.json").write_text("{}")
    options = ["--dataset", str(urns), "--dataset-config", "urn-text", "--method", "novelty"]
    with pytest.raises(ValueError, match="older than novelty"):
        posthoc.main(["--model", str(tmp_path), *options])
    with pytest.raises(SystemExit):
        posthoc.main(["--model", str(tmp_path), *options, "--novel-share", "0"])
