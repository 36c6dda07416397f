"""
The measures of uncertain inference as a module of the `evaluate` library.

```python
metric = evaluate.load("evaluation/metrics/uncertain_inference")
metric.compute(predictions=[0.9, 0.2], references=[1.0, 0.3])["mse"]
```
"""

import datasets
import evaluate

# `evaluate` copies the files that are imported here, not those that they import: both are named.
from .calibration_errors import NUM_BINS
from .measures import histogram, measure


DESCRIPTION = f"""
How good predicted probabilities are against human or exact ones: MSE, MAE, cross-entropy, Pearson and Spearman
correlation, accuracy, precision, recall and F1 at 0.5, Krippendorff's alpha, and calibration errors: expected over
{NUM_BINS} bins of equal width or equal mass, debiased, smooth and maximum, with what a calibrated predictor shows by
chance; KL divergence and Brier score to the distribution of annotators' answers.
"""

INPUTS = """
Args:
    predictions (`list[float]`): Predicted probabilities.
    references (`list[float]`): Human or exact probabilities, or binary labels.
    clusters (`list`, *optional*): The premise of each row, for what a calibrated predictor shows by chance.
    people (`list[list[float]]`, *optional*): The answers of each row's annotators.
    distributions (`list[list[float]]`, *optional*): Predicted distributions over N probabilities from 0 to 1, evenly
        apart, to compare with people's; not needed where every answer is 0 or 1.
Returns:
    a value for each measure, `None` where it is undefined (the correlation of constant predictions).
"""

CITATION = """
@article{zhang2026umui,
  title = {Unified Multimodal Uncertain Inference},
  author = {Zhang, Dengjia and Martin, Alexander and Jurayj, William and Murray, Kenton and Van Durme, Benjamin and
    Kriz, Reno},
  journal = {arXiv preprint arXiv:2604.08701},
  year = {2026},
  url = {https://arxiv.org/abs/2604.08701},
}
"""


class UncertainInference(evaluate.Metric):
    """`evaluate.Metric` over `measures.measure`, without intervals."""

    def _info(self) -> evaluate.MetricInfo:
        features = {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features(features),
        )

    def _compute(
        self,
        predictions: list[float],
        references: list[float],
        clusters: list | None = None,
        people: list[list[float] | None] | None = None,
        distributions: list[list[float]] | None = None,
    ) -> dict[str, float | None]:
        columns = None if distributions is None else {"histogram": histogram(distributions)}
        results = measure(
            predictions, references, clusters=clusters, distributions=columns, resamples=0, people=people
        )
        return {name: result["value"] for name, result in results.items()}
