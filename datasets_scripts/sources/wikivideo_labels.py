"""Reads WikiVideo's labels file: topics, their claims, their videos, and which video supports which claim by what."""

import difflib
import json
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from common.errors import InputError
from datasets_scripts.building.drafts import Problem
from datasets_scripts.schema import is_text, one_form


FLAGS = ("video", "audio", "ocr")

# Appendix B.1 of the paper.
TEST_TOPICS = (
    "Launch and commissioning of the James Webb Space Telescope",
    "2018 lower Puna eruption",
    "Notre-Dame fire",
    "2022 United States Senate election in Georgia",
    "Hurricane Irma",
    "2018 Anchorage earthquake",
    "2025 Canadian federal election",
    "2025 Myanmar earthquake",
    "Blue Ghost Mission 1",
    "Liberation Day Tariffs",
)
# Other titles of the same articles, as `plain_title` gives them.
OTHER_TITLES = {
    "notre dame de paris fire": "notre dame fire",
    "2018 lower puna volcanic eruption": "2018 lower puna eruption",
    "firefly blue ghost mission 1": "blue ghost mission 1",
}


@dataclass(frozen=True)
class Claim:
    """A claim, its number in the topic (from 1), and the sentence of the article that it was taken from."""

    text: str
    number: int
    sentence: str


@dataclass
class Topic:
    """An event: an article about it, the article's claims, and videos."""

    name: str  # the article's title, as the file spells it
    number: int  # in the file, from 1
    place: str
    claims: list[Claim] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)  # ids of all that are named anywhere in the topic
    flags: dict[tuple[str, str], dict[str, bool]] = field(default_factory=dict)  # by (claim, video): `FLAGS`
    unknown: set[tuple[str, str]] = field(
        default_factory=set
    )  # (claim, video) listed in a way that can't be understood
    problems: list[Problem] = field(default_factory=list)

    def complain(self, where: str, complaint: str) -> None:
        """Notes what is wrong with a part of it."""
        self.problems.append(Problem(f"{self.place}, {where}" if where else self.place, "row", complaint))

    def label(self, claim: str, video: str, modality: str) -> int:
        """Returns 1 if what a modality shows of a video supports a claim, else 0; 0 for a pair that is not listed."""
        flags = self.flags.get((claim, video), dict.fromkeys(FLAGS, False))
        if modality == "video":
            return int(flags["video"] or flags["ocr"])
        if modality == "audio":
            return int(flags["audio"] and not flags["video"] and not flags["ocr"])
        return int(flags["video"] or flags["audio"])


def plain_title(title: str) -> str:
    """Returns a title without what its spellings differ in: case, accents, punctuation, `_` or `%20` for a space."""
    letters = unicodedata.normalize("NFKD", unquote(title)).casefold()
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain = " ".join(re.findall(r"\w+", letters.replace("_", " ")))
    return OTHER_TITLES.get(plain, plain)


_TEST_TITLES = {plain_title(title): title for title in TEST_TOPICS}


def held_out(title: str) -> bool:
    """Returns whether a topic is one of the ten to test on, in any spelling of its title."""
    return plain_title(title) in _TEST_TITLES


def missing_test_topics(topics: list[Topic]) -> list[str]:
    """Returns a note on each test topic that is not in the file, with training topics that may be the same event."""
    there = {_TEST_TITLES.get(plain_title(topic.name)) for topic in topics}
    others = {plain_title(topic.name): topic.name for topic in topics if not held_out(topic.name)}
    notes = []
    for title in TEST_TOPICS:
        if title not in there:
            close = difflib.get_close_matches(plain_title(title), others, n=3, cutoff=0.75)
            like = f"; kept for training, but alike: {', '.join(others[name] for name in close)}" if close else ""
            notes.append(f"not in the labels file: {title!r}, a topic to test on{like}")
    return notes


