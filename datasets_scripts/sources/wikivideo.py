"""
WikiVideo (Martin et al., 2025): claims of Wikipedia articles against videos of the same event.

Three configs: `wikivideo-video`, `wikivideo-audio` and `wikivideo-audiovisual`. Every claim of a topic meets every
video of the topic, which is every video that the labels file names anywhere in it. The file says of a claim which
videos support it, and by what: by pictures, by sound, by text on the screen (`ocr`). A (claim, video) that it does not
list is supported by nothing: label 0. For one that it lists, the label is the published rule's:

- video: pictures or text,
- audio: sound, and neither pictures nor text,
- audiovisual: pictures or sound. Text alone gives 0 here, though it gives 1 to video.

The ten topics of the paper's appendix B.1 are for testing, the others for training (appendix D).

`probability` is that label with `probability_source` `"label"`, where people have not judged the pair. A judgement was
made with pictures and sound, so it goes to the audiovisual pair. To the video pair it goes only if pictures or text
informed it and sound did not, to the audio pair only if sound alone did; to all three if nothing in the video did. If
it does not say what informed it, it stays with the audiovisual pair. `label` is the labels file's in any case.

The paper's annotators read a background story of each event before they watched (appendix B.2). With `--backgrounds` a
premise is a combination, the story and then the clip, and configs are called `wikivideo-video-background` and so on.
"""

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from common.errors import InputError
from datasets_scripts.building.clips import NamedFiles
from datasets_scripts.building.drafts import Clip, Draft, Problem, new_row
from datasets_scripts.schema import combination, is_text
from datasets_scripts.sources.facts import Facts
from datasets_scripts.sources.wikivideo_judgements import Judgement, Judgements
from datasets_scripts.sources.wikivideo_labels import (
    TEST_TOPICS,
    Claim,
    Topic,
    held_out,
    missing_test_topics,
    plain_title,
    read_topics,
)
from modeling_clue.modalities import TABLE


DESCRIPTION = "WikiVideo: claims against videos, their sound, and both, from its labels file"
FACTS = Facts(
    title="WikiVideo",
    what=(
        "Claims from Wikipedia articles about events, and the videos of MultiVENT 2.0 that support them or not, "
        "with people's marks of what in a video supports a claim: picture, sound or writing on the screen."
    ),
    url="https://arxiv.org/abs/2504.00939",
    licences=("other",),
    terms=(
        "claims and marks, whose terms the publishers state; sentences of articles are Wikipedia's "
        "(CC BY-SA 4.0), and the videos belong to those who made them. Ask before you pass them on"
    ),
    media_allowed=False,
    labels=(
        "Every claim of a topic meets every video of the topic. Label 1 by the published marks: for a video "
        "without its sound if pictures or writing on the screen support the claim, for a sound if sound does and "
        "neither pictures nor writing do, for a video with its sound if pictures or sound do; else 0. The "
        "probability is the label where nobody has judged the pair. A person's judgement, made with pictures and "
        "sound, is that of the audiovisual pair; the video pair has it only if no sound informed it, the audio "
        "pair only if sound alone did, both if nothing in the video did. Configs built from the release of UMUI's "
        "authors differ: a judgement is that of all modalities of its pair, pairs to train on have a teacher's mean, "
        "and those called `-listed` have, to test on, only the pairs that are marked at all."
    ),
    limits="A claim that no mark supports is labelled false, though the video may only leave it open.",
    citation=(
        "Alexander Martin et al. (2025): WikiVideo: Article Generation from Multiple Videos. arXiv:2504.00939. "
        "Reno Kriz et al. (2025): MultiVENT 2.0: A Massive Multilingual Benchmark for Event-Centric Video "
        "Retrieval. CVPR."
    ),
    extends="extended|other-wikivideo",
    people="expert-generated",
    configs=r"wikivideo-.*",
)

MODALITIES = ("video", "audio", "audiovisual")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm")
SOUND_SUFFIXES = (".wav", ".flac")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument("--labels", type=Path, required=True, help="the labels file, final_data_2015-2025.json")
    parser.add_argument("--videos", type=Path, required=True, help="the folder with <id>.mp4 (or .mkv, .webm)")
    parser.add_argument(
        "--sounds", type=Path, help="a folder with <id>.wav (default, and where one is missing: the video's sound)"
    )
    parser.add_argument("--judgements", type=Path, help="human probabilities, JSONL of annotations.py or a JSON list")
    parser.add_argument(
        "--backgrounds", type=Path, help="a JSON object with the background story of each topic, by its title"
    )
    parser.add_argument(
        "--dataset-configs",
        dest="configs",
        nargs="+",
        choices=[f"wikivideo-{modality}" for modality in MODALITIES],
        help="default: all three",
    )
    parser.add_argument(
        "--validation-topics",
        type=int,
        default=0,
        help="how many training topics to validate on, drawn by --seed (default: %(default)s, as in the paper)",
    )


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterable[Draft | Problem]]]:
    """
    Returns the drafts of each split of the configs asked for; read them once. Prints what is missing of the test
    topics, and how many judgements each config has.
    """
    topics = read_topics(options.labels)
    for note in missing_test_topics(topics):
        print(note)
    splits = _split_topics(topics, options.validation_topics, options.seed)
    stories = read_backgrounds(options.backgrounds, topics) if options.backgrounds else {}
    videos = NamedFiles(options.videos, VIDEO_SUFFIXES, "--videos")
    sounds = options.sounds and NamedFiles(options.sounds, SOUND_SUFFIXES, "--sounds")
    judgements = Judgements(options.judgements) if options.judgements else None
    unmatched = judgements.unmatched(topics) if judgements else []
    built = {}
    for config in options.configs or [f"wikivideo-{modality}" for modality in MODALITIES]:
        modality = config.removeprefix("wikivideo-")
        built[f"{config}-background" if stories else config] = {
            # Judgements that fit no pair belong to no split; every config's report has them once.
            split: itertools.chain(
                unmatched if split == "test" else [], _drafts(those, modality, videos, sounds, judgements, stories)
            )
            for split, those in splits.items()
        }
        if judgements:
            print(f"{config}: {judgements.count(topics, modality)} of {len(judgements)} human judgements")
    return built


