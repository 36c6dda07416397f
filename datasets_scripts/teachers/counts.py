"""What came of asking: pairs and answers counted, with every reason why there is no probability."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from chat.failures import RunStoppedError


# A teacher that is sure repeats itself; one that repeats itself nearly always does not sample.
SUSPICIOUS_SHARE = 0.9
FEWEST_PAIRS = 5


@dataclass
class Counts:
    """
    Numbers of pairs and answers.

    Args:
        expected (`int`): Pairs that there should be.
        pairs (`int`): Pairs that are finished.
        answers (`int`): Answers asked for.
        probabilities (`int`): Answers with a probability.
        incomplete (`int`): Pairs with another number of answers than asked for.
        repeated (`int`): Pairs with the same text in all answers.
        unparsable (`Counter`): Answers without a probability, by reason.
        failed (`Counter`): Answers that never came, by reason.
    """

    expected: int
    pairs: int = 0
    answers: int = 0
    probabilities: int = 0
    incomplete: int = 0
    repeated: int = 0
    unparsable: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)

    def report(self) -> str:
        """The numbers in lines for a person."""
        lines = [
            f"pairs: {self.pairs} of {self.expected}",
            f"answers: {self.answers}, with a probability {self.probabilities}, "
            f"unparsable {self.unparsable.total()}, failed {self.failed.total()}",
        ]
        lines += [f"  unparsable: {line}" for line in _by_kind(self.unparsable)]
        lines += [f"  failed: {line}" for line in _by_kind(self.failed)]
        lines.append(f"pairs whose answers all have the same text: {self.repeated}")
        if self.pairs >= FEWEST_PAIRS and self.repeated >= SUSPICIOUS_SHARE * self.pairs:
            lines.append(
                "warning: the teacher gives the same text each time, so asking it again tells nothing: the server may "
                "ignore the temperature (`transformers serve` does unless the model's generation config samples)"
            )
        return "\n".join(lines)

    def raise_if_in_vain(self, before: "Counts") -> None:
        """
        Ends a run that got nothing.

        Args:
            before (`Counts`): What was there when it began.

        Raises:
            `RunStoppedError`: if no answer at all has a probability, or none of those that are new.
        """
        new = self.answers - before.answers
        if not self.answers or self.probabilities > (before.probabilities if new else 0):
            return
        lost = self.unparsable + self.failed
        reasons = _by_kind(lost - before.unparsable - before.failed or lost)
        raise RunStoppedError(
            f"none of the {new or self.answers} answers has a probability, most often: {reasons[0].rstrip('.')}. "
            "Put that right: --ask-again-failed then repeats the failed answers, another --output-dir asks all anew"
        )


def _by_kind(reasons: Counter) -> list[str]:
    """Lines for a person: reasons that begin alike are one kind, the server's words behind it may differ each time."""
    kinds: dict[str, Counter] = {}
    for reason, number in reasons.items():
        kinds.setdefault(reason.partition(": ")[0], Counter())[reason] += number
    lines = []
    for words in sorted(kinds.values(), key=Counter.total, reverse=True):
        others = f" (and {len(words) - 1} like it)" if len(words) > 1 else ""
        lines.append(f"{words.total()} x {words.most_common(1)[0][0]}{others}")
    return lines


def count(pairs: Iterable[dict], expected: int, asked: int) -> Counts:
    """
    Counts finished pairs.

    Args:
        pairs (`Iterable[dict]`): As they are in the file of answers.
        expected (`int`): Pairs that there should be.
        asked (`int`): Answers that each should have.

    Returns:
        [`Counts`]
    """
    counts = Counts(expected)
    for pair in pairs:
        answers = pair["answers"]
        texts = [answer["text"] for answer in answers]
        counts.pairs += 1
        counts.answers += len(answers)
        counts.incomplete += len(answers) != asked
        counts.repeated += len(texts) > 1 and None not in texts and len(set(texts)) == 1
        for answer in answers:
            if answer["probability"] is not None:
                counts.probabilities += 1
            else:
                (counts.failed if answer["text"] is None else counts.unparsable)[answer["reason"]] += 1
    return counts
