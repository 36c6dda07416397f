# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Converts Qwen2.5-Omni, Qwen3-Omni or a small language model to CLUE, and CLUE to a plain Thinker that any engine for
these can serve.

```bash
python -m modeling_clue.conversion to-clue --model Qwen/Qwen2.5-Omni-3B --output-dir clue-3b
python -m modeling_clue.conversion to-thinker --model clue-3b --output-dir thinker-3b
python -m modeling_clue.conversion to-thinker --model clue-3b --output-dir served-3b --layout classify
python -m modeling_clue.conversion from-research --model DIR_OR_REPO --prompt prompts.yaml --output-dir clue-3b
python -m modeling_clue.conversion assemble --language-model HuggingFaceTB/SmolLM2-135M-Instruct \\
    --audio-tower openai/whisper-tiny.en --output-dir clue-small
python -m modeling_clue.conversion apply --model clue-small --adapter runs/lora/adapter --output-dir clue-mine
```

**To CLUE.** The source is a full checkpoint, whose speech output is left out, or a Thinker alone; in safetensors. Its
weights keep their dtype; the confidence head is in float32. The tokens `<CONF_0>` ... `<CONF_{N-1}>` take spare rows
of the vocabulary, and extend it only if there are too few. The head starts from the model's own answer to a yes/no
question: see [`initial_head`].

**To a Thinker.** The head's rows become the `lm_head` rows of `<CONF_i>`. At the last token of a prompt the softmax of
the Thinker's logits, restricted to these tokens, is CLUE's distribution; exactly so in float32, while in bfloat16 the
rows are rounded like the rest of `lm_head`. The prompt and the other settings that a Thinker has no place for are
kept under `clue` in its `config.json`, and converting it back gives the same CLUE again. `--layout classify` writes a
classifier of the bins for vLLM: a full model without speech output and `lm_head`, whose head of classes is the
confidence head in its own precision.

**From a research checkpoint**, as the paper's authors release theirs: Qwen2.5-Omni's Thinker with tokens `<CON_0>` ...
`<CON_{N-1}>`, whose rows of `lm_head` are the confidence head, at the root or in `model/`, and in `lora/` an adapter
on its layers and on `lm_head`. The adapter is merged in float32, and the result is float32 too: only so are the
probabilities those of the original to four digits; `--dtype bfloat16` halves the size and rounds the sum of weights
and adapter. No file of such a checkpoint holds its prompt, so a prompt file is needed, or `run_eval.py` of your own
clone of the authors' code, which is read and not executed: see [`~modeling_clue.prompt_file`]. Media settings that it
leaves out are those of the authors' scorer ([`RESEARCH_MEDIA`]).

