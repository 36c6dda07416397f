"""
Measures what many hypotheses about one clip cost: all in one row with the clip, as the model took them before it could
read a premise apart; behind the keys and values of a clip that was read once; and one by one. README.md says more.

```bash
python benchmarks/many_hypotheses.py
```
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import benchmark, build_model, in_process, peak_mib, stopwatch, table_line, write_sound


# (way, numbers of hypotheses); the row of 4,096 would have a mask of 8 GB, and what one takes, a thousand take.
CASES = {"one row": (1, 16, 64, 256, 1024), "read once": (1, 16, 64, 256, 1024, 4096), "one by one": (16, 64)}
SECONDS = 30


def hypotheses(count: int) -> list[str]:
    """Returns as many short hypotheses of one length in tokens, or nearly so."""
    return [f"It fills {number % 10} of {number // 10}." for number in range(1000, 1000 + count)]


def measure(way: str, count: str, clip: str) -> dict:
    """Judges hypotheses about the clip one way, in this process; decoding is not counted, the towers are."""
    import torch

    from modeling_clue.reading import last_of_branch

    model, processor, _ = build_model()
    premise = processor.encode_premise({"audio": clip})
    claims = hypotheses(int(count))

    def one_row(claims: list[str]) -> torch.Tensor:
        batch = processor.collate([premise], [claims])
        outputs, *_ = model.encode(**batch)
        return model.confidence_head(outputs.last_hidden_state[last_of_branch(batch["branch_ids"])])

    def read_once(claims: list[str]) -> torch.Tensor:
        state = model.read(**processor.collate_premises([premise]))
        return model.judge(state, **processor.encode_hypotheses([claims], state.modalities)).logits

    ways = {"one row": one_row, "read once": read_once}
    with torch.inference_mode():
        model(**processor("A short text.", "A hypothesis."))  # what runs slower only the first time
        before = peak_mib()
        with stopwatch() as taken:
            logits = ways[way](claims) if way in ways else torch.cat([one_row([claim]) for claim in claims])
    return {**taken, "first": logits[:16].tolist(), "before_mib": before, "peak_mib": peak_mib()}


def run(threads: int) -> Iterator[str]:
    """Yields the report."""
    head = ("way", "hypotheses", "seconds", "CPU s", "hypotheses / CPU s", "peak memory (MiB)")
    yield table_line(head)
    yield table_line(["---"] + ["---:"] * (len(head) - 1))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "clip.wav")
        write_sound(clip, seconds=SECONDS)
        for way, counts in CASES.items():
            for count in counts:
                result = found[way, count] = in_process(way, count, clip, threads=threads)
                speed = count / result["cpu_seconds"]
                numbers = (f"{result['seconds']:.2f}", f"{result['cpu_seconds']:.2f}", f"{speed:.1f}")
                yield table_line((way, f"{count:,}", *numbers, f"{result['peak_mib']:,.0f}"))
    largest = max(
        abs(one - other)
        for way in CASES
        for rows in (zip(found[way, 16]["first"], found["one by one", 16]["first"], strict=True),)
        for pair in rows
        for one, other in zip(*pair, strict=True)
    )
    # What one takes is the reading of the clip, which all share.
    first = found["read once", 1]["cpu_seconds"]
    each = [(found["read once", count]["cpu_seconds"] - first) / (count - 1) for count in (64, 4096)]
    ratio = found["one row", 1024]["cpu_seconds"] / found["read once", 1024]["cpu_seconds"]
    peaks = [found["read once", count]["peak_mib"] for count in (64, 4096)]
    yield (
        f"\nAt 1,024 the row takes {ratio:.1f} times the CPU seconds. Each further hypothesis takes "
        f"{each[1] * 1000:.0f} ms up to 4,096, {each[1] / each[0] - 1:+.0%} against up to 64; peak memory changes by "
        f"{peaks[1] / peaks[0] - 1:+.1%}. Logits of the first 16 differ by at most {largest:.1e}."
    )


if __name__ == "__main__":
    benchmark(__doc__, run, measure)
