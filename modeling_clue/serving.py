# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Asks a CLUE checkpoint that vLLM serves as a classifier of all its confidence bins.

```python
clue = ServedCLUE("runs/clue-3b-served", server="http://127.0.0.1:8000", model="clue")
clue({"text": "Balls in the urn: red, red, blue.", "hypotheses": ["It is red.", "It is blue."]})
```

All hypotheses about a text go into one request, as the tokens that the processor gives the model. A clip goes to the
server once, with the first hypothesis about it. serving.md, in this folder of the repository, says how to start the
server, what was measured, and which premises it can't be asked about.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import torch

from .encoded_premise import EncodedPremise
from .pipeline_clue import answers, read_input
from .served_layout import SERVER_FILE, read_served, reference_input
from .served_prompt import CannotServe, MediaPrompt, prompt_tokens
from .servers import check_address, read_key, shortened, without_key


# Share by which the logits of a reference answer may differ, as the root mean square about their mean. That of weights
# rounded to bfloat16 is a few hundredths; a head that holds nothing is off by one, and so is any other.
LARGEST_ERROR = 0.25


class ServingError(RuntimeError):
    """Reports that the server gave no distribution, why, and what to do."""


class ServedCLUE:
    """Gives the pipeline's answers from a vLLM server.

    Args:
        checkpoint (`str` or `Path`): folder or Hub repository that `to-thinker --layout classify` wrote, and that the
            server runs. Its configuration, with the calibration, and its processor are read; its weights are not.
        server (`str`): the server's address.
        model (`str`): the server's name of the checkpoint (`--served-model-name`).
        api_key_env (`str`, defaults to `"CLUE_SERVER_KEY"`): the environment variable with the server's key; it may be
            unset.
        timeout (`float`, defaults to 60): seconds to wait for the connection and for each reply.
        concurrency (`int`, defaults to 32): number of simultaneous requests about a clip.
        approximate (`bool`, defaults to `False`): whether to ask about clips that the server reads in a slightly
            different way, too: videos with their sound, and some rates of frames. Notes of the answers say how.

    Raises:
        OSError: if a file of the checkpoint is missing.
        ValueError: if it is another kind of checkpoint, or the address or the key can't be used.
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
        approximate: bool = False,
    ):
        check_address(server, api_key_env)
        if not timeout > 0 or concurrency < 1:
            raise ValueError(f"`timeout` and `concurrency` must be positive, got {timeout!r} and {concurrency!r}.")
        self._key = read_key(api_key_env)
        self._served = read_served(checkpoint)
        self.processor, self.calibration = self._served.processor, self._served.calibration
        self.server, self.model = server.rstrip("/").removesuffix("/v1"), model
        self.api_key_env, self.timeout, self.concurrency = api_key_env, timeout, concurrency
        self.approximate = approximate
        self._checked: set[str] = set()

    def __call__(
        self, input_: dict, *, interval: float = 0.9, calibrated: bool = True, act: bool = False
    ) -> list[dict[str, Any]]:
        """Judges the hypotheses of one premise.

        Before the first premise of a modality, the server is asked about one whose answer the checkpoint has.

        Args:
            input_ (`dict`): as the pipeline takes it: a premise, and `hypotheses` or `hypothesis`.
            interval (`float`, defaults to 0.9): share of the distribution inside the interval.
            calibrated (`bool`, defaults to `True`): whether to apply the checkpoint's calibration, if it has one for
                the premise's modality.
            act (`bool`, defaults to `False`): whether to tell which answers can be used alone, as the pipeline does.

        Returns:
            `list[dict]`: the pipeline's answers, one for each hypothesis.

        Raises:
            ValueError: if the input can't be used. `CannotServe`, a subclass, if the pipeline can, but not the server.
            ServingError: if the server can't be reached, refuses, gives no whole distribution, or runs other weights.
        """
        premise, hypotheses = read_input(input_)
        encoded = self.processor.encode_premise(premise, keep_media=True)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        with httpx2.Client(
            headers=headers, timeout=self.timeout, limits=httpx2.Limits(max_connections=None)
        ) as client:
            logits, notes = self._judge(client, encoded, hypotheses)
        return answers(
            hypotheses,
            logits,
            self.calibration if calibrated else None,
            encoded.modality,
            [*encoded.notes, *notes],
            interval,
            act,
        )

    def _judge(
        self, client: httpx2.Client, premise: EncodedPremise, hypotheses: list[str]
    ) -> tuple[torch.Tensor, tuple[str, ...]]:
        """Returns logits `(H, N)`, of a server whose weights are known to be right, and notes."""
        tokens, prompt = prompt_tokens(self.processor, premise, hypotheses), None
        if premise.modality != "text":
            prompt = MediaPrompt(self._served, premise)
            if prompt.notes and not self.approximate:
                raise CannotServe(
                    f"A server reads this premise slightly otherwise than the model: {'; '.join(prompt.notes)}. "
                    "Use the pipeline, or take such answers with `approximate=True`."
                )
        for modality in sorted({part.modality for part in premise.media} - self._checked):
            self._check(client, modality)
            self._checked.add(modality)
        return self._logits(client, tokens, prompt, hypotheses), () if prompt is None else prompt.notes

    def _check(self, client: httpx2.Client, modality: str) -> None:
        """Compares the server's answer to a reference: a head that was never loaded would answer, too."""
        if modality not in self._served.reference:
            raise CannotServe(
                f"This checkpoint was not made for {modality} as a premise: its prompt has no part for it, or its "
                "projections were not trained."
            )
        input_ = reference_input(modality, self.processor)
        hypotheses = input_.pop("hypotheses")
        premise = self.processor.encode_premise(input_, keep_media=True)
        prompt = None if modality == "text" else MediaPrompt(self._served, premise)
        tokens = prompt_tokens(self.processor, premise, hypotheses)
        logits = self._logits(client, tokens, prompt, hypotheses)
        expected = torch.tensor(self._served.reference[modality])
        logits, expected = (values - values.mean(dim=1, keepdim=True) for values in (logits, expected))
        error = float((logits - expected).norm() / expected.norm())
        if not error <= LARGEST_ERROR:
            raise ServingError(
                f"{self.server} runs other weights than this checkpoint's, or without its confidence head: its logits "
                f"about a {modality} premise whose answer is known are off by {error:.0%}. Start it with the folder "
                f"named here and `--config {SERVER_FILE}` of that folder."
            )

    def _logits(
        self, client: httpx2.Client, tokens: list[list[int]], prompt: MediaPrompt | None, hypotheses: list[str]
    ) -> torch.Tensor:
        if prompt is None:
            return torch.tensor(self._ask(client, {"input": tokens}, sum(map(len, tokens)), len(tokens)))
        briefly = [prompt.messages(hypothesis, brief=True) for hypothesis in hypotheses]  # errors before any request

        def ask(place: int, *, brief: bool) -> list[float]:
            messages = briefly[place] if brief else prompt.messages(hypotheses[place])
            try:
                return self._ask(client, {"messages": messages, **prompt.options}, len(tokens[place]), 1)[0]
            except ServingError:
                if brief:  # the server has not kept the clip, or not for long
                    return ask(place, brief=False)
                raise

        rows = [ask(0, brief=False)]
        if len(tokens) > 1:
            with ThreadPoolExecutor(min(self.concurrency, len(tokens) - 1)) as pool:
                rows += pool.map(partial(ask, brief=True), range(1, len(tokens)))
        return torch.tensor(rows)

    def _ask(self, client: httpx2.Client, body: dict[str, Any], num_tokens: int, num_rows: int) -> list[list[float]]:
        """Asks for the logits of one or more prompts, and checks that as many tokens were read."""
        # Not the distribution: its smallest shares would be rounded to nothing.
        body = {"model": self.model, **body, "use_activation": False}
        try:
            response = client.post(f"{self.server}/classify", json=body)
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
            rows = [
                [float(value) for value in row["probs"]] for row in sorted(reply["data"], key=lambda row: row["index"])
            ]
            read = int(reply["usage"]["prompt_tokens"])
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ServingError(f"{self.server} gave a reply without classes: {self._short(response.text)}") from error
        sizes = {len(row) for row in rows}
        if len(rows) != num_rows or sizes != {self._served.num_bins}:
            raise ServingError(
                f"{self.server} gave {len(rows)} answers of {', '.join(map(str, sorted(sizes)))} classes, where "
                f"{num_rows} of {self._served.num_bins} were asked for: does it run this checkpoint?"
            )
        if read != num_tokens:
            raise ServingError(
                f"{self.server} read {read} tokens where this checkpoint's processor has {num_tokens}: does it run "
                "this checkpoint, with the tokenizer and the chat template of its folder?"
            )
        logits = torch.tensor(rows)
        if not bool(logits.isfinite().all()):
            raise ServingError(f"{self.server} gave logits that are not finite numbers.")
        return rows

    def _refusal(self, status: int, text: str) -> str:
        advice = {
            401: f" Put its key into ${self.api_key_env}.",
            403: f" Put a key it takes into ${self.api_key_env}.",
            404: f" Is {self.model!r} its `--served-model-name`, and was it started with `--config {SERVER_FILE}`?",
        }.get(status, "")
        if status == 400 and "trust-request-mm-kwargs" in text:
            advice = f" Start it with `--config {SERVER_FILE}` of the checkpoint's folder."
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
