"""Training with the outputs of frozen towers from a cache: the same losses, without the work."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as upstream

from modeling_clue import CLUEForConfidenceEstimation, CLUEProcessor
from modeling_clue.assembly import TowerSize, assemble
from modeling_clue.checkpoint_parts import save_whole
from tests.reading import history
from tests.tiny_sources import write_language_model, write_whisper
from tests.train.conftest import CONFIGS, TRAIN_PREMISES, VALIDATION_PREMISES
from tests.train.test_processes import train_on_two
from tests.train.test_sft import changed, train
from train import towers
from train.arguments import CLUETrainingArguments
from train.callbacks import EpochCallback
from train.collator import PremiseCollator
from train.premises import PremiseDataset
from train.sft import main
from train.tower_cache import TowerCache
from train.trainer import CLUETrainer


EPOCHS = 2
# Where the rate is 1e-3: of a clip in other company a tower gives another last bit, and Adam brings out the sign of a
# gradient near zero. Seen were 4e-5, and mostly 0.
WEIGHT_TOLERANCE = 3e-4
CLIPS = sum(count for modality, count in TRAIN_PREMISES.items() if modality != "text")
FROZEN = ("--freeze_towers", "true", "--per_device_train_batch_size", "3", "--learning_rate", "1e-3")
ALL = ("--dataset-configs", *CONFIGS, "--max_steps", "-1", "--num_train_epochs", str(EPOCHS))
LORA = ("--use_peft", "--lora_r", "4", "--lora_dropout", "0.2", "--per_device_train_batch_size", "2")
PROJECTIONS = ("--train_projections", "true")
PARTS = {"audio_tower.proj", "visual.merger"}
VARIANTS = {
    "lora": LORA,
    "workers": (
        *(*FROZEN, "--dataloader_num_workers", "2"),
        *("--gradient_accumulation_steps", "2", "--max_hypotheses_per_premise", "2"),
    ),
    "autocast": (*FROZEN, "--bf16", "true"),
    "bfloat16": (*FROZEN, "--dtype", "bfloat16"),
    "mixed": (*FROZEN, "--modality_batching", "mixed"),
    "evaluated": (*FROZEN, "--eval_strategy", "epoch"),
    "projections": (*FROZEN, *PROJECTIONS),
    "projections-lora": (*LORA, *PROJECTIONS, "--dtype", "bfloat16", "--bf16", "true"),
}


def losses(output: Path) -> list[tuple[int, str, float]]:
    """Every loss, error and gradient norm of a run, with its step."""
    return [
        (entry["step"], name, value)
        for entry in history(output)
        for name, value in entry.items()
        if any(word in name for word in ("loss", "mse", "mae", "grad_norm"))
    ]


def assert_same_run(output: Path, expected: Path) -> None:
    """Losses to 1e-5, at every step, and final weights."""
    found, wanted = losses(output), losses(expected)
    assert [entry[:2] for entry in found] == [entry[:2] for entry in wanted] and len(wanted) > 3 * EPOCHS
    assert [entry[2] for entry in found] == pytest.approx([entry[2] for entry in wanted], rel=1e-5, abs=1e-5)
    weights, others = (load_file(folder / "model.safetensors") for folder in (output, expected))
    assert weights.keys() == others.keys()
    for name, other in others.items():
        torch.testing.assert_close(weights[name], other, rtol=0, atol=WEIGHT_TOLERANCE)


def entries(cache: Path) -> list[Path]:
    """Files of the entries of a cache."""
    return sorted(cache.glob("??/*.safetensors"))


@pytest.fixture
def work(monkeypatch) -> list[Counter]:
    """What this process did in each epoch: clips decoded, calls of each tower."""
    epochs: list[Counter] = []

    def counted(owner, method, name, counts=lambda *arguments: True):
        original = getattr(owner, method)

        def call(self, *arguments, **options):
            if counts(*arguments):
                epochs[-1][name] += 1
            return original(self, *arguments, **options)

        monkeypatch.setattr(owner, method, call)

    def begin(self, *arguments, **options):
        epochs.append(Counter())
        return on_epoch_begin(self, *arguments, **options)

    on_epoch_begin = EpochCallback.on_epoch_begin
    monkeypatch.setattr(EpochCallback, "on_epoch_begin", begin)
    counted(CLUEProcessor, "encode_premise", "clips", lambda premise: premise["modality"] != "text")
    counted(upstream.Qwen2_5OmniAudioEncoder, "forward", "audio tower")
    counted(upstream.Qwen2_5OmniVisionEncoder, "forward", "vision tower")
    return epochs


@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_are_the_same_and_later_epochs_do_without_towers(dataset, tiny_checkpoint, tmp_path, work, variant):
    """Two epochs on all modalities have the losses, and end with the weights, that they have without a cache; clips
    are decoded, and towers run, in the first epoch alone."""
    options, cache = (*ALL, *VARIANTS[variant]), tmp_path / "cache"
    without = train(dataset, tiny_checkpoint, tmp_path / "without", *options)
    cached = train(dataset, tiny_checkpoint, tmp_path / "cached", *options, "--tower_cache", str(cache))
    assert_same_run(cached, without)
    usual, found = work[:EPOCHS], work[EPOCHS:]
    clips = CLIPS + (3 * VALIDATION_PREMISES if variant == "evaluated" else 0)
    decoded = 0 if variant == "workers" else clips  # workers decode elsewhere
    for epoch in usual:
        assert epoch["clips"] == decoded and epoch["audio tower"] and epoch["vision tower"]
    assert found == [usual[0], Counter()]
    assert len(entries(cache)) == clips


def test_a_later_run_begins_with_what_an_earlier_one_stored(dataset, tiny_checkpoint, tmp_path, work):
    """Not a clip is decoded in it; of a cache that was damaged in between, only the batch that is."""
    options = (*ALL, *FROZEN, "--tower_cache", str(tmp_path / "cache"))
    first = train(dataset, tiny_checkpoint, tmp_path / "first", *options)
    second = train(dataset, tiny_checkpoint, tmp_path / "second", *options)
    entries(tmp_path / "cache")[0].write_bytes(b"torn")
    third = train(dataset, tiny_checkpoint, tmp_path / "third", *options)
    assert work[EPOCHS : 2 * EPOCHS] == [Counter()] * EPOCHS
    assert [0 < epoch["clips"] <= 3 for epoch in work[2 * EPOCHS :]] == [True, False]
    assert_same_run(second, first)
    assert_same_run(third, first)


@pytest.mark.parametrize("variant", ["projections", "projections-lora"])
def test_a_run_with_projections_goes_on_exactly(dataset, tiny_checkpoint, tmp_path, variant):
    """Begun anew from the checkpoint in its middle, it ends with the weights of a run left alone."""
    saving = ("--save_strategy", "steps", "--save_steps", "2", "--tower_cache", str(tmp_path / "cache"))
    options = ("--dataset-configs", "urn-audiovisual", *VARIANTS[variant], *saving)
    whole = train(dataset, tiny_checkpoint, tmp_path / "whole", *options, steps=4)
    cut = tmp_path / "cut"
    shutil.copytree(whole / "checkpoint-2", cut / "checkpoint-2")
    train(dataset, tiny_checkpoint, cut, *options, "--resume_from_checkpoint", "true", steps=4)
    assert PARTS <= {".".join(name.split(".")[:2]) for name in changed(cut, tiny_checkpoint)}
    assert not changed(cut, whole)


@pytest.mark.parametrize("variant", [FROZEN, LORA])
def test_projections_have_a_rate_of_their_own(dataset, tiny_checkpoint, tmp_path, variant):
    """Adam's first step moves a weight by the rate: projections by theirs, the confidence head by that of the rest."""
    rates = ("--learning_rate", "1e-3", "--projection_learning_rate", "1e-5", "--weight_decay", "0")
    options = (
        "--dataset-configs",
        "urn-audiovisual",
        *variant,
        *PROJECTIONS,
        *rates,
        "--lr_scheduler_type",
        "constant",
    )
    out = train(dataset, tiny_checkpoint, tmp_path / "out", *options, "--warmup_steps", "0", steps=1)
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_checkpoint, out))
    for name, rate in [
        ("audio_tower.proj.weight", 1e-5),
        ("visual.merger.mlp.2.weight", 1e-5),
        ("confidence_head.weight", 1e-3),
    ]:
        assert (after[name] - before[name]).abs().max().item() == pytest.approx(rate, rel=0.02)


