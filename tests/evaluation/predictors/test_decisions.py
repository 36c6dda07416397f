"""Decision models behind a server: what is sent in each format, what comes back, what has no number, what goes on."""

import json
import socket
from collections import Counter
from io import BytesIO
from pathlib import Path

import av
import httpx2
import pytest
from openai.types import Decision, decision_create_params
from pydantic import TypeAdapter
from transformers import pipeline
from transformers.cli.serve import Serve

from chat.decisions import DecisionsClient, SystemOneClient, read_state
from chat.media import UnfitPairError
from evaluation import run, urn
from evaluation.data import load_rows
from modeling_clue.decision import CLUEForDecision  # noqa: F401 makes CLUE known to the server
from modeling_clue.modalities import MODALITIES
from tests.chat.decision_server import Running, decision_server, decode, has_sound
from tests.datasets_scripts.teachers.test_ask import write_pairs, write_rows
from tests.reading import lines


ROOT = Path(__file__).resolve().parents[3]
CHECKPOINT = str(ROOT / "checkpoints/clue-urn-tiny")
MANY = 10**9


@pytest.fixture(scope="module")
def clue():
    """CLUE as anybody loads it."""
    return pipeline("uncertain-inference", model=CHECKPOINT, trust_remote_code=True)


@pytest.fixture(scope="module")
def judge(clue):
    """Judges what the server decoded."""

    def judged(parts: list[dict], hypotheses: list[str]) -> list[float]:
        premise = parts[0] if len(parts) == 1 else {"parts": parts}
        return [answer["probability"] for answer in clue({**premise, "hypotheses": hypotheses})]

    return judged


def evaluate(dataset, config, out, server, *options, predictor="systemone") -> tuple[dict, list[dict]]:
    """The report of an evaluation and its predictions."""
    given = ["--dataset", dataset, "--dataset-config", config, "--output-dir", out, "--backoff", "0.01"]
    given += ["--predictor", predictor, "--server", server.url, "--server-model", "org/model", *options]
    return run.main([str(part) for part in given]), lines(out / "predictions.jsonl")


@pytest.mark.parametrize("modality", MODALITIES)
def test_answers_are_what_clue_says_of_the_rows_themselves(urn_world, judge, clue, tmp_path, modality):
    """In each modality what the server decodes is the row's premise: its answers are those to the clip on this
    machine. Of five questions each goes by itself, with nothing of the format left out."""
    rows = [dict(row) for row in load_rows(str(urn_world), f"urn-{modality}", "test").select(range(5))]
    with decision_server(judge) as server:
        report, predictions = evaluate(urn_world, f"urn-{modality}", tmp_path / "out", server, "--limit", 5)
    assert len(server.requests) == 5 and all(len(request["questions"]) == 1 for request in server.requests)
    field = {"text": set(), "audio": {"audio"}}.get(modality, {"videos"})
    assert all(set(request) == {"model", "state", "questions"} | field for request in server.requests)
    assert report["without_number"] == {"n": 0, "reasons": {}}
    for row, prediction in zip(rows, predictions, strict=True):
        premise = {"text": row["premise"]} if modality == "text" else {}
        premise |= {"audio": row["audio"]["path"]} if modality == "audio" else {}
        premise |= {"video": row["video"]["path"], "modality": modality} if row["video"] else {}
        (answer,) = clue({**premise, "hypotheses": [row["hypothesis"]]})
        assert prediction["prediction"] == pytest.approx(answer["probability"], abs=1e-3)
        assert prediction["reason"] is None


@pytest.mark.parametrize("predictor", ["systemone", "decisions"])
def test_several_questions_go_together(urn_world, judge, tmp_path, predictor):
    """At most N about one premise share a request, never two premises; the answers, in whatever order they come, are
    each row's own; the report is a folder of its own."""
    with decision_server(judge) as server:
        _, alone = evaluate(urn_world, "urn-text", tmp_path / "alone", server, predictor=predictor)
        assert len(server.requests) == 12
        together = ("--questions-per-request", "3")
        report, three = evaluate(urn_world, "urn-text", tmp_path / "three", server, *together, predictor=predictor)
        asked = Counter(len(request["questions"]) for request in server.requests[12:])
    assert asked == {3: 3, 1: 3}
    assert [row["prediction"] for row in three] == pytest.approx([row["prediction"] for row in alone], abs=1e-5)
    assert report["settings"]["questions_per_request"] == 3
    assert len({row["prediction"] for row in three}) > 6


