"""
The stress test of the urn world: cells of premises that differ from a base cell in one difficulty.

A cell changes one knob: the number of balls, sentences or things to be ignored, negations in the hypothesis, and, of
audiovisual premises, the sense that carries the evidence. Cells of negation ask about the premises of the base cell,
cells of distractors about the same scenes: what a predictor does worse there is the difficulty's doing alone. Every
probability is exact, and so is what a predictor would say who makes a certain mistake (`readings`).

The questions follow from the options and [`VERSION`]; [`suite_digest`] tells one suite from another, whatever encoder
made its clips.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from itertools import zip_longest
from pathlib import Path

import numpy as np

from common.cli import positive_int
from common.digests import digest
from common.errors import InputError
from datasets_scripts.building.drafts import Draft, new_row
from datasets_scripts.sources.urn import MEDIA_SUFFIX, Scene, map_in_processes, sample_scene, write_clip
from datasets_scripts.sources.urn_language import (
    COLOURS,
    PITCHES,
    Predicate,
    distracting_sentences,
    list_balls,
    weighted_predicates,
)
from modeling_clue.modalities import MODALITIES, TABLE


DESCRIPTION = "the stress test of the urn world, with exact probabilities"
# It is to test on, not to be released.
FACTS = None
# Changes whenever a question of a suite would: results of different versions can't be compared.
VERSION = "urn-stress-1"
SENSES = ("either", "sight", "sound", "both", "agree", "conflict")
NEGATED = {"is": "not", "or": "neither", "and": "but not"}
AFFIRMED = {"not": "is", "neither": "or", "but not": "and"}
# What clips are about in the training data: 10 events at most.
FAMILIAR_EVENTS = 10

CONTEXT = {
    "text": "The text describes an urn with coloured balls. One ball is drawn from it at random, each as likely as "
    "the others, and the hypothesis is about that ball: its probability is the share of the urn's balls of which it "
    "is true. What is said of a table, a lid, a room or another urn has nothing to do with it.",
    "audio": "The recording is a row of beeps of equal length, each low (300 Hz), middle (900 Hz) or high (2700 Hz). "
    "One beep is drawn at random, each as likely as the others, and the hypothesis is about that sound: its "
    "probability is the share of the beeps of which it is true. A steady hum or noise behind the beeps has nothing to "
    "do with it.",
    "video": "The video shows one ball after the other, each for two frames; each is red, green, blue or yellow. One "
    "ball is drawn at random, each as likely as the others, and the hypothesis is about that ball: its probability is "
    "the share of the balls of which it is true. Squares in the corners have nothing to do with it.",
    "audiovisual": "The video shows one ball after the other, red, green, blue or yellow, and with each sounds a "
    "beep, low (300 Hz), middle (900 Hz) or high (2700 Hz). One such draw, a ball with its beep, is picked at random, "
    "each as likely as the others, and the hypothesis is about it: its probability is the share of the draws of which "
    "it is true. Squares in the corners and a steady hum or noise have nothing to do with it.",
}

# What is drawn is part of the seed of each generator.
SCENE, HYPOTHESES, RENDER, DISTRACT, ARRANGE = range(5)
# Makes seeds longer than those of the training data: no stream of chance is one of theirs.
APART = (1, 0, 0)
# How often a scene that will not do is drawn anew.
ATTEMPTS = 1000


@dataclass(frozen=True)
class Setting:
    """
    Where the knobs of a cell stand; a `sense`, one of `SENSES`, only audiovisual premises have.

    `"either"` asks about sight and sound in turn, one in each hypothesis. `"both"` asks about both in each; so do
    `"agree"`, where colours and pitches that are frequent come together, and `"conflict"`, where they keep apart: each
    sense says yes, the two at once no.
    """

    balls: int  # events of a scene
    distractors: int  # sentences, squares in corners, or steady tones, to be ignored
    negations: int  # in a hypothesis: none; "not", "neither" or "but not"; and that behind "It is not true that"
    sense: str


@dataclass(frozen=True)
class Cell:
    """A modality with its knobs."""

    modality: str
    knob: str  # the one that is not as in the base cell; "base" for that cell itself
    setting: Setting

    @property
    def level(self) -> int | str:
        """Returns where the cell's own knob stands; `""` in the base cell."""
        return "" if self.knob == "base" else getattr(self.setting, self.knob)

    @property
    def name(self) -> str:
        """Returns `"base"`, or the knob and its level: `"balls=20"`."""
        return "base" if self.knob == "base" else f"{self.knob}={self.level}"


@dataclass(frozen=True)
class Premise:
    """A premise of the stress test, not yet rendered."""

    name: str  # unique in its modality; the stem of its clip
    number: int  # its place in the cell; in several cells, premises of one number have one scene where knobs allow it
    scene: Scene
    text: str | None  # the premise itself, if it is a text
    seed: tuple[int, ...]  # of the clip's rendering
    squares: tuple[str, ...] = ()  # to be ignored in a clip, like `hums`
    hums: tuple[str, ...] = ()
    miscounted: tuple[str, ...] = ()  # what somebody who doesn't ignore it would count as further events


