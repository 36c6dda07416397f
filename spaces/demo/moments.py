"""Finds at which moments of a premise the page shows belief: few enough that nobody waits for them."""

from dataclasses import dataclass
from typing import Any


# As many points as a curve on a phone can show apart.
MAX_POINTS = 20
# Of all hypotheses together, the answers among them: of more hypotheses the curves have fewer points.
MAX_JUDGEMENTS = 30
# Each sentence of a text is looked at in turn: where there are more, that would take longer than to judge the text.
MAX_SENTENCES = 100


@dataclass(frozen=True)
class Moment:
    """
    Holds a moment of a premise.

    Args:
        at (`float`): Seconds into a clip, or the number of a text's sentence, from 1.
        cut (`Cut`): What the checkpoint's `timeline` knows of the premise if it ended there.
        sentence (`str`, *optional*): The sentence of a text.
    """

    at: float
    cut: Any
    sentence: str | None = None


def find_moments(timeline, clue, premise, hypotheses: int) -> list[Moment]:
    """
    Returns the moments of a premise at which its curves have points, the last of them its end; none where it has no
    course: a combination, or one that this checkpoint can't read ahead.

    Args:
        timeline (`module`, *optional*): The module of the checkpoint's own code; code of some time ago has none.
        clue (`Pipeline`): The checkpoint's pipeline.
        premise (`EncodedPremise`): As the pipeline has prepared it.
        hypotheses (`int`): How many are judged.
    """
    if timeline is None or premise.parts is not None or clue.processor.one_hypothesis_a_row:
        return []
    text = premise.text
    if text is not None and len(timeline.SENTENCE_END.findall(text)) > MAX_SENTENCES:
        return []
    cuts = timeline.find_cuts(clue.processor, premise, clue.model.sound_block)
    moments = [Moment(cut.at, cut) for cut in cuts] if text is None else _sentences(text, cuts)
    return _thin(moments, min(MAX_POINTS, MAX_JUDGEMENTS // hypotheses))


def _sentences(text: str, cuts: list) -> list[Moment]:
    # Blanks at the end are no sentence.
    *before, end = cuts
    ends = [cut for cut in before if text[cut.at :].strip()] + [end]
    starts = [0, *(cut.at for cut in ends)]
    return [
        Moment(number, cut, text[start : cut.at].strip())
        for number, (start, cut) in enumerate(zip(starts, ends, strict=False), start=1)
    ]


def _thin(moments: list[Moment], most: int) -> list[Moment]:
    if len(moments) <= most:
        return moments
    return [moments[number * len(moments) // most - 1] for number in range(1, most + 1)]
