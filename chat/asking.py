"""
Asks a chat model once: what is kept of its reply, or why there is nothing to keep.

An answer is a `dict` of its `text`, its `probability` and, where it has none, the `reason`.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable

from chat.answers import parse_answer
from chat.failures import AnswerFailedError
from chat.replies import cut_off


async def ask(send: Callable[[dict], Awaitable[dict]], payload: dict, read: Callable[[dict], dict]) -> dict:
    """
    Asks once.

    Args:
        send (`Callable`): Sends a request and gives the reply, as `ChatClient.send`.
        payload (`dict`): The request: `messages`, and how to answer.
        read (`Callable[[dict], dict]`): Reads the choice of the reply, as [`read_choice`].

    Returns:
        `dict`: the answer; one that failed has the reason why.

    Raises:
        `RunStoppedError`: if others would not be answered either.
    """
    try:
        reply = await send(payload)
    except AnswerFailedError as error:
        return failed_answer(str(error))
    return read(reply["choices"][0])


def failed_answer(reason: str) -> dict:
    """An answer that never came."""
    return {"text": None, "probability": None, "reason": reason}


def read_choice(choice: dict) -> dict:
    """The number that a choice of a reply writes; with its `reasoning`, where the server tells it apart."""
    message = choice["message"]
    answer = read_answer(message["content"] or "", choice["finish_reason"])
    reasoning = message.get("reasoning")
    return {**answer, "reasoning": reasoning} if reasoning else answer


def read_answer(text: str, finish_reason: str | None) -> dict:
    """
    Reads what was written.

    Args:
        text (`str`): The raw answer.
        finish_reason (`str`, *optional*): Why it ends, as the server says.

    Returns:
        `dict`: the answer. One that was cut off has no probability: what was still to come may have taken back the
        number that is there.
    """
    if reason := cut_off(text, finish_reason):
        return {"text": text, "probability": None, "reason": reason}
    parsed = parse_answer(text)
    return {"text": text, "probability": parsed.probability, "reason": parsed.reason}


def answer_seed(seed: int, pair: dict, number: int) -> int:
    """
    The seed of one answer of several to a pair: the same in every run, and another for every answer.

    Args:
        seed (`int`): That of the run.
        pair (`dict`): `config`, `split`, `id`.
        number (`int`): Which of the pair's answers, from 0.

    Returns:
        `int`: 31 bits, as all servers take them.
    """
    words = json.dumps([seed, pair["config"], pair["split"], pair["id"], number])
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big") >> 1
