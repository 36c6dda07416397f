"""Released labels find their clips again: by name and place, converted, or in a video; doubt is told."""

import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import InputError
from datasets_scripts.building.drafts import Clip, new_row, stored_name
from datasets_scripts.building.writer import STORED_FEATURES
from datasets_scripts.releasing.labels_only import write_labels_only
from datasets_scripts.sources import restore
from modeling_clue.modalities import TABLE
from tests.datasets_scripts.sources.reading import Drafts, drafts_of, touch


def release(folder: Path, keys: list[str], modality: str = "audio", sound_only: bool = False) -> Path:
    """Releases labels without clips: one row for each clip of these names in a source."""
    rows = []
    for number, key in enumerate(keys):
        row = new_row(id=str(number), source="clotho", modality=modality, hypothesis="It rings.", probability=0.25)
        row |= {"probability_source": "teacher", "teacher_probabilities": [0.0, 0.5]}
        names = {TABLE[modality].column: f"media/{stored_name(key, sound_only)}"}
        rows.append(row | {f"{name}_file_name": names.get(name) for name in ("audio", "video") if not row.pop(name)})
    (folder / "clotho" / "test").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=STORED_FEATURES.arrow_schema), folder / "whole.parquet")
    write_labels_only(folder / "whole.parquet", folder / "clotho" / "test" / "metadata.parquet")
    return folder


def run(folder: Path, clips: Path, config: str = "clotho") -> Drafts:
    """Returns the drafts of the one split."""
    return drafts_of(restore, "--dataset", folder, "--dataset-config", config, "--clips", clips)[config]["test"]


def test_rows_are_as_they_were_released(tmp_path):
    """Everything but the clip comes from the released row; the clip gets the name it had."""
    keys = ["development/Night rain.wav", "plain.wav", "a/b/Ünïcode (2).flac"]
    clips = touch(tmp_path / "clips", *keys)
    drafts = run(release(tmp_path / "hub", keys), clips)
    for key, draft in zip(keys, drafts, strict=True):
        assert draft.row["audio"] == Clip(clips / key, key) and draft.row["video"] is None
        assert draft.row["teacher_probabilities"] == [0.0, 0.5] and draft.row["probability"] == 0.25
        assert "clip" not in draft.row


@pytest.mark.parametrize(
    "there",
    ["rain.wav", "clotho_audio_development/development/rain.wav", "development/rain.flac", "x/rain.ogg"],
)
def test_archives_may_be_unpacked_and_converted_as_one_likes(tmp_path, there):
    """A clip is found without the folder it had in its source, below others, or in another format."""
    folder = release(tmp_path / "hub", ["development/rain.wav"])
    (draft,) = run(folder, touch(tmp_path / "clips", there, "development/snow.wav"))
    clip = draft.row["audio"]
    assert clip.path == tmp_path / "clips" / there and not clip.sound_only
    # What is stored as .wav is a WAV file.
    assert stored_name(clip.key).endswith(Path(there).suffix)


@pytest.mark.parametrize("ours", ["NFC", "NFD"])
@pytest.mark.parametrize("theirs", ["NFC", "NFD"])
def test_accents_of_a_name_may_be_written_in_either_form(tmp_path, ours, theirs):
    """A file system or an archive may have parted letters from their accents, here or where the labels were made."""
    folder = release(tmp_path / "hub", [unicodedata.normalize(theirs, "d/café.wav")])
    name = unicodedata.normalize(ours, "café.wav")
    (draft,) = run(folder, touch(tmp_path / "clips", f"d/{name}"))
    assert draft.row["audio"].path == tmp_path / "clips" / "d" / name


def test_sound_of_a_video(tmp_path):
    """A sound that was taken out of a video is taken out again, or found as a sound; a video needs a video."""
    taken = release(tmp_path / "taken", ["v1.mp4"], sound_only=True)
    (draft,) = run(taken, touch(tmp_path / "videos", "v1.mp4"))
    assert draft.row["audio"] == Clip(tmp_path / "videos" / "v1.mp4", "v1.mp4", sound_only=True)
    (draft,) = run(taken, touch(tmp_path / "sounds", "v1.wav"))
    assert draft.row["audio"] == Clip(tmp_path / "sounds" / "v1.wav", "v1.wav")
    given = release(tmp_path / "given", ["v1.wav"])
    (draft,) = run(given, tmp_path / "videos")
    assert draft.row["audio"].sound_only
    shown = release(tmp_path / "shown", ["v1.mp4"], modality="audiovisual")
    (draft,) = run(shown, touch(tmp_path / "both", "v1.wav", "v1.mp4"))
    assert draft.row["video"] == Clip(tmp_path / "both" / "v1.mp4", "v1.mp4")
    (draft,) = run(shown, tmp_path / "sounds")
    assert not draft.row["video"].path.exists()


def test_nearest_file_wins_and_doubt_is_a_problem(tmp_path):
    """A clip's own name goes before a converted one; of two that are as near none is taken."""
    folder = release(tmp_path / "hub", ["development/rain.wav", "evaluation/bell.wav"])
    clips = touch(tmp_path / "clips", "development/rain.wav", "rain.wav", "rain.flac", "a/bell.wav", "b/bell.wav")
    draft, problem = run(folder, clips)
    assert draft.row["audio"].path == clips / "development" / "rain.wav"
    assert problem.kind == "media" and "a/bell.wav" in problem.complaint and "b/bell.wav" in problem.complaint
    assert "test row 2" in problem.place


def test_a_missing_clip_is_left_to_the_writer(tmp_path):
    """It is a draft whose clip isn't there: reported with its row, like any other."""
    (draft,) = run(release(tmp_path / "hub", ["rain.wav"]), touch(tmp_path / "clips", "snow.wav"))
    assert draft.row["audio"].path == tmp_path / "clips" / "rain.mkv.wav" and not draft.row["audio"].path.exists()


def test_paths_in_released_rows_are_refused(tmp_path):
    """A row can't name a file outside of the folder of clips."""
    folder = release(tmp_path / "hub", ["rain.wav"])
    file = folder / "clotho" / "test" / "metadata.parquet"
    table = pq.read_table(file)
    for name in ("../rain.wav", "/etc/passwd", "", None, ".hidden"):
        column = pa.array([name], pa.string())
        pq.write_table(table.set_column(table.column_names.index("clip"), "clip", column), file)
        (problem,) = run(folder, touch(tmp_path / "clips", "rain.wav"))
        assert problem.kind == "row" and "clip must be a file name" in problem.complaint


def test_what_can_not_be_restored(tmp_path):
    """A config that isn't there, has its clips, or is no name, and a place that is neither folder nor repository."""
    folder, clips = release(tmp_path / "hub", ["rain.wav"]), touch(tmp_path / "clips", "rain.wav")
    (folder / "urn-text" / "test").mkdir(parents=True)
    (folder / "whole.parquet").rename(folder / "urn-text" / "test" / "metadata.parquet")
    for arguments, complaint in (
        ((folder, clips, "unli"), "has no config unli"),
        ((folder, clips, "urn-text"), "urn-text was not released as labels"),
        ((folder, clips, "../clotho"), "no name of a config"),
        ((tmp_path / "none" / "there" / "at" / "all", clips), "neither a folder nor ORG/NAME"),
        ((folder, tmp_path / "nowhere"), "--clips .* is not a folder"),
    ):
        with pytest.raises(InputError, match=complaint):
            run(*arguments)
