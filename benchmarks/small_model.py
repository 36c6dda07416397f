"""
Measures how long the small model takes to answer on a processor, beside the tiny one: three hypotheses about a
sentence and about a sound of five seconds. `make small` brings the small model.

```bash
python benchmarks/small_model.py
```
"""

import statistics
from collections.abc import Iterator

from benchmarks.measure import ROOT, benchmark, in_process, peak_mib, stopwatch, table_line


MODELS = {"clue-urn-tiny": ROOT / "checkpoints/clue-urn-tiny", "clue-small": ROOT / "runs/small/clue-small"}
PREMISES = {
    "text": "A man in a blue shirt is playing the guitar in front of a crowd.",
    "audio": str(ROOT / "spaces/demo/examples/dog.ogg"),
}
HYPOTHESES = ["A dog barks.", "A man is making music.", "Nobody is there."]
REPEATS = 20


def measure(checkpoint: str) -> dict:
    """Loads a checkpoint and asks it, in this process."""
    from transformers import pipeline

    with stopwatch() as loading:
        clue = pipeline("uncertain-inference", model=checkpoint, trust_remote_code=True)
    result = {"loading": loading["seconds"]}
    for modality, premise in PREMISES.items():
        clue({modality: premise, "hypotheses": HYPOTHESES})  # what runs slower only the first time
        seconds = []
        for _ in range(REPEATS):
            with stopwatch() as taken:
                clue({modality: premise, "hypotheses": HYPOTHESES})
            seconds.append(taken["seconds"])
        result[modality] = statistics.median(seconds)
    return result | {"peak_mib": peak_mib()}


def run(threads: int) -> Iterator[str]:
    """Yields the report."""
    missing = [str(folder.relative_to(ROOT)) for folder in MODELS.values() if not folder.is_dir()]
    if missing:
        yield f"There is no {missing[0]}: run `make small` first."
        return
    results = {name: in_process(folder, threads=threads) for name, folder in MODELS.items()}
    tiny = results["clue-urn-tiny"]
    yield "| model | loads (s) | a text (s) | ratio | a sound (s) | ratio | peak memory (MiB) |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, result in results.items():
        cells = [f"{result['loading']:.1f}"]
        for modality in PREMISES:
            cells += [f"{result[modality]:.3f}", f"{result[modality] / tiny[modality]:.1f}"]
        yield table_line((name, *cells, f"{result['peak_mib']:,.0f}"))


if __name__ == "__main__":
    benchmark(__doc__, run, measure)
