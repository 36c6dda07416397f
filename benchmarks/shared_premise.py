"""
What it saves to encode a premise once: 16 hypotheses about one video clip and one audio clip, scored three ways.

```bash
python benchmarks/shared_premise.py
```

- `vocabulary`: one by one, with transformers' own forward of the Thinker: logits over the whole vocabulary at every
  position, of which the confidence tokens at the last one are read;
- `head`: one by one, with the confidence head at the last position only;
- `branches`: all hypotheses in one row, as branches of the premise.

The model is of middle size with random weights (hidden size 512, 8 layers, 151,936 tokens, towers in proportion, in
float32). The clips are files, decoded and prepared once by the processor: that is timed apart. Every variant runs in a
process of its own, so that its peak memory is its own.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile


# torch is imported by the measured processes alone: a process's peak memory starts from that of the one that made it.

SECONDS = 30
CLIPS = {"video": "clip.mp4", "audio": "clip.wav"}
VARIANTS = ("vocabulary", "head", "branches")
VOCABULARY = 151_936
HYPOTHESES = [
    f"{subject} {predicate} the clip."
    for subject in ("A crowd of people", "Nobody at all", "A bright light", "The second speaker")
    for predicate in ("is there at the start of", "is there at the end of", "is never a part of", "fills most of")
]


def write_clips(folder: Path) -> None:
    """A video of a moving gradient and a sound of a rising tone, as files."""
    rate, size = 10, 256
    ramp = np.arange(size, dtype=np.uint8)
    with av.open(folder / CLIPS["video"], "w") as output:
        track = output.add_stream("libx264", rate=rate)
        track.width, track.height, track.pix_fmt, track.time_base = size, size, "yuv420p", Fraction(1, rate)
        for index in range(SECONDS * rate):
            row = np.roll(ramp, index * 3)
            image = np.stack(np.broadcast_arrays(row[None], row[:, None], np.uint8(index % 256)), axis=-1)
            output.mux(track.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        output.mux(track.encode())
    clock = np.arange(SECONDS * 16000) / 16000
    soundfile.write(folder / CLIPS["audio"], 0.3 * np.sin(2 * np.pi * (200 + 20 * clock) * clock), 16000)


def build():
    """The model and its processor, the same in every process."""
    import torch
    from transformers import Qwen2VLVideoProcessor, WhisperFeatureExtractor

    from modeling_clue import CLUEConfig, CLUEForConfidenceEstimation, CLUEProcessor
    from modeling_clue.backbone import QWEN2_5_OMNI
    from modeling_clue.conversion import FRAME_SIZE, confidence_tokens
    from modeling_clue.processing_clue import DEFAULT_PROMPT
    from train.tiny import train_tokenizer

    tokenizer = train_tokenizer([*HYPOTHESES, *DEFAULT_PROMPT.values()] * 2, 800, num_bins=100)
    config = CLUEConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 512,
            "intermediate_size": 2752,
            "num_hidden_layers": 8,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
        },
        audio_config={
            "d_model": 320,
            "encoder_layers": 7,
            "encoder_attention_heads": 5,
            "encoder_ffn_dim": 1280,
            "output_dim": 512,
        },
        vision_config={
            "depth": 7,
            "hidden_size": 320,
            "intermediate_size": 856,
            "num_heads": 4,
            "fullatt_block_indexes": [1, 3, 5, 6],
            "out_hidden_size": 512,
        },
        **{field: tokenizer.convert_tokens_to_ids(token) for token, field in QWEN2_5_OMNI.token_id_fields.items()},
    )
    torch.manual_seed(0)
    model = CLUEForConfidenceEstimation(config).eval()
    confidence_ids = tokenizer.convert_tokens_to_ids(confidence_tokens(100))
    with torch.no_grad():  # an answer that depends on the hypothesis, and the same one in the vocabulary
        model.confidence_head.weight.mul_(20)
        model.lm_head.weight[confidence_ids] = model.confidence_head.weight
    processor = CLUEProcessor(
        WhisperFeatureExtractor(feature_size=128, return_attention_mask=True),
        Qwen2VLVideoProcessor(size=FRAME_SIZE),
        tokenizer,
    )
    return model, processor, confidence_ids


def measure(variant: str, modality: str, clip: Path, threads: int) -> dict:
    """Scores the hypotheses one way, in this process."""
    import torch
    from transformers import Qwen2_5OmniThinkerForConditionalGeneration

    from modeling_clue.confidence import expectation

    torch.set_num_threads(threads)
    model, processor, confidence_ids = build()
    start = time.perf_counter()
    premise = processor.encode_premise({modality: str(clip)})
    preparation = time.perf_counter() - start
    groups = [HYPOTHESES] if variant == "branches" else [[hypothesis] for hypothesis in HYPOTHESES]
    batches = [processor.collate([premise], [group]) for group in groups]

    def score(batch) -> torch.Tensor:
        if variant != "vocabulary":
            return model(**batch).probability
        inputs = {name: value for name, value in batch.items() if name != "branch_ids"}
        logits = Qwen2_5OmniThinkerForConditionalGeneration.forward(model, **inputs).logits
        return expectation(logits[:, -1, confidence_ids].softmax(-1))

    with torch.inference_mode():
        model(**processor("A short text.", "A hypothesis."))  # what runs slower only the first time
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, cpu_start = time.perf_counter(), time.process_time()
        probabilities = torch.cat([score(batch) for batch in batches])
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss, to MiB
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "preparation": preparation,
        "premise_tokens": premise.num_tokens,
        "peak_mib": peak / unit,
        "rise_mib": (peak - before) / unit,
        "probabilities": probabilities.tolist(),
    }


def run(threads: int) -> dict[str, dict[str, dict]]:
    """Every variant on every clip, each in a process of its own: `{modality: {variant: result}}`."""
    results: dict[str, dict[str, dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_clips(Path(folder))
        for modality, clip in CLIPS.items():
            results[modality] = {}
            for variant in VARIANTS:
                command = [sys.executable, __file__, "--threads", str(threads), "--measure", variant, modality]
                process = subprocess.run(
                    [*command, str(Path(folder) / clip)],
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
        f"{os.cpu_count()} cores, Python {platform.python_version()}; `python benchmarks/shared_premise.py "
        f"--threads {threads}`",
        "",
        "| clip | scored | hypotheses / s | ratio | CPU s | ratio | peak memory (MiB) | rise in scoring (MiB) |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for modality, variants in results.items():
        slowest = variants["vocabulary"]
        for variant, result in variants.items():
            lines.append(
                f"| {modality} | {variant} | {len(HYPOTHESES) / result['seconds']:.2f} "
                f"| {slowest['seconds'] / result['seconds']:.1f} | {result['cpu_seconds']:.1f} "
                f"| {slowest['cpu_seconds'] / result['cpu_seconds']:.1f} | {result['peak_mib']:,.0f} "
                f"| {result['rise_mib']:,.0f} |"
            )
    lines.append("")
    for modality, variants in results.items():
        branches = variants["branches"]
        answers = branches["probabilities"]
        apart = {
            variant: max(abs(one - other) for one, other in zip(result["probabilities"], answers, strict=True))
            for variant, result in variants.items()
        }
        lines.append(
            f"- {modality}: {len(answers)} hypotheses about {branches['premise_tokens']} tokens, prepared once in "
            f"{branches['preparation']:.2f} s, which is not counted. Probabilities from {min(answers):.3f} to "
            f"{max(answers):.3f}; those of branches differ by at most {apart['head']:.1e} from `head` and "
            f"{apart['vocabulary']:.1e} from `vocabulary`."
        )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the processor (default: all)")
    parser.add_argument(
        "--measure",
        nargs=3,
        metavar=("VARIANT", "MODALITY", "CLIP"),
        help="measure one variant in this process and print the result as JSON",
    )
    arguments = parser.parse_args()
    if arguments.measure:
        variant, modality, clip = arguments.measure
        print(json.dumps(measure(variant, modality, Path(clip), arguments.threads)))
    else:
        print(report(run(arguments.threads), arguments.threads))


if __name__ == "__main__":
    main()
