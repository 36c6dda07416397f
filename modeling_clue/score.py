# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Judges a file of items, as a step of somebody's pipeline does: no labels, any number of them, each once.

```bash
python -m modeling_clue.score --model runs/small/clue-small --input items.jsonl --output answers.jsonl
python -m modeling_clue.score --model clue-3b --input claims.jsonl --media-root videos --output 3.jsonl --shard 3/8
```

A line of the input is an item: its premise as `text`, `audio`, `video` or `image` (a path; with `"modality":
"audiovisual"` a video is played with its sound; with `start` and `end`, in seconds, a part of a clip is meant) or as
`parts`, a list of these in order; its `hypothesis` or `hypotheses`, and an `id` if it has one. CRAFT's items,
`video_id` and `claim`, are read too: the video is the file of that name below `--media-root`.

Items about one premise are judged together wherever they stand, and its clip is decoded once. A line of the output is
an item's answer, in the order of the input: `probability`, `standard_deviation`, `interval`, `modality` and `notes`
(what was cut or thinned), or `answers` with these for each of several hypotheses, or the `error` that kept it from an
answer. What is judged is on disk, in `OUTPUT.partial`, before the next batch; the same command goes on after a kill.
The exit status is 1 if any item has no answer.

With `--window SECONDS` a clip that is longer is judged window by window: `windows` has the answer about each, and the
item that of the `window` in which its hypothesis is most probable. This is the greatest of many numbers, and no
calibrated probability that the hypothesis holds somewhere in the clip: it leans upwards the more windows there are.
Clips in `parts` are not cut: such an item is judged as a whole, and its notes say so.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b, file_digest
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoConfig

from .auto import BACKBONES
from .checkpoint_parts import load_whole, read
from .command_line import exit_on_error
from .configuration_clue import CLUEFields
from .pipeline_clue import UncertainInferencePipeline, read_input
from .windows import check_window, encode_windows


MEDIA_KEYS = ("audio", "video", "image")
PREMISE_KEYS = ("text", "premise", *MEDIA_KEYS, "modality", "parts", "start", "end")
HYPOTHESIS_KEYS = ("hypothesis", "hypotheses", "claim")
CRAFT_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi")
ANSWER_KEYS = ("probability", "standard_deviation", "interval", "conformal_interval", "novelty", "modality", "notes")


@dataclass(frozen=True)
class Item:
    """A line of the input that can be judged."""

    line: int
    id: Any
    premise: dict
    hypotheses: list[str]
    several: bool  # whether it gave a list of hypotheses, and gets a list of answers

    @property
    def key(self) -> bytes:
        """Returns a digest of the premise, the same for all items about it."""
        return blake2b(json.dumps(self.premise, sort_keys=True).encode(), digest_size=16).digest()


class BadItem(ValueError):
    """A line that is no item, with its place and its id, if it has one."""

    def __init__(self, line: int, id: Any, message: str):
        super().__init__(message)
        self.line, self.id = line, id


