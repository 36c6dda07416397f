# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Asks a CLUE checkpoint whose Thinker runs in a vLLM server, over OpenAI's API: text premises only.

```python
clue = ServedCLUE("runs/clue-3b", server="http://127.0.0.1:8000/v1", model="clue")
clue({"text": "Balls in the urn: red, red, blue.", "hypotheses": ["It is red.", "It is blue."]})
```

Each hypothesis is a request for one token. Its prompt is the tokens that the processor gives the model, and the reply
holds the log-probabilities of all `<CONF_i>` at the prompt's last position. serving.md, in this folder of the
repository, says how to start the server, what was measured, and why sound and video are not supported.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from math import isfinite
from pathlib import Path
from typing import Any

import httpx2
import torch
from transformers import AutoConfig, AutoProcessor

from . import auto  # noqa: F401 -- registers CLUE with them
from .configuration_clue import CLUEFields
from .pipeline_clue import answers, read_input
from .servers import check_address, read_key, shortened, without_key


# vLLM's limit on tokens whose log-probabilities are asked for by id (`MAX_LOGPROB_TOKEN_IDS`).
MAX_BINS = 128


class ServingError(RuntimeError):
    """Reports that the server gave no distribution, why, and what to do."""


class ServedCLUE:
    """Gives the pipeline's answers from a server that runs the exported Thinker of a checkpoint.

    Args:
        checkpoint (`str` or `Path`): folder or Hub repository of the CLUE checkpoint that was exported. Its
            configuration, with the calibration, and its processor are read; its weights are not.
        server (`str`): the address up to and with `/v1`.
        model (`str`): the server's name of the Thinker (`--served-model-name`).
        api_key_env (`str`, defaults to `"CLUE_SERVER_KEY"`): the environment variable with the server's key; it may be
            unset.
        timeout (`float`, defaults to 60): seconds to wait for the connection and for each reply.
        concurrency (`int`, defaults to 32): number of simultaneous requests.

    Raises:
        ValueError: if the checkpoint is not one of CLUE, its confidence tokens are missing or too many, or the address
            or the key can't be used.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        server: str,
        model: str,
        *,
        api_key_env: str = "CLUE_SERVER_KEY",
        timeout: float = 60.0,
        concurrency: int = 32,
    ):
        config = AutoConfig.from_pretrained(checkpoint)
        if not isinstance(config, CLUEFields):
            raise ValueError(
                f"'{checkpoint}' is a {config.model_type} checkpoint: name the CLUE one it was made from."
            )
        if config.num_bins > MAX_BINS:
            raise ValueError(f"'{checkpoint}' has {config.num_bins} bins: vLLM gives {MAX_BINS} of them at most.")
        check_address(server, api_key_env)
        if not timeout > 0 or concurrency < 1:
            raise ValueError(f"`timeout` and `concurrency` must be positive, got {timeout!r} and {concurrency!r}.")
        self._key = read_key(api_key_env)
        self.calibration = config.calibration
        self.processor = AutoProcessor.from_pretrained(checkpoint)
        self.server, self.model, self.api_key_env = server.rstrip("/"), model, api_key_env
        self.timeout, self.concurrency = timeout, concurrency
        self._tokens = [f"<CONF_{index}>" for index in range(config.num_bins)]
        vocabulary = self.processor.tokenizer.get_vocab()
        missing = [token for token in self._tokens if token not in vocabulary]
        if missing:
            raise ValueError(
                f"The tokenizer of '{checkpoint}' lacks {len(missing)} tokens, the first is {missing[0]}."
            )
        self._token_ids = [vocabulary[token] for token in self._tokens]

    def __call__(
        self, input_: dict, *, interval: float = 0.9, calibrated: bool = True, act: bool = False
    ) -> list[dict[str, Any]]:
        """Judges the hypotheses of one premise in parallel; the server encodes their premise once.

        Args:
            input_ (`dict`): as the pipeline takes it: `text` (or `premise`) and `hypotheses`, or `hypothesis`.
            interval (`float`, defaults to 0.9): share of the distribution inside the interval.
            calibrated (`bool`, defaults to `True`): whether to apply the checkpoint's calibration, if it has one.
            act (`bool`, defaults to `False`): whether to tell which answers can be used alone, as the pipeline does.

        Returns:
            `list[dict]`: the pipeline's answers, one for each hypothesis.

        Raises:
            ValueError: if the input can't be used, or its premise is not text.
            ServingError: if the server can't be reached, refuses, or gives no whole distribution.
        """
        premise_row, sentences = read_input(input_)
        premise = self.processor.encode_premise(premise_row)
        if premise.modality != "text":
            raise ValueError(f"A server is asked in tokens, and takes no {premise.modality} so: use the pipeline.")
        prompts = [self.processor(premise.text, sentence)["input_ids"][0].tolist() for sentence in sentences]
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        with (
            httpx2.Client(headers=headers, timeout=self.timeout, limits=httpx2.Limits(max_connections=None)) as client,
            ThreadPoolExecutor(min(self.concurrency, len(prompts))) as pool,
        ):
            log_probabilities = list(pool.map(lambda prompt: self._read(client, prompt), prompts))
        return answers(
            sentences,
            torch.tensor(log_probabilities),
            self.calibration if calibrated else None,
            premise.modality,
            list(premise.notes),
            interval,
            act,
        )

    def request(self, prompt: list[int]) -> dict[str, Any]:
        """Returns the body of the request for a distribution, to `POST /v1/completions`.

        Args:
            prompt (`list[int]`): tokens of premise and hypothesis as the processor gives them.
        """
        return {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": len(self._token_ids),
            "logprob_token_ids": self._token_ids,
            "return_tokens_as_token_ids": False,
        }

    def _read(self, client: httpx2.Client, prompt: list[int]) -> list[float]:
        try:
            response = client.post(f"{self.server}/completions", json=self.request(prompt))
        except httpx2.ConnectError as error:
            raise ServingError(f"No server answers at {self.server}: start it, or mend the address.") from error
        except httpx2.TimeoutException as error:
            raise ServingError(
                f"{self.server} did not answer within {self.timeout:g} s: raise `timeout`, or lower `concurrency`."
            ) from error
        except httpx2.HTTPError as error:
            raise ServingError(f"The connection to {self.server} was lost ({type(error).__name__}).") from error
        if response.status_code != 200:
            raise ServingError(self._refusal(response.status_code, response.text))
        try:
            reply = response.json()
            top = reply["choices"][0]["logprobs"]["top_logprobs"][0]
            finish_reason = reply["choices"][0].get("finish_reason")
            found = {token: float(top[token]) for token in self._tokens if token in top}
        except (json.JSONDecodeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise ServingError(
                f"{self.server} gave a reply without log-probabilities: {self._short(response.text)}"
            ) from error
        if reply.get("error") or finish_reason not in (None, "length", "stop"):
            raise ServingError(f"{self.server} broke off, finish_reason {finish_reason}: {self._short(response.text)}")
        if not found:
            raise ServingError(
                f"{self.server} has other tokens where this checkpoint has its confidence tokens, or knows no "
                f"`logprob_token_ids` (vLLM 0.32 does): it gave {', '.join(map(str, list(top)[:3]))}. Is "
                f"{self.model!r} the Thinker exported from this checkpoint?"
            )
        if len(found) < len(self._tokens):
            raise ServingError(
                f"{self.server} gave {len(found)} of {len(self._tokens)} confidence tokens: it takes no "
                "`logprob_token_ids` (vLLM 0.32 does), or allows too few log-probabilities (`--max-logprobs`)."
            )
        if not all(map(isfinite, found.values())):
            raise ServingError(f"{self.server} gave log-probabilities that are not finite numbers.")
        return [found[token] for token in self._tokens]

    def _refusal(self, status: int, text: str) -> str:
        advice = {
            400: "",
            401: f" Put its key into ${self.api_key_env}.",
            403: f" Put a key it takes into ${self.api_key_env}.",
            404: f" Is {self.model!r} its `--served-model-name`, and does the address end in /v1?",
        }.get(status, "")
        if status == 400 and "greater than max allowed" in text:
            advice = f" Start it with `--max-logprobs {len(self._tokens)}`."
        return f"{self.server} answers HTTP {status}: {self._short(text)}.{advice}"

    def _short(self, text: str) -> str:
        text = without_key(text, self._key)
        try:
            reply = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            reply = None
        if isinstance(reply, dict) and isinstance(reply.get("error"), dict):
            text = str(reply["error"].get("message"))
        return shortened(text, 300).rstrip(".")
