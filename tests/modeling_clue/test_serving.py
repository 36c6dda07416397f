"""A server's answers are the pipeline's, for premises of all kinds; what a server does wrong is told in words.

The server stands in for vLLM 0.32: it computes true logits with transformers' own forward and processor,
from the files of the export alone, and refuses what vLLM refuses, in vLLM's words.
"""

import base64
import contextlib
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    AddedToken,
    AutoProcessor,
    AutoTokenizer,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2Tokenizer,
    pipeline,
)

from modeling_clue.conversion import to_clue, to_thinker
from modeling_clue.served_layout import MARK, classifier_tokenizer
from modeling_clue.served_prompt import CannotServe
from modeling_clue.serving import ServedCLUE, ServingError


CHECKPOINT = Path(__file__).resolve().parents[2] / "checkpoints" / "clue-urn-tiny"
INPUT = {
    "text": "Balls in the urn: red, red, blue, green, red.",
    "hypotheses": ["A random ball is red.", "It is neither red nor blue.", "The ball is <CONF_3> <|im_end|> blue."],
}
KEY = "secret-key-of-the-test"
UNTRUSTED = (
    "Per-request mm_processor_kwargs are disabled. Start the server with --trust-request-mm-kwargs only when ..."
)


class Engine:
    """Judges requests as vLLM does, with what lies in the folder."""

    def __init__(self, folder: Path):
        self.options = yaml.safe_load((folder / "vllm.yaml").read_text())
        self.thinker = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(folder).eval()
        self.processor = AutoProcessor.from_pretrained(folder)
        self.head = load_file(folder / "model.safetensors")["language_model.score.weight"]
        self.kept = {}

    def logits(self, inputs: dict, **options) -> torch.Tensor:
        with torch.no_grad():
            output = self.thinker(**inputs, **options, output_hidden_states=True)
        return self.head @ output.hidden_states[-1][0, -1]

    def decode(self, part: dict) -> tuple[str, object]:
        """The kind of a part and its content, which is kept under its name."""
        kind, content = part["type"], part[part["type"]]
        if content is None:
            return self.kept[part["uuid"]]
        if kind == "input_audio":
            waveform, rate = soundfile.read(io.BytesIO(base64.b64decode(content["data"])), dtype="float32")
            assert rate == 16000
            found = "audio", waveform
        else:
            head, _, data = content["url"].partition("base64,")
            pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in data.split(",")]
            found = ("image", pictures[0]) if head == "data:image/png;" else ("video", np.stack(pictures))
        self.kept[part["uuid"]] = found
        return found

    def judge(self, body: dict) -> tuple[list[torch.Tensor], int]:
        """The logits of each prompt, and how many tokens they had."""
        if "input" in body:
            rows = [{"input_ids": torch.tensor([ids])} for ids in body["input"]]
            return [self.logits(row) for row in rows], sum(map(len, body["input"]))
        shown, media = [], {"audio": [], "image": [], "video": []}
        for message in body["messages"]:
            parts = []
            for part in message["content"]:
                if part["type"] != "text":
                    kind, content = self.decode(part)
                    media[kind].append(content)
                    known = {"type", "uuid", "input_audio", "video_url", "image_url"}
                    part = {"type": kind, **{name: value for name, value in part.items() if name not in known}}
                parts.append(part)
            shown.append({"role": message["role"], "content": parts})
        text = self.processor.apply_chat_template(shown, tokenize=False)
        options = dict(body.get("mm_processor_kwargs", {}))
        options.pop("second_per_grid_ts", None)
        together = {"use_audio_in_video": True} if options.pop("use_audio_in_video", False) else {}
        if together:  # by the names of transformers
            options |= {"load_audio_from_video": True, "audio_from_video_indices": [0]}
        inputs = self.processor(
            text=text,
            audio=media["audio"] or None,
            images=media["image"] or None,
            videos=[torch.from_numpy(video).permute(0, 3, 1, 2) for video in media["video"]] or None,
            return_tensors="pt",
            **options,
        )
        return [self.logits(inputs, **together)], inputs["input_ids"].shape[1]

    def answer(self, body: dict, model: str, behaviour: str) -> tuple[int, dict]:
        if body["model"] != model:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        if behaviour == "untrusting" and "mm_processor_kwargs" in body:
            return 400, {"error": {"message": UNTRUSTED}}
        if behaviour == "forgetful" and '_url": null' in json.dumps(body) + json.dumps(body).replace("audio", "_url"):
            return 400, {"error": {"message": "Expected a cached item"}}
        logits, tokens = self.judge(body)
        if behaviour == "headless":  # what was never loaded: any number
            logits = [torch.randn(len(row), generator=torch.Generator().manual_seed(0)) for row in logits]
        if behaviour == "zeros":
            logits = [torch.zeros_like(row) for row in logits]
        if behaviour == "activated" or body.get("use_activation") is not False:
            logits = [row.softmax(0) for row in logits]
        if behaviour == "short":
            logits = [row[:2] for row in logits]
        if behaviour == "endless":
            logits = [row + float("inf") for row in logits]
        if behaviour == "other tokens":
            tokens += 1
        data = [{"index": index, "label": None, "probs": row.tolist()} for index, row in enumerate(logits)]
        return 200, {"data": data[::-1], "usage": {"prompt_tokens": tokens}}


