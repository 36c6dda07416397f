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
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np

from common.cli import positive
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
# Changes whenever a question of a suite would: results of different versions can't be compared.
VERSION = "urn-stress-1"
SENSES = ("either", "sight", "sound", "both", "agree", "conflict")
MOST_DISTRACTORS = 3
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

# What drew it is part of the seed of each generator.
SCENE, HYPOTHESES, RENDER, DISTRACT, ARRANGE = range(5)
# Makes seeds longer than those of the training data: no stream of chance is one of theirs.
APART = (1, 0, 0)
# How often a scene is drawn anew that will not do.
ATTEMPTS = 1000


@dataclass(frozen=True)
class Setting:
    """
    Where the knobs of a cell stand.

    Args:
        balls (`int`): Events of a scene.
        distractors (`int`): Sentences, squares in corners, or steady tones, to be ignored.
        negations (`int`): In a hypothesis: none; "not", "neither" or "but not"; and that behind "It is not true that".
        sense (`str`): Of audiovisual premises, one of `SENSES`. `"either"` asks about sight and sound in turn, one in
            each hypothesis. `"both"` asks about both in each; so do `"agree"`, where colours and pitches that are
            frequent come together, and `"conflict"`, where they keep apart: each sense says yes, the two at once no.
    """

    balls: int
    distractors: int
    negations: int
    sense: str


@dataclass(frozen=True)
class Cell:
    """
    A modality with its knobs.

    Args:
        modality (`str`): One of the four.
        knob (`str`): The knob that is not as in the base cell, `"base"` for that.
        setting (`Setting`): All of them.
    """

    modality: str
    knob: str
    setting: Setting

    @property
    def level(self) -> int | str:
        """Where the cell's own knob stands; `""` in the base cell."""
        return "" if self.knob == "base" else asdict(self.setting)[self.knob]

    @property
    def name(self) -> str:
        """`"base"`, `"balls=20"`."""
        return "base" if self.knob == "base" else f"{self.knob}={self.level}"


