"""
Asks a teacher N times for the probability of each hypothesis (section 3.1 of the paper) and keeps every raw answer.

```
python -m datasets_scripts.teacher ask --dataset umui --dataset-config clotho --splits train --output-dir answers \
    --server http://127.0.0.1:8000/v1 --server-model Qwen/Qwen2.5-Omni-7B
python -m datasets_scripts.teacher ask --dataset umui --dataset-config unli --output-dir answers --model models/teacher
```

The same command again, after a kill or a crash, goes on where it stopped. `--output-dir` holds a line a pair in
`*.jsonl`, known by what was asked: the premise (the content of a clip), hypothesis and prompt. Of a config that has
grown or changed since, the same command asks about what is new.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from datasets import Dataset
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.executor.base import PipelineExecutor
from datatrove.utils.logging import logger
from tqdm import tqdm

from chat.client import (
    ChatClient,
    FailureCounter,
    RunStoppedError,
    add_sending_options,
    check_server,
    read_sending_options,
)
from chat.messages import questions
from common.cli import ArgumentParser, exit_on_error, json_object, non_negative_float, non_negative_int, positive_int
from common.errors import InputError
from common.files import differences, write_text
from datasets_scripts.load import load_split
from datasets_scripts.schema import SPLITS
from datasets_scripts.teachers.answer_files import RECORD
from datasets_scripts.teachers.engine import AskTeacher, Pairs, Question, change_pairs, finished_pairs, locked, shards


# A teacher that is sure repeats itself; one that repeats itself nearly always does not sample.
SUSPICIOUS_SHARE = 0.9
FEWEST_PAIRS = 5
# Fields of a request that have an option of their own, or that would change what a reply is.
RESERVED = {"messages", "model", "temperature", "max_tokens", "max_completion_tokens", "seed", "n", "stream"}


class Counts:
    """
    Counts what came of asking: pairs and answers, with every reason why there is no probability.

    Args:
        pairs (`Iterable[dict]`): As they are in the file of answers.
        expected (`int`): Pairs that there should be.
        asked (`int`): Answers that each should have.
    """

    def __init__(self, pairs: Iterable[dict], expected: int, asked: int):
        self.expected = expected
        # Pairs; those with another number of answers; those with the same text in all of them.
        self.pairs = self.incomplete = self.repeated = 0
        self.answers = self.probabilities = 0
        # Reasons of answers without a probability, and of those that never came.
        self.unparsable, self.failed = Counter(), Counter()
        for pair in pairs:
            answers = pair["answers"]
            texts = [answer["text"] for answer in answers]
            self.pairs += 1
            self.answers += len(answers)
            self.incomplete += len(answers) != asked
            self.repeated += len(texts) > 1 and None not in texts and len(set(texts)) == 1
            for answer in answers:
                if answer["probability"] is not None:
                    self.probabilities += 1
                else:
                    (self.failed if answer["text"] is None else self.unparsable)[answer["reason"]] += 1

    def report(self) -> str:
        """Returns the numbers in lines for a person."""
        lines = [
            f"pairs: {self.pairs} of {self.expected}",
            f"answers: {self.answers}, with a probability {self.probabilities}, "
            f"unparsable {self.unparsable.total()}, failed {self.failed.total()}",
            *(f"  unparsable: {line}" for line in _by_kind(self.unparsable)),
            *(f"  failed: {line}" for line in _by_kind(self.failed)),
            f"pairs whose answers all have the same text: {self.repeated}",
        ]
        if self.pairs >= FEWEST_PAIRS and self.repeated >= SUSPICIOUS_SHARE * self.pairs:
            lines.append(
                "warning: the teacher gives the same text each time, so asking it again tells nothing: the server may "
                "ignore the temperature (`transformers serve` does unless the model's generation config samples)"
            )
        return "\n".join(lines)

    def raise_if_in_vain(self, before: "Counts") -> None:
        """Raises a `RunStoppedError` if no answer has a probability, or none of those that were not there before."""
        new = self.answers - before.answers
        if not self.answers or self.probabilities > (before.probabilities if new else 0):
            return
        lost = self.unparsable + self.failed
        reasons = _by_kind(lost - before.unparsable - before.failed or lost)
        raise RunStoppedError(
            f"none of the {new or self.answers} answers has a probability, most often: {reasons[0].rstrip('.')}. "
            "Put that right: --ask-again-failed then repeats the failed answers, another --output-dir asks all anew"
        )


def _by_kind(reasons: Counter) -> list[str]:
    """Returns lines: reasons that begin alike are one kind, the server's words behind it may differ each time."""
    kinds: dict[str, Counter] = {}
    for reason, number in reasons.items():
        kinds.setdefault(reason.partition(": ")[0], Counter())[reason] += number
    lines = []
    for words in sorted(kinds.values(), key=Counter.total, reverse=True):
        others = f" (and {len(words) - 1} like it)" if len(words) > 1 else ""
        lines.append(f"{words.total()} x {words.most_common(1)[0][0]}{others}")
    return lines


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(
        prog="python -m datasets_scripts.teacher ask",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset folder, e.g. umui")
    parser.add_argument("--dataset-config", required=True, help="one of its configs")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=["train"], help="default: train")
    parser.add_argument("--output-dir", type=Path, required=True, help="the folder for the answers")
    teacher = parser.add_argument_group("who is asked")
    teacher.add_argument("--model", type=Path, help="a folder with a chat model that transformers loads")
    teacher.add_argument("--server", help="an OpenAI-compatible server, e.g. http://127.0.0.1:8000/v1")
    teacher.add_argument("--server-model", help="the server's name for the model")

    asking = parser.add_argument_group("what is asked (the same for all answers in one --output-dir)")
    asking.add_argument("--num-answers", type=positive_int, default=5, help="answers a pair (default: %(default)s)")
    asking.add_argument("--temperature", type=non_negative_float, default=0.7, help="default: %(default)s")
    asking.add_argument("--max-tokens", type=positive_int, default=512, help="of an answer (default: %(default)s)")
    asking.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    asking.add_argument(
        "--extra",
        type=json_object,
        default={},
        help="more fields of a request, as JSON: '{\"top_p\": 0.95}' (no secrets)",
    )

    sending = parser.add_argument_group("how it is sent")
    add_sending_options(sending, failures=100)
    sending.add_argument("--ask-again-failed", action="store_true", help="ask again for pairs with a failed answer")

    running = parser.add_argument_group("where it runs")
    running.add_argument("--tasks", type=positive_int, default=1, help="parts of the rows (default: %(default)s)")
    running.add_argument("--workers", type=positive_int, default=1, help="tasks at once (default: %(default)s)")
    cluster = running.add_mutually_exclusive_group()
    cluster.add_argument("--slurm-partition", help="run the tasks as Slurm jobs in this partition")
    cluster.add_argument(
        "--ray",
        action="store_true",
        help="run the tasks on the Ray cluster at $RAY_ADDRESS, whose nodes have the key, this code and --output-dir",
    )
    running.add_argument("--slurm-time", default="24:00:00", help="limit of a task (default: %(default)s)")
    running.add_argument("--slurm-cpus", type=positive_int, default=2, help="of a task (default: %(default)s)")
    running.add_argument("--slurm-gpus", type=non_negative_int, default=0, help="of a task, for --model (default: 0)")
    running.add_argument("--ray-cpus", type=positive_int, default=1, help="of a task (default: %(default)s)")
    running.add_argument("--ray-gpus", type=non_negative_int, default=0, help="of a task, for --model (default: 0)")

    options = parser.parse_args(arguments)
    if options.server and (options.model or not options.server_model):
        parser.error("--server goes with --server-model, the server's name for the model, and without --model")
    if options.server_model and not options.server:
        parser.error("--server-model is for a --server")
    if not (options.model or options.server):
        parser.error("pass --model, or --server and --server-model")
    if options.model and options.extra:
        parser.error("--extra is for a --server")
    if options.ray and find_spec("ray") is None:
        parser.error("--ray needs Ray: pip install 'datatrove[ray]'")
    if options.temperature == 0 and options.num_answers > 1:
        parser.error("--temperature 0 gives the same answer each time: pass --num-answers 1, or a higher temperature")
    if reserved := sorted(RESERVED & options.extra.keys()):
        parser.error(f"--extra must leave out {', '.join(reserved)}: they are options, or set by the engine")
    return options


