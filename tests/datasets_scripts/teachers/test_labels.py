"""A teacher's vote takes the place of labels and of nothing else; what it can't label is told, with reasons."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chat.answers import Parsed
from chat.messages import question
from common.digests import digest
from common.errors import InputError
from datasets_scripts.building.drafts import Clip, Draft, new_row
from datasets_scripts.building.writer import write_config
from datasets_scripts.load import load_split
from datasets_scripts.teachers.answer_files import Answers, read_answers
from datasets_scripts.teachers.labels import Rules, apply_answers, main
from tests.reading import files_of


PLAN = {"source": "made-up", "raw": Path("/somewhere/raw.csv")}


def text_row(number: int, split: str = "train", **changes) -> dict:
    """A row of a text with a label."""
    label = number % 2
    row = new_row(
        id=f"{split}-{number}",
        source="made-up",
        modality="text",
        premise=f"{split} premise {number}.",
        hypothesis="It is so.",
        probability=float(label),
        label=label,
        probability_source="label",
    )
    return row | changes


def line(number: int, *probabilities, split: str = "train", config: str = "c", **changes) -> dict:
    """A line of answers; what is no number is a reason."""
    answers = [
        {"text": "t", "probability": None, "reason": p}
        if isinstance(p, str)
        else {"text": "t", "probability": p, "reason": None}
        for p in probabilities
    ]
    pair = {"id": f"{split}-{number}", "config": config, "split": split, "question": question(text_row(number, split))}
    return pair | {"settings": "as before", "answers": answers} | changes


def write_lines(path: Path, *lines: dict) -> Path:
    """Writes a shard."""
    text = "".join(json.dumps(one) + "\n" for one in lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def given(*probabilities) -> Answers:
    """Answers as they are read."""
    parsed = (Parsed(None, p) if isinstance(p, str) else Parsed(p, None) for p in probabilities)
    return Answers(Path("a.jsonl"), 1, "an id", "c", "train", "a question", None, None, tuple(parsed))


@pytest.fixture
def dataset(tmp_path) -> Path:
    """A folder with a config of texts: train of all kinds, validation, test."""
    train = [text_row(n) for n in range(6)]
    train += [
        text_row(6, probability=0.3, probability_source="human", human_probabilities=[0.2, 0.4]),
        text_row(7, probability=0.25, probability_source="exact"),
        text_row(8, probability=0.7, probability_source="teacher", teacher_probabilities=[0.7]),
        text_row(9, label=None, probability=0.5),
    ]
    splits = {"train": train, "validation": [text_row(1, "validation")], "test": [text_row(1, "test")]}
    drafts = {split: [Draft(row["id"], row) for row in rows] for split, rows in splits.items()}
    write_config(tmp_path / "umui", "c", drafts, PLAN)
    return tmp_path / "umui"


def rows_of(dataset: Path, config: str, split: str = "train") -> dict[str, dict]:
    """The rows of a split by id."""
    return {row["id"]: row for row in load_split(str(dataset), config, split)}


def listed(dataset: Path, config: str) -> list[dict]:
    """The report on rows that were not labelled."""
    with (dataset / f"{config}.unlabelled.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def label(dataset: Path, answers: Path, *options: str) -> None:
    """Runs the command line on the config `c`."""
    main(["--dataset", str(dataset), "--dataset-config", "c", "--answers", str(answers), *options])


ANSWERS = (
    line(0, 0.1, 0.2, 0.3, 0.4, 0.5),
    line(1, 0.9, "a range", 0.8, 0.1, "no number"),
    line(2, 0.9, "a range", "a range", "no number", 0.8),
    line(3, 0.4, 0.4, 0.1),
    line(6, 1.0, 1.0, 1.0),
    line(7, 1.0, 1.0, 1.0),
    line(8, 0.2, 0.2, 0.2),
    line(9, 0.6, 0.6, 0.9),
    line(1, 0.0, 0.0, 0.0, split="test"),
    line(0, 0.0, 0.0, 0.0, config="other", question="of another config"),
)


def test_labels_become_votes_and_all_else_stays(dataset, tmp_path, capsys):
    """The whole path by command line: means by hand; people's, exact and earlier teachers' rows are untouched."""
    label(dataset, write_lines(tmp_path / "a.jsonl", *ANSWERS))
    old, new = rows_of(dataset, "c"), rows_of(dataset, "c-teacher")
    assert list(new) == list(old)
    votes = {0: (0.3, [0.1, 0.2, 0.3, 0.4, 0.5]), 1: (0.6, [0.9, 0.8, 0.1]), 3: (0.3, [0.4, 0.4, 0.1])}
    votes[9] = (0.7, [0.6, 0.6, 0.9])
    for number in range(10):
        before, after = old[f"train-{number}"], new[f"train-{number}"]
        if number in votes:
            vote, kept = votes[number]
            assert after["probability"] == pytest.approx(vote, abs=1e-12)
            assert (after["probability_source"], after["teacher_probabilities"]) == ("teacher", kept)
            same = before.keys() - {"probability", "probability_source", "teacher_probabilities"}
            assert {name: before[name] for name in same} == {name: after[name] for name in same}
        else:
            assert after == before
    for split in ("validation", "test"):
        assert rows_of(dataset, "c-teacher", split) == rows_of(dataset, "c", split)
    told = capsys.readouterr().out
    counts = "4 labelled, 3 with a probability of their own, 1 too few valid answers, 2 not answered"
    assert f"c-teacher, train: {counts}" in told
    assert "not used: answers to 1 pairs of c, test" in told and "1 pairs of other, train" in told
    report = listed(dataset, "c-teacher")
    assert [(row["id"], row["outcome"], row["valid"], row["asked"]) for row in report] == [
        ("train-2", "too few valid answers", "2", "5"),
        ("train-4", "not answered", "0", "0"),
        ("train-5", "not answered", "0", "0"),
    ]
    assert report[0]["reasons"] == "2 x a range; 1 x no number"


def test_how_it_was_made_is_noted(dataset, tmp_path):
    """The source stays, for its licence; the teacher, the vote and the old options are in build.json, no folders."""
    folder = tmp_path / "answers"
    write_lines(folder / "00000.jsonl", *ANSWERS[:3])
    asked = {"model": "/models/omni", "answers": 5, "temperature": 0.7, "seed": 0, "extra": {}}
    (folder / "asked.json").write_text(json.dumps(asked))
    with pytest.raises(SystemExit, match="asked.json doesn't tell how the answers beside it were asked for"):
        label(dataset, folder)
    write_lines(folder / "00000.jsonl", *(each | {"settings": digest(asked)} for each in ANSWERS[:3]))
    old = json.loads((dataset / "c" / "build.json").read_text())
    (dataset / "c" / "build.json").write_text(json.dumps(old | {"ratio": "1:2"}))
    label(dataset, folder)
    build = json.loads((dataset / "c-teacher" / "build.json").read_text())
    assert (build["source"], build["ratio"]) == ("made-up", "1:2")
    assert build["options"]["labelled_by"] == {"model": "omni", "answers": 5, "temperature": 0.7, "seed": 0}
    assert build["options"]["built_with"] == {"raw": "raw.csv"}
    assert (build["options"]["vote"], build["options"]["answers"]) == ("mean", "answers")
    assert str(tmp_path) not in json.dumps(build)


def test_all_ratios_are_made_of_one_teachers_answers(dataset, tmp_path):
    """`--ratio` takes all positives and as many negatives as asked, by label, after the votes; the rest stays."""
    answers = write_lines(tmp_path / "a.jsonl", *ANSWERS)
    label(dataset, answers)
    label(dataset, answers, "--ratio", "1:0.5", "--seed", "3", "--to", "half")
    whole, half = rows_of(dataset, "c-teacher"), rows_of(dataset, "half")
    assert half.items() <= whole.items()
    # Row 9 has no label: its vote of 0.7 makes it the fifth positive.
    positives = {f"train-{number}" for number in (1, 3, 5, 7, 9)}
    assert positives <= half.keys() and len(half.keys() - positives) == 2
    assert rows_of(dataset, "half", "test") == rows_of(dataset, "c", "test")
    build = json.loads((dataset / "half" / "build.json").read_text())
    assert (build["ratio"], build["options"]["seed"]) == ("1:0.5", 3)


def test_the_majority_decides_if_it_is_asked(dataset, tmp_path):
    """Of .9, .8 and .1 two say true: the vote is their mean. Fewer answers are enough where so much is said."""
    label(dataset, write_lines(tmp_path / "a.jsonl", *ANSWERS), "--vote", "majority", "--min-valid", "2", "--to", "m")
    new = rows_of(dataset, "m")
    assert new["train-1"]["probability"] == pytest.approx(0.85)
    assert new["train-1"]["teacher_probabilities"] == [0.9, 0.8, 0.1]
    assert new["train-2"]["probability"] == pytest.approx(0.85)
    # .1 .2 .3 .4 are false, .5 is true.
    assert new["train-0"]["probability"] == pytest.approx(0.25)


def test_contradicted_labels_are_kept_unless_they_are_to_be_dropped(dataset, tmp_path, capsys):
    """The filter is off by default; on, it drops what lies on the other side of the label, and nothing undecided."""
    lines = [line(0, 0.9, 0.9, 0.9), line(1, 0.1, 0.1, 0.1), line(2, 0.5, 0.5, 0.5), line(3, 0.5, 0.5, 0.5)]
    lines += [line(4, 0.1, 0.1, 0.1), line(9, 0.9, 0.9, 0.9), line(1, 0.2, 0.2, 0.2, split="validation")]
    lines += [line(1, 0.8, 0.8, 0.8, split="test")]
    answers = write_lines(tmp_path / "a.jsonl", *lines)
    label(dataset, answers)
    assert len(rows_of(dataset, "c-teacher")) == 10
    capsys.readouterr()
    label(dataset, answers, "--drop-disagreeing", "--splits", "train", "test", "--overwrite")
    new = rows_of(dataset, "c-teacher")
    assert {f"train-{n}" for n in range(10)} - new.keys() == {"train-0", "train-1"}
    assert new["train-2"]["probability"] == new["train-3"]["probability"] == 0.5
    told = capsys.readouterr().out
    assert "train: 4 labelled, 2 with" in told and "2 dropped" in told and "c-teacher, test: 1 labelled\n" in told
    dropped = [row for row in listed(dataset, "c-teacher") if row["outcome"].startswith("dropped")]
    assert [(row["id"], float(row["vote"]), row["label"]) for row in dropped] == [
        ("train-0", pytest.approx(0.9), "0"),
        ("train-1", pytest.approx(0.1), "1"),
    ]


def test_an_earlier_teacher_is_only_replaced_on_demand():
    """With overwrite a teacher's row gets the new vote; people's and exact ones do not even then."""
    rows = [text_row(n, probability=0.7, probability_source=s) for n, s in enumerate(("teacher", "human", "exact"))]
    asked = [(row["id"], row) for row in rows]
    answers = {row["id"]: given(0.1, 0.1, 0.1) for row in rows}
    kept = list(apply_answers(asked, answers, Rules()))
    assert [outcome.row for outcome in kept] == rows
    replaced = [outcome.row["probability"] for outcome in apply_answers(asked, answers, Rules(overwrite=True))]
    assert replaced == [pytest.approx(0.1), 0.7, 0.7]


def test_too_few_answers_give_no_number():
    """A row without enough valid answers keeps its label's number, whatever the few others say."""
    row = text_row(1)
    for answers in (given("x", "x", "x"), given(0.2, 0.2, "x", "x", "x"), given(0.2)):
        (outcome,) = apply_answers([("q", row)], {"q": answers}, Rules())
        assert outcome.row == row and outcome.vote is None
    (outcome,) = apply_answers([("q", row)], {"q": given(0.2)}, Rules(min_valid=1))
    assert outcome.row["probability"] == 0.2