def read_item(line: int, text: bytes, media_root: Path | None) -> Item:
    """Reads a line of the input; raises a [`BadItem`] that says what is wrong with it."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadItem(line, None, f"is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise BadItem(line, None, f"must be a JSON object, got {type(record).__name__}")
    name = next((record[key] for key in ("id", "claim_id", "video_id") if key in record), None)
    try:
        premise = _checked(record, media_root)
        if "video_id" in record and not premise.keys() & {"text", "parts", *MEDIA_KEYS}:
            premise |= _checked({"video": _craft_video(record["video_id"], media_root)}, media_root)
        if "image" in premise:
            premise = {"parts": [premise]}
        asked = {key: record[key] for key in HYPOTHESIS_KEYS if record.get(key) is not None}
        if "claim" in asked:
            asked["hypothesis"] = asked.pop("claim")
        _, hypotheses = read_input(premise | asked)
    except ValueError as error:
        raise BadItem(line, name, str(error)) from error
    return Item(line, name, premise, hypotheses, "hypotheses" in asked)


def _checked(premise: dict, media_root: Path | None) -> dict:
    """Returns a premise, or a part of one, in one form: texts are texts, and clips and pictures where they may be."""
    found = {key: premise[key] for key in PREMISE_KEYS if premise.get(key) is not None}
    if "premise" in found:
        # Nothing else: a path within it would pass by the media root.
        given = found.pop("premise")
        found["parts" if isinstance(given, list) else "text"] = given
    if "text" in found and not isinstance(found["text"], str):
        raise ValueError(f"the text of a premise must be a string, got {type(found['text']).__name__}")
    if "parts" in found:
        if not isinstance(found["parts"], list) or not all(isinstance(part, dict) for part in found["parts"]):
            raise ValueError("parts must be a list of objects")
        found["parts"] = [_checked(part, media_root) for part in found["parts"]]
    return found | {key: str(_path(found[key], key, media_root)) for key in MEDIA_KEYS if key in found}


def _path(path: object, key: str, media_root: Path | None) -> Path:
    """Returns where a clip is: below the media root, if there is one, and nowhere else."""
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise ValueError(f"{key} must be the path of a clip, got {path!r:.80}")
    if media_root is None:
        return Path(path)
    root = media_root.resolve()
    found = (root / path).resolve()
    if not found.is_relative_to(root):
        raise ValueError(f"{key} {path!r:.200} leads out of --media-root")
    return found


def _craft_video(video_id: object, media_root: Path | None) -> str:
    """Returns the file of CRAFT's `video_id` below the media root."""
    if media_root is None:
        raise ValueError("has a video_id: pass --media-root, the folder with its video")
    if not isinstance(video_id, str) or PurePosixPath(video_id).name != video_id:
        raise ValueError(f"video_id must be a name without folders, got {video_id!r:.80}")
    if PurePosixPath(video_id).suffix.lower() in CRAFT_SUFFIXES:
        return video_id
    there = [video_id + suffix for suffix in CRAFT_SUFFIXES if (media_root / (video_id + suffix)).is_file()]
    return there[0] if there else video_id + CRAFT_SUFFIXES[0]


def read_lines(path: Path, done: set[int] = frozenset()) -> Iterator[tuple[int, int, bytes]]:
    """Yields number, offset and text of the lines that are not blank, and not `done`."""
    with path.open("rb") as file:
        offset = 0
        for number, text in enumerate(file, 1):
            if text.strip() and number not in done:
                yield number, offset, text
            offset += len(text)


@dataclass
class Piece:
    """What is judged at once: a premise, or a window of it, with all hypotheses about it; or what is wrong with it."""

    items: list[Item]
    inputs: dict | ValueError
    window: tuple[float, float] | None = None
    last: bool = True  # of its premise


# The answers about a piece by their hypotheses, or what is wrong with it.
Answers = dict[str, dict] | ValueError
# Of each item about it, in their order: to all hypotheses about its premise, or to its own alone.
Found = list[Answers]


