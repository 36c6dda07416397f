"""Items judged in bulk: the pipeline's answers, each once, in the order of the input, whatever happens in between."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from modeling_clue import processing_clue, score
from modeling_clue.score import Judge, load, main, read_item
from tests.launching import run


HYPOTHESES = ["The ball is red.", "It is neither red nor blue.", "A random sound is high or low."]


def write_items(path, items: list) -> None:
    """Writes JSON lines; a text is a line as it is."""
    path.write_text("".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in items))


def read_answers(path) -> list[dict]:
    """The lines of an output."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def items(clips, tmp_path):
    """Items about four premises, scattered, and a blank line among them."""
    for name, clip in (("a.wav", clips.sound), ("deep/b.mp4", clips.silent), ("c.mp4", clips.talkie)):
        (tmp_path / "media" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, tmp_path / "media" / name)
    found = [
        {"id": "s1", "audio": "a.wav", "hypothesis": HYPOTHESES[0]},
        {"id": 7, "text": "An urn holds 3 red balls.", "hypotheses": HYPOTHESES},
        {"id": "v1", "video": "deep/b.mp4", "hypothesis": HYPOTHESES[1]},
        " ",
        {"audio": "./a.wav", "hypothesis": HYPOTHESES[1]},
        {"id": "av", "video": "c.mp4", "modality": "audiovisual", "hypotheses": HYPOTHESES[:2]},
        {"video_id": "c", "claim": HYPOTHESES[0]},
        {"id": "s1", "audio": "a.wav", "hypothesis": HYPOTHESES[0]},
    ]
    write_items(tmp_path / "items.jsonl", found)
    return [item for item in found if isinstance(item, dict)]


def options(tiny_checkpoint, tmp_path, *more) -> list[str]:
    """A command line."""
    given = ("--input", tmp_path / "items.jsonl", "--output", tmp_path / "answers.jsonl")
    return [str(part) for part in ("--model", tiny_checkpoint, *given, "--media-root", tmp_path / "media", *more)]


def counting(call, counter: Counter):
    """A function that counts what it is called with."""

    def counted(source, **options):
        counter[str(source)] += 1
        return call(source, **options)

    return counted