def test_rows_are_read_one_by_one():
    """Nothing is read ahead: a split of any size takes no more memory than its answers."""

    def rows():
        yield "q", text_row(0)
        raise AssertionError("read ahead")

    assert next(apply_answers(rows(), {}, Rules())).kind == "not answered"


def test_clips_are_stored_once(tmp_path):
    """The new config has the very files of the old one, and only those it needs; both load."""
    drafts = {}
    for shift, split in enumerate(("train", "test")):
        for number in range(3):
            wave = 0.3 * np.sin(np.arange(1600) * (0.1 + 0.1 * number + 0.05 * shift))
            soundfile.write(tmp_path / f"{split} {number}.wav", wave, 16_000)
        clips = [Clip(tmp_path / f"{split} {number}.wav", f"{split} {number}.wav") for number in range(3)]
        drafts[split] = [
            Draft(
                f"{split} {n}", text_row(n, split, premise=None, modality="audio", audio=clips[n // 2], hypothesis=h)
            )
            for n, h in enumerate("ABCDEF")
        ]
    write_config(tmp_path / "umui", "c", drafts, PLAN)
    said = (0.9, 0.9, 0.9, 0.1, 0.1, 0.9)
    old = rows_of(tmp_path / "umui", "c")
    lines = [line(n, p, p, p, question=question(old[f"train-{n}"])) for n, p in enumerate(said)]
    label(tmp_path / "umui", write_lines(tmp_path / "a.jsonl", *lines), "--drop-disagreeing")
    new = rows_of(tmp_path / "umui", "c-teacher")
    # Both rows about the second clip are gone, and so is the clip.
    assert list(new) == ["train-1", "train-4", "train-5"]
    assert len(list((tmp_path / "umui/c-teacher/train/media").iterdir())) == 2
    for name in new:
        assert Path(new[name]["audio"]["path"]).samefile(old[name]["audio"]["path"])
        assert "c-teacher/train/media" in new[name]["audio"]["path"]
    kept = rows_of(tmp_path / "umui", "c-teacher", "test")
    assert all(Path(row["audio"]["path"]).is_file() for row in kept.values()) and len(kept) == 6


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--to", "c"), "--to c is the config with the labels"),
        (("--to", "../x"), "a config is called by letters"),
        (("--to", "taken"), "taken exists already: pass --overwrite"),
        (("--splits", "test"), "not one row of c, test can be labelled: 1 not answered"),
        (("--min-valid", "6"), "not one row of c, train can be labelled"),
    ],
)
def test_what_cannot_be_done_leaves_everything_as_it_was(dataset, tmp_path, options, complaint):
    """The error says what is wrong; not one file has changed."""
    write_config(dataset, "taken", {"test": [Draft("r", text_row(1, "t"))]}, PLAN)
    answers = write_lines(tmp_path / "a.jsonl", *ANSWERS[:-2])
    before = files_of(dataset)
    with pytest.raises(SystemExit, match="error: ") as error:
        label(dataset, answers, *options)
    assert complaint in str(error.value)
    assert files_of(dataset) == before


