"""The decision server answers in both public formats what the pipeline does, and refuses what it should."""

import base64
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx2
import openai
import pytest
import uvicorn
from jevcompat.runner import run as run_conformance
from PIL import Image
from transformers import pipeline

from modeling_clue.decision_format import Part
from modeling_clue.decision_server import Judge, ServerOptions, build_app, main
from modeling_clue.media_limits import MediaLimits
from modeling_clue.score import load
from tests.launching import free_port
from tests.modeling_clue.test_decision import CHECKPOINT, STATE


ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key-of-the-tests"
QUESTIONS = {
    "low": {"type": "noul", "instructions": "It is low."},
    "red": {"type": "noul", "instructions": "It is red."},
}
LIMITS = ServerOptions(
    key=KEY,
    max_request_megabytes=0.5,
    max_hypotheses=20,
    max_text=500,
    media=MediaLimits(0.2, 3, picture_pixels=5_000),
)


@contextmanager
def serving(app):
    """The address of a server that runs in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def clue():
    """The checkpoint by the package's own code."""
    return load(CHECKPOINT)


@pytest.fixture(scope="module")
def client(clue):
    """A client with the key, of a server with small limits."""
    with serving(build_app(clue, LIMITS)) as address:
        with httpx2.Client(base_url=address, timeout=60, headers={"Authorization": f"Bearer {KEY}"}) as client:
            yield client


def address_of(kind: str, content: bytes) -> str:
    """A `data:` address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def picture(side: int) -> bytes:
    """A red PNG."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(file, "PNG")
    return file.getvalue()


def ask(client, **change):
    """Posts a System One request."""
    return client.post("/v1/systemone", json={"model": "clue", "state": STATE, "questions": QUESTIONS, **change})


def test_every_requirement_of_the_specification_is_met(client):
    """Of jevcompat's 48 requirements, those of keys and the official SDK among them."""
    limits = ServerOptions(key=KEY)
    with serving(build_app(load(CHECKPOINT), limits)) as address:
        report = run_conformance(address, key=KEY, model="jev-latest", timeout=60, sdk=True)
    failed = [(result.id, result.findings or result.reason) for result in report.results if result.status != "pass"]
    # Ignoring a header where there is no key is tested without one.
    assert [name for name, _ in failed if name != "auth.ignored-when-off"] == [] and len(report.results) == 48


def test_a_server_without_a_key_ignores_one(clue):
    """SDKs always send one."""
    with serving(build_app(clue, ServerOptions())) as address, httpx2.Client(base_url=address) as client:
        answers = [ask(client).json(), ask(client, headers={"Authorization": "Bearer x"}).json()]
    assert answers[0]["answers"] == answers[1]["answers"]


@pytest.mark.parametrize("case", ["audio", "video", "audiovisual", "picture and text"])
def test_media_are_judged_as_the_pipeline_judges_them(case, client, clips):
    """Each premise is read once, for all questions of a request and for the next request about it."""
    field, kind, content, premise = {
        "audio": ("audio", "audio/wav", clips.sound.read_bytes(), {"audio": clips.sound}),
        "video": ("videos", "video/mp4", clips.silent.read_bytes(), {"video": clips.silent, "modality": "video"}),
        "audiovisual": (
            "videos",
            "video/mp4",
            clips.talkie.read_bytes(),
            {"video": clips.talkie, "modality": "audiovisual"},
        ),
        "picture and text": ("images", "image/png", picture(64), {"parts": [{"text": STATE}, {"image": picture(64)}]}),
    }[case]
    state = STATE if case == "picture and text" else ""
    other = pipeline("uncertain-inference", model=CHECKPOINT, trust_remote_code=True)
    expected = other({**premise, "hypotheses": ["It is low.", "It is red."]})
    replies = [ask(client, state=state, **{field: [address_of(kind, content)]}).json() for _ in range(2)]
    for reply in replies:
        found = [answer["noul"] for answer in reply["answers"].values()]
        assert found == pytest.approx([one["probability"] for one in expected], abs=1e-6)
        assert reply["x_modality"] == expected[0]["modality"] and reply["x_notes"] == expected[0]["notes"]
    first, second = (reply["usage"] for reply in replies)
    assert first["input_tokens"] == second["input_tokens"] > second["x_cached_tokens"] > first["x_cached_tokens"] == 0


def test_details_are_the_hypotheses(client):
    """As they were put, each with its own probability, which need not sum to 1, and its interval."""
    question = {"type": "choice", "instructions": "It is {}.", "criteria": {"red": None, "blue": None}}
    answer = ask(client, questions={"q": question}, x_details=True).json()["answers"]["q"]
    told = answer["x_hypotheses"]
    assert [one["hypothesis"] for one in told] == ["It is red.", "It is blue."]
    total = sum(one["probability"] for one in told)
    assert total < 0.95  # the state has a green ball
    assert list(answer["probabilities"].values()) == pytest.approx([one["probability"] / total for one in told])
    assert all(one["interval"][0] <= one["probability"] <= one["interval"][1] for one in told)


