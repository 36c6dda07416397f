"""
Premises and hypotheses that a model of the urn world was not made for, beside those that it was.

Of each kind there are as many premises, with the same number of hypotheses:

- `familiar`: as the training data has them, newly drawn;
- `language`: the urn told in another language, or, of clips, hypotheses in another language;
- `noise`: random letters; white noise; random pixels;
- `silence`: of clips, digital silence and frames of one colour;
- `unrelated`: sentences about something else; sweeps, chords and clicks; bars, chequers and gradients that move;
- `zero`: of texts, counts of which some are 0, which the training data never names;
- `contradictory`: an urn of one colour, and in the next sentence of another, in known words; beeps of two pitches
  at once; balls of two colours;
- `shuffled`: of texts, the words of a familiar one in any order;
- `strangers`: colours and pitches that the training data has not;
- `hypothesis`: familiar premises, with hypotheses that are not about them.

Of `familiar`, `zero` and `strangers` the probability is known; of the others there is none.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.cli import positive_int
from common.files import replacing
from datasets_scripts.sources.urn import EVENTS, MEDIA_SUFFIX, Scene, sample_scene, write_clip
from datasets_scripts.sources.urn_language import (
    COLOURS,
    COUNT_TEXTS,
    PITCHES,
    describe_urn,
    sample_hypotheses,
    text_of,
)
from datasets_scripts.sources.urn_media import (
    EVENT_SAMPLES,
    FRAME_SIZE,
    FRAMES_PER_EVENT,
    RGB,
    SAMPLING_RATE,
    draw,
    encode_sound,
    encode_video,
    synthesize,
)
from modeling_clue.modalities import MODALITIES, TABLE


# Changes whenever a premise or a question would: results of different versions can't be compared.
VERSION = "urn-unknown-2"
FAMILIAR = "familiar"
KINDS = (
    FAMILIAR,
    "language",
    "noise",
    "silence",
    "unrelated",
    "zero",
    "contradictory",
    "shuffled",
    "strangers",
    "hypothesis",
)
# Kinds that are of some modalities alone.
OF_TEXT, OF_CLIPS = {"zero", "shuffled"}, {"silence"}
# Makes seeds that are none of the training data's or another suite's.
APART = (3, 0, 0)
SQUARES = 8  # of a chequered frame, a side

# How an urn is told elsewhere: a sentence, and the words for its colours.
LANGUAGES = (
    ("In einer Urne liegen {}.", ("rote", "grüne", "blaue", "gelbe"), "{} {} Kugeln", " und "),
    ("Une urne contient {}.", ("rouges", "vertes", "bleues", "jaunes"), "{} boules {}", " et "),
    ("Una urna contiene {}.", ("rojas", "verdes", "azules", "amarillas"), "{} bolas {}", " y "),
    ("В урне лежат {}.", ("красных", "зелёных", "синих", "жёлтых"), "{} {} шаров", " и "),
    ("盒子里有{}。", ("红", "绿", "蓝", "黄"), "{}个{}球", "和"),
)
# Hypotheses about a draw, of sight and of sound, in other languages.
FOREIGN = {
    "sight": ("Die Kugel ist rot.", "La boule est verte.", "La bola es azul.", "Шар жёлтый.", "这个球是红色的。"),
    "sound": ("Der Ton ist tief.", "Le son est aigu.", "El sonido es grave.", "Звук низкий.", "这个声音很高。"),
}
SENTENCES = (
    "The train to Lyon leaves at seven from the second platform.",
    "She has played the violin since she was four years old.",
    "Interest rates were left unchanged by the central bank on Thursday.",
    "A man in a raincoat waters tomatoes behind the house.",
    "The patient was given 20 mg of the drug twice a day.",
    "Two dogs chase each other along an empty beach.",
    "The committee will meet again after the summer.",
    "Add the flour slowly, and stir until no lumps are left.",
    "The bridge was closed to lorries after the flood.",
    "He wrote that the winter had been the coldest in thirty years.",
    "Water boils at a lower temperature in the mountains.",
    "The second violin enters in bar twelve.",
)
UNRELATED = (
    "The piano is out of tune.",
    "It will rain tomorrow.",
    "The woman is a doctor.",
    "The recipe needs three eggs.",
    "Somebody is speaking.",
    "The car was sold last year.",
    "The meeting has been cancelled.",
    "A dog is barking in the garden.",
)
STRANGE_COLOURS = {"purple": (130, 40, 170), "white": (240, 240, 240), "black": (15, 15, 15), "orange": (235, 130, 20)}
STRANGE_HERTZ = (100.0, 500.0, 1500.0, 5500.0)


@dataclass(frozen=True)
class Asked:
    """
    A premise with hypotheses about it.

    `probabilities` has the exact one of each hypothesis, `None` where there is none.
    """

    name: str  # unique; the stem of its clip
    modality: str
    kind: str
    text: str | None  # the premise itself, if it is a text
    hypotheses: tuple[str, ...]
    probabilities: tuple[float | None, ...]
    scene: Scene
    seed: tuple[int, ...]  # of the clip's rendering

    def write(self, folder: Path) -> dict:
        """Writes its clip into a folder, unless it is there or this is a text; returns it as the pipeline takes it."""
        if self.text is not None:
            return {"text": self.text}
        path = folder / f"{self.name}{MEDIA_SUFFIX[self.modality]}"
        rng = np.random.default_rng(list(self.seed))
        if self.kind in (FAMILIAR, "language", "hypothesis"):
            write_clip(path, self.scene, rng)
        elif not path.exists():
            with replacing(path) as partial:
                self._render(partial, rng)
        return {TABLE[self.modality].column: str(path), "modality": self.modality}

    def _render(self, path: Path, rng: np.random.Generator) -> None:
        number = len(self.scene.events)
        sound = TABLE[self.modality].sound and SOUNDS[self.kind](self.scene, number * EVENT_SAMPLES, rng)
        if not TABLE[self.modality].frames:
            encode_sound(path, sound)
            return
        frames = FRAMES[self.kind](self.scene, number * FRAMES_PER_EVENT, rng)
        encode_video(path, frames, sound if TABLE[self.modality].sound else None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a suite."""
    add = parser.add_argument
    add("--modalities", nargs="+", choices=MODALITIES, default=list(MODALITIES), help="default: all four")
    add("--premises", type=positive_int, default=40, help="premises of each kind and modality (default: %(default)s)")
    add("--hypotheses-per-premise", dest="hypotheses", type=positive_int, default=6, help="default: %(default)s")


