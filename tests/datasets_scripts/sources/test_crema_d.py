"""CREMA-D's claims against the table of votes, read independently, and against what was given to those who voted."""

import csv
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.errors import InputError
from datasets_scripts.build import main as build
from datasets_scripts.building.split import split_by_chance
from datasets_scripts.load import load_split
from datasets_scripts.schema import SPLITS
from datasets_scripts.sources import crema_d
from datasets_scripts.sources.urn_media import write_video
from modeling_clue.media import load_audio
from tests.datasets_scripts.sources.reading import Drafts, drafts_of, problems_of, rows_of, touch


WORDS = {
    "A": ("angry", "anger"),
    "D": ("disgusted", "disgust"),
    "F": ("afraid", "fear"),
    "H": ("happy", "happiness"),
    "N": ("neutral", "no emotion"),
    "S": ("sad", "sadness"),
}
GIVEN = {"audio": "1", "video": "2", "audiovisual": "3"}
ACTORS = [str(1001 + k) for k in range(60)]
CLIPS = [f"{actor}_{name}" for actor in ACTORS for name in ("IEO_ANG_HI", "TSI_NEU_XX")]


def write_votes(path: Path, clips: list[str]) -> dict[str, dict[str, list[str]]]:
    """Writes a table of random votes as it is published, and returns the votes of each modality and clip."""
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, list[str]]] = {modality: {} for modality in GIVEN}
    with path.open("w", newline="") as file:
        table = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
        table.writerow(["", *WORDS, "fileName", "numResponses", "agreement", "emoVote"])
        for modality, digit in GIVEN.items():
            for number, clip in enumerate(clips, 1):
                votes = [
                    str(vote) for vote in rng.choice(list(WORDS), rng.integers(4, 13), p=rng.dirichlet([0.3] * 6))
                ]
                found[modality][clip] = votes
                counts = [votes.count(column) for column in WORDS]
                table.writerow([f"{digit}{number:05d}", *counts, clip, len(votes), max(counts) / len(votes), "N"])
    return found


def read_claim(sentence: str, votes: list[str]) -> float:
    """Reads a sentence as English and returns the share of votes of which it is true."""
    if "expresses an emotion" in sentence:
        return sum(vote != "N" for vote in votes) / len(votes)
    named = [vote for vote, words in WORDS.items() if re.search(rf"\b({'|'.join(words)})\b", sentence)]
    assert len(named) == (2 if re.search(r"\b(n?or)\b", sentence) else 1), sentence
    denied = bool(re.search(r"\b(not|neither)\b", sentence))
    return sum((vote in named) != denied for vote in votes) / len(votes)


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    """A folder with a table and empty clips, and the votes."""
    folder = touch(tmp_path_factory.mktemp("crema"), *(f"VideoFlash/{clip}.flv" for clip in CLIPS))
    return folder, write_votes(folder / "tabulatedVotes.csv", CLIPS)


@pytest.fixture(scope="module")
def drafts(votes) -> dict[str, dict[str, Drafts]]:
    """The drafts about all clips."""
    return drafts_of(crema_d, "--votes", votes[0] / "tabulatedVotes.csv", "--clips", votes[0])


def test_probabilities_are_shares_of_the_votes(drafts, votes):
    """Of those who were given what the row gives, and they are kept; there is a label where all agree."""
    for config, splits in drafts.items():
        modality = config.removeprefix("crema-d-")
        rows = [row for those in splits.values() for row in rows_of(those)]
        assert len(rows) == 8 * len(CLIPS) and not any(map(problems_of, splits.values()))
        for row in rows:
            clip = row["audio"] or row["video"]
            said = votes[1][modality][clip.path.stem]
            assert row["probability"] == pytest.approx(read_claim(row["hypothesis"], said)), row
            assert np.mean(row["human_probabilities"]) == pytest.approx(row["probability"])
            assert len(row["human_probabilities"]) == len(said) and {*row["human_probabilities"]} <= {0.0, 1.0}
            assert row["label"] == {0.0: 0, 1.0: 1}.get(row["probability"])
            assert (row["modality"], row["probability_source"]) == (modality, "human")
            assert clip.sound_only == (modality == "audio") == (row["video"] is None)


