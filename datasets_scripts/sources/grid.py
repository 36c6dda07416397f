"""
GRID (Cooke et al., 2006): sentences such as "bin blue at f two now", seen and heard, which the files' names spell.

Three configs of the same hypotheses: `grid-audio` has the sound of the clips, `grid-video` their pictures, and
`grid-audiovisual` both. All clips of a sentence are in one split, which hangs on the sentence and the seed alone.
`grid-captions` asks the same of sentences that are written, to train on.
"""

import argparse
import re
from collections.abc import Iterator
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.cli import positive_int
from datasets_scripts.building.clips import files_below
from datasets_scripts.building.drafts import Clip, Draft, Problem
from datasets_scripts.building.split import split_by_chance
from datasets_scripts.schema import SPLITS
from datasets_scripts.sources.claims import Balance, Claim, drafts_about, drafts_about_captions, make_claims
from datasets_scripts.sources.facts import Facts
from modeling_clue.modalities import MODALITIES, TABLE


DESCRIPTION = "GRID's spoken sentences, by ear, by eye and by both, with claims about their words"
FACTS = Facts(
    title="GRID corpus",
    what=(
        "Videos of a person who says a sentence of six words, such as “bin blue at f two now”: their sound, their "
        "pictures, or both."
    ),
    url="https://doi.org/10.1121/1.2229005",
    licences=("apache-2.0", "other"),
    terms="sentences and probabilities. The videos are the corpus's own, for research: see there before you use them",
    media_allowed=False,
    labels=(
        "The probability is 1 or 0 by the words that the file's name spells, and the label the same. The three "
        "configs ask the same: what lips do not show, pictures alone cannot tell."
    ),
    limits=(
        "Made for the clips of one speaker, who is in all splits: it tells nothing about other voices and faces. 51 "
        "words in a fixed order, in a quiet studio."
    ),
    citation=(
        "Martin Cooke, Jon Barker, Stuart Cunningham and Xu Shao (2006): An audio-visual corpus for speech perception "
        "and automatic speech recognition. The Journal of the Acoustical Society of America."
    ),
    extends="extended|other-grid",
    configs=r"grid-.*",
)

