"""
Asks a teacher N times per pair, as a step for datatrove's executors: on this machine, on Slurm or on Ray.

datatrove's own step that asks would ask again for what a killed run had in its chunks, and go on where a pair can't be
written.

Answers are on disk in a folder with one JSONL file a task, to which finished pairs are added. A line is written in one
go when its pair is finished, so what a killed run leaves behind is whole lines and perhaps the beginning of one, which
is cut off before the next run adds to the file.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger
from tqdm import tqdm

from chat.asking import answer_seed, ask, failed_answer, read_choice
from chat.client import RunStoppedError
from chat.media import UnfitPairError
from chat.messages import chat_messages, questions
from common import files
from common.digests import digest
from datasets_scripts.load import load_split


@dataclass(frozen=True)
class Question:
    """Holds how a pair is asked about: all that an answer depends on beside the pair."""

    model: str  # the server's name for it, or the folder of a local one
    answers: int  # how many a pair gets
    temperature: float
    max_tokens: int  # of an answer
    seed: int  # gives each answer a seed of its own
    extra: dict  # further fields of the request, as the server takes them

    @property
    def digest(self) -> str:
        """Returns what stands beside each answer, so that those of different teachers are never mixed."""
        return digest(asdict(self))


@dataclass(frozen=True)
class Pairs:
    """Says which pairs are asked about."""

    dataset: Path
    config: str
    # For each split, the places of rows with what they ask; of rows that ask the same, one.
    asked: dict[str, dict[int, str]]
    out: Path  # the folder with the answers
    max_media_bytes: int  # larger media files are not sent


class AskTeacher(PipelineStep):
    """
    Asks about the pairs of a task, every `world_size`-th of those that are not finished.

    Args:
        question (`Question`): What is asked.
        pairs (`Pairs`): About what.
        connect (`Callable`): Makes a task's client: [`ChatClient`] or [`LocalClient`].
        in_flight (`int`): Requests at the same time, for each task.
    """

    name = "Teacher"
    type = "Asking"

    def __init__(self, question: Question, pairs: Pairs, connect: Callable, in_flight: int):
        super().__init__()
        self.question, self.pairs, self.connect, self.in_flight = question, pairs, connect, in_flight

    def run(self, data: None = None, rank: int = 0, world_size: int = 1) -> None:
        """Adds each finished pair to the task's shard at once; raises a `RunStoppedError` if the run can't go on."""
        # What datatrove says of an error holds the values of variables, requests among them.
        logger.disable("datatrove")
        try:
            with locked(self.pairs.out / f"{rank:05d}.jsonl") as add:
                finished = {pair["question"] for pair in finished_pairs(self.pairs.out)}
                left = {
                    split: {place: asks for place, asks in [*asked.items()][rank::world_size] if asks not in finished}
                    for split, asked in self.pairs.asked.items()
                }
                with tqdm(total=sum(map(len, left.values())), desc=f"task {rank}", unit="pair", position=rank) as bar:
                    asyncio.run(self._ask(self._rows(left), add, bar))
        except Exception as error:
            error = _first(error)
            # On a cluster nobody else tells of it.
            logger.error(f"task {rank} stopped: {error}")
            raise error from error.__cause__

    def _rows(self, left: dict[str, dict[int, str]]) -> Iterator[tuple[dict, dict]]:
        """Yields what is noted of each pair that is left, and its row."""
        pairs = self.pairs
        for split, asked in left.items():
            rows = load_split(str(pairs.dataset), pairs.config, split)
            found = questions(rows.select([place for place in asked if place < len(rows)]))
            for place, expected in asked.items():
                question, row = next(found, (None, None))
                if question != expected:
                    raise RunStoppedError(
                        f"row {place} of {pairs.dataset}, {pairs.config}, {split} asks something else than when the "
                        "run began: run the same command again"
                    )
                named = {"id": row["id"], "config": pairs.config, "split": split}
                yield named | {"question": question, "hypothesis": row["hypothesis"]}, row

    async def _ask(self, rows: Iterator[tuple[dict, dict]], add: Callable[[Iterable[dict]], None], bar: tqdm) -> None:
        question, client, requests = self.question, self.connect(), asyncio.Semaphore(self.in_flight)
        # Twice as many pairs as fill the requests in flight: one slow answer leaves no gap.
        places = asyncio.Semaphore(2 * -(-self.in_flight // question.answers))

        async def send(payload: dict) -> dict:
            async with requests:
                reply = await client.send(payload)
            for name, number in reply["usage"].items():
                self.stat_update(name, value=number, unit="request")
            return reply

        async def ask_pair(pair: dict, row: dict) -> None:
            common = {"temperature": question.temperature, "max_tokens": question.max_tokens, **question.extra}
            seeds = [answer_seed(question.seed, pair, number) for number in range(question.answers)]
            try:
                # In a thread, since reading a clip must not hold up the answers to others.
                messages = await asyncio.to_thread(chat_messages, row, self.pairs.dataset, self.pairs.max_media_bytes)
                async with asyncio.TaskGroup() as group:
                    payloads = [{"messages": messages, "seed": seed, **common} for seed in seeds]
                    tasks = [group.create_task(ask(send, payload, read_choice)) for payload in payloads]
                answers = [task.result() for task in tasks]
            except UnfitPairError as error:
                answers = [failed_answer(str(error)) for _ in seeds]
            add([{**pair, "settings": question.digest, "answers": answers}])
            self.stat_update("pairs")
            bar.update()
            places.release()

        try:
            async with asyncio.TaskGroup() as group:
                while (await places.acquire()) and (found := await asyncio.to_thread(next, rows, None)):
                    group.create_task(ask_pair(*found))
        finally:
            await client.close()


def _first(error: Exception) -> Exception:
    """Returns the first of a group of errors: the others met the same."""
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


@contextmanager
def locked(shard: Path) -> Iterator[Callable[[Iterable[dict]], None]]:
    """
    Opens a shard to add to, for one process alone, and cuts off the line that a killed one did not finish.

    Yields:
        `Callable[[Iterable[dict]], None]`: adds finished pairs.

    Raises:
        `RunStoppedError`: if another process is writing to it.
    """
    taken = RunStoppedError(f"{shard} is written by another run: wait for it, or end it")
    with files.locked(shard.with_name(f".{shard.name}.lock"), taken), files.journal(shard) as add:
        yield add


def shards(folder: Path) -> list[Path]:
    """Returns the files with answers."""
    return sorted(folder.glob("*.jsonl"))


def finished_pairs(folder: Path) -> Iterator[dict]:
    """Yields the finished pairs as `answer_files` describes them; a line without an end is not finished."""
    for shard in shards(folder):
        yield from files.read_journal(shard)


def change_pairs(folder: Path, change: Callable[[dict], dict | None]) -> int:
    """Changes finished pairs where they stand, or removes them where `change` gives `None`; returns how many."""
    changed = 0
    for shard in shards(folder):
        with locked(shard), files.replacing(shard) as partial, partial.open("w", encoding="utf-8") as new:
            for pair in files.read_journal(shard):
                other = change(pair)
                changed += other != pair
                new.write("" if other is None else json.dumps(other) + "\n")
    return changed
