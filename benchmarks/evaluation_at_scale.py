"""
What an evaluation of a folder of videos with 20 hypotheses each takes, against one row at a time with full logits.

```bash
python benchmarks/evaluation_at_scale.py
```

- `rows`: row by row, as the paper's research code does it: the clip is decoded for each of its hypotheses, and
  transformers' own forward of the Thinker gives logits over the whole vocabulary at every position;
- `rows, head`: the same, but the last position alone is projected, onto the confidence bins;
- `in turn`: the rows of a premise together, each batch decoded and then scored;
- `evaluation`: what `evaluation.run` does but its report: the next batch is decoded while the model is at one, and
  what is written is synced to disk;
- `evaluation, 2 processes`: the same under `accelerate launch`, each with half of the threads.

The four clips are H.264 files of 30 s, 1280 x 720, in a dataset that `datasets_scripts.build own` makes of them. The
model is that of `shared_premise.py`, of middle size with random weights. Loading it is not counted.
"""

import argparse
import csv
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


# torch is imported by the measured processes alone.

CLIPS, HYPOTHESES_A_CLIP = 4, 20
VARIANTS = ("rows", "rows, head", "in turn", "evaluation", "evaluation, 2 processes")
CONFIG = "videos"
ROOT = Path(__file__).resolve().parents[1]
LAUNCHER = ["-m", "accelerate.commands.launch", "--main_process_port", "0"]