@dataclass(frozen=True)
class Question:
    """A hypothesis about a premise, with its exact probability."""

    id: str  # unique in the suite
    cell: Cell
    premise: Premise
    predicate: Predicate
    doubly_negated: bool  # the sentence says that the predicate is not true
    hypothesis: str
    probability: float
    readings: dict[str, float] = field(hash=False)  # what somebody with a certain mistake would answer, by mistake

    @property
    def kind(self) -> str:
        """Returns the form of the hypothesis and its sense: all that hints at the answer without the premise."""
        senses = ["sight" if term in COLOURS else "sound" for term in self.predicate.terms]
        return " ".join([self.predicate.form, *(senses if self.predicate.form == "but not" else sorted(senses))])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the knobs. The first level of each is that of the base cell."""
    add = parser.add_argument
    add("--modalities", nargs="+", choices=MODALITIES, default=list(MODALITIES), help="default: all four")
    add("--premises", type=positive_int, default=40, help="premises in a cell (default: %(default)s)")
    add("--hypotheses-per-premise", dest="hypotheses", type=positive_int, default=6, help="default: %(default)s")
    balls = "numbers of balls or beeps; the first level of each knob is the base cell's (default: 5 2 10 20)"
    add("--balls", nargs="+", type=positive_int, default=[5, 2, 10, 20], help=balls)
    distractors, numbers = "numbers of sentences, squares or tones to be ignored (default: 0 1 3)", range(4)
    add("--distractors", nargs="+", type=int, choices=numbers, default=[0, 1, 3], help=distractors)
    negations = 'negations in a hypothesis, 2 as in "It is not true that it is not red." (default: 0 1 2)'
    add("--negations", nargs="+", type=int, choices=(0, 1, 2), default=[0, 1, 2], help=negations)
    add(
        "--senses",
        nargs="+",
        choices=SENSES,
        default=list(SENSES),
        help="of audiovisual premises: what the hypothesis is about, and whether frequent colours and pitches come "
        "together (agree) or keep apart (conflict) (default: all, either first)",
    )


def suite_options(options: argparse.Namespace) -> dict:
    """Returns all that decides the questions of a suite, `seed` included."""
    names = ("modalities", "premises", "hypotheses", "balls", "distractors", "negations", "senses", "seed")
    return {"version": VERSION, **{name: getattr(options, name) for name in names}}


def configs(options: argparse.Namespace) -> dict[str, dict[str, Callable[[Path], Iterator[Draft]]]]:
    """
    Returns a function for the one split of each config `stress-<modality>`, which writes the clips into `media/` of
    the folder it is given, and yields the drafts; `topic` names a row's cell, `context` explains the world.
    """
    return {
        f"stress-{modality}": {"test": partial(_drafts, questions=questions, workers=options.workers)}
        for modality, questions in make_questions(options).items()
    }


def make_questions(options: argparse.Namespace) -> dict[str, list[Question]]:
    """
    Returns all questions of a suite by modality, cell after cell. It is an `InputError` if a level comes twice, or
    there are not as many different texts or hypotheses.
    """
    found = {}
    for modality in dict.fromkeys(options.modalities):
        cells, maker = _cells(modality, options), _Maker(modality, options)
        found[modality] = [
            question
            for cell in cells
            for number in range(options.premises)
            for question in maker.questions(cell, number)
        ]
    return found


def _cells(modality: str, options: argparse.Namespace) -> list[Cell]:
    """Returns the base cell of a modality, and one for each further level of each knob."""
    levels = {"balls": options.balls, "distractors": options.distractors, "negations": options.negations}
    if modality == "audiovisual":
        levels["sense"] = options.senses
    for knob, values in levels.items():
        if len(set(values)) < len(values):
            raise InputError(f"a level of {knob} is named twice: {' '.join(map(str, values))}")
    base = Setting(**({"sense": ""} | {knob: values[0] for knob, values in levels.items()}))
    others = [Cell(modality, knob, replace(base, **{knob: v})) for knob, values in levels.items() for v in values[1:]]
    return [Cell(modality, "base", base), *others]


def suite_digest(questions: dict[str, list[Question]]) -> str:
    """Returns sixteen hexadecimal digits of all that is asked, shown and true; not of the bytes of clips."""
    return digest(
        [
            [q.id, q.hypothesis, q.probability, asdict(q.premise), asdict(q.cell)]
            for asked in questions.values()
            for q in asked
        ]
    )


class _Maker:
    """Makes premises, each once, and the questions about them."""

    def __init__(self, modality: str, options: argparse.Namespace):
        self.modality, self.seed, self.number = modality, options.seed, options.hypotheses
        self.texts: set[str] = set()
        self.sentences: dict[str, set[str]] = defaultdict(set)
        self._premise, self._scene = cache(self._premise), cache(self._scene)

    def questions(self, cell: Cell, number: int) -> list[Question]:
        """Returns the questions of a cell about its premise of a number."""
        setting = cell.setting
        arranged = setting.sense if setting.sense in ("agree", "conflict") else ""
        premise = self._premise(setting.balls, setting.distractors, arranged, number)
        rng = self._generator(HYPOTHESES, number)
        predicates = _predicates(self.modality, setting, premise.scene, rng)
        made = []
        wordings = [list(map(str, rng.permutation(predicate.wordings))) for predicate in predicates]
        # A predicate comes back, in other words, once all have been used.
        for sentences in zip_longest(*wordings):
            for predicate, sentence in zip(predicates, sentences, strict=True):
                if sentence is None or len(made) == self.number:
                    continue
                if setting.negations == 2:
                    sentence = f"It is not true that {sentence[0].lower()}{sentence[1:]}"
                # Several cells may ask about one premise.
                if sentence not in self.sentences[premise.name]:
                    self.sentences[premise.name].add(sentence)
                    name = f"stress-{self.modality}-{cell.name}-{number:03d}-{len(made):02d}"
                    doubly = setting.negations == 2
                    probability = _probability(predicate, doubly, premise.scene.events)
                    readings = _readings(cell, premise, predicate)
                    made.append(Question(name, cell, premise, predicate, doubly, sentence, probability, readings))
        if len(made) < self.number:
            raise InputError(
                f"only {len(made)} different hypotheses are left for {self.modality} {cell.name}, {self.number} were "
                "asked for: lower --hypotheses-per-premise"
            )
        return made

    def _premise(self, balls: int, distractors: int, arranged: str, number: int) -> Premise:
        name = f"b{balls}-d{distractors}{arranged and f'-{arranged}'}-{number:03d}"
        scene, text, seed = self._scene(balls, arranged, number)
        rng = self._generator(DISTRACT, number)
        if text is None:
            squares, hums = (tuple(map(str, rng.permutation(names)[:distractors])) for names in (COLOURS, PITCHES))
            squares, hums = squares if scene.colours else (), hums if scene.pitches else ()
            return Premise(name, number, scene, None, seed, squares, hums, squares + hums)
        sentences, miscounted = distracting_sentences(distractors, rng)
        # Some stand before the sentence that counts.
        place = number % (len(sentences) + 1)
        text = " ".join([*sentences[:place], text, *sentences[place:]])
        return Premise(name, number, scene, text, seed, miscounted=tuple(miscounted))

    def _scene(self, balls: int, arranged: str, number: int) -> tuple[Scene, str | None, tuple[int, ...]]:
        """Returns a scene, the same with any distractors; the text that describes it, if it is one; and its seed."""
        for attempt in range(ATTEMPTS):
            scene = sample_scene(self.modality, self._generator(SCENE, number, balls, attempt), balls)
            if arranged:
                if len(set(scene.colours)) == 1 or len(set(scene.pitches)) == 1:
                    continue  # neither together nor apart
                scene = _arranged(scene, arranged, self._generator(ARRANGE, number, balls))
            seed = self._seed(RENDER, number, balls, SENSES.index(arranged) if arranged else 0, attempt)
            text = list_balls(list(scene.colours), np.random.default_rng(seed)) if self.modality == "text" else None
            if text is None or text not in self.texts:
                self.texts.add(text)
                return scene, text, seed
        raise InputError(
            f"there are not {number + 1} different {self.modality} premises with {balls} balls"
            f"{arranged and f' and senses that {arranged}'}: lower --premises or raise --balls"
        )

    def _seed(self, *parts: int) -> tuple[int, ...]:
        return (self.seed, MODALITIES.index(self.modality), *APART, *parts)

    def _generator(self, *parts: int) -> np.random.Generator:
        return np.random.default_rng(list(self._seed(*parts)))


def _arranged(scene: Scene, arranged: str, rng: np.random.Generator) -> Scene:
    """Arranges colours and pitches so that frequent ones come together (`agree`) or keep apart (`conflict`)."""
    colours = sorted(scene.colours, key=_by_frequency(scene.colours))
    pitches = sorted(scene.pitches, key=_by_frequency(scene.pitches), reverse=arranged == "conflict")
    pairs = list(zip(colours, pitches, strict=True))
    order = rng.permutation(len(pairs))
    return Scene(tuple(pairs[k][0] for k in order), tuple(pairs[k][1] for k in order))


def _by_frequency(values: tuple[str, ...]) -> Callable[[str], tuple[int, str]]:
    counts = Counter(values)
    return lambda value: (-counts[value], value)


def _predicates(modality: str, setting: Setting, scene: Scene, rng: np.random.Generator) -> list[Predicate]:
    """Returns what may be stated of a scene, in a random order that takes senses and forms in turn."""
    if modality == "audiovisual" and setting.sense in ("both", "agree", "conflict"):
        # A colour and a pitch of the same rank, of which the most frequent ones come first.
        colours = sorted(COLOURS, key=_by_frequency(scene.colours))
        pairs = list(zip(colours, sorted(PITCHES, key=_by_frequency(scene.pitches)), strict=False))
        predicates = [Predicate("and", pair if rng.random() < 0.5 else pair[::-1]) for pair in pairs]
        predicates += [Predicate("or", pair) for pair in pairs]
    else:
        senses = {"text": ("video",), "video": ("video",), "audio": ("audio",)}.get(modality)
        senses = senses or {"sight": ("video",), "sound": ("audio",), "either": ("video", "audio")}[setting.sense]
        queues = []
        for form in ("is", "or"):
            for sense in senses:
                group = [
                    predicate
                    for _, predicates in weighted_predicates(modality)
                    for predicate in predicates
                    if predicate.form == form and predicate.senses == (sense,)
                ]
                queues.append([group[k] for k in rng.permutation(len(group))])
        predicates = [p for turn in zip_longest(*queues) for p in turn if p is not None]
    if setting.negations == 0:
        return predicates
    return [Predicate(NEGATED[p.form], p.terms) for p in predicates if p.form in NEGATED]


def _probability(predicate: Predicate, denied: bool, events: list[tuple[str, ...]]) -> float:
    """Returns the share of events of which the predicate is true, or isn't."""
    return sum(predicate.holds(event) != denied for event in events) / len(events)


