"""The chat process: holds one model, answers requests over standard input and output.

One JSON line in, JSON lines out (``loading``, ``token`` …, ``done`` or ``error``). A thread listens
while an answer is written, so that a cancel is heard. The process ends when its input does.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from core.errors import InvalidInput, TunesmithError

log = logging.getLogger("tunesmith")

Emit = Callable[..., None]


@dataclass(frozen=True)
class Request:
    """One question.

    Attributes:
        id: Repeated in every event.
        model: ``{"kind": "transformers", "base", "adapter"}`` or ``{"kind": "gguf", "path"}``.
        messages: The conversation so far.
        temperature: 0 is greedy.
        top_p, max_tokens, seed: As their names say; without a seed every answer is drawn anew.
    """

    id: str
    model: dict[str, Any]
    messages: list[dict[str, str]]
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int | None = None

    @classmethod
    def read(cls, data: dict[str, Any]) -> Request:
        """From a decoded line; unknown names are left out."""
        known = cls.__dataclass_fields__
        return cls(**{name: value for name, value in data.items() if name in known and value is not None})


class Held(Protocol):
    """A model in memory."""

    def prompt(self, messages: list[dict[str, str]]) -> str:
        """The conversation exactly as the model sees it."""

    def stream(self, prompt: str, request: Request, stop: threading.Event) -> Iterator[tuple[str, int]]:
        """(new text, tokens so far) until the end, the limit or a stop."""


@dataclass
class Server:
    """The loop: one model, one request at a time.

    Attributes:
        output: Where events go.
    """

    output: TextIO
    requests: queue.Queue[dict[str, Any] | None] = field(default_factory=queue.Queue)
    stop: threading.Event = field(default_factory=threading.Event)
    current: str = ""
    held: Held | None = None
    key: str = ""

    def listen(self, lines: Iterator[str]) -> None:
        """Sort what comes in: a cancel acts at once, the rest waits its turn."""
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if message.get("op") == "cancel":
                if message.get("id") == self.current:
                    self.stop.set()
            else:
                self.requests.put(message)
        self.requests.put(None)

    def run(self) -> int:
        """Answer until the input ends."""
        while (message := self.requests.get()) is not None:
            if message.get("op") == "unload":
                self.unload()
            elif message.get("op") == "generate":
                self.answer(message)
        return 0

    def unload(self) -> None:
        """Give the model's memory back."""
        import gc

        self.held, self.key = None, ""
        gc.collect()

    def answer(self, message: dict[str, Any]) -> None:
        """One request, to its ``done`` or ``error``."""
        self.stop.clear()
        self.current = str(message.get("id", ""))
        try:
            self._answer(Request.read(message))
        except TunesmithError as error:
            self.emit("error", message=error.message)
        except Exception as error:  # noqa: BLE001  # the process boundary: the next request must be answered
            traceback.print_exc()
            self.unload()
            self.emit("error", message=_in_words(error))
        finally:
            self.current = ""

    def emit(self, event: str, **values: Any) -> None:
        """Write one event."""
        self.output.write(json.dumps({"id": self.current, "event": event, **values}, ensure_ascii=False) + "\n")
        self.output.flush()

    def _answer(self, request: Request) -> None:
        held = self._load(request.model)
        prompt = held.prompt(request.messages)
        started = time.perf_counter()
        tokens, text = 0, ""
        for piece, so_far in held.stream(prompt, request, self.stop):
            text, tokens = text + piece, so_far
            if piece:
                self.emit("token", text=piece)
        self.emit("done", text=text, tokens=tokens, seconds=time.perf_counter() - started, prompt=prompt)

    def _load(self, model: dict[str, Any]) -> Held:
        key = _key(model)
        if self.held is None or key != self.key:
            self.emit("loading")
            self.unload()
            self.held, self.key = _open(model), key
        if isinstance(self.held, TransformersModel):
            self.held.use_adapter(model.get("adapter"))
        return self.held