def rebuild(dataset: Path, rows: list[dict]) -> None:
    """The config `c` anew, its rows called by their places."""
    rows = [row | {"id": f"train-{number}"} for number, row in enumerate(rows)]
    write_config(dataset, "c", {"train": [Draft(row["id"], row) for row in rows]}, PLAN, overwrite=True)


# What becomes of six rows: the numbers of those that keep what the teacher said of them, at their new places.
LATER = {
    "a row on top": ([99, 0, 1, 2, 3, 4, 5], {}),
    "a row between": ([0, 1, 2, 99, 3, 4, 5], {}),
    "rows at the end": ([0, 1, 2, 3, 4, 5, 98, 99], {}),
    "rows taken out": ([5, 3, 1], {}),
    "another order": ([3, 1, 5, 0, 4, 2], {}),
    "a hypothesis edited": ([0, 1, 2, 3, 4, 5], {"hypothesis": "It is not so."}),
    "a premise edited": ([0, 1, 2, 3, 4, 5], {"premise": "train premise 2"}),
    "background added": ([0, 1, 2, 3, 4, 5], {"context": "In May."}),
}


@pytest.mark.parametrize("change", LATER)
def test_rows_take_the_answers_to_what_they_ask(dataset, tmp_path, change, capsys):
    """After any rebuild each row has its own answers, known by content, or none; ids and places say nothing. An edit
    to one row costs the others nothing; answers that nobody takes are counted."""
    numbers, edit = LATER[change]
    votes = {number: 0.1 + 0.1 * number for number in range(6)}
    answers = write_lines(tmp_path / "a.jsonl", *(line(number, *[vote] * 3) for number, vote in votes.items()))
    rebuild(dataset, [text_row(number) | (edit if number == 2 else {}) for number in numbers])
    label(dataset, answers)
    kept = [number for number in numbers if number in votes and not (edit and number == 2)]
    for row, number in zip(rows_of(dataset, "c-teacher").values(), numbers, strict=True):
        said = (votes[number], "teacher") if number in kept else (number % 2, "label")
        assert (row["probability"], row["probability_source"]) == (pytest.approx(said[0]), said[1])
    assert [row["outcome"] for row in listed(dataset, "c-teacher")] == ["not answered"] * (len(numbers) - len(kept))
    told = capsys.readouterr().out
    assert (f"not used: answers to {6 - len(kept)} pairs of c, train" in told) == (len(kept) < 6)


