"""Premises cut short in training: where, how often, with what targets, and that nothing else changes."""

import copy
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from transformers import AutoModel

from datasets_scripts.build import main as build
from datasets_scripts.load import load_split
from modeling_clue import CLUEProcessor
from modeling_clue.encoded_premise import with_tower_outputs
from modeling_clue.modalities import MODALITIES
from modeling_clue.timeline import find_cuts
from tests.train.conftest import CONFIGS
from tests.train.test_premises import rows
from tests.train.test_sft import train
from train.collator import PremiseCollator
from train.prefixes import Prefixes, check_clock, cut_premise
from train.premises import PremiseDataset, group_prefixes, group_premises


BLOCK = 200  # of Qwen2.5-Omni: 2 s
EVENTS = "12"


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A small urn world of which every clip is longer than 2 s, with an event ending there, and texts of sentences."""
    folder = tmp_path_factory.mktemp("long") / "umui"
    sizes = ("--train", "4", "--text-train", "6", "--validation", "1", "--test", "1", "--hypotheses-per-premise", "4")
    look = ("--events", EVENTS, "15", "--event-seconds", "0.2", "--sentences", "5", "--workers", "1")
    build(["urn", "--output-dir", str(folder), *sizes, *look])
    return folder


@pytest.fixture(scope="module")
def processor(tiny_checkpoint):
    """Takes two frames an event of 0.2 s."""
    processor = copy.copy(CLUEProcessor.from_pretrained(tiny_checkpoint))
    processor.media = processor.media | {"fps": 10.0}
    return processor


@pytest.fixture(scope="module")
def premises(long, processor):
    """All training premises, with what is true of their beginnings."""
    return PremiseDataset.load(str(long), CONFIGS, "train", processor, with_prefixes=True)


def collators(processor, **options) -> PremiseCollator:
    """A collator that cuts every premise it can."""
    return PremiseCollator(processor, **{"max_hypotheses": 2, "prefix_share": 1.0, "sound_block": BLOCK} | options)


def same(one: dict, other: dict) -> bool:
    """Whether two batches are the same to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_without_the_option_batches_are_what_they_were(long, processor, premises):
    """Also from a dataset that knows prefixes, and with a share of nothing."""
    before = PremiseDataset.load(str(long), CONFIGS, "train", processor)
    assert before.premises == premises.premises
    for index in range(0, len(before), 3):
        whole = PremiseCollator(processor, 2, seed=3, epoch=1)([before[index]])
        assert same(whole, PremiseCollator(processor, 2, seed=3, epoch=1)([premises[index]]))
        assert same(whole, collators(processor, prefix_share=0.0, seed=3, epoch=1)([premises[index]]))


@pytest.mark.parametrize("modality", MODALITIES)
def test_targets_are_those_of_the_beginning(long, processor, premises, modality):
    """Wherever it is cut, the premise is the one that [`find_cuts`] names there, and the row has the probability. It
    goes through the towers that the whole one goes through: processes that wait for each other keep step."""
    by_sentence = {
        (row["id"].rpartition("-")[0], row["hypothesis"]): {prefix["at"]: prefix["probability"] for prefix in known}
        for row in load_split(str(long), f"urn-{modality}", "train")
        for known in [row["prefixes"]]
    }
    found = Counter()
    for index in [index for index, name in enumerate(premises.modalities) if name == modality]:
        item = premises[index]
        row = premises.rows[premises.premises[index].row]["id"].rpartition("-")[0]
        cuts = {tuple(cut.premise.input_ids): cut for cut in find_cuts(processor, item.premise, BLOCK)}
        assert len(cuts) == len(find_cuts(processor, item.premise, BLOCK))
        for epoch in range(12):
            cut = collators(processor, epoch=epoch)._maybe_cut(item)
            at = cuts[tuple(cut.premise.input_ids)].at
            if at == list(cuts.values())[-1].at:
                assert cut is item
                continue
            found[round(at, 2)] += 1
            wanted = [
                min(by_sentence[row, text].items(), key=lambda one: abs(one[0] - at)) for text in item.hypotheses
            ]
            assert all(abs(place - at) < 1e-6 for place, _ in wanted)
            assert cut.probabilities == [probability for _, probability in wanted]
            assert cut.premise.modality == modality and cut.hypotheses == item.hypotheses
            batch = collators(processor, epoch=epoch)([item])
            assert batch.keys() == collators(processor, prefix_share=0.0)([item]).keys()
    # Sound every 2 s, with or without frames; frames after every ball.
    if modality in ("audio", "audiovisual"):
        assert set(found) == {2.0}
    elif modality == "video":
        assert len(found) > 5 and all(round(at / 0.2, 6) == round(at / 0.2) for at in found)
    else:
        assert len(found) > 3


