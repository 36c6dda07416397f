"""GRID's claims against the sentence of the name, read independently; the same in all three modalities."""

import random
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from datasets_scripts.build import main as build
from datasets_scripts.building.split import split_by_chance
from datasets_scripts.load import load_split
from datasets_scripts.schema import SPLITS
from datasets_scripts.sources import grid
from datasets_scripts.sources.urn_media import write_video
from tests.datasets_scripts.sources.reading import Drafts, drafts_of, problems_of, rows_of, touch


COMMANDS = {"bin": "b", "lay": "l", "place": "p", "set": "s"}
COLOURS = {"blue": "b", "green": "g", "red": "r", "white": "w"}
PREPOSITIONS = {"at": "a", "by": "b", "in": "i", "with": "w"}
DIGITS = {word: "z123456789"[k] for k, word in enumerate("zero one two three four five six seven eight nine".split())}
ADVERBS = {"again": "a", "now": "n", "please": "p", "soon": "s"}
PLACES = ("command", "colour", "preposition", "letter", "digit", "adverb")
LETTERS = {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"}
SPELLING = (COMMANDS, COLOURS, PREPOSITIONS, LETTERS, DIGITS, ADVERBS)


def names(number: int) -> list[str]:
    """Different sentences, as names of files."""
    rng = random.Random(0)
    found = {"".join(rng.choice(list(words.values())) for words in SPELLING) for _ in range(number)}
    return sorted(found)


def read_claim(sentence: str, name: str) -> float:
    """Reads a sentence as English and returns whether it is true of a name."""
    quoted = re.findall('"(.+?)"', sentence)
    is_denied = bool(re.search(r"\b(not|neither)\b", sentence))
    if "sentence" in sentence or "says:" in sentence:
        letters = "".join(words[word] for words, word in zip(SPELLING, quoted[0].split(), strict=True))
        return float((letters == name) != is_denied)
    places = [PLACES.index(place) for place in re.findall("|".join(PLACES), re.sub('".+?"', "", sentence))]
    if not places:
        places = [next(k for k in range(6) if k != 2 and {*quoted} <= SPELLING[k].keys())]
    places = places if len(places) == len(quoted) else places * len(quoted)
    true = [SPELLING[place][word] == name[place] for place, word in zip(places, quoted, strict=True)]
    value = all(true) if " and " in sentence else any(true)
    return float(value != is_denied)


@pytest.fixture(scope="module")
def configs(tmp_path_factory) -> dict[str, dict[str, Drafts]]:
    """All drafts from 120 sentences, in two folders."""
    folder = tmp_path_factory.mktemp("grid")
    files = [f"s{k % 2 + 1}/{name}.mpg" for k, name in enumerate(names(120))]
    return drafts_of(grid, "--clips", touch(folder, *files))


@pytest.fixture(scope="module")
def drafts(configs) -> dict[str, dict[str, Drafts]]:
    """Those about the clips."""
    return {name: splits for name, splits in configs.items() if name != "grid-captions"}


def test_probabilities_agree_with_the_name(drafts):
    """Of every row, whose label is the probability."""
    for splits in drafts.values():
        for those in splits.values():
            for row in rows_of(those):
                name = (row["audio"] or row["video"]).path.stem
                assert read_claim(row["hypothesis"], name) == row["probability"] == row["label"], row
                assert row["probability_source"] == "label"


def test_all_modalities_are_asked_the_same(drafts):
    """The same hypotheses in the same splits; the sound alone, the pictures, or both are the premise."""
    said = [
        {split: [(row["hypothesis"], row["probability"]) for row in rows_of(those)] for split, those in splits.items()}
        for splits in drafts.values()
    ]
    assert list(drafts) == ["grid-audio", "grid-video", "grid-audiovisual"] and said[0] == said[1] == said[2]
    for (config, splits), senses in zip(drafts.items(), (["audio"], ["video"], ["audio", "video"]), strict=True):
        row = rows_of(splits["test"])[0]
        assert (row["modality"], row["evidence"]) == (config.removeprefix("grid-"), senses)
        assert (row["audio"] is None) == (config != "grid-audio") == (row["video"] is not None)
        assert (row["audio"] or row["video"]).sound_only == (config == "grid-audio")


def test_probabilities_agree_with_the_captions(configs):
    """There are as many as clips to train on, with all six words, and of no sentence that clips are held out of."""
    assert list(configs["grid-captions"]) == ["train"]
    rows = rows_of(configs["grid-captions"]["train"])
    words = {word for spelling in SPELLING for word in spelling}
    for row in rows:
        said = [word for word in re.findall(r"\w+", row["premise"].lower()) if word in words]
        name = "".join(spelling[word] for spelling, word in zip(SPELLING, said, strict=True))
        assert split_by_chance(name, 0) == "train"
        assert read_claim(row["hypothesis"], name) == row["probability"] == row["label"], row
        assert (row["modality"], row["evidence"], row["audio"], row["video"]) == ("text", ["text"], None, None)
    clips = {row["audio"].key for row in rows_of(configs["grid-audio"]["train"])}
    assert len({row["premise"] for row in rows}) == len(clips)


def test_modalities_can_be_built_one_after_the_other(tmp_path):
    """Into one dataset: each has its own config, and none comes with several, which a second build would refuse."""
    clips = touch(tmp_path, *(f"{name}.mp4" for name in names(30)))
    for modality in ("text", "audio", "video", "audiovisual"):
        (config,) = drafts_of(grid, "--clips", clips, "--modalities", modality)
        assert config == ("grid-captions" if modality == "text" else f"grid-{modality}")


def test_a_sentence_is_in_one_split_whoever_says_it(tmp_path):
    """It hangs on the sentence and the seed alone, about a tenth for validation and as much to test on."""
    stems = names(60)
    touch(tmp_path, *(f"{speaker}/{stem}.mp4" for stem in stems for speaker in ("s1", "s2")))
    splits = drafts_of(grid, "--clips", tmp_path, "--modalities", "video")["grid-video"]
    for split, those in splits.items():
        inside = [stem for stem in stems if split_by_chance(stem, 0) == split]
        wanted = {f"{speaker}/{stem}.mp4" for stem in inside for speaker in ("s1", "s2")}
        assert {row["video"].key for row in rows_of(those)} == wanted
        share = np.mean([split_by_chance(stem, 0) == split for stem in names(2000)])
        assert share == pytest.approx({"train": 0.8}.get(split, 0.1), abs=0.02)


def test_wording_gives_nothing_away(drafts):
    """A sentence, and a template with one of its words, is as often true as false."""
    surplus = defaultdict(float)
    for row in rows_of(drafts["grid-audio"]["train"]):
        hypothesis = row["hypothesis"]
        surplus[hypothesis] += row["probability"] - 0.5
        surplus[re.sub('".+?"', "*", hypothesis)] += row["probability"] - 0.5
    assert len(surplus) > 150 and max(map(abs, surplus.values())) <= 2.5


@pytest.mark.parametrize("stem", ["bbaf2", "bbaf2nn", "BBAF2N", "bbaw2n", "bbaf0n", "xbaf2n", "bbaf2n-1", ""])
def test_names_that_spell_no_sentence_are_problems(tmp_path, stem):
    """There is no w among the letters and no 0 among the digits; the message says how a name is spelt."""
    touch(tmp_path, *(f"{name}.mp4" for name in names(30)), f"x/{stem or ' '}.mp4")
    splits = drafts_of(grid, "--clips", tmp_path, "--modalities", "video", "audio")
    for modality in ("video", "audio"):
        (problem,), *others = (problems_of(those) for those in splits[f"grid-{modality}"].values())
        assert problem.kind == "row" and "spells no sentence, as bbaf2n.mp4 does" in problem.complaint
        assert others == [[], []]


def test_what_is_stored_is_the_sound_the_video_or_both(tmp_path):
    """Of real files: FLAC for the sound, a copy of the file for the others; a folder without videos is refused."""
    stems = [next(name for name in names(200) if split_by_chance(name, 0) == split) for split in SPLITS]
    (tmp_path / "clips").mkdir()
    with pytest.raises(InputError, match=r"holds no file that ends in \.mp4"):
        drafts_of(grid, "--clips", tmp_path / "clips")
    for k, stem in enumerate(stems):
        write_video(tmp_path / "clips" / f"{stem}.mp4", ["red", "blue"], ["low", "high"], np.random.default_rng(k))
    build(f"grid --clips {tmp_path / 'clips'} --output-dir {tmp_path / 'umui'} --workers 1".split())
    for config, suffix in {"grid-audio": ".flac", "grid-video": ".mp4", "grid-audiovisual": ".mp4"}.items():
        for split, stem in zip(SPLITS, stems, strict=True):
            rows = load_split(str(tmp_path / "umui"), config, split)
            assert len(rows) == 8
            (path,) = {Path((row["audio"] or row["video"])["path"]) for row in rows}
            assert path.name.startswith(stem) and path.suffix == suffix
