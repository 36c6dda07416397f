# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Assembles a CLUE checkpoint from a language model, and from towers of other models or from scratch.

The Thinker of Qwen2.5-Omni is made of known parts. Its language model is Qwen2's, which is Llama's with biases on
queries, keys and values; a rotary position that is the same in all three sections is the usual one. Its audio tower is
Whisper's encoder, but for windows of attention and a projection; its vision tower is Qwen2.5-VL's. So weights of these
have a place each, and the result computes what they computed:

- on text, the logits of the language model;
- on sound, the encoder's states, averaged in pairs and then normalized by its last norm. The windows are Whisper's
  30 seconds. Whisper pads a clip with silence up to there, and attends to it; here a clip ends where it ends;
- on frames, the states of the vision tower; one of CLUE gets its frames as it did there.

What would compute anything else is refused by name. The projections into the language model are new, unless a vision
tower comes with one of its width: what they give has the size of the language model's embeddings, and no meaning, so
the model takes text alone until they have been trained (`new_projections` of the configuration).
"""

import re
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
    WhisperModel,
)
from transformers.integrations.gguf import read_gguf_metadata
from transformers.models.whisper.modeling_whisper import sinusoids
from transformers.utils import cached_file, is_accelerate_available, is_gguf_available

from .auto import CLUEConfig, CLUEForConfidenceEstimation, CLUEProcessor
from .backbone import QWEN2_5_OMNI
from .checkpoint_parts import (
    add_special_tokens,
    confidence_tokens,
    grow_vocabulary,
    initial_head,
    load_whole,
    new_folder,
    read,
    save_whole,
    shared_fields,
    single_token,
    with_head,
)
from .processing_clue import DEFAULT_MEDIA
from .prompt import DEFAULT_PROMPT
from .prompt_file import PromptFile, media_settings, read_prompt_file


# Model types with the layout of the Thinker's language model.
LANGUAGE_MODELS = ("llama", "qwen2")

# Fields of their configurations that the Thinker's has too, with the same meaning.
SAME_FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "attention_dropout",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
)

# Fields that say what the weights or other fields say too, or that no computation reads.
IDLE_FIELDS = (
    "tie_word_embeddings",
    "attention_bias",
    "mlp_bias",
    "use_sliding_window",
    "sliding_window",
    "max_window_layers",
    "pretraining_tp",
    "use_cache",
)

# What transformers reads of a GGUF file of these models; it says nothing of the rest. The head size has several names.
GGUF_FIELDS = (
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "rope.freq_base",
)
GGUF_HEAD_SIZES = ("rope.dimension_count", "attention.key_length", "attention.value_length")
GGUF_TENSORS = {
    "llama": r"(token_embd|output|output_norm|blk\.\d+\.(attn_(q|k|v|output|norm)|ffn_(gate|up|down|norm)))\.weight"
}
GGUF_TENSORS["qwen2"] = rf"{GGUF_TENSORS['llama']}|blk\.\d+\.attn_[qkv]\.bias"

# For a tokenizer without the chat format of the default prompt.
PLAIN_PROMPT = {
    "premise": "Premise: {premise}\n",
    "hypothesis": "Hypothesis: {hypothesis}\nIs the hypothesis true?\nAnswer:",
}
CHAT_TOKENS = ("<|im_start|>", "<|im_end|>")

# For a small model on a laptop: a minute of sound is 1,500 tokens; a second of video, one step of the grid at two
# frames a second, is at most 16, of 28 x 28 pixels each.
MEDIA = {
    **DEFAULT_MEDIA,
    "fps": 2.0,
    "max_frames": 64,
    "max_audio_seconds": 60.0,
    "min_pixels": 56 * 56,
    "max_pixels": 112 * 112,
}

# Positions kept free for a hypothesis.
HYPOTHESIS_POSITIONS = 256

# Whisper's rounding to half precision, in which its checkpoints are often stored, changes a position by less.
POSITION_TOLERANCE = 1e-3

# Fields of Whisper's configuration that the audio tower's has too; the others are its decoder's and of its training.
WHISPER_FIELDS = (
    "num_mel_bins",
    "max_source_positions",
    "encoder_layers",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "d_model",
    "activation_function",
    "scale_embedding",
    "dropout",
    "attention_dropout",
    "activation_dropout",
)

# Models with a vision tower of the Thinker's layout, by type of configuration.
VISION_MODELS = {
    "clue": CLUEForConfidenceEstimation,
    "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration,
    "qwen2_5_omni_thinker": Qwen2_5OmniThinkerForConditionalGeneration,
}

# What a vision tower of CLUE was trained with.
VIDEO_SETTINGS = ("fps", "max_frames", "min_frames", "sampling", "frame_size", "second_per_grid")

# The last modules of each tower, from its last norm on, and the projection among them.
ENDS = {"audio_tower": (("ln_post", "proj"), "proj"), "visual": (("merger",), "merger.mlp.2")}

# What the processor of an exported Thinker pads a clip to, and cuts it at: as with Qwen2.5-Omni.
CHUNK_SECONDS = 300

# Heads of towers from scratch.
TOWER_HEAD_SIZE = 64


@dataclass(frozen=True)
class TowerSize:
    """Holds the size of a tower from scratch: `layers` of `width`, a multiple of 64."""

    layers: int
    width: int

    def __post_init__(self):
        if self.layers < 1 or self.width < 1 or self.width % TOWER_HEAD_SIZE:
            raise ValueError(
                f"A tower has at least one layer, and a width that is a multiple of {TOWER_HEAD_SIZE}, got "
                f"{self.layers} layers of {self.width}."
            )


AUDIO_SIZE = TowerSize(2, 192)
VISION_SIZE = TowerSize(2, 192)


def assemble(
    language_model: str | Path,
    out: str | Path,
    *,
    audio_tower: str | Path | TowerSize = AUDIO_SIZE,
    vision_tower: str | Path | TowerSize = VISION_SIZE,
    num_bins: int = 100,
    words: tuple[str, str] = ("No", "Yes"),
    prompt: str | Path | dict[str, str] | None = None,
    dtype: torch.dtype | None = None,
    seed: int = 0,
) -> Path:
    """Assembles a CLUE checkpoint.

    Args:
        language_model (`str` or `Path`): folder or Hub repository of a language model of Llama's or Qwen2's layout
            with its tokenizer, or a GGUF file of one.
        out (`str` or `Path`): folder to write; it must not exist yet.
        audio_tower (`str`, `Path` or `TowerSize`): folder or Hub repository of a Whisper; or the size of a new tower.
        vision_tower (`str`, `Path` or `TowerSize`): folder or Hub repository of a Qwen2.5-VL, Qwen2.5-Omni or CLUE; or
            the size of a new tower. That of a CLUE comes with its media settings for frames.
        num_bins (`int`): number of confidence bins.
        words (`tuple[str, str]`): the words for "false" and "true" whose rows the head starts from; single tokens
            behind the prompt, with a blank before them unless the prompt ends in one or in a line end.
        prompt (`str`, `Path` or `dict`, *optional*): YAML file with a prompt and media settings in the chat format
            (see [`~modeling_clue.prompt_file`]), or a prompt as [`~modeling_clue.CLUEProcessor`] takes it. By default
            the prompt of CLUE if the tokenizer has the tokens of that format, and a plain one if not.
        dtype (`torch.dtype`, *optional*): of the weights written; the language model's own by default.
        seed (`int`): of the new weights.

    Returns:
        `Path`: the folder.

    Raises:
        FileExistsError: if the folder exists.
        OSError: if a source lacks weights in safetensors, or another part.
        ValueError: if something of a source has no place in the Thinker: it is named.
    """
    out = new_folder(out)
    folder, options = _location(language_model)
    language_config = read(AutoConfig, folder, **options)
    text_fields = _text_fields(language_config, language_model)
    if options:
        _check_gguf(options["gguf_file"], sum(text_fields["rope_parameters"]["mrope_section"]) * 2)
    tokenizer = read(AutoTokenizer, folder, **options)
    vision = _vision_part(vision_tower, text_fields["hidden_size"])
    positions = text_fields["max_position_embeddings"]
    prompt, settings = _prompt(tokenizer, prompt, positions, language_model, MEDIA | vision.settings)
    word_ids = _word_ids(tokenizer, words, prompt)
    _add_tokens(tokenizer, QWEN2_5_OMNI.tokens.values(), num_bins, language_model)
    audio = _audio_part(audio_tower, text_fields["hidden_size"])
    vision.processor.size = {"shortest_edge": settings["min_pixels"], "longest_edge": settings["max_pixels"]}
    media = {name: settings[name] for name in DEFAULT_MEDIA}
    processor = CLUEProcessor(audio.processor, vision.processor, tokenizer, prompt=prompt, media=media)

    thinker_config = QWEN2_5_OMNI.upstream("ThinkerConfig")(
        text_config=text_fields, audio_config=audio.sizes, vision_config=vision.sizes, tie_word_embeddings=False
    )
    source = load_whole(AutoModelForCausalLM, folder, config=language_config, **options)
    with torch.device("meta"):
        thinker = QWEN2_5_OMNI.upstream("ThinkerForConditionalGeneration")(thinker_config)
    thinker.generation_config = source.generation_config
    _fill_language_model(thinker, source, language_model)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        embeddings = thinker.get_input_embeddings().weight.float()
        num_rows, size = len(embeddings), embeddings.pow(2).mean().sqrt()
        deviation, mean = torch.std_mean(embeddings, dim=0)
        new_projections = []
        for name, part in (("audio_tower", audio), ("visual", vision)):
            planned = getattr(thinker.model, name)
            tower = type(planned)(planned.config)
            setattr(thinker.model, name, tower)
            if _fill_tower(tower, part, *ENDS[name], size):
                new_projections.append(name)
        grow_vocabulary(thinker, thinker_config, tokenizer)
        new_rows = thinker.get_input_embeddings().weight[num_rows:]
        new_rows.copy_(mean + deviation * torch.randn(new_rows.shape))
    head = initial_head(*thinker.get_output_embeddings().weight.detach()[word_ids], num_bins)
    config = CLUEConfig.from_dict(
        {
            **shared_fields(thinker_config),
            "num_bins": num_bins,
            "new_projections": new_projections,
            **QWEN2_5_OMNI.token_ids(tokenizer),
        }
    )
    thinker.to(source.dtype if dtype is None else dtype)
    return save_whole(with_head(thinker, CLUEForConfidenceEstimation, config, head), processor, out)


def mrope_section(head_size: int) -> list[int]:
    """Returns how many rotary frequencies of a head go by time, height and width: as in Qwen, a quarter by time.

    A `ValueError` says that the head is too small.
    """
    half = head_size // 2
    time = half // 4
    height = (half - time) // 2
    if time < 1:
        raise ValueError(
            f"A head of {head_size} has no three sections of rotary frequencies, for time, height and width: that "
            "takes 8 or more."
        )
    return [time, height, half - time - height]


@dataclass(frozen=True)
class _Tower:
    """Holds what becomes a tower: its configuration, the weights that are known, its part of the processor, and the
    media settings that it was trained with."""

    sizes: dict
    weights: dict[str, torch.Tensor]
    processor: WhisperFeatureExtractor | Qwen2VLVideoProcessor
    settings: dict = field(default_factory=dict)


def _location(source: str | Path) -> tuple[str | Path, dict[str, str]]:
    """Returns folder or repository of a language model, and what `from_pretrained` must be told of a GGUF file."""
    path = Path(source)
    if path.suffix != ".gguf":
        return source, {}
    if not (is_gguf_available() and is_accelerate_available()):
        raise ValueError(f"'{source}' is read with the packages gguf and accelerate: pip install gguf accelerate.")
    if not path.is_file():
        if len(path.parts) != 3 or path.parts[0] in ("/", "..", "~"):
            raise ValueError(f"There is no file '{source}': give one, or one of the Hub as ORG/NAME/FILE.")
        path = Path(cached_file(str(path.parent), path.name))
    # With its folder: otherwise a file of that name in the working directory would be read.
    return path.parent, {"gguf_file": str(path.absolute())}


def _check_gguf(path: str, head_size: int) -> None:
    """Refuses a file that says something of its model that transformers reads over."""
    metadata, tensors = read_gguf_metadata(path)
    architecture = metadata["general.architecture"]
    prefix = f"{architecture}."
    for tensor in tensors:
        if not re.fullmatch(GGUF_TENSORS[architecture], tensor):
            raise ValueError(f"'{path}' has the weight {tensor}, which has no place in the Thinker.")
    for name in (key.removeprefix(prefix) for key in metadata if key.startswith(prefix)):
        value = metadata[prefix + name]
        known = name in GGUF_FIELDS or (name in GGUF_HEAD_SIZES and value == head_size)
        if not known and value not in (0, "none"):
            raise ValueError(f"'{path}' has {prefix}{name} = {value}, which the Thinker can't have.")


def _text_fields(config: PreTrainedConfig, source: str | Path) -> dict:
    """Returns the Thinker's fields for the language model of a configuration, of which each field must be known."""
    if config.model_type not in LANGUAGE_MODELS:
        raise ValueError(f"'{source}' is a {config.model_type} model: CLUE is made of {' or '.join(LANGUAGE_MODELS)}.")
    head_size = config.hidden_size // config.num_attention_heads
    rope = dict(config.rope_parameters)
    theta = rope.pop("rope_theta")
    fitting = {
        "hidden_act": ("silu",),
        "head_dim": (None, head_size),
        "layer_types": (["full_attention"],),
        "rope_parameters": ({"rope_type": "default", "partial_rotary_factor": 1.0}, {"rope_type": "default"}),
    }
    found = {field.name: getattr(config, field.name) for field in fields(config)} | {"rope_parameters": rope}
    if "layer_types" in found:
        found["layer_types"] = sorted(set(found["layer_types"]))
    base = {field.name for field in fields(PreTrainedConfig)} - {"tie_word_embeddings"}
    defaults = type(config)()
    for name in found.keys() - base - set(SAME_FIELDS) - set(IDLE_FIELDS):
        allowed = fitting.get(name, (getattr(defaults, name),))
        if found[name] not in allowed:
            raise ValueError(
                f"'{source}' has {name} = {found[name]}, which the Thinker can't have: there it is {allowed[-1]}."
            )
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError(f"'{source}' is quantized: take its weights in full precision, or a GGUF file.")
    try:
        section = mrope_section(head_size)
    except ValueError as error:
        raise ValueError(f"'{source}': {error}") from error
    return {
        **{name: found[name] for name in SAME_FIELDS},
        "rope_parameters": {"rope_type": "default", "rope_theta": theta, "mrope_section": section},
        "tie_word_embeddings": False,
    }


