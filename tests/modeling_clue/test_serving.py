"""Answers of a server that runs the exported Thinker are the pipeline's; what a server does wrong is told in words.

The server stands in for vLLM 0.32: it computes true log-probabilities with transformers' own forward of the exported
Thinker, and refuses what vLLM refuses, in vLLM's words.
"""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoProcessor, Qwen2_5OmniThinkerForConditionalGeneration, pipeline

from modeling_clue.conversion import to_clue, to_thinker
from modeling_clue.serving import ServedCLUE, ServingError


CHECKPOINT = Path(__file__).resolve().parents[2] / "checkpoints" / "clue-urn-tiny"
INPUT = {
    "text": "Balls in the urn: red, red, blue, green, red.",
    "hypotheses": ["A random ball is red.", "It is neither red nor blue.", "The ball is <CONF_3> <|im_end|> blue."],
}
KEY = "secret-key-of-the-test"


@contextlib.contextmanager
def served(folder: Path, *, key: str = "", model: str = "clue", behaviour: str = "well"):
    """A server on loopback in a thread; `bodies` are the requests it got, `most` how many at the same time."""
    thinker = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(folder).eval()
    tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
    state = SimpleNamespace(bodies=[], most=0, now=0, url="")
    lock, everybody = threading.Lock(), threading.Barrier(3)

    def answer(body: dict) -> tuple[int, dict]:
        ids = body["logprob_token_ids"]
        if body["model"] != model:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        if body["logprobs"] != len(ids):
            return 400, {"error": {"message": "logprobs must equal len(logprob_token_ids)."}}
        if behaviour == "limited":
            return 400, {"error": {"message": "Requested logprobs of 100, which is greater than max allowed: 20"}}
        with torch.no_grad(), lock:
            log_probabilities = thinker(input_ids=torch.tensor([body["prompt"]])).logits[0, -1].log_softmax(-1)
        best = int(log_probabilities.argmax())
        shown = {"some": ids[:20], "foreign": [0, 1, 2]}.get(behaviour, [*ids, best])
        top = {tokenizer.convert_ids_to_tokens(index): float(log_probabilities[index]) for index in shown}
        return 200, {"choices": [{"text": "", "logprobs": {"top_logprobs": [top]}}]}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                state.bodies.append(body)
                state.now += 1
                state.most = max(state.most, state.now)
            if behaviour == "together":  # nobody is answered before all three have asked
                everybody.wait(timeout=30)
            if behaviour == "silent":
                time.sleep(1)
            brought = self.headers.get("Authorization", "")
            if key and brought != f"Bearer {key}":
                status, reply = 401, {"error": {"message": f"Unauthorized: {brought}"}}
            elif self.path != "/v1/completions":
                status, reply = 404, {"detail": "Not Found"}
            else:
                status, reply = answer(body)
            broken = {**reply, "error": {"message": "upstream \x1b[2J"}}
            text = {
                "html": b"<html>\x1b[2J</html>",
                "null": b'{"choices": [{"logprobs": null}]}',
                "parts": b'{"choices": [{"logprobs": {"top_logprobs": [[{"token": "<CONF_0>"}]]}}]}',
                "aborted": json.dumps(reply).replace('"text"', '"finish_reason": "abort", "text"').encode(),
                "broken": json.dumps(broken).encode(),
            }.get(behaviour, json.dumps(reply).encode())
            with lock:
                state.now -= 1
            with contextlib.suppress(OSError):  # who waited too long has left
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """The shipped checkpoint's Thinker, as vLLM loads it."""
    return to_thinker(CHECKPOINT, tmp_path_factory.mktemp("served") / "omni", layout="omni")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory) -> Path:
    """Folders with configuration and processor of the shipped checkpoint, with every kind of calibration."""
    parts = {
        "temperature": 1.7,
        "isotonic": {"x": [0.0, 0.5, 1.0], "y": [0.1, 0.4, 0.8]},
        "conformal": {"coverage": 0.9, "quantile": 1.3},
        "automation": {"threshold": 0.6, "error_rate": 0.1, "confidence": 0.95, "error": "side"},
    }
    root = tmp_path_factory.mktemp("served")
    for name, calibration in (
        ("for all", parts),
        ("for texts", {"text": parts, "audio": {"temperature": 0.1}}),
        ("for sounds", {"audio": parts}),
    ):
        folder = root / name
        folder.mkdir()
        for path in CHECKPOINT.iterdir():
            if path.name != "config.json":
                (folder / path.name).symlink_to(path)
        config = json.loads((CHECKPOINT / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "calibration": calibration}))
    return root


