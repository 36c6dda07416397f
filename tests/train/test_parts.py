"""Training on premises that are combinations of parts: in batches by the senses they take, cached or not."""

import pytest

from datasets_scripts.load import load_split
from modeling_clue import CLUEProcessor
from modeling_clue.modalities import parts_of_row
from tests.combinations import CONFIG, HYPOTHESES, KINDS, build_combinations
from tests.train.test_sft import history, train
from tests.train.test_towers import EPOCHS, FROZEN, assert_same_run, entries, work  # noqa: F401
from train.premises import PremiseDataset, group_premises


@pytest.fixture(scope="module")
def combined(tmp_path_factory):
    """The dataset's folder."""
    return build_combinations(tmp_path_factory.mktemp("combined"))


def test_parts_are_one_premise(combined, tiny_checkpoint):
    """Rows about the same parts meet, whatever their hypotheses; each is encoded as its parts would be by hand."""
    rows = load_split(str(combined), CONFIG, "train")
    group = group_premises(rows, CONFIG)
    assert [premise.modality for premise in group] == [*KINDS] * 2
    assert all(premise.hypotheses == [*HYPOTHESES] and premise.size > 0 for premise in group)
    processor = CLUEProcessor.from_pretrained(tiny_checkpoint)
    premises = PremiseDataset.load(str(combined), [CONFIG], "train", processor)
    for number, premise in enumerate(group):
        item = premises[number]
        alone = processor.encode_premise({"parts": parts_of_row(rows[premise.row])})
        assert item.premise.input_ids == alone.input_ids and item.premise.modality == premise.modality


def test_a_cache_changes_no_loss(combined, tiny_checkpoint, tmp_path, work):  # noqa: F811
    """Two epochs have the same losses and weights with a tower cache as without; parts come back in their order."""
    options = ("--dataset-configs", CONFIG, "--max_steps", "-1", "--num_train_epochs", str(EPOCHS), *FROZEN)
    without = train(combined, tiny_checkpoint, tmp_path / "without", *options)
    cache = tmp_path / "cache"
    cached = train(combined, tiny_checkpoint, tmp_path / "cached", *options, "--tower_cache", str(cache))
    assert_same_run(cached, without)
    assert work[EPOCHS:][1] == {} and len(entries(cache)) == 6
    steps = [{name for name in entry if name.startswith("loss_")} for entry in history(cached) if "loss" in entry]
    assert sorted(map(sorted, steps)) == sorted([f"loss_{modality}"] for modality in KINDS for _ in range(EPOCHS))
