"""Reads the answers that a teacher has given before, from its answer files."""

from argparse import Namespace
from collections import Counter
from dataclasses import dataclass

from chat.answers import summarise
from chat.messages import question, questions
from common.digests import digest
from datasets_scripts.teachers.answer_files import Answers, by_question, read_answers
from evaluation.data import load_rows
from evaluation.predictors.choose import ChosenPredictor, register_predictor
from evaluation.predictors.prediction import Predictor, WrittenPrediction


NOT_ASKED = "the teacher was not asked"


@register_predictor("teacher", model=False)
def teacher(args: Namespace, dataset: str) -> ChosenPredictor:
    """Chooses the teacher's answers to the rows of the split."""
    if args.answers is None:
        raise ValueError("--predictor teacher needs --answers: run python -m datasets_scripts.teacher ask.")
    asked = {question for question, _ in questions(load_rows(dataset, args.dataset_config, args.split))}
    answers = {name: answer for name, answer in by_question(read_answers(args.answers)).items() if name in asked}
    if not answers:
        raise ValueError(
            f"--answers {args.answers} holds none to {args.dataset_config} {args.split} as its rows are now: ask the "
            "teacher first."
        )
    given = sorted([name, [[a.probability, a.reason] for a in answer.parsed]] for name, answer in answers.items())
    return ChosenPredictor(
        f"teacher-{args.answers.resolve().name}",
        {"predictor": "teacher", "model": None, "answers": str(args.answers), "answers_digest": digest(given)},
        lambda: TeacherPredictor(answers),
    )


@dataclass
class TeacherPredictor(Predictor):
    """Looks up the mean of a teacher's answers to each row's question, or the commonest reason for none."""

    answers: dict[str, Answers]

    def prepare(self, rows: list[dict]) -> list[str]:
        """Returns the questions of rows, for which their clips are read."""
        return list(map(question, rows))

    def answer(self, prepared: list[str]) -> list[WrittenPrediction]:
        return list(map(self._look_up, prepared))

    def _look_up(self, asked: str) -> WrittenPrediction:
        found = self.answers.get(asked)
        if found is None:
            return WrittenPrediction(None, "", NOT_ASKED)
        text = ", ".join(p.reason if p.probability is None else f"{p.probability:g}" for p in found.parsed)
        mean = summarise(found.parsed).mean
        reason = Counter(parsed.reason for parsed in found.parsed).most_common(1)[0][0] if mean is None else None
        return WrittenPrediction(mean, text, reason)
