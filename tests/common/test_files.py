"""What a kill leaves of a file, of a lock and of a journal, in real processes; and what is told of lines."""

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import InputError
from common.files import differences, journal, locked, read_journal, read_objects, replacing, write_text
from tests.launching import wait_for


ROOT = Path(__file__).resolve().parents[2]


def start(code: str, *arguments: Path) -> subprocess.Popen:
    """A Python process that has run `code` up to where it prints a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import os, sys, time\nfrom common.files import *\n{code}", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "here\n"
    return process


def kill(process: subprocess.Popen) -> None:
    """Ends it at once, as a machine that goes away would."""
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()


def has_ended(process: int) -> bool:
    """Tells whether a process that is not a child of this one is there no more."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("before", [None, "before"])
@pytest.mark.processes
def test_a_killed_writer_leaves_the_file_as_it_was(before, tmp_path):
    """Half of the new file is nowhere under its name; the next writer is not hindered, and leaves nothing else."""
    file = tmp_path / "file.json"
    if before is not None:
        file.write_text(before)
    code = "with replacing(sys.argv[1]) as partial:\n    partial.write_text('half')\n    print('here', flush=True)\n"
    kill(start(f"{code}    time.sleep(60)", file))
    assert (file.read_text() if file.exists() else None) == before
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ([] if before is None else ["file.json"])
    write_text(file, "a\r\nb\n", synced=True)
    assert file.read_bytes() == b"a\r\nb\n" and list(tmp_path.iterdir()) == [file]


def test_texts_are_utf_8_everywhere(tmp_path, monkeypatch):
    """Whatever encoding the system prefers, and whatever stands in a server's words or a model's name."""
    monkeypatch.setattr("io.text_encoding", lambda encoding, stacklevel=2: encoding or "ascii")
    write_text(tmp_path / "report.md", "模型 αβ\n")
    assert (tmp_path / "report.md").read_bytes() == "模型 αβ\n".encode()


def test_a_failed_writer_leaves_nothing(tmp_path):
    """The earlier file stays, also another name that is linked to it; so it is with a folder."""
    file, other = tmp_path / "file", tmp_path / "other"
    write_text(file, "before")
    os.link(file, other)
    with pytest.raises(ZeroDivisionError), replacing(file) as partial:
        partial.write_text(f"half {1 / 0}")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "half").write_text(f"{1 / 0}")
    assert file.read_text() == "before" and sorted(tmp_path.iterdir()) == [file, other]
    write_text(file, "after")
    assert (file.read_text(), other.read_text()) == ("after", "before")
    with replacing(tmp_path / "folder") as partial:
        partial.mkdir()
    assert (tmp_path / "folder").is_dir()


@pytest.mark.processes
def test_a_lock_goes_with_its_process_and_not_with_its_launcher(tmp_path):
    """Another process is kept out, also when the one that started it was killed; a kill of the holder lets it in."""
    code = (
        "import subprocess\n"
        "child = 'import os, sys, time; from common.files import locked\\n'\n"
        "child += 'with locked(sys.argv[1], ValueError()): print(os.getpid(), flush=True); time.sleep(60)'\n"
        "started = subprocess.Popen([sys.executable, '-c', child, sys.argv[1]], stdout=subprocess.PIPE, text=True)\n"
        "open(sys.argv[2], 'w').write(started.stdout.readline())\n"
        "print('here', flush=True)\n"
        "time.sleep(60)"
    )
    lock = tmp_path / "lock"
    kill(start(code, lock, tmp_path / "pid"))
    taken = InputError("taken")
    for _ in range(2):
        with pytest.raises(InputError, match="taken"), locked(lock, taken):
            pytest.fail("two holders")
    holder = int((tmp_path / "pid").read_text())
    os.kill(holder, signal.SIGKILL)
    wait_for(lambda: has_ended(holder))
    with locked(lock, taken), pytest.raises(InputError, match="taken"), locked(lock, taken):
        pytest.fail("two holders")
    assert not lock.exists()


@pytest.mark.processes
def test_a_journal_goes_on_after_a_kill(tmp_path):
    """What was added is read, in order; the line that was not finished is neither read nor glued to the next."""
    file = tmp_path / "journal.jsonl"
    code = (
        "with journal(__import__('pathlib').Path(sys.argv[1])) as add:\n"
        "    add([{'n': 1}, {'n': '\\u2028\\ud800'}])\n"
        "    add([])\n"
        "    print('here', flush=True)\n"
        "    time.sleep(60)"
    )
    kill(start(code, file))
    kept = [{"n": 1}, {"n": "\u2028\ud800"}]
    for torn in (b"", b'{"n": ', b"3", b"\0" * 200_000):
        with file.open("ab") as lines:
            lines.write(torn)
        assert list(read_journal(file)) == kept
        with journal(file) as add:
            assert list(read_journal(file)) == kept
            add([{"n": len(kept)}])
        kept.append({"n": len(kept)})
    assert list(read_journal(file)) == kept
    file.write_bytes(b'{"n": 1}\n[]\n{"n": 2}\n')
    with pytest.raises(InputError, match="journal.jsonl line 2 is no JSON object: remove the line"):
        list(read_journal(file))


@pytest.mark.parametrize("name", ["lines.jsonl", "lines.jsonl.gz"])
def test_lines_are_told_by_their_numbers(name, tmp_path):
    """Empty lines count and say nothing; what is wrong with a line is said in its place, and the others are read."""
    lines = ['\ufeff{"a": "\u2028"}', "", " ", "[1]", '{"a": 1', "9" * 5000, "[" * 100_000, '{"b": 2}', '{"c"']
    content = "\n".join(lines).encode().replace(b"9999", b"\xff", 1)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    found = dict(read_objects(tmp_path / name))
    assert list(found) == [1, 4, 5, 6, 7, 8, 9]
    assert (found[1], found[8]) == ({"a": "\u2028"}, {"b": 2})
    assert (found[4], found[6]) == ("is no JSON object", "holds bytes that are no UTF-8")
    assert all(found[number].startswith("is no JSON: ") for number in (5, 7, 9))
    assert "has no end" in found[9] and "has no end" not in found[5]
    assert 9 not in dict(read_objects(tmp_path / name, whole_lines=True))


@pytest.mark.parametrize("content", [gzip.compress(b'{"a": 1}\n' * 100)[:-12], b"no gzip\n"], ids=["torn", "other"])
def test_a_compressed_file_that_is_torn_is_named(tmp_path, content):
    """What can't be unpacked is an error of reading, as any other that a disk may have."""
    (tmp_path / "torn.jsonl.gz").write_bytes(content)
    with pytest.raises(OSError, match="torn.jsonl.gz|gzipped"):
        list(read_objects(tmp_path / "torn.jsonl.gz"))


def test_differences_of_settings_are_told():
    """Each by its name, with both values; a name that is new or gone was, or is, nothing."""
    before = json.loads(json.dumps({"seed": 1, "name": "a\nb", "gone": 0.5, "same": [1]}))
    told = differences(before, {"name": "b", "seed": 1, "same": [1], "new": True})
    assert set(told.split("; ")) == {
        r"name was 'a\nb' and is 'b'",
        "new was None and is True",
        "gone was 0.5 and is None",
    }
    assert differences(before, dict(before)) == ""
