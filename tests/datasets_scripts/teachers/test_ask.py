"""The teacher's command line against a server that misbehaves: nothing is lost, asked again or leaked."""

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from chat.client import RunStoppedError
from chat.messages import question
from datasets_scripts.building.drafts import Clip, Draft, new_row
from datasets_scripts.building.writer import write_config
from datasets_scripts.load import load_split
from datasets_scripts.teachers.answer_files import by_question, read_answers
from datasets_scripts.teachers.ask import main as teacher
from datasets_scripts.teachers.engine import AskTeacher, Pairs, Question, finished_pairs, locked
from tests.chat.bad_server import bad_server
from tests.launching import wait_for


pytestmark = pytest.mark.processes
QUICK = "--backoff 0.01 --timeout 300".split()


def write_rows(folder: Path, rows: list[dict], config: str = "pairs") -> Path:
    """A dataset folder with a training split of rows with these columns, called by their places."""
    common = {"source": config, "modality": "text", "probability": 0.5, "probability_source": "label"}
    drafts = [
        Draft(f"row {number}", new_row(**{"id": f"{config}-{number}", **common, **row}))
        for number, row in enumerate(rows)
    ]
    write_config(folder, config, {"train": drafts}, {"source": config}, overwrite=True)
    return folder


def write_pairs(folder: Path, hypotheses: list[str], config: str = "pairs") -> Path:
    """A dataset folder with a training split of text pairs, the hypotheses numbered `#0`, `#1`..."""
    rows = [
        {"premise": f"Premise {number}.", "hypothesis": f"#{number} {hypothesis}"}
        for number, hypothesis in enumerate(hypotheses)
    ]
    return write_rows(folder, rows, config)


def arguments(dataset: Path, out: Path, url: str, *more: str) -> list[str]:
    """A command line; later options override earlier ones."""
    common = ["--dataset", str(dataset), "--dataset-config", "pairs", "--output-dir", str(out), "--server", url]
    return [*common, "--server-model", "teacher", *QUICK, *more]


def read(out: Path) -> dict[str, list[dict]]:
    """The answers by the pair's number; a pair twice is an error."""
    pairs = [json.loads(line) for shard in sorted(out.glob("*.jsonl")) for line in shard.read_text().splitlines()]
    answers = {pair["id"].rpartition("-")[2]: pair["answers"] for pair in pairs}
    assert len(answers) == len(pairs)
    return answers


def test_every_pair_gets_its_answers_and_no_more(tmp_path, capsys):
    """N requests a pair, with N seeds of its own, never more in flight than allowed; a second run asks nothing,
    and one with another `--seed` all of it, with other seeds."""
    dataset = write_pairs(tmp_path / "umui", ["is true."] * 12)
    with bad_server(delay_ms=5) as server:
        teacher(arguments(dataset, tmp_path / "out", server.url, "--in-flight", "4"))
        counts = server.counts()
        assert counts["asked"] == {f"#{number}": 5 for number in range(12)}
        assert len({seed for seeds in counts["seeds"].values() for seed in seeds}) == 60
        assert counts["most"] == 4
        teacher(arguments(dataset, tmp_path / "out", server.url, "--in-flight", "4"))
        assert server.counts()["asked"] == counts["asked"]
        teacher(arguments(dataset, tmp_path / "other", server.url, "--seed", "1"))
        for name, seeds in server.counts()["seeds"].items():
            assert len(seeds) == 10 and not set(seeds[5:]) & set(counts["seeds"][name])
    answers = read(tmp_path / "out")
    for number in range(12):
        seeds = counts["seeds"][f"#{number}"]
        assert sorted(answer["text"] for answer in answers[str(number)]) == sorted(f"{seed % 101}%" for seed in seeds)
        assert [answer["probability"] for answer in answers[str(number)]] == [
            pytest.approx(int(answer["text"][:-1]) / 100) for answer in answers[str(number)]
        ]
        assert {answer["reason"] for answer in answers[str(number)]} == {None}
    assert {pair.id: len(pair.valid) for pair in read_answers(tmp_path / "out")} == {
        f"pairs-{number}": 5 for number in range(12)
    }
    assert "pairs: 12 of 12\nanswers: 60, with a probability 60, unparsable 0, failed 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "kinds"),
    [
        ("urn-audio", "input_audio+text"),
        ("urn-video", "video_url+text"),
        ("urn-audiovisual", "video_url+input_audio+text"),
    ],
)
def test_premises_of_sound_and_video_are_sent(umui, tmp_path, config, kinds):
    """Each pair of a built dataset goes with its clip."""
    rows = load_split(str(umui), config, "validation")
    more = ["--dataset-config", config, "--splits", "validation", "--num-answers", "2"]
    with bad_server() as server:
        teacher(arguments(umui, tmp_path / "out", server.url, *more))
        assert server.counts()["asked"] == {kinds: 2 * len(rows)}
    assert sorted(pair.id for pair in read_answers(tmp_path / "out")) == sorted(rows["id"])


