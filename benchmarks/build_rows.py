"""
Measures what a build takes as it grows: text pairs a second and peak memory, for a tenth of the rows and for all.

```bash
python benchmarks/build_rows.py                    # 100,000 and 1,000,000 pairs
python benchmarks/build_rows.py --rows 100000
```

The pairs are made up, in the layout of UNLI's published files. Every build, and every reading back with `load_split`,
runs in a process of its own, so that its peak memory is its own; `start` is a process that only imports what a build
imports.
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import benchmark, in_process, peak_mib, stopwatch, table_line


def write_files(folder: Path, rows: int) -> None:
    """Writes pairs that all differ; four rows are about three premises."""
    for name, count in (("train", rows), ("dev", 1000), ("test", 1000)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "pre", "hyp", "nli", "unli"])
            for k in range(count):
                premise = f"In the {name} part, person number {k // 4 * 3 + k % 3} waits at a stop for the late bus."
                writer.writerow([k, premise, f"Somebody has {k} reasons to be out.", k % 3, k % 1001 / 1000])


def measure(job: str, raw: str, out: str) -> dict:
    """Does a job in this process."""
    from datasets_scripts.building.writer import write_config
    from datasets_scripts.load import load_split
    from datasets_scripts.sources import unli

    with stopwatch() as taken:
        if job == "build":
            options = argparse.Namespace(source="unli", raw=Path(raw), seed=0)
            for config, splits in unli.configs(options).items():
                write_config(Path(out), config, splits, vars(options))
        if job == "load":
            load_split(out, "unli", "train")
    return taken | {"peak_mib": peak_mib()}


def run(rows: int) -> Iterator[str]:
    """Yields a line for each job on a tenth of the rows and on all."""
    yield "| pairs | job | seconds | pairs / s | peak memory (MiB) |\n|---:|---|---:|---:|---:|"
    with stopwatch() as taken:
        for count in (rows // 10, rows):
            with tempfile.TemporaryDirectory() as folder:
                raw, out = Path(folder) / "raw", Path(folder) / "umui"
                raw.mkdir()
                write_files(raw, count)
                for job in ("start", "build", "load"):
                    result = in_process(job, raw, out)
                    rate = "" if job == "start" else f"{count / result['seconds']:,.0f}"
                    yield table_line(
                        (f"{count:,}", job, f"{result['seconds']:.1f}", rate, f"{result['peak_mib']:,.0f}")
                    )
    yield f"\nIn all {taken['seconds']:.0f} s."


if __name__ == "__main__":
    benchmark(__doc__, run, measure, "--rows", 1_000_000, "default: %(default)s")
