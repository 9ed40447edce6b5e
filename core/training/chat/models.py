"""The models that a chat process loads: one transformers model with its adapters, or one llama.cpp model."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from core.data.chat_template import Shown, show
from core.data.conversation import Conversation
from core.errors import InvalidInput, Unavailable
from core.settings import Settings
from core.weights import stamp, tokenizer_folder

MOST_ADAPTERS = 4
"""Adapters that stay loaded with one base; the oldest is evicted first."""
Piece = tuple[str, int]
"""New text, which is empty while a character needs more tokens, and tokens so far."""


@dataclass(frozen=True)
class Request:
    """One chat request.

    Attributes:
        id: Repeated in every event.
        model: ``{"kind": "transformers", "base", "adapter", "revision"?}`` or ``{"kind": "gguf", "path", "safe"?}``,
            where ``safe`` disables llama.cpp's extra buffers regardless of the self-test.
        messages: The conversation so far.
        tools: Schemas of functions that the model may call.
        temperature: 0 is greedy.
        top_p, top_k, min_p, repetition_penalty: Sampling settings; 1, 0, 0 and 1 are off.
        max_tokens: Longest answer.
        seed: None draws a new one for each answer.
        stop: Stop strings, not included in the answer.
    """

    id: str
    model: dict[str, Any]
    messages: list[dict[str, Any]]
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 256
    seed: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()

    @classmethod
    def read(cls, data: dict[str, Any]) -> Request:
        """From a decoded line; unknown fields are ignored."""
        known = cls.__dataclass_fields__
        given = {name: value for name, value in data.items() if name in known and value is not None}
        return cls(**{**given, **{name: tuple(given.get(name, ())) for name in ("stop", "tools")}})

    @property
    def conversation(self) -> Conversation:
        return Conversation(tuple(self.messages), self.tools)

    @property
    def drawn_from(self) -> int:
        """The seed, or a new one."""
        return self.seed if self.seed is not None else int.from_bytes(os.urandom(4))


class Held(Protocol):
    """A model in memory.

    Attributes:
        context: Maximum tokens of a conversation with its answer.
        special: Text of the special tokens, which are hidden from readers.
    """

    context: int

    @property
    def special(self) -> list[str]: ...

    def use(self, model: dict[str, Any]) -> None:
        """Switch to what this reference names: an adapter, or only the base."""

    def prompt(self, conversation: Conversation) -> Shown:
        """The rendered conversation, exactly as the model sees it."""

    def tokens(self, prompt: Shown) -> list[int]:
        """The prompt's tokens."""

    def stream(self, ids: list[int], limit: int, request: Request, stop: threading.Event) -> Iterator[Piece]:
        """Generate token by token until the end token, the limit or a stop string."""


class TransformersModel:
    """A base model with any number of adapters, at most one of them active."""

    def __init__(self, base: str, revision: str | None = None) -> None:
        from core.training.arguments import native_dtype
        from core.training.job.device import this_device, use_cores
        from core.training.models.load import load_base, load_tokenizer, plain_generation

        device = this_device()
        use_cores(device)
        self.model: Any = load_base(base, revision, dtype=native_dtype(device), device=device)
        self._own: Any = load_tokenizer(base, revision)
        plain_generation(self.model, self._own)
        self.tokenizer = self._own
        self.context = int(getattr(self.model.config, "max_position_embeddings", None) or 1 << 20)
        self._adapters: dict[str, tuple[str, Any]] = {}
        self._made = 0
        self._chosen: str | None = None

    @property
    def special(self) -> list[str]:
        added = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        return list(dict.fromkeys([*self.tokenizer.all_special_tokens, *added]))

    def use(self, model: dict[str, Any]) -> None:
        folder = model.get("adapter")
        if not folder:
            self.tokenizer, self._chosen = self._own, None
            return
        stamp = f"{folder}@{(Path(folder) / 'adapter_model.safetensors').stat().st_mtime_ns}"
        if stamp not in self._adapters:
            self._add(Path(folder), stamp)
        self._chosen, self.tokenizer = self._adapters[stamp]

    def prompt(self, conversation: Conversation) -> Shown:
        from core.training.method_rows import shown

        return shown(conversation, self.tokenizer)

    def tokens(self, prompt: Shown) -> list[int]:
        from core.training.method_rows import ids_of

        return ids_of(prompt, self.tokenizer)

    def stream(self, ids: list[int], limit: int, request: Request, stop: threading.Event) -> Iterator[Piece]:
        import torch

        torch.manual_seed(request.drawn_from)
        pieces: queue.Queue[Piece | BaseException | None] = queue.Queue()
        arguments = (torch.tensor([ids]), limit, request, stop, pieces)
        writer = threading.Thread(target=self._write, args=arguments, daemon=True)
        writer.start()
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
        writer.join()

    def _add(self, folder: Path, stamp: str) -> None:
        from peft import PeftModel

        from core.training.models.load import load_tokenizer

        place = tokenizer_folder(folder)
        tokenizer = load_tokenizer(str(place)) if place else self._own
        self._made += 1
        name = f"adapter{self._made}"
        try:
            if self._adapters:
                self.model.load_adapter(str(folder), adapter_name=name)
            else:
                self.model = PeftModel.from_pretrained(self.model, str(folder), adapter_name=name)
        except (RuntimeError, ValueError, KeyError) as error:
            message = f"The adapter does not fit this base model: {str(error).strip().splitlines()[0][:200]}"
            raise InvalidInput(f"{message} Enter the model it was trained on.") from error
        self.model.eval()
        self._adapters[stamp] = (name, tokenizer)
        self._drop_old(folder, stamp)

    def _drop_old(self, folder: Path, stamp: str) -> None:
        """An adapter that was trained further replaces its older version."""
        old = [key for key in self._adapters if key != stamp and key.rpartition("@")[0] == str(folder)]
        surplus = [key for key in self._adapters if key not in {stamp, *old}]
        self.model.set_adapter(self._adapters[stamp][0])
        for key in [*old, *surplus[: max(0, len(surplus) + 1 - MOST_ADAPTERS)]]:
            self.model.delete_adapter(self._adapters.pop(key)[0])

    def _write(self, ids: Any, limit: int, request: Request, stop: threading.Event, pieces: queue.Queue[Any]) -> None:
        from core.training.rollouts.generate import stream

        arguments = (self.model, self.tokenizer, ids, limit, request, stop, pieces.put)
        try:
            if self._chosen is not None:
                self.model.set_adapter(self._chosen)
                stream(*arguments)
            elif self._adapters:
                with self.model.disable_adapter():
                    stream(*arguments)
            else:
                stream(*arguments)
            pieces.put(None)
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits for it
            pieces.put(error)