@dataclass(frozen=True)
class Premise:
    """
    A premise of the stress test, not yet rendered.

    Args:
        name (`str`): Unique in its modality; the stem of its clip.
        number (`int`): Its place in the cell. Premises of one number in several cells have one scene where their
            knobs allow it.
        scene (`Scene`): What happens.
        text (`str`, *optional*): The premise itself, if it is a text.
        seed (`tuple[int, ...]`): Of the clip's rendering.
        squares (`tuple[str, ...]`), hums (`tuple[str, ...]`): What a clip has to be ignored.
        miscounted (`tuple[str, ...]`): The attributes that somebody would count as further events who doesn't.
    """

    name: str
    number: int
    scene: Scene
    text: str | None
    seed: tuple[int, ...]
    squares: tuple[str, ...] = ()
    hums: tuple[str, ...] = ()
    miscounted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """
    A hypothesis about a premise, with its exact probability.

    Args:
        id (`str`): Unique in the suite.
        cell (`Cell`): The cell it is of.
        premise (`Premise`): What it is about.
        predicate (`Predicate`): What is stated of an event.
        doubly_negated (`bool`): Whether the sentence says that the predicate is not true.
        hypothesis (`str`): The sentence.
        probability (`float`): The exact probability.
        readings (`dict[str, float]`): What it would be for somebody with a certain mistake.
    """

    id: str
    cell: Cell
    premise: Premise
    predicate: Predicate
    doubly_negated: bool
    hypothesis: str
    probability: float
    readings: dict[str, float] = field(hash=False)

    @property
    def kind(self) -> str:
        """The form of the hypothesis and its sense: what can be known of the answer without the premise."""
        senses = ["sight" if term in COLOURS else "sound" for term in self.predicate.terms]
        return " ".join([self.predicate.form, *(senses if self.predicate.form == "but not" else sorted(senses))])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the knobs. The first level of each is that of the base cell."""
    add = parser.add_argument
    add("--modalities", nargs="+", choices=MODALITIES, default=list(MODALITIES), help="default: all four")
    add("--premises", type=positive, default=40, help="premises in a cell (default: %(default)s)")
    add("--hypotheses-per-premise", dest="hypotheses", type=positive, default=6, help="default: %(default)s")
    add(
        "--balls",
        nargs="+",
        type=positive,
        default=[5, 2, 10, 20],
        help="numbers of balls or beeps; the first level of each knob is the base cell's (default: 5 2 10 20)",
    )
    add(
        "--distractors",
        nargs="+",
        type=int,
        choices=range(MOST_DISTRACTORS + 1),
        default=[0, 1, 3],
        help="numbers of sentences, squares or tones to be ignored (default: 0 1 3)",
    )
    add(
        "--negations",
        nargs="+",
        type=int,
        choices=(0, 1, 2),
        default=[0, 1, 2],
        help='negations in a hypothesis, 2 as in "It is not true that it is not red." (default: 0 1 2)',
    )
    add(
        "--senses",
        nargs="+",
        choices=SENSES,
        default=list(SENSES),
        help="of audiovisual premises: what the hypothesis is about, and whether frequent colours and pitches come "
        "together (agree) or keep apart (conflict) (default: all, either first)",
    )


def suite_options(options: argparse.Namespace) -> dict:
    """All that decides the questions of a suite, with `seed`."""
    names = ("modalities", "premises", "hypotheses", "balls", "distractors", "negations", "senses", "seed")
    return {"version": VERSION, **{name: getattr(options, name) for name in names}}


def configs(options: argparse.Namespace) -> dict[str, dict[str, Callable[[Path], Iterator[Draft]]]]:
    """
    The configs `stress-<modality>`, each with a test split; `topic` names a row's cell, `context` explains the world.

    Args:
        options (`argparse.Namespace`): What [`add_arguments`] adds, and `seed` and `workers`.

    Returns:
        `dict[str, dict[str, Callable[[Path], Iterator[Draft]]]]`: for each config a function that writes the clips
        into `media/` of the folder it is given, and gives the drafts of its rows.
    """
    questions = make_questions(options)
    return {
        f"stress-{modality}": {"test": partial(_drafts, questions=questions[modality], workers=options.workers)}
        for modality in questions
    }


def make_questions(options: argparse.Namespace) -> dict[str, list[Question]]:
    """
    All questions of a suite.

    Args:
        options (`argparse.Namespace`): What [`add_arguments`] adds, and `seed`.

    Returns:
        `dict[str, list[Question]]`: by modality, cell after cell.

    Raises:
        `InputError`: if a level comes twice, or there are not as many different texts or hypotheses.
    """
    found = {}
    for modality in dict.fromkeys(options.modalities):
        cells = make_cells(modality, options)
        maker = _Maker(modality, options)
        found[modality] = [
            question
            for cell in cells
            for number in range(options.premises)
            for question in maker.questions(cell, number)
        ]
    return found


def make_cells(modality: str, options: argparse.Namespace) -> list[Cell]:
    """The base cell of a modality, and one for each further level of each knob."""
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
    """Sixteen hexadecimal digits of all that is asked, shown and true; not of the bytes of clips."""
    return digest(
        [
            [q.id, q.hypothesis, q.probability, asdict(q.premise), asdict(q.cell)]
            for modality in questions
            for q in questions[modality]
        ]
    )


class _Maker:
    """Makes premises, each once, and the questions about them."""

    def __init__(self, modality: str, options: argparse.Namespace):
        self.modality, self.seed, self.number = modality, options.seed, options.hypotheses
        self.premises: dict[tuple, Premise] = {}
        self.scenes: dict[tuple, tuple[Scene, str | None, tuple[int, ...]]] = {}
        self.texts: set[str | None] = set()
        self.said: dict[str, set[str]] = defaultdict(set)

    def questions(self, cell: Cell, number: int) -> list[Question]:
        setting = cell.setting
        premise = self._premise(setting, number)
        rng = self._generator(HYPOTHESES, number)
        predicates = _spoken(self.modality, setting, premise.scene, rng)
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
                if sentence not in self.said[premise.name]:
                    self.said[premise.name].add(sentence)
                    name = f"stress-{self.modality}-{cell.name}-{number:03d}-{len(made):02d}"
                    made.append(_ask(name, cell, premise, predicate, sentence))
        if len(made) < self.number:
            raise InputError(
                f"only {len(made)} different hypotheses are left for {self.modality} {cell.name}, {self.number} were "
                "asked for: lower --hypotheses-per-premise"
            )
        return made

    def _premise(self, setting: Setting, number: int) -> Premise:
        arranged = setting.sense if setting.sense in ("agree", "conflict") else ""
        key = (setting.balls, setting.distractors, arranged, number)
        if key not in self.premises:
            self.premises[key] = self._make_premise(setting, arranged, number)
        return self.premises[key]

    def _make_premise(self, setting: Setting, arranged: str, number: int) -> Premise:
        name = f"b{setting.balls}-d{setting.distractors}{arranged and f'-{arranged}'}-{number:03d}"
        scene, text, seed = self._scene(setting.balls, arranged, number)
        rng = self._generator(DISTRACT, number)
        if text is None:
            squares, hums = (
                tuple(map(str, rng.permutation(names)[: setting.distractors])) for names in (COLOURS, PITCHES)
            )
            squares, hums = squares if scene.colours else (), hums if scene.pitches else ()
            return Premise(name, number, scene, None, seed, squares, hums, squares + hums)
        sentences, miscounted = distracting_sentences(setting.distractors, rng)
        # Some stand before the sentence that counts.
        place = number % (len(sentences) + 1)
        text = " ".join([*sentences[:place], text, *sentences[place:]])
        return Premise(name, number, scene, text, seed, miscounted=tuple(miscounted))

    def _scene(self, balls: int, arranged: str, number: int) -> tuple[Scene, str | None, tuple[int, ...]]:
        """A scene, the same with any distractors; the sentence that describes it, if it is a text; and its seed."""
        if (balls, arranged, number) in self.scenes:
            return self.scenes[balls, arranged, number]
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
                self.scenes[balls, arranged, number] = (scene, text, seed)
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
    """The same colours and pitches, so that frequent ones come together (`agree`) or keep apart (`conflict`)."""
    colours = sorted(scene.colours, key=_by_frequency(scene.colours))
    pitches = sorted(scene.pitches, key=_by_frequency(scene.pitches), reverse=arranged == "conflict")
    pairs = list(zip(colours, pitches, strict=True))
    order = rng.permutation(len(pairs))
    return Scene(tuple(pairs[k][0] for k in order), tuple(pairs[k][1] for k in order))


def _by_frequency(values: tuple[str, ...]) -> Callable[[str], tuple[int, str]]:
    counts = Counter(values)
    return lambda value: (-counts[value], value)


def _spoken(modality: str, setting: Setting, scene: Scene, rng: np.random.Generator) -> list[Predicate]:
    """What may be said about a scene, in a random order that takes senses and forms in turn."""
    if modality == "audiovisual" and setting.sense in ("both", "agree", "conflict"):
        predicates = _about_both(scene, rng)
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


def _about_both(scene: Scene, rng: np.random.Generator) -> list[Predicate]:
    """Statements about a colour and a pitch of the same rank, of which the most frequent ones come first."""
    colours = sorted(COLOURS, key=_by_frequency(scene.colours))
    pairs = list(zip(colours, sorted(PITCHES, key=_by_frequency(scene.pitches)), strict=False))
    return [Predicate("and", pair if rng.random() < 0.5 else pair[::-1]) for pair in pairs] + [
        Predicate("or", pair) for pair in pairs
    ]


def _ask(name: str, cell: Cell, premise: Premise, predicate: Predicate, sentence: str) -> Question:
    events = premise.scene.events
    doubly = cell.setting.negations == 2
    return Question(
        id=name,
        cell=cell,
        premise=premise,
        predicate=predicate,
        doubly_negated=doubly,
        hypothesis=sentence,
        probability=_probability(predicate, doubly, events),
        readings=_readings(cell, premise, predicate),
    )


def _probability(predicate: Predicate, denied: bool, events: list[tuple[str, ...]]) -> float:
    """The share of events of which the predicate is true, or isn't."""
    return sum(predicate.holds(event) != denied for event in events) / len(events)


