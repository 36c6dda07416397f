"""Zero-shot prompting, on this machine and behind a server: what is asked, how it is read, what has no number."""

import argparse
import base64
import json
import math
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.config import HF_CACHE_HOME
from scipy import stats

from chat.answers import parse_answer
from chat.client import RunStoppedError
from chat.local import LocalTeacher
from chat.messages import chat_messages
from chat.rubrics import decimals_rubric, rubric, yes_no_rubric
from evaluation import run
from evaluation.data import load_rows
from evaluation.predict import score_batches
from evaluation.predictors.choose import add_predictor_options, choose_predictor
from evaluation.predictors.prediction import WrittenPrediction
from evaluation.predictors.prompting import NUMBERS, LocalBinary, LocalDigits, LocalScalar
from modeling_clue.modalities import MODALITIES
from tests.chat.bad_server import bad_server
from tests.chat.test_local import chat_tokenizer, omni, talker  # noqa: F401
from tests.datasets_scripts.teachers.test_ask import QUICK, write_pairs, write_rows
from tests.reading import lines


WRITERS = {"scalar": rubric, "binary": yes_no_rubric, "digits": decimals_rubric}
MANY = 10**9


@pytest.fixture(scope="module")
def tokenizer():
    """A byte-level tokenizer with a chat template, whose vocabulary has yes and no in several spellings."""
    words = ["Yes", "No", " Yes", " No", "yes", "no", " yes", " no", "YES", "<answer>0.85</answer>"] * 20
    return chat_tokenizer(words)


def evaluate(dataset, config, out, *options) -> tuple[dict, list[dict]]:
    """The report of an evaluation and its predictions."""
    given = ("--dataset", dataset, "--dataset-config", config, "--output-dir", out, *options)
    return run.main([str(part) for part in given]), lines(out / "predictions.jsonl")


def prompt(kind: str, dataset: Path, max_media_bytes: int = MANY):
    """Builds the messages of a kind of prompting for a row."""
    return partial(chat_messages, dataset=dataset, max_media_bytes=max_media_bytes, prompt=WRITERS[kind])


