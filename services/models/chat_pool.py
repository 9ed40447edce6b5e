"""The pool of chat processes: one per distinct model, as many as memory allows."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from core.errors import TooManyRequests, Unavailable
from core.model import Device
from core.settings import Settings
from core.weights import stamp
from services.jobs.launcher import ENTRY
from services.models.chat_process import ChatProcess, Heard
from services.models.memory import PROCESS, memory_needed
from services.words import size

MOST_LOADED = 4
"""Models in memory at once, even with more memory: as many as the playground has sides."""
MOST_WAITING = 32
SPARE = 300_000_000
"""Bytes reserved for everything else."""
GPU_SETTLES = 2.0
"""Seconds until a reading of the GPU's memory reflects a release."""


class ChatPool:
    """Routes requests to the process with the model, and starts or ends processes as needed.

    One answer is generated at a time, in the order of requests: two models that run at once on the same device are
    each less than half as fast, and their tokens per second would be meaningless. A model that does not fit beside
    those in memory replaces the least recently used one.

    Args:
        settings: Settings for the processes' environment.
        device: The models' device and its free memory.
    """

    def __init__(self, settings: Settings, device: Callable[[], Device]) -> None:
        self._settings = settings
        self._device = device
        self._entry = ENTRY
        self._loaded: OrderedDict[str, ChatProcess] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._changed = threading.Condition()
        self._queue: deque[str] = deque()
        self._cancelled: set[str] = set()
        self._early: deque[str] = deque(maxlen=MOST_WAITING)
        """Ids canceled before they were queued."""
        self._at: ChatProcess | None = None
        self._leave = False

    def use(self, entry: Path) -> None:
        """Use another script than the project's."""
        self._entry = entry

    @property
    def loaded(self) -> tuple[str, ...]:
        """The models in memory, least recently used first."""
        with self._changed:
            return tuple(self._loaded)

    def ask(self, request: dict[str, Any], heard: Heard) -> None:
        """Forward a request when it is its turn, and its events back.

        Before those of :class:`services.models.chat_process.ChatProcess` there may be ``waiting``, with the number
        ``ahead``.

        Raises:
            TooManyRequests: Too many are already queued.
            Unavailable: There is not enough memory, even with nothing else loaded.
        """
        name = request["id"]
        ahead = self._enter(name)
        if ahead:
            heard({"id": name, "event": "waiting", "ahead": ahead})
        try:
            self._answer(name, request, heard)
        finally:
            with self._changed:
                self._queue.remove(name)
                self._cancelled.discard(name)
                leave, self._leave = self._leave, False
                self._changed.notify_all()
            if leave:
                self.release()

    def cancel(self, name: str) -> None:
        """End a request early, whether it is queued or being answered."""
        with self._changed:
            if name not in self._queue:
                self._early.append(name)
                return
            self._cancelled.add(name)
            process = self._at if self._queue[0] == name else None
            self._changed.notify_all()
        if process:
            process.cancel(name)

    def release(self) -> None:
        """Release every model's memory; one that is answering is released afterwards."""
        with self._changed:
            busy = self._at
            self._leave = busy is not None
            going = [key for key, process in self._loaded.items() if process is not busy]
            processes = [self._loaded.pop(key) for key in going]
        for process in processes:
            process.release()

    def close(self) -> None:
        """End every process."""
        with self._changed:
            processes = list(self._loaded.values())
            self._loaded.clear()
        for process in processes:
            process.close()

    def _enter(self, name: str) -> int:
        with self._changed:
            if len(self._queue) >= MOST_WAITING:
                raise TooManyRequests("Too many requests are waiting. Try again in a moment.")
            self._queue.append(name)
            if name in self._early:
                self._early.remove(name)
                self._cancelled.add(name)
            return len(self._queue) - 1

    def _answer(self, name: str, request: dict[str, Any], heard: Heard) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue[0] == name or name in self._cancelled)
            gone = name in self._cancelled
        if not gone:
            process = self._process(request["model"])
            with self._changed:
                gone = name in self._cancelled
        try:
            if gone:
                nothing = {"text": "", "tokens": 0, "seconds": 0.0, "finish": "cancelled"}
                heard({"id": name, "event": "done", **nothing})
            else:
                process.ask(request, heard)
        finally:
            with self._changed:
                self._at = None if self._queue[0] == name else self._at

    def _process(self, model: dict[str, Any]) -> ChatProcess:
        key = _key(model)
        with self._changed:
            found = self._loaded.get(key)
            if found is not None and found.alive:
                self._loaded.move_to_end(key)
                self._at = found
                return found
        need = memory_needed(model, self._device(), self._settings.home) or PROCESS
        self._free_device(model, need)
        process = ChatProcess(self._settings, self._entry)
        with self._changed:
            self._loaded[key] = self._at = process
            self._sizes[key] = need
        return process

    def _free_device(self, model: dict[str, Any], need: int) -> None:
        with self._changed:
            for key in [key for key, process in self._loaded.items() if not process.alive]:
                self._loaded.pop(key).close()
            held = sum(self._sizes[key] for key in self._loaded)
        # Nothing is evicted for a model that would still not fit.
        if need + SPARE > self._free(model) + held:
            raise Unavailable(too_little(need, self._free(model) + held, self._device()))
        while len(self._loaded) >= MOST_LOADED or need + SPARE > self._free(model):
            if not self._evict():
                raise Unavailable(too_little(need, self._free(model), self._device()))

    def _evict(self) -> bool:
        """End the least recently used process. It is this request's turn, so none is answering."""
        with self._changed:
            if not self._loaded:
                return False
            _, process = self._loaded.popitem(last=False)
        process.close()
        if self._device().kind == "cuda":
            time.sleep(GPU_SETTLES)
        return True

    def _free(self, model: dict[str, Any]) -> int:
        """llama.cpp may be built without GPU support: for it the machine's own memory counts."""
        return psutil.virtual_memory().available if model["kind"] == "gguf" else self._device().free


def too_little(need: int, free: int, device: Device) -> str:
    """Why a model was not loaded, and what would help."""
    where = "on the GPU" if device.kind == "cuda" else "in this machine's memory"
    return (
        f"This model needs about {size(need)}, and {size(max(0, free - SPARE))} is free {where}. It was not loaded. "
        "Wait until a training run ends, close other programs, or choose a smaller model or a quantized GGUF."
    )


def _key(model: dict[str, Any]) -> str:
    """A base and all its adapters share a process; a rewritten file or folder gets a new one."""
    if model["kind"] == "gguf":
        return f"{model['path']} {Path(model['path']).stat().st_mtime_ns}"
    return f"{model['base']} {model.get('revision') or ''}{stamp(Path(model['base']))}"
