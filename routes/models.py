"""Base and trained models, and one answer from one of them."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, request
from pydantic import Field

from pages.models.chats import chat_view, training_prompt
from pages.models.playground import PlaygroundPage, model_groups
from routes._api import Body, describes, read_body
from routes._pages import page
from services.container import Services
from services.current import services
from services.models.models import Chat

bp = Blueprint("models", __name__)


class TestBody(Body):
    """One question for one model."""

    model_path: str = Field(
        max_length=4096,
        description="A base model's name, a path, session:<id>, session:<id>@<step>, export:<id> or "
        "export:<id>/<file.gguf>.",
    )
    prompt: str = Field(min_length=1, max_length=100_000)
    system_prompt: str | None = Field(
        None, max_length=100_000, description="Default: the system prompt of its training. '' for none."
    )
    temperature: float = Field(0.7, ge=0, le=5, description="0 always picks the most likely token.")
    max_tokens: int = Field(256, ge=1, le=8192)
    top_p: float = Field(1.0, ge=0, le=1)
    top_k: int = Field(0, ge=0, le=1000, description="0 is off.")
    min_p: float = Field(0.0, ge=0, le=1, description="0 is off.")
    repetition_penalty: float = Field(1.0, ge=0.1, le=5, description="1 is off.")
    seed: int | None = Field(None, ge=0, lt=2**32, description="For repeatable answers.")
    stop: tuple[str, ...] = Field((), max_length=4, description="Stop sequences.")

    def chat(self, services: Services) -> Chat:
        told = training_prompt(services, self.model_path) if self.system_prompt is None else self.system_prompt
        system = ({"role": "system", "content": told},) if told else ()
        messages = (*system, {"role": "user", "content": self.prompt})
        sampling = self.model_dump(exclude={"model_path", "prompt", "system_prompt"})
        return Chat(self.model_path, messages, **sampling)


@bp.get("/api/models/list")
@describes(answer={"base": list, "trained": list, "groups": list})
def listing() -> Response:
    """Base models with the memory they need here, trained ones, and all that can be talked to by kind."""
    models = services().models
    return jsonify(
        {
            "base": [view.json() for view in models.families()],
            "trained": [model.json() for model in models.trained()],
            "groups": [asdict(group) for group in model_groups(services())],
        }
    )


@bp.post("/api/models/test")
@describes(body=TestBody, answer={"response": str, "tokens": int, "seconds": float, "finish": str, "prompt": str})
def test() -> Response:
    """One whole answer. For one that streams, see the Socket.IO event ``chat``."""
    found = services()
    return jsonify(found.models.test(read_body(TestBody).chat(found)))


# --- pages ---


@bp.get("/playground")
def playground() -> str:
    """Two to four models side by side."""
    chosen = request.args.getlist("model")
    chat = chat_view(services(), form={}, session_id=request.args.get("session_id", ""), models=chosen)
    return page("models/playground.html", PlaygroundPage(chat))


@bp.post("/playground")
def ask() -> str:
    """All whole answers at once, for browsers without scripts."""
    chat = chat_view(services(), form=request.form.to_dict())
    return page("models/playground.html", PlaygroundPage(chat))