def text_of(messages: list[dict]) -> str:
    """The words of a request."""
    (message,) = messages
    content = message["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def check_asked(messages: list[dict], row: dict) -> None:
    """A request holds the row's hypothesis, once, and its premise: the text, or the file's own bytes or sound."""
    text = text_of(messages)
    assert text.count(f"Hypothesis:\n{row['hypothesis']}\n") == 1
    if row["modality"] == "text":
        assert f"Text:\n{row['premise']}\n" in text
        return
    parts = {part["type"]: part for part in messages[0]["content"]}
    assert (
        set(parts)
        == {
            "audio": {"input_audio", "text"},
            "video": {"video_url", "text"},
            "audiovisual": {"video_url", "input_audio", "text"},
        }[row["modality"]]
    )
    if "video_url" in parts:
        sent = base64.b64decode(parts["video_url"]["video_url"]["url"].partition(",")[2])
        assert sent == Path(row["video"]["path"]).read_bytes()
    if "input_audio" in parts:
        assert base64.b64decode(parts["input_audio"]["input_audio"]["data"])[:4] == b"RIFF"


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("modality", MODALITIES)
def test_every_prompt_holds_its_hypothesis_and_premise(urn_world, omni, modality, kind):  # noqa: F811
    """For each modality and kind of prompt, each row of a premise is asked about by its own hypothesis and context;
    on this machine they reach the model's inputs, the media as features."""
    rows = [dict(row) for row in load_rows(str(urn_world), f"urn-{modality}", "test").select(range(3))]
    rows[1]["context"] = "Told of the second alone."
    predictor = LocalScalar(prompt(kind, urn_world), omni, 2)
    assert len({row["hypothesis"] for row in rows}) == 3
    for row, ((inputs, notes), reason) in zip(rows, predictor.prepare(rows), strict=True):
        assert notes == [] and reason is None
        check_asked(predictor.messages(row), row)
        words = predictor.model.tokenizer.decode(inputs["input_ids"][0])
        assert words.count(f"Hypothesis:\n{row['hypothesis']}\n") == 1
        assert ("Told of the second alone." in words) == (row is rows[1])
        assert (row["modality"] == "text") == (row["premise"] is not None and row["premise"] in words)
        assert ("input_features" in inputs) == (modality in ("audio", "audiovisual"))
        assert ("pixel_values_videos" in inputs) == (modality in ("video", "audiovisual"))
    assert len({kind: write(rows[0]) for kind, write in WRITERS.items()}) == 3


@pytest.mark.processes
@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("kind", ["scalar", "binary"])
def test_what_a_server_gets_is_each_row_once(urn_world, tmp_path, kind, modality):
    """Each row's hypothesis and media arrive once, with the fields that its kind of answer is read from."""
    with bad_server() as server:
        options = ("--predictor", kind, "--server", server.url, "--server-model", "teacher", *QUICK, "--limit", "5")
        report, predictions = evaluate(urn_world, f"urn-{modality}", tmp_path / "out", *options)
        requests = server.requests()
    rows = list(load_rows(str(urn_world), f"urn-{modality}", "test").select(range(5)))
    assert len(requests) == 5
    for request in requests:
        text = text_of(request["messages"])
        # Two rows may have the same hypothesis about premises of their own.
        (index, *_) = [
            index
            for index, row in enumerate(rows)
            if f"Hypothesis:\n{row['hypothesis']}\n" in text and (row["premise"] or "") in text
        ]
        check_asked(request["messages"], rows.pop(index))
        assert request["model"] == "teacher" and request["temperature"] == 0
        assert (request.get("top_logprobs"), request["max_tokens"]) == ((20, 1) if kind == "binary" else (None, 512))
    assert not rows
    expected = 0.0 if kind == "scalar" else 0.6 / 0.85
    assert [row["prediction"] for row in predictions] == pytest.approx([expected] * 5)
    assert report["without_number"] == {"n": 0, "reasons": {}}
    assert "target_floor" not in report


@pytest.mark.processes
def test_answers_of_a_server_without_a_number_are_a_column_of_their_own(tmp_path):
    """They are null with their reason, in no measure and never 0; each reason is counted in the report and its table;
    what a busy server answers later counts as any answer."""
    kinds = ["is.", "[words]", "[halfnumber]", "[same]", "[400]", "[500 x2] is.", "[null]", "[words] again"]
    dataset = write_pairs(tmp_path / "umui", [*kinds, *["[same]"] * 4])
    with bad_server() as server:
        options = [
            *("--predictor", "scalar", "--server", server.url),
            *("--server-model", "teacher", *QUICK, "--retries", "2"),
        ]
        report, predictions = evaluate(dataset, "pairs", tmp_path / "out", "--split", "train", *options)
    by_row = {row["id"]: row for row in predictions}
    found = [(by_row[f"pairs-{k}"]["prediction"], by_row[f"pairs-{k}"]["reason"]) for k in range(8)]
    assert found == [
        (0.0, None),
        (None, "no number"),
        (None, "cut off (finish_reason length)"),
        (0.5, None),
        (None, "HTTP 400: it is 400"),
        (0.0, None),
        (None, "no text (finish_reason content_filter)"),
        (None, "no number"),
    ]
    assert report["n"] == 12 and report["without_number"]["n"] == 5
    assert report["without_number"]["reasons"]["no number"] == 2
    measured = [row["prediction"] for row in predictions if row["prediction"] is not None]
    assert report["measures"]["mse"]["n"] == len(measured) == 7
    assert report["measures"]["mse"]["value"] == pytest.approx(np.mean([(value - 0.5) ** 2 for value in measured]))
    written = (tmp_path / "out" / "report.md").read_text()
    assert "Answers without a number, which are in no measure: 5 (41.7% of the rows)." in written
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in written.splitlines()]
    assert ["with a number, measured", "7", "58.3%"] in cells and ["no number", "2", "16.7%"] in cells


