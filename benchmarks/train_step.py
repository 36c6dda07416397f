"""
Measures a step of training at the paper's scale: time, speed, share of the peak, memory; CLUE's and the reference's.

```bash
python benchmarks/train_step.py                    # on a GPU the 3B architecture, without one a tiny model
python benchmarks/train_step.py --gradient-checkpointing
python benchmarks/train_step.py --device cpu --size 3b --modalities text --hypotheses-per-premise 1 --steps 1 \
    --warmup 0
```

A step is one premise with its hypotheses: moved to the device, forward, backward, AdamW. README.md says what the ways
are; their steps take turns. Rows are written as soon as they are measured: Markdown to the screen, everything else as
JSON lines to a file.
"""

import ctypes
import json
import math
import os
import platform
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import logging

from benchmarks.measure import (
    build_config,
    build_processor,
    machine,
    parser,
    table_line,
    vocabulary_logits,
)
from modeling_clue import CLUEConfig, CLUEForConfidenceEstimation
from modeling_clue.checkpoint_parts import confidence_tokens
from modeling_clue.confidence import confidence_loss
from modeling_clue.prompt import DEFAULT_PROMPT
from train.tiny import tiny_config, train_tokenizer
from train.trained import LORA_TARGET_MODULES


MODALITIES = ("text", "audio", "video")
LORA_RANK = 16
REFERENCE_MEL_FRAMES = 30_000

PREMISE = "Two people in yellow jackets push a small boat into the sea while a dog watches them from the beach."
HYPOTHESES = [
    f"{subject} {predicate}."
    for subject in ("A dog", "Somebody in the water", "The wind over the sea", "One of the two people")
    for predicate in ("is louder than everything else", "is never far from the boat")
]
REFERENCE_PROMPT = {
    "premise": DEFAULT_PROMPT["premise"].replace("Premise:", "Hypothesis: {hypothesis}\nPremise:"),
    "hypothesis": DEFAULT_PROMPT["hypothesis"].replace("Hypothesis: {hypothesis}\n", ""),
}

COLUMNS = (
    "| premise | hypotheses | way | tokens | step (ms) | forward | backward | optimizer | tokens / s | hypotheses / s "
    "| ratio | TFLOP | of peak | peak memory (GiB) |"
)
ALIGNMENT = "|---|---:|---|" + "---:|" * 11


def config_3b(tokenizer) -> CLUEConfig:
    """Returns the sizes of Qwen2.5-Omni-3B's Thinker; what is not said here is the same in all of its family."""
    audio, vision = (1280, 32, 20, 5120), (32, 1280, 3420, 16, [7, 15, 23, 31])
    return build_config(tokenizer, (2048, 11_008, 36, 16), (16, 24, 24), audio, vision)