@dataclass
class Judge:
    """Judges the items of a file, premise by premise.

    Args:
        clue ([`UncertainInferencePipeline`]): the model.
        source (`Path`): the items.
        media_root (`Path`, *optional*): the folder that their paths start from and can't leave.
        shard (`tuple[int, int]`): which part of how many; all items of a premise are in one.
        batch_size (`int`): premises, or windows of them, judged together.
        done (`set[int]`): lines that have been judged.
        window (`float`, *optional*): longer clips are judged in windows of so many seconds.
    """

    clue: UncertainInferencePipeline
    source: Path
    media_root: Path | None = None
    shard: tuple[int, int] = (1, 1)
    batch_size: int = 4
    done: set[int] = frozenset()
    window: float | None = None
    # What was found in the windows of the premise that is being judged.
    _windows: list[tuple[tuple[float, float] | None, Found]] = field(default_factory=list, init=False)

    def plan(self) -> tuple[list[list[int]], list[BadItem], int]:
        """Returns the offsets of the lines about each premise, in the order of the first, with the numbers of these
        lines alone in memory; the lines that are no items; and how many lines there are to judge."""
        groups: dict[bytes, list[int]] = {}
        bad, number = [], 0
        part, parts = self.shard
        for line, offset, text in read_lines(self.source, self.done):
            try:
                key = read_item(line, text, self.media_root).key
            except BadItem as error:
                if line % parts == part - 1:
                    bad.append(error)
                continue
            if int.from_bytes(key, "big") % parts == part - 1:
                groups.setdefault(key, []).extend((line, offset))
                number += 1
        return list(groups.values()), bad, number + len(bad)

    def answers(self, groups: list[list[int]], bad: list[BadItem]) -> Iterator[list[dict]]:
        """Yields the answers of a batch at a time; the next one is decoded meanwhile."""
        if bad:
            yield [_error(item, item) for item in bad]
        pieces = self._pieces(groups)
        with ThreadPoolExecutor(1) as ahead:
            waiting = ahead.submit(self._take, pieces)
            while batch := waiting.result():
                waiting = ahead.submit(self._take, pieces)
                if answers := self._judge(batch):
                    yield answers

    def _take(self, pieces: Iterator[Piece]) -> list[Piece]:
        """Decodes a batch."""
        return list(islice(pieces, self.batch_size))

    def _pieces(self, groups: list[list[int]]) -> Iterator[Piece]:
        """Yields the premises of the items, or the windows of each, decoded; or what is wrong with one."""
        with self.source.open("rb") as file:
            for places in groups:
                items = []
                for line, offset in zip(places[::2], places[1::2], strict=True):
                    file.seek(offset)
                    items.append(read_item(line, file.readline(), self.media_root))
                # A hypothesis that several items ask about is judged once.
                hypotheses = list(dict.fromkeys(text for item in items for text in item.hypotheses))
                premise = items[0].premise
                try:
                    if self.window is None:
                        yield Piece(items, self.clue.preprocess(premise | {"hypotheses": hypotheses}))
                        continue
                    for window in encode_windows(self.clue.processor, premise, self.window):
                        inputs = {"premise": window.premise, "hypotheses": hypotheses}
                        yield Piece(items, inputs, window.bounds, window.last)
                except (ValueError, OSError) as error:
                    yield Piece(items, ValueError(str(error)))

    def _judge(self, batch: list[Piece]) -> list[dict]:
        """Judges a batch, and answers the items about each premise that is then judged as a whole."""
        answers = []
        for piece, found in zip(batch, self._find(batch), strict=True):
            self._windows.append((piece.window, found))
            if piece.last:
                for place, item in enumerate(piece.items):
                    answers.append(_answer(item, [(window, found[place]) for window, found in self._windows]))
                self._windows = []
        return answers

    def _find(self, batch: list[Piece]) -> list[Found]:
        """Judges a batch together; where one item spoils it for all, each item by itself."""
        good = [piece.inputs for piece in batch if not isinstance(piece.inputs, ValueError)]
        try:
            judged = iter(self.clue.forward(good) if good else ())
        except ValueError:
            return [[self._find_item(item, piece.inputs) for item in piece.items] for piece in batch]
        results = []
        for piece in batch:
            failed = isinstance(piece.inputs, ValueError)
            results.append([piece.inputs if failed else self._answers_to(next(judged))] * len(piece.items))
        return results

    def _answers_to(self, judged: dict) -> Answers:
        return {answer["hypothesis"]: answer for answer in self.clue.postprocess(judged)}

    def _find_item(self, item: Item, inputs: dict | ValueError) -> Answers:
        if isinstance(inputs, ValueError):
            return inputs
        try:
            (judged,) = self.clue.forward([inputs | {"hypotheses": item.hypotheses}])
            return self._answers_to(judged)
        except ValueError as error:
            return error


def _answer(item: Item, windows: list[tuple[tuple[float, float] | None, Answers]]) -> dict:
    """Returns the line of an item from what was found about its premise as a whole, or in each window of it."""
    failed = [found for _, found in windows if isinstance(found, ValueError)]
    if failed:
        return _error(item, failed[0])
    answers = []
    for text in item.hypotheses:
        about = []
        for window, found in windows:
            answer = found[text]
            place = {} if window is None else {"start": window[0], "end": window[1]}
            about.append(place | {key: answer[key] for key in ANSWER_KEYS if key in answer})
        answers.append({"hypothesis": text, **(about[0] if windows[0][0] is None else _most_probable(about))})
    return {"line": item.line, "id": item.id, **({"answers": answers} if item.several else answers[0])}


def _most_probable(windows: list[dict]) -> dict:
    """Returns the answer about the window in which a hypothesis is most probable, with those about all."""
    best = max(windows, key=lambda window: window["probability"])
    answer = {key: value for key, value in best.items() if key not in ("start", "end")}
    return answer | {"window": [best["start"], best["end"]], "windows": windows}


def _error(item: Item | BadItem, error: ValueError) -> dict:
    """Returns the line of an item that has no answer."""
    return {"line": item.line, "id": item.id, "error": str(error)}


# --- what is on disk ------------------------------------------------------------------------------