def suite_options(options: argparse.Namespace) -> dict:
    """Returns all that decides the premises and questions of a suite, `seed` included."""
    return {
        "version": VERSION,
        **{name: getattr(options, name) for name in ("modalities", "premises", "hypotheses", "seed")},
    }


def kinds_of(modality: str) -> list[str]:
    """Returns the kinds of premises that there are of a modality."""
    return [kind for kind in KINDS if kind not in (OF_CLIPS if modality == "text" else OF_TEXT)]


def make_suite(options: argparse.Namespace) -> list[Asked]:
    """Returns all premises of a suite with their hypotheses, kind after kind of each modality.

    Raises:
        InputError: if there are not as many different hypotheses.
    """
    return [
        ask(modality, kind, number, options.hypotheses, options.seed)
        for modality in dict.fromkeys(options.modalities)
        for kind in kinds_of(modality)
        for number in range(options.premises)
    ]


def ask(modality: str, kind: str, number: int, hypotheses: int, seed: int) -> Asked:
    """Makes a premise of a kind, by its number, with as many hypotheses."""
    own_seed = (seed, MODALITIES.index(modality), *APART, KINDS.index(kind), number)
    rng = np.random.default_rng(list(own_seed))
    scene = sample_scene(modality, rng)
    text, events = _describe(kind, scene, rng) if modality == "text" else (None, scene.events)
    drawn = sample_hypotheses(modality, hypotheses, rng)
    sentences = tuple(sentence for _, sentence in drawn)
    known: tuple[float | None, ...] = (None,) * hypotheses
    if kind in (FAMILIAR, "zero"):
        known = tuple(predicate.probability(events) for predicate, _ in drawn)
    elif kind == "strangers":
        known = tuple(predicate.probability([("none of them",)]) for predicate, _ in drawn)
    elif kind == "hypothesis":
        sentences = _some(UNRELATED, hypotheses, rng)
    elif kind == "language" and modality != "text":
        senses = [sense for sense, there in (("sight", scene.colours), ("sound", scene.pitches)) if there]
        sentences = _some(sum((FOREIGN[sense] for sense in senses), ()), hypotheses, rng)
    return Asked(f"{modality}-{kind}-{number:03d}", modality, kind, text, sentences, known, scene, (*own_seed, 1))


