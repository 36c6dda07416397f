"""What a teacher wrote becomes the number it means, or none; the vote is what its definition says."""

import random
import re
from fractions import Fraction

import pytest

from chat import answers
from chat.answers import REASONS, Parsed, parse_answer, summarise


# Every row of the table in the module's documentation, and neighbours of each: text and what it must give.
NUMBERS = {
    0.85: (
        (
            "<answer>0.85</answer> | 0.85 | 85% | 85 % | 85 percent | 85 per cent | 85 Percent. | 85\\% | "
            '**0.85** | __0.85__ | `0.85` | {"probability": 0.85} | $\\boxed{0.85}$ | [0.85] | - 0.85 | '
            "0.85 (85%) | ０．８５ | ８５％ | ٠٫٨٥ | ०.८५ | <ANSWER> 0.85 </ANSWER> | "
            "It is 0.2, no, 0.3. <answer>0.85</answer> Of 7 people 2 are seen. | "
            "<answer>0.2</answer> Again: <answer>0.85</answer> | <answer>0.85</answer> or <answer>0.9 | "
            "<answer>7 of 10, so <answer>0.85</answer> | 0.85</answer> | <think>It may be 0.3.</think>0.85 | "
            "<think><answer>0.3</answer></think> 0.85 | It may be 0.3.</think> 0.85 | "
            "0.85 <think>Or 0.3?</think> | <think>0.1</think> <think>0.2</think> 0.85 | "
            "<thinking>0.1</thinking> 0.85"
        ).split(" | ")
        + ["0.85\n", "<think>It may be 0.3.</think>\n<answer>0.85</answer>"]
    ),
    0.9: ".9 | 0,9 | 0,900".split(" | "),
    1.0: "1 | 1.0 | 100%".split(" | "),
    0.0: "0 | 0.0 | -0.0 | 0 %".split(" | "),
    0.01: ["1e-2"],
    0.5: "5E-1 | probability: 0.5. | Probability=0.5 | 0.50, that is .5".split(" | "),
    0.855: ["85,5%"],
    0.333: ["33.3%", "33.3% or 0.333"],
    0.005: ["0.5%"],
    0.7: "about 0.7 | +0.7 | <b>0.7</b>".split(" | "),
}
NO_NUMBERS = {
    "no answer": [None, "", " \n\t"],
    "cut off while thinking": ["<think>It shows 0.7", "<think>0.1</think> <answer>0.7</answer> <think>"],
    "cut off in its answer": ["<answer>0.8", "It is 0.8. <answer>"],
    "no number": (
        "<answer></answer> | <think>0.7</think> | <think><answer>0.3</answer></think> | zero | "
        "ninety percent | unsure | NaN | inf | ½ | <answer>NUMBER</answer>"
    ).split(" | "),
    "unclear": (
        "1 dog barks | 1. The video shows a dog | 1) a dog | 0. | The probability is 0. | 1,000 | "
        "0.7,0.8 | 1.2.3 | 1_000 | 0:21 | H2O | 1st | 10^-2 | 0.8² | 0.5‰ | item_1 | "
        "1111111111111111111111111111111 | 1e-9999"
    ).split(" | "),
    "a range": "0.7 to 0.8 | 0.7-0.8 | 0.7–0.8 | 70-80% | 70% - 80% | 0.7 ~ 0.8".split(" | "),
    "a fraction": "7/10 | 7 / 10 | 7 out of 10 | 1⁄2".split(" | "),
    "a bound": "< 0.1 | ≥0.9 | at least 0.9 | more than 90% | 0.9+".split(" | "),
    "different numbers": "0.7, or perhaps 0.8 | 0.8 ± 0.1 | Seen at 0.5 seconds: 0.7 | 85 (0.85)".split(" | "),
    "out of range": "1.5 | 1.0001 | 85 | 100 | 150% | -0.3 | −0.3 | -5% | 1e300".split(" | "),
}


@pytest.mark.parametrize(("text", "probability"), [(text, number) for number in NUMBERS for text in NUMBERS[number]])
def test_a_number_is_read_as_it_is_meant(text, probability):
    """Exactly the number, not one that binary arithmetic makes of it; in a tag it is the same."""
    assert parse_answer(text) == Parsed(probability, None)
    if "<" not in text:
        assert parse_answer(f"<think>0.123</think>So:\n<answer>{text}</answer>") == Parsed(probability, None)


