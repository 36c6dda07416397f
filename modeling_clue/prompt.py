# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Defines the prompt, whose parts a checkpoint may have in words of its own, or in others for each modality."""

import re

from .media_container import quoted
from .modalities import MODALITIES


# `{premise}` is replaced by text or the tokens of a clip. The hypothesis comes last so that hypotheses of one premise
# share its encoding. A checkpoint trained the other way round has `{hypothesis}` in its "premise" part, and then gets
# one hypothesis a row, its text tokenized as one.
DEFAULT_PROMPT = {
    "premise": (
        "<|im_start|>system\nYou judge how probable a hypothesis is, given a premise.<|im_end|>\n"
        "<|im_start|>user\nPremise: {premise}\n"
    ),
    "hypothesis": "Hypothesis: {hypothesis}\nHow probable is the hypothesis?<|im_end|>\n<|im_start|>assistant\n",
}

# The part "answer" of a prompt: what a model that writes its probability adds (the paper's token-based variant).
TEXT_ANSWER = "{probability:.2f}<|im_end|>"

PLACEHOLDERS = re.compile(r"(\{premise\}|\{hypothesis\})")


def check_prompt(prompt: dict) -> None:
    """Refuses a prompt with a part or a place too few or too many.

    Raises:
        ValueError: naming what it lacks.
    """
    for parts in prompts_by_modality(prompt).values():
        first, last = parts["premise"], parts["hypothesis"]
        if first.count("{premise}") != 1 or "{premise}" in last:
            raise ValueError(f"`prompt` needs one place for {{premise}}, in its part 'premise', got {quoted(parts)}.")
        if (first + last).count("{hypothesis}") != 1:
            raise ValueError(
                f"`prompt` needs one place for {{hypothesis}}, in either of its parts, got {quoted(parts)}."
            )
        if not last:
            raise ValueError("The part 'hypothesis' of `prompt` is empty: the answer is read at its last token.")
    orders = {"{hypothesis}" in parts["premise"] for parts in prompts_by_modality(prompt).values()}
    if len(orders) > 1:
        raise ValueError(
            "`prompt` has {hypothesis} in the part 'premise' of some modalities and in the part 'hypothesis' of "
            "others: put it into the same part in all."
        )
    if "answer" in prompt and not re.fullmatch(r"[^{}]*\{probability:\.\d+f\}[^{}]+", prompt["answer"]):
        raise ValueError(
            f"The part 'answer' of `prompt` needs one place for the probability, such as {TEXT_ANSWER!r}, got "
            f"{quoted(prompt['answer'])}."
        )


def prompts_by_modality(prompt: dict) -> dict[str, dict[str, str]]:
    """Returns the parts `"premise"` and `"hypothesis"` of a prompt for each modality that it is for.

    Raises:
        ValueError: if it lacks one of them.
    """
    parts = {name: part for name, part in prompt.items() if name != "answer"}
    if parts.keys() == DEFAULT_PROMPT.keys():
        return dict.fromkeys(MODALITIES, parts)
    if not parts or parts.keys() - set(MODALITIES):
        raise ValueError(
            "`prompt` needs the parts 'premise' and 'hypothesis', and may have 'answer'; or it has these two under "
            f"each of {', '.join(MODALITIES)} that it is for; got {quoted(sorted(prompt))}."
        )
    for modality, pair in parts.items():
        if not isinstance(pair, dict) or pair.keys() != DEFAULT_PROMPT.keys():
            raise ValueError(
                f"`prompt` needs the parts 'premise' and 'hypothesis' for {modality}, got {quoted(pair)}."
            )
    return {modality: parts[modality] for modality in MODALITIES if modality in parts}
