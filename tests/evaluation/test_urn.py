"""
The urn stress test: its truth by enumerating draws from the files, planted faults, and the command.

Planted predictors answer in memory: no clip is made for them.
"""

import argparse
import contextlib
import csv
import json
import re
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from common.errors import InputError
from datasets_scripts.build import main as build
from datasets_scripts.sources import urn_stress
from datasets_scripts.sources.urn_media import EVENT_SAMPLES, SQUARE, draw, synthesize
from evaluation import urn
from evaluation.stress import findings
from evaluation.stress.findings import analyse
from evaluation.stress.report import findings_text
from modeling_clue.modalities import MODALITIES
from tests.datasets_scripts.sources.test_urn import is_true, read_premise, read_text
from tests.reading import files_of


CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "clue-urn-tiny"
SMALL = "--premises 3 --hypotheses-per-premise 4 --balls 5 12 --distractors 0 3 --workers 1".split()


def options(*given: str) -> argparse.Namespace:
    """The options of a suite."""
    return urn.parse(["--model", "any", *given])


@pytest.fixture(scope="module")
def suite():
    """The questions of a suite with all knobs, large enough for findings."""
    return urn_stress.make_questions(options("--premises", "18"))


def analysed(suite, answer) -> dict[str, set[tuple[str, str]]]:
    """The findings about a predictor: for each the modality and name of its cells."""
    report = analyse(suite, {question.id: answer(question) for asked in suite.values() for question in asked})
    return {f["what"]: {(cell["modality"], cell["cell"]) for cell in f["cells"]} for f in report["findings"]}


def cells_of(suite, wanted) -> set[tuple[str, str]]:
    """Modality and name of the cells that are `wanted`."""
    return {(q.cell.modality, q.cell.name) for asked in suite.values() for q in asked if wanted(q.cell)}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A run of the command with the shipped checkpoint: its folder and its report."""
    folder = tmp_path_factory.mktemp("urn")
    command = ["--model", str(CHECKPOINT), "--suites", str(folder / "suites"), "--output-dir", str(folder / "out")]
    command += SMALL
    return folder, command, urn.main(command)


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_truth_is_what_enumerating_the_draws_gives(evaluated, modality):
    """Texts are read, sounds and frames measured, and every draw looked at: the share of true ones is the row's."""
    folder, _, report = evaluated
    split = folder / "suites" / report["suite"]["digest"] / f"stress-{modality}" / "test"
    rows = pq.read_table(split / "metadata.parquet").to_pylist()
    events, cells = {}, set()
    for row in rows:
        key = row["premise"] or row["audio_file_name"] or row["video_file_name"]
        if key not in events:
            events[key] = read_premise(row, split)
        sentence = row["hypothesis"]
        denied = sentence.startswith("It is not true that ")
        inner = sentence.removeprefix("It is not true that ")
        truth = [is_true(inner[0].upper() + inner[1:], event) != denied for event in events[key]]
        assert row["probability"] == pytest.approx(np.mean(truth), abs=1e-12), row
        assert len(truth) == (12 if row["topic"] == "balls=12" else 5)
        assert row["context"] == urn_stress.CONTEXT[modality]
        cells.add(row["topic"])
    assert len(rows) == 12 * len(cells)
    assert len(cells) == (10 if modality == "audiovisual" else 5)


def test_the_negation_that_is_ignored_is_the_sentences(suite):
    """What somebody says who ignores a negation is the truth of the sentence without it."""
    for question in (q for asked in suite.values() for q in asked if q.cell.setting.negations == 1):
        without = re.sub(r"neither (\w+) nor", r"\1 or", question.hypothesis).replace(" not ", " ")
        events = [set(event) for event in question.premise.scene.events]
        assert question.readings["ignores the negation"] == np.mean([is_true(without, event) for event in events])


def test_frequent_colours_and_pitches_come_together_or_keep_apart(suite):
    """With senses that agree a draw is both as often as may be, with senses in conflict as seldom as may be."""
    seen = {"agree": 0, "conflict": 0}
    for question in suite["audiovisual"]:
        sense, readings = question.cell.setting.sense, question.readings
        first = question.id.endswith("-00")
        if sense not in seen or not first:
            continue
        sight, sound = readings["follows sight alone"], readings["follows sound alone"]
        bound = min(sight, sound) if sense == "agree" else max(0.0, sight + sound - 1)
        assert question.probability == pytest.approx(bound), question
        seen[sense] += 1
    assert seen == {"agree": 18, "conflict": 18}


