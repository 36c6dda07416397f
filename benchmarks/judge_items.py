"""
Measures what it takes to judge 400 video clips with 10 claims each in one process, and whether that stays the same to
the end: as `modeling_clue.score` does it, and, on the first tenth, one claim a forward pass.

```bash
python benchmarks/judge_items.py
```
"""

import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import HYPOTHESES, benchmark, build_model, in_process, table_line, write_video


CLIPS, CLAIMS = 400, HYPOTHESES[:10]
PART = CLIPS // 4  # the first and the last hundred are compared
SECONDS = 4


def write_items(folder: Path) -> None:
    """Writes the clips, and the items about them: all first claims, then all second ones, and so on."""
    names = [f"{number}.mp4" for number in range(CLIPS)]
    for number, name in enumerate(names):
        write_video(folder / name, 128, 96, fps=10, slope=1 + number % 7, seconds=SECONDS)
    items = [{"video": str(folder / name), "hypothesis": claim} for claim in CLAIMS for name in names]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))


def footprint() -> dict[str, float]:
    """Returns what a process holds: memory that is there, mapped regions, open files."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    maps = len(Path("/proc/self/maps").read_text().splitlines())
    return {"resident_mib": resident, "maps": maps, "files": len(os.listdir("/proc/self/fd"))}


def measure(way: str, folder: str) -> dict:
    """Judges the items one way, in this process."""
    from modeling_clue.pipeline_clue import UncertainInferencePipeline
    from modeling_clue.score import Judge

    model, processor, _ = build_model()
    clue = UncertainInferencePipeline(model, processor=processor)
    marks = []  # time and footprint after each part

    def mark() -> None:
        marks.append({"time": time.perf_counter()} | footprint())

    if way == "together":
        judge = Judge(clue, Path(folder) / "items.jsonl", batch_size=4)
        groups, bad, _ = judge.plan()
        mark()
        for number, _ in enumerate(judge.answers(groups, bad), 1):
            if number * judge.batch_size % PART == 0:
                mark()
        each = PART * len(CLAIMS)
    else:
        lines = (Path(folder) / "items.jsonl").read_text().splitlines()
        items = [json.loads(line) for line in lines]
        clips = list(dict.fromkeys(item["video"] for item in items))[: CLIPS // 10]
        mark()
        for clip in clips:
            for claim in CLAIMS:
                clue({"video": clip, "hypothesis": claim})
        mark()
        each = len(clips) * len(CLAIMS)
    rates = [each / (after["time"] - before["time"]) for before, after in itertools.pairwise(marks)]
    return {"rates": rates, "first": marks[1], "last": marks[-1]}


def run(threads: int) -> Iterator[str]:
    """Yields the report."""
    with tempfile.TemporaryDirectory() as name:
        write_items(Path(name))
        found = {way: in_process(way, name, threads=threads) for way in ("together", "alone")}
    slow = found["alone"]["rates"][0]
    yield "| way | clips | items / s | ratio | resident memory (MiB) | mapped regions | open files |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    rows = [
        (f"`modeling_clue.score`, first {PART}", found["together"]["rates"][0], found["together"]["first"]),
        (f"`modeling_clue.score`, last {PART}", found["together"]["rates"][-1], found["together"]["last"]),
        (f"one claim a forward, first {CLIPS // 10}", slow, found["alone"]["last"]),
    ]
    for way, rate, held in rows:
        way, clips = way.split(", ")
        memory = f"{held['resident_mib']:,.0f}"
        yield table_line((way, clips, f"{rate:.1f}", f"{rate / slow:.1f}", memory, held["maps"], held["files"]))


if __name__ == "__main__":
    benchmark(__doc__, run, measure)
