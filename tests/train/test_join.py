"""Adapters joined into one: it does to the first model what they did in turn."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from modeling_clue import CLUEForConfidenceEstimation
from modeling_clue.conversion import apply_adapter
from train.join import join_adapters


EXCLUDED = r"(.*\.)?(audio_tower|visual|lm_head)(\..*)?"


def write_adapter(checkpoint, out, seed, targets, rank, alpha, whole):
    """Writes an adapter with random factors on a checkpoint."""
    settings = {"target_modules": targets, "modules_to_save": whole, "exclude_modules": EXCLUDED}
    model = get_peft_model(
        CLUEForConfidenceEstimation.from_pretrained(checkpoint), LoraConfig(r=rank, lora_alpha=alpha, **settings)
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(out)
    return out


@pytest.fixture
def adapters(tiny_checkpoint, tmp_path):
    """Two adapters of other layers, ranks and scales, the second on the model with the first."""
    first = write_adapter(tiny_checkpoint, tmp_path / "first", 1, ["q_proj", "up_proj"], 2, 6, ["confidence_head"])
    once = apply_adapter(tiny_checkpoint, first, tmp_path / "once")
    second = write_adapter(
        once, tmp_path / "second", 2, ["q_proj", "v_proj"], 3, 3, ["confidence_head", "audio_tower.proj"]
    )
    return first, second, apply_adapter(once, second, tmp_path / "twice")


def test_the_joined_adapter_does_what_all_did_in_turn(tiny_checkpoint, adapters, tmp_path):
    """Merged by `conversion apply`, it gives the weights of the model that both were merged into one after the other;
    so it does with PEFT, which loads it without a warning about a weight."""
    first, second, twice = adapters
    joined = join_adapters([first, second], tmp_path / "joined")
    merged = apply_adapter(tiny_checkpoint, joined, tmp_path / "merged")
    plain, found, wanted = map(CLUEForConfidenceEstimation.from_pretrained, (tiny_checkpoint, merged, twice))
    by_peft = PeftModel.from_pretrained(plain, joined).merge_and_unload()
    for model in (found, by_peft):
        torch.testing.assert_close(model.state_dict(), wanted.state_dict(), rtol=0, atol=1e-5)
    assert json.loads((joined / "adapter_config.json").read_text())["r"] == 5


def test_a_shorter_dtype_is_that_of_all_weights(adapters, tmp_path):
    """Half the bytes, rounded."""
    joined = join_adapters(list(adapters[:2]), tmp_path / "joined", torch.bfloat16)
    assert {weight.dtype for weight in load_file(joined / "adapter_model.safetensors").values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("use_rslora", True, "no LoRA of the usual form .use_rslora"),
        ("rank_pattern", {"q_proj": 4}, "rank_pattern"),
        ("target_modules", ".*q_proj", "by a pattern"),
        ("exclude_modules", None, "leave out other layers"),
    ],
)
def test_other_forms_are_refused(adapters, tmp_path, field, value, message):
    """An adapter that is not a plain product is refused by its folder, and nothing is written."""
    first, second, _ = adapters
    path = second / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ValueError, match=f"second'.*{message}"):
        join_adapters([first, second], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
