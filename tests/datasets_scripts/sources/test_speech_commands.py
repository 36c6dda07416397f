"""
Speech Commands' claims against an independent reading of them.

Each word is a tone here: what a row of words says is measured by the spectrum of the file that was written.
"""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.errors import InputError
from datasets_scripts.build import main as build
from datasets_scripts.building.split import split_by_chance
from datasets_scripts.load import load_split, split_names
from datasets_scripts.schema import SPLITS
from datasets_scripts.sources import speech_commands
from datasets_scripts.sources.speech_commands import SILENCE, UNKNOWN, WORDS
from tests.datasets_scripts.sources.reading import drafts_of, problems_of, rows_of, touch


VOCABULARY = (*WORDS, "dog", "seven")
HERTZ = {word: 400.0 + 300 * k for k, word in enumerate(VOCABULARY)}
SPEAKERS = [f"{k:08x}" for k in range(40)]


def speaker_in(split: str, number: int = 0) -> str:
    """One of the speakers that chance puts into a split."""
    return [speaker for speaker in SPEAKERS if split_by_chance(speaker, 0) == split][number]


def write_clips(folder: Path) -> Path:
    """Writes a speaker for each split, who says every word but one in 0.2 s, and a clip without words for each."""
    rng = np.random.default_rng(0)
    quiet = [next(k for k in range(100) if split_by_chance(str(k), 0) == split) for split in SPLITS]
    names = {f"{SILENCE}/{k}.wav": 0 for k in quiet}
    for split in SPLITS:
        for word in VOCABULARY:
            name = f"{speaker_in(split)}_nohash_0.wav"
            names[f"{word}/{name}" if word in WORDS else f"{UNKNOWN}/{word}_{name}"] = HERTZ[word]
    for name, hertz in names.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        sound = 0.2 * np.sin(2 * np.pi * hertz * np.arange(3200) / 16_000)
        soundfile.write(folder / name, sound + 0.001 * rng.standard_normal(3200), 16_000)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Clips for three splits."""
    return write_clips(tmp_path_factory.mktemp("speech"))


def spoken(file: Path) -> list[str]:
    """Measures which words a file has, in their order: one in each 0.2 s."""
    samples = soundfile.read(file)[0]
    if np.abs(samples).max() < 0.05:
        return []
    middles = [samples[k : k + 1600] for k in range(800, len(samples) - 1600, 3200 - 320)]
    peaks = [np.abs(np.fft.rfft(part, 16_000)).argmax() for part in middles]
    return [min(HERTZ, key=lambda word: abs(HERTZ[word] - peak)) for peak in peaks]


def read_claim(sentence: str, row: list[str]) -> float:
    """Reads a sentence as English and returns its probability of a recording with these words."""
    text = sentence.lower()
    # "On" and "no" are words of sentences too: those in question stand at the end, or in quotation marks.
    named = re.findall('"([a-z]+)"', text) or [
        word
        for word in re.findall(r"\b(?:says|is|with|not|either|or|before|also) (?=([a-z]+)\b)", text)
        if word in VOCABULARY
    ]
    is_denied = bool(re.search(r"\b(nobody|not|neither)\b", text)) or text.startswith("no ") or "repeats no" in text
    if "more than once" in text or "repeats" in text:
        value = len(set(row)) < len(row)
    elif match := re.search("(two|three) words", text):
        value = match[1] == {2: "two", 3: "three"}[len(row)]
    elif "speaks" in text or "a voice can" in text or "no voice" in text or re.search("(a|no) word is spoken", text):
        value = bool(row)
    elif "random" in text:
        value = sum(row.count(word) for word in named) / len(row)
    elif "before" in text:
        value = row.index(named[0]) < row.index(named[1])
    elif "comes after" in text:
        value = row.index(named[0]) > row.index(named[1])
    elif "first word" in text or "begin" in text:
        value = row[0] == named[0]
    elif "last word" in text or "ends" in text:
        value = row[-1] == named[0]
    elif "both" in text or "also" in text:
        value = len(named) == 2 and set(named) <= set(row)
    else:
        assert 1 <= len(named) <= 2
        value = bool({*named} & {*row})
    return float(1 - value if is_denied else value)


def test_probabilities_agree_with_what_is_said(clips, tmp_path):
    """Of every row, about words, silence and words in a row; claims of a share are graded."""
    build(f"speech-commands --clips {clips} --output-dir {tmp_path} --rows-of-words 2 --workers 1".split())
    for split in SPLITS:
        found, sources = {}, defaultdict(set)
        for row in load_split(str(tmp_path), "speech-commands", split):
            path = Path(row["audio"]["path"])
            if path not in found:
                found[path] = spoken(path)
            assert read_claim(row["hypothesis"], found[path]) == pytest.approx(row["probability"]), row["hypothesis"]
            sources[row["probability_source"]].add(row["label"])
            if not found[path]:
                assert not re.match("The word that|What is said", row["hypothesis"])
        assert sources == {"label": {0, 1}, "exact": {0, 1, None}}
        assert {len(words) for words in found.values()} == {0, 1, 2, 3}


def read_caption(caption: str) -> list[str]:
    """Reads a caption as English: the words that are spoken."""
    text = caption.lower()
    if text in ("no word is spoken.", "a noise without words.", "nobody speaks.", "silence."):
        return []
    words = re.findall('"([a-z]+)"', text)
    return words or [
        word for word in re.sub("someone|one word", "", text).rstrip(".").replace(",", "").split() if word in WORDS
    ]


def test_probabilities_agree_with_the_captions(clips, tmp_path):
    """Of every row about a caption, of words, of silence and of words in a row; they are to train on alone."""
    build(f"speech-commands --clips {clips} --output-dir {tmp_path} --rows-of-words 0 --workers 1".split())
    assert split_names(str(tmp_path), "speech-commands-captions") == ["train"]
    table = load_split(str(tmp_path), "speech-commands-captions", "train")
    for row in table:
        assert read_claim(row["hypothesis"], read_caption(row["premise"])) == pytest.approx(row["probability"]), row
    assert {len(read_caption(caption)) for caption in table["premise"]} == {0, 1, 2, 3}
    assert {word for caption in table["premise"] for word in read_caption(caption)} == {*WORDS}


def test_speakers_stay_in_their_split(clips, tmp_path):
    """Whatever clips are added: where a speaker is hangs on the name alone, and differs with the seed."""

    def speakers(folder: Path, seed: int = 0) -> dict[str, str]:
        drafts = drafts_of(speech_commands, "--clips", folder, "--rows-of-words", 0, "--seed", seed)
        return {
            row["audio"].path.name.rpartition("_nohash")[0][-8:]: split
            for split, those in drafts["speech-commands"].items()
            for row in rows_of(those)
        }

    names = [f"{word}/{speaker}_nohash_0.ogg" for word in WORDS for speaker in SPEAKERS]
    found, few = speakers(touch(tmp_path, *names)), speakers(clips)
    assert set(found) == {*SPEAKERS} and set(found.values()) == {*SPLITS}
    assert {speaker: found[speaker] for speaker in few if speaker} == {
        speaker: split for speaker, split in few.items() if speaker
    }
    assert speakers(tmp_path, seed=1) != found


def test_wording_gives_nothing_away(tmp_path):
    """A sentence is as often true as false, also that nobody speaks, which few clips are without."""
    names = [f"{word}/{speaker}_nohash_0.ogg" for word in WORDS for speaker in SPEAKERS]
    names += [f"{SILENCE}/{k}.ogg" for k in range(20)]
    names += [f"{UNKNOWN}/{word}_{speaker}_nohash_0.ogg" for word in ("dog", "seven") for speaker in SPEAKERS[::3]]
    drafts = drafts_of(speech_commands, "--clips", touch(tmp_path, *names), "--rows-of-words", 0)
    surplus, quiet = defaultdict(float), 0
    for row in rows_of(drafts["speech-commands"]["train"]):
        surplus[row["hypothesis"]] += row["probability"] - 0.5
        quiet += bool(re.search("speaks|voice can|(A|No) word is", row["hypothesis"]))
    assert max(map(abs, surplus.values())) <= 2 and quiet > 10
    claims, rng = speech_commands.Balance(), np.random.default_rng(0)
    said = []
    for _ in range(150):
        row = list(map(str, rng.choice(WORDS, rng.integers(2, 4))))
        foils = [word for word in WORDS if word not in row][:4]
        said += claims.choose(speech_commands.row_forms(row, foils), 8, rng)
    surplus = defaultdict(float)
    for claim in said:
        surplus[claim.hints[0]] += claim.probability - 0.5
    assert len(surplus) > 15 and max(map(abs, surplus.values())) <= 4


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("yes/hello.wav", "does not say its speaker, as 0a7c2a8d_nohash_0.wav does"),
        (f"{UNKNOWN}/0a7c2a8d_nohash_0.wav", "does not say its speaker and word, as dog_0a7c2a8d_nohash_0.wav does"),
    ],
)
def test_names_that_say_no_speaker_are_problems(clips, tmp_path, name, complaint):
    """A clip that could be anybody's is in no split."""
    for folder in clips.iterdir():
        touch(tmp_path, *(f"{folder.name}/{file.name}" for file in folder.iterdir()))
    touch(tmp_path, name)
    drafts = drafts_of(speech_commands, "--clips", tmp_path, "--rows-of-words", 0)["speech-commands"]
    ((problem,), *others) = (problems_of(those) for those in drafts.values())
    assert problem.kind == "row" and complaint in problem.complaint and others == [[], []]


def test_folders_that_are_no_words_or_missing_are_named(clips, tmp_path):
    """Noise of minutes is no word; all ten words must be there."""
    touch(tmp_path, *(f"{word}/{SPEAKERS[0]}_nohash_0.wav" for word in WORDS if word != "go"))
    with pytest.raises(InputError, match="has no clips in the folders go"):
        drafts_of(speech_commands, "--clips", tmp_path)
    touch(tmp_path, "_background_noise_/pink_noise.wav")
    with pytest.raises(InputError, match="holds _background_noise_, which is no folder of a class"):
        drafts_of(speech_commands, "--clips", tmp_path)


def test_rows_need_a_speaker_with_several_words(tmp_path):
    """Nobody's two words are put together as one speaker's."""
    touch(tmp_path, *(f"{word}/{speaker}_nohash_0.wav" for word, speaker in zip(WORDS * 4, SPEAKERS, strict=True)))
    with pytest.raises(InputError, match=r"no speaker of the \w+ split has 3 clips .*: pass --rows-of-words 0"):
        drafts_of(speech_commands, "--clips", tmp_path)