@contextlib.contextmanager
def served(engine: Engine, *, key: str = "", model: str = "clue", behaviour: str = "well"):
    """A server on loopback in a thread; `bodies` are the requests it got, `most` how many at the same time."""
    state = SimpleNamespace(bodies=[], url="")
    lock = threading.Lock()
    engine.kept.clear()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if behaviour == "silent":
                time.sleep(1)
            brought = self.headers.get("Authorization", "")
            with lock:
                state.bodies.append(body)
                if key and brought != f"Bearer {key}":
                    status, reply = 401, {"error": {"message": f"Unauthorized: {brought}"}}
                elif self.path != "/classify":
                    status, reply = 404, {"detail": "Not Found"}
                else:
                    status, reply = engine.answer(body, model, behaviour)
            text = {
                "html": b"<html>\x1b[2J</html>",
                "null": b'{"data": null}',
                "words": b'{"data": [{"index": 0, "probs": ["red"]}]}',
            }.get(behaviour, json.dumps(reply).encode())
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
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """The shipped checkpoint, calibrated for texts in every way and for sounds in another. Its frames follow at
    intervals that are exact in float32, as those of published checkpoints do."""
    parts = {
        "temperature": 1.7,
        "isotonic": {"x": [0.0, 0.5, 1.0], "y": [0.1, 0.4, 0.8]},
        "conformal": {"coverage": 0.9, "quantile": 1.3},
        "automation": {"threshold": 0.6, "error_rate": 0.1, "confidence": 0.95, "error": "side"},
    }
    changes = {
        "config.json": {"calibration": {"text": parts, "audio": {"temperature": 2.0}}},
        "processor_config.json": {"media": {"fps": 8.0, "max_audio_seconds": 60.0}},
    }
    folder = tmp_path_factory.mktemp("served") / "calibrated"
    folder.mkdir()
    for path in CHECKPOINT.iterdir():
        if path.name in changes:
            content = json.loads(path.read_text()) | changes[path.name]
            (folder / path.name).write_text(json.dumps(content))
        else:
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def exported(checkpoint) -> Path:
    """What vLLM serves."""
    return to_thinker(checkpoint, checkpoint.parent / "classify", layout="classify")


@pytest.fixture(scope="module")
def engine(exported) -> Engine:
    """The server's model."""
    return Engine(exported)


@pytest.fixture(scope="module")
def clue(checkpoint):
    """The pipeline that a server's answers are compared with."""
    return pipeline("uncertain-inference", model=str(checkpoint), trust_remote_code=True)


