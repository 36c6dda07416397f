"""Evaluations that go into one table: read, checked, and about the same rows wherever they share a column."""

from dataclasses import dataclass
from pathlib import Path

from common.digests import digest
from evaluation.baselines import describe_baselines
from evaluation.prediction_files import EvaluationRun, read_run
from evaluation.predictors.baselines import BASELINES
from modeling_clue.posthoc import for_modality


# What the paper calls its data, in its order, by the source and the modality of the rows.
DATA = {
    ("clotho", "audio"): "Clotho",
    ("unli", "text"): "UNLI",
    ("wikivideo", "video"): "WV-V",
    ("wikivideo", "audio"): "WV-A",
    ("wikivideo", "audiovisual"): "WV-AV",
}
# What their configurations are called, or begin with, which is all that is known of evaluations of before.
NAMES = {
    (f"{source}-{modality}" if source == "wikivideo" else source): name for (source, modality), name in DATA.items()
}
# Settings that say who answers.
WHO_ANSWERS = ("predictor", "model", "weights")
# Rows that an error names.
NAMED = 5


@dataclass(frozen=True)
class Entry:
    """One predictor's evaluation on one configuration, and the predictor's name in the table."""

    name: str
    run: EvaluationRun

    @property
    def config(self) -> str:
        """Returns the configuration it was evaluated on."""
        return self.run.settings["config"]

    @property
    def data(self) -> str:
        """
        Returns what the paper calls the rows, whatever their configuration is called; its name where they are none of
        the paper's: of another source or modality, or with probabilities of a teacher in the place of people's.
        """
        data = self.run.report.get("data")
        if data is None:
            known = NAMES.get(_family(self.config))
        elif "teacher" in data["probability_sources"]:
            known = None
        else:
            known = DATA.get((*data["sources"], *data["modalities"]))
        # A configuration of one's own may be called UNLI.
        return known or (f"{self.config} (not the paper's)" if self.config in DATA.values() else self.config)

    @property
    def provenance(self) -> str:
        """Returns a line on what is behind its numbers: folder, configuration, who answered, rows, baselines."""
        settings, data = self.run.settings, self.run.report.get("data") or {}
        parts = [str(self.run.folder), f"config {self.config}"]
        if data.get("probability_sources"):
            parts.append(f"probabilities by {' and '.join(data['probability_sources'])}")
        if data.get("ratio"):
            parts.append(f"training split {data['ratio']}")
        if data.get("teacher") is not None:
            parts.append(f"labelled by {data['teacher'].get('model', 'a teacher')}")
        parts += [f"{key} {settings[key]}" for key in ("model", "weights", "split", "rows") if settings.get(key)]
        line = f"{self.name} on {self.data}: {', '.join(parts)}."
        if not data and self.config not in NAMES:
            line += " Its report.json does not tell what these rows are: give its command again."
        if data and settings.get("predictor") in BASELINES:
            line += f" {describe_baselines(self.run.report)}"
        return line

    @property
    def temperature(self) -> float | None:
        """Returns the one that the checkpoint itself applies to all rows, if there is one."""
        modalities = (self.run.report.get("data") or {}).get("modalities") or [None]
        parts = [for_modality(self.run.settings.get("calibration"), modality) or {} for modality in modalities]
        temperatures = {part.get("temperature") for part in parts}
        return temperatures.pop() if len(temperatures) == 1 else None

    @property
    def without_number(self) -> int:
        """Returns how many rows have an answer without a number."""
        return len(self.run.predictions) - len(self.run.measurable)

    @property
    def place(self) -> str:
        """Returns the name and the folder, for messages."""
        return f"{self.name} ({self.run.folder})"


def read_entries(named: list[tuple[str, Path]]) -> list[Entry]:
    """
    Reads the evaluations of a table, of a predictor's name and a folder each; a name stands once for each of its own.

    Raises:
        `ValueError`: if a folder is no complete evaluation, its rows are not those that its settings tell of, a name
            has two evaluations on one data set or two predictors, or two evaluations on one data set are about
            different splits or rows.
    """
    entries = [_read(name, folder) for name, folder in named]
    by_place, of_name, of_data = {}, {}, {}
    for entry in entries:
        other = by_place.setdefault((entry.name, entry.data), entry)
        if other is not entry:
            raise ValueError(
                f"{entry.name} is given twice on {entry.data}: {other.run.folder} and {entry.run.folder}. Give them "
                "two names, or leave one out."
            )
        first = of_name.setdefault(entry.name, entry)
        differ = [key for key in WHO_ANSWERS if first.run.settings.get(key) != entry.run.settings.get(key)]
        # The same weights may lie in two places.
        if entry.run.settings.get("weights") and "weights" not in differ and "model" in differ:
            differ.remove("model")
        if differ:
            raise ValueError(
                f"{entry.name} is two predictors: {', '.join(differ)} of {first.run.folder} and {entry.run.folder} "
                "differ. Give them two names."
            )
        _check_same_rows(of_data.setdefault(entry.data, entry), entry)
    return entries


def _family(config: str) -> str:
    """Returns the configuration that one is a variant of, by its name: `clotho` for `clotho-1to1`."""
    return max((name for name in NAMES if f"{config}-".startswith(f"{name}-")), key=len, default=config)


def _read(name: str, folder: Path) -> Entry:
    run = read_run(folder, name)
    missing = [key for key in ("config", "split", "rows") if key not in run.settings]
    if missing:
        raise ValueError(f"{folder}: settings.json does not tell {', '.join(missing)}: evaluate anew.")
    # As evaluation.data.rows_digest takes it of the dataset.
    columns = ("id", "premise", "hypothesis", "target")
    found = digest([[row[column] for row in run.predictions] for column in columns])
    if found != run.settings["rows"]:
        raise ValueError(
            f"{folder}: the rows of predictions.jsonl (digest {found}) are not those that settings.json tells of "
            f"({run.settings['rows']}): a file was changed or replaced. Evaluate anew in another folder."
        )
    return Entry(name, run)


def _check_same_rows(first: Entry, second: Entry) -> None:
    """Refuses two evaluations that are not about the same rows, in whatever order; names folders and rows."""
    splits = [entry.run.settings["split"] for entry in (first, second)]
    if splits[0] != splits[1]:
        raise ValueError(
            f"{first.place} and {second.place} are about different splits of {first.data}: {' and '.join(splits)}."
        )
    rows, others = (
        {row["id"]: {part: row.get(part) for part in ("premise", "hypothesis", "target", "label")} for row in one}
        for one in (first.run.predictions, second.run.predictions)
    )
    differ = {f"only in {first.run.folder}": [name for name in rows if name not in others]}
    differ[f"only in {second.run.folder}"] = [name for name in others if name not in rows]
    for part in ("premise", "hypothesis", "target", "label"):
        shared = [name for name in rows if name in others]
        differ[f"of another {part}"] = [name for name in shared if rows[name][part] != others[name][part]]
    found = [f"{len(names)} rows {how}: {_some(names)}" for how, names in differ.items() if names]
    if found:
        raise ValueError(
            f"{first.place} and {second.place} are not about the same rows of {first.data} {splits[0]}, so they can't "
            f"be compared. {'; '.join(found)}. Evaluate both on one dataset."
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more
