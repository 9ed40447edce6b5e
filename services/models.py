"""Base models to choose from, trained ones to talk to."""

from __future__ import annotations

import re
import secrets
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import Conflict, InvalidConfig, InvalidInput, NotFound, Unavailable
from core.export import ExportFormat
from core.model import BUILTIN_PREFIX, BaseModelInfo, local_folder
from core.run import JobKind, check_id
from core.run_dir import RunDir
from core.settings import Home, Settings
from services.catalogue import Catalogue
from services.chat import ChatProcess, Heard
from services.families import BASE_MODELS, estimate
from services.system import System

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")


@dataclass(frozen=True)
class BaseModelView:
    """One base model and whether this machine can train it.

    Attributes:
        info: What it is.
        memory: Bytes that training takes with the defaults.
        memory_4bit: The same loaded in 4 bit; None on a machine without a GPU.
        available: Bytes that this machine has for it.
        fits: Whether it fits, in 4 bit if need be.
        needs_4bit: Whether it fits only so.
        here: Whether it works without a network.
    """

    info: BaseModelInfo
    memory: int
    memory_4bit: int | None
    available: int
    fits: bool
    needs_4bit: bool
    here: bool

    def json(self) -> dict[str, Any]:
        data = asdict(self)
        return {**data.pop("info"), **data, "model_path": self.info.name, "kind": "base"}


@dataclass(frozen=True)
class TrainedModel:
    """A run whose adapter can be talked to. ``model_path`` is what chat and test take."""

    model_path: str
    session_id: str
    name: str
    base: str
    created_at: str
    status: str
    step: int
    reward: float | None

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "kind": "trained"}


@dataclass(frozen=True)
class Chat:
    """One request for an answer.

    Attributes:
        model_path: A base model's name, ``session:<id>`` or ``export:<id>/<file>``.
        messages: ``role`` and ``content`` each.
        temperature: 0 takes the likeliest token every time.
        max_tokens: Longest answer.
        top_p: 1 is off.
        seed: For the same answer again.
        id: Names the request for :meth:`Models.cancel`.
    """

    model_path: str
    messages: tuple[dict[str, str], ...]
    temperature: float = 0.7
    max_tokens: int = 256
    top_p: float = 1.0
    seed: int | None = None
    id: str = ""


