# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Reads the parts of checkpoints whole or not at all, puts parts together, and writes whole checkpoints: what all
conversions share."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AddedToken, PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin

from .confidence import bin_values
from .configuration_clue import CLUEFields
from .modeling_clue import ConfidenceEstimation, change_class
from .processing_clue import CLUEProcessor


# Fields of `config.json` that belong to a class or a file, not to the model it describes.
CLASS_FIELDS = ("model_type", "architectures", "auto_map", "custom_pipelines", "transformers_version", "_name_or_path")


def read(kind, source: str | Path, **options):
    """Reads a checkpoint, or a part of it, by `from_pretrained` of the class `kind`.

    Raises:
        OSError: if files are missing.
        ValueError: if there is no such folder, or a library rejects a file; the source is named.
    """
    name = str(source)
    if not Path(name).is_dir() and (name.count("/") != 1 or name.startswith(("/", "."))):
        raise ValueError(f"There is no checkpoint folder '{name}': give one, or a repository of the Hub as ORG/NAME.")
    try:
        return kind.from_pretrained(source, **options)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError, StrictDataclassError) as error:
        words = " ".join(str(error).split())
        if name in words and isinstance(error, OSError | ValueError):
            raise
        raise (OSError if isinstance(error, OSError) else ValueError)(f"'{name}' can't be loaded: {words}") from error


def load_whole(model_class, source: str | Path, *, dtype: torch.dtype | str = "auto", **options):
    """Loads a model with all of its weights, and no others but those of the speech output.

    Args:
        model_class (`type`): class of the model.
        source (`str` or `Path`): folder or Hub repository, with safetensors.
        dtype (`torch.dtype` or `str`, *optional*, defaults to `"auto"`): of the weights; their own by default.
        **options: as of `from_pretrained`.

    Returns:
        `PreTrainedModel`: the model.

    Raises:
        OSError: if files are missing.
        ValueError: if weights are missing, of another shape, left over, or unreadable.
    """
    loading_options = {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
    model, report = read(model_class, source, dtype=dtype, **loading_options, **options)
    # transformers does not report weights that may be left over: talker.* and token2wav.*.
    wrong = {kind: sorted(keys) for kind, keys in report.items() if keys}
    if wrong:
        first = "; ".join(f"{kind.replace('_', ' ')}: {', '.join(map(str, keys[:3]))}" for kind, keys in wrong.items())
        raise ValueError(f"The weights of '{source}' do not fit its configuration ({first}).")
    return model


def new_folder(out: str | Path) -> Path:
    """Returns `out` as a path where nothing exists yet.

    Raises:
        FileExistsError: if the folder exists.
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"'{out}' exists already: remove it, or write elsewhere with --output-dir.")
    return out


def save_whole(model, processor, out: Path, *, files: dict[str, str] | None = None, **options) -> Path:
    """Writes a checkpoint beside `out`, moves it there when it is complete, and returns `out`.

    Args:
        model (`PreTrainedModel`), processor (`ProcessorMixin`): what it holds.
        out (`Path`): folder to write.
        files (`dict[str, str]`, *optional*): texts to put beside them, by name.
        **options: as of the model's `save_pretrained`.
    """
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial, **options)
    processor.save_pretrained(partial)
    for name, text in (files or {}).items():
        (partial / name).write_text(text)
    partial.rename(out)
    return out


def with_settings(
    processor_class: type[CLUEProcessor], processor: ProcessorMixin, prompt: dict | None, media: dict | None
) -> CLUEProcessor:
    """Makes a Thinker's processor one of CLUE; its chat template is kept, for a Thinker made of that CLUE."""
    tokenizer = processor.tokenizer
    tokenizer.chat_template = processor.chat_template
    parts = processor.feature_extractor, processor.video_processor, tokenizer
    return processor_class(*parts, prompt=prompt, media=media)


def confidence_tokens(num_bins: int) -> list[str]:
    """Returns the tokens that stand for the confidence bins, in order."""
    return [f"<CONF_{index}>" for index in range(num_bins)]


def add_special_tokens(tokenizer: PreTrainedTokenizerBase, tokens: Iterable[str]) -> None:
    """Adds tokens that no text of users gives."""
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in tokens], special_tokens=True)


def initial_head(no_row: torch.Tensor, yes_row: torch.Tensor, num_bins: int) -> torch.Tensor:
    """Builds a confidence head that gives an untrained model's yes/no preference as a probability.

    Row i lies on the line through the `lm_head` rows of "No" and "Yes": `(no + yes) / 2 + s (b_i - 1/2) (yes - no)`.
    So the log-odds of neighbouring bins are proportional to the model's log-odds d of "Yes" against "No". The scale
    `s = 3 (N - 1) / (N + 1)`, a quarter of the inverse variance of the bins, makes the expectation agree with
    `sigmoid(d)` to first order around 1/2; it is more cautious towards 0 and 1 (0.83 instead of 0.88 for d = 2).

    Args:
        no_row, yes_row (`torch.Tensor` of shape `(hidden_size,)`): rows of `lm_head`.
        num_bins (`int`): number of confidence bins N.

    Returns:
        `torch.Tensor` of shape `(num_bins, hidden_size)`: float32.
    """
    no_row, yes_row = no_row.float(), yes_row.float()
    scale = 3 * (num_bins - 1) / (num_bins + 1)
    return (no_row + yes_row) / 2 + scale * (bin_values(num_bins, no_row.device) - 0.5)[:, None] * (yes_row - no_row)


def single_token(tokenizer: PreTrainedTokenizerBase, word: str, before: str = "") -> int:
    """Returns the one token that a word is, behind the text `before` it.

    Raises:
        ValueError: if it is several tokens, or joins the text before it.
    """
    start, whole = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, before + word))
    pieces = whole[len(start) :]
    if whole[: len(start)] != start or len(pieces) != 1:
        raise ValueError(
            f"The word {word!r} has {len(pieces)} tokens {tokenizer.convert_ids_to_tokens(pieces)}: name two words "
            "of a single token each, for false and true, with --words."
        )
    return pieces[0]


def grow_vocabulary(thinker, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Appends rows of zeros, where the tokenizer has more tokens than the tables rows."""
    num_rows = thinker.get_output_embeddings().weight.shape[0]
    needed = max(tokenizer.get_vocab().values()) + 1
    if needed > num_rows:
        print(f"The vocabulary of {num_rows} rows has too few to spare: it grows to {needed} rows.")
        thinker.resize_token_embeddings(needed, mean_resizing=False)
        with torch.no_grad():
            for table in (thinker.get_input_embeddings(), thinker.get_output_embeddings()):
                table.weight[num_rows:] = 0
        config.text_config.vocab_size = needed


def with_head(
    thinker, model_class: type[ConfidenceEstimation], config: CLUEFields, head: torch.Tensor
) -> ConfidenceEstimation:
    """Makes a Thinker a CLUE model, with the rows of its confidence head."""
    model = change_class(thinker, model_class, config)
    model.confidence_head = nn.Linear(*reversed(head.shape), bias=False)
    model.confidence_head.weight.data = head
    return model


def shared_fields(config: PreTrainedConfig) -> dict:
    """Returns the fields of a configuration that mean the same in another class."""
    return {name: value for name, value in config.to_dict().items() if name not in (*CLASS_FIELDS, "clue")}
