"""Decides when what frozen towers give may be kept, and what it depends on beside the clip."""

import inspect
import json
from hashlib import blake2b

import av
import soundfile
import soxr
import torch
import transformers
from peft import PeftModel
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from modeling_clue import (
    CLUEProcessor,
    backbone,
    media,
    media_container,
    media_frames,
    media_sound,
    modeling_clue,
    processing_clue,
)
from modeling_clue.backbone import TOWERS, is_part_of
from train.tower_cache import TowerCache
from train.trainer import CLUETrainer


# Of `to_dict`, what says where a processor came from and not what it does.
ORIGIN = ("auto_map", "processor_class")


def open_tower_cache(trainer: CLUETrainer, folder: str, gigabytes: float) -> TowerCache:
    """Opens the cache of what the towers give before it is projected; refuses it if this may change, or ranks would
    wait for each other."""
    if is_deepspeed_zero3_enabled() or trainer.is_fsdp_enabled:
        raise ValueError(
            "tower_cache does not go together with ZeRO-3 or FSDP: a process whose batch is in the cache passes the "
            "towers by, and the others would wait for it there. Use DDP or ZeRO-2, or leave the option out."
        )
    model = trainer.accelerator.unwrap_model(trainer.model)
    model = model.get_base_model() if isinstance(model, PeftModel) else model
    weights = {}
    for tower in TOWERS:
        projections = model.backbone.projections_of(model.model, tower)
        state = model.model.get_submodule(tower).state_dict(prefix=f"{tower}.", keep_vars=True)
        state = {name: weight for name, weight in state.items() if not is_part_of(name, projections)}
        if any(weight.requires_grad for weight in state.values()):
            raise ValueError(
                f"tower_cache needs frozen towers, but {tower} is trained: add `--freeze-towers true`, and with LoRA "
                "leave the towers out of lora_target_modules. Projections may be trained, with "
                "`--train-projections true`."
            )
        weights |= state
    processor = trainer.processing_class
    audio = model.config.audio_config
    if audio.dropout or audio.attention_dropout or audio.activation_dropout or processor.feature_extractor.dither:
        raise ValueError(
            "tower_cache needs towers that give the same every time: set the dropouts of the checkpoint's "
            "audio_config and the dither of its feature extractor to 0."
        )
    own = inspect.getmodule(type(processor))
    depends_on = {
        "weights": weights_digest(weights),
        "towers": [model.model.get_submodule(tower).config.to_dict() for tower in TOWERS],
        "processor": processor_parts(processor),
        "precision": [trainer.accelerator.mixed_precision, trainer.is_deepspeed_enabled, trainer.args.device.type],
        "code": [
            inspect.getsource(module)
            for module in (
                *(backbone, media, media_container, media_frames, media_sound, modeling_clue, processing_clue),
                own,
            )
        ],
        "versions": [library.__version__ for library in (av, soundfile, soxr, torch, transformers)],
    }
    fingerprint = blake2b(json.dumps(depends_on, sort_keys=True, default=str).encode()).hexdigest()
    config = model.config
    tokens = (config.audio_token_id, config.video_token_id, config.image_token_id)
    return TowerCache(folder, fingerprint, round(gigabytes * 1e9), *tokens)


def weights_digest(weights: dict[str, torch.Tensor]) -> str:
    """Digests weights: names, dtypes, shapes and values."""
    digest = blake2b()
    for name, tensor in weights.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def processor_parts(processor: CLUEProcessor) -> dict:
    """Returns the parts of a processor that decide how a clip enters the towers and which places it takes in a row."""
    makers = {"feature_extractor": processor.feature_extractor, "video_processor": processor.video_processor}
    return {
        **{
            name: {option: value for option, value in maker.to_dict().items() if option not in ORIGIN}
            for name, maker in makers.items()
        },
        "media": processor.media,
        "tokens": processor.tokenizer.convert_tokens_to_ids(list(processor.backbone.tokens.values())),
    }
