"""The model under evaluation, and the predictors that it has to beat because they look at less."""

import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge
from transformers import AutoConfig, AutoModel, AutoProcessor, Qwen2_5OmniThinkerForConditionalGeneration

from datasets_scripts.teachers.answers import CUT_OFF_ANSWER, Parsed, parse_answer
from modeling_clue.confidence import central_interval, standard_deviation


# The share of a predicted distribution that its interval holds, and so the coverage to expect of the intervals.
INTERVAL_MASS = 0.9


@dataclass
class Prediction:
    """
    The answer to one hypothesis.

    Args:
        probability (`float`): The expectation of the predicted distribution.
        standard_deviation (`float`): Its standard deviation.
        entropy (`float`): Its entropy in nats.
        interval (`list[float]`): Low and high end of the central `INTERVAL_MASS` of it.
        notes (`list[str]`): What was cut or left out of the premise on the way into the model.
    """

    probability: float
    standard_deviation: float
    entropy: float
    interval: list[float]
    notes: list[str]


class CLUEPredictor:
    """
    A checkpoint with its processor, loaded as anybody loads one from the Hub.

    Args:
        checkpoint (`str`): Folder of the checkpoint.
    """

    def __init__(self, checkpoint: str | Path):
        self.processor = AutoProcessor.from_pretrained(checkpoint, trust_remote_code=True)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = AutoModel.from_pretrained(checkpoint, trust_remote_code=True, dtype="auto").to(device).eval()

    @torch.inference_mode()
    def predict(self, premises: list, hypotheses: list[list[str]]) -> list[list[Prediction]]:
        """
        Scores hypotheses; each premise is encoded once for all of its own.

        Args:
            premises (`list`): Texts, paths, bytes or rows of a UMUI dataset.
            hypotheses (`list[list[str]]`): The hypotheses of each premise.

        Returns:
            `list[list[Prediction]]`: the answers, in the order of the hypotheses.
        """
        inputs = self.processor(premises, hypotheses)
        all_notes = inputs.notes
        output = self.model(**inputs.to(self.model.device))
        distributions = self.model.distribution(output.logits)
        answers = zip(
            # A sum in float32 may pass 1 by a rounding; NaN stays NaN.
            output.probability.clamp(0, 1).tolist(),
            standard_deviation(distributions).tolist(),
            torch.special.entr(distributions).sum(-1).tolist(),
            central_interval(distributions, INTERVAL_MASS).tolist(),
            strict=True,
        )
        return [
            [Prediction(*next(answers), notes=list(notes)) for _ in claims]
            for claims, notes in zip(hypotheses, all_notes, strict=True)
        ]


# Tokens of the prompts that a Thinker answers together: it projects each of them onto its whole vocabulary, which is
# 2.5 GB of logits in bfloat16 with the 151,936 rows of Qwen2.5-Omni.
TOKENS_PER_PASS = 8192


@dataclass
class WrittenPrediction:
    """
    The answer to one hypothesis by a model that writes it; there is no distribution to take a spread from.

    Args:
        probability (`float`, *optional*): The number in the answer, `None` if it has none.
        answer (`str`): The text, without the token that ends it.
        reason (`str`, *optional*): Why there is no number: one of `datasets_scripts.teachers.answers.REASONS`.
        notes (`list[str]`): What was cut or left out of the premise on the way into the model.
    """

    probability: float | None
    answer: str
    reason: str | None
    notes: list[str]