**From parts.** `assemble` makes a Thinker of a language model of Llama's or Qwen2's layout, the encoder of a Whisper
and the vision tower of a Qwen2.5-VL, Qwen2.5-Omni or CLUE, or of new towers: see [`~modeling_clue.assembly`].
`apply` puts an adapter into a CLUE checkpoint, as `train/sft.py --use-peft` writes one: with it a model of gigabytes
is passed on in megabytes to everyone who has its base. A `calibration.json` in the adapter's folder, as
`evaluation.posthoc --adapter` writes it, becomes the `calibration` of the result; one of the base is dropped, since it
was fitted without the adapter.
"""

import argparse
import re
import sys
from operator import attrgetter
from pathlib import Path

import torch
from huggingface_hub import file_exists, snapshot_download
from huggingface_hub.errors import HFValidationError
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    Qwen2VLImageProcessor,
)
from transformers.utils import CONFIG_NAME

from .adapter import merge_adapter, read_calibration
from .assembly import AUDIO_SIZE, VISION_SIZE, TowerSize, assemble
from .auto import BACKBONES, backbone_of, classes_of
from .backbone import QWEN2_5_OMNI, Backbone
from .checkpoint_parts import (
    add_special_tokens,
    confidence_tokens,
    grow_vocabulary,
    initial_head,
    load_whole,
    new_folder,
    read,
    save_whole,
    shared_fields,
    single_token,
    with_head,
    with_settings,
)
from .command_line import exit_on_error
from .confidence import bin_values
from .configuration_clue import CLUEFields
from .modeling_clue import change_class
from .novelty import novelty_parts, read_novelty, without_novelty
from .processing_clue import DEFAULT_MEDIA
from .prompt_file import media_settings, read_prompt_file
from .served_layout import chat_template, classifier_tokenizer, side_files


# Fields of a CLUE configuration that a Thinker's lacks.
CLUE_FIELDS = ("num_bins", "sigma", "target", "audiovisual_positions", "calibration", "new_projections")

# Pixels of a frame: the published checkpoints' minimum, and the paper's maximum of 256 x 256. The processors of
# Qwen2.5-Omni and Qwen3-Omni would enlarge every frame to at least 317 x 317, whatever their video processor says.
FRAME_SIZE = {"shortest_edge": 56 * 56, "longest_edge": 256 * 256}

# How the authors' scorer reads sound and video. Its frames become squares of 252 pixels, then of at least
# `min_pixels`: 336 x 336. Every two frames count as a second, whatever their rate; with sound, positions count tokens.
RESEARCH_MEDIA = {
    "fps": 0.5,
    "min_frames": 4,
    "max_frames": 768,
    "sampling": "span",
    "frame_size": 252,
    "min_pixels": 128 * 28 * 28,
    "max_pixels": 768 * 28 * 28,
    "second_per_grid": 1.0,
    "audiovisual_positions": "plain",
    "max_audio_seconds": 300.0,
    "on_missing_sound": "error",
}

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# Former spellings of options, and the present ones.
OLD_OPTIONS = {
    "--source": "--model",
    "--out": "--output-dir",
    "--from-research-checkpoint": "from-research --model",
}

LAYOUTS = ("thinker", "classify")

# The name by which vLLM finds the head of a classifier inside a model of several senses.
SCORE_WEIGHT = "language_model.score.weight"

# Folders of a research checkpoint; the first one may be its root.
MODEL_FOLDER, ADAPTER_FOLDER = "model", "lora"


def to_clue(
    source: str | Path, out: str | Path, *, num_bins: int | None = None, words: tuple[str, str] = ("No", "Yes")
) -> Path:
    """Converts a Qwen2.5-Omni or Qwen3-Omni checkpoint to a CLUE checkpoint.

    Args:
        source (`str` or `Path`): folder or Hub repository, full or Thinker alone, with its processor.
        out (`str` or `Path`): folder to write; it must not exist yet.
        num_bins (`int`, *optional*): number of confidence bins; 100 by default, and given by the source if that was
            made by [`to_thinker`].
        words (`tuple[str, str]`): the words for "false" and "true" whose rows the head starts from; single tokens.

    Returns:
        `Path`: the folder.

    Raises:
        FileExistsError: if the folder exists.
        OSError: if the source has no safetensors, or lacks a part of its processor.
        ValueError: if the source is of another kind, its weights are incomplete, its tokens contradict its
            configuration, or `words` are not single tokens of it.
    """
    out = new_folder(out)
    backbone, thinker_config = _thinker_config(source)
    config_class, model_class, processor_class = classes_of(backbone)
    record = thinker_config.to_dict().get("clue")
    if record is not None and num_bins not in (None, record["num_bins"]):
        raise ValueError(f"'{source}' has {record['num_bins']} confidence bins already: leave out --num-bins.")
    if num_bins is None:
        num_bins = 100 if record is None else record["num_bins"]

    processor = read(backbone.upstream("Processor"), source)
    tokenizer = processor.tokenizer
    token_ids = _special_token_ids(backbone, tokenizer, thinker_config, source)
    fields = {"num_bins": num_bins}
    if record is not None:  # older checkpoints have fewer fields
        fields = {name: record[name] for name in CLUE_FIELDS if name in record}
    tokens = confidence_tokens(num_bins)
    known = [token for token in tokens if token in tokenizer.get_vocab()]
    if record is None:
        if known:
            raise ValueError(
                f"The tokenizer of '{source}' knows {known[0]} already, but its configuration does not say what the "
                "confidence tokens mean. Convert the checkpoint it was made from."
            )
        word_ids = [single_token(tokenizer, word) for word in words]
        add_special_tokens(tokenizer, tokens)
    elif len(known) < len(tokens):
        raise ValueError(f"The tokenizer of '{source}' lacks {len(tokens) - len(known)} of {len(tokens)} <CONF_i>.")

    thinker = load_whole(backbone.upstream("ThinkerForConditionalGeneration"), source, config=thinker_config)
    grow_vocabulary(thinker, thinker_config, tokenizer)
    lm_head = thinker.get_output_embeddings().weight.detach()
    if record is None:
        head = initial_head(*lm_head[word_ids], num_bins)
    else:
        head = lm_head[tokenizer.convert_tokens_to_ids(tokens)].float()

    config = config_class.from_dict({**shared_fields(thinker_config), **fields, **token_ids})
    if record is None:
        processor.video_processor.size = dict(FRAME_SIZE)
        record = {"prompt": None, "media": None}
    clue_processor = with_settings(processor_class, processor, record["prompt"], record["media"])
    return save_whole(with_head(thinker, model_class, config, head), clue_processor, out)


def from_research(
    source: str | Path, prompt: str | Path, out: str | Path, *, dtype: torch.dtype = torch.float32
) -> Path:
    """Converts a research checkpoint to a CLUE checkpoint that gives the same answers to the same prompts.

    Args:
        source (`str` or `Path`): folder or Hub repository: a Thinker with tokens `<CON_i>` and its processor, or these
            in `model/`, and a LoRA adapter in `lora/`.
        prompt (`str` or `Path`): YAML file with the model's prompt, or the Python file of the authors that has it: see
            [`~modeling_clue.prompt_file`].
        out (`str` or `Path`): folder to write; it must not exist yet.
        dtype (`torch.dtype`): of the weights written. The adapter is merged in float32 in any case, and the confidence
            head stays so.

    Returns:
        `Path`: the folder.

    Raises:
        FileExistsError: if the folder exists.
        OSError: if the source has no safetensors, for itself or for its adapter, or lacks a part of its processor.
        ValueError: if the source is of another kind, its weights are incomplete, a weight of the adapter has no place,
            its tokens have gaps or contradict its configuration, or the prompt file is wrong.
    """
    out = new_folder(out)
    prompts = read_prompt_file(prompt)
    settings = media_settings(prompt, prompts, RESEARCH_MEDIA)
    adapter, source = source, _research_root(source)
    backbone, thinker_config = _thinker_config(source)
    if backbone != QWEN2_5_OMNI:
        raise ValueError(f"'{source}' is of {backbone.name}: research checkpoints are of {QWEN2_5_OMNI.name} alone.")
    config_class, model_class, processor_class = classes_of(backbone)
    if thinker_config.tie_word_embeddings:
        raise ValueError(f"'{source}' ties `lm_head` to the embeddings: an adapter on one would change both.")
    processor = read(backbone.upstream("Processor"), source)
    tokenizer = processor.tokenizer
    token_ids = _special_token_ids(backbone, tokenizer, thinker_config, source)
    bin_ids = _research_token_ids(tokenizer, source)

    # Errors in the settings are found before the weights are read.
    fields = {"num_bins": len(bin_ids), "audiovisual_positions": settings["audiovisual_positions"]}
    config_class(**fields)
    processor.video_processor.size = {"shortest_edge": settings["min_pixels"], "longest_edge": settings["max_pixels"]}
    # Under their names in CLUE, by which `to_thinker` finds them.
    add_special_tokens(tokenizer, confidence_tokens(len(bin_ids)))
    media = {name: value for name, value in settings.items() if name in DEFAULT_MEDIA}
    clue_processor = with_settings(processor_class, processor, prompts.prompt, media)

    # bfloat16 fits into float32 without rounding.
    thinker_class = backbone.upstream("ThinkerForConditionalGeneration")
    thinker = load_whole(thinker_class, source, config=thinker_config, dtype=torch.float32)
    changed = merge_adapter(thinker, adapter, ADAPTER_FOLDER)
    print(f"Merged the adapter into {len(changed)} weights, and found {len(bin_ids)} confidence tokens.")
    lm_head = thinker.get_output_embeddings().weight.detach()
    if max(bin_ids) >= len(lm_head):
        raise ValueError(
            f"The tokenizer of '{source}' knows token {max(bin_ids)}, but `lm_head` has {len(lm_head)} rows."
        )
    head = lm_head[bin_ids]
    grow_vocabulary(thinker, thinker_config, tokenizer)
    config = config_class.from_dict({**shared_fields(thinker_config), **fields, **token_ids})
    return save_whole(with_head(thinker.to(dtype), model_class, config, head), clue_processor, out)


def _research_root(source: str | Path) -> str | Path:
    """Returns where the Thinker of a research checkpoint is: at its root, or in `model/`."""
    if Path(source).is_dir():
        inside = Path(source, MODEL_FOLDER)
        return inside if (inside / CONFIG_NAME).is_file() and not Path(source, CONFIG_NAME).is_file() else source
    try:
        if file_exists(str(source), f"{MODEL_FOLDER}/{CONFIG_NAME}") and not file_exists(str(source), CONFIG_NAME):
            return Path(snapshot_download(str(source), allow_patterns=f"{MODEL_FOLDER}/*"), MODEL_FOLDER)
    except (OSError, HFValidationError):
        pass  # reading the source says what is wrong with it
    return source


def apply_adapter(source: str | Path, adapter: str | Path, out: str | Path) -> Path:
    """Merges an adapter into the CLUE checkpoint that it was trained on.

    Args:
        source (`str` or `Path`): folder or Hub repository of the checkpoint.
        adapter (`str` or `Path`): folder or Hub repository of a LoRA adapter and of the weights trained whole beside
            it, such as the confidence head. Its `calibration.json`, if it has one, takes the place of a calibration
            of the checkpoint, which is dropped in any case: it was fitted without them.
        out (`str` or `Path`): folder to write; it must not exist yet.

    Returns:
        `Path`: the folder.

    Raises:
        FileExistsError: if the folder exists.
        OSError: if the adapter lacks a file.
        ValueError: if the source is not a CLUE checkpoint, its weights are incomplete, a weight of the adapter has
            no place in it, or the adapter's calibration can't be applied.
    """
    out = new_folder(out)
    config = _clue_config(source, "takes an adapter here")
    _, model_class, processor_class = classes_of(config.backbone)
    processor = read(processor_class, source)
    config.calibration = None  # that of the source, with its tensors, was fitted without the adapter
    calibration = read_calibration(adapter)
    tensors = read_novelty(adapter, calibration, config.text_config.hidden_size)
    model = load_whole(model_class, source, config=config)
    model.config.calibration, model.novelty_tensors = calibration, tensors
    changed = merge_adapter(model, adapter, "")
    model.config.new_projections = config.backbone.untrained(config.new_projections, changed)
    print(f"The adapter changed {len(changed)} weights.")
    return save_whole(model, processor, out)


def to_thinker(source: str | Path, out: str | Path, *, layout: str = "thinker") -> Path:
    """Writes a plain Thinker whose log-probabilities of `<CONF_i>` at the end of a prompt are those of a CLUE model.

    Args:
        source (`str` or `Path`): folder or Hub repository of a CLUE checkpoint.
        out (`str` or `Path`): folder to write; it must not exist yet.
        layout (`str`, defaults to `"thinker"`): the Thinker alone, or `"classify"`: a classifier of the confidence
            bins for vLLM, which [`~modeling_clue.serving.ServedCLUE`] asks.

    Returns:
        `Path`: the folder. The Thinker alone is for `Qwen2_5OmniThinkerForConditionalGeneration` and
        `Qwen2_5OmniProcessor`, or those of Qwen3-Omni. The processor enlarges frames unless told not to: pass
        `videos_kwargs={"size": processor.video_processor.size}`. Where `audiovisual_positions` are plain, leave
        `use_audio_in_video` unset.

    Raises:
        FileExistsError: if the folder exists.
        ValueError: if the source is not a CLUE checkpoint, its weights are incomplete, or a classifier is to be made
            of another backbone than Qwen2.5-Omni.
    """
    out = new_folder(out)
    if layout not in LAYOUTS:
        raise ValueError(f"`layout` must be one of {', '.join(LAYOUTS)}, got {layout!r}.")
    clue_config = _clue_config(source, "can become a Thinker")
    backbone = clue_config.backbone
    if layout == "classify" and backbone != QWEN2_5_OMNI:
        raise ValueError(
            f"'{source}' is of {backbone.name}, whose positions vLLM computes by rules of their own: classifiers are "
            f"made of {QWEN2_5_OMNI.name} alone."
        )
    _, model_class, processor_class = classes_of(backbone)
    processor = read(processor_class, source)
    clue = load_whole(model_class, source, config=clue_config)
    files = side_files(clue, processor) if layout == "classify" else {}

    config, fields = plain_config(clue_config), clue_config.to_dict()
    config.clue = {name: fields[name] for name in CLUE_FIELDS}
    if novelty_parts(clue_config.calibration):
        print("A Thinker's answers don't tell how novel a premise is: that part of the calibration is left out.")
        config.clue["calibration"] = without_novelty(clue_config.calibration)
    config.clue |= {"prompt": processor.prompt, "media": processor.media}
    thinker = change_class(clue, backbone.upstream("ThinkerForConditionalGeneration"), config)
    head, tokens = clue.confidence_head.weight, confidence_tokens(clue_config.num_bins)
    video_processor = processor.video_processor
    image_processor = Qwen2VLImageProcessor(
        patch_size=video_processor.patch_size,
        temporal_patch_size=video_processor.temporal_patch_size,
        merge_size=video_processor.merge_size,
    )
    tokenizer = read(AutoTokenizer, source, extra_special_tokens=backbone.tokens)
    template = tokenizer.chat_template
    if layout == "classify":
        tokenizer, template = classifier_tokenizer(tokenizer), chat_template(processor)
    omni_processor = backbone.upstream("Processor")(
        image_processor, video_processor, processor.feature_extractor, tokenizer, chat_template=template
    )
    if layout == "classify":
        omni = _wrap_in_omni(backbone, thinker)
        labels = dict(enumerate(f"{value:.4g}" for value in bin_values(clue_config.num_bins).tolist()))
        # vLLM sizes the head by the language model's, and names the likeliest bin by the other.
        omni.config.thinker_config.text_config.id2label = omni.config.id2label = labels
        weights = {name: weight for name, weight in omni.state_dict().items() if name != "thinker.lm_head.weight"}
        weights[SCORE_WEIGHT] = head.detach()
        return save_whole(omni, omni_processor, out, files=files, state_dict=weights)
    with torch.no_grad():
        lm_head = thinker.get_output_embeddings().weight
        lm_head[processor.tokenizer.convert_tokens_to_ids(tokens)] = head.to(lm_head.dtype)
    return save_whole(thinker, omni_processor, out)


def _clue_config(source: str | Path, what: str) -> CLUEFields:
    """Reads the configuration of a CLUE checkpoint; of another it is a `ValueError` that only CLUE does `what`."""
    config = read(AutoConfig, source)
    if not isinstance(config, CLUEFields):
        raise ValueError(f"'{source}' is a {config.model_type} checkpoint: only CLUE {what}.")
    return config


def _thinker_config(source: str | Path) -> tuple[Backbone, PreTrainedConfig]:
    """Reads the backbone and the Thinker's configuration from either layout, with the weights' dtype if known."""
    config = read(AutoConfig, source)
    if isinstance(config, CLUEFields):
        raise ValueError(f"'{source}' is a CLUE checkpoint already.")
    backbone = backbone_of(config.model_type)
    if backbone is None:
        names = " or ".join(config_class.backbone.name for config_class, *_ in BACKBONES.values())
        raise ValueError(f"'{source}' is a {config.model_type} checkpoint: CLUE is made from {names} alone.")
    thinker_config = config
    if config.model_type == backbone.model_type:
        thinker_config = config.thinker_config
        if thinker_config.dtype is None:
            thinker_config.dtype = config.dtype
    found, expected = attrgetter(*backbone.fixed)(thinker_config), tuple(backbone.fixed.values())
    if found != expected:
        raise ValueError(
            f"'{source}' has ({', '.join(backbone.fixed)}) = {found}; the processor of CLUE places sound and frames "
            f"by {expected}, that of all published checkpoints."
        )
    return backbone, thinker_config


def _special_token_ids(
    backbone: Backbone, tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, source: str | Path
) -> dict[str, int]:
    """Returns ids by field of the configuration, which must agree with the tokenizer."""
    vocabulary, stated = tokenizer.get_vocab(), config.to_dict()
    token_ids = {}
    for token, field in backbone.token_id_fields.items():
        if token not in vocabulary:
            raise ValueError(f"The tokenizer of '{source}' lacks the special token {token} of {backbone.name}.")
        token_ids[field] = vocabulary[token]
        if stated.get(field, vocabulary[token]) != vocabulary[token]:
            raise ValueError(
                f"'{source}' contradicts itself: {token} is token {vocabulary[token]} of the tokenizer, but `{field}` "
                f"is {stated[field]} in the configuration."
            )
    return token_ids


def _research_token_ids(tokenizer: PreTrainedTokenizerBase, source: str | Path) -> list[int]:
    vocabulary = tokenizer.get_vocab()
    found = sorted(int(match[1]) for match in map(re.compile(r"<CON_(\d+)>").fullmatch, vocabulary) if match)
    if len(found) < 2:
        raise ValueError(f"The tokenizer of '{source}' has {len(found)} tokens <CON_i>: it is no research checkpoint.")
    missing = sorted(set(range(found[-1] + 1)) - set(found))
    if missing:
        raise ValueError(f"The tokenizer of '{source}' has <CON_{found[-1]}>, but lacks <CON_{missing[0]}>.")
    return [vocabulary[f"<CON_{index}>"] for index in found]


def _wrap_in_omni(backbone: Backbone, thinker):
    config = backbone.upstream("Config")(thinker_config=thinker.config, enable_audio_output=False, dtype=thinker.dtype)
    with torch.device("meta"):
        omni = backbone.upstream("ForConditionalGeneration")(config)
    omni.thinker, omni.generation_config = thinker, thinker.generation_config
    return omni


def plain_config(config: CLUEFields) -> PreTrainedConfig:
    """Returns the configuration of the Thinker that a CLUE model is, without its confidence head."""
    fields = {name: value for name, value in shared_fields(config).items() if name not in CLUE_FIELDS}
    return config.backbone.upstream("ThinkerConfig").from_dict(fields)


def _tower(options: argparse.Namespace, name: str, default: TowerSize) -> str | TowerSize:
    """Returns where a tower is taken from, or the size of a new one."""
    source, layers, width = (getattr(options, f"{name}_{part}") for part in ("tower", "layers", "width"))
    if source is None:
        return TowerSize(default.layers if layers is None else layers, default.width if width is None else width)
    if (layers, width) != (None, None):
        raise ValueError(f"'{source}' has a size of its own: leave out --{name}-layers and --{name}-width.")
    return source


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m modeling_clue.conversion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    clue = commands.add_parser("to-clue", help="from Qwen2.5-Omni or Qwen3-Omni to CLUE", allow_abbrev=False)
    thinker = commands.add_parser("to-thinker", help="from CLUE to a plain Thinker for serving", allow_abbrev=False)
    research = commands.add_parser("from-research", help="from a research checkpoint to CLUE", allow_abbrev=False)
    parts = commands.add_parser("assemble", help="from a language model and towers to CLUE", allow_abbrev=False)
    merge = commands.add_parser("apply", help="from CLUE and an adapter to CLUE", allow_abbrev=False)
    for command in (clue, thinker, research, merge):
        command.add_argument("--model", required=True, help="folder or Hub repository to read")
    merge.add_argument("--adapter", required=True, help="folder or Hub repository of an adapter")
    for command in (clue, thinker, research, parts, merge):
        command.add_argument("--output-dir", required=True, help="folder to write; it must not exist yet")
    for command in (clue, parts):
        command.add_argument("--num-bins", type=int, help="number of confidence bins (default: 100)")
        command.add_argument(
            "--words",
            nargs=2,
            default=("No", "Yes"),
            metavar=("FALSE", "TRUE"),
            help="words the head starts from, each a single token behind the prompt (default: No Yes)",
        )
    parts.add_argument(
        "--language-model", required=True, help="folder, Hub repository or GGUF file of a Llama or Qwen2"
    )
    parts.add_argument("--seed", type=int, default=0, help="of the new weights (default: 0)")
    parts.add_argument("--dtype", choices=DTYPES, help="of the weights written (default: the language model's)")
    for name, model, size in (
        ("audio", "Whisper", AUDIO_SIZE),
        ("vision", "Qwen2.5-VL, Qwen2.5-Omni or CLUE", VISION_SIZE),
    ):
        parts.add_argument(f"--{name}-tower", help=f"folder or Hub repository of a {model} (default: a new tower)")
        for part, default in (("layers", size.layers), ("width", size.width)):
            parts.add_argument(f"--{name}-{part}", type=int, help=f"of a new {name} tower (default: {default})")
    thinker.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="thinker",
        help="a Thinker alone, or a classifier of the confidence bins for vLLM (default: thinker)",
    )
    research.add_argument(
        "--prompt", required=True, help="YAML file, or the authors' run_eval.py: how the model was asked"
    )
    parts.add_argument(
        "--prompt",
        help="YAML file that says how to ask, in the chat format (default: CLUE's prompt in that format if the "
        "tokenizer has its tokens, and a plain one if not)",
    )
    research.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="of the weights written (default: float32, which alone keeps the answers to four digits)",
    )
    given = sys.argv[1:] if arguments is None else arguments
    for old, new in OLD_OPTIONS.items():
        if any(word.partition("=")[0] == old for word in given):
            parser.error(f"{old} is now {new}")
    options = parser.parse_args(given)
    if options.command == "from-research":
        dtype = DTYPES[options.dtype]
        out = from_research(options.model, options.prompt, options.output_dir, dtype=dtype)
    elif options.command == "assemble":
        out = assemble(
            options.language_model,
            options.output_dir,
            audio_tower=_tower(options, "audio", AUDIO_SIZE),
            vision_tower=_tower(options, "vision", VISION_SIZE),
            num_bins=100 if options.num_bins is None else options.num_bins,
            words=tuple(options.words),
            prompt=options.prompt,
            dtype=DTYPES.get(options.dtype),
            seed=options.seed,
        )
    elif options.command == "apply":
        out = apply_adapter(options.model, options.adapter, options.output_dir)
    elif options.command == "to-clue":
        out = to_clue(options.model, options.output_dir, num_bins=options.num_bins, words=tuple(options.words))
    else:
        out = to_thinker(options.model, options.output_dir, layout=options.layout)
    print(f"Wrote {out}.")


if __name__ == "__main__":
    with exit_on_error():
        main()
