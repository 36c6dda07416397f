"""Answers that a teacher has given before, from its answer files."""

from collections import Counter

from chat.answers import summarise
from chat.messages import question
from datasets_scripts.teachers.answer_files import Answers
from evaluation.predictors.prediction import TwoStagePredictor, WrittenPrediction


NOT_ASKED = "the teacher was not asked"


class TeacherPredictor(TwoStagePredictor):
    """
    The mean of a teacher's answers to each row.

    Args:
        answers (`dict[str, Answers]`): As `by_question` gives them.
    """

    def __init__(self, answers: dict[str, Answers]):
        self.answers = answers

    def prepare(self, premises: list[dict], hypotheses: list[list[str]]) -> list[list[str]]:
        """
        Refused: the answers are known by what whole rows ask, which hypotheses alone don't tell.

        Raises:
            `TypeError`: always.
        """
        raise TypeError("a teacher's answers are looked up by whole rows: use prepare_rows")

    def prepare_rows(self, groups: list[list[dict]]) -> list[list[str]]:
        """Takes what rows ask, those of one premise together."""
        return [[question(row) for row in rows] for rows in groups]

    def answer(self, prepared: list[list[str]]) -> list[list[WrittenPrediction]]:
        """See [`TwoStagePredictor`]; a row without an answer has the commonest reason for it."""
        return [[self._look_up(asked) for asked in group] for group in prepared]

    def _look_up(self, asked: str) -> WrittenPrediction:
        found = self.answers.get(asked)
        if found is None:
            return WrittenPrediction(None, "", NOT_ASKED, [])
        told = ", ".join(p.reason if p.probability is None else f"{p.probability:g}" for p in found.parsed)
        mean = summarise(found.parsed).mean
        reason = Counter(parsed.reason for parsed in found.parsed).most_common(1)[0][0] if mean is None else None
        return WrittenPrediction(mean, told, reason, [])