class TextPredictor:
    """
    A checkpoint of CLUE-T, the token-based baseline of section 3.2: a plain Thinker that writes the probability.

    It generates as its `generation_config.json` says, greedily, and its answers are read by the rules for teachers'.

    Args:
        checkpoint (`str`): Folder of the checkpoint.
    """

    def __init__(self, checkpoint: str | Path):
        self.processor = AutoProcessor.from_pretrained(checkpoint, trust_remote_code=True)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(checkpoint, dtype="auto")
        self.model = model.to(device).eval()

    def predict(self, premises: list, hypotheses: list[list[str]]) -> list[list[WrittenPrediction]]:
        """
        Has an answer written to each hypothesis.

        Args:
            premises (`list`): Texts, paths, bytes or rows of a UMUI dataset.
            hypotheses (`list[list[str]]`): The hypotheses of each premise.

        Returns:
            `list[list[WrittenPrediction]]`: the answers, in the order of the hypotheses.
        """
        encoded = [self.processor.encode_premise(premise) for premise in premises]
        # Each hypothesis has its premise to itself: there is no sharing as with branches.
        prompts = [(premise, claim) for premise, claims in zip(encoded, hypotheses, strict=True) for claim in claims]
        lengths = [premise.num_tokens + len(self.processor.encode_hypothesis(claim)) for premise, claim in prompts]
        passes = {}
        for index in sorted(range(len(prompts)), key=lengths.__getitem__):
            # One pass has one modality: how the model places sound in time is one setting for all its rows.
            of_modality = passes.setdefault(prompts[index][0].modality, [[]])
            if (len(of_modality[-1]) + 1) * lengths[index] > TOKENS_PER_PASS and of_modality[-1]:
                of_modality.append([])
            of_modality[-1].append(index)
        texts = {}
        for indices in chain(*passes.values()):
            texts.update(zip(indices, self._write([prompts[index] for index in indices]), strict=True))
        answers = (self._read(*texts[index], prompts[index][0].notes) for index in range(len(prompts)))
        return [[next(answers) for _ in claims] for claims in hypotheses]

    @torch.inference_mode()
    def _write(self, prompts: list[tuple]) -> list[tuple[str, bool]]:
        """What follows each prompt, a premise and a claim (all of one modality): text, and whether it has an end."""
        premises, claims = zip(*prompts, strict=True)
        inputs = self.processor.collate(list(premises), [[claim] for claim in claims])
        inputs.pop("branch_ids")
        width = inputs["input_ids"].shape[1]
        padding = (width - inputs["attention_mask"].sum(dim=1)).tolist()
        for name in ("input_ids", "attention_mask"):  # what is generated follows the last column: padding goes first
            inputs[name] = torch.stack([row.roll(shift) for row, shift in zip(inputs[name], padding, strict=True)])
        written = self.model.generate(
            **inputs.to(self.model.device), use_audio_in_video=premises[0].modality == "audiovisual"
        )
        texts = []
        for ids in written[:, width:].tolist():
            ends = [place for place, token in enumerate(ids) if token in self.model.generation_config.eos_token_id]
            # Special tokens within stay to be seen: without them "0.<|AUDIO|>5" would be a number.
            texts.append((self.processor.tokenizer.decode(ids[: ends[0]] if ends else ids), bool(ends)))
        return texts

    @staticmethod
    def _read(text: str, ended: bool, notes: tuple[str, ...]) -> WrittenPrediction:
        parsed = parse_answer(text) if ended else Parsed(None, CUT_OFF_ANSWER)
        return WrittenPrediction(parsed.probability, text, parsed.reason, list(notes))


def answer_format(checkpoint: Path) -> str | None:
    """
    How the model of a checkpoint writes a probability: `"{probability:.2f}<|im_end|>"`.

    Args:
        checkpoint (`Path`): Folder of the checkpoint.

    Returns:
        `str`, *optional*: `None` for CLUE, which gives a distribution.

    Raises:
        `ValueError`: if the checkpoint is neither of CLUE nor of CLUE-T.
    """
    kind = AutoConfig.from_pretrained(checkpoint, trust_remote_code=True).model_type
    if kind == "clue":
        return None
    settings = checkpoint / "processor_config.json"
    prompt = json.loads(settings.read_text()).get("prompt", {}) if settings.exists() else {}
    if kind != "qwen2_5_omni_thinker" or "answer" not in prompt:
        raise ValueError(
            f"{checkpoint} is a {kind} checkpoint without a prompt for answers: neither CLUE, nor trained with "
            "`--variant text`."
        )
    return prompt["answer"]


