"""Tiny random models of other families, as the Hub has them, to assemble checkpoints from."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)


TEXTS = ["An urn holds 3 red balls.", "The ball is red.", *["No", "Yes", " No", " Yes"] * 20]
CHAT = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
    "rope_theta": 5000.0,
    "rms_norm_eps": 1e-4,
}


def source_tokenizer(special: list[str] = CHAT, words: str = "bytes") -> PreTrainedTokenizerFast:
    """A tokenizer that puts `<s>`, if it is special, before every text.

    `words` are `"bytes"` with the blank before a word as a part of it, as Llama 3 has them, or `"metaspace"` with a
    blank before the text too, as Llama 2 has them.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=special[0]))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if words == "bytes":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
        alphabet = sorted(set("".join(map(chr, range(32, 127)))) | {"\n"})
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    bos = "<s>" if "<s>" in special else None
    if bos:
        start = (bos, tokenizer.token_to_id(bos))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[start]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=special[-1])


def scatter(model: PreTrainedModel, seed: int = 0) -> None:
    """Draws all weights, so that no bias is 0 and no norm 1, and answers depend on every one of them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "embed_positions" in name:
                continue
            norm = "norm" in name and name.endswith("weight")
            weight.copy_(float(norm) + 0.2 * torch.randn(weight.shape, generator=generator))


def write_language_model(
    out: Path,
    config_class: type[PreTrainedConfig] = LlamaConfig,
    model_class: type[PreTrainedModel] = LlamaForCausalLM,
    *,
    tokenizer: PreTrainedTokenizerFast | None = None,
    spare_rows: int = 0,
    dtype: torch.dtype = torch.float32,
    spoil=lambda model: None,
    **fields,
) -> Path:
    """Writes a language model with a tokenizer that is in the chat format by default."""
    tokenizer = source_tokenizer() if tokenizer is None else tokenizer
    model = model_class(config_class(**{**SIZES, "vocab_size": len(tokenizer) + spare_rows, **fields}))
    scatter(model)
    spoil(model)
    model.to(dtype).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def write_whisper(
    out: Path, model_class: type[PreTrainedModel] = WhisperModel, num_mel_bins: int = 80, **fields
) -> Path:
    """Writes a Whisper, with windows of 2 seconds unless told otherwise."""
    config = WhisperConfig(
        **{
            **{"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48},
            **{"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 48, "max_target_positions": 8},
            **{"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3},
            **{"max_source_positions": 100, "num_mel_bins": num_mel_bins, "init_std": 0.2, **fields},
        }
    )
    model = model_class(config)
    scatter(model, seed=1)
    model.save_pretrained(out)
    WhisperFeatureExtractor(feature_size=num_mel_bins).save_pretrained(out)
    return out
