"""Predicts by checkpoints trained for the task: CLUE, which gives a distribution, and CLUE-T, which writes a
number."""

import json
from argparse import Namespace
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoProcessor,
    PreTrainedConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
)

from chat.answers import CUT_OFF_ANSWER, Parsed, parse_answer
from common.digests import weights_digest
from common.hub import find_checkpoint
from datasets_scripts.schema import PREMISE_COLUMNS
from evaluation.metrics.uncertain_inference.measures import histogram
from evaluation.predictors.choose import ROWS_AT_ONCE, ChosenPredictor, model_name, register_predictor
from evaluation.predictors.prediction import (
    INTERVAL_MASS,
    Prediction,
    Predictor,
    WrittenPrediction,
)
from modeling_clue.checkpoint_parts import load_whole, read
from modeling_clue.confidence import central_interval, standard_deviation
from modeling_clue.encoded_premise import CLUEInputs, EncodedPremise
from modeling_clue.passes import split_batch
from modeling_clue.processing_clue import encode_premises


# Tokens of the prompts that a Thinker answers together: it projects each of them onto its whole vocabulary, which is
# 2.5 GB of logits in bfloat16 with the 151,936 rows of Qwen2.5-Omni.
TOKENS_PER_PASS = 8192


@register_predictor("auto")
def trained(args: Namespace, dataset: str) -> ChosenPredictor:
    """Chooses CLUE or CLUE-T, whichever the checkpoint is."""
    checkpoint = find_checkpoint(args.model)
    config = read(AutoConfig, checkpoint, trust_remote_code=True)
    answer = answer_format(checkpoint, config)
    settings = {
        "predictor": "auto",
        **checkpoint_settings(args.model, checkpoint, config),
    }
    kind = CLUEPredictor if answer is None else TextPredictor
    return ChosenPredictor(
        model_name(args.model),
        settings,
        lambda: kind(checkpoint),
        config=config,
        answer=answer,
        # CLUE decodes and reads a premise once, and takes no more memory for more rows.
        rows_at_once=None if answer is None else ROWS_AT_ONCE,
    )


def checkpoint_settings(model: str, checkpoint: Path, config: PreTrainedConfig) -> dict:
    """Returns what the answers of a checkpoint depend on; `model` is what the user calls it."""
    return {
        "model": model,
        "weights": weights_digest(checkpoint),
        "calibration": config.to_dict().get("calibration"),  # the same weights give other answers with it
    }


def check_code(checkpoint: Path) -> None:
    """Refuses a checkpoint whose own code gives no calibrated distribution, since it is older than that."""
    code = checkpoint / "posthoc.py"
    if (checkpoint / "modeling_clue.py").exists() and not (code.exists() and "def for_modality(" in code.read_text()):
        raise ValueError(
            f"The code in {checkpoint} is older than calibration by modality: load the checkpoint with "
            "`CLUEForConfidenceEstimation` and save it anew."
        )


def by_premise(rows: list[dict]) -> list[list[int]]:
    """Returns the places of neighbouring rows about one premise, premise after premise."""
    alike = groupby(range(len(rows)), key=lambda place: [rows[place].get(name) for name in PREMISE_COLUMNS])
    return [list(group) for _, group in alike]


class Pass(NamedTuple):
    """Holds what goes through the model at once: the places of its rows, its inputs, and the rows of each premise."""

    rows: list[int]
    inputs: CLUEInputs
    counts: list[int]

    def by_row(self, of_premises: list) -> list:
        """Gives each row what its premise has."""
        return [value for value, count in zip(of_premises, self.counts, strict=True) for _ in range(count)]


