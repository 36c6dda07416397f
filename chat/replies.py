"""
Reads the reply of an OpenAI-compatible server: an answer, or why there is none, in the server's words.

Servers tell errors with any status, 200 included, and what is no answer may look much like one: a text that a filter
or a fault ended, or the sentence with which the model declines.
"""

import json
import re

from modeling_clue.servers import shortened


# How servers name the end that a model gives its answer itself; any other reason cut it off.
ENDED = {"stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete"}
# The parts of a content that is a list, by their types. Others, such as references, say nothing.
PARTS = {
    "text": "text",
    "output_text": "text",
    "thinking": "reasoning",
    "reasoning": "reasoning",
    "refusal": "refusal",
}
# Codes and words of an account that no waiting fills again ...
EXHAUSTED = re.compile(
    r"insufficient[_ ](?:\w+[_ ])?(?:quota|balance|credits?|funds)|exceeded[_ ](?:your[_ ])?current[_ ]quota"
    r"|billing[_ ](?:hard[_ ]limit|not[_ ]active)|balance is too low|arrear|余额不足|欠费",
    re.IGNORECASE,
)
# ... and of a limit for a day or longer, which a request that is quoted might hold too.
USED_UP = re.compile(
    r"quota(?:[_ ](?:has been|is|was))?[_ ](?:exceeded|exhausted|used|reached)|(?:exceeded|exhausted|reached|out of)"
    r" (?:\w+ ){0,3}(?:quota|credits?)|used all|per[-_ ](?:day|month)|(?:daily|weekly|monthly|usage|spend(?:ing)?|key)"
    r" (?:\w+ )?(?:limit|quota)",
    re.IGNORECASE,
)
SOON = re.compile(r"retry (?:in|after)|try again in|per[-_ ](?:min|sec)", re.IGNORECASE)
# Words about what a request holds, not about who sends it.
FLAGGED = re.compile(
    r"flagged|moderat|guardrail|inappropriate|inspection|harmful|safety|usage polic|responsible.?ai|prohibited_content"
    r"|content.{0,30}(?:polic|filter|block|manage|violat|risk|sensitiv|unsafe|prohibit)"
    r"|(?:polic|filter|block|violat|sensitiv|unsafe|prohibit).{0,30}\b(?:content|prompt|input)",
    re.IGNORECASE,
)
# Of a long reply only the start is looked at for these.
LONGEST_ERROR = 4000


class AnswerFailedError(Exception):
    """There is no answer to one request; the message is the reason. Holds no request: that may have megabytes."""


class DeclinedError(AnswerFailedError):
    """A server that is well won't answer this request: it was flagged or refused, and others may still be answered."""


class ReplyError(Exception):
    """
    The reply is an error, or nothing that can be read.

    Args:
        kind (`str`): What came.
        status (`int`): That of HTTP; of an error inside a reply 200 its own, if it has one.
        words (`str`): The server's words for a person.
        text (`str`): The whole reply.
    """

    def __init__(self, kind: str, status: int, words: str, text: str):
        self.kind, self.status, self.words, self.text = kind, status, shortened(words), text[:LONGEST_ERROR]
        super().__init__(f"{kind}: {self.words}")

    @property
    def flagged(self) -> bool:
        """Returns whether the server objects to what the request holds."""
        return bool(FLAGGED.search(self.text))

    @property
    def exhausted(self) -> bool:
        """Returns whether the account has nothing left to ask with."""
        if self.flagged or SOON.search(self.text):
            return False
        return bool(EXHAUSTED.search(self.text) or (self.status in (403, 429) and USED_UP.search(self.text)))


