"""Base models to choose from, trained ones to chat with."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from typing import Any

from core.data.conversation import strings_in
from core.errors import InvalidInput, NotFound, TunesmithError, Unavailable
from core.job import ENDED, JobKind
from core.job_dir import JobDir, read_model
from core.kept import Kept
from core.methods import method_of
from core.model import BaseModelInfo, local_folder
from core.settings import Home, Settings
from core.weights import published
from services.jobs.database import Database, Job
from services.jobs.facts import JobFacts
from services.jobs.names import titles
from services.machine.system import System
from services.models.chat_pool import ChatPool
from services.models.chat_process import Heard
from services.models.families import BASE_MODELS, estimate
from services.models.local_models import LocalModel, local_models
from services.models.memory import snapshot
from services.models.references import References
from services.models.support import converts


@dataclass(frozen=True)
class BaseModelView:
    """One base model and whether this machine can train it.

    Attributes:
        info: Its description.
        memory: Bytes that training takes with the defaults: in 16-bit on a GPU, in 32-bit on a CPU.
        memory_16bit: The same loaded in 16-bit.
        memory_4bit: The same loaded in 4-bit; None on a machine without an NVIDIA GPU.
        available: Bytes available on this machine.
        fits: Whether it fits, in 4-bit if necessary.
        needs_4bit: Whether it fits only in 4-bit.
        here: Whether it works offline.
        gguf: Whether it can be exported as GGUF; None if unknown.
    """

    info: BaseModelInfo
    memory: int
    memory_16bit: int
    memory_4bit: int | None
    available: int
    fits: bool
    needs_4bit: bool
    here: bool
    gguf: bool | None

    def json(self) -> dict[str, Any]:
        data = asdict(self)
        return {**data.pop("info"), **data, "model_path": self.info.name, "kind": "base"}


@dataclass(frozen=True)
class TrainedModel:
    """A run with a trained model. ``model_path`` is its reference for chat and test, ``title`` is unique."""

    model_path: str
    session_id: str
    name: str
    title: str
    base: str
    created_at: str
    status: str
    step: int
    reward: float | None

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "kind": "trained"}


RANGES: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0, 5),
    ("top_p", 0, 1),
    ("top_k", 0, 1000),
    ("min_p", 0, 1),
    ("repetition_penalty", 0.1, 5),
    ("max_tokens", 1, 8192),
    ("seed", 0, 2**32 - 1),
)
"""Lowest and highest value of each sampling setting."""
SAMPLING = tuple(name for name, _, _ in RANGES)
SAMPLING_TITLES = {
    "temperature": "Temperature", "top_p": "Top-p", "top_k": "Top-k", "min_p": "Min-p",
    "repetition_penalty": "Repetition penalty", "max_tokens": "Maximum length", "seed": "Seed",
}  # fmt: skip
"""Their names for users."""


@dataclass(frozen=True)
class Chat:
    """One chat request.

    Attributes:
        model_path: A reference; see :class:`services.models.references.References`.
        messages: ``role`` and ``content`` each; see :class:`core.data.conversation.Conversation`.
        temperature: 0 always picks the most likely token.
        max_tokens: Longest answer.
        top_p: 1 is off.
        top_k: 0 is off.
        min_p: 0 is off.
        repetition_penalty: 1 is off.
        seed: For a reproducible answer.
        stop: Stop strings.
        tools: Schemas of functions that the model may call.
        id: Identifies the request for :meth:`Models.cancel`.
    """

    model_path: str
    messages: tuple[dict[str, Any], ...]
    temperature: float = 0.7
    max_tokens: int = 256
    top_p: float = 1.0
    seed: int | None = None
    id: str = ""
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()


class Models:
    """Operations on models.

    Args:
        settings: Settings with the home folder, for the chat processes.
        database: Has the trained models.
        system: This machine's memory and device.
    """

    def __init__(self, settings: Settings, database: Database, system: System) -> None:
        self._home: Home = settings.home
        self._database = database
        self._system = system
        self._references = References(settings.home, database)
        self.pool = ChatPool(settings, system.device)

    def families(self) -> list[BaseModelView]:
        """The base models, smallest first within a family, with their needs on this machine."""
        return [self.view(info, here=self._is_here(info.name)) for info in BASE_MODELS]

    def local(self) -> list[LocalModel]:
        """Models on this machine: the built-in one, complete downloads, and folders used in runs."""
        used = [job.model for job in self._database.jobs(JobKind.TRAIN)]
        return local_models(self._home, used)

    def view(self, info: BaseModelInfo, *, here: bool) -> BaseModelView:
        """A base model with its needs on this machine."""
        device = self._system.device()
        full = estimate(info.parameters, device).total
        small = estimate(info.parameters, device, four_bit=True).total if device.kind == "cuda" else None
        return BaseModelView(
            info=info,
            memory=full,
            memory_16bit=estimate(info.parameters, device, half=True).total,
            memory_4bit=small,
            available=device.memory,
            fits=full <= device.memory or (small is not None and small <= device.memory),
            needs_4bit=full > device.memory and small is not None and small <= device.memory,
            here=here,
            gguf=converts(info.architecture),
        )

    def _is_here(self, name: str) -> bool:
        try:
            return bool(local_folder(name, self._home) or snapshot(name, self._home))
        except TunesmithError:
            return False

    def trained(self) -> list[TrainedModel]:
        """Runs with a trained model to chat with, newest first."""
        return self._saved("language")

    def scoring(self) -> list[TrainedModel]:
        """Runs with a reward model, newest first. It gives scores and no text."""
        return self._saved("score")

    def _saved(self, head: str) -> list[TrainedModel]:
        jobs = self._database.jobs(JobKind.TRAIN, with_config=True)
        called = titles(jobs)
        return [
            TrainedModel(
                model_path=f"session:{job.id}",
                session_id=job.id,
                name=job.name,
                title=called[job.id],
                base=job.model,
                created_at=job.created_at,
                status=job.facts().status,
                step=self._result_step(job),
                reward=job.reward,
            )
            for job in jobs
            if method_of(job.config).head == head and self.has_weights(job.facts())
        ]

    def _result_step(self, job: Job) -> int:
        """The step of a run's trained weights: the last one, or the best if the run kept that."""
        kept = read_model(JobDir(self._home.outputs / job.id).kept, Kept) if job.job_state in ENDED else None
        return kept.step if kept and kept.published else job.step

    def has_weights(self, run: JobFacts) -> bool:
        """Whether a run has a trained model that can be exported, chatted with or trained further."""
        return not run.waiting and published(JobDir(self._home.outputs / run.id)) is not None

    def validate(self, name: str) -> None:
        """Accept a base model's name; see :meth:`services.models.references.References.validate`."""
        self._references.validate(name)

    def resolve(self, model_path: str) -> dict[str, Any]:
        """What a process loads for a reference; see :class:`services.models.references.References`."""
        return self._references.resolve(model_path)

    # --- chat ---

    def chat(self, chat: Chat, heard: Heard) -> None:
        """Answer, forwarding events as they come; returns after the last one.

        Events are ``waiting`` (``ahead``), ``loading``, ``token`` (``text``, ``tokens``, ``seconds``),
        ``done`` and ``error`` (``message``, ``code``). ``done`` has ``text``, ``tokens``, ``seconds``,
        ``first`` (seconds to the first token), ``finish`` (``stop``, ``length``, ``cancelled``), ``prompt``
        as rendered, ``prompt_tokens``, and ``seen``, the prompt with its special tokens marked.

        Raises:
            NotFound: There is no such model.
            InvalidInput: A value is out of range.
            Unavailable: It does not fit into memory.
        """
        check_chat(chat)
        self.pool.ask(self._request(chat), heard)

    def cancel(self, request_id: str) -> None:
        """End an answer early, or remove it from the queue."""
        self.pool.cancel(request_id)

    def test(self, chat: Chat) -> dict[str, Any]:
        """One whole answer: ``response``, ``tokens``, ``seconds``, ``finish``, ``prompt``, ``prompt_tokens``.

        Raises:
            InvalidInput: The conversation is too long for the model, or cannot be rendered.
            Unavailable: The model could not be loaded or failed.
        """
        events: list[dict[str, Any]] = []
        self.chat(chat, events.append)
        last = events[-1]
        if last["event"] == "error":
            raise failure(last)
        facts = {name: last.get(name) for name in ("finish", "prompt", "prompt_tokens")}
        return {"response": last["text"], "tokens": last["tokens"], "seconds": last["seconds"], **facts}

    def free_device(self) -> None:
        """Release the memory of models that are not answering."""
        self.pool.release()

    def close(self) -> None:
        """End the processes."""
        self.pool.close()

    def _request(self, chat: Chat) -> dict[str, Any]:
        sampling = {name: getattr(chat, name) for name in SAMPLING if getattr(chat, name) is not None}
        return {
            "op": "generate",
            "id": chat.id or secrets.token_hex(8),
            "model": self.resolve(chat.model_path),
            "messages": list(chat.messages),
            "stop": list(chat.stop),
            "tools": list(chat.tools),
            **sampling,
        }


