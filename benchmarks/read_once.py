"""
Measures what it saves to keep a premise that was read: the second question about a clip beside the first, and belief
at sixty times of a sound beside sixty sounds that end there. README.md says more.

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
    write_sound,
    write_video,
)


VIDEO_SECONDS, SOUND_SECONDS, POINTS = 30, 120, 60
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
    sound = {"audio": clip, "start": 0.0}
    with stopwatch() as kept:
        curves = clue.timeline({"audio": clip}, CLAIMS, every=SOUND_SECONDS / POINTS)
    times = curves[0]["times"]
    with stopwatch() as anew:
        cut = [clue({**sound, "end": time, "hypotheses": CLAIMS}) for time in times]
    differ = max(
        abs(curve["probability"][place] - answers[row]["probability"])
        for place, answers in enumerate(cut)
        for row, curve in enumerate(curves)
    )
    return {"kept": kept, "anew": anew, "differ": differ, "tokens": 25 * SOUND_SECONDS}


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
        video, sound = Path(folder, "clip.mp4"), Path(folder, "clip.wav")
        write_video(video, 1280, 720, 25, seconds=VIDEO_SECONDS)
        write_sound(sound, seconds=SOUND_SECONDS)
        for case, clip in (("second question", video), ("sixty times", sound)):
            result = in_process(case, clip, threads=threads)
            kept, anew = result["kept"], result["anew"]
            cells = [f"{part[name]:.2f}" for part in (kept, anew) for name in ("seconds", "cpu_seconds")]
            ratios = [f"{anew[name] / kept[name]:.1f}" for name in ("seconds", "cpu_seconds")]
            yield table_line((case, f"{result['tokens']:,}", *cells, *ratios, f"{result['differ']:.1e}"))


if __name__ == "__main__":
    benchmark(__doc__, run, measure)