def test_what_is_to_be_ignored_changes_nothing_else(suite):
    """Cells of distractors show the base cell's scenes, drawn alike to the pixel and to the sample."""
    scenes = {}
    for modality, asked in suite.items():
        for question in asked:
            if question.cell.knob in ("base", "distractors", "negations"):
                key = (modality, question.premise.number)
                assert scenes.setdefault(key, question.premise.scene) == question.premise.scene
    plain, squares = (draw(["red"] * 3, np.random.default_rng(1), s) for s in ((), ("blue", "green", "red")))
    changed = (plain != squares).any(axis=(0, 3))
    assert changed[:SQUARE, :SQUARE].all() and changed.sum() == 3 * SQUARE**2
    quiet, hum = (synthesize(["low"] * 3, np.random.default_rng(1), h) for h in ((), ("high",)))
    spectrum = np.abs(np.fft.rfft(hum - quiet))
    assert np.fft.rfftfreq(3 * EVENT_SAMPLES, 1 / 16_000)[spectrum.argmax()] == pytest.approx(2700, abs=2)


def noisy(question):
    """The same noise in every cell, either way."""
    away = 0.03 if zlib.crc32(question.id.encode()) % 2 else -0.03
    return question.probability + away if 0.05 < question.probability < 0.95 else question.probability


def deaf(question):
    """Follows sight where both senses count, and nothing where sound does."""
    if question.cell.modality != "audiovisual" or question.predicate.senses == ("video",):
        return question.probability
    return question.readings.get("follows sight alone", 0.4)


def distracted(question):
    """Answers about colours that move with the pitches, each colour in a way of its own."""
    if question.cell.modality != "audiovisual" or question.predicate.senses != ("video",):
        return question.probability
    heard = {"red": "low", "green": "middle", "blue": "high", "yellow": "low"}
    pitches = question.premise.scene.pitches
    wrong = np.mean([any(heard[term] == pitch for term in question.predicate.terms) for pitch in pitches])
    return 0.4 * question.probability + 0.6 * wrong


@pytest.mark.parametrize("answer", [lambda q: q.probability, lambda q: round(q.probability, 2), noisy])
def test_nothing_is_found_where_nothing_is_wrong(suite, answer):
    """The truth itself has no findings, nor has it rounded, or with the same noise in every cell."""
    assert analysed(suite, answer) == {}


def negated_once(cell):
    """Cells with one negation."""
    return cell.knob == "negations" and cell.level == 1


def negated_twice(cell):
    """Cells with two negations."""
    return cell.level == 2 == cell.setting.negations


def audiovisual(cell):
    """Cells of clips that are seen and heard."""
    return cell.modality == "audiovisual"


def anywhere(cell):
    """All cells."""
    return True


@pytest.mark.parametrize(
    ("answer", "faults", "limits"),
    [
        (
            lambda q: q.readings.get("ignores the negation", q.probability),
            {"ignores the negation": negated_once, findings.WORSE: negated_once},
            negated_once,
        ),
        (
            lambda q: q.readings.get("takes two negations for one", q.probability),
            {"takes two negations for one": negated_twice},
            negated_twice,
        ),
        (
            deaf,
            {
                "follows sight alone": lambda cell: cell.name in ("sense=both", "sense=agree", "sense=conflict"),
                findings.IGNORES: lambda cell: cell.name == "sense=sound",
            },
            audiovisual,
        ),
        (distracted, {findings.OTHER_SENSE["sight"]: lambda cell: cell.name == "sense=sight"}, audiovisual),
        (lambda q: 0.5 + 0.5 * (q.probability - 0.5), {findings.TIMID: anywhere}, anywhere),
        (lambda q: np.clip(0.5 + 1.8 * (q.probability - 0.5), 0, 1), {findings.EXTREME: None}, anywhere),
    ],
    ids=["ignores negation", "two negations for one", "ignores sound", "follows sound", "timid", "extreme"],
)
def test_a_planted_fault_is_found_where_it_is(suite, answer, faults, limits):
    """In every cell that it touches (`None`: in more than five), by its name; nothing is said beyond its limits, nor
    that answers move too much or too little with the truth where they do the other."""
    found = analysed(suite, answer)
    for fault, touched in faults.items():
        assert found[fault] == cells_of(suite, touched) if touched else len(found[fault]) > 5
    assert set().union(*found.values()) <= cells_of(suite, limits)
    others = {findings.TIMID: findings.EXTREME, findings.EXTREME: findings.TIMID}
    unsaid = {findings.IGNORES, findings.OTHER_SENSE["sound"], *(others.get(fault) for fault in faults)}
    assert not (unsaid - faults.keys()) & found.keys()