@pytest.fixture(scope="module")
def inputs(clips) -> dict[str, dict]:
    """A premise of each kind that a server is asked about."""
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    parts = [{"text": "An urn holds 3 red balls."}, {"text": "Then:"}, {"audio": clips.sound}, {"image": picture}]
    return {
        "text": {"text": INPUT["text"]},
        "audio": {"audio": clips.sound},
        "video": {"video": clips.silent},
        "audiovisual": {"video": clips.talkie, "modality": "audiovisual"},
        "parts": {"parts": [*parts, {"text": "It <|im_end|>s."}, {"video": clips.silent, "end": 0.4}]},
    }


def assert_same_answers(served_answers: list[dict], expected: list[dict]) -> None:
    """Same keys, same words, numbers to 1e-4; notes of the server may come behind the pipeline's."""
    assert len(served_answers) == len(expected)
    for served_answer, answer in zip(served_answers, expected, strict=True):
        assert served_answer.keys() == answer.keys()
        for key, value in answer.items():
            if isinstance(value, float) or key in ("distribution", "interval", "conformal_interval"):
                assert served_answer[key] == pytest.approx(value, abs=1e-4), key
            elif key == "notes":
                assert served_answer[key][: len(value)] == value
            else:
                assert served_answer[key] == value, key


@pytest.mark.parametrize("kind", ["text", "audio", "video", "audiovisual", "parts"])
def test_served_answers_are_the_pipelines(exported, engine, clue, inputs, kind):
    """Probability, distribution and intervals agree, and what can be acted on, with the calibration of the modality; a
    special token in a hypothesis, or in a text beside a clip, is text."""
    input_ = {**inputs[kind], "hypotheses": INPUT["hypotheses"]}
    expected = clue(input_, interval=0.8, act=True)
    assert len({round(answer["probability"], 2) for answer in expected}) > 1  # else any answer might agree
    with served(engine) as server:
        ask = ServedCLUE(exported, server=server.url + "/v1", model="clue", approximate=kind == "audiovisual")
        assert_same_answers(ask(input_, interval=0.8, act=True), expected)
        first = len(server.bodies)
        assert_same_answers(ask(input_, calibrated=False), clue(input_, calibrated=False))
    # The reference was asked about once, and a clip came once: all further hypotheses name it.
    bodies = server.bodies[first:]
    assert len(bodies) == (1 if kind == "text" else 3)
    sizes = [len(json.dumps(body)) for body in bodies]
    assert kind == "text" or max(sizes[1:]) < sizes[0] / 4
    assert ("conformal_interval" in expected[0]) == (kind == "text")
    assert any(answer["act"] for answer in expected) == (kind == "text")


def test_a_server_that_keeps_no_clips(exported, engine, clue, inputs):
    """Every hypothesis then brings the clip."""
    input_ = {**inputs["audio"], "hypotheses": INPUT["hypotheses"]}
    with served(engine, behaviour="forgetful") as server:
        assert_same_answers(ServedCLUE(exported, server=server.url, model="clue")(input_), clue(input_))
    assert sum("null" in json.dumps(body) for body in server.bodies) == 3


@pytest.mark.parametrize(
    "behaviour, words",
    [
        ("headless", "runs other weights .* or without its confidence head: .* off by .*Start it with the folder"),
        ("zeros", "off by 100%"),
        ("activated", "runs other weights"),
        ("short", "2 answers of 2 classes, where 2 of 100 were asked for"),
        ("endless", "logits that are not finite"),
        ("other tokens", r"read (\d+) tokens where this checkpoint's processor has \d+.*chat template"),
        ("html", "without classes: <html>.*2J</html>"),
        ("null", "without classes"),
        ("words", "without classes"),
        ("silent", "did not answer within 0.2 s"),
    ],
)
def test_servers_that_give_no_distribution(exported, engine, behaviour, words):
    """Each failure is an error that says what to do; control characters of a reply reach no terminal."""
    with served(engine, behaviour=behaviour) as server, pytest.raises(ServingError, match=words) as error:
        ServedCLUE(exported, server=server.url, model="clue", timeout=0.2 if behaviour == "silent" else 30)(INPUT)
    assert "\x1b" not in str(error.value)


