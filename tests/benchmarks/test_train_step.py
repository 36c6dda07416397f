"""The benchmark of a training step compares what it says it compares, and counts right."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.train_step import HYPOTHESES, MODALITIES, PREMISE, Bench, config_3b, main, step_flops
from modeling_clue import CLUEForConfidenceEstimation
from modeling_clue.confidence import confidence_loss
from modeling_clue.prompt import DEFAULT_PROMPT
from train.tiny import tiny_config, train_tokenizer


NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


@pytest.fixture(scope="module")
def tokenizer():
    """Knows the prompt and the sentences."""
    return train_tokenizer([PREMISE, *HYPOTHESES, *DEFAULT_PROMPT.values()], 420, num_bins=100)


@pytest.fixture
def bench(tokenizer) -> Bench:
    """A tiny model with shared keys and windows in the vision tower; no dropout, every product a plain one."""
    torch.manual_seed(0)
    config = tiny_config(tokenizer, num_hidden_layers=2)
    config.text_config.num_key_value_heads = 2
    config.vision_config.depth = 2
    return Bench(config, tokenizer, torch.device("cpu"), torch.float32, lora_dropout=0.0, attn_implementation="eager")


def loss_and_gradients(bench: Bench, way: str, batch: dict) -> tuple[float, dict[str, torch.Tensor]]:
    """Of the language model's adapters, which both ways train."""
    bench.optimizer.zero_grad()
    loss = bench.loss(way, batch)
    loss.backward()
    gradients = {
        name: parameter.grad
        for name, parameter in bench.model.named_parameters()
        if "self_attn" in name and parameter.grad is not None
    }
    return loss.item(), gradients


@pytest.mark.parametrize("modality", MODALITIES)
def test_all_ways_are_the_same_step(bench, modality):
    """With the hypothesis behind the premise, every way has the same loss and gradients: none does less work."""
    bench.reference_processor = bench.processor
    batches = bench.batches(modality, 3)
    assert len(batches["reference"]["input_ids"]) == 3
    assert len(batches["clue"]["input_ids"]) == 1
    loss, gradients = loss_and_gradients(bench, "reference", batches.pop("reference"))
    assert any(gradient.abs().max() > 1e-4 for gradient in gradients.values())
    for way, batch in batches.items():
        own_loss, own_gradients = loss_and_gradients(bench, way, batch)
        assert own_loss == pytest.approx(loss, abs=1e-5)
        torch.testing.assert_close(own_gradients, gradients, atol=1e-6, rtol=1e-3)


def test_the_reference_has_the_hypothesis_first_and_padded_sound(bench):
    """What is said of the reference's inputs is so, and the shapes of the clips are the true ones."""
    audio, video = bench.batches("audio", 2), bench.batches("video", 2)
    assert audio["clue"]["input_features"].shape == (1, 128, 1000)
    assert audio["reference"]["input_features"].shape == (2, 128, 30_000)
    assert audio["reference"]["feature_attention_mask"].sum(dim=1).tolist() == [1000, 1000]
    assert video["clue"]["video_grid_thw"].tolist() == [[15, 18, 18]]
    assert video["clue"]["video_second_per_grid"].tolist() == [4.0]
    ids = video["reference"]["input_ids"]
    sentence = bench.processor.tokenizer(HYPOTHESES[1])["input_ids"]
    before_video = ids[1, : (ids[1] == bench.model.config.video_token_id).nonzero()[0, 0]].tolist()
    assert any(before_video[start : start + len(sentence)] == sentence for start in range(len(before_video)))


@pytest.mark.parametrize("modality", MODALITIES)
def test_operations_are_those_that_run(bench, modality):
    """The formula gives what torch counts in a step, for every way; computing anew is not counted as needed."""
    config = bench.model.config
    with FlopCounterMode(display=False) as targets:  # of labels alone, and no work of the model
        confidence_loss(torch.zeros(2, config.num_bins), torch.tensor([0.1, 0.9]), config.target, config.sigma)
    for way, batch in bench.batches(modality, 2).items():
        bench.optimizer.zero_grad()
        with FlopCounterMode(display=False) as counter:
            bench.loss(way, batch).backward()
        assert step_flops(config, way, batch) == counter.get_total_flops() - targets.get_total_flops()