@pytest.mark.parametrize("alone", ["mean of all", "mean of each form"])
def test_what_does_not_see_the_premise_is_found_uninformative(suite, alone):
    """Neither follows the premise in any cell, and that is all that is said: the rest comes of it."""
    kinds = {}
    for question in (q for asked in suite.values() for q in asked):
        key = (question.cell, question.kind) if alone == "mean of each form" else None
        kinds.setdefault(key, []).append(question.probability)
    means = {key: np.mean(values) for key, values in kinds.items()}
    found = analysed(suite, lambda q: means[(q.cell, q.kind) if alone == "mean of each form" else None])
    assert found == {findings.IGNORES: cells_of(suite, anywhere)}


def test_answers_without_a_number_are_counted_and_in_no_measure(suite):
    """They are never 0: a cell of them has no measures, and others are as without those rows."""
    asked = {question.id: question for question in suite["text"]}
    answers = {name: question.probability for name, question in asked.items()}
    for name, question in asked.items():
        if question.cell.name == "balls=20" or name.endswith("-01"):
            answers[name] = None
    report = analyse({"text": suite["text"]}, answers)
    cells = {cell["cell"]: cell for cell in report["cells"]}
    assert cells["balls=20"]["mae"] is None and cells["balls=20"]["without_number"] == 18 * 6
    assert cells["base"]["without_number"] == 18 and cells["base"]["mae"]["value"] == 0
    assert report["findings"] == []


def test_too_few_premises_for_any_finding_is_told():
    """A report that could not find anything says so."""
    report = {"findings": [], "without_number": 0, "n": 9, "tests": [{}] * 50}
    few = findings_text(report | {"suite": {"options": {"premises": 8}}})
    assert "too few premises" in few
    assert "too few premises" not in findings_text(report | {"suite": {"options": {"premises": 40}}})


def test_the_standard_suite_stays_what_it_is():
    """Reports of different people compare by its digest: whoever changes a question changes `VERSION` and this."""
    given = options()
    questions = urn_stress.make_questions(given)
    assert [len(questions[modality]) for modality in MODALITIES] == [1920, 1920, 1920, 3120]
    assert (urn_stress.VERSION, urn_stress.suite_digest(questions)) == ("urn-stress-1", "f8695295048462d4")
    assert urn_stress.suite_digest(urn_stress.make_questions(options("--seed", "1"))) != "f8695295048462d4"


def test_a_suite_can_be_built_as_a_dataset(evaluated, tmp_path):
    """The dataset builder writes the same rows and clips, a config for each modality, by any number of workers."""
    folder, _, report = evaluated
    build(["urn-stress", "--output-dir", str(tmp_path), *SMALL[:-1], "2"])
    ours, its = (files_of(path) for path in (tmp_path, folder / "suites" / report["suite"]["digest"]))
    differ = {name for name in ours if ours[name] != its.get(name)}
    assert ours.keys() == its.keys()
    assert differ <= {"README.md", *(f"stress-{modality}/build.json" for modality in MODALITIES)}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["--balls", "1"], "not 25 different text premises with 1 balls: lower --premises"),
        (["--balls", "5", "5"], "a level of balls is named twice: 5 5"),
        (["--hypotheses-per-premise", "60"], "different hypotheses are left for text negations=1, 60 were asked for"),
        (["--modalities", "audiovisual", "--balls", "1"], "senses that agree: lower --premises or raise --balls"),
    ],
)
def test_a_suite_that_cannot_be_is_refused(given, complaint):
    """The error says which option to change, before anything is built."""
    with pytest.raises(InputError, match=complaint):
        urn_stress.make_questions(options(*given))