class CLUEPredictor(Predictor):
    """Answers by a checkpoint of CLUE in a folder, with its processor, loaded as anybody loads one from the Hub."""

    def __init__(self, checkpoint: str | Path):
        check_code(Path(checkpoint))
        self.processor = read(AutoProcessor, checkpoint, trust_remote_code=True)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = load_whole(AutoModel, checkpoint, trust_remote_code=True).to(device).eval()

    def prepare(self, rows: list[dict]) -> list[Pass]:
        """Encodes each premise once for all of its hypotheses; on a processor those of like length go together."""
        places = by_premise(rows)
        premises = encode_premises(self.processor, [rows[group[0]] for group in places])
        hypotheses = [[rows[place]["hypothesis"] for place in group] for group in places]
        return [
            Pass(
                [place for number in numbers for place in places[number]],
                self.processor.collate(
                    [premises[number] for number in numbers], [hypotheses[number] for number in numbers]
                ),
                [len(places[number]) for number in numbers],
            )
            for numbers in split_batch(premises, hypotheses, self.model.device)
        ]

    def answer(self, prepared: list[Pass]) -> list[Prediction]:
        answers = {}
        for one in prepared:
            answers |= zip(one.rows, self._answer(one), strict=True)
        return [answers[place] for place in range(len(answers))]

    @torch.inference_mode()
    def _answer(self, one: Pass) -> list[Prediction]:
        notes = [list(about) for about in one.by_row(one.inputs.notes)]
        output = self.model(**one.inputs.to(self.model.device))
        answers = zip(
            # A sum in float32 may pass 1 by a rounding; NaN stays NaN.
            output.probability.clamp(0, 1).tolist(),
            standard_deviation(output.distribution).tolist(),
            torch.special.entr(output.distribution).sum(-1).tolist(),
            central_interval(output.distribution, INTERVAL_MASS).tolist(),
            histogram(output.distribution.cpu()).round(6).tolist(),
            notes,
            strict=True,
        )
        return [Prediction(*answer) for answer in answers]


class TextPredictor(Predictor):
    """Answers by a checkpoint of CLUE-T (section 3.2): a plain Thinker that writes the probability.

    It generates as its `generation_config.json` says, greedily, and its answers are read by the rules for teachers'.
    """

    def __init__(self, checkpoint: str | Path):
        self.processor = read(AutoProcessor, checkpoint, trust_remote_code=True)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = load_whole(Qwen2_5OmniThinkerForConditionalGeneration, checkpoint).to(device).eval()

    def prepare(self, rows: list[dict]) -> list[tuple[EncodedPremise, str]]:
        """Encodes each premise once, and gives it to each hypothesis: there is no sharing as with branches."""
        encoded = [(self.processor.encode_premise(rows[group[0]]), group) for group in by_premise(rows)]
        return [(premise, rows[place]["hypothesis"]) for premise, group in encoded for place in group]

    def answer(self, prepared: list[tuple[EncodedPremise, str]]) -> list[WrittenPrediction]:
        """Generates the answers, those to prompts of similar length together."""
        lengths = [premise.num_tokens + len(self.processor.encode_hypothesis(claim)) for premise, claim in prepared]
        passes = {}
        for index in sorted(range(len(prepared)), key=lengths.__getitem__):
            # One pass has one modality: how the model places sound in time is one setting for all its rows.
            of_modality = passes.setdefault(prepared[index][0].modality, [[]])
            if (len(of_modality[-1]) + 1) * lengths[index] > TOKENS_PER_PASS and of_modality[-1]:
                of_modality.append([])
            of_modality[-1].append(index)
        answers = {}
        for indices in chain(*passes.values()):
            written = self._write([prepared[index] for index in indices])
            for index, (text, ended) in zip(indices, written, strict=True):
                parsed = parse_answer(text) if ended else Parsed(None, CUT_OFF_ANSWER)
                notes = list(prepared[index][0].notes)
                answers[index] = WrittenPrediction(parsed.probability, text, parsed.reason, notes)
        return [answers[index] for index in range(len(prepared))]

    @torch.inference_mode()
    def _write(self, prompts: list[tuple[EncodedPremise, str]]) -> list[tuple[str, bool]]:
        """Generates what follows each premise and claim, all of one modality: text, and whether it has an end."""
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


def answer_format(checkpoint: Path, config: PreTrainedConfig) -> str | None:
    """Returns how a checkpoint writes a probability, `"{probability:.2f}<|im_end|>"`, or `None` for CLUE."""
    kind = config.model_type
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
