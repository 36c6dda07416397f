"""A small urn world in which the probability of a row is its name, and a tiny checkpoint that goes with it."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from datasets_scripts.build import main as build
from modeling_clue.modalities import MODALITIES


CONFIGS = [f"urn-{modality}" for modality in MODALITIES]
HYPOTHESES = 4
TRAIN_PREMISES = {"text": 7, "audio": 5, "video": 5, "audiovisual": 5}
VALIDATION_PREMISES = 3


@pytest.fixture(autouse=True)
def no_deepspeed_left() -> Iterator[None]:
    """transformers keeps DeepSpeed's settings of the last arguments, until the memory of these is freed."""
    yield
    unset_hf_deepspeed_config()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """Folder of the dataset. Every row has a probability of its own, so that labels tell which rows a batch had."""
    folder = tmp_path_factory.mktemp("data") / "umui"
    sizes = {"train": 5, "text-train": 7, "validation": VALIDATION_PREMISES, "test": 1}
    options = [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
    build(
        [
            *("urn", "--output-dir", str(folder), *options),
            *("--hypotheses-per-premise", str(HYPOTHESES), "--workers", "1"),
        ]
    )
    files = sorted(folder.glob("*/*/metadata.parquet"))
    total = sum(pq.read_metadata(file).num_rows for file in files)
    first = 0
    for file in files:
        table = pq.read_table(file)
        probabilities = pa.array([(first + row + 0.5) / total for row in range(len(table))])
        column = table.column_names.index("probability")
        pq.write_table(table.set_column(column, table.schema.field(column), probabilities), file)
        first += len(table)
    return folder
