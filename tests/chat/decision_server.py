"""
A server of decisions for tests, in both formats, on loopback, in a thread: it decodes what it is sent, and CLUE judges
it, so that an answer is right only if premise, media and hypothesis all came through.

How it misbehaves is written in the hypothesis: `[500 x2]` makes it answer HTTP 500 twice and then well, `[422]`
always; `[left out]`, `[refused]`, `[1.5]`, `[words]` and `[choice]` are answers of that kind to this question alone.
"""

import base64
import contextlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import av


KINDS = {"images": "image", "audio": "audio", "videos": "video"}


@dataclass
class Running:
    """The server, as a test sees it: its address, and the requests that it was sent, in their order."""

    url: str
    requests: list[dict] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    most: int = 0  # at the same time


def decode(address: str) -> bytes:
    """The file in a `data:` address."""
    kind, _, data = address.partition(";base64,")
    assert re.fullmatch(r"data:(image|audio|video)/[\w-]+", kind), kind
    return base64.b64decode(data, validate=True)


def has_sound(video: bytes) -> bool:
    """Whether a video has a sound track."""
    with av.open(BytesIO(video)) as clip:
        return bool(clip.streams.audio)


def parts_of(body: dict, path: str) -> list[dict]:
    """What a request is about, as the parts of a premise of the pipeline."""
    if path == "decisions":
        given = body["input"]
        if isinstance(given, str):
            return [{"text": given}]
        (message,) = given
        return [
            {"text": part["text"]} if part["type"] == "input_text" else {"image": decode(part["image_url"])}
            for part in message["content"]
        ]
    state = body["state"]
    parts = [{"text": text} for text in ([state] if isinstance(state, str) else state) if text]
    for name, kind in KINDS.items():
        for address in body.get(name, ()):
            media = decode(address)
            heard = {"modality": "audiovisual" if has_sound(media) else "video"} if kind == "video" else {}
            parts.append({kind: media, **heard})
    return parts


@contextlib.contextmanager
def decision_server(
    judge: Callable[[list[dict], list[str]], list[float]] | None = None, key: str | None = None
) -> Iterator[Running]:
    """Starts the server and shuts it down; without `judge`, the n-th of a request's questions has n / 10."""
    judge = judge or (lambda parts, hypotheses: [number / 10 for number in range(1, len(hypotheses) + 1)])
    turn, now, begun = threading.Lock(), Counter(), Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words):
            """Keeps the tests' output clean."""

        def say(self, status: int, reply: object) -> None:
            text = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self):
            self.say(200, {"data": []})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            brought = self.headers.get("Authorization", "")
            with turn:
                running.requests.append(body)
                running.keys.add(brought)
                now["all"] += 1
                running.most = max(running.most, now["all"])
            try:
                if key and brought != f"Bearer {key}":
                    self.say(401, {"detail": {"error_type": "authentication_error", "message": f"not {brought}"}})
                    return
                self.say(*self.reply(body, self.path.removeprefix("/v1/")))
            finally:
                with turn:
                    now["all"] -= 1

        def reply(self, body: dict, path: str) -> tuple[int, dict]:
            asked = body["questions"]
            questions = asked if path == "systemone" else {question["name"]: question for question in asked}
            assert all(q["type"] == ("noul" if path == "systemone" else "predicate") for q in questions.values())
            told = {name: question["instructions"] for name, question in questions.items()}
            for words in told.values():
                if command := re.search(r"\[(\d{3})(?: x(\d+))?\]", words):
                    with turn:
                        begun[words] += 1
                    if not command[2] or begun[words] <= int(command[2]):
                        wrong = [{"loc": ["body", "questions"], "msg": f"it is {command[1]}", "input": "x" * 9000}]
                        return int(command[1]), {"detail": wrong}
            plain = [re.sub(r" ?\[.*?\]", "", words) for words in told.values()]
            with turn:
                probabilities = judge(parts_of(body, path), plain)
            answers = {}
            for (name, words), probability in zip(told.items(), probabilities, strict=True):
                value = "likely" if "[words]" in words else 1.5 if "[1.5]" in words else probability
                if path == "systemone":
                    answer = {"type": "choice" if "[choice]" in words else "noul", "noul": value}
                else:
                    answer = {"type": "predicate", "name": name, "probability": value}
                    answer = {"type": "refusal", "name": name} if "[refused]" in words else answer
                if "[left out]" not in words:
                    answers[name] = answer
            # The order is not that of the questions: they are known by their names.
            answers = dict(reversed(answers.items()))
            answers = answers if path == "systemone" else list(answers.values())
            return 200, {"model": body["model"], "answers": answers, "usage": {"input_tokens": 1, "output_tokens": 0}}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = Running(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
