"""
A teacher behind any OpenAI-compatible server: vLLM, `transformers serve`, a paid service.

openai's client is not used: its retries look at the status alone, so that they repeat the 429 of an empty account and
take an error in HTTP 200 for an answer; they end where a server asks for more than two minutes, and its timeout is
that of one read.
"""

import asyncio
import json
from contextlib import suppress

import httpx2

from chat.backoff import waiting_seconds
from chat.failures import AnswerFailedError, DeclinedError, FailureCounter, RunStoppedError
from chat.options import ServerOptions
from chat.replies import ReplyError, read_reply
from common.errors import InputError
from modeling_clue.servers import check_address, read_key, without_key


# What no repetition puts right, for this request or any other.
FATAL = {
    401: "the key is missing or wrong",
    402: "it wants to be paid",
    403: "the key does not allow it",
    404: "no such model, or no such address",
}
# Worth another try, beside all of 5xx: the server is busy, or gave up waiting. 200 came with neither answer nor code.
BUSY = (200, 408, 409, 425, 429)
# What some models want the limit of tokens to be called, and say so.
LIMIT, OTHER_LIMIT = "max_tokens", "max_completion_tokens"
# What no server can object to.
HARMLESS = {"messages": [{"role": "user", "content": "Is two more than one?"}], LIMIT: 16}
LARGEST_REPLY = 4 << 20


class ChatClient:
    """
    Sends chat requests: as many at once as are awaited at once, each repeated where that may help.

    Args:
        options (`ServerOptions`): The server.
        model (`str`): The server's name for the model.
        idle (`int`): Connections that are kept open between requests.
        failures (`FailureCounter`): Counts the requests that fail.
    """

    def __init__(self, options: ServerOptions, model: str, idle: int, failures: FailureCounter):
        self.options, self.model, self.failures = options, model, failures
        self._limit = LIMIT
        self._secret = read_key(options.api_key_env)
        # The caller bounds the number of requests; connections are as many.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=idle)
        self._client = httpx2.AsyncClient(headers=_headers(self._secret), timeout=None, limits=limits)

    async def send(self, payload: dict) -> dict:
        """
        Sends one request.

        Args:
            payload (`dict`): All of the request but the model.

        Returns:
            `dict`: the reply as [`read_reply`] gives it.

        Raises:
            `AnswerFailedError`: if there is no answer to this request.
            `RunStoppedError`: if there would be none to others either.
        """
        try:
            reply = await self._ask(payload)
        except AnswerFailedError as error:
            self.failures.failed(error)
            raise
        self.failures.succeeded()
        return reply

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _ask(self, payload: dict) -> dict:
        limit = self._limit
        named = {limit if name == LIMIT else name: value for name, value in payload.items()}
        body = json.dumps({"model": self.model, **named}).encode()
        tries = self.options.retries + 1
        for attempt in range(1, tries + 1):
            words, retry_after = "", None
            try:
                async with asyncio.timeout(self.options.timeout):
                    status, headers, text = await self._post(body)
                return read_reply(status, text)
            except TimeoutError:
                complaint = f"timed out after {self.options.timeout:g} s"
            except httpx2.HTTPError as error:
                complaint = f"connection lost ({type(error).__name__})"
            except ReplyError as error:
                if limit == LIMIT and OTHER_LIMIT in error.text:
                    self._limit = OTHER_LIMIT
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
        if error.status == 403 and payload is not HARMLESS:
            if not error.flagged:
                # Is it the key, which ends the run, or what this request holds?
                with suppress(AnswerFailedError):
                    await self._ask(HARMLESS)
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
        address = f"{self.options.url}/chat/completions"
        async with self._client.stream("POST", address, content=body) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > LARGEST_REPLY:
                    raise AnswerFailedError(f"the reply is longer than {LARGEST_REPLY >> 20} MiB")
            text = without_key(content.decode("utf-8", "replace"), self._secret)
            return response.status_code, response.headers, text


def check_server(options: ServerOptions) -> None:
    """
    Makes sure, before any work is done, that a server is there and takes the key.

    Raises:
        `ValueError`: if the address or the key can't be used.
        `InputError`: if nobody answers, or the key is refused.
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


def _headers(secret: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    return {**headers, "Authorization": f"Bearer {secret}"} if secret else headers