def open_journal(path: Path, settings: dict) -> set[int]:
    """Makes the file of what was judged, or reads the lines in it; what a kill left half written is cut off.

    Raises:
        ValueError: if it was begun with other settings.
    """
    begun: dict | None = None
    done: set[int] = set()
    end = 0
    with path.open("ab+") as file:
        file.seek(0)
        for text in file:
            if not text.endswith(b"\n"):
                break
            end += len(text)
            record = json.loads(text)
            if begun is None:
                begun = record["settings"]
            else:
                done.add(record["line"])
        file.truncate(end)
        if begun is None:
            file.write(json.dumps({"settings": settings}).encode() + b"\n")
            return done
    differ = [f"{name} was {begun.get(name)}" for name, value in settings.items() if begun.get(name) != value]
    if differ:
        raise ValueError(f"'{path}' was begun with other settings ({'; '.join(differ)}): give another --output.")
    return done


def finish(journal: Path, output: Path) -> tuple[int, int]:
    """Writes the output, in the order of the input; returns how many items there are, and how many without answer."""
    places, failed = {}, 0
    for _, offset, text in read_lines(journal):
        record = json.loads(text)
        if "line" in record:
            places[record["line"]] = offset
            failed += "error" in record
    partial = output.with_name(f".{output.name}.writing")
    with journal.open("rb") as source, partial.open("wb") as target:
        for line in sorted(places):
            source.seek(places[line])
            target.write(source.readline())
    partial.replace(output)
    journal.unlink()
    return len(places), failed


def identity(model: str) -> str:
    """Returns what tells a checkpoint from what it was before: its commit on the Hub, or the sizes and times of its
    files."""
    if not Path(model).is_dir():
        return str(read(AutoConfig, model)._commit_hash)
    files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(Path(model).iterdir())]
    return blake2b(json.dumps(files).encode(), digest_size=16).hexdigest()


def load(model: str) -> UncertainInferencePipeline:
    """Loads a checkpoint by this package's code, onto a GPU if there is one."""
    config = read(AutoConfig, model)
    if not isinstance(config, CLUEFields):
        raise ValueError(f"'{model}' is a {config.model_type} checkpoint: items are judged by one of CLUE.")
    model_class, processor_class = next(rest for first, *rest in BACKBONES.values() if first is type(config))
    device = 0 if torch.cuda.is_available() else -1
    return UncertainInferencePipeline(
        load_whole(model_class, model), processor=read(processor_class, model), device=device
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m modeling_clue.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="folder or Hub repository of a CLUE checkpoint")
    parser.add_argument("--input", type=Path, required=True, help="the items, JSON lines")
    parser.add_argument("--output", type=Path, required=True, help="file to write; it must not exist yet")
    parser.add_argument("--media-root", type=Path, help="folder that paths of clips start from, and can't leave")
    parser.add_argument("--shard", type=_shard, default=(1, 1), metavar="K/N", help="judge part K of N (default: 1/1)")
    parser.add_argument("--batch-size", type=int, default=4, help="premises or windows judged together (default: 4)")
    parser.add_argument(
        "--window",
        type=_window,
        metavar="SECONDS",
        help="judge longer clips in windows of this length (default: whole)",
    )
    options = parser.parse_args(arguments)
    if options.batch_size < 1:
        parser.error(f"--batch-size must be at least 1, got {options.batch_size}")
    if options.output.exists():
        raise FileExistsError(f"'{options.output}' exists already: remove it, or write elsewhere with --output.")
    with options.input.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    clue = load(options.model)
    settings = {"model": options.model, "weights": identity(options.model), "input": digest}
    settings |= {"media_root": options.media_root and str(options.media_root), "shard": list(options.shard)}
    settings["window"] = options.window
    journal = options.output.with_name(f"{options.output.name}.partial")
    judge = Judge(clue, options.input, options.media_root, options.shard, options.batch_size, window=options.window)
    judge.done = open_journal(journal, settings)
    groups, bad, number = judge.plan()
    bar = tqdm(total=number + len(judge.done), initial=len(judge.done), desc="Judging", unit="item")
    with journal.open("a", encoding="utf-8") as file, bar:
        for answers in judge.answers(groups, bad):
            file.write("".join(json.dumps(answer) + "\n" for answer in answers))
            file.flush()
            bar.update(len(answers))
    count, failed = finish(journal, options.output)
    print(f"Wrote {options.output}: {count - failed:,} of {count:,} items have an answer.")
    if failed:
        print(f"{failed:,} have an error in the place of one.", file=sys.stderr)
    return int(failed > 0)


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"must be K/N with K from 1 to N, got {text!r}")
    return int(part), int(parts)


def _window(text: str) -> float:
    try:
        seconds = float(text)
        check_window(seconds)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, at least 1, got {text!r}") from error
    return seconds


if __name__ == "__main__":
    with exit_on_error():
        sys.exit(main())
