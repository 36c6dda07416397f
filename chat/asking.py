"""
Asks a chat model once: what is kept of its reply, or why there is nothing to keep.

An answer is a `dict` of its `text`, its `probability` and, where it has none, the `reason`.
"""

import hashlib
import json
import math
from collections.abc import Awaitable, Callable, Iterable

from chat.answers import parse_answer
from chat.client import RunStoppedError
from chat.replies import AnswerFailedError, cut_off


# How byte-level and SentencePiece vocabularies write white space, where a server sends tokens as they are stored.
STORED_SPACE = "ĠĊ▁"
# The fields of a request for a yes or a no: the likeliest first tokens.
YES_NO_FIELDS = {"temperature": 0, "max_tokens": 1, "seed": 0, "logprobs": True, "top_logprobs": 20}
# What OpenAI's API gives for a token that has next to no probability, in place of its logarithm.
NEVER = -9999.0


async def ask(send: Callable[[dict], Awaitable[dict]], payload: dict, read: Callable[[dict], dict]) -> dict:
    """
    Sends a request as `ChatClient.send` does, and reads the choice of the reply; an answer that failed has its reason.

    Raises:
        `RunStoppedError`: if others would not be answered either.
    """
    try:
        reply = await send(payload)
    except AnswerFailedError as error:
        return failed_answer(str(error))
    return read(reply["choices"][0])


def failed_answer(reason: str) -> dict:
    """Returns an answer that never came."""
    return {"text": None, "probability": None, "reason": reason}


def read_choice(choice: dict) -> dict:
    """Reads the number that a choice of a reply writes; with its `reasoning`, where the server tells it apart."""
    message = choice["message"]
    answer = read_answer(message["content"] or "", choice["finish_reason"])
    reasoning = message.get("reasoning")
    return {**answer, "reasoning": reasoning} if reasoning else answer


def read_answer(text: str, finish_reason: str | None) -> dict:
    """
    Reads a raw answer. One that was cut off has no probability: what was still to come may have taken back the number
    that is there.
    """
    if reason := cut_off(text, finish_reason):
        return {"text": text, "probability": None, "reason": reason}
    parsed = parse_answer(text)
    return {"text": text, "probability": parsed.probability, "reason": parsed.reason}


def read_yes_no(choice: dict, url: str, model: str) -> dict:
    """
    Reads the probability of yes among yes and no from the likeliest first tokens of a choice.

    A word that is not among them has at most the probability of the least likely of them, and is taken as never said;
    so is one whose log-probability is the -9999 that stands for none.

    Args:
        choice (`dict`): Of a reply to [`YES_NO_FIELDS`]: one token is all that is asked for, so that `length` ends it.
        url (`str`), model (`str`): Who replied.

    Raises:
        `RunStoppedError`: if no log-probabilities came.
    """
    if choice["finish_reason"] != "length" and (reason := cut_off("", choice["finish_reason"] or "stop")):
        return failed_answer(reason)
    try:
        top = choice["logprobs"]["content"][0]["top_logprobs"]
        tokens = [(str(token["token"]), float(token["logprob"])) for token in top]
        likeliest = max(tokens, key=lambda token: token[1])[0]
    except (TypeError, LookupError, ValueError) as error:
        raise RunStoppedError(
            f"{url} sends no log-probabilities for {model!r}, which --predictor binary reads: "
            "use --predictor scalar, or a server and model that give them"
        ) from error
    answer = yes_no_answer(((token, logprob) for token, logprob in tokens if logprob > NEVER), likeliest)
    if answer["probability"] is None:
        answer["reason"] = f"neither yes nor no among the {len(tokens)} likeliest tokens"
    return answer


def yes_no_answer(tokens: Iterable[tuple[str, float]], likeliest: str) -> dict:
    """Returns the answer that texts of tokens and their log-probabilities make; its text tells how far they do."""
    probability, both = yes_among(tokens)
    return {"text": f"{likeliest!r}; yes and no together {both:.3g}", "probability": probability, "reason": None}


def yes_or_no(token: str) -> str | None:
    """Returns `"yes"` or `"no"`, whichever a token is but for case and white space around; `None` for any other."""
    word = token.strip().strip(STORED_SPACE).strip().casefold()
    return word if word in ("yes", "no") else None


def yes_among(tokens: Iterable[tuple[str, float]]) -> tuple[float | None, float]:
    """
    Returns the probability of yes among yes and no, P(yes) / (P(yes) + P(no)), and that of both.

    Args:
        tokens (`Iterable[tuple[str, float]]`): Texts of tokens and their log-probabilities, which are summed over all
            tokens that are the word; if none is either word, the probability is `None`.
    """
    sums = {"yes": 0.0, "no": 0.0}
    found = [(word, logprob) for token, logprob in tokens if (word := yes_or_no(token)) is not None]
    if not found:
        return None, 0.0
    # Relative to the largest: of words that are hardly ever said, the quotient is right still.
    largest = max(logprob for _, logprob in found)
    for word, logprob in found:
        sums[word] += math.exp(logprob - largest)
    both = sums["yes"] + sums["no"]
    return sums["yes"] / both, both * math.exp(largest)


def answer_seed(seed: int, pair: dict, number: int) -> int:
    """
    Returns the seed, of 31 bits, of a pair's answer number `number`: the same in every run, another for every answer.
    """
    words = json.dumps([seed, pair["config"], pair["split"], pair["id"], number])
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big") >> 1
