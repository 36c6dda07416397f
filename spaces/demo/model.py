"""Loads the checkpoint as anybody would, and asks it."""

import os
import re
import sys
from pathlib import Path


TINY = Path(__file__).resolve().parent / "../../checkpoints/clue-urn-tiny"
MODEL = os.environ.get("CLUE_MODEL") or str(TINY)
REVISION = os.environ.get("CLUE_REVISION")
if not Path(MODEL).is_dir() and not re.fullmatch(r"[0-9a-f]{40}", REVISION or ""):
    raise SystemExit(
        f"The checkpoint is {MODEL}. Give CLUE_MODEL a folder, or a repository of the Hub and CLUE_REVISION the "
        "commit to run (40 digits): its code is run here, so no other commit than the one you have read will do."
    )

# As the package reads it.
ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
if ZERO_GPU:
    import spaces  # Hugging Face's package, which must come before torch

import torch  # noqa: E402
from moments import Moment, find_moments  # noqa: E402
from transformers import pipeline  # noqa: E402
from validation import InvalidInput  # noqa: E402


on_gpu = ZERO_GPU or torch.cuda.is_available()
# AutoModel and AutoProcessor with the checkpoint's own code, and the pipeline it brings along.
clue = pipeline(
    "uncertain-inference",
    model=MODEL,
    revision=REVISION,
    trust_remote_code=True,
    device="cuda" if on_gpu else "cpu",
    dtype=torch.bfloat16 if on_gpu else torch.float32,
)


# The checkpoint's own code beside its pipeline; one from before belief over time has no such module.
timeline = sys.modules.get(f"{type(clue).__module__.rpartition('.')[0]}.timeline")


def forward(prepared: dict) -> dict:
    """Runs the model, the only part that needs a GPU."""
    return clue.forward([prepared])[0]


def forward_over_time(prepared: dict) -> tuple[torch.Tensor, torch.Tensor | None]:
    """
    Runs the model as [`forward`] does: reads a premise once, and judges it as far as it goes at each cut; returns
    logits and, where the checkpoint's calibration tells it, novelty.
    """
    inputs = clue.processor.collate_premises([prepared["premise"]])
    state = clue.model.read(**inputs.to(clue.device, clue.model.dtype))
    asked = (clue.model, clue.processor, state, prepared["cuts"], prepared["hypotheses"])
    calibration = clue.model.config.calibration or {}
    # One from before novelty, which has no function to tell it, has no such part either.
    has_novelty = any("novelty" in parts for parts in (calibration, *calibration.values()) if isinstance(parts, dict))
    novelty = timeline.novelty_at_cuts(*asked).cpu() if has_novelty else None
    return timeline.judge_cuts(*asked).cpu(), novelty


if ZERO_GPU:
    forward, forward_over_time = map(spaces.GPU(duration=60), (forward, forward_over_time))


def judge(premise: dict, hypotheses: list[str]) -> list[dict]:
    """Returns the pipeline's answers about a checked premise; [`InvalidInput`] if it cannot be decoded after all."""
    return clue.postprocess(forward(_prepare(premise, hypotheses)))


def judge_over_time(premise: dict, hypotheses: list[str]) -> list[dict]:
    """
    Returns what [`judge`] does, from one reading of the premise, and where this has two moments or more, beside each
    answer `over_time`, what the answer would have been at each: `times` (seconds, or numbers of sentences),
    `sentences` (of a text; else `None`), `probability` and `interval`, the last ones those of the answer itself.
    """
    prepared = _prepare(premise, hypotheses)
    encoded = prepared["premise"]
    moments = find_moments(timeline, clue, encoded, len(hypotheses))
    if len(moments) < 2:
        return clue.postprocess(forward(prepared))
    shared = {"hypotheses": hypotheses, "modality": encoded.modality, "notes": encoded.notes}
    shared["calibration"] = clue.model.config.calibration
    logits, novelty = forward_over_time(prepared | {"cuts": [moment.cut for moment in moments]})
    at_moments = [
        clue.postprocess({**shared, "logits": judged} | ({} if novelty is None else {"novelty": novelty[place]}))
        for place, judged in enumerate(logits)
    ]
    return [one[-1] | {"over_time": _course(moments, one)} for one in zip(*at_moments, strict=True)]


def _course(moments: list[Moment], answers: list[dict]) -> dict:
    return {
        "times": [moment.at for moment in moments],
        "sentences": None if moments[0].sentence is None else [moment.sentence for moment in moments],
        "probability": [answer["probability"] for answer in answers],
        "interval": [answer["interval"] for answer in answers],
    }


def _prepare(premise: dict, hypotheses: list[str]) -> dict:
    try:
        return clue.preprocess({**premise, "hypotheses": hypotheses})
    except ValueError as error:
        # The message may hold the name of a file: it is not for the page.
        which = "One of the clips" if "parts" in premise else "This clip"
        raise InvalidInput(f"{which} is damaged, cut off or too short: it cannot be read to its end.") from error
