"""What came of asking: pairs and answers counted, with every reason why there is no probability."""

from collections import Counter
from collections.abc import Iterable

from chat.failures import RunStoppedError


# A teacher that is sure repeats itself; one that repeats itself nearly always does not sample.
SUSPICIOUS_SHARE = 0.9
FEWEST_PAIRS = 5


class Counts:
    """
    Counts finished pairs.

    Args:
        pairs (`Iterable[dict]`): As they are in the file of answers.
        expected (`int`): Pairs that there should be.
        asked (`int`): Answers that each should have.
    """

    def __init__(self, pairs: Iterable[dict], expected: int, asked: int):
        self.expected = expected
        # Pairs; those with another number of answers; those with the same text in all of them.
        self.pairs = self.incomplete = self.repeated = 0
        self.answers = self.probabilities = 0
        # Reasons of answers without a probability, and of those that never came.
        self.unparsable, self.failed = Counter(), Counter()
        for pair in pairs:
            answers = pair["answers"]
            texts = [answer["text"] for answer in answers]
            self.pairs += 1
            self.answers += len(answers)
            self.incomplete += len(answers) != asked
            self.repeated += len(texts) > 1 and None not in texts and len(set(texts)) == 1
            for answer in answers:
                if answer["probability"] is not None:
                    self.probabilities += 1
                else:
                    (self.failed if answer["text"] is None else self.unparsable)[answer["reason"]] += 1

    def report(self) -> str:
        """Returns the numbers in lines for a person."""
        lines = [
            f"pairs: {self.pairs} of {self.expected}",
            f"answers: {self.answers}, with a probability {self.probabilities}, "
            f"unparsable {self.unparsable.total()}, failed {self.failed.total()}",
            *(f"  unparsable: {line}" for line in _by_kind(self.unparsable)),
            *(f"  failed: {line}" for line in _by_kind(self.failed)),
            f"pairs whose answers all have the same text: {self.repeated}",
        ]
        if self.pairs >= FEWEST_PAIRS and self.repeated >= SUSPICIOUS_SHARE * self.pairs:
            lines.append(
                "warning: the teacher gives the same text each time, so asking it again tells nothing: the server may "
                "ignore the temperature (`transformers serve` does unless the model's generation config samples)"
            )
        return "\n".join(lines)

    def raise_if_in_vain(self, before: "Counts") -> None:
        """Raises a `RunStoppedError` if no answer has a probability, or none of those that were not there before."""
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
