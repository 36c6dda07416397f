# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Serves a checkpoint to programs that ask typed questions about texts, pictures, sounds and videos.

```bash
python -m modeling_clue.decision_server --model checkpoints/clue-urn-tiny --port 8000
curl http://127.0.0.1:8000/v1/systemone -H "Content-Type: application/json" -d '{
  "model": "clue", "state": "Balls in the urn: red, red, blue, green, red.",
  "questions": {"red": {"type": "noul", "instructions": "A random ball is red."}}}'
```

It answers `POST /v1/systemone`, System One's format with media beside the state, and `POST /v1/decisions`, OpenAI's;
`GET /v1/models` and `GET /health`; `/docs` is the page of its API. docs/decisions.md says more. It needs the extra
`server`: `pip install clue-umui[server]`.
"""

import argparse
import hmac
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from transformers.decision.template_utils import Question

from .command_line import exit_on_error
from .decision_format import Part, build_premise, hypotheses_of, option_probabilities
from .decision_requests import DecisionsRequest, RequestError, SystemOneRequest, check_json
from .media_limits import MediaLimits
from .pipeline_clue import UncertainInferencePipeline
from .premise_state import PremiseState
from .score import load
from .servers import read_key


# What the SDKs of the format ask for if nobody names a model.
ALIAS = "jev-latest"

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "method_not_allowed",
    413: "request_too_large",
    422: "invalid_request_error",
    503: "overloaded_error",
}


@dataclass(frozen=True)
class ServerOptions:
    """Holds what a server is called, and its limits.

    Args:
        name (`str`): of the model in requests and answers.
        key (`str`): that requests must have; none if empty.
        max_text (`int`): letters of the texts of a premise, and of all hypotheses of a request.
        max_hypotheses (`int`): of all questions of a request.
        max_request_megabytes (`float`): of a request's body, base64 and all.
        max_waiting (`int`): requests that are worked at or wait; what comes then is refused.
        cache_megabytes (`float`): of premises that are kept read.
        media (`MediaLimits`): of each file.
    """

    name: str = "clue"
    key: str = ""
    max_text: int = 200_000
    max_hypotheses: int = 2_048
    max_request_megabytes: float = 70
    max_waiting: int = 8
    cache_megabytes: float = 512
    media: MediaLimits = field(default_factory=MediaLimits)


@dataclass(frozen=True)
class Judged:
    """Holds what the model says of a request: the pipeline's answers, one list for each question, and the tokens."""

    answers: list[list[dict[str, Any]]]
    modality: str
    notes: list[str]
    input_tokens: int
    cached_tokens: int


class Judge:
    """Reads premises once and judges hypotheses about them, one request at a time."""

    def __init__(self, clue: UncertainInferencePipeline, cache_bytes: float):
        self.clue, self.cache_bytes = clue, cache_bytes
        self._kept: OrderedDict[bytes, PremiseState] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, parts: list[Part], hypotheses: list[list[str]]) -> Judged:
        """Judges the hypotheses of each question about a premise; a `ValueError` says what of it can't be used."""
        digest = _digest(parts)
        with self._lock:
            state = self._kept.get(digest)
        # Decoded without the lock: others are judged meanwhile.
        encoded = None if state else self.clue.processor.encode_premise(build_premise(parts))
        asked = [hypothesis for some in hypotheses for hypothesis in some]
        with self._lock:
            if state is None:
                inputs = self.clue.processor.collate_premises([encoded])
                read = self.clue.model.read(**inputs.to(self.clue.device, self.clue.model.dtype))
                judged_by = replace(read, modalities=inputs.modalities, notes=inputs.notes)
            else:
                judged_by = state
            answers = iter(self.clue(judged_by, hypotheses=asked))
            self._keep(digest, judged_by)
        premise_tokens = int(judged_by.mask.sum())
        tokens = self.clue.processor.encode_hypotheses([asked], judged_by.modalities)["input_ids"].numel()
        return Judged(
            [[next(answers) for _ in some] for some in hypotheses],
            judged_by.modalities[0],
            judged_by.notes[0],
            premise_tokens + tokens,
            premise_tokens if state else 0,
        )

    def _keep(self, digest: bytes, state: PremiseState) -> None:
        """Keeps a premise, and lets go of those that were not asked about for the longest time."""
        self._kept[digest] = state
        self._kept.move_to_end(digest)
        while self._kept and sum(kept.nbytes for kept in self._kept.values()) > self.cache_bytes:
            self._kept.popitem(last=False)