class ConstantMean:
    """Answers the mean probability of the training split to everything."""

    def fit(self, hypotheses: list[str], probabilities: ArrayLike) -> Self:
        """Takes the mean of `probabilities`; returns itself."""
        self.mean = float(np.mean(probabilities))
        return self

    def predict(self, hypotheses: list[str]) -> np.ndarray:
        """Returns the mean for each of `hypotheses`, `(n,)`."""
        return np.full(len(hypotheses), self.mean)


class RidgeText:
    """
    Ridge regression on which words, pairs and triples of words a text has, clipped to [0, 1].

    Presence, not TF-IDF: there a word seen once, such as a name, outweighs all others of its text.

    Args:
        alpha (`float`): Strength of the penalty.
    """

    def __init__(self, alpha: float):
        self.alpha = alpha

    def fit(self, hypotheses: list[str], probabilities: ArrayLike) -> Self:
        """Fits texts (n,) to probabilities (n,); returns itself."""
        # One-letter words count ("a", "I"): the usual token pattern drops them.
        self.features = CountVectorizer(ngram_range=(1, 3), token_pattern=r"(?u)\b\w+\b", binary=True)
        self.regression = Ridge(alpha=self.alpha).fit(self.features.fit_transform(hypotheses), probabilities)
        return self

    def predict(self, hypotheses: list[str]) -> np.ndarray:
        """Returns probabilities `(n,)`."""
        return self.regression.predict(self.features.transform(hypotheses)).clip(0, 1)


class TextMean:
    """
    The mean training probability of the same text, drawn towards another predictor where the text is rare.

    Args:
        prior (`RidgeText` or `ConstantMean`): A fitted predictor that counts as `strength` occurrences of each text.
        strength (`float`): Its weight.
    """

    def __init__(self, prior: RidgeText | ConstantMean, strength: float):
        self.prior = prior
        self.strength = strength

    def fit(self, hypotheses: list[str], probabilities: ArrayLike) -> Self:
        """Sums the probabilities of each text; returns itself."""
        self.sums, self.counts = {}, {}
        for text, probability in zip(hypotheses, probabilities, strict=True):
            self.sums[text] = self.sums.get(text, 0.0) + probability
            self.counts[text] = self.counts.get(text, 0) + 1
        return self

    def predict(self, hypotheses: list[str]) -> np.ndarray:
        """Returns probabilities `(n,)`."""
        sums = np.array([self.sums.get(text, 0.0) for text in hypotheses])
        counts = np.array([self.counts.get(text, 0) for text in hypotheses])
        return (sums + self.strength * self.prior.predict(hypotheses)) / (counts + self.strength)


class HypothesisOnly:
    """
    The best of several predictors that see the text of the hypothesis and nothing of the premise.

    What it reaches can be had by knowing which hypotheses tend to be true; only what a model does better was learnt
    from premises. Candidates are the mean of identical texts and ridge regressions on their words, fitted on the
    training split; the one with the least squared error on the validation split is kept, as `name` and
    `validation_mse` tell.
    """

    def fit(
        self,
        hypotheses: list[str],
        probabilities: ArrayLike,
        validation_hypotheses: list[str],
        validation_probabilities: ArrayLike,
    ) -> Self:
        """Fits every candidate and keeps the best; returns itself."""
        candidates = {"constant mean": ConstantMean().fit(hypotheses, probabilities)}
        for alpha in (1.0, 10.0, 30.0, 100.0):
            candidates[f"ridge on words, alpha {alpha:g}"] = RidgeText(alpha).fit(hypotheses, probabilities)
        for prior_name, prior in list(candidates.items()):
            for strength in (0.3, 3.0):
                name = f"mean of the same text, {strength:g} x {prior_name}"
                candidates[name] = TextMean(prior, strength).fit(hypotheses, probabilities)
        truth = np.asarray(validation_probabilities)
        errors = {name: np.mean((c.predict(validation_hypotheses) - truth) ** 2) for name, c in candidates.items()}
        self.name = min(errors, key=errors.get)
        self.validation_mse = float(errors[self.name])
        self.best = candidates[self.name]
        return self

    def predict(self, hypotheses: list[str]) -> np.ndarray:
        """Returns the best candidate's probabilities `(n,)`."""
        return self.best.predict(hypotheses)