def _prompt(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str | Path | dict | None,
    positions: int,
    source: str | Path,
    media: dict,
) -> tuple[dict, dict]:
    """Returns prompt and media settings: those of a file, and else a prompt that the tokenizer has tokens for, and
    settings under which a premise leaves room for a hypothesis."""
    chat = set(CHAT_TOKENS) <= tokenizer.get_added_vocab().keys()
    if prompt is None:
        prompt = DEFAULT_PROMPT if chat else PLAIN_PROMPT
    elif not isinstance(prompt, dict) and not chat:
        raise ValueError(f"'{prompt}' takes the chat format, but '{source}' lacks {' and '.join(CHAT_TOKENS)}.")
    file = PromptFile(deepcopy(prompt), {}) if isinstance(prompt, dict) else read_prompt_file(prompt)
    parts = _pairs(file.prompt)
    if tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id:
        for part in parts:
            part["premise"] = tokenizer.bos_token + part["premise"]
    lengths = [len(tokenizer("".join(part.values()), add_special_tokens=False)["input_ids"]) for part in parts]
    room = positions - max(lengths) - HYPOTHESIS_POSITIONS
    seconds = room // QWEN2_5_OMNI.position_ids_per_second - 1  # with room for the markers
    if seconds < 1:
        raise ValueError(f"'{source}' has {positions} positions: too few for a premise, a hypothesis and the prompt.")
    limits = {"max_audio_seconds": min(media["max_audio_seconds"], float(seconds)), "max_text_tokens": room}
    return file.prompt, media_settings(prompt, file, media | limits)


