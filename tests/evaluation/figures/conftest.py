"""Evaluations in memory, with the columns that a figure is drawn of."""

from evaluation.prediction_files import EvaluationRun


def run_of(name, premises=None, **columns):
    """A run with these columns of its rows; by default each row has a premise of its own."""
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    premises = range(len(rows)) if premises is None else premises
    for number, (row, premise) in enumerate(zip(rows, premises, strict=True)):
        row |= {"id": str(number), "premise": str(premise), "hypothesis": "h"}
    return EvaluationRun(name, name, {}, rows, {})
