# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Answers the yes/no questions of a request about a text in one forward pass, by transformers' decision API.

```python
import modeling_clue.decision  # registers CLUE as a model of decisions
from transformers import pipeline

decide = pipeline("decision", model="checkpoints/clue-urn-tiny")
decide({
    "state": "Balls in the urn: red, red, blue, green, red.",
    "questions": {"red": {"type": "noul", "instructions": "A random ball is red."}},
})  # {"red": {"type": "noul", "noul": 0.599}}
```

`state` is the premise, a text, and the `instructions` of a question are a hypothesis, a statement that may be true.
Each answer is the pipeline's probability, calibrated if the checkpoint is.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForDecision
from transformers.decision import DecisionConfig, parse_questions
from transformers.decision.modeling_utils import DecisionMixin

from .auto import CLUEConfig, CLUEForConfidenceEstimation, CLUEProcessor


@dataclass
class CLUEDecisionConfig(DecisionConfig):
    """Renders a request with CLUE's own prompt; no template can, since its parts are tokenized apart."""

    def prepare_inputs(self, request: dict[str, Any] | str, processor: CLUEProcessor) -> list[tuple[dict, list]]:
        """Prepares a request as one row: the premise, and a branch for each question.

        Args:
            request (`dict`, or its JSON): `state`, a text, and `questions` of the type `noul` alone.
            processor ([`CLUEProcessor`]): that of the checkpoint.

        Raises:
            ValueError: naming the question that CLUE cannot answer, and why.
        """
        if isinstance(request, str):
            request = json.loads(request)
        if not isinstance(request, dict) or "questions" not in request or "state" not in request:
            raise ValueError('A request is {"state": ..., "questions": {name: question, ...}}, as a dict or its JSON.')
        if not isinstance(request["state"], str):
            raise ValueError(f"CLUE is asked about a text here: `state` is a {type(request['state']).__name__}.")
        if request.get("assets"):
            raise ValueError("CLUE sees no images: leave out `assets`.")
        questions = parse_questions(request["questions"], self)
        for question in questions:
            if question.type != "noul":
                raise ValueError(
                    f"Question {question.name!r}: CLUE answers yes/no questions (noul), not {question.type}. Ask for "
                    "each option whether it is true."
                )
            if any(description is not None for description in question.descriptions):
                raise ValueError(f"Question {question.name!r}: say all in `instructions`; CLUE reads no `criteria`.")
            if not isinstance(question.instructions, str) or not question.instructions.strip():
                raise ValueError(f"Question {question.name!r}: `instructions` is the statement to judge, a text.")
        inputs = processor(request["state"], [question.instructions for question in questions])
        return [(dict(inputs), questions)]


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
        """Returns log-probabilities of the options of each question, in their order: true and false.

        Args:
            decision_questions (`list[Question]`): those of the row.
            decision_config (`DecisionConfig`, *optional*): ignored: the calibration sets the temperature.
            **inputs: as the processor makes them.
        """
        output = self(**{name: value.to(self.device) for name, value in inputs.items()})
        true = {"true": output.probability.log(), "false": (-output.probability).log1p()}
        return [
            torch.stack([true[option][index] for option in question.options])
            for index, question in enumerate(decision_questions)
        ]


# `pipeline("decision", model=FOLDER)` and transformers' server look up the model class by the configuration.
AutoModelForDecision.register(CLUEConfig, CLUEForDecision, exist_ok=True)
