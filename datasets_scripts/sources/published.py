"""
UMUI as the paper's authors publish it: UNLI, what a teacher said of Clotho and WikiVideo, and people of the latter.

`--raw` is their dataset, as `hf download AdoptedIrelia/UMUI --repo-type dataset --local-dir DIR` brings it; `--repo`
fetches the files that hold no clips. The two archives of clips are unpacked where they lie, or below `--clips`:

- `unli`: all rows of all splits; no clips are needed.
- `clotho-teacher`: Clotho's development for training and its evaluation for testing, entailed and contradicted
  hypotheses. The teacher's probability is the mean of its distribution over ten bins.
- `wikivideo-video`, `wikivideo-audio`, `wikivideo-audiovisual`: to train on (not for sound alone, of which there is
  none), the pairs that the teacher judged, at the mean of its answers; to test on, the ten topics of appendix B.1 with
  people's probabilities. These hold for every modality of a pair here, as in the authors' scorer; where there is none,
  the label does. `--pairs listed` tests on the pairs that the labels file lists, as the scorer does, and the config's
  name says so (`wikivideo-video-listed`); `--pairs all` on every claim with every video of its topic.

`--drop-disagreeing` leaves out training pairs in which the teacher is on the other side of 0.5 than the label, and
`--ratio 1:1` draws as many negatives as positives: so the authors trained.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from statistics import fmean
from typing import Any

from huggingface_hub import snapshot_download

from chat.answers import parse_answer
from common.cli import counted
from common.errors import InputError
from common.hub import explain_hub_errors
from datasets_scripts.building.clips import NamedFiles
from datasets_scripts.building.drafts import Clip, Draft, Problem, new_row
from datasets_scripts.schema import is_probability, is_text, one_form
from datasets_scripts.sources import unli
from datasets_scripts.sources.wikivideo import pair_row
from datasets_scripts.sources.wikivideo_judgements import Judgement, Judgements
from datasets_scripts.sources.wikivideo_labels import Topic, held_out, missing_test_topics, read_topics
from modeling_clue.modalities import TABLE


DESCRIPTION = "UMUI as the paper's authors publish it: UNLI, and what their teacher and people said of clips"
# They are those of UNLI, Clotho and WikiVideo.
FACTS = None

LABEL_FILES = ["training-data/*", "UMUI-annotation/*", "UMUI-binary/*"]
TEACHER_FILES = {
    "clotho-teacher": "training-data/audio.json",
    "wikivideo-video": "training-data/video.json",
    "wikivideo-audiovisual": "training-data/omni.json",
}
PEOPLE_FILE = "UMUI-annotation/annotation.json"
TOPICS_FILE = "annotations/final_data_2015-2025.json"
CONFIGS = ("unli", "clotho-teacher", "wikivideo-video", "wikivideo-audio", "wikivideo-audiovisual")
# Archive of the clips, its size, and the folders in it, with and without the one that it unpacks to.
CLOTHO = ("audio_entailment.tar.gz (9 GB)", ("audio_entailment/clotho", "clotho"))
WIKIVIDEO = ("wikivideo.tar.gz (17 GB)", ("wikivideo_", "."))
CLOTHO_SPLITS = {"development": "train", "evaluation": "test"}
# Where clips of a modality are, the first choice first; the sound of a video will do.
WIKIVIDEO_FOLDERS = {
    "video": ("data/combined_videos", "data/videos/en"),
    "audio": ("data/audios/en", "data/combined_videos"),
    "audiovisual": ("data/combined_videos",),
}
SOUND_SUFFIXES = (".wav", ".flac", ".ogg")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm")
# What each of the digits that the teacher chose from stands for.
DIGITS = [(digit + 0.5) / 10 for digit in range(10)]


@dataclass(frozen=True)
class Item:
    """A pair that the teacher judged."""

    place: str
    number: int  # in its file
    group: str  # a part of Clotho, or an event
    claim: str
    clip: PurePosixPath  # as the file has it
    label: int
    probability: float  # the mean of the answers or of the distribution, whichever there is
    answers: list[float] | None
    distribution: list[float] | None  # over ten bins of equal width


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument("--raw", type=Path, help="the folder that the dataset was downloaded to")
    origin.add_argument("--repo", help="fetch its labels from the Hub, e.g. from AdoptedIrelia/UMUI")
    parser.add_argument("--clips", type=Path, help="the folder where its archives were unpacked (default: --raw)")
    parser.add_argument(
        "--dataset-configs", dest="configs", nargs="+", choices=CONFIGS, help="default: all with clips"
    )
    parser.add_argument(
        "--pairs",
        choices=("listed", "all"),
        default="listed",
        help="of WikiVideo's test topics (default: %(default)s)",
    )
    parser.add_argument(
        "--drop-disagreeing", action="store_true", help="leave out training pairs whose label the teacher contradicts"
    )


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterable[Draft | Problem]]]:
    """Returns the drafts of each split of the configs asked for. Prints what can't be built for want of clips, how
    many pairs were dropped, and how many pairs people judged."""
    raw = options.raw or _fetch(options.repo)
    clips = options.clips or raw
    names = options.configs or CONFIGS
    events: Events | None = None
    built: dict[str, dict[str, Iterable[Draft | Problem]]] = {}
    for name in names:
        if name == "unli":
            where = argparse.Namespace(raw=raw / "training-data/unli", seed=options.seed)
            built |= unli.configs(where)
            continue
        archive, found = find_clips(name, clips)
        if found is not None and name == "clotho-teacher":
            built |= _clotho(name, raw, found, options)
        elif found is not None:
            events = events or Events.read(raw, found)
            built |= _wikivideo(name, raw, found, events, options)
        elif options.configs:
            raise InputError(f"{name} needs the clips of {archive}: unpack it below {clips}, or pass --clips")
        else:
            print(f"{name}: left out, as the clips of {archive} are not below {clips}")
    return built


def find_clips(config: str, clips: Path) -> tuple[str, Path | None]:
    """Returns the archive that holds a config's clips, in words, and the folder that it was unpacked to below `clips`,
    `None` if it wasn't."""
    if config == "clotho-teacher":
        (archive, places), inside = CLOTHO, CLOTHO_SPLITS
    else:
        (archive, places), inside = WIKIVIDEO, WIKIVIDEO_FOLDERS[config.removeprefix("wikivideo-")]
    found = (clips / place for place in places if any((clips / place / name).is_dir() for name in inside))
    return archive, next(found, None)


