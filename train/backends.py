"""Refuses what does not go together with the backend of a run: DDP, DeepSpeed's ZeRO or FSDP."""

import os

from peft import PeftModel
from transformers import Trainer

from modeling_clue.backbone import QWEN2_5_OMNI, TOWERS
from train.answers import CLUEForTextAnswers
from train.trained import trained_in


MASKED_ATTENTION = ("eager", "sdpa")


def check_backend(trainer: Trainer) -> None:
    """Refuses at the start what would hang, train something else, or fail at the end of the run."""
    _check_attention(trainer)
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" and not trainer.is_fsdp_enabled:
        raise ValueError(
            "On the CPU accelerate leaves FSDP out without a word: take ddp_cpu.yaml, zero2.yaml or GPUs."
        )
    if trainer.is_deepspeed_enabled:
        plugin = trainer.accelerator.state.deepspeed_plugin
        if plugin.zero_stage == 3:
            _check_sharded(trainer, "ZeRO-3")
            _check_zero3(trainer, plugin.zero3_save_16bit_model)
        elif trainer.modality_batching == "mixed" and trained_in(trainer.model, TOWERS):
            raise ValueError(
                "modality_batching=mixed with trained towers fails under ZeRO-2: the processes would add up gradients "
                "of different weights. Take `--freeze-towers true` without `--train-projections`, or "
                "`--modality-batching batched`, or DDP."
            )
    elif trainer.is_fsdp_enabled:
        plugin = trainer.accelerator.state.fsdp_plugin
        _check_sharded(trainer, "FSDP")
        if plugin.fsdp_version != 2 or "FULL_STATE_DICT" not in str(plugin.state_dict_type):
            raise ValueError(
                "FSDP is tested with `fsdp_version: 2` and `fsdp_state_dict_type: FULL_STATE_DICT`, as in fsdp2.yaml: "
                "with sharded states, no model would be saved that can be loaded."
            )


def _check_attention(trainer: Trainer) -> None:
    """Refuses flash attention where branches need a mask, which it does not take."""
    attention = trainer.model.config.text_config._attn_implementation
    if attention in MASKED_ATTENTION or trainer.data_collator.processor.one_hypothesis_a_row:
        return
    parts = [(trainer.train_dataset, trainer.data_collator.max_hypotheses, "--max-hypotheses-per-premise 1")]
    if trainer.eval_dataset is not None:
        parts.append((trainer.eval_dataset, trainer.eval_collator.max_hypotheses, "--eval-strategy no"))
    for dataset, most, option in parts:
        if most != 1 and any(len(premise.hypotheses) > 1 for premise in dataset.premises):
            raise ValueError(
                f"attn_implementation={attention} takes no mask, and would let hypotheses of one premise see each "
                f"other: take `--attn-implementation sdpa`, or {option}."
            )


def _check_sharded(trainer: Trainer, name: str) -> None:
    """Refuses what hangs or can't be saved where each process holds a part of the parameters."""
    if trainer.modality_batching == "mixed":
        raise ValueError(
            f"modality_batching=mixed hangs under {name}: the processes would go through different towers at one "
            "step, and wait there for each other. Take `--modality-batching batched`, or DDP or ZeRO-2."
        )
    if isinstance(trainer.model, CLUEForTextAnswers):
        raise ValueError(f"variant=text is not supported under {name}: take DDP or ZeRO-2.")
    if isinstance(trainer.model, PeftModel):
        raise ValueError(
            f"LoRA is not supported under {name}: the merged model could not be saved. Take DDP or ZeRO-2; an adapter "
            "has little to shard."
        )
    if trainer.model.backbone != QWEN2_5_OMNI:
        raise ValueError(
            f"{trainer.model.backbone.name} hangs under {name}: short clips go through its audio tower one at a time, "
            "in some processes more often than in others. Take DDP or ZeRO-2."
        )
    if trainer.args.load_best_model_at_end:
        raise ValueError(
            f"load_best_model_at_end is not supported under {name}: leave it out, and take the best checkpoint's "
            "folder, which `trainer_state.json` names as best_model_checkpoint."
        )


def _check_zero3(trainer: Trainer, gathers: bool) -> None:
    """Refuses what ZeRO-3 would get wrong without a word."""
    if trained_in(trainer.model, TOWERS):
        raise ValueError(
            "ZeRO-3 can't train the towers: at a step without sound or frames, DeepSpeed would take the gradient that "
            "a tower had at an earlier step. Take `--freeze-towers true` without `--train-projections`, or ZeRO-2 or "
            "FSDP2."
        )
    if not gathers:
        raise ValueError("Set `zero3_save_16bit_model: true` as in zero3.yaml: without it no model would be saved.")
