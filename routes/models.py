"""Base and trained models, and one answer from one of them."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request
from pydantic import Field

from routes._api import Body, describes, read_body
from routes._pages import page
from routes._services import services
from services.chats import chat_view
from services.models import Chat
from services.views import PlaygroundPage

bp = Blueprint("models", __name__)


class TestBody(Body):
    """One question for one model."""

    model_path: str = Field(description="A base model's name, session:<id> or export:<id>/<file.gguf>.")
    prompt: str = Field(min_length=1, max_length=100_000)
    system_prompt: str | None = Field(None, max_length=100_000)
    temperature: float = Field(0.7, ge=0, le=5, description="0 takes the likeliest token every time.")
    max_tokens: int = Field(256, ge=1, le=8192)
    top_p: float = Field(1.0, ge=0, le=1)

    def chat(self) -> Chat:
        system = ({"role": "system", "content": self.system_prompt},) if self.system_prompt else ()
        messages = (*system, {"role": "user", "content": self.prompt})
        return Chat(self.model_path, messages, self.temperature, self.max_tokens, self.top_p)


@bp.get("/api/models/list")
@describes(answer={"base": list, "trained": list})
def listing() -> Response:
    """Base models with the memory they need here, and trained ones."""
    models = services().models
    return jsonify(
        {
            "base": [view.json() for view in models.families()],
            "trained": [model.json() for model in models.trained()],
        }
    )


@bp.post("/api/models/test")
@describes(body=TestBody, answer={"response": str, "tokens": int, "seconds": float})
def test() -> Response:
    """One whole answer. For one that streams, see the Socket.IO event ``chat``."""
    return jsonify(services().models.test(read_body(TestBody).chat()))


# --- pages ---


@bp.get("/playground")
def playground() -> str:
    """Two models side by side."""
    chosen = {"session_id": request.args.get("session_id", ""), "model": request.args.get("model", "")}
    return page("models/playground.html", PlaygroundPage(chat_view(services(), form={}, **chosen)))


@bp.post("/playground")
def ask() -> str:
    """Both whole answers at once, for browsers without scripts."""
    chat = chat_view(services(), form=request.form.to_dict())
    return page("models/playground.html", PlaygroundPage(chat))