def test_openais_client_takes_what_is_sent_and_answered(judge, urn_world, tmp_path):
    """Request and reply of `/v1/decisions` are those of OpenAI's own package."""
    rows = write_rows(
        tmp_path / "umui",
        [
            {"premise": "Balls in the urn: red.", "hypothesis": "It is red."},
            {"premise": "Balls in the urn: red.", "hypothesis": "It is blue.", "context": "An urn holds balls."},
        ],
    )
    with decision_server(judge) as server:
        evaluate(rows, "pairs", tmp_path / "out", server, "--split", "train", predictor="decisions")
    params = TypeAdapter(decision_create_params.DecisionCreateParams)
    # They are sent at once, and come in any order; that with a background has messages in place of a text.
    requests = sorted(server.requests, key=lambda request: isinstance(request["input"], list))
    alone, told = (params.validate_python(request, strict=True, extra="forbid") for request in requests)
    for request, read in zip(requests, (alone, told), strict=True):
        # Read as it goes: what is of another kind ends here, and what the package does not know is left out.
        assert list(read["questions"]) == request["questions"]
    assert alone["input"] == "Balls in the urn: red."
    (message,) = told["input"]
    assert [part["text"] for part in message["content"]] == [
        "Background, for orientation only; it is no evidence:\nAn urn holds balls.",
        "Balls in the urn: red.",
    ]
    usage = {"input_tokens": 1, "output_tokens": 0, "total_tokens": 1}
    usage |= {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
    usage |= {"output_tokens_details": {"reasoning_tokens": 0}}
    reply = {"model": "m", "answers": [{"type": "predicate", "name": "q1", "probability": 0.25}], "usage": usage}
    decision = Decision.model_validate(reply)
    (answer,) = DecisionsClient.answers(decision.model_dump(), 1)
    assert answer.probability == 0.25


def test_transformers_serve_is_asked(urn_world, clue, tmp_path):
    """A server that is none of ours answers what was sent as the pipeline does, however many questions go together."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    server = Serve(force_model=CHECKPOINT, host="127.0.0.1", port=port, device="cpu", non_blocking=True)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        with httpx2.Client(transport=httpx2.HTTPTransport(retries=8)) as client:  # until it listens
            client.get(f"{url}/models")
        options = ("--server-model", CHECKPOINT, "--questions-per-request", "64")
        _, together = evaluate(urn_world, "urn-text", tmp_path / "together", Running(url), *options)
        options = (*options, "--questions-per-request", "1", "--limit", "4")
        _, alone = evaluate(urn_world, "urn-text", tmp_path / "alone", Running(url), *options)
    finally:
        server.kill_server()
    wanted = [
        clue({"text": row["premise"], "hypotheses": [row["hypothesis"]]})[0]["probability"]
        for row in load_rows(str(urn_world), "urn-text", "test")
    ]
    assert [row["prediction"] for row in together] == pytest.approx(wanted, abs=1e-6)
    assert [row["prediction"] for row in alone] == pytest.approx(wanted[:4], abs=1e-6)


def test_what_has_no_number_has_its_reason(tmp_path):
    """Of questions asked together each has its own; an error of the server is told in its words; what a busy server
    answers later counts as any answer."""
    about = [{"premise": "One premise."}] * 6 + [{"premise": "Another."}, {"premise": "A third."}]
    kinds = ["is.", "[left out]", "[1.5]", "[words]", "[choice]", "is too.", "[422]", "[500 x2] is."]
    rows = [
        {**row, "hypothesis": f"#{number} {kind}"} for number, (row, kind) in enumerate(zip(about, kinds, strict=True))
    ]
    dataset = write_rows(tmp_path / "umui", rows)
    options = ("--split", "train", "--questions-per-request", "6", "--retries", "2")
    with decision_server() as server:
        report, predictions = evaluate(dataset, "pairs", tmp_path / "out", server, *options)
    assert [row["prediction"] for row in predictions] == [0.1, None, None, None, None, 0.6, None, 0.1]
    assert [row["reason"] for row in predictions if row["reason"]] == [
        "the server left this question out",
        "1.5 is no probability",
        "no number in 'noul'",
        "an answer of the type 'choice', not 'noul'",
        "HTTP 422: body.questions: it is 422",
    ]
    assert len(server.requests) == 1 + 1 + 3
    assert report["without_number"]["n"] == 5 and report["n"] == 8
    with decision_server() as server:
        (refused,) = evaluate(
            write_pairs(tmp_path / "refused", ["[refused]", "is."]),
            *("pairs", tmp_path / "other", server, "--split", "train"),
            predictor="decisions",
        )[1][:1]
    assert refused["reason"] == "refused" and refused["prediction"] is None


def test_a_run_stops_by_name_and_goes_on(tmp_path):
    """A server that fails every time ends the run with the rows that it was at; the same command asks about those
    that have no answer yet, and about no others."""
    dataset = write_pairs(tmp_path / "umui", ["is.", "is.", "[503 x3] is.", "[503 x2] is.", "is."])
    options = (
        "--split",
        "train",
        "--retries",
        "0",
        "--stop-after-failures",
        "1",
        "--batch-size",
        "2",
        "--in-flight",
        "1",
    )
    with decision_server() as server:
        told = "rows pairs-2, pairs-3 could not be scored: 1 requests in a row failed.*HTTP 503.*it is 503"
        with pytest.raises(ValueError, match=told):
            evaluate(dataset, "pairs", tmp_path / "out", server, *options)
        assert len(lines(tmp_path / "out/predictions.jsonl.partial")) == 2
        asked = len(server.requests)
        _, predictions = evaluate(dataset, "pairs", tmp_path / "out", server, *options[:2], "--retries", "5")
        again = [question["instructions"] for r in server.requests[asked:] for question in r["questions"].values()]
    assert not {"#0 is.", "#1 is."} & set(again)
    assert [row["prediction"] for row in predictions] == [0.1] * 5


def test_the_key_comes_from_the_environment_and_is_nowhere_else(tmp_path, monkeypatch):
    """It is in the header; a refused one stops the run, and is in no message."""
    dataset = write_pairs(tmp_path / "umui", ["is.", "is too."])
    monkeypatch.setenv("DECISION_KEY", "sk-of-a-test-0123")
    options = ("--split", "train", "--api-key-env", "DECISION_KEY")
    with decision_server(key="sk-of-a-test-0123") as server:
        evaluate(dataset, "pairs", tmp_path / "out", server, *options)
        assert server.keys == {"Bearer sk-of-a-test-0123"}
        monkeypatch.setenv("DECISION_KEY", "sk-of-another-0123")
        with pytest.raises(ValueError, match="the key is missing or wrong") as stopped:
            evaluate(dataset, "pairs", tmp_path / "refused", server, *options)
    assert "sk-of-another" not in str(stopped.value)
    assert all("sk-of" not in path.read_text() for path in tmp_path.rglob("*.json*"))


def test_a_silent_premise_is_sent_silent(urn_world):
    """The file of a video that is judged without its sound has no track when it is sent, and the same pictures; with
    its sound the file goes as it is, or its sound beside it."""
    row = dict(load_rows(str(urn_world), "urn-audiovisual", "test")[0])
    file = Path(row["video"]["path"]).read_bytes()
    assert has_sound(file)

    def sent(modality: str, sound: str) -> dict:
        state = read_state({**row, "modality": modality}, urn_world, MANY, sound)
        return SystemOneClient.request(state, ["It is red."])

    def media(request: dict) -> list[bytes]:
        return [decode(address) for name in ("videos", "audio") for address in request.get(name, ())]

    assert media(sent("audiovisual", "inside")) == [file]
    (silent,) = media(sent("video", "inside"))
    assert not has_sound(silent)
    beside, wav = media(sent("audiovisual", "beside"))
    assert beside == silent and wav[:4] == b"RIFF"
    assert pictures(silent) == pictures(file)
    without = dict(load_rows(str(urn_world), "urn-video", "test")[0])
    assert media(SystemOneClient.request(read_state(without, urn_world, MANY), ["It."])) == [
        Path(without["video"]["path"]).read_bytes()
    ]


def pictures(video: bytes) -> list:
    """The pictures of a video, and when they are shown."""
    with av.open(BytesIO(video)) as clip:
        return [(float(frame.time), frame.to_ndarray(format="rgb24").tobytes()) for frame in clip.decode(video=0)]


def test_a_premise_of_several_parts(urn_world):
    """Texts are the state, a list where there are several, and clips stand beside; OpenAI's format keeps the order of
    texts and pictures, and says that it has no place for a clip."""
    clip = dict(load_rows(str(urn_world), "urn-audio", "test")[0])["audio"]
    picture = {"bytes": b"\x89PNG", "path": "ball.png"}

    def row(*modalities: str, **more) -> dict:
        parts = [
            {"modality": name, "text": f"Text {place}." if name == "text" else None}
            for place, name in enumerate(modalities)
        ]
        clips = [picture if name == "image" else clip for name in modalities if name != "text"]
        return {"modality": "audio", "premise": None, "parts": parts, "part_clips": clips, "context": None, **more}

    def state(*modalities: str, **more):
        return read_state(row(*modalities, **more), urn_world, MANY)

    asked = SystemOneClient.request(state("text", "image", "text", "audio"), ["It is."])
    assert asked["state"] == ["Text 0.", "Text 2."]
    assert [len(asked[name]) for name in ("images", "audio")] == [1, 1] and "videos" not in asked
    assert asked["images"][0] == "data:image/png;base64,iVBORw=="
    told = SystemOneClient.request(state("image", context="It is so."), ["It is."])
    assert told["state"] == {"background": "It is so."}
    told = SystemOneClient.request(state("image", "text", context="It is so."), ["It is."])
    assert told["state"] == {"background": "It is so.", "premise": "Text 1."}
    (message,) = DecisionsClient.request(state("image", "text"), ["It is."])["input"]
    assert [part["type"] for part in message["content"]] == ["input_image", "input_text"]
    with pytest.raises(ValueError, match="no place for audio: ask the server with --predictor systemone"):
        DecisionsClient.request(state("text", "audio"), ["It is."])
    with pytest.raises(UnfitPairError, match="the limit is"):
        read_state(row("audio"), urn_world, 10)


def test_a_clip_is_not_asked_about_where_there_is_no_place_for_it(urn_world, tmp_path):
    """The run stops before anything is sent, with the rows and what to do."""
    with decision_server() as server:
        with pytest.raises(ValueError, match=r"rows .*urn-audio.* could not be scored: /v1/decisions has no place"):
            evaluate(urn_world, "urn-audio", tmp_path / "out", server, predictor="decisions")
    assert server.requests == []


def test_the_stress_test_asks_a_server(judge, tmp_path):
    """`evaluation.urn` takes the predictor as any other."""
    suite = "--modalities text audio --balls 3 --premises 2 --hypotheses-per-premise 3 --workers 1 --no-context"
    folders = ["--suites", str(tmp_path / "suites"), "--output-dir", str(tmp_path / "out")]
    with decision_server(judge) as server:
        given = ["--predictor", "systemone", "--server", server.url, "--server-model", "m", *suite.split(), *folders]
        report = urn.main([*given, "--questions-per-request", "8"])
    assert report["without_number"] == 0 and report["n"] > 6
    assert json.loads((tmp_path / "out/text/settings.json").read_text())["questions_per_request"] == 8


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--predictor systemone", "systemone asks a server: it needs --server and --server-model"),
        ("--predictor decisions --model m", "decisions asks a server"),
        ("--predictor systemone --server-model m --server http://127.0.0.1:1/v1", "no server answers"),
        ("--predictor binary --model m --questions-per-request 2", "--questions-per-request is for"),
        (
            '--predictor systemone --server-model m --server http://127.0.0.1:1/v1 --extra {"state":2}',
            "leave out state",
        ),
    ],
)
def test_options_that_do_not_go_together_are_told(urn_world, tmp_path, options, complaint):
    """Before anything is asked."""
    with pytest.raises(ValueError, match=complaint):
        run.main(f"--dataset {urn_world} --dataset-config urn-text --output-dir {tmp_path}/out {options}".split())
