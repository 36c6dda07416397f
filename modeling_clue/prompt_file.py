# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Reads a file that says how a checkpoint was prompted in training: YAML, or the Python file of the paper's authors.

```yaml
text:
  system: You judge statements.
  user: "Statement: {hypothesis}\nText: {premise}\nHow likely is the statement?"
video:
  system: You judge statements.
  user: "Statement: {hypothesis}\nHow likely is it, given the video?"
  first: hypothesis
  media: {fps: 0.5, max_frames: 64}
```

The modalities are `text`, `audio`, `video` and `audiovisual`, as many as the checkpoint was trained for. Each has

- `system`: the system message, which may be empty;
- `user`: the user's message, with `{hypothesis}` and `{premise}` where these stand. Where a clip stands apart from
  the text, `{premise}` is left out;
- `first`: `hypothesis` or `premise`. Needed without `{premise}`: the clip then stands behind the user's text, or
  before it. With both places it says the same as their order, and is checked;
- `media`: settings of sound and frames. One set is kept for all modalities, so they must not contradict each other.

The messages are put together as Qwen2.5-Omni's chat template does it, up to the assistant's turn.

Of a Python file, `run_eval.py` of the paper's authors, the constants of `CONSTANTS` are read, and nothing is executed.
The hypothesis stands before the clip there.
"""

import ast
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

from .modalities import MODALITIES


KEYS = ("system", "user", "first", "media")

# System message and user's message of each modality in the authors' code, and the places in the latter.
CONSTANTS = {
    "text": ("NLI_SYSTEM_PROMPT_TEXT", "NLI_PROMPT_TEXT", {"sentence": "{premise}", "claim": "{hypothesis}"}),
    "audio": ("NLI_SYSTEM_PROMPT_AUDIO", "NLI_PROMPT_AUDIO", {"text": "{hypothesis}"}),
    "video": ("NLI_SYSTEM_PROMPT", "NLI_PROMPT", {"text": "{hypothesis}"}),
    "audiovisual": ("NLI_SYSTEM_PROMPT", "NLI_PROMPT", {"text": "{hypothesis}"}),
}

# The whole question is in the first part, so that it is tokenized as one text.
PREMISE_PART = "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}"
HYPOTHESIS_PART = "<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class PromptFile:
    """Holds the content of a prompt file.

    Args:
        prompt (`dict[str, dict[str, str]]`): by modality, as [`~modeling_clue.CLUEProcessor`] takes it.
        media (`dict`): settings of all modalities together.
    """

    prompt: dict[str, dict[str, str]]
    media: dict


def read_prompt_file(path: str | Path) -> PromptFile:
    """Reads and checks a prompt file; a `ValueError` names the key that is missing, unknown or wrong."""
    is_python = Path(path).suffix == ".py"
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = _content_of_constants(text, path) if is_python else yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, SyntaxError) as error:
        words = " ".join(str(error).split())
        raise ValueError(f"'{path}' is not {'Python' if is_python else 'YAML'}: {words}") from error
    if not isinstance(content, dict) or not content or content.keys() - set(MODALITIES):
        found = list(content) if isinstance(content, dict) else content
        raise ValueError(f"'{path}' needs one or more of the keys {', '.join(MODALITIES)}, got {found!r:.200}.")
    prompt, media = {}, {}
    for modality in (name for name in MODALITIES if name in content):
        entry, label = content[modality], f"'{path}', {modality}"
        if not isinstance(entry, dict) or entry.keys() - set(KEYS):
            raise ValueError(f"{label}: needs the keys system and user, and may have first and media, got {entry!r}.")
        for key in ("system", "user"):
            if not isinstance(entry.get(key), str):
                raise ValueError(f"{label}: `{key}` must be a text, got {entry.get(key)!r}.")
        user = _insert_premise(entry["user"], entry.get("first"), modality, label)
        prompt[modality] = {
            "premise": PREMISE_PART.format(system=entry["system"], user=user),
            "hypothesis": HYPOTHESIS_PART,
        }
        settings = {} if entry.get("media") is None else entry["media"]
        if not isinstance(settings, dict):
            raise ValueError(f"{label}: `media` must be settings by name, got {settings!r}.")
        for name, value in settings.items():
            if media.setdefault(name, value) != value:
                raise ValueError(
                    f"{label}: media setting `{name}` is {value!r}, but {media[name]!r} for another modality; one "
                    "value is kept for all."
                )
    return PromptFile(prompt, media)


def _content_of_constants(text: str, path: str | Path) -> dict:
    """Returns what the YAML form would hold of a Python file's constants."""
    module = ast.parse(text)
    values: dict[str, ast.expr] = {}
    for node in module.body:
        if isinstance(node, ast.Assign):
            values |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            values[node.target.id] = node.value
    nodes = (node for node in ast.walk(module) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    times = Counter(node.id for node in nodes)

    def read(name: str) -> str:
        if name not in values:
            raise ValueError(f"'{path}' lacks the constant {name}: take the authors' run_eval.py, or write YAML.")
        if times[name] > 1:
            raise ValueError(f"'{path}' sets {name} {times[name]} times: write YAML instead.")
        return _constant(values[name], values, f"'{path}', {name}")

    content = {}
    for modality, (system, user, places) in CONSTANTS.items():
        if values.keys().isdisjoint((system, user)):
            continue
        template = read(user)
        try:
            question = template.format(**places)
        except (KeyError, IndexError, ValueError) as error:
            known = " and ".join(f"{{{place}}}" for place in places)
            raise ValueError(f"'{path}', {user}: has other places than {known} ({error}).") from error
        content[modality] = {"system": read(system), "user": question, "first": "hypothesis"}
        if modality == "text":
            del content[modality]["first"]
    return content


def _constant(node: ast.expr, values: dict[str, ast.expr], label: str, depth: int = 0) -> str:
    """Puts together a text of literals, other constants and `+`, with blanks stripped where `.strip()` says so."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if depth < 20:
        if isinstance(node, ast.Name) and node.id in values:
            return _constant(values[node.id], values, label, depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return "".join(_constant(part, values, label, depth + 1) for part in (node.left, node.right))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not (node.args or node.keywords):
            if node.func.attr in ("strip", "lstrip", "rstrip"):
                return getattr(_constant(node.func.value, values, label, depth + 1), node.func.attr)()
    raise ValueError(f"{label}: line {node.lineno} is computed, and nothing is executed here: write YAML instead.")


def media_settings(path: str | Path, prompts: PromptFile, defaults: dict) -> dict:
    """Returns the media settings of a prompt file over `defaults`, which name all there are.

    Raises:
        ValueError: if a setting is unknown, or the pixels of a frame are no whole numbers.
    """
    unknown = prompts.media.keys() - defaults.keys()
    if unknown:
        raise ValueError(f"'{path}': unknown media setting {sorted(unknown)}: choose from {sorted(defaults)}.")
    settings = {**defaults, **prompts.media}
    pixels = {name: settings[name] for name in ("min_pixels", "max_pixels")}
    if not all(isinstance(value, int) and value > 0 for value in pixels.values()):
        raise ValueError(f"'{path}': `min_pixels` and `max_pixels` must be whole numbers, got {pixels}.")
    return settings


def _insert_premise(user: str, first: str | None, modality: str, label: str) -> str:
    if user.count("{hypothesis}") != 1 or user.count("{premise}") > 1:
        raise ValueError(f"{label}: `user` needs one {{hypothesis}}, and one {{premise}} at most, got {user!r}.")
    if first not in (None, "hypothesis", "premise"):
        raise ValueError(f"{label}: `first` must be hypothesis or premise, got {first!r}.")
    if "{premise}" in user:
        order = "hypothesis" if user.index("{hypothesis}") < user.index("{premise}") else "premise"
        if first not in (None, order):
            raise ValueError(f"{label}: `first` is {first}, but in `user` {{{order}}} comes first.")
        return user
    if modality == "text":
        raise ValueError(f"{label}: `user` needs a place for the {{premise}}, got {user!r}.")
    if first is None:
        raise ValueError(
            f"{label}: `user` has no place for the {{premise}}: put one into it, or say with `first` what comes "
            "first, hypothesis (the clip behind the text) or premise (the clip before it)."
        )
    return user + "{premise}" if first == "hypothesis" else "{premise}" + user
