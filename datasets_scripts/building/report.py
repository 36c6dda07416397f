"""The report of a build: every problem in a CSV file, counts and the first few in words."""

import csv
from collections import Counter
from pathlib import Path

from datasets_scripts.building.drafts import Problem


MOST_SHOWN = 20


class Report:
    """
    Collects problems, on disk: there may be as many as rows.

    Args:
        file (`Path`): The CSV file to write: place, kind, complaint.
    """

    def __init__(self, file: Path):
        self.counts: Counter[str] = Counter()
        self._shown: list[str] = []
        self._file = file.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(["place", "kind", "complaint"])

    def add(self, problem: Problem) -> None:
        """Notes one problem."""
        self.counts[problem.kind] += 1
        self._writer.writerow([problem.place, problem.kind, problem.complaint])
        if len(self._shown) < MOST_SHOWN:
            self._shown.append(f"{problem.place}: {problem.complaint}")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __str__(self) -> str:
        total = self.counts.total()
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.counts.items()))
        more = [f"and {total - len(self._shown)} more"] if total > len(self._shown) else []
        return "\n  ".join([f"{total} problem{'s' * (total != 1)} ({kinds}):", *self._shown, *more])
