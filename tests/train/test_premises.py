"""Grouping rows into premises."""

import copy
from collections import Counter

import pyarrow as pa
import pytest
import torch
from datasets import Dataset

from datasets_scripts.build import main as build
from datasets_scripts.load import load_split
from datasets_scripts.schema import FEATURES
from modeling_clue import CLUEProcessor
from tests.train.conftest import CONFIGS, HYPOTHESES, TRAIN_PREMISES
from train import premises
from train.premises import PREMISE_COLUMNS, Premise, PremiseDataset, group_premises


def rows(*values: dict) -> Dataset:
    """Rows of the schema with the given values; text by default."""
    blank = {"modality": "text", "premise": "An urn.", "hypothesis": "It is red.", "probability": 0.5}
    blank = dict.fromkeys(FEATURES) | blank
    table = [blank | {"id": f"row-{index}"} | value for index, value in enumerate(values)]
    # As an Arrow table: `Dataset.from_list` wants torchcodec for undecoded sound.
    return Dataset(pa.Table.from_pylist(table, schema=FEATURES.arrow_schema))


@pytest.fixture(scope="module")
def processor(tiny_checkpoint):
    """The processor of the tiny checkpoint."""
    return CLUEProcessor.from_pretrained(tiny_checkpoint)


def test_rows_of_a_premise_meet_wherever_they_stand():
    """Rows are grouped by what is seen and heard, in the order of first appearance; none is lost."""
    group = group_premises(
        rows(
            {"premise": "A", "hypothesis": "a1", "probability": 0.1},
            {"premise": "B", "hypothesis": "b1", "probability": 0.2},
            {"premise": "A", "hypothesis": "a2", "probability": 0.3},
        ),
        "config",
    )
    assert [(p.key, p.row, p.hypotheses, p.probabilities) for p in group] == [
        ("config/0", 0, ["a1", "a2"], [0.1, 0.3]),
        ("config/1", 1, ["b1"], [0.2]),
    ]


def test_one_file_is_one_premise_for_each_sense(tmp_path):
    """A clip as video and as audiovisual are two premises; bytes are compared by content."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"frames")
    video = {"premise": None, "video": {"path": str(clip), "bytes": None}}
    sound = [
        {"premise": None, "modality": "audio", "audio": {"path": "x.wav", "bytes": b}} for b in (b"1", b"1", b"2")
    ]
    group = group_premises(rows(video | {"modality": "video"}, video | {"modality": "audiovisual"}, *sound), "config")
    assert [(p.modality, p.size, len(p.hypotheses)) for p in group] == [
        ("video", 6, 1),
        ("audiovisual", 6, 1),
        ("audio", 1, 2),
        ("audio", 1, 1),
    ]


def test_the_first_answer_takes_the_place_of_a_teachers_vote():
    """Only rows whose probability is a teacher's change; those of people stay, whatever a teacher said of them."""
    data = rows(
        {"probability": 0.4, "probability_source": "teacher", "teacher_probabilities": [0.9, 0.1, 0.2]},
        {"probability": 0.7, "probability_source": "human", "teacher_probabilities": [0.0]},
        {"probability": 1.0, "probability_source": "label"},
    )
    assert group_premises(data, "config")[0].probabilities == [0.4, 0.7, 1.0]
    assert group_premises(data, "config", "first")[0].probabilities == [0.9, 0.7, 1.0]


@pytest.mark.parametrize("answers", [None, [], [None, 0.5]])
def test_a_missing_first_answer_is_named(answers):
    """A teacher's row without it is refused: its vote is not taken instead."""
    data = rows({}, {"probability": 0.4, "probability_source": "teacher", "teacher_probabilities": answers})
    assert group_premises(data, "config")
    with pytest.raises(ValueError, match="Row 'row-1' of 'config' .* no first answer"):
        group_premises(data, "config", "first")


def test_first_answers_need_a_teacher(dataset, processor):
    """The ablation is refused where it would change nothing."""
    with pytest.raises(ValueError, match="teacher_answers=first, but no row of urn-text"):
        PremiseDataset.load(str(dataset), ["urn-text"], "train", processor, teacher_answers="first")


@pytest.mark.parametrize("probability", [None, float("nan"), -0.1, 1.1])
def test_a_row_without_a_usable_probability_is_named(probability):
    """Nothing but a probability in [0, 1] can be trained on."""
    with pytest.raises(ValueError, match="Row 'row-1' of 'config' has probability"):
        group_premises(rows({}, {"probability": probability}), "config")


@pytest.mark.parametrize("hypothesis", [None, "", " \n"])
def test_a_row_without_a_hypothesis_is_named(hypothesis):
    """It is refused before training, not when its batch comes up."""
    with pytest.raises(ValueError, match="Row 'row-1' of 'config' has no hypothesis"):
        group_premises(rows({}, {"hypothesis": hypothesis}), "config")


def test_a_row_of_unknown_modality_is_named():
    """A modality that the model does not have stops the run before it starts."""
    with pytest.raises(ValueError, match="Row 'row-0' of 'config' has modality 'smell'"):
        group_premises(rows({"modality": "smell"}), "config")


def test_a_folder_built_anew_is_read_anew(tmp_path):
    """`datasets` alone would go on giving the rows of the first build, or of another folder of the same name."""
    for place, size in [("here", 2), ("here", 3), ("there", 1)]:
        folder = str(tmp_path / place / "umui")
        options = ["--modalities", "text", "--hypotheses-per-premise", "2", "--validation", "1", "--test", "1"]
        build(
            [
                *("urn", "--output-dir", folder, "--overwrite"),
                *("--train", str(size), "--text-train", str(size), *options),
            ]
        )
        assert len(load_split(folder, "urn-text", "train")) == 2 * size