def test_a_clip_over_the_limit_is_not_sent(umui, tmp_path, capsys):
    """It is the reason why its answers failed, and a run in which all failed is an error."""
    more = "--dataset-config urn-audio --splits validation --num-answers 2 --max-media-mb 0.00001".split()
    with bad_server() as server:
        with pytest.raises(SystemExit, match="none of the .* answers has a probability, most often: .* x media: "):
            teacher(arguments(umui, tmp_path / "out", server.url, *more))
        assert server.counts()["asked"] == {}
    reasons = [answer.reason[:6] for pair in read_answers(tmp_path / "out") for answer in pair.parsed]
    assert set(reasons) == {"media:"}
    assert f"failed {len(reasons)}" in capsys.readouterr().out


# How the server behaves: the requests it takes for each answer with two retries, the text and the reason.
TORN = "connection lost (RemoteProtocolError) after 3 tries"
BEHAVIOUR = {
    "[500]": (3, None, "HTTP 500 after 3 tries: it is 500"),
    "[500 x2]": (3, "%", None),
    "[429 x2]": (3, "%", None),
    "[503 x1]": (2, "%", None),
    "[400]": (1, None, "HTTP 400: it is 400"),
    "[413]": (1, None, "HTTP 413: it is 413"),
    "[torn]": (3, None, TORN),
    "[torn x1]": (2, "%", None),
    "[empty]": (3, None, 'no answer in HTTP 200 after 3 tries: {"choices":[],"usage":null}'),
    "[empty x1]": (2, "%", None),
    "[garbage]": (3, None, 'no JSON in HTTP 200 after 3 tries: {"choices": [{"mess\ufffd'),
    "[html]": (3, None, "no JSON in HTTP 200 after 3 tries: <html>502</html>"),
    "[null]": (1, None, "no text (finish_reason content_filter)"),
    "[refused]": (1, None, "refused: I can't help with that."),
    "[403]": (1, None, "HTTP 403: it is 403"),
    "[huge]": (1, None, "the reply is longer than 4 MiB"),
    "[plain]": (1, "0.25", None),
    "[reasons]": (1, "0.75", None),
    "[surrogate]": (1, "0.5 \ud800", None),
    "[words]": (1, "It is hard to say.", "no number"),
    "[length]": (1, "I think that the probability is", "cut off (finish_reason length)"),
    "[halfnumber]": (1, "0.8", "cut off (finish_reason length)"),
}


def test_each_misbehaviour_has_its_stated_result(tmp_path, capsys):
    """What is worth another try gets it, no more often than said; each missing probability has its reason."""
    dataset = write_pairs(tmp_path / "umui", list(BEHAVIOUR))
    with bad_server() as server:
        more = ("--num-answers", "2", "--retries", "2")
        teacher(arguments(dataset, tmp_path / "out", server.url, *more))
        asked = server.counts()["asked"]
    answers = read(tmp_path / "out")
    for number, (behaviour, (tries, text, reason)) in enumerate(BEHAVIOUR.items()):
        assert (behaviour, asked[f"#{number}"]) == (behaviour, 2 * tries)
        assert len(answers[str(number)]) == 2
        for answer in answers[str(number)]:
            assert (behaviour, answer["reason"]) == (behaviour, reason)
            assert (answer["probability"] is None) == (reason is not None)
            assert answer["text"] == text or (text == "%" and answer["text"].endswith("%"))
    (reasons,) = [number for number, behaviour in enumerate(BEHAVIOUR) if behaviour == "[reasons]"]
    assert {answer["reasoning"] for answer in answers[str(reasons)]} == {"The clip says so."}
    output = capsys.readouterr().out
    failed = sum(2 for tries, text, reason in BEHAVIOUR.values() if text is None)
    assert f"answers: {2 * len(BEHAVIOUR)}, with a probability 16, unparsable 6, failed {failed}" in output
    assert "  failed: 2 x HTTP 500 after 3 tries: it is 500\n" in output
    assert "  unparsable: 4 x cut off (finish_reason length)\n" in output


