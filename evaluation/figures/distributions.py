"""How people, teachers and models use the scale: histograms against one reference (figures 4 and 6 of the paper)."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.spatial.distance import jensenshannon

from datasets_scripts.teachers.answer_files import read_answers
from evaluation.agreement import histogram
from evaluation.figures.style import MODEL, PRINTED, TRUTH, label_left, label_panels, panel_grid, wrapped
from evaluation.judged import judged_by_two, match
from evaluation.prediction_files import EvaluationRun


def teacher_answers(answers: dict[str, Path], judgements: Path) -> tuple[dict[str, list[float]], list[float]]:
    """
    Reads the readable answers of teachers, by their names, and the single judgements of people, on the same items.

    These are the items that at least two people judged, as figure 4 compares them.

    Raises:
        `InputError`: if a file is no good, or there are no such items.
        `ValueError`: if none of a teacher's answers could be read.
    """
    people, _ = judged_by_two(judgements)
    found = {
        name: [value for pair in match(read_answers(path), people, name).values() for value in pair.valid]
        for name, path in answers.items()
    }
    if unread := [name for name, values in found.items() if not values]:
        raise ValueError(f"None of the answers of {', '.join(unread)} could be read: there is nothing to draw.")
    return found, [value for item in people.values() for value in item.probabilities]


def ratio_predictions(runs: list[EvaluationRun]) -> tuple[dict[str, list[float]], list[float]]:
    """
    Returns the predictions of runs, by their names, and the targets of the rows, as figure 6 compares them.

    Raises:
        `ValueError`: if the runs are not of the same rows.
    """
    columns = ("premise", "hypothesis", "target")
    asked = [{row["id"]: [row[column] for column in columns] for row in run.predictions} for run in runs]
    for run, rows in zip(runs[1:], asked[1:], strict=True):
        if rows != asked[0]:
            differ = sorted(key for key in rows.keys() | asked[0].keys() if rows.get(key) != asked[0].get(key))
            raise ValueError(
                f"{runs[0].folder} and {run.folder} are not of the same rows; {len(differ)} differ, the first is "
                f"{differ[0]}: evaluate both on one split."
            )
    return {run.name: [row["prediction"] for row in run.measurable] for run in runs}, [
        row["target"] for row in runs[0].predictions
    ]


@rc_context(PRINTED)
def draw_distributions(
    answers: dict[str, list[float]], reference: list[float], reference_name: str
) -> tuple[Figure, str]:
    """Draws a histogram of each set of answers, the reference's outline over it; says in words what it shows."""
    figure, panels = panel_grid(list(answers), 1.75 if len(answers) > 1 else 2.3, extra=0.3)
    shares = {name: _shares(values) for name, values in answers.items()}
    expected = _shares(reference)
    edges = np.linspace(0, 1, len(expected) + 1)
    words = [
        f"Histograms, in {len(expected)} bins, of the probabilities given by {', '.join(answers)}, each beside those "
        f"of the {reference_name} (n = {len(reference):,}, mean {np.mean(reference):.3f})."
    ]
    highest = max(share.max() for share in (*shares.values(), expected))
    for (name, share), (axes,) in zip(shares.items(), panels, strict=True):
        axes.bar(edges[:-1], share, 1 / len(share), align="edge", color=MODEL, edgecolor="w", label="answers")
        axes.stairs(expected, edges, color=TRUTH, linewidth=1.4, label=reference_name, baseline=None)
        distance = float(jensenshannon(share, expected, base=2))
        mean = float(np.mean(answers[name]))
        axes.set_title(
            f"{wrapped(name, len(answers))}\nn = {len(answers[name]):,}, mean {mean:.2f}\nJS distance {distance:.2f}",
            parse_math=False,
        )
        axes.set(xlim=(-0.02, 1.02), ylim=(0, 1.05 * highest))
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        label_left(axes, "share of answers", shared=True)
        words.append(
            f"{name}: n = {len(answers[name]):,}, mean {mean:.3f}, {share[0]:.0%} below 0.1 and {share[-1]:.0%} from "
            f"0.9 on ({reference_name}: {expected[0]:.0%} and {expected[-1]:.0%}); Jensen-Shannon distance of the "
            f"histograms {distance:.3f}."
        )
    label_panels(figure, panels[0][0], "probability")
    return figure, "\n".join(words)


def _shares(values: list[float]) -> np.ndarray:
    counts = histogram(np.array(values, dtype=float))
    return counts / counts.sum()
