"""
The words of the urn world: predicates about one event drawn at random, and texts that describe an urn.

A predicate is a small object with a truth value for an event and several wordings. The wordings share a short
vocabulary: every token of a hypothesis costs training time.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations, permutations, product

import numpy as np

from common.errors import InputError


COLOURS = ("red", "green", "blue", "yellow")
PITCHES = ("low", "middle", "high")

SUBJECTS = {
    "ball": ("It", "The ball", "A random ball"),
    "sound": ("It", "The sound", "A random sound"),
    "draw": ("It", "The draw", "A random draw"),
}
PHRASES = {
    "is": ("is {0}",),
    "not": ("is not {0}",),
    "or": ("is {0} or {1}", "is either {0} or {1}"),
    "neither": ("is neither {0} nor {1}",),
    "and": ("is {0} and {1}", "is both {0} and {1}"),
    "but not": ("is {0} but not {1}", "is {0} and not {1}"),
}
TRUTHS = {
    "is": lambda first: first,
    "not": lambda first: not first,
    "or": lambda first, second: first or second,
    "neither": lambda first, second: not (first or second),
    "and": lambda first, second: first and second,
    "but not": lambda first, second: first and not second,
}
ONE_SENSE_WEIGHTS = {"is": 0.4, "not": 0.2, "or": 0.25, "neither": 0.15}
CROSS_SENSE_WEIGHTS = {"and": 0.45, "but not": 0.3, "or": 0.25}
CROSS_SENSE_SHARE = 0.45

COUNT_TEXTS = ("An urn holds {} {}.", "There are {} {} in the urn.", "The urn: {} {}.")
LIST_TEXTS = ("Balls in the urn: {}.", "The urn holds: {}.", "The urn: {}.")
DISTRACTED_SHARE = 0.25
SECOND_URN_SHARE = 0.03
DISTRACTORS = ("The table is {}.", "The lid is {}.", "The room is {}.")
SECOND_URN = "A second urn, out of reach, holds {} {} balls."
# Takes back what was said of the urn before.
CORRECTION = "That is wrong."


@dataclass(frozen=True)
class Predicate:
    """A statement about one event drawn at random: a key of `PHRASES`, and one or two colours or pitches."""

    form: str
    terms: tuple[str, ...]

    def holds(self, event: tuple[str, ...]) -> bool:
        """Returns whether the statement is true of `event`, the tuple of its attributes."""
        return TRUTHS[self.form](*(term in event for term in self.terms))

    def probability(self, events: list[tuple[str, ...]]) -> float:
        """Returns the share of `events` of which the statement is true: its probability if one is drawn uniformly."""
        return sum(self.holds(event) for event in events) / len(events)

    @property
    def senses(self) -> tuple[str, ...]:
        """Returns the senses the statement speaks of: `"video"` for colours, `"audio"` for pitches."""
        return tuple(sorted({"video" if term in COLOURS else "audio" for term in self.terms}))

    @cached_property
    def wordings(self) -> list[str]:
        """Returns every sentence that says it, in a fixed order."""
        subject = {("video",): "ball", ("audio",): "sound"}.get(self.senses, "draw")
        orders = list(permutations(self.terms)) if self.form in ("or", "neither", "and") else [self.terms]
        return [
            f"{start} {phrase.format(*terms)}."
            for start, phrase, terms in product(SUBJECTS[subject], PHRASES[self.form], orders)
        ]


@cache
def weighted_predicates(modality: str) -> list[tuple[float, list[Predicate]]]:
    """
    Returns all predicates of a modality, in groups of one form, each group with its share of the hypotheses.

    Attributes that a scene lacks are included: statements about them have probability 0 (or 1, negated).
    """
    senses = {"text": [COLOURS], "video": [COLOURS], "audio": [PITCHES], "audiovisual": [COLOURS, PITCHES]}[modality]
    share = 1.0 if len(senses) == 1 else (1 - CROSS_SENSE_SHARE) / 2
    groups = []
    for words in senses:
        for form, weight in ONE_SENSE_WEIGHTS.items():
            terms = combinations(words, 1 if form in ("is", "not") else 2)
            groups.append((share * weight, [Predicate(form, pair) for pair in terms]))
    if modality == "audiovisual":
        for form, weight in CROSS_SENSE_WEIGHTS.items():
            pairs = list(product(COLOURS, PITCHES))
            if form == "but not":
                pairs += list(product(PITCHES, COLOURS))
            groups.append((CROSS_SENSE_SHARE * weight, [Predicate(form, pair) for pair in pairs]))
    return groups


def sample_hypotheses(modality: str, number: int, rng: np.random.Generator) -> list[tuple[Predicate, str]]:
    """
    Draws different sentences about a scene, each with the predicate that it says.

    No sentence comes twice, and a predicate comes back (in another wording) only once all of its form have been used.
    """
    groups = weighted_predicates(modality)
    queues = [_shuffled_sentences(predicates, rng) for _, predicates in groups]
    possible = sum(map(len, queues))
    if number > possible:
        raise InputError(
            f"only {possible} different hypotheses exist about {modality} premises, {number} were asked for"
        )
    chosen = []
    while len(chosen) < number:
        left = np.array([weight if queue else 0.0 for (weight, _), queue in zip(groups, queues, strict=True)])
        chosen.append(queues[rng.choice(len(queues), p=left / left.sum())].pop())
    return chosen


def _shuffled_sentences(predicates: list[Predicate], rng: np.random.Generator) -> list[tuple[Predicate, str]]:
    # Rounds of all predicates, each round in another order and other wordings.
    wordings = [rng.permutation(predicate.wordings) for predicate in predicates]
    rounds = range(len(wordings[0]))
    order = [(k, turn) for turn in rounds for k in rng.permutation(len(predicates))]
    return [(predicates[k], str(wordings[k][turn])) for k, turn in reversed(order)]


# Sentences, each with the number of balls that were named up to its end.
Sentences = list[tuple[str, int]]


def describe_urn(colours: list[str], rng: np.random.Generator, most: int = 1) -> Sentences:
    """
    Tells of the balls of an urn, now and then with a sentence to be ignored.

    Args:
        colours (`list[str]`): Of the balls.
        rng (`np.random.Generator`): Draws the words.
        most (`int`, *optional*, defaults to 1): Most sentences about the urn. One tells all balls, by counts or as a
            list; of several each names some more.
    """
    number = int(rng.integers(1, min(most, len(colours)) + 1)) if most > 1 else 1
    if number == 1:
        sentences = [(list_balls(colours, rng), len(colours))]
    else:
        ends = rng.choice(np.arange(1, len(colours)), number - 1, replace=False)
        sentences = add_up(colours, sorted(map(int, ends)), rng)
    chance = rng.random()
    if chance >= DISTRACTED_SHARE:
        return sentences
    colour = rng.choice(COLOURS)
    if chance < SECOND_URN_SHARE:
        distractor = SECOND_URN.format(rng.integers(2, 10), colour)
    else:
        distractor = str(rng.choice(DISTRACTORS)).format(colour)
    place = len(sentences) if rng.random() < 0.5 else 0
    sentences.insert(place, (distractor, sentences[place - 1][1] if place else 0))
    return sentences


def add_up(colours: list[str], ends: list[int], rng: np.random.Generator) -> Sentences:
    """Tells of balls in sentences that add up, each of those before one of the `ends`, the last of the rest."""
    return [
        (name_balls(colours[start:end], rng), end)
        for start, end in zip([0, *ends], [*ends, len(colours)], strict=True)
    ]


def text_of(sentences: Sentences) -> str:
    """Returns the text that sentences make."""
    return " ".join(sentence for sentence, _ in sentences)


def sentence_ends(sentences: Sentences) -> list[tuple[int, int]]:
    """Returns where each sentence ends in its text, in characters, and the balls named up to there."""
    return [(len(text_of(sentences[:number])), sentences[number - 1][1]) for number in range(1, len(sentences) + 1)]


def list_balls(colours: list[str], rng: np.random.Generator) -> str:
    """Returns a sentence with these balls, by counts or as a list."""
    if rng.random() >= 0.5:
        return str(rng.choice(LIST_TEXTS)).format(", ".join(colours))
    counts = _counted(colours, rng)
    return str(rng.choice(COUNT_TEXTS)).format(*counts)


def name_balls(colours: list[str], rng: np.random.Generator) -> str:
    """Returns a sentence by which these balls are in the urn, but maybe not they alone: several sentences add up."""
    return COUNT_TEXTS[1].format(*_counted(colours, rng))


def _counted(colours: list[str], rng: np.random.Generator) -> tuple[str, str]:
    """Returns the numbers of balls by colour, in random order, and the noun behind them."""
    counts = list(Counter(colours).items())
    parts = [f"{counts[k][1]} {counts[k][0]}" for k in rng.permutation(len(counts))]
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return listed, "ball" if len(colours) == 1 else "balls"


def distracting_sentences(number: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """
    Draws sentences about other things than the urn's balls, at most one of a kind, `len(DISTRACTORS) + 1` in all; the
    second list holds the further balls of somebody who takes what they name for the urn's.
    """
    sentences, balls = [], []
    for kind in rng.permutation(len(DISTRACTORS) + 1)[:number]:
        colour = str(rng.choice(COLOURS))
        others = int(rng.integers(2, 10))
        if kind == len(DISTRACTORS):
            sentences.append(SECOND_URN.format(others, colour))
            balls += [colour] * others
        else:
            sentences.append(DISTRACTORS[kind].format(colour))
            balls.append(colour)
    return sentences, balls
