"""Baselines are never fitted to what they are measured on, whatever splits there are, and the report says to what."""

import json

import datasets
import numpy as np
import pytest

from datasets_scripts.schema import FEATURES
from evaluation import run
from evaluation.baselines import FOLDS, describe_baselines, fit_baselines
from evaluation.data import describe, load_rows, premise_keys


def write(folder, splits):
    """A dataset of texts: by config and split, pairs of a premise's number and a probability."""
    lines = ["---", "configs:"]
    for config, parts in splits.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        (folder / config).mkdir(parents=True)
        for split, rows in parts.items():
            rows = [
                dict.fromkeys(FEATURES)
                | {"id": f"{config}-{split}-{place}", "modality": "text", "hypothesis": f"Claim {place % 3}."}
                | {"source": "mine", "probability_source": "human"}
                | {"premise": f"Premise {number}.", "probability": probability}
                for place, (number, probability) in enumerate(rows)
            ]
            lines.append(f"  - {{split: {split}, path: {config}/{split}.parquet}}")
            datasets.Dataset.from_list(rows, FEATURES).to_parquet(folder / config / f"{split}.parquet")
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return str(folder)


def fitted(dataset, config="own", split="test", other=None):
    """The baselines, and the measured rows by id."""
    rows = load_rows(dataset, config, split)
    keys = premise_keys(rows)
    return fit_baselines(dataset, config, split, rows, keys, other), dict(zip(rows["id"][:], rows, strict=True))


def pairs(premises, each=3, first=0):
    """Rows about `premises` premises; the mean of some probabilities tells which premises these are."""
    return [(first + number, 0.5 ** (number + 1)) for number in range(premises) for _ in range(each)]


@pytest.mark.parametrize(("splits", "split"), [(("test",), "test"), (("train", "test"), "train")])
def test_a_split_that_stands_alone_is_answered_by_its_other_premises(tmp_path, splits, split):
    """The constant mean of each row is that of whole premises without the row's own fifth of them, and without the one
    that the hypothesis-only predictor is chosen by."""
    dataset = write(tmp_path, {"own": {name: pairs(11) if name == split else pairs(2) for name in splits}})
    baselines, rows = fitted(dataset, split=split)
    assert (baselines.fitted_to.split, baselines.fitted_to.folds) == (split, FOLDS)
    answers = baselines.by_kind["constant_mean"].answers
    parts = {}
    for name, row in rows.items():
        parts.setdefault(answers[name], set()).add(row["premise"])
    assert sorted(map(len, parts.values())) == [2, 2, 2, 2, 3]
    assert len(set.union(*parts.values())) == 11
    for answer, premises in parts.items():
        others = {row["probability"] for row in rows.values() if row["premise"] not in premises}
        assert any(answer == pytest.approx(np.mean([*others - {held_out}])) for held_out in others)
    assert set(baselines.by_kind["hypothesis_only"].answers) == set(rows)


@pytest.mark.parametrize("name", ["train", "validation"])
def test_the_own_training_split_or_else_validation_is_taken(tmp_path, name):
    """All of its rows with a probability; those without are counted."""
    dataset = write(tmp_path, {"own": {name: [*pairs(10), (99, None)], "test": pairs(3, first=50)}})
    baselines, rows = fitted(dataset)
    others = {probability for _, probability in pairs(10)}  # the hypothesis-only predictor is chosen by one of them
    constant = baselines.by_kind["constant_mean"]
    assert set(constant.answers.values()) == {constant.facts["mean"]}
    assert any(constant.facts["mean"] == pytest.approx(np.mean([*others - {held_out}])) for held_out in others)
    assert (baselines.fitted_to.split, baselines.fitted_to.without_probability) == (name, 1)