def test_openais_sdk_reads_the_answers(client):
    """The types of OpenAI's own package; probabilities are those of the other endpoint."""
    body = {
        "model": "clue",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": STATE},
                    {"type": "input_image", "image_url": address_of("image/png", picture(64))},
                ],
            }
        ],
        "questions": [
            {"type": "predicate", "name": "low", "instructions": "It is low."},
            {
                "type": "choice",
                "instructions": [{"type": "input_text", "text": "It is {}."}],
                "choices": [{"value": "red"}, {"value": False, "description": "blue"}],
            },
            {
                "type": "score",
                "name": "s",
                "instructions": "It is {}.",
                "levels": [{"label": "low"}, {"label": "high"}],
            },
        ],
    }
    reply = client.post("/v1/decisions", json=body)
    assert reply.status_code == 200, reply.text
    decision = openai.types.Decision.model_validate(reply.json(), strict=True)
    same = ask(
        client,
        images=[address_of("image/png", picture(64))],
        questions={
            "low": QUESTIONS["low"],
            "c": {"type": "choice", "instructions": "It is {}.", "criteria": {"red": None, "no": "blue"}},
            "s": {"type": "score", "instructions": "It is {}.", "criteria": ["low", "high"]},
        },
    ).json()["answers"]
    low, choice, score = decision.answers
    assert [low.name, choice.name, score.name] == ["low", None, "s"]
    assert low.probability == pytest.approx(same["low"]["noul"], abs=1e-6)
    assert [one.probability for one in choice.probabilities] == pytest.approx(
        list(same["c"]["probabilities"].values()), abs=1e-6
    )
    assert [one.value for one in choice.probabilities] == ["red", False] and choice.choice in ("red", False)
    assert score.score == pytest.approx(same["s"]["score"], abs=1e-6)
    assert [(one.value, one.label) for one in score.probabilities] == [(0, "low"), (1, "high")]


@pytest.mark.parametrize(
    "change, status, words",
    [
        ({"model": "another"}, 404, "'clue'"),
        ({"state": ""}, 422, "nothing to judge by"),
        ({"state": "x" * 501}, 422, "longer than 500 letters"),
        ({"questions": {"q": {"type": "noul", "instructions": "x" * 501}}}, 422, "more than 500 letters"),
        ({"questions": {"q": {"type": "choice", "criteria": dict.fromkeys(map(str, range(21)))}}}, 422, "up to 20"),
        ({"questions": {"q": {"type": "noul"}}}, 422, "statement to judge"),
        ({"questions": {"q": {"type": "guess"}}}, 422, "noul, choice, score"),
        ({"images": [address_of("image/png", picture(80))]}, 422, r"images[0] has more than 5,000 pixels"),
        ({"images": [address_of("image/png", b"no picture")]}, 422, "images[0] is damaged, or no PNG"),
        ({"audio": [address_of("audio/wav", b"no sound")]}, 422, "audio[0] is damaged, or no audio"),
        ({"audio": ["file:///etc/passwd"]}, 422, "nothing is fetched"),
        ({"videos": [address_of("video/mp4", bytes(300_000))]}, 422, "videos[0] is larger than 0.2 MB"),
        ({"state": "x" * 600_000}, 413, "larger than 0.5 MB"),
    ],
)
def test_limits_and_errors_say_what_to_do(client, change, status, words):
    """In the format's way: a list of places for what is wrong in a body, else a type and a message."""
    reply = ask(client, **change)
    assert reply.status_code == status and words in reply.text, reply.text
    detail = reply.json()["detail"]
    if status == 422:
        assert detail[0]["loc"][0] == "body" and detail[0].keys() == {"loc", "msg", "type"}
    else:
        assert detail["message"] and detail["error_type"]