def test_a_server_that_never_replies_is_not_waited_for(tmp_path):
    """An attempt ends after --timeout, whatever it waits for."""
    dataset = write_pairs(tmp_path / "umui", ["[slow]"])
    more = ("--num-answers", "1", "--retries", "1", "--timeout", "0.1")
    with bad_server() as server, pytest.raises(SystemExit, match="1 x timed out after 0.1 s after 2 tries"):
        teacher(arguments(dataset, tmp_path / "out", server.url, *more))


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    """After SIGKILL the same command completes all pairs and asks none of the finished ones again."""
    dataset = write_pairs(tmp_path / "umui", ["is true."] * 30)
    out = tmp_path / "out"
    with bad_server(hold_after=60) as server:
        command = [sys.executable, "-m", "datasets_scripts.teacher", "ask"]
        command += arguments(dataset, out, server.url, "--in-flight", "10")
        log = (tmp_path / "log").open("w")
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            # The server holds all after the 60th: ten wait in flight, what was answered is written.
            wait_for(lambda: sum(server.counts()["asked"].values()) == 70 or process.poll() is not None)
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        finally:
            # datatrove's helper process outlives its parent.
            os.killpg(process.pid, signal.SIGKILL)
        before = read(out)
        assert 5 < len(before) < 30
        assert {len(answers) for answers in before.values()} == {5}
        with next(iter(out.glob("*.jsonl"))).open("a") as shard:
            shard.write('{"id": "pairs-29", "answers": [{"text": "0.')
        lines = next(iter(out.glob("*.jsonl"))).read_text().splitlines()[:-1]
    with bad_server() as server:
        teacher(arguments(dataset, out, server.url, "--in-flight", "10"))
        asked = server.counts()["asked"]
    assert asked == {f"#{number}": 5 for number in range(30) if str(number) not in before}
    after = read(out)
    assert len(after) == 30
    assert {len(answers) for answers in after.values()} == {5}
    assert next(iter(out.glob("*.jsonl"))).read_text().splitlines()[: len(lines)] == lines


def test_tasks_share_the_pairs_and_their_number_may_change(tmp_path):
    """Three tasks in two processes answer each pair once, as one task would, and four tasks find all finished."""
    dataset = write_pairs(tmp_path / "umui", ["is true."] * 10)
    with bad_server() as server:
        teacher(arguments(dataset, tmp_path / "out", server.url, "--tasks", "3", "--workers", "2"))
        asked = server.counts()["asked"]
        assert asked == {f"#{number}": 5 for number in range(10)}
        assert len(list((tmp_path / "out").glob("*.jsonl"))) == 3
        teacher(arguments(dataset, tmp_path / "out", server.url, "--tasks", "4"))
        assert server.counts()["asked"] == asked
        teacher(arguments(dataset, tmp_path / "one", server.url))
    assert read(tmp_path / "out") == read(tmp_path / "one")


SECRET = "sk-test-0123456789abcdef"


def test_the_key_is_sent_and_written_nowhere(tmp_path, monkeypatch, capfd):
    """The key reaches the server from each task, but no file that is written and no message, not even where the server
    quotes it: to say that there is no such model, which ends the run before every pair was tried."""
    dataset = write_pairs(tmp_path / "umui", ["is true."] * 40)
    monkeypatch.setenv("TEACHER_KEY", SECRET)
    more = "--api-key-env TEACHER_KEY --server-model student --tasks 2 --workers 2".split()
    with bad_server(key=SECRET) as server:
        with pytest.raises(SystemExit, match="HTTP 404.*not exist for Bearer .key."):
            teacher(arguments(dataset, tmp_path / "out", server.url, *more))
        assert f"Bearer {SECRET}" in server.counts()["keys"]
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    gc.collect()
    told = "".join(capfd.readouterr())
    assert read(tmp_path / "out") == {} and SECRET not in told and "Traceback" not in told