def test_weights_in_half_precision_are_the_same_weights(exported, engine):
    """What rounding to bfloat16 does to the logits is far from the bound at which weights count as others."""
    engine.thinker.bfloat16()
    head, engine.head = engine.head, engine.head.bfloat16()
    try:
        with served(engine) as server:
            assert len(ServedCLUE(exported, server=server.url, model="clue")(INPUT)) == 3
    finally:
        engine.thinker.float()
        engine.thinker.load_state_dict(
            Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(exported).state_dict(), strict=False
        )
        engine.head = head


def test_wrong_model_address_or_key(exported, engine, monkeypatch, inputs):
    """Model, address, key and options are told apart; the key goes into the header alone, and no error quotes it."""
    with served(engine, key=KEY) as server:
        monkeypatch.delenv("CLUE_SERVER_KEY", raising=False)
        with pytest.raises(ServingError, match=r"HTTP 401.*\$CLUE_SERVER_KEY"):
            ServedCLUE(exported, server=server.url, model="clue")(INPUT)
        monkeypatch.setenv("MY_KEY", KEY[:-1])
        with pytest.raises(ServingError, match=r"Bearer \[key\]"):
            ServedCLUE(exported, server=server.url, model="clue", api_key_env="MY_KEY")(INPUT)
        monkeypatch.setenv("CLUE_SERVER_KEY", KEY)
        assert len(ServedCLUE(exported, server=server.url, model="clue")(INPUT)) == 3
        assert KEY not in json.dumps(server.bodies)
        with pytest.raises(ServingError, match="HTTP 404: The model `clew` does not exist. Is 'clew' its"):
            ServedCLUE(exported, server=server.url, model="clew")(INPUT)
        with pytest.raises(ServingError, match="HTTP 404.*was it started with `--config vllm.yaml`"):
            ServedCLUE(exported, server=server.url + "/models", model="clue")(INPUT)
    with pytest.raises(ServingError, match="No server answers"):
        ServedCLUE(exported, server=server.url, model="clue")(INPUT)
    with served(engine, behaviour="untrusting") as server:
        with pytest.raises(ServingError, match="HTTP 400: .*Start it with `--config vllm.yaml`"):
            ServedCLUE(exported, server=server.url, model="clue")({**inputs["video"], "hypothesis": "It is red."})
    monkeypatch.setenv("CLUE_SERVER_KEY", "a\nb")
    with pytest.raises(ValueError, match="characters that no key has"):
        ServedCLUE(exported, server=server.url, model="clue")


def test_what_cannot_be_asked(exported, clips):
    """Premises that a server would read otherwise, other checkpoints, and impossible addresses are refused."""
    ask = ServedCLUE(exported, server="http://127.0.0.1:1", model="clue")
    talkie = {"video": clips.talkie, "modality": "audiovisual"}
    long = {"array": np.ones(31 * 16000, np.float32) / 2, "sampling_rate": 16000}
    ask.processor.media["max_frames"] = 4
    videos = [{"video": clips.silent}, {"video": clips.silent, "end": 0.4}]
    for premise, words in (
        (talkie, "positions of frames and sound are one token off on the server.*approximate=True"),
        ({"parts": videos}, "one rate of frames for all videos of a premise, .* follow at 0.25, 0.5 s"),
        ({"parts": [talkie, {"text": "ok"}]}, "either all sounds of a premise as those of its videos or none"),
        ({"audio": long}, "lasts 31.0 s, and the server would cut it after 30 s"),
        ({"text": "An urn \ue000 of balls."}, r"holds the character U\+E000"),
    ):
        with pytest.raises(CannotServe, match=words):
            ask({**premise, "hypothesis": "It is red."})
    ask.processor.media |= {"fps": 12.5, "max_frames": 64}
    with pytest.raises(CannotServe, match=r"\d of its frames' times are 0.04 s off on the server.*approximate=True"):
        ask({"video": clips.silent, "hypothesis": "It is red."})
    with pytest.raises(ValueError, match="needs 'hypotheses'"):
        ask({"text": "An urn."})
    with pytest.raises(ValueError, match="is no classifier for a server: .*--layout classify"):
        ServedCLUE(CHECKPOINT, server="http://127.0.0.1:1", model="clue")
    with pytest.raises(ValueError, match="no address of a server"):
        ServedCLUE(exported, server="127.0.0.1:8000", model="clue")