def test_clips_are_known_by_what_is_in_them(tmp_path):
    """The same two files that change their contents, as when a mistake is put right: the answers follow the sounds. A
    sound that nobody was asked about has none, though its name was answered."""
    umui, names = tmp_path / "umui", ("one.wav", "two.wav")

    def build(*rates: float) -> dict[str, dict]:
        for name, rate in zip(names, rates, strict=True):
            soundfile.write(tmp_path / name, 0.3 * np.sin(np.arange(1600) * rate), 16_000)
        rows = [
            text_row(n, premise=None, modality="audio", audio=Clip(tmp_path / names[n], names[n])) for n in range(2)
        ]
        write_config(umui, "c", {"train": [Draft(row["id"], row) for row in rows]}, PLAN, overwrite=True)
        return rows_of(umui, "c")

    asked = [question(row) for row in build(0.1, 0.2).values()]
    lines = [line(n, *[said] * 3, question=asked[n]) for n, said in enumerate((0.8, 0.3))]
    answers = write_lines(tmp_path / "a.jsonl", *lines)
    build(0.2, 0.1)
    label(umui, answers)
    assert [row["probability"] for row in rows_of(umui, "c-teacher").values()] == pytest.approx([0.3, 0.8])
    build(0.5, 0.2)
    label(umui, answers, "--overwrite")
    new = [(row["probability"], row["probability_source"]) for row in rows_of(umui, "c-teacher").values()]
    assert new == [(0.0, "label"), (pytest.approx(0.3), "teacher")]
    build(0.5, 0.6)
    with pytest.raises(
        SystemExit, match="not one row of c, train can be labelled: 2 not answered. Rows that were edite"
    ):
        label(umui, answers, "--overwrite")


