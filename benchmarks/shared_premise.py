"""
Measures what it saves to encode a premise once: 16 hypotheses about one video clip and one audio clip, scored three
ways, each in a process of its own. README.md says which.

```bash
python benchmarks/shared_premise.py
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
    peak_mib,
    speed_cells,
    stopwatch,
    table_line,
    vocabulary_logits,
    write_sound,
    write_video,
)


CLIPS = {"video": "clip.mp4", "audio": "clip.wav"}
VARIANTS = ("vocabulary", "head", "branches")


def measure(variant: str, modality: str, clip: str) -> dict:
    """Scores the hypotheses one way, in this process."""
    import torch

    from modeling_clue.confidence import expectation

    model, processor, confidence_ids = build_model()
    with stopwatch() as preparation:
        premise = processor.encode_premise({modality: clip})
    groups = [HYPOTHESES] if variant == "branches" else [[hypothesis] for hypothesis in HYPOTHESES]
    batches = [processor.collate([premise], [group]) for group in groups]

    def score(batch) -> torch.Tensor:
        if variant != "vocabulary":
            return model(**batch).probability
        return expectation(vocabulary_logits(model, batch, confidence_ids).softmax(-1))

    with torch.inference_mode():
        model(**processor("A short text.", "A hypothesis."))  # what runs slower only the first time
        before = peak_mib()
        with stopwatch() as taken:
            probabilities = torch.cat([score(batch) for batch in batches])
    return {
        **taken,
        "preparation": preparation["seconds"],
        "premise_tokens": premise.num_tokens,
        "peak_mib": peak_mib(),
        "rise_mib": peak_mib() - before,
        "probabilities": probabilities.tolist(),
    }


def run(threads: int) -> Iterator[str]:
    """Yields the report: a table of every variant on every clip, then how far the answers are apart."""
    yield "| clip | scored | hypotheses / s | ratio | CPU s | ratio | peak memory (MiB) | rise in scoring (MiB) |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    notes = [""]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_video(folder / CLIPS["video"], 256, 256, fps=10)
        write_sound(folder / CLIPS["audio"], slope=2)
        for modality, clip in CLIPS.items():
            results = {}
            for variant in VARIANTS:
                results[variant] = result = in_process(variant, modality, folder / clip, threads=threads)
                cells = speed_cells(result, results["vocabulary"])
                yield table_line((modality, variant, *cells, f"{result['rise_mib']:,.0f}"))
            answers = result["probabilities"]
            apart = {
                variant: max(
                    abs(one - other) for one, other in zip(results[variant]["probabilities"], answers, strict=True)
                )
                for variant in ("head", "vocabulary")
            }
            notes.append(
                f"- {modality}: {len(answers)} hypotheses about {result['premise_tokens']} tokens, prepared once in "
                f"{result['preparation']:.2f} s, which is not counted. Probabilities from {min(answers):.3f} to "
                f"{max(answers):.3f}; those of branches differ by at most {apart['head']:.1e} from `head` and "
                f"{apart['vocabulary']:.1e} from `vocabulary`."
            )
    yield from notes


if __name__ == "__main__":
    benchmark(__doc__, run, measure)