def _pairs(prompt: dict) -> list[dict[str, str]]:
    """Returns the one pair of parts that a prompt has, or those of its modalities."""
    return [prompt] if "hypothesis" in prompt else list(prompt.values())


def _word_ids(tokenizer: PreTrainedTokenizerBase, words: tuple[str, str], prompt: dict) -> list[int]:
    """Returns the tokens of words behind the prompt, with a blank between them unless this has one there."""
    ending = _pairs(prompt)[0]["hypothesis"].rpartition("{hypothesis}")[2]
    blank = "" if ending[-1:].isspace() else " "
    return [single_token(tokenizer, blank + word, before=ending) for word in words]


def _add_tokens(tokenizer: PreTrainedTokenizerBase, tokens, num_bins: int, source: str | Path) -> None:
    """Adds the special tokens of the backbone and those of the confidence bins, which no text of users gives."""
    vocabulary = tokenizer.get_vocab()
    known = [token for token in confidence_tokens(num_bins) if token in vocabulary]
    if known:
        raise ValueError(f"The tokenizer of '{source}' knows {known[0]} already: start from the model it was made of.")
    add_special_tokens(tokenizer, [*tokens, *confidence_tokens(num_bins)])
    if len(set(tokenizer.get_vocab().values())) < len(tokenizer.get_vocab()):
        raise ValueError(f"The ids of the tokenizer of '{source}' have gaps: added tokens share theirs with others.")