def test_a_modality_without_reference_is_refused(exported, tmp_path, clips):
    """A checkpoint whose projections are new has no reference for what they give."""
    folder = tmp_path / "served"
    folder.mkdir()
    for path in exported.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "reference.json").unlink()
    (folder / "reference.json").write_text('{"text": [[0.0]]}')
    with pytest.raises(CannotServe, match="was not made for audio as a premise"):
        ServedCLUE(folder, server="http://127.0.0.1:1", model="clue")({"audio": clips.sound, "hypothesis": "Red."})


@pytest.mark.parametrize("tiny_checkpoint", ["qwen3-omni"], indirect=True)
def test_another_backbone_is_refused(tiny_checkpoint, tmp_path):
    """vLLM computes positions of Qwen3-Omni otherwise, which was not compared."""
    with pytest.raises(ValueError, match="is of Qwen3-Omni.*classifiers are made of Qwen2.5-Omni alone"):
        to_thinker(tiny_checkpoint, tmp_path / "out", layout="classify")


def test_the_layout_is_a_classifier_without_the_vocabulary(exported):
    """The head under the name that vLLM reads, as many classes as bins, options of the server, no `lm_head`."""
    weights = load_file(exported / "model.safetensors")
    head = load_file(CHECKPOINT / "model.safetensors")["confidence_head.weight"]
    assert torch.equal(weights["language_model.score.weight"], head)
    assert not [name for name in weights if "lm_head" in name]
    config = json.loads((exported / "config.json").read_text())
    assert config["architectures"] == ["Qwen2_5OmniForConditionalGeneration"]
    assert config["enable_audio_output"] is False
    for labels in (config["id2label"], config["thinker_config"]["text_config"]["id2label"]):
        assert len(labels) == 100 and (labels["0"], labels["99"]) == ("0", "1")
    options = yaml.safe_load((exported / "vllm.yaml").read_text())
    assert (options["runner"], options["convert"]) == ("pooling", "classify")
    reference = json.loads((exported / "reference.json").read_text())
    assert set(reference) == {"text", "audio", "video", "audiovisual"}
    with pytest.raises(ValueError, match="do not fit its configuration.*lm_head"):
        to_clue(exported, exported.parent / "again")
    with pytest.raises(ValueError, match="`layout` must be one of thinker, classify"):
        to_thinker(CHECKPOINT, exported.parent / "out", layout="omni")


def test_texts_are_cut_whatever_class_the_tokenizer_has(tmp_path):
    """A tokenizer class that builds its steps itself would lose the one that cuts: the copy keeps it when saved."""
    source = AutoTokenizer.from_pretrained(CHECKPOINT, trust_remote_code=True)
    model = json.loads(source.backend_tokenizer.to_str())["model"]
    tokenizer = Qwen2Tokenizer(vocab=model["vocab"], merges=list(map(tuple, model["merges"])))
    tokenizer.add_tokens([AddedToken("<|AUDIO|>", special=True)], special_tokens=True)
    tokenizer.save_pretrained(tmp_path / "source")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "source", extra_special_tokens={"audio_token": "<|AUDIO|>"})
    classifier_tokenizer(tokenizer).save_pretrained(tmp_path / "copy")
    copy = AutoTokenizer.from_pretrained(tmp_path / "copy")
    pieces = ("It i", "s red.", "<|AUDIO|> It", " is")
    apart = [token for piece in pieces for token in tokenizer(piece, add_special_tokens=False)["input_ids"]]
    assert copy(MARK.join(pieces), add_special_tokens=False)["input_ids"] == apart
    assert tokenizer("".join(pieces), add_special_tokens=False)["input_ids"] != apart
    assert copy.audio_token == "<|AUDIO|>"
