"""
Measures answers to `choice` and `score` questions where the exact ones are known, in premises of the urn world.

```bash
python -m evaluation.exclusive --model checkpoints/clue-urn-tiny
```

Options of a choice exclude each other, and one of them is true, but each is judged apart: the sum of their
probabilities need not be 1, and is made so (`modeling_clue/decision_format.py`). The table says how far the sum was
from 1, and the mean error in the probability of an option as judged, after the division by the sum, and after a
division of odds instead, which is not used; then how often the likeliest option was one of those that are, and of
ordered levels the mean error of the score.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm
from transformers.decision.template_utils import Question

from common.cli import ArgumentParser, exit_on_error, positive_int
from datasets_scripts.sources.urn import MEDIA_SUFFIX, Scene, sample_scene, write_clip
from datasets_scripts.sources.urn_language import COLOURS, PITCHES, Predicate, describe_urn, text_of
from modeling_clue.decision import CLUEDecisionConfig
from modeling_clue.decision_format import hypotheses_of, option_probabilities
from modeling_clue.modalities import MODALITIES, TABLE
from modeling_clue.score import load


HEADER = (
    "| modality | question | options | premises | sum - 1, mean | largest | error as judged | divided by the sum "
    "| by odds | likeliest right | error of the score |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


class Asked(NamedTuple):
    """A question about an urn, and the terms whose probability each option is."""

    title: str
    question: Question
    terms: list[tuple[str, ...]]


class Judged(NamedTuple):
    """What was judged of the options of a question, and what is true, each of shape `(number of options,)`."""

    judged: np.ndarray
    divided: np.ndarray
    exact: np.ndarray


def questions_about(modality: str) -> list[Asked]:
    """Returns the questions whose options exclude each other and leave nothing out, about premises of a modality."""
    asked = []
    if modality != "audio":
        asked.append(_asked("colour", "choice", "A random ball is {}.", [(colour,) for colour in COLOURS]))
    if TABLE[modality].sound:
        levels = [(pitch,) for pitch in PITCHES]
        asked += [_asked(f"pitch, {kind}", kind, "A random sound is {}.", levels) for kind in ("choice", "score")]
    if modality == "audiovisual":
        pairs = [(colour, pitch) for colour in COLOURS for pitch in PITCHES]
        asked.append(_asked("colour and pitch", "choice", "A random draw is {}.", pairs))
    return asked


def _asked(title: str, kind: str, template: str, terms: list[tuple[str, ...]]) -> Asked:
    names = [" and ".join(some) for some in terms]
    criteria = dict.fromkeys(names) if kind == "choice" else names
    request = {"type": kind, "instructions": template, "criteria": criteria}
    return Asked(title, Question.from_request("q", request, CLUEDecisionConfig()), terms)


def exact_probabilities(asked: Asked, scene: Scene) -> list[float]:
    """Returns the exact probability of each option: the share of the scene's events that have all of its terms."""
    return [Predicate("is" if len(terms) == 1 else "and", terms).probability(scene.events) for terms in asked.terms]


def draw_premises(modality: str, number: int, seed: int, folder: Path) -> Iterator[tuple[dict, Scene]]:
    """Yields premises with their scenes; their clips are written into a folder."""
    for index in range(number):
        rng = np.random.default_rng([seed, MODALITIES.index(modality), index])
        scene = sample_scene(modality, rng)
        if modality == "text":
            yield {"modality": "text", "text": text_of(describe_urn(list(scene.colours), rng))}, scene
            continue
        path = folder / f"{index}{MEDIA_SUFFIX[modality]}"
        write_clip(path, scene, rng)
        yield {"modality": modality, TABLE[modality].column: str(path)}, scene


def judge(clue, premises: Iterable[tuple[dict, Scene]], asked: list[Asked]) -> list[list[Judged]]:
    """Judges every question about every premise, which is read once; the answers come by question."""
    answers = [[] for _ in asked]
    for premise, scene in premises:
        state = clue.read(premise)
        for found, one in zip(answers, asked, strict=True):
            judged = [answer["probability"] for answer in clue(state, hypotheses=hypotheses_of(one.question))]
            divided = option_probabilities(one.question, judged)
            found.append(Judged(*map(np.array, (judged, divided, exact_probabilities(one, scene)))))
    return answers


def summarize(answers: list[Judged]) -> dict[str, float]:
    """Returns the numbers of a line of the table, see the module."""
    judged, divided, exact = map(np.stack, zip(*answers, strict=True))
    within = np.clip(judged, 1e-6, 1 - 1e-6)
    odds = within / (1 - within)
    beyond = np.abs(judged.sum(axis=1) - 1)
    likeliest = np.take_along_axis(exact, divided.argmax(axis=1)[:, None], axis=1)[:, 0]
    levels = np.arange(exact.shape[1])
    return {
        "sum_mean": float(beyond.mean()),
        "sum_largest": float(beyond.max()),
        "error_judged": float(np.abs(judged - exact).mean()),
        "error_divided": float(np.abs(divided - exact).mean()),
        "error_odds": float(np.abs(odds / odds.sum(axis=1, keepdims=True) - exact).mean()),
        "likeliest": float((likeliest == exact.max(axis=1)).mean()),
        "error_score": float(np.abs(divided @ levels - exact @ levels).mean()),
    }


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = ArgumentParser(prog="python -m evaluation.exclusive", description=__doc__)
    parser.add_argument("--model", required=True, help="folder or Hub repository of a CLUE checkpoint")
    parser.add_argument("--premises", type=positive_int, default=100, help="of each modality (default: %(default)s)")
    parser.add_argument("--modalities", nargs="+", choices=MODALITIES, default=list(MODALITIES), help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)
    clue = load(options.model)
    print(HEADER)
    for modality in options.modalities:
        asked = questions_about(modality)
        with tempfile.TemporaryDirectory() as folder:
            premises = draw_premises(modality, options.premises, options.seed, Path(folder))
            found = judge(clue, tqdm(premises, desc=modality, total=options.premises), asked)
        for one, answers in zip(asked, found, strict=True):
            numbers = summarize(answers)
            errors = [f"{numbers[f'error_{name}']:.4f}" for name in ("judged", "divided", "odds")]
            score = f"{numbers['error_score']:.4f}" if one.question.type == "score" else ""
            cells = [modality, one.title, len(one.terms), options.premises, f"{numbers['sum_mean']:.4f}"]
            cells += [f"{numbers['sum_largest']:.4f}", *errors, f"{numbers['likeliest']:.2f}", score]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    with exit_on_error():
        main()