class Bench:
    """Takes steps with a model and its two processors; weights in bfloat16 run under autocast, as in the Trainer."""

    def __init__(self, config, tokenizer, device, dtype, lora_dropout=0.1, attn_implementation="sdpa"):
        self.device, self.dtype = device, dtype
        with device:
            options = {"dtype": dtype, "attn_implementation": attn_implementation}
            clue = CLUEForConfidenceEstimation._from_config(config, **options)
        clue.confidence_head.float()
        self.confidence_ids = tokenizer.convert_tokens_to_ids(confidence_tokens(config.num_bins))
        with torch.no_grad():  # the same answer in the vocabulary
            clue.lm_head.weight[self.confidence_ids] = clue.confidence_head.weight.to(dtype)
        lora = LoraConfig(
            r=LORA_RANK,
            lora_alpha=32,
            lora_dropout=lora_dropout,
            target_modules=rf"{LORA_TARGET_MODULES}|lm_head",  # the reference adapts the vocabulary as well
            modules_to_save=["confidence_head"],
        )
        peft_model = get_peft_model(clue, lora)  # freezes all the rest
        self.model = clue.train()
        # What a way does not use gets no gradient, and AdamW passes it over.
        trained = [parameter for parameter in peft_model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=device.type == "cuda")

        self.processor = build_processor(tokenizer)
        self.reference_processor = build_processor(tokenizer, prompt=REFERENCE_PROMPT)

    def batches(self, modality: str, hypotheses: int) -> dict[str, dict[str, torch.Tensor]]:
        """Makes the inputs of each way: a sentence, 10 s of sound, or 60 s of frames of 252 x 252 pixels."""
        noise, premise = np.random.default_rng(0), PREMISE
        if modality == "audio":
            sound = noise.uniform(-0.3, 0.3, 160_000).astype("float32")
            premise = {"audio": {"array": sound, "sampling_rate": 16_000}}
        elif modality == "video":
            premise = {"video": {"frames": noise.integers(0, 256, (30, 252, 252, 3), dtype=np.uint8), "fps": 0.5}}
        encoded, sentences = self.processor.encode_premise(premise), HYPOTHESES[:hypotheses]
        reference = self.reference_processor.collate([encoded] * hypotheses, [[sentence] for sentence in sentences])
        if modality == "audio":
            missing = (0, REFERENCE_MEL_FRAMES - reference["input_features"].shape[-1])
            for name in ("input_features", "feature_attention_mask"):
                reference[name] = torch.nn.functional.pad(reference[name], missing)
        batches = {"reference": dict(reference), "clue": dict(self.processor.collate([encoded], [sentences]))}
        if modality != "text":
            batches["cached"] = self.with_towers_outputs(batches["clue"])
        if self.device.type == "cuda":  # the Trainer's data loader does so too
            batches = {
                way: {name: tensor.pin_memory() for name, tensor in batch.items()} for way, batch in batches.items()
            }
        return batches

    @torch.no_grad()
    def with_towers_outputs(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Returns the batch with the outputs of the towers in place of sound and frames."""
        with self.autocast():
            output = self.model(**self.moved(batch))
        media = ("input_features", "pixel_values_videos")
        outputs = {name: output[name].cpu() for name in ("audio_embeds", "video_embeds") if name in output}
        return {name: tensor for name, tensor in batch.items() if name not in media} | outputs

    def checkpoint_activations(self) -> None:
        """
        Keeps the inputs of layers only and computes the rest anew in backward.

        transformers lets embeddings and towers require gradients then, for the old way of checkpointing: frozen towers
        would run backward for nothing.
        """
        self.model.activation_checkpointing_enable({"use_reentrant": False})
        self.model.disable_input_require_grads()

    def autocast(self) -> torch.autocast:
        """Mixes precision as the Trainer's `bf16` does, for weights in bfloat16."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def moved(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Returns the batch on the device."""
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def loss(self, way: str, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Returns the mean loss of the batch's hypotheses; their labels are evenly spread."""
        inputs = self.moved(batch)
        hypotheses = int((batch["branch_ids"].amax(dim=1)).sum())
        labels = torch.linspace(0.1, 0.9, hypotheses, device=self.device)
        with self.autocast():
            if way != "reference":
                return self.model(**inputs, labels=labels).loss
            logits = vocabulary_logits(self.model, inputs, self.confidence_ids, use_cache=False)
        config = self.model.config
        return confidence_loss(logits, labels, config.target, config.sigma).mean()

    def step(self, way: str, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        """Takes a step and returns its loss, the seconds of its parts, and the peak memory in bytes."""
        reset_peak_memory(self.device)
        times = [now(self.device)]
        loss = self.loss(way, batch)
        times.append(now(self.device))
        loss.backward()
        times.append(now(self.device))
        self.optimizer.step()
        self.optimizer.zero_grad()
        times.append(now(self.device))
        seconds = (end - start for start, end in pairwise(times))
        return {
            "loss": loss.item(),
            **dict(zip(("forward", "backward", "optimizer"), seconds, strict=True)),
            "step": times[-1] - times[0],
            "peak_memory": peak_memory(self.device),
        }


def now(device: torch.device) -> float:
    """Returns the time once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def step_flops(config: CLUEConfig, way: str, batch: dict[str, torch.Tensor]) -> int:
    """
    Counts floating-point operations that the matrix products of a step need, two for a multiplication and addition.

    Frozen weights of the language model are used twice, forward and for the gradient of their input; trained ones a
    third time, for their own. Scores and values of attention: twice in backward, nothing spared for what is masked.
    The towers are frozen and run forward only, their projections even where the rest is kept. What gradient
    checkpointing or fused attention compute anew is not needed and does not count.
    """
    text, audio, vision = config.text_config, config.audio_config, config.vision_config
    rows, length = batch["input_ids"].shape
    tokens, hidden = rows * length, text.hidden_size
    keys = hidden // text.num_attention_heads * text.num_key_value_heads
    projections = [(hidden, hidden), (hidden, keys), (hidden, keys), (hidden, hidden)]  # q, k, v, o
    frozen = sum(math.prod(sizes) for sizes in projections) + 3 * hidden * text.intermediate_size
    lora = LORA_RANK * sum(map(sum, projections))
    attention = 2 * rows * length**2 * hidden
    products = text.num_hidden_layers * (2 * tokens * frozen + 3 * tokens * lora + 3 * attention)
    # The embeddings need no gradient: the first layer's q, k, v compute none for their input.
    products -= tokens * sum(math.prod(sizes) + LORA_RANK * sizes[0] for sizes in projections[:3])
    if way == "reference":
        products += 2 * tokens * hidden * text.vocab_size + 3 * tokens * LORA_RANK * (hidden + text.vocab_size)
    else:
        products += 3 * int(batch["branch_ids"].max()) * hidden * config.num_bins

    products += int((batch["input_ids"] == config.audio_token_id).sum()) * audio.d_model * audio.output_dim
    merged = vision.spatial_merge_size**2 * vision.hidden_size
    seen = int((batch["input_ids"] == config.video_token_id).sum())
    products += seen * merged * (merged + vision.out_hidden_size)
    if way != "cached" and "input_features" in batch:
        window, width = 2 * audio.n_window, audio.d_model
        for frames in batch["feature_attention_mask"].sum(dim=1).tolist():
            chunks = [window] * (frames // window) + ([frames % window] if frames % window else [])
            halves = [-(-chunk // 2) for chunk in chunks]
            products += len(chunks) * 3 * width * (max(chunks) * audio.num_mel_bins + max(halves) * width)
            layer = sum(halves) * (4 * width**2 + 2 * width * audio.encoder_ffn_dim)
            layer += 2 * sum(half**2 for half in halves) * width
            products += audio.encoder_layers * layer
    if way != "cached" and "pixel_values_videos" in batch:
        merge, width = vision.spatial_merge_size, vision.hidden_size
        window = vision.window_size // vision.patch_size // merge * merge
        full = len(vision.fullatt_block_indexes)
        for steps, height, wide in batch["video_grid_thw"].tolist():
            patches = steps * height * wide
            products += patches * batch["pixel_values_videos"].shape[1] * width
            products += vision.depth * patches * (4 * width**2 + 3 * width * vision.intermediate_size)
            # Of the windows' sides; every step of the grid is attended to alone.
            squares = [side // window * window**2 + (side % window) ** 2 for side in (height, wide)]
            products += 2 * steps * width * (full * (height * wide) ** 2 + (vision.depth - full) * math.prod(squares))
    return 2 * products


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Returns the operations a second of a large product of square matrices, the best of several tries."""
    size, tries = (8192, 50) if device.type == "cuda" else (2048, 5)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(tries):
        start = now(device)
        left @ right
        seconds.append(now(device) - start)
    return 2 * size**3 / min(seconds)


def reset_peak_memory(device: torch.device) -> None:
    """Starts anew to watch for the peak: of the GPU's memory, or of this process's (on Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier steps freed goes back to the system
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int | None:
    """Returns the peak since the reset in bytes, or None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    if sys.platform != "linux":
        return None
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def measure(bench: Bench, modality: str, hypotheses: int, steps: int, warmup: int) -> dict[str, dict]:
    """
    Takes steps of every way in turns. Returns for each way its counts and, under `steps`, what `Bench.step` gives, or
    `None` if the device's memory did not suffice.
    """
    batches = bench.batches(modality, hypotheses)
    results = {
        way: {
            "premise": modality,
            "hypotheses": hypotheses,
            "way": way,
            "rows": len(batch["input_ids"]),
            "tokens": int(batch["attention_mask"].sum()),
            "flops": step_flops(bench.model.config, way, batch),
            "steps": [],
        }
        for way, batch in batches.items()
    }
    for number in range(warmup + steps):
        for way, result in results.items():
            if result["steps"] is None:
                continue
            try:
                taken = bench.step(way, batches[way])
            except torch.OutOfMemoryError:
                result["steps"] = None
            else:
                result["steps"] += [taken] * (number >= warmup)
            if result["steps"] is None:  # out here the error no longer holds on to what the step had
                bench.optimizer.zero_grad()
                torch.cuda.empty_cache()
    return results


def table_row(result: dict, peak: float, reference: dict) -> str:
    """Returns one way's line of the table; times are medians, and the ratio is of hypotheses a second."""
    cells = [result["premise"], result["hypotheses"], result["way"], f"{result['tokens']:,}"]
    flops = f"{result['flops'] / 1e12:,.3g}"
    if result["steps"] is None:
        return table_line([*cells, "out of memory", *[""] * 6, flops, "", ""])

    def median(part: str, of: dict = result) -> float:
        return statistics.median(step[part] for step in of["steps"])

    seconds = median("step")
    cells += [f"{1000 * median(part):,.1f}" for part in ("step", "forward", "backward", "optimizer")]
    cells += [f"{result['tokens'] / seconds:,.0f}", f"{result['hypotheses'] / seconds:,.2f}"]
    cells += ["" if reference["steps"] is None else f"{median('step', reference) / seconds:.2f}"]
    cells += [flops, f"{result['flops'] / seconds / peak:.1%}"]
    memory = [step["peak_memory"] for step in result["steps"] if step["peak_memory"] is not None]
    return table_line([*cells, f"{max(memory) / 2**30:,.2f}" if memory else ""])


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    told = parser(__doc__)
    told.add_argument("--device", choices=("cuda", "cpu"), help="default: the GPU if there is one")
    told.add_argument("--size", choices=("3b", "tiny"), help="default: 3b on a GPU, tiny on a CPU")
    told.add_argument("--modalities", nargs="+", choices=MODALITIES, default=MODALITIES, help="default: all")
    counts = {"type": int, "choices": range(1, len(HYPOTHESES) + 1), "default": [1, 8], "metavar": "N"}
    told.add_argument("--hypotheses-per-premise", nargs="+", **counts, help="of the premise (default: 1 8)")
    told.add_argument("--steps", type=int, help="timed, of each way (default: 20 on a GPU, 3 on a CPU)")
    told.add_argument("--warmup", type=int, help="steps before them (default: 3 on a GPU, 1 on a CPU)")
    told.add_argument("--gradient-checkpointing", action="store_true", help="of the language model's layers")
    told.add_argument(
        "--output", type=Path, default=Path("runs/train_step.jsonl"), help="JSON lines are added to it (%(default)s)"
    )
    options = told.parse_args(arguments)
    logging.set_verbosity_error()

    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    on_gpu = device.type == "cuda"
    size = options.size or ("3b" if on_gpu else "tiny")
    steps = options.steps if options.steps is not None else (20 if on_gpu else 3)
    warmup = options.warmup if options.warmup is not None else (3 if on_gpu else 1)
    dtype = torch.bfloat16 if size == "3b" else torch.float32

    date, system = machine()
    peak = matmul_peak(device, dtype)
    tokenizer = train_tokenizer([PREMISE, *HYPOTHESES, *DEFAULT_PROMPT.values()] * 2, 800, num_bins=100)
    torch.manual_seed(0)
    start = time.perf_counter()
    bench = Bench(config_3b(tokenizer) if size == "3b" else tiny_config(tokenizer), tokenizer, device, dtype)
    if options.gradient_checkpointing:
        bench.checkpoint_activations()
    header = {
        "date": date,
        "command": " ".join(["python", *sys.argv]) if arguments is None else " ".join(arguments),
        "device": torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} of {os.cpu_count()} cores",
        "system": system,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "size": size,
        "parameters": bench.model.num_parameters(),
        "dtype": str(dtype).removeprefix("torch."),
        "gradient_checkpointing": options.gradient_checkpointing,
        "warmup": warmup,
        "peak_flops": peak,
        "build_seconds": time.perf_counter() - start,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)

    def keep(record: dict) -> None:
        with options.output.open("a") as file:
            file.write(json.dumps(record) + "\n")

    keep(header)
    print(
        f"{date}, {system}, {header['device']}, Python {platform.python_version()}, torch "
        f"{torch.__version__}; `{header['command']}`\n\n"
        f"{size}: {header['parameters'] / 1e9:.4g} billion parameters in {header['dtype']}, gradient checkpointing "
        f"{'on' if options.gradient_checkpointing else 'off'}; peak of a matmul {peak / 1e12:,.3g} TFLOP/s; medians "
        f"of {steps} steps after {warmup}.\n\n{COLUMNS}\n{ALIGNMENT}",
        flush=True,
    )
    for modality in options.modalities:
        for hypotheses in options.hypotheses_per_premise:
            results = measure(bench, modality, hypotheses, steps, warmup)
            for result in results.values():
                keep(result)
                print(table_row(result, peak, results["reference"]), flush=True)


if __name__ == "__main__":
    main()
