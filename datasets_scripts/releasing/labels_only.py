"""A config without its clips: the same rows, with the name of each row's clip in a column of its own."""

from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from datasets_scripts.releasing.summary import FILE_COLUMNS


CLIP_COLUMN = "clip"


def write_labels_only(rows: Path, out: Path) -> None:
    """
    Writes the rows of a split without its clips.

    Args:
        rows (`Path`): The split's `metadata.parquet`.
        out (`Path`): The file to write. Its media columns are empty, as those of a text config; `clip` is the stored
            file name of the sound or video.
    """
    with pq.ParquetFile(rows) as file:
        # The feature types that `datasets` notes in the schema don't know the new column.
        schema = file.schema_arrow.remove_metadata().append(pa.field(CLIP_COLUMN, pa.string()))
        with pq.ParquetWriter(out, schema) as writer:
            for group in range(file.num_row_groups):
                writer.write_table(_without_media(file.read_row_group(group), schema))


def _without_media(table: pa.Table, schema: pa.Schema) -> pa.Table:
    names = zip(*(table[column].to_pylist() for column in FILE_COLUMNS), strict=True)
    clips = [PurePosixPath(audio or video).name if audio or video else None for audio, video in names]
    columns = {name: table[name] for name in table.column_names}
    columns |= {name: pa.nulls(len(table), pa.string()) for name in FILE_COLUMNS}
    return pa.table(columns | {CLIP_COLUMN: pa.array(clips, pa.string())}, schema=schema)
