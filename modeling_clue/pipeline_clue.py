# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Implements `pipeline("uncertain-inference", model=..., trust_remote_code=True)`."""

import os
import pickle
from collections.abc import Iterable, Iterator, Sized
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset
from transformers import Pipeline

from .automation import acts, check_can_act
from .cells import as_list, as_row, is_empty, is_pandas
from .confidence import central_interval, standard_deviation
from .encoded_premise import EncodedPremise
from .media_container import quoted, shorten
from .novelty import flatten_distribution, widen_interval, withdraw_probability
from .passes import split_batch
from .posthoc import calibrated_distribution, calibrated_probability, conformal_interval, for_modality
from .premise_state import PremiseState
from .processing_clue import prefix_error
from .timeline import choose_cuts, find_cuts, judge_cuts, novelty_at_cuts


class UncertainInferencePipeline(Pipeline):
    """Judges how probable hypotheses about a premise of text, sound, video, or video with its sound are.

    Example:

    ```python
    >>> from transformers import pipeline

    >>> clue = pipeline("uncertain-inference", model="checkpoints/clue-urn-tiny", trust_remote_code=True)
    >>> clue({"video": "clip.mp4", "hypotheses": ["The ball is red.", "The ball is blue."]})
    [{'hypothesis': 'The ball is red.', 'probability': 0.74, 'distribution': [...], 'standard_deviation': 0.05,
      'interval': [0.66, 0.83], 'modality': 'video', 'notes': []}, ...]
    >>> clip = clue.read({"video": "clip.mp4"})  # decoded and read once, asked as often as one likes
    >>> clue(clip, hypotheses=["The ball is green."])
    ```
    """

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    _load_video_processor = False

    def __init__(self, model, processor=None, **kwargs):
        if processor is None:
            raise ValueError(
                "A pipeline over a model that is loaded needs its processor too: "
                "processor=AutoProcessor.from_pretrained(CHECKPOINT, trust_remote_code=True)."
            )
        super().__init__(model, processor=processor, **kwargs)
        self.model.eval()  # after training, or with a new adapter, dropout would be on

    def read(self, premise, **media) -> PremiseState:
        """Reads one premise, for any number of calls with hypotheses about it.

        Args:
            premise (`dict` or what else [`CLUEProcessor`] takes for a premise): without hypotheses.
            fps, max_frames, max_audio_seconds, max_text_tokens, on_missing_sound (*optional*): as of a call.

        Returns:
            [`PremiseState`]: to be given to the pipeline in the place of an input, with `hypotheses` beside it. It
            takes `state.nbytes` of memory.

        Raises:
            ValueError: if the premise can't be used, or the model's prompt has the hypothesis before it.
        """
        return self._read(self.processor.encode_premise(premise, **self._sanitize_parameters(**media)[0]))

    def _read(self, encoded: EncodedPremise) -> PremiseState:
        """Reads a premise that has been decoded."""
        inputs = self.processor.collate_premises([encoded])
        state = self.model.read(**inputs.to(self.device, self.model.dtype))
        return replace(state, modalities=inputs.modalities, notes=inputs.notes)

    def timeline(
        self,
        premise,
        hypotheses: str | list[str],
        every: float | None = None,
        times: list[float] | None = None,
        interval: float = 0.9,
        calibrated: bool = True,
        **media,
    ) -> list[dict[str, Any]]:
        """Judges hypotheses about a premise as far as it has gone at each of some times, from one reading of it.

        The answer at a time is the one about a premise that ends there. There are only times at which that is exact:
        in a clip those at which the model's towers and chunks end, in a text the ends of sentences; see `timeline.py`.

        Args:
            premise (`dict` or what else [`CLUEProcessor`] takes for a premise): of one modality.
            hypotheses (`list[str]` or `str`): about it.
            every (`float`, *optional*): seconds of a clip, or characters of a text, between two times: each is moved
                back to the last one at which it can be told.
            times (`list[float]`, *optional*): the times themselves, moved in the same way; all there are without
                either. The end of the premise is always one.
            interval, calibrated, **media: as of a call.

        Returns:
            `list[dict]`: for each hypothesis `hypothesis`; `times` (`list[float]` of length T); `probability`,
            `distribution`, `standard_deviation`, `interval` and, where the checkpoint has a calibration for it,
            `conformal_interval` and `novelty`, each a list of length T of what a call gives; `modality` and `notes`.

        Raises:
            ValueError: as of [`~UncertainInferencePipeline.read`], and if the premise is a combination of parts.
        """
        if "act" in media:
            raise ValueError("`act` was certified for whole premises, not as far as they have gone: leave it out.")
        encoded = self.processor.encode_premise(premise, **self._sanitize_parameters(interval, **media)[0])
        _, hypotheses = read_input({"hypotheses": hypotheses})
        cuts = choose_cuts(find_cuts(self.processor, encoded, self.model.sound_block), every, times)
        asked = (self.model, self.processor, self._read(encoded), cuts, hypotheses)
        logits, novelty = judge_cuts(*asked), novelty_at_cuts(*asked) if calibrated else None
        calibration = self.model.config.calibration if calibrated else None
        shared = (calibration, encoded.modality, encoded.notes)
        at_times = [
            answers(
                hypotheses, at_time, *shared, novelty=None if novelty is None else novelty[place], interval=interval
            )
            for place, at_time in enumerate(logits)
        ]
        of_all = ("hypothesis", "modality", "notes")
        return [
            {"hypothesis": one[0]["hypothesis"], "times": [float(cut.at) for cut in cuts]}
            | {name: [answer[name] for answer in one] for name in one[0] if name not in of_all}
            | {"modality": one[0]["modality"], "notes": one[0]["notes"]}
            for one in zip(*at_times, strict=True)
        ]

    def _judge(self, state: PremiseState, hypotheses: list[str], calibrated: bool = True) -> dict:
        """Judges hypotheses about a premise that has been read."""
        inputs = self.processor.encode_hypotheses([hypotheses], state.modalities).to(self.device)
        output = self.model.judge(state, **inputs, calibrated=calibrated)
        return {
            "hypotheses": hypotheses,
            "logits": output.logits,
            "calibration": self.model.config.calibration if calibrated else None,
            "modality": state.modalities[0],
            "notes": state.notes[0],
            "novelty": output.novelty,
        }

    def __call__(self, inputs, num_workers: int | None = None, batch_size: int | None = None, **options):
        """Judges the hypotheses of one input, or of many.

        Args:
            inputs (`dict` or row of pandas, or an iterable of those):
                What [`CLUEProcessor`] takes for a premise (`text`, `audio`, `video`, `modality`, `start`, `end`; or
                `premise` with a text, a path or bytes), and beside it `hypotheses`, a `list[str]`, or `hypothesis`, a
                `str`. A row of the UMUI dataset is one as it is. Or a premise that
                [`~UncertainInferencePipeline.read`] has read.
            hypotheses (`list[str]`, or `str`, *optional*): about a premise that has been read.
            num_workers (`int`, *optional*, defaults to 0):
                Processes that decode clips while the model runs. Unless they are forked they cannot receive open
                files and generators.
            batch_size (`int`, *optional*, defaults to 1):
                Premises judged together, each with its hypotheses: in one forward pass, or on a processor in one for
                each group of like length. It changes the speed, not the answers.
            interval (`float`, *optional*, defaults to 0.9):
                Share of the distribution inside the interval.
            calibrated (`bool`, *optional*, defaults to `True`):
                Whether to apply the calibration saved with the checkpoint, if it has one for the premise's modality;
                `False` gives the model's own answer.
            act (`bool`, *optional*, defaults to `False`):
                Whether to tell which answers can be used alone, at the error rate that was certified for the
                checkpoint.
            fps, max_frames, max_audio_seconds, max_text_tokens, on_missing_sound (*optional*):
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
            - `act` (`bool`): where asked for, whether the decision, yes at a probability of 0.5 or more and else no,
              can be used alone (`automation.py`); `False` if that was certified for no answers about such premises;
            - `novelty` (`float`): where the checkpoint's calibration tells it (`novelty.py`), how far premise or
              hypothesis lie outside of what it was fitted to: at 0 the answer is as it would be without, at 1 it is
              given up, with a probability of 0.5 and a distribution that is uniform;
            - `modality` (`str`): the one judged: a silent clip given as audiovisual is judged as `"video"`
              where `on_missing_sound="video"` allows it;
            - `notes` (`list[str]`): what was cut, thinned or replaced in the premise.

        Raises:
            ValueError: naming the input, by its place if there are many, and what is wrong with it. `MediaError`, a
                subclass, if it is the clip. And if `act` is asked for where nothing can tell.
        """
        asked = options.pop("hypotheses", None)
        saved = (self._preprocess_params, self._forward_params, self._postprocess_params)
        steps = [old | new for old, new in zip(saved, self._sanitize_parameters(**options), strict=True)]
        if type(inputs).__name__ == PremiseState.__name__:  # the model may have loaded its own copy of the class
            _, hypotheses = read_input({"hypotheses": asked})
            return self.postprocess(self._judge(inputs, hypotheses, **steps[1]), **steps[2])
        if asked is not None:
            raise ValueError("`hypotheses` go into the input, beside its premise; apart from it once that was read.")
        batch_size = batch_size or self._batch_size or 1
        num_workers = num_workers or self._num_workers or 0
        if as_row(inputs) is not None:
            return self.run_single(inputs, *steps)
        if is_pandas(inputs, "DataFrame"):
            raise ValueError("A table is given by its rows: `table.to_dict('records')`.")
        many = as_list(inputs) if isinstance(inputs, np.ndarray) or is_pandas(inputs, "Series") else inputs
        if isinstance(many, (str, bytes, os.PathLike)) or not isinstance(many, (Iterable, Dataset)):
            raise ValueError(
                "An input is a dict of a premise and its hypotheses, such as {'text': ..., 'hypotheses': [...]}, got "
                f"{quoted(inputs)}."
            )
        results = self.get_iterator(many, num_workers, batch_size, *steps)
        return list(results) if isinstance(many, (list, tuple)) else results

    def _sanitize_parameters(
        self,
        interval: float | None = None,
        calibrated: bool | None = None,
        act: bool | None = None,
        fps: float | None = None,
        max_frames: int | None = None,
        max_audio_seconds: float | None = None,
        max_text_tokens: int | None = None,
        on_missing_sound: str | None = None,
        local_files_only: bool | None = None,  # `pipeline(...)` passes on its loading option
    ) -> tuple[dict, dict, dict]:
        if interval is not None and not 0 < interval < 1:
            raise ValueError(f"`interval` is a share of the distribution, between 0 and 1, got {quoted(interval)}.")
        media = {
            "fps": fps,
            "max_frames": max_frames,
            "max_audio_seconds": max_audio_seconds,
            "max_text_tokens": max_text_tokens,
            "on_missing_sound": on_missing_sound,
        }
        media = {name: value for name, value in media.items() if value is not None}
        forward = {} if calibrated is None else {"calibrated": calibrated}
        answered = {"interval": interval, "act": act}
        return media, forward, {name: value for name, value in answered.items() if value is not None}

    def preprocess(self, input_: dict, **media) -> dict:
        """Decodes and tokenizes one premise, and checks its hypotheses."""
        return _Preprocessor(self.processor, media)(input_)

    def _forward(self, batch: list[dict], calibrated: bool = True) -> list[dict]:
        """Judges a batch, on a processor those of like length together."""
        premises, hypotheses = [item["premise"] for item in batch], [item["hypotheses"] for item in batch]
        judged = {}
        for places in split_batch(premises, hypotheses, self.device):
            judged |= zip(places, self._pass([batch[place] for place in places], calibrated), strict=True)
        return [judged[place] for place in range(len(batch))]

    def _pass(self, batch: list[dict], calibrated: bool) -> Iterator[dict]:
        premises, hypotheses = [item["premise"] for item in batch], [item["hypotheses"] for item in batch]
        inputs = self.processor.collate(premises, hypotheses)
        output = self.model(**inputs.to(self.device, self.model.dtype), calibrated=calibrated)
        calibration = self.model.config.calibration if calibrated else None
        counts = list(map(len, hypotheses))
        novelty = [None] * len(counts) if output.novelty is None else output.novelty.split(counts)
        for premise, sentences, logits, novel in zip(
            premises, hypotheses, output.logits.split(counts), novelty, strict=True
        ):
            yield {
                "hypotheses": sentences,
                "logits": logits,
                "calibration": calibration,
                "modality": premise.modality,
                "notes": list(premise.notes),
                "novelty": novel,
            }

    def postprocess(self, judged: dict, interval: float = 0.9, act: bool = False) -> list[dict[str, Any]]:
        """Converts one premise of a judged batch to plain numbers, one `dict` for each hypothesis."""
        return answers(**judged, interval=interval, act=act)

    def run_single(self, inputs: dict, preprocess_params: dict, forward_params: dict, postprocess_params: dict):
        """Runs the base class's steps on a batch of one."""
        batch = [self.preprocess(inputs, **preprocess_params)]
        return self.postprocess(self.forward(batch, **forward_params)[0], **postprocess_params)

    def get_iterator(
        self, inputs, num_workers: int, batch_size: int, preprocess_params, forward_params, postprocess_params
    ) -> Iterator[list[dict]]:
        """Replaces that of the base class, which pads tensors by their names: here the processor makes the batch."""
        prepare = _Preprocessor(self.processor, preprocess_params)
        if isinstance(inputs, Sized):
            prepared = _PreparedDataset(inputs, prepare)
        else:
            prepared = _PreparedStream(inputs, prepare)
            num_workers = min(num_workers, 1)  # each worker would read the whole stream
        loader = DataLoader(prepared, batch_size=batch_size, num_workers=num_workers, collate_fn=list)
        start = 0
        for batch in _iterate_batches(loader):
            for item in batch:
                if isinstance(item, ValueError):
                    raise item
            for judged in self._forward_or_locate_error(batch, start, forward_params):
                yield self.postprocess(judged, **postprocess_params)
            start += len(batch)

    def _forward_or_locate_error(self, batch: list[dict], start: int, forward_params: dict) -> list[dict]:
        """Judges a batch; on an error, judges each input alone to name the one that it is about."""
        try:
            return self.forward(batch, **forward_params)
        except ValueError:
            for place, item in enumerate(batch, start):
                try:
                    self.forward([item], **forward_params)
                except ValueError as error:
                    raise prefix_error(error, f"Input {place}") from error
            raise

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs) -> None:
        """Saves model and processor, with the code of both and of this pipeline."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)


class _Preprocessor:
    """Prepares inputs in processes that decode clips, without the pipeline's model."""

    def __init__(self, processor, media: dict):
        self.processor, self.media = processor, media

    def __call__(self, input_: dict) -> dict:
        premise, hypotheses = read_input(input_)
        return {"premise": self.processor.encode_premise(premise, **self.media), "hypotheses": hypotheses}

    def prepare_numbered(self, index: int, input_: dict) -> dict | ValueError:
        """Prepares one of many inputs, or returns the error: raised in a worker, it would come with a traceback."""
        try:
            return self(input_)
        except ValueError as error:
            return prefix_error(error, f"Input {index}")


