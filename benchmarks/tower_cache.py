"""
Measures what it saves to keep the outputs of frozen towers: two epochs of training on video and on sound, with and
without the cache, each in a process of its own. An epoch is everything between the Trainer's callbacks for its begin
and end, so loading too.

```bash
python benchmarks/tower_cache.py
```
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import (
    HYPOTHESES,
    benchmark,
    build_model,
    in_process,
    table_line,
    write_sound,
    write_video,
)


CLIPS, HYPOTHESES_A_CLIP, EPOCHS = 4, 4, 2
SUFFIX = {"video": "mp4", "audio": "wav"}


def train(modality: str, folder: str, cache: str) -> dict:
    """Trains in this process, with a cache in the folder `cache` unless that is empty."""
    import pyarrow as pa
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import TrainerCallback

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

    model, processor, _ = build_model()
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=LORA_TARGET_MODULES, modules_to_save=["confidence_head"])
    table = [
        dict.fromkeys(FEATURES)
        | {
            "id": f"{number}-{index}",
            "modality": modality,
            modality: {"bytes": None, "path": f"{folder}/{number}.{SUFFIX[modality]}"},
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


def run(threads: int) -> Iterator[str]:
    """Yields the report: a table of every training, then how far the losses are apart."""
    yield "| clips | cache | epoch 1 (s) | epoch 2 (s) | ratio | epoch 1 (CPU s) | epoch 2 (CPU s) | ratio |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    notes = [""]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(CLIPS):
            write_video(folder / f"{number}.mp4", 1280, 720, fps=25, slope=number + 1)
            write_sound(folder / f"{number}.wav", slope=number + 1)
        for modality in SUFFIX:
            results = {}
            for variant, cache in (("without", ""), ("with", folder / f"cache-{modality}")):
                results[variant] = result = in_process(modality, folder, cache, threads=threads)
                cells = [
                    f"{value:.1f}"
                    for first, second in (result["seconds"], result["cpu_seconds"])
                    for value in (first, second, first / second)
                ]
                yield table_line((modality, variant, *cells))
            pairs = zip(results["without"]["losses"], result["losses"], strict=True)
            apart = max(abs(one - other) for one, other in pairs)
            notes.append(
                f"- {modality}: {CLIPS} clips of {result['tokens']} tokens, {result['bytes'] / CLIPS / 1e6:.1f} MB "
                f"each in the cache. The losses of the {len(result['losses'])} steps differ by at most {apart:.1e}."
            )
    yield from notes


if __name__ == "__main__":
    benchmark(__doc__, run, train)
