"""Every recipe trains the tiny model for two steps, and differs from the one it goes back to in what it says."""

import json
import math
import re
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoConfig

from chat.messages import question
from datasets_scripts.build import main as build
from datasets_scripts.building.split import split_by_chance
from datasets_scripts.load import load_split
from datasets_scripts.sources.urn_media import write_video
from datasets_scripts.teacher import main as teacher
from modeling_clue.confidence import gaussian_target
from tests.conftest import TEXTS
from tests.datasets_scripts.sources.test_clotho import write_clip, write_csv
from tests.datasets_scripts.sources.test_esc10 import write_clips as write_sounds
from tests.datasets_scripts.sources.test_grid import names as sentences
from tests.datasets_scripts.sources.test_nli import GRADES, PAIRS
from tests.datasets_scripts.sources.test_speech_commands import write_clips as write_words
from tests.datasets_scripts.sources.test_wikivideo import topic
from train.sft import main
from train.tiny import build_tiny


pytestmark = pytest.mark.long

FOLDER = Path(__file__).resolve().parents[2] / "train" / "recipes"
RECIPES = [str(file.relative_to(FOLDER)) for file in sorted(FOLDER.rglob("*.yaml"))]
LARGE = [name for name in RECIPES if name.startswith("3b/")]
BASE = "3b/clue_d.yaml"
SENSES = ("video", "audio", "audiovisual")
RATIOS = ("1:0.5", "1:1", "1:2", "1:3", "full")

PICTURES, SOUND = (True, False, False), (False, True, False)
CLAIMS = {
    "Balls are red": {"one": PICTURES, "two": PICTURES},
    "It beeps": {"one": SOUND, "two": SOUND},
    **{f"Claim {number} holds": {} for number in range(8)},
}


def text(name: str) -> str:
    """The file of a recipe."""
    return (FOLDER / name).read_text()


def head(name: str) -> str:
    """The comment that a recipe begins with, as one line."""
    lines = takewhile(lambda line: line.startswith("#"), text(name).splitlines())
    return " ".join(line.lstrip("# ") for line in lines)


@pytest.fixture(scope="module")
def umui(tmp_path_factory) -> Path:
    """The dataset that the recipes name, in small, by the commands of the recipes' README; a teacher's answers are
    made up."""
    raw = tmp_path_factory.mktemp("raw")
    out = tmp_path_factory.mktemp("data") / "umui"
    urns = ["urn", "--output-dir", str(out), *"--train 2 --text-train 2 --validation 1 --test 1 --workers 1".split()]
    build(urns)
    build([*urns, "--suffix", "long"])

    for number, file in enumerate(("train.csv", "dev.csv", "test.csv")):
        pairs = [f"{number}{k},Premise {k // 2} of {file}.,It is {k}.,1,0.{k}" for k in range(4)]
        (raw / file).write_text("\n".join(["id,pre,hyp,nli,unli", *pairs]))
    build(["unli", "--raw", str(raw), "--output-dir", str(out)])

    rows = [
        f"Premise {k}.,It is {k}.,0.{k},{split}" for k, split in enumerate(("train", "train", "validation", "test"))
    ]
    (raw / "pairs.csv").write_text("\n".join(["premise,hypothesis,probability,split", *rows]))
    columns = [
        word for name in ("premise", "hypothesis", "probability", "split") for word in (f"--{name}-column", name)
    ]
    build(["own", "--dataset-config", "mine", "--table", str(raw / "pairs.csv"), *columns, "--output-dir", str(out)])
    for name, table in (("snli_dev", PAIRS), ("mnli_dev_matched", PAIRS), ("joci", GRADES)):
        (raw / f"{name}.csv").write_text(table)
    build(["nli", "--raw", str(raw), "--output-dir", str(out), "--on-error", "skip"])
    for source, clips in (("esc10", write_sounds(raw / "sounds")), ("speech-commands", write_words(raw / "words"))):
        build([source, "--clips", str(clips), "--output-dir", str(out), "--workers", "1"])
    (raw / "grid").mkdir()
    spoken = {split_by_chance(name, 0): name for name in sentences(200)}  # one for each split
    for seed, name in enumerate(spoken.values()):
        write_video(raw / "grid" / f"{name}.mp4", ["red"] * 3, ["high"] * 3, np.random.default_rng(seed))
    build(["grid", "--clips", str(raw / "grid"), "--output-dir", str(out), "--workers", "1"])

    for seed, part in enumerate(("development", "validation", "evaluation")):
        write_csv(raw / "cle", part, [(f"{part}.wav", f"['A {part} rings.']")])
        write_clip(raw / "clips" / part / f"{part}.wav", seed)
    build(
        [
            *("clotho", "--raw", str(raw / "cle"), "--clips", str(raw / "clips")),
            *("--output-dir", str(out), "--workers", "1"),
        ]
    )

    (raw / "videos").mkdir()
    for name, colour in {"one": "red", "two": "blue", "three": "green"}.items():
        write_video(raw / "videos" / f"{name}.mp4", [colour] * 3, ["high", "low", "high"], np.random.default_rng(0))
    labels = {"Tea": topic(CLAIMS), "Notre-Dame fire": topic({"A roof burns": {"three": PICTURES}})}
    (raw / "labels.json").write_text(json.dumps(labels))
    places = ("--labels", str(raw / "labels.json"), "--videos", str(raw / "videos"))
    build(["wikivideo", *places, "--output-dir", str(out), "--workers", "1"])

    configs = [f"wikivideo-{sense}" for sense in SENSES]
    for config in ("clotho", *configs):
        answers = [{"text": "", "probability": p, "reason": None} for p in (0.9, 0.2, 0.4, 0.3, 0.7)]
        pairs = {question(row): {"id": row["id"]} for row in load_split(str(out), config, "train")}
        lines = [
            json.dumps(pair | {"config": config, "split": "train", "question": asked, "answers": answers})
            for asked, pair in pairs.items()
        ]
        (raw / f"{config}.jsonl").write_text("\n".join(lines) + "\n")

    def label(config: str, *options: str) -> None:
        places = ("--dataset", str(out), "--dataset-config", config, "--answers", str(raw / f"{config}.jsonl"))
        teacher(["label", *places, *options])

    label("clotho")
    for config in configs:
        for ratio in RATIOS:
            label(config, "--ratio", ratio, "--to", f"{config}-{ratio.replace(':', 'to')}")
    return out