class _PreparedDataset(Dataset):
    def __init__(self, inputs, prepare: _Preprocessor):
        self.inputs, self.prepare = inputs, prepare

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict | ValueError:
        return self.prepare.prepare_numbered(index, self.inputs[index])


class _PreparedStream(IterableDataset):
    def __init__(self, inputs, prepare: _Preprocessor):
        self.inputs, self.prepare = inputs, prepare

    def __iter__(self) -> Iterator[dict | ValueError]:
        for index, input_ in enumerate(self.inputs):
            yield self.prepare.prepare_numbered(index, input_)


def _iterate_batches(loader: DataLoader) -> Iterator[list]:
    if loader.num_workers == 0:
        return iter(loader)
    try:
        return iter(loader)
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise ValueError(
            f"The inputs cannot be handed over to worker processes ({shorten(str(error))}): give a list of rows with "
            "paths or bytes, or leave out `num_workers`."
        ) from error


def answers(
    hypotheses: list[str],
    logits: torch.Tensor,
    calibration: dict[str, Any] | None,
    modality: str,
    notes: list[str],
    interval: float = 0.9,
    act: bool = False,
    novelty: torch.Tensor | None = None,
) -> list[dict[str, Any]]:
    """Returns the pipeline's answers about the H hypotheses of one premise, from uncalibrated logits `(H, N)` and, if
    it is told, their novelty `(H,)`."""
    if act:
        check_can_act(calibration)
    parts = for_modality(calibration, modality)
    distribution = calibrated_distribution(logits, parts)
    probability = calibrated_probability(distribution, parts)
    conformal = conformal_interval(distribution, parts) if parts is not None and "conformal" in parts else None
    if parts is None or "novelty" not in parts:
        novelty = None
    if novelty is not None:
        distribution = flatten_distribution(distribution, novelty)
        probability = withdraw_probability(probability, novelty)
        conformal = None if conformal is None else widen_interval(conformal, novelty)
    columns = {
        "hypothesis": hypotheses,
        "probability": probability.tolist(),
        "distribution": distribution.tolist(),
        "standard_deviation": standard_deviation(distribution).tolist(),
        "interval": central_interval(distribution, interval).tolist(),
    }
    if conformal is not None:
        columns["conformal_interval"] = conformal.tolist()
    if novelty is not None:
        columns["novelty"] = novelty.tolist()
    if act:
        columns["act"] = acts(probability, parts, novelty).tolist()
    return [
        {**dict(zip(columns, row, strict=True)), "modality": modality, "notes": list(notes)}
        for row in zip(*columns.values(), strict=True)
    ]


