# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""`pipeline("uncertain-inference", model=..., trust_remote_code=True)`: from clips and claims to probabilities."""

import os
from collections.abc import Iterable, Iterator, Sized
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset
from transformers import Pipeline

from .confidence import central_interval, standard_deviation
from .posthoc import calibrated_distribution, calibrated_probability, conformal_interval


# Hypotheses of one premise that go into one row: more are judged in several passes.
_MOST_HYPOTHESES = 64


class UncertainInferencePipeline(Pipeline):
    """How probable are hypotheses about a premise of text, sound, video, or video with its sound?

    Example:

    ```python
    >>> from transformers import pipeline

    >>> clue = pipeline("uncertain-inference", model="checkpoints/clue-urn-tiny", trust_remote_code=True)
    >>> clue({"video": "clip.mp4", "hypotheses": ["The ball is red.", "The ball is blue."]})
    [{'hypothesis': 'The ball is red.', 'probability': 0.74, 'distribution': [...], 'standard_deviation': 0.05,
      'interval': [0.66, 0.83], 'modality': 'video', 'notes': []}, ...]
    ```
    """

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    _load_video_processor = False

    def __call__(self, inputs, num_workers: int | None = None, batch_size: int | None = None, **options):
        """Judges the hypotheses of one input, or of many.

        Args:
            inputs (`dict`, or an iterable of those):
                What [`CLUEProcessor`] takes for a premise (`text`, `audio`, `video`, `modality`; or `premise` with a
                text, a path or bytes), and beside it `hypotheses`, a `list[str]`, or `hypothesis`, a `str`. A row of
                the UMUI dataset is one as it is.
            num_workers (`int`, *optional*, defaults to 0):
                Processes that decode clips while the model works.
            batch_size (`int`, *optional*, defaults to 1):
                Premises in one forward pass, each with its hypotheses, at most 64 at a time. It changes the speed, not
                the answers.
            interval (`float`, *optional*, defaults to 0.9):
                Share of the distribution inside the interval.
            calibrated (`bool`, *optional*, defaults to `True`):
                Whether to apply the calibration saved with the checkpoint, if it has one; `False` gives what the model
                says itself.
            fps, max_frames, max_audio_seconds, on_missing_sound (*optional*):
                Override the limits saved with the processor.

        Returns:
            For one input a `list[dict]`, one for each hypothesis; for a `list` a list of those; for a dataset or
            generator an iterator over those, which reads as it goes. The keys are

            - `hypothesis` (`str`)
            - `probability` (`float`): that the hypothesis is true, the expectation of the distribution,
              taken through the checkpoint's isotonic calibration if it has one;
            - `distribution` (`list[float]` of length N): over the confidence bins `linspace(0, 1, N)`, at the
              checkpoint's temperature if it has one;
            - `standard_deviation` (`float`): of the distribution;
            - `interval` (`list[float]` of length 2): the central part of the distribution;
            - `conformal_interval` (`list[float]` of length 2): where the checkpoint has a conformal calibration, the
              interval that holds the true probability with the coverage it was fitted for, whatever `interval` is;
            - `modality` (`str`): what the answer rests on: a silent clip given as audiovisual is judged as `"video"`
              where `on_missing_sound="video"` allows it;
            - `notes` (`list[str]`): what was cut, thinned or replaced in the premise.

        Raises:
            ValueError: naming the input, by its place if there are many, and what is wrong with it. `MediaError`, a
                subclass, if it is the clip.
        """
        saved = (self._preprocess_params, self._forward_params, self._postprocess_params)
        steps = [old | new for old, new in zip(saved, self._sanitize_parameters(**options), strict=True)]
        batch_size = batch_size or self._batch_size or 1
        num_workers = num_workers or self._num_workers or 0
        if isinstance(inputs, dict):
            return self.run_single(inputs, *steps)
        if isinstance(inputs, (str, bytes, os.PathLike)) or not isinstance(inputs, (Iterable, Dataset)):
            raise ValueError(
                "An input is a dict of a premise and its hypotheses, such as {'text': ..., 'hypotheses': [...]}, got "
                f"{inputs!r:.100}."
            )
        results = self.get_iterator(inputs, num_workers, batch_size, *steps)
        return list(results) if isinstance(inputs, (list, tuple)) else results

    def _sanitize_parameters(
        self,
        interval: float | None = None,
        calibrated: bool | None = None,
        fps: float | None = None,
        max_frames: int | None = None,
        max_audio_seconds: float | None = None,
        on_missing_sound: str | None = None,
        local_files_only: bool | None = None,  # `pipeline(...)` passes on what it loaded with
    ) -> tuple[dict, dict, dict]:
        if interval is not None and not 0 < interval < 1:
            raise ValueError(f"`interval` is a share of the distribution, between 0 and 1, got {interval!r}.")
        media = {
            "fps": fps,
            "max_frames": max_frames,
            "max_audio_seconds": max_audio_seconds,
            "on_missing_sound": on_missing_sound,
        }
        media = {name: value for name, value in media.items() if value is not None}
        forward = {} if calibrated is None else {"calibrated": calibrated}
        return media, forward, {} if interval is None else {"interval": interval}

    def preprocess(self, input_: dict, **media) -> dict:
        """Decodes and tokenizes one premise, and checks its hypotheses."""
        return _Preparation(self.processor, media)(input_)

    def _forward(self, batch: list[dict], calibrated: bool = True) -> list[dict]:
        """Judges a batch of what `preprocess` returns; many hypotheses in parts, each with the clips' towers run once.

        In one row their cost would grow with the square of their number.
        """
        premises, hypotheses = [item["premise"] for item in batch], [item["hypotheses"] for item in batch]
        most = max(map(len, hypotheses))
        part = most if self.processor.one_hypothesis_a_row else _MOST_HYPOTHESES
        logits: list[list[torch.Tensor]] = [[] for _ in batch]
        for start in range(0, most, part):
            rows = [row for row, sentences in enumerate(hypotheses) if len(sentences) > start]
            parts = [hypotheses[row][start : start + part] for row in rows]
            inputs = self.processor.collate([premises[row] for row in rows], parts)
            output = self.model(**inputs.to(self.device, self.model.dtype), calibrated=calibrated)
            for row, judged in zip(rows, output.logits.split([len(sentences) for sentences in parts]), strict=True):
                logits[row].append(judged)
            if start == 0 and most > part:
                premises = self.processor.with_tower_outputs(premises, output.audio_embeds, output.video_embeds)
        calibration = self.model.config.calibration if calibrated else None
        return [
            {
                "hypotheses": sentences,
                "logits": torch.cat(judged),
                "calibration": calibration,
                "modality": premise.modality,
                "notes": list(premise.notes),
            }
            for premise, sentences, judged in zip(premises, hypotheses, logits, strict=True)
        ]

    def postprocess(self, judged: dict, interval: float = 0.9) -> list[dict[str, Any]]:
        """One premise of a judged batch as plain numbers, one `dict` for each hypothesis."""
        return answers(**judged, interval=interval)

    def run_single(self, inputs: dict, preprocess_params: dict, forward_params: dict, postprocess_params: dict):
        """The base class's steps, for a batch of one."""
        batch = [self.preprocess(inputs, **preprocess_params)]
        return self.postprocess(self.forward(batch, **forward_params)[0], **postprocess_params)

    def get_iterator(
        self, inputs, num_workers: int, batch_size: int, preprocess_params, forward_params, postprocess_params
    ) -> Iterator[list[dict]]:
        """Replaces that of the base class, which pads tensors by their names: here the processor makes the batch."""
        prepare = _Preparation(self.processor, preprocess_params)
        if isinstance(inputs, Sized):
            prepared = _Prepared(inputs, prepare)
        else:
            prepared = _PreparedStream(inputs, prepare)
            num_workers = min(num_workers, 1)  # each worker would read the whole stream
        for batch in DataLoader(prepared, batch_size=batch_size, num_workers=num_workers, collate_fn=list):
            for judged in self.forward(batch, **forward_params):
                yield self.postprocess(judged, **postprocess_params)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs) -> None:
        """Saves model and processor, whose files bring this one along."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)


class _Preparation:
    """Prepares inputs: what a process that decodes clips needs of the pipeline, without its model."""

    def __init__(self, processor, media: dict):
        self.processor, self.media = processor, media

    def __call__(self, input_: dict) -> dict:
        if not isinstance(input_, dict):
            raise ValueError(f"An input is a dict of a premise and its hypotheses, got {type(input_).__name__}.")
        hypotheses = hypotheses_of(input_)
        return {"premise": self.processor.encode_premise(premise_of(input_), **self.media), "hypotheses": hypotheses}

    def numbered(self, index: int, input_: dict) -> dict:
        """Prepares one of many inputs; an error tells its place."""
        try:
            return self(input_)
        except ValueError as error:
            raise type(error)(f"Input {index}: {error}") from error


class _Prepared(Dataset):
    """A list or dataset of inputs, each prepared when it is read."""

    def __init__(self, inputs, prepare: _Preparation):
        self.inputs, self.prepare = inputs, prepare

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict:
        return self.prepare.numbered(index, self.inputs[index])


class _PreparedStream(IterableDataset):
    """A generator of inputs, each prepared when it is read."""

    def __init__(self, inputs, prepare: _Preparation):
        self.inputs, self.prepare = inputs, prepare

    def __iter__(self) -> Iterator[dict]:
        for index, input_ in enumerate(self.inputs):
            yield self.prepare.numbered(index, input_)


def answers(
    hypotheses: list[str],
    logits: torch.Tensor,
    calibration: dict[str, Any] | None,
    modality: str,
    notes: list[str],
    interval: float = 0.9,
) -> list[dict[str, Any]]:
    """What the pipeline answers about the hypotheses of one premise, from the logits of their confidence bins.

    Args:
        hypotheses (`list[str]`): H sentences.
        logits (`torch.Tensor` of shape `(H, N)`): never calibrated; log-probabilities will do, up to a constant each.
        calibration (`dict`, *optional*): of the checkpoint, to be applied.
        modality (`str`), notes (`list[str]`): of the premise.
        interval (`float`, defaults to 0.9): share of the distribution inside the interval.

    Returns:
        `list[dict]`: see [`UncertainInferencePipeline.__call__`].
    """
    distribution = calibrated_distribution(logits, calibration)
    columns = {
        "hypothesis": hypotheses,
        "probability": calibrated_probability(distribution, calibration).tolist(),
        "distribution": distribution.tolist(),
        "standard_deviation": standard_deviation(distribution).tolist(),
        "interval": central_interval(distribution, interval).tolist(),
    }
    if calibration is not None and "conformal" in calibration:
        columns["conformal_interval"] = conformal_interval(distribution, calibration).tolist()
    return [
        {**dict(zip(columns, row, strict=True)), "modality": modality, "notes": list(notes)}
        for row in zip(*columns.values(), strict=True)
    ]


def premise_of(input_: dict) -> Any:
    """The premise of an input, as the processor takes it."""
    premise = {key: value for key, value in input_.items() if key not in ("hypothesis", "hypotheses")}
    if isinstance(premise.get("premise"), (os.PathLike, bytes, dict)):
        premise = premise["premise"]
    return premise


def hypotheses_of(input_: dict) -> list[str]:
    """The hypotheses of an input, as a list that is not empty."""
    given = [key for key in ("hypothesis", "hypotheses") if input_.get(key) is not None]
    if len(given) != 1:
        raise ValueError(
            "An input needs 'hypotheses' (a list of sentences) or 'hypothesis' (a sentence), got "
            f"{'both' if given else 'neither'} (keys: {', '.join(map(str, input_))})."
        )
    value = input_[given[0]]
    hypotheses = [value] if isinstance(value, str) else value
    if not isinstance(hypotheses, (list, tuple)):
        raise ValueError(f"'{given[0]}' must be a string or a list of strings, got {type(value).__name__}.")
    if not hypotheses:
        raise ValueError(f"'{given[0]}' is empty: there is nothing to judge.")
    for place, hypothesis in enumerate(hypotheses):
        if not isinstance(hypothesis, str) or not hypothesis.strip():
            raise ValueError(f"Hypothesis {place} must be a sentence, got {hypothesis!r}.")
    return list(hypotheses)
