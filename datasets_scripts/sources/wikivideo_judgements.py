"""Joins what people said about WikiVideo's pairs, so that a judgement reaches only the modality it was made from."""

import json
from codecs import BOM_UTF8
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from common.errors import InputError
from common.files import read_objects
from datasets_scripts.building.drafts import Problem
from datasets_scripts.schema import SENSES, is_evidence, is_probability, one_form
from datasets_scripts.sources.wikivideo_labels import Topic, plain_title


MEDIA_SUFFIXES = (".mp4", ".mkv", ".webm", ".wav", ".flac")
# What a judgement may be informed by to hold for a modality alone. Text on the screen is seen.
SENSES_OF = {"video": {"video", "text"}, "audio": {"audio"}}


@dataclass(frozen=True)
class Judgement:
    """The probability that people gave to a pair."""

    place: str
    topic: str | None  # as [`plain_title`] gives it
    probability: float  # their mean
    human_probabilities: list[float] | None
    evidence: list[str] | None  # the `SENSES` that informed them, none of them if it is empty

    def holds_for(self, modality: str) -> bool:
        """Returns whether it was, or would have been, the same for the video's pictures or sound alone."""
        if modality == "audiovisual":
            return True
        return self.evidence is not None and set(self.evidence) <= SENSES_OF[modality]


class Judgements:
    """
    A file of judgements, found by claim and video.

    Args:
        file (`Path`): JSON lines, as `annotations.py` aggregates them: {claim, video, topic, probability,
            human_probabilities, evidence}; or a JSON list of {claim, path, probability, evidence}. Probabilities are
            in [0, 1]. A topic, if given, must fit; `evidence` and `human_probabilities` need not be there.
    """

    def __init__(self, file: Path):
        self._found: dict[tuple[str, str], dict[str | None, Judgement]] = {}
        self.problems: list[Problem] = []  # records that can't be read, and doubles
        for place, record in _records(file):
            try:
                claim, video, judgement = _read(place, record)
            except ValueError as error:
                self.problems.append(Problem(place, "row", str(error)))
                continue
            same = self._found.setdefault((claim, video), {})
            first = same.setdefault(judgement.topic, judgement)
            if first is not judgement:
                complaint = f"judges the same claim and video as {first.place}, which is kept"
                self.problems.append(Problem(place, "join", complaint))

    def __len__(self) -> int:
        return sum(map(len, self._found.values()))

    def of(self, topic: Topic, claim: str, video: str, modality: str) -> Judgement | None:
        """Returns the judgement of a claim and a video that holds for a modality, if there is one."""
        same = self._found.get((claim, video), {})
        judgement = same.get(plain_title(topic.name)) or same.get(None)
        return judgement if judgement and judgement.holds_for(modality) else None

    def count(self, topics: Iterable[Topic], modality: str) -> int:
        """Counts the pairs of some topics that have a judgement which holds for a modality."""
        return len(list(self._joined(topics, modality)))

    def unmatched(self, topics: Iterable[Topic]) -> list[Problem]:
        """Returns the problems of the judgements: unreadable and doubled ones, and those that no pair fits."""
        joined = {judgement.place for judgement in self._joined(topics, "audiovisual")}
        problems = list(self.problems)
        for (claim, video), same in self._found.items():
            for judgement in same.values():
                if judgement.place not in joined:
                    where = f"topic {judgement.topic!r} does not have" if judgement.topic else "no topic has"
                    complaint = f"fits no pair: {where} both the claim {claim!r} and the video {video!r}"
                    problems.append(Problem(judgement.place, "join", complaint))
        return problems

    def _joined(self, topics: Iterable[Topic], modality: str) -> Iterable[Judgement]:
        for topic in topics:
            for video in topic.videos:
                for claim in topic.claims:
                    judgement = self.of(topic, claim.text, video, modality)
                    if judgement and (claim.text, video) not in topic.unknown:
                        yield judgement


def _records(file: Path) -> Iterable[tuple[str, object]]:
    try:
        with file.open("rb") as content:
            is_list = content.read(1000).removeprefix(BOM_UTF8).lstrip().startswith(b"[")
        if not is_list:
            return [(f"{file.name} line {number}", record) for number, record in read_objects(file)]
        records = json.loads(file.read_text(encoding="utf-8-sig"))
        return [(f"{file.name} item {number}", record) for number, record in enumerate(records, start=1)]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"--judgements {file} is no file of JSON lines or a JSON list: {error}") from error


def _read(place: str, record: object) -> tuple[str, str, Judgement]:
    if not isinstance(record, dict):
        raise ValueError(record if isinstance(record, str) else "is no JSON object")
    claim, video = record.get("claim"), record.get("video") or record.get("path")
    if not isinstance(claim, str) or not claim.strip() or not isinstance(video, str) or not video.strip():
        raise ValueError("needs a claim, and a video (its id) or a path, to be joined")
    probability, several = record.get("probability"), record.get("human_probabilities")
    if not is_probability(probability):
        raise ValueError(f"probability must be a number in [0, 1], got {probability!r}")
    if several is not None and not (isinstance(several, list) and several and all(map(is_probability, several))):
        raise ValueError(f"human_probabilities must be a list of numbers in [0, 1], got {several!r}")
    evidence, topic = record.get("evidence"), record.get("topic")
    if evidence is not None and not is_evidence(evidence):
        raise ValueError(f"evidence must be a list out of {', '.join(SENSES)}, got {evidence!r}")
    if topic is not None and not isinstance(topic, str):
        raise ValueError(f"topic must be a string, got {topic!r}")
    numbers = several and [float(number) for number in several]
    judgement = Judgement(place, plain_title(topic) if topic else None, float(probability), numbers, evidence)
    return one_form(claim), _video_id(video), judgement


def _video_id(path: str) -> str:
    name = PurePosixPath(path.strip().replace("\\", "/"))
    return name.stem if name.suffix.lower() in MEDIA_SUFFIXES else name.name
