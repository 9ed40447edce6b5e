"""The chat process: loads one model and answers requests over standard input and output.

One JSON line in, several out (``loading``, ``token`` …, ``done`` or ``error``). A thread keeps reading while an answer
is generated, so that it can be canceled. The process ends with its input.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from core.errors import InvalidInput, TunesmithError
from core.training.chat.models import Held, Request, key_of, open_model

log = logging.getLogger("tunesmith")

Emit = Callable[..., None]


class Stops:
    """Ends an answer at the first stop string. Text that may be the start of one is held back until that is known.

    Args:
        texts: Stop strings, none of them empty.
    """

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = texts
        self._waiting = ""

    def feed(self, piece: str) -> tuple[str, bool]:
        """The text that can be shown now, and whether a stop string was found."""
        self._waiting += piece
        found = [place for text in self._texts if (place := self._waiting.find(text)) >= 0]
        if found:
            return self._waiting[: min(found)], True
        keep = max((self._overlap(text) for text in self._texts), default=0)
        shown = self._waiting[: len(self._waiting) - keep]
        self._waiting = self._waiting[len(shown) :]
        return shown, False

    def rest(self) -> str:
        """The text still held back when the answer ended by itself."""
        rest, self._waiting = self._waiting, ""
        return rest

    def _overlap(self, text: str) -> int:
        longest = min(len(text) - 1, len(self._waiting))
        return next((size for size in range(longest, 0, -1) if self._waiting.endswith(text[:size])), 0)


@dataclass
class Server:
    """The loop: one model, one request at a time.

    Attributes:
        output: Where events go.
        waiting: Ids of requests that are not answered yet.
        cancelled: Those of them that were canceled.
    """

    output: TextIO
    requests: queue.Queue[dict[str, Any] | None] = field(default_factory=queue.Queue)
    stop: threading.Event = field(default_factory=threading.Event)
    current: str = ""
    waiting: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    held: Held | None = None
    key: str = ""

    def listen(self, lines: Iterator[str]) -> None:
        """Read input: a cancel takes effect immediately, other requests are queued."""
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            name = str(message.get("id", ""))
            if message.get("op") == "cancel":
                # Recorded before checking the current request, which checks this set after it became current.
                if name in self.waiting:
                    self.cancelled.add(name)
                if name == self.current:
                    self.stop.set()
            else:
                self.waiting.add(name)
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
        """Release the model's memory."""
        import gc

        self.held, self.key = None, ""
        gc.collect()

    def answer(self, message: dict[str, Any]) -> None:
        """Handle one request up to its ``done`` or ``error``."""
        self.stop.clear()
        self.current = str(message.get("id", ""))
        if self.current in self.cancelled:
            self.stop.set()
        try:
            self._answer(Request.read(message))
        except TunesmithError as error:
            self.emit("error", message=error.message, code=error.code)
        except Exception as error:  # noqa: BLE001  # the process boundary: the next request must be answered
            traceback.print_exc()
            self.unload()
            self.emit("error", message=_in_words(error), code="unavailable")
        finally:
            self.waiting.discard(self.current)
            self.cancelled.discard(self.current)
            self.current = ""

    def emit(self, event: str, **values: Any) -> None:
        """Write one event."""
        self.output.write(json.dumps({"id": self.current, "event": event, **values}, ensure_ascii=False) + "\n")
        self.output.flush()

    def _answer(self, request: Request) -> None:
        held = self._load(request.model)
        prompt = held.prompt(request.conversation)
        ids = held.tokens(prompt)
        limit = min(request.max_tokens, held.context - len(ids) - 1)
        if limit < 1:
            message = (
                f"The conversation has {len(ids)} tokens; this model's limit is {held.context}. Start a new "
                "conversation."
            )
            raise InvalidInput(message, field="messages")
        written = Writing(self, request, limit).write(held, ids)
        seen = segments(prompt.parts, held.special)
        self.emit("done", **written, prompt=prompt.text, prompt_tokens=len(ids), seen=seen)

    def _load(self, model: dict[str, Any]) -> Held:
        key = key_of(model)
        if self.held is None or key != self.key:
            self.emit("loading")
            self.unload()
            self.held, self.key = open_model(model), key
        self.held.use(model)
        return self.held


class Writing:
    """One answer while it is generated.

    Args:
        server: Receives the pieces, and knows about cancellation.
        request: The request.
        limit: Maximum tokens, within the model's context.
    """

    def __init__(self, server: Server, request: Request, limit: int) -> None:
        self._server, self._request, self._limit = server, request, limit
        self._stops = Stops(request.stop)
        self._started = time.perf_counter()
        self._text = ""
        self._tokens = 0

    def write(self, held: Held, ids: list[int]) -> dict[str, Any]:
        """Emit every piece, then return ``text``, ``tokens``, ``seconds``, ``first`` and ``finish``.

        ``first`` is the time to the first token in seconds; ``finish`` is ``stop`` (end token or stop
        string), ``length`` or ``cancelled``.
        """
        finish, first = "", 0.0
        for piece, tokens in held.stream(ids, self._limit, self._request, self._server.stop):
            if finish == "stop":
                continue  # the model generates one more token before it notices
            self._tokens, first = tokens, first or self._elapsed()
            shown, stopped = self._stops.feed(piece)
            self._show(shown)
            if stopped:
                finish = "stop"
                self._server.stop.set()
        if not finish:
            self._show(self._stops.rest())
            cancelled = self._server.stop.is_set()
            finish = "cancelled" if cancelled else "length" if self._tokens >= self._limit else "stop"
        facts = {"text": self._text, "tokens": self._tokens, "seconds": self._elapsed()}
        return {**facts, "first": first, "finish": finish}

    def _show(self, piece: str) -> None:
        if piece:
            self._text += piece
            self._server.emit("token", text=piece, tokens=self._tokens, seconds=self._elapsed())

    def _elapsed(self) -> float:
        return round(time.perf_counter() - self._started, 4)


def segments(parts: Sequence[str], special: list[str]) -> list[tuple[str, bool]]:
    """A prompt in pieces: each special token separate and marked, the text between them unchanged.

    >>> segments(["<|user|>Say <|", "end|>!<|end|>"], ["<|user|>", "<|end|>"])
    [('<|user|>', True), ('Say <|end|>!', False), ('<|end|>', True)]
    """
    names = sorted((name for name in special if name), key=len, reverse=True)
    pattern = "(" + "|".join(map(re.escape, names)) + ")" if names else "($^)"
    found: list[tuple[str, bool]] = []
    for part in parts:
        for place, text in enumerate(re.split(pattern, part)):
            known = place % 2 == 1
            if found and not known and not found[-1][1]:
                found[-1] = (found[-1][0] + text, False)
            elif text:
                found.append((text, known))
    return found


def serve() -> int:
    """The process: standard output is reserved for events, library output goes to the log."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, force=True)
    server = Server(output)
    threading.Thread(target=server.listen, args=(sys.stdin,), daemon=True).start()
    return server.run()


def _in_words(error: Exception) -> str:
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "There is not enough memory for this model. Choose a smaller one, or stop a training run first."
    if isinstance(error, FileNotFoundError):
        return "A file of this model was deleted or has just been replaced by a newer checkpoint. Try again."
    if "failed to load model from file" in str(error).lower():
        name = str(error).rpartition("/")[2]
        return (
            f"llama.cpp cannot load {name}: the file is incomplete or damaged, or this version of llama.cpp does "
            "not support it. Copy or export it again."
        )
    return f"The model failed to answer: {type(error).__name__}: {str(error)[:300]}"