def test_a_refused_key_stops_at_once_and_stays_unsaid(tmp_path, monkeypatch, capfd):
    """A wrong key costs no request a pair, and the error names the variable, not the key that the server quotes."""
    dataset = write_pairs(tmp_path / "umui", ["is true."] * 3)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with bad_server(key="another") as server:
        with pytest.raises(SystemExit, match=r"HTTP 401, the key is missing or wrong: set \$OPENAI_API_KEY") as stop:
            teacher(arguments(dataset, tmp_path / "out", server.url))
        assert server.counts()["asked"] == {}
    assert SECRET not in str(stop.value) + "".join(capfd.readouterr())


def test_a_server_that_fails_always_stops_the_run(tmp_path):
    """Failures in a row end the run, and the pairs it did not come to are asked when the server is well again."""
    dataset = write_pairs(tmp_path / "umui", ["[500 x1]"] * 40)
    limits = ["--retries", "0", "--stop-after-failures", "20", "--in-flight", "5"]
    with bad_server() as server:
        # Up to four more fail while the twentieth is told of.
        with pytest.raises(SystemExit, match="2[0-4] requests in a row failed, .*: HTTP 500 after 1 try: it is 500"):
            teacher(arguments(dataset, tmp_path / "out", server.url, *limits))
        failed = read(tmp_path / "out")
        assert 0 < len(failed) <= 4
        # The second request for an answer succeeds.
        teacher(arguments(dataset, tmp_path / "out", server.url, "--retries", "1"))
        answers = read(tmp_path / "out")
        assert {number: answers[number] for number in failed} == failed
        teacher(arguments(dataset, tmp_path / "out", server.url, "--ask-again-failed"))
    answers = read(tmp_path / "out")
    assert len(answers) == 40
    assert {answer["reason"] for pair in answers.values() for answer in pair} == {None}


def test_no_server(tmp_path):
    """An address without a server, or one that is none, is said before anything is written."""
    dataset = write_pairs(tmp_path / "umui", ["is true."])
    for port, complaint in (
        ("9", "no server answers at http://127.0.0.1:9/v1"),
        ("nine", "is no address of a server"),
    ):
        with pytest.raises(SystemExit, match=complaint):
            teacher(arguments(dataset, tmp_path / "out", f"http://127.0.0.1:{port}/v1"))
    assert not (tmp_path / "out").exists()


def test_another_teacher_needs_another_folder(tmp_path):
    """Other options with the same --output-dir are refused and named, as are answers that another teacher gave or that
    don't say what was asked; --in-flight may change."""
    dataset = write_pairs(tmp_path / "umui", ["is true."] * 2)
    out = tmp_path / "out"
    with bad_server() as server:
        teacher(arguments(dataset, out, server.url))
        before = read(out)
        teacher(arguments(dataset, out, server.url, "--in-flight", "1", "--retries", "9"))
        for option, value, complaint in (
            ("--num-answers", "3", "answers was 5 and is 3"),
            ("--server-model", "other", "model was 'teacher' and is 'other'"),
            ("--temperature", "0.2", "temperature was 0.7 and is 0.2"),
            ("--extra", '{"top_p": 0.5}', r"extra was {} and is {'top_p': 0.5}"),
        ):
            with pytest.raises(SystemExit, match=complaint):
                teacher(arguments(dataset, out, server.url, option, value))
        assert read(out) == before
        (line, *_) = (out / "00000.jsonl").read_text().splitlines()
        for change, complaint in (
            ({"settings": "other"}, "holds answers that were asked for otherwise, such as those to pairs-"),
            ({"settings": None}, "holds answers that don't say what was asked .* such as those to pairs-"),
        ):
            pair = {name: value for name, value in (json.loads(line) | change).items() if value is not None}
            (out / "00001.jsonl").write_text(json.dumps(pair) + "\n")
            with pytest.raises(SystemExit, match=complaint):
                teacher(arguments(dataset, out, server.url))


