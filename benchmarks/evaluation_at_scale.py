"""
Measures what an evaluation of a folder of videos with 20 hypotheses each takes, against one row at a time with full
logits. README.md says what the variants are.

```bash
python benchmarks/evaluation_at_scale.py
```
"""

import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import (
    ROOT,
    benchmark,
    build_model,
    in_process,
    peak_mib,
    speed_cells,
    stopwatch,
    table_line,
    vocabulary_logits,
    write_video,
)


CLIPS, HYPOTHESES_A_CLIP = 4, 20
VARIANTS = ("rows", "rows, head", "in turn", "evaluation", "evaluation, 2 processes")
CONFIG = "videos"
LAUNCHER = ["-m", "accelerate.commands.launch", "--main_process_port", "0"]
LAUNCHER += ["--config_file", str(ROOT / "train/accelerate_configs/ddp_cpu.yaml")]


def write_dataset(folder: Path) -> None:
    """Writes the clips, a table of what is said about them, and the dataset of both: `folder/umui`."""
    (folder / "clips").mkdir()
    for clip in range(CLIPS):
        write_video(folder / f"clips/{clip}.mp4", 1280, 720, fps=25, slope=clip + 1)
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
    command = [sys.executable, "-m", "datasets_scripts.build", *options.split()]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def score(variant: str, name: str) -> dict | None:
    """Scores the dataset one way, in this process or as one of two, of which the first has the result."""
    import torch
    from accelerate.utils import gather_object

    from evaluation.data import load_rows, premise_keys
    from evaluation.predict import make_batches, predict_split
    from evaluation.predictors.checkpoints import CLUEPredictor
    from evaluation.processes import joined_processes
    from modeling_clue.confidence import expectation

    class Built(CLUEPredictor):
        """Predicts with the benchmark's model."""

        def __init__(self):
            self.model, self.processor, self.confidence_ids = build_model()

    def one_by_one() -> Iterator[float]:
        for row in rows:
            if variant == "rows, head":
                yield predictor.predict([row])[0].probability
                continue
            inputs, _ = predictor.prepare([row])
            with torch.inference_mode():
                logits = vocabulary_logits(predictor.model, inputs, predictor.confidence_ids)
            yield expectation(logits.softmax(-1)).item()

    def together() -> dict[str, float]:
        answers = {}
        for batch in make_batches(list(range(len(rows))), keys, batch_size=1):
            chosen = [rows[index] for index in batch]
            replies = predictor.predict(chosen)
            answers |= {row["id"]: reply.probability for row, reply in zip(chosen, replies, strict=True)}
        return answers

    predictor, folder = Built(), Path(name)
    # What runs slower only the first time.
    predictor.predict([{"modality": "text", "premise": "A short text.", "hypothesis": "A hypothesis."}])
    rows = load_rows(str(folder / "umui"), CONFIG, "test")
    keys, ids = premise_keys(rows), rows["id"][:]
    with joined_processes() as processes, tempfile.TemporaryDirectory() as out:
        place = folder / "two" if processes.num_processes > 1 else Path(out)
        place.mkdir(exist_ok=True)
        processes.wait_for_everyone()
        with stopwatch() as taken:
            if variant in ("rows", "rows, head"):
                probabilities = dict(zip(ids, one_by_one(), strict=True))
            elif variant == "in turn":
                probabilities = together()
            else:
                written = predict_split(lambda: predictor, rows, keys, place, {}, 1, processes)
                probabilities = {row["id"]: row["prediction"] for row in written}
            processes.wait_for_everyone()
        used = gather_object([(taken["cpu_seconds"], peak_mib())])
        if not processes.is_main_process:
            return None
    cpu_seconds, peak = map(sum, zip(*used, strict=True))
    return taken | {"cpu_seconds": cpu_seconds, "peak_mib": peak, "probabilities": probabilities}


def run(threads: int) -> Iterator[str]:
    """Yields the report: a table of every variant, then how far the answers are apart."""
    yield "| scored | hypotheses / s | ratio | CPU s | ratio | peak memory (MiB) |\n|---|---:|---:|---:|---:|---:|"
    results = []
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder))
        for variant in VARIANTS:
            two = variant == "evaluation, 2 processes"
            result = in_process(
                variant,
                folder,
                threads=max(threads // 2, 1) if two else threads,
                launcher=LAUNCHER if two else (),
                HF_DATASETS_CACHE=f"{folder}/cache",
            )
            results.append(result)
            yield table_line((variant, *speed_cells(result, results[0])))
    known = results[0]["probabilities"]
    apart = max(abs(result["probabilities"][row] - known[row]) for result in results for row in known)
    yield (
        f"\nProbabilities from {min(known.values()):.3f} to {max(known.values()):.3f}; none differs by more than "
        f"{apart:.1e} from that of `rows`."
    )


if __name__ == "__main__":
    benchmark(__doc__, run, score)