@pytest.mark.processes
@pytest.mark.parametrize(
    ("behaviour", "complaint"),
    [
        ("[refused]", "None of the 12 answers has a number .* [(]refused: I can't help with that[.][)]"),
        ("[length]", "None of the 12 answers .* 'I think that the probability is' [(]cut off [(]finish_reason length"),
        ("[403]", "None of the 12 answers has a number .* [(]HTTP 403: it is 403[)]"),
        ("[402]", "says HTTP 402, it wants to be paid: it is 402"),
    ],
)
def test_an_evaluation_that_nothing_answers_ends_in_words(tmp_path, behaviour, complaint):
    """Those of the server; an empty account with the first batch."""
    dataset = write_pairs(tmp_path / "umui", [behaviour] * 12)
    with bad_server() as server:
        options = (
            *("--predictor", "scalar", "--server", server.url),
            *("--server-model", "teacher", *QUICK, "--split", "train"),
        )
        with pytest.raises(ValueError, match=complaint):
            evaluate(dataset, "pairs", tmp_path / "out", *options)
        assert sum(asked for name, asked in server.counts()["asked"].items() if "#" in name) == (
            8 if behaviour == "[402]" else 12
        )
    assert not (tmp_path / "out" / "report.json").exists()


@pytest.mark.processes
def test_yes_and_no_behind_a_server(tmp_path):
    """Spellings are summed; a word that isn't listed is taken as never said; with neither there is a reason, no 0."""
    dataset = write_pairs(tmp_path / "umui", ["is.", "[neither]", "[surely]", *["is."] * 9])
    with bad_server() as server:
        options = ("--predictor", "binary", "--server", server.url, "--server-model", "teacher", *QUICK)
        _, predictions = evaluate(dataset, "pairs", tmp_path / "out", "--split", "train", *options)
        by_row = {row["id"]: row for row in predictions}
        assert by_row["pairs-0"]["prediction"] == pytest.approx((0.5 + 0.1) / (0.5 + 0.1 + 0.2 + 0.05))
        assert by_row["pairs-1"]["prediction"] is None
        assert by_row["pairs-1"]["reason"] == "neither yes nor no among the 2 likeliest tokens"
        assert by_row["pairs-2"]["prediction"] == 1.0
        silent = write_pairs(tmp_path / "silent", ["[same]"] * 12)
        with pytest.raises(ValueError, match="sends no log-probabilities for 'teacher'.*--predictor scalar"):
            evaluate(silent, "pairs", tmp_path / "silent-out", "--split", "train", *options)
    assert not (tmp_path / "silent-out" / "predictions.jsonl").exists()


@pytest.mark.processes
def test_another_background_is_another_evaluation(tmp_path):
    """What is in the prompt beside premise and hypothesis counts too: answers given with another are not kept."""
    pairs = [{"premise": f"Premise {number}.", "hypothesis": f"#{number} is true."} for number in range(12)]
    with bad_server() as server:
        options = ("--predictor", "scalar", "--server", server.url, "--server-model", "teacher", "--split", "train")
        dataset = write_rows(tmp_path / "umui", [pair | {"context": "In May."} for pair in pairs])
        evaluate(dataset, "pairs", tmp_path / "out", *options)
        write_rows(dataset, [pair | {"context": "In June."} for pair in pairs])
        with pytest.raises(ValueError, match="other settings .contexts was"):
            evaluate(dataset, "pairs", tmp_path / "out", *options)
        assert set(server.counts()["asked"].values()) == {1}


def test_the_key_is_taken_from_the_environment_and_kept(tmp_path, monkeypatch):
    """It is sent, and stands in no file of the evaluation."""
    secret = "sk-a-very-secret-key"
    monkeypatch.setenv("SOME_KEY", secret)
    dataset = write_pairs(tmp_path / "umui", ["[same]"] * 12)
    with bad_server(key=secret) as server:
        options = [
            *("--predictor", "scalar", "--server", server.url),
            *("--server-model", "teacher", *QUICK, "--split", "train"),
        ]
        with pytest.raises(ValueError, match="HTTP 401, the key is missing or wrong: set [$]OPENAI_API_KEY"):
            monkeypatch.delenv("OPENAI_API_KEY", raising=False)
            evaluate(dataset, "pairs", tmp_path / "out", *options)
        evaluate(dataset, "pairs", tmp_path / "out", *options, "--api-key-env", "SOME_KEY")
    assert not [
        path for path in (tmp_path / "out").rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]


