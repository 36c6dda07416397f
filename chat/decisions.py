"""
Asks decision models, which give probabilities to typed questions about a state and write no text, in both formats that
servers of them have: System One's (`POST /v1/systemone`: transformers serve, vLLM, SGLang, TypeSafe, Cloudflare) and
OpenAI's (`POST /v1/decisions`: OpenAI, vLLM, LiteLLM).

A hypothesis is a question of the type `noul`, or `predicate`: how probable is it that this statement is true? System
One has `images`, `audio` and `videos` beside the state, lists of `data:` addresses; OpenAI's format has texts and
pictures alone, in their order.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chat.client import ServerClient
from chat.media import (
    AUDIO_TYPES,
    IMAGE_TYPES,
    VIDEO_TYPES,
    data_address,
    read_clip,
    wav,
    without_sound,
)
from chat.replies import read_json, reply_error
from common.errors import InputError
from modeling_clue.modalities import PART_COLUMNS, parts_of_row


# How a video's sound goes with it: in the file, as it is; or as a clip beside the silent video.
SOUND = ("inside", "beside")
NO_ANSWER = "the server left this question out"
REFUSED = "refused"
# System One's fields for media.
FIELDS = {"image": "images", "audio": "audio", "video": "videos"}


@dataclass(frozen=True)
class State:
    """Holds what questions are about, as any of the formats sends it.

    Args:
        background (`str`, *optional*): What is told beside the premise, and is no evidence.
        parts (`list[tuple[str, str]]`): What the premise is made of, in its order: its kind, `"text"`, `"image"`,
            `"audio"` or `"video"`, and the text, or the file as a `data:` address.
    """

    background: str | None
    parts: list[tuple[str, str]] = field(default_factory=list)

    def of(self, kind: str) -> list[str]:
        """Returns the parts of one kind."""
        return [value for name, value in self.parts if name == kind]


def read_state(row: Mapping, dataset: Path, max_media_bytes: int, sound: str = "inside") -> State:
    """
    Reads the premise of a row.

    A premise that is a video without its sound is sent without one, whatever tracks its file has: the server can't
    know better.

    Args:
        row (`Mapping`): A row of UMUI with its clips undecoded.
        dataset (`Path`): The dataset folder; media are read from nowhere else.
        max_media_bytes (`int`): Larger media files are not sent.
        sound (`str`): Out of `SOUND`, for videos with their sound.

    Raises:
        `UnfitPairError`: if the media are missing, too large or unreadable.
    """
    parts = []
    for part in parts_of_row(row) if row["parts"] else [{"text": row["premise"], **row}]:
        kind = part["modality"]
        if kind == "text":
            parts.append(("text", part["text"]))
            continue
        media, suffix = read_clip(part[PART_COLUMNS[kind]], dataset, max_media_bytes)
        if kind == "image":
            parts.append(("image", data_address(IMAGE_TYPES, media, suffix)))
        elif kind == "audio":
            if suffix not in AUDIO_TYPES:
                media, suffix = wav(media), ".wav"
            parts.append(("audio", data_address(AUDIO_TYPES, media, suffix)))
        else:
            inside = kind == "audiovisual" and sound == "inside"
            seen = media if inside else without_sound(media, suffix)
            parts.append(("video", data_address(VIDEO_TYPES, seen, suffix)))
            if kind == "audiovisual" and not inside:
                parts.append(("audio", data_address(AUDIO_TYPES, wav(media), ".wav")))
    return State(row.get("context"), parts)


@dataclass(frozen=True)
class Answer:
    """Holds the answer to one question: its probability, or the reason why there is none."""

    probability: float | None
    reason: str | None


class DecisionClient(ServerClient):
    """Asks a server in one of the formats; a subclass has how it is written and read."""

    holder: type  # of the answers in a reply

    @staticmethod
    @abstractmethod
    def request(state: State, hypotheses: Sequence[str]) -> dict:
        """Writes the request about several hypotheses; an `InputError` if the format has no place for the state."""

    @staticmethod
    @abstractmethod
    def answers(reply: dict, asked: int) -> list[Answer]:
        """Reads what a reply answers to each of the questions of its request."""

    def read(self, status: int, text: str) -> dict:
        """Checks a reply, and returns it; raises `ReplyError` if it is an error, or has no answers."""
        reply = read_json(status, text)
        if status != 200 or reply.get("error") or not isinstance(reply.get("answers"), self.holder):
            raise reply_error(status, reply.get("error"), reply, text)
        return reply


class SystemOneClient(DecisionClient):
    """Asks in System One's format.

    A premise of several parts has its texts in the `state`, a list if there are more than one, and its clips beside:
    the format does not tell the order among different kinds. With a background the state is an object.
    """

    path = "systemone"
    holder = dict
    harmless = {
        "state": "Two is more than one.",
        "questions": {"q1": {"type": "noul", "instructions": "Two is more."}},
    }

    @staticmethod
    def request(state: State, hypotheses: Sequence[str]) -> dict:
        """Writes a request with the questions `q1`, `q2`, ..., in the order of the hypotheses."""
        texts = state.of("text")
        state_text = "" if not texts else texts[0] if len(texts) == 1 else texts
        if state.background is not None:
            state_text = {"background": state.background, **({"premise": state_text} if texts else {})}
        return {
            "state": state_text,
            "questions": {
                f"q{number}": {"type": "noul", "instructions": hypothesis}
                for number, hypothesis in enumerate(hypotheses, start=1)
            },
            **{name: state.of(kind) for kind, name in FIELDS.items() if state.of(kind)},
        }

    @staticmethod
    def answers(reply: dict, asked: int) -> list[Answer]:
        """Reads the `noul` of each question by its name."""
        return [_answer(reply["answers"].get(f"q{number}"), "noul", "noul") for number in range(1, asked + 1)]


class DecisionsClient(DecisionClient):
    """Asks in OpenAI's format, which has no place for sound or video."""

    path = "decisions"
    holder = list
    harmless = {"input": "Two is more than one.", "questions": [{"type": "predicate", "instructions": "Two is more."}]}

    @staticmethod
    def request(state: State, hypotheses: Sequence[str]) -> dict:
        """Writes a request with a `predicate` for each hypothesis; a text by itself is the input as it is."""
        if unfit := sorted({kind for kind, _ in state.parts} - {"text", "image"}):
            raise InputError(
                f"/v1/decisions has no place for {' and '.join(unfit)}: ask the server with --predictor systemone"
            )
        parts = [
            {"type": "input_text", "text": value} if kind == "text" else {"type": "input_image", "image_url": value}
            for kind, value in state.parts
        ]
        if state.background is not None:
            background = f"Background, for orientation only; it is no evidence:\n{state.background}"
            parts.insert(0, {"type": "input_text", "text": background})
        alone = len(parts) == 1 and parts[0]["type"] == "input_text"
        return {
            "input": parts[0]["text"] if alone else [{"type": "message", "role": "user", "content": parts}],
            "questions": [
                {"type": "predicate", "name": f"q{number}", "instructions": hypothesis}
                for number, hypothesis in enumerate(hypotheses, start=1)
            ],
        }

    @staticmethod
    def answers(reply: dict, asked: int) -> list[Answer]:
        """Reads the `probability` of each question by its name."""
        named = {answer.get("name"): answer for answer in reply["answers"] if isinstance(answer, dict)}
        return [_answer(named.get(f"q{number}"), "predicate", "probability") for number in range(1, asked + 1)]


def _answer(answer: object, kind: str, key: str) -> Answer:
    """Reads the probability of one answer; one of another kind, or that is no probability, is none."""
    if not isinstance(answer, dict):
        return Answer(None, NO_ANSWER)
    if answer.get("type") == "refusal":
        return Answer(None, REFUSED)
    value = answer.get(key)
    if answer.get("type") != kind:
        return Answer(None, f"an answer of the type {str(answer.get('type'))[:40]!r}, not {kind!r}")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return Answer(None, f"no number in {key!r}")
    if not 0 <= value <= 1:
        return Answer(None, f"{value:g} is no probability")
    return Answer(float(value), None)