def test_another_split_or_config_may_use_the_answers(dataset, tmp_path):
    """Of a renamed config, whose rows also moved to another split, the answers are still those to its questions."""
    row = text_row(3) | {"id": "moved"}
    write_config(dataset, "new", {"validation": [Draft("moved", row)]}, PLAN)
    answers = write_lines(tmp_path / "a.jsonl", line(3, 0.2, 0.2, 0.2))
    main(f"--dataset {dataset} --dataset-config new --answers {answers} --splits validation".split())
    assert rows_of(dataset, "new-teacher", "validation")["moved"]["probability"] == pytest.approx(0.2)


def test_answers_that_do_not_say_to_what_are_refused(dataset, tmp_path):
    """Lines as older versions wrote them, with ids alone, label nothing: the error names the line and what to do."""
    old = line(1, 0.3, 0.3, 0.3)
    del old["question"]
    for lines in ([old], [ANSWERS[0], old]):
        with pytest.raises(SystemExit, match=r"a.jsonl line \d doesn't say what was asked.*Ask the teacher anew"):
            label(dataset, write_lines(tmp_path / "a.jsonl", *lines))
    assert not (dataset / "c-teacher").exists()


def test_answers_of_two_teachers_are_not_mixed(tmp_path):
    """Shards put together are read if they were asked for alike; else the first line that differs is named."""
    write_lines(tmp_path / "a/0.jsonl", *ANSWERS[:2])
    write_lines(tmp_path / "a/1.jsonl", ANSWERS[2])
    assert len(read_answers(tmp_path / "a")) == 3
    other = ANSWERS[2] | {"settings": "of another teacher"}
    untold = {name: value for name, value in ANSWERS[2].items() if name != "settings"}
    for one in (other, untold):
        write_lines(tmp_path / "a/1.jsonl", one)
        with pytest.raises(
            InputError, match="1.jsonl line 1: was asked for with other settings than .*0.jsonl line 1"
        ):
            read_answers(tmp_path / "a")


def test_a_split_or_folder_that_is_not_there_is_named(tmp_path):
    """Asking for what isn't there is an error before anything is read; no folder is looked for elsewhere."""
    answers = write_lines(tmp_path / "a.jsonl", *ANSWERS)
    with pytest.raises(SystemExit, match="umui/c/build.json is missing"):
        label(tmp_path / "umui", answers)
    write_config(tmp_path / "umui", "c", {"test": [Draft("r", text_row(1, "test"))]}, PLAN)
    with pytest.raises(SystemExit, match="c has no split train: it has test"):
        label(tmp_path / "umui", answers)