@pytest.fixture(scope="module")
def checkpoints(tiny_checkpoint, tmp_path_factory) -> dict[int, Path]:
    """A tiny checkpoint for each number of bins."""
    folder = tmp_path_factory.mktemp("bins")
    others = {n: build_tiny(TEXTS, folder / str(n), vocab_size=600, num_bins=n) for n in (20, 200)}
    return {100: tiny_checkpoint} | others


@pytest.mark.parametrize("name", RECIPES)
def test_two_steps_on_the_tiny_model(name, umui, checkpoints, tmp_path, monkeypatch):
    """With the three options of the recipes' README and nothing else, each recipe trains, evaluates where it does, and
    leaves a checkpoint that loads, with the recipe's target."""
    monkeypatch.chdir(tmp_path)
    # trackio keeps to the folder that it first wrote to; the variable is set by the run otherwise, and would stay.
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for folder in ("umui", "runs/urn_tiny/umui", "runs/urn_prefixes/umui"):
        Path(folder).parent.mkdir(parents=True, exist_ok=True)
        Path(folder).symlink_to(umui)
    bins = re.search(r"--num-bins (\d+)", text(name))
    checkpoint = checkpoints[int(bins[1]) if bins else 100]
    options = ("--use_cpu", "true", "--max_steps", "2")
    main(["--config", str(FOLDER / name), "--model_name_or_path", str(checkpoint), *options])

    recipe = yaml.safe_load(text(name))
    output = Path(recipe["output_dir"])
    state = json.loads((output / "trainer_state.json").read_text())
    assert state["global_step"] == 2
    assert math.isfinite(state["log_history"][-1]["train_loss"])
    evaluated = any("eval_loss" in entry for entry in state["log_history"])
    assert evaluated == (recipe["eval_strategy"] != "no")
    config = AutoConfig.from_pretrained(output, trust_remote_code=True)
    if recipe.get("variant") != "text":
        assert (config.target, config.num_bins) == (recipe["target"], int(bins[1]) if bins else 100)
        assert config.sigma == recipe.get("sigma", 0.05)


@pytest.mark.parametrize("name", [name for name in LARGE if name != BASE])
def test_a_recipe_differs_in_what_it_says(name):
    """No recipe drifts away from the one it is compared with: the keys that its head names, and its output folder."""
    named = re.search(r"As clue_d\.yaml, which tells the rest, but for: ([\w, ]+)\.", head(name))[1]
    recipe, base = yaml.safe_load(text(name)), yaml.safe_load(text(BASE))
    differing = {key for key in recipe | base if recipe.get(key) != base.get(key)}
    assert differing == set(named.split(", ")) | {"output_dir"}