class TransformersModel:
    """A base model with any number of adapters, of which one or none is in use."""

    def __init__(self, base: str) -> None:
        from core.training.arguments import native_dtype
        from core.training.device import this_device, use_cores
        from core.training.load import load_base, load_tokenizer, plain_generation

        device = this_device()
        use_cores(device)
        self.model: Any = load_base(base, dtype=native_dtype(device), device=device)
        self.tokenizer = load_tokenizer(base)
        plain_generation(self.model, self.tokenizer)
        self._adapters: dict[str, str] = {}
        self._chosen: str | None = None

    def use_adapter(self, folder: str | None) -> None:
        """Answer with this adapter, or with the base alone."""
        stamp = folder and f"{folder}@{(Path(folder) / 'adapter_model.safetensors').stat().st_mtime_ns}"
        if folder and stamp and stamp not in self._adapters:
            self._add(folder, stamp)
        self._chosen = self._adapters[stamp] if stamp else None

    def prompt(self, messages: list[dict[str, str]]) -> str:
        from core.training.prepare import rendered

        return rendered(messages, self.tokenizer)

    def stream(self, prompt: str, request: Request, stop: threading.Event) -> Iterator[tuple[str, int]]:
        import torch

        ids = self.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        torch.manual_seed(request.seed if request.seed is not None else int.from_bytes(os.urandom(4)))
        pieces: queue.Queue[tuple[str, int] | BaseException | None] = queue.Queue()
        writer = threading.Thread(target=self._write, args=(ids, request, stop, pieces), daemon=True)
        writer.start()
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
        writer.join()

    def _add(self, folder: str, stamp: str) -> None:
        from peft import PeftModel

        name = f"adapter{len(self._adapters)}"
        if self._adapters:
            self.model.load_adapter(folder, adapter_name=name)
        else:
            self.model = PeftModel.from_pretrained(self.model, folder, adapter_name=name)
        self.model.eval()
        self._adapters[stamp] = name

    def _write(self, ids: Any, request: Request, stop: threading.Event, pieces: queue.Queue[Any]) -> None:
        from core.training.generate import stream

        try:
            if self._chosen is not None:
                self.model.set_adapter(self._chosen)
                stream(self.model, self.tokenizer, ids, request, stop, pieces.put)
            elif self._adapters:
                with self.model.disable_adapter():
                    stream(self.model, self.tokenizer, ids, request, stop, pieces.put)
            else:
                stream(self.model, self.tokenizer, ids, request, stop, pieces.put)
            pieces.put(None)
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits for it
            pieces.put(error)


class GgufModel:
    """A GGUF in llama.cpp, asked with the chat template that the file holds."""

    CONTEXT = 4096

    def __init__(self, path: str) -> None:
        import llama_cpp

        self.native = llama_cpp
        self.model = llama_cpp.Llama(path, n_ctx=self.CONTEXT, n_threads=_cores(), n_gpu_layers=-1, verbose=False)

    def prompt(self, messages: list[dict[str, str]]) -> str:
        from core.data.prompts import render

        metadata = self.model.metadata
        special = {"bos_token": self._piece(self.model.token_bos()), "eos_token": self._piece(self.model.token_eos())}
        return render(messages, metadata.get("tokenizer.chat_template"), special)

    def stream(self, prompt: str, request: Request, stop: threading.Event) -> Iterator[tuple[str, int]]:
        ids = self.model.tokenize(prompt.encode(), add_bos=False, special=True)
        if len(ids) + 1 >= self.CONTEXT:
            words = f"The conversation has {len(ids)} tokens; this chat holds {self.CONTEXT}. Start a new one."
            raise InvalidInput(words)
        self.model.set_seed(request.seed if request.seed is not None else int.from_bytes(os.urandom(4)))
        written: list[int] = []
        shown = ""
        limit = min(request.max_tokens, self.CONTEXT - len(ids) - 1)
        for token in self._tokens(ids, request):
            if stop.is_set() or len(written) >= limit or self._ends(token):
                return
            written.append(token)
            text = self.model.detokenize(written).decode(errors="replace")
            if not text.endswith("\ufffd"):
                piece, shown = text[len(shown) :], text
                yield piece, len(written)

    def _tokens(self, ids: list[int], request: Request) -> Iterator[int]:
        # llama.cpp's own defaults (top-k 40, min-p 0.05) are switched off: what was asked for is what is done.
        drawn: Iterator[int] = self.model.generate(
            ids, temp=request.temperature, top_p=request.top_p, top_k=0, min_p=0.0, repeat_penalty=1.0
        )
        return drawn

    def _ends(self, token: int) -> bool:
        vocabulary = self.native.llama_model_get_vocab(self.model.model)
        return bool(self.native.llama_vocab_is_eog(vocabulary, token))

    def _piece(self, token: int) -> str:
        return str(self.model.detokenize([token], special=True).decode(errors="replace")) if token >= 0 else ""


def serve() -> int:
    """The process: standard output is kept for events, whatever a library prints goes to the log."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, force=True)
    server = Server(output)
    threading.Thread(target=server.listen, args=(sys.stdin,), daemon=True).start()
    return server.run()


def _open(model: dict[str, Any]) -> Held:
    if model["kind"] == "gguf":
        return GgufModel(model["path"])
    return TransformersModel(model["base"])


def _key(model: dict[str, Any]) -> str:
    if model["kind"] == "gguf":
        return f"gguf {model['path']} {Path(model['path']).stat().st_mtime_ns}"
    return f"transformers {model['base']}"


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _in_words(error: Exception) -> str:
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "There was not enough memory for this model. Choose a smaller one, or end a running training first."
    return f"The model could not answer: {type(error).__name__}: {str(error)[:300]}"
