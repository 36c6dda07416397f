"""
The task for lmms-eval: it asks what `evaluation.run` asks, reads answers alike, and its measures are ours; where
lmms-eval is installed (its Python in `LMMS_EVAL_PYTHON`), so are the numbers that its own command writes.
"""

import base64
import hashlib
import importlib.util
import io
import json
import math
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from chat.answers import parse_answer
from chat.rubrics import rubric
from datasets_scripts.load import load_split
from modeling_clue.media import load_audio


ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "evaluation" / "lmms_eval"
MODALITIES = ("text", "audio", "video", "audiovisual")
PYTHON = os.environ.get("LMMS_EVAL_PYTHON")


@pytest.fixture(scope="module")
def utils():
    """The file of functions, loaded by its path as lmms-eval does."""
    spec = importlib.util.spec_from_file_location("utils", FOLDER / "utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_hand(predictions, targets):
    """Returns MSE, accuracy and ECE of ten bins by loops over the rows."""
    pairs = list(zip(predictions, targets, strict=True))
    bins = {}
    for p, t in pairs:
        bins.setdefault(min(int(p * 10), 9), []).append(p - t)
    decided = [(p >= 0.5) == (t > 0.5) for p, t in pairs if t != 0.5]
    return {
        "mse": sum((p - t) ** 2 for p, t in pairs) / len(pairs),
        "accuracy": sum(decided) / len(decided),
        "ece": sum(abs(sum(gaps)) for gaps in bins.values()) / len(pairs),
    }


def test_task_files_name_existing_functions_and_configs(utils):
    """Each function and measure that the task files name exists, and each modality has its task."""
    named = []

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: named.append(node.value) or node.value)
    shared = yaml.load((FOLDER / "_umui_template_yaml").read_text(), Loader)  # noqa: S506 (a SafeLoader)
    assert all(hasattr(utils, name.removeprefix("utils.")) for name in named) and len(named) == 9
    row = {"probability": 0.5}
    assert {metric["metric"] for metric in shared["metric_list"]} == set(utils.process_results(row, ["0.5"]))
    for modality in MODALITIES:
        task = yaml.safe_load((FOLDER / f"umui_{modality}.yaml").read_text())
        assert task == {
            "include": "_umui_template_yaml",
            "task": f"umui_{modality}",
            "dataset_name": f"urn-{modality}",
        }


@pytest.mark.parametrize("modality", MODALITIES)
def test_messages_hold_the_clip_and_our_prompt(utils, urn_world, modality):
    """A message has the clip of its modality, sound as WAV of 16 kHz, and at its end the prompt of `evaluation`."""
    row = load_split(str(urn_world), f"urn-{modality}", "test")[0]
    (message,) = utils.messages(row)
    kinds = {"text": [], "audio": ["audio"], "video": ["video"], "audiovisual": ["video", "audio"]}[modality]
    assert [part["type"] for part in message["content"]] == [*kinds, "text"]
    assert message["content"][-1]["text"] == rubric(row)
    for part in message["content"][:-1]:
        if part["type"] == "video":
            assert Path(part["url"]).is_file()
        else:
            sound, rate = soundfile.read(io.BytesIO(base64.b64decode(part["url"].partition("base64,")[2])))
            clip = row["audio"] if modality == "audio" else row["video"]
            expected = load_audio(Path(clip["path"]), sampling_rate=16000).waveform
            assert rate == 16000 and abs(len(sound) - len(expected)) < 160 and np.abs(sound).max() > 0
            count = min(len(sound), len(expected))
            assert np.corrcoef(sound[:count], np.asarray(expected)[:count])[0, 1] > 0.99


def test_missing_clip_names_the_row(utils):
    """A clip that is no file is an error that names row and file."""
    row = {"id": "a-1", "modality": "video", "video": {"path": "nowhere.mp4", "bytes": None}}
    with pytest.raises(ValueError, match=r"row a-1: there is no file nowhere\.mp4"):
        utils.messages(row)


def test_measures_leave_out_answers_without_a_number(utils):
    """Answers without a number, and failed requests, are counted and left out; the rest is as loops give it."""
    texts = ["<answer>0.85</answer>", "no idea", "20%", "[LMMS_EVAL_REQUEST_FAILED after 5 retries] 0.3", "0.64"]
    targets = [1.0, 0.9, 0.4, 0.2, 0.3]
    answers = [
        utils.process_results({"probability": t}, [text])["mse"] for t, text in zip(targets, texts, strict=True)
    ]
    assert [answer["prediction"] for answer in answers] == [0.85, None, 0.2, None, 0.64]
    for name, value in by_hand([0.85, 0.2, 0.64], [1.0, 0.4, 0.3]).items():
        assert getattr(utils, name)(answers) == pytest.approx(value)
    assert utils.answered(answers) == 0.6
    assert math.isnan(utils.mse([{"prediction": None, "target": 0.3}]))


class Server(BaseHTTPRequestHandler):
    """Answers a chat request by a number that its text decides; every seventh has none."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = body["messages"][-1]["content"]
        self.server.kinds.append([part["type"] for part in content])
        reply = {"role": "assistant", "content": written(content[-1]["text"])}
        choice = {"index": 0, "message": reply, "finish_reason": "stop"}
        data = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        data = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def written(text):
    """Returns the answer to a prompt: a number that its digest decides, or none."""
    number = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
    return "I cannot tell." if number % 7 == 0 else f"<answer>{number % 101 / 100:.2f}</answer>"


@pytest.mark.skipif(not PYTHON, reason="LMMS_EVAL_PYTHON names no Python that has lmms-eval 0.7.3")
def test_command_of_lmms_eval_writes_our_numbers(urn_world, tmp_path):
    """Its results for each modality are those of the same answers by loops; the server was sent every kind of clip."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.kinds = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/v1"
    command = [PYTHON, "-m", "lmms_eval", "--model", "openai", "--include_path", str(FOLDER)]
    command += ["--model_args", f"model_version=m,base_url={address},api_key=none,pass_video_url=True"]
    command += ["--tasks", ",".join(f"umui_{modality}" for modality in MODALITIES), "--batch_size", "1"]
    command += ["--output_path", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    try:
        done = subprocess.run(command, cwd=urn_world.parent, env=environment, capture_output=True, text=True)
    finally:
        server.shutdown()
        server.server_close()
    # It ends with 0 after errors too: what counts is whether there are results.
    files = list((tmp_path / "out").rglob("*_results.json"))
    assert len(files) == 1, done.stderr[-3000:]
    results = json.loads(files[0].read_text())["results"]
    for modality in MODALITIES:
        rows = load_split(str(urn_world), f"urn-{modality}", "test")
        predictions = [parse_answer(written(rubric(row))).probability for row in rows]
        known = [place for place, prediction in enumerate(predictions) if prediction is not None]
        expected = by_hand([predictions[i] for i in known], [rows[i]["probability"] for i in known])
        found = results[f"umui_{modality}"]
        for name, value in {**expected, "answered": len(known) / len(rows)}.items():
            assert found[f"{name},none"] == pytest.approx(value, abs=1e-9), (modality, name)
    asked = {tuple(kinds) for kinds in server.kinds}
    assert asked == {
        ("text",),
        ("audio_url", "text"),
        ("video_url", "text"),
        ("video_url", "audio_url", "text"),
    }