def stored_name_of(config: str, pairs: str) -> str:
    """Returns what a config is called in a dataset, which says of WikiVideo which pairs it is tested on."""
    return f"{config}-listed" if config.startswith("wikivideo-") and pairs == "listed" else config


def _fetch(repo: str) -> Path:
    with explain_hub_errors(repo):
        folder = Path(snapshot_download(repo, repo_type="dataset", allow_patterns=LABEL_FILES))
    print(f"{repo}: labels are in {folder}")
    return folder


# --- what the teacher said ------------------------------------------------------------------------


def _read_json(raw: Path, file: str) -> Any:
    try:
        return json.loads((raw / file).read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"{raw} lacks {file}: is it a download of the authors' dataset repository?") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{raw / file} is no JSON file that can be read: {error}") from error


def read_items(raw: Path, file: str, groups: Callable[[str], bool]) -> Iterator[Item | Problem]:
    """
    Yields the pairs of some groups of a file, and a problem in place of each that can't be read.

    Args:
        raw (`Path`), file (`str`): JSON: {group: [{path, claim, label, answer}]}. An answer is a list of ten numbers,
            the probabilities of the digits 0 to 9, or of texts that hold a probability each.
        groups (`Callable[[str], bool]`): Says of a group's name whether it is wanted.
    """
    content = _read_json(raw, file)
    if not isinstance(content, dict) or not all(isinstance(items, list) for items in content.values()):
        raise InputError(f"{raw / file} must hold an object with a list for each group")
    numbers = itertools.count(1)
    for group, items in content.items():
        for place_in_group, item in enumerate(items, 1):
            number = next(numbers)
            if not groups(group):
                continue
            place = f"{Path(file).name}, {group!r} item {place_in_group}"
            try:
                yield _read_item(place, number, group, item)
            except ValueError as error:
                yield Problem(place, "row", str(error))


