"""
Writes one config of the dataset from drafts of rows: checked, streamed, resumable, as a whole or not at all.

The config is made in `umui/.<config>.partial` and takes its place in one rename. A build that was killed, or stopped
because of bad rows, leaves that folder behind: the next build takes over the clips it holds. Rows are read anew, which
is quick. Memory is bounded: rows go to disk in groups, what was seen before is remembered on disk.
"""

import csv
import filecmp
import hashlib
import json
import os
import shutil
import sqlite3
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as pq
from datasets import Features, List, Value
from tqdm import tqdm

from common.errors import InputError
from datasets_scripts.building.clips import ClipError, store_clip
from datasets_scripts.building.drafts import Clip, Draft, Problem, stored_name
from datasets_scripts.building.folder import check_free, folder_lock, recover, replace_config
from datasets_scripts.building.ratio import choose, side_of
from datasets_scripts.schema import (
    CLIP_NAME_COLUMNS,
    FEATURES,
    MEDIA_COLUMNS,
    PART_CLIP_NAMES,
    PART_CLIPS,
    ROWS_FILE,
    SPLITS,
    one_form,
    row_complaint,
)
from modeling_clue.modalities import PART_COLUMNS


# The loader of media folders makes `audio` of `audio_file_name`; the one for text leaves names alone and wants `audio`
# itself. All columns are always there, so that a config has the same ones under either.
STORED_FEATURES = Features(
    FEATURES | dict.fromkeys(CLIP_NAME_COLUMNS, Value("string")) | {PART_CLIP_NAMES: List(Value("string"))}
)
ROWS_IN_A_GROUP = 10_000
CLIPS_AHEAD_A_WORKER = 4
ONE_PER_CENT = 0.01
PROBLEMS_SHOWN = 20
SQLITE_CACHE_KIB = 32 * 1024
# Beside `media/` while a split is being made: an empty file for each clip that was found good, and for what.
CHECKED = "checked"

Drafts = Iterable[Draft | Problem]
# A draft with its row and the hashes of its clips, or what is wrong with one of them.
Stored = tuple[Draft | Problem, dict | None, list[str] | ClipError]


@dataclass(frozen=True)
class Summary:
    """Counts what was written, and what was not."""

    splits: dict[str, dict[str, int]]  # `rows`, `premises` and `clips` of each
    skipped: dict[str, int]  # problems that were passed over, by kind


