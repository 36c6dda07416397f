"""
Sends requests to a server of models: chat to any OpenAI-compatible one, vLLM, `transformers serve`, a paid service;
decisions by `chat/decisions.py`.

openai's client is not used: its retries look at the status alone, so that they repeat the 429 of an empty account and
take an error in HTTP 200 for an answer; they end where a server asks for more than two minutes, and its timeout is
that of one read.
"""

import argparse
import asyncio
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

from chat.replies import AnswerFailedError, DeclinedError, ReplyError, read_reply
from common.cli import non_negative_float, non_negative_int, positive_float, positive_int
from common.errors import InputError
from modeling_clue.servers import check_address, read_key, without_key


# What no repetition puts right, for this request or any other.
FATAL = {
    401: "the key is missing or wrong",
    402: "it wants to be paid",
    403: "the key does not allow it",
    404: "no such model, or no such address",
    501: "it can't do this with its model",
}
# Worth another try, beside all of 5xx: the server is busy, or gave up waiting. 200 came with neither answer nor code.
BUSY = (200, 408, 409, 425, 429)
# What some models want the limit of tokens to be called, and say so.
LIMIT, OTHER_LIMIT = "max_tokens", "max_completion_tokens"
LARGEST_REPLY = 4 << 20
LONGEST_PAUSE = 60.0


class RunStoppedError(ValueError):
    """The run can't go on; the message says why and what to do. Pairs that are finished stay so."""


class FailureCounter:
    """
    Stops a run in which nothing succeeds any more: a dead server must not cost a million pairs their answers.

    Args:
        limit (`int`): How many requests in a row may fail.
    """

    def __init__(self, limit: int):
        self.limit, self.in_a_row, self.any_succeeded = limit, 0, False

    async def count(self, answer: Awaitable[dict]) -> dict:
        """Awaits the answer to a request and counts it; raises as [`failed`], and the error of one that failed."""
        try:
            reply = await answer
        except AnswerFailedError as error:
            self.failed(error)
            raise
        self.succeeded()
        return reply

    def succeeded(self) -> None:
        """Counts a request that was answered."""
        self.in_a_row, self.any_succeeded = 0, True

    def failed(self, error: AnswerFailedError) -> None:
        """
        Counts a request that failed for good; not one that a server declined which answers others.

        Raises:
            `RunStoppedError`: if too many have failed in a row.
        """
        if isinstance(error, DeclinedError) and self.any_succeeded:
            return
        self.in_a_row += 1
        if self.in_a_row >= self.limit:
            raise RunStoppedError(
                f"{self.in_a_row} requests in a row failed, the last with: {error}. Put that right and run the same "
                "command again: it goes on where it stopped (--ask-again-failed also repeats the failed answers)"
            )


@dataclass(frozen=True)
class ServerOptions:
    """Says how to talk to a server. Holds no key, only where to find it: tasks on a cluster read this from files."""

    url: str  # up to and with /v1
    api_key_env: str  # the environment variable with the key; it may be unset
    timeout: float  # seconds for one attempt as a whole
    retries: int  # after the first attempt
    backoff: float  # seconds of the first pause
    failures: int  # the run stops after so many failed requests in a row


def add_sending_options(group, failures: int) -> None:
    """Adds how requests are sent to a group of options; `failures` is the default of `--stop-after-failures`."""
    group.add_argument("--in-flight", type=positive_int, default=32, help="requests at once, each task (default: 32)")
    group.add_argument("--timeout", type=positive_float, default=300.0, help="seconds an attempt (default: 300)")
    group.add_argument(
        "--retries", type=non_negative_int, default=5, help="after the first attempt (default: %(default)s)"
    )
    group.add_argument(
        "--backoff", type=non_negative_float, default=1.0, help="seconds of the first pause (default: 1)"
    )
    group.add_argument(
        "--stop-after-failures",
        type=positive_int,
        default=failures,
        help="of requests in a row (default: %(default)s)",
    )
    group.add_argument("--max-media-mb", type=positive_float, default=64.0, help="of one file (default: 64)")
    group.add_argument(
        "--api-key-env", default="OPENAI_API_KEY", help="environment variable with the key (default: %(default)s)"
    )


def read_sending_options(options: argparse.Namespace) -> ServerOptions:
    """Returns the server that `--server` and what [`add_sending_options`] added tell of."""
    return ServerOptions(
        url=options.server.rstrip("/"),
        api_key_env=options.api_key_env,
        timeout=options.timeout,
        retries=options.retries,
        backoff=options.backoff,
        failures=options.stop_after_failures,
    )


def check_server(options: ServerOptions) -> None:
    """
    Makes sure, before any work is done, that a server is there and takes the key.

    Raises:
        `ValueError`: if the address or the key can't be used, nobody answers, or the key is refused.
    """
    check_address(options.url, options.api_key_env)
    headers = _headers(read_key(options.api_key_env))
    try:
        status = httpx2.get(f"{options.url}/models", headers=headers, timeout=options.timeout).status_code
    except httpx2.ConnectError as error:
        raise InputError(f"no server answers at {options.url}: start it, or pass another --server") from error
    except httpx2.HTTPError:
        # Slow or odd, yet there: requests are repeated and counted.
        return
    if status in (401, 403):
        raise InputError(f"{options.url} says HTTP {status}, {FATAL[status]}: set ${options.api_key_env}")


