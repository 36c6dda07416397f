# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Converts premises and hypotheses to the inputs of [`CLUEForConfidenceEstimation`]."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import ClassVar

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import ProcessorMixin
from transformers.image_utils import SizeDict
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize
from transformers.video_processing_utils import BaseVideoProcessor

from .backbone import QWEN2_5_OMNI, Backbone
from .cells import as_list, as_row, plain
from .encoded_premise import CLUEInputs, EncodedPremise
from .media import SAMPLINGS, MediaError, has_audio, load_audio, load_video
from .media_container import quoted, shorten
from .media_image import load_image
from .modalities import TABLE, modality_of_parts
from .premise_input import is_file, label_of, names_a_clip, part_of_clip, parts_of, resolve_premise
from .prompt import DEFAULT_PROMPT, PLACEHOLDERS, check_prompt, prompts_by_modality


# The paper's authors sample frames at 0.5 per second; sound longer than the model was built for is cut, and reported.
DEFAULT_MEDIA = {
    "fps": 0.5,
    "max_frames": 128,
    "min_frames": 2,
    "sampling": "rate",
    "frame_size": None,
    "second_per_grid": None,
    "max_audio_seconds": 300.0,
    "max_text_tokens": None,
    "on_missing_sound": "error",
}

# The limit of Qwen2-VL's resizing.
MAX_ASPECT_RATIO = 200

# Text of users has no special tokens: "<|im_end|>" in a hypothesis is ten characters.
_CONTENT = {"add_special_tokens": False, "split_special_tokens": True}


