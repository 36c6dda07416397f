"""The command: on the shipped checkpoint, on predictions of known coherence, on pairs, and again after a kill."""

import json
from pathlib import Path

import pytest

from evaluation.coherence import __main__ as coherence
from evaluation.data import load_rows
from evaluation.predictors import checkpoints, choose
from evaluation.predictors.prediction import PointPrediction, Predictor
from modeling_clue.modalities import MODALITIES
from tests.chat.bad_server import bad_server
from tests.datasets_scripts.teachers.test_ask import QUICK


CHECKPOINT = Path(__file__).parents[3] / "checkpoints" / "clue-urn-tiny"


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A run on few premises of the urn world: its folder, its command line and its report."""
    folder = tmp_path_factory.mktemp("coherence")
    command = ["--model", str(CHECKPOINT), "--suites", str(folder / "suites"), "--output-dir", str(folder / "out")]
    command += ["--premises", "2", "--workers", "1"]
    return folder, command, coherence.main(command)


def suite_of(evaluated) -> Path:
    """The folder of the suite that was built."""
    folder, _, report = evaluated
    return folder / "suites" / report["suite"]["digest"]


def checks_of(report) -> dict[tuple[str, str], dict]:
    """The measured rules of a report, by set and kind."""
    return {(of["name"], row["kind"]): row for of in report["sets"] for row in of["checks"]}


def test_the_report_is_of_the_answers_that_were_kept(evaluated):
    """Every modality and call is there; what the checkpoint was trained on fits together, and files say the same."""
    folder, command, report = evaluated
    out = folder / "out"
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(report))
    assert report["command"] == ["python", "-m", "evaluation.coherence", *command]
    assert [of["name"] for of in report["sets"]] == list(MODALITIES)
    for of in report["sets"]:
        answers = {
            call: {row["id"]: row for row in map(json.loads, (out / of["name"] / call / "predictions.jsonl").open())}
            for call in coherence.CALLS
        }
        together, others = answers["together"], (answers["reordered"], answers["alone"])
        assert len(together) == of["questions"] and all(other.keys() == together.keys() for other in others)
        # Hypotheses don't see each other: whatever the call, the same but for rounding.
        for other in others:
            assert max(abs(other[n]["prediction"] - a["prediction"]) for n, a in together.items()) < 1e-4
        errors = [(row["prediction"] - row["target"]) ** 2 for row in together.values()]
        assert of["split"]["mse"]["value"] == pytest.approx(sum(errors) / len(errors))
        parts = of["split"]["incoherence"]["value"] + of["split"]["coherent_mse"]["value"]
        assert parts <= of["split"]["mse"]["value"] + 1e-9
    checks = checks_of(report)
    assert checks["video", "complement"]["violation"]["value"] < 0.02
    assert max(checks[modality, "one against many"]["violation"]["value"] for modality in MODALITIES) < 1e-4
    page = (out / "report.md").read_text()
    assert "| video complement" in page and "P(A) + P(not A) = 1" in page and report["suite"]["digest"] in page


def test_rows_are_asked_in_the_order_of_the_call(evaluated):
    """In one call the order of the questions, reordered the opposite; alone no two are in a batch."""
    folder, _, report = evaluated
    kept = [
        [json.loads(line)["id"] for line in (folder / "out" / "text" / call / "predictions.jsonl").open()]
        for call in ("together", "reordered")
    ]
    assert kept[0] == kept[1][::-1] == load_rows(str(suite_of(evaluated)), "coherence-text", "test")["id"][:]


class Spy(Predictor):
    """Says the truth and keeps which hypotheses came together."""

    loaded, batches = 0, []

    def __init__(self):
        Spy.loaded += 1

    def answer(self, prepared):
        Spy.batches.append([(row["premise"], row["hypothesis"]) for row in prepared])
        return [PointPrediction(row["probability"]) for row in prepared]


def test_a_call_holds_what_it_is_called_by(evaluated, tmp_path, monkeypatch):
    """All hypotheses of a premise in a batch, the same the other way round, then each by itself; the predictor is
    loaded once; and the truth has no violation."""
    folder, command, _ = evaluated
    chosen = choose.ChosenPredictor("spy", {"predictor": "spy"}, Spy, rows_at_once=None)
    monkeypatch.setattr(coherence, "choose_predictor", lambda args, dataset: chosen)
    given = [*command, "--modalities", "text", "--batch-size", "1", "--output-dir", str(tmp_path / "spied")]
    report = coherence.main(given)
    sizes = [len(batch) for batch in Spy.batches]
    half = report["sets"][0]["questions"] // 2
    assert sizes == [half] * 4 + [1] * (2 * half) and Spy.loaded == 1
    assert Spy.batches[0] == Spy.batches[3][::-1] and Spy.batches[1] == Spy.batches[2][::-1]
    assert [row for batch in Spy.batches[4:] for row in batch] == [*Spy.batches[0], *Spy.batches[1]]
    assert all(row["violation"]["value"] < 1e-12 for row in checks_of(report).values())
    assert report["sets"][0]["split"]["mse"]["value"] < 1e-12


def test_answers_that_were_recorded_are_measured(evaluated, tmp_path):
    """The truth in a file, by text and by clip, has no violation in any modality; 0.1 more has that of its formula,
    and a pair that is missing is counted. Nothing is asked twice of a file."""
    folder, command, _ = evaluated
    lines = {"right": [], "high": []}
    for modality in ("text", "audio", "audiovisual", "video"):
        for row in load_rows(str(suite_of(evaluated)), f"coherence-{modality}", "test"):
            clip = row["audio"] or row["video"]
            about = {"sentence": row["premise"]} if clip is None else {"path": Path(clip["path"]).name}
            for name, more in (("right", 0.0), ("high", 0.1)):
                prob = 0.1 + 0.5 * row["probability"] + more if name == "high" else row["probability"]
                lines[name].append(json.dumps(about | {"claim": row["hypothesis"], "prob": prob}))
    reports = {}
    for name, written in lines.items():
        file = tmp_path / f"{name}.jsonl"
        file.write_text("\n".join(written[: len(written) - (name == "high")]))
        given = ["--predictor", "recorded", "--answers", str(file), *command[2:]]
        modalities = MODALITIES if name == "right" else ("audio", "video")
        reports[name] = coherence.main([*given, "--modalities", *modalities, "--output-dir", str(tmp_path / name)])
        assert reports[name]["calls"] == ("together",)
    right, high = map(checks_of, reports.values())
    assert max(row["violation"]["value"] for row in right.values()) < 1e-12
    assert all(of["without_number"] == 0 for of in reports["right"]["sets"])
    # 0.2 + 0.5 t: a complement sums to 0.9, four alternatives to 1.3, two parts to 0.2 above the whole.
    for modality in ("audio", "video"):
        assert high[modality, "complement"]["signed"]["value"] == pytest.approx(-0.1)
    assert high["video", "exhaustive"]["violation"]["value"] == pytest.approx(0.3)
    assert high["audio", "exclusive"]["signed"]["value"] == pytest.approx(0.2)
    assert [of["without_number"] for of in reports["high"]["sets"]] == [0, 1]


def test_baselines_are_fitted_to_the_suite(evaluated, tmp_path):
    """What always gives one number keeps paraphrases, and its alternatives sum to so many of it."""
    _, command, _ = evaluated
    given = ["--predictor", "constant_mean", *command[2:], "--modalities", "audio"]
    report = coherence.main([*given, "--premises", "5", "--output-dir", str(tmp_path / "mean")])
    checks = checks_of(report)
    assert checks["audio", "paraphrase"]["violation"]["value"] == pytest.approx(0, abs=1e-12)
    first = checks["audio", "exhaustive"]["largest"]["answers"]
    assert checks["audio", "exhaustive"]["largest"]["deviation"] == pytest.approx(3 * first[0]["answer"] - 1)


@pytest.mark.processes
def test_a_model_behind_a_server_is_asked_each_hypothesis_once(urn_world, tmp_path):
    """One call alone where nothing follows `--calls`; a constant p breaks denials by 2 p - 1, and no other rule."""
    with bad_server() as server:
        given = ["--predictor", "binary", "--server", server.url, "--server-model", "teacher", *QUICK, "--calls"]
        given += ["--dataset", str(urn_world), "--dataset-config", "urn-text", "--limit", "4"]
        report = coherence.main([*given, "--output-dir", str(tmp_path / "out")])
        asked = len(server.requests())
    assert report["calls"] == ("together",) and report["settings"]["server"] == server.url
    assert asked == report["sets"][0]["questions"] == 16
    checks = checks_of(report)
    assert checks["urn-text", "denial"]["violation"]["value"] == pytest.approx(2 * 0.6 / 0.85 - 1)
    others = [row["violation"]["value"] for (_, kind), row in checks.items() if kind != "denial"]
    assert len(others) == 4 and max(others) < 1e-12


def test_pairs_of_a_dataset_are_asked_beside_what_follows(urn_world, tmp_path):
    """Two configs of a dataset in one report, some rows of each, with no truth and so no error."""
    given = ["--model", str(CHECKPOINT), "--dataset", str(urn_world), "--dataset-configs", "urn-text", "urn-video"]
    report = coherence.main([*given, "--limit", "4", "--calls", "alone", "--output-dir", str(tmp_path / "pairs")])
    assert [of["name"] for of in report["sets"]] == ["urn-text", "urn-video"]
    assert report["calls"] == ("together", "alone") and report["suite"] is None
    for of in report["sets"]:
        assert (of["premises"], of["questions"]) == (1, 16) and of["split"]["mse"] is None
        kinds = {row["kind"]: row["n"] for row in of["checks"]}
        assert kinds == {
            "denial": 4,
            "union": 2,
            "intersection": 2,
            "monotonicity": 8,
            "paraphrase": 4,
            "one against many": 16,
        }
    page = (tmp_path / "pairs" / "report.md").read_text()
    assert "nothing is known but their words" in page and "error" not in page


def test_the_command_goes_on_where_it_ended(evaluated, monkeypatch, capsys):
    """What was kept is not asked again, what a kill left undone is; other settings are refused."""
    folder, command, report = evaluated
    kept = folder / "out" / "video" / "alone" / "predictions.jsonl"
    lines = kept.read_text().splitlines(keepends=True)
    kept.rename(kept.with_name("predictions.jsonl.partial")).write_text("".join(lines[:-3]) + lines[-3][:20])
    again = coherence.main(command)
    assert f"holds {len(lines) - 3} of {len(lines)} rows already" in capsys.readouterr().out
    assert kept.read_text().count("\n") == len(lines)
    monkeypatch.setattr(checkpoints, "CLUEPredictor", pytest.fail)
    coherence.main(command)  # nothing is left to load a model for
    assert [of["checks"] for of in again["sets"]][:2] == [of["checks"] for of in report["sets"]][:2]
    with pytest.raises(ValueError, match="context was False and is True.*another --output-dir"):
        coherence.main([*command, "--context"])


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("--model m --limit 3", "--limit go with --dataset"),
        ("--model m --dataset d --dataset-config c --premises 3", "--premises are for the urn world"),
        ("--model m --dataset d", "--dataset needs --dataset-config"),
        ("--predictor recorded --answers f --dataset d --dataset-config c", "only answers rows that are there"),
        ("--model m --premises 0", "must be at least 1"),
        ("--model m --calls twice", "invalid choice"),
    ],
)
def test_options_that_do_nothing_are_refused(given, complaint, capsys):
    """The error names the option and what it goes with."""
    with pytest.raises(SystemExit):
        coherence.parse(given.split())
    assert complaint in " ".join(capsys.readouterr().err.split())


def test_what_cannot_be_is_told(tmp_path):
    """No model there, a file in the place of the folder."""
    suites = ["--suites", str(tmp_path / "suites"), "--premises", "2"]
    with pytest.raises(ValueError, match="--model .*nowhere at all is no folder"):
        coherence.main(["--model", "nowhere at all", *suites])
    (tmp_path / "file").write_text("")
    given = [*suites, "--modalities", "text", "--output-dir", str(tmp_path / "file")]
    with pytest.raises(ValueError, match="is a file: give another --output-dir"):
        coherence.main(["--model", str(CHECKPOINT), *given])