def read_topics(file: Path) -> list[Topic]:
    """
    Reads the labels file into its topics, in their order; one that is no labels file is an `InputError`.

    Args:
        file (`Path`): JSON: {topic: {original_article: [sentence], claims: [[claim]], claims_to_supporting_videos:
            {claim: {supporting_videos: [id], videos_modalities: {id: {video, audio, ocr}}}}, videos: {id: ...}}}. The
            published file gives `claims` over again for each video; a claim that is met again is the same claim.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=_each_name_once)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"--labels {file} is no JSON file that can be read: {error}") from error
    if not isinstance(content, dict) or not content:
        raise InputError(f"--labels {file} must hold an object with a name for each topic")
    return [_read_topic(file, number, name, entry) for number, (name, entry) in enumerate(content.items(), start=1)]


def _each_name_once(pairs: list[tuple[str, object]]) -> dict:
    # The json library would keep the last and lose the others without a word.
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in found if names.count(name) > 1)
        raise InputError(f"the labels file has {doubled!r} twice in one object: join or remove one")
    return found


def _read_topic(file: Path, number: int, name: str, entry: object) -> Topic:
    topic = Topic(name, number, f"{file.name}, {name!r}")
    kinds = {"original_article": list, "claims": list, "claims_to_supporting_videos": dict}
    for key, kind in kinds.items():
        if not isinstance(entry, dict) or not isinstance(entry.get(key), kind):
            wanted = "a list" if kind is list else "an object"
            raise InputError(f"{topic.place}: {key} must be {wanted}: is this WikiVideo's labels file?")
    if not plain_title(name):
        raise InputError(f"{topic.place}: a topic needs a title")
    _read_claims(topic, entry["original_article"], entry["claims"])
    _read_support(topic, entry["claims_to_supporting_videos"])
    others = entry.get("videos", {})
    if not isinstance(others, (dict, list)):
        raise InputError(f"{topic.place}: videos must be an object or a list")
    for video in others:
        _add_video(topic, video, "videos")
    if not topic.videos:
        topic.complain("", "names no video")
    return topic


def _read_claims(topic: Topic, article: list, claims: list) -> None:
    met = set()
    for index, group in enumerate(claims):
        place = f"claims of sentence {index + 1}"
        if not isinstance(group, list) or not all(isinstance(text, str) and text.strip() for text in group):
            topic.complain(place, f"must be a list of non-empty strings, got {group!r:.80}")
            continue
        new = list(dict.fromkeys(text for text in map(one_form, group) if text not in met))
        if new and (index >= len(article) or not is_text(article[index])):
            topic.complain(place, f"no such sentence in original_article: {new!r:.80}")
            continue
        met.update(new)
        for text in new:
            topic.claims.append(Claim(text, len(topic.claims) + 1, one_form(article[index])))
    if not topic.claims:
        topic.complain("", "has no claim")


def _read_support(topic: Topic, support: dict) -> None:
    numbers = {claim.text: claim.number for claim in topic.claims}
    listed_rightly = set()
    for raw, entry in support.items():
        claim = one_form(raw)
        place = f"claim {numbers.get(claim, '?')} {claim!r:.60}"
        if claim not in numbers:
            topic.complain(place, "is in claims_to_supporting_videos, but not in claims")
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("videos_modalities"), dict):
            topic.complain(place, "videos_modalities must be an object")
            continue
        listed_rightly.add(claim)
        listed = entry["videos_modalities"]
        supporting = entry.get("supporting_videos", [])
        if not isinstance(supporting, list):
            topic.complain(place, f"supporting_videos must be a list, got {supporting!r:.60}")
            supporting = []
        unlisted = [video for video in supporting if not isinstance(video, str) or video not in listed]
        for video in [*listed, *unlisted]:
            if not _add_video(topic, video, place):
                continue
            flags = listed.get(video, "supports it, by what is not said")
            known = isinstance(flags, dict) and all(isinstance(flags.get(flag), bool) for flag in FLAGS)
            # Two spellings of one claim may contradict each other, in white space alone.
            if not known or topic.flags.setdefault((claim, video), flags) != flags:
                complaint = f"video, audio and ocr must be true or false, and the same wherever given: {flags!r:.80}"
                topic.complain(f"{place}, video {video}", complaint)
                topic.unknown.add((claim, video))
    for claim in [claim for claim in topic.claims if claim.text not in listed_rightly]:
        place = f"claim {claim.number} {claim.text!r:.60}"
        topic.complain(place, "is not in claims_to_supporting_videos, or not rightly")
        topic.claims.remove(claim)


def _add_video(topic: Topic, video: object, place: str) -> bool:
    # The id becomes a file name.
    if not isinstance(video, str) or not re.fullmatch(r"[\w-][\w.-]*", video, re.ASCII):
        topic.complain(place, f"not the id of a video: {video!r:.60}")
        return False
    if video not in topic.videos:
        topic.videos.append(video)
    return True