def test_a_cache_that_is_too_small_changes_no_loss(dataset, tiny_checkpoint, tmp_path, work):
    """It stays under its limit; batches that are not whole in it go through the towers every epoch."""
    options, cache = (*ALL, *FROZEN, "--per_device_train_batch_size", "1"), tmp_path / "cache"
    without = train(dataset, tiny_checkpoint, tmp_path / "without", *options)
    limited = ("--tower_cache", str(cache), "--tower_cache_gb", "5e-5")
    cached = train(dataset, tiny_checkpoint, tmp_path / "cached", *options, *limited)
    assert_same_run(cached, without)
    assert 0 < sum(path.stat().st_size for path in entries(cache)) <= 50_000
    assert 0 < len(entries(cache)) < CLIPS
    assert [epoch["clips"] for epoch in work[EPOCHS:]] == [CLIPS] + [CLIPS - len(entries(cache))]


def test_a_clip_of_two_configs_is_stored_once(dataset, tiny_checkpoint, tmp_path):
    """An entry belongs to the clip, whatever rows speak of it."""
    configs = ("--dataset-configs", "urn-audio", "urn-audio", "--max_steps", "-1", "--num_train_epochs", "1")
    cache = tmp_path / "cache"
    train(dataset, tiny_checkpoint, tmp_path / "out", *configs, *FROZEN, "--tower_cache", str(cache))
    assert len(entries(cache)) == TRAIN_PREMISES["audio"]


