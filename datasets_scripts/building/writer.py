"""
Writes one config of the dataset from drafts of rows: checked, streamed, resumable, as a whole or not at all.

The config is made in `umui/.<config>.partial` and takes its place in one rename. A build that was killed, or stopped
because of bad rows, leaves that folder behind: the next build takes over the clips it holds. Rows are read anew, which
is quick. Memory is bounded: rows go to disk in groups, what was seen before is remembered on disk.
"""

import filecmp
import json
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as pq
from datasets import Features, Value
from tqdm import tqdm

from common.errors import InputError
from datasets_scripts.building.clips import ClipError, store_clip
from datasets_scripts.building.diskmap import DiskMap
from datasets_scripts.building.drafts import Clip, Draft, Problem, stored_name
from datasets_scripts.building.folder import FolderError, check_free, folder_lock, put_in_place, recover
from datasets_scripts.building.ratio import choose, side_of
from datasets_scripts.building.report import Report
from datasets_scripts.schema import FEATURES, SPLITS, RowError, one_form, validate_row
from modeling_clue.modalities import MODALITIES


MEDIA_COLUMNS = ("audio", "video")
# The loader of media folders makes `audio` of `audio_file_name`; the one for text leaves names alone and wants `audio`
# itself. All columns are always there, so that a config has the same ones under either.
KINDS = Features(FEATURES | {f"{name}_file_name": Value("string") for name in MEDIA_COLUMNS})
ROWS_IN_A_GROUP = 10_000
CLIPS_AHEAD_A_WORKER = 4
ONE_PER_CENT = 0.01
# Beside `media/` while a split is being made: an empty file for each clip that was found good, and for what.
CHECKED = "checked"

Drafts = Iterable[Draft | Problem]


@dataclass(frozen=True)
class Summary:
    """
    What was written.

    Args:
        splits (`dict[str, dict[str, int]]`): `rows`, `premises` and `clips` of each split.
        skipped (`dict[str, int]`): How many problems were passed over, by kind.
    """

    splits: dict[str, dict[str, int]]
    skipped: dict[str, int]


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

    Returns:
        `Summary`: what was written, and what was not.

    Raises:
        `InputError`: if a row, clip, split or ratio is no good, or the folder can't be written to.
    """
    check_free(out, config, overwrite)
    out.mkdir(parents=True, exist_ok=True)
    problems = out / f"{config}.problems.csv"
    with folder_lock(out):
        recover(out, config)
        with _resumed(out / f".{config}.partial", plan) as folder:
            with closing(Report(folder / "problems.csv")) as report, closing(_Checks(folder, report)) as checks:
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
            summary = Summary(_measure(folder), dict(sorted(report.counts.items())))
            if 0 < _highest_answer(folder) <= ONE_PER_CENT:
                question = "were fractions taken as per cent?"
                print(f"warning: no probability in {config} is above {ONE_PER_CENT:.0%}: {question}", file=sys.stderr)
            _share_clips(out, folder)
            for marks in folder.glob(f"*/{CHECKED}"):
                shutil.rmtree(marks)
            provenance = json.dumps(_provenance(config, plan, ratio, summary), indent=2, default=str)
            (folder / "build.json").write_text(provenance + "\n", encoding="utf-8")
            (folder / "plan.json").unlink()
            put_in_place(out, config, folder)
    return summary


@contextmanager
def _resumed(folder: Path, plan: dict) -> Iterator[Path]:
    """The folder of an interrupted build of the same plan, with nothing but its clips in it; else an empty one."""
    text = json.dumps(plan, sort_keys=True, default=str)
    file = folder / "plan.json"
    if folder.exists() and not (file.exists() and file.read_text(encoding="utf-8") == text):
        shutil.rmtree(folder)
    for other in [
        other for other in folder.rglob("*") if other.is_file() and other.parent.name not in ("media", CHECKED)
    ]:
        other.unlink()
    folder.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    try:
        yield folder
    finally:
        if folder.exists() and not any(folder.glob("*/media/*")):
            shutil.rmtree(folder)


class _Checks:
    """Which drafts may become rows: what fits the schema, was not there before, and is of no other split."""

    def __init__(self, folder: Path, report: Report):
        self._files = [folder / f"{name}.sqlite" for name in ("pairs", "ids", "premises")]
        self._pairs, self._ids, self._premises = map(DiskMap, self._files)
        self._report = report

    def accept(self, draft: Draft | Problem, row: dict | None, content: str | ClipError | None, split: str) -> bool:
        """Whether the row may be written; what speaks against it goes to the report. `content` is the clip's hash."""
        problem = draft if isinstance(draft, Problem) else self._find(draft.place, row, content, split)
        if problem is not None:
            self._report.add(problem)
        return problem is None

    def _find(self, place: str, row: dict, content: str | ClipError | None, split: str) -> Problem | None:
        try:
            validate_row(row, place)
        except RowError as error:
            return Problem(place, "row", str(error).removeprefix(f"{place}: "))
        if isinstance(content, ClipError):
            return Problem(place, "media", str(content))
        # Clips are compared by content: one under two names is still one premise.
        media = content or f"{split}/{row['audio'] or row['video']}"
        # Written in another way, in accents or white space, a text is the same.
        premise = json.dumps([row["modality"], one_form(row["premise"]) if row["premise"] else media])
        other, _, where = (self._premises.put(premise, f"{split} {place}") or f"{split} ").partition(" ")
        if other != split:
            return Problem(place, "split", f"its premise is that of {where}, in the {other} split")
        where = self._pairs.put(premise + one_form(row["hypothesis"]), place)
        if where is not None:
            return Problem(place, "duplicate", f"the same premise and hypothesis as {where}")
        where = self._ids.put(row["id"], place)
        if where is not None:
            return Problem(place, "duplicate", f"the same id as {where}: {row['id']!r}")
        return None

    def close(self) -> None:
        for disk_map in (self._pairs, self._ids, self._premises):
            disk_map.close()
        for file in self._files:
            file.unlink()


