"""The tiny checkpoint to train from."""

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from modeling_clue import CLUEForConfidenceEstimation, CLUEProcessor
from train.tiny import SPECIAL_TOKENS, build_tiny, training_texts


TEXTS = ["An urn holds 3 red balls.", "The ball is red.", "ein Ball, rot wie früher"]
SIZES = {"vocab_size": 300, "num_hidden_layers": 1, "hidden_size": 64, "num_bins": 20}


def test_seed_decides_the_weights(tmp_path):
    """The same texts and seed give the same weights to the bit, another seed others; the global generator is left as
    it was."""
    state = torch.get_rng_state()
    first, again, other = (
        load_file(build_tiny(TEXTS, tmp_path / name, seed=seed, **SIZES) / "model.safetensors")
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert first.keys() == again.keys() == other.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["confidence_head.weight"], other["confidence_head.weight"])


def test_checkpoint_is_complete(tmp_path):
    """It loads as any checkpoint, with the sizes asked for, and its tokenizer reads any text back."""
    folder = build_tiny(TEXTS, tmp_path / "tiny", **SIZES)
    model, info = CLUEForConfidenceEstimation.from_pretrained(folder, output_loading_info=True)
    processor = CLUEProcessor.from_pretrained(folder)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert model.confidence_head.weight.shape == (20, 64)
    vocabulary = processor.tokenizer.get_vocab()
    assert len(vocabulary) == 300 == model.lm_head.out_features
    assert {*SPECIAL_TOKENS, *processor.backbone.tokens.values()} | {
        f"<CONF_{index}>" for index in range(20)
    } <= vocabulary.keys()
    for text in ("The ball is red.", "  früher\n\t37 % 球 🙂"):
        assert processor.tokenizer.decode(processor.encode_premise(text).input_ids) == text
    with torch.no_grad():
        assert model(**processor("An urn.", ["It is red.", "No."])).logits.shape == (2, 20)


def test_vocabulary_holds_all_bytes(tmp_path):
    """A vocabulary without room for every byte and special token is refused, and nothing is written."""
    with pytest.raises(ValueError, match="too small: .* are 286"):
        build_tiny(TEXTS, tmp_path / "tiny", **(SIZES | {"vocab_size": 285}))
    assert not list(tmp_path.iterdir())


def test_existing_folder_is_kept(tmp_path):
    """A folder that is there already is never overwritten."""
    (tmp_path / "tiny").mkdir()
    with pytest.raises(FileExistsError, match="--output-dir"):
        build_tiny(TEXTS, tmp_path / "tiny", **SIZES)


def test_training_texts_are_those_of_the_training_split(dataset):
    """The tokenizer learns from every premise and hypothesis of the training splits, once each, and nothing else."""
    expected = set()
    for file in dataset.glob("*/train*/*.parquet"):
        for column in pq.read_table(file, columns=["premise", "hypothesis"]).to_pydict().values():
            expected |= {text for text in column if text is not None}
    assert expected and training_texts(str(dataset)) == sorted(expected)
