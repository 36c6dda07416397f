"""Runs a teacher in this process: any chat model that `transformers` can load from a folder."""

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import torch
from PIL import Image
from transformers import (
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    AutoProcessor,
    AutoTokenizer,
    Cache,
    Qwen2_5OmniConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen3OmniMoeConfig,
    Qwen3OmniMoeThinkerForConditionalGeneration,
)

from chat.client import FailureCounter, RunStoppedError
from chat.replies import AnswerFailedError
from common.errors import InputError
from modeling_clue.media import MediaError, load_audio, load_video
from modeling_clue.media_image import load_image


# Frames of a video that the model is shown: a server has its own way, here it has to be said.
FRAMES_PER_SECOND = 1.0
MOST_FRAMES = 64
# These speak too. Only the part that writes is loaded: with the voice would come a pickle of its speakers.
THINKERS = {
    Qwen2_5OmniConfig: Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen3OmniMoeConfig: Qwen3OmniMoeThinkerForConditionalGeneration,
}
# Neither code nor pickles of a checkpoint are run, and nothing is fetched.
SAFELY = {"local_files_only": True, "trust_remote_code": False}


class LocalTeacher:
    """
    Holds a model, its weights in safetensors, and its tokenizer or processor.

    Raises:
        `RunStoppedError`: if the model can't be loaded.
    """

    def __init__(self, path: Path):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            config = AutoConfig.from_pretrained(path, **SAFELY)
            self.takes_media = type(config) in MODEL_FOR_MULTIMODAL_LM_MAPPING
            family = AutoModelForMultimodalLM if self.takes_media else AutoModelForCausalLM
            if type(config) in THINKERS:
                family, config = THINKERS[type(config)], config.thinker_config
            model, loading = family.from_pretrained(
                path, config=config, dtype="auto", use_safetensors=True, output_loading_info=True, **SAFELY
            )
            self.processor = (AutoProcessor if self.takes_media else AutoTokenizer).from_pretrained(path, **SAFELY)
        except (OSError, ValueError, ImportError) as error:
            raise RunStoppedError(f"--model {path} can't be loaded: {error}") from error
        if loading["missing_keys"]:
            # transformers would go on with random numbers in their place.
            raise RunStoppedError(f"--model {path} lacks the weights {', '.join(sorted(loading['missing_keys'])[:5])}")
        self.tokenizer = self.processor.tokenizer if self.takes_media else self.processor
        if self.processor.chat_template is None:
            raise RunStoppedError(f"--model {path} has no chat template: pass a model that was made to answer")
        self.model = model.to(device).eval()
        self._messages, self._inputs = None, None

    def answer(self, messages: list[dict], seed: int, max_tokens: int, temperature: float) -> dict:
        """
        Draws one answer, and returns it in the form of a server's reply.

        Args:
            messages (`list[dict]`): As [`chat_messages`] builds them.
            seed (`int`): The same seed gives the same answer.
            max_tokens (`int`): The answer's length at most.
            temperature (`float`): 0 takes the likeliest token each time.

        Raises:
            `AnswerFailedError`: if the media can't be read or the pair is too long.
            `RunStoppedError`: if the model takes no such premises.
        """
        # The answers of one pair come one after the other: its media are decoded once.
        if messages is not self._messages:
            self._inputs = self.encode(messages)
            self._messages = messages
        return self.reply(self._inputs, seed, max_tokens, temperature)

    def reply(self, inputs: dict, seed: int, max_tokens: int, temperature: float) -> dict:
        """Draws one answer to `inputs` of [`encode`]; else as [`answer`]."""
        length = self._fitting(inputs, max_tokens)
        sampling = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
        ends = self.model.generation_config.eos_token_id
        ends = {self.tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
        try:
            with torch.random.fork_rng(), torch.inference_mode():
                torch.manual_seed(seed)
                tokens = self.model.generate(
                    **inputs, max_new_tokens=max_tokens, eos_token_id=sorted(ends) or None, **sampling
                )[0, length:]
        except torch.OutOfMemoryError as error:
            raise AnswerFailedError(f"out of memory with {length} tokens") from error
        return {
            "choices": [
                {
                    "message": {"content": self.tokenizer.decode(tokens, skip_special_tokens=True)},
                    "finish_reason": "stop" if int(tokens[-1]) in ends else "length",
                }
            ],
            "usage": {"prompt_tokens": length, "completion_tokens": len(tokens)},
        }

    @torch.inference_mode()
    def next_token(self, inputs: dict) -> tuple[torch.Tensor, Cache]:
        """
        Returns the log-probability of each token that may follow, and the cache of all tokens given.

        The former are `(vocabulary,)` in float32, untouched by the generation config.

        Args:
            inputs (`dict`): As [`encode`] gives them; or all `input_ids` and `attention_mask` with the
                `past_key_values` of the first of them, which are added to.

        Raises:
            `AnswerFailedError`: if the pair is too long.
        """
        length = self._fitting(inputs, 1)
        try:
            # `generate` knows the positions that each architecture goes on with behind media, a forward does not.
            found = self.model.generate(
                **inputs,
                max_new_tokens=1,
                do_sample=False,
                num_beams=1,
                use_cache=True,
                output_logits=True,
                return_dict_in_generate=True,
            )
        except torch.OutOfMemoryError as error:
            raise AnswerFailedError(f"out of memory with {length} tokens") from error
        return found.logits[0][0].float().log_softmax(-1), found.past_key_values

    @torch.inference_mode()
    def continuation_scores(self, inputs: dict, continuations: list[tuple[int, ...]]) -> torch.Tensor:
        """
        Returns the log-probabilities, in float64, of continuations. What several begin with is run once.

        Args:
            inputs (`dict`): As [`encode`] gives them.
            continuations (`list[tuple[int, ...]]`): Tokens; none is the beginning of another.

        Raises:
            `AnswerFailedError`: if the pair is too long.
        """
        scores = torch.zeros(len(continuations), dtype=torch.float64)

        def descend(members: list[int], depth: int, ids: torch.Tensor, next_token: torch.Tensor, past: Cache) -> None:
            # Those whose first `depth` tokens, the last of `ids`, are the same.
            branches = {}
            for member in members:
                branches.setdefault(continuations[member][depth], []).append(member)
            for token, group in branches.items():
                scores[group] += float(next_token[token])
                # No continuation is the beginning of another: these end together, and then there is one.
                if depth + 1 == len(continuations[group[0]]):
                    continue
                longer = torch.cat([ids, ids.new_tensor([[token]])], dim=1)
                # A copy: not every cache can be cut back to where branches part.
                given = {"input_ids": longer, "attention_mask": torch.ones_like(longer)}
                descend(group, depth + 1, longer, *self.next_token({**given, "past_key_values": deepcopy(past)}))

        descend(list(range(len(continuations))), 0, inputs["input_ids"], *self.next_token(inputs))
        return scores

    def _fitting(self, inputs: dict, more: int) -> int:
        length = inputs["input_ids"].shape[1]
        if length + more > self.tokenizer.model_max_length:
            raise AnswerFailedError(
                f"{length} tokens and {more} for the answer are more than the model's "
                f"{self.tokenizer.model_max_length}"
            )
        return length

    def encode(self, messages: list[dict], notes: list[str] | None = None) -> dict:
        """
        Decodes the media and tokenizes: returns inputs of the model, which is left alone.

        Args:
            messages (`list[dict]`): As [`chat_messages`] builds them.
            notes (`list[str]`, *optional*): What is cut or left out of the media is added here.

        Raises:
            `AnswerFailedError`: if the media can't be read.
            `RunStoppedError`: if the model takes no such premises.
        """
        (message,) = messages
        content, options = message["content"], {}
        if not isinstance(content, str):
            if not self.takes_media:
                raise RunStoppedError("the model takes text alone: pass one that takes the premises' modality")
            content = [self._part(part, options, [] if notes is None else notes) for part in content]
        chat = [{"role": message["role"], "content": content}]
        kept = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        if self.takes_media:
            if isinstance(content, str):
                chat[0]["content"] = [{"type": "text", "text": content}]
            inputs = self.processor.apply_chat_template(chat, processor_kwargs=options, **kept)
        else:
            inputs = self.processor.apply_chat_template(chat, **kept)
        return inputs.to(self.model.device, **({"dtype": self.model.dtype} if self.takes_media else {}))

    def _part(self, part: dict, options: dict, notes: list[str]) -> dict:
        try:
            if part["type"] == "input_audio":
                rate = self.processor.feature_extractor.sampling_rate
                sound = load_audio(base64.b64decode(part["input_audio"]["data"]), sampling_rate=rate, name="its sound")
                notes += sound.notes
                longest = self.processor.feature_extractor.n_samples / rate
                if sound.duration > longest:
                    notes.append(f"sound of {sound.duration:.1f} s cut to {longest:g} s")
                return {"type": "audio", "audio": sound.waveform}
            if part["type"] == "video_url":
                data = _content(part["video_url"])
                video = load_video(data, fps=FRAMES_PER_SECOND, max_frames=MOST_FRAMES, name="its video")
                notes += video.notes
                if options.get("fps", video.fps) != video.fps:
                    raise AnswerFailedError("media: its videos have frames at different rates, which no model is told")
                options |= {"fps": video.fps, "do_sample_frames": False}
                return {"type": "video", "video": video.frames}
            if part["type"] == "image_url":
                data = _content(part["image_url"])
                return {"type": "image", "image": Image.fromarray(load_image(data, name="its picture"))}
        except MediaError as error:
            raise AnswerFailedError(f"media: {error}") from error
        return part


def _content(link: dict) -> bytes:
    """Returns what a `data:` address holds."""
    return base64.b64decode(link["url"].partition(",")[2])


class LocalClient:
    """
    Asks a local model as [`ChatClient`] asks a server: one request after the other, in a thread.

    Args:
        path (`Path`): The folder with the model. It is loaded with the first request: a run with nothing left to ask
            needs none.
        failures (`FailureCounter`): Counts the requests that fail.
    """

    def __init__(self, path: Path, failures: FailureCounter):
        self.path, self.failures = path, failures
        self._teacher: LocalTeacher | None = None
        self._thread = ThreadPoolExecutor(max_workers=1)

    async def send(self, payload: dict) -> dict:
        """Draws one answer; see [`LocalTeacher.answer`]."""
        loop = asyncio.get_running_loop()
        return await self.failures.count(loop.run_in_executor(self._thread, self._answer, payload))

    async def close(self) -> None:
        """Leaves requests that have not begun."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _answer(self, payload: dict) -> dict:
        if self._teacher is None:
            self._teacher = LocalTeacher(self.path)
        return self._teacher.answer(
            payload["messages"], payload["seed"], payload["max_tokens"], payload["temperature"]
        )


def check_local(path: Path) -> None:
    """Refuses, before any work is done, what doesn't look like a model."""
    if not (path / "config.json").is_file():
        raise InputError(f"--model {path} is no folder with a model: it has no config.json")
    if not any(path.glob("*.safetensors")):
        raise InputError(
            f"--model {path} has no weights in safetensors: other formats may run code when they are read"
        )
