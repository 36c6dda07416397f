"""Trains CLUE-T, the paper's token-based baseline (section 3.2), which writes the probability as text.

Data, prompts, batches and logs are those of the variant with confidence tokens. An answer such as "0.73" and the token
that ends it follow each hypothesis in its branch, and the loss is on the answer alone. The format of answers is the
part `"answer"` of the processor's prompt, and saved with it.

TRL gives the options of the model (`ModelConfig`) and the settings of LoRA (`get_peft_config`). Its `SFTTrainer` has
no place for the rest: it tokenizes and collates conversations itself, one hypothesis a row, projects every position
onto the vocabulary, and takes the mean over tokens where we take it over hypotheses.
"""

import torch
import torch.nn.functional as F
from transformers import AutoConfig, GenerationConfig, Qwen2_5OmniThinkerForConditionalGeneration

from modeling_clue import CLUEConfig, CLUEOutput, CLUEProcessor
from modeling_clue.backbone import QWEN2_5_OMNI
from modeling_clue.checkpoint_parts import load_whole, read
from modeling_clue.conversion import plain_config
from modeling_clue.modeling_clue import BranchedThinker, change_class
from modeling_clue.prompt import TEXT_ANSWER


# An answer has five tokens; a model that says more around its number may do so, one that never ends is cut off.
MAX_NEW_TOKENS = 16


# Not "ForConditionalGeneration": by that name the Trainer would take the first of the labels for one without a loss.
class CLUEForTextAnswers(BranchedThinker, Qwen2_5OmniThinkerForConditionalGeneration):
    """Learns to write probabilities: Qwen2.5-Omni's Thinker, saved as a plain Thinker."""

    backbone = QWEN2_5_OMNI
    # It starts from a checkpoint of CLUE, and leaves the head there.
    _keys_to_ignore_on_load_unexpected = [r"confidence_head\.weight"]

    def forward(
        self,
        input_ids: torch.LongTensor,
        branch_ids: torch.LongTensor | None = None,
        answer_mask: torch.LongTensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **inputs,
    ) -> CLUEOutput:
        """Computes the loss of the answers in a batch: the mean negative log-likelihood of each hypothesis's answer.

        Takes what [`~modeling_clue.CLUEForConfidenceEstimation.forward`] takes, with the answers as part of the
        branches, and `answer_mask`, 1 for the tokens of answers with the end token. Of `labels` only the number is
        looked at. The summed loss is divided by `num_items_in_batch`, by default the number of hypotheses.
        """
        if answer_mask is None:
            raise ValueError("`answer_mask` is missing: give the processor's `collate` the probabilities.")
        outputs, audio_embeds, video_embeds = self.encode(input_ids, branch_ids=branch_ids, **inputs)
        answered = answer_mask.bool()
        starts = answered & ~answered.roll(1, dims=1)
        hypotheses = int(branch_ids.amax(dim=1).clamp(min=0).sum())
        if int(starts.sum()) != hypotheses or (labels is not None and len(labels) != hypotheses):
            counts = f"{int(starts.sum())} answers" + ("" if labels is None else f" and {len(labels)} labels")
            raise ValueError(f"{hypotheses} hypotheses need as many answers and labels, got {counts}.")

        # The token before predicts; only these positions meet the vocabulary.
        logits = self.lm_head(outputs.last_hidden_state[answered.roll(-1, dims=1)]).float()
        token_loss = F.cross_entropy(logits, input_ids[answered], reduction="none")
        hypothesis = starts.flatten().cumsum(0)[answered.flatten()] - 1
        sums = token_loss.new_zeros(hypotheses).index_add(0, hypothesis, token_loss)
        hypothesis_loss = sums / hypothesis.bincount(minlength=hypotheses)
        return CLUEOutput(
            loss=hypothesis_loss.sum() / (hypotheses if num_items_in_batch is None else num_items_in_batch),
            premise_index=starts.nonzero()[:, 0],
            hypothesis_loss=hypothesis_loss.detach(),
            audio_embeds=None if audio_embeds is None else audio_embeds.detach(),
            video_embeds=None if video_embeds is None else video_embeds.detach(),
        )

    def save_pretrained(self, save_directory, **kwargs) -> None:
        """Saves a plain Thinker, which transformers loads without code of ours."""
        thinker = change_class(self, Qwen2_5OmniThinkerForConditionalGeneration, self.config)
        thinker.save_pretrained(save_directory, **kwargs)


def answering_processor(processor: CLUEProcessor) -> CLUEProcessor:
    """Returns the processor with an answer in its prompt: its own if it has one, else two decimals."""
    return CLUEProcessor(
        processor.feature_extractor,
        processor.video_processor,
        processor.tokenizer,
        prompt={"answer": TEXT_ANSWER, **processor.prompt},
        media=processor.media,
    )


def load_text_model(checkpoint: str, revision: str | None, **options) -> CLUEForTextAnswers:
    """Loads a checkpoint of CLUE, without its head, or one of CLUE-T to go on with; by default it generates greedily.
    Refuses another backbone, and positions that a plain Thinker doesn't know."""
    config = read(AutoConfig, checkpoint, revision=revision)
    if not isinstance(config, CLUEForTextAnswers.config_class):
        raise ValueError(
            f"'{checkpoint}' is a {config.model_type} checkpoint: `--variant text` trains {QWEN2_5_OMNI.name} alone."
        )
    if isinstance(config, CLUEConfig):
        if config.audiovisual_positions != "timed":
            raise ValueError(
                f"{checkpoint} has `audiovisual_positions: {config.audiovisual_positions}`, which a plain Thinker, "
                "CLUE-T's form on disk, does not know. Start `--variant text` from another checkpoint."
            )
        config = plain_config(config)
    model = load_whole(CLUEForTextAnswers, checkpoint, config=config, revision=revision, **options)
    processor = answering_processor(read(CLUEProcessor, checkpoint, revision=revision))
    model.generation_config = GenerationConfig(
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False,
        eos_token_id=processor.encode_answer(0.5)[-1:],
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    return model
