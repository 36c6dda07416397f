"""
Compares ways to tell that a premise or a hypothesis is not what a checkpoint was made for: the spread of its answer,
distances to a validation split, an error learned from that split, and a bin that rejects. evaluation/unknown.md has
the results.

```bash
python -m evaluation.unknown.compare --model checkpoints/clue-urn-tiny --dataset umui
```

Takes the `validation` and `test` splits of `urn-text`, `urn-audio` and so on, and makes the premises of
`evaluation.unknown`. A third of the validation split is held back: the largest score there is the limit beyond which
an answer counts as one about something else.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from common.cli import ArgumentParser, exit_on_error, positive_int, seed
from datasets_scripts.sources.urn_unknown import FAMILIAR, Asked, make_suite
from evaluation.data import load_rows, premise_keys
from evaluation.novelty import fit_region
from evaluation.predict import make_batches
from evaluation.predictors.checkpoints import CLUEPredictor
from evaluation.tables import markdown_table
from evaluation.unknown.measures import auroc
from modeling_clue.confidence import standard_deviation
from modeling_clue.modalities import MODALITIES
from modeling_clue.novelty import distances, input_means


# Rows: `features` by name, `(n, width)`; `logits`; `target`.
Rows = dict[str, np.ndarray]
Score = Callable[[Rows], np.ndarray]
NEIGHBOURS = 5


@torch.inference_mode()
def features(predictor: CLUEPredictor, inputs) -> dict[str, torch.Tensor]:
    """Returns what scores look at, of every hypothesis of a batch."""
    given = []
    hook = predictor.model.confidence_head.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    output = predictor.model(**inputs.to(predictor.model.device), calibrated=False, output_hidden_states=True)
    hook.remove()
    states, found = output.hidden_states, {"logits": output.logits, "read-out": given[0]}
    for name, layer in (("inputs", 0), ("middle layer", len(states) // 2), ("last layer", len(states) - 1)):
        premises, hypotheses = input_means(states[layer], inputs["branch_ids"])
        found[f"premise, {name}"], found[f"hypothesis, {name}"] = premises[output.premise_index], hypotheses
    return {name: values.float().cpu() for name, values in found.items()}


def joined(parts: list[dict[str, torch.Tensor]], targets: list[float]) -> Rows:
    """Puts batches together."""
    rows = {name: torch.cat([part[name] for part in parts]).double().numpy() for name in parts[0]}
    return rows | {"target": np.array(targets)}


def of_split(predictor: CLUEPredictor, dataset: str, modality: str, split: str) -> tuple[Rows, np.ndarray]:
    """Returns the features of a split, and the premise of each row as a number."""
    rows = load_rows(dataset, f"urn-{modality}", split)
    keys, parts, order = premise_keys(rows), [], []
    for batch in tqdm(make_batches(list(range(len(rows))), keys, 16), desc=f"{modality} {split}", leave=False):
        for one in predictor.prepare([rows[index] for index in batch]):
            parts.append(features(predictor, one.inputs))
            order += [batch[place] for place in one.rows]
    numbers = np.unique(keys, return_inverse=True)[1]
    return joined(parts, [rows["probability"][index] for index in order]), numbers[order]


def of_suite(predictor: CLUEPredictor, suite: list[Asked], media: Path) -> dict[str, Rows]:
    """Returns the features of each kind of premise of one modality."""
    parts = {asked.kind: [] for asked in suite}
    for asked in tqdm(suite, desc="other premises", leave=False):
        parts[asked.kind].append(
            features(predictor, predictor.processor([asked.write(media)], [list(asked.hypotheses)]))
        )
    return {kind: joined(of_kind, []) for kind, of_kind in parts.items()}


def mahalanobis(train: Rows, held: Rows, names: list[str]) -> Score:
    """Returns the largest of the distances in units of the largest on what was held back."""
    regions = {name: fit_region(torch.tensor(train[name])) for name in names}

    def score(rows: Rows) -> np.ndarray:
        return np.max([distance(rows, name) / limits[name] for name in names], axis=0)

    def distance(rows: Rows, name: str) -> np.ndarray:
        return distances(torch.tensor(rows[name]), regions[name]).double().numpy()

    limits = {name: distance(held, name).max() for name in names}
    return score


def nearest(train: Rows, names: list[str]) -> Score:
    """Returns the distance to the fifth nearest row, each feature in units of its standard deviation."""
    scaler = StandardScaler().fit(together(train, names))
    found = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(scaler.transform(together(train, names)))
    return lambda rows: found.kneighbors(scaler.transform(together(rows, names)))[0][:, -1]


def learned_error(train: Rows, model) -> Score:
    """Returns the logarithm of the error, as a regression on the read-out predicts it."""
    bins = np.linspace(0, 1, train["logits"].shape[1])
    predictions = torch.tensor(train["logits"]).softmax(-1).numpy() @ bins
    fitted = make_pipeline(StandardScaler(), model).fit(
        train["read-out"], np.log(np.abs(predictions - train["target"]) + 1e-4)
    )
    return lambda rows: fitted.predict(rows["read-out"])


def reject(train: Rows, outside: list[Rows], names: list[str]) -> Score:
    """Returns the log-odds of a further bin, trained on rows of the split against others."""
    others = np.concatenate([together(rows, names) for rows in outside])
    known = together(train, names)
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced")).fit(
        np.concatenate([known, others]), np.repeat([0, 1], [len(known), len(others)])
    )
    return lambda rows: fitted.decision_function(together(rows, names))


def together(rows: Rows, names: list[str]) -> np.ndarray:
    """Returns features side by side."""
    return np.concatenate([rows[name] for name in names], axis=1)


def spread(rows: Rows) -> np.ndarray:
    """Returns the standard deviation of the answer."""
    return standard_deviation(torch.tensor(rows["logits"]).softmax(-1)).double().numpy()


def scores(train: Rows, held: Rows, kinds: dict[str, Rows]) -> dict[str, dict[str, Score]]:
    """Returns each score by its name, for each kind of premise: a bin that rejects learns from the other kinds."""
    means = {name: [f"premise, {name}", f"hypothesis, {name}"] for name in ("inputs", "middle layer", "last layer")}
    always = {
        "spread of the answer": spread,
        "Mahalanobis, logits": mahalanobis(train, held, ["logits"]),
        "Mahalanobis, read-out": mahalanobis(train, held, ["read-out"]),
        **{f"Mahalanobis, means, {name}": mahalanobis(train, held, both) for name, both in means.items()},
        "Mahalanobis, means, inputs and middle layer": mahalanobis(
            train, held, means["inputs"] + means["middle layer"]
        ),
        f"{NEIGHBOURS} nearest, read-out": nearest(train, ["read-out"]),
        f"{NEIGHBOURS} nearest, means, inputs": nearest(train, means["inputs"]),
        "error learned, linear": learned_error(train, Ridge(10.0)),
        "error learned, one hidden layer": learned_error(
            train,
            MLPRegressor(hidden_layer_sizes=(64,), alpha=0.01, max_iter=300, early_stopping=True, random_state=0),
        ),
    }
    found = {name: dict.fromkeys(kinds, score) for name, score in always.items()}
    for name, features_ in (("read-out", ["read-out"]), ("means, inputs", means["inputs"])):
        found[f"rejecting bin, {name}"] = {
            kind: reject(train, [rows for other, rows in kinds.items() if other != kind], features_) for kind in kinds
        }
    return found


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line: prints a table over all modalities and kinds."""
    args = parse(arguments)
    predictor = CLUEPredictor(args.model)
    measured: dict[str, list[tuple[str, float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as media:
        for modality in args.modalities:
            validation, premises = of_split(predictor, args.dataset, modality, "validation")
            test, _ = of_split(predictor, args.dataset, modality, "test")
            train, held = (
                {name: values[(premises % 3 == 0) == back] for name, values in validation.items()}
                for back in (False, True)
            )
            given = argparse.Namespace(modalities=[modality], premises=args.premises, hypotheses=6, seed=args.seed)
            kinds = of_suite(predictor, make_suite(given), Path(media))
            kinds.pop(FAMILIAR)
            for name, of_kinds in scores(train, held, kinds).items():
                for kind, score in of_kinds.items():
                    limit, inside, outside = score(held).max(), score(test), score(kinds[kind])
                    row = (f"{modality} {kind}", auroc(inside, outside), np.mean(outside > limit))
                    measured.setdefault(name, []).append((*row, np.mean(inside > limit)))
    table = []
    for name, rows in measured.items():
        worst = min(rows, key=lambda row: row[1])
        mean, beyond, inside = (np.mean([row[place] for row in rows]) for place in (1, 2, 3))
        table.append([name, f"{mean:.3f}", f"{worst[1]:.3f} ({worst[0]})", f"{beyond:.1%}", f"{inside:.2%}"])
    print(markdown_table(["score", "AUROC", "worst", "outside beyond the limit", "inside beyond it"], table))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(
        prog="python -m evaluation.unknown.compare",
        description="Compare ways to tell what a checkpoint does not know.",
    )
    parser.add_argument("--model", required=True, help="checkpoint of CLUE, a folder")
    parser.add_argument("--dataset", required=True, help="folder of the urn world's configurations")
    parser.add_argument(
        "--modalities", nargs="+", choices=MODALITIES, default=list(MODALITIES), help="default: all four"
    )
    parser.add_argument("--premises", type=positive_int, default=40, help="of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="of the other premises (default: 0)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with exit_on_error():
        main()