def read_input(input_: dict) -> tuple[dict, list[str]]:
    """Splits an input into its premise, as the processor takes it, and its hypotheses, a list that is not empty."""
    row = as_row(input_)
    if row is None:
        raise ValueError(f"An input is a dict of a premise and its hypotheses, got {type(input_).__name__}.")
    given = {key: row.pop(key, None) for key in ("hypothesis", "hypotheses")}
    given = {key: value for key, value in given.items() if not is_empty(value)}
    if len(given) != 1:
        raise ValueError(
            "An input needs 'hypotheses' (a list of sentences) or 'hypothesis' (a sentence), got "
            f"{'both' if given else 'neither'} (keys: {shorten(', '.join(map(str, input_.keys())))})."
        )
    ((key, value),) = given.items()
    hypotheses = [value] if isinstance(value, str) else as_list(value)
    if hypotheses is None:
        raise ValueError(f"'{key}' must be a string or a list of strings, got {type(value).__name__}.")
    if not hypotheses:
        raise ValueError(f"'{key}' is empty: there is nothing to judge.")
    for place, hypothesis in enumerate(hypotheses):
        if not isinstance(hypothesis, str) or not hypothesis.strip():
            raise ValueError(f"Hypothesis {place} must be a sentence, got {quoted(hypothesis)}.")
    return row, hypotheses
