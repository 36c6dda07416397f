"""CLUE-T: its loss and gradients against transformers' own model, what is trained, and what is saved."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoProcessor, Qwen2_5OmniThinkerForConditionalGeneration

from modeling_clue import CLUEConfig, CLUEProcessor
from modeling_clue.modalities import MODALITIES
from tests.launching import launch
from tests.reading import history
from tests.train.conftest import CONFIGS, HYPOTHESES
from train.answers import CLUEForTextAnswers, answering_processor, load_text_model
from train.collator import PremiseCollator
from train.premises import PremiseDataset
from train.sft import main


@pytest.fixture(scope="module")
def processor(tiny_checkpoint) -> CLUEProcessor:
    """With two decimals in its prompt."""
    return answering_processor(CLUEProcessor.from_pretrained(tiny_checkpoint))


@pytest.fixture(scope="module")
def items(dataset, processor) -> dict:
    """Two premises of each modality with four hypotheses each."""
    premises = {name: PremiseDataset.load(dataset, [f"urn-{name}"], "train", processor) for name in MODALITIES}
    return {name: [premises[name][index] for index in range(2)] for name in MODALITIES}


@pytest.fixture(scope="module")
def thinker(tiny_checkpoint, tmp_path_factory) -> Qwen2_5OmniThinkerForConditionalGeneration:
    """transformers' own model, from what CLUE-T saves of the tiny checkpoint; it must miss nothing."""
    folder = tmp_path_factory.mktemp("thinker")
    load_text_model(str(tiny_checkpoint), None).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["architectures"] == [
        "Qwen2_5OmniThinkerForConditionalGeneration"
    ]
    assert not list(folder.glob("*.py")), "no code of ours is needed"
    return load_whole(folder)


def load_whole(folder: Path) -> Qwen2_5OmniThinkerForConditionalGeneration:
    """The plain Thinker in a folder, in evaluation mode."""
    model, info = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def upstream_loss(thinker, processor, item, index: int) -> torch.Tensor:
    """The loss of one answer by transformers' own forward pass, with labels on the answer alone."""
    inputs = processor.collate([item.premise], [[item.hypotheses[index]]], [[item.probabilities[index]]])
    answer_mask = inputs.pop("answer_mask").bool()
    inputs.pop("branch_ids")
    # The labels are of upstream's making: the answer's text, tokenized as the end of the whole.
    expected = processor.tokenizer(f"{item.probabilities[index]:.2f}<|im_end|>", add_special_tokens=False)["input_ids"]
    labels = torch.full_like(inputs["input_ids"], -100)
    labels[0, -len(expected) :] = torch.tensor(expected)
    assert torch.equal(labels != -100, answer_mask)
    return thinker(**inputs, labels=labels, use_audio_in_video=item.premise.modality == "audiovisual").loss


def options(dataset, checkpoint, output, *arguments: str) -> list[str]:
    """The command line of two steps of CLUE-T."""
    return [
        *("--variant", "text", "--model_name_or_path", str(checkpoint), "--output_dir", str(output)),
        *("--dataset", str(dataset), "--dataset-configs", "urn-text", "urn-audio", "--use_cpu", "true"),
        *("--learning_rate", "1.0e-3", "--max_steps", "2", "--logging_steps", "1", "--save_strategy", "no"),
        *("--per_device_train_batch_size", "8", "--report_to", "none", "--disable_tqdm", "true", *arguments),
    ]


def train(dataset, checkpoint, output, *arguments: str) -> Path:
    """Trains CLUE-T for two steps and returns the output folder."""
    main(options(dataset, checkpoint, output, *arguments))
    return output


def changed(output: Path, checkpoint: Path) -> set[str]:
    """Names of the weights that training changed; only the head of the checkpoint is left behind."""
    before, after = (load_file(folder / "model.safetensors") for folder in (checkpoint, output))
    assert before.keys() - after.keys() == {"confidence_head.weight"} and after.keys() <= before.keys()
    return {name for name in after if not torch.equal(before[name], after[name])}