def test_a_local_model_says_yes_or_no(talker, urn_world, monkeypatch):  # noqa: F811
    """From logits made by hand, over a vocabulary with several spellings; and from the model's own, read without our
    code from a plain forward of the whole prompt."""
    predictor = LocalBinary(prompt("binary", urn_world), talker)
    assert {" Yes", "Yes", "No", " No", "yes", "no"} <= set(predictor.words.values())
    row = load_rows(str(urn_world), "urn-text", "test")[0]
    (((inputs, _), _),) = prepared = predictor.prepare([row])
    with torch.no_grad():
        shares = predictor.model.model(**inputs).logits[0, -1].double().softmax(-1)
    spelt = {"yes": 0.0, "no": 0.0}
    for name, index in predictor.model.tokenizer.get_vocab().items():
        word = name.replace("Ġ", "").lower()
        if word in spelt:
            spelt[word] += float(shares[index])
    (answer,) = predictor.answer(prepared)
    assert answer.probability == pytest.approx(spelt["yes"] / (spelt["yes"] + spelt["no"]), abs=1e-6)
    assert answer.reason is None

    logits = torch.full((len(predictor.model.tokenizer),), -50.0)
    by_text = {text: index for index, text in predictor.words.items()}
    logits[by_text["Yes"]], logits[by_text[" yes"]], logits[by_text["no"]] = math.log(2), math.log(1), math.log(1)
    monkeypatch.setattr(predictor.model, "next_token", lambda inputs: (logits.log_softmax(-1), None))
    assert predictor.ask(inputs).probability == pytest.approx(0.75)


def test_a_model_without_the_words_is_refused(talker, urn_world, monkeypatch):  # noqa: F811
    """There is nothing to compare then, and the other kind of prompt is named."""
    monkeypatch.setattr("evaluation.predictors.prompting.yes_or_no", lambda token: "yes" if token == "Yes" else None)
    with pytest.raises(RunStoppedError, match="no single token for both yes and no: use --predictor scalar"):
        LocalBinary(prompt("binary", urn_world), talker)


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_tree_over_digits_is_every_number_one_by_one(omni, urn_world, modality):  # noqa: F811
    """Each of the 101 numbers has the probability that the model gives to its tokens behind the whole prompt in one
    pass without a cache; the prediction has the mean and spread of that distribution."""
    predictor = LocalDigits(prompt("digits", urn_world), omni)
    row = load_rows(str(urn_world), f"urn-{modality}", "test")[0]
    (((inputs, _), _),) = prepared = predictor.prepare([row])
    scores = predictor.model.continuation_scores(inputs, predictor.continuations)
    asked = inputs["input_ids"]
    expected = []
    tokenizer = predictor.model.tokenizer
    for number in NUMBERS:
        added = tokenizer(f"<answer>{number}", add_special_tokens=False, return_tensors="pt")["input_ids"]
        whole = torch.cat([asked, added], dim=1)
        with torch.no_grad():
            logits = predictor.model.model(**{**inputs, "input_ids": whole, "attention_mask": torch.ones_like(whole)})
        shares = logits.logits[0, asked.shape[1] - 1 : -1].double().log_softmax(-1)
        expected.append(float(shares.gather(1, added[0][:, None]).sum()))
    assert len(expected) == 101
    assert scores.tolist() == pytest.approx(expected, abs=1e-4)
    assert np.ptp(expected) > 1e-3

    (answer,) = predictor.answer(prepared)
    shares = np.exp(expected) / np.exp(expected).sum()
    values = np.arange(101) / 100
    mean = (shares * values).sum()
    assert answer.probability == pytest.approx(mean, abs=1e-4)
    assert answer.standard_deviation == pytest.approx(np.sqrt((shares * (values - mean) ** 2).sum()), abs=1e-4)
    assert answer.entropy == pytest.approx(stats.entropy(shares), abs=1e-3)
    below = shares[values <= answer.interval[0] - 0.01].sum(), shares[values >= answer.interval[1] + 0.01].sum()
    assert max(below) <= 0.05 + 1e-3