class Models:
    """Verbs on models.

    Args:
        settings: For the home folder and the chat processes.
        catalogue: For trained models.
        system: For what fits.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue, system: System) -> None:
        self._home: Home = settings.home
        self._catalogue = catalogue
        self._system = system
        self._processes = {"transformers": ChatProcess(settings), "gguf": ChatProcess(settings)}

    def use(self, processes: dict[str, ChatProcess]) -> None:
        """Answer by other processes than this project's own, by kind."""
        self._processes |= processes

    def families(self) -> list[BaseModelView]:
        """The base models, smallest first within a family, with what they need here."""
        device = self._system.device()
        return [self._view(info, device.memory) for info in BASE_MODELS]

    def _view(self, info: BaseModelInfo, available: int) -> BaseModelView:
        device = self._system.device()
        full = estimate(info.parameters, device).total
        small = estimate(info.parameters, device, four_bit=True).total if device.kind == "cuda" else None
        return BaseModelView(
            info=info,
            memory=full,
            memory_4bit=small,
            available=available,
            fits=full <= available or (small is not None and small <= available),
            needs_4bit=full > available and small is not None and small <= available,
            here=info.name.startswith(BUILTIN_PREFIX),
        )

    def trained(self) -> list[TrainedModel]:
        """Runs with an adapter, newest first."""
        return [
            TrainedModel(
                f"session:{job.id}", job.id, job.name, job.model, job.created_at, job.state, job.step, job.reward
            )
            for job in self._catalogue.jobs(JobKind.TRAIN)
            if (job.active or job.resumable or job.state == "completed")
            and RunDir(self._home.outputs / job.id).adapter.is_dir()
        ]

    def validate(self, name: str) -> None:
        """Accept the built-in model, an existing folder or a plausible Hub id.

        Raises:
            NotFound: It names a folder that is not there.
            InvalidConfig: It is no Hub id either.
        """
        if local_folder(name, self._home) is None and not _HUB_ID.fullmatch(name):
            raise InvalidConfig(
                [("model.name", "this is neither a folder nor a model of the Hub; a Hub id looks like Qwen/Qwen3-0.6B")]
            )

    # --- talking ---

    def chat(self, chat: Chat, heard: Heard) -> None:
        """Answer, passing on events as they come; returns after the last one.

        Events are ``loading``, ``token`` (``text``), ``done`` (``text``, ``tokens``, ``seconds``) and
        ``error`` (``message``).

        Raises:
            NotFound: The model is not there.
            InvalidInput: A value is out of range.
        """
        request, kind = self._request(chat)
        self._processes[kind].ask(request, heard)

    def cancel(self, request_id: str) -> None:
        for process in self._processes.values():
            process.cancel(request_id)

    def test(self, chat: Chat) -> dict[str, Any]:
        """One whole answer: ``response``, ``tokens``, ``seconds``.

        Raises:
            Unavailable: The model could not be loaded or broke off.
        """
        events: list[dict[str, Any]] = []
        self.chat(chat, events.append)
        last = events[-1]
        if last["event"] == "error":
            raise Unavailable(str(last.get("message") or "The model could not answer."))
        written = "".join(str(event.get("text", "")) for event in events if event["event"] == "token")
        response = last.get("text") or written
        return {"response": response, "tokens": last.get("tokens", 0), "seconds": last.get("seconds", 0.0)}

    def make_room(self) -> None:
        """Give back the memory of models that are loaded but not answering."""
        for process in self._processes.values():
            process.release()

    def close(self) -> None:
        for process in self._processes.values():
            process.close()

    def _request(self, chat: Chat) -> tuple[dict[str, Any], str]:
        check_chat(chat)
        model = self.resolve(chat.model_path)
        request = {
            "op": "generate",
            "id": chat.id or secrets.token_hex(8),
            "model": model,
            "messages": list(chat.messages),
            "temperature": chat.temperature,
            "max_tokens": chat.max_tokens,
            "top_p": chat.top_p,
        }
        if chat.seed is not None:
            request["seed"] = chat.seed
        return request, str(model["kind"])

    def resolve(self, model_path: str) -> dict[str, Any]:
        """What the chat process loads for a ``model_path``.

        Raises:
            NotFound, InvalidInput, InvalidConfig: It names nothing that can be talked to.
            Conflict: The run has not saved anything yet.
        """
        if model_path.startswith("session:"):
            return self._of_session(model_path.removeprefix("session:"))
        if model_path.startswith("export:"):
            return self._of_export(model_path.removeprefix("export:"))
        self.validate(model_path)
        return {"kind": "transformers", "base": self._base(model_path), "adapter": None}

    def _of_session(self, session_id: str) -> dict[str, Any]:
        job = self._catalogue.job(check_id(session_id), JobKind.TRAIN)
        adapter = RunDir.open(self._home.outputs, session_id).adapter
        if not adapter.is_dir():
            raise Conflict("This run has no trained adapter yet. It is saved with the first checkpoint.")
        return {"kind": "transformers", "base": self._base(job.model), "adapter": str(adapter)}

    def _of_export(self, reference: str) -> dict[str, Any]:
        export_id, _, name = reference.partition("/")
        job = self._catalogue.job(check_id(export_id), JobKind.EXPORT)
        path = RunDir.open(self._home.exports, export_id).files / name
        if (
            job.config.get("format") != ExportFormat.GGUF
            or "/" in name
            or not name.endswith(".gguf")
            or not path.is_file()
        ):
            raise NotFound("There is no such GGUF file. Choose one from the list of exports.", field="model_path")
        return {"kind": "gguf", "path": str(path)}

    def _base(self, name: str) -> str:
        folder = local_folder(name, self._home)
        return str(folder) if folder else name


def check_chat(chat: Chat) -> None:
    """Raises InvalidInput where a value is out of range."""
    if not chat.messages or len(chat.messages) > 200:
        raise InvalidInput("Send between 1 and 200 messages.", field="messages")
    for message in chat.messages:
        if message.get("role") not in {"system", "user", "assistant"} or not isinstance(message.get("content"), str):
            raise InvalidInput(
                "A message has a role (system, user, assistant) and a text as content.", field="messages"
            )
    if sum(len(message["content"]) for message in chat.messages) > 200_000:
        raise InvalidInput("That is too long: at most 200,000 characters.", field="messages")
    for name, low, high in (("temperature", 0, 5), ("top_p", 0, 1), ("max_tokens", 1, 8192)):
        if not low <= getattr(chat, name) <= high:
            raise InvalidInput(f"{name} must be between {low} and {high}.", field=name)