def _write_split(folder: Path, drafts, checks: _Checks, workers: int, config: str) -> None:
    for name in ("media", CHECKED):
        (folder / name).mkdir(parents=True, exist_ok=True)
    drafts = drafts(folder) if callable(drafts) else drafts
    columns: dict[str, list] = {name: [] for name in KINDS}
    used = set()
    schema = KINDS.arrow_schema
    with pq.ParquetWriter(folder / "metadata.parquet", schema) as writer:

        def flush() -> None:
            writer.write_table(pa.table(columns, schema=schema))
            for values in columns.values():
                values.clear()

        bar = tqdm(_with_clips(drafts, folder, workers), f"{config} {folder.name}", unit=" rows", mininterval=0.5)
        for draft, row, content in bar:
            if not checks.accept(draft, row, content, folder.name):
                continue
            names = {f"{name}_file_name": row[name] for name in MEDIA_COLUMNS}
            for name, value in (row | dict.fromkeys(MEDIA_COLUMNS) | names).items():
                columns[name].append(value)
            used.update(row[name] for name in MEDIA_COLUMNS if row[name] is not None)
            if len(columns["id"]) == ROWS_IN_A_GROUP:
                flush()
        flush()
    _remove_unused(folder, used)


def _with_clips(
    drafts: Drafts, folder: Path, workers: int
) -> Iterator[tuple[Draft | Problem, dict | None, str | ClipError | None]]:
    """Each draft in its order with its row and its clip's hash (or what is wrong with it), clips stored in threads."""
    clips: dict[str, Clip] = {}
    checked: dict[tuple[str, str], Future] = {}
    waiting: deque = deque()
    with ThreadPoolExecutor(workers) as pool:

        def store(clip: Clip, modality: str) -> tuple[str, Future]:
            name = stored_name(clip.key, clip.sound_only)
            # Kept without its content: there may be as many as rows.
            if clips.setdefault(name, replace(clip, content=None)) != clip:
                raise InputError(
                    f"two clips of {folder.name} are called {clip.key!r}: {clips[name].path}, {clip.path}"
                )
            if (name, modality) not in checked:
                earlier = [checked[name, other] for other in MODALITIES if (name, other) in checked]
                checked[name, modality] = pool.submit(_stored, clip, modality, folder / "media" / name, earlier)
            return f"media/{name}", checked[name, modality]

        def finished() -> tuple:
            draft, row, future = waiting.popleft()
            return draft, row, None if future is None else future.result()

        for draft in drafts:
            row, future = None, None
            if isinstance(draft, Draft):
                row = draft.row
                for column in MEDIA_COLUMNS:
                    if isinstance(row.get(column), Clip):
                        name, future = store(row[column], row.get("modality"))
                        row = row | {column: name}
            waiting.append((draft, row, future))
            # Rows of text wait for nobody; clips are stored a little ahead of the rows about them.
            while waiting and (
                waiting[0][2] is None or waiting[0][2].done() or len(waiting) > workers * CLIPS_AHEAD_A_WORKER
            ):
                yield finished()
        while waiting:
            yield finished()


