"""CLUE-T: a checkpoint that writes the probability."""

import json
from itertools import chain
from pathlib import Path

import torch
from transformers import AutoConfig, AutoProcessor, Qwen2_5OmniThinkerForConditionalGeneration

from chat.answers import CUT_OFF_ANSWER, Parsed, parse_answer
from evaluation.predictors.prediction import TwoStagePredictor, WrittenPrediction
from modeling_clue.conversion import load_whole, read
from modeling_clue.processing_clue import EncodedPremise


# A premise and a hypothesis about it.
Prompt = tuple[EncodedPremise, str]

# Tokens of the prompts that a Thinker answers together: it projects each of them onto its whole vocabulary, which is
# 2.5 GB of logits in bfloat16 with the 151,936 rows of Qwen2.5-Omni.
TOKENS_PER_PASS = 8192


class TextPredictor(TwoStagePredictor):
    """
    A checkpoint of CLUE-T, the token-based baseline of section 3.2: a plain Thinker that writes the probability.

    It generates as its `generation_config.json` says, greedily, and its answers are read by the rules for teachers'.

    Args:
        checkpoint (`str`): Folder of the checkpoint.
    """

    def __init__(self, checkpoint: str | Path):
        self.processor = read(AutoProcessor, checkpoint, trust_remote_code=True)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = load_whole(Qwen2_5OmniThinkerForConditionalGeneration, checkpoint).to(device).eval()

    def prepare(self, premises: list, hypotheses: list[list[str]]) -> list[list[Prompt]]:
        """
        Decodes and tokenizes premises.

        Args:
            premises (`list`): Texts, paths, bytes or rows of a UMUI dataset.
            hypotheses (`list[list[str]]`): The hypotheses of each premise.

        Returns:
            `list[list[tuple]]`: the encoded premise with each of its hypotheses.
        """
        encoded = [self.processor.encode_premise(premise) for premise in premises]
        # Each hypothesis has its premise to itself: there is no sharing as with branches.
        return [[(premise, claim) for claim in claims] for premise, claims in zip(encoded, hypotheses, strict=True)]

    def answer(self, prepared: list[list[Prompt]]) -> list[list[WrittenPrediction]]:
        """
        Has an answer written to each hypothesis.

        Args:
            prepared (`list[list[tuple]]`): What `prepare` gave.

        Returns:
            `list[list[WrittenPrediction]]`: the answers, in the order of the hypotheses.
        """
        prompts = list(chain(*prepared))
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
        return [[next(answers) for _ in group] for group in prepared]

    @torch.inference_mode()
    def _write(self, prompts: list[Prompt]) -> list[tuple[str, bool]]:
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
    kind = read(AutoConfig, checkpoint, trust_remote_code=True).model_type
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
