"""Rows are those that lie in the folder now, undecoded, and know their premise."""

import shutil

import datasets
import pytest

from datasets_scripts.build import main as build
from datasets_scripts.schema import FEATURES
from evaluation.data import load_rows, premise_keys, rows_digest


CARD = """---
configs:
- config_name: small
  data_files: [{split: test, path: small/test.parquet}]
---
"""


def write(folder, probabilities, ids=None):
    """A text dataset in `folder`, a row for each probability."""
    count = len(probabilities)
    columns = {name: [None] * count for name in FEATURES} | {
        "id": ids or [f"row-{i}" for i in range(count)],
        "modality": ["text"] * count,
        "premise": [f"Premise {i // 2}." for i in range(count)],
        "hypothesis": [f"Hypothesis {i}." for i in range(count)],
        "probability": probabilities,
    }
    (folder / "small").mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(CARD)
    datasets.Dataset.from_dict(columns, FEATURES).to_parquet(folder / "small/test.parquet")
    return str(folder)


def test_folders_of_one_name_are_not_mixed_up(tmp_path):
    """Two folders called alike, with the same configurations, give each its own rows."""
    first = write(tmp_path / "a/umui", [0.1, 0.2, 0.3])
    second = write(tmp_path / "b/umui", [0.9, 0.8])
    assert load_rows(first, "small", "test")["probability"][:] == [0.1, 0.2, 0.3]
    assert load_rows(second, "small", "test")["probability"][:] == [0.9, 0.8]


def test_a_rebuilt_folder_is_read_anew(tmp_path):
    """After a rebuild in place the new rows are evaluated, not those of the first reading; their digest differs."""
    folder = write(tmp_path / "umui", [0.1, 0.2])
    rows = load_rows(folder, "small", "test")
    before = rows_digest(rows, premise_keys(rows))
    write(tmp_path / "umui", [0.1, 0.2, 0.3])
    after = load_rows(folder, "small", "test")
    assert len(after) == 3
    assert rows_digest(after, premise_keys(after)) != before


def test_other_premises_are_another_split(tmp_path):
    """Premises count by what is in them: a folder that moved is the same, a changed text or clip is not."""

    def told(folder):
        rows = load_rows(str(folder), "urn-audio", "test")
        return rows_digest(rows, premise_keys(rows))

    sizes = "--train 1 --validation 1 --test 2 --hypotheses-per-premise 4 --workers 1"
    build(["urn", "--output-dir", str(tmp_path / "umui"), "--modalities", "audio", *sizes.split()])
    before = told(tmp_path / "umui")
    shutil.copytree(tmp_path / "umui", tmp_path / "moved")
    assert told(tmp_path / "moved") == before
    first, second = sorted((tmp_path / "moved/urn-audio/test/media").iterdir())
    shutil.copy(first, second)
    assert told(tmp_path / "moved") != before
    rows = load_rows(write(tmp_path / "text", [0.1, 0.2]), "small", "test")
    changed = rows.map(lambda row: {"premise": row["premise"] + "!"})
    assert rows_digest(rows, premise_keys(rows)) != rows_digest(changed, premise_keys(changed))


@pytest.mark.parametrize("modality", ["text", "audio", "video", "audiovisual"])
def test_rows_come_from_their_own_folder_undecoded(urn_world, modality):
    """Media are paths inside the folder that was asked for, and hypotheses about one of them share a key."""
    rows = load_rows(str(urn_world), f"urn-{modality}", "test")
    keys = premise_keys(rows)
    assert len(rows) == 12
    assert len(set(keys)) == 3
    assert keys == [key for key in dict.fromkeys(keys) for _ in range(4)]
    for medium in ("audio", "video"):
        paths = [value["path"] for value in rows[medium] if value is not None]
        assert all(path.startswith(str(urn_world)) for path in paths)


def test_a_dataset_of_sound_alone_needs_no_decoder(tmp_path):
    """Without any video config `datasets` takes another loader, which must not ask for torchcodec."""
    sizes = "--train 1 --validation 1 --test 2 --hypotheses-per-premise 4 --workers 1"
    build(["urn", "--output-dir", str(tmp_path / "umui"), "--modalities", "audio", *sizes.split()])
    rows = load_rows(str(tmp_path / "umui"), "urn-audio", "test")
    assert len(rows) == 8
    assert rows[0]["audio"]["path"].startswith(str(tmp_path))
    with pytest.raises(ValueError, match="nonsense"):
        load_rows(str(tmp_path / "umui"), "urn-audio", "nonsense")


def test_unusable_rows_are_named(tmp_path):
    """Repeated ids and missing probabilities are errors that name the rows; so is a folder that is not there."""
    with pytest.raises(ValueError, match="unique; repeated: twice"):
        load_rows(write(tmp_path / "a", [0.1, 0.2], ["twice", "twice"]), "small", "test")
    with pytest.raises(ValueError, match="first of them row-1"):
        load_rows(write(tmp_path / "b", [0.1, None]), "small", "test")
    with pytest.raises(FileNotFoundError, match="no dataset folder"):
        load_rows(str(tmp_path / "nothing"), "small", "test")