class GgufModel:
    """A GGUF in llama.cpp, prompted with the chat template in the file."""

    CONTEXT = 4096

    def __init__(self, path: str, *, safe: bool = False) -> None:
        from core.training.llama.selftest import ensure

        outcome = ensure(Settings.from_env().home)
        if outcome.unusable:
            raise Unavailable(f"llama.cpp: {outcome.words()}")
        import llama_cpp

        from core.training.llama.params import defaults

        self.native = llama_cpp
        with defaults(extra_buffers=outcome.extra_buffers and not safe):
            self.model = llama_cpp.Llama(path, n_ctx=self.CONTEXT, n_threads=_cores(), n_gpu_layers=-1, verbose=False)
        self.context = self.CONTEXT
        self._special: list[str] | None = None

    @property
    def special(self) -> list[str]:
        if self._special is None:
            vocabulary = self.native.llama_model_get_vocab(self.model.model)
            control = self.native.llama_vocab_is_control
            found = [token for token in range(self.model.n_vocab()) if control(vocabulary, token)]
            self._special = [piece for token in found if (piece := self._piece(token))]
        return self._special

    def use(self, model: dict[str, Any]) -> None:
        """Does nothing: there is only one."""

    def prompt(self, conversation: Conversation) -> Shown:
        metadata = self.model.metadata
        special = {"bos_token": self._piece(self.model.token_bos()), "eos_token": self._piece(self.model.token_eos())}
        return show(conversation, metadata.get("tokenizer.chat_template"), special, self.special)

    def tokens(self, prompt: Shown) -> list[int]:
        return prompt.ids(lambda text: list(self.model.tokenize(text.encode(), add_bos=False, special=True)))

    def stream(self, ids: list[int], limit: int, request: Request, stop: threading.Event) -> Iterator[Piece]:
        self.model.set_seed(request.drawn_from)
        written: list[int] = []
        shown = text = ""
        for token in self._drawn(ids, request):
            if self._ends(token):
                break
            written.append(token)
            text = self.model.detokenize(written).decode(errors="replace")
            whole = shown if text.endswith("\ufffd") else text
            piece, shown = whole[len(shown) :], whole
            yield piece, len(written)
            if stop.is_set() or len(written) >= limit:
                break
        if text != shown:
            yield text[len(shown) :], len(written)

    def _drawn(self, ids: list[int], request: Request) -> Iterator[int]:
        # llama.cpp's own defaults (top-k 40, min-p 0.05) are disabled: only the requested settings apply.
        drawn: Iterator[int] = self.model.generate(
            ids, temp=request.temperature, top_p=request.top_p, top_k=request.top_k, min_p=request.min_p,
            repeat_penalty=request.repetition_penalty,
        )  # fmt: skip
        return drawn

    def _ends(self, token: int) -> bool:
        vocabulary = self.native.llama_model_get_vocab(self.model.model)
        return bool(self.native.llama_vocab_is_eog(vocabulary, token))

    def _piece(self, token: int) -> str:
        return str(self.model.detokenize([token], special=True).decode(errors="replace")) if token >= 0 else ""


def open_model(model: dict[str, Any]) -> Held:
    """Load the model of a resolved reference."""
    if model["kind"] == "gguf":
        return GgufModel(model["path"], safe=bool(model.get("safe")))
    return TransformersModel(model["base"], model.get("revision"))


def key_of(model: dict[str, Any]) -> str:
    """Key of what has to be loaded: equal for a base and all its adapters."""
    if model["kind"] == "gguf":
        return f"gguf {model['path']} {Path(model['path']).stat().st_mtime_ns}"
    return f"transformers {model['base']} {model.get('revision') or ''}{stamp(Path(model['base']))}"


def _cores() -> int:
    return len(os.sched_getaffinity(0))