@pytest.mark.parametrize(("text", "reason"), [(text, reason) for reason in NO_NUMBERS for text in NO_NUMBERS[reason]])
def test_anything_else_has_a_reason_and_no_number(text, reason):
    """Never 0, never the nearest guess."""
    assert parse_answer(text) == Parsed(None, reason)
    if text and text.strip() and "<" not in text:
        assert parse_answer(f"<think>0.123</think>So:\n<answer>{text}</answer>") == Parsed(None, reason)


def test_the_documentation_holds():
    """Each example in the table of the module's documentation gives what its row says."""
    rows = [line.strip("|").split("|") for line in answers.__doc__.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len([line for line in answers.__doc__.splitlines() if line.startswith("| ")]) - 1 >= 15
    checked, reasons = 0, set()
    for kind, examples, result in rows:
        texts = re.findall(r"`([^`]+)`", examples)
        if "which may be the start of" in examples or "full-width" in examples:
            texts = texts[:1] if "start" in examples else ["０．８５", "٠٫٨٥"]
        reason = re.search(r'"(.+)"', result)
        if reason:
            reasons.add(reason[1])
            expected = [Parsed(None, reason[1])] * len(texts)
        elif "the number" in result:
            expected = [Parsed(float(text), None) for text in texts]
        else:
            values = [float(value.rstrip(".").strip()) for value in result.split(",")]
            expected = [Parsed(value, None) for value in values] * (len(texts) if len(values) == 1 else 1)
        assert [parse_answer(text) for text in texts] == expected, kind
        checked += len(texts)
    assert checked > 40 and reasons == set(REASONS)


@pytest.mark.parametrize("form", ["{} %", "{}%", "{} percent", "It is {}%.", "<answer>{}%</answer>", "~{} per cent"])
def test_every_per_cent_from_0_to_100(form):
    """Of whole per cent each gives its hundredth, and those beyond give none."""
    for number in range(201):
        expected = Parsed(number / 100, None) if number <= 100 else Parsed(None, "out of range")
        assert parse_answer(form.format(number)) == expected


def test_no_text_raises_or_gives_more_than_a_probability():
    """Whatever is put together of what answers are made of: a number in [0, 1] or a known reason, never both."""
    tags = ("<answer>", "</answer>", "<think>", "</think>")
    pieces = [*"0159.,%-+/<>:e_^ \n½８a", *tags, " to ", "per cent", "I refuse"]
    generator = random.Random(0)
    seen = set()
    for _ in range(20_000):
        text = "".join(generator.choices(pieces, k=generator.randint(0, 9)))
        parsed = parse_answer(text)
        assert (parsed.probability is None) != (parsed.reason is None), text
        if parsed.probability is not None:
            assert 0 <= parsed.probability <= 1, text
            # There is no number without one of its digits.
            assert re.search(r"\d", text), text
        else:
            assert parsed.reason in REASONS, text
        seen.add(parsed.reason)
    assert seen == {*REASONS, None}
    for code in (*range(0x250), 0x661, 0x2028, 0xD800, 0xFF11, 0x1D7D9):
        parse_answer(f"0.{chr(code)}5 {chr(code)}")


@pytest.mark.parametrize(
    "piece",
    ["1", "1.", "0.5 ", "<", "<answer>", "<answer>0.5", "<a", " ", "1-", "_", "1_", "-", "0.5e", "<think>", "</think>"]
    + ["less than ", "%", "0.5 percent ", "1 .", "１", "1:", "٫", "<think></think>", "1 of ", "\\", "0,5"]
    + ["I am ", "as an AI "],
)
def test_a_megabyte_of_garbage_is_read_in_time(piece):
    """A pattern that tries again from every place would need hours for these; that the test ends is the test."""
    garbage = piece * (1_000_000 // len(piece))
    parse_answer(f"0.5{garbage}x")


def test_votes_are_those_of_their_definition():
    """Mean, majority and spread of random answers, computed anew in exact fractions."""
    generator = random.Random(1)
    ties = 0
    for _ in range(500):
        values = [generator.choice([None, *range(0, 101, 5)]) for _ in range(generator.randint(0, 8))]
        given = [Parsed(None, "no number") if value is None else Parsed(value / 100, None) for value in values]
        summary = summarise(given)
        exact = [Fraction(value, 100) for value in values if value is not None]
        assert (summary.valid, summary.asked) == (len(exact), len(values))
        if not exact:
            assert summary.mean is summary.majority is summary.spread is None
            continue
        mean = sum(exact) / len(exact)
        yes = [value for value in exact if value >= Fraction(1, 2)]
        no = [value for value in exact if value < Fraction(1, 2)]
        side = yes if len(yes) > len(no) else no if len(no) > len(yes) else exact
        ties += len(yes) == len(no)
        assert summary.mean == pytest.approx(float(mean), abs=1e-15)
        assert summary.majority == pytest.approx(float(sum(side) / len(side)), abs=1e-15)
        variance = sum((value - mean) ** 2 for value in exact) / len(exact)
        assert summary.spread**2 == pytest.approx(float(variance), abs=1e-15)
    assert ties > 20


def test_the_majority_is_no_maximum():
    """One confident answer among four doubtful ones decides nothing."""
    given = [Parsed(value, None) for value in (0.1, 0.2, 0.3, 1.0, 0.4)]
    assert summarise(given).majority == pytest.approx(0.25)
    assert summarise(given).mean == pytest.approx(0.4)
    # 0.5 counts as true.
    assert summarise([Parsed(value, None) for value in (0.5, 0.7, 0.0)]).majority == pytest.approx(0.6)


@pytest.mark.parametrize(
    "text",
    [
        "I am 95% certain that the hypothesis is false.",
        "There is a 90% chance that it is not true.",
        "Wrong with probability 0.9",
        "No. 95%",
        "Confidence: 0.9. Answer: No",
        "It isn’t so: 0.8",
        "It doesn't follow (0.8)",
        "Unlikely, 0.9",
        "I doubt it: 80%",
        "The opposite, 0.7",
        "0.9 (contradicted)",
    ],
)
@pytest.mark.parametrize("form", ["{}", "<think>hm</think><answer>{}</answer>"])
def test_a_negation_beside_a_number_is_unclear(text, form):
    """A number that may be the probability that the hypothesis is false is never read as that it is true."""
    parsed = parse_answer(form.format(text))
    assert parsed.probability is None and parsed.reason == "unclear"


def test_a_negation_outside_of_the_answer_does_no_harm():
    """Words before the tag are not beside the number."""
    assert parse_answer("It is not red, so no. <answer>0.1</answer>").probability == 0.1


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "Sorry, I can’t assist with that request.",
        "I am unable to assist with this. 0",
        "I cannot fulfil this request: 0.5",
        "As an AI, I can't watch videos, so 0.5",
        "I'm not able to listen to audio. 0.5",
        "I must decline. 0.5",
        "My apologies, but I will not be able to help you with that. 0.1",
        "I refuse to say.",
    ],
)
@pytest.mark.parametrize("form", ["{}", "<think>0.7</think>{}", "<answer>{}</answer>", "{} <answer>0</answer>"])
def test_a_refusal_is_no_number(text, form):
    """Not even where a number stands beside it, in a tag or out of it: it says nothing of the hypothesis."""
    assert parse_answer(form.format(text)) == Parsed(None, "refused")


@pytest.mark.parametrize(
    "text", ["I'd rather not say: 0.5", "I'm unable to give more than 0.5", "That is against my guidelines. 0"]
)
def test_a_number_beside_words_that_decline_is_none(text):
    """Where the two stand together, as beside a negation."""
    assert parse_answer(text) == parse_answer(f"<answer>{text}</answer>") == Parsed(None, "refused")


@pytest.mark.parametrize(
    "text",
    [
        "I can't help noticing the dog.",
        "I cannot see any dog.",
        "I can't hear the recording mention it.",
        "I'm sorry to say that the man died.",
        "I'm unable to tell exactly.",
        "The speaker says: I can't help with that.",
        "I refused to believe it at first.",
    ],
)
def test_words_of_doubt_and_quotation_are_no_refusal(text):
    """Before the tag they are reasons for its number."""
    assert parse_answer(f"{text} <answer>0.3</answer>") == Parsed(0.3, None)
