"""Novelty: distances against scipy's, means by hand, every way of asking, and a checkpoint saved, loaded, refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.spatial.distance import mahalanobis
from transformers import AutoModel, AutoProcessor, pipeline

from modeling_clue.adapter import CALIBRATION as ADAPTER_FILE
from modeling_clue.auto import BACKBONES
from modeling_clue.conversion import apply_adapter, to_thinker
from modeling_clue.novelty import (
    FIELDS,
    NOVELTY_FILE,
    SIDES,
    distances,
    flatten_distribution,
    input_means,
    widen_interval,
    withdraw_probability,
    without_novelty,
)
from modeling_clue.posthoc import check_calibration
from tests.train.test_join import write_adapter


HYPOTHESES = ["The ball is red.", "It is neither red nor blue.", "No."]
MANY = [f"Ball {number} is red." for number in range(20)]  # more than go through the model together
CONFORMAL = {"coverage": 0.9, "quantile": 0.1}


def make_region(mean: torch.Tensor, seed: int, directions: int = 5) -> dict[str, torch.Tensor]:
    """A region about a mean, with random directions and variances."""
    rng = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(len(mean), len(mean), generator=rng))
    variances = 0.5 + torch.rand(directions + 1, generator=rng)
    return dict(zip(FIELDS, (mean, basis[:directions].contiguous(), variances), strict=True))


def by_hand(means: np.ndarray, region: dict[str, torch.Tensor]) -> np.ndarray:
    """Mahalanobis' distances by scipy, with the whole inverse of the covariance."""
    mean, directions, variances = (region[name].double().numpy() for name in FIELDS)
    rest = np.eye(len(mean)) - directions.T @ directions
    inverse = directions.T @ np.diag(1 / variances[:-1]) @ directions + rest / variances[-1]
    return np.array([mahalanobis(one, mean, inverse) for one in means])


def smooth(ratio: np.ndarray) -> np.ndarray:
    """Novelty by the larger of the distances in units of their limits."""
    beyond = (ratio - 1).clip(0, 1)
    return 3 * beyond**2 - 2 * beyond**3


@pytest.fixture(scope="module")
def regions(model, processor, premises):
    """Tensors and calibration, by modality and with none for videos, by which of each modality's premise and
    hypotheses some are a little novel, on random weights; of videos with their sound the premise alone tells."""
    tensors, calibration = {}, {}
    for number, modality in enumerate(("text", "audio", "audiovisual")):
        inputs = processor([premises[modality]], [HYPOTHESES])
        with torch.no_grad():
            embeds = model(**inputs, output_hidden_states=True).hidden_states[0]
        means = input_means(embeds, inputs["branch_ids"])
        part = {}
        for side, points in zip(SIDES, means, strict=True):
            if (modality, side) == ("audiovisual", "hypothesis"):
                continue
            region = make_region(points.mean(dim=0) + 0.05, 2 * number + SIDES.index(side))
            part[side] = float(distances(points, region).median()) / 1.4
            tensors |= {f"{modality}.{side}.{name}": tensor for name, tensor in region.items()}
        calibration[modality] = {"novelty": part, "conformal": CONFORMAL}
    calibration["text"]["temperature"] = 2.0
    return tensors, calibration


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint, regions, tmp_path_factory):
    """A checkpoint with novelty, saved by the model itself."""
    out = tmp_path_factory.mktemp("novelty") / "checkpoint"
    found = AutoModel.from_pretrained(tiny_checkpoint).eval()
    found.novelty_tensors, found.config.calibration = regions
    clue = pipeline("uncertain-inference", model=found, processor=pipeline_processor(tiny_checkpoint))
    clue.save_pretrained(out)
    return out


def pipeline_processor(folder):
    """The processor of a checkpoint."""
    return AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def clue(checkpoint):
    """The pipeline of a checkpoint with novelty, with its own code."""
    return pipeline("uncertain-inference", model=str(checkpoint), trust_remote_code=True, device="cpu")


def test_distances_are_mahalanobis():
    """With K directions and one variance for the others they are those by the whole inverse covariance, in scipy."""
    points = torch.randn(7, 12, generator=torch.Generator().manual_seed(0))
    region = make_region(points.mean(dim=0), 1)
    np.testing.assert_allclose(distances(points, region).numpy(), by_hand(points.numpy(), region), rtol=1e-5)
    assert distances(region["mean"][None], region).item() == 0


