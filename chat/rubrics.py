"""
Writes what a teacher is asked about a premise and a hypothesis, for each modality.

The scale has the meaning of the one that people were given for the same task (appendix B.2 and figure 12 of the paper)
and that its authors gave their teachers (appendix G): 1 for direct evidence, 0 for none at all or the opposite, and
what lies between by how much of the hypothesis the premise bears out. The words are our own.

The premise's clip is no text: whoever asks attaches it before the prompt. Of a combination so is every part, each
under its heading.
"""

from collections.abc import Mapping

from common.errors import InputError


# What stands for the premise in the texts below.
PREMISES = {
    "text": "the text",
    "audio": "the recording",
    "video": "the video",
    "audiovisual": "the video with its sound",
}
TASKS = {
    "text": "Below are a text and a hypothesis. Read both.",
    "audio": "You are given a sound recording and, below, a hypothesis. Listen to all of it: speech, sounds, music.",
    "video": "You are given a video without sound and, below, a hypothesis. Watch all of it: people, objects, "
    "actions, places, and any writing on the screen.",
    "audiovisual": "You are given a video with its sound and, below, a hypothesis. Watch and listen to all of it: "
    "what is seen, what is heard, and any writing on the screen.",
}
COMBINATION_TASK = (
    "You are given material in several parts and, below, a hypothesis. Take in every part, in its order: what is "
    "written, shown, and heard."
)
PART_NAMES = {
    "text": "a text",
    "image": "a picture",
    "audio": "a recording",
    "video": "a video",
    "audiovisual": "a video with its sound",
}
MEDIA_SCALE = """\
1.0: {premise} itself shows or says it, and nothing is left to interpret.
0.8 to 1.0: the core of it is there; a detail of who, where or how completely stays a little open.
0.6 to 0.8: the evidence points clearly to it, but something that matters is missing or hard to make out.
0.4 to 0.6: part of it fits, and much of it could be read either way.
0.2 to 0.4: there are faint signs of it, too few to believe it.
0.0 to 0.2: no more than a setting or subject in common with it.
0.0: {premise} has nothing to do with it, or shows the opposite.
Take the lower value where you hesitate between two. A hypothesis that sounds likely by itself gains nothing: what \
counts is the evidence in {premise}."""
TEXT_SCALE = """\
1.0: {premise} says it, in these or in other words, or it follows with certainty.
0.8 to 1.0: its main point is there; at most a small detail is left open.
0.6 to 0.8: it is not said, but a sensible reader would conclude that it is probably so.
0.4 to 0.6: the subject is the same, and it may as well be true as false.
0.2 to 0.4: little in {premise} speaks for it.
0.0 to 0.2: it would be a guess with hardly anything to go by.
0.0: {premise} rules it out, or has nothing to do with it."""
KNOWLEDGE = (
    "Use what people generally know of the world, such as places, faces and customs, but nothing that you may "
    "remember of whether this very hypothesis turned out true. Take events as happening now."
)
REQUEST = (
    "Give the probability that the hypothesis is true as one decimal number from 0 to 1, not a range and not per "
    "cent, between these tags at the end of your reply: <answer>NUMBER</answer>"
)
DECIMALS_REQUEST = (
    "Give the probability that the hypothesis is true as one decimal number from 0.00 to 1.00, with two digits after "
    "the point, and reply with nothing but this number between these tags: <answer>NUMBER</answer>"
)
YES_NO_REQUEST = "Is the hypothesis true? Reply with one word, Yes or No."


def rubric(row: Mapping) -> str:
    """
    Writes the prompt for one row: the scale, and a number in the end.

    Its `hypothesis`, for text its `premise`, and its `context` where there is one (the background that people were
    given too) appear in the prompt as they are.

    Raises:
        `InputError`: if the row's modality is unknown, or it has no hypothesis or premise.
    """
    return _prompt(row, _scale(row), REQUEST)


def decimals_rubric(row: Mapping) -> str:
    """Writes the prompt for one row as [`rubric`] does, for two digits after the point and no other word."""
    return _prompt(row, _scale(row), DECIMALS_REQUEST)


def yes_no_rubric(row: Mapping) -> str:
    """Writes the prompt for one row as [`rubric`] does, without a scale, for a yes or a no."""
    return _prompt(row, [], YES_NO_REQUEST)


def part_heading(number: int, part: Mapping) -> str:
    """Returns what stands before a part of a combination; of a text, with the text."""
    heading = f"Part {number} of the material, {PART_NAMES[part['modality']]}:"
    return f"{heading}\n{part['text']}" if part["modality"] == "text" else heading


def _scale(row: Mapping) -> list[str]:
    premise = "the material" if row.get("parts") else PREMISES[_modality(row)]
    return [
        f"How probable is it that the hypothesis is true, given {premise}? Use this scale:",
        (TEXT_SCALE if row["modality"] == "text" else MEDIA_SCALE).replace("{premise}", premise),
    ]


def _prompt(row: Mapping, scale: list[str], request: str) -> str:
    modality = _modality(row)
    parts = [COMBINATION_TASK if row.get("parts") else TASKS[modality], *scale, KNOWLEDGE]
    # Texts of the dataset are put in by concatenation alone: braces or tags in them mean nothing here.
    context = row.get("context")
    if context is not None:
        parts.append("Background, for orientation only; it is no evidence:\n" + context)
    if modality == "text":
        parts.append("Text:\n" + _text(row, "premise"))
    parts += ["Hypothesis:\n" + _text(row, "hypothesis"), request]
    return "\n\n".join(parts)


def _modality(row: Mapping) -> str:
    modality = row["modality"]
    if modality not in PREMISES:
        raise InputError(f"row {row['id']}: modality must be one of {tuple(PREMISES)}, got {modality!r}")
    return modality


def _text(row: Mapping, column: str) -> str:
    text = row[column]
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"row {row['id']}: there is no {column} to ask about, got {text!r}")
    return text