def test_what_is_new_is_asked_and_all_else_stays(tmp_path, capsys):
    """However a config of texts and sounds is rebuilt, only what was never asked is, and nothing is lost: what comes
    back after an edit is taken back still has its answers."""

    def text(number: int, **more) -> dict:
        return {"premise": f"Premise {number}.", "hypothesis": f"#{number} is true.", **more}

    def rustle(rate: float, name: str = "rustle.wav") -> dict:
        file = tmp_path / f"{rate} {name}"
        soundfile.write(file, 0.3 * np.sin(np.arange(1600) * rate), 16_000)
        return {"modality": "audio", "audio": Clip(file, name), "hypothesis": "#rustle"}

    out, total = tmp_path / "out", 0
    with bad_server() as server:
        for rows, new in (
            ([text(0), text(1), rustle(0.1)], ["#0", "#1", "#rustle"]),
            ([text(2), text(0), text(1), rustle(0.1)], ["#2"]),
            ([rustle(0.1, "other.wav"), text(1), text(0)], []),
            ([text(0, premise="Another."), text(1, context="In May."), rustle(0.2)], ["#0", "#1", "#rustle"]),
            ([text(0), text(1), rustle(0.1)], []),
            ([text(0, topic="Trees", probability=0.1)], []),
        ):
            before = server.counts()["asked"]
            write_rows(tmp_path / "umui", rows)
            teacher(arguments(tmp_path / "umui", out, server.url, "--num-answers", "2"))
            after = server.counts()["asked"]
            assert {name: number for name in after if (number := after[name] - before.get(name, 0))} == dict.fromkeys(
                new, 2
            )
            total += len(new)
            assert f"pairs: {len(rows)} of {len(rows)}\n" in capsys.readouterr().out
            answers = read_answers(out)
            assert len(answers) == len({pair.question for pair in answers}) == total
            called = {pair.question: pair.id for pair in answers}
            now = load_split(str(tmp_path / "umui"), "pairs", "train")
            assert [called[question(row)] for row in now] == now["id"][:]
        # One of a grown config, under another name.
        write_rows(tmp_path / "umui", [text(0), text(3)], "grown")
        teacher(arguments(tmp_path / "umui", out, server.url, "--num-answers", "2", "--dataset-config", "grown"))
        assert server.counts()["asked"] == after | {"#3": 2}


def test_failed_answers_are_asked_again_for_these_rows_alone(tmp_path):
    """What another config got stays, failed or not."""
    write_pairs(tmp_path / "umui", ["[500 x1]", "is true."], "other")
    dataset, out = write_pairs(tmp_path / "umui", ["is true.", "[500 x1]"]), tmp_path / "out"
    with bad_server() as server:
        for config in ("other", "pairs"):
            more = ("--dataset-config", config, "--num-answers", "1", "--retries", "0")
            teacher(arguments(dataset, out, server.url, *more))
        failed = {pair.config for pair in read_answers(out) if not pair.valid}
        teacher(arguments(dataset, out, server.url, "--num-answers", "1", "--retries", "0", "--ask-again-failed"))
        assert failed == {"other", "pairs"}
        assert {pair.config for pair in read_answers(out) if not pair.valid} == {"other"}


def test_rows_that_ask_the_same_share_their_answers(tmp_path, capsys):
    """Videos with one sound, say: it is asked about once, by one of two tasks, and all of its rows are labelled."""
    dataset = write_pairs(tmp_path / "umui", ["is true."] * 3)
    (table,) = (dataset / "pairs").rglob("*.parquet")
    rows = pq.read_table(table)
    twins = rows.slice(1, 2)
    twins = twins.set_column(twins.schema.get_field_index("id"), "id", pa.array(["twin-1", "twin-2"]))
    pq.write_table(pa.concat_tables([rows, twins]), table)
    with bad_server() as server:
        for _ in range(2):
            teacher(arguments(dataset, tmp_path / "out", server.url, "--tasks", "2"))
            told = capsys.readouterr().out
            assert "2 rows ask what another one asks" in told and "pairs: 3 of 3" in told
        assert server.counts()["asked"] == {f"#{number}": 5 for number in range(3)}
    answers = by_question(read_answers(tmp_path / "out"))
    found = [answers[question(row)].id for row in load_split(str(dataset), "pairs", "train")]
    assert found == ["pairs-0", "pairs-1", "pairs-2", "pairs-1", "pairs-2"]


