"""transformers' decision API gives the pipeline's probabilities, and refuses what CLUE can't answer."""

import base64
import json
import socket
from pathlib import Path

import httpx2
import pytest
import torch
from jevcompat.runner import run as run_conformance
from transformers import pipeline
from transformers.cli.serve import Serve

from modeling_clue import CLUEForConfidenceEstimation
from modeling_clue.decision import CLUEForDecision


CHECKPOINT = str(Path(__file__).resolve().parents[2] / "checkpoints" / "clue-urn-tiny")
STATE = "Balls in the urn: red, red, blue, green, red."
HYPOTHESES = ["A random ball is red.", "It is neither red nor blue.", "The ball is <CONF_3> blue."]
QUESTIONS = {f"q{index}": {"type": "noul", "instructions": text} for index, text in enumerate(HYPOTHESES)}


@pytest.fixture(scope="module")
def decide():
    """By the name of the task and the folder alone."""
    return pipeline("decision", model=CHECKPOINT)


@pytest.fixture(scope="module")
def expected() -> dict[str, float]:
    """What CLUE's own pipeline answers."""
    clue = pipeline("uncertain-inference", model=CHECKPOINT, trust_remote_code=True)
    answers = clue({"text": STATE, "hypotheses": HYPOTHESES})
    return {name: answer["probability"] for name, answer in zip(QUESTIONS, answers, strict=True)}


def test_yes_no_questions_have_the_pipelines_probabilities(decide, expected, monkeypatch):
    """All questions of a request in one forward pass, as a dict and as JSON."""
    calls = []
    forward = CLUEForDecision.forward

    def counted(self, *args, **kwargs):
        calls.append(1)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(CLUEForDecision, "forward", counted)
    request = {"state": STATE, "questions": QUESTIONS}
    for answers in (decide(request), decide(json.dumps(request))):
        assert {name: answer["type"] for name, answer in answers.items()} == dict.fromkeys(QUESTIONS, "noul")
        assert {name: answer["noul"] for name, answer in answers.items()} == pytest.approx(expected, abs=1e-6)
    assert len(calls) == 2 and max(expected.values()) - min(expected.values()) > 0.1


def test_the_calibration_counts(decide, expected, monkeypatch):
    """A checkpoint's isotonic calibration changes these answers too, to a certain 0 at its end."""
    points = {"x": [0.0, 0.7, 1.0], "y": [0.0, 0.0, 1.0]}
    assert max(expected.values()) < 0.7
    for calibration in ({"isotonic": points}, {"text": {"isotonic": points}}):
        monkeypatch.setattr(decide.model.config, "calibration", calibration)
        answers = decide({"state": STATE, "questions": QUESTIONS})
        assert [answer["noul"] for answer in answers.values()] == [0.0] * 3


def test_all_weights_are_those_of_the_checkpoint(decide):
    """The subclass reads the same names as CLUE: nothing is left at random."""
    state = CLUEForConfidenceEstimation.from_pretrained(CHECKPOINT).state_dict()
    weights = decide.model.state_dict()
    assert weights.keys() == state.keys() and all(torch.equal(weights[name], value) for name, value in state.items())


def test_options_share_the_probabilities_of_their_hypotheses(decide):
    """A choice and a score are the pipeline's probabilities by their sum, and the score is the expected level."""
    colours = ["red", "blue", "green"]
    clue = pipeline("uncertain-inference", model=CHECKPOINT, trust_remote_code=True)
    judged = clue({"text": STATE, "hypotheses": [f"A random ball is {colour}." for colour in colours]})
    probabilities = torch.tensor([answer["probability"] for answer in judged], dtype=torch.float64)
    expected = (probabilities / probabilities.sum()).tolist()
    answers = decide(
        {
            "state": STATE,
            "questions": {
                "one": {"type": "choice", "instructions": "A random ball is {}.", "criteria": dict.fromkeys(colours)},
                "grade": {"type": "score", "instructions": "A random ball is {}.", "criteria": colours},
            },
        }
    )
    assert list(answers["one"]["probabilities"].values()) == pytest.approx(expected, abs=1e-6)
    assert answers["one"]["choice"] == colours[expected.index(max(expected))]
    assert answers["grade"]["score"] == pytest.approx(expected[1] + 2 * expected[2], abs=1e-6)


