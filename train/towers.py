"""Decides when the outputs of frozen towers may be kept, and what they depend on beside the clip."""

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

from modeling_clue import CLUEProcessor, backbone, media, media_container, media_frames, media_sound, processing_clue
from modeling_clue.backbone import TOWERS
from train.tower_cache import TowerCache
from train.trainer import CLUETrainer


# Of `to_dict`, what says where a processor came from and not what it does.
ORIGIN = ("auto_map", "processor_class")


def open_tower_cache(trainer: CLUETrainer, folder: str, gigabytes: float) -> TowerCache:
    """Opens the cache of the towers' outputs; refuses it if these may change, or ranks would wait for each other."""
    if is_deepspeed_zero3_enabled() or trainer.is_fsdp_enabled:
        raise ValueError(
            "tower_cache does not go together with ZeRO-3 or FSDP: a process whose batch is in the cache passes the "
            "towers by, and the others would wait for it there. Use DDP or ZeRO-2, or leave the option out."
        )
    model = trainer.accelerator.unwrap_model(trainer.model)
    model = model.get_base_model() if isinstance(model, PeftModel) else model
    towers = {name: model.model.get_submodule(name) for name in TOWERS}
    for name, tower in towers.items():
        if any(parameter.requires_grad for parameter in tower.parameters()):
            raise ValueError(
                f"tower_cache needs frozen towers, but {name} is trained: add `--freeze-towers true`, and with LoRA "
                "leave the towers out of lora_target_modules."
            )
    processor = trainer.processing_class
    audio = model.config.audio_config
    if audio.dropout or audio.attention_dropout or audio.activation_dropout or processor.feature_extractor.dither:
        raise ValueError(
            "tower_cache needs towers that give the same every time: set the dropouts of the checkpoint's "
            "audio_config and the dither of its feature extractor to 0."
        )
    own = inspect.getmodule(type(processor))
    depends_on = {
        "weights": towers_digest(towers),
        "towers": [tower.config.to_dict() for tower in towers.values()],
        "processor": processor_parts(processor),
        "precision": [trainer.accelerator.mixed_precision, trainer.is_deepspeed_enabled, trainer.args.device.type],
        "code": [
            inspect.getsource(module)
            for module in (backbone, media, media_container, media_frames, media_sound, processing_clue, own)
        ],
        "versions": [library.__version__ for library in (av, soundfile, soxr, torch, transformers)],
    }
    fingerprint = blake2b(json.dumps(depends_on, sort_keys=True, default=str).encode()).hexdigest()
    tokens = (model.config.audio_token_id, model.config.video_token_id)
    return TowerCache(folder, fingerprint, round(gigabytes * 1e9), *tokens)


def towers_digest(towers: dict[str, torch.nn.Module]) -> str:
    """Digests the towers' weights: names, dtypes, shapes and values."""
    digest = blake2b()
    for tower_name, tower in towers.items():
        for name, tensor in tower.state_dict().items():
            digest.update(f"{tower_name}.{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
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