@pytest.mark.parametrize(
    "change, words",
    [
        ('"state": ' + "[" * 900 + "]" * 900, "nested too deeply"),
        ('"questions": {"q": {"type": "noul", "instructions": ' + "[" * 400 + "]" * 400 + "}}", "nested too deeply"),
        ('"questions": {"\\udfff": {"type": "noul", "instructions": "x"}}', "no JSON"),
        ('"questions": {"q": {"type": "score", "criteria": [{"a": NaN}]}}', "no JSON"),
        ('"state": "\\ud800"', "no JSON"),
    ],
)
def test_what_only_pythons_parser_takes_for_json_is_refused(client, change, words):
    """It could not be put into an answer, nor into a text."""
    questions = '"questions": {"q": {"type": "noul", "instructions": "x"}}'
    content = "{" + ", ".join(['"model": "clue", "state": "x"', questions, change]) + "}"
    reply = client.post("/v1/systemone", content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == 422 and words in reply.json()["detail"][0]["msg"], reply.text


def test_errors_of_openais_endpoint_are_openais(client):
    """An object `error` with the message, and the field."""
    questions = [{"type": "predicate", "instructions": "x"}]
    bad = {"type": "choice", "instructions": "?", "choices": [{"value": "a"}, {"value": "a"}]}
    image = {"type": "input_image", "image_url": "https://example.org/a.png"}
    for change, status, words in (
        ({"questions": []}, 422, "questions"),
        ({"questions": [bad]}, 422, "questions.0: Each choice must be another."),
        ({"input": [{"role": "user", "content": [image]}]}, 422, "input[0].content[0]: give a `data:` address"),
        ({"questions": [{"type": "predicate", "instructions": [image]}]}, 422, "can't have pictures"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, 422, "input_image"),
        ({"model": "x"}, 404, "no such model"),
    ):
        reply = client.post("/v1/decisions", json={"model": "clue", "input": "x", "questions": questions, **change})
        assert reply.status_code == status, reply.text
        assert words in reply.json()["error"]["message"], reply.text


def test_a_key_comes_before_all_else(client):
    """Without it not even the body is read; health and the page of the API need none."""
    for header, words in (("", "needed"), ("Bearer wrong", "wrong"), ("Basic eA==", "needed")):
        reply = client.post("/v1/systemone", content=b"{" * 600_000, headers={"Authorization": header})
        assert reply.status_code == 401 and words in reply.json()["detail"]["message"] and KEY not in reply.text
        assert client.get("/v1/models", headers={"Authorization": header}).status_code == 401
    assert client.get("/health", headers={"Authorization": ""}).json() == {"status": "ok"}
    schema = client.get("/openapi.json", headers={"Authorization": ""}).json()
    assert {"/v1/systemone", "/v1/decisions"} <= schema["paths"].keys()
    examples = schema["components"]["schemas"]["SystemOneRequest"]["examples"]
    assert client.post("/v1/systemone", json=examples[0]).status_code == 200


def test_more_than_wait_are_refused(clue, monkeypatch):
    """The second of two at once gets 503, and is told to come again."""
    inside, leave = threading.Event(), threading.Event()

    def slow(self, parts, hypotheses):
        inside.set()
        assert leave.wait(30)
        raise ValueError("done")

    monkeypatch.setattr(Judge, "__call__", slow)
    with serving(build_app(clue, ServerOptions(max_waiting=1))) as address:
        with httpx2.Client(base_url=address, timeout=60) as client:
            first = threading.Thread(target=ask, args=(client,))
            first.start()
            assert inside.wait(30)
            reply = ask(client)
            leave.set()
            first.join()
            after = ask(client)
    assert reply.status_code == 503 and reply.headers["Retry-After"] == "1"
    assert after.status_code == 422


def test_kept_premises_stay_within_their_memory(clue):
    """The one not asked about for longest goes first; with no memory none is kept, and answers are the same."""
    texts = [STATE, STATE.replace("blue", "gray"), STATE.replace("red", "pin")]
    first, *others = (clue.read({"text": text}).nbytes for text in texts)
    judge, forgetful = Judge(clue, first + max(others)), Judge(clue, 0)
    cached = []
    for index in (0, 1, 0, 2, 0, 1):
        parts = [Part("text", texts[index])]
        found, again = judge(parts, [["It is red."]]), forgetful(parts, [["It is red."]])
        assert found.answers == again.answers and again.cached_tokens == 0
        cached.append(found.cached_tokens > 0)
    assert cached == [False, False, True, False, True, False]


@pytest.mark.processes
def test_the_command_serves():
    """By the command of the container file, but for the checkpoint, address and port: it answers, and ends on a
    signal."""
    port = free_port()
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    (program,), (options,) = (
        [json.loads(line.removeprefix(word)) for line in lines if line.startswith(word)]
        for word in ("ENTRYPOINT ", "CMD ")
    )
    own = {"python": sys.executable, "/model": CHECKPOINT, "0.0.0.0": "127.0.0.1", "8000": port}
    command = [own.get(word, word) for word in program + options]
    environment = {**os.environ, "CLUE_SERVER_KEY": KEY}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        log = []
        while not any("running on" in line for line in log):
            log.append(process.stdout.readline())
            assert log[-1], log  # it has ended
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            refused = ask(client).status_code
            client.headers["Authorization"] = f"Bearer {KEY}"
            answered = ask(client)
        process.send_signal(signal.SIGTERM)
        log.append(process.communicate(timeout=60)[0])
    assert refused == 401 and answered.status_code == 200, log
    assert KEY not in "".join(log)


def test_limits_of_the_command_are_checked(capsys):
    """Before the model is loaded."""
    with pytest.raises(SystemExit):
        main(["--model", "missing", "--max-text", "0"])
    assert "--max-text must be more than 0" in capsys.readouterr().err