def test_a_prompt_with_the_hypothesis_first(dataset, tiny_checkpoint, tmp_path, work):
    """A premise that stands in several rows is stored once, with the outputs of one of them."""
    processor = CLUEProcessor.from_pretrained(tiny_checkpoint)
    prompt = {"premise": "{hypothesis}\n{premise}\n", "hypothesis": "Answer:"}
    parts = (processor.feature_extractor, processor.video_processor, processor.tokenizer)
    processor = CLUEProcessor(*parts, prompt=prompt, media=processor.media)
    model = CLUEForConfidenceEstimation.from_pretrained(tiny_checkpoint)
    checkpoint = save_whole(model, processor, tmp_path / "checkpoint")
    options, cache = (*ALL, *FROZEN), tmp_path / "cache"
    without = train(dataset, checkpoint, tmp_path / "without", *options)
    cached = train(dataset, checkpoint, tmp_path / "cached", *options, "--tower_cache", str(cache))
    assert_same_run(cached, without)
    assert work[EPOCHS:] == [work[0], Counter()]
    assert len(entries(cache)) == CLIPS


def test_both_variants_share_a_cache(dataset, tiny_checkpoint, tmp_path, work):
    """CLUE-T takes what CLUE with confidence tokens has stored, as the towers are the same; its losses stay."""
    recipe, cache = tmp_path / "recipe.yaml", ("--tower_cache", str(tmp_path / "cache"))
    recipe.write_text("use_cpu: true\nreport_to: none\nlogging_steps: 1\ndisable_tqdm: true\nvariant: text\n")
    train(dataset, tiny_checkpoint, tmp_path / "distribution", *ALL, *FROZEN, *cache)
    for name, options in (("without", ()), ("cached", cache)):
        output = ("--output_dir", str(tmp_path / name), "--model_name_or_path", str(tiny_checkpoint))
        main(["--config", str(recipe), "--dataset", str(dataset), *output, *ALL, *FROZEN, *options])
    assert_same_run(tmp_path / "cached", tmp_path / "without")
    assert work[-EPOCHS:] == [Counter()] * EPOCHS


@pytest.mark.processes
def test_two_ranks_share_a_cache(dataset, tiny_checkpoint, tmp_path):
    """Two processes have the losses that they have without, and one folder of entries."""
    frozen = ("--freeze_towers", "true", *PROJECTIONS, "--logging_steps", "1")
    cache = ("--tower_cache", str(tmp_path / "cache"))
    for name, options in (("without", frozen), ("cached", (*frozen, *cache))):
        output = tmp_path / name
        assert train_on_two(output, dataset, tiny_checkpoint, *options) == [0, 0], (output / "log.txt").read_text()
    assert_same_run(tmp_path / "cached", tmp_path / "without")
    assert len(entries(tmp_path / "cache")) == CLIPS + 3 * VALIDATION_PREMISES


def opened(dataset, checkpoint, folder: Path, frozen: bool = True, media: dict | None = None, **options) -> TowerCache:
    """The cache of a run that starts from the checkpoint."""
    model = CLUEForConfidenceEstimation.from_pretrained(checkpoint)
    model.model.audio_tower.requires_grad_(not frozen)
    model.model.visual.requires_grad_(not frozen)
    processor = CLUEProcessor.from_pretrained(checkpoint)
    processor.media |= media or {}
    trainer = CLUETrainer(
        model=model,
        args=CLUETrainingArguments(output_dir=str(folder / "out"), use_cpu=True, report_to="none", **options),
        train_dataset=PremiseDataset.load(str(dataset), ["urn-audio"], "train", processor),
        data_collator=PremiseCollator(processor),
        processing_class=processor,
    )
    return towers.open_tower_cache(trainer, str(folder / "cache"), 1.0)


def edited(checkpoint: Path, copy: Path, file: str, change) -> Path:
    """A copy of the checkpoint with one of its JSON files changed."""
    copy.mkdir()
    for path in checkpoint.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    content = json.loads((copy / file).read_text())
    change(content)
    (copy / file).write_text(json.dumps(content))
    return copy


