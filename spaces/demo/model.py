"""Loads the checkpoint as anybody would, and asks it."""

import os
import re
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


def forward(prepared: dict) -> dict:
    """Runs the model, the only part that needs a GPU."""
    return clue.forward([prepared])[0]


if ZERO_GPU:
    forward = spaces.GPU(duration=60)(forward)


def judge(premise: dict, hypotheses: list[str]) -> list[dict]:
    """Returns the pipeline's answers about a checked premise; [`InvalidInput`] if it cannot be decoded after all."""
    try:
        prepared = clue.preprocess({**premise, "hypotheses": hypotheses})
    except ValueError as error:
        # The message may hold the name of a file: it is not for the page.
        which = "One of the clips" if "parts" in premise else "This clip"
        raise InvalidInput(f"{which} is damaged, cut off or too short: it cannot be read to its end.") from error
    return clue.postprocess(forward(prepared))