def test_another_config_is_taken_without_the_measured_premises(tmp_path):
    """With `--baselines-from`, rows about a premise that is measured are left out and counted."""
    others = [(number, 0.25) for number in range(50, 60)]
    dataset = write(tmp_path, {"own": {"test": pairs(3)}, "big": {"train": [*others, (1, 1.0), (2, 1.0)]}})
    baselines, _ = fitted(dataset, other="big")
    assert baselines.by_kind["constant_mean"].facts["mean"] == 0.25
    assert (baselines.fitted_to.config, baselines.fitted_to.measured_premises) == ("big", 2)
    same = write(tmp_path / "same", {"own": {"test": pairs(3)}, "big": {"train": pairs(3)}})
    with pytest.raises(ValueError, match="--baselines-from big: neither .* about premises that are not measured"):
        fitted(same, other="big")


def test_one_premise_has_no_baseline(tmp_path):
    """Nothing else is there to fit to: the report goes without, and a baseline itself cannot be evaluated."""
    dataset = write(tmp_path, {"own": {"test": pairs(1)}, "two": {"test": pairs(2)}})
    baselines, _ = fitted(dataset)
    assert baselines.by_kind == {}
    assert list(fitted(dataset, "two")[0].by_kind) == ["constant_mean"]
    given = [
        *("--dataset", dataset, "--dataset-config", "own"),
        *("--predictor", "constant_mean", "--output-dir", str(tmp_path / "out")),
    ]
    with pytest.raises(ValueError, match="--baselines-from"):
        run.main(given)


def test_a_test_split_alone_is_evaluated(tmp_path):
    """The command gives the report with both baselines, and says in words what they were fitted to."""
    dataset = write(tmp_path, {"own": {"test": pairs(6)}, "big": {"train": pairs(10, first=50)}})
    given = ["--dataset", dataset, "--dataset-config", "own", "--predictor", "constant_mean", "--output-dir"]
    alone = run.main([*given, str(tmp_path / "alone")])
    assert alone["measures"]["mse"] == alone["constant_mean"]["measures"]["mse"]
    assert "hypothesis_only" in alone
    assert "5 parts of the premises" in (tmp_path / "alone/report.md").read_text()
    lent = run.main([*given, str(tmp_path / "lent"), "--baselines-from", "big"])
    assert lent["settings"]["fitted"]["mean"] == lent["constant_mean"]["mean"] != alone["constant_mean"]["mean"]
    assert "of the training split of `big`" in describe_baselines(lent)
    with pytest.raises(ValueError, match="big.*own|own.*big"):
        run.main([*given, str(tmp_path / "none"), "--baselines-from", "bog"])


def test_a_config_is_described_by_its_build_not_by_its_name(tmp_path):
    """Source, ratio and teacher are those in `build.json`; restored or foreign rows speak for themselves."""
    dataset = write(tmp_path, {"own": {"test": pairs(2)}})
    rows = load_rows(dataset, "own", "test")
    facts = {"sources": ["mine"], "modalities": ["text"], "probability_sources": ["human"]}
    assert describe(dataset, "own", rows) == facts | {"ratio": None, "teacher": None}
    build = {"source": "wikivideo", "ratio": "1:1", "options": {"labelled_by": {"model": "t"}}}
    path = tmp_path / "own/build.json"
    path.write_text(json.dumps(build))
    assert describe(dataset, "own", rows) == facts | {
        "sources": ["wikivideo"],
        "ratio": "1:1",
        "teacher": {"model": "t"},
    }
    path.write_text(json.dumps(build | {"source": "restore"}))
    assert describe(dataset, "own", rows)["sources"] == ["mine"]
    for broken in ("{", "[]"):
        path.write_text(broken)
        with pytest.raises(ValueError, match="build.json"):
            describe(dataset, "own", rows)


def test_a_probability_outside_of_0_and_1_names_its_row(tmp_path):
    """It would be measured as if it were one."""
    dataset = write(tmp_path, {"own": {"test": [*pairs(2), (9, 70.0)]}})
    with pytest.raises(ValueError, match=r"outside of \[0, 1\], the first of them own-test-6: 70"):
        load_rows(dataset, "own", "test")
