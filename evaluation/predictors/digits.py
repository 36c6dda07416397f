"""
The distribution that a language model has over the numbers it could write, without writing one.

The answer to the rubric is begun as `<answer>`, and each of the 101 continuations `0.00`, `0.01`, ..., `1.00` has the
product of its tokens' probabilities. They make a tree: what several begin with is run once, 15 passes of one token
after the opening for a vocabulary with a token for each digit. All have four characters, so none is the beginning of
another and they exclude each other; their probabilities, divided by their sum, are a distribution, whose mean is the
prediction.

That a score is the expectation over the numbers a model may write is G-Eval's idea (Liu et al. 2023,
https://arxiv.org/abs/2303.16634); that this is the decoding of least squared error, and better than the likeliest
number, is from "Regression-aware inference with LLMs" (Lukasik et al. 2024, https://arxiv.org/abs/2403.04182).

What has another form, such as `0.8` and the end, is left out; so are other ways to cut the same text into tokens.
"""

from copy import deepcopy
from pathlib import Path

import torch
from transformers import Cache

from evaluation.predictors.prediction import INTERVAL_MASS, Prediction
from evaluation.predictors.prompting import LocalPrompting, Prompt
from modeling_clue.confidence import central_interval, expectation, standard_deviation


OPENING = "<answer>"
NUMBERS = tuple(f"{hundredths / 100:.2f}" for hundredths in range(101))


class DigitsPredictor(LocalPrompting):
    """
    A local model's distribution over numbers of two decimals.

    Args:
        prompt (`Prompt`): With `decimals_rubric`.
        folder (`Path`): The folder with the model.
    """

    def __init__(self, prompt: Prompt, folder: Path):
        super().__init__(prompt, folder)
        encode = self.model.tokenizer.encode
        self.continuations = [tuple(encode(OPENING + number, add_special_tokens=False)) for number in NUMBERS]

    @torch.inference_mode()
    def ask(self, inputs: dict) -> Prediction:
        """Reads the distribution."""
        scores = self.continuation_scores(inputs)
        distribution = scores.softmax(-1)
        return Prediction(
            probability=min(1.0, float(expectation(distribution))),
            standard_deviation=float(standard_deviation(distribution)),
            entropy=float(torch.special.entr(distribution).sum()),
            interval=central_interval(distribution, INTERVAL_MASS).tolist(),
            notes=[],
        )

    @torch.inference_mode()
    def continuation_scores(self, inputs: dict) -> torch.Tensor:
        """
        How probable each number is to follow.

        Args:
            inputs (`dict`): The prompt, as the model takes it.

        Returns:
            `torch.Tensor`: log-probabilities of the opening with each of [`NUMBERS`], `(101,)`.
        """
        scores = torch.zeros(len(NUMBERS), dtype=torch.float64)
        self._descend(scores, list(range(len(NUMBERS))), 0, inputs["input_ids"], *self.model.next_token(inputs))
        return scores

    def _descend(
        self,
        scores: torch.Tensor,
        members: list[int],
        depth: int,
        ids: torch.Tensor,
        next_token: torch.Tensor,
        past: Cache,
    ) -> None:
        """Adds to the scores of those numbers whose first `depth` tokens, the last of `ids`, are the same."""
        branches = {}
        for member in members:
            branches.setdefault(self.continuations[member][depth], []).append(member)
        for token, group in branches.items():
            scores[group] += float(next_token[token])
            # No number is the beginning of another: these end together, and then there is one.
            if depth + 1 == len(self.continuations[group[0]]):
                continue
            longer = torch.cat([ids, ids.new_tensor([[token]])], dim=1)
            # A copy: not every cache can be cut back to where branches part.
            given = {"input_ids": longer, "attention_mask": torch.ones_like(longer), "past_key_values": deepcopy(past)}
            self._descend(scores, group, depth + 1, longer, *self.model.next_token(given))