def run(options: argparse.Namespace) -> None:
    """
    Asks about all pairs that are not finished, and prints the counts.

    Raises:
        `ValueError`: if it can't be done as asked, or the run can't go on.
    """
    if not options.dataset.is_dir():
        raise InputError(f"--dataset {options.dataset} is no folder: build it with python -m datasets_scripts.build")
    rows = {split: load_split(str(options.dataset), options.dataset_config, split) for split in options.splits}
    question = Question(
        model=str(options.model or options.server_model),
        answers=options.num_answers,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        seed=options.seed,
        extra=options.extra,
    )
    # datatrove copies its steps for each task, and with them the counter.
    failures = FailureCounter(options.stop_after_failures)
    if options.model:
        # This loads torch and transformers, for which a command that asks a server need not wait.
        from chat.local import LocalClient, check_local

        check_local(options.model)
        connect = partial(LocalClient, options.model.resolve(), failures)
    else:
        server = read_sending_options(options)
        check_server(server)
        connect = partial(ChatClient, server, options.server_model, options.in_flight, failures)
    names, asked = _questions(rows, options.dataset_config)
    keep_record(options.output_dir, question)
    for shard in shards(options.output_dir):
        with locked(shard):
            pass

    def named(pair: dict) -> dict:
        return pair | names.get(pair["question"], {})

    def kept(pair: dict) -> dict | None:
        failed = pair["question"] in names and any(answer["text"] is None for answer in pair["answers"])
        return None if failed else pair

    # People's judgements are of the rows as they are called now.
    if any(named(pair) != pair for pair in finished_pairs(options.output_dir)):
        change_pairs(options.output_dir, named)
    if options.ask_again_failed:
        print(f"asking again for {change_pairs(options.output_dir, kept)} pairs with a failed answer")

    before = _count(options, names)
    # On a cluster, tasks begin in folders of their own.
    dataset, out = options.dataset.resolve(), options.output_dir.resolve()
    pairs = Pairs(dataset, options.dataset_config, asked, out, int(options.max_media_mb * 1e6))
    # The progress bar says it shorter; errors come back as exceptions and counts.
    logger.disable("")
    make_executor(options, AskTeacher(question, pairs, connect, options.in_flight)).run()
    if options.slurm_partition:
        print("The tasks are queued. Run the same command without --slurm-partition when they have ended: it counts.")
        return
    if repeats := sum(map(len, rows.values())) - len(names):
        print(f"{repeats} rows ask what another one asks, and share its answers")
    counts = _count(options, names)
    print(counts.report())
    if counts.pairs != counts.expected or counts.incomplete:
        raise RunStoppedError(
            f"{counts.pairs} of {counts.expected} pairs are there, {counts.incomplete} of them with another number of "
            f"answers than {options.num_answers}: run the same command again"
        )
    counts.raise_if_in_vain(before)


