"""A folder that a build wrote, read by its tables, against the library's own loader of folders."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import config as datasets_config
from datasets import load_dataset

from datasets_scripts import load
from datasets_scripts.schema import FEATURES, LATER_COLUMNS, PART_CLIP_NAMES


CONFIGS = ("unli", "urn-text", "urn-audio", "urn-video", "urn-audiovisual")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nothing that was read before is taken for these rows."""
    monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("config", CONFIGS)
def test_rows_are_those_of_the_library(umui, tmp_path, config):
    """Every column of every row, a text of a dataset with clips too."""
    rows = load.load_split(str(umui), config, "test")
    theirs = load_dataset(str(umui), config, split="test", cache_dir=str(tmp_path / "theirs"))
    assert rows.features == FEATURES
    assert rows.to_list() == theirs.select_columns(list(FEATURES)).cast(FEATURES).to_list()
    assert sorted(load.split_names(str(umui), config)) == ["test", "train", "validation"]


@pytest.mark.parametrize("wrong", ["../other.flac", "/etc/hostname", "media/../../other.flac", "file:///etc/hostname"])
def test_no_table_names_a_clip_outside_its_folder(umui, tmp_path, wrong):
    """Rows of a stranger lead to no file of this machine but the dataset's."""
    folder = tmp_path / "umui"
    table = pq.read_table(umui / "urn-audio/test/metadata.parquet")
    place = table.column_names.index("audio_file_name")
    table = table.set_column(place, "audio_file_name", pa.array([wrong] * len(table), pa.string()))
    (folder / "urn-audio/test").mkdir(parents=True)
    pq.write_table(table, folder / "urn-audio/test/metadata.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: urn-audio\n  data_files:\n  - split: test\n"
        "    path: urn-audio/test/metadata.parquet\n---\n"
    )
    with pytest.raises(Exception) as raised:
        load.load_split(str(folder), "urn-audio", "test")
    assert "must lie in this folder" in f"{raised.value} {raised.value.__cause__}"


def test_a_column_that_came_later_is_empty(umui, tmp_path):
    """Rows built before it was introduced are read as they are, loaded and streamed."""
    folder = shutil.copytree(umui, tmp_path / "umui")
    for config in ("unli", "urn-audio"):
        file = folder / config / "test/metadata.parquet"
        now = [
            load.load_split(str(folder), config, "test").to_list(),
            list(load.stream_split(str(folder), config, "test")),
        ]
        table = pq.read_table(file)
        assert {*LATER_COLUMNS} < {*table.column_names}
        pq.write_table(table.drop_columns([*LATER_COLUMNS, PART_CLIP_NAMES]).replace_schema_metadata(), file)
        assert load.load_split(str(folder), config, "test").features == FEATURES
        then = [
            load.load_split(str(folder), config, "test").to_list(),
            list(load.stream_split(str(folder), config, "test")),
        ]
        # The urn world fills this one; there it would be empty too.
        now = [[row | {"prefixes": []} for row in those] for those in now]
        assert now == then
        assert all(row[name] == value for rows in then for row in rows for name, value in LATER_COLUMNS.items())


def test_folders_of_other_layouts_are_the_librarys(tmp_path):
    """Texts in parquet files of any name, without columns for clips, are read as before."""
    rows = [{"id": "a", "modality": "text", "premise": "An urn.", "hypothesis": "It is red.", "probability": 0.5}]
    table = pa.Table.from_pylist([dict.fromkeys(FEATURES) | rows[0]], schema=FEATURES.arrow_schema)
    (tmp_path / "own/texts").mkdir(parents=True)
    pq.write_table(table, tmp_path / "own/texts/test-00000.parquet")
    (tmp_path / "own/README.md").write_text(
        "---\nconfigs:\n- config_name: texts\n  data_files:\n  - split: test\n    path: texts/test-*.parquet\n---\n"
    )
    assert load.load_split(str(tmp_path / "own"), "texts", "test").to_list() == table.to_pylist()
    assert load.split_names(str(tmp_path / "own"), "texts") == ["test"]
