"""Tables 1 and 5 of the paper: how good teachers' votes are on items that several people judged."""

from pathlib import Path

import numpy as np

from chat.answers import Parsed, summarise
from common.errors import InputError
from datasets_scripts.paper_numbers import paper_numbers, paper_title
from datasets_scripts.teachers.answer_files import Answers, read_answers
from evaluation.judged import judged_by_two, match, premise_of
from evaluation.metrics.uncertain_inference.measures import measure
from evaluation.paper.layout import INTERVALS, Column, Row, Table, lay_out


COLUMNS = {
    1: [Column("accuracy", "accuracy"), Column("mse", "MSE")],
    5: [
        Column("accuracy", "accuracy"),
        Column("mse", "MSE"),
        Column("krippendorff_alpha", "Krippendorff's alpha"),
    ],
}
NOTES = [
    "Against the mean of what at least two people said of an item. Votes: 1, the first answer alone; N-majority and "
    "N-mean of N answers (majority is called max in the paper).",
    "Items without a number (their answers give no vote) are counted and in no measure: never 0.",
    "Accuracy: vote and people on the same side of 0.5, without items on which people's mean is 0.5. Alpha: interval "
    "data, two coders, the votes and people's means.",
    "paper: what the paper prints for a teacher of the same name, on its own items: a reference, no competitor. Rows "
    "with dashes are the paper's alone. How its MSE is formed it does not say: item by item, as here, 1.56e-5 beside "
    "an accuracy of .857 would need the items on the wrong side to lie within about .01 of 0.5.",
]


def make_table(table: int, answers: dict[str, Path], judgements: Path, resamples: int, seed: int) -> Table:
    """
    Makes table 1 or 5 of files or folders of answers, by the teacher's name, and aggregated judgements.

    Raises:
        `InputError`: if a file is no good, or teachers were asked about different items.
    """
    people, judged = judged_by_two(judgements)
    rows, asked, first = [], [], None
    for name, path in answers.items():
        read = read_answers(path)
        found = match(read, people, name)
        asked.append(_asked(name, found, len(read)))
        first = first or (name, found)
        _check_same_items(first, (name, found))
        targets = np.array([people[item].mean for item in found])
        premises = np.array([premise_of(item, people[item].video) for item in found])
        for votes, values in votes_of([pair.parsed for pair in found.values()]).items():
            there = ~np.isnan(values)
            counts = {
                "rows": len(found),
                "premises": len(set(premises)),
                "not asked": len(people) - len(found),
                "without number": int((~there).sum()),
            }
            row = Row({"teacher": name, "votes": votes}, counts, facts={"answers": str(path)})
            # A teacher of whom nothing can be read has a row without a measure.
            if there.any():
                only, clusters = [column.measure for column in COLUMNS[table]], premises[there]
                given = {"clusters": clusters, "resamples": resamples, "seed": seed, "only": only}
                row.results.update(measure(values[there], targets[there], **given))
            rows.append(row)
    notes = [
        INTERVALS.format(resamples, seed),
        *NOTES,
        f"{judged:,} judged items, {len(people):,} of them by at least two people.",
        *asked,
    ]
    unknown = sum(people[item].video is None for item in first[1])
    if unknown:
        notes.append(f"Of {unknown:,} items {judgements.name} tells no video: each is a premise of its own.")
    ours = {f"{row.names['teacher']}, {row.names['votes']}": row for row in rows}
    for (place, column), number in paper_numbers(table).items():
        row = ours.setdefault(place, Row(dict(zip(("teacher", "votes"), place.split(", "), strict=True))))
        row.paper[column] = number
    return lay_out(f"table{table}", f"Table {table}: {paper_title(table)}", list(ours.values()), COLUMNS[table], notes)


def votes_of(answers: list[tuple[Parsed, ...]]) -> dict[str, np.ndarray]:
    """
    Forms the votes on items in every way, `(items,)` by name, NaN where there is none.

    The answers to each item are in the order in which they were asked for; a single one an item has the name `"1"`
    alone.
    """
    number = max(map(len, answers))
    votes = {"1": [one[0].probability for one in answers]}
    if number > 1:
        summaries = [summarise(one) for one in answers]
        votes[f"{number}-majority"] = [summary.majority for summary in summaries]
        votes[f"{number}-mean"] = [summary.mean for summary in summaries]
    return {name: np.array(values, float) for name, values in votes.items()}


def _asked(name: str, found: dict[str, Answers], pairs: int) -> str:
    """Returns a line on how much a teacher was asked, and how much of it could not be read."""
    numbers = [len(pair.parsed) for pair in found.values()]
    fewer = "" if min(numbers) == max(numbers) else f", to some only {min(numbers)}"
    unread = sum(numbers) - sum(len(pair.valid) for pair in found.values())
    return (
        f"{name}: {max(numbers)} answers an item{fewer}; {unread:,} answers without a probability; "
        f"{pairs - len(found):,} other pairs not used."
    )


def _check_same_items(first: tuple[str, dict], second: tuple[str, dict]) -> None:
    """Refuses teachers, each a name and the answers to items, that were asked about different ones."""
    (name, found), (other, others) = first, second
    apart = [(name, sorted(found.keys() - others.keys())), (other, sorted(others.keys() - found.keys()))]
    found = [f"{len(items)} only to {who}, such as {items[0]!r}" for who, items in apart if items]
    if found:
        raise InputError(
            f"--answers: {name} and {other} were not asked about the same judged items, so they can't be compared: "
            f"{'; '.join(found)}. Ask both about all of them, or make two tables"
        )
