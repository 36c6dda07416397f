# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Answers the questions of a request about a state in one forward pass, by transformers' decision API.

```python
import modeling_clue.decision  # registers CLUE as a model of decisions
from transformers import pipeline

decide = pipeline("decision", model="checkpoints/clue-urn-tiny")
decide({
    "state": "Balls in the urn: red, red, blue, green, red.",
    "questions": {"red": {"type": "noul", "instructions": "A random ball is red."}},
})  # {"red": {"type": "noul", "noul": 0.599}}
```

`decision_format.py` says which hypotheses a question is put as, and how its answer follows from their probabilities:
those of the pipeline, calibrated if the checkpoint is.
"""

import json
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForDecision
from transformers.decision import DecisionConfig, parse_questions
from transformers.decision.modeling_utils import DecisionMixin

from .auto import CLUEConfig, CLUEForConfidenceEstimation, CLUEProcessor
from .decision_format import MAX_LEVELS, MAX_OPTIONS, MEDIA_FIELDS, hypotheses_of, option_probabilities, premise_of


def _labels() -> dict[str, list[str]]:
    """Names options by their numbers: transformers counts these to see how many a model can tell apart."""
    return {
        "choice": [str(number) for number in range(MAX_OPTIONS)],
        "score": [str(number) for number in range(MAX_LEVELS)],
    }


@dataclass
class CLUEDecisionConfig(DecisionConfig):
    """Renders a request with CLUE's own prompt; no template can, since its parts are tokenized apart."""

    labels: dict[str, list[str]] = field(default_factory=_labels)

    def prepare_inputs(self, request: dict[str, Any] | str, processor: CLUEProcessor) -> list[tuple[dict, list]]:
        """Prepares a request as one row: the premise, and a branch for each hypothesis of each question.

        Args:
            request (`dict`, or its JSON): `state` and `questions`, and beside them `assets`, `images`, `audio` and
                `videos` as [`~decision_format.premise_of`] takes them.
            processor ([`CLUEProcessor`]): that of the checkpoint.

        Raises:
            ValueError: naming the question or the field that CLUE cannot use, and why.
        """
        if isinstance(request, str):
            request = json.loads(request)
        if not isinstance(request, dict) or "questions" not in request or "state" not in request:
            raise ValueError('A request is {"state": ..., "questions": {name: question, ...}}, as a dict or its JSON.')
        if unknown := sorted(request.keys() - {"model", "state", "questions", "assets", *MEDIA_FIELDS}):
            raise ValueError(f"A request has no {', '.join(unknown)}.")
        questions = parse_questions(request["questions"], self)
        hypotheses = [hypothesis for question in questions for hypothesis in hypotheses_of(question)]
        return [(dict(processor(premise_of(request), hypotheses)), questions)]


class CLUEForDecision(DecisionMixin, CLUEForConfidenceEstimation):
    """Adapts CLUE to transformers' decision API."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *args, **kwargs) -> "CLUEForDecision":
        """Loads a checkpoint as any model does, with CLUE's way to read a request."""
        kwargs = {
            "config": CLUEConfig.from_pretrained(pretrained_model_name_or_path),
            "decision_config": CLUEDecisionConfig(),
            **kwargs,
        }
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @torch.no_grad()
    def decide(
        self, decision_questions: list, decision_config: DecisionConfig | None = None, **inputs
    ) -> list[torch.Tensor]:
        """Returns log-probabilities of the options of each question, in their order.

        Args:
            decision_questions (`list[Question]`): those of the row.
            decision_config (`DecisionConfig`, *optional*): ignored: the calibration sets the temperature.
            **inputs: as the processor makes them.
        """
        output = self(**{name: value.to(self.device) for name, value in inputs.items()})
        probabilities = output.probability.tolist()
        ends = accumulate((len(hypotheses_of(question)) for question in decision_questions), initial=0)
        return [
            torch.tensor(option_probabilities(question, probabilities[start:end]), dtype=torch.float64).log()
            for question, (start, end) in zip(decision_questions, pairwise(ends), strict=True)
        ]


# `pipeline("decision", model=FOLDER)` and transformers' server look up the model class by the configuration.
AutoModelForDecision.register(CLUEConfig, CLUEForDecision, exist_ok=True)
