"""
Reads what a teacher answered: the number in its text, or the reason why there is none; votes among several answers.

A teacher is asked for one probability, as `<answer>0.85</answer>`. A wrong number is worse than none, since nobody
sees it among thousands: a text that could mean two things has no probability.

Where the number is looked for: what stands in `<think>...</think>` is left out, together with all that comes before a
`</think>` that was never opened (chat templates open it in the prompt). In the rest the last complete
`<answer>...</answer>` counts; a text without any such tag counts as a whole.

| the answer is | e.g. | result |
|---|---|---|
| a decimal number from 0 to 1 | `0.85`, `.9`, `1`, `0.0`, `1e-2` | the number |
| one with a comma | `0,9` | .9 |
| one in other digits | full-width or Arabic `0.85` | .85 |
| per cent | `85%`, `85 %`, `85 percent`, `85 per cent`, `85,5%`, `0.5%` | .85, .85, .85, .85, .855, .005 |
| one with words or marks around it | `probability: 0.5.`, `**0.85**`, `about 0.7` | .5, .85, .7 |
| the same number again | `0.85 (85%)` | .85 |
| two numbers | `0.7, or perhaps 0.8`, `0.8 ± 0.1` | "different numbers" |
| a range | `0.7 to 0.8`, `0.7-0.8`, `70-80%` | "a range" |
| a bound | `< 0.1`, `at least 0.9`, `0.9+` | "a bound" |
| a fraction | `7/10`, `7 out of 10` | "a fraction" |
| outside of 0 to 1 | `1.5`, `85`, `100`, `150%`, `-0.3` | "out of range" |
| a whole number with a word after it | `1 dog barks`, `1. The video shows` | "unclear" |
| a whole number before a last full stop | `0.`, which may be the start of `0.85` | "unclear" |
| a number beside a negation | `95% certain that it is false`, `No (0.9)`, `not likely, 0.2` | "unclear" |
| a comma that may part thousands | `1,000` | "unclear" |
| digits that are part of something else | `1.2.3`, `0:21`, `H2O`, `10^-2`, `0.8²` | "unclear" |
| no digits | `zero`, `NaN`, `½`, `unsure`, an empty tag | "no number" |
| cut off in its thoughts | `<think> It shows 0.7` | "cut off while thinking" |
| cut off in its tag | `<answer>0.8` | "cut off in its answer" |
| missing or blank | | "no answer" |
| declined | `I'm unable to give 0.5`, `I can't help with that. <answer>0</answer>` | "refused" |

A range is not taken as its middle: the teacher was asked for one number and did not give it, the answers to a pair are
many, and their spread already says how sure it is. A bare `85` is not taken as per cent, for then a bare `1` might be
one per cent as well as certainty; nor is `7/10` taken as .7, for a score out of ten is another scale.

The time taken grows with the length of the text and no faster, whatever is in it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean, pstdev


NO_ANSWER = "no answer"
CUT_OFF_THINKING = "cut off while thinking"
CUT_OFF_ANSWER = "cut off in its answer"
NO_NUMBER = "no number"
UNCLEAR = "unclear"
A_RANGE = "a range"
A_FRACTION = "a fraction"
A_BOUND = "a bound"
DIFFERENT_NUMBERS = "different numbers"
OUT_OF_RANGE = "out of range"
REFUSED = "refused"
REASONS = (
    NO_ANSWER,
    CUT_OFF_THINKING,
    CUT_OFF_ANSWER,
    NO_NUMBER,
    UNCLEAR,
    A_RANGE,
    A_FRACTION,
    A_BOUND,
    DIFFERENT_NUMBERS,
    OUT_OF_RANGE,
    REFUSED,
)

# Other signs of the same meaning. All dashes are a minus before a number and a range between two.
SIGNS = str.maketrans({"．": ".", "，": ",", "％": "%", "٪": "%", "٫": ".", "⁄": "/"} | dict.fromkeys("‐‑‒–—−－", "-"))
THOUGHT = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
ANSWER = re.compile(r"<(/?)answer>", re.IGNORECASE)
MARKUP = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)
# Possessive repetitions (++) never try again with less. [^\W_] is a letter or digit: an underscore is also Markdown.
# A number of more than 30 digits a part is none, so that no length or exponent can make arithmetic slow.
NUMBER = re.compile(
    r"""
    (?<![^\W_]) (?<![^\W_]_) (?<![.,^]) (?<!\d[:]) (?<![.,^]-)
    (?: (?<![\d%)]) (?P<sign>-) )?
    (?P<numeral> (?: (?P<whole>\d{1,30}+) (?: [.,](?P<part>\d{1,30}+) )? | \.\d{1,30}+ ) (?: e[-+]?\d{1,3}+ )? )
    (?! [^\W_] | _[^\W_] | [.,:]\d | \^ | ‰ )
    (?P<percent> \s{0,3}\\?% | \s{0,3}\bpercent\b | \s{0,3}\bper\scent\b | \s{0,3}\bpct\b )?
    """,
    re.IGNORECASE | re.VERBOSE,
)
RANGE_GAPS = {"-", "--", "~", "to", "till", "up to"}
FRACTION_GAPS = {"/", "out of", "of", "in"}
BOUND_BEFORE = re.compile(
    r"(?:[<>≤≥]=?|\b(?:less than|more than|fewer than|at least|at most|up to|over|under|below|above))\s*$",
    re.IGNORECASE,
)
LONGEST_BOUND = 24
# Beside one of these a number may be the probability that the hypothesis is false.
NEGATION = re.compile(
    r"\b(?:no|not|cannot|never|none|neither|nor|nope|false|untrue|wrong|incorrect|unlikely|improbable|implausible"
    r"|impossible|unsupported|doubt\w*|opposite|contrary|contradict\w*|refut\w*|disprov\w*|reject\w*|den(?:y|ies|ied))\b"
    r"|n['’]t\b",
    re.IGNORECASE,
)
# So a text begins that answers nothing, whatever stands in its tags; in tags, or without any, the second is enough.
REFUSAL = re.compile(
    r"""
    \W{0,9}
    (?: (?: I(?:['’]m|\sam)\s(?:\w+\s)?sorry | sorry | I\sapologi[sz]e | (?:my\s)?apologies | unfortunately
          | as\san\sAI\b[^.,]{0,80} ) \W{1,9} (?:but\s|and\s|that\s)* )?
    I(?:['’]m|\sam)?\s
    (?: (?:must\s|have\sto\s|will\s)?(?:decline|refuse)\b
      | (?:can\s?not|can['’]t|(?:won['’]t|will\snot)(?:\sbe\sable\sto)?|unable\sto|not\s(?:able|allowed)\sto)\s
        (?: help\s(?:you\s)?with | assist | comply | fulfil | discuss | engage | continue\swith
          | (?:view|watch|see|hear|listen\sto|open|play|access|process|analy[sz]e)\s(?:\w+\sor\s)?
            (?:audio|images|videos|recordings|clips|media|files)\b ) )
    """,
    re.IGNORECASE | re.VERBOSE,
)
DECLINES = re.compile(
    r"""
    \bI(?:['’]m|\sam)\s(?:\w+\s)?(?:sorry|unable|not\s(?:able|allowed))\b
    | \bI\s(?:must\s|have\sto\s|will\s)?(?:decline|refuse)\b
    | \bI\s(?:can\s?not|can['’]t|won['’]t|will\snot)\s
      (?:be\sable|help|assist|comply|fulfil|discuss|engage|continue|provide|give|answer|respond)
    | ^\W*sorry\b | \bapologi(?:[sz]e|es)\b | \bas\san\sAI\b | \bnot\s(?:feel\s)?comfortable\b | \brather\snot\b
    | \b(?:against|violates?)\s(?:my|our|content|usage|safety)\s(?:\w+\s)?(?:guidelines|polic)
    """,
    re.IGNORECASE | re.VERBOSE,
)
# After a whole number: the thing counted, the text of an item in a list, or the end of a text that broke off.
COUNTED = re.compile(r"[.):]?\s+[^\W\d_]|\.\s*$")


@dataclass(frozen=True)
class Parsed:
    """Holds one answer: its probability in [0, 1], or why it has none, of `REASONS` or in words of the request."""

    probability: float | None
    reason: str | None


@dataclass(frozen=True)
class Summary:
    """Holds the vote of several answers to one pair; all three numbers are `None` without a valid answer."""

    mean: float | None  # of the valid answers
    majority: float | None  # the mean of those on the side that most of them take
    spread: float | None  # the population standard deviation of the valid answers
    valid: int  # how many answers have a probability
    asked: int


def parse_answer(text: str | None) -> Parsed:
    """
    Reads the probability in a teacher's answer by the rules at the head of this module.

    A text that was cut off after a whole number of its digits looks like any other: whoever asks for it knows why it
    ended, and should not pass on what ran out of tokens.
    """
    if text is None or not text.strip():
        return Parsed(None, NO_ANSWER)
    text = _without_thoughts(text)
    if text is None:
        return Parsed(None, CUT_OFF_THINKING)
    if REFUSAL.match(text):
        return Parsed(None, REFUSED)
    text = _answer(text)
    if text is None:
        return Parsed(None, CUT_OFF_ANSWER)
    return _number(MARKUP.sub(" ", text).translate(SIGNS))


def summarise(answers: Sequence[Parsed]) -> Summary:
    """
    Votes among the answers to one pair (section 3.1 of the paper).

    The mean is the paper's "mean", the average confidence. The majority is its "max", the confidence of the majority:
    every valid answer decides, true from 0.5 upwards and false below; the mean of the answers on the side with more
    decisions is the vote. With as many on both sides there is no majority, and all of them count: the mean again.

    Answers without a probability only count as asked.
    """
    values = [answer.probability for answer in answers if answer.probability is not None]
    if not values:
        return Summary(None, None, None, 0, len(answers))
    true = [value for value in values if value >= 0.5]
    false = [value for value in values if value < 0.5]
    side = values if len(true) == len(false) else max(true, false, key=len)
    return Summary(fmean(values), fmean(side), pstdev(values), len(values), len(answers))


def _without_thoughts(text: str) -> str | None:
    """Returns the text outside of thoughts, or `None` if it ends in one."""
    kept, start, thinking = [], 0, False
    for tag in THOUGHT.finditer(text):
        closes = bool(tag[1])
        if closes and not thinking:
            kept.clear()
        elif not closes and not thinking:
            kept.append(text[start : tag.start()])
        thinking, start = not closes, tag.end()
    return None if thinking else " ".join([*kept, text[start:]])


def _answer(text: str) -> str | None:
    """Returns what the last complete answer tag holds; without any the whole text, `None` if a tag is only opened."""
    found, opened = None, None
    for tag in ANSWER.finditer(text):
        if not tag[1]:
            opened = tag.end()
        elif opened is not None:
            found, opened = text[opened : tag.start()], None
    if found is None and opened is None:
        return text
    return found


def _number(text: str) -> Parsed:
    numbers = list(NUMBER.finditer(text))
    read = sum(sum(map(str.isdecimal, match[0])) for match in numbers)
    if read != sum(map(str.isdecimal, text)):
        return Parsed(None, UNCLEAR)
    if DECLINES.search(text):
        return Parsed(None, REFUSED)
    if not numbers:
        return Parsed(None, NO_NUMBER)
    if NEGATION.search(text):
        return Parsed(None, UNCLEAR)
    gaps = {text[a.end() : b.start()].strip().lower() for a, b in zip(numbers, numbers[1:], strict=False)}
    for reason, meant in ((A_RANGE, RANGE_GAPS), (A_FRACTION, FRACTION_GAPS)):
        if gaps & meant:
            return Parsed(None, reason)
    values = {_value(match) for match in numbers}
    if len(values) > 1:
        return Parsed(None, DIFFERENT_NUMBERS)
    if any(_is_bound(text, match) for match in numbers):
        return Parsed(None, A_BOUND)
    value = values.pop()
    if not 0 <= value <= 1:
        return Parsed(None, OUT_OF_RANGE)
    if any(_may_be_no_probability(text, match) for match in numbers):
        return Parsed(None, UNCLEAR)
    return Parsed(abs(float(value)), None)


def _value(match: re.Match) -> Decimal:
    value = Decimal(match["numeral"].replace(",", "."))
    if match["sign"]:
        value = -value
    return value.scaleb(-2) if match["percent"] else value


def _is_bound(text: str, match: re.Match) -> bool:
    before = text[max(0, match.start() - LONGEST_BOUND) : match.start()]
    return bool(BOUND_BEFORE.search(before)) or text[match.end() : match.end() + 1] == "+"


def _may_be_no_probability(text: str, match: re.Match) -> bool:
    if match["part"] is not None:
        # 0,900 is plain, 1,000 is not.
        return "," in match["numeral"] and len(match["part"]) == 3 and match["whole"] != "0"
    return match["whole"] is not None and not match["percent"] and bool(COUNTED.match(text, match.end()))