def _readings(cell: Cell, premise: Premise, predicate: Predicate) -> dict[str, float]:
    """Returns the probability that somebody with a certain mistake would give, for each mistake that matters."""
    events = premise.scene.events
    doubly, found = cell.setting.negations == 2, {}
    if cell.setting.negations == 1:
        found["ignores the negation"] = Predicate(AFFIRMED[predicate.form], predicate.terms).probability(events)
    if doubly:
        found["takes two negations for one"] = predicate.probability(events)
    if len(predicate.senses) == 1:
        family = COLOURS if predicate.senses == ("video",) else PITCHES
        further = [(name,) for name in premise.miscounted if name in family]
        if further:
            found["counts the distractors"] = _probability(predicate, doubly, [*events, *further])
        if len(events) > FAMILIAR_EVENTS and premise.text is None:
            parts = {"first": events[:FAMILIAR_EVENTS], "last": events[-FAMILIAR_EVENTS:]}
            for end, part in parts.items():
                reading = f"attends to the {end} {FAMILIAR_EVENTS} only"
                found[reading] = _probability(predicate, doubly, part)
    else:
        colour, pitch = sorted(predicate.terms, key=PITCHES.__contains__)
        denied = predicate.terms[1] if predicate.form == "but not" else None
        shares = (np.mean([term in event for event in events]) for term in (colour, pitch))
        seen, heard = (
            1 - share if term == denied else share for term, share in zip((colour, pitch), shares, strict=True)
        )
        alone = {"follows sight alone": seen, "follows sound alone": heard}
        # Somebody who can't tell which beep came with which ball.
        alone["takes the senses for independent"] = (
            seen + heard - seen * heard if predicate.form == "or" else seen * heard
        )
        found |= {mistake: float(1 - value if doubly else value) for mistake, value in alone.items()}
    return found


def _drafts(folder: Path, questions: list[Question], workers: int) -> Iterator[Draft]:
    """Writes the clips that questions are about, and yields the drafts."""
    modality = questions[0].cell.modality
    clips = {}
    if modality != "text":
        premises = {question.premise.name: question.premise for question in questions}
        clips = {name: f"media/{name}{MEDIA_SUFFIX[modality]}" for name in premises}
        for _ in map_in_processes(_render, [(folder / clips[name], premises[name]) for name in premises], workers):
            pass
    for question in questions:
        certain = question.probability in (0.0, 1.0)
        row = new_row(
            id=question.id,
            source="urn-stress",
            modality=modality,
            hypothesis=question.hypothesis,
            probability=question.probability,
            label=int(question.probability) if certain else None,
            probability_source="exact",
            evidence=["text"] if modality == "text" else list(question.predicate.senses),
            topic=question.cell.name,
            context=CONTEXT[modality],
            **{TABLE[modality].column: question.premise.text or clips[question.premise.name]},
        )
        yield Draft(question.id, row)


def _render(job: tuple[Path, Premise]) -> None:
    path, premise = job
    write_clip(path, premise.scene, np.random.default_rng(list(premise.seed)), premise.squares, premise.hums)