def test_checkpointing_computes_the_layers_anew_and_no_tower(bench):
    """With gradient checkpointing a step has the same gradients for one more forward of the language model."""
    batch = bench.batches("audio", 2)["clue"]
    loss, gradients = loss_and_gradients(bench, "clue", batch)
    bench.checkpoint_activations()
    bench.optimizer.zero_grad()
    with FlopCounterMode(display=False) as counter:
        own_loss, own_gradients = loss_and_gradients(bench, "clue", batch)
    assert own_loss == pytest.approx(loss, abs=1e-6)
    torch.testing.assert_close(own_gradients, gradients)
    needed = step_flops(bench.model.config, "clue", batch)
    language_model = step_flops(bench.model.config, "cached", batch)
    assert needed + language_model / 4 < counter.get_total_flops() < needed + language_model / 2


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NEEDS_GPU])])
def test_a_step_in_bfloat16_moves_what_is_trained(tokenizer, device):
    """The adapters of the language model, with the output each way reads, in float32; all the rest stays as it is."""
    torch.manual_seed(0)
    bench = Bench(tiny_config(tokenizer, num_hidden_layers=2), tokenizer, torch.device(device), torch.bfloat16)
    for way, batch in bench.batches("audio", 2).items():
        before = {name: parameter.clone() for name, parameter in bench.model.named_parameters()}
        taken = bench.step(way, batch)
        assert torch.isfinite(torch.tensor(taken["loss"]))
        moved = {name for name, parameter in bench.model.named_parameters() if not parameter.equal(before[name])}
        assert {before[name].dtype for name in moved} == {torch.float32}
        adapters = [name for name in moved if "language_model.layers" in name and "lora_B" in name]
        assert len(adapters) == 2 * 4
        others = {name.split(".")[0] for name in moved if "language_model.layers" not in name}
        assert others == {"lm_head" if way == "reference" else "confidence_head"}


def test_the_large_model_has_the_published_sizes(tokenizer):
    """Its language model has the 3,085,938,688 parameters of Qwen2.5-3B, whose output layer is tied, and one more."""
    with torch.device("meta"):
        model = CLUEForConfidenceEstimation(config_3b(tokenizer))
    assert model.model.language_model.num_parameters() == 3_085_938_688
    assert model.lm_head.weight.shape == (151_936, 2048)
    assert model.model.audio_tower.proj.out_features == model.model.visual.merger.mlp[-1].out_features == 2048


def test_rows_are_written_as_they_come(tmp_path, capsys, monkeypatch):
    """Every way of every cell has a line in the table and in the file, one for which memory does not suffice too."""
    step = Bench.step

    def without_memory(self, way, batch):
        if way == "reference" and "input_features" in batch:
            raise torch.OutOfMemoryError
        return step(self, way, batch)

    monkeypatch.setattr(Bench, "step", without_memory)
    out = tmp_path / "new" / "steps.jsonl"
    options = [
        "--device",
        "cpu",
        "--modalities",
        "text",
        "audio",
        "--hypotheses-per-premise",
        "2",
        "--steps",
        "2",
        "--warmup",
        "0",
    ]
    main([*options, "--output", str(out)])
    header, *records = map(json.loads, out.read_text().splitlines())
    assert header["size"] == "tiny" and header["peak_flops"] > 0
    ways = [("text", "reference"), ("text", "clue"), ("audio", "reference"), ("audio", "clue"), ("audio", "cached")]
    assert [(record["premise"], record["way"]) for record in records] == ways
    assert [record["steps"] and len(record["steps"]) for record in records] == [2, 2, None, 2, 2]
    for record in records:
        for taken in record["steps"] or []:
            assert taken["step"] == pytest.approx(taken["forward"] + taken["backward"] + taken["optimizer"])

    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(ways)
    assert len({line.count("|") for line in table}) == 1
    assert ["out of memory" in line for line in table[2:]] == [False, False, True, False, False]
