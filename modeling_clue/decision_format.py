# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Reads requests for decisions as CLUE's premises and hypotheses, and makes answers of the hypotheses' probabilities.

A request has a `state`, with or without pictures, sounds and videos beside it, and typed questions about it. The state
is the premise. Each question is put as one or more hypotheses, and its answer follows from their probabilities:

- `noul` (yes or no): one hypothesis, and its probability. With `criteria` for both sides two, made to sum to 1.
- `choice`: one hypothesis for each option, "the answer is this option", made to sum to 1.
- `score`: one hypothesis for each level, made to sum to 1; the score is the expectation of the level.

Hypotheses are judged apart, so that nothing makes those that exclude each other sum to 1: each is divided by their
sum, which leaves probabilities alone that sum to 1 already.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from transformers.decision.template_utils import Question

from .media import has_audio
from .media_container import quoted


# Of the specification that servers of this format share.
MAX_OPTIONS, MAX_LEVELS = 255, 10

# Fields of a request beside its state, and the kind of media in each.
MEDIA_FIELDS = {"images": "image", "audio": "audio", "videos": "video"}
KINDS = tuple(MEDIA_FIELDS.values())

# Instructions with this are a template of the hypothesis, as of transformers' zero-shot pipelines.
PLACE = "{}"


class Part(NamedTuple):
    """Holds a part of a premise: its kind, `"text"` or one of `KINDS`, its content, and what errors call it."""

    kind: str
    content: str | bytes | Path
    name: str = "state"


_DATA_ADDRESS = re.compile(r"data:(?P<kind>[a-z]+)/[\w.+-]+(?:;[\w.+-]+=[^;,]*)*;base64,", re.IGNORECASE)


def as_text(value: Any) -> str:
    """Writes a text, or an object or list as YAML: `name: value`, one a line."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=float("inf")).strip()


def hypotheses_of(question: Question) -> list[str]:
    """Returns the hypotheses by whose probabilities a question is answered.

    Args:
        question (`transformers.decision.template_utils.Question`): parsed.

    Returns:
        `list[str]`: of a `choice` or `score` one for each option; of a `noul` one for each side that its `criteria`
        describe, or one.

    Raises:
        ValueError: if the question says nothing that could be true.
    """
    instructions = as_text(question.instructions).strip()
    if question.type != "noul":
        texts = [
            _option_text(question, option, as_text(description).strip(), instructions)
            for option, description in zip(question.options, question.descriptions, strict=True)
        ]
        return [_combine(instructions, text) for text in texts]
    described = [as_text(description).strip() for _, description in _described_sides(question)]
    if described:
        return [_combine(instructions, text) for text in described]
    if not instructions:
        raise ValueError(
            f"Question {question.name!r}: `instructions` is the statement to judge; there are neither those nor "
            "`criteria`."
        )
    return [instructions]


def option_probabilities(question: Question, probabilities: list[float]) -> list[float]:
    """Returns the probability of each option of a question, which sum to 1, from those of its hypotheses.

    Args:
        question (`transformers.decision.template_utils.Question`): parsed.
        probabilities (`list[float]`): of [`hypotheses_of`] it.
    """
    if question.type != "noul":
        return _normalise(probabilities)
    sides = [option for option, _ in _described_sides(question)] or ["true"]
    if len(sides) == 1:
        (found,) = probabilities
        by_side = {sides[0]: found, "false" if sides[0] == "true" else "true": 1.0 - found}
    else:
        by_side = dict(zip(sides, _normalise(probabilities), strict=True))
    return [by_side[option] for option in question.options]


def premise_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the premise that a request is about, as [`CLUEProcessor`] takes one.

    Args:
        request (`Mapping`): with

            - `state` (`str`, `dict` or `list`): a text as it is; an object, or a list of other things than texts, as
              YAML. A list of texts is a premise of these parts.
            - `images`, `audio`, `videos` (`list`, *optional*): media, which come after the state: `data:` addresses
              or assets; in Python bytes and `pathlib.Path`s too.
            - `assets` (`dict`, *optional*): media that replace their name where it occurs in the state. An asset is
              `{"type": "image", "data_base64": ...}`; `type` may be `audio` or `video`.

    Returns:
        `dict`: see [`build_premise`].

    Raises:
        ValueError: naming the field that can't be used.
    """
    return build_premise(parts_of_state(request))


def parts_of_state(request: Mapping[str, Any]) -> list[Part]:
    """Returns the parts of a request's premise in their order, see [`premise_of`]."""
    state = request.get("state")
    if not isinstance(state, (str, Mapping, list)):
        raise ValueError(f"`state` is a text, an object or a list, got {type(state).__name__}.")
    texts = state if isinstance(state, list) and all(isinstance(item, str) for item in state) else [as_text(state)]
    parts = _insert_assets(texts, request.get("assets") or {})
    for field, kind in MEDIA_FIELDS.items():
        media = request.get(field) or []
        if not isinstance(media, list):
            raise ValueError(f"`{field}` is a list, got {type(media).__name__}.")
        parts += [
            Part(kind, read_media(kind, item, f"{field}[{place}]"), f"{field}[{place}]")
            for place, item in enumerate(media)
        ]
    return parts


