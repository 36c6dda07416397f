# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Describes the requests of both formats for decisions as types, System One's and OpenAI's, and writes their answers.

Both are read as the same thing: the parts of a premise, and a list of questions.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr
from transformers.decision.template_utils import Question

from .decision import CLUEDecisionConfig
from .decision_format import MAX_LEVELS, MAX_OPTIONS, MEDIA_FIELDS, Part, parts_of_state, read_media


MAX_QUESTIONS, MAX_MEDIA = 400, 16

_CONFIG = CLUEDecisionConfig()
Media = Annotated[list[str | dict[str, Any]], Field(max_length=MAX_MEDIA)]


class RequestError(ValueError):
    """Tells which field of a request can't be used, and why."""

    def __init__(self, place: tuple, message: str):
        super().__init__(message)
        self.place = place


def check_json(value: Any) -> None:
    """Raises a [`RequestError`] if a part of a request could not be written into an answer: Python's parser takes
    numbers that are none, and halves of characters."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, UnicodeEncodeError) as error:
        raise RequestError((), "NaN, Infinity and lone surrogates are no JSON.") from error


class SystemOneRequest(BaseModel):
    """A state, and typed questions about it by their names. Fields that are not listed are ignored."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "model": "clue",
                    "state": "Balls in the urn: red, red, blue, green, red.",
                    "questions": {
                        "red": {"type": "noul", "instructions": "A random ball is red."},
                        "colour": {
                            "type": "choice",
                            "instructions": "A random ball is {}.",
                            "criteria": {"r": "red", "b": "blue", "g": "green", "y": "yellow"},
                        },
                    },
                }
            ]
        },
    )

    model: str
    state: str | dict[str, Any] | list[Any] = Field(description="the premise, or its text beside media")
    questions: dict[str, dict[str, Any]] = Field(
        min_length=1,
        max_length=MAX_QUESTIONS,
        description="`noul`, `choice` or `score`, with `instructions` and `criteria`",
    )
    images: Media = Field(default=[], description="`data:` addresses of PNG, JPEG, GIF or WebP")
    audio: Media = Field(default=[], description="`data:` addresses of sounds")
    videos: Media = Field(
        default=[], description="`data:` addresses of videos, judged with their sound if they have it"
    )
    assets: dict[str, dict[str, Any]] = Field(
        default={}, max_length=MAX_MEDIA, description="media by the words of the state that they stand for"
    )
    x_details: bool = Field(default=False, description="give the hypotheses, their probabilities and intervals too")

    def repeated(self) -> list:
        """Returns what answers and errors may repeat, and the state."""
        return [self.model, self.state, self.questions, list(self.assets)]

    def parts(self) -> list[Part]:
        """Returns the parts of the premise, with their media decoded from base64."""
        return parts_of_state({name: getattr(self, name) for name in ("state", "assets", *MEDIA_FIELDS)})

    def parsed(self) -> list[Question]:
        """Returns the questions; raises [`RequestError`] for the first that is none."""
        parsed = []
        for name, question in self.questions.items():
            if not name:
                raise RequestError(("questions", name), "A question's name is not empty.")
            try:
                parsed.append(Question.from_request(name, question, _CONFIG))
            except ValueError as error:
                raise RequestError(("questions", name), str(error)) from error
        return parsed


class ContentPart(BaseModel):
    """A part of a message, or of a question's instructions: a text, a picture or JSON."""

    model_config = ConfigDict(strict=True)

    type: Literal["input_text", "output_text", "input_image", "input_json"]
    text: str | None = None
    image_url: str | None = None
    json_: Any = Field(default=None, alias="json")

    def as_text(self) -> str | None:
        """Returns a text or JSON; `None` for a picture."""
        if self.type == "input_image":
            return None
        if self.type == "input_json":
            return self.json_ if isinstance(self.json_, str) else json.dumps(self.json_, ensure_ascii=False)
        return self.text or ""


class Message(BaseModel):
    """A message of the input."""

    model_config = ConfigDict(strict=True)

    type: Literal["message"] = "message"
    role: Literal["user", "developer", "system", "assistant"]
    content: str | list[ContentPart]


class _Asked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    name: str | None = None
    instructions: str | list[ContentPart]

    def statement(self) -> str:
        """Returns the instructions as a text."""
        if isinstance(self.instructions, str):
            return self.instructions
        texts = [part.as_text() for part in self.instructions]
        if None in texts:
            raise ValueError("Instructions can't have pictures: put them into `input`.")
        return "\n".join(texts)


class Predicate(_Asked):
    """Asks how probable a statement is."""

    type: Literal["predicate"]

    def as_question(self) -> dict[str, Any]:
        """Returns what System One calls this."""
        return {"type": "noul", "instructions": self.statement()}


