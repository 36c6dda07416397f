"""What was trained of the small model, in `checkpoints/`: small, safe, and every weight has a place in its base."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from modeling_clue import CLUEConfig, CLUEForConfidenceEstimation
from modeling_clue.adapter import CALIBRATION, merge_adapter
from modeling_clue.novelty import novelty_parts, read_novelty
from modeling_clue.posthoc import check_calibration
from train.small import EYE


FOLDER = Path(__file__).parents[2] / "checkpoints" / "clue-small"
# SmolLM2-135M's sizes, with the tokens that assembling adds, and Whisper tiny.en's.
LANGUAGE_MODEL = {
    **{"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9},
    **{"num_key_value_heads": 3, "vocab_size": 49_259, "tie_word_embeddings": False},
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e5, "mrope_section": [8, 12, 12]},
}
EAR = {
    **{"d_model": 384, "encoder_layers": 4, "encoder_attention_heads": 6, "encoder_ffn_dim": 1536},
    **{"num_mel_bins": 80, "n_window": 1500, "output_dim": 576},
}


@pytest.fixture(scope="module")
def base() -> CLUEForConfidenceEstimation:
    """The architecture of the base, with whatever is in memory for weights."""
    eye = json.loads((EYE / "config.json").read_text())["vision_config"] | {"out_hidden_size": 576}
    with torch.device("meta"):
        model = CLUEForConfidenceEstimation(
            CLUEConfig(text_config=LANGUAGE_MODEL, audio_config=EAR, vision_config=eye, num_bins=100)
        )
    return model.bfloat16().to_empty(device="cpu")


def test_every_weight_has_its_place(base):
    """Merged is a factor pair of each linear layer of the language model, the head, and both projections: none is new
    any more."""
    merged = set(merge_adapter(base, FOLDER, ""))
    linear = {
        f"{name}.weight"
        for name, layer in base.model.language_model.named_modules()
        if isinstance(layer, torch.nn.Linear)
    }
    assert {f"model.language_model.{name}" for name in linear} <= merged
    others = merged - {f"model.language_model.{name}" for name in linear}
    assert "confidence_head.weight" in others and not base.backbone.untrained(["audio_tower", "visual"], merged)
    assert all(
        name.startswith(("confidence_head.", "model.audio_tower.proj.", "model.visual.merger.")) for name in others
    )


def test_it_is_small_and_names_no_machine():
    """At most 20 megabytes, safetensors, and a base by its place in a clone."""
    files = [file for file in FOLDER.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 20_000_000
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".md"}
    config = json.loads((FOLDER / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "runs/small/init"
    with safe_open(FOLDER / "adapter_model.safetensors", framework="pt") as weights:
        assert all(weights.get_tensor(name).isfinite().all() for name in weights.keys())


def test_its_calibration_can_be_applied():
    """Of the language model's width, whole, and of the premise alone: any wording of a hypothesis is known."""
    calibration = json.loads((FOLDER / CALIBRATION).read_text())
    check_calibration(calibration)
    parts = novelty_parts(calibration)
    assert set(parts) == {"video", "audiovisual"}
    names = {tuple(name.split(".")[:2]) for name in read_novelty(FOLDER, calibration, LANGUAGE_MODEL["hidden_size"])}
    assert names == {(modality, "premise") for modality in parts}
