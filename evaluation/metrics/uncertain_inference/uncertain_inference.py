# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""The measures of uncertain inference as a module of the `evaluate` library.

```python
metric = evaluate.load("evaluation/metrics/uncertain_inference")
metric.compute(predictions=[0.9, 0.2], references=[1.0, 0.3])["mse"]
```
"""

import datasets
import evaluate

from .measures import measure


DESCRIPTION = """
How good predicted probabilities are against human or exact ones: MSE, MAE, expected calibration error over 10
equal-width bins, cross-entropy, Pearson and Spearman correlation, accuracy, precision, recall and F1 at 0.5.
"""

INPUTS = """
Args:
    predictions (`list[float]`): predicted probabilities.
    references (`list[float]`): human or exact probabilities, or binary labels.
Returns:
    a value for each measure, `None` where it is undefined (the correlation of constant predictions).
"""

CITATION = """
@article{umui, title = {Unified Multimodal Uncertain Inference}}
"""


class UncertainInference(evaluate.Metric):
    """`evaluate.Metric` over `measures.measure`, without intervals."""

    def _info(self):
        features = {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features(features),
        )

    def _compute(self, predictions, references):
        results = measure(predictions, references, resamples=0)
        return {name: result["value"] for name, result in results.items()}