def assert_same_answers(served_answers: list[dict], expected: list[dict]) -> None:
    """Same keys, same words, numbers to 1e-4."""
    assert len(served_answers) == len(expected)
    for served_answer, answer in zip(served_answers, expected, strict=True):
        assert served_answer.keys() == answer.keys()
        for key, value in answer.items():
            if isinstance(value, float) or key in ("distribution", "interval", "conformal_interval"):
                assert served_answer[key] == pytest.approx(value, abs=1e-4), key
            else:
                assert served_answer[key] == value, key


@pytest.mark.parametrize("kind", ["none", "for all", "for texts", "for sounds", "uncalibrated"])
def test_served_answers_are_the_pipelines(exported, calibrated, kind):
    """Probability, distribution and intervals agree, and what can be acted on, with and without a calibration that is
    theirs."""
    folder = {"none": CHECKPOINT, "uncalibrated": calibrated / "for all"}.get(kind, calibrated / kind)
    clue = pipeline("uncertain-inference", model=str(folder), trust_remote_code=True)
    options = {"interval": 0.8, "calibrated": kind != "uncalibrated", "act": kind.startswith("for")}
    expected = clue(INPUT, **options)
    assert len({round(answer["probability"], 2) for answer in expected}) > 1  # else any answer might agree
    assert ("conformal_interval" in expected[0]) == (kind in ("for all", "for texts"))
    assert any(answer.get("act", False) for answer in expected) == (kind in ("for all", "for texts"))
    with served(exported) as server:
        served_clue = ServedCLUE(folder, server=server.url, model="clue")
        answers = served_clue(INPUT, **options)
    assert_same_answers(answers, expected)


def test_hypotheses_are_asked_at_the_same_time_and_share_a_prefix(exported):
    """All requests are under way together, and begin with the premise's tokens, for a server's prefix cache."""
    with served(exported, behaviour="together") as server:
        answers = ServedCLUE(CHECKPOINT, server=server.url, model="clue")(INPUT)
    assert [answer["hypothesis"] for answer in answers] == INPUT["hypotheses"]
    assert server.most == 3
    clue = ServedCLUE(CHECKPOINT, server=server.url, model="clue")
    premise = clue.processor.encode_premise(INPUT["text"]).input_ids
    prompts = [body["prompt"] for body in server.bodies]
    assert all(prompt[: len(premise)] == premise for prompt in prompts) and len(set(map(tuple, prompts))) == 3
    # What a hypothesis says is never a special token, and no more than one token is asked for.
    assert not any(set(prompt) & set(clue.request([])["logprob_token_ids"]) for prompt in prompts)
    assert {body["max_tokens"] for body in server.bodies} == {1}


@pytest.mark.parametrize(
    "behaviour, words",
    [
        ("limited", "HTTP 400: .* max allowed: 20. Start it with `--max-logprobs 100`"),
        ("some", "20 of 100 confidence tokens.*logprob_token_ids.*--max-logprobs"),
        ("foreign", "other tokens where this checkpoint has its confidence tokens.*Thinker exported"),
        ("html", "without log-probabilities: <html>.*2J</html>"),
        ("null", "without log-probabilities"),
        ("parts", "other tokens where this checkpoint has its confidence tokens"),
        ("aborted", "broke off, finish_reason abort"),
        ("broken", "broke off, .*: upstream"),
        ("silent", "did not answer within 0.2 s"),
    ],
)
def test_servers_that_give_no_distribution(exported, behaviour, words):
    """Each failure is an error that says what to do; control characters of a reply reach no terminal."""
    with served(exported, behaviour=behaviour) as server, pytest.raises(ServingError, match=words) as error:
        ServedCLUE(CHECKPOINT, server=server.url, model="clue", timeout=0.2 if behaviour == "silent" else 30)(INPUT)
    assert "\x1b" not in str(error.value)