def build_premise(parts: list[Part]) -> dict[str, Any]:
    """Makes a premise of its parts.

    Returns:
        `dict`: of one modality, or `{"parts": [...]}`. A video has its sound if its file has. A single silent video
        and a single sound are a video with that sound.

    Raises:
        ValueError: if there are no parts.
    """
    if not parts:
        raise ValueError("`state` is empty, and no media are given: there is nothing to judge by.")
    judged = [{"modality": _modality(part), part.kind: part.content} for part in parts]
    if sorted(part["modality"] for part in judged) == ["audio", "video"]:
        return {**judged[0], **judged[1], "modality": "audiovisual"}
    return judged[0] if len(judged) == 1 and "image" not in judged[0] else {"parts": judged}


def _described_sides(question: Question) -> list[tuple[str, Any]]:
    sides = zip(question.options, question.descriptions, strict=True)
    return [(option, description) for option, description in sides if description is not None]


def _option_text(question: Question, option: str, description: str, instructions: str) -> str:
    """Says an option: by its description where that is the level's only name, fills a place, or stands alone."""
    if not description:
        return option
    if question.type == "score" or not instructions or PLACE in instructions:
        return description
    return f"{option}: {description}"


def _combine(instructions: str, text: str) -> str:
    if not instructions:
        return text
    if PLACE in instructions:
        return instructions.replace(PLACE, text)
    return f"{instructions} The answer is: {text}"


def _normalise(probabilities: list[float]) -> list[float]:
    """Divides by the sum; where none of them is possible, each is as probable as any other."""
    total = sum(probabilities)
    if total <= 0:
        return [1 / len(probabilities)] * len(probabilities)
    return [probability / total for probability in probabilities]


def _insert_assets(texts: list[str], assets: Mapping[str, Any]) -> list[Part]:
    """Splits the texts of a state at the names of assets, which become parts of their own."""
    if not isinstance(assets, Mapping):
        raise ValueError(f"`assets` maps names to media, got {type(assets).__name__}.")
    if "" in assets:
        raise ValueError("`assets` has one without a name: give the words of the state that it replaces.")
    names = "|".join(re.escape(name) for name in sorted(assets, key=len, reverse=True))
    pieces = [piece for text in texts for piece in (re.split(f"({names})", text) if assets else [text])]
    if unused := sorted(assets.keys() - set(pieces)):
        raise ValueError(f"Asset {unused[0]!r}: its name is nowhere in `state`; questions can't have media.")
    parts = []
    for piece in pieces:
        if piece in assets:
            asset = assets[piece]
            kind = asset.get("type", "image") if isinstance(asset, Mapping) else "image"
            if kind not in KINDS:
                raise ValueError(f"Asset {piece!r}: `type` is one of {', '.join(KINDS)}, got {quoted(kind)}.")
            name = f"assets.{piece}"
            parts.append(Part(kind, read_media(kind, asset, name), name))
        elif piece.strip():
            parts.append(Part("text", piece))
    return parts


def _modality(part: Part) -> str:
    sounds = part.kind == "video" and has_audio(part.content, name=part.name)
    return "audiovisual" if sounds else part.kind


def read_media(kind: str, item: Any, name: str) -> bytes | Path:
    """Returns the content of a picture, sound or video, or in Python its path.

    Args:
        kind (`str`): one of `KINDS`.
        item (`str`, `dict`, `bytes` or `pathlib.Path`): a `data:` address, or an asset with its base64. A text is
            never taken for a path or fetched: it may come from anybody.
        name (`str`): what errors call it.

    Raises:
        ValueError: if it is none of these, or no base64.
    """
    if isinstance(item, (bytes, Path)):
        return item
    if isinstance(item, Mapping):
        encoded = item.get("data_base64")
        if not isinstance(encoded, str):
            raise ValueError(f"{name}: an asset holds its file as `data_base64`.")
    else:
        address = _DATA_ADDRESS.match(item) if isinstance(item, str) else None
        if address is None:
            raise ValueError(
                f"{name}: give a `data:` address with base64, such as data:{kind}/...;base64,...; nothing is fetched."
            )
        stated = address["kind"].lower()
        if stated in KINDS and stated != kind:
            raise ValueError(f"{name} is said to be {stated}, not {kind}.")
        encoded = item[address.end() :]
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{name} is no base64.") from error
    if not content:
        raise ValueError(f"{name} is empty.")
    return content