def test_an_actor_is_in_one_split(drafts):
    """In all configs the same."""
    for splits in drafts.values():
        for split, those in splits.items():
            actors = {(row["audio"] or row["video"]).path.name[:4] for row in rows_of(those)}
            assert actors == {actor for actor in ACTORS if split_by_chance(actor, 0) == split}


def test_wording_tells_little(drafts):
    """The mean probability of affirmed, denied, "or" and "neither" claims lies within a tenth of a half, where all
    claims about these votes would have 1/6, 5/6, 1/3 and 2/3."""
    for splits in drafts.values():
        means = defaultdict(list)
        for row in rows_of(splits["train"]):
            kind = re.search(r"\b(neither|not|or)\b|$", row["hypothesis"])[0]
            means[kind].append(row["probability"])
        assert {kind: pytest.approx(0.5, abs=0.1) for kind in means} == {k: np.mean(v) for k, v in means.items()}
        assert len(means) == 4


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        (0, "400001", "first is 1, 2 or 3, got '400001'"),
        (0, "1001", "six digits"),
        (1, "1.5", "must be numbers of votes"),
        (2, "-1", "must be numbers of votes"),
        (7, "../1001_IEO_ANG_HI", "the name of a clip, such as 1001_IEO_NEU_XX"),
        (8, "99", "votes for an emotion, and numResponses = 99"),
    ],
)
def test_a_bad_record_is_named(column, value, complaint, votes, tmp_path):
    """By its row, once, and the others are drafted."""
    lines = list(csv.reader((votes[0] / "tabulatedVotes.csv").open(newline="")))
    lines[3][column] = value
    table = tmp_path / "tabulatedVotes.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    splits = [
        s for config in drafts_of(crema_d, "--votes", table, "--clips", votes[0]).values() for s in config.values()
    ]
    (problem,) = [problem for those in splits for problem in problems_of(those)]
    assert problem.place == "tabulatedVotes.csv row 4" and complaint in problem.complaint
    assert sum(len(rows_of(those)) for those in splits) == 8 * (3 * len(CLIPS) - 1)


def test_what_is_stored_is_the_sound_the_video_or_both(tmp_path):
    """A file of sound where there is one, and else the video's; a clip that is missing or there twice is named."""
    clips = [f"{next(a for a in ACTORS if split_by_chance(a, 0) == split)}_IEO_ANG_HI" for split in SPLITS]
    write_votes(tmp_path / "votes.csv", [*clips, "1091_WSI_SAD_XX"])
    (tmp_path / "clips/AudioWAV").mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds no file that ends in \.wav"):
        drafts_of(crema_d, "--votes", tmp_path / "votes.csv", "--clips", tmp_path / "clips")
    for k, clip in enumerate(clips):
        write_video(tmp_path / f"clips/{clip}.mp4", ["red", "blue"], ["low", "high"], np.random.default_rng(k))
    soundfile.write(tmp_path / f"clips/AudioWAV/{clips[0]}.wav", np.full(16_000, 0.25), 16_000)
    arguments = f"crema-d --votes {tmp_path / 'votes.csv'} --clips {tmp_path / 'clips'} --workers 1"
    build(f"{arguments} --output-dir {tmp_path / 'umui'} --on-error skip".split())
    for modality, column in {"audio": "audio", "video": "video", "audiovisual": "video"}.items():
        assert "1091_WSI_SAD_XX.flv does not exist" in (tmp_path / f"umui/crema-d-{modality}.problems.csv").read_text()
        for split, clip in zip(SPLITS, clips, strict=True):
            rows = load_split(str(tmp_path / "umui"), f"crema-d-{modality}", split)
            assert len(rows) == 8
            (path,) = {Path(row[column]["path"]) for row in rows}
            assert path.name.startswith(clip)
            if modality == "audio":
                # The one file of sound holds a constant, which no video does.
                assert (np.ptp(load_audio(path).waveform) < 1e-3) == (clip == clips[0])
    touch(tmp_path, f"clips/other/{clips[0]}.flv")
    splits = drafts_of(
        crema_d, "--votes", tmp_path / "votes.csv", "--clips", tmp_path / "clips", "--modalities", "video"
    )
    problems = [problem for those in splits["crema-d-video"].values() for problem in problems_of(those)]
    assert [problem.kind for problem in problems] == ["media"] and "may both be meant" in problems[0].complaint