def _read_item(place: str, number: int, group: str, item: object) -> Item:
    if not isinstance(item, dict):
        raise ValueError(f"must be an object, got {item!r:.80}")
    for key in ("claim", "path"):
        if not is_text(item.get(key)):
            raise ValueError(f"{key} must be a text, got {item.get(key)!r:.80}")
    if not isinstance(item.get("label"), bool):
        raise ValueError(f"label must be true or false, got {item.get('label')!r:.80}")
    judgement = _judgement(item.get("answer"))
    clip = PurePosixPath(item["path"].strip().replace("\\", "/"))
    return Item(place, number, group, one_form(item["claim"]), clip, int(item["label"]), *judgement)


def _judgement(answer: object) -> tuple[float, list[float] | None, list[float] | None]:
    """Returns the probability that an answer comes to, and the single answers or the distribution that it is."""
    if not isinstance(answer, list) or not answer:
        raise ValueError(f"answer must be a list that is not empty, got {answer!r:.80}")
    if all(isinstance(one, str) for one in answer):
        parsed = [parse_answer(one) for one in answer]
        found = [one.probability for one in parsed if one.probability is not None]
        if not found:
            raise ValueError(f"answer has no probability in it ({parsed[0].reason}): {answer[0]!r:.80}")
        return fmean(found), found, None
    numbers = [float(one) for one in answer if is_probability(one)]
    total = sum(numbers)
    # What is missing went to other tokens.
    if len(numbers) != len(answer) or len(answer) != len(DIGITS) or not 0.5 < total < 1.01:
        raise ValueError(f"answer must be texts, or ten probabilities that sum to 1, got {answer!r:.120}")
    return sum(number * value for number, value in zip(numbers, DIGITS, strict=True)) / total, None, numbers


def _without_disagreeing(items: Iterable[Item | Problem], config: str) -> list[Item | Problem]:
    """Leaves out pairs in which the teacher contradicts the label, and prints how many they are."""
    found = list(items)
    kept = [one for one in found if isinstance(one, Problem) or (one.probability - 0.5) * (one.label - 0.5) >= 0]
    print(
        f"{config}: {counted(len(found) - len(kept), 'training pair')} left out, whose label the teacher contradicts"
    )
    return kept


def _teacher_drafts(
    config: str, items: Iterable[Item | Problem], columns: Callable[[Item], dict]
) -> Iterator[Draft | Problem]:
    """Yields the drafts of pairs that the teacher judged; `columns` gives those of the premise, or an `InputError`."""
    for item in items:
        if isinstance(item, Problem):
            yield item
            continue
        try:
            premise = columns(item)
        except InputError as error:
            yield Problem(item.place, "media", str(error))
            continue
        row = new_row(
            id=f"{config}-{item.number:06d}",
            hypothesis=item.claim,
            label=item.label,
            probability=item.probability,
            probability_source="teacher",
            teacher_probabilities=item.answers,
            teacher_distribution=item.distribution,
            **premise,
        )
        yield Draft(item.place, row)


# --- Clotho ---------------------------------------------------------------------------------------


def _clotho(config: str, raw: Path, clips: Path, options: argparse.Namespace) -> dict[str, dict[str, Iterator]]:
    splits = {}
    for part, split in CLOTHO_SPLITS.items():
        items: Iterable[Item | Problem] = read_items(raw, TEACHER_FILES[config], part.__eq__)
        if split == "train" and options.drop_disagreeing:
            items = _without_disagreeing(items, config)
        splits[split] = _clotho_drafts(config, part, items, clips)
    return {config: splits}


def _clotho_drafts(config: str, part: str, items: Iterable[Item | Problem], clips: Path) -> Iterator[Draft | Problem]:
    files = NamedFiles(clips / part, SOUND_SUFFIXES, "--clips") if (clips / part).is_dir() else None

    def columns(item: Item) -> dict:
        path = (files and files.find(item.clip.stem)) or clips / part / item.clip.name
        clip = Clip(path, f"{part}/{item.clip.stem}{path.suffix}")
        return {"source": "clotho", "modality": "audio", "audio": clip, "evidence": ["audio"]}

    yield from _teacher_drafts(config, items, columns)