def _fill_language_model(thinker, source: PreTrainedModel, name: str | Path) -> None:
    """Gives the Thinker all weights of a language model; biases that this lacks are 0."""
    body = thinker.model.language_model
    weights = source.base_model.state_dict()
    filled = {}
    for key, place in body.state_dict().items():
        if key not in weights and key.endswith(("q_proj.bias", "k_proj.bias", "v_proj.bias")):
            weights[key] = torch.zeros(place.shape, dtype=source.dtype)
        if key in weights:
            filled[key] = weights.pop(key)
    # A bias of 0 changes nothing.
    left = [key for key, weight in weights.items() if not key.endswith(".bias") or weight.any()]
    if left:
        raise ValueError(f"'{name}' has {len(left)} weights without a place in the Thinker, such as {left[0]}.")
    body.load_state_dict(filled, assign=True)
    thinker.lm_head.weight = nn.Parameter(source.get_output_embeddings().weight.detach().clone())


def _audio_part(tower: str | Path | TowerSize, hidden_size: int) -> _Tower:
    """Returns what becomes the audio tower: Whisper's encoder but for its projection, or nothing but sizes."""
    settings = {"return_attention_mask": True, "chunk_length": CHUNK_SECONDS}
    if isinstance(tower, TowerSize):
        sizes = {
            "encoder_layers": tower.layers,
            "d_model": tower.width,
            "encoder_attention_heads": tower.width // TOWER_HEAD_SIZE,
            "encoder_ffn_dim": 4 * tower.width,
            "initializer_range": tower.width**-0.5,
            "output_dim": hidden_size,
        }
        return _Tower(sizes, {}, WhisperFeatureExtractor(feature_size=128, **settings))
    config = read(AutoConfig, tower)
    if config.model_type != "whisper":
        raise ValueError(f"'{tower}' is a {config.model_type} model: the audio tower is made of Whisper's alone.")
    extractor = read(WhisperFeatureExtractor, tower, **settings)
    found = extractor.feature_size, extractor.sampling_rate / extractor.hop_length
    if found != (config.num_mel_bins, 100):
        raise ValueError(
            f"'{tower}' has spectrograms of {found[0]} bands with {found[1]:g} frames a second: the tower takes "
            f"{config.num_mel_bins} bands and 100 frames."
        )
    weights = load_whole(WhisperModel, tower).encoder.state_dict()
    positions = weights.pop("embed_positions.weight")
    for part in ("weight", "bias"):
        weights[f"ln_post.{part}"] = weights.pop(f"layer_norm.{part}")
    tolerance = max(POSITION_TOLERANCE, torch.finfo(positions.dtype).eps)
    if not torch.allclose(positions.float(), sinusoids(*positions.shape), rtol=0, atol=tolerance):
        raise ValueError(f"'{tower}' has positions (embed_positions) that are no sinusoids, as the audio tower's are.")
    sizes = {name: getattr(config, name) for name in WHISPER_FIELDS}
    sizes |= {"n_window": config.max_source_positions, "output_dim": hidden_size}
    return _Tower(sizes, weights, extractor)