class Gate:
    """Refuses who has no key, what is too large, and too much at once, before a request is read into memory.

    It stands before the application as ASGI middleware.
    """

    def __init__(self, app: Callable, options: ServerOptions):
        self.app, self.options, self.waiting = app, options, 0
        self.max_bytes = options.max_request_megabytes * 2**20

    async def __call__(self, scope, receive, send):
        """Passes a request on, or answers it."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            return await self.app(scope, receive, send)
        path = scope["path"]
        if refused := self._refuse_key(dict(scope["headers"]).get(b"authorization", b"")):
            return await _error(path, 401, refused)(scope, receive, send)
        if self.waiting >= self.options.max_waiting:
            answer = _error(path, 503, "Too many requests at once: try again.", {"Retry-After": "1"})
            return await answer(scope, receive, send)
        self.waiting += 1
        try:
            body = await self._read(receive)
            if body is None:
                answer = _error(path, 413, f"The request is larger than {self.options.max_request_megabytes:g} MB.")
                return await answer(scope, receive, send)
            messages = iter([{"type": "http.request", "body": body, "more_body": False}])

            async def replay():
                return next(messages, None) or await receive()

            return await self.app(scope, replay, send)
        finally:
            self.waiting -= 1

    def _refuse_key(self, header: bytes) -> str | None:
        """Says why a request's key won't do; `None` if it does, or none is needed."""
        if not self.options.key:
            return None
        scheme, _, given = header.partition(b" ")
        if scheme.lower() != b"bearer" or not given.strip():
            return "A key is needed: Authorization: Bearer KEY."
        return None if hmac.compare_digest(given.strip(), self.options.key.encode()) else "The key is wrong."

    async def _read(self, receive) -> bytes | None:
        """Reads a body; `None` if it is too large: the rest of it is thrown away, so that the answer is heard."""
        chunks, size = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b"".join(chunks)
            size += len(message.get("body", b""))
            chunks = [*chunks, message.get("body", b"")] if size <= self.max_bytes else []
            if not message.get("more_body"):
                return b"".join(chunks) if size <= self.max_bytes else None
            if size > 4 * self.max_bytes:
                return None


def build_app(clue: UncertainInferencePipeline, options: ServerOptions, source: str = "") -> FastAPI:
    """Makes the application.

    Args:
        clue ([`UncertainInferencePipeline`]): of the checkpoint.
        options ([`ServerOptions`]): its name, key and limits.
        source (`str`): the checkpoint's folder or name on the Hub, by which it may be asked for too.
    """
    judge = Judge(clue, options.cache_megabytes * 2**20)
    names = {options.name, source, ALIAS}
    app = FastAPI(title="CLUE", description="Calibrated probabilities of statements about texts, sounds and videos.")

    def work(body: SystemOneRequest | DecisionsRequest) -> tuple[list[Question], Judged]:
        check_json(body.repeated())
        questions = body.parsed()
        hypotheses = []
        for place, question in enumerate(questions):
            try:
                hypotheses.append(hypotheses_of(question))
            except ValueError as error:
                name = question.name if isinstance(body, SystemOneRequest) else place
                raise RequestError(("questions", name), str(error)) from error
        number = sum(map(len, hypotheses))
        if number > options.max_hypotheses:
            raise RequestError(
                ("questions",),
                f"The questions have {number} options in all; up to {options.max_hypotheses} are judged.",
            )
        if sum(len(text) for some in hypotheses for text in some) > options.max_text:
            raise RequestError(("questions",), f"The questions have more than {options.max_text:,} letters in all.")
        field = "state" if isinstance(body, SystemOneRequest) else "input"
        try:
            parts = body.parts()
            if sum(len(part.content) for part in parts if part.kind == "text") > options.max_text:
                raise ValueError(f"The text is longer than {options.max_text:,} letters.")
            for part in parts:
                if part.kind != "text":
                    options.media.check(part.kind, part.content, part.name)
            return questions, judge(parts, hypotheses)
        except ValueError as error:
            if isinstance(error, RequestError):
                raise
            raise RequestError((field,), str(error)) from error

    async def answer(body: SystemOneRequest | DecisionsRequest) -> JSONResponse:
        if body.model not in names:
            raise HTTPException(404, f"There is no such model: this server has {options.name!r}.")
        try:
            questions, judged = await run_in_threadpool(work, body)
        except RecursionError as error:
            raise RequestError((), "Objects and lists are nested too deeply.") from error
        answers = []
        for question, found in zip(questions, judged.answers, strict=True):
            given = question.answer(option_probabilities(question, [one["probability"] for one in found]))
            if body.x_details:
                given["x_hypotheses"] = [
                    {name: one[name] for name in ("hypothesis", "probability", "interval")} for one in found
                ]
            answers.append(given)
        usage = {"input_tokens": judged.input_tokens, "output_tokens": 0}
        about_premise = {"x_modality": judged.modality, "x_notes": judged.notes}
        if isinstance(body, SystemOneRequest):
            named = {question.name: given for question, given in zip(questions, answers, strict=True)}
            usage["x_cached_tokens"] = judged.cached_tokens
            return JSONResponse({"model": options.name, "answers": named, "usage": usage, **about_premise})
        usage |= {
            "input_tokens_details": {"cached_tokens": judged.cached_tokens, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": judged.input_tokens,
        }
        written = [
            body.answer(place, given) | ({"x_hypotheses": given["x_hypotheses"]} if body.x_details else {})
            for place, given in enumerate(answers)
        ]
        return JSONResponse({"model": options.name, "answers": written, "usage": usage, **about_premise})

    @app.post("/v1/systemone")
    async def systemone(body: SystemOneRequest) -> JSONResponse:
        """Answers typed questions about a state and the media beside it."""
        return await answer(body)

    @app.post("/v1/decisions")
    async def decisions(body: DecisionsRequest) -> JSONResponse:
        """Answers typed questions about an input of texts and pictures."""
        return await answer(body)

    @app.get("/v1/models")
    async def models() -> dict:
        """Names the model, in both formats at once."""
        made = _made(source)
        about = {
            "name": options.name,
            "description": "CLUE: calibrated probabilities of statements about texts, sounds and videos",
            "release_date": made.date().isoformat(),
        }
        card = {"id": options.name, "object": "model", "created": int(made.timestamp()), "owned_by": "clue"}
        return {"models": [about], "object": "list", "data": [card]}

    @app.get("/health")
    async def health() -> dict:
        """Says that the server answers; needs no key."""
        return {"status": "ok"}

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> JSONResponse:
        return _invalid(request.url.path, error.errors())

    @app.exception_handler(RequestError)
    async def _(request: Request, error: RequestError) -> JSONResponse:
        return _invalid(request.url.path, [{"loc": ("body", *error.place), "msg": str(error), "type": "value_error"}])

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> JSONResponse:
        return _error(request.url.path, error.status_code, str(error.detail), error.headers)

    app.add_middleware(Gate, options=options)
    return app


def _digest(parts: list[Part]) -> bytes:
    """Tells premises apart: by the kind, length and content of each part."""
    digest = blake2b(digest_size=32)
    for part in parts:
        content = part.content.encode("utf-8", "surrogatepass") if isinstance(part.content, str) else part.content
        digest.update(f"{part.kind}:{len(content)}:".encode() + content)
    return digest.digest()


def _made(source: str) -> datetime:
    """Returns when the checkpoint was written, or today for one on the Hub."""
    folder = Path(source)
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC) if source and folder.is_dir() else datetime.now(UTC)


def _invalid(path: str, details: list[dict]) -> JSONResponse:
    """Says what in a request is wrong, without the input that pydantic repeats."""
    errors = [{"loc": list(one["loc"]), "msg": one["msg"], "type": one["type"]} for one in details]
    if path == "/v1/decisions":
        places = [".".join(map(str, one["loc"][1:])) for one in errors]
        message = "; ".join(f"{place}: {one['msg']}" for place, one in zip(places, errors, strict=True))
        return _error(path, 422, message, param=places[0])
    return JSONResponse({"detail": errors}, 422)


def _error(
    path: str, status: int, message: str, headers: dict | None = None, param: str | None = None
) -> JSONResponse:
    """Writes an error in the format of the endpoint."""
    kind = ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    if path == "/v1/decisions":
        content = {"error": {"message": message, "type": kind, "param": param, "code": None}}
    else:
        content = {"detail": {"error_type": kind, "message": message}}
    return JSONResponse(content, status, headers)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m modeling_clue.decision_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = ServerOptions()
    parser.add_argument("--model", required=True, help="folder or Hub repository of a CLUE checkpoint")
    parser.add_argument(
        "--served-model-name", default=defaults.name, help="of the model in requests (default: %(default)s)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: %(default)s, this machine)"
    )
    parser.add_argument("--port", type=int, default=8000, help="(default: %(default)s)")
    parser.add_argument(
        "--api-key-env",
        default="CLUE_SERVER_KEY",
        metavar="VARIABLE",
        help="environment variable with the key that requests must have; none if it is unset (default: %(default)s)",
    )
    limits = {
        "max-request-megabytes": (float, "of a request, base64 and all"),
        "max-text": (int, "letters of a premise, and of all questions of a request"),
        "max-hypotheses": (int, "options of all questions of a request"),
        "max-waiting": (int, "requests at work or waiting"),
        "cache-megabytes": (float, "memory for premises that are kept read; 0 keeps none"),
    }
    for name, (kind, words) in limits.items():
        parser.add_argument(
            f"--{name}",
            type=kind,
            default=getattr(defaults, name.replace("-", "_")),
            help=f"{words} (default: %(default)s)",
        )
    media = MediaLimits()
    for name, kind, words in (("megabytes", float, "of a file"), ("seconds", float, "of a sound or video")):
        parser.add_argument(
            f"--max-media-{name}", type=kind, default=getattr(media, name), help=f"{words} (default: %(default)s)"
        )
    given = parser.parse_args(arguments)
    numbers = {name.replace("-", "_"): getattr(given, name.replace("-", "_")) for name in limits}
    for name, value in (
        numbers | {"max_media_megabytes": given.max_media_megabytes, "max_media_seconds": given.max_media_seconds}
    ).items():
        if not (value > 0 or (value == 0 and name == "cache_megabytes")):
            parser.error(f"--{name.replace('_', '-')} must be more than 0, got {value}")
    with exit_on_error():
        options = ServerOptions(
            given.served_model_name,
            read_key(given.api_key_env),
            **numbers,
            media=MediaLimits(given.max_media_megabytes, given.max_media_seconds),
        )
        app = build_app(load(given.model), options, given.model)
    uvicorn.run(app, host=given.host, port=given.port)


if __name__ == "__main__":
    main()
