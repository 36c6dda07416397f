"""What is kept of a reply: a number, or a yes or a no among its tokens; and the seeds of answers."""

import math

import pytest

from chat.asking import answer_seed, read_answer, read_yes_no, yes_among, yes_or_no


def test_words_that_are_yes_and_no():
    """All spellings but for case and space, also as vocabularies store them; nothing that only begins so."""
    assert {yes_or_no(token) for token in ("Yes", " yes", "YES\n", "Ġyes", "▁Yes", "yEs ")} == {"yes"}
    assert {yes_or_no(token) for token in ("No", " no", "NO", "ĠNo")} == {"no"}
    assert {yes_or_no(token) for token in ("Yes.", "yesterday", "Not", "n", "", " ", "y es", "None")} == {None}


def test_yes_among_hand_made_probabilities():
    """The share of yes in the sum of both, also where both are next to impossible."""
    tokens = [("Yes", math.log(0.3)), (" yes", math.log(0.1)), ("no", math.log(0.2)), ("Perhaps", math.log(0.4))]
    probability, both = yes_among(tokens)
    assert probability == pytest.approx(0.4 / 0.6) and both == pytest.approx(0.6)
    assert yes_among([("Perhaps", -0.1)]) == (None, 0.0)
    probability, both = yes_among([("Yes", -2000.0), ("No", -2000.0 + math.log(3))])
    assert probability == pytest.approx(0.25) and both == 0.0


def test_a_server_that_says_never_is_taken_at_its_word():
    """-9999 stands for no probability: beside a real one it counts nothing, and two of them are no answer of 0.5."""

    def read(*shares: float) -> dict:
        top = [{"token": t, "logprob": share} for t, share in zip(("It", "Yes", "No"), shares, strict=True)]
        choice = {"logprobs": {"content": [{"top_logprobs": top}]}, "finish_reason": "length"}
        return read_yes_no(choice, "http://server/v1", "model")

    for never in (-9999.0, -math.inf):
        assert read(0.0, never, never)["probability"] is None
        assert read(0.0, never, never)["reason"] == "neither yes nor no among the 3 likeliest tokens"
        assert read(0.0, -30.0, never)["probability"] == 1.0
        assert read(0.0, never, -30.0)["probability"] == 0.0


def test_a_first_token_that_a_filter_took_is_no_answer():
    """One token is all that is asked for: its limit is the end, and a fault or filter is not."""
    top = [{"token": "Yes", "logprob": -0.1}]

    def read(finish: str | None) -> dict:
        choice = {"logprobs": {"content": [{"top_logprobs": top}]}, "finish_reason": finish}
        return read_yes_no(choice, "http://server/v1", "model")

    assert [read(finish)["probability"] for finish in ("length", "stop", "eos", None)] == [1.0] * 4
    for finish in ("content_filter", "abort", "error", "tool_calls"):
        assert (read(finish)["probability"], read(finish)["reason"]) == (None, f"cut off (finish_reason {finish})")


@pytest.mark.parametrize("finish", ["stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn"])
def test_an_answer_that_its_model_ended_is_read(finish):
    """By whichever name the server tells of the end."""
    for text, probability, reason in (("0.85", 0.85, None), ("", None, "no answer")):
        assert read_answer(text, finish) == {"text": text, "probability": probability, "reason": reason}


@pytest.mark.parametrize(
    "finish",
    ["length", "content_filter", "abort", "error", "tool_calls", "model_length", "insufficient_system_resource", ""],
)
@pytest.mark.parametrize("text", ["0.8", "1", "<answer>0.8", "<answer>0.85</answer> because", "<answer>0.85</answer>"])
def test_an_answer_that_something_else_ended_is_none(text, finish):
    """A digit, or a second thought, may have been about to come: no number, the text and the server's reason kept."""
    reason = f"cut off (finish_reason {finish})"
    assert read_answer(text, finish) == {"text": text, "probability": None, "reason": reason}


def test_without_a_finish_reason_the_tag_ends_the_answer():
    """A server that never says why a text ends is not refused, and half a number still not read."""
    assert read_answer("So <answer>0.85</answer>\n", None)["probability"] == 0.85
    for text in ("0.8", "<answer>0.8", "<answer>0.8</answer> or"):
        assert read_answer(text, None)["reason"] == "perhaps cut off (no finish_reason)"


def test_seeds_are_distinct_and_fixed():
    """Every answer to every pair in every run has another seed of 31 bits, and always the same."""
    pairs = [
        {"id": f"{number}", "config": "a", "split": split} for number in range(200) for split in ("train", "test")
    ]
    seeds = [answer_seed(run, pair, number) for run in (0, 1) for pair in pairs for number in range(5)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seeds == [answer_seed(run, pair, number) for run in (0, 1) for pair in pairs for number in range(5)]
