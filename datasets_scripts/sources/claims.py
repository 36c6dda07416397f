"""
Hypotheses about clips of which something is known: claims by templates, chosen so that wording gives nothing away.

A claim about rain that is true of a recording is made up for by one that is false of another, in the same words: the
mean probability of each sentence, each template and each template with one of its terms stays close to a half.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from common.errors import InputError
from datasets_scripts.building.drafts import Draft, new_row


@dataclass(frozen=True)
class Claim:
    """Says something of a premise."""

    sentence: str
    probability: float
    hints: tuple[str, ...]  # its template, and each term in templates that say the same: all that wording may tell


def make_claims(
    templates: tuple[str, ...], terms: Iterable[tuple], probability: Callable[..., float | None]
) -> Iterator[Claim]:
    """
    Yields a claim for each of some templates, which all say the same, and each of some tuples of terms.

    Args:
        templates (`tuple[str, ...]`): Formats with the terms of a tuple as `{0}`, `{1}`.
        terms (`Iterable[tuple]`): What is spoken of.
        probability (`Callable`): Of what the templates say of the terms it is given; `None` if that can't be said.
    """
    for those in terms:
        if (value := probability(*those)) is None:
            continue
        for template in templates:
            sentence = template.format(*those)
            hints = (template, *(f"{templates[0]} {term}" for term in those))
            yield Claim(sentence[0].upper() + sentence[1:], float(value), hints)


class Balance:
    """Chooses claims about one premise after the other, and keeps what was said before in balance."""

    def __init__(self):
        # How far probabilities have been above a half, in sum, for each sentence, template and term.
        self._surplus: defaultdict[str, float] = defaultdict(float)

    def choose(self, forms: list[Iterable[Claim]], number: int, rng: np.random.Generator) -> list[Claim]:
        """
        Chooses different claims about a premise, from one form after the other and over again.

        Args:
            forms (`list[Iterable[Claim]]`): The claims of each form; one that comes twice gives twice as many.
            number (`int`): How many claims to choose.
            rng (`np.random.Generator`): Decides among claims that are equally good for the balance.
        """
        pools = [list({claim.sentence: claim for claim in form}.values()) for form in forms]
        possible = len({claim.sentence for pool in pools for claim in pool})
        if possible < number:
            raise InputError(
                f"only {possible} different hypotheses exist about a premise, {number} were asked for: lower "
                "--hypotheses-per-premise"
            )
        chosen: dict[str, Claim] = {}
        turn = 0
        while len(chosen) < number:
            left = [claim for claim in pools[turn % len(pools)] if claim.sentence not in chosen]
            turn += 1
            if left:
                costs = np.array([self._cost(claim) for claim in left])
                best = left[rng.choice(np.flatnonzero(costs <= costs.min() + 1e-9))]
                chosen[best.sentence] = best
                for hint in (best.sentence, *best.hints):
                    self._surplus[hint] += best.probability - 0.5
        return list(chosen.values())

    def _cost(self, claim: Claim) -> float:
        """Returns how much further from balance a claim would lead; less than nothing if it leads back."""
        surplus = sum(self._surplus[hint] for hint in (claim.sentence, *claim.hints) if hint in self._surplus)
        return surplus * (claim.probability - 0.5)


def drafts_about_captions(
    captions: Iterable[tuple[str, list[Iterable[Claim]]]],
    say: Callable[[list[Iterable[Claim]]], list[Claim]],
    source: str,
) -> Iterator[Draft]:
    """
    Yields the drafts about captions, which say in words what a clip could have.

    Args:
        captions (`Iterable`): Each with what may be said of it.
        say (`Callable`): Chooses among what may be said.
        source (`str`): Whose captions they are.
    """
    premise = {"source": source, "modality": "text", "evidence": ["text"], "probability_source": "exact"}
    for number, (caption, forms) in enumerate(captions):
        text = caption[0].upper() + caption[1:]
        yield from drafts_about(
            premise | {"premise": text}, f"caption {number}", f"{source}-caption-{number:05d}", say(forms)
        )


def drafts_about(premise: dict, place: str, name: str, claims: list[Claim]) -> Iterator[Draft]:
    """
    Yields a draft for each claim about a premise.

    Args:
        premise (`dict`): The columns that all its rows have: `source`, `modality`, `probability_source` and so on.
        place (`str`): Where the premise comes from, in words.
        name (`str`): What the ids of its rows begin with.
        claims (`list[Claim]`): What is said of it.
    """
    for number, claim in enumerate(claims):
        row = new_row(
            id=f"{name}-{number:02d}",
            hypothesis=claim.sentence,
            probability=claim.probability,
            # Between 0 and 1 a statement is neither true nor false.
            label=int(claim.probability) if claim.probability in (0.0, 1.0) else None,
            **premise,
        )
        yield Draft(f"{place}, hypothesis {number}", row)