def read_reply(status: int, text: str) -> dict:
    """
    Checks a reply, by its status of HTTP and its body, and brings it into one form.

    Returns:
        `dict`: `choices` with one `message`, its `finish_reason` and, where they were asked for and came, its
        `logprobs`; and `usage`.

    Raises:
        `ReplyError`: if it is an error, or can't be read.
        `AnswerFailedError`: if it is whole and there is no answer in it.
    """
    reply = read_json(status, text)
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    choice = choice if isinstance(choice, dict) else {}
    error, message = reply.get("error") or choice.get("error"), choice.get("message")
    if status != 200 or error or not isinstance(message, dict):
        raise reply_error(status, error, reply, text)
    parts = _parts(message.get("content"))
    finish_reason = choice.get("finish_reason")
    finish_reason = None if finish_reason is None else shortened(str(finish_reason))
    refusal = message.get("refusal") or parts.get("refusal")
    if refusal:
        raise DeclinedError(f"refused: {shortened(str(refusal))}")
    # vLLM and others name the field differently.
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    reasoning = reasoning if isinstance(reasoning, str) else parts.get("reasoning")
    content = parts.get("text")
    if content is None and reasoning is None:
        declined = finish_reason == "content_filter"
        raise (DeclinedError if declined else AnswerFailedError)(f"no text (finish_reason {finish_reason})")
    usage = reply.get("usage")
    counts = {
        name: usage[name]
        for name in ("prompt_tokens", "completion_tokens")
        if isinstance(usage, dict) and isinstance(usage.get(name), int)
    }
    return {
        "choices": [
            {
                "message": {"content": content, "reasoning": reasoning},
                "finish_reason": finish_reason,
                "logprobs": choice.get("logprobs"),
            }
        ],
        "usage": counts,
    }


def read_json(status: int, text: str) -> dict:
    """Reads the object that a reply is, an empty one for any other; raises `ReplyError` if it is no JSON."""
    try:
        reply = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ReplyError("no JSON in HTTP 200" if status == 200 else f"HTTP {status}", status, text, text) from error
    # Google's errors are lists of one.
    reply = reply[0] if isinstance(reply, list) and reply else reply
    return reply if isinstance(reply, dict) else {}


def cut_off(text: str, finish_reason: str | None) -> str | None:
    """Returns why an answer may not be whole; `None` for one that its model has ended, as the server names it."""
    if finish_reason is None:
        # A server that never says it is taken by the model's own mark of the end.
        return None if text.rstrip().endswith("</answer>") else "perhaps cut off (no finish_reason)"
    return None if finish_reason.casefold() in ENDED else f"cut off (finish_reason {finish_reason})"


def reply_error(status: int, error: object, reply: dict, text: str) -> ReplyError:
    """Returns what a reply says is wrong: in OpenAI's field, in vLLM's, or in whatever came."""
    holder = error if isinstance(error, dict) else reply
    words = error if isinstance(error, str) else holder.get("message") or _detail(reply.get("detail"))
    kind, code = f"HTTP {status}", re.fullmatch(r"[45]\d\d", str(holder.get("code")))
    if status == 200:
        kind = " ".join(["error" if error else "no answer", *([code[0]] if code else []), "in HTTP 200"])
        status = int(code[0]) if code else status
    return ReplyError(kind, status, words if isinstance(words, str) and words else text, text)


def _detail(detail: object) -> object:
    """Returns the words of FastAPI's errors: a text, an object with a message, or a list of what is wrong where."""
    if isinstance(detail, dict):
        return detail.get("message")
    if not isinstance(detail, list):
        return detail if isinstance(detail, str) else None
    complaints = [
        ": ".join(filter(None, [".".join(map(str, found.get("loc") or ())), str(found.get("msg"))]))
        for found in detail
        if isinstance(found, dict)
    ]
    return "; ".join(complaints)


def _parts(content: object) -> dict[str, str]:
    """Returns text, reasoning and refusal of a content, each part of a list a line: no number is made of two."""
    lines: dict[str, list[str]] = {}
    for part in content if isinstance(content, list) else [content]:
        part = {"text": part} if isinstance(part, str) else part
        if not isinstance(part, dict):
            continue
        kind = str(part.get("type", "text"))
        said = part.get(kind) or part.get("text")
        if isinstance(said, list):
            said = "\n".join(str(inner.get("text")) for inner in said if isinstance(inner, dict))
        if kind in PARTS and isinstance(said, str):
            lines.setdefault(PARTS[kind], []).append(said)
    return {kind: "\n".join(said) for kind, said in lines.items()}
