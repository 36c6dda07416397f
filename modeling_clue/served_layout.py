# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Writes and reads what a classifier that vLLM serves has beside its weights: a tokenizer and a chat template that
build CLUE's prompt, options of the server, and answers by which a client tells whether these weights answer."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from transformers import AutoConfig, PreTrainedTokenizerBase, TokenizersBackend
from transformers.utils import cached_file

from .auto import backbone_of, classes_of
from .backbone import TOWERS
from .checkpoint_parts import read, with_settings
from .modalities import TABLE
from .modeling_clue import ConfidenceEstimation
from .processing_clue import CLUEProcessor
from .prompt import PLACEHOLDERS, prompts_by_modality


REFERENCE_FILE, SERVER_FILE = "reference.json", "vllm.yaml"

# Where one text ends and the next begins: they are tokenized apart, as CLUE's processor does it. Of the private use
# area, so no text has it by chance.
MARK = "\ue000"

# Of `vllm serve --config`. A request says how many frames a clip has, and how fast they follow.
SERVER_OPTIONS = {
    "runner": "pooling",
    "convert": "classify",
    "chat-template-content-format": "openai",
    "trust-request-mm-kwargs": True,
}

_TEMPLATE = """\
{{%- set mark = {mark} -%}}
{{%- set seen = namespace(premise='', modality='text', text=false) -%}}
{{%- if messages | length != 2 or messages[1].content | length != 1 -%}}
{{{{- raise_exception('Give two messages: the premise, and the hypothesis in one text.') -}}}}
{{%- endif -%}}
{{%- for part in messages[0].content -%}}
{{%- if part.type == 'text' -%}}
{{%- set seen.premise = seen.premise ~ (mark ~ '\\n' ~ mark if seen.text) ~ part.text | trim -%}}
{media}
{{%- else -%}}
{{{{- raise_exception('A part of a premise is a text, a sound, a video or a picture.') -}}}}
{{%- endif -%}}
{{%- set seen.text = part.type == 'text' -%}}
{{%- endfor -%}}
{{%- set premise = seen.premise if messages[0].content | length == 1 else mark ~ seen.premise ~ mark -%}}
{{%- set hypothesis = messages[1].content[0].text | trim -%}}
{prompts}
{{%- else -%}}
{{{{- raise_exception('This model has no prompt for such a premise.') -}}}}
{{%- endif -%}}"""


def classifier_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Returns a copy of a tokenizer that cuts texts at `MARK`, which it leaves out."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    cut = {"type": "Split", "pattern": {"String": MARK}, "behavior": "Removed", "invert": False}
    steps = [cut] if content["pre_tokenizer"] is None else [cut, content["pre_tokenizer"]]
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    backend = type(tokenizer.backend_tokenizer).from_str(json.dumps(content))
    # Not a tokenizer of its own class: those of some models build these steps themselves, whatever their file has.
    own = tokenizer.init_kwargs["model_specific_special_tokens"]
    common = {name: token for name, token in tokenizer.special_tokens_map.items() if name not in own}
    return TokenizersBackend(
        tokenizer_object=backend, model_max_length=tokenizer.model_max_length, extra_special_tokens=own, **common
    )


def chat_template(processor: CLUEProcessor) -> str:
    """Returns a Jinja template that makes CLUE's prompt of two messages: a premise of one part or several, and a
    hypothesis.

    Its literals are ASCII, so that it is the same however a file of it is read.
    """
    tokens = processor.backbone.tokens
    media = [
        "{%- elif part.type == 'audio' and part.of_video -%}",
        "{%- set seen.modality = 'audiovisual' -%}",
    ]
    for kind, modality, names in (
        ("audio", "audio", ("audio_bos_token", "audio_token", "audio_eos_token")),
        ("video", "video", ("vision_bos_token", "video_token", "vision_eos_token")),
        ("image", "video", ("vision_bos_token", "image_token", "vision_eos_token")),
    ):
        other = "video" if modality == "audio" else "audio"
        media += [
            f"{{%- elif part.type == '{kind}' -%}}",
            f"{{%- set seen.premise = seen.premise ~ {ascii(''.join(tokens[name] for name in names))} -%}}",
            f"{{%- set seen.modality = 'audiovisual' if seen.modality in ('{other}', 'audiovisual') "
            f"else '{modality}' -%}}",
        ]
    between = "" if processor.one_hypothesis_a_row else " ~ mark"
    prompts, word = [], "if"
    for modality, parts in prompts_by_modality(processor.prompt).items():
        pieces = [piece for name in ("premise", "hypothesis") for piece in PLACEHOLDERS.split(parts[name]) if piece]
        pieces = [piece[1:-1] if PLACEHOLDERS.fullmatch(piece) else ascii(piece) for piece in pieces]
        prompts.append(f"{{%- {word} seen.modality == '{modality}' -%}}")
        prompts.append("{{- " + f"{between} ~ ".join(pieces) + " -}}")
        word = "elif"
    return _TEMPLATE.format(mark=ascii(MARK), media="\n".join(media), prompts="\n".join(prompts))