def write_config(
    out: Path,
    config: str,
    splits: dict[str, Drafts | Callable[[Path], Drafts]],
    plan: dict,
    *,
    overwrite: bool = False,
    on_error: str = "stop",
    workers: int = 1,
    ratio: float | None = None,
    seed: int = 0,
) -> Summary:
    """
    Writes one config as a whole, or nothing, and names it in the README.

    Splits are read from test to train: of a premise that is in two, training loses its rows.

    Args:
        out (`Path`): The dataset folder; made if it isn't there.
        config (`str`): The config's name.
        splits (`dict[str, Drafts | Callable[[Path], Drafts]]`): The drafts of each split, read once and in order; or a
            function that is given the split's folder in the making, writes clips into its `media/` and gives drafts.
        plan (`dict`): What determines the result (`source` and options), for `build.json`. An interrupted build with
            another plan is not resumed.
        overwrite (`bool`, *optional*, defaults to `False`): Whether an existing config is replaced.
        on_error (`str`, *optional*, defaults to `"stop"`): `"stop"` reports all problems and writes nothing, `"skip"`
            leaves them out and reports them. In either case the report is `<out>/<config>.problems.csv`.
        workers (`int`, *optional*, defaults to 1): Threads that check and copy clips.
        ratio (`float`, *optional*): Negatives for each positive in the training split; all there are if not given.
        seed (`int`, *optional*, defaults to 0): Draws the negatives.

    Raises:
        `InputError`: if a row, clip, split or ratio is no good, or the folder can't be written to.
    """
    check_free(out, config, overwrite)
    out.mkdir(parents=True, exist_ok=True)
    problems = out / f"{config}.problems.csv"
    with folder_lock(out):
        recover(out, config)
        with _resumed(out / f".{config}.partial", plan) as folder:
            with closing(_Report(folder / "problems.csv")) as report, closing(_Checks(folder, report)) as checks:
                for split in reversed(SPLITS):
                    if split in splits:
                        _write_split(folder / split, splits[split], checks, workers, config)
            (folder / "problems.csv").replace(problems)
            if not report.counts:
                problems.unlink()
            elif on_error == "stop":
                advice = f"All are in {problems}. Correct them, or pass --on-error skip to leave them out"
                raise InputError(f"{config} has {report}\n{advice}")
            if ratio is not None:
                _thin(folder / "train", ratio, seed)
            summary = Summary(_count(folder), dict(sorted(report.counts.items())))
            if 0 < _highest_answer(folder) <= ONE_PER_CENT:
                question = "were fractions taken as per cent?"
                print(f"warning: no probability in {config} is above {ONE_PER_CENT:.0%}: {question}", file=sys.stderr)
            _share_clips(out, folder)
            for marks in folder.glob(f"*/{CHECKED}"):
                shutil.rmtree(marks)
            provenance = json.dumps(_provenance(config, plan, ratio, summary), indent=2, default=str)
            (folder / "build.json").write_text(provenance + "\n", encoding="utf-8")
            (folder / "plan.json").unlink()
            replace_config(out, config, folder)
    return summary


@contextmanager
def _resumed(folder: Path, plan: dict) -> Iterator[Path]:
    """Yields the folder of an interrupted build of the same plan with nothing but its clips in it, or an empty one."""
    text = json.dumps(plan, sort_keys=True, default=str)
    file = folder / "plan.json"
    if folder.exists() and not (file.exists() and file.read_text(encoding="utf-8") == text):
        shutil.rmtree(folder)
    for other in list(folder.rglob("*")):
        if other.is_file() and other.parent.name not in ("media", CHECKED):
            other.unlink()
    folder.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    try:
        yield folder
    finally:
        if folder.exists() and not any(folder.glob("*/media/*")):
            shutil.rmtree(folder)


class _Report:
    """Collects problems in a CSV file, since there may be as many as rows, with counts and the first few in words."""

    def __init__(self, file: Path):
        self.counts: Counter[str] = Counter()
        self._shown: list[str] = []
        self._file = file.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(["place", "kind", "complaint"])

    def add(self, problem: Problem) -> None:
        self.counts[problem.kind] += 1
        self._writer.writerow([problem.place, problem.kind, problem.complaint])
        if len(self._shown) < PROBLEMS_SHOWN:
            self._shown.append(f"{problem.place}: {problem.complaint}")

    def close(self) -> None:
        self._file.close()

    def __str__(self) -> str:
        total = self.counts.total()
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.counts.items()))
        more = [f"and {total - len(self._shown)} more"] if total > len(self._shown) else []
        return "\n  ".join([f"{total} problem{'s' * (total != 1)} ({kinds}):", *self._shown, *more])