def test_digits_are_evaluated_with_their_spread(talker, urn_world, tmp_path):  # noqa: F811
    """A distribution has a standard deviation, an entropy and an interval, and their measures."""
    options = ("--predictor", "digits", "--model", talker, "--limit", "4")
    report, predictions = evaluate(urn_world, "urn-text", tmp_path / "out", *options)
    assert all(row["interval"][0] <= row["prediction"] <= row["interval"][1] for row in predictions)
    assert {"sharpness", "entropy", "coverage"} <= set(report["measures"])
    assert report["measures"]["coverage"]["nominal"] == 0.9
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["predictor"] == "digits" and settings["weights"] and settings["prompt"]


def test_a_local_model_writes_numbers(talker, urn_world, tmp_path, monkeypatch):  # noqa: F811
    """Its answers are read as a teacher's are; what has no number is counted; a second run loads no model."""
    reply, seeds = LocalTeacher.reply, count()

    def sampled(self, inputs: dict, seed: int, max_tokens: int, temperature: float) -> dict:
        """Greedy, the tiny model says the same each time."""
        assert (max_tokens, temperature) == (4, 0)
        return reply(self, inputs, next(seeds), max_tokens, 1.0)

    monkeypatch.setattr(LocalTeacher, "reply", sampled)
    options = ("--predictor", "scalar", "--model", talker, "--max-tokens", "4")
    report, predictions = evaluate(urn_world, "urn-text", tmp_path / "out", *options)
    for row in predictions:
        assert set(row["answer"]) <= {"0", "1"}
        assert row["prediction"] in (None, parse_answer(row["answer"]).probability)
        assert (row["prediction"] is None) == (row["reason"] is not None)
    lacking = sum(row["prediction"] is None for row in predictions)
    assert 0 < lacking < 12 and report["without_number"]["n"] == lacking
    monkeypatch.setattr(LocalScalar, "__init__", lambda *given: pytest.fail("the model was loaded"))
    again, _ = evaluate(urn_world, "urn-text", tmp_path / "out", *options)
    assert {**again, "seconds": 0} == {**report, "seconds": 0}


def test_media_that_cannot_be_used_are_a_reason(omni, urn_world, tmp_path):  # noqa: F811
    """A clip outside of the dataset's folder, or one that is too large, is not read: its rows have no number."""
    row = dict(load_rows(str(urn_world), "urn-audio", "test")[0])
    elsewhere = {**row, "audio": {"bytes": None, "path": str(tmp_path / "secret.wav")}}
    (tmp_path / "secret.wav").write_bytes(b"RIFF")
    large, astray = LocalScalar(prompt("scalar", urn_world, 100), omni, 2).predict([row, elsewhere])
    assert large.probability is None and "the limit is 0.0001 MB" in large.reason
    assert astray.probability is None and astray.reason == "media: secret.wav lies outside the dataset folder"


def test_what_is_cut_of_a_clip_is_noted(omni, urn_world, monkeypatch):  # noqa: F811
    """Frames that are left out and sound behind the longest that the model hears are told with the answer."""
    row = load_rows(str(urn_world), "urn-audiovisual", "test")[0]
    predictor = LocalDigits(prompt("digits", urn_world), omni)
    monkeypatch.setattr("chat.local.FRAMES_PER_SECOND", 8.0)
    monkeypatch.setattr("chat.local.MOST_FRAMES", 4)
    monkeypatch.setattr(predictor.model.processor.feature_extractor, "n_samples", 8000)
    (answer,) = predictor.predict([row])
    (frames, sound) = answer.notes
    assert "to 4 frames" in frames and sound.endswith("s cut to 0.5 s")


