"""Projections that start from words: the regression is scikit-learn's, and what it gives looks like embeddings."""

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import Ridge

from modeling_clue import CLUEForConfidenceEstimation, CLUEProcessor
from tests.train.conftest import TRAIN_PREMISES
from train.premises import PremiseDataset
from train.projections import main, start_projections


SOUNDS = ["urn-audio", "urn-audiovisual"]
LAYERS = {"audio_tower": "audio_tower.proj", "visual": "visual.merger.mlp.2"}


def load(checkpoint, dataset, configs):
    """Returns model, processor, and the train premises of each config."""
    model = CLUEForConfidenceEstimation.from_pretrained(checkpoint).eval()
    processor = CLUEProcessor.from_pretrained(checkpoint)
    return model, processor, [PremiseDataset.load(dataset, [config], "train", processor) for config in configs]


def steps_and_targets(model, processor, datasets, tower, layer):
    """Computes by whole forward passes what stands before a layer at each step, its target, and its weight."""
    embeddings = model.get_input_embeddings().weight.detach().double().numpy()
    inputs, targets, weights = [], [], []
    for dataset in datasets:
        clips = [item for item in map(dataset.__getitem__, range(len(dataset))) if item.premise.modality != "text"]
        tables = np.zeros((len(clips), len(embeddings)))
        for table, item in zip(tables, clips, strict=True):
            for text, probability in zip(item.hypotheses, item.probabilities, strict=True):
                tokens = processor.tokenizer(" " + text, add_special_tokens=False)["input_ids"]
                np.add.at(table, tokens, probability / len(tokens))
        if clips:
            tables /= tables.sum(axis=1, keepdims=True)
            tables = np.maximum(tables - tables.mean(axis=0), 0) ** 2
        for table, item in zip(tables, clips, strict=True):
            seen = []
            hook = layer.register_forward_pre_hook(lambda module, args, seen=seen: seen.append(args[0]))
            with torch.no_grad():
                model.encode(**processor.collate([item.premise], [item.hypotheses]))
            hook.remove()
            if not seen:
                continue
            target = np.average(embeddings, axis=0, weights=table)
            steps = seen[-1].double().numpy()
            inputs.append(steps)
            targets.append(np.tile(target, (len(steps), 1)))
            weights.append(np.full(len(steps), 1 / len(steps) / len(clips)))
    return np.concatenate(inputs), np.concatenate(targets), np.concatenate(weights)


def test_the_regression_is_that_of_scikit_learn(tiny_checkpoint, dataset):
    """But for mean and scale, the new outputs are those of a ridge regression with clips and configs weighted alike;
    nothing but the last layer of each tower that was used changes."""
    model, processor, datasets = load(tiny_checkpoint, dataset, [*SOUNDS, "urn-text"])
    model.config.new_projections = ["visual"]
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    layers = {tower: model.model.get_submodule(name) for tower, name in LAYERS.items()}
    expected = {tower: steps_and_targets(model, processor, datasets, tower, layer) for tower, layer in layers.items()}
    audio, both = TRAIN_PREMISES["audio"], TRAIN_PREMISES["audiovisual"]
    assert start_projections(model, processor, datasets, ridge=0.3) == {"audio_tower": audio + both, "visual": both}
    assert not model.config.new_projections

    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {f"model.{name}.{kind}" for name in LAYERS.values() for kind in ("weight", "bias")}
    embeddings = model.get_input_embeddings().weight.detach().double()
    spread = (embeddings - embeddings.mean(0)).pow(2).sum(1).mean().item()
    for tower, (inputs, targets, weights) in expected.items():
        mean = np.average(inputs, axis=0, weights=weights)
        variance = np.average((inputs - mean) ** 2, axis=0, weights=weights).mean()
        ridge = Ridge(alpha=0.3 * variance * weights.sum(), solver="cholesky")
        wanted = ridge.fit(inputs, targets, sample_weight=weights).predict(inputs)
        wanted -= np.average(wanted, axis=0, weights=weights)
        wanted *= np.sqrt(spread / np.average((wanted**2).sum(1), weights=weights))
        found = layers[tower](torch.from_numpy(inputs).float()).detach().double().numpy()
        np.testing.assert_allclose(found - embeddings.mean(0).numpy(), wanted, atol=2e-3 * np.sqrt(spread))


def test_the_command_writes_a_whole_checkpoint(tiny_checkpoint, dataset, tmp_path, monkeypatch, capsys):
    """What it writes is loaded as any other; clips are drawn, and the vision tower stays as it was."""
    out = tmp_path / "started"
    words = ["--model", str(tiny_checkpoint), "--dataset", str(dataset), "--dataset-configs", "urn-audio"]
    monkeypatch.setattr(sys, "argv", ["projections", *words, "--max-premises", "3", "--output-dir", str(out)])
    main()
    assert f"Wrote {out}: audio_tower from 3 clips." in capsys.readouterr().out
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_checkpoint, out))
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        name for name in before if "audio_tower.proj." in name
    }
    CLUEForConfidenceEstimation.from_pretrained(out)


def test_clips_that_differ_in_nothing_are_refused(tiny_checkpoint, dataset):
    """Where hypotheses and probabilities of all clips are equal, or there are none, projections stay as they are."""
    model, processor, (clips,) = load(tiny_checkpoint, dataset, ["urn-audio"])
    _, _, (texts,) = load(tiny_checkpoint, dataset, ["urn-text"])
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    for premise in clips.premises:
        premise.hypotheses, premise.probabilities = ["A beep."], [0.5]
    with pytest.raises(ValueError, match="tell no clip from another"):
        start_projections(model, processor, [clips])
    with pytest.raises(ValueError, match="or there is none"):
        start_projections(model, processor, [texts])
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