def test_whatever_the_outputs_depend_on_is_in_the_key(dataset, tiny_checkpoint, tmp_path):
    """Other weights of a tower, another precision, frame rate, frame size or length of sound: another fingerprint.
    Weights and a prompt that the towers never see, projections among them: the same."""
    own = opened(dataset, tiny_checkpoint, tmp_path).fingerprint
    assert own == opened(dataset, tiny_checkpoint, tmp_path).fingerprint

    def scaled(name: str, copy: str) -> Path:
        folder = edited(tiny_checkpoint, tmp_path / copy, "config.json", lambda content: None)
        weights = load_file(folder / "model.safetensors")
        weights[name] = weights[name] * (1 + 2**-7)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return folder

    def processor_with(copy: str, change) -> Path:
        return edited(tiny_checkpoint, tmp_path / copy, "processor_config.json", change)

    same = [
        opened(dataset, scaled("model.layers.0.self_attn.q_proj.weight", "language"), tmp_path),
        opened(dataset, scaled("audio_tower.proj.weight", "sound"), tmp_path),
        opened(dataset, scaled("visual.merger.mlp.0.weight", "frames"), tmp_path),
        opened(dataset, processor_with("prompt", lambda c: c["prompt"].update(premise="About {premise}\n")), tmp_path),
    ]
    assert {cache.fingerprint for cache in same} == {own}
    size = {"shortest_edge": 3136, "longest_edge": 3136}
    others = [
        opened(dataset, scaled("audio_tower.ln_post.weight", "audio"), tmp_path),
        opened(dataset, scaled("visual.blocks.0.norm1.weight", "visual"), tmp_path),
        opened(dataset, processor_with("size", lambda c: c["video_processor"].update(size=size)), tmp_path),
        opened(dataset, processor_with("hop", lambda c: c["feature_extractor"].update(hop_length=80)), tmp_path),
        opened(dataset, tiny_checkpoint, tmp_path, media={"fps": 5.0}),
        opened(dataset, tiny_checkpoint, tmp_path, media={"max_audio_seconds": 1.0}),
        opened(dataset, tiny_checkpoint, tmp_path, bf16=True),
    ]
    assert len({own, *(cache.fingerprint for cache in others)}) == 1 + len(others)


def test_digest_of_weights_tells_dtypes_and_shapes_apart():
    """The same bytes under another dtype, shape or name are other weights."""
    weights = [torch.zeros(2, 4), torch.zeros(4, 2), torch.zeros(2, 4, dtype=torch.bfloat16)]
    digests = {towers.weights_digest({"tower": weight}) for weight in weights}
    assert len(digests | {towers.weights_digest({"a": weights[0]})}) == 4


def test_towers_that_change_are_refused(dataset, tiny_checkpoint, tmp_path):
    """Trained ones, and those that give something else every time."""
    with pytest.raises(ValueError, match="audio_tower is trained: add `--freeze-towers true`"):
        opened(dataset, tiny_checkpoint, tmp_path, frozen=False)
    dropout = edited(
        tiny_checkpoint, tmp_path / "copy", "config.json", lambda c: c["audio_config"].update(dropout=0.1)
    )
    with pytest.raises(ValueError, match="set the dropouts"):
        opened(dataset, dropout, tmp_path)


def test_sharded_towers_are_refused(dataset, tiny_checkpoint, tmp_path, monkeypatch):
    """Under ZeRO-3, ranks that pass the towers by would let the others wait for ever."""
    monkeypatch.setattr(towers, "is_deepspeed_zero3_enabled", lambda: True)
    with pytest.raises(ValueError, match="Use DDP or ZeRO-2"):
        opened(dataset, tiny_checkpoint, tmp_path)


def test_one_cache_is_enough(dataset, tiny_checkpoint, tmp_path):
    """Premises kept in memory would never be looked for on disk; a cache of nothing is no cache."""
    with pytest.raises(ValueError, match="tower_cache and cache_premises"):
        train(dataset, tiny_checkpoint, tmp_path, "--tower_cache", str(tmp_path), "--cache_premises", "true")
    with pytest.raises(ValueError, match="tower_cache_gb must be positive"):
        train(dataset, tiny_checkpoint, tmp_path, "--tower_cache", str(tmp_path), "--tower_cache_gb", "0")


def test_an_assembled_checkpoint_trains_like_any_other(dataset, tmp_path, work):
    """With adapters on the language model of a Llama, projections that are new, and a Whisper's outputs from the
    cache."""
    sources = write_language_model(tmp_path / "llama"), write_whisper(tmp_path / "whisper")
    start = assemble(sources[0], tmp_path / "start", audio_tower=sources[1], vision_tower=TowerSize(1, 64))
    options = (*ALL, *VARIANTS["lora"], *PROJECTIONS)
    without = train(dataset, start, tmp_path / "without", *options)
    cached = train(dataset, start, tmp_path / "cached", *options, "--tower_cache", str(tmp_path / "cache"))
    assert_same_run(cached, without)
    assert work[EPOCHS + 1] == Counter() and len(entries(tmp_path / "cache")) == CLIPS
