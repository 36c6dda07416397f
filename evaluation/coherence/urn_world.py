"""
Coherence in the urn world: hypotheses about one event drawn at random, whose logic and probabilities are known.

Every premise is asked about its colours, its pitches, or both. Two terms are drawn, one of them from what is there,
and whatever the world's words can say with them is asked: each alternative; "not", "or", "neither"; of clips with
both senses "and", "but not" and "or" of a colour and a pitch; some of it in other words, some denied by "It is not
true that". A possible world is an event: a colour, a pitch, or a colour with a pitch.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from common.cli import positive_int, seed
from common.digests import digest
from common.errors import InputError
from datasets_scripts.building.drafts import Draft, new_row
from datasets_scripts.building.writer import write_config
from datasets_scripts.sources.urn import MEDIA_SUFFIX, Scene, map_in_processes, sample_scene, write_clip
from datasets_scripts.sources.urn_language import COLOURS, PITCHES, Predicate, describe_urn, text_of
from datasets_scripts.sources.urn_stress import CONTEXT
from evaluation.coherence.questions import Check, Question, check
from modeling_clue.modalities import MODALITIES, TABLE


# Changes whenever a question would: results of different versions can't be compared.
VERSION = "urn-coherence-1"
DEFAULTS = {"modalities": list(MODALITIES), "premises": 40, "seed": 0}
# Makes seeds that are none of the training data's, the stress test's or those of belief over time.
APART = (3, 0, 0)
# How often a text that was there before is drawn anew.
ATTEMPTS = 1000


@dataclass(frozen=True)
class Premise:
    """A premise, not yet rendered."""

    name: str  # unique; the stem of its clip
    modality: str
    scene: Scene
    text: str | None  # the premise itself, if it is a text
    seed: tuple[int, ...]  # of the clip's rendering


@dataclass(frozen=True)
class Asked:
    """A premise with the questions about it and what must hold between the answers."""

    premise: Premise
    questions: list[Question]
    checks: list[Check]
    evidence: dict[str, list[str]]  # the senses that each question is about


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a suite; one that is not given is `None`, and stands for that of `DEFAULTS`."""
    add = parser.add_argument
    add("--modalities", nargs="+", choices=MODALITIES, help="default: all four")
    add("--premises", type=positive_int, help=f"premises of each modality (default: {DEFAULTS['premises']})")
    add("--seed", type=seed, help="of the premises (default: 0)")


def suite_options(options: argparse.Namespace) -> dict:
    """Returns all that decides the questions of a suite."""
    given = {name: getattr(options, name) for name in DEFAULTS}
    return {"version": VERSION} | DEFAULTS | {name: value for name, value in given.items() if value is not None}


def make_suite(options: dict) -> dict[str, list[Asked]]:
    """Returns the premises of a suite by modality, from the options of [`suite_options`]; an `InputError` if there
    are not as many different texts."""
    return {modality: _of_modality(modality, options) for modality in dict.fromkeys(options["modalities"])}


def _of_modality(modality: str, options: dict) -> list[Asked]:
    made, texts = [], set()
    for number in range(options["premises"]):
        seeds = (options["seed"], MODALITIES.index(modality), *APART, number)
        rng = np.random.default_rng(list(seeds))
        for _ in range(ATTEMPTS):
            scene = sample_scene(modality, rng)
            text = text_of(describe_urn(list(scene.colours), rng)) if modality == "text" else None
            if text is None or text not in texts:
                break
        else:
            raise InputError(f"there are not {number + 1} different texts about urns: lower --premises")
        texts.add(text)
        premise = Premise(f"{modality}-{number:03d}", modality, scene, text, (*seeds, 1))
        made.append(_ask(premise, rng))
    return made


class _Statements:
    """Words statements about a premise, none of them twice, and keeps the questions."""

    def __init__(self, premise: Premise, rng: np.random.Generator):
        self.premise, self.rng = premise, rng
        families = [
            family
            for family, sense in ((COLOURS, premise.scene.colours), (PITCHES, premise.scene.pitches))
            if sense is not None
        ]
        self.worlds = list(product(*families))
        self.questions: list[Question] = []
        self.evidence: dict[str, list[str]] = {}

    def say(self, form: str, *terms: str, denied: bool = False) -> Question:
        """Asks about a statement in words that were not used for it yet."""
        predicate = Predicate(form, terms)
        used = {question.hypothesis for question in self.questions}
        wordings = [_denied(wording) if denied else wording for wording in predicate.wordings]
        sentence = str(self.rng.choice([wording for wording in wordings if wording not in used]))
        events = self.premise.scene.events
        question = Question(
            id=f"{self.premise.name}-{len(self.questions):02d}",
            premise=self.premise.name,
            group=self.premise.name,
            hypothesis=sentence,
            worlds=tuple(predicate.holds(world) != denied for world in self.worlds),
            truth=sum(predicate.holds(event) != denied for event in events) / len(events),
            denial=denied,
        )
        self.questions.append(question)
        self.evidence[question.id] = ["text"] if self.premise.modality == "text" else list(predicate.senses)
        return question


def _denied(sentence: str) -> str:
    return f"It is not true that {sentence[0].lower()}{sentence[1:]}"