@pytest.mark.parametrize("kind", ["audio", "video", "audiovisual"])
def test_a_cut_of_what_the_towers_gave_is_the_same(tiny_checkpoint, processor, premises, kind):
    """To 1e-5: a clip from the tower cache is cut as one that goes through the towers."""
    model = AutoModel.from_pretrained(tiny_checkpoint).eval()
    item = premises[premises.modalities.index(kind)]
    with torch.no_grad():
        outputs = model(**processor.collate([item.premise], [item.hypotheses]))
        config = model.config
        ids = (config.audio_token_id, config.video_token_id, config.image_token_id)
        (kept,) = with_tower_outputs([item.premise], ids, outputs.audio_embeds, outputs.video_embeds)
        cuts = []
        for premise in (item.premise, kept):
            cut, _ = cut_premise(processor, premise, item.prefixes, BLOCK, np.random.default_rng(0))
            cuts.append(model(**processor.collate([cut], [item.hypotheses])).logits)
    torch.testing.assert_close(*cuts, rtol=0, atol=1e-5)
    assert (cuts[0] - outputs.logits).abs().max() > 1e-3


def test_cuts_depend_on_seed_epoch_and_premise_alone(processor, premises):
    """A process that starts in the middle of an epoch, or one beside it, cuts where this one does."""
    indices = list(range(len(premises)))
    collator = collators(processor, prefix_share=0.5, seed=1, epoch=3)
    here = [collator([premises[index]]) for index in indices]
    again = collators(processor, prefix_share=0.5, seed=1, epoch=3)
    assert all(same(here[index], again([premises[index]])) for index in reversed(indices))
    worker = DataLoader(premises, batch_sampler=[[index] for index in indices], collate_fn=again, num_workers=1)
    assert all(same(one, other) for one, other in zip(here, worker, strict=True))
    for other in ({"seed": 2, "epoch": 3}, {"seed": 1, "epoch": 4}):
        lengths = [collators(processor, prefix_share=0.5, **other)._maybe_cut(premises[i]).premise for i in indices]
        assert [one.num_tokens for one in lengths] != [
            collator._maybe_cut(premises[i]).premise.num_tokens for i in indices
        ]


def test_as_many_are_cut_as_asked(processor, premises):
    """A share of the premises, other ones every epoch, and of each the hypotheses that it would have had whole."""
    index = premises.modalities.index("video")
    item, cut = premises[index], 0
    for epoch in range(400):
        found = collators(processor, prefix_share=0.3, epoch=epoch)._maybe_cut(item)
        cut += found is not item
    assert 0.22 < cut / 400 < 0.38
    sentences = {}
    for share in (0.0, 1.0):
        batch = collators(processor, prefix_share=share)([item])
        kept = batch["input_ids"][0][batch["branch_ids"][0] > 0]
        sentences[share] = kept.tolist()
    assert sentences[0.0] == sentences[1.0]


def test_a_torn_event_is_no_place(dataset, processor):
    """Of events of 0.16 s none ends after 2 s, and a short clip has no such time: both stay whole."""
    short = PremiseDataset.load(str(dataset), ["urn-audio"], "train", processor, with_prefixes=True)
    for item in short.__getitems__([0, 1, 2, 3, 4]):
        assert item.prefixes is not None and collators(processor)._maybe_cut(item) is item
    whole = copy.copy(short[0].premise)
    whole.num_mel_frames = 320
    whole.input_features = torch.zeros(128, 320)
    whole.input_ids = processor.media_tokens(whole)
    known = Prefixes(np.arange(1, 21) * 0.16, np.zeros((4, 20)))
    assert [cut.at for cut in find_cuts(processor, whole, BLOCK)] == [2.0, 3.2]
    assert cut_premise(processor, whole, known, BLOCK, np.random.default_rng(0)) is None