def failure(event: dict[str, Any]) -> TunesmithError:
    """The exception for an ``error`` event."""
    message = str(event.get("message") or "The model failed to answer. Try again.")
    kinds: dict[str, type[TunesmithError]] = {"invalid_input": InvalidInput, "not_found": NotFound}
    return kinds.get(str(event.get("code")), Unavailable)(message)


def check_chat(chat: Chat) -> None:
    """Raises InvalidInput if a value is out of range."""
    if not chat.messages or len(chat.messages) > 200:
        raise InvalidInput("Send between 1 and 200 messages.", field="messages")
    for message in chat.messages:
        content, calls = message.get("content"), message.get("tool_calls")
        text = isinstance(content, str) or (content is None and isinstance(calls, list))
        if message.get("role") not in {"system", "user", "assistant", "tool"} or not text:
            raise InvalidInput(
                "Each message needs a role (system, user, assistant or tool) and text as its content.", field="messages"
            )
    if sum(len(text) for text in strings_in([chat.messages, chat.tools])) > 200_000:
        raise InvalidInput("The conversation is too long. The limit is 200,000 characters.", field="messages")
    for name, low, high in RANGES:
        value = getattr(chat, name)
        if value is not None and not low <= value <= high:
            raise InvalidInput(f"{SAMPLING_TITLES[name]}: enter a number from {low:g} to {high:.10g}.", field=name)
    if len(chat.stop) > 4 or not all(chat.stop) or any(len(text) > 200 for text in chat.stop):
        raise InvalidInput("Use up to 4 stop sequences of 1 to 200 characters each.", field="stop")