@torch.no_grad()
@pytest.mark.parametrize("modality", MODALITIES)
def test_each_loss_is_that_of_transformers_own_model(tiny_checkpoint, processor, items, thinker, modality):
    """Hypotheses that share premises in a batch get the loss of the whole prompt with its answer, one by one."""
    model = load_text_model(str(tiny_checkpoint), None).eval()
    batch = PremiseCollator(processor)(items[modality])
    batch.pop("modality")
    output = model(**batch)
    expected = [
        upstream_loss(thinker, processor, item, index) for item in items[modality] for index in range(HYPOTHESES)
    ]
    torch.testing.assert_close(output.hypothesis_loss, torch.stack(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.loss, output.hypothesis_loss.mean())
    assert output.premise_index.tolist() == [0] * HYPOTHESES + [1] * HYPOTHESES
    assert output.probability is output.logits is None


def test_positions_that_a_thinker_does_not_know_are_refused(tiny_checkpoint, tmp_path):
    """A checkpoint read with plain positions is not silently trained with timed ones."""
    config = CLUEConfig.from_pretrained(tiny_checkpoint, audiovisual_positions="plain")
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has `audiovisual_positions: plain`, which a plain Thinker.* another"):
        load_text_model(str(tmp_path), None)


def test_a_mixed_batch_has_the_gradients_of_one_by_one(tiny_checkpoint, processor, items, thinker):
    """All modalities in one batch: the gradients of transformers' own model, answer by answer, in the mean."""
    model = load_text_model(str(tiny_checkpoint), None).eval()
    chosen = [items[name][0] for name in MODALITIES]
    batch = PremiseCollator(processor)(chosen)
    batch.pop("modality")
    model(**batch).loss.backward()
    thinker.zero_grad()
    for item in chosen:
        for index in range(HYPOTHESES):
            (upstream_loss(thinker, processor, item, index) / len(batch["labels"])).backward()
    expected = {name: weight.grad for name, weight in thinker.named_parameters() if weight.grad is not None}
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    thinker.zero_grad()
    assert found.keys() == expected.keys() and "lm_head.weight" in found
    assert any("audio_tower" in name for name in found) and any("visual" in name for name in found)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-5 * (1 + gradient.abs().max()), rtol=1e-3)


@torch.no_grad()
def test_only_the_positions_before_answers_meet_the_vocabulary(tiny_checkpoint, processor, items):
    """`lm_head` sees one vector for each token of an answer, and its loss is in float32 in bfloat16 too."""
    model = load_text_model(str(tiny_checkpoint), None, dtype=torch.bfloat16).eval()
    batch = PremiseCollator(processor)(items["text"])
    batch.pop("modality")
    seen = []
    model.lm_head.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape))
    output = model(**batch, num_items_in_batch=32)
    assert seen == [(int(batch["answer_mask"].sum()), model.config.text_config.hidden_size)]
    assert output.loss.dtype == output.hypothesis_loss.dtype == torch.float32
    torch.testing.assert_close(output.loss, output.hypothesis_loss.sum() / 32)


@torch.no_grad()
def test_batches_without_their_answers_are_refused(tiny_checkpoint, processor, items):
    """No answer, an answer too few, or a label too few: the error says which."""
    model = load_text_model(str(tiny_checkpoint), None).eval()
    batch = PremiseCollator(processor)(items["text"])
    batch.pop("modality")
    with pytest.raises(ValueError, match="`answer_mask` is missing"):
        model(**{name: value for name, value in batch.items() if name != "answer_mask"})
    last = batch["answer_mask"].clone()
    last[0] *= batch["branch_ids"][0] != 2
    with pytest.raises(ValueError, match="8 hypotheses need as many answers and labels, got 7 answers and 8 labels"):
        model(**{**batch, "answer_mask": last})
    with pytest.raises(ValueError, match="got 8 answers and 7 labels"):
        model(**{**batch, "labels": batch["labels"][1:]})


def test_two_steps_change_what_they_should(dataset, tiny_checkpoint, tmp_path):
    """`lm_head` is trained with the rest, towers no batch went through are not; the folder stands for itself."""
    output = train(dataset, tiny_checkpoint, tmp_path / "out")
    names = changed(output, tiny_checkpoint)
    assert {"lm_head.weight", "model.embed_tokens.weight"} <= names
    assert any(name.startswith("audio_tower.") for name in names)
    assert not any(name.startswith("visual.") for name in names)
    model = load_whole(output)
    assert model.generation_config.max_new_tokens == 16 and not model.generation_config.do_sample
    processor = AutoProcessor.from_pretrained(output, trust_remote_code=True)
    assert processor.prompt["answer"] == "{probability:.2f}<|im_end|>"
    assert model.generation_config.eos_token_id == processor.tokenizer.convert_tokens_to_ids(["<|im_end|>"])
    assert not list(output.glob("*.bin"))
    assert {"loss_text", "loss_audio", "grad_norm_text"} <= {name for entry in history(output) for name in entry}
    assert all(torch.isfinite(torch.tensor(entry.get("loss", 0.0))) for entry in history(output))


def test_frozen_towers_stay_as_they_are(dataset, tiny_checkpoint, tmp_path):
    """With `freeze_towers`, the language model and its vocabulary are trained alone."""
    output = train(dataset, tiny_checkpoint, tmp_path / "out", "--freeze_towers", "true")
    assert {name.split(".")[0] for name in changed(output, tiny_checkpoint)} == {"model", "lm_head"}


