"""Rollouts with transformers' ``generate``, the engine that works for every model.

:mod:`core.training.rollouts.engine` defines engines and selects one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from core.config import RunConfig


@dataclass(frozen=True)
class Sampling:
    """Sampling settings.

    Attributes:
        max_new_tokens: Longest completion.
        temperature: 0 always takes the most likely token (greedy); the other settings are then unused.
        top_p, top_k, min_p, repetition_penalty: As in the configuration; 1, 0, None, 1 are off.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float | None = None
    repetition_penalty: float = 1.0


def training_sampling(config: RunConfig) -> Sampling:
    """Sampling settings of a training run."""
    training = config.training
    return Sampling(
        max_new_tokens=training.max_new_tokens,
        temperature=training.temperature,
        top_p=training.top_p,
        top_k=training.top_k,
        min_p=training.min_p,
        repetition_penalty=training.repetition_penalty,
    )


@dataclass(frozen=True)
class Completions:
    """Completions of one call, in the order of the prompts.

    Attributes:
        tokens: Token ids of each completion, its end token included; one without an end token was truncated.
        log_probabilities: For each of these tokens its log-probability in nats under the
            distribution that it was sampled from, as a trainer can recompute it: with the temperature
            applied, before top-k, top-p, min-p and the repetition penalty. With temperature 0, that of the
            unscaled logits. Same lengths as ``tokens``. None if the engine does not provide them.
    """

    tokens: list[list[int]]
    log_probabilities: list[list[float]] | None = None


class Interrupted(Exception):
    """Generation was stopped immediately; incomplete completions are discarded."""


class TransformersEngine:
    """Generates with the model being trained, including its adapter.

    It reports no log-probabilities. The sampling model is the trained one, so the trainer's own pass computes the
    same numbers; collecting them here would keep the logits of every token (completions x tokens x vocabulary) until
    the round ends, or cost a second pass.

    Args:
        model: A causal language model, with or without an adapter.
        tokenizer: Its tokenizer.
        interrupted: Called after every token; if it returns true, :class:`Interrupted` is raised.
    """

    checks = False
    batch = 16

    def __init__(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, interrupted: Callable[[], bool] = lambda: False
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.interrupted = interrupted
        self.end_ids = end_ids(model, tokenizer)

    def generate(self, prompt_ids: Sequence[Sequence[int]], sampling: Sampling) -> Completions:
        """One completion per prompt, in one batch.

        Args:
            prompt_ids: Token ids of each prompt, of any length.
            sampling: Sampling settings.

        Raises:
            Interrupted: The job must end immediately.
        """
        inputs = self._pad(prompt_ids)
        with evaluating(self.model), torch.no_grad():
            output = self.model.generate(
                **inputs,
                generation_config=self.config(sampling),
                stopping_criteria=StoppingCriteriaList([_Interrupt(self.interrupted)]),
            )
        written = output[:, inputs["input_ids"].shape[1] :].tolist()
        return Completions([self._trim(ids) for ids in written])

    def fall_back(self, kl: float) -> None:
        """Do nothing: this engine samples from the trained model itself, so there is no fallback."""

    def close(self) -> None:
        """Do nothing: the only resource is the model, which belongs to the caller."""

    def cut_off(self, ids: Sequence[int]) -> bool:
        """Whether a completion was truncated: it reached the length limit before an end token."""
        return not ids or ids[-1] not in self.end_ids

    def text(self, ids: Sequence[int]) -> str:
        """A completion as text, without special tokens, for rewards and users."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def _pad(self, prompt_ids: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        longest = max(len(ids) for ids in prompt_ids)
        pad = self.tokenizer.pad_token_id
        padded = [[pad] * (longest - len(ids)) + list(ids) for ids in prompt_ids]
        mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompt_ids]
        device = self.model.device
        return {
            "input_ids": torch.tensor(padded, device=device),
            "attention_mask": torch.tensor(mask, device=device),
        }

    def config(self, sampling: Sampling) -> GenerationConfig:
        """Generation settings for transformers, all of them explicit."""
        shared = {
            "max_new_tokens": sampling.max_new_tokens,
            "repetition_penalty": sampling.repetition_penalty,
            "eos_token_id": sorted(self.end_ids),
            "pad_token_id": self.tokenizer.pad_token_id,
            "bos_token_id": self.tokenizer.bos_token_id,
            "use_cache": True,
            "disable_compile": True,
        }
        if sampling.temperature == 0:
            return GenerationConfig(do_sample=False, **shared)
        return GenerationConfig(
            do_sample=True,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            **shared,
        )

    def _trim(self, ids: list[int]) -> list[int]:
        end = next((place for place, token in enumerate(ids) if token in self.end_ids), len(ids) - 1)
        return ids[: end + 1]


def end_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """All end tokens: the tokenizer's and those that the model declares."""
    declared = model.generation_config.eos_token_id
    ids = declared if isinstance(declared, list) else [declared]
    return {int(token) for token in [*ids, tokenizer.eos_token_id] if token is not None}


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The model in evaluation mode, without dropout."""
    # Gradient checkpointing, which would disable the cache, has no effect then either.
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


class _Interrupt(StoppingCriteria):
    def __init__(self, interrupted: Callable[[], bool]) -> None:
        self._interrupted = interrupted

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        if self._interrupted():
            raise Interrupted
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def stream(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    ids: torch.Tensor,
    limit: int,
    request: Any,
    stop: threading.Event,
    put: Callable[[tuple[str, int]], None],
) -> None:
    """One answer, streamed token by token.

    Args:
        model, tokenizer: The model that answers.
        ids: The prompt's tokens, shape (1, tokens).
        limit: Maximum tokens of the answer.
        request: With ``temperature``, ``top_p``, ``top_k``, ``min_p`` and ``repetition_penalty``.
        stop: Ends the answer after the current token.
        put: Called with (new text, tokens so far).
    """
    engine = TransformersEngine(model, tokenizer)
    sampling = Sampling(
        limit,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        min_p=request.min_p or None,
        repetition_penalty=request.repetition_penalty,
    )
    pieces = _Pieces(engine, put)
    ids = ids.to(model.device)
    with torch.no_grad():
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=engine.config(sampling),
            stopping_criteria=StoppingCriteriaList([_Stop(stop)]),
            streamer=pieces,
        )


class _Pieces(BaseStreamer):
    """Decodes tokens to text, holding back characters of several tokens until they are complete."""

    def __init__(self, engine: TransformersEngine, put: Callable[[tuple[str, int]], None]) -> None:
        self._engine, self._put = engine, put
        self._prompt = True
        self._ids: list[int] = []
        self._shown = self._text = ""

    def put(self, value: torch.Tensor) -> None:
        if self._prompt:  # transformers passes the prompt first
            self._prompt = False
            return
        new = [token for token in value.flatten().tolist() if token not in self._engine.end_ids]
        self._ids += new
        self._text = self._engine.text(self._ids)
        if new:
            self._hand_over(self._shown if self._text.endswith("\ufffd") else self._text)

    def end(self) -> None:
        """The held-back text of an incomplete character."""
        if self._text != self._shown:
            self._hand_over(self._text)

    def _hand_over(self, whole: str) -> None:
        piece, self._shown = whole[len(self._shown) :], whole
        self._put((piece, len(self._ids)))


class _Stop(StoppingCriteria):
    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        shape = (input_ids.shape[0],)
        return torch.full(shape, self._stop.is_set(), dtype=torch.bool, device=input_ids.device)