def test_a_pair_that_cannot_be_written_ends_the_run(tmp_path, monkeypatch):
    """A full disk is an error, not a pair that is silently left out."""

    def full(*_):
        raise OSError(28, "No space left on device")

    dataset = write_pairs(tmp_path / "umui", ["is true."] * 3)
    monkeypatch.setattr("common.files.os.fsync", full)
    with bad_server() as server, pytest.raises(SystemExit, match="No space left on device"):
        teacher(arguments(dataset, tmp_path / "out", server.url))


def test_two_runs_at_once_are_refused(tmp_path):
    """While a run writes a shard, another one on the same folder is told so."""
    dataset = write_pairs(tmp_path / "umui", ["is true."] * 3)
    with bad_server() as server:
        teacher(arguments(dataset, tmp_path / "out", server.url))
        with locked(tmp_path / "out" / "00000.jsonl"), pytest.raises(SystemExit, match="is written by another run"):
            teacher(arguments(dataset, tmp_path / "out", server.url))


class Agreeing:
    """A client that finds all equally probable."""

    async def send(self, payload: dict) -> dict:
        """Answers without a server."""
        return {"choices": [{"message": {"content": "0.5"}, "finish_reason": "stop"}], "usage": {}}

    async def close(self) -> None:
        """There is nothing to close."""


@pytest.mark.parametrize("change", [{"a": 0}, {"b": 0, "a": 1}, {"a": 0, "c": 1}])
def test_a_dataset_that_changed_in_the_meantime_stops_a_task(tmp_path, change):
    """A job may wait for days: no answer ever stands beside the digest of another question."""
    before = {"a": 0, "b": 1}
    write_rows(tmp_path / "umui", [{"premise": "A dog.", "hypothesis": name} for name in before])
    asked = dict(enumerate(map(question, load_split(str(tmp_path / "umui"), "pairs", "train"))))
    write_rows(tmp_path / "umui", [{"premise": "A dog.", "hypothesis": name} for name in change])
    pairs = Pairs(tmp_path / "umui", "pairs", {"train": asked}, tmp_path, 1)
    step = AskTeacher(Question("model", 1, 0.7, 9, 0, {}), pairs, Agreeing, 1)
    with pytest.raises(RunStoppedError, match="asks something else than when the run began"):
        step.run()
    assert {(pair["hypothesis"], pair["question"]) for pair in finished_pairs(tmp_path)} <= {("a", asked[0])}
    write_rows(tmp_path / "umui", [{"premise": "A dog.", "hypothesis": name} for name in before])
    step.run()
    assert [pair["hypothesis"] for pair in finished_pairs(tmp_path)] == ["a", "b"]


# Of Slurm, what the pipeline meets: jobs of an array one after the other, and the names of their nodes.
CLUSTER = {
    "sbatch": """for last; do :; done; echo "$@" >> $CLUSTER_LOG
        case "$1" in --export=*) ;; *) echo Submitted batch job 2; exit;; esac
        for index in 0 1; do
            SLURM_ARRAY_TASK_ID=$index SLURM_NODELIST=here bash $last >> $CLUSTER_LOG 2>&1
        done
        echo Submitted batch job 1""",
    "srun": 'while [ "$1" != -n ]; do shift; done; shift 2; exec "$@"',
    "scontrol": "echo here",
}


def test_slurm_jobs_answer_the_pairs(tmp_path, monkeypatch, capsys):
    """The jobs that are submitted do the work, with a stand-in for Slurm itself; the command without it counts."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in CLUSTER.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CLUSTER_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    dataset = write_pairs(tmp_path / "umui", ["is true."] * 7)
    with bad_server(key=SECRET) as server:
        command = arguments(dataset, tmp_path / "out", server.url, "--tasks", "2")
        teacher([*command, "--slurm-partition", "gpu"])
        assert "The tasks are queued" in capsys.readouterr().out
        assert server.counts()["asked"] == {f"#{number}": 5 for number in range(7)}, (tmp_path / "log").read_text()
        teacher(command)
        assert sum(server.counts()["asked"].values()) == 35
    assert "pairs: 7 of 7" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*.jsonl"))) == 2
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