def make_executor(options: argparse.Namespace, step: AskTeacher) -> PipelineExecutor:
    """Returns what runs the tasks: datatrove's executor for this machine, Slurm or Ray."""
    # Our step knows better than datatrove's marks which pairs are finished.
    common = {"pipeline": [step], "tasks": options.tasks, "workers": options.workers, "skip_completed": False}
    common["logging_dir"] = str(options.output_dir.resolve() / "datatrove")
    if options.slurm_partition:
        return SlurmPipelineExecutor(
            partition=options.slurm_partition,
            time=options.slurm_time,
            cpus_per_task=options.slurm_cpus,
            gpus_per_task=options.slurm_gpus,
            job_name=f"teacher-{options.dataset_config}",
            venv_path=f"{sys.prefix}/bin/activate" if sys.prefix != sys.base_prefix else None,
            **common,
        )
    if options.ray:
        return RayPipelineExecutor(cpus_per_task=options.ray_cpus, gpus_per_task=options.ray_gpus, **common)
    # Started anew, a worker has this process's environment, and the key is nowhere else.
    return LocalPipelineExecutor(start_method="spawn", **common)


def _questions(rows: dict[str, Dataset], config: str) -> tuple[dict[str, dict], dict[str, dict[int, str]]]:
    """Returns all there is to ask with the names of the first row that asks it, and that row's place in its split."""
    names, asked = {}, {}
    for split, split_rows in rows.items():
        asked[split] = {}
        found = tqdm(questions(split_rows), f"reading {split}", len(split_rows), unit="pair")
        for place, (question, row) in enumerate(found):
            if question not in names:
                names[question] = {"id": row["id"], "config": config, "split": split}
                asked[split][place] = question
    return names, asked


def _count(options: argparse.Namespace, asked: Collection[str]) -> Counts:
    finished = (pair for pair in finished_pairs(options.output_dir) if pair["question"] in asked)
    return Counts(finished, len(asked), options.num_answers)


def keep_record(out: Path, question: Question) -> None:
    """Notes in a folder of answers how they were asked for; refuses one whose answers were asked for otherwise."""
    path = out / RECORD
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: pass another --output-dir")
    out.mkdir(parents=True, exist_ok=True)
    asked = asdict(question)
    if path.exists():
        try:
            changes = differences(json.loads(path.read_text(encoding="utf-8")), asked)
        except (json.JSONDecodeError, AttributeError, TypeError) as error:
            raise InputError(f"{path} can't be read: pass another --output-dir") from error
        if changes:
            raise InputError(
                f"{out} holds answers to another question: {changes}. Pass another --output-dir, or ask as before"
            )
    elif any(out.glob("*.jsonl")):
        raise InputError(f"{out} holds answers but no {RECORD}, which says to what: pass another --output-dir")
    for pair in finished_pairs(out):
        if pair.get("settings") != question.digest:
            what = "were asked for otherwise" if "settings" in pair else "don't say what was asked (an old version's)"
            raise InputError(
                f"{out} holds answers that {what}, such as those to {pair['id']}: pass another --output-dir"
            )
    write_text(path, json.dumps(asked, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    options = parse_arguments(arguments)
    with exit_on_error():
        run(options)