def test_means_are_those_of_a_loop():
    """Of each premise and each hypothesis, whatever the padding; a row without a premise has zeros."""
    embeds = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(0))
    branches = torch.tensor([[0, 0, 1, 1, 2, -1, -1, -1, -1], [0, 1, 2, 2, 2, 3, 3, 3, 3], [1, 1, 1, 2, *[-1] * 5]])
    premises, hypotheses = input_means(embeds, branches)
    expected = [embeds[row, branches[row] == k].mean(0) for row, k in [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]]
    torch.testing.assert_close(hypotheses[:5], torch.stack(expected))
    torch.testing.assert_close(premises[:2], torch.stack([embeds[0, :2].mean(0), embeds[1, 0]]))
    assert len(hypotheses) == 7 and not premises[2].any()


def test_answers_are_given_up_by_the_share_of_novelty():
    """At 0 every bit stays, at 1 nothing is left; between, the mean stays the probability, and an interval holds the
    one that it was."""
    rng = torch.Generator().manual_seed(0)
    distribution = torch.rand(6, 11, generator=rng).softmax(-1)
    probability = torch.rand(6, generator=rng)
    interval = torch.rand(6, 2, generator=rng).sort(dim=-1).values
    none, all_ = torch.zeros(6), torch.ones(6)
    assert torch.equal(flatten_distribution(distribution, none), distribution)
    assert torch.equal(withdraw_probability(probability, none), probability)
    assert torch.equal(widen_interval(interval, none), interval)
    torch.testing.assert_close(flatten_distribution(distribution, all_), torch.full((6, 11), 1 / 11))
    assert withdraw_probability(probability, all_).tolist() == [0.5] * 6
    assert widen_interval(interval, all_).tolist() == [[0, 1]] * 6
    share, bins = torch.rand(6, generator=rng), torch.linspace(0, 1, 11)
    mixed = flatten_distribution(distribution, share)
    torch.testing.assert_close(mixed.sum(-1), torch.ones(6))
    torch.testing.assert_close(mixed @ bins, withdraw_probability(distribution @ bins, share))
    wider = widen_interval(interval, share)
    assert bool((wider[:, 0] <= interval[:, 0]).all() and (wider[:, 1] >= interval[:, 1]).all())


@pytest.mark.parametrize("modality", ["text", "audio", "video", "audiovisual"])
def test_every_way_of_asking_gives_the_novelty_by_hand(clue, premises, regions, modality):
    """Alone, in a batch with others, with more hypotheses than go together, and about a premise that was read: by
    scipy from the model's first hidden states; the answers are mixed by it, and raw ones are as they were."""
    tensors, calibration = regions
    single = {"premise": premises[modality], "hypotheses": HYPOTHESES}
    if isinstance(premises[modality], dict):
        single = {**premises[modality], "hypotheses": HYPOTHESES}
    answers, raw = clue(dict(single)), clue(dict(single), calibrated=False)
    assert all("novelty" not in answer for answer in raw)
    if modality == "video":
        assert all("novelty" not in answer for answer in answers) and answers == raw
        return
    inputs = clue.processor([premises[modality]], [HYPOTHESES])
    with torch.no_grad():
        output = clue.model(**inputs, output_hidden_states=True, calibrated=False)
        told = clue.model(**inputs)
    embeds, branches = output.hidden_states[0][0].double().numpy(), inputs["branch_ids"][0].numpy()
    part = calibration[modality]["novelty"]
    ratios = []
    for side, numbers in (("premise", [0] * 3), ("hypothesis", [1, 2, 3])):
        if side not in part:
            continue
        region = {name: tensors[f"{modality}.{side}.{name}"] for name in FIELDS}
        means = np.stack([embeds[branches == number].mean(axis=0) for number in numbers])
        ratios.append(by_hand(means, region) / part[side])
    expected = smooth(np.max(ratios, axis=0))
    assert 0 < expected.max() and expected.min() < 1
    np.testing.assert_allclose(told.novelty.numpy(), expected, atol=1e-4)
    assert torch.equal(told.logits, output.logits)

    plain = (output.logits / calibration[modality].get("temperature", 1)).softmax(-1).double().numpy()
    mixed = (1 - expected[:, None]) * plain + expected[:, None] / plain.shape[1]
    bins = np.linspace(0, 1, plain.shape[1])
    deviation = np.sqrt((plain * (bins - (plain @ bins)[:, None]) ** 2).sum(axis=1)) + 0.5 / 99
    for place, answer in enumerate(answers):
        assert answer["novelty"] == pytest.approx(expected[place], abs=1e-4)
        np.testing.assert_allclose(answer["distribution"], mixed[place], atol=1e-5)
        assert answer["probability"] == pytest.approx((mixed @ bins)[place], abs=1e-4)
        reach, middle = CONFORMAL["quantile"] * deviation[place], (plain @ bins)[place]
        kept = (1 - expected[place]) * np.clip([middle - reach, middle + reach], 0, 1)
        np.testing.assert_allclose(answer["conformal_interval"], kept + [0, expected[place]], atol=1e-4)

    others = [{"text": "An urn.", "hypotheses": MANY[:2]}, dict(single), {"text": "Balls: red.", "hypotheses": MANY}]
    state = clue.read({name: value for name, value in single.items() if name != "hypotheses"})
    assert state.select([0]).inputs is not None and state.to(dtype=torch.float32).inputs.dtype == torch.float32
    apart = {**single, "hypotheses": [*HYPOTHESES, *MANY]}
    for found in (
        clue(others, batch_size=3)[1],
        clue(state, hypotheses=HYPOTHESES),
        clue(apart)[:3],
        clue(state, hypotheses=[*MANY, *HYPOTHESES])[-3:],
    ):
        for one, answer in zip(found, answers, strict=True):
            assert one["novelty"] == pytest.approx(answer["novelty"], abs=1e-4)
            assert one["probability"] == pytest.approx(answer["probability"], abs=1e-4)


