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
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from common.errors import InputError
from datasets_scripts.building.clips import NamedFiles
from datasets_scripts.building.drafts import Clip, Draft, Problem, new_row
from datasets_scripts.sources.wikivideo_judgements import Judgement, Judgements
from datasets_scripts.sources.wikivideo_labels import TEST_TOPICS, Topic, held_out, missing_test_topics, read_topics


DESCRIPTION = "WikiVideo: claims against videos, their sound, and both, from its labels file"

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
    The configs asked for. Prints what is missing of the test topics, and how many judgements each config has.

    Args:
        options (`argparse.Namespace`): The options of [`add_arguments`], and `seed`.

    Returns:
        `dict[str, dict[str, Iterable[Draft | Problem]]]`: the drafts of each split of each config; read them once.

    Raises:
        `InputError`: if a file or folder is missing or no good, or no topic is one of the ten to test on.
    """
    topics = read_topics(options.labels)
    for note in missing_test_topics(topics):
        print(note)
    splits = split_topics(topics, options.validation_topics, options.seed)
    videos = NamedFiles(options.videos, VIDEO_SUFFIXES, "--videos")
    sounds = options.sounds and NamedFiles(options.sounds, SOUND_SUFFIXES, "--sounds")
    judgements = Judgements(options.judgements) if options.judgements else None
    astray = judgements.unmatched(topics) if judgements else []
    built = {}
    for config in options.configs or [f"wikivideo-{modality}" for modality in MODALITIES]:
        modality = config.removeprefix("wikivideo-")
        built[config] = {
            split: drafts(
                those,
                modality,
                videos,
                sounds if modality == "audio" else None,
                judgements,
                # They belong to no split; every config's report has them once.
                astray if split == "test" else [],
            )
            for split, those in splits.items()
        }
        if judgements:
            print(f"{config}: {judgements.count(topics, modality)} of {len(judgements)} human judgements")
    return built


def split_topics(topics: list[Topic], validation_topics: int, seed: int) -> dict[str, list[Topic]]:
    """
    Splits whole topics.

    Args:
        topics (`list[Topic]`): All topics.
        validation_topics (`int`): How many of the training topics to validate on.
        seed (`int`): Draws them.

    Returns:
        `dict[str, list[Topic]]`: the topics of each split that has any, in the order of the file.

    Raises:
        `InputError`: if none is for testing, or too many are asked for.
    """
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


def find_clip(video: str, modality: str, videos: NamedFiles, sounds: NamedFiles | None) -> Clip:
    """
    The clip that shows a modality of a video.

    Args:
        video (`str`): The video's id.
        modality (`str`): `"video"`, `"audio"` or `"audiovisual"`.
        videos (`NamedFiles`): The videos.
        sounds (`NamedFiles`, *optional*): Their sound, if it is given apart.

    Returns:
        `Clip`: the file, which need not be there.

    Raises:
        `InputError`: if several files may be meant.
    """
    sound = sounds.find(video) if sounds else None
    if modality == "audio" and sound:
        return Clip(sound, sound.name)
    path = videos.find(video) or videos.folder / f"{video}.mp4"
    return Clip(path, path.name, sound_only=modality == "audio")


def drafts(
    topics: list[Topic],
    modality: str,
    videos: NamedFiles,
    sounds: NamedFiles | None,
    judgements: Judgements | None,
    astray: Iterable[Problem] = (),
) -> Iterator[Draft | Problem]:
    """
    The rows of some topics for one modality: video by video, with all claims about each.

    Args:
        topics (`list[Topic]`): The topics.
        modality (`str`): `"video"`, `"audio"` or `"audiovisual"`.
        videos (`NamedFiles`): The videos.
        sounds (`NamedFiles`, *optional*): Their sound, if it is given apart.
        judgements (`Judgements`, *optional*): What people said.
        astray (`Iterable[Problem]`, *optional*): Problems to begin with.

    Returns:
        `Iterator[Draft | Problem]`: the drafts, and what is wrong with the topics and their files.
    """
    yield from astray
    for topic in topics:
        yield from topic.problems
        for video in topic.videos:
            try:
                clip = find_clip(video, modality, videos, sounds)
            except InputError as error:
                yield Problem(f"{topic.place}, video {video}", "media", str(error))
                continue
            for claim in topic.claims:
                if (claim.text, video) in topic.unknown:
                    continue
                judgement = judgements and judgements.of(topic, claim.text, video, modality)
                row = new_row(
                    id=f"wikivideo-{modality}-{topic.number:03d}-{claim.number:04d}-{video}",
                    source="wikivideo",
                    modality=modality,
                    hypothesis=claim.text,
                    topic=topic.name,
                    context=claim.sentence,
                    **probability_columns(topic.label(claim.text, video, modality), judgement),
                )
                row["audio" if modality == "audio" else "video"] = clip
                yield Draft(f"{topic.place}, claim {claim.number}, video {video}", row)


def probability_columns(label: int, judgement: Judgement | None) -> dict:
    """
    The columns that say how probable a hypothesis is, and who says so.

    Args:
        label (`int`): The label of the labels file.
        judgement (`Judgement`, *optional*): What people said.

    Returns:
        `dict`: the columns.
    """
    if judgement is None:
        return {"label": label, "probability": float(label), "probability_source": "label"}
    return {
        "label": label,
        "probability": judgement.probability,
        "probability_source": "human",
        "human_probabilities": judgement.human_probabilities,
        "evidence": judgement.evidence,
    }