def test_lora_trains_attention_of_the_language_model_alone(dataset, tiny_checkpoint, tmp_path):
    """The adapter holds nothing else; the output folder is a plain Thinker with the adapter merged into it."""
    output = train(
        *(dataset, tiny_checkpoint, tmp_path / "out", "--use_peft", "--lora_r", "4", "--lora_dropout", "0"),
        *("--dataset-configs", "urn-text"),
    )
    names = changed(output, tiny_checkpoint)
    projections = tuple(f"self_attn.{name}_proj.weight" for name in "qkvo")
    assert names and all(name.startswith("model.layers.") and name.endswith(projections) for name in names)
    adapter = load_file(output / "adapter" / "adapter_model.safetensors")
    assert adapter and all(".language_model.layers." in name for name in adapter)

    merged = load_whole(output)
    adapted = PeftModel.from_pretrained(load_text_model(str(tiny_checkpoint), None), output / "adapter").eval()
    processor = CLUEProcessor.from_pretrained(output)
    ids = processor("An urn holds 3 red balls and 1 blue ball.", "It is red.")["input_ids"]
    with torch.no_grad():
        base = adapted.get_base_model()
        expected = base.lm_head(base.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state)
        torch.testing.assert_close(merged(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-5)


def test_evaluation_in_training_has_the_loss_without_errors(dataset, tiny_checkpoint, tmp_path):
    """Losses by modality are the means of those of the hypotheses; errors of answers nobody wrote are absent."""
    options = ("--eval_strategy", "steps", "--eval_steps", "2", "--dataset-configs", *CONFIGS)
    output = train(dataset, tiny_checkpoint, tmp_path / "out", *options)
    (entry,) = [entry for entry in history(output) if "eval_loss" in entry]
    assert not [name for name in entry if "mse" in name.replace("constant_mean_mse", "") or "mae" in name]
    model = CLUEForTextAnswers.from_pretrained(output).eval()
    processor = CLUEProcessor.from_pretrained(output)
    for modality in MODALITIES:
        premises = PremiseDataset.load(dataset, [f"urn-{modality}"], "validation", processor)
        batch = PremiseCollator(processor)([premises[index] for index in range(len(premises))])
        batch.pop("modality")
        with torch.no_grad():
            assert entry[f"eval_loss_{modality}"] == pytest.approx(model(**batch).loss.item(), rel=1e-4)


def test_a_resumed_run_ends_as_one_that_was_left_alone(dataset, tiny_checkpoint, tmp_path):
    """Checkpoints during training are plain Thinkers too, and going on from one changes nothing."""
    options = ("--max_steps", "4", "--save_strategy", "steps", "--save_steps", "2", "--dataset-configs", "urn-text")
    whole = train(dataset, tiny_checkpoint, tmp_path / "whole", *options)
    load_whole(whole / "checkpoint-2")
    (tmp_path / "cut").mkdir()
    (whole / "checkpoint-2").rename(tmp_path / "cut" / "checkpoint-2")
    cut = train(dataset, tiny_checkpoint, tmp_path / "cut", *options, "--resume_from_checkpoint", "true")
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, cut))
    for name in expected:
        assert torch.equal(found[name], expected[name]), name


def test_gathered_weights_are_saved_in_place_of_its_own(tiny_checkpoint, tmp_path):
    """ZeRO-3 and FSDP leave a model without weights, and hand over those they gathered: these are saved."""
    model = load_text_model(str(tiny_checkpoint), None)
    model.save_pretrained(tmp_path / "whole")
    gathered = {name: weight.clone() for name, weight in model.state_dict().items()}
    for weight in model.parameters():
        weight.data = torch.empty(0)
    model.save_pretrained(tmp_path / "gathered", state_dict=gathered)
    assert not changed(tmp_path / "gathered", tiny_checkpoint)
    expected, found = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "gathered"))
    assert found.keys() == expected.keys()


@pytest.mark.processes
def test_two_processes_train_as_one(dataset, tiny_checkpoint, tmp_path):
    """Batches of 3 or 4 premises on each of two processes are the same steps as batches of 7 on one."""
    sgd = ("--optim", "sgd", "--learning_rate", "0.1", "--max_grad_norm", "0", "--dataset-configs", "urn-text")
    one = train(dataset, tiny_checkpoint, tmp_path / "one", *sgd, "--per_device_train_batch_size", "7")
    two = options(dataset, tiny_checkpoint, tmp_path / "two", *sgd, "--per_device_train_batch_size", "4")
    log = tmp_path / "log.txt"
    assert launch("train/accelerate_configs/ddp_cpu.yaml", "train/sft.py", *two, log=log) == [0, 0], log.read_text()
    losses = [[entry["loss"] for entry in history(tmp_path / name) if "loss" in entry] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    expected, found = (load_file(folder / "model.safetensors") for folder in (one, tmp_path / "two"))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6)


def test_each_variant_goes_on_from_its_own_checkpoints(dataset, tiny_checkpoint, tmp_path):
    """CLUE-T can be trained further as it is; a Thinker has no head, and none is made up in silence."""
    first = train(dataset, tiny_checkpoint, tmp_path / "first")
    second = train(dataset, first, tmp_path / "second")
    names = load_file(second / "model.safetensors").keys()
    assert names == load_file(first / "model.safetensors").keys()
    with pytest.raises(ValueError, match="qwen2_5_omni_thinker checkpoint without a confidence head"):
        train(dataset, first, tmp_path / "third", "--variant", "distribution")


@pytest.mark.parametrize("option", [("--target", "mse"), ("--sigma", "0.1")])
def test_settings_of_distributions_are_refused(option):
    """They would say something of a loss that is not there."""
    with pytest.raises(ValueError, match="target and sigma are for variant=distribution"):
        main(["--variant", "text", "--dataset", "umui", "--dataset-configs", "a", "--output_dir", "out", *option])
