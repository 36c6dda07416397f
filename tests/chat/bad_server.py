"""
An OpenAI-compatible server that misbehaves on purpose, for tests: on loopback, in a process of its own.

How it behaves is written in the hypothesis: `[500 x2]` answers HTTP 500 twice and then well, `[garbage]` always sends
garbage. It counts what it is asked; `GET /counts` tells. It ends by itself after `LIFETIME` seconds.
"""

import asyncio
import contextlib
import json
import math
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2

from tests.launching import TIMEOUT, Process


LIFETIME = 2 * TIMEOUT


@dataclass
class Running:
    """The server, as a test sees it."""

    url: str
    process: Process

    def counts(self) -> dict:
        """`asked` and `seeds` by the hypothesis's number or the kind of message; `most` at the same time; `keys`."""
        return httpx2.get(f"{self.url}/counts", timeout=TIMEOUT).json()

    def requests(self) -> list[dict]:
        """All that it was asked, in the order in which it came."""
        return httpx2.get(f"{self.url}/requests", timeout=TIMEOUT).json()


@contextlib.contextmanager
def bad_server(**options) -> Iterator[Running]:
    """Starts the server and shuts it down. Options: `delay_ms`, `key`, `model`, `hold_after` (see `serve`)."""
    with socket.socket() as listener:
        # The parent binds: the system chooses the port, and requests wait in the queue until the server is up.
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        port = listener.getsockname()[1]
        process = Process(__file__, json.dumps(options), stdin=listener, stdout=sys.__stdout__, stderr=sys.__stderr__)
    try:
        url = f"http://127.0.0.1:{port}/v1"
        httpx2.get(f"{url}/models", timeout=TIMEOUT, headers={"Authorization": f"Bearer {options.get('key', '-')}"})
        yield Running(url, process)
    finally:
        process.kill()
        process.wait(timeout=10)


def serve(delay_ms: float = 1, key: str = "", model: str = "teacher", hold_after: int = 0) -> None:
    """
    Serves on the socket that is the standard input.

    Args:
        delay_ms (`float`): Before each answer.
        key (`str`): What a request must bring; the refusal quotes what was brought.
        model (`str`): The one model there is.
        hold_after (`int`): After so many requests, further ones are held until the server ends.
    """
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    asked, seeds, started, state, keys, requests = Counter(), {}, Counter(), Counter(), set(), []

    def reply(text: str | None, finish: str = "stop", logprobs: dict | None = None, **fields) -> JSONResponse:
        message = {"role": "assistant", "content": text, **fields}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        if logprobs is not None:
            top = [{"token": token, "logprob": math.log(share)} for token, share in logprobs.items()]
            choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
        return JSONResponse({"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5}})

    def refuse(request) -> JSONResponse | None:
        brought = request.headers.get("authorization", "")
        keys.add(brought)
        if key and brought != f"Bearer {key}":
            return JSONResponse({"error": {"message": f"Incorrect API key provided: {brought}"}}, status_code=401)
        return None

    async def misbehave(kind: str, seed: int) -> Response:
        if kind.isdigit():
            headers = {"Retry-After": "0.02"} if kind == "429" else {}
            return JSONResponse({"error": {"message": f"it is {kind}"}}, status_code=int(kind), headers=headers)
        if kind == "slow":
            await asyncio.sleep(LIFETIME)
        if kind == "torn":

            async def half():
                yield b'{"choices": [{"message": {"content": "0.'
                raise ConnectionResetError

            return StreamingResponse(half(), media_type="application/json", headers={"Content-Length": "4000"})
        return {
            "empty": lambda: JSONResponse({"choices": [], "usage": None}),
            "garbage": lambda: PlainTextResponse('{"choices": [{"mess\x00', media_type="application/json"),
            "html": lambda: PlainTextResponse("<html>502</html>", media_type="text/html"),
            "plain": lambda: PlainTextResponse(reply("0.25").body, media_type="text/plain"),
            "null": lambda: reply(None, "content_filter"),
            "refused": lambda: reply(None, refusal="I can't help with that."),
            "reasons": lambda: reply("0.75", reasoning_content="The clip says so."),
            "length": lambda: reply("I think that the probability is", "length"),
            "halfnumber": lambda: reply("0.8", "length"),
            "words": lambda: reply("It is hard to say."),
            "neither": lambda: reply("It", logprobs={"It": 0.6, " Well": 0.3}),
            "surely": lambda: reply("Yes", logprobs={"Yes": 0.9, "It": 0.05}),
            "same": lambda: reply("0.5"),
            "surrogate": lambda: Response(
                b'{"choices": [{"message": {"content": "0.5 \\ud800"}, "finish_reason": "stop"}]}'
            ),
            "huge": lambda: reply("x" * (5 << 20)),
        }[kind]()

    async def chat(request):
        refused = refuse(request)
        if refused:
            return refused
        # A question about the server alone has no seed.
        body = {"seed": 0, **json.loads(await request.body())}
        if body["model"] != model:
            words = f"The model {body['model']} does not exist for {request.headers.get('authorization')}."
            return JSONResponse({"error": {"message": words}}, status_code=404)
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[-1]["text"]
        kinds = "+".join(part["type"] for part in content) if isinstance(content, list) else "text"
        numbered = re.search(r"#\S+", text)
        name = numbered[0] if numbered else kinds
        asked[name] += 1
        requests.append(body)
        seeds.setdefault(name, []).append(body["seed"])
        state["now"] += 1
        state["most"] = max(state["most"], state["now"])
        state["all"] += 1
        try:
            if hold_after and state["all"] > hold_after:
                await asyncio.sleep(LIFETIME)
            await asyncio.sleep(delay_ms / 1000)
            command = re.search(r"\[(\w+)(?: x(\d+))?\]", text)
            if command:
                started[name, body["seed"]] += 1
                if not command[2] or started[name, body["seed"]] <= int(command[2]):
                    return await misbehave(command[1], body["seed"])
            if body.get("logprobs"):
                return reply("Yes", "length", logprobs={"Yes": 0.5, "No": 0.2, " yes": 0.1, "It": 0.1, "NO": 0.05})
            return reply(f"{body['seed'] % 101}%")
        finally:
            state["now"] -= 1

    async def counts(request):
        return JSONResponse({"asked": asked, "seeds": seeds, "most": state["most"], "keys": sorted(keys)})

    async def all_requests(request):
        return JSONResponse(requests)

    async def models(request):
        return refuse(request) or JSONResponse({"data": [{"id": model}]})

    routes = [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/counts", counts),
        Route("/v1/requests", all_requests),
    ]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="critical"))

    async def run() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIFETIME):
                await server.serve(sockets=[socket.socket(fileno=0)])

    asyncio.run(run())


if __name__ == "__main__":
    serve(**json.loads(sys.argv[1]))
    os._exit(0)