def test_answers_are_the_pipelines(tiny_checkpoint, items, tmp_path, monkeypatch):
    """Of every item, in the order of the input; each clip is decoded once, however many items are about it."""
    decoded = Counter()
    for name in ("load_audio", "load_video"):
        monkeypatch.setattr(processing_clue, name, counting(getattr(processing_clue, name), decoded))
    assert main(options(tiny_checkpoint, tmp_path, "--batch-size", "2")) == 0
    found = read_answers(tmp_path / "answers.jsonl")
    # As a video with sound, and as one without, a clip is two premises.
    media = tmp_path / "media"
    assert decoded == {str(media / "a.wav"): 1, str(media / "deep/b.mp4"): 1, str(media / "c.mp4"): 3}
    monkeypatch.undo()
    clue = load(str(tiny_checkpoint))
    assert [answer["line"] for answer in found] == [1, 2, 3, 5, 6, 7, 8]
    for item, answer in zip(items, found, strict=True):
        assert answer["id"] == item.get("id", item.get("video_id"))
        premise = {key: item[key] for key in ("text", "audio", "video", "modality") if key in item}
        if "video_id" in item:
            premise = {"video": "c.mp4"}
        premise |= {key: str(media / premise[key]) for key in ("audio", "video") if key in premise}
        hypotheses = item.get("hypotheses") or [item.get("hypothesis") or item["claim"]]
        wanted = clue(premise | {"hypotheses": hypotheses})
        given = answer["answers"] if "hypotheses" in item else [answer]
        for one, other in zip(given, wanted, strict=True):
            assert one["hypothesis"] == other["hypothesis"]
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)
            assert one["interval"] == pytest.approx(other["interval"], abs=1e-5)
            assert (one["modality"], one["notes"]) == (other["modality"], other["notes"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "items.jsonl", "media"]
    with pytest.raises(FileExistsError, match="exists already"):
        main(options(tiny_checkpoint, tmp_path))


def stop_after(monkeypatch, batches: int) -> None:
    """Ends a run when so many batches are on disk."""
    answers = Judge.answers

    def stopped(judge, groups, bad):
        for number, batch in enumerate(answers(judge, groups, bad)):
            if number == batches:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(Judge, "answers", stopped)


def test_it_goes_on_where_it_was_stopped(tiny_checkpoint, items, tmp_path, monkeypatch):
    """Between batches, and within a line: what was judged is not judged again, and the output is the same; another
    input or shard is refused."""
    command = options(tiny_checkpoint, tmp_path, "--batch-size", "1")
    assert main(command) == 0
    whole = read_answers(tmp_path / "answers.jsonl")
    (tmp_path / "answers.jsonl").unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 2)
        main(command)
    journal = tmp_path / "answers.jsonl.partial"
    # The settings, three items about the sound, and one about the text.
    assert len(journal.read_text().splitlines()) == 1 + 4 and not (tmp_path / "answers.jsonl").exists()
    with pytest.raises(ValueError, match="begun with other settings .shard was .1, 1."):
        main([*command, "--shard", "1/2"])
    with pytest.raises(ValueError, match="media_root was"):
        main([*command, "--media-root", str(tmp_path)])
    config = Path(tiny_checkpoint, "config.json")
    times = config.stat()
    os.utime(config, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    with pytest.raises(ValueError, match="begun with other settings .weights was"):
        main(command)
    os.utime(config, ns=(times.st_atime_ns, times.st_mtime_ns))
    with journal.open("a") as file:
        file.write('{"line": 3, "id"')
    judged, judge_batch = [], Judge._judge
    with monkeypatch.context() as patch:
        patch.setattr(Judge, "_judge", lambda self, prepared: judge_batch(self, judged.append(prepared) or prepared))
        assert main(command) == 0
    again = read_answers(tmp_path / "answers.jsonl")
    assert len(judged) == 3 and [one["line"] for one in again] == [one["line"] for one in whole]
    assert [one.get("probability") for one in again] == pytest.approx([one.get("probability") for one in whole])
    (tmp_path / "answers.jsonl").unlink()
    journal.write_text('{"settings": {"model"')  # killed within its first line
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 1)
        main(command)
    write_items(tmp_path / "items.jsonl", items[:3])
    with pytest.raises(ValueError, match="begun with other settings .input was"):
        main(command)


@pytest.mark.processes
def test_it_goes_on_after_a_kill(tiny_checkpoint, tmp_path):
    """A process that is killed for good leaves what it judged, and the next one judges the rest: each item once."""
    texts = [f"An urn holds {number} red balls." for number in range(240)]
    write_items(tmp_path / "items.jsonl", [{"text": text, "hypothesis": HYPOTHESES[0]} for text in texts])
    command = ["-m", "modeling_clue.score", *options(tiny_checkpoint, tmp_path), "--batch-size", "8"]
    journal = tmp_path / "answers.jsonl.partial"
    with subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < 20):
            time.sleep(0.01)
        process.kill()
    judged = journal.read_bytes().count(b"\n") - 1
    assert 16 <= judged < 240
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert [answer["line"] for answer in read_answers(tmp_path / "answers.jsonl")] == list(range(1, 241))


def test_shards_are_the_whole(tiny_checkpoint, items, tmp_path):
    """Each item is in one of them, with all the others about its premise."""
    found = {}
    for part in (1, 2, 3):
        command = options(tiny_checkpoint, tmp_path, "--shard", f"{part}/3")
        main([*command, "--output", str(tmp_path / f"{part}.jsonl")])
        found[part] = [answer["line"] for answer in read_answers(tmp_path / f"{part}.jsonl")]
    assert sorted(sum(found.values(), [])) == [1, 2, 3, 5, 6, 7, 8]
    assert [part for part, lines in found.items() if 1 in lines and {1, 5, 8} <= {*lines}]


