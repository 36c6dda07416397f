"""
Zero-shot prompting for a yes or a no: the probability of yes, given that the model says one of the two.

P(yes) / (P(yes) + P(no)), where each sums over all tokens that are the word but for case and white space. It is read
from what follows the prompt, so the model must answer without words or thoughts before.
"""

import math
from collections.abc import Iterable
from pathlib import Path

import torch

from chat.failures import RunStoppedError
from chat.replies import cut_off
from evaluation.predictors.prediction import WrittenPrediction
from evaluation.predictors.prompting import LocalPrompting, Prompt, ServerPrompting, unanswered


# How byte-level and SentencePiece vocabularies write white space, where a server sends tokens as they are stored.
STORED_SPACE = "ĠĊ▁"
TOP_LOGPROBS = 20
# What OpenAI's API gives for a token that has next to no probability, in place of its logarithm.
NEVER = -9999.0


def said(token: str) -> str | None:
    """`"yes"` or `"no"`, whichever a token's text is but for case and white space around; `None` for any other."""
    word = token.strip().strip(STORED_SPACE).strip().casefold()
    return word if word in ("yes", "no") else None


def yes_among(tokens: Iterable[tuple[str, float]]) -> tuple[float | None, float]:
    """
    The probability of yes among yes and no.

    Args:
        tokens (`Iterable[tuple[str, float]]`): Texts of tokens and their log-probabilities.

    Returns:
        `tuple[float | None, float]`: the probability, `None` if no token is either word; and the probability of both.
    """
    sums = {"yes": 0.0, "no": 0.0}
    found = [(word, logprob) for token, logprob in tokens if (word := said(token)) is not None]
    if not found:
        return None, 0.0
    # Relative to the largest: of words that are hardly ever said, the quotient is right still.
    largest = max(logprob for _, logprob in found)
    for word, logprob in found:
        sums[word] += math.exp(logprob - largest)
    both = sums["yes"] + sums["no"]
    return sums["yes"] / both, both * math.exp(largest)


class LocalBinary(LocalPrompting):
    """
    A local model's next token, yes or no.

    Args:
        prompt (`Prompt`): With `yes_no_rubric`.
        folder (`Path`): The folder with the model.

    Raises:
        `RunStoppedError`: if one of the words is no token of its vocabulary.
    """

    def __init__(self, prompt: Prompt, folder: Path):
        super().__init__(prompt, folder)
        tokenizer = self.model.tokenizer
        texts = tokenizer.batch_decode([[index] for index in range(len(tokenizer))])
        self.words = {index: text for index, text in enumerate(texts) if said(text) is not None}
        if {said(text) for text in self.words.values()} != {"yes", "no"}:
            raise RunStoppedError(f"--model {folder} has no single token for both yes and no: use --predictor scalar")

    @torch.inference_mode()
    def ask(self, inputs: dict) -> WrittenPrediction:
        """Reads the next token's distribution."""
        logprobs, _ = self.model.next_token(inputs)
        likeliest = self.model.tokenizer.decode(logprobs.argmax())
        probability, both = yes_among((text, float(logprobs[index])) for index, text in self.words.items())
        return WrittenPrediction(probability, f"{likeliest!r}; yes and no together {both:.3g}", None, [])


class ServerBinary(ServerPrompting):
    """
    The next token of a model behind a server, yes or no, from the log-probabilities of the likeliest tokens.

    A word that is not among them has at most the probability of the least likely of them, and is taken as never said;
    so is one whose log-probability is the -9999 that stands for none.
    """

    def read(self, choice: dict) -> WrittenPrediction:
        """Reads the first token's distribution; one token is all that is asked for, so that `length` ends it."""
        if choice["finish_reason"] != "length" and (reason := cut_off("", choice["finish_reason"] or "stop")):
            return unanswered(reason)
        try:
            top = choice["logprobs"]["content"][0]["top_logprobs"]
            tokens = [(str(token["token"]), float(token["logprob"])) for token in top]
            likeliest = max(tokens, key=lambda token: token[1])[0]
        except (TypeError, LookupError, ValueError) as error:
            raise RunStoppedError(
                f"{self.options.url} sends no log-probabilities for {self.model!r}, which --predictor binary reads: "
                "use --predictor scalar, or a server and model that give them"
            ) from error
        probability, both = yes_among((token, logprob) for token, logprob in tokens if logprob > NEVER)
        answer = f"{likeliest!r}; yes and no together {both:.3g}"
        if probability is None:
            return WrittenPrediction(None, answer, f"neither yes nor no among the {len(tokens)} likeliest tokens", [])
        return WrittenPrediction(probability, answer, None, [])
