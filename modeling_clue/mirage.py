# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Makes items for `modeling_clue.score` of generated articles: of MiRAGE's predictions, or MAGMaR's submissions.

```bash
python -m modeling_clue.mirage --input predictions.json --output items.jsonl
python -m modeling_clue.score --model clue-3b --input items.jsonl --media-root videos --output answers.jsonl
```

An item is a claim and a video that its sentence cites; with `--reference` (MiRAGE's references), a claim and each
video of its topic. The `id` of an item, and so of its answer, has the `topic`, the numbers of the `sentence` and of
the `claim` in it, from 0, and the name of the `video`. A video is found by its name: the folders of a cited path are
those of the machine that wrote it.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .command_line import exit_on_error


@dataclass(frozen=True)
class Sentence:
    """Holds the claims of a sentence, and the videos that it cites."""

    topic: str
    number: int
    claims: list[str]
    videos: list[str]


def read_sentences(text: str) -> Iterator[Sentence]:
    """Yields the sentences of all topics of a file.

    Args:
        text (`str`): MiRAGE's predictions, an object with `claims` and `citations` for each topic, a list of each for
            every sentence; or MAGMaR's submissions, a line for each query, whose `responses` have a `text` that is one
            claim, and its `citations`.

    Raises:
        ValueError: if it is neither, with the topic or line at fault.
    """
    try:
        topics = json.loads(text)
    except ValueError:
        topics = None
    if isinstance(topics, dict) and "responses" not in topics:
        for topic, prediction in topics.items():
            yield from _of_prediction(topic, prediction)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ValueError(f"Neither one JSON object nor lines of JSON: line {number}, {error}.") from error
            yield from _of_submission(number, record)


def _of_prediction(topic: str, prediction: object) -> Iterator[Sentence]:
    columns = [prediction.get(key) for key in ("claims", "citations")] if isinstance(prediction, dict) else [None]
    if not all(_is_list_of_texts(column, depth=2) for column in columns):
        raise ValueError(f"Topic {topic!r} needs `claims` and `citations`, each a list of texts for every sentence.")
    claims, citations = columns
    sentences = prediction.get("sentences", claims)
    if not len(sentences) == len(claims) == len(citations):
        raise ValueError(
            f"Topic {topic!r} has {len(sentences)} sentences, claims of {len(claims)} and citations of "
            f"{len(citations)}."
        )
    for number, (texts, videos) in enumerate(zip(claims, citations, strict=True)):
        yield Sentence(topic, number, texts, videos)


def _of_submission(line: int, record: object) -> Iterator[Sentence]:
    metadata = record.get("metadata") if isinstance(record, dict) else None
    if not isinstance(metadata, dict) or "query_id" not in metadata or not isinstance(record.get("responses"), list):
        raise ValueError(f"Line {line} needs `metadata` with a `query_id`, and a list of `responses`.")
    for number, response in enumerate(record["responses"]):
        given = response if isinstance(response, dict) else {}
        claim, videos = given.get("text"), given.get("citations", [])
        if not isinstance(claim, str) or not _is_list_of_texts(videos, depth=1):
            raise ValueError(f"Line {line}: response {number} needs a `text` and a list of `citations`.")
        yield Sentence(str(metadata["query_id"]), number, [claim], videos)


def _is_list_of_texts(value: object, depth: int) -> bool:
    if depth == 0:
        return isinstance(value, str)
    return isinstance(value, list) and all(_is_list_of_texts(one, depth - 1) for one in value)


def read_videos(text: str) -> dict[str, list[str]]:
    """Returns the videos of each topic, from MiRAGE's references; raises a ValueError that names a topic without."""
    topics = json.loads(text)
    if not isinstance(topics, dict):
        raise ValueError("The references must be one JSON object, with a key for each topic.")
    for topic, reference in topics.items():
        if not isinstance(reference, dict) or not isinstance(reference.get("videos"), (list, dict)):
            raise ValueError(f"Topic {topic!r} of the references has no `videos`.")
    return {topic: list(reference["videos"]) for topic, reference in topics.items()}


def items(sentence: Sentence, videos: list[str], modality: str | None = None) -> Iterator[dict]:
    """Yields an item for each claim of a sentence and each of the videos.

    Args:
        sentence (`Sentence`): the claims.
        videos (`list[str]`): names or paths; one that is there twice is taken once.
        modality (`str`, *optional*): `"audiovisual"` to judge by the videos with their sound.
    """
    for number, claim in enumerate(sentence.claims):
        for video in dict.fromkeys(PurePosixPath(video).name for video in videos):
            place = {"topic": sentence.topic, "sentence": sentence.number, "claim": number, "video": video}
            item = {"id": place, "video_id": video, "claim": claim}
            yield item if modality is None else item | {"modality": modality}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m modeling_clue.mirage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--input", type=Path, required=True, help="MiRAGE's predictions, or MAGMaR's submissions")
    parser.add_argument(
        "--reference", type=Path, help="MiRAGE's references: a claim is judged by all videos of its topic"
    )
    parser.add_argument("--output", type=Path, required=True, help="the items to write; it must not exist yet")
    parser.add_argument(
        "--modality",
        choices=("video", "audiovisual"),
        default="video",
        help="by frames alone (default), or with sound",
    )
    options = parser.parse_args(arguments)
    sentences = list(read_sentences(options.input.read_text(encoding="utf-8")))
    of_topic = None if options.reference is None else read_videos(options.reference.read_text(encoding="utf-8"))
    lines, without = [], 0
    for sentence in sentences:
        if of_topic is not None and sentence.topic not in of_topic:
            raise ValueError(f"Topic {sentence.topic!r} is not in {options.reference}.")
        videos = sentence.videos if of_topic is None else of_topic[sentence.topic]
        without += 0 if videos else len(sentence.claims)
        lines += [json.dumps(item) + "\n" for item in items(sentence, videos, options.modality)]
    with options.output.open("x", encoding="utf-8") as file:
        file.writelines(lines)
    print(f"Wrote {options.output}: {len(lines):,} items.")
    if without:
        print(f"Claims without a video to be judged by, and so without an item: {without:,}.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    with exit_on_error():
        sys.exit(main())