class CLUEProcessor(ProcessorMixin):
    """Converts premises and hypotheses to the inputs of [`CLUEForConfidenceEstimation`].

    A premise is one of

    - a `str`: text; the name of a clip is refused, since its letters alone would be judged;
    - a `pathlib.Path` or `bytes`: a clip, taken as video if it has one and as sound otherwise;
    - a `dict` with the key `text` (or `premise`), `audio` or `video`, and optionally `modality`; so a row of the UMUI
      dataset is one as it is, and so is one of pandas. `{"video": "clip.mp4"}` shows the frames alone,
      `{"video": "clip.mp4", "modality": "audiovisual"}` plays the clip's own sound with them, and
      `{"video": "clip.mp4", "audio": "clip.wav"}` that sound. Beside a clip, `start` and `end` (seconds) say which
      part of it is meant: `{"video": "clip.mp4", "start": 120, "end": 240}`; either may be left out;
    - a combination, `{"parts": [...]}`: any of these and pictures, `{"image": "a.png"}`, in the order in which they
      are read, seen and heard. Its modality is that of the senses it takes.

    A clip is a path, `bytes`, an open file, `{"array", "sampling_rate"}`, `{"frames", "fps"}`, or what the `Audio` and
    `Video` columns of `datasets` hold, decoded or not; or an [`~media.OpenClip`], of which several parts are premises.
    Empty cells (None, NaN, pandas' NA and NaT, blanks alone)
    count as missing. Blanks and line ends around a text are dropped.

    Args:
        feature_extractor ([`WhisperFeatureExtractor`]): makes log-mel spectrograms.
        video_processor ([`Qwen2VLVideoProcessor`]): makes patches; its `size` bounds the pixels of a frame.
        tokenizer ([`PreTrainedTokenizerBase`]): with the special tokens of its backbone.
        prompt (`dict`, *optional*): the parts `"premise"` and `"hypothesis"`, with `{premise}` and `{hypothesis}`
            where their content goes; or for each modality a `dict` of these two. For a model that writes its answer,
            also the part `"answer"`: `{probability}` with a format, and the special token that ends the answer.
        media (`dict`, *optional*): each can be overridden in a call.

            - `fps` at which frames are sampled, `min_frames`, `max_frames`, and `sampling`: see
              [`~media.load_video`];
            - `frame_size`: frames are made squares of so many pixels a side before the video processor gets them;
              `None` to leave that to it;
            - `second_per_grid`: seconds between two steps of the grid, for models trained with a fixed value; `None`
              for the true time;
            - `max_audio_seconds`;
            - `max_text_tokens`: longer texts are cut, and the notes say so; `None` to leave them whole: the model
              refuses those beyond its positions;
            - `on_missing_sound`: `"error"`, or `"video"` to go on with the frames and say so in the notes.

    Example:

    ```python
    >>> processor = AutoProcessor.from_pretrained("checkpoints/clue-urn-tiny", trust_remote_code=True)
    >>> inputs = processor("An urn holds 3 red balls and 1 blue ball.", ["It is red.", "It is blue."])
    >>> model(**inputs).probability
    ```
    """

    backbone: ClassVar[Backbone] = QWEN2_5_OMNI

    def __init__(
        self, feature_extractor=None, video_processor=None, tokenizer=None, prompt=None, media=None, **kwargs
    ):
        super().__init__(feature_extractor, video_processor, tokenizer, **kwargs)
        self.prompt = dict(DEFAULT_PROMPT if prompt is None else prompt)
        self.media = {**DEFAULT_MEDIA, **({} if media is None else media)}
        check_prompt(self.prompt)
        self._check_media(self.media)

        vocabulary = tokenizer.get_vocab()
        tokens = {name: token for name, token in self.backbone.tokens.items() if name != "image_token"}
        missing = [token for token in tokens.values() if token not in vocabulary]
        if missing:
            raise ValueError(f"The tokenizer lacks the special tokens {', '.join(missing)} of {self.backbone.name}.")
        self._ids = {name: vocabulary[token] for name, token in tokens.items()}
        self._frame_sizes = {}  # see _resize
        self._prompt_pieces = {
            modality: {part: self._split_prompt(template) for part, template in parts.items()}
            for modality, parts in prompts_by_modality(self.prompt).items()
        }
        if "answer" in self.prompt and self.encode_answer(0.5)[-1] not in tokenizer.all_special_ids:
            raise ValueError(
                f"The part 'answer' of `prompt` must end in a special token of the tokenizer, or no answer would ever "
                f"be complete; it is {quoted(self.prompt['answer'])}."
            )

    @staticmethod
    def _check_media(media: dict) -> None:
        unknown = media.keys() - DEFAULT_MEDIA.keys()
        if unknown:
            raise ValueError(f"Unknown media option {quoted(sorted(unknown))}: choose from {sorted(DEFAULT_MEDIA)}.")
        if media["on_missing_sound"] not in ("error", "video"):
            raise ValueError(
                f"`on_missing_sound` must be 'error' or 'video', got {quoted(media['on_missing_sound'])}."
            )
        if media["sampling"] not in SAMPLINGS:
            raise ValueError(f"`sampling` must be one of {', '.join(SAMPLINGS)}, got {quoted(media['sampling'])}.")
        for option in ("fps", "max_audio_seconds", "second_per_grid"):
            value = media[option]
            if value is None and option == "second_per_grid":
                continue
            if not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise ValueError(f"`{option}` must be a positive number, got {quoted(value)}.")
        for option, least in (("max_frames", 2), ("min_frames", 2), ("max_text_tokens", 1)):
            value = media[option]
            if value is None and option == "max_text_tokens":
                continue
            if not isinstance(value, int) or value < least:
                raise ValueError(f"`{option}` must be a whole number of at least {least}, got {quoted(value)}.")
        if media["min_frames"] > media["max_frames"]:
            raise ValueError(f"`min_frames`, {media['min_frames']}, exceeds `max_frames`, {media['max_frames']}.")
        size = media["frame_size"]
        if size is not None and (not isinstance(size, int) or size < 1):
            raise ValueError(f"`frame_size` must be a number of pixels, got {quoted(size)}.")

    def __call__(self, premises, hypotheses, **media) -> CLUEInputs:
        """Prepares one premise with its hypotheses, or a list of premises with a list of theirs.

        Args:
            premises: one premise (see the class), or a list or column of them, of any mix of modalities.
            hypotheses: for one premise a `str` or a list of those; for a list of premises a list of either, as long.
            **media: overrides of the `media` options for this call.

        Returns:
            [`CLUEInputs`] with `input_ids`, `attention_mask` and `branch_ids` of shape `(batch_size,
            sequence_length)` and, as the premises need them, `input_features`, `feature_attention_mask`,
            `pixel_values_videos`, `video_grid_thw` and `video_second_per_grid`.

        Raises:
            ValueError: naming the premise or hypothesis that cannot be used, and why. `MediaError`, a subclass, if it
                is a clip.
        """
        several = None if as_row(premises) is not None else as_list(premises)
        if several is None:
            premises, hypotheses = [premises], [hypotheses]
        else:
            premises, hypotheses = several, as_list(hypotheses)
            if hypotheses is None:
                raise ValueError("A list of premises needs a list of hypotheses, one entry for each premise.")
        lists = [as_list(entry) for entry in hypotheses]
        hypotheses = [[plain(entry)] if some is None else some for entry, some in zip(hypotheses, lists, strict=True)]
        if len(premises) != len(hypotheses):
            raise ValueError(f"{len(premises)} premises need as many lists of hypotheses, got {len(hypotheses)}.")
        return self.collate(encode_premises(self, premises, **media), hypotheses)

    # Mixed precision around the call is meant for the model; it would round spectrograms.
    @torch.autocast("cpu", enabled=False)
    def encode_premise(self, premise, *, keep_media: bool = False, **media) -> EncodedPremise:
        """Decodes and tokenizes one premise.

        Args:
            premise: see the class for what it may be.
            keep_media (`bool`, defaults to `False`): whether to keep waveform and frames, for a server that makes its
                own inputs of them.
            **media: overrides single options.

        Raises:
            ValueError: if the premise is empty, ambiguous, of an unknown kind, or a text that names a clip;
                `MediaError` if its clip cannot be used, or has no part from its `start` to its `end`.
        """
        options = {**self.media, **media}
        self._check_media(options)
        parts = parts_of(premise)
        if parts is not None:
            return self._encode_parts(parts, media, keep_media)
        modality, text, audio, video = resolve_premise(premise)
        notes: tuple[str, ...] = ()
        if modality == "text":
            if names_a_clip(text.strip()) or is_file(text):
                notes = ("the text looks like the name of a file or an address: its letters are judged",)
            ids, most = self._tokenize_content(text), options["max_text_tokens"]
            if most is not None and len(ids) > most:
                notes += (f"text cut from {len(ids)} to {most} tokens",)
                text = text[: self._offsets(text)[most]]
                ids = self._tokenize_content(text)
            return EncodedPremise("text", ids, text, notes=notes)

        if modality == "audiovisual" and audio is None:
            if has_audio(video):
                audio = video
            elif options["on_missing_sound"] == "error":
                raise MediaError(
                    f"{label_of(video)} has no sound track, but was given as audiovisual. Pass `modality='video'`, or "
                    "`on_missing_sound='video'` to go on with the frames of such clips."
                )
            else:
                modality, notes = "video", ("no sound track: judged by the frames alone",)

        encoded, part = EncodedPremise(modality, [], notes=notes), part_of_clip(premise)
        if TABLE[modality].sound:
            waveform = self._add_sound(encoded, audio if audio is not None else video, part, options)
            encoded.waveform = waveform if keep_media else None
        if TABLE[modality].frames:
            frames = self._add_frames(encoded, video, part, options)
            encoded.frames = frames if keep_media else None
        encoded.input_ids = self.media_tokens(encoded)
        return encoded

    def _encode_parts(self, parts: list, media: dict, keep_media: bool) -> EncodedPremise:
        """Encodes a combination, part by part."""
        encoded: list[EncodedPremise] = []
        for number, part in enumerate(parts, 1):
            try:
                row = as_row(part)
                if parts_of(part) is not None:
                    raise ValueError("A part of a premise has no parts itself.")
                image = None if row is None else row.get("image")
                if image is None:
                    encoded.append(self.encode_premise(part, keep_media=keep_media, **media))
                else:
                    encoded.append(self._encode_image(image, keep_media))
            except ValueError as error:
                raise prefix_error(error, f"Part {number}") from error
        if not encoded:
            raise ValueError("A premise of parts has none: give one at least.")
        modality = modality_of_parts(part.modality for part in encoded)
        ids: list[int] = []
        for before, part in zip([None, *encoded], encoded, strict=False):
            if before is not None and before.modality == part.modality == "text":
                ids += self._tokenize_content("\n")
            ids += part.input_ids
        notes = tuple(f"part {number}: {note}" for number, part in enumerate(encoded, 1) for note in part.notes)
        return EncodedPremise(modality, ids, notes=notes, parts=encoded)

    def _encode_image(self, source, keep_media: bool) -> EncodedPremise:
        """Encodes a picture as Qwen2.5-Omni's processor does, within the video processor's bounds on its pixels."""
        processor, token = self.video_processor, self.backbone.tokens["image_token"]
        pixels = torch.from_numpy(load_image(source)).permute(2, 0, 1)[None]
        factor = processor.patch_size * processor.merge_size
        bounds = (processor.size["shortest_edge"], processor.size["longest_edge"])
        height, width = smart_resize(*pixels.shape[2:], factor, *bounds)
        size = SizeDict(height=height, width=width)
        pixels = BaseVideoProcessor.resize(processor, pixels, size, resample=processor.resample)
        patches = processor(
            videos=[pixels.repeat(processor.temporal_patch_size, 1, 1, 1)],
            do_resize=False,
            do_sample_frames=False,
            return_tensors="pt",
        )
        grid = patches["video_grid_thw"][0]
        ids = [self.tokenizer.convert_tokens_to_ids(token)] * (int(grid.prod()) // processor.merge_size**2)
        return EncodedPremise(
            "video",
            [self._ids["vision_bos_token"], *ids, self._ids["vision_eos_token"]],
            pixel_values_videos=patches["pixel_values_videos"],
            video_grid_thw=grid,
            video_second_per_grid=1.0,  # of one step nothing depends on it
            frames=pixels.permute(0, 2, 3, 1).numpy() if keep_media else None,
        )

    def encode_hypothesis(self, hypothesis: str) -> list[int]:
        """Tokenizes a hypothesis, without blanks and line ends around it, and without the prompt.

        Raises:
            ValueError: if it is not a string or has nothing but blanks.
        """
        return self.tokenizer(_check_hypothesis(hypothesis), **_CONTENT)["input_ids"]

    def encode_answer(self, probability: float) -> list[int]:
        """Tokenizes a probability as a model writes it, by the part `"answer"` of the prompt.

        Raises:
            ValueError: if the prompt has no such part.
        """
        if "answer" not in self.prompt:
            raise ValueError("The prompt has no part 'answer': its model gives distributions, it writes no answers.")
        return self.tokenizer(self.prompt["answer"].format(probability=probability), add_special_tokens=False)[
            "input_ids"
        ]

    def collate(
        self,
        premises: list[EncodedPremise],
        hypotheses: list[list[str]],
        probabilities: list[list[float]] | None = None,
    ) -> CLUEInputs:
        """Puts encoded premises with their hypotheses into one batch, padded on the right.

        Args:
            premises (`list[EncodedPremise]`): as [`~CLUEProcessor.encode_premise`] gives them.
            hypotheses (`list[list[str]]`): those of each premise.
            probabilities (`list[list[float]]`, *optional*): of each hypothesis, to train a model that writes them: the
                answer then follows the hypothesis in its branch, and the inputs have an `answer_mask` of shape
                `(batch_size, sequence_length)`, 1 for the tokens of answers.

        Returns:
            [`CLUEInputs`]

        Raises:
            ValueError: if a premise has no hypothesis, or one of them is empty; if some clips come with the outputs
                of the towers and others without; if probabilities are given to a prompt without an answer.
        """
        if not premises:
            raise ValueError("There is no premise to judge.")
        rows: list[tuple[EncodedPremise, list[int], list[int], list[int]]] = []
        for index, (premise, pairs) in enumerate(zip(premises, self._encode_claims(hypotheses), strict=True)):
            sentences, branches = zip(*pairs, strict=True)
            answers = [[] for _ in branches]
            if probabilities is not None:
                answers = [self.encode_answer(probability) for probability in probabilities[index]]
            if self.one_hypothesis_a_row:
                for row in zip(sentences, branches, answers, strict=True):
                    rows.append((premise, *self._render_row(premise, *([entry] for entry in row))))
            else:
                rows.append((premise, *self._render_row(premise, sentences, branches, answers)))

        inputs = self._pad([(ids, branches) for _, ids, branches, _ in rows])
        if probabilities is not None:
            inputs["answer_mask"] = pad_sequence([torch.tensor(answered) for *_, answered in rows], batch_first=True)
        return self._with_media(inputs, premises, [part for premise, *_ in rows for part in premise.media])

    def collate_premises(self, premises: list[EncodedPremise]) -> CLUEInputs:
        """Puts encoded premises into one batch without hypotheses, for [`~CLUEForConfidenceEstimation.read`].

        Raises:
            ValueError: if the prompt has the hypothesis before the premise, which then can't be read ahead of it.
        """
        rows = []
        for premise in premises:
            ids = self._fill_pieces(self._pieces(premise.modality)["premise"], premise, "", [])
            rows.append((ids, [0] * len(ids)))
        return self._with_media(self._pad(rows), premises, [part for premise in premises for part in premise.media])

    def encode_hypotheses(self, hypotheses: list[list[str]], modalities: list[str]) -> CLUEInputs:
        """Tokenizes the hypotheses of premises that have been read, for [`~CLUEForConfidenceEstimation.judge`].

        Args:
            hypotheses (`list[list[str]]`): those of each premise.
            modalities (`list[str]`): of each premise: a prompt may put its question in other words for each.

        Returns:
            [`CLUEInputs`] with `input_ids`, `attention_mask` and `branch_ids`, padded on the right.

        Raises:
            ValueError: as [`~CLUEProcessor.collate`], and if the prompt has the hypothesis before the premise.
        """
        rows = []
        for modality, pairs in zip(modalities, self._encode_claims(hypotheses), strict=True):
            ids, branch_ids = [], []
            for number, (sentence, branch) in enumerate(pairs, start=1):
                ids += self._fill_pieces(self._pieces(modality)["hypothesis"], None, sentence, branch)
                branch_ids += [number] * (len(ids) - len(branch_ids))
            rows.append((ids, branch_ids))
        return self._pad(rows)

    def encode_cuts(
        self, cuts: list[EncodedPremise], shared: list[int], hypotheses: list[str]
    ) -> tuple[list[list[int]], list[int], list[list[int]]]:
        """Tokenizes a premise as far as it goes at each of some cuts, and hypotheses about it.

        Args:
            cuts (`list[EncodedPremise]`), shared (`list[int]`): what the premise is if it ends there, and how many of
                its first tokens are those of the whole premise.
            hypotheses (`list[str]`): about it.

        Returns:
            `tuple`: for each cut the tokens before a hypothesis, and how many of the first are those of the whole
            premise's row; and for each hypothesis its tokens.
        """
        pieces = self._pieces(cuts[0].modality)
        (pairs,) = self._encode_claims([hypotheses])
        rows = [self._fill_pieces(pieces["premise"], cut, "", []) for cut in cuts]
        before = len(self._fill_pieces(pieces["premise"][: pieces["premise"].index("{premise}")], None, "", []))
        claims = [self._fill_pieces(pieces["hypothesis"], None, *pair) for pair in pairs]
        return rows, [before + count for count in shared], claims

    def _encode_claims(self, hypotheses: list[list[str]]) -> Iterator[list[tuple[str, list[int]]]]:
        """Yields for each premise its hypotheses, each with its tokens."""
        claims = []
        for index, sentences in enumerate(hypotheses):
            if not sentences:
                raise ValueError(f"Premise {index} has no hypothesis.")
            for number, sentence in enumerate(sentences):
                try:
                    claims.append(_check_hypothesis(sentence))
                except ValueError as error:
                    raise ValueError(f"Premise {index}, hypothesis {number}: {error}") from error
        # In one call: one by one this took longer than all else here.
        encoded = zip(claims, self.tokenizer(claims, **_CONTENT)["input_ids"], strict=True)
        for sentences in hypotheses:
            yield list(islice(encoded, len(sentences)))

    def _pieces(self, modality: str) -> dict[str, list[str | list[int]]]:
        """Returns the parts of the prompt where the premise stands before the hypothesis."""
        if self.one_hypothesis_a_row:
            raise ValueError("The prompt of this model has the hypothesis before the premise: it can't be read ahead.")
        return self._prompt_of(modality)

    def _prompt_of(self, modality: str) -> dict[str, list[str | list[int]]]:
        if modality not in self._prompt_pieces:
            raise ValueError(
                f"The prompt of this model has no part for {modality}: it is for "
                f"{', '.join(self._prompt_pieces)} alone."
            )
        return self._prompt_pieces[modality]

    def _pad(self, rows: list[tuple[list[int], list[int]]]) -> CLUEInputs:
        """Pads tokens and branch ids on the right."""
        tokens, branches = ([torch.tensor(row) for row in columns] for columns in zip(*rows, strict=True))
        branch_ids = pad_sequence(branches, batch_first=True, padding_value=-1)
        return CLUEInputs(
            {
                "input_ids": pad_sequence(tokens, batch_first=True, padding_value=self._pad_token_id),
                "attention_mask": (branch_ids >= 0).long(),
                "branch_ids": branch_ids,
            }
        )

    @staticmethod
    def _with_media(inputs: CLUEInputs, premises: list[EncodedPremise], media: list[EncodedPremise]) -> CLUEInputs:
        """Adds sound and frames, row by row, and what people should know of the premises."""
        inputs.modalities = [premise.modality for premise in premises]
        inputs.notes = [list(premise.notes) for premise in premises]
        sounds = [part for part in media if part.num_mel_frames is not None]
        videos = [part for part in media if part.video_grid_thw is not None]
        have_tower_outputs = {sound.input_features is None for sound in sounds}
        have_tower_outputs |= {video.pixel_values_videos is None for video in videos}
        if len(have_tower_outputs) > 1:
            raise ValueError("Either all clips of a batch come with the outputs of the towers, or none.")
        if sounds:
            lengths = torch.tensor([sound.num_mel_frames for sound in sounds])
            frames = int(lengths.max())
            inputs["feature_attention_mask"] = (torch.arange(frames) < lengths[:, None]).long()
            if True in have_tower_outputs:
                inputs["audio_embeds"] = torch.cat([sound.audio_embeds for sound in sounds])
            else:
                inputs["input_features"] = torch.stack(
                    [
                        torch.nn.functional.pad(sound.input_features, (0, frames - sound.num_mel_frames))
                        for sound in sounds
                    ]
                )
        if videos:
            inputs["video_grid_thw"] = torch.stack([video.video_grid_thw for video in videos])
            inputs["video_second_per_grid"] = torch.tensor([video.video_second_per_grid for video in videos])
            if True in have_tower_outputs:
                inputs["video_embeds"] = torch.cat([video.video_embeds for video in videos])
            else:
                inputs["pixel_values_videos"] = torch.cat([video.pixel_values_videos for video in videos])
        return inputs

    @property
    def one_hypothesis_a_row(self) -> bool:
        """Returns whether each hypothesis gets a row of its own: where the prompt has it before the premise."""
        return any("{hypothesis}" in parts["premise"] for parts in prompts_by_modality(self.prompt).values())

    @property
    def _pad_token_id(self) -> int:
        # Padding is masked everywhere, so any token will do where the tokenizer names none.
        return 0 if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id

    def _split_prompt(self, template: str) -> list[str | list[int]]:
        """Splits a template into fixed tokens and texts that are filled in and then tokenized.

        Where hypotheses share their premise, such a text is a place alone, whose tokens depend on nothing else; with
        one hypothesis a row it reaches from one special token to the next, as if the whole row was tokenized.
        """
        cut = PLACEHOLDERS
        if self.one_hypothesis_a_row:
            special = sorted(self.tokenizer.get_added_vocab(), key=len, reverse=True)
            cut = re.compile(f"({'|'.join(map(re.escape, special))})")
        return [
            text if PLACEHOLDERS.search(text) else self.tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in cut.split(template)
            if text
        ]

    def _fill_pieces(
        self, pieces: list[str | list[int]], premise: EncodedPremise | None, hypothesis: str, branch: list[int]
    ) -> list[int]:
        ids: list[int] = []
        for piece in pieces:
            if isinstance(piece, list):
                ids += piece
            elif piece == "{premise}":
                ids += premise.input_ids
            elif piece == "{hypothesis}":
                ids += branch
            else:
                pending_text = ""
                for text in PLACEHOLDERS.split(piece):
                    if text == "{premise}" and premise.text is None:
                        ids += self._tokenize_content(pending_text) + premise.input_ids
                        pending_text = ""
                    else:
                        pending_text += {"{premise}": premise.text, "{hypothesis}": hypothesis}.get(text, text)
                ids += self._tokenize_content(pending_text)
        return ids

    def _tokenize_content(self, text: str) -> list[int]:
        return self.tokenizer(_check_encodable(text), **_CONTENT)["input_ids"]

    def _offsets(self, text: str) -> list[int]:
        return [start for start, _ in self.tokenizer(text, **_CONTENT, return_offsets_mapping=True)["offset_mapping"]]

    def _render_row(
        self, premise: EncodedPremise, sentences: list[str], branches: list[list[int]], answers: list[list[int]]
    ) -> tuple[list[int], list[int], list[int]]:
        """Returns tokens, branch ids and answer mask of one row."""
        pieces = self._prompt_of(premise.modality)
        ids = self._fill_pieces(pieces["premise"], premise, sentences[0], branches[0])
        branch_ids, answer_mask = [0] * len(ids), [0] * len(ids)
        rows = zip(sentences, branches, answers, strict=True)
        for number, (sentence, branch, answer) in enumerate(rows, start=1):
            ids += self._fill_pieces(pieces["hypothesis"], premise, sentence, branch)
            answer_mask += [0] * (len(ids) - len(answer_mask)) + [1] * len(answer)
            ids += answer
            branch_ids += [number] * (len(ids) - len(branch_ids))
        return ids, branch_ids, answer_mask

    def _add_sound(self, encoded: EncodedPremise, source, part: dict, options: dict) -> np.ndarray:
        """Adds the spectrogram of a sound, and returns its waveform."""
        extractor, most = self.feature_extractor, options["max_audio_seconds"]
        audio = load_audio(source, sampling_rate=extractor.sampling_rate, max_seconds=most, **part)
        length, silence = len(audio.waveform), 0
        num_frames = length // extractor.hop_length
        if self.backbone.pads_sound:
            # A window of silence after the clip, as padding would be: its last frames overlap it.
            num_frames = -(-length // extractor.hop_length)
            silence = num_frames * extractor.hop_length + extractor.n_fft - length
        if self.backbone.num_audio_tokens(num_frames) < 1 or length + silence <= extractor.n_fft // 2:
            raise MediaError(
                f"{label_of(source)} holds {audio.duration:.3f} s of sound, too short for a single token."
            )
        features = extractor(
            np.pad(audio.waveform, (0, silence)),
            sampling_rate=extractor.sampling_rate,
            padding="do_not_pad",
            truncation=False,
            return_tensors="pt",
        )["input_features"][0]
        encoded.input_features = features[:, :num_frames].contiguous()
        encoded.num_mel_frames = num_frames
        encoded.notes += audio.notes
        return audio.waveform

    def _add_frames(self, encoded: EncodedPremise, source, part: dict, options: dict) -> np.ndarray:
        """Adds the patches of a video, and returns its frames as they were cut."""
        processor = self.video_processor
        sampling_options = {name: options[name] for name in ("fps", "max_frames", "min_frames", "sampling")}

        def shrink(frame: np.ndarray, num_frames: int) -> np.ndarray:
            """Resizes a frame as the video processor would with all of them, before the next one is decoded."""
            pixels = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None]
            if options["frame_size"] is not None:
                # Rounded to whole bytes, as torchvision does.
                pixels = torch.nn.functional.interpolate(
                    pixels.float(),
                    size=(options["frame_size"],) * 2,
                    mode="bicubic",
                    align_corners=False,
                    antialias=True,
                )
                pixels = pixels.clamp(0, 255).round()
            height, width = pixels.shape[2:]
            if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
                raise MediaError(
                    f"{label_of(source)} has frames of {width} x {height} pixels, too long and thin to be read."
                )
            return self._resize(pixels, num_frames)[0].numpy()

        video = load_video(source, shrink=shrink, **sampling_options, **part)
        patches = processor(
            videos=[torch.from_numpy(video.frames)],
            do_resize=False,
            do_sample_frames=False,
            cap_pixels_per_frame=True,
            return_tensors="pt",
        )
        encoded.pixel_values_videos = patches["pixel_values_videos"]
        encoded.video_grid_thw = patches["video_grid_thw"][0]
        encoded.video_second_per_grid = float(options["second_per_grid"] or processor.temporal_patch_size / video.fps)
        encoded.notes += video.notes
        return video.frames.transpose(0, 2, 3, 1)

    def _resize(self, frame: torch.Tensor, num_frames: int) -> torch.Tensor:
        """Resizes one of `num_frames` frames, `(1, 3, height, width)`, as the video processor resizes them all."""
        processor = self.video_processor
        size = {edge: processor.size[edge] for edge in ("shortest_edge", "longest_edge")}
        settings = {
            "size": SizeDict(**size),
            "resample": processor.resample,
            "factor": processor.patch_size * processor.merge_size,
            "temporal_factor": processor.temporal_patch_size,
            "cap_pixels_per_frame": True,
        }
        shape = (num_frames, *frame.shape[1:])
        key = (*shape, *size.values(), settings["factor"], settings["temporal_factor"], processor.max_video_tokens)
        if key not in self._frame_sizes:
            # On the meta device, for the size alone. Slow, hence cached: clips of one kind have one size.
            all_frames = torch.empty((1, *shape), dtype=frame.dtype, device="meta")
            self._frame_sizes[key] = processor.resize(videos=all_frames, **settings).shape[-2:]
        height, width = self._frame_sizes[key]
        return BaseVideoProcessor.resize(
            processor, frame, SizeDict(height=height, width=width), resample=processor.resample
        )

    def media_tokens(self, encoded: EncodedPremise) -> list[int]:
        """Returns the places of sound and frames between their markers; in turns if audiovisual."""
        ids = self._ids
        sound, frame = [ids["audio_token"]], [ids["video_token"]]
        num_sounds = tokens_per_step = steps = 0
        if encoded.num_mel_frames is not None:
            num_sounds = self.backbone.num_audio_tokens(encoded.num_mel_frames)
        if encoded.video_grid_thw is not None:
            steps, height, width = encoded.video_grid_thw.tolist()
            tokens_per_step = height * width // self.video_processor.merge_size**2
        if encoded.modality == "audio":
            return [ids["audio_bos_token"], *sound * num_sounds, ids["audio_eos_token"]]
        if encoded.modality == "video":
            return [ids["vision_bos_token"], *frame * (steps * tokens_per_step), ids["vision_eos_token"]]
        tokens = [ids["vision_bos_token"], ids["audio_bos_token"]]
        turns = self.backbone.turns(steps, tokens_per_step, encoded.video_second_per_grid, num_sounds)
        for num_frames, num_sounds in turns:
            tokens += frame * num_frames + sound * num_sounds
        return [*tokens, ids["audio_eos_token"], ids["vision_eos_token"]]


def _check_hypothesis(hypothesis: str) -> str:
    if not isinstance(hypothesis, str) or not hypothesis.strip():
        raise ValueError(f"A hypothesis is a sentence, got {quoted(hypothesis)}.")
    return _check_encodable(hypothesis.strip())


def _check_encodable(text: str) -> str:
    """Raises an error that names a lone surrogate, as the tokenizer's own does not."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"Half a character (a lone surrogate) at position {error.start} of {quoted(text)}."
        ) from error
    return text


def encode_premises(processor: CLUEProcessor, premises: Sequence, **media) -> list[EncodedPremise]:
    """Decodes and tokenizes several premises; arguments are those of [`~CLUEProcessor.encode_premise`].

    Raises:
        ValueError: as there, naming the premise by its place if there are several.
    """
    encoded = []
    for index, premise in enumerate(premises):
        try:
            encoded.append(processor.encode_premise(premise, **media))
        except ValueError as error:
            if len(premises) == 1:
                raise
            raise prefix_error(error, f"Premise {index}") from error
    return encoded


def prefix_error(error: ValueError, name: str) -> ValueError:
    """Returns an error of the same kind, with a label before its message."""
    # By name: processor and pipeline of a checkpoint may each have loaded their own copy of the class.
    kind = type(error) if type(error).__name__ == "MediaError" else ValueError
    return kind(shorten(f"{name}: {error}", 500))


CLUEProcessor.register_for_auto_class("AutoProcessor")
