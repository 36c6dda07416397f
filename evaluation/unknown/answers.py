"""Asks a checkpoint about each premise of a suite, with its calibration and without, and keeps the answers."""

from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from common.files import journal, locked, read_journal
from datasets_scripts.sources.urn_unknown import Asked
from evaluation.unfinished import check_settings


FINISHED = "answers.jsonl"
KEPT = ("probability", "standard_deviation", "interval", "conformal_interval", "novelty")


@dataclass(frozen=True)
class Answers:
    """Holds the answers about a premise, one a hypothesis, `raw` without the calibration and `calibrated` with it."""

    premise: str
    modality: str
    kind: str
    truth: list[float | None]
    raw: list[dict]
    calibrated: list[dict]


def make_answers(load, suite: list[Asked], out: Path, settings: dict) -> list[Answers]:
    """
    Returns the answers about a suite in its order, going on from what an interrupted run has kept in a folder.

    Args:
        load (`Callable`): Loads the pipeline; called only if premises are left to ask about.
        suite (`list[Asked]`): The premises with their hypotheses.
        out (`Path`): The folder; clips are written into its `media`.
        settings (`dict`): What the answers depend on, kept in `settings.json` beside them.

    Raises:
        ValueError: if the folder holds answers of other settings, or another run is writing to it.
    """
    taken = ValueError(f"Another evaluation is writing to {out}: wait for it, or end it.")
    with locked(out / ".lock", taken):
        check_settings(out, settings)
        path = out / FINISHED
        kept = {row["premise"]: Answers(**row) for row in read_journal(path)} if path.exists() else {}
        left = [asked for asked in suite if asked.name not in kept]
        if kept and left:
            print(f"{out} holds {len(kept):,} of {len(suite):,} premises already: going on with the others.")
        if left:
            (out / "media").mkdir(exist_ok=True)
            clue = load()
            with journal(path) as add:
                for asked in tqdm(left, unit="premise"):
                    kept[asked.name] = ask(clue, asked, out / "media")
                    add([vars(kept[asked.name])])
    return [kept[asked.name] for asked in suite]


def ask(clue, asked: Asked, media: Path) -> Answers:
    """Asks about one premise, which is read once; its clip is written into the folder `media`."""
    premise, hypotheses = clue.read(asked.write(media)), list(asked.hypotheses)
    raw, calibrated = (
        [
            {name: answer[name] for name in KEPT if name in answer}
            for answer in clue(premise, hypotheses=hypotheses, calibrated=calibrated)
        ]
        for calibrated in (False, True)
    )
    return Answers(asked.name, asked.modality, asked.kind, list(asked.probabilities), raw, calibrated)
