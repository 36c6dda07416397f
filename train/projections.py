"""Starts the projections of towers that never met the language model: no gradients, one look at each clip.

```bash
python -m train.projections --model runs/small/init --dataset umui --dataset-configs esc10 speech-commands \
    --output-dir runs/small/started
```

A new projection turns sounds and frames into noise, and training takes long to find its way out of it. The language
model knows words already. So each step of a clip is projected to where the words are that tell it from other clips:
the last layer becomes the ridge regression from what the tower gives at a step to a mean embedding of tokens: of those
that are more frequent in what is true of the clip than in what is true of all clips of its config, weighted by the
square of how much more. All clips of a config count the same, and so do all configs. The outputs are then brought to
the mean and the spread of the embeddings.

Where each claim is denied as often as affirmed, it is still the word of what is heard that stands out: among true
claims, the denials are spread over all that is not.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm
from transformers import AutoModel, AutoProcessor

from common.cli import ArgumentParser, exit_on_error, positive_float, positive_int
from common.cli import seed as seed_type
from modeling_clue import CLUEProcessor
from modeling_clue.backbone import TOWERS
from modeling_clue.checkpoint_parts import load_whole, new_folder, read, save_whole
from modeling_clue.modeling_clue import ConfidenceEstimation
from train.premises import Premise, PremiseDataset, check_split


RIDGE = 0.01
# Shares of tokens that differ by less are equal but for rounding.
EQUAL = 1e-9


class Moments:
    """Sums up steps, each with its input and its target, in float64."""

    def __init__(self, inputs: int, targets: int):
        self.weight = 0.0
        self.mean = torch.zeros(inputs, dtype=torch.float64)
        self.target = torch.zeros(targets, dtype=torch.float64)
        self.squares = torch.zeros(inputs, inputs, dtype=torch.float64)
        self.products = torch.zeros(inputs, targets, dtype=torch.float64)

    def add_clip(self, steps: torch.Tensor, target: torch.Tensor) -> None:
        """Adds a clip: steps of shape `(num_steps, inputs)`, which have a weight of 1 together, and their target."""
        steps, target = steps.double(), target.double()
        mean = steps.mean(dim=0)
        self.weight += 1
        self.mean += mean
        self.target += target
        self.squares += steps.T @ steps / len(steps)
        self.products += torch.outer(mean, target)

    def add(self, other: "Moments") -> None:
        """Adds the mean of another's clips as one."""
        self.weight += 1
        for name in ("mean", "target", "squares", "products"):
            getattr(self, name).add_(getattr(other, name) / other.weight)

    def regression(self, ridge: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the mean input, the coefficients `(inputs, targets)`, and the mean square of what they give."""
        mean, target = self.mean / self.weight, self.target / self.weight
        covariance = self.squares / self.weight - torch.outer(mean, mean)
        penalty = ridge * covariance.diagonal().mean() * torch.eye(len(mean), dtype=torch.float64)
        coefficients = torch.linalg.solve(
            covariance + penalty, self.products / self.weight - torch.outer(mean, target)
        )
        return mean, coefficients, (coefficients * (covariance @ coefficients)).sum()


def start_projections(
    model: ConfidenceEstimation, processor: CLUEProcessor, datasets: list[PremiseDataset], ridge: float = RIDGE
) -> dict[str, int]:
    """Starts the projection of each tower that gets anything to hear or see.

    Args:
        model (`ConfidenceEstimation`): changed in place.
        processor (`CLUEProcessor`): that of the model.
        datasets (`list[PremiseDataset]`): clips with their hypotheses, one for each config.
        ridge (`float`): the penalty on squared coefficients, in mean variances of an input.

    Returns:
        `dict[str, int]`: number of clips by tower.

    Raises:
        ValueError: if there are no clips, or their hypotheses tell no clip from another.
    """
    embeddings = model.get_input_embeddings().weight.detach().float()
    centre = embeddings.mean(dim=0)
    spread = (embeddings - centre).pow(2).sum(dim=1).mean()
    layers = {tower: _last_layer(model, tower) for tower in TOWERS}
    moments, clips = _run_towers(model, processor, datasets, layers, embeddings - centre)
    if not clips:
        raise ValueError("The hypotheses tell no clip from another, or there is none: name configs of sound or video.")
    for tower in clips:
        mean, coefficients, square = moments[tower].regression(ridge)
        if square < 1e-12 * spread:
            raise ValueError(f"The hypotheses tell no clip from another for {tower}: its projection stays as it is.")
        weight = coefficients.T * (spread / square).sqrt()
        with torch.no_grad():
            layers[tower].weight.copy_(weight)
            layers[tower].bias.copy_(centre - weight @ mean)
    model.config.new_projections = [tower for tower in model.config.new_projections if tower not in clips]
    return dict(clips)


def _run_towers(
    model: ConfidenceEstimation,
    processor: CLUEProcessor,
    datasets: list[PremiseDataset],
    layers: dict[str, nn.Linear],
    embeddings: torch.Tensor,
) -> tuple[dict[str, Moments], Counter[str]]:
    """Runs the towers over all clips; returns, by tower, the moments of what its last layer takes, and the number of
    clips."""

    def new_moments() -> dict[str, Moments]:
        return {tower: Moments(layer.in_features, layer.out_features) for tower, layer in layers.items()}

    totals, clips = new_moments(), Counter()
    with _only_towers(model, layers) as taken:
        for dataset in datasets:
            moments = new_moments()
            targets = _telling_words(dataset, processor, embeddings)
            for index, target in tqdm(targets.items(), desc="Running the towers", unit="clip"):
                item = dataset[index]
                taken.clear()
                with torch.no_grad():
                    model.encode(**processor.collate([item.premise], [item.hypotheses[:1]]))
                for tower, steps in taken.items():
                    moments[tower].add_clip(steps, target)
                clips.update(taken.keys())
            for tower, own in moments.items():
                if own.weight:
                    totals[tower].add(own)
    return totals, clips


@contextmanager
def _only_towers(model: ConfidenceEstimation, layers: dict[str, nn.Linear]) -> Iterator[dict[str, torch.Tensor]]:
    """Leaves out the blocks of the language model, and gives what the layers of the towers took last."""
    taken: dict[str, torch.Tensor] = {}
    language_model = model.model.language_model
    blocks, language_model.layers = language_model.layers, nn.ModuleList()
    with ExitStack() as hooks:
        hooks.callback(setattr, language_model, "layers", blocks)
        for tower, layer in layers.items():
            take = layer.register_forward_pre_hook(
                lambda module, inputs, tower=tower: taken.update({tower: inputs[0]})
            )
            hooks.enter_context(take)
        yield taken


def _last_layer(model: ConfidenceEstimation, tower: str) -> nn.Linear:
    """Returns the layer of a tower whose outputs take the places of embeddings."""
    names = model.backbone.projections[tower]
    parts = [model.model.get_submodule(f"{tower}.{name}") for name in names]
    # Those of a list go into later layers of the language model.
    parts = [part for part in parts if not isinstance(part, nn.ModuleList)]
    return [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Linear)][-1]


def _telling_words(
    dataset: PremiseDataset, processor: CLUEProcessor, embeddings: torch.Tensor
) -> dict[int, torch.Tensor]:
    """Returns the target of each clip by its index; a clip of which nothing of its own is true has none."""
    shares = {
        index: _token_shares(premise, processor)
        for index, premise in enumerate(dataset.premises)
        if premise.modality != "text" and any(premise.probabilities)
    }
    mean: Counter[int] = Counter()
    for own in shares.values():
        mean.update({token: share / len(shares) for token, share in own.items()})
    targets = {}
    for index, own in shares.items():
        excess = torch.tensor([max(share - mean[token], 0) for token, share in own.items()]) ** 2
        if excess.sum() > EQUAL**2:
            targets[index] = excess @ embeddings[list(own)] / excess.sum()
    return targets


def _token_shares(premise: Premise, processor: CLUEProcessor) -> Counter[int]:
    """Returns the share of each token in the hypotheses of a clip, weighted by their probabilities."""
    shares: Counter[int] = Counter()
    for text, probability in zip(premise.hypotheses, premise.probabilities, strict=True):
        # With a blank, as it stands behind other words.
        tokens = processor.tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        for token in tokens:
            shares[token] += probability / len(tokens) / sum(premise.probabilities)
    return shares


def main() -> None:
    """Writes the checkpoint that the command line asks for."""
    parser = ArgumentParser(
        prog="python -m train.projections",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, help="folder or Hub repository of a CLUE checkpoint")
    parser.add_argument("--dataset", default="umui", help="dataset folder or Hub repository (default: %(default)s)")
    parser.add_argument("--dataset-configs", nargs="+", required=True, help="its configs with sound or video")
    parser.add_argument("--split", default="train", help="of the dataset (default: %(default)s)")
    parser.add_argument("--max-premises", type=positive_int, help="clips of a config, drawn (default: all)")
    parser.add_argument("--ridge", type=positive_float, default=RIDGE, help="penalty, in mean variances of an input")
    parser.add_argument("--seed", type=seed_type, default=0, help="of what is drawn (default: %(default)s)")
    parser.add_argument("--output-dir", type=Path, required=True, help="folder to write, which must not exist yet")
    arguments = parser.parse_args()
    out = new_folder(arguments.output_dir)
    configs = arguments.dataset_configs
    check_split(arguments.dataset, configs, arguments.split, "set --split or --dataset-configs")
    processor = read(AutoProcessor, arguments.model)
    model = load_whole(AutoModel, arguments.model).eval()
    options = {"max_premises": arguments.max_premises, "seed": arguments.seed}
    datasets = [
        PremiseDataset.load(arguments.dataset, [config], arguments.split, processor, **options) for config in configs
    ]
    clips = start_projections(model, processor, datasets, arguments.ridge)
    save_whole(model, processor, out)
    print(f"Wrote {out}: " + ", ".join(f"{tower} from {count:,} clips" for tower, count in clips.items()) + ".")


if __name__ == "__main__":
    with exit_on_error():
        main()
