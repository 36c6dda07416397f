"""
What a build takes as it grows: text pairs a second and peak memory, for a tenth of the rows and for all.

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
import datetime
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path


MEASURED = """
import json, resource, sys, time
from datasets_scripts.build import main
from datasets_scripts.load import load_split
began = time.perf_counter()
job, raw, out = sys.argv[1:]
if job == "build":
    sys.stdout = sys.stderr
    main(["unli", "--raw", raw, "--output-dir", out, "--workers", "1"])
    sys.stdout = sys.__stdout__
if job == "load":
    load_split(out, "unli", "train")
seconds = time.perf_counter() - began
# Linux counts in KiB.
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def write_files(folder: Path, rows: int) -> None:
    """Four rows are about three premises; all pairs differ."""
    for name, count in (("train", rows), ("dev", 1000), ("test", 1000)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "pre", "hyp", "nli", "unli"])
            for k in range(count):
                premise = f"In the {name} part, person number {k // 4 * 3 + k % 3} waits at a stop for the late bus."
                writer.writerow([k, premise, f"Somebody has {k} reasons to be out.", k % 3, k % 1001 / 1000])


def measure(job: str, raw: Path, out: Path) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of a job in a process of its own."""
    done = subprocess.run([sys.executable, "-c", MEASURED, job, raw, out], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measures and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rows", type=int, default=1_000_000, help="default: %(default)s")
    options = parser.parse_args()
    began = time.perf_counter()
    print(f"{datetime.date.today()}, {platform.system()} {platform.machine()}, Python {platform.python_version()}\n")
    print("| pairs | job | seconds | pairs / s | peak memory (MiB) |\n|---:|---|---:|---:|---:|")
    for rows in (options.rows // 10, options.rows):
        with tempfile.TemporaryDirectory() as folder:
            raw, out = Path(folder) / "raw", Path(folder) / "umui"
            raw.mkdir()
            write_files(raw, rows)
            for job in ("start", "build", "load"):
                seconds, peak = measure(job, raw, out)
                rate = "" if job == "start" else f"{rows / seconds:,.0f}"
                print(f"| {rows:,} | {job} | {seconds:.1f} | {rate} | {peak:,.0f} |", flush=True)
    print(f"\nIn all {time.perf_counter() - began:.0f} s.")


if __name__ == "__main__":
    main()