def _stored(clip: Clip, modality: str, target: Path, earlier: list[Future]) -> str | ClipError:
    """
    The clip's hash, once it lies at `target` and holds what `modality` needs.

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
    old, new = folder / "metadata.parquet", folder / "thinned.parquet"
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
                for column in MEDIA_COLUMNS:
                    used.update(batch[f"{column}_file_name"].drop_null().to_pylist())
    new.replace(old)
    _remove_unused(folder, used)


def _remove_unused(folder: Path, used: set[str]) -> None:
    """Clips of rows that were left out are not kept, nor what an interrupted build has left."""
    for file in folder.glob("media/*"):
        if f"media/{file.name}" not in used:
            file.unlink()
    if not used and (folder / "media").exists():
        (folder / "media").rmdir()


def _measure(folder: Path) -> dict[str, dict[str, int]]:
    """Counts rows, premises and clips of each split; a split without rows is an error."""
    sizes = {}
    for split in SPLITS:
        if not (folder / split).exists():
            continue
        with pq.ParquetFile(folder / split / "metadata.parquet") as file:
            rows, premises = file.metadata.num_rows, DiskMap(folder / "premises.sqlite")
            for batch in file.iter_batches(columns=["premise", "audio_file_name", "video_file_name"]):
                for premise in zip(*batch.to_pydict().values(), strict=True):
                    premises.put(json.dumps(premise), "")
        if rows == 0:
            raise FolderError(f"the {split} split would be empty: `datasets` can't load a split without rows")
        clips = sum(1 for _ in (folder / split).glob("media/*"))
        sizes[split] = {"rows": rows, "premises": len(premises), "clips": clips}
        premises.close()
        (folder / "premises.sqlite").unlink()
    if not sizes:
        raise FolderError("there is no split to write")
    if len({size["clips"] > 0 for size in sizes.values()}) == 2:
        raise FolderError(f"some splits have clips and others none, which `datasets` can't load: {sizes}")
    return sizes


def _highest_answer(folder: Path) -> float:
    """The highest probability that people or teachers gave; 0 if they gave none."""
    highest = 0.0
    for file in folder.glob("*/metadata.parquet"):
        with pq.ParquetFile(file) as rows:
            for batch in rows.iter_batches(columns=["probability", "probability_source"]):
                is_answer = compute.is_in(batch["probability_source"], pa.array(["human", "teacher"]))
                highest = max(highest, compute.max(batch["probability"].filter(is_answer)).as_py() or 0.0)
    return highest


def _share_clips(out: Path, folder: Path) -> None:
    """A clip that another config holds too is stored once: both names lead to one file."""
    others = {}
    for file in out.glob("[!.]*/*/media/*"):
        others.setdefault((file.name, file.stat().st_size), file)
    for file in folder.glob("*/media/*"):
        twin = others.get((file.name, file.stat().st_size))
        if twin is not None and not file.samefile(twin) and filecmp.cmp(file, twin, shallow=False):
            shared = file.with_name(f".{file.name}")
            try:
                os.link(twin, shared)
            except OSError:
                # Not every file system knows links: there each config keeps its copy.
                return
            shared.replace(file)


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
