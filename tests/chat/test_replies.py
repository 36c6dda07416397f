"""Replies of servers and gateways: what is an answer, what a try later may give, what ends the run, and its words."""

import asyncio
import json

import pytest

from chat.client import ChatClient, FailureCounter, RunStoppedError, ServerOptions
from chat.replies import AnswerFailedError, DeclinedError, read_reply


TRIES = 3
PAYLOAD = {"messages": [{"role": "user", "content": "A dog barks."}], "max_tokens": 7}


def body(content: object = "0.5", finish: str | None = "stop", choice: dict | None = None, **message) -> dict:
    """A reply with one choice."""
    message = {"role": "assistant", "content": content, **message}
    return {"choices": [{"message": message, "finish_reason": finish, **(choice or {})}]}


def error(message: str, **more) -> dict:
    """A reply in the form of OpenAI's errors."""
    return {"error": {"message": message, **more}}


class Asked:
    """What came of requests, one after the other, to a server whose replies are given; the last of them repeats."""

    def __init__(self, monkeypatch, *replies: tuple[int, object], times: int = 1, failures=None):
        self.requests = []
        # A server takes no time, or for ever: the only clock is that of what never comes.
        options = ServerOptions("http://server/v1", "NO_SUCH_KEY", 0.01, TRIES - 1, 0, 100)
        client = ChatClient(options, "teacher", 1, failures)

        async def post(sent: bytes) -> tuple[int, dict, str]:
            status, reply = replies[min(len(self.requests), len(replies) - 1)]
            self.requests.append(json.loads(sent))
            if reply is None:
                await asyncio.Event().wait()
            return status, {}, reply if isinstance(reply, str) else json.dumps(reply)

        async def send() -> list:
            return [(await asyncio.gather(client.send(PAYLOAD), return_exceptions=True))[0] for _ in range(times)]

        monkeypatch.setattr(client, "_post", post)
        self.found = asyncio.run(send())
        self.last = self.found[-1]


@pytest.fixture
def ask(monkeypatch):
    """Asks a server that replies as given."""
    # To set up TLS takes longer than all the rest.
    monkeypatch.setattr("httpx2.AsyncClient", lambda **_: None)
    return lambda *replies, failures=None, **more: Asked(
        monkeypatch, *replies, failures=failures or FailureCounter(100), **more
    )


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ([{"type": "text", "text": "0.7"}], "0.7", None),
        ([{"type": "output_text", "text": "0.7"}], "0.7", None),
        (["0.7"], "0.7", None),
        ([{"text": "0.7"}], "0.7", None),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "0.2?"}]}, {"type": "text", "text": "0.7"}],
            "0.7",
            "0.2?",
        ),
        ([{"type": "thinking", "thinking": "0.2?"}, {"type": "text", "text": "0.7"}], "0.7", "0.2?"),
        ([{"type": "reasoning", "text": "0.2?"}, {"type": "text", "text": "0.7"}], "0.7", "0.2?"),
        ([{"type": "text", "text": "0.7"}, {"type": "reference", "reference_ids": [1]}], "0.7", None),
        # Never a number of both: 01, or 0.85.
        ([{"type": "text", "text": "0"}, {"type": "text", "text": "1"}], "0\n1", None),
        ("0.7", "0.7", None),
        ("", "", None),
    ],
)
def test_a_content_in_parts_is_its_text(content, text, reasoning):
    """Thoughts are told apart, other parts say nothing."""
    (choice,) = read_reply(200, json.dumps(body(content)))["choices"]
    assert choice["message"] == {"content": text, "reasoning": reasoning}


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (body(None, refusal="I can't help with that."), "refused: I can't help with that."),
        (body("<answer>0.5</answer>", refusal="No."), "refused: No."),
        (body([{"type": "refusal", "refusal": "No."}]), "refused: No."),
        (body(None, "content_filter"), "no text (finish_reason content_filter)"),
        (error("Blocked by our content policy"), "error in HTTP 200: Blocked by our content policy"),
        (error("It was flagged", code=403), "error 403 in HTTP 200: It was flagged"),
        (
            body("0.", "error", {"error": {"code": 400, "message": "unsafe content"}}),
            "error 400 in HTTP 200: unsafe co",
        ),
    ],
)
def test_what_is_declined_is_asked_once(ask, reply, words):
    """In the server's words, never as an answer, however the number looks that stands beside it."""
    asked = ask((200, reply))
    assert isinstance(asked.last, DeclinedError) and str(asked.last).startswith(words)
    assert len(asked.requests) == 1


