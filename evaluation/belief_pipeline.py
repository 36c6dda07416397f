"""Loads the pipeline that tells a checkpoint's belief over time."""

from pathlib import Path

from transformers import AutoConfig, pipeline

from evaluation.predictors.checkpoints import answer_format
from modeling_clue.checkpoint_parts import read


def load_belief_pipeline(checkpoint: Path):
    """
    Loads a checkpoint of CLUE as anybody loads one from the Hub, as a pipeline with `timeline`.

    Raises:
        ValueError: if the checkpoint writes its answers, or its own code can't tell belief over time.
    """
    if (checkpoint / "modeling_clue.py").exists() and not (checkpoint / "timeline.py").exists():
        raise ValueError(
            f"The code in {checkpoint} is older than belief over time: load the checkpoint with "
            "`CLUEForConfidenceEstimation` and save it anew."
        )
    config = read(AutoConfig, checkpoint, trust_remote_code=True)
    if answer_format(checkpoint, config) is not None:
        raise ValueError(f"--model {checkpoint} writes its answers: only CLUE tells its belief over time.")
    return pipeline("uncertain-inference", model=str(checkpoint), trust_remote_code=True)
