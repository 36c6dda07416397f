"""CLUE-D: a checkpoint that gives a distribution."""

from pathlib import Path

import torch
from transformers import AutoModel, AutoProcessor

from evaluation.predictors.prediction import INTERVAL_MASS, Prediction, TwoStagePredictor
from modeling_clue.confidence import central_interval, standard_deviation
from modeling_clue.conversion import load_whole, read
from modeling_clue.processing_clue import CLUEInputs


class CLUEPredictor(TwoStagePredictor):
    """
    A checkpoint with its processor, loaded as anybody loads one from the Hub.

    Args:
        checkpoint (`str`): Folder of the checkpoint.
    """

    def __init__(self, checkpoint: str | Path):
        self.processor = read(AutoProcessor, checkpoint, trust_remote_code=True)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = load_whole(AutoModel, checkpoint, trust_remote_code=True).to(device).eval()

    def prepare(self, premises: list, hypotheses: list[list[str]]) -> tuple[CLUEInputs, list[int]]:
        """
        Decodes and tokenizes a batch; each premise is encoded once for all of its hypotheses.

        Args:
            premises (`list`): Texts, paths, bytes or rows of a UMUI dataset.
            hypotheses (`list[list[str]]`): The hypotheses of each premise.

        Returns:
            `tuple[CLUEInputs, list[int]]`: inputs of the model, and the number of hypotheses of each premise.
        """
        return self.processor(premises, hypotheses), [len(claims) for claims in hypotheses]

    @torch.inference_mode()
    def answer(self, prepared: tuple[CLUEInputs, list[int]]) -> list[list[Prediction]]:
        """
        Scores a batch.

        Args:
            prepared (`tuple[CLUEInputs, list[int]]`): What `prepare` gave.

        Returns:
            `list[list[Prediction]]`: the answers, in the order of the hypotheses.
        """
        inputs, counts = prepared
        all_notes = inputs.notes
        output = self.model(**inputs.to(self.model.device))
        distributions = self.model.distribution(output.logits)
        answers = zip(
            # A sum in float32 may pass 1 by a rounding; NaN stays NaN.
            output.probability.clamp(0, 1).tolist(),
            standard_deviation(distributions).tolist(),
            torch.special.entr(distributions).sum(-1).tolist(),
            central_interval(distributions, INTERVAL_MASS).tolist(),
            strict=True,
        )
        return [
            [Prediction(*next(answers), notes=list(notes)) for _ in range(count)]
            for count, notes in zip(counts, all_notes, strict=True)
        ]