@pytest.mark.parametrize(
    ("content", "finish"),
    [(None, "stop"), (None, "length"), (None, "tool_calls"), (None, None), ([], "stop"), (7, "stop")],
)
def test_no_text_is_no_answer(ask, content, finish):
    """The reason says how it ended."""
    asked = ask((200, body(content, finish)))
    assert type(asked.last) is AnswerFailedError and str(asked.last) == f"no text (finish_reason {finish})"
    assert len(asked.requests) == 1


@pytest.mark.parametrize(
    ("status", "reply", "words"),
    [
        (200, error("Rate limit exceeded", code=429), "error 429 in HTTP 200 after 3 tries: Rate limit exceeded"),
        (200, error("upstream", code="502"), "error 502 in HTTP 200 after 3 tries: upstream"),
        (200, error("odd", code="E1301"), "error in HTTP 200 after 3 tries: odd"),
        (200, {"error": "model is loading"}, "error in HTTP 200 after 3 tries: model is loading"),
        (200, {"object": "error", "message": "odd", "code": 50001}, "no answer in HTTP 200 after 3 tries: odd"),
        (
            200,
            body("0.5", "error", {"error": {"code": 502, "message": "x"}}),
            "error 502 in HTTP 200 after 3 tries: x",
        ),
        (200, {"choices": []}, 'no answer in HTTP 200 after 3 tries: {"choices": []}'),
        (200, {"choices": None, "base_resp": {"status_msg": "odd"}}, "no answer in HTTP 200 after 3 tries: {"),
        (200, {"choices": [{"text": "0.5"}]}, "no answer in HTTP 200 after 3 tries: {"),
        (200, "<html>\x1b[2J</html>", "no JSON in HTTP 200 after 3 tries: <html>\ufffd[2J</html>"),
        (200, "", "no JSON in HTTP 200 after 3 tries: "),
        (200, "[]", "no answer in HTTP 200 after 3 tries: []"),
        (429, error("Rate limit reached. Please try again in 2s, see billing"), "HTTP 429 after 3 tries: Rate limit"),
        (
            429,
            [{"error": {"code": 429, "message": "Quota exceeded for requests per minute"}}],
            "HTTP 429 after 3 tries: Q",
        ),
        (503, "overloaded", "HTTP 503 after 3 tries: overloaded"),
        (503, {"detail": "It is warming up"}, "HTTP 503 after 3 tries: It is warming up"),
        (503, {"detail": {"error_type": "busy", "message": "too many"}}, "HTTP 503 after 3 tries: too many"),
        (
            500,
            {"detail": [{"loc": ["body", "state"], "msg": "odd", "input": "x" * 999}, {"msg": "worse"}, 7]},
            "HTTP 500 after 3 tries: body.state: odd; worse",
        ),
        (500, {"detail": []}, 'HTTP 500 after 3 tries: {"detail": []}'),
    ],
)
def test_what_may_pass_is_asked_again(ask, status, reply, words):
    """As often as said, and the last words of the server are the reason."""
    asked = ask((status, reply))
    assert type(asked.last) is AnswerFailedError and str(asked.last).startswith(words)
    assert len(asked.requests) == TRIES


