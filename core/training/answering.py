"""Who answers in an evaluation: a model in transformers, or a GGUF in a llama.cpp process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from core.errors import NotFound, Unavailable
from core.evaluation import EvaluationSpec
from core.settings import PROJECT
from core.training.generate import Interrupted, Sampling, TransformersEngine

TRIES = 3
"""A file that has answered none of this many prompts is not asked the rest."""
ENTRY = PROJECT / "core" / "training" / "__main__.py"
Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Written:
    """One answer.

    Attributes:
        prompt: The conversation as the model saw it.
        text, tokens: What it wrote.
        cut_off: Whether it reached the length limit.
        problem: Why there is no answer; '' where there is one.
    """

    prompt: str
    text: str = ""
    tokens: int = 0
    cut_off: bool = False
    problem: str = ""


class Answerer(Protocol):
    """A loaded model."""

    batch: int
    """How many conversations it answers at once."""

    def answer(self, conversations: Sequence[Messages], seed: int) -> list[Written]:
        """One answer each. Raises Interrupted where it was told to end at once."""

    def close(self) -> None:
        """Give the memory back."""


class InTransformers:
    """Answers with transformers. Models that share a base load it once.

    Args:
        spec: How answers are drawn, and the chat template where the training had one of its own.
        interrupted: Asked after every token.
    """

    batch = 16

    def __init__(self, spec: EvaluationSpec, interrupted: Callable[[], bool]) -> None:
        self._spec, self._interrupted = spec, interrupted
        self._base: tuple[str, str | None] = ("", None)
        self._model: Any = None
        self._engine: TransformersEngine | None = None

    def use(self, resolved: dict[str, Any]) -> None:
        """Load a base, or keep the one that is there, and put an adapter on it."""
        from peft import PeftModel

        from core.training.load import load_tokenizer, plain_generation

        base, adapter, revision = str(resolved["base"]), resolved.get("adapter"), resolved.get("revision")
        if adapter and not Path(adapter).is_dir():
            raise NotFound(f"The adapter in {adapter} is gone: its run or checkpoint was deleted meanwhile.")
        if (base, revision) != self._base:
            self.close()
            self._model, self._base = _load(base, revision), (base, revision)
        elif isinstance(self._model, PeftModel):
            self._model = self._model.unload()
        if adapter:
            self._model = PeftModel.from_pretrained(self._model, adapter)
        # The adapter's folder holds the tokenizer and chat template that it was trained with.
        own = adapter if adapter and (Path(adapter) / "tokenizer_config.json").is_file() else base
        tokenizer = load_tokenizer(str(own), None if own == adapter else revision)
        tokenizer.chat_template = self._spec.dataset.chat_template or tokenizer.chat_template
        plain_generation(self._model, tokenizer)
        self._model.eval()
        self._engine = TransformersEngine(self._model, tokenizer, self._interrupted)

    def answer(self, conversations: Sequence[Messages], seed: int) -> list[Written]:
        import torch

        from core.training.prepare import encode, rendered

        engine = self._engine
        if engine is None:
            raise RuntimeError("use() comes before answer()")
        prompts = [rendered(messages, engine.tokenizer) for messages in conversations]
        ids = [encode(prompt, engine.tokenizer) for prompt in prompts]
        found = [Written(prompt, problem=self._problem(len(one))) for prompt, one in zip(prompts, ids, strict=True)]
        fitting = [place for place, one in enumerate(found) if not one.problem]
        if not fitting:
            return found
        spec = self._spec
        torch.manual_seed(seed)
        sampling = Sampling(spec.max_new_tokens, temperature=spec.temperature, top_p=spec.top_p)
        answers = engine.generate([ids[place] for place in fitting], sampling)
        for place, answer in zip(fitting, answers, strict=True):
            found[place] = Written(prompts[place], engine.text(answer), len(answer), engine.cut_off(answer))
        return found

    def close(self) -> None:
        import gc

        self._model, self._engine, self._base = None, None, ("", None)
        gc.collect()

    def _problem(self, tokens: int) -> str:
        room = getattr(self._model.config, "max_position_embeddings", None)
        if tokens and (not room or tokens + self._spec.max_new_tokens <= room):
            return ""
        if not tokens:
            return "The prompt is empty."
        return (
            f"The prompt has {tokens} tokens; with an answer of up to {self._spec.max_new_tokens} it passes the "
            f"{room} that this model can hold."
        )


class InLlama:
    """Answers with llama.cpp, in the process that the playground uses: it ends its process on an error.

    Args:
        path: The GGUF.
        spec, interrupted: As for :class:`InTransformers`; the chat template is the file's own.
    """

    batch = 1

    def __init__(self, path: str, spec: EvaluationSpec, interrupted: Callable[[], bool]) -> None:
        self._path, self._spec, self._interrupted = path, spec, interrupted
        self._count, self._answered = 0, 0
        # In this worker's process group: whoever ends the worker ends it too. It also ends with its input.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(ENTRY), "chat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def answer(self, conversations: Sequence[Messages], seed: int) -> list[Written]:
        return [self._one(messages, seed + place) for place, messages in enumerate(conversations)]

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def _one(self, messages: Messages, seed: int) -> Written:
        spec, self._count = self._spec, self._count + 1
        request = {
            "op": "generate",
            "id": str(self._count),
            "model": {"kind": "gguf", "path": self._path},
            "messages": messages,
            "temperature": spec.temperature,
            "top_p": spec.top_p,
            "max_tokens": spec.max_new_tokens,
            "seed": seed,
        }
        event = self._ask(request)
        if event["event"] == "error":
            return self._without(str(event.get("message") or "llama.cpp could not answer."))
        self._answered += 1
        tokens = int(event.get("tokens", 0))
        return Written(str(event.get("prompt", "")), str(event["text"]), tokens, tokens >= spec.max_new_tokens)

    def _without(self, problem: str) -> Written:
        if self._count >= TRIES and not self._answered:
            raise Unavailable(f"{Path(self._path).name} answered none of the first {TRIES} prompts. {problem}")
        return Written("", problem=problem)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The last event of an answer."""
        asked, heard = self._process.stdin, self._process.stdout
        if asked is None or heard is None:
            raise RuntimeError("the process was started without pipes")
        try:
            asked.write(json.dumps(request) + "\n")
            asked.flush()
        except OSError:
            raise self._gone() from None
        for line in heard:
            if self._interrupted():
                raise Interrupted
            event: dict[str, Any] = json.loads(line)
            if event.get("id") == request["id"] and event.get("event") in {"done", "error"}:
                return event
        raise self._gone()

    def _gone(self) -> Unavailable:
        name, code = Path(self._path).name, self._process.wait()
        return Unavailable(
            f"llama.cpp ended while it answered with {name} (exit code {code}). What was answered before is kept. "
            "Export the file again, or leave it out; the log has the details."
        )


def _load(base: str, revision: str | None) -> Any:
    from core.training.arguments import native_dtype
    from core.training.device import this_device
    from core.training.load import load_base

    device = this_device()
    return load_base(base, revision, dtype=native_dtype(device), device=device)