def test_clips_beside_the_state_are_judged_as_the_pipelines(decide, clips):
    """As assets, which transformers' server passes on, and as lists, which its pipeline does."""
    clue = pipeline("uncertain-inference", model=CHECKPOINT, trust_remote_code=True)
    parts = [{"text": "A clip: "}, {"audio": str(clips.sound)}, {"text": " the end."}]
    (mixed,) = clue({"parts": parts, "hypotheses": ["The ball is blue."]})
    (seen,) = clue({"video": str(clips.talkie), "modality": "audiovisual", "hypotheses": ["The ball is blue."]})
    questions = {"q": {"type": "noul", "instructions": "The ball is blue."}}
    asset = {"type": "audio", "format": "wav", "data_base64": base64.b64encode(clips.sound.read_bytes()).decode()}
    answers = decide({"state": "A clip: <a> the end.", "questions": questions, "assets": {"<a>": asset}})
    assert answers["q"]["noul"] == pytest.approx(mixed["probability"], abs=1e-6)
    answers = decide({"state": "", "questions": questions, "videos": [clips.talkie]})
    assert answers["q"]["noul"] == pytest.approx(seen["probability"], abs=1e-6)
    assert abs(seen["probability"] - mixed["probability"]) > 1e-3


@pytest.mark.parametrize(
    "change, words",
    [
        ({"state": 3}, "`state` is a text, an object or a list, got int"),
        ({"state": " "}, "nothing to judge by"),
        ({"assets": {"<i>": {"type": "image", "data_base64": "AAAA"}}}, "'<i>'.*nowhere in `state`"),
        ({"images": ["/etc/passwd"]}, r"images\[0\].*nothing is fetched"),
        ({"picture": "a.png"}, "no picture"),
        ({"questions": {}}, "at least one question"),
        ({"questions": {"q": {"type": "choice", "instructions": "?"}}}, "'q'"),
        ({"questions": {"q": {"type": "noul"}}}, "'q'.*statement to judge"),
    ],
)
def test_what_clue_cannot_answer_is_refused(decide, change, words):
    """Nothing of a request is left out without a word."""
    with pytest.raises(ValueError, match=words):
        decide({"state": STATE, "questions": QUESTIONS, **change})


# MUST of the specification that transformers' server does not meet, whatever the model: it knows no model but the one
# it was started for, and counts 26 options before the model is asked.
OF_THE_SERVER = {"request.model-alias", "choice.options"}


def test_transformers_serve_answers(expected, clips):
    """`transformers serve` finds CLUE, answers at /v1/systemone, and says 400 to what CLUE can't answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    server = Serve(force_model=CHECKPOINT, host="127.0.0.1", port=port, device="cpu", non_blocking=True)
    try:
        transport = httpx2.HTTPTransport(retries=8)  # until it listens
        with httpx2.Client(transport=transport, timeout=60, base_url=f"http://127.0.0.1:{port}") as client:
            body = {"model": CHECKPOINT, "state": STATE, "questions": QUESTIONS}
            reply = client.post("/v1/systemone", json=body)
            listed = client.post("/v1/systemone", json={**body, "state": [STATE]})
            refused = client.post("/v1/systemone", json={**body, "state": ""})
            encoded = base64.b64encode(clips.sound.read_bytes()).decode()
            asset = {"<a>": {"type": "audio", "format": "wav", "data_base64": encoded}}
            heard = client.post("/v1/systemone", json={**body, "state": "<a>", "assets": asset})
            beside = client.post("/v1/systemone", json={**body, "audio": [f"data:audio/wav;base64,{encoded}"]})
        report = run_conformance(f"http://127.0.0.1:{port}", model=CHECKPOINT, timeout=60)
    finally:
        server.kill_server()
    assert reply.status_code == 200, reply.text
    answers = reply.json()["answers"]
    assert {name: answer["noul"] for name, answer in answers.items()} == pytest.approx(expected, abs=1e-6)
    assert listed.json()["answers"] == reply.json()["answers"]  # a list of one text is this text
    assert refused.status_code == 400 and "nothing to judge by" in refused.text
    assert heard.status_code == 200, heard.text
    clue = pipeline("uncertain-inference", model=CHECKPOINT, trust_remote_code=True)
    judged = clue({"audio": clips.sound, "hypotheses": HYPOTHESES})
    probabilities = [answer["noul"] for answer in heard.json()["answers"].values()]
    assert probabilities == pytest.approx([answer["probability"] for answer in judged], abs=1e-6)
    assert beside.status_code == 422 and "extra_forbidden" in beside.text
    tested = [result for result in report.results if result.level == "MUST" and result.status != "skip"]
    assert {result.id for result in tested if result.status == "fail"} == OF_THE_SERVER and len(tested) == 32
