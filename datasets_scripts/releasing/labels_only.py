"""Writes a config without its clips: the same rows, with the name of each row's clip in a column of its own."""

from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from datasets_scripts.schema import CLIP_NAME_COLUMNS, PART_CLIP_NAMES


CLIP_COLUMN = "clip"


def write_labels_only(rows: Path, out: Path) -> None:
    """
    Writes the table `rows` of a split without its clips to `out`.

    Its media columns are empty, as those of a text config; `clip` is the stored file name of the sound or video, and
    `part_clips_file_names` has those of a combination's parts.
    """
    with pq.ParquetFile(rows) as file:
        # The feature types that `datasets` notes in the schema don't know the new column.
        schema = file.schema_arrow.remove_metadata().append(pa.field(CLIP_COLUMN, pa.string()))
        with pq.ParquetWriter(out, schema) as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                names = zip(*(table[column].to_pylist() for column in CLIP_NAME_COLUMNS), strict=True)
                clips = [PurePosixPath(audio or video).name if audio or video else None for audio, video in names]
                columns = {name: table[name] for name in table.column_names}
                columns |= {name: pa.nulls(len(table), pa.string()) for name in CLIP_NAME_COLUMNS}
                if PART_CLIP_NAMES in columns:
                    named = table[PART_CLIP_NAMES].to_pylist()
                    bare = [[PurePosixPath(name).name for name in names or ()] for names in named]
                    columns[PART_CLIP_NAMES] = pa.array(bare, pa.list_(pa.string()))
                writer.write_table(pa.table(columns | {CLIP_COLUMN: pa.array(clips, pa.string())}, schema=schema))