def write_dataset(folder: Path) -> None:
    """The clips, a table of what is said about them, and the dataset of both: `folder/umui`."""
    from benchmarks.tower_cache import write_videos
    from datasets_scripts.build import main as build

    (folder / "clips").mkdir()
    write_videos(folder / "clips", CLIPS)
    with open(folder / "pairs.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "claim", "p"])
        table.writerows(
            [f"{clip}.mp4", f"Stripe number {claim} moves to the left.", claim / HYPOTHESES_A_CLIP]
            for clip in range(CLIPS)
            for claim in range(HYPOTHESES_A_CLIP)
        )
    options = (
        f"own --dataset-config {CONFIG} --table {folder}/pairs.csv --media-root {folder}/clips --media-column file "
        f"--hypothesis-column claim --probability-column p --modality video --split test --output-dir {folder}/umui"
    )
    build(options.split())


def score(variant: str, folder: Path, threads: int) -> dict | None:
    """Scores the dataset one way, in this process or as one of two, of which the first has the result."""
    import torch
    from accelerate.utils import gather_object
    from transformers import Qwen2_5OmniThinkerForConditionalGeneration

    from benchmarks.shared_premise import build
    from evaluation.data import load_rows, premise_keys
    from evaluation.predict import make_batches, predict_split
    from evaluation.predictors.checkpoints import CLUEPredictor
    from evaluation.processes import joined_processes
    from modeling_clue.confidence import expectation

    class Built(CLUEPredictor):
        """The benchmark's model behind the interface of an evaluation."""

        def __init__(self):
            self.model, self.processor, self.confidence_ids = build()

    def one_by_one() -> Iterator[float]:
        for row in rows:
            if variant == "rows, head":
                yield predictor.predict([row])[0].probability
                continue
            inputs, _ = predictor.prepare([row])
            inputs.pop("branch_ids")
            with torch.inference_mode():
                logits = Qwen2_5OmniThinkerForConditionalGeneration.forward(predictor.model, **inputs).logits
            yield expectation(logits[:, -1, predictor.confidence_ids].softmax(-1)).item()

    def together() -> dict[str, float]:
        answers = {}
        for batch in make_batches(list(range(len(rows))), keys, batch_size=1):
            chosen = [rows[index] for index in batch]
            for row, reply in zip(chosen, predictor.predict(chosen), strict=True):
                answers[row["id"]] = reply.probability
        return answers

    torch.set_num_threads(threads)
    predictor = Built()
    predictor.predict(
        [{"modality": "text", "premise": "A short text.", "hypothesis": "A hypothesis."}]
    )  # what runs slower only the first time
    rows = load_rows(str(folder / "umui"), CONFIG, "test")
    keys, ids = premise_keys(rows), rows["id"][:]
    with joined_processes() as processes, tempfile.TemporaryDirectory() as out:
        place = folder / "two" if processes.num_processes > 1 else Path(out)
        place.mkdir(exist_ok=True)
        processes.wait_for_everyone()
        start, cpu_start = time.perf_counter(), time.process_time()
        if variant in ("rows", "rows, head"):
            probabilities = dict(zip(ids, one_by_one(), strict=True))
        elif variant == "in turn":
            probabilities = together()
        else:
            written = predict_split(lambda: predictor, rows, keys, place, {}, 1, processes)
            probabilities = {row["id"]: row["prediction"] for row in written}
        processes.wait_for_everyone()
        seconds = time.perf_counter() - start
        used = gather_object([(time.process_time() - cpu_start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)])
        if not processes.is_main_process:
            return None
    unit = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss, to MiB
    return {
        "seconds": seconds,
        "cpu_seconds": sum(cpu for cpu, _ in used),
        "peak_mib": sum(peak for _, peak in used) / unit,
        "probabilities": probabilities,
    }


def run(threads: int) -> dict[str, dict]:
    """Every variant, in processes of its own: `{variant: result}`."""
    results = {}
    with tempfile.TemporaryDirectory() as name:
        write_dataset(Path(name))
        for variant in VARIANTS:
            launcher, share = [], threads
            if variant == "evaluation, 2 processes":
                launcher = [*LAUNCHER, "--config_file", str(ROOT / "train/accelerate_configs/ddp_cpu.yaml")]
                share = max(threads // 2, 1)
            result = Path(name) / "result.json"
            subprocess.run(
                [sys.executable, *launcher, __file__, "--threads", str(share), "--measure", variant, name, result],
                check=True,
                env=os.environ
                | {
                    "HF_DATASETS_CACHE": str(Path(name) / "cache"),
                    "OMP_NUM_THREADS": str(share),
                    "TRANSFORMERS_VERBOSITY": "error",
                },
            )
            results[variant] = json.loads(result.read_text())
    return results


def report(results: dict[str, dict], threads: int) -> str:
    """The results as Markdown."""
    lines = [
        f"{datetime.date.today()}, {platform.system()} {platform.machine()}, {threads} threads of "
        f"{os.cpu_count()} cores, Python {platform.python_version()}; `python benchmarks/evaluation_at_scale.py "
        f"--threads {threads}`",
        "",
        "| scored | hypotheses / s | ratio | CPU s | ratio | peak memory (MiB) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    slowest = results["rows"]
    for variant, result in results.items():
        lines.append(
            f"| {variant} | {len(result['probabilities']) / result['seconds']:.2f} "
            f"| {slowest['seconds'] / result['seconds']:.1f} | {result['cpu_seconds']:.1f} "
            f"| {slowest['cpu_seconds'] / result['cpu_seconds']:.1f} | {result['peak_mib']:,.0f} |"
        )
    known = slowest["probabilities"]
    apart = max(abs(result["probabilities"][row] - known[row]) for result in results.values() for row in known)
    lines += [
        "",
        f"Probabilities from {min(known.values()):.3f} to {max(known.values()):.3f}; none differs by more than "
        f"{apart:.1e} from that of `rows`.",
    ]
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the processor (default: all)")
    parser.add_argument(
        "--measure",
        nargs=3,
        metavar=("VARIANT", "FOLDER", "RESULT"),
        help="measure one variant in this process, or in this one and others, and write the result as JSON",
    )
    arguments = parser.parse_args()
    if arguments.measure:
        variant, folder, result = arguments.measure
        measured = score(variant, Path(folder), arguments.threads)
        if measured:
            Path(result).write_text(json.dumps(measured))
    else:
        print(report(run(arguments.threads), arguments.threads))


if __name__ == "__main__":
    main()
