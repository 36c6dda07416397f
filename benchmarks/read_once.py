"""
Measures what it saves to keep a premise that was read: the second question about a clip beside the first, and belief
at sixty times of a video beside sixty videos that end there. README.md says more.

```bash
python benchmarks/read_once.py
```
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import (
    HYPOTHESES,
    benchmark,
    build_model,
    in_process,
    stopwatch,
    table_line,
    write_video,
)


# Sixty pairs of frames. Of the videos that end at a time every fifth is judged, and counted for five.
SECONDS, FPS, EVERY = 30, 4.0, 5
CLAIMS = HYPOTHESES[:4]


def measure(case: str, clip: str) -> dict:
    """Measures one of the two in this process: decoding, towers and all, as the pipeline does it."""
    from modeling_clue.pipeline_clue import UncertainInferencePipeline

    model, processor, _ = build_model()
    clue = UncertainInferencePipeline(model, processor=processor)
    clue({"text": "A short text.", "hypotheses": CLAIMS})  # what runs slower only the first time
    if case == "second question":
        state = clue.read({"video": clip})
        clue(state, hypotheses=CLAIMS[:1])
        with stopwatch() as kept:
            second = clue(state, hypotheses=CLAIMS[1:2])
        with stopwatch() as anew:
            whole = clue({"video": clip, "hypotheses": CLAIMS[1:2]})
        differ = abs(second[0]["probability"] - whole[0]["probability"])
        return {"kept": kept, "anew": anew, "differ": differ, "tokens": int(state.mask.sum())}
    with stopwatch() as kept:
        curves = clue.timeline({"video": clip}, CLAIMS, fps=FPS)
    times, differ = curves[0]["times"], 0.0
    with stopwatch() as some:
        for place in range(0, len(times), EVERY):
            answers = clue({"video": clip, "start": 0.0, "end": times[place], "hypotheses": CLAIMS}, fps=FPS)
            differ = max(
                differ,
                *(
                    abs(curve["probability"][place] - one["probability"])
                    for curve, one in zip(curves, answers, strict=True)
                ),
            )
    anew = {name: EVERY * value for name, value in some.items()}
    tokens = processor.encode_premise({"video": clip}, fps=FPS).num_tokens
    return {"kept": kept, "anew": anew, "differ": differ, "tokens": tokens, "points": len(times)}


def run(threads: int) -> Iterator[str]:
    """Yields the report."""
    head = (
        "case",
        "tokens",
        "kept: seconds",
        "CPU s",
        "anew: seconds",
        "CPU s",
        "ratio",
        "CPU ratio",
        "largest difference",
    )
    yield table_line(head)
    yield table_line(["---"] + ["---:"] * (len(head) - 1))
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "clip.mp4")
        write_video(clip, 1280, 720, 25, seconds=SECONDS)
        for case in ("second question", "sixty times"):
            result = in_process(case, clip, threads=threads)
            kept, anew = result["kept"], result["anew"]
            cells = [f"{part[name]:.2f}" for part in (kept, anew) for name in ("seconds", "cpu_seconds")]
            ratios = [f"{anew[name] / kept[name]:.1f}" for name in ("seconds", "cpu_seconds")]
            yield table_line((case, f"{result['tokens']:,}", *cells, *ratios, f"{result['differ']:.1e}"))


if __name__ == "__main__":
    benchmark(__doc__, run, measure)