class DiskDict:
    """Keeps the first value of each key in a new database of SQLite, whose cache bounds the memory it takes."""

    def __init__(self, file: Path):
        file.unlink(missing_ok=True)
        self._file = file
        self._database = sqlite3.connect(file, isolation_level=None)
        # Nothing here outlives the process: no journal, no waiting for the disk.
        for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{SQLITE_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE map (key BLOB PRIMARY KEY, value TEXT) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def put_if_absent(self, key: str, value: str) -> str | None:
        """Stores `value` and returns `None`, or returns the value that is there and keeps it."""
        digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
        if self._database.execute("INSERT OR IGNORE INTO map VALUES (?, ?)", (digest, value)).rowcount:
            return None
        return self._database.execute("SELECT value FROM map WHERE key = ?", (digest,)).fetchone()[0]

    def __len__(self) -> int:
        return self._database.execute("SELECT COUNT(*) FROM map").fetchone()[0]

    def close(self) -> None:
        """Closes the database and removes its file."""
        self._database.close()
        self._file.unlink()


class _Checks:
    """Decides which drafts become rows: what fits the schema, was not there before, and is of no other split."""

    def __init__(self, folder: Path, report: _Report):
        self._pairs, self._ids, self._premises = self._seen = [
            DiskDict(folder / f"{name}.sqlite") for name in ("pairs", "ids", "premises")
        ]
        self._report = report

    def accept(self, draft: Draft | Problem, row: dict | None, contents: list[str] | ClipError, split: str) -> bool:
        """Returns whether the row may be written; what speaks against it goes to the report."""
        problem = draft if isinstance(draft, Problem) else self._problem(draft.place, row, contents, split)
        if problem is not None:
            self._report.add(problem)
        return problem is None

    def _problem(self, place: str, row: dict, contents: list[str] | ClipError, split: str) -> Problem | None:
        if wrong := row_complaint(row):
            return Problem(place, "row", wrong)
        if isinstance(contents, ClipError):
            return Problem(place, "media", str(contents))
        premise = json.dumps([row["modality"], *self._identity(row, contents, split)])
        first = self._premises.put_if_absent(premise, f"{split} {place}") or f"{split} "
        other, _, where = first.partition(" ")
        if other != split:
            return Problem(place, "split", f"its premise is that of {where}, in the {other} split")
        where = self._pairs.put_if_absent(premise + one_form(row["hypothesis"]), place)
        if where is not None:
            return Problem(place, "duplicate", f"the same premise and hypothesis as {where}")
        where = self._ids.put_if_absent(row["id"], place)
        if where is not None:
            return Problem(place, "duplicate", f"the same id as {where}: {row['id']!r}")
        return None

    @staticmethod
    def _identity(row: dict, contents: list[str], split: str) -> list:
        """Returns what tells premises of one modality apart."""
        # Clips are compared by content: one under two names is still one premise. Those that lie in the split's folder
        # already have no hash. Written in another way, in accents or white space, a text is the same.
        media = contents or [f"{split}/{name}" for name in _clips_of(row)]
        texts = [row["premise"]] if row["premise"] else [part["text"] for part in row["parts"] or []]
        kinds = [part["modality"] for part in row["parts"] or []]
        return [*kinds, *(one_form(text) for text in texts if text), *media]

    def close(self) -> None:
        for seen in self._seen:
            seen.close()


def _write_split(folder: Path, drafts, checks: _Checks, workers: int, config: str) -> None:
    for name in ("media", CHECKED):
        (folder / name).mkdir(parents=True, exist_ok=True)
    drafts = drafts(folder) if callable(drafts) else drafts
    schema = STORED_FEATURES.arrow_schema
    rows, used = [], set()
    with pq.ParquetWriter(folder / ROWS_FILE, schema) as writer:
        bar = tqdm(_with_clips(drafts, folder, workers), f"{config} {folder.name}", unit=" rows", mininterval=0.5)
        for draft, row, contents in bar:
            if not checks.accept(draft, row, contents, folder.name):
                continue
            names = dict(zip(CLIP_NAME_COLUMNS, (row[name] for name in MEDIA_COLUMNS), strict=True))
            parts = {"parts": row["parts"] or [], PART_CLIPS: [], PART_CLIP_NAMES: row[PART_CLIPS] or []}
            used.update(_clips_of(row))
            lists = parts | {"prefixes": row["prefixes"] or []}
            rows.append(row | dict.fromkeys(MEDIA_COLUMNS) | names | lists)
            if len(rows) == ROWS_IN_A_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows.clear()
        writer.write_table(pa.Table.from_pylist(rows, schema))
    _remove_unused(folder, used)


def _with_clips(drafts: Drafts, folder: Path, workers: int) -> Iterator[Stored]:
    """Yields drafts in their order, while threads store the clips."""
    clips: dict[str, Clip] = {}
    checked: dict[tuple[str, str], Future] = {}
    waiting: deque = deque()
    with ThreadPoolExecutor(workers) as pool:

        def store(clip: Clip | str | None, modality: str | None, futures: list[Future]) -> str | None:
            """Returns the name of a clip, and has it stored if it isn't in the folder yet."""
            if not isinstance(clip, Clip):
                return clip
            name = stored_name(clip.key, clip.sound_only)
            # Kept without its content: there may be as many as rows.
            if clips.setdefault(name, replace(clip, content=None)) != clip:
                raise InputError(
                    f"two clips of {folder.name} are called {clip.key!r}: {clips[name].path}, {clip.path}"
                )
            if (name, modality) not in checked:
                earlier = [checked[name, other] for other in PART_COLUMNS if (name, other) in checked]
                checked[name, modality] = pool.submit(_store, clip, modality, folder / "media" / name, earlier)
            futures.append(checked[name, modality])
            return f"media/{name}"

        for draft in drafts:
            row, futures = None, []
            if isinstance(draft, Draft):
                row = dict(draft.row)
                kinds = [part["modality"] for part in row.get("parts") or [] if part["modality"] != "text"]
                row |= {name: store(row.get(name), row.get("modality"), futures) for name in MEDIA_COLUMNS}
                named = zip_longest(row.get(PART_CLIPS) or [], kinds)  # whether they fit is checked later
                row |= {PART_CLIPS: [store(clip, kind, futures) for clip, kind in named if clip is not None]}
            waiting.append((draft, row, futures))
            # Rows of text wait for nobody; clips are stored a little ahead of the rows about them.
            while waiting and (
                all(future.done() for future in waiting[0][2]) or len(waiting) > workers * CLIPS_AHEAD_A_WORKER
            ):
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


def _finished(draft: Draft | Problem, row: dict | None, futures: list[Future]) -> Stored:
    contents = [future.result() for future in futures]
    return draft, row, next((content for content in contents if isinstance(content, ClipError)), contents)


def _clips_of(row: dict) -> list[str]:
    """Returns the names of the clips that a row is about."""
    return [*filter(None, (row[name] for name in MEDIA_COLUMNS)), *(row[PART_CLIPS] or [])]


def _store(clip: Clip, modality: str, target: Path, earlier: list[Future]) -> str | ClipError:
    """
    Returns the clip's hash, once it lies at `target` and holds what `modality` needs.

    What is there from an interrupted build is trusted for the modality it was checked for, as a mark beside it tells.
    Checks for further modalities in this build, after the `earlier` ones, are made on a copy that isn't kept.
    """
    wait(earlier)
    mark = target.parent.parent / CHECKED / f"{modality}-{target.name}"
    try:
        if earlier and target.exists():
            trial = target.with_name(f".{modality}.{target.name}")
            try:
                return store_clip(clip, modality, trial)
            finally:
                trial.unlink(missing_ok=True)
        if not mark.exists():
            target.unlink(missing_ok=True)
        content = store_clip(clip, modality, target)
        mark.touch()
        return content
    except ClipError as error:
        return error


def _thin(folder: Path, ratio: float, seed: int) -> None:
    """Leaves a split with the asked ratio of positives and negatives, group of rows by group."""
    old, new = folder / ROWS_FILE, folder / "thinned.parquet"
    with pq.ParquetFile(old) as file:
        table = file.read(["label", "probability"])
        pairs = zip(table["label"].to_pylist(), table["probability"].to_pylist(), strict=True)
        kept = choose(np.fromiter((side_of(*pair) for pair in pairs), np.int8, len(table)), ratio, seed)
        used, start = set(), 0
        with pq.ParquetWriter(new, file.schema_arrow) as writer:
            for batch in file.iter_batches(ROWS_IN_A_GROUP):
                batch = batch.filter(pa.array(kept[start : start + len(batch)]))
                start += len(kept[start : start + ROWS_IN_A_GROUP])
                writer.write_batch(batch)
                for names in (*(batch[column] for column in CLIP_NAME_COLUMNS), batch[PART_CLIP_NAMES].flatten()):
                    used.update(names.drop_null().to_pylist())
    new.replace(old)
    _remove_unused(folder, used)


def _remove_unused(folder: Path, used: set[str]) -> None:
    """Removes clips of rows that were left out, and what an interrupted build has left."""
    for file in folder.glob("media/*"):
        if f"media/{file.name}" not in used:
            file.unlink()
    if not used and (folder / "media").exists():
        (folder / "media").rmdir()


def _count(folder: Path) -> dict[str, dict[str, int]]:
    """Counts rows, premises and clips of each split; a split without rows is an error."""
    sizes = {}
    for split in SPLITS:
        if not (folder / split).exists():
            continue
        with pq.ParquetFile(folder / split / ROWS_FILE) as file, closing(DiskDict(folder / "premises.sqlite")) as seen:
            if file.metadata.num_rows == 0:
                raise InputError(f"the {split} split would be empty: `datasets` can't load a split without rows")
            for batch in file.iter_batches(columns=["premise", *CLIP_NAME_COLUMNS, "parts", PART_CLIP_NAMES]):
                for premise in zip(*batch.to_pydict().values(), strict=True):
                    seen.put_if_absent(json.dumps(premise), "")
            clips = sum(1 for _ in (folder / split).glob("media/*"))
            sizes[split] = {"rows": file.metadata.num_rows, "premises": len(seen), "clips": clips}
    if not sizes:
        raise InputError("there is no split to write")
    if len({size["clips"] > 0 for size in sizes.values()}) == 2:
        raise InputError(f"some splits have clips and others none, which `datasets` can't load: {sizes}")
    return sizes


def _highest_answer(folder: Path) -> float:
    """Returns the highest probability that people or teachers gave; 0 if they gave none."""
    highest = 0.0
    for file in folder.glob(f"*/{ROWS_FILE}"):
        with pq.ParquetFile(file) as table:
            rows = table.read(["probability", "probability_source"])
        is_answer = compute.is_in(rows["probability_source"], pa.array(["human", "teacher"]))
        highest = max(highest, compute.max(rows["probability"].filter(is_answer)).as_py() or 0.0)
    return highest


def _share_clips(out: Path, folder: Path) -> None:
    """Links a clip that another config holds too to the file there, so that it is stored once."""
    others = {}
    for file in out.glob("[!.]*/*/media/*"):
        others.setdefault((file.name, file.stat().st_size), file)
    for file in folder.glob("*/media/*"):
        twin = others.get((file.name, file.stat().st_size))
        if twin is not None and not file.samefile(twin) and filecmp.cmp(file, twin, shallow=False):
            link = file.with_name(f".{file.name}")
            try:
                os.link(twin, link)
            except OSError:
                # Not every file system knows links: there each config keeps its copy.
                return
            link.replace(file)


def _provenance(config: str, plan: dict, ratio: float | None, summary: Summary) -> dict:
    # Where the raw files lay is nobody's business: of a path only the name is kept.
    options = {name: _without_folders(value) for name, value in plan.items()}
    return {
        "config": config,
        "source": options.pop("source"),
        # A config that is made from another has the ratio of that one.
        "ratio": options.pop("ratio", "full") if ratio is None else f"1:{ratio:g}",
        "options": options,
        "splits": summary.splits,
        "skipped": summary.skipped,
        "version": version("clue-umui"),
    }


def _without_folders(value):
    if isinstance(value, (list, tuple)):
        return [_without_folders(one) for one in value]
    return value.name if isinstance(value, Path) else value