@pytest.mark.parametrize("modality", ["text", "audio", "audiovisual"])
def test_a_timeline_ends_with_the_answer_and_begins_with_that_about_the_beginning(clue, premises, clips, modality):
    """The last novelty is that of a call; of a text the first is that of its first sentence."""
    premise = premises[modality] if isinstance(premises[modality], dict) else {"premise": premises[modality]}
    if modality == "text":
        premise = {"text": "An urn holds 3 red balls. The lid is blue, and heavy."}
    curves, answers = clue.timeline(premise, HYPOTHESES), clue({**premise, "hypotheses": HYPOTHESES})
    for curve, answer in zip(curves, answers, strict=True):
        assert len(curve["novelty"]) == len(curve["times"])
        assert curve["novelty"][-1] == pytest.approx(answer["novelty"], abs=1e-4)
        assert curve["probability"][-1] == pytest.approx(answer["probability"], abs=1e-4)
    if modality == "text":
        first = clue({"text": "An urn holds 3 red balls.", "hypotheses": HYPOTHESES})
        assert curves[0]["novelty"][0] == pytest.approx(first[0]["novelty"], abs=1e-4)
    assert "novelty" not in clue.timeline(premise, HYPOTHESES, calibrated=False)[0]


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@torch.no_grad()
def test_hidden_states_begin_with_the_inputs(model, processor, premises):
    """What novelty is fitted to is what the model is given, for each backbone: the first hidden states."""
    inputs = processor(list(premises.values()), [HYPOTHESES] * len(premises))
    *_, given = model._encode(**{name: inputs[name] for name in inputs if name != "labels"})
    assert torch.equal(model(**inputs, output_hidden_states=True).hidden_states[0], given)


def test_none_that_is_novel_is_acted_on(regions, clue, monkeypatch):
    """However sure it is, and whatever the threshold."""
    _, calibration = regions
    limits = calibration["text"]["novelty"]
    # The premise is known, and about half of the hypotheses.
    limits = {"premise": 2 * limits["premise"], "hypothesis": 1.4 * limits["hypothesis"]}
    part = {"threshold": 0.5, "error_rate": 0.1, "confidence": 0.9, "error": "side"}
    changed = {**calibration, "text": {"novelty": limits, "automation": part}}
    monkeypatch.setattr(clue.model.config, "calibration", changed)
    answers = clue({"text": "An urn holds 3 red balls.", "hypotheses": [*HYPOTHESES, *MANY]}, act=True)
    assert [answer["act"] for answer in answers] == [answer["novelty"] == 0 for answer in answers]
    assert {answer["act"] for answer in answers} == {True, False}


def test_it_is_saved_loaded_and_dropped_with_the_calibration(checkpoint, regions, tmp_path):
    """A stranger gets the same tensors; training drops them; a copy saved then has none, and a file without a part is
    left alone."""
    tensors, calibration = regions
    loaded = AutoModel.from_pretrained(checkpoint, trust_remote_code=True)
    assert loaded.config.calibration == calibration
    assert loaded.novelty_tensors.keys() == tensors.keys()
    assert all(torch.equal(loaded.novelty_tensors[name], tensor) for name, tensor in tensors.items())
    loaded.save_pretrained(tmp_path / "again")
    assert load_file(tmp_path / "again" / NOVELTY_FILE).keys() == tensors.keys()
    loaded.train()
    assert loaded.novelty_tensors is None
    loaded.save_pretrained(tmp_path / "trained")
    assert not (tmp_path / "trained" / NOVELTY_FILE).exists()