def test_rows_keep_their_own_context_through_the_two_stages(talker, urn_world):  # noqa: F811
    """Through the loop that every evaluation runs, prepared on another thread: each row by its own words."""
    rows = [dict(row) for row in load_rows(str(urn_world), "urn-text", "test").select(range(4))]
    for index, row in enumerate(rows):
        row["context"] = f"Context {index}."
    predictor = LocalScalar(prompt("scalar", urn_world), talker, 1)
    asked = []
    ask = predictor.ask

    def overheard(inputs: dict) -> WrittenPrediction:
        asked.append(predictor.model.tokenizer.decode(inputs["input_ids"][0]))
        return ask(inputs)

    predictor.ask = overheard
    scored = [row for batch in score_batches(predictor, rows, [[0, 1], [2, 3]], ["a"] * 4) for row in batch]
    assert [row["id"] for row in scored] == [row["id"] for row in rows]
    for index, words in enumerate(asked):
        assert f"Context {index}." in words and rows[index]["hypothesis"] in words


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--predictor scalar", "scalar needs --model"),
        ("--predictor constant_mean --model m", "constant_mean has no --model"),
        ("--predictor scalar --server http://127.0.0.1:1/v1 --model m", "--server goes with --server-model"),
        ("--predictor scalar --server http://127.0.0.1:1/v1", "--server goes with --server-model"),
        ("--predictor scalar --server-model m", "--server-model is for a --server"),
        ("--predictor digits --server-model m --server http://127.0.0.1:1/v1", "digits can't use a --server"),
        ("--predictor auto --server-model m --server http://127.0.0.1:1/v1", "auto can't use a --server"),
        ("--predictor teacher", "teacher needs --answers"),
        ("--predictor scalar --model runs/none/there", "is no folder, and no name on the Hub"),
        ('--predictor binary --server-model m --extra {"n":2} --server http://127.0.0.1:1/v1', "must leave out n"),
        ('--predictor binary --model m --extra {"a":2}', "--extra is for a --server"),
    ],
)
def test_options_that_do_not_go_together_are_told(urn_world, tmp_path, options, complaint):
    """Before anything is loaded or written, by name."""
    with pytest.raises(ValueError, match=complaint):
        evaluate(urn_world, "urn-text", tmp_path / "out", *options.split())
    assert not (tmp_path / "out").exists()


def test_media_come_from_the_dataset_and_nowhere_else(talker, tmp_path):  # noqa: F811
    """From its folder, also where that is built after the predictor was chosen; from the cache for one on the Hub."""
    parser = argparse.ArgumentParser()
    add_predictor_options(parser)
    args = parser.parse_args(["--predictor", "scalar", "--model", str(talker)])
    folder = tmp_path / "later"
    chosen = choose_predictor(args, str(folder))
    folder.mkdir()
    assert chosen.make().messages.keywords["dataset"] == folder
    of_hub = choose_predictor(args, "org/name").make()
    assert of_hub.messages.keywords["dataset"] == Path(HF_CACHE_HOME).expanduser()


def test_another_prompt_or_server_is_another_evaluation(urn_world):
    """What an answer depends on is in the settings: kind, model, server, wording, fields."""

    def settings(*options: str) -> dict:
        parser = argparse.ArgumentParser()
        add_predictor_options(parser)
        given = ["--server-model", "m", "--server", "http://127.0.0.1:1/v1", *options]
        return choose_predictor(parser.parse_args(given), str(urn_world)).settings

    scalar, binary = settings("--predictor", "scalar"), settings("--predictor", "binary")
    assert scalar["prompt"] != binary["prompt"]
    assert settings("--predictor", "scalar", "--max-tokens", "9") != scalar
    assert settings("--predictor", "scalar", "--extra", '{"top_p": 0.9}') != scalar
    assert settings("--predictor", "scalar", "--in-flight", "3", "--api-key-env", "X") == scalar
