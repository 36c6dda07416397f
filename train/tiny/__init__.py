"""Writes a tiny CLUE checkpoint with random weights: the whole architecture of Qwen2.5-Omni's Thinker at a millionth
of its cost, for training from scratch on a CPU and for tests.

```bash
python -m train.tiny --dataset umui --output-dir runs/demo/init
```

Its tokenizer is a byte-level BPE trained on the text of the dataset's training split. `train/sft.py` starts from the
result as from any other checkpoint.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from datasets import get_dataset_config_names
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2VLVideoProcessor, WhisperFeatureExtractor

from datasets_scripts.load import load_split
from modeling_clue.assembly import mrope_section
from modeling_clue.auto import BACKBONES
from modeling_clue.checkpoint_parts import confidence_tokens, new_folder, save_whole
from modeling_clue.configuration_clue import CLUEFields


SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

# Every token of the prompt is paid for by every hypothesis of every step, so the tiny model gets none to spare.
TINY_PROMPT = {"premise": "{premise}\n", "hypothesis": "{hypothesis}<|im_end|>"}

# The urn world's clock: an event lasts 0.16 s, that is two frames, one step of the video grid, four audio tokens.
TINY_MEDIA = {"fps": 12.5, "max_frames": 64, "max_audio_seconds": 30.0, "max_text_tokens": 3584}

# Sizes that a backbone alone has.
OWN_SIZES = {
    "qwen2.5-omni": {
        "text_config": {},
        "audio_config": {"n_window": 100},
        "vision_config": {"fullatt_block_indexes": [0]},
    },
    "qwen3-omni": {
        "text_config": {"moe_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2},
        "audio_config": {"downsample_hidden_size": 16},
        "vision_config": {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
    },
}

# With the usual 0.02 (or 0.06) a model this small sits for minutes at the best guess without a premise.
INITIALIZER_RANGE = 0.1
EMBEDDING_SCALE = 7.0


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, num_bins: int, backbone: str = "qwen2.5-omni"
) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE tokenizer with a backbone's special tokens and `<CONF_0>` ... `<CONF_{num_bins - 1}>`.

    `vocab_size` counts special tokens too; the texts may hold fewer. A `ValueError` says that it has no room for all
    bytes and special tokens.
    """
    own = BACKBONES[backbone][0].backbone.tokens.values()
    special = [*SPECIAL_TOKENS, *own, *confidence_tokens(num_bins)]
    if vocab_size < 256 + len(special):
        raise ValueError(
            f"A vocabulary of {vocab_size} is too small: bytes and special tokens are {256 + len(special)}."
        )
    tokenizer = Tokenizer(models.BPE())
    # Qwen2's split into words: letters with what precedes them, single digits, punctuation, spaces.
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="right"
    )


def tiny_config(tokenizer: PreTrainedTokenizerFast, backbone: str = "qwen2.5-omni", **overrides) -> CLUEFields:
    """Returns the configuration of a model of about a million parameters for a tokenizer.

    `overrides` are fields of the configuration, and `hidden_size` and `num_hidden_layers` of its language model.
    """
    hidden_size, num_layers = overrides.pop("hidden_size", 128), overrides.pop("num_hidden_layers", 4)
    num_heads = 4
    config_class = BACKBONES[backbone][0]
    own = OWN_SIZES[backbone]
    return config_class(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": hidden_size,
            "intermediate_size": 2 * hidden_size,
            "num_hidden_layers": num_layers,
            "num_attention_heads": num_heads,
            "num_key_value_heads": num_heads,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1_000_000.0,
                "mrope_section": mrope_section(hidden_size // num_heads),
            },
            "max_position_embeddings": 4096,
            "initializer_range": INITIALIZER_RANGE,
            "tie_word_embeddings": False,
            "pad_token_id": tokenizer.pad_token_id,
            **own["text_config"],
        },
        audio_config={
            "num_mel_bins": 128,
            "d_model": 64,
            "encoder_layers": 1,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "output_dim": hidden_size,
            "initializer_range": INITIALIZER_RANGE,
            **own["audio_config"],
        },
        vision_config={
            "depth": 1,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": hidden_size,
            "initializer_range": INITIALIZER_RANGE,
            **own["vision_config"],
        },
        **config_class.backbone.token_ids(tokenizer),
        initializer_range=INITIALIZER_RANGE,
        tie_word_embeddings=False,
        **overrides,
    )


def build_tiny(
    texts: Iterable[str],
    out: str | Path,
    *,
    seed: int = 0,
    vocab_size: int = 768,
    backbone: str = "qwen2.5-omni",
    **overrides,
) -> Path:
    """Writes a tiny checkpoint: configuration, random weights, processor and remote code.

    Args:
        texts (`Iterable[str]`): Trains the tokenizer.
        out (`str` or `Path`): Folder to write, returned; a `FileExistsError` if it is there.
        seed (`int`): Of the random weights.
        vocab_size (`int`): Of the tokenizer.
        backbone (`str`): One of [`~modeling_clue.auto.BACKBONES`].
        **overrides: As of [`tiny_config`].
    """
    out = new_folder(out)
    _, model_class, processor_class = BACKBONES[backbone]
    tokenizer = train_tokenizer(texts, vocab_size, overrides.get("num_bins", 100), backbone)
    config = tiny_config(tokenizer, backbone, **overrides)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(EMBEDDING_SCALE)
    patch_size = config.vision_config.patch_size
    frame_pixels = (2 * patch_size) ** 2  # 2 x 2 patches, merged into one token
    processor = processor_class(
        WhisperFeatureExtractor(feature_size=128, return_attention_mask=True),
        Qwen2VLVideoProcessor(
            patch_size=patch_size, size={"shortest_edge": frame_pixels, "longest_edge": frame_pixels}
        ),
        tokenizer,
        prompt=TINY_PROMPT,
        media=TINY_MEDIA,
    )
    return save_whole(model, processor, out)


def training_texts(dataset: str, configs: list[str] | None = None) -> list[str]:
    """Returns the distinct premises and hypotheses in the training splits of a dataset folder or repository."""
    texts: set[str] = set()
    for config in configs or get_dataset_config_names(dataset):
        rows = load_split(dataset, config, "train")
        for column in ("premise", "hypothesis"):
            texts.update(text for text in rows.unique(column) if text is not None)
    return sorted(texts)