def _some(sentences: tuple[str, ...], number: int, rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(sentences[place % len(sentences)] for place in rng.permutation(max(number, len(sentences)))[:number])


def _describe(kind: str, scene: Scene, rng: np.random.Generator) -> tuple[str, list[tuple[str, ...]]]:
    """Returns the text of a premise, and the balls that it tells of."""
    colours = list(scene.colours)
    if kind == "language":
        sentence, words, each, last = LANGUAGES[rng.integers(len(LANGUAGES))]
        counted = [
            each.format(colours.count(colour), word)
            for colour, word in zip(COLOURS, words, strict=True)
            if colour in colours
        ]
        return sentence.format(last.join(counted)), scene.events
    if kind == "noise":
        letters = list("abcdefghijklmnopqrstuvwxyz0123456789.,;:!?-      ")
        return "".join(rng.choice(letters, int(rng.integers(20, 120)))).strip() or "x", scene.events
    if kind == "unrelated":
        return " ".join(rng.choice(SENTENCES, int(rng.integers(1, 4)), replace=False)), scene.events
    if kind == "zero":
        present = set(colours)
        if len(present) == len(COLOURS):
            colours = [colour for colour in colours if colour != COLOURS[0]] or [COLOURS[1]]
        order = rng.permutation(COLOURS)
        counts = [f"{colours.count(colour)} {colour}" for colour in order]
        told = f"{', '.join(counts[:-1])} and {counts[-1]} balls"
        return str(rng.choice([f"An urn holds {told}.", f"There are {told} in the urn."])), [(c,) for c in colours]
    if kind == "contradictory":
        one, other = map(str, rng.permutation(COLOURS)[:2])
        first, second = rng.permutation(COUNT_TEXTS)[:2]
        numbers = rng.integers(EVENTS[0], EVENTS[1] + 1, 2)
        return f"{first.format(f'{numbers[0]} {one}', 'balls')} {second.format(f'{numbers[1]} {other}', 'balls')}", []
    if kind == "shuffled":
        words = text_of(describe_urn(colours, rng)).split()
        return " ".join(map(str, rng.permutation(words))), []
    if kind == "strangers":
        names = [str(name) for name in rng.choice(list(STRANGE_COLOURS), 2, replace=False)]
        counts = [f"{int(rng.integers(1, 6))} {name}" for name in names]
        return f"An urn holds {' and '.join(counts)} balls.", scene.events
    return text_of(describe_urn(colours, rng)), scene.events


def _sound_of_two(scene: Scene, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Returns beeps of two pitches at once."""
    shift = {pitch: PITCHES[(place + 1) % len(PITCHES)] for place, pitch in enumerate(PITCHES)}
    both = [synthesize([names[p] if names else p for p in scene.pitches], rng) for names in (None, shift)]
    return np.clip(sum(both) / 2, -1, 1).astype(np.float32)


def _unrelated_sound(scene: Scene, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Returns a sweep, a chord, or clicks."""
    time = np.arange(samples) / SAMPLING_RATE
    which = rng.integers(3)
    if which == 0:
        low, high = sorted(rng.uniform(150, 5000, 2))
        wave = np.sin(2 * np.pi * (low + (high - low) * time / (2 * time[-1])) * time)
    elif which == 1:
        root = rng.uniform(150, 600)
        wave = sum(np.sin(2 * np.pi * root * ratio * time) for ratio in (1, 1.26, 1.5)) / 3
    else:
        wave = np.zeros(samples)
        wave[rng.integers(0, samples, max(2, samples // 1600))] = 1.0
        wave = np.convolve(wave, np.exp(-np.arange(200) / 40), mode="same")
    return np.clip(rng.uniform(0.15, 0.5) * wave, -1, 1).astype(np.float32)


def _strange_sound(scene: Scene, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Returns beeps of pitches that are none of the urn world's."""
    names = dict(zip(PITCHES, rng.permutation(STRANGE_HERTZ), strict=False))
    return synthesize(list(scene.pitches), rng, hertz={pitch: float(hertz) for pitch, hertz in names.items()})


SOUNDS: dict[str, Callable[[Scene, int, np.random.Generator], np.ndarray]] = {
    "silence": lambda scene, samples, rng: np.zeros(samples, np.float32),
    "noise": lambda scene, samples, rng: np.clip(rng.uniform(0.05, 0.3) * rng.standard_normal(samples), -1, 1).astype(
        np.float32
    ),
    "unrelated": _unrelated_sound,
    "contradictory": _sound_of_two,
    "strangers": _strange_sound,
}


def _plain_frames(scene: Scene, number: int, rng: np.random.Generator) -> np.ndarray:
    """Returns frames of one colour, black half of the time."""
    frames = np.zeros((number, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    frames[:] = rng.integers(0, 256, 3) if rng.random() < 0.5 else 0
    return frames


def _unrelated_frames(scene: Scene, number: int, rng: np.random.Generator) -> np.ndarray:
    """Returns bars, chequers or a gradient, which move."""
    y, x = np.mgrid[:FRAME_SIZE, :FRAME_SIZE]
    which, side = rng.integers(3), FRAME_SIZE // SQUARES
    speed, ink, paper = rng.uniform(1, 6), rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
    frames = []
    for step in range(number):
        moved = x + speed * step
        if which == 0:
            share = (moved // side % 2).astype(float)
        elif which == 1:
            share = ((moved // side + y // side) % 2).astype(float)
        else:
            share = (moved + y) % FRAME_SIZE / FRAME_SIZE
        frames.append(share[..., None] * ink + (1 - share[..., None]) * paper)
    return np.stack(frames).astype(np.uint8)


def _frames_of_two(scene: Scene, number: int, rng: np.random.Generator) -> np.ndarray:
    """Returns balls of which one half has one colour, the other another."""
    state = rng.bit_generator.state
    frames = draw(list(scene.colours), rng)
    rng.bit_generator.state = state  # the same balls, in other colours
    other = draw([COLOURS[(COLOURS.index(colour) + 1) % len(COLOURS)] for colour in scene.colours], rng)
    frames[:, :, FRAME_SIZE // 2 :] = other[:, :, FRAME_SIZE // 2 :]
    return frames


def _strange_frames(scene: Scene, number: int, rng: np.random.Generator) -> np.ndarray:
    """Returns balls of colours that are none of the urn world's."""
    names = rng.permutation(list(STRANGE_COLOURS))
    rgb = {colour: STRANGE_COLOURS[str(name)] for colour, name in zip(RGB, names, strict=True)}
    return draw(list(scene.colours), rng, rgb=rgb)


FRAMES: dict[str, Callable[[Scene, int, np.random.Generator], np.ndarray]] = {
    "silence": _plain_frames,
    "noise": lambda scene, number, rng: rng.integers(0, 256, (number, FRAME_SIZE, FRAME_SIZE, 3), dtype=np.uint8),
    "unrelated": _unrelated_frames,
    "contradictory": _frames_of_two,
    "strangers": _strange_frames,
}
