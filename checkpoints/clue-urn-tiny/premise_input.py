# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Tells what a premise is, in any form that a caller may give it: its modality, its text, its clips, its parts."""

import os
import re
from typing import Any

import numpy as np
import torch

from .cells import as_list, as_row, is_empty, plain
from .media import OpenClip, check_part, probe_modality
from .media_container import is_base64, quoted, shorten
from .modalities import MODALITIES, TABLE, parts_of_row


# Recognize a clip given as text: endings of its name, and beginnings of paths and addresses.
MEDIA_NAME = re.compile(
    r".+\.(wav|flac|og[gav]|opus|mp3|m4[av]|aac|aiff?|caf|wma|amr|mp4|mov|mkv|webm|avi|mpe?g|m?ts|m2ts|flv|wmv|3gp|mxf|"
    r"y4m|gif)",
    re.IGNORECASE,
)
PATH_START = re.compile(r"/|~/|\.{1,2}/|\.{0,2}\\|[a-z]:[\\/]", re.IGNORECASE)
# A path, not a sentence that begins with a slash.
PATH_ELSEWHERE = re.compile(r"(~|\.\.|\w:|\S*\w)[\\/]|.*\.\w+$")
ADDRESS = re.compile(r"[a-z][\w+.-]*://\S+|file:/.*|data:([\w+.-]+/[\w+.-]+)?[;,].*", re.IGNORECASE | re.DOTALL)

PREMISE_KEYS = ("parts", "premise", "text", "audio", "video")


def resolve_premise(premise) -> tuple[str, str | None, Any, Any]:
    """Returns modality, text, sound and video of a premise that is no combination; None for what it lacks.

    Raises:
        ValueError: if it is empty, ambiguous, of an unknown kind, or a text that names a clip.
    """
    premise = plain(premise)
    row = {"premise": premise} if isinstance(premise, (str, os.PathLike, bytes)) else as_row(premise)
    if row is None:
        hint = ""
        if isinstance(premise, (np.ndarray, torch.Tensor)):
            hint = " Give an array with its rate: {'audio': {'array': ..., 'sampling_rate': 16000}}."
        raise ValueError(f"A premise is text, a path, bytes or a dict, got {type(premise).__name__}.{hint}")
    keys, inner = shorten(", ".join(map(str, row))), row.get("premise")
    if isinstance(inner, (os.PathLike, bytes)):
        row = {**row, "premise": None, probe_modality(inner): inner}
    elif as_row(inner) is not None:
        row = {**row, "premise": None, **as_row(inner)}
    filled = {key: cell for key, cell in row.items() if not is_empty(cell)}
    text, stated_modality = filled.get("text", filled.get("premise")), filled.get("modality")
    audio, video = filled.get("audio"), filled.get("video")
    given = [name for name, value in (("text", text), ("audio", audio), ("video", video)) if value is not None]
    modality = stated_modality or ("audiovisual" if given == ["audio", "video"] else "+".join(given))
    if not modality and (isinstance(row.get("text"), str) or isinstance(row.get("premise"), str)):
        raise ValueError("The text of a premise is a string that is not empty, got nothing but blanks.")
    if modality not in MODALITIES:
        raise ValueError(
            f"A premise has text, audio, video, or audio and video, got {quoted(modality or 'none of them')} "
            f"(keys: {keys})."
        )
    columns = {"premise": text, "audio": audio if audio is not None else video, "video": video}
    if columns[TABLE[modality].column] is None:
        raise ValueError(f"The premise is said to be {modality} but has none (keys: {keys}).")
    if modality == "text":
        if not isinstance(text, str):
            raise ValueError(f"The text of a premise is a string that is not empty, got {quoted(text)}.")
        if stated_modality is None and names_a_clip(text.strip()):
            raise ValueError(
                f"The text of the premise is the name of a file, an address or a file in letters, {quoted(text)}: "
                "give a clip as {'audio': ...}, {'video': ...}, a `pathlib.Path` or bytes; 'modality': 'text' "
                "beside it says that the letters are meant."
            )
    return modality, text, audio, video


def part_of_clip(premise) -> dict[str, float]:
    """Returns which part of its clip a premise is about, as `load_audio` and `load_video` take it; nothing for all."""
    row = as_row(premise) or {}
    row = {**row, **(as_row(row.get("premise")) or {})}
    part = {key: row[key] for key in ("start", "end") if not is_empty(row.get(key))}
    check_part(**{"start": 0.0, "end": None, **part})
    return part


def parts_of(premise) -> list | None:
    """Returns the parts of a combination, given as such or as the premise of a row; None for all else."""
    if isinstance(premise, (list, tuple)):
        return list(premise)
    row = as_row(premise)
    if row is None:
        return None
    given = {key: row[key] for key in PREMISE_KEYS if not is_empty(row.get(key))}
    found = next((key for key in ("parts", "premise") if isinstance(given.get(key), (list, tuple, np.ndarray))), None)
    if found is None:
        return None
    parts, others = as_list(given.pop(found)), ", ".join(given)
    if not parts and others:  # a row of the dataset has an empty list beside its premise
        return None
    if others:
        raise ValueError(f"A premise of parts has {others} beside them: put that among the parts.")
    clips = as_list(row.get("part_clips", ()))
    return parts_of_row({"parts": parts, "part_clips": clips}) if clips else parts


def names_a_clip(text: str) -> bool:
    """Recognizes a text that is nothing but the address, name or content of a clip; a sentence may end in a name."""
    one_word, path = len(text.split()) == 1, PATH_START.match(text) is not None
    if ADDRESS.fullmatch(text) or is_base64(text) or (one_word and path and not re.fullmatch("/[^/]*", text)):
        return True
    return MEDIA_NAME.fullmatch(text) is not None and (one_word or path or is_file(text))


def is_file(text: str) -> bool:
    """Looks up names under the working directory, and judges others by form: a server must not reveal its disk."""
    if (PATH_START.match(text) and text[:2] not in ("./", ".\\")) or ".." in re.split(r"[\\/]", text):
        return PATH_ELSEWHERE.match(text) is not None
    return os.path.isfile(text)


def label_of(source) -> str:
    """Returns what a message calls a clip: its path, or what an open one is called."""
    if isinstance(source, (str, os.PathLike)):
        return f"'{shorten(os.fsdecode(source))}'"
    if isinstance(source, dict) and isinstance(source.get("path"), str):
        return f"'{shorten(source['path'])}'"
    return f"'{source.label}'" if isinstance(source, OpenClip) else "The clip"