def test_only_places_that_all_hypotheses_have_count():
    """And rows of a premise meet wherever they stand; a premise without any is not there."""
    first = [{"at": 5.0, "probability": 0.5}, {"at": 9.0, "probability": 0.25}]
    second = [{"at": 4.0, "probability": 1.0}, {"at": 9.0, "probability": 0.75}]
    data = rows(
        {"premise": "A", "prefixes": first},
        {"premise": "B", "prefixes": first},
        {"premise": "A", "prefixes": second},
        {"premise": "B", "prefixes": []},
    )
    known = group_prefixes(data, "config")
    assert known.keys() == {0} == {group_premises(data, "config")[0].row}
    assert known[0].ends.tolist() == [9.0] and known[0].probabilities.tolist() == [[0.25], [0.75]]


@pytest.mark.parametrize(
    ("prefixes", "words"),
    [
        (
            [{"at": 2.0, "probability": 0.5}, {"at": 2.0, "probability": 0.5}],
            "rising times above 0, got 2.0 after 2.0",
        ),
        ([{"at": 0.0, "probability": 0.5}], "rising times above 0"),
        ([{"at": 1.0, "probability": 1.5}], r"probabilities in \[0, 1\], got 1.5 at 1.0"),
        ([{"at": 1.0, "probability": None}], r"probabilities in \[0, 1\], got None"),
    ],
)
def test_a_row_with_bad_prefixes_is_named(prefixes, words):
    """Nothing is trained on what can't be."""
    with pytest.raises(ValueError, match=f"Row 'row-1' of 'config': prefixes must have {words}"):
        group_prefixes(rows({}, {"prefixes": prefixes}), "config")


def test_what_can_not_be_cut_is_refused(long, processor, tiny_checkpoint, tmp_path):
    """A dataset without the column by its name, frames whose times are not the clip's, a share that is none."""
    fixed = copy.copy(processor)
    fixed.media = processor.media | {"second_per_grid": 1.0}
    with pytest.raises(ValueError, match="fixed second_per_grid .1.0."):
        check_clock(fixed)
    check_clock(processor)
    emptied = tmp_path / "umui"
    build(
        [
            *("urn", "--output-dir", str(emptied), "--modalities", "text", "--train", "1", "--text-train", "2"),
            *("--validation", "1", "--test", "1"),
        ]
    )
    file = emptied / "urn-text" / "train" / "metadata.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["prefixes"]).replace_schema_metadata(), file)
    with pytest.raises(ValueError, match=f"no premise of {emptied}, urn-text .train. has it"):
        train(emptied, tiny_checkpoint, tmp_path / "out", "--dataset-configs", "urn-text", "--prefix_share", "0.5")
    for share in ("1.5", "-0.1"):
        with pytest.raises(ValueError, match="prefix_share must be in"):
            train(long, tiny_checkpoint, tmp_path / "out", "--prefix_share", share)
    with pytest.raises(ValueError, match="tower_cache keeps whole clips"):
        train(long, tiny_checkpoint, tmp_path / "out", "--prefix_share", "1", "--tower_cache", str(tmp_path / "c"))


def test_a_resumed_run_ends_as_one_left_alone(long, tiny_checkpoint, tmp_path):
    """To the last bit, from the middle of an epoch, with or without the tower cache; whole premises end elsewhere."""
    every = ("--prefix_share", "0.5", "--save_strategy", "steps", "--save_steps", "3", "--freeze_towers", "true")
    every += ("--per_device_train_batch_size", "2")
    alone = load_file(train(long, tiny_checkpoint, tmp_path / "alone", *every, steps=7) / "model.safetensors")
    checkpoint = str(tmp_path / "alone" / "checkpoint-3")
    options = ("--resume_from_checkpoint", checkpoint)
    resumed = load_file(
        train(long, tiny_checkpoint, tmp_path / "resumed", *every, *options, steps=7) / "model.safetensors"
    )
    assert all(torch.equal(resumed[name], alone[name]) for name in alone)
    whole = ("--prefix_share", "0")
    other = load_file(train(long, tiny_checkpoint, tmp_path / "whole", *every, *whole, steps=7) / "model.safetensors")
    assert any(not torch.equal(other[name], alone[name]) for name in alone)
    cache = ("--tower_cache", str(tmp_path / "cache"))
    for name in ("filled", "taken"):
        cached = load_file(
            train(long, tiny_checkpoint, tmp_path / name, *every, *cache, steps=7) / "model.safetensors"
        )
        assert all(torch.allclose(cached[name], alone[name], atol=1e-5) for name in alone)