def reference_input(modality: str, processor: CLUEProcessor) -> dict[str, Any]:
    """Returns a premise of a modality, made by a formula, with the hypotheses that are asked about it."""
    premise: dict[str, Any] = {}
    if TABLE[modality].sound:
        steps = np.arange(24000, dtype=np.int64)
        waveform = ((steps * steps // 9 % 401 - 200) / 800).astype(np.float32)
        premise["audio"] = {"array": waveform, "sampling_rate": 16000}
    if TABLE[modality].frames:
        time, row, column, colour = np.ogrid[:8, :56, :56, :3]
        frames = ((row * (time + 1) + column * (colour + 1)) * 5 % 256).astype(np.uint8)
        premise["video"] = {"frames": frames, "fps": processor.media["fps"]}
    premise = premise or {"text": "Balls in the urn: red, red, blue, green, red."}
    return {**premise, "hypotheses": ["A ball drawn at random is red.", "Somebody is speaking."]}


@torch.no_grad()
def reference_answers(model: ConfidenceEstimation, processor: CLUEProcessor) -> dict[str, list[list[float]]]:
    """Computes the logits of the reference inputs, for each modality that the checkpoint takes.

    A modality is left out if the prompt has no part for it, or if the projections it needs are new.
    """
    answers = {}
    refused = set().union(*(TOWERS[tower] for tower in model.config.new_projections))
    for modality in prompts_by_modality(processor.prompt):
        if modality not in refused:
            premise = reference_input(modality, processor)
            inputs = processor(premise, premise.pop("hypotheses"))
            logits = model.eval()(**inputs.to(model.device, model.dtype), calibrated=False).logits
            answers[modality] = [[round(value, 6) for value in row] for row in logits.float().tolist()]
    return answers


def side_files(model: ConfidenceEstimation, processor: CLUEProcessor) -> dict[str, str]:
    """Returns the files that a served classifier has for clients and for the server, by name."""
    return {
        REFERENCE_FILE: json.dumps(reference_answers(model, processor)) + "\n",
        SERVER_FILE: yaml.safe_dump(SERVER_OPTIONS, sort_keys=False),
    }


class Served(NamedTuple):
    """Holds what a client reads of a checkpoint that a server runs.

    Args:
        processor (`CLUEProcessor`): with the server's tokenizer.
        template (`str`): the server's chat template.
        num_bins (`int`): number of confidence bins.
        plain_positions (`bool`): whether positions of a video with its sound count the tokens.
        calibration (`dict`, *optional*): as in [`CLUEFields`].
        reference (`dict[str, list[list[float]]]`): logits of [`reference_input`] by modality.
    """

    processor: CLUEProcessor
    template: str
    num_bins: int
    plain_positions: bool
    calibration: dict[str, Any] | None
    reference: dict[str, list[list[float]]]


def read_served(checkpoint: str | Path) -> Served:
    """Reads a checkpoint that `to-thinker --layout classify` wrote, without its weights.

    Args:
        checkpoint (`str` or `Path`): folder or Hub repository.

    Raises:
        OSError: if a file of it is missing.
        ValueError: if it is another checkpoint.
    """
    config = read(AutoConfig, checkpoint)
    backbone = backbone_of(config.model_type)
    record = getattr(getattr(config, "thinker_config", None), "clue", None)
    path = cached_file(checkpoint, REFERENCE_FILE, _raise_exceptions_for_missing_entries=False)
    if backbone is None or record is None or path is None:
        raise ValueError(
            f"'{checkpoint}' is no classifier for a server: write one with `python -m modeling_clue.conversion "
            "to-thinker --layout classify`, serve it, and name that folder here."
        )
    upstream = read(backbone.upstream("Processor"), checkpoint)
    _, _, processor_class = classes_of(backbone)
    processor = with_settings(processor_class, upstream, record["prompt"], record["media"])
    reference = json.loads(Path(path).read_text())
    plain = record["audiovisual_positions"] == "plain"
    return Served(processor, upstream.chat_template, record["num_bins"], plain, record["calibration"], reference)