def test_what_does_not_fit_is_refused(checkpoint, regions, tmp_path):
    """A missing file, tensors of another model, missing ones, and numbers that are none; a model without tensors says
    what to do, and still gives raw answers."""
    tensors, _ = regions
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    name = "audio.premise.mean"
    for changed, message in (
        ({**tensors, name: torch.zeros(3)}, "fitted to another model"),
        ({key: value for key, value in tensors.items() if key != name}, f"lacks {name}"),
        ({**tensors, name: tensors[name] * torch.nan}, f"{name} in .* finite"),
        ({**tensors, "text.hypothesis.variances": -tensors["text.hypothesis.variances"]}, "must be positive"),
    ):
        save_file(changed, folder / NOVELTY_FILE)
        with pytest.raises(ValueError, match=message):
            AutoModel.from_pretrained(folder)
    (folder / NOVELTY_FILE).write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="can't be read"):
        AutoModel.from_pretrained(folder)
    (folder / NOVELTY_FILE).unlink()
    with pytest.raises(OSError, match=NOVELTY_FILE):
        AutoModel.from_pretrained(folder)
    clue = pipeline("uncertain-inference", model=str(checkpoint), trust_remote_code=True, device="cpu")
    clue.model.novelty_tensors = None
    question = {"text": "An urn holds 3 red balls.", "hypotheses": HYPOTHESES}
    with pytest.raises(ValueError, match=r"from_pretrained.*calibrated=False"):
        clue(dict(question))
    assert len(clue(dict(question), calibrated=False)) == 3


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"share": 1.0}, "needs premise, hypothesis or both"),
        ([1.0], "needs premise, hypothesis or both"),
        ({"premise": 0, "hypothesis": 1}, "limit of the premise"),
        ({"premise": 1, "hypothesis": float("nan")}, "limit of the hypothesis"),
        ({"premise": True, "hypothesis": 1}, "limit of the premise"),
    ],
)
def test_a_part_that_cannot_be_applied_is_refused(part, message):
    """Whether it is for all premises or for a modality, which is named."""
    with pytest.raises(ValueError, match=message):
        check_calibration({"novelty": part})
    with pytest.raises(ValueError, match=rf"(?=.*{message})(?=.*of audio)"):
        check_calibration({"audio": {"novelty": part}})


def test_without_it_only_what_does_not_need_it_is_left():
    """Automation, which was certified for what is not novel, goes with it; other parts and modalities stay."""
    part = {"premise": 1.0, "hypothesis": 1.0}
    assert without_novelty(None) is None
    assert without_novelty({"temperature": 2.0}) == {"temperature": 2.0}
    assert without_novelty({"novelty": part, "automation": {}, "fitted": {}}) is None
    assert without_novelty({"temperature": 2.0, "novelty": part}) == {"temperature": 2.0}
    mixed = {"text": {"novelty": part}, "audio": {"automation": {}}, "video": {"novelty": part, "conformal": {}}}
    assert without_novelty(mixed) == {"audio": {"automation": {}}, "video": {"conformal": {}}}


def test_conversions_keep_what_they_can(tiny_checkpoint, checkpoint, regions, tmp_path, capsys):
    """A Thinker, which can't tell, keeps the other parts; an adapter brings its own calibration, tensors included."""
    tensors, calibration = regions
    to_thinker(checkpoint, tmp_path / "thinker")
    assert "novel" in capsys.readouterr().out
    kept = json.loads((tmp_path / "thinker" / "config.json").read_text())["clue"]["calibration"]
    assert kept == without_novelty(calibration) and not (tmp_path / "thinker" / NOVELTY_FILE).exists()

    adapter = write_adapter(tiny_checkpoint, tmp_path / "adapter", 0, ["q_proj"], 2, 4, ["confidence_head"])
    apply_adapter(checkpoint, adapter, tmp_path / "dropped")
    dropped = AutoModel.from_pretrained(tmp_path / "dropped")
    assert dropped.config.calibration is None and not (tmp_path / "dropped" / NOVELTY_FILE).exists()
    (adapter / ADAPTER_FILE).write_text(json.dumps({"text": calibration["text"]}))
    save_file({name: tensor + 0 for name, tensor in tensors.items()}, adapter / NOVELTY_FILE)
    apply_adapter(checkpoint, adapter, tmp_path / "applied")
    applied = AutoModel.from_pretrained(tmp_path / "applied")
    assert applied.config.calibration == {"text": calibration["text"]}
    assert {name.split(".")[0] for name in load_file(tmp_path / "applied" / NOVELTY_FILE)} == {"text"}