def test_a_bad_item_is_an_entry_with_its_reason(tiny_checkpoint, items, tmp_path, capsys):
    """Counted, with an exit status that says so; the others are judged as ever."""
    bad = {
        '{"id": 1': "is no JSON",
        "[]": "must be a JSON object, got list",
        '{"id": 2, "text": "An urn."}': "needs 'hypotheses'",
        '{"id": 3, "text": "An urn.", "hypotheses": []}': "is empty",
        '{"id": 4, "hypothesis": "It is red."}': "premise",
        '{"id": 5, "audio": "../items.jsonl", "hypothesis": "It is red."}': "leads out of --media-root",
        '{"id": 6, "audio": "/etc/hostname", "hypothesis": "It is red."}': "leads out of --media-root",
        '{"id": 7, "video": 7, "hypothesis": "It is red."}': "must be the path of a clip, got 7",
        '{"id": 8, "audio": "none.wav", "hypothesis": "It is red."}': "none.wav",
        '{"id": 9, "image": "a.png", "hypothesis": "It is red."}': "a.png cannot be opened",
        '{"id": 11, "parts": [{"audio": "/etc/hostname"}], "hypothesis": "It is red."}': "leads out of --media-root",
        '{"id": 13, "premise": {"audio": "/etc/hostname"}, "hypothesis": "It is red."}': "must be a string, got dict",
        '{"id": 14, "parts": [{"premise": {"path": "/etc/hostname"}}], "hypothesis": "It is."}': "must be a string",
        '{"id": 12, "parts": ["An urn."], "hypothesis": "It is red."}': "parts must be a list of objects",
        '{"video_id": "../c", "claim": "It is red."}': "must be a name without folders",
        '{"id": 10, "video": "a.wav", "hypothesis": "It is red."}': "a.wav",
    }
    write_items(tmp_path / "items.jsonl", [*bad, items[0]])
    assert main(options(tiny_checkpoint, tmp_path)) == 1
    *found, good = read_answers(tmp_path / "answers.jsonl")
    for answer, (text, reason) in zip(found, bad.items(), strict=True):
        assert reason in answer["error"] and "probability" not in answer, text
    assert good["id"] == "s1" and 0 < good["probability"] < 1
    printed = capsys.readouterr()
    assert "1 of 17 items have an answer" in printed.out and "16 have an error" in printed.err


def test_one_hypothesis_spoils_it_for_no_other(tiny_checkpoint, items, tmp_path):
    """Half a character can't be tokenized: of all about the same clip, and of the batch, that item has no answer."""
    bad = {"id": "half", "audio": "a.wav", "hypothesis": "It is \ud800."}
    write_items(tmp_path / "items.jsonl", [*items, bad])
    assert main(options(tiny_checkpoint, tmp_path)) == 1
    *found, last = read_answers(tmp_path / "answers.jsonl")
    assert "Half a character" in last["error"] and last["id"] == "half"
    write_items(tmp_path / "items.jsonl", items)
    (tmp_path / "answers.jsonl").unlink()
    assert main(options(tiny_checkpoint, tmp_path)) == 0
    wanted = read_answers(tmp_path / "answers.jsonl")
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.get("probability", 0) == pytest.approx(other.get("probability", 0), abs=1e-6)


def test_only_a_clue_judges(tmp_path, tiny_checkpoint):
    """Another model is named; and CRAFT's items need to know where their videos are."""
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="is a bert checkpoint"):
        load(str(tmp_path))
    with pytest.raises(score.BadItem, match="pass --media-root"):
        read_item(1, b'{"video_id": "c", "claim": "It is red."}', None)
    with pytest.raises(SystemExit):
        main(options(tiny_checkpoint, tmp_path, "--shard", "3/2"))
