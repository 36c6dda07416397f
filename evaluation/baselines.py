"""The predictors that see no premise, fitted without the rows that they are measured on."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import compress

import numpy as np
from datasets import Dataset

from datasets_scripts.load import split_names
from evaluation.data import about_other_premises, load_judged, premise_keys, shuffled_premises
from evaluation.predictors.baselines import ConstantMean, HypothesisOnly


# Parts of the premises of a split that has to serve for fitting and for measuring.
FOLDS = 5
# Hypotheses and their probabilities.
Pairs = tuple[list[str], list[float]]


@dataclass(frozen=True)
class FittedTo:
    """
    The split that the baselines of an evaluation were fitted to, and how.

    Args:
        config (`str`), split (`str`), rows (`int`): The split, and the rows taken of it.
        chosen_by (`str`): The `"validation"` split, or `"premises"` held out of this one.
        folds (`int`, *optional*): Where it is the split that is measured, how many parts of its premises were in turn
            answered by what was fitted to the others.
        without_probability (`int`), measured_premises (`int`): Rows left out because they have no probability, or a
            premise that is measured.
    """

    config: str
    split: str
    rows: int
    chosen_by: str
    folds: int | None = None
    without_probability: int = 0
    measured_premises: int = 0


@dataclass(frozen=True)
class Baseline:
    """What the report says of a baseline, and its answers to the rows that are measured, by id."""

    facts: dict
    answers: dict[str, float]


@dataclass(frozen=True)
class Baselines:
    """
    The baselines of an evaluation, `"constant_mean"` and `"hypothesis_only"`, as far as they can be had.

    Of one premise there is no mean of others, and to choose a hypothesis-only predictor takes one more.
    """

    fitted_to: FittedTo
    by_kind: dict[str, Baseline]


def fit_baselines(
    dataset: str, config: str, split: str, rows: Dataset, keys: list[str], other: str | None = None
) -> Baselines:
    """
    Fits the predictors that see no premise, the better of many chosen by validation.

    They are fitted to the training split; without one, to the validation split; without either, or where it is the
    training split that is measured, to the measured rows about other premises, part by part.

    Args:
        dataset (`str`), config (`str`), split (`str`): What is measured.
        rows (`datasets.Dataset`), keys (`list[str]`): Its rows, and the premise of each.
        other (`str`, *optional*): Another config of the dataset to fit them to; it must have rows for that.
    """
    origin = other or config
    names = [name for name in ("train", "validation") if name in split_names(dataset, origin)]
    if (origin, split) == (config, "train"):
        names = []
    loaded = {name: load_judged(dataset, origin, name) for name in names}
    left_out = sum(len(without) for _, without in loaded.values())
    parts = {name: known for name, (known, _) in loaded.items() if len(known)}
    chosen_by = parts.get("validation")
    usable = {name: part for name, part in parts.items() if (origin, name) != (config, split)}
    measured = 0
    if origin != config or "train" not in usable:  # builds keep the training split of a config apart
        apart = {name: about_other_premises(part, rows) for name, part in usable.items()}
        measured = sum(len(usable[name]) - len(part) for name, part in apart.items())
        usable = {name: part for name, part in apart.items() if len(part)}
        chosen_by = usable.get("validation")
    if not usable and origin != config:
        raise ValueError(
            f"--baselines-from {other}: neither its training nor its validation split has rows with a probability "
            "about premises that are not measured. Name another config, or leave it out."
        )
    if not usable:
        return _cross_fit(config, split, rows, keys, left_out)
    name, part = next(iter(usable.items()))
    if name != "train":
        chosen_by = None
    fitted_to = FittedTo(
        config=origin,
        split=name,
        rows=len(part),
        chosen_by="premises" if chosen_by is None else "validation",
        without_probability=left_out,
        measured_premises=measured,
    )
    fit = _fit(_pairs(part), lambda: premise_keys(part), None if chosen_by is None else _pairs(chosen_by))
    return _answered(fitted_to, rows, np.zeros(len(rows), dtype=int), [fit])


def _cross_fit(config: str, split: str, rows: Dataset, keys: list[str], left_out: int) -> Baselines:
    """Answers each part of the premises by what was fitted to the others: no premise is on both sides."""
    premises = shuffled_premises(keys)
    count = min(FOLDS, len(premises))
    fitted_to = FittedTo(config, split, len(rows), "premises", folds=count, without_probability=left_out)
    if count < 2:
        return Baselines(fitted_to, {})
    place = {premise: number % count for number, premise in enumerate(premises)}
    folds = np.array([place[key] for key in keys])
    pairs = _pairs(rows)
    fits = []
    for number in range(count):
        others = folds != number
        fits.append(_fit(_part(pairs, others), lambda others=others: list(compress(keys, others))))
    return _answered(fitted_to, rows, folds, fits)


def _fit(
    pairs: Pairs, keys: Callable[[], list[str]], chosen_by: Pairs | None = None
) -> tuple[ConstantMean, HypothesisOnly | None]:
    """Fits both; a tenth of the premises, at least one, is held out to choose by where nothing else is given."""
    if chosen_by is None:
        names = keys()
        premises = shuffled_premises(names)
        if len(premises) < 2:
            return ConstantMean().fit(*pairs), None
        held_out = set(premises[: max(1, len(premises) // 10)])
        chosen = np.array([name in held_out for name in names])
        pairs, chosen_by = _part(pairs, ~chosen), _part(pairs, chosen)
    return ConstantMean().fit(*pairs), HypothesisOnly().fit(*pairs, *chosen_by)


def _answered(
    fitted_to: FittedTo,
    rows: Dataset,
    folds: np.ndarray,
    fits: list[tuple[ConstantMean, HypothesisOnly | None]],
) -> Baselines:
    """Lets each fit answer the rows of its fold."""
    hypotheses, ids = np.array(rows["hypothesis"][:], dtype=object), rows["id"][:]

    def answers(predictors: list[ConstantMean] | list[HypothesisOnly]) -> dict[str, float]:
        given = np.empty(len(ids))
        for number, predictor in enumerate(predictors):
            given[folds == number] = predictor.predict(hypotheses[folds == number].tolist())
        return dict(zip(ids, given.tolist(), strict=True))

    constants, seen = zip(*fits, strict=True)
    means = answers(constants)
    # Of a single fit its very mean: that of equal numbers may be another in the last digit.
    mean = constants[0].mean if len(fits) == 1 else float(np.mean(list(means.values())))
    by_kind = {"constant_mean": Baseline({"mean": mean}, means)}
    if None not in seen:
        facts = {
            "predictor": "; ".join(dict.fromkeys(one.name for one in seen)),
            "validation_mse": float(np.mean([one.validation_mse for one in seen])),
        }
        by_kind["hypothesis_only"] = Baseline(facts, answers(seen))
    return Baselines(fitted_to, by_kind)


def _pairs(rows: Dataset) -> Pairs:
    return rows["hypothesis"][:], rows["probability"][:]


def _part(pairs: Pairs, chosen: np.ndarray) -> Pairs:
    return tuple(list(compress(column, chosen)) for column in pairs)


def describe_baselines(report: dict) -> str:
    """Says in sentences which baselines a report of `evaluation.run` has, and what they were fitted to."""
    fitted_to = FittedTo(**report["baselines"])
    of = "" if fitted_to.config == report["settings"]["config"] else f" of `{fitted_to.config}`"
    constant, seen = report.get("constant_mean"), report.get("hypothesis_only")
    if constant is None:
        return "There are no baselines: all rows are about one premise, and no other split is there to fit them to."
    if fitted_to.folds is None:
        name = "training" if fitted_to.split == "train" else fitted_to.split
        words = [f"The constant mean is {constant['mean']:.4f}, of the {name} split{of}."]
    else:
        words = [
            "No other split is there to fit baselines to: they answer each of "
            f"{fitted_to.folds} parts of the premises as fitted to the other parts of this split.",
            f"The constant means are {constant['mean']:.4f} on average.",
        ]
    if seen is None:
        words.append("There is no hypothesis-only predictor: it takes one premise more, held out to choose it by.")
    else:
        chosen_by = f"the validation split{of}" if fitted_to.chosen_by == "validation" else "a tenth of its premises"
        if not of and fitted_to.chosen_by == report["settings"]["split"]:
            chosen_by += ", which is measured here,"
        words.append(
            f"Hypothesis only is the best predictor on {chosen_by} that does not see the premise: {seen['predictor']}."
        )
    for count, why in (
        (fitted_to.without_probability, "have no probability"),
        (fitted_to.measured_premises, "are about premises that are measured"),
    ):
        if count:
            words.append(f"Left out of what they were fitted to: {count:,} rows that {why}.")
    return " ".join(words)