class Choice(BaseModel):
    """An option."""

    model_config = ConfigDict(strict=True, extra="forbid")

    value: StrictStr | StrictBool
    description: str | None = None


class ChoiceAsked(_Asked):
    """Asks which option is right."""

    type: Literal["choice"]
    choices: list[Choice] = Field(min_length=2, max_length=MAX_OPTIONS)

    def as_question(self) -> dict[str, Any]:
        """Returns what System One calls this; `true` and "true" are two options, the former without its quotes."""
        names = [
            choice.value if isinstance(choice.value, str) else json.dumps(choice.value) for choice in self.choices
        ]
        if len({(type(choice.value), choice.value) for choice in self.choices}) != len(names):
            raise ValueError("Each choice must be another.")
        if len(set(names)) != len(names):
            raise ValueError("A choice that is a text has the name of one that is true or false: give it another.")
        criteria = {name: choice.description for name, choice in zip(names, self.choices, strict=True)}
        return {"type": "choice", "instructions": self.statement(), "criteria": criteria}


class Level(BaseModel):
    """A level, lowest first."""

    model_config = ConfigDict(strict=True, extra="forbid")

    label: str
    description: str | None = None


class ScoreAsked(_Asked):
    """Asks which level is right."""

    type: Literal["score"]
    levels: list[Level] = Field(min_length=2, max_length=MAX_LEVELS)

    def as_question(self) -> dict[str, Any]:
        """Returns what System One calls this."""
        criteria = [
            level.label if not level.description else f"{level.label}: {level.description}" for level in self.levels
        ]
        return {"type": "score", "instructions": self.statement(), "criteria": criteria}


class DecisionsRequest(BaseModel):
    """An input, and a list of questions about it. Fields that are not listed are ignored."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "model": "clue",
                    "input": "Balls in the urn: red, red, blue, green, red.",
                    "questions": [{"type": "predicate", "name": "red", "instructions": "A random ball is red."}],
                }
            ]
        },
    )

    model: str
    input: str | list[Message] = Field(description="a text, or messages of texts, pictures and JSON")
    questions: list[Annotated[Predicate | ChoiceAsked | ScoreAsked, Field(discriminator="type")]] = Field(
        min_length=1, max_length=MAX_QUESTIONS
    )
    x_details: bool = False

    def repeated(self) -> list:
        """Returns what answers and errors may repeat."""
        return [self.model, self.model_dump(include={"questions"})]

    def parts(self) -> list[Part]:
        """Returns the parts of the premise: pictures stay where they are among the texts."""
        if isinstance(self.input, str):
            return [Part("text", self.input)] if self.input.strip() else []
        parts = []
        for place, message in enumerate(self.input):
            content = message.content
            if isinstance(content, str):
                content = [ContentPart(type="input_text", text=content)]
            for number, given in enumerate(content):
                name, text = f"input[{place}].content[{number}]", given.as_text()
                if text is None:
                    parts.append(Part("image", read_media("image", given.image_url, name), name))
                elif text.strip():
                    parts.append(Part("text", text if len(self.input) == 1 else f"{message.role}: {text}", name))
        if sum(part.kind == "image" for part in parts) > MAX_MEDIA:
            raise RequestError(("input",), f"There are more than {MAX_MEDIA} pictures.")
        return parts

    def parsed(self) -> list[Question]:
        """Returns the questions, named by their places; raises [`RequestError`] for the first that is none."""
        parsed = []
        for place, asked in enumerate(self.questions):
            try:
                parsed.append(Question.from_request(str(place), asked.as_question(), _CONFIG))
            except ValueError as error:
                raise RequestError(("questions", place), str(error)) from error
        return parsed

    def answer(self, place: int, answer: dict[str, Any]) -> dict[str, Any]:
        """Writes System One's answer to a question in OpenAI's way."""
        asked = self.questions[place]
        written = {"type": asked.type, "name": asked.name}
        if isinstance(asked, Predicate):
            return written | {"probability": answer["noul"]}
        options = answer["probabilities"]
        if isinstance(asked, ChoiceAsked):
            values = dict(zip(options, (choice.value for choice in asked.choices), strict=True))
            return written | {
                "choice": values[answer["choice"]],
                "confidence": answer["confidence"],
                "probabilities": [
                    {"value": values[name], "probability": probability} for name, probability in options.items()
                ],
            }
        return written | {
            "score": answer["score"],
            "confidence": answer["confidence"],
            "probabilities": [
                {"value": value, "label": level.label, "probability": probability}
                for value, (level, probability) in enumerate(zip(asked.levels, options.values(), strict=True))
            ],
        }