# --- WikiVideo ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Events:
    """The topics to test on, and what people said of them."""

    topics: list[Topic]
    judgements: Judgements

    @classmethod
    def read(cls, raw: Path, clips: Path) -> "Events":
        """Reads the labels file and people's judgements, and prints which topics are missing."""
        topics = read_topics(clips / TOPICS_FILE)
        for note in missing_test_topics(topics):
            print(note)
        return cls([topic for topic in topics if held_out(topic.name)], Judgements(raw / PEOPLE_FILE))

    @property
    def problems(self) -> list[Problem]:
        """Returns what can't be read. Of doubles the first counts, as in the authors' scorer."""
        unreadable = [problem for problem in self.judgements.problems if problem.kind == "row"]
        return unreadable + [problem for topic in self.topics for problem in topic.problems]

    def judgement(self, topic: Topic, claim: str, video: str) -> Judgement | None:
        """Returns people's judgement of a pair, whatever informed it: as in the authors' scorer."""
        return self.judgements.of(topic, claim, video, "audiovisual")


def _wikivideo(
    config: str, raw: Path, clips: Path, events: Events, options: argparse.Namespace
) -> dict[str, dict[str, Iterator]]:
    modality = config.removeprefix("wikivideo-")
    find = _clip_finder(clips, modality)
    name = stored_name_of(config, options.pairs)
    tests = [(topic, *pair) for topic in events.topics for pair in _pairs(topic, options.pairs)]
    judged, number = sum(events.judgement(*test) is not None for test in tests), len(events.judgements)
    print(f"{name}: {judged} of {counted(len(tests), 'test pair')} have one of {number} human probabilities")
    splits: dict[str, Iterator] = {}
    if config in TEACHER_FILES:
        items: Iterable[Item | Problem] = read_items(raw, TEACHER_FILES[config], lambda event: not held_out(event))
        if options.drop_disagreeing:
            items = _without_disagreeing(items, config)
        splits["train"] = _training_drafts(config, modality, items, find)
    splits["test"] = itertools.chain(events.problems, _test_drafts(name, modality, tests, events, find))
    return {name: splits}


def _pairs(topic: Topic, pairs: str) -> list[tuple[str, str]]:
    """Returns the pairs of a topic as (claim, video): those that the labels file lists, or all."""
    if pairs == "listed":
        return [pair for pair in topic.flags if pair not in topic.unknown]
    both = itertools.product((claim.text for claim in topic.claims), topic.videos)
    return [pair for pair in both if pair not in topic.unknown]


def _clip_finder(clips: Path, modality: str) -> Callable[[str], Clip]:
    """Returns what finds a clip by the video's id; one that isn't there is where it should be."""
    folders = []
    for place in WIKIVIDEO_FOLDERS[modality]:
        is_sound = "audios" in place
        if (clips / place).is_dir():
            folders.append(NamedFiles(clips / place, SOUND_SUFFIXES if is_sound else VIDEO_SUFFIXES, "--clips"))

    def find(video: str) -> Clip:
        paths = (files.find(video) for files in folders)
        path = next(filter(None, paths), folders[0].folder / f"{video}.mp4")
        is_sound = path.suffix.lower() in SOUND_SUFFIXES
        return Clip(path, path.name, sound_only=modality == "audio" and not is_sound)

    return find


def _training_drafts(
    config: str, modality: str, items: Iterable[Item | Problem], find: Callable[[str], Clip]
) -> Iterator[Draft | Problem]:
    def columns(item: Item) -> dict:
        clip = find(item.clip.stem)
        return {"source": "wikivideo", "modality": modality, TABLE[modality].column: clip, "topic": item.group}

    yield from _teacher_drafts(config, items, columns)


def _test_drafts(
    config: str,
    modality: str,
    pairs: list[tuple[Topic, str, str]],
    events: Events,
    find: Callable[[str], Clip],
) -> Iterator[Draft | Problem]:
    for topic, claim, video in pairs:
        place = f"{topic.place}, claim {claim!r:.60}, video {video}"
        try:
            clip = find(video)
        except InputError as error:
            yield Problem(place, "media", str(error))
            continue
        (said,) = [one for one in topic.claims if one.text == claim]
        judgement = events.judgement(topic, claim, video)
        yield Draft(place, pair_row(f"{config}-test", topic, said, video, modality, clip, judgement))
