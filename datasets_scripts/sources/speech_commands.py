"""
Speech Commands (Warden, 2018): spoken words, alone and in a row, with hypotheses that are true, false and graded.

The clips lie in a folder for each word, and their names begin with the speaker. All of a speaker are in one split,
which hangs on the speaker's name and the seed alone. A row is of two or three clips of one speaker.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np

from common.cli import non_negative_float, positive_int
from common.errors import InputError
from datasets_scripts.building.clips import files_by_class
from datasets_scripts.building.drafts import Clip, Draft, Problem
from datasets_scripts.building.split import split_by_chance
from datasets_scripts.schema import SPLITS
from datasets_scripts.sources.claims import Balance, Claim, drafts_about, drafts_about_captions, make_claims
from datasets_scripts.sources.facts import Facts
from datasets_scripts.sources.mixing import drafts_about_mixes, mix, read_sound


DESCRIPTION = "the spoken words of Speech Commands, alone and in a row, with claims that are true, false and graded"
FACTS = Facts(
    title="Speech Commands",
    what=(
        "One spoken word, or none, in a second of sound, and two or three words of one speaker that this project's "
        "code puts in a row."
    ),
    url="https://arxiv.org/abs/1804.03209",
    licences=("apache-2.0", "cc-by-4.0"),
    terms=(
        "sentences and probabilities. The clips, and what is put together of them, are Google's, under CC BY 4.0: "
        "whoever passes them on names the source and says what was changed"
    ),
    labels=(
        "A clip is taken to hold the word that the collection files it under and no other. Of words in a row the "
        "probability is exact: the share of the words of which the hypothesis is true. The label is 1 or 0 where that "
        "is certain, else none."
    ),
    limits=(
        "Single English words, many cut off or noisy, some filed under a wrong word; the pauses in a row of words are "
        "those of its clips, and its words were not spoken as one sentence."
    ),
    citation="Pete Warden (2018): Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition. arXiv.",
    extends="extended|other-speech-commands",
    configs=r"speech-commands(-captions)?",
)

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
# Clips of further words, which their names begin with; and clips without any.
UNKNOWN, SILENCE = "_unknown_", "_silence_"
FOLDERS = r"_unknown_|_silence_|[a-z]+"
SUFFIXES = (".wav", ".flac", ".ogg")
NAME = re.compile(r"(?:(?P<word>[a-z]+)_)?(?P<speaker>[0-9a-f]{8})_nohash_[0-9]+\.")

SAID = ("someone says {0}.", 'a voice says "{0}".')
NOT_SAID = ("nobody says {0}.", 'the word "{0}" is not spoken.')
IS = (*SAID, 'the word that is spoken is "{0}".', 'what is said is "{0}".')
IS_NOT = (*NOT_SAID, 'the word that is spoken is not "{0}".', 'what is said is not "{0}".')
EITHER_SAID = ("someone says either {0} or {1}.",)
OR = (*EITHER_SAID, 'the word that is spoken is "{0}" or "{1}".')
NEITHER = ('neither "{0}" nor "{1}" is spoken.', "nobody says {0} or {1}.")
BOTH = ('both "{0}" and "{1}" are spoken.', "the speaker says {0} and also {1}.")
SPEECH = ("someone speaks.", "a word is spoken.", "a voice can be heard.")
NO_SPEECH = ("nobody speaks.", "no word is spoken.", "no voice can be heard.")
FIRST = ('the first word is "{0}".', "the speaker begins with {0}.")
NOT_FIRST = ('the first word is not "{0}".', "the speaker does not begin with {0}.")
LAST = ('the last word is "{0}".', "the speaker ends with {0}.")
BEFORE = ("the speaker says {0} before {1}.", 'the word "{1}" comes after "{0}".')
PICKED = ("a word chosen at random from the recording is {0}.", 'one of the words, drawn at random, is "{0}".')
NOT_PICKED = (
    "a word chosen at random from the recording is not {0}.",
    'one of the words, drawn at random, is not "{0}".',
)
EITHER_PICKED = (
    "a word chosen at random from the recording is {0} or {1}.",
    'one of the words, drawn at random, is "{0}" or "{1}".',
)
NUMBER = ("the recording has {0} words.", "{0} words are spoken.")
TWICE = ("a word is spoken more than once.", "the speaker repeats a word.")
NOT_TWICE = ("no word is spoken more than once.", "the speaker repeats no word.")

# What a clip, and a row of words, is in words.
CAPTIONS = ('someone says "{0}".', "a voice says {0}.", "one word is spoken: {0}.", '"{0}".', "the speaker says {0}.")
SILENT_CAPTIONS = ("nobody speaks.", "silence.", "no word is spoken.", "a noise without words.")
ROW_CAPTIONS = ('someone says "{0}", then "{1}".', "a voice says {0} and {1}.", 'the words "{0}", "{1}".', "{0}, {1}.")

FOILS = 4
LENGTHS = {2: "two", 3: "three"}


@dataclass(frozen=True)
class Spoken:
    """Names a clip and what is said in it."""

    path: Path
    word: str | None
    speaker: str  # of a clip without words, its own name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    help = f"the folder with a folder for each word, {', '.join(WORDS)}, and, if there are, {UNKNOWN} and {SILENCE}"
    parser.add_argument("--clips", type=Path, required=True, help=help)
    parser.add_argument("--hypotheses-per-premise", type=positive_int, default=8, help="default: %(default)s")
    parser.add_argument(
        "--rows-of-words", type=non_negative_float, default=0.5, help="how many for each clip (default: %(default)s)"
    )


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterator[Draft | Problem]]]:
    """Returns the drafts of each split about clips, and those to train on about captions, which say what is heard."""
    splits: dict[str, list[Spoken | Problem]] = {split: [] for split in SPLITS}
    for folder, files in files_by_class(options.clips, SUFFIXES, WORDS, FOLDERS).items():
        for path in files:
            name = NAME.match(path.name)
            if folder == SILENCE:
                spoken = Spoken(path, None, path.stem)
            elif name and (word := name["word"] if folder == UNKNOWN else folder):
                spoken = Spoken(path, word, name["speaker"])
            else:
                like = "dog_0a7c2a8d_nohash_0.wav" if folder == UNKNOWN else "0a7c2a8d_nohash_0.wav"
                complaint = f"{path} does not say its speaker{' and word' * (folder == UNKNOWN)}, as {like} does"
                splits["train"].append(Problem(f"{folder}/{path.name}", "row", complaint))
                continue
            splits[split_by_chance(spoken.speaker, options.seed)].append(spoken)
    return {
        "speech-commands": {split: _drafts(split, clips, options) for split, clips in splits.items()},
        "speech-commands-captions": {"train": _caption_drafts(options)},
    }


def word_forms(word: str | None, foils: list[str]) -> list[list[Claim]]:
    """Returns what may be said of a clip with a word or none, in which the foils are not spoken, form by form."""
    words = [*filter(None, [word]), *foils]
    each, pairs = [(one,) for one in words], list(permutations(words, 2))
    # That "the word that is spoken" isn't yes says of silence something else than that it isn't spoken.
    is_, is_not, or_ = (IS, IS_NOT, OR) if word else (SAID, NOT_SAID, EITHER_SAID)
    said = [
        *make_claims(is_, each, lambda one: one == word),
        *make_claims(SPEECH, [()], lambda: word is not None),
    ]
    not_said = [
        *make_claims(is_not, each, lambda one: one != word),
        *make_claims(NO_SPEECH, [()], lambda: word is None),
    ]
    either = list(make_claims(or_, pairs, lambda *two: word in two))
    neither = list(make_claims(NEITHER, pairs, lambda *two: word not in two))
    return [said, not_said, either, said, not_said, neither]


def row_forms(row: list[str], foils: list[str]) -> list[list[Claim]]:
    """Returns what may be said of words in a row, of which the foils are none, form by form."""
    words = list(dict.fromkeys([*row, *foils]))
    each, pairs = [(one,) for one in words], list(permutations(words, 2))
    counts = Counter(row)

    def share(*those: str) -> float:
        return sum(counts[one] for one in those) / len(row)

    def is_before(one: str, other: str) -> bool | None:
        return row.index(one) < row.index(other) if counts[one] == counts[other] == 1 else None

    said = [*make_claims(SAID, each, counts.__contains__), *make_claims(NOT_SAID, each, lambda one: one not in counts)]
    together = [
        *make_claims(BOTH, pairs, lambda *two: {*two} <= counts.keys()),
        *make_claims(NEITHER, pairs, lambda *two: counts.keys().isdisjoint(two)),
    ]
    order = [
        *make_claims(FIRST, each, lambda one: one == row[0]),
        *make_claims(NOT_FIRST, each, lambda one: one != row[0]),
        *make_claims(LAST, each, lambda one: one == row[-1]),
    ]
    before = list(make_claims(BEFORE, pairs, is_before)) or order
    number = [
        *make_claims(NUMBER, [(name,) for name in LENGTHS.values()], lambda name: name == LENGTHS[len(row)]),
        *make_claims(TWICE, [()], lambda: len(counts) < len(row)),
        *make_claims(NOT_TWICE, [()], lambda: len(counts) == len(row)),
    ]
    picked = list(make_claims(PICKED, each, share))
    not_picked = list(make_claims(NOT_PICKED, each, lambda one: 1 - share(one)))
    either_picked = list(make_claims(EITHER_PICKED, pairs, share))
    return [picked, before, said, not_picked, order, either_picked, together, number]


def _drafts(split: str, clips: list[Spoken | Problem], options: argparse.Namespace) -> Iterator[Draft | Problem]:
    """Yields the drafts of a split: about its clips, then about words in a row."""
    yield from (one for one in clips if isinstance(one, Problem))
    clips = [one for one in clips if isinstance(one, Spoken)]
    rng = np.random.default_rng([options.seed, SPLITS.index(split)])
    say = partial(Balance().choose, number=options.hypotheses_per_premise, rng=rng)
    columns = {"source": "speech-commands", "modality": "audio", "evidence": ["audio"]}
    # A word is asked for in vain the more often, the more often it is spoken.
    spoken = [one.word for one in clips if one.word] or list(WORDS)

    def foils(words: list[str]) -> list[str]:
        drawn = dict.fromkeys(map(str, rng.choice(spoken, 4 * FOILS)))
        return [word for word in drawn if word not in words][:FOILS]

    for k in rng.permutation(len(clips)):
        clip = clips[k]
        key = clip.path.relative_to(options.clips).as_posix()
        premise = columns | {"audio": Clip(clip.path, key), "probability_source": "label"}
        claims = say(word_forms(clip.word, foils([clip.word])))
        yield from drafts_about(premise, key, f"speech-commands-{key.rsplit('.', 1)[0].replace('/', '-')}", claims)
    speakers: dict[str, list[Spoken]] = {}
    for clip in clips:
        if clip.word:
            speakers.setdefault(clip.speaker, []).append(clip)
    several = [those for those in speakers.values() if len(those) >= max(LENGTHS)]

    def draw() -> tuple[Clip, list[list[Claim]]]:
        those = several[rng.integers(len(several))]
        chosen = [those[j] for j in rng.choice(len(those), rng.choice(list(LENGTHS)), replace=False)]
        words = [one.word for one in chosen]
        return mix([read_sound(one.path) for one in chosen]), row_forms(words, foils(words))

    premise = columns | {"probability_source": "exact"}
    amount = round(options.rows_of_words * len(clips))
    if amount and not several:
        raise InputError(
            f"no speaker of the {split} split has {max(LENGTHS)} clips with words for a row: pass --rows-of-words 0"
        )
    yield from drafts_about_mixes(draw, amount, "--rows-of-words", say, premise, f"speech-commands-{split}-row")


def _caption_drafts(options: argparse.Namespace) -> Iterator[Draft]:
    """Yields drafts about captions: of each word in all ways to say it, of silence, and of rows of words."""
    rng = np.random.default_rng([options.seed, len(SPLITS)])
    say = partial(Balance().choose, number=options.hypotheses_per_premise, rng=rng)
    said: dict[str, list[str]] = {caption: [] for caption in SILENT_CAPTIONS}
    said |= {caption.format(word): [word] for word in WORDS for caption in CAPTIONS}
    alone = len(said)
    while len(said) < 6 * alone:
        row = [str(word) for word in rng.choice(WORDS, rng.choice(list(LENGTHS)))]
        caption = ROW_CAPTIONS[rng.integers(len(ROW_CAPTIONS))]
        between = caption.partition("{0}")[2].partition("{1}")[0]
        said[caption.format(between.join(row[:-1]), row[-1])] = row

    def forms(row: list[str]) -> list[list[Claim]]:
        foils = [str(word) for word in rng.permutation(WORDS) if word not in row][:FOILS]
        return word_forms(row[0] if row else None, foils) if len(row) < min(LENGTHS) else row_forms(row, foils)

    captions = ((caption, forms(row)) for caption, row in said.items())
    yield from drafts_about_captions(captions, say, "speech-commands")
