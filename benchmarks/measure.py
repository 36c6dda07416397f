"""
Holds what the benchmarks share: processes of their own, clocks, tables, clips, and a model of middle size.

torch is imported by the measured processes alone: a process's peak memory starts from that of the one that made it.
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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

from common.cli import ArgumentParser


ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20 if sys.platform == "darwin" else 2**10  # in units of ru_maxrss
VOCABULARY = 151_936
HYPOTHESES = [
    f"{subject} {predicate} the clip."
    for subject in ("A crowd of people", "Nobody at all", "A bright light", "The second speaker")
    for predicate in ("is there at the start of", "is there at the end of", "is never a part of", "fills most of")
]


def parser(doc: str) -> ArgumentParser:
    """Returns a parser that shows a benchmark's docstring."""
    return ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def benchmark(
    doc: str,
    run: Callable[[int], Iterable[str]],
    measure: Callable[..., dict | None],
    option: str = "--threads",
    default: int | None = os.cpu_count(),
    help: str = "of the processor (default: all)",
) -> None:
    """
    Runs a benchmark's command line: prints the report, or is one of the processes that [`in_process`] starts.

    Args:
        doc (`str`): The benchmark's docstring.
        run (`Callable[[int], Iterable[str]]`): Yields the lines of the report, given the option's value.
        measure (`Callable[..., dict | None]`): Measures one case, given the arguments of [`in_process`].
        option (`str`), default (`int`), help (`str`): The one option.
    """
    options = parser(doc)
    options.add_argument(option, dest="number", metavar="N", type=int, default=default, help=help)
    options.add_argument("--measure", nargs="+", metavar="ARGUMENT", help="measure one case in this process")
    arguments = options.parse_args()
    if arguments.measure:
        *case, target = arguments.measure
        if (result := measure(*case)) is not None:
            Path(target).write_text(json.dumps(result))
        return
    threads = f", {arguments.number} threads of {os.cpu_count()} cores" if option == "--threads" else ""
    command = f"python benchmarks/{Path(sys.argv[0]).name} {option} {arguments.number}"
    print(f"{', '.join(machine())}{threads}, Python {platform.python_version()}; `{command}`\n", flush=True)
    for line in run(arguments.number):
        print(line, flush=True)


def in_process(
    *case: str | Path, threads: int | None = None, launcher: Iterable[str] = (), **environment: str
) -> dict:
    """Calls the running benchmark's `measure(*case)` in a process of its own, or in those that a launcher starts."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, *launcher, sys.argv[0], "--measure", *map(str, case), str(result)]
        told = {"TRANSFORMERS_VERBOSITY": "error"} | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | told | environment)
        return json.loads(result.read_text())


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Yields a dictionary that has `seconds` and `cpu_seconds` of the block once it is over."""
    start, cpu_start, taken = time.perf_counter(), time.process_time(), {}
    yield taken
    taken |= {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}


def peak_mib() -> float:
    """Returns the peak memory of this process since it began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def machine() -> tuple[str, str]:
    """Returns today's date and the system, as reports begin."""
    return str(datetime.date.today()), f"{platform.system()} {platform.machine()}"