class ServerClient(ABC):
    """
    Sends requests of one kind: as many at once as are awaited at once, each repeated where that may help.

    A subclass has the kind: its `path` behind the server's address, a request that no server can object to
    (`harmless`), and `read`.

    Args:
        options (`ServerOptions`): The server.
        model (`str`): The server's name for the model.
        idle (`int`): Connections that are kept open between requests.
        failures (`FailureCounter`): Counts the requests that fail.
    """

    path: str
    harmless: dict

    def __init__(self, options: ServerOptions, model: str, idle: int, failures: FailureCounter):
        self.options, self.model, self.failures = options, model, failures
        self._secret = read_key(options.api_key_env)
        # The caller bounds the number of requests; connections are as many.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=idle)
        self._client = httpx2.AsyncClient(headers=_headers(self._secret), timeout=None, limits=limits)

    async def send(self, payload: dict) -> dict:
        """
        Sends a request, which lacks nothing but the model, and returns the reply as `read` gives it.

        Raises:
            `AnswerFailedError`: if there is no answer to this request.
            `RunStoppedError`: if there would be none to others either.
        """
        return await self.failures.count(self._ask(payload))

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    @abstractmethod
    def read(self, status: int, text: str) -> dict:
        """Reads a reply by its status of HTTP and its body; raises as [`~chat.replies.read_reply`] does."""

    def fields(self, payload: dict) -> dict:
        """Returns the fields of a request as this server takes them."""
        return payload

    def learn(self, fields: dict, error: ReplyError) -> bool:
        """Learns from an error what this server calls the fields of a request; says whether to send it anew."""
        return False

    async def _ask(self, payload: dict) -> dict:
        fields = self.fields(payload)
        body = json.dumps({"model": self.model, **fields}).encode()
        tries = self.options.retries + 1
        for attempt in range(1, tries + 1):
            words, retry_after = "", None
            try:
                async with asyncio.timeout(self.options.timeout):
                    status, headers, text = await self._post(body)
                return self.read(status, text)
            except TimeoutError:
                complaint = f"timed out after {self.options.timeout:g} s"
            except httpx2.HTTPError as error:
                complaint = f"connection lost ({type(error).__name__})"
            except ReplyError as error:
                if self.learn(fields, error):
                    return await self._ask(payload)
                await self._raise_what_lasts(error, payload)
                complaint, words, retry_after = error.kind, f": {error.words}", headers.get("retry-after")
            if attempt < tries:
                await asyncio.sleep(waiting_seconds(attempt, self.options.backoff, retry_after))
        raise AnswerFailedError(f"{complaint} after {tries} {'try' if tries == 1 else 'tries'}{words}")

    async def _raise_what_lasts(self, error: ReplyError, payload: dict) -> None:
        """Raises what another try would not put right."""
        key = f"The key is taken from ${self.options.api_key_env}, the model is {self.model!r}"
        if error.exhausted:
            raise RunStoppedError(f"{self.options.url} says {error}. The quota is used up or was not paid. {key}")
        if error.status == 403 and payload is not self.harmless:
            if not error.flagged:
                # Is it the key, which ends the run, or what this request holds?
                with suppress(AnswerFailedError):
                    await self._ask(self.harmless)
            raise DeclinedError(str(error))
        if error.status in FATAL:
            raise RunStoppedError(f"{self.options.url} says {error.kind}, {FATAL[error.status]}: {error.words}. {key}")
        if error.status >= 500 or error.status == 429:
            return
        if error.flagged:
            raise DeclinedError(str(error))
        if error.status not in BUSY:
            raise AnswerFailedError(str(error))

    async def _post(self, body: bytes) -> tuple[int, httpx2.Headers, str]:
        address = f"{self.options.url}/{self.path}"
        async with self._client.stream("POST", address, content=body) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > LARGEST_REPLY:
                    raise AnswerFailedError(f"the reply is longer than {LARGEST_REPLY >> 20} MiB")
            text = without_key(content.decode("utf-8", "replace"), self._secret)
            return response.status_code, response.headers, text


class ChatClient(ServerClient):
    """Sends chat requests."""

    path = "chat/completions"
    harmless = {"messages": [{"role": "user", "content": "Is two more than one?"}], LIMIT: 16}

    def __init__(self, options: ServerOptions, model: str, idle: int, failures: FailureCounter):
        super().__init__(options, model, idle, failures)
        self._limit = LIMIT

    def read(self, status: int, text: str) -> dict:
        """Reads a reply of one choice, see [`~chat.replies.read_reply`]."""
        return read_reply(status, text)

    def fields(self, payload: dict) -> dict:
        """Returns the fields of a request with the limit of tokens by the name that this model takes."""
        return {self._limit if name == LIMIT else name: value for name, value in payload.items()}

    def learn(self, fields: dict, error: ReplyError) -> bool:
        """Learns the other name of the limit where the server asks for it."""
        if LIMIT not in fields or OTHER_LIMIT not in error.text:
            return False
        self._limit = OTHER_LIMIT
        return True


def waiting_seconds(attempt: int, base: float, retry_after: str | None = None) -> float:
    """
    Returns the pause before the next attempt: doubled each time, half of it at random so that clients don't return at
    once.

    Args:
        attempt (`int`): How many attempts have failed, from 1.
        base (`float`): Seconds of the first pause at most.
        retry_after (`str`, *optional*): The `Retry-After` header: the pause is not shorter, nor longer than a minute.
    """
    longest = min(base * 2 ** min(attempt - 1, 30), LONGEST_PAUSE)
    pause = random.uniform(longest / 2, longest)
    # In this order, since "nan" asks for nothing.
    return min(max(pause, _seconds_asked_for(retry_after or "0")), LONGEST_PAUSE)


def _seconds_asked_for(retry_after: str) -> float:
    """Returns the seconds that a number or a date asks for, a date without a zone being in UTC; else 0."""
    try:
        return float(retry_after)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    return ((until if until.tzinfo else until.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()


def _headers(secret: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    return {**headers, "Authorization": f"Bearer {secret}"} if secret else headers