def test_what_never_comes_is_asked_again(ask):
    """A try ends when its time is over, and the next one may be answered."""
    asked = ask((200, None))
    assert type(asked.last) is AnswerFailedError and str(asked.last) == "timed out after 0.01 s after 3 tries"
    assert len(asked.requests) == TRIES
    asked = ask((200, None), (200, body()))
    assert asked.last["choices"][0]["message"]["content"] == "0.5" and len(asked.requests) == 2


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        (
            429,
            error("You exceeded your current quota, check your plan and billing details", code="insufficient_quota"),
        ),
        (200, error("You exceeded your current quota", code="insufficient_quota")),
        (429, error("Quota exceeded")),
        (429, error("Rate limit exceeded: free-models-per-day")),
        (429, error("Your team has used all available credits or reached its monthly spending limit")),
        (403, error("Key limit exceeded (total limit)")),
        (403, error("用户额度不足", code="insufficient_user_quota")),
        (400, error("Your credit balance is too low to access the API")),
        (402, error("Payment required")),
        (200, error("Add credits", code=402)),
        (401, error("Invalid key")),
        (200, error("No auth credentials found", code=401)),
        (403, error("Permission denied")),
        (403, "<html>Forbidden</html>"),
        (404, error("The model does not exist")),
        (501, error("The model does not support this API")),
    ],
)
def test_an_empty_account_or_a_bad_key_ends_the_run_at_once(ask, status, reply):
    """With the first reply, in the server's words, whatever its form."""
    asked = ask((status, reply))
    told = reply if isinstance(reply, str) else reply["error"]["message"]
    assert isinstance(asked.last, RunStoppedError) and told in str(asked.last)
    # What 403 means is found out.
    assert len(asked.requests) == (2 if "does not allow" in str(asked.last) else 1)


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        (403, error("Your input was flagged by moderation", code=403)),
        (403, error("The request violates our content policy")),
        (400, error("The response was filtered due to the prompt triggering the content management policy")),
        (400, error("Input data may contain inappropriate content.", code="data_inspection_failed")),
        (400, error("Rejected by the safety system", code="content_policy_violation")),
        (400, error("Flagged: 'insufficient funds'", code="content_filter")),
        (451, error("Prohibited content")),
    ],
)
def test_a_flagged_input_is_that_inputs_reason(ask, status, reply):
    """Asked once; where other inputs are answered, any number of them ends no run."""
    asked = ask((status, reply))
    assert isinstance(asked.last, DeclinedError) and str(asked.last) == f"HTTP {status}: {reply['error']['message']}"
    assert len(asked.requests) == 1
    failures = FailureCounter(2)
    failures.succeeded()
    for _ in range(5):
        failures.failed(asked.last)
    failures = FailureCounter(2)
    failures.failed(asked.last)
    with pytest.raises(RunStoppedError, match="2 requests in a row failed"):
        failures.failed(asked.last)


@pytest.mark.parametrize(("status", "reply"), [(200, body()), (500, "down"), (429, error("Rate limit"))])
def test_a_403_in_other_words_is_tried_on_a_harmless_request(ask, status, reply):
    """One that is forbidden too means the key, which ends the run; else it is the input that is meant."""
    asked = ask((403, "<html>no</html>"), (status, reply))
    assert isinstance(asked.last, DeclinedError) and str(asked.last) == "HTTP 403: <html>no</html>"
    assert [request["messages"] == PAYLOAD["messages"] for request in asked.requests][:2] == [True, False]


@pytest.mark.parametrize("status", [200, 400, 422])
def test_a_model_that_wants_max_completion_tokens_gets_it(ask, status):
    """The same number under the other name, with the next request and all after it, and no try is lost."""
    words = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    asked = ask((status, error(words)), (200, body()), times=2)
    assert [one["choices"][0]["message"]["content"] for one in asked.found] == ["0.5", "0.5"]
    assert [(r.get("max_tokens"), r.get("max_completion_tokens")) for r in asked.requests] == [
        (7, None),
        (None, 7),
        (None, 7),
    ]
    # A server that says it of that name too is not asked forever.
    asked = ask((400, error(words)))
    assert type(asked.last) is AnswerFailedError and len(asked.requests) == 2