def table_line(cells: Iterable[object]) -> str:
    """Returns a line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def speed_cells(result: dict, slowest: dict) -> tuple[str, ...]:
    """Returns hypotheses a second, CPU seconds, each with its ratio to the slowest, and peak memory."""
    return (
        f"{len(result['probabilities']) / result['seconds']:.2f}",
        f"{slowest['seconds'] / result['seconds']:.1f}",
        f"{result['cpu_seconds']:.1f}",
        f"{slowest['cpu_seconds'] / result['cpu_seconds']:.1f}",
        f"{result['peak_mib']:,.0f}",
    )


def write_video(path: Path, width: int, height: int, fps: int, slope: int = 1, seconds: int = 30) -> None:
    """Writes a video of a moving gradient in grey."""
    across, down = np.arange(width) // 4, np.arange(height) // 4
    image = np.full((height * 3 // 2, width), 128, dtype=np.uint8)  # brightness, then colour: grey
    with av.open(path, "w") as output:
        track = output.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        track.width, track.height, track.pix_fmt, track.time_base = width, height, "yuv420p", Fraction(1, fps)
        for index in range(seconds * fps):
            image[:height] = (across[None] + down[:, None] * slope + 3 * index) % 256
            output.mux(track.encode(av.VideoFrame.from_ndarray(image, format="yuv420p")))
        output.mux(track.encode())


def write_sound(path: Path, slope: int = 1, seconds: int = 30) -> None:
    """Writes a sound of a rising tone."""
    clock = np.arange(seconds * 16000) / 16000
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + 10 * slope * clock) * clock), 16000)


def build_processor(tokenizer, **options):
    """Returns a processor with the settings of the paper's model."""
    from transformers import Qwen2VLVideoProcessor, WhisperFeatureExtractor

    from modeling_clue import CLUEProcessor
    from modeling_clue.conversion import FRAME_SIZE

    extractor = WhisperFeatureExtractor(feature_size=128, return_attention_mask=True)
    return CLUEProcessor(extractor, Qwen2VLVideoProcessor(size=FRAME_SIZE), tokenizer, **options)


# The sizes of a Thinker that differ between models of its family, in the order in which `build_config` takes them.
TEXT = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
AUDIO = ("d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim")
VISION = ("depth", "hidden_size", "intermediate_size", "num_heads", "fullatt_block_indexes")


def build_config(tokenizer, text: tuple, mrope_section: tuple, audio: tuple, vision: tuple):
    """Returns a configuration of the given sizes, with two heads of keys and the special tokens of a tokenizer."""
    from modeling_clue import CLUEConfig
    from modeling_clue.backbone import QWEN2_5_OMNI

    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": list(mrope_section)}
    shared = {"vocab_size": VOCABULARY, "num_key_value_heads": 2, "rope_parameters": rope}
    return CLUEConfig(
        text_config={"tie_word_embeddings": False} | shared | dict(zip(TEXT, text, strict=True)),
        audio_config=dict(zip(AUDIO, audio, strict=True)) | {"output_dim": text[0]},
        vision_config=dict(zip(VISION, vision, strict=True)) | {"out_hidden_size": text[0]},
        **QWEN2_5_OMNI.token_ids(tokenizer),
    )


def build_model():
    """Returns a model of middle size, its processor and the ids of its confidence tokens, always the same."""
    import torch

    from modeling_clue import CLUEForConfidenceEstimation
    from modeling_clue.checkpoint_parts import confidence_tokens
    from modeling_clue.prompt import DEFAULT_PROMPT
    from train.tiny import train_tokenizer

    tokenizer = train_tokenizer([*HYPOTHESES, *DEFAULT_PROMPT.values()] * 2, 800, num_bins=100)
    audio, vision = (320, 7, 5, 1280), (7, 320, 856, 4, [1, 3, 5, 6])
    config = build_config(tokenizer, (512, 2752, 8, 8), (8, 12, 12), audio, vision)
    torch.manual_seed(0)
    model = CLUEForConfidenceEstimation(config).eval()
    confidence_ids = tokenizer.convert_tokens_to_ids(confidence_tokens(100))
    with torch.no_grad():  # an answer that depends on the hypothesis, and the same one in the vocabulary
        model.confidence_head.weight.mul_(20)
        model.lm_head.weight[confidence_ids] = model.confidence_head.weight
    return model, build_processor(tokenizer), confidence_ids


def vocabulary_logits(model, inputs: dict, confidence_ids: list[int], **options):
    """Returns each row's logits of the confidence tokens, by transformers' own forward over the whole vocabulary."""
    import torch
    from transformers import Qwen2_5OmniThinkerForConditionalGeneration

    inputs = {name: value for name, value in inputs.items() if name != "branch_ids"}
    logits = Qwen2_5OmniThinkerForConditionalGeneration.forward(model, **inputs, **options).logits
    last = inputs["attention_mask"].sum(dim=1) - 1
    return logits[torch.arange(len(last), device=last.device), last][:, confidence_ids]