# The words of each place of a sentence, by the letter of a file's name.
SENTENCE = {
    "command": {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    "colour": {"b": "blue", "g": "green", "r": "red", "w": "white"},
    "preposition": {"a": "at", "b": "by", "i": "in", "w": "with"},
    "letter": {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
    "digit": dict(
        zip("z123456789", "zero one two three four five six seven eight nine".split(), strict=True),
    ),
    "adverb": {"a": "again", "n": "now", "p": "please", "s": "soon"},
}
SUFFIXES = (".mp4", ".mpg", ".mpeg", ".mov", ".avi", ".mkv", ".webm")
FOILS = 2


class Word(NamedTuple):
    """Names a word at its place in a sentence."""

    place: str
    word: str


IS = (
    'the {0.place} is "{0.word}".',
    'the speaker says the {0.place} "{0.word}".',
    '"{0.word}" is the {0.place} that is spoken.',
)
IS_NOT = (
    'the {0.place} is not "{0.word}".',
    'the speaker does not say the {0.place} "{0.word}".',
    '"{0.word}" is not the {0.place} that is spoken.',
)
OR = ('the {0.place} is "{0.word}" or "{1.word}".', 'the speaker says either "{0.word}" or "{1.word}".')
NEITHER = (
    'the {0.place} is neither "{0.word}" nor "{1.word}".',
    'the speaker says neither "{0.word}" nor "{1.word}".',
)
BOTH = (
    'the {0.place} is "{0.word}" and the {1.place} "{1.word}".',
    'the speaker says the {0.place} "{0.word}" and the {1.place} "{1.word}".',
)
WHOLE = ('the sentence is "{0}".', 'the speaker says: "{0}".')
NOT_WHOLE = ('the sentence is not "{0}".',)

# What a clip says in words: the sentence, or each word with its place.
CAPTIONS = (
    'somebody says: "{0}".',
    '"{0}."',
    'the sentence is "{0}".',
    'what is heard is "{0}".',
    "{command}, {colour}, {preposition}, {letter}, {digit}, {adverb}.",
    'the command is "{command}", the colour "{colour}", the preposition "{preposition}", the letter "{letter}", the '
    'digit "{digit}" and the adverb "{adverb}".',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument(
        "--clips", type=Path, required=True, help="the folder with the videos, named as bbaf2n.mp4, in folders or not"
    )
    explained = "default: all; text is that of captions, to train on"
    parser.add_argument("--modalities", nargs="+", choices=MODALITIES, default=MODALITIES, help=explained)
    parser.add_argument("--hypotheses-per-premise", type=positive_int, default=8, help="default: %(default)s")


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterator[Draft | Problem]]]:
    """Returns the drafts of each split of the configs `grid-<modality>`, and of texts those to train on."""
    splits: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for path in files_below(options.clips, SUFFIXES, "--clips"):
        # What is no sentence is reported with the training split.
        is_sentence = read_name(path.stem) is not None
        splits[split_by_chance(path.stem, options.seed) if is_sentence else "train"].append(path)
    drafts = {
        f"grid-{modality}": {split: _drafts(modality, split, paths, options) for split, paths in splits.items()}
        for modality in dict.fromkeys(options.modalities)
        if modality != "text"
    }
    if "text" in options.modalities:
        drafts["grid-captions"] = {"train": _caption_drafts(len(splits["train"]), options)}
    return drafts


def read_name(stem: str) -> list[Word] | None:
    """Returns the words that a file's name spells, `None` if it spells no sentence."""
    if not re.fullmatch("".join(f"[{''.join(words)}]" for words in SENTENCE.values()), stem):
        return None
    return [Word(place, words[letter]) for letter, (place, words) in zip(stem, SENTENCE.items(), strict=True)]


def sentence_forms(sentence: list[Word], rng: np.random.Generator) -> list[list[Claim]]:
    """Returns what may be said of a sentence, form by form, beside other words drawn by `rng`."""
    foils = [
        Word(said.place, str(word))
        for said in sentence
        for word in rng.permutation([word for word in SENTENCE[said.place].values() if word != said.word])[:FOILS]
    ]
    # Of the small words, "at" and so on, there are only whole sentences.
    words = [word for word in (*sentence, *foils) if word.place != "preposition"]
    each, pairs = [(word,) for word in words], list(permutations(words, 2))
    of_one_place = [two for two in pairs if two[0].place == two[1].place]
    true = {*sentence}
    of_two_places = [two for two in pairs if two[0].place != two[1].place and not true.isdisjoint(two)]
    spelt = [[foil if foil.place == word.place else word for word in sentence] for foil in foils]
    wholes = [(" ".join(word.word for word in those),) for those in (sentence, *spelt)]
    is_ = list(make_claims(IS, each, true.__contains__))
    is_not = list(make_claims(IS_NOT, each, lambda word: word not in true))
    either = list(make_claims(OR, of_one_place, lambda *two: not true.isdisjoint(two)))
    neither = list(make_claims(NEITHER, of_one_place, lambda *two: true.isdisjoint(two)))
    both = list(make_claims(BOTH, of_two_places, lambda *two: true.issuperset(two)))
    whole = [
        *make_claims(WHOLE, wholes, lambda text: text == wholes[0][0]),
        *make_claims(NOT_WHOLE, wholes, lambda text: text != wholes[0][0]),
    ]
    return [is_, is_not, either, is_, both, is_not, neither, whole]


def _drafts(modality: str, split: str, paths: list[Path], options: argparse.Namespace) -> Iterator[Draft | Problem]:
    """Yields the drafts of a split, whose hypotheses are the same in all modalities."""
    rng = np.random.default_rng([options.seed, SPLITS.index(split)])
    balance = Balance()
    for k in rng.permutation(len(paths)):
        path = paths[k]
        key = path.relative_to(options.clips).as_posix()
        if (sentence := read_name(path.stem)) is None:
            yield Problem(key, "row", f"{path} spells no sentence, as bbaf2n.mp4 does: bin blue at f two now")
            continue
        claims = balance.choose(sentence_forms(sentence, rng), options.hypotheses_per_premise, rng)
        premise = {
            "source": "grid",
            "modality": modality,
            "probability_source": "label",
            "evidence": [sense for sense in ("audio", "video") if modality in (sense, "audiovisual")],
            TABLE[modality].column: Clip(path, key, sound_only=modality == "audio"),
        }
        name = key.rsplit(".", 1)[0].replace("/", "-")
        yield from drafts_about(premise, key, f"grid-{modality}-{name}", claims)


def _caption_drafts(number: int, options: argparse.Namespace) -> Iterator[Draft]:
    """Yields drafts about captions, as many as clips: of sentences that would be in the training split."""
    rng = np.random.default_rng([options.seed, len(SPLITS)])
    said: dict[str, list[Word]] = {}
    while len(said) < number:
        stem = "".join(str(rng.choice(list(words))) for words in SENTENCE.values())
        if split_by_chance(stem, options.seed) == "train":
            sentence = read_name(stem)
            caption = CAPTIONS[len(said) % len(CAPTIONS)]
            words = {word.place: word.word for word in sentence}
            said[caption.format(" ".join(words.values()), **words)] = sentence
    say = partial(Balance().choose, number=options.hypotheses_per_premise, rng=rng)
    captions = ((caption, sentence_forms(sentence, rng)) for caption, sentence in said.items())
    yield from drafts_about_captions(captions, say, "grid")