def _readings(cell: Cell, premise: Premise, predicate: Predicate) -> dict[str, float]:
    """What the probability would be for somebody with a certain mistake."""
    events = premise.scene.events
    doubly = cell.setting.negations == 2

    found = {}
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
            found[f"attends to the first {FAMILIAR_EVENTS} only"] = _probability(
                predicate, doubly, events[:FAMILIAR_EVENTS]
            )
            found[f"attends to the last {FAMILIAR_EVENTS} only"] = _probability(
                predicate, doubly, events[-FAMILIAR_EVENTS:]
            )
    else:
        colour, pitch = sorted(predicate.terms, key=PITCHES.__contains__)
        sight, sound = ([int(term in event) for event in events] for term in (colour, pitch))
        seen, heard = np.mean(sight), np.mean(sound)
        if predicate.form == "but not":
            if predicate.terms[1] == colour:
                seen = 1 - seen
            else:
                heard = 1 - heard
        alone = {"follows sight alone": seen, "follows sound alone": heard}
        # Somebody who can't tell which beep came with which ball.
        alone["takes the senses for independent"] = (
            seen + heard - seen * heard if predicate.form == "or" else seen * heard
        )
        found |= {what: float(1 - value if doubly else value) for what, value in alone.items()}
    return found


def _drafts(folder: Path, questions: list[Question], workers: int) -> Iterator[Draft]:
    modality = questions[0].cell.modality
    clips = {}
    if modality != "text":
        premises = {question.premise.name: question.premise for question in questions}
        clips = {name: f"media/{name}{MEDIA_SUFFIX[modality]}" for name in premises}
        for _ in map_in_processes(_render, [(folder / clips[name], premises[name]) for name in premises], workers):
            pass
    for question in questions:
        certain = question.probability in (0.0, 1.0)
        clip = clips.get(question.premise.name)
        row = new_row(
            id=question.id,
            source="urn-stress",
            modality=modality,
            premise=question.premise.text,
            audio=clip if modality == "audio" else None,
            video=clip if TABLE[modality].frames else None,
            hypothesis=question.hypothesis,
            probability=question.probability,
            label=int(question.probability) if certain else None,
            probability_source="exact",
            evidence=["text"] if modality == "text" else list(question.predicate.senses),
            topic=question.cell.name,
            context=CONTEXT[modality],
        )
        yield Draft(question.id, row)


def _render(job: tuple[Path, Premise]) -> None:
    path, premise = job
    write_clip(path, premise.scene, np.random.default_rng(list(premise.seed)), premise.squares, premise.hums)
