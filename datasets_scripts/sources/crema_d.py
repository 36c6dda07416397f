"""
CREMA-D (Cao et al., 2014): the emotion that people hear in a voice, see in a face, or find in both, of the same clips.

Three configs: `crema-d-audio`, `crema-d-video` and `crema-d-audiovisual`, from the votes of those who were given the
voice, the face, or both. Each of them named one of six emotions, or none of the other five, which is "neutral". The
probability of a hypothesis is the share of the votes of which it is true, and `human_probabilities` are these votes, 1
or 0 each; whose they are is not published. All clips of an actor are in one split, which hangs on the actor's number
and the seed alone.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.cli import positive_int
from common.errors import InputError
from datasets_scripts.building.clips import NamedFiles, only_one
from datasets_scripts.building.drafts import Clip, Draft, Problem
from datasets_scripts.building.split import split_by_chance
from datasets_scripts.schema import SPLITS
from datasets_scripts.sources.claims import Balance, Claim, drafts_about, make_claims
from datasets_scripts.sources.facts import Facts
from datasets_scripts.tables import Record, read_table
from modeling_clue.modalities import MODALITIES, TABLE


DESCRIPTION = "CREMA-D's acted emotions, as people heard them, saw them, or both, from its table of votes"
FACTS = Facts(
    title="CREMA-D",
    what=(
        "Twelve sentences, spoken by 91 actors with an emotion, and the votes of about ten people for each clip: what "
        "they heard in the voice, saw in the face, and found in both."
    ),
    url="https://github.com/CheyneyComputerScience/CREMA-D",
    licences=("odbl",),
    terms="votes, and what is derived from them. Get the clips from their authors, under the same licence",
    media_allowed=False,
    labels=(
        "The probability is the share of the votes of which the hypothesis is true. Where all agree it is also the "
        "label, else there is none. What the actor was asked to play is not used."
    ),
    limits=(
        "A vote was for one of six emotions, so the probabilities of all six sum to 1; acted, in English, by actors "
        "of the United States, before one background. It tells nothing about what somebody feels."
    ),
    citation=(
        "Houwei Cao, David G. Cooper, Michael K. Keutmann, Ruben C. Gur, Ani Nenkova and Ragini Verma (2014): "
        "CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset. IEEE Transactions on Affective Computing."
    ),
    extends="extended|other-crema-d",
    people="crowdsourced",
    configs=r"crema-d-.*",
)

# What people were given, by the first digit of a record's number.
GIVEN = {"1": "audio", "2": "video", "3": "audiovisual"}
NUMBER, NAME, TOTAL = "", "fileName", "numResponses"
# Actor, sentence, emotion that was asked for, and how much of it.
CLIP_NAME = re.compile("[0-9]{4}_[A-Z]{3}_[A-Z]{3}_[A-Z]{2}")
SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
VIDEO_SUFFIXES = (".flv", ".mp4", ".mkv", ".webm", ".mov", ".avi")


class Emotion(NamedTuple):
    """Names an emotion in two ways."""

    adjective: str
    noun: str


NEUTRAL = Emotion("neutral", "no emotion")
# By their columns; "neutral" means none of the others.
EMOTIONS = {
    "A": Emotion("angry", "anger"),
    "D": Emotion("disgusted", "disgust"),
    "F": Emotion("afraid", "fear"),
    "H": Emotion("happy", "happiness"),
    "N": NEUTRAL,
    "S": Emotion("sad", "sadness"),
}
COLUMNS = (NUMBER, *EMOTIONS, NAME, TOTAL)


class Wording(NamedTuple):
    """Holds the words for how somebody comes across."""

    who: str
    does: str
    does_not: str
    what: str


WORDINGS = {
    "audio": Wording("the speaker", "sounds", "does not sound", "the voice"),
    "video": Wording("the person", "looks", "does not look", "the face"),
    "audiovisual": Wording("the speaker", "seems", "does not seem", "the person"),
}


@dataclass(frozen=True)
class Votes:
    """Holds how many people voted for each emotion, of a clip as it was given."""

    place: str
    clip: str
    counts: dict[Emotion, int]

    @property
    def number(self) -> int:
        """Returns how many people voted."""
        return sum(self.counts.values())

    def share(self, *emotions: Emotion) -> float:
        """Returns the share of the votes for any of some emotions."""
        return sum(self.counts[emotion] for emotion in emotions) / self.number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument("--votes", type=Path, required=True, help="tabulatedVotes.csv")
    parser.add_argument(
        "--clips",
        type=Path,
        required=True,
        help="the folder with the clips, in folders or not: videos, and sounds if there are; else those of the videos",
    )
    clips = MODALITIES[1:]
    parser.add_argument("--modalities", nargs="+", choices=clips, default=clips, help="default: all three")
    parser.add_argument("--hypotheses-per-premise", type=positive_int, default=8, help="default: %(default)s")


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterator[Draft | Problem]]]:
    """Returns the drafts of each split of the configs `crema-d-<modality>`."""
    modalities = list(dict.fromkeys(options.modalities))
    found = {modality: {split: [] for split in SPLITS} for modality in modalities}
    for record in read_table(options.votes, COLUMNS):
        try:
            if isinstance(record, Problem):
                raise ValueError(record.complaint)
            modality, votes = _read_votes(record)
        except ValueError as error:
            # With the training split, and of the first config: it may not say of which.
            found[modalities[0]]["train"].append(Problem(record.place, "row", str(error)))
            continue
        if modality in found:
            found[modality][split_by_chance(votes.clip.split("_")[0], options.seed)].append(votes)
    suffixes = (*SOUND_SUFFIXES, *VIDEO_SUFFIXES) if "audio" in modalities else VIDEO_SUFFIXES
    files = NamedFiles(options.clips, suffixes, "--clips")
    return {
        f"crema-d-{modality}": {
            split: _drafts(modality, split, those, files, options) for split, those in splits.items()
        }
        for modality, splits in found.items()
    }


def _read_votes(record: Record) -> tuple[str, Votes]:
    """Reads a record: what people were given, and their votes; a `ValueError` says what is wrong with it."""
    number, name = (str(record.values[column]).strip() for column in (NUMBER, NAME))
    if not re.fullmatch("[123][0-9]{5}", number):
        raise ValueError(f"its number must have six digits, of which the first is 1, 2 or 3, got {number!r}")
    if not CLIP_NAME.fullmatch(name):
        raise ValueError(f"{NAME} must be the name of a clip, such as 1001_IEO_NEU_XX, got {name!r}")
    texts = [str(record.values[column]).strip() for column in (*EMOTIONS, TOTAL)]
    if not all(text.isascii() and text.isdigit() for text in texts):
        raise ValueError(f"{', '.join(EMOTIONS)} and {TOTAL} must be numbers of votes, got {texts}")
    *counts, total = map(int, texts)
    if not 0 < sum(counts) == total:
        raise ValueError(f"has {sum(counts)} votes for an emotion, and {TOTAL} = {total}")
    return GIVEN[number[0]], Votes(record.place, name, dict(zip(EMOTIONS.values(), counts, strict=True)))


def emotion_forms(votes: Votes, wording: Wording) -> list[list[Claim]]:
    """Returns what may be said of a clip, form by form."""
    who, does, does_not, what = wording
    named = [emotion for emotion in EMOTIONS.values() if emotion != NEUTRAL]
    each, pairs = [(emotion,) for emotion in named], list(combinations(named, 2))

    def denied(*emotions: Emotion) -> float:
        return 1 - votes.share(*emotions)

    is_ = [
        *make_claims((f"{who} {does} {{0.adjective}}.", f"{what} expresses {{0.noun}}."), each, votes.share),
        *make_claims((f"{who} {does} neutral.", f"{what} expresses no emotion."), [(NEUTRAL,)], votes.share),
    ]
    is_not = [
        *make_claims((f"{who} {does_not} {{0.adjective}}.", f"{what} does not express {{0.noun}}."), each, denied),
        *make_claims((f"{who} {does_not} neutral.", f"{what} expresses an emotion."), [(NEUTRAL,)], denied),
    ]
    either = (
        f"{who} {does} {{0.adjective}} or {{1.adjective}}.",
        f"{what} expresses either {{0.noun}} or {{1.noun}}.",
    )
    neither = (
        f"{who} {does} neither {{0.adjective}} nor {{1.adjective}}.",
        f"{what} expresses neither {{0.noun}} nor {{1.noun}}.",
    )
    return [
        is_,
        is_not,
        list(make_claims(either, pairs, votes.share)),
        is_,
        is_not,
        list(make_claims(neither, pairs, denied)),
    ]


def _drafts(
    modality: str, split: str, found: list[Votes | Problem], files: NamedFiles, options: argparse.Namespace
) -> Iterator[Draft | Problem]:
    """Yields the drafts of a split."""
    yield from (one for one in found if isinstance(one, Problem))
    found = [one for one in found if isinstance(one, Votes)]
    rng = np.random.default_rng([options.seed, MODALITIES.index(modality), SPLITS.index(split)])
    balance = Balance()
    for k in rng.permutation(len(found)):
        votes = found[k]
        try:
            clip = _find_clip(files, votes.clip, modality)
        except InputError as error:
            yield Problem(votes.place, "media", str(error))
            continue
        premise = {
            "source": "crema-d",
            "modality": modality,
            "probability_source": "human",
            "evidence": [sense for sense in ("audio", "video") if modality in (sense, "audiovisual")],
            TABLE[modality].column: clip,
        }
        claims = balance.choose(emotion_forms(votes, WORDINGS[modality]), options.hypotheses_per_premise, rng)
        for draft in drafts_about(premise, votes.place, f"crema-d-{modality}-{votes.clip}", claims):
            supporting = round(draft.row["probability"] * votes.number)
            answers = [1.0] * supporting + [0.0] * (votes.number - supporting)
            yield Draft(draft.place, draft.row | {"human_probabilities": answers})


def _find_clip(files: NamedFiles, name: str, modality: str) -> Clip:
    """Returns the clip of a name: of its sound, a file of sound if there is one. A clip that isn't there is where it
    should be."""
    paths = files.find_all(name)
    videos = only_one([path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES], name)
    sound = only_one([path for path in paths if path.suffix.lower() in SOUND_SUFFIXES], name)
    path = (modality == "audio" and sound) or videos or files.folder / f"{name}{VIDEO_SUFFIXES[0]}"
    is_video = path.suffix.lower() in VIDEO_SUFFIXES
    return Clip(path, path.name, sound_only=modality == "audio" and is_video)