def read_backgrounds(file: Path, topics: list[Topic]) -> dict[str, str]:
    """
    Reads the background story of each topic, whose title may be spelt in any of its ways.

    Raises:
        `InputError`: if it is no JSON object of texts, lacks a topic, or has one in two spellings.
    """
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"--backgrounds {file} can't be read: {error}") from error
    if not isinstance(given, dict) or not all(map(is_text, given.values())):
        raise InputError(f"--backgrounds {file} must be a JSON object with a text for each topic")
    titles = [plain_title(title) for title in given]
    if doubled := sorted(title for title, other in zip(given, titles, strict=True) if titles.count(other) > 1):
        raise InputError(f"--backgrounds {file} has a topic twice: {', '.join(doubled)}")
    by_title = dict(zip(titles, given.values(), strict=True))
    if missing := [topic.name for topic in topics if plain_title(topic.name) not in by_title]:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise InputError(f"--backgrounds {file} has no story of {shown}")
    return {topic.name: by_title[plain_title(topic.name)].strip() for topic in topics}


def _split_topics(topics: list[Topic], validation_topics: int, seed: int) -> dict[str, list[Topic]]:
    """Splits whole topics, in the order of the file; only splits that have any are returned."""
    test = [topic for topic in topics if held_out(topic.name)]
    rest = [topic for topic in topics if not held_out(topic.name)]
    if not test:
        raise InputError(f"--labels has none of the topics to test on: {', '.join(TEST_TOPICS)}")
    if not 0 <= validation_topics <= max(len(rest) - 1, 0):
        raise InputError(f"--validation-topics {validation_topics}: there are {len(rest)} topics to train on")
    drawn = set(np.random.default_rng(seed).permutation(len(rest))[:validation_topics].tolist())
    splits = {
        "train": [topic for k, topic in enumerate(rest) if k not in drawn],
        "validation": [topic for k, topic in enumerate(rest) if k in drawn],
        "test": test,
    }
    return {split: those for split, those in splits.items() if those}


def _find_clip(video: str, modality: str, videos: NamedFiles, sounds: NamedFiles | None) -> Clip:
    """Returns the clip that shows a modality of a video, which need not be there; several are an error."""
    if modality == "audio" and sounds and (sound := sounds.find(video)):
        return Clip(sound, sound.name)
    path = videos.find(video) or videos.folder / f"{video}.mp4"
    return Clip(path, path.name, sound_only=modality == "audio")


def _drafts(
    topics: list[Topic],
    modality: str,
    videos: NamedFiles,
    sounds: NamedFiles | None,
    judgements: Judgements | None,
    stories: dict[str, str],
) -> Iterator[Draft | Problem]:
    """Yields the rows of some topics for one modality: video by video, with all claims about each."""
    for topic in topics:
        yield from topic.problems
        for video in topic.videos:
            try:
                clip = _find_clip(video, modality, videos, sounds)
            except InputError as error:
                yield Problem(f"{topic.place}, video {video}", "media", str(error))
                continue
            for claim in topic.claims:
                if (claim.text, video) in topic.unknown:
                    continue
                judgement = judgements and judgements.of(topic, claim.text, video, modality)
                row = pair_row(f"wikivideo-{modality}", topic, claim, video, modality, clip, judgement)
                if stories:
                    row |= {TABLE[modality].column: None, "id": f"{row['id']}-background"}
                    row |= combination(("text", stories[topic.name]), (modality, clip))
                yield Draft(f"{topic.place}, claim {claim.number}, video {video}", row)


def pair_row(
    name: str, topic: Topic, claim: Claim, video: str, modality: str, clip: Clip, judgement: Judgement | None
) -> dict:
    """Returns the row of a claim and a video, whose id begins with `name`: people's probability goes before the
    label."""
    label = topic.label(claim.text, video, modality)
    row = new_row(
        id=f"{name}-{topic.number:03d}-{claim.number:04d}-{video}",
        source="wikivideo",
        modality=modality,
        hypothesis=claim.text,
        topic=topic.name,
        context=claim.sentence,
        label=label,
        probability=float(label),
        probability_source="label",
        **{TABLE[modality].column: clip},
    )
    if judgement:
        row |= {
            "probability": judgement.probability,
            "probability_source": "human",
            "human_probabilities": judgement.human_probabilities,
            "evidence": judgement.evidence,
        }
    return row