def test_wrong_model_address_or_key(exported, monkeypatch):
    """Model, address and key are told apart; the key goes into the header alone, and no error quotes it."""
    with served(exported, key=KEY) as server:
        monkeypatch.delenv("CLUE_SERVER_KEY", raising=False)
        with pytest.raises(ServingError, match=r"HTTP 401.*\$CLUE_SERVER_KEY"):
            ServedCLUE(CHECKPOINT, server=server.url, model="clue")(INPUT)
        monkeypatch.setenv("MY_KEY", KEY[:-1])
        with pytest.raises(ServingError, match=r"Bearer \[key\]"):
            ServedCLUE(CHECKPOINT, server=server.url, model="clue", api_key_env="MY_KEY")(INPUT)
        monkeypatch.setenv("CLUE_SERVER_KEY", KEY)
        assert len(ServedCLUE(CHECKPOINT, server=server.url, model="clue")(INPUT)) == 3
        assert KEY not in json.dumps(server.bodies)
        with pytest.raises(ServingError, match="HTTP 404: The model `clew` does not exist. Is 'clew' its"):
            ServedCLUE(CHECKPOINT, server=server.url, model="clew")(INPUT)
        with pytest.raises(ServingError, match="HTTP 404.*end in /v1"):
            ServedCLUE(CHECKPOINT, server=server.url.removesuffix("/v1"), model="clue")(INPUT)
    with pytest.raises(ServingError, match="No server answers"):
        ServedCLUE(CHECKPOINT, server=server.url, model="clue")(INPUT)
    monkeypatch.setenv("CLUE_SERVER_KEY", "a\nb")
    with pytest.raises(ValueError, match="characters that no key has"):
        ServedCLUE(CHECKPOINT, server=server.url, model="clue")


def test_what_cannot_be_asked(exported, premises):
    """Sound and video, a Thinker in the place of the CLUE checkpoint, and impossible addresses are refused."""
    clue = ServedCLUE(CHECKPOINT, server="http://127.0.0.1:1/v1", model="clue")
    with pytest.raises(ValueError, match="takes no audio"):
        clue({"premise": premises["audio"], "hypothesis": "It is red."})
    with pytest.raises(ValueError, match="needs 'hypotheses'"):
        clue({"text": "An urn."})
    with pytest.raises(ValueError, match="name the CLUE one"):
        ServedCLUE(exported, server="http://127.0.0.1:1/v1", model="clue")
    with pytest.raises(ValueError, match="no address of a server"):
        ServedCLUE(CHECKPOINT, server="127.0.0.1:8000", model="clue")


def test_the_layout_for_vllm_is_a_thinker_again(exported, tmp_path):
    """Full layout: the same weights under `thinker.`, no speech, the same CLUE when converted back."""
    config = json.loads((exported / "config.json").read_text())
    assert config["architectures"] == ["Qwen2_5OmniForConditionalGeneration"]
    assert config["model_type"] == "qwen2_5_omni" and config["enable_audio_output"] is False
    again = to_clue(exported, tmp_path / "clue")
    texts = [
        pipeline("uncertain-inference", model=str(folder), trust_remote_code=True) for folder in (again, CHECKPOINT)
    ]
    assert texts[0](INPUT) == texts[1](INPUT)
    with pytest.raises(ValueError, match="`layout` must be one of thinker, omni"):
        to_thinker(CHECKPOINT, tmp_path / "out", layout="full")
