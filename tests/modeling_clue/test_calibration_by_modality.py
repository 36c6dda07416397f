"""A calibration by modality: each answer goes through its premise's own, worked out here by numpy, or through none."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModel, pipeline

from modeling_clue import CLUEConfig
from modeling_clue.adapter import CALIBRATION as FILE
from modeling_clue.auto import BACKBONES
from modeling_clue.conversion import apply_adapter, to_clue, to_thinker
from modeling_clue.posthoc import check_calibration, for_modality
from tests.train.test_join import write_adapter


HYPOTHESES = ["The ball is red.", "It is neither red nor blue.", "No."]
BINS = np.linspace(0, 1, 100)
# Each modality has other parts, and videos have none.
CALIBRATION = {
    "text": {"temperature": 2.5, "fitted": {"n": 3}},
    "audio": {
        "isotonic": {"x": [0.2, 0.5, 0.9], "y": [0.1, 0.7, 0.8]},
        "conformal": {"coverage": 0.8, "quantile": 0.125},
    },
    "audiovisual": {"temperature": 0.5, "conformal": {"coverage": 0.9, "quantile": 0.25}},
}
FOR_ALL = {"temperature": 2.5, "isotonic": {"x": [0.2, 0.9], "y": [0.1, 0.8]}, "fitted": {"n": 3}}


def calibrated(checkpoint, calibration, out):
    """Writes a copy of a checkpoint with a calibration."""
    shutil.copytree(checkpoint, out)
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, "calibration": calibration}))
    return out


def by_hand(logits: np.ndarray, parts: dict) -> dict[str, np.ndarray]:
    """What the parts make of the logits `(H, N)` of one premise, in float64."""
    scaled = logits / parts.get("temperature", 1.0)
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    distribution = powers / powers.sum(axis=1, keepdims=True)
    mean = probability = distribution @ BINS
    if "isotonic" in parts:
        probability = np.interp(mean, parts["isotonic"]["x"], parts["isotonic"]["y"])
    answers = {"distribution": distribution, "probability": probability}
    if "conformal" in parts:
        deviation = np.sqrt((distribution * (BINS - mean[:, None]) ** 2).sum(axis=1))
        reach = parts["conformal"]["quantile"] * (deviation + 0.5 / 99)
        answers["conformal_interval"] = np.stack([probability - reach, probability + reach], axis=1).clip(0, 1)
    return answers


@pytest.fixture
def mixed(premises, clips) -> list[tuple[str, dict]]:
    """Premises of all modalities and combinations of parts, each with the modality of its senses."""
    sound, text = {"audio": clips.sound}, {"text": premises["text"]}
    picture = {"image": np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)}
    return [
        ("audiovisual", premises["audiovisual"]),
        ("text", text),
        ("audio", sound),
        ("video", {"video": clips.silent}),
        ("audio", {"parts": [text, sound]}),
        ("video", {"parts": [text, picture]}),
        ("audiovisual", {"parts": [sound, picture]}),
        ("text", {"parts": [text, text]}),
    ]


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@torch.no_grad()
def test_each_row_of_a_batch_goes_through_its_own(model, processor, mixed, monkeypatch):
    """In any order, whatever the neighbours and the number of hypotheses, distribution and probability are those by
    hand; logits and losses stay, and without the calibration all is as it was, to the bit."""
    for order in (range(len(mixed)), [3, 7, 0, 5, 1, 2, 6, 4]):
        rows = [mixed[place] for place in order]
        counts = [1 + place % 3 for place in order]
        inputs = processor([premise for _, premise in rows], [HYPOTHESES[:count] for count in counts])
        assert inputs.modalities == [modality for modality, _ in rows]
        labels = torch.full((sum(counts),), 0.3)
        raw = model(**inputs, labels=labels)
        with monkeypatch.context() as patch:
            patch.setattr(model.config, "calibration", CALIBRATION)
            output, undone = model(**inputs, labels=labels), model(**inputs, calibrated=False)
        assert torch.equal(output.logits, raw.logits) and torch.equal(output.loss, raw.loss)
        assert torch.equal(undone.probability, raw.probability)
        assert torch.equal(undone.distribution, raw.distribution)
        start = 0
        for (modality, _), count in zip(rows, counts, strict=True):
            here = slice(start, start + count)
            expected = by_hand(raw.logits[here].double().numpy(), CALIBRATION.get(modality, {}))
            np.testing.assert_allclose(output.distribution[here], expected["distribution"], atol=1e-6)
            np.testing.assert_allclose(output.probability[here], expected["probability"], atol=1e-5)
            # Else a part that was left out might go unseen.
            apart = (output.probability - raw.probability)[here].abs()
            assert (apart.max() < 1e-6) == (modality == "video")
            start += count


def test_the_pipeline_answers_by_modality(tiny_checkpoint, mixed, monkeypatch):
    """Alone and in batches, each answer is that by hand, and has a conformal interval where its modality has one."""
    clue = pipeline("uncertain-inference", model=str(tiny_checkpoint), trust_remote_code=True, device="cpu")
    inputs = [{**premise, "hypotheses": HYPOTHESES} for _, premise in mixed]
    raw = clue(inputs, batch_size=3)
    monkeypatch.setattr(clue.model.config, "calibration", CALIBRATION)
    assert clue(inputs, batch_size=3, calibrated=False) == raw
    for found in ([clue(one) for one in inputs], clue(inputs, batch_size=3)):
        for (modality, _), before, after in zip(mixed, raw, found, strict=True):
            parts = CALIBRATION.get(modality, {})
            distribution = np.array([answer["distribution"] for answer in before])
            expected = by_hand(np.log(distribution), parts)
            assert {answer["modality"] for answer in after} == {modality}
            assert {"conformal_interval" in answer for answer in after} == {"conformal" in parts}
            for name, values in expected.items():
                np.testing.assert_allclose([answer[name] for answer in after], values, atol=1e-5)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({"text": {"temperature": 1.6}, "temperature": 1.2}, "one for each of.*: temperature can't stand beside"),
        ({"text": {"temperature": 1.6}, "fitted": {}}, "fitted can't stand beside a modality, but within it"),
        ({"text": {"temperature": 1.6}, "sound": {"temperature": 1.2}}, "audio.*: sound can't stand beside"),
        ({"sound": {"temperature": 1.2}}, "one or more of.*; got sound"),
        ({"text": {}}, "`calibration` of text needs one or more of"),
        ({"text": 1.6}, "`calibration` of text needs one or more of.*got 1.6"),
        ({"text": None}, "`calibration` of text needs one or more of.*got None"),
        ({"text": {"text": {"temperature": 1.6}}}, "`calibration` of text needs one or more of.*got text"),
        ({"text": {"temperature": 1.6}, "audio": {"temperature": -1}}, "`calibration` of audio must be positive"),
        ({"video": {"isotonic": {"x": [0.1], "y": [0.1]}}}, "`calibration` of video needs two points"),
        ({"video": {"conformal": {"coverage": 0.9}}}, "conformal part of `calibration` of video needs 'coverage' and"),
        ([1.6], "got \\[1.6\\]"),
    ],
)
def test_what_cannot_be_applied_is_refused(calibration, message):
    """Both forms at once, names of nothing, and wrong parts, which are told with their modality."""
    with pytest.raises(ValueError, match=message):
        check_calibration(calibration)


@pytest.mark.parametrize("calibration", [CALIBRATION, FOR_ALL])
def test_both_forms_are_kept(tiny_checkpoint, calibration, tmp_path):
    """Saved and loaded, as a configuration and with a model, exported to a Thinker and back; training drops them."""
    CLUEConfig(calibration=calibration).save_pretrained(tmp_path / "config")
    assert CLUEConfig.from_pretrained(tmp_path / "config").calibration == calibration
    folder = calibrated(tiny_checkpoint, calibration, tmp_path / "calibrated")
    model = AutoModel.from_pretrained(folder)
    model.save_pretrained(tmp_path / "saved")
    back = to_clue(to_thinker(folder, tmp_path / "thinker"), tmp_path / "back")
    for place in (tmp_path / "saved", back):
        assert json.loads((place / "config.json").read_text())["calibration"] == calibration
        assert AutoModel.from_pretrained(place).config.calibration == calibration
    assert model.train().config.calibration is None


def test_one_for_all_is_that_of_each():
    """What is not by modality is everyone's; a modality that is not named has none."""
    assert for_modality(FOR_ALL, "video") is FOR_ALL and for_modality(None, "text") is None
    assert for_modality(CALIBRATION, "audio") == CALIBRATION["audio"] and for_modality(CALIBRATION, "video") is None


def test_an_adapter_brings_the_calibration_of_what_it_makes(tiny_checkpoint, tmp_path):
    """Its `calibration.json` takes the place of the base's, which is dropped in any case; a wrong one is told by its
    file, and nothing is written."""
    base = calibrated(tiny_checkpoint, FOR_ALL, tmp_path / "base")
    adapter = write_adapter(tiny_checkpoint, tmp_path / "adapter", 1, ["q_proj"], 2, 6, ["confidence_head"])
    without = apply_adapter(base, adapter, tmp_path / "without")
    (adapter / FILE).write_text(json.dumps(CALIBRATION))
    brought = apply_adapter(base, adapter, tmp_path / "with")
    assert AutoModel.from_pretrained(without).config.calibration is None
    assert AutoModel.from_pretrained(brought).config.calibration == CALIBRATION
    assert (without / "model.safetensors").read_bytes() == (brought / "model.safetensors").read_bytes()
    for text, message in (('{"text": 1.6}', "of text needs one or more of"), ("{", "Expecting property name")):
        (adapter / FILE).write_text(text)
        with pytest.raises(ValueError, match=f"adapter/calibration.json': .*{message}"):
            apply_adapter(base, adapter, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
