# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Puts premises with sound or frames into messages of which vLLM makes CLUE's own inputs, and refuses those of which
it would make others."""

import base64
import hashlib
import io
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from .encoded_premise import EncodedPremise
from .media_container import quoted
from .processing_clue import CLUEProcessor
from .served_layout import MARK, Served
from .served_times import served_times


# Parts of a message by vLLM's names, and what its chat template calls them.
_KINDS = {"text": "text", "input_audio": "audio", "video_url": "video", "image_url": "image"}


class CannotServe(ValueError):
    """Reports what of a premise a server would read in another way than the pipeline, and why."""


def prompt_tokens(processor: CLUEProcessor, premise: EncodedPremise, hypotheses: list[str]) -> list[list[int]]:
    """Returns the tokens of a premise with each hypothesis, as the model gets them.

    Raises:
        CannotServe: if a text has the character by which the server's tokenizer cuts texts.
    """
    for text in (*hypotheses, *(part.text or "" for part in premise.media)):
        if MARK in text:
            raise CannotServe(
                f"{quoted(text)} holds the character U+{ord(MARK):04X}, which the server's tokenizer drops: leave it "
                "out too, or use the pipeline."
            )
    bare = EncodedPremise(premise.modality, premise.input_ids, premise.text)
    inputs = processor.collate([bare] * len(hypotheses), [[hypothesis] for hypothesis in hypotheses])
    rows = zip(inputs["input_ids"], inputs["attention_mask"].bool(), strict=True)
    return [ids[mask].tolist() for ids, mask in rows]


class MediaPrompt:
    """Holds a premise with sound or frames, ready for requests.

    Args:
        served (`Served`): the served checkpoint.
        premise (`EncodedPremise`): with its waveforms and frames.

    Attributes:
        options (`dict`): what a request says beside its messages.
        notes (`tuple[str, ...]`): what the server reads in a slightly different way.

    Raises:
        CannotServe: if a server would read the premise in another way.
    """

    def __init__(self, served: Served, premise: EncodedPremise):
        self.served, self.premise = served, premise
        self.processor = served.processor
        self.options: dict[str, Any] = {}
        self.notes: tuple[str, ...] = ()
        if premise.parts is not None and any(part.modality == "audiovisual" for part in premise.parts):
            raise CannotServe(
                "A server takes either all sounds of a premise as those of its videos or none: give a video with its "
                "sound alone, or use the pipeline."
            )
        if any(part.frames is not None for part in premise.media):
            self._set_times()
        self._parts = [message_part for part in premise.media for message_part in self._message_parts(part)]

    def messages(self, hypothesis: str, *, brief: bool = False) -> list[dict[str, Any]]:
        """Returns the messages of a request about one hypothesis.

        Args:
            hypothesis (`str`): a sentence.
            brief (`bool`, defaults to `False`): whether to leave out sound and frames, which the server has kept
                from an earlier request.

        Raises:
            CannotServe: if the server would make other tokens of them.
        """
        short = EncodedPremise(self.premise.modality, self._places(), self.premise.text)
        (wanted,) = prompt_tokens(self.processor, short, [hypothesis])
        for cut in (lambda text: text, self._cut):
            parts = [{**part, "text": cut(part["text"])} if part["type"] == "text" else part for part in self._parts]
            messages = [
                {"role": "user", "content": parts},
                {"role": "user", "content": [{"type": "text", "text": cut(hypothesis.strip())}]},
            ]
            if self._tokens(messages) == wanted:
                break
        else:
            raise CannotServe(
                f"The server makes other tokens of the hypothesis {quoted(hypothesis)}, or of a text beside the clip, "
                "than the model gets: leave out what looks like a special token, or use the pipeline."
            )
        if brief:
            kept = [{**part, part["type"]: None} if part["type"] != "text" else part for part in parts]
            messages[0]["content"] = kept
        return messages

    def _set_times(self) -> None:
        """Sets the options for frames, whose size and number are final."""
        videos = [part for part in self.premise.media if part.frames is not None]
        moving = [part for part in videos if part.video_grid_thw[0] > 1] or videos[:1]
        given = {part.video_second_per_grid for part in moving}
        if len(given) > 1:
            raise CannotServe(
                "A server takes one rate of frames for all videos of a premise, and those of this one follow at "
                f"{', '.join(f'{seconds:.4g}' for seconds in sorted(given))} s: use the pipeline."
            )
        with_sound = self.premise.modality == "audiovisual" and self.premise.parts is None
        if with_sound and self.served.plain_positions:
            raise CannotServe(
                "This checkpoint counts the tokens of a video with its sound for their positions, and a server places "
                "them by time: use the pipeline."
            )
        longest = max(moving, key=lambda part: int(part.video_grid_thw[0]))
        patch = self.processor.video_processor
        times = served_times(self.processor.backbone, longest, patch.merge_size)
        if times is None:
            raise CannotServe(
                f"A server puts frames that follow at {given.pop():.6g} s and their sound into another order than the "
                "model: use the pipeline, or give the sound or the frames alone."
            )
        options = {"do_resize": False, "do_sample_frames": False, "fps": patch.temporal_patch_size / times.seconds}
        if times.displaced:
            off = 1 / self.processor.backbone.position_ids_per_second
            self.notes += (f"{times.displaced} of its frames' times are {off:g} s off on the server",)
        if with_sound:
            options |= {"use_audio_in_video": True, "second_per_grid_ts": [longest.video_second_per_grid]}
            self.notes += ("positions of frames and sound are one token off on the server",)
        self.options = {"mm_processor_kwargs": options, "media_io_kwargs": {"video": {"num_frames": -1}}}

    def _message_parts(self, part: EncodedPremise) -> list[dict[str, Any]]:
        if part.text is not None:
            return [{"type": "text", "text": part.text}]
        found = [] if part.frames is None else [self._frames(part)]
        if part.waveform is not None:
            found.append(self._sound(part.waveform) | ({"of_video": True} if found else {}))
        return found

    def _sound(self, waveform: np.ndarray) -> dict[str, Any]:
        extractor = self.processor.feature_extractor
        if len(waveform) > extractor.n_samples:
            raise CannotServe(
                f"The sound lasts {len(waveform) / extractor.sampling_rate:.1f} s, and the server would cut it after "
                f"{extractor.chunk_length} s: give a part of it (`start`, `end`), or use the pipeline."
            )
        file = io.BytesIO()
        soundfile.write(file, waveform, extractor.sampling_rate, format="WAV", subtype="FLOAT")
        data = base64.b64encode(file.getvalue()).decode()
        return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}, "uuid": _digest(data)}

    def _frames(self, part: EncodedPremise) -> dict[str, Any]:
        frames = part.frames
        if frames.dtype != np.uint8:
            whole = frames.round().clip(0, 255).astype(np.uint8)
            if not np.array_equal(whole, frames):
                raise CannotServe(
                    "This checkpoint resizes frames twice, and what is between them is finer than the 256 steps of a "
                    "picture: use the pipeline."
                )
            frames = whole
        pictures = []
        for frame in frames:
            file = io.BytesIO()
            Image.fromarray(frame).save(file, format="PNG")
            pictures.append(base64.b64encode(file.getvalue()).decode())
        if part.input_ids[1] == self._token_id("image_token"):
            url = f"data:image/png;base64,{pictures[0]}"
            return {"type": "image_url", "image_url": {"url": url}, "uuid": _digest(*pictures)}
        # vLLM's name for pictures one after the other; they may be of any format.
        url = "data:video/jpeg;base64," + ",".join(pictures)
        return {"type": "video_url", "video_url": {"url": url}, "uuid": _digest(*pictures)}

    def _cut(self, text: str) -> str:
        """Marks the ends of all tokens but those that hold a piece of a character: no special token survives it."""
        encoded = self.processor.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
        )
        starts = sorted({start for start, _ in encoded["offset_mapping"]} | {0, len(text)})
        return MARK.join(text[start:end] for start, end in zip(starts, starts[1:], strict=False))

    def _tokens(self, messages: list[dict[str, Any]]) -> list[int]:
        """Returns the tokens that the server makes of messages, before it fills in the clips."""
        shown = [
            {**message, "content": [{**part, "type": _KINDS[part["type"]]} for part in message["content"]]}
            for message in messages
        ]
        tokenizer = self.processor.tokenizer
        text = tokenizer.apply_chat_template(shown, chat_template=self.served.template, tokenize=False)
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    def _places(self) -> list[int]:
        """Returns the tokens of the premise with one place for each clip."""
        ids = self.premise.input_ids
        if self.premise.modality == "audiovisual" and self.premise.parts is None:
            return [ids[0], self._token_id("video_token"), ids[-1]]
        places = set(map(self._token_id, ("audio_token", "video_token", "image_token")))
        return [
            token for before, token in zip([None, *ids], ids, strict=False) if token != before or token not in places
        ]

    def _token_id(self, name: str) -> int:
        return self.processor.tokenizer.convert_tokens_to_ids(self.processor.backbone.tokens[name])


def _digest(*pieces: str) -> str:
    """Returns the name under which a server keeps a clip, which no other clip has."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece.encode() + b",")
    return digest.hexdigest()