def test_several_configs_are_read_row_by_row(dataset, processor):
    """Over all configs, each premise is encoded from its own row, and the hypotheses are those of the dataset."""
    premises = PremiseDataset.load(str(dataset), CONFIGS, "train", processor)
    assert len(premises) == sum(TRAIN_PREMISES.values())
    expected = [row for config in CONFIGS for row in load_split(str(dataset), config, "train")]
    found = [
        (hypothesis, probability)
        for premise in premises.premises
        for hypothesis, probability in zip(premise.hypotheses, premise.probabilities, strict=True)
    ]
    assert sorted(found) == sorted((row["hypothesis"], row["probability"]) for row in expected)
    by_probability = {row["probability"]: row for row in expected}
    for index in range(0, len(premises), 4):
        item = premises[index]
        row = by_probability[item.probabilities[-1]]
        direct = processor.encode_premise({name: row[name] for name in PREMISE_COLUMNS})
        assert item.premise.input_ids == direct.input_ids
        assert item.premise.modality == premises.modalities[index] == row["modality"]


def test_a_config_counts_by_its_weight(dataset, processor):
    """2.4 times is every premise twice and two of five a third time; 0.2 is one of five, the same in every run. A copy
    holds what its premise holds, with draws of hypotheses of its own."""
    audio, text = TRAIN_PREMISES["audio"], TRAIN_PREMISES["text"]
    configs = ["urn-audio", "urn-text", "urn-video"]
    first, second = (
        PremiseDataset.load(str(dataset), configs, "train", processor, weights=[2.4, 1, 0.2]).premises
        for _ in range(2)
    )
    assert first == second
    copies = Counter(premise.key.partition("#")[0] for premise in first)
    by_config = {config: sorted(n for key, n in copies.items() if key.startswith(config)) for config in configs}
    assert by_config == {"urn-audio": [2, 2, 2, 3, 3], "urn-text": [1] * text, "urn-video": [1]}
    assert len({premise.key for premise in first}) == len(first)
    assert [premise.is_copy for premise in first].count(False) == audio + text + 1
    by_row = {}
    for premise in first:
        assert by_row.setdefault(premise.row, premise).hypotheses == premise.hypotheses


def test_texts_are_whole_in_training(dataset, processor):
    """A label is for all of its premise: a checkpoint that cuts texts is trained on whole ones."""
    cutting = copy.copy(processor)
    cutting.media = processor.media | {"max_text_tokens": 1}
    whole, found = (PremiseDataset.load(str(dataset), ["urn-text"], "train", one)[0] for one in (processor, cutting))
    assert found.premise.input_ids == whole.premise.input_ids and found.premise.num_tokens > 1


def test_cached_premises_are_those_decoded_anew(dataset, processor):
    """Keeping premises in memory changes nothing but the time, and knows their true lengths."""
    lazy = PremiseDataset.load(str(dataset), ["urn-text", "urn-audio"], "train", processor)
    cached = PremiseDataset.load(str(dataset), ["urn-text", "urn-audio"], "train", processor, cache=True)
    for index in (0, len(lazy) - 1):
        assert lazy[index].premise.input_ids == cached[index].premise.input_ids
        assert lazy[index].hypotheses == cached[index].hypotheses
    tokens = [cached[index].premise.num_tokens for index in range(len(cached))]
    assert all(length >= count for length, count in zip(cached.lengths(1), tokens, strict=True))
    assert all(few < all_ for few, all_ in zip(cached.lengths(1), cached.lengths(), strict=True))
    assert cached.lengths(HYPOTHESES) == cached.lengths()


def test_several_processes_encode_as_one(dataset, processor, tmp_path, monkeypatch):
    """In their order, to the last bit, with errors that name the row; and training draws what it would have drawn."""
    monkeypatch.setattr(premises, "ENCODED_AT_ONCE", 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    configs = ["urn-text", "urn-audio", "urn-video"]
    state = torch.get_rng_state()
    cached = PremiseDataset.load(str(dataset), configs, "train", processor, cache=True).encoded
    assert torch.equal(torch.get_rng_state(), state)
    lazy = PremiseDataset.load(str(dataset), configs, "train", processor)
    for index, found in enumerate(cached):
        for name, value in vars(lazy[index].premise).items():
            there = getattr(found, name)
            assert torch.equal(there, value) if isinstance(value, torch.Tensor) else there == value
    (tmp_path / "broken.wav").write_bytes(b"not a sound")
    clip = {"path": str(tmp_path / "broken.wav"), "bytes": None}
    data = rows(*[{"premise": None, "modality": "audio", "audio": clip}] * 3)
    broken = [Premise(f"config/{row}", row, "audio", 1) for row in range(3)]
    with pytest.raises(ValueError, match="^Row 'row-0'"):
        PremiseDataset(data, broken, processor, cache=True)


def test_a_choice_of_premises_is_random_but_repeats(dataset, processor):
    """max_premises takes whole premises, by the seed, each with the key it has in the full set."""

    def keys(**options):
        return [p.key for p in PremiseDataset.load(str(dataset), ["urn-text"], "train", processor, **options).premises]

    chosen = keys(max_premises=4, seed=1)
    assert len(chosen) == 4 and set(chosen) < set(keys())
    assert chosen == keys(max_premises=4, seed=1)
    assert any(keys(max_premises=4, seed=seed) != chosen for seed in range(2, 5))


def test_a_broken_clip_is_named_by_its_row(tmp_path, processor):
    """A premise that can't be read stops the run with the row's id."""
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"not a sound")
    data = rows({"premise": None, "modality": "audio", "audio": {"path": str(broken), "bytes": None}})
    with pytest.raises(ValueError, match="Row 'row-0'"):
        PremiseDataset(data, group_premises(data, "config"), processor)[0]
