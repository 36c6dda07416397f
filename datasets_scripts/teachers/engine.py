"""
Asks a teacher N times per pair, with datatrove's InferenceRunner: on this machine or on a Slurm cluster.

What datatrove does: splits the rows into tasks, runs N rollouts a document, bounds the requests in flight, counts
requests and tokens. What is ours, since its own loses answers or time: the client (see `openai_server`), the
checkpoints (see `shards`), and the writing of a pair, whose failure datatrove only logs.
"""

import asyncio
import hashlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.inference.servers import InferenceServer
from datatrove.pipeline.inference.types import GenerateFunction, InferenceError
from datatrove.pipeline.writers.disk_base import DiskWriter
from datatrove.utils.logging import logger
from tqdm import tqdm

from chat.answers import parse_answer
from chat.failures import AnswerFailedError, RunStoppedError
from chat.messages import UnfitPairError, chat_messages, questions
from chat.replies import cut_off
from common.digests import digest
from datasets_scripts.load import load_split
from datasets_scripts.teachers.shards import finished_pairs, locked


@dataclass(frozen=True)
class Question:
    """
    How a pair is asked about: all that an answer depends on beside the pair.

    Args:
        model (`str`): The server's name for the model, or the folder of a local one.
        answers (`int`): How many answers a pair gets.
        temperature (`float`): Of the sampling.
        max_tokens (`int`): The length of an answer at most.
        seed (`int`): Gives each answer a seed of its own.
        extra (`dict`): Further fields of the request, as the server takes them.
    """

    model: str
    answers: int
    temperature: float
    max_tokens: int
    seed: int
    extra: dict

    @property
    def digest(self) -> str:
        """What stands beside each answer, so that those of different teachers are never mixed."""
        return digest(asdict(self))


@dataclass(frozen=True)
class Pairs:
    """
    Which pairs are asked about.

    Args:
        dataset (`Path`): The dataset folder.
        config (`str`): Its config.
        splits (`tuple[str, ...]`): The config's splits.
        out (`Path`): The folder with the answers.
        max_media_bytes (`int`): Larger media files are not sent.
        repeats (`frozenset[tuple[str, int]]`): Split and place of each row that asks what one before it asks, and
            shares its answers.
    """

    dataset: Path
    config: str
    splits: tuple[str, ...]
    out: Path
    max_media_bytes: int
    repeats: frozenset[tuple[str, int]] = frozenset()