def test_shards_are_read_together(tmp_path):
    """A folder's plain and packed shards give the answers of one file with all their lines, in order."""
    write_lines(tmp_path / "all.jsonl", *ANSWERS)
    write_lines(tmp_path / "folder/00000.jsonl", *ANSWERS[:4])
    write_lines(tmp_path / "folder/00001.jsonl.gz", *ANSWERS[4:])
    write_lines(tmp_path / "folder/logs/00000.jsonl", ANSWERS[0])
    (tmp_path / "folder/asked.json").write_text("{}")
    one, many = read_answers(tmp_path / "all.jsonl"), read_answers(tmp_path / "folder")
    for read in (one, many):
        assert [(pair.config, pair.split, pair.id, pair.question) for pair in read] == [
            tuple(each[name] for name in ("config", "split", "id", "question")) for each in ANSWERS
        ]
    assert [pair.parsed for pair in one] == [pair.parsed for pair in many]
    assert many[4].place.endswith("00001.jsonl.gz line 1")
    assert one[2].valid == [0.9, 0.8]


def test_a_pair_answered_twice_names_both_places(tmp_path):
    """The same pair in two shards is an error that names file and line of each; in another split it is another."""
    write_lines(tmp_path / "a/0.jsonl", ANSWERS[0], ANSWERS[1])
    write_lines(tmp_path / "a/1.jsonl", ANSWERS[2], ANSWERS[8], line(1, 0.3))
    with pytest.raises(InputError) as error:
        read_answers(tmp_path / "a")
    assert "a/1.jsonl line 3: ('c', 'train', 'train-1') was answered before" in str(error.value)
    assert "a/0.jsonl line 2" in str(error.value)


BAD_LINES = {
    "no JSON": '{"id": "x"',
    "no JSON object": "[1]",
    "id must be a non-empty string": json.dumps(line(0, 0.1) | {"id": 7}),
    "split must be a non-empty string": '{"id": "x", "config": "c", "answers": []}',
    "question must be a non-empty string, got 7": json.dumps(line(0, 0.1, question=7)),
    "answers must be a list with at least one answer": json.dumps(line(0)),
    "answer 2: probability must be null or a number from 0 to 1, got 1.5": json.dumps(line(0, 0.1, 1.5)),
    "got nan": json.dumps(line(0, float("nan"))),
    "got True": json.dumps(line(0, True)),
    "answer 1: has neither a probability nor a reason": json.dumps(line(0, "")),
    "answer 1: has a probability and a reason": json.dumps(
        line(0, answers=[{"text": "", "probability": 0.1, "reason": "a range"}])
    ),
    "answer 1: must be an object with a probability": json.dumps(line(0, answers=[{"text": "0.5"}])),
}


def test_all_bad_lines_are_named(tmp_path):
    """One error for all of them, with file and line number; good lines between them don't hide any."""
    lines = [text for bad in BAD_LINES.values() for text in (json.dumps(line(len(bad), 0.5)), bad)]
    (tmp_path / "a.jsonl").write_text("\n".join(dict.fromkeys(lines)) + "\n")
    numbers = {bad: list(dict.fromkeys(lines)).index(bad) + 1 for bad in BAD_LINES.values()}
    with pytest.raises(InputError) as error:
        read_answers(tmp_path / "a.jsonl")
    told = str(error.value).splitlines()
    assert f"{len(BAD_LINES)} bad lines" in told[0]
    for complaint, bad in BAD_LINES.items():
        assert any(f"a.jsonl line {numbers[bad]}: " in one and complaint in one for one in told), complaint


def test_an_unfinished_line_is_told_as_such(tmp_path):
    """A shard that is still written to, or was cut off, is never read as if it were whole."""
    text = json.dumps(ANSWERS[0]) + "\n" + json.dumps(ANSWERS[1])
    (tmp_path / "a.jsonl").write_text(text[:-9])
    with pytest.raises(InputError, match=r"line 2: is no JSON.*the line has no end"):
        read_answers(tmp_path / "a.jsonl")
    packed = gzip.compress(text.encode())
    (tmp_path / "b.jsonl.gz").write_bytes(packed[:-12])
    with pytest.raises(InputError, match="b.jsonl.gz line [123]: can't be read"):
        read_answers(tmp_path / "b.jsonl.gz")
    (tmp_path / "c.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(InputError, match="can't be read"):
        read_answers(tmp_path / "c.jsonl.gz")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("none.jsonl", "there is no file"), ("a.csv", "must end in .jsonl"), ("empty.jsonl", "holds no answers")]
    + [("folder", "holds no file that ends in .jsonl")],
)
def test_files_without_answers_are_refused(tmp_path, name, complaint):
    """Nothing is labelled by nothing."""
    for file in ("a.csv", "empty.jsonl"):
        (tmp_path / file).write_text("\n")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=complaint):
        read_answers(tmp_path / name)
