"""A premise of parts: what it is made of, in order, judged as one."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import pipeline

from modeling_clue.media import MediaError
from modeling_clue.media_image import load_image
from modeling_clue.score import main


HYPOTHESES = ["The ball is red.", "It is neither red nor blue."]
TEXT = {"text": "An urn holds 3 red balls."}
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.fixture(scope="module")
def clue(tiny_checkpoint):
    """The pipeline, by the checkpoint's own code."""
    return pipeline("uncertain-inference", model=str(tiny_checkpoint), trust_remote_code=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with one picture in several forms."""
    folder = tmp_path_factory.mktemp("pictures")
    image = Image.fromarray(PIXELS)
    image.save(folder / "a.png")
    image.save(folder / "a.jpg", quality=95)
    exif = image.getexif()
    exif[0x0112] = 6  # taken with the camera turned: to be shown turned by 90 degrees
    image.save(folder / "turned.png", exif=exif)
    return folder


def probabilities(answers: list[dict]) -> list[float]:
    """The numbers of some answers."""
    return [answer["probability"] for answer in answers]


def test_one_part_is_the_premise_itself(clue, premises):
    """In every modality, to the bit; a text beside a text is another line of it."""
    for modality, premise in premises.items():
        row = premise if isinstance(premise, dict) else {modality: premise}
        whole, part = (clue({**one, "hypotheses": HYPOTHESES}) for one in (row, {"parts": [row]}))
        assert part == whole
    lines = {"text": "An urn holds 3 red balls.\nIt is old."}
    parts = {"premise": [TEXT, {"text": "It is old."}]}
    assert clue({**parts, "hypotheses": HYPOTHESES}) == clue({**lines, "hypotheses": HYPOTHESES})


def test_each_part_counts_in_its_place(clue, clips, pictures):
    """Without one, with another, or in another order, the answer differs; the modality is that of the senses."""
    sound, image, silent = {"audio": clips.sound}, {"image": pictures / "a.png"}, {"video": clips.silent}
    found = {}
    for name, parts, modality in (
        ("all", [TEXT, sound, image], "audiovisual"),
        ("turned", [image, sound, TEXT], "audiovisual"),
        ("other sound", [TEXT, {"audio": clips.short_sound}, image], "audiovisual"),
        ("other picture", [TEXT, sound, {"image": 255 - PIXELS}], "audiovisual"),
        ("no text", [sound, image], "audiovisual"),
        ("no picture", [TEXT, sound], "audio"),
        ("no sound", [TEXT, image], "video"),
        ("video", [TEXT, silent, image], "video"),
    ):
        answers = clue({"parts": parts, "hypotheses": HYPOTHESES})
        assert {answer["modality"] for answer in answers} == {modality}, name
        found[name] = probabilities(answers)
    values = np.array(list(found.values()))
    apart = np.abs(values[:, None] - values[None]).max(-1)[np.triu_indices(len(values), 1)]
    assert apart.min() > 1e-6


def test_batches_and_many_hypotheses_change_nothing(clue, clips, pictures):
    """Beside premises of one part, and with more hypotheses than go through at a time, for which towers run once."""
    many = [f"The ball is number {number}." for number in range(70)]
    parts = {"parts": [{"audio": clips.sound}, TEXT, {"video": clips.silent}, {"image": pictures / "a.png"}]}
    rows = [
        {**parts, "hypotheses": many},
        {**TEXT, "hypotheses": many[:2]},
        {"video": clips.silent, "hypotheses": many[:1]},
    ]
    together = clue(rows, batch_size=3)
    for answers, row in zip(together, rows, strict=True):
        alone = [clue({**row, "hypotheses": [text]})[0] for text in row["hypotheses"]]
        assert probabilities(answers) == pytest.approx(probabilities(alone), abs=1e-6)


def test_what_is_wrong_with_a_part_is_named(clue, clips, pictures, tmp_path):
    """By its number; and a note by that of its part."""
    (tmp_path / "no.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    for parts, message in (
        ([], "has none: give one at least"),
        ([TEXT, {"audio": "none.wav"}], "Part 2: none.wav cannot be opened"),
        ([TEXT, {"parts": [TEXT]}], "Part 2: A part of a premise has no parts itself"),
        ([TEXT, {"image": tmp_path / "no.png"}], "Part 2: .*no.png is no PNG, JPEG, GIF, WEBP"),
        ([{"image": clips.sound}], "Part 1: .*sound.wav is no PNG"),
        ([{"image": np.zeros((4, 4), np.uint8)}], r"Part 1: A picture is \(height, width, 3\) in uint8, got \(4, 4\)"),
        ([{"image": {"frames": 1}}], "Part 1: <frames> is no picture"),
        ([TEXT, 7], "Part 2: A premise is text, a path, bytes or a dict, got int"),
        ([{"image": np.zeros((1, 900, 3), np.uint8)}], "Part 1: "),
    ):
        with pytest.raises(ValueError, match=message):
            clue({"parts": parts, "hypotheses": HYPOTHESES})
    answer = clue({"parts": [TEXT, {"audio": clips.sound}], "hypothesis": "It is red."}, max_audio_seconds=0.5)[0]
    assert answer["notes"][0].startswith("part 2: ") and "cut" in answer["notes"][0]


def test_a_picture_in_every_form(pictures, monkeypatch):
    """A path, its content and its pixels are the same picture; of a lossy form, nearly."""
    path = pictures / "a.png"
    for source in (path, str(path), path.read_bytes(), {"bytes": path.read_bytes(), "path": None}, PIXELS):
        assert np.array_equal(load_image(source), PIXELS)
    assert np.array_equal(load_image(pictures / "turned.png"), np.rot90(PIXELS, -1))
    jpeg = load_image(pictures / "a.jpg")
    assert jpeg.shape == PIXELS.shape and np.abs(jpeg.astype(float) - PIXELS).mean() < 60
    with pytest.raises(MediaError, match="row 7"):
        load_image(b"no picture", name="row 7")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 * 60 - 1)
    with pytest.raises(MediaError, match="exceeds limit"):
        load_image(path)


def test_items_of_parts_are_judged_in_bulk(clue, clips, pictures, tiny_checkpoint, tmp_path):
    """A picture may be a premise by itself, and paths of parts start from the media root."""
    items = [
        {"image": "a.png", "hypothesis": HYPOTHESES[0]},
        {"parts": [TEXT, {"image": "a.png"}], "hypotheses": HYPOTHESES},
    ]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, items)))
    places = ("--media-root", pictures, "--input", tmp_path / "items.jsonl", "--output", tmp_path / "out.jsonl")
    assert main([str(word) for word in ("--model", tiny_checkpoint, *places)]) == 0
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    image = {"image": pictures / "a.png"}
    wanted = clue({"parts": [image], "hypothesis": HYPOTHESES[0]}) + clue(
        {"parts": [TEXT, image], "hypotheses": HYPOTHESES}
    )
    found = [first["probability"], *probabilities(second["answers"])]
    assert found == pytest.approx(probabilities(wanted), abs=1e-6)


def test_a_row_of_the_dataset_is_a_combination_as_it_is(clue, clips, pictures):
    """Its parts and their clips stand in two columns; a row that is no combination has both empty."""
    clip = {"bytes": Path(clips.silent).read_bytes(), "path": None}
    row = {"modality": "video", "premise": None, "audio": None, "video": None, "hypotheses": HYPOTHESES}
    kinds = [{"modality": "image", "text": None}, {"modality": "text", "text": TEXT["text"]}]
    kinds.append({"modality": "video", "text": None})
    columns = {"parts": kinds, "part_clips": [{"bytes": None, "path": str(pictures / "a.png")}, clip]}
    alone = {"parts": [{"image": pictures / "a.png"}, TEXT, {"video": clips.silent}], "hypotheses": HYPOTHESES}
    assert clue(row | columns) == clue(alone)
    text = row | {"modality": "text", "premise": TEXT["text"], "parts": [], "part_clips": []}
    assert clue(text) == clue({**TEXT, "hypotheses": HYPOTHESES})
    with pytest.raises(ValueError, match="2 of its parts need a clip, and 1 clips are given"):
        clue(row | columns | {"part_clips": [clip]})
    with pytest.raises(ValueError, match="A premise of parts has video beside them"):
        clue({**alone, "video": clips.silent})
