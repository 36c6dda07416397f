"""What is trained is what was asked for, in float32; what LoRA can't be put on is named."""

import pytest
import torch

from modeling_clue.backbone import TOWERS
from train.arguments import CLUETrainingArguments, DataArguments, ModelArguments
from train.sft import load_model
from train.trained import keep_trained_in_float32, trained_in


def load(checkpoint, variant="distribution", freeze_towers=None, train_projections=False, **options):
    """The model of a run."""
    towers = {"freeze_towers": freeze_towers, "train_projections": train_projections}
    data_args = DataArguments(dataset="umui", dataset_configs=["a"], variant=variant, **towers)
    return load_model(data_args, ModelArguments(model_name_or_path=str(checkpoint), **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora_target_modules": ["q_proj", "nowhere"]}, "^lora_target_modules names nowhere, and the model has no"),
        ({"lora_target_modules": ["fc1"]}, "^lora_target_modules names fc1, which is only in what"),
        ({"lora_target_modules": ["lm_head"]}, "^lora_target_modules names lm_head, which is only in what"),
        ({"lora_target_modules": ["confidence_head"]}, "^lora_target_modules names confidence_head, which is only"),
        ({"lora_modules_to_save": ["visual"]}, "^lora_modules_to_save names visual, which is only in what"),
        ({"lora_modules_to_save": ["heads"]}, "^lora_modules_to_save names heads, and the model has no"),
        ({"lora_target_modules": [r".*\.nowhere"]}, "^LoRA can't be put on this model"),
        ({"freeze_towers": False}, "^freeze_towers=false has no effect on this LoRA"),
    ],
    ids=str,
)
def test_what_lora_can_not_be_put_on_is_named(options, message, tiny_checkpoint):
    """Layers that there are not, frozen ones, those trained whole, and towers that were to be trained."""
    with pytest.raises(ValueError, match=message):
        load(tiny_checkpoint, use_peft=True, **options)


@pytest.mark.parametrize("variant", ["distribution", "text"])
def test_adapters_reach_towers_that_are_not_frozen(variant, tiny_checkpoint):
    """And no weight of a tower itself; the head alone is trained whole."""
    model = load(tiny_checkpoint, variant, False, use_peft=True, lora_target_modules=["q_proj", "v_proj"])
    assert trained_in(model, TOWERS)
    whole = [name for name, weight in model.named_parameters() if weight.requires_grad and "lora_" not in name]
    assert len(whole) == (variant == "distribution")


@pytest.mark.parametrize("variant", ["distribution", "text"])
@pytest.mark.parametrize("targets", [None, ["all-linear"], [r".*proj.*"]], ids=str)
def test_lora_trains_projections_of_frozen_towers_whole(variant, targets, tiny_checkpoint):
    """And no other weight of a tower, however its layers are named; what stays frozen is none of the projections."""
    model = load(tiny_checkpoint, variant, train_projections=True, use_peft=True, lora_target_modules=targets)
    whole = {"model.audio_tower.proj", "model.visual.merger"}
    assert {*model.active_peft_config.modules_to_save} - {"confidence_head"} == {
        name.removeprefix("model.") for name in whole
    }
    trained = [name.removeprefix("base_model.model.") for name in trained_in(model, TOWERS)]
    assert trained and not [name for name in trained if not name.startswith((*whole,)) or "lora_" in name]


@pytest.mark.parametrize(
    "lora", [{}, {"use_peft": True}, {"use_peft": True, "lora_modules_to_save": ["layers.0.mlp"]}], ids=str
)
def test_what_is_trained_is_held_in_float32(lora, tiny_checkpoint, tmp_path):
    """Of a model in bfloat16, all or the adapter; what is trained whole beside it goes with mixed precision alone."""
    model = load(tiny_checkpoint, dtype="bfloat16", **lora)
    if "lora_modules_to_save" in lora:
        with pytest.raises(ValueError, match="^dtype=bfloat16 without mixed precision .* add `--bf16 true`"):
            keep_trained_in_float32(model, CLUETrainingArguments(output_dir=str(tmp_path), use_cpu=True))
    keep_trained_in_float32(model, CLUETrainingArguments(output_dir=str(tmp_path), use_cpu=True, bf16=bool(lora)))
    assert {weight.dtype for weight in model.parameters() if weight.requires_grad} == {torch.float32}
    assert model.get_input_embeddings().weight.dtype == (torch.bfloat16 if lora else torch.float32)


def test_sigma_is_refused_where_the_checkpoint_has_no_distribution(tiny_checkpoint, tmp_path):
    """Its own target counts where none is given."""
    model = load(tiny_checkpoint)
    model.config.target = "mse"
    model.save_pretrained(tmp_path / "mse")
    arguments = DataArguments(dataset="umui", dataset_configs=["a"], sigma=0.1)
    with pytest.raises(ValueError, match="^sigma has no effect on .*mse', whose target is mse"):
        load_model(arguments, ModelArguments(model_name_or_path=str(tmp_path / "mse")))