class PairReader(PipelineStep):
    """
    Gives a task its pairs, every `world_size`-th row of each split, without those that are finished.

    Args:
        pairs (`Pairs`): The pairs.
    """

    name = "Pairs"
    type = "Reader"

    def __init__(self, pairs: Pairs):
        super().__init__()
        self.pairs = pairs

    def run(self, data: None = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Yields a document a pair; its messages are built here, in the runner's reading thread."""
        pairs = self.pairs
        finished = {pair["question"] for pair in finished_pairs(pairs.out)}
        splits = {split: load_split(str(pairs.dataset), pairs.config, split) for split in pairs.splits}
        own = {
            split: rows.select(
                [place for place in range(rank, len(rows), world_size) if (split, place) not in pairs.repeats]
            )
            for split, rows in splits.items()
        }
        asked = ((split, *each) for split, rows in own.items() for each in questions(rows))
        number = sum(map(len, own.values()))
        for split, question, row in tqdm(asked, desc=f"task {rank}", total=number, unit="pair", position=rank):
            if question in finished:
                continue
            pair = {"id": row["id"], "config": pairs.config, "split": split}
            pair |= {"question": question, "hypothesis": row["hypothesis"]}
            document = Document(text=row["hypothesis"], id=row["id"], metadata={"pair": pair})
            try:
                document.metadata["messages"] = chat_messages(row, pairs.dataset, pairs.max_media_bytes)
            except UnfitPairError as error:
                document.metadata["unfit"] = str(error)
            # Rollouts begin in order, and each takes the next number.
            document.metadata["numbers"] = itertools.count()
            yield document


class AnswersWriter(DiskWriter):
    """
    Adds each finished pair to the task's shard at once, so that it outlives the process.

    Args:
        folder (`Path`): The folder with the shards.
        settings (`str`): The digest of how it was asked.
    """

    default_output_filename = "${rank}.jsonl"
    name = "Answers"

    def __init__(self, folder: Path, settings: str):
        super().__init__(str(folder), compression=None, adapter=_as_line, mode="ab")
        self.settings = settings

    def _write(self, document: dict, file_handler, filename: str) -> None:
        # Escaped: a server may send halves of surrogate pairs, which UTF-8 can't hold.
        file_handler.write(json.dumps(document).encode("ascii") + b"\n")
        file_handler.flush()


def _as_line(writer: AnswersWriter, document: Document) -> dict:
    return {**document.metadata["pair"], "settings": writer.settings, "answers": document.metadata["answers"]}


class TeacherRunner(InferenceRunner):
    """
    datatrove's runner with our client, one answer a rollout.

    Args:
        question (`Question`): What is asked.
        pairs (`Pairs`): About what.
        server (`Callable[[InferenceConfig, int], InferenceServer]`): Makes the client of a task, or the local model.
        in_flight (`int`): Requests at the same time, for each task.
    """

    name = "Teacher"

    def __init__(
        self,
        question: Question,
        pairs: Pairs,
        server: Callable[[InferenceConfig, int], InferenceServer],
        in_flight: int,
    ):
        self.question, self.pairs, self.server = question, pairs, server
        config = InferenceConfig(
            # The kind is not used: `_init_server` makes ours.
            server_type="endpoint",
            model_name_or_path=question.model,
            rollouts_per_document=question.answers,
            max_concurrent_generations=in_flight,
            # Twice as many as fill the requests in flight: one slow answer leaves no gap.
            max_concurrent_documents=2 * -(-in_flight // question.answers),
            server_start_max_retries=0,
        )
        super().__init__(self.ask, config, AnswersWriter(pairs.out, question.digest), metadata_key="answers")

    def run(self, data: Iterator[Document], rank: int = 0, world_size: int = 1) -> None:
        """
        Asks about the pairs of a task.

        Raises:
            `RunStoppedError`: if the run can't go on.
        """
        # What it says of errors holds the values of variables, whole requests among them. The bar and the counts tell.
        logger.disable("datatrove")
        with locked(self.pairs.out / f"{rank:05d}.jsonl"):
            try:
                super().run(data, rank, world_size)
            except InferenceError as error:
                # Its own text may hold a whole request, and it can't be sent between processes.
                raise RunStoppedError(f"datatrove stopped: {error.error}") from error.__cause__

    async def run_async(self, data_gen: Iterator[Document], rank: int = 0) -> None:
        """Asks about the pairs of a task; see [`run`]."""

        def tell(loop: asyncio.AbstractEventLoop, context: dict) -> None:
            # Many requests may meet what stops the run: datatrove awaits one, and asyncio would print all others.
            if not isinstance(context.get("exception"), RunStoppedError):
                loop.default_exception_handler(context)

        asyncio.get_running_loop().set_exception_handler(tell)
        await super().run_async(data_gen, rank)

    def _init_server(self, rank: int) -> InferenceServer:
        return self.server(self.config, rank)

    async def _save_document(
        self,
        document: Document,
        output_writer_context: DiskWriter,
        rank: int,
        chunk_index: int,
        count_processed_stat: bool = True,
    ) -> None:
        # datatrove logs a document that it can't write, on a full disk say, and goes on as if it were there.
        output_writer_context.write(document, rank=rank)
        self.stat_update("documents_processed", value=1, unit="document")

    async def ask(self, document: Document, generate: GenerateFunction) -> dict:
        """
        One rollout: asks for one answer.

        Args:
            document (`Document`): The pair.
            generate (`GenerateFunction`): Sends a request.

        Returns:
            `dict`: `text`, `probability`, `reason`, and `reasoning` where the server tells it apart.
        """
        number = next(document.metadata["numbers"])
        if "unfit" in document.metadata:
            return failed_answer(document.metadata["unfit"])
        question = self.question
        payload = {
            "messages": document.metadata["messages"],
            "temperature": question.temperature,
            "max_tokens": question.max_tokens,
            "seed": answer_seed(question.seed, document.metadata["pair"], number),
            **question.extra,
        }
        try:
            result = await generate(payload)
        except AnswerFailedError as error:
            return failed_answer(str(error))
        answer = read_answer(result.text, result.finish_reason)
        return {**answer, "reasoning": result.reasoning} if result.reasoning else answer


def answer_seed(seed: int, pair: dict, number: int) -> int:
    """
    The seed of one answer: the same in every run, and another for every answer.

    Args:
        seed (`int`): That of the run.
        pair (`dict`): `config`, `split`, `id`.
        number (`int`): Which of the pair's answers, from 0.

    Returns:
        `int`: 31 bits, as all servers take them.
    """
    words = json.dumps([seed, pair["config"], pair["split"], pair["id"], number])
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big") >> 1


def failed_answer(reason: str) -> dict:
    """An answer that never came."""
    return {"text": None, "probability": None, "reason": reason}


def read_answer(text: str, finish_reason: str | None) -> dict:
    """
    Reads what came.

    Args:
        text (`str`): The raw answer.
        finish_reason (`str`, *optional*): Why it ends, as the server says.

    Returns:
        `dict`: `text`, `probability` and, where there is none, the `reason`. An answer that was cut off has none: what
        was still to come may have taken back the number that is there.
    """
    if reason := cut_off(text, finish_reason):
        return {"text": text, "probability": None, "reason": reason}
    parsed = parse_answer(text)
    return {"text": text, "probability": parsed.probability, "reason": parsed.reason}


@dataclass(frozen=True)
class Slurm:
    """
    How to run the tasks on a cluster.

    Args:
        partition (`str`): The partition.
        time (`str`): The limit of a task, e.g. `"24:00:00"`.
        cpus (`int`): CPUs of a task.
        gpus (`int`): GPUs of a task: for local models.
    """

    partition: str
    time: str
    cpus: int
    gpus: int


def make_executor(
    pairs: Pairs, runner: PipelineStep, tasks: int, workers: int, slurm: Slurm | None = None
) -> LocalPipelineExecutor | SlurmPipelineExecutor:
    """
    Puts the pipeline into datatrove's executor.

    Args:
        pairs (`Pairs`): The pairs.
        runner (`PipelineStep`): The step that asks.
        tasks (`int`): Into how many the rows are split.
        workers (`int`): How many run at the same time.
        slurm (`Slurm`, *optional*): The cluster; this machine without it.

    Returns:
        `LocalPipelineExecutor` or `SlurmPipelineExecutor`: to be run.
    """
    pipeline = [PairReader(pairs), runner]
    # Our reader knows better than datatrove's marks which pairs are finished.
    common = {"pipeline": pipeline, "tasks": tasks, "workers": workers, "skip_completed": False}
    common["logging_dir"] = str(pairs.out / "datatrove")
    if slurm is None:
        # Started anew, a worker has this process's environment, and the key is nowhere else.
        return LocalPipelineExecutor(start_method="spawn", **common)
    return SlurmPipelineExecutor(
        partition=slurm.partition,
        time=slurm.time,
        cpus_per_task=slurm.cpus,
        gpus_per_task=slurm.gpus,
        job_name=f"teacher-{pairs.config}",
        venv_path=f"{sys.prefix}/bin/activate" if sys.prefix != sys.base_prefix else None,
        **common,
    )