def test_the_command_writes_the_report(evaluated):
    """Tables, figure and digests are there; numbers are those of the predictions; again, it only reports anew."""
    folder, command, report = evaluated
    out = folder / "out"
    answers = {
        line["id"]: line
        for modality in MODALITIES
        for line in map(json.loads, (out / modality / "predictions.jsonl").read_text().splitlines())
    }
    assert report["n"] == len(answers) == 12 * (3 * 5 + 10)
    base = [line for name, line in answers.items() if name.startswith("stress-video-base-")]
    error = np.mean([abs(line["prediction"] - line["target"]) for line in base])
    cell = next(cell for cell in report["cells"] if (cell["modality"], cell["cell"]) == ("video", "base"))
    assert cell["mae"]["value"] == pytest.approx(error)
    assert error < 0.02, "the shipped checkpoint knows the base cell"
    rows = list(csv.DictReader((out / "answers.csv").open()))
    assert {row["id"]: float(row["prediction"]) for row in rows} == {n: a["prediction"] for n, a in answers.items()}
    assert len(list(csv.DictReader((out / "cells.csv").open()))) == len(report["cells"]) == 25
    text = (out / "report.md").read_text()
    assert report["suite"]["digest"] in text and "custom" in text and "too few premises" in text
    assert (out / "heatmap.png").stat().st_size > 10_000
    assert json.loads((out / "report.json").read_text()) == report
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jsonl")}
    again = urn.main(command)
    assert {**again, "seconds": 0} == {**report, "seconds": 0}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.jsonl")} == stamps
    with pytest.raises(ValueError, match="context was False and is True.*another --output-dir"):
        urn.main([*command, "--context"])


@contextlib.contextmanager
def reading_server():
    """
    An OpenAI-compatible server on loopback whose model reads urns: it answers texts with the truth, clips with 0.5.

    It gives no number to "neither". Yields its address and the requests it has had.
    """
    asked = []

    class Model(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.reply({"data": [{"id": "reader"}]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = body["messages"][-1]["content"]
            asked.append(content)
            answer = 0.5
            if isinstance(content, str):
                premise, hypothesis = re.search(r"\n\nText:\n(.*)\n\nHypothesis:\n(.*)\n\n", content).groups()
                answer = np.mean([is_true(hypothesis, event) for event in read_text(premise)])
            words = "I can't say." if "neither" in str(content) else f"<answer>{answer:.4f}</answer>"
            self.reply({"choices": [{"message": {"content": words}, "finish_reason": "stop"}]})

        def reply(self, message):
            data = json.dumps(message).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", asked
        finally:
            server.shutdown()
            thread.join()


def test_a_model_behind_a_server_is_told_of_the_world_and_tested(tmp_path, monkeypatch):
    """Every question is one request, with the world in words and the clip; the truth it answers is found right."""
    small = "--premises 2 --hypotheses-per-premise 4 --balls 5 --distractors 0 1 --negations 0 1 --workers 1".split()
    small += ["--senses", "either"]
    folders = ["--suites", str(tmp_path / "suites"), "--output-dir", str(tmp_path / "out")]
    with reading_server() as (url, asked):
        command = ["--predictor", "scalar", "--server", url, "--server-model", "reader", *folders, *small]
        report = urn.main(command)
        questions = len(asked)
        urn.main(command)
        assert len(asked) == questions, "what was answered is not asked again"
    assert report["settings"]["context"] and report["settings"]["server"] == url
    assert questions == report["n"] == 4 * 3 * 2 * 4
    cells = {(cell["modality"], cell["cell"]): cell for cell in report["cells"]}
    assert cells["text", "base"]["mae"]["value"] == pytest.approx(0, abs=1e-4)
    assert cells["text", "negations=1"]["without_number"] == 4, "two of four hypotheses say neither"
    assert cells["text", "negations=1"]["mae"]["value"] == pytest.approx(0, abs=1e-4)
    assert report["without_number"] == 4 * 4
    kinds = {"text": 0, "input_audio": 0, "video_url": 0, "video_url input_audio": 0}
    for content in asked:
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        kind = " ".join(part["type"] for part in parts[:-1]) or "text"
        modality = dict(zip(kinds, MODALITIES, strict=True))[kind]
        assert urn_stress.CONTEXT[modality] in parts[-1]["text"]
        kinds[kind] += 1
    assert set(kinds.values()) == {24}

    def silent(make, rows, *_) -> list[dict]:
        return [{"id": name, "prediction": None} for name in rows["id"]]

    monkeypatch.setattr(urn, "predict_split", silent)
    with pytest.raises(ValueError, match="None of the 96 answers has a number"):
        urn.main([*command, "--output-dir", str(tmp_path / "silent")])
