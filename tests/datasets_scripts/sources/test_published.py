"""The authors' release, as a small folder of its layout and oddities: pairs and probabilities are as theirs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.errors import InputError
from datasets_scripts.build import main as build
from datasets_scripts.load import load_split, split_names
from datasets_scripts.sources import published
from datasets_scripts.sources.urn_media import write_video
from tests.datasets_scripts.sources.reading import drafts_of, problems_of, rows_of, touch
from tests.datasets_scripts.sources.test_wikivideo import topic


TEST_EVENT, TRAIN_EVENT = "Notre-Dame fire", "Cheese rolling"
DIGITS = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25, 0.5, 0.25]
TOPICS = {
    TEST_EVENT: topic(
        {"A roof burns": {"v0": (True, False, False), "v1": (False, True, True)}, "It rains": {}}, videos={"v2": {}}
    ),
    TRAIN_EVENT: topic({"A cheese rolls": {"c0": (True, True, True)}}),
}


def item(path: str, claim: str, label: object, answer: object) -> dict:
    """A pair as the release has it."""
    return {"path": path, "claim": claim, "label": label, "answer": answer, "type": "unused"}


def teacher_texts(*numbers: float) -> list[str]:
    """Answers of a teacher."""
    return [f"I hear it. <answer>{number}</answer>" for number in numbers]


VIDEO_ITEMS = [
    item("wikivideo_/combined_videos/c0.mp4", "A cheese  rolls", True, teacher_texts(0.8, 0.9, 1.0)),
    item("elsewhere/c0.mp4", "A cheese sleeps", False, teacher_texts(0.6, 0.7) + ["I can't say."]),
    item("c0.mp4", "A cheese is late", False, DIGITS),
]
FILES = {
    "training-data/audio.json": {
        "development": [
            item("clotho/development/Night rain.wav", "Rain falls.", True, DIGITS),
            item("clotho/development/Night rain.wav", "A dog barks.", False, DIGITS[::-1]),
            item("clotho/development/Night rain.wav", "A cat is near.", False, DIGITS),
        ],
        "evaluation": [item("clotho/evaluation/dog.wav", "A dog barks.", True, DIGITS)],
    },
    "training-data/video.json": {TRAIN_EVENT: VIDEO_ITEMS, TEST_EVENT: [item("v0.mp4", "A roof burns", True, DIGITS)]},
    "training-data/omni.json": {TRAIN_EVENT: VIDEO_ITEMS[:1]},
    "UMUI-annotation/annotation.json": [
        {"claim": "A roof burns", "path": "any/v0.mp4", "probability": 0.9, "annotator": "x"},
        {"claim": "A roof burns", "path": "any/v0.wav", "probability": 0.1},
        {"claim": "It rains", "path": "v2.mp4", "probability": 0.2},
    ],
    "wikivideo_/annotations/final_data_2015-2025.json": TOPICS,
}
CLIPS = (
    *(f"wikivideo_/data/combined_videos/{video}.mp4" for video in ("c0", "v0", "v1", "v2")),
    *(f"wikivideo_/data/videos/en/{video}.mp4" for video in ("c0", "v0", "v1", "v2")),
    "wikivideo_/data/audios/en/v0.wav",
    "audio_entailment/clotho/development/Night rain.wav",
    "audio_entailment/clotho/validation/Night rain.wav",
    "audio_entailment/clotho/evaluation/dog.wav",
)


def write_release(folder: Path) -> Path:
    """Writes a release with empty clips."""
    for split in ("train", "validation", "test"):
        text = json.dumps({"premise": f"A man in {split} sleeps.", "hypothesis": "He is tired.", "label": 0.6})
        (folder / "training-data/unli").mkdir(parents=True, exist_ok=True)
        (folder / f"training-data/unli/{split}.jsonl").write_text(text + "\n")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return touch(folder, *CLIPS)


def write_clips(release: Path) -> None:
    """Writes clips that can be decoded, no two alike."""
    for seed, clip in enumerate(CLIPS):
        path, rng = release / clip, np.random.default_rng(seed)
        if path.suffix == ".mp4":
            write_video(path, ["red", "blue"], ["low", "high"], rng)
        else:
            soundfile.write(path, rng.normal(0, 0.1, 16_000), 16_000)


@pytest.fixture
def release(tmp_path) -> Path:
    """A release, with its archives unpacked."""
    return write_release(tmp_path / "UMUI-data")


def judged(rows: list[dict]) -> dict[tuple[str, str], tuple]:
    """Probability, label and who gave it, by hypothesis and clip."""
    return {
        (row["hypothesis"], (row["audio"] or row["video"]).path.stem): (
            round(row["probability"], 6),
            row["label"],
            row["probability_source"],
        )
        for row in rows
    }


def test_the_teacher_is_believed_as_it_answered(release, capsys):
    """The mean of ten bins, or of the answers that have a probability; and no test event is trained on."""
    built = drafts_of(published, "--raw", release)
    assert not any(problems_of(drafts) for splits in built.values() for drafts in splits.values())
    assert list(built) == [
        "unli",
        "clotho-teacher",
        *(f"wikivideo-{m}-listed" for m in ("video", "audio", "audiovisual")),
    ]
    assert {split: len(rows) for split, rows in built["unli"].items()} == {"train": 1, "validation": 1, "test": 1}
    clotho = built["clotho-teacher"]
    assert judged(rows_of(clotho["train"])) == {
        ("Rain falls.", "Night rain"): (0.85, 1, "teacher"),
        ("A dog barks.", "Night rain"): (0.15, 0, "teacher"),
        ("A cat is near.", "Night rain"): (0.85, 0, "teacher"),
    }
    assert judged(rows_of(clotho["test"])) == {("A dog barks.", "dog"): (0.85, 1, "teacher")}
    assert [row["teacher_distribution"] for row in rows_of(clotho["train"])] == [DIGITS, DIGITS[::-1], DIGITS]
    (path,) = {row["audio"].path for row in rows_of(clotho["train"])}
    assert path == release / "audio_entailment/clotho/development/Night rain.wav"
    train = rows_of(built["wikivideo-video-listed"]["train"])
    assert judged(train) == {
        ("A cheese rolls", "c0"): (0.9, 1, "teacher"),
        ("A cheese sleeps", "c0"): (0.65, 0, "teacher"),
        ("A cheese is late", "c0"): (0.85, 0, "teacher"),
    }
    assert [row["teacher_probabilities"] for row in train] == [[0.8, 0.9, 1.0], [0.6, 0.7], None]
    assert {row["topic"] for row in train} == {TRAIN_EVENT}
    assert list(built["wikivideo-audio-listed"]) == ["test"]


def test_pairs_are_those_of_the_scorer_or_all(release):
    """Listed pairs once each, or every claim with every video; people's first number goes before the label, whatever
    the modality."""
    people, unlisted = (0.9, "human"), {("It rains", "v2"): (0.2, 0, "human")}
    for pairs, suffix in (("listed", "-listed"), ("all", "")):
        built = drafts_of(published, "--raw", release, "--pairs", pairs, "--dataset-configs", *published.CONFIGS[2:])
        for modality, labels in {"video": (1, 1), "audio": (0, 0), "audiovisual": (1, 1)}.items():
            found = judged(rows_of(built[f"wikivideo-{modality}{suffix}"]["test"]))
            wanted = {
                ("A roof burns", "v0"): (people[0], labels[0], people[1]),
                ("A roof burns", "v1"): (float(labels[1]), labels[1], "label"),
            }
            others = [("A roof burns", "v2"), ("It rains", "v0"), ("It rains", "v1")]
            if pairs == "all":
                wanted |= unlisted | dict.fromkeys(others, (0.0, 0, "label"))
            assert found == wanted, (pairs, modality)


def test_where_clips_are_taken_from(release):
    """Sounds of their own first, and those of the videos for want of one; pictures from the videos with sound."""
    built = drafts_of(published, "--raw", release)
    clips = {row["audio"].path.name: row["audio"] for row in rows_of(built["wikivideo-audio-listed"]["test"])}
    assert clips["v0.wav"].path.parent.name == "en" and not clips["v0.wav"].sound_only
    assert clips["v1.mp4"].path.parent.name == "combined_videos" and clips["v1.mp4"].sound_only
    videos = {row["video"].path.parent.name for row in rows_of(built["wikivideo-video-listed"]["test"])}
    assert videos == {"combined_videos"}
    shutil.rmtree(release / "wikivideo_/data/combined_videos")
    built = drafts_of(published, "--raw", release)
    assert "wikivideo-audiovisual-listed" not in built
    videos = {row["video"].path.parent.name for row in rows_of(built["wikivideo-video-listed"]["test"])}
    assert videos == {"en"}


def test_what_contradicts_the_teacher_is_dropped_and_counted(release, capsys):
    """In training alone, on request."""
    built = drafts_of(published, "--raw", release, "--drop-disagreeing")
    everything = drafts_of(published, "--raw", release)["clotho-teacher"]["train"]
    kept = [row["id"] for row in rows_of(built["clotho-teacher"]["train"])]
    assert kept == [row["id"] for row in rows_of(everything)][:2]
    assert set(judged(rows_of(built["wikivideo-video-listed"]["train"]))) == {("A cheese rolls", "c0")}
    assert len(rows_of(built["wikivideo-video-listed"]["test"])) == 2
    printed = capsys.readouterr().out
    assert "clotho-teacher: 1 training pair left out, whose label the teacher contradicts" in printed
    assert "wikivideo-video: 2 training pairs left out" in printed
    assert "wikivideo-video-listed: 1 of 2 test pairs have one of 2 human probabilities" in printed


def test_without_the_archives(release, capsys):
    """UNLI is built, and the others are named with the archive that they need; asked for by name, that is an error."""
    shutil.rmtree(release / "wikivideo_")
    shutil.move(release / "audio_entailment", release.parent / "unpacked/audio_entailment")
    assert list(drafts_of(published, "--raw", release)) == ["unli"]
    printed = capsys.readouterr().out
    assert "clotho-teacher: left out, as the clips of audio_entailment.tar.gz (9 GB) are not below" in printed
    assert "wikivideo-audio: left out, as the clips of wikivideo.tar.gz (17 GB)" in printed
    with pytest.raises(InputError, match="wikivideo-video needs the clips of wikivideo.tar.gz"):
        drafts_of(published, "--raw", release, "--dataset-configs", "wikivideo-video")
    for clips in (release.parent / "unpacked", release.parent / "unpacked/audio_entailment"):
        assert list(drafts_of(published, "--raw", release, "--clips", clips)) == ["unli", "clotho-teacher"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"label": None}, "label must be true or false, got None"),
        ({"label": "entailment"}, "label must be true or false, got 'entailment'"),
        ({"claim": " "}, "claim must be a text"),
        ({"path": 7}, "path must be a text, got 7"),
        ({"answer": []}, "answer must be a list that is not empty"),
        ({"answer": ["Perhaps."]}, "answer has no probability in it (no number): 'Perhaps.'"),
        ({"answer": [0.1] * 9}, "answer must be texts, or ten probabilities that sum to 1"),
        ({"answer": [*[0.1] * 9, "0.1"]}, "answer must be texts, or ten probabilities that sum to 1"),
        ({"answer": [0.2] * 10}, "answer must be texts, or ten probabilities that sum to 1"),
    ],
)
def test_a_bad_item_is_named(release, change, complaint):
    """By its file, group and number; the others are drafted."""
    content = json.loads(json.dumps(FILES["training-data/audio.json"]))
    content["development"][1] |= change
    (release / "training-data/audio.json").write_text(json.dumps(content))
    drafts = drafts_of(published, "--raw", release)["clotho-teacher"]["train"]
    (problem,) = problems_of(drafts)
    assert problem.place == "audio.json, 'development' item 2" and problem.complaint.startswith(complaint)
    assert len(rows_of(drafts)) == 2


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("training-data/video.json", None, "lacks training-data/video.json: is it a download of the authors'"),
        ("training-data/video.json", "[]", "must hold an object with a list for each group"),
        ("training-data/omni.json", "{", "is no JSON file that can be read"),
        ("UMUI-annotation/annotation.json", "[", "annotation.json is no file of JSON lines or a JSON list"),
    ],
)
def test_files_of_another_layout_are_refused(release, file, text, message):
    """Named, with what was expected."""
    (release / file).unlink() if text is None else (release / file).write_text(text)
    with pytest.raises(InputError, match=message):
        [list(drafts) for splits in drafts_of(published, "--raw", release).values() for drafts in splits.values()]


def test_it_is_built(release, tmp_path, capsys):
    """With real clips, from the command line; a clip that is missing is left out on request."""
    write_clips(release)
    (release / "wikivideo_/data/combined_videos/v1.mp4").unlink()
    build(f"published --raw {release} --output-dir {tmp_path / 'umui'} --on-error skip --workers 1".split())
    assert "wikivideo-audiovisual-listed: train 1 rows, test 1 rows; left out: 1 media" in capsys.readouterr().out
    assert split_names(str(tmp_path / "umui"), "clotho-teacher") == ["train", "test"]
    rows = load_split(str(tmp_path / "umui"), "wikivideo-audiovisual-listed", "test")
    assert [row["probability"] for row in rows] == [0.9]