def _vision_part(tower: str | Path | TowerSize, hidden_size: int) -> _Tower:
    """Returns what becomes the vision tower: that of another model, or nothing but sizes."""
    if isinstance(tower, TowerSize):
        sizes = {
            "depth": tower.layers,
            "hidden_size": tower.width,
            "num_heads": tower.width // TOWER_HEAD_SIZE,
            "intermediate_size": 4 * tower.width,
            "initializer_range": tower.width**-0.5,
            "fullatt_block_indexes": [tower.layers - 1],
            "out_hidden_size": hidden_size,
        }
        return _Tower(sizes, {}, Qwen2VLVideoProcessor())
    config = read(AutoConfig, tower)
    config = getattr(config, "thinker_config", config)  # of a full Qwen2.5-Omni
    if config.model_type not in VISION_MODELS:
        raise ValueError(
            f"'{tower}' is a {config.model_type} model: the vision tower is that of Qwen2.5-VL, Qwen2.5-Omni or CLUE."
        )
    weights = load_whole(VISION_MODELS[config.model_type], tower, config=config).model.visual.state_dict()
    for key in [key for key in weights if ".attn.qkv." in key]:
        for letter, part in zip("qkv", weights.pop(key).chunk(3), strict=True):
            weights[key.replace("qkv", letter)] = part
    if config.vision_config.out_hidden_size != hidden_size:
        weights = {key: weight for key, weight in weights.items() if not key.startswith(ENDS["visual"][1])}
    sizes = {name: value for name, value in shared_fields(config.vision_config).items() if name != "tokens_per_second"}
    sizes["out_hidden_size"] = hidden_size
    if not isinstance(config, CLUEConfig):
        return _Tower(sizes, weights, read(Qwen2VLVideoProcessor, tower))
    clue = read(CLUEProcessor, tower)
    pixels = {"min_pixels": clue.video_processor.size["shortest_edge"]}
    pixels["max_pixels"] = clue.video_processor.size["longest_edge"]
    return _Tower(sizes, weights, clue.video_processor, {name: clue.media[name] for name in VIDEO_SETTINGS} | pixels)


def _fill_tower(tower: PreTrainedModel, part: _Tower, tail: tuple[str, ...], last: str, size: torch.Tensor) -> bool:
    """Gives a tower the weights that are known, and a new projection the size of what it shall give; returns whether
    there is a new one."""
    found = tower.load_state_dict(part.weights, strict=False)
    unused = {name.removeprefix("model.audio_tower.") for name in QWEN2_5_OMNI.unused}
    wrong = {key for key in found.missing_keys if not key.startswith(last)} - unused | set(found.unexpected_keys)
    if part.weights and wrong:
        raise ValueError(f"A tower's weights do not fit: {min(wrong)} is missing, or has no place.")
    new = f"{last}.weight" in found.missing_keys
    if new:
        projection = tower.get_submodule(last)
        projection.bias.zero_()
        given = nn.Sequential(*map(tower.get_submodule, tail))(torch.randn(1024, tower.config.hidden_size))
        projection.weight.mul_(size / given.pow(2).mean().sqrt())
    return new