def test_figure_5_compares_nothing_else():
    """The runs side by side have the same settings but for how the modalities are batched, at both scales."""
    for first, second in [("urn_batched", "urn_mixed"), ("3b/figure5_batched", "3b/figure5_mixed")]:
        batched, mixed = (yaml.safe_load(text(f"{name}.yaml")) for name in (first, second))
        differing = {key for key in batched | mixed if batched.get(key) != mixed.get(key)}
        assert differing == {"modality_batching", "output_dir"}


@pytest.mark.parametrize(
    ("name", "base", "keys"),
    [
        ("unli_cpu_text", "unli_cpu", {"variant", "target"}),
        ("unli_after_captions", "unli_small", {"model_name_or_path", "num_train_epochs"}),
    ],
)
def test_rows_of_the_unli_table_differ_in_what_they_say(name, base, keys):
    """What evaluation/unli.md sets side by side differs in nothing that its names do not tell."""
    recipe, other = (yaml.safe_load(text(f"{one}.yaml")) for one in (name, base))
    differing = {key for key in recipe | other if recipe.get(key) != other.get(key)}
    assert differing == keys | {"output_dir"}


def test_a_step_has_as_many_premises_in_all_large_recipes():
    """Premises of a process times accumulated batches: the rows of a table differ in what they are about."""
    recipes = [yaml.safe_load(text(name)) for name in LARGE]
    assert {r["per_device_train_batch_size"] * r["gradient_accumulation_steps"] for r in recipes} == {4}


def test_the_base_has_the_papers_settings():
    """Table 6, sections 3.2 and 3.3, appendix D; what is not the paper's stands in the recipe's head."""
    base = yaml.safe_load(text(BASE))
    assert (base["num_train_epochs"], base["learning_rate"], base["gradient_accumulation_steps"]) == (15, 1e-4, 4)
    assert (base["use_peft"], base["lora_r"], base["lora_alpha"], base["lora_dropout"]) == (True, 16, 32, 0.1)
    assert (base["sigma"], base["modality_batching"], base["bf16"]) == (0.05, "batched", True)
    assert yaml.safe_load(text("3b/clue_d_gaussian.yaml"))["target"] == "gaussian"


def test_the_arithmetic_of_the_base_holds():
    """Steps, shares and the mean of the paper's target, as its head has them."""
    unli, clotho, epochs = 55_517, 3_839, 15
    pairs = unli + 3 * clotho
    assert f"{pairs:,}" in head(BASE)
    paper = epochs * pairs / 16
    assert f"{paper:,.0f} / b" in head(BASE) and 0.0795 < 5_000 / paper < 0.08
    few, many = (math.ceil(unli / each / 16) for each in (7, 3040 / 2647))
    clips = math.ceil(clotho / 16)
    assert f"{clips} of Clotho and {few} (7 pairs a premise) to {many:,} (1.15)" in head(BASE)
    assert f"{epochs * (few + clips):,} to {epochs * (many + clips):,}" in head(BASE)
    largest, smallest = (round(5_000 / epochs / (steps + clips) * 100) for steps in (few, many))
    assert f"would be {largest} % to {smallest} %" in head(BASE)
    mean = (gaussian_target(torch.tensor([0.0]), 100, 0.05) * torch.linspace(0, 1, 100)).sum()
    assert f"mean is {mean:.3f} for a probability of 0" in head(BASE)


def test_the_readme_names_every_recipe():
    """Its tables have one entry for each file, and none for files that there are not."""
    readme = (FOLDER / "README.md").read_text()
    named = {
        word
        for line in readme.splitlines()
        if line.startswith("| `")
        for word in re.findall(r"`([\w.]+)`", line.split("|")[1])
    }
    assert named == {Path(name).stem if not name.startswith("3b/") else name[3:-5] for name in RECIPES}


@pytest.mark.parametrize("name", RECIPES)
def test_the_head_has_the_command(name):
    """A reader finds the command that starts the recipe itself, with an accelerate config that exists."""
    assert f"train/sft.py --config train/recipes/{name}" in text(name)
    config = re.search(r"--config-file (train/accelerate_configs/\w+\.yaml)", text(name))[1]
    assert (FOLDER.parents[1] / config).is_file()
