"""Zero-shot prompting for a number: the rubric of appendix G in our words, the answer read as a teacher's."""

from pathlib import Path

from chat.asking import read_answer
from evaluation.predictors.prediction import WrittenPrediction
from evaluation.predictors.prompting import LocalPrompting, Prompt, ServerPrompting


def written(choice: dict) -> WrittenPrediction:
    """The number in a choice of a reply, or the reason why there is none."""
    text = choice["message"]["content"] or ""
    read = read_answer(text, choice["finish_reason"])
    return WrittenPrediction(read["probability"], text, read["reason"], [])


class LocalScalar(LocalPrompting):
    """
    A local model writes a number, greedily.

    Args:
        prompt (`Prompt`): With `rubric`.
        folder (`Path`): The folder with the model.
        max_tokens (`int`): The length of an answer at most.
    """

    def __init__(self, prompt: Prompt, folder: Path, max_tokens: int):
        super().__init__(prompt, folder)
        self.max_tokens = max_tokens

    def ask(self, inputs: dict) -> WrittenPrediction:
        """Has the answer written."""
        return written(self.model.reply(inputs, seed=0, max_tokens=self.max_tokens, temperature=0)["choices"][0])


class ServerScalar(ServerPrompting):
    """A model behind a server writes a number; `fields` hold the temperature and the length of an answer."""

    def read(self, choice: dict) -> WrittenPrediction:
        """Reads the number."""
        return written(choice)