def _ask(premise: Premise, rng: np.random.Generator) -> Asked:
    """Asks all that is asked about a premise, in random order."""
    statements, checks, drawn = _Statements(premise, rng), [], []
    for names, sense in ((COLOURS, premise.scene.colours), (PITCHES, premise.scene.pitches)):
        if sense is not None:
            checks += _of_one_sense(statements, names, sense, drawn)
    if len(drawn) == 2:
        checks += _of_both_senses(statements, *drawn)
    order = rng.permutation(len(statements.questions))
    return Asked(premise, [statements.questions[place] for place in order], checks, statements.evidence)


def _of_one_sense(statements: _Statements, names: tuple[str, ...], sense: tuple[str, ...], drawn: list) -> list[Check]:
    """Asks about two colours (pitches), which exclude each other, and adds the first and its questions to `drawn`."""
    first = str(statements.rng.choice(sense))
    second = str(statements.rng.choice([name for name in names if name != first]))
    say = statements.say
    each = {name: say("is", name) for name in names}
    is_first, is_second = each[first], each[second]
    not_first, not_second = say("not", first), say("not", second)
    either, neither = say("or", first, second), say("neither", first, second)
    drawn.append((first, is_first, not_first))
    return [
        check("complement", is_first, not_first),
        check("complement", is_second, not_second),
        check("complement", either, neither),
        check("denial", is_first, say("is", first, denied=True)),
        check("denial of two", either, say("or", first, second, denied=True)),
        check("exhaustive", *each.values()),
        check("exclusive", either, is_first, is_second),
        check("union", either, is_first, is_second),
        check("intersection", neither, not_first, not_second),
        check("monotonicity", is_first, either),
        check("monotonicity", is_second, either),
        check("monotonicity", is_first, not_second),
        check("monotonicity", is_second, not_first),
        check("monotonicity", neither, not_first),
        check("monotonicity", neither, not_second),
        check("paraphrase", is_first, say("is", first)),
        check("paraphrase", not_first, say("not", first)),
        check("paraphrase", either, say("or", first, second)),
        check("paraphrase", neither, say("neither", first, second)),
    ]


def _of_both_senses(statements: _Statements, sight: tuple, sound: tuple) -> list[Check]:
    """Asks about a colour and a pitch at once, of which nothing follows but bounds."""
    (colour, seen, _), (pitch, heard, not_heard) = sight, sound
    say = statements.say
    both, seen_alone, either = say("and", colour, pitch), say("but not", colour, pitch), say("or", colour, pitch)
    return [
        check("denial of two", both, say("and", colour, pitch, denied=True)),
        check("exclusive", seen, both, seen_alone),
        check("union", either, seen, heard),
        check("intersection", both, seen, heard),
        check("intersection", seen_alone, seen, not_heard),
        check("monotonicity", both, seen),
        check("monotonicity", both, heard),
        check("monotonicity", seen_alone, seen),
        check("monotonicity", seen_alone, not_heard),
        check("monotonicity", seen, either),
        check("monotonicity", heard, either),
        check("paraphrase", both, say("and", colour, pitch)),
        check("paraphrase", either, say("or", colour, pitch)),
    ]


def suite_digest(suite: dict[str, list[Asked]]) -> str:
    """Returns sixteen hexadecimal digits of all that is asked, shown and true; not of the bytes of clips."""
    return digest(
        [
            [asdict(asked.premise), [[q.id, q.hypothesis, q.truth] for q in asked.questions]]
            for of_modality in suite.values()
            for asked in of_modality
        ]
    )


def config_name(modality: str) -> str:
    """Returns the config of a modality in a suite's folder; its one split is `test`."""
    return f"coherence-{modality}"


def build_suite(suite: dict[str, list[Asked]], options: dict, folder: Path, workers: int) -> None:
    """Writes what is missing of a suite into a folder, which is named by its digest, as a dataset."""
    for modality, asked in suite.items():
        # A config takes its place in one rename, as a whole.
        if not (folder / config_name(modality) / "build.json").exists():
            plan = {"source": "urn-coherence", **options}
            splits = {"test": partial(_drafts, asked=asked, workers=workers)}
            write_config(folder, config_name(modality), splits, plan, workers=workers)


def _drafts(folder: Path, asked: list[Asked], workers: int) -> Iterator[Draft]:
    """Writes the clips that questions are about, and yields the drafts."""
    modality = asked[0].premise.modality
    clips = {}
    if modality != "text":
        clips = {one.premise.name: f"media/{one.premise.name}{MEDIA_SUFFIX[modality]}" for one in asked}
        for _ in map_in_processes(_render, [(folder / clips[a.premise.name], a.premise) for a in asked], workers):
            pass
    for one in asked:
        for question in one.questions:
            row = new_row(
                id=question.id,
                source="urn-coherence",
                modality=modality,
                hypothesis=question.hypothesis,
                probability=question.truth,
                label=int(question.truth) if question.truth in (0.0, 1.0) else None,
                probability_source="exact",
                evidence=one.evidence[question.id],
                context=CONTEXT[modality],
                **{TABLE[modality].column: one.premise.text or clips[one.premise.name]},
            )
            yield Draft(question.id, row)


def _render(job: tuple[Path, Premise]) -> None:
    path, premise = job
    write_clip(path, premise.scene, np.random.default_rng(list(premise.seed)))
