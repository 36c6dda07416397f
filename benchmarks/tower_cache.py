"""
What it saves to keep the outputs of frozen towers: two epochs of training on video and on sound, with and without the
cache, side by side in one run.

```bash
python benchmarks/tower_cache.py
```

The model is that of `shared_premise.py`, of middle size with random weights, its towers frozen, with LoRA of rank 16
on the language model. Each clip is a file with four hypotheses; a step is one clip. An epoch is everything between the
Trainer's callbacks for its begin and end, so loading too. Each training is a process of its own.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile


# torch is imported by the measured processes alone.

SECONDS, FPS, WIDTH, HEIGHT = 30, 25, 1280, 720
CLIPS, HYPOTHESES_A_CLIP, EPOCHS = 4, 4, 2
SUFFIX = {"video": "mp4", "audio": "wav"}
VARIANTS = ("without", "with")


def write_videos(folder: Path, count: int) -> None:
    """Videos of a moving gradient, each a little different."""
    across, down = np.arange(WIDTH) // 4, np.arange(HEIGHT) // 4
    for number in range(count):
        image = np.full((HEIGHT * 3 // 2, WIDTH), 128, dtype=np.uint8)  # brightness, then colour: grey
        with av.open(folder / f"{number}.mp4", "w") as output:
            track = output.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
            track.width, track.height, track.pix_fmt, track.time_base = WIDTH, HEIGHT, "yuv420p", Fraction(1, FPS)
            for index in range(SECONDS * FPS):
                image[:HEIGHT] = (across[None] + down[:, None] * (number + 1) + 3 * index) % 256
                output.mux(track.encode(av.VideoFrame.from_ndarray(image, format="yuv420p")))
            output.mux(track.encode())


def write_sounds(folder: Path, count: int) -> None:
    """Sounds of a rising tone, each a little different."""
    clock = np.arange(SECONDS * 16000) / 16000
    for number in range(count):
        tone = 0.3 * np.sin(2 * np.pi * (200 + 10 * (number + 1) * clock) * clock)
        soundfile.write(folder / f"{number}.wav", tone, 16000)


def train(modality: str, folder: Path, cache: str, threads: int) -> dict:
    """Trains in this process, with a cache in the folder `cache` unless that is empty."""
    import pyarrow as pa
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import TrainerCallback

    from benchmarks.shared_premise import HYPOTHESES, build
    from datasets_scripts.schema import FEATURES
    from train.arguments import CLUETrainingArguments
    from train.collator import PremiseCollator
    from train.premises import PremiseDataset, group_premises
    from train.towers import open_tower_cache
    from train.trained import LORA_TARGET_MODULES
    from train.trainer import CLUETrainer

    class Clock(TrainerCallback):
        """Takes the time of each epoch."""

        def on_epoch_begin(self, *arguments, **options):
            self.start = time.perf_counter(), time.process_time()

        def on_epoch_end(self, *arguments, **options):
            result["seconds"].append(time.perf_counter() - self.start[0])
            result["cpu_seconds"].append(time.process_time() - self.start[1])

    torch.set_num_threads(threads)
    model, processor, _ = build()
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=LORA_TARGET_MODULES, modules_to_save=["confidence_head"])
    blank = dict.fromkeys(FEATURES) | {"modality": modality}
    table = [
        blank
        | {
            "id": f"{number}-{index}",
            modality: {"bytes": None, "path": str(folder / f"{number}.{SUFFIX[modality]}")},
            "hypothesis": HYPOTHESES[index],
            "probability": (number + index) % 5 / 4,
        }
        for number in range(CLIPS)
        for index in range(HYPOTHESES_A_CLIP)
    ]
    rows = Dataset(pa.Table.from_pylist(table, schema=FEATURES.arrow_schema))
    result = {"seconds": [], "cpu_seconds": []}
    with tempfile.TemporaryDirectory() as output:
        trainer = CLUETrainer(
            model=get_peft_model(model, lora),
            args=CLUETrainingArguments(
                output_dir=output,
                use_cpu=True,
                num_train_epochs=EPOCHS,
                per_device_train_batch_size=1,
                learning_rate=1e-4,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=PremiseDataset(rows, group_premises(rows, modality), processor),
            data_collator=PremiseCollator(processor),
            processing_class=processor,
            callbacks=[Clock()],
        )
        if cache:
            trainer.use_tower_cache(open_tower_cache(trainer, cache, 1.0))
        trainer.train()
    if cache:
        result["bytes"] = sum(path.stat().st_size for path in Path(cache).glob("??/*"))
    result["losses"] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    result["tokens"] = processor.encode_premise({modality: rows[0][modality]}).num_tokens
    return result


def run(threads: int) -> dict[str, dict[str, dict]]:
    """Every training in a process of its own: `{modality: {variant: result}}`."""
    results: dict[str, dict[str, dict]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_videos(folder, CLIPS)
        write_sounds(folder, CLIPS)
        for modality in SUFFIX:
            results[modality] = {}
            for variant in VARIANTS:
                cache = str(folder / f"cache-{modality}") if variant == "with" else ""
                command = [sys.executable, __file__, "--threads", str(threads), "--train", modality, name, cache]
                process = subprocess.run(
                    command,
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                    env=os.environ | {"TRANSFORMERS_VERBOSITY": "error"},
                )
                results[modality][variant] = json.loads(process.stdout.splitlines()[-1])
    return results


def report(results: dict[str, dict[str, dict]], threads: int) -> str:
    """The results as Markdown."""
    lines = [
        f"{datetime.date.today()}, {platform.system()} {platform.machine()}, {threads} threads of "
        f"{os.cpu_count()} cores, Python {platform.python_version()}; `python benchmarks/tower_cache.py "
        f"--threads {threads}`",
        "",
        "| clips | cache | epoch 1 (s) | epoch 2 (s) | ratio | epoch 1 (CPU s) | epoch 2 (CPU s) | ratio |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for modality, variants in results.items():
        for variant, result in variants.items():
            (first, second), (cpu_first, cpu_second) = result["seconds"], result["cpu_seconds"]
            lines.append(
                f"| {modality} | {variant} | {first:.1f} | {second:.1f} | {first / second:.1f} "
                f"| {cpu_first:.1f} | {cpu_second:.1f} | {cpu_first / cpu_second:.1f} |"
            )
    lines.append("")
    for modality, variants in results.items():
        pairs = zip(variants["without"]["losses"], variants["with"]["losses"], strict=True)
        apart = max(abs(one - other) for one, other in pairs)
        lines.append(
            f"- {modality}: {CLIPS} clips of {variants['with']['tokens']} tokens, "
            f"{variants['with']['bytes'] / CLIPS / 1e6:.1f} MB each in the cache. The losses of the "
            f"{len(variants['with']['losses'])} steps differ by at most {apart:.1e}."
        )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the processor (default: all)")
    parser.add_argument(
        "--train",
        nargs=3,
        metavar=("MODALITY", "FOLDER", "CACHE"),
        help="train in this process, without a cache if that is '', and print the result as JSON",
    )
    arguments = parser.parse_args()
    if arguments.train:
        modality, folder, cache = arguments.train
        print(json.dumps(train(modality, Path(folder), cache, arguments.threads)))
    else:
        print(report(run(arguments.threads), arguments.threads))


if __name__ == "__main__":
    main()
