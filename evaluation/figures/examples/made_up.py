"""
Writes judgements of people and answers of teachers that don't exist, for examples of figures 3 and 4.

```bash
python evaluation/figures/examples/made_up.py UMUI_FOLDER OUT
```
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from datasets_scripts.load import load_split


# How far people are off, and how teachers stretch what is true.
PEOPLE = {"ann": 0.04, "ben": 0.08, "cleo": 0.12, "dora": 0.3}
TEACHERS = {"thinking": 3, "hasty": 0.4}


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder of the urn world, as `make demo` builds it")
    parser.add_argument("out", type=Path, help="folder to write to")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    rows = load_split(options.dataset, "urn-video", "test")
    rows = rows.select(range(min(160, len(rows))))
    with open(options.out / "raw.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["annotator", "item", "probability"])
        for name, noise in PEOPLE.items():
            for row in rows:
                said = np.clip(row["probability"] + random.normal(0, noise), 0, 1)
                writer.writerow([name, row["id"], 5 * round(20 * said)])
    for name, stretch in TEACHERS.items():
        with open(options.out / f"{name}.jsonl", "w") as file:
            for row in rows:
                centre = np.clip(0.5 + stretch * (row["probability"] - 0.5), 0, 1)
                said = np.clip(centre + random.normal(0, 0.1, 5), 0, 1).round(2).tolist()
                answers = [{"text": str(value), "probability": value, "reason": None} for value in said]
                pair = {"id": row["id"], "config": "urn-video", "split": "test", "answers": answers}
                file.write(json.dumps(pair) + "\n")


if __name__ == "__main__":
    main()
