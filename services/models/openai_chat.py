"""OpenAI's chat format: parses requests and writes responses, complete or streamed."""

from __future__ import annotations

import json
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.config import explain
from core.errors import InvalidInput, TunesmithError, Unavailable
from services.models.models import Chat, Models, failure

LOOK_EVERY = 1.0
"""Seconds between checks whether the client is still connected."""
DEFAULT_TOKENS = 1024
Event = dict[str, Any]


class _Lenient(BaseModel):
    """Clients send fields of other services; those are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Part(_Lenient):
    """A part of a message; only text is supported."""

    type: Literal["text"]
    text: str


class Message(_Lenient):
    """One message. ``developer`` is OpenAI's newer name for ``system``."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None

    def plain(self) -> dict[str, str]:
        parts = self.content if isinstance(self.content, list) else []
        text = "".join(part.text for part in parts) if parts else self.content
        return {"role": "system" if self.role == "developer" else self.role, "content": str(text or "")}


class StreamOptions(_Lenient):
    """Whether the last chunk has the token counts."""

    include_usage: bool = False


class Completion(_Lenient):
    """The supported fields of a chat completion request. The last three are not OpenAI's."""

    model: str
    messages: list[Message] = Field(min_length=1, max_length=200)
    temperature: float | None = Field(None, ge=0, le=5)
    top_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1, le=8192)
    max_completion_tokens: int | None = Field(None, ge=1, le=8192)
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    top_k: int | None = Field(None, ge=0, le=1000)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, ge=0.1, le=5)

    @property
    def usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def chat(self, model_path: str) -> Chat:
        """As a request of the playground. Seeds of any size are accepted, as by OpenAI."""
        given = {"top_k": self.top_k, "min_p": self.min_p, "repetition_penalty": self.repetition_penalty}
        return Chat(
            model_path,
            tuple(message.plain() for message in self.messages),
            1.0 if self.temperature is None else self.temperature,
            self.max_completion_tokens or self.max_tokens or DEFAULT_TOKENS,
            1.0 if self.top_p is None else self.top_p,
            None if self.seed is None else self.seed % 2**32,
            id=f"v1:{secrets.token_hex(8)}",
            stop=tuple([self.stop] if isinstance(self.stop, str) else self.stop or ()),
            **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
        )


NOT_HERE: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "tools": ([],),
    "functions": ([],),
    "logprobs": (False,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
"""Unsupported fields that would change the answer, with the values that have no effect."""


def read(data: Any) -> Completion:
    """Parse a request's decoded body.

    Raises:
        InvalidInput: A value is invalid or unsupported.
    """
    if not isinstance(data, dict):
        raise InvalidInput("Send a JSON object.")
    for name, harmless in NOT_HERE.items():
        if data.get(name) is not None and data[name] not in harmless:
            raise InvalidInput(f"{name} is not supported here. Leave it out.", field=name)
    try:
        return Completion.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        path, words = explain({**first, "loc": [part for part in first["loc"] if part not in {"str", "list[Part]"}]})
        raise InvalidInput(f"{path}: {words}.", field=path) from None


def listen(models: Models, chat: Chat, gone: Callable[[], bool]) -> Iterator[Event]:
    """The events of an answer as they come, from its own thread; closing it ends the answer.

    Args:
        gone: Called periodically; whether the client has disconnected.

    Raises:
        TunesmithError: It could not be answered.
    """
    heard: queue.Queue[Event | BaseException | None] = queue.Queue()
    threading.Thread(target=_run, args=(models, chat, heard), name="completion", daemon=True).start()
    looked = time.monotonic()
    try:
        while True:
            if time.monotonic() - looked > LOOK_EVERY:
                looked = time.monotonic()
                if gone():
                    return
            try:
                event = heard.get(timeout=LOOK_EVERY)
            except queue.Empty:
                continue
            if event is None:
                return
            if isinstance(event, BaseException):
                raise event
            if event["event"] == "error":
                raise failure(event)
            yield event
    finally:
        models.cancel(chat.id)


def _run(models: Models, chat: Chat, heard: queue.Queue[Event | BaseException | None]) -> None:
    try:
        models.chat(chat, heard.put)
        heard.put(None)
    except TunesmithError as error:
        heard.put(error)
    except OSError as error:
        heard.put(Unavailable(f"The model's process could not be started: {error.strerror or error}. Try again."))


def whole(events: Iterator[Event], name: str, created: int) -> dict[str, Any]:
    """A ``chat.completion``."""
    done: Event = {"text": "", "tokens": 0}
    for event in events:
        if event["event"] == "done":
            done = event
    message = {"role": "assistant", "content": done["text"], "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(done)}
    head = _head("chat.completion", name, created)
    return {**head, "choices": [choice], "usage": _usage(done)}


def pieces(events: Iterator[Event], name: str, created: int, *, usage: bool) -> Iterator[str]:
    """Server-sent events: one ``chat.completion.chunk`` per token, then ``[DONE]``.

    Later failures are sent as an error, since the status has already been sent.
    """
    head = _head("chat.completion.chunk", name, created)
    more = {"usage": None} if usage else {}

    def chunk(delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _line({**head, "choices": [choice], **more})

    yield chunk({"role": "assistant", "content": ""})
    try:
        for event in events:
            if event["event"] == "token":
                yield chunk({"content": event["text"]})
            elif event["event"] == "done":
                yield chunk({}, _finish(event))
                if usage:
                    yield _line({**head, "choices": [], "usage": _usage(event)})
    except TunesmithError as error:
        yield _line(problem(error.status, error.code, error.message, error.field))
    yield "data: [DONE]\n\n"


def begun(events: Iterator[Event]) -> Iterator[Event]:
    """The same events, once the model has begun to answer: earlier failures still get their own status."""
    seen: list[Event] = []
    for event in events:
        seen.append(event)
        if event["event"] in {"token", "done"}:
            break
    return _chained(seen, events)


@dataclass(frozen=True)
class _Kind:
    type: str
    code: str | None


_KINDS = {
    401: _Kind("invalid_request_error", "invalid_api_key"),
    404: _Kind("invalid_request_error", "model_not_found"),
    429: _Kind("requests", "rate_limit_exceeded"),
}


def problem(status: int, code: str, message: str, field: str | None = None) -> dict[str, Any]:
    """A failure in OpenAI's shape."""
    usual = _Kind("invalid_request_error" if status < 500 else "server_error", code)
    kind = _KINDS.get(status, usual)
    return {"error": {"message": message, "type": kind.type, "param": field, "code": kind.code}}


def model_card(name: str, since: int) -> dict[str, Any]:
    """One entry of the list of models."""
    return {"id": name, "object": "model", "created": since, "owned_by": "tunesmith"}


def _chained(seen: list[Event], rest: Iterator[Event]) -> Iterator[Event]:
    yield from seen
    yield from rest


def _head(kind: str, name: str, created: int) -> dict[str, Any]:
    return {"id": f"chatcmpl-{secrets.token_hex(12)}", "object": kind, "created": created, "model": name}


def _finish(done: Event) -> str:
    return "length" if done.get("finish") == "length" else "stop"


def _usage(done: Event) -> dict[str, int]:
    asked, written = int(done.get("prompt_tokens") or 0), int(done.get("tokens") or 0)
    return {"prompt_tokens": asked, "completion_tokens": written, "total_tokens": asked + written}


def _line(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
