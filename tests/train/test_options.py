"""Every option there is counts, or is refused with the remedy; a recipe is read as the command line is."""

from dataclasses import fields

import pytest
import trl
import yaml
from transformers import TrainingArguments
from transformers.training_args import OptimizerNames

from train.arguments import CLUETrainingArguments, DataArguments, ModelArguments
from train.options import GROUPS, parse_options
from train.without_effect import DEPENDENT, UNUSED, default


# What a training looks at: in our own code, in transformers' Trainer below it, or in what makes LoRA and the model.
EFFECTIVE = {
    "the data and the loss": {
        *("dataset", "dataset_configs", "variant", "train_split", "teacher_answers", "max_train_premises"),
        *("config_weights", "prefix_share"),
        *("max_hypotheses_per_premise", "modality_batching", "cache_premises", "tower_cache", "tower_cache_gb"),
        *("target", "sigma", "freeze_towers", "train_projections"),
    },
    "the model": {
        *("model_name_or_path", "model_revision", "dtype", "attn_implementation", "use_peft", "lora_r", "lora_alpha"),
        *("lora_dropout", "lora_target_modules", "lora_target_parameters", "lora_modules_to_save", "use_rslora"),
        "use_dora",
    },
    "steps": {
        *("per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps"),
        *(
            "learning_rate",
            "projection_learning_rate",
            "lr_scheduler_type",
            "lr_scheduler_kwargs",
            "warmup_steps",
            "decay_ratio",
            "optim",
        ),
        *("optim_args", "optim_target_modules", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"),
        *("max_grad_norm", "average_tokens_across_devices", "neftune_noise_alpha", "seed", "data_seed"),
        *("full_determinism", "ignore_data_skip", "resume_from_checkpoint"),
    },
    "how they are computed": {
        *("bf16", "fp16", "tf32", "activation_checkpointing", "activation_checkpointing_kwargs"),
        *("gradient_checkpointing", "gradient_checkpointing_kwargs", "torch_compile", "torch_compile_backend"),
        *("torch_compile_mode", "torch_empty_cache_steps", "use_cpu", "accelerator_config", "debug"),
        *("dataloader_num_workers", "dataloader_pin_memory", "dataloader_prefetch_factor"),
        *("dataloader_multiprocessing_context", "ddp_find_unused_parameters", "ddp_bucket_cap_mb"),
        *("ddp_broadcast_buffers", "ddp_static_graph", "ddp_backend", "ddp_timeout", "fsdp", "fsdp_config"),
        "deepspeed",
    },
    "what is told": {
        *("output_dir", "logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node"),
        *("logging_nan_inf_filter", "include_num_input_tokens_seen", "log_level", "log_level_replica"),
        *("disable_tqdm", "report_to", "run_name", "project", "trackio_space_id", "trackio_bucket_id"),
        *("trackio_static_space_id", "skip_memory_metrics"),
    },
    "evaluation": {
        *("eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "per_device_eval_batch_size"),
        *("eval_accumulation_steps", "eval_split", "eval_configs", "max_eval_premises", "do_eval"),
        *("load_best_model_at_end", "metric_for_best_model"),
    },
    "what is saved and sent": {
        *("save_strategy", "save_steps", "save_total_limit", "save_only_model", "push_to_hub", "hub_token"),
        *("hub_private_repo", "hub_model_id", "hub_strategy", "hub_always_push", "hub_revision"),
    },
}
NO_WORDS = {("parallelism_config", "line"), ("parallelism_config", "recipe"), ("liger_kernel_config", "line")}
FIELDS = {field.name: (group, field) for group in GROUPS for field in fields(group)}
NEEDED = {"dataset": "umui", "dataset_configs": ["urn-text"], "model_name_or_path": "init", "output_dir": "out"}
# Values that a training could have, by option or by the type of the default.
OTHERS = {
    "adam_epsilon": 1e-6,
    "bnb_4bit_quant_storage": "uint8",
    "bnb_4bit_quant_type": "fp4",
    "dataloader_multiprocessing_context": "spawn",
    "eval_configs": ["urn-audio"],
    "fsdp_config": {"min_num_params": 1},
    "hub_strategy": "end",
    "include_for_metrics": ["loss"],
    "label_names": ["labels"],
    "liger_kernel_config": {"rope": True},
    "lora_modules_to_save": ["confidence_head"],
    "lora_target_modules": ["q_proj", "v_proj"],
    "lora_target_parameters": ["weight"],
    "lr_scheduler_kwargs": {"num_cycles": 2},
    "metric_for_best_model": "mse",
    "sigma": 0.1,
    "projection_learning_rate": 1e-5,
    "eval_steps": 10,
    "eval_delay": 2,
    "max_eval_premises": 3,
    "parallelism_config": object(),
    "train_sampling_strategy": "group_by_length",
}
# Values of options that switch others off, where the default does not.
OFF = {
    "freeze_towers": False,
    "lr_scheduler_type": "constant",
    "max_steps": 10,
    "optim": "sgd",
    "target": "mse",
    "model_name_or_path": "tests",
    "save_strategy": "no",
}


def other(name: str) -> object:
    """A value of an option that is not its default."""
    usual = default(FIELDS[name][1])
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(usual, bool) or usual is None:
        return not usual
    return usual + "x" if isinstance(usual, str) else usual + 0.5 if isinstance(usual, float) else usual + 7


def parse(tmp_path, line: dict, recipe: dict | None = None) -> tuple:
    """The options of a command line, and of a recipe where one is given."""
    words = [] if recipe is None else ["--config", str(tmp_path / "recipe.yaml")]
    if recipe is not None:
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for name, value in line.items():
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return parse_options(words)


def test_every_option_counts_or_is_refused():
    """Of all options, those of the installed transformers and trl included, it is known which it is. One that is new
    there is to be looked up in the Trainer: does it count with our batches, loss and evaluation?"""
    known = [name for names in EFFECTIVE.values() for name in names]
    assert len(known) == len(set(known))
    assert set(known).isdisjoint(UNUSED)
    assert {*known, *UNUSED} == FIELDS.keys()
    theirs = {field.name for group in (TrainingArguments, trl.ModelConfig) for field in fields(group)}
    assert theirs < FIELDS.keys()
    assert {name for beside in DEPENDENT for name in (*beside.names, beside.master)} <= set(known)


@pytest.mark.parametrize("how", ["line", "recipe", "python"])
@pytest.mark.parametrize("name", UNUSED)
def test_what_is_never_looked_at_is_refused(name, how, tmp_path):
    """By its name, with what to do instead, wherever it is set."""
    if (name, how) in NO_WORDS:
        pytest.skip("no value of it can be written there")
    with pytest.raises(ValueError, match=f"^Leave {name} out, it has no effect here: ....*"):
        if how == "python":
            needed = {"output_dir": "out"} if FIELDS[name][0] is CLUETrainingArguments else {}
            FIELDS[name][0](**needed, **{name: other(name)})
        elif how == "line":
            parse(tmp_path, {**NEEDED, name: other(name)})
        else:
            parse(tmp_path, {}, {**NEEDED, name: other(name)})


@pytest.mark.parametrize(
    ("name", "beside"), [pytest.param(name, one, id=f"{name}-{one.master}") for one in DEPENDENT for name in one.names]
)
def test_what_counts_only_beside_another_is_refused_without_it(name, beside, tmp_path):
    """On the line and in the recipe. Where the line switches off what the recipe has both of, the other goes along."""
    off = default(FIELDS[beside.master][1])
    off = off if beside.idle(off) else OFF[beside.master]
    assert beside.idle(off)
    options = {**NEEDED, beside.master: off, name: other(name)}
    options = {key: value for key, value in options.items() if value is not None}
    line = {key: value for key, value in options.items() if not isinstance(value, dict)}
    message = f"^{name} has no effect (with|but|on|beside|where).* leave {name} out.$"
    if line == options:
        with pytest.raises(ValueError, match=message):
            parse(tmp_path, line)
    with pytest.raises(ValueError, match=message):
        parse(tmp_path, {}, options)
    if off is not None:
        groups = parse(tmp_path, {beside.master: off}, {key: options[key] for key in options if key != beside.master})
        [group] = (group for group in groups if name in vars(group))
        assert getattr(group, name) == default(FIELDS[name][1])


def test_what_is_set_in_python_counts_beside_its_own(tmp_path):
    """The classes refuse the same; a run that has the other option takes both."""
    with pytest.raises(ValueError, match="^lora_r has no effect without LoRA"):
        ModelArguments(lora_r=4)
    assert ModelArguments(lora_r=4, use_peft=True).lora_r == 4
    with pytest.raises(ValueError, match="^load_best_model_at_end has no effect without evaluation"):
        CLUETrainingArguments(output_dir=str(tmp_path), load_best_model_at_end=True, save_strategy="no")
    with pytest.raises(ValueError, match="^sigma has no effect with target=mse"):
        DataArguments(dataset="umui", dataset_configs=["a"], target="mse", sigma=0.1)


@pytest.mark.parametrize("value", [None, False])
def test_of_every_measure_less_is_better(value, tmp_path):
    """However it is left open: transformers would take the greatest of what does not end in loss."""
    best = {"load_best_model_at_end": True, "eval_strategy": "epoch", "save_strategy": "epoch"}
    args = CLUETrainingArguments(
        output_dir=str(tmp_path), metric_for_best_model="mse", greater_is_better=value, **best
    )
    assert args.greater_is_better is False


@pytest.mark.parametrize("optim", ["sgd", "adagrad", "rmsprop", "adafactor"])
def test_adams_options_are_for_adam(optim, tmp_path):
    """transformers leaves them out of these without a word."""
    assert OptimizerNames(optim)
    with pytest.raises(ValueError, match="^adam_beta2 has no effect"):
        parse(tmp_path, {**NEEDED, "optim": optim, "adam_beta2": 0.98})


@pytest.mark.parametrize(
    "value", [{"split_batches": True}, {"dispatch_batches": True}, {"even_batches": False}], ids=str
)
def test_batches_are_dealt_out_by_modality(value, tmp_path):
    """What accelerate would do about it is refused; its other settings are taken."""
    with pytest.raises(ValueError, match=f"^Leave {next(iter(value))} out of accelerator_config"):
        parse(tmp_path, {}, {**NEEDED, "accelerator_config": value})
    kept = parse(tmp_path, {}, {**NEEDED, "accelerator_config": {"non_blocking": True}})[1].accelerator_config
    assert kept.non_blocking and not kept.split_batches


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric_for_best_model": "accuracy", "eval_strategy": "epoch"}, "accuracy is not measured here"),
        ({"metric_for_best_model": "mse", "eval_strategy": "epoch", "variant": "text"}, "choose from loss, loss_text"),
        ({"fp16": True, "use_cpu": True}, "fp16 has no effect on the CPU"),
        ({"gradient_checkpointing_kwargs": {"use_reentrant": True}}, "without `--activation-checkpointing true`"),
        ({"report_to": "nowhere"}, "report_to=nowhere is not installed here"),
        ({"optim": "sgd", "optim_args": "momentum"}, "optim_args must be NAME=VALUE"),
        ({"save_strategy": "best"}, "add `--eval-strategy epoch`"),
        ({"save_strategy": "best", "eval_strategy": "epoch"}, "needs metric_for_best_model, one of loss, mse"),
        ({"optim": "adamw_bnb_8bit"}, "optim=adamw_bnb_8bit: .*bitsandbytes"),
        ({"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"cycles": 2}}, "lr_scheduler_type=cosine: .*cycles"),
    ],
)
def test_what_would_fail_or_do_nothing_later_is_told_at_the_start(options, message, tmp_path):
    """Measures that there are not, what is not installed, arguments that a schedule does not take."""
    with pytest.raises(ValueError, match=message):
        parse(tmp_path, {}, {**NEEDED, **options})


def test_a_recipe_is_read_as_the_line_is(tmp_path):
    """Numbers, lists, flags, dictionaries and empty values; what the line has goes before it."""
    given = {
        **{"learning_rate": "1e-4", "bf16": True, "use_cpu": True, "dataset_configs": ["a", "b"], "sigma": None},
        **{"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycles": 2}, "seed": 3, "freeze_towers": False},
        **{"env": {"CLUE_TEST_RECIPE": 7}, "report_to": ["none"]},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLUE_TEST_RECIPE", "0")
        data, training, model = parse(tmp_path, {"seed": 5}, {**NEEDED, **given})
    assert (training.learning_rate, training.bf16, training.seed) == (1e-4, True, 5)
    assert (data.dataset_configs, data.sigma, data.freeze_towers) == (["a", "b"], None, False)
    assert training.lr_scheduler_kwargs == {"num_cycles": 2} and model.model_name_or_path == "init"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [b", "recipe.yaml' is no YAML: "),
        ("\t", "recipe.yaml' is no YAML: "),
        ("- a\n- b\n", "recipe.yaml' must have lines `option: value`"),
        ("", "recipe.yaml' must have lines `option: value`"),
        ("just words", "recipe.yaml' must have lines `option: value`"),
        ("env: [a]", "under env"),
        ("learning_rat: 1\n", "there is no option learning_rat; do you mean learning_rate?"),
        ("7: 1\n", "there is no option 7"),
    ],
)
def test_a_recipe_that_is_none_is_told(text, message, tmp_path):
    """In a sentence that names the file."""
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="recipe.yaml") as error:
        parse_options(["--config", str(path)])
    assert message in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"max_steps": "many"},
        {"max_steps": [1, 2]},
        {"variant": "words"},
        {"optim": "adamm"},
        {"bf16": "perhaps"},
        {"eval_strategy": False},
        {"deepspeed": "nowhere.json"},
        {"lr_scheduler_kwargs": "{broken"},
        {"accelerator_config": {"split": True}},
    ],
    ids=str,
)
def test_a_wrong_value_in_a_recipe_ends_in_words(options, tmp_path, capsys):
    """As on the line: what no default is checked for is."""
    with pytest.raises((ValueError, OSError, SystemExit)) as error:
        parse(tmp_path, {}, {**NEEDED, **options})
    said = capsys.readouterr().err + str(error.value)
    [(name, value)] = options.items()
    assert any(word.lower() in said for word in (name, str(value), "split"))


@pytest.mark.parametrize("words", [["--load_in_4_bit", "true"], ["surplus"], ["--lora-rank", "3"], ["--config"]])
def test_what_is_no_option_is_told(words, capsys):
    """With the option that is nearest."""
    with pytest.raises((ValueError, SystemExit)) as error:
        parse_options([*words, "--dataset", "umui", "--dataset-configs", "urn-text"])
    assert words[0] in str(error.value) + capsys.readouterr().err
