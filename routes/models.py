"""Base and trained models: the list, search and download on Hugging Face, and one answer from one of them."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, request
from pydantic import Field

from core.model_hub.remote import RemoteModel
from pages.models.chats import chat_view, training_prompt
from pages.models.playground import PlaygroundPage, model_groups
from routes._api import Body, describes, read_body, read_query
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


class SearchQuery(Body):
    """A search on Hugging Face."""

    q: str = Field(max_length=200, description="Part of a model's name; 2 to 100 characters.")


class AboutQuery(Body):
    """A model on Hugging Face."""

    name: str = Field(max_length=500, description="owner/name.")
    revision: str | None = Field(None, max_length=500, description="A branch, tag or commit; left out for the newest.")


class DownloadBody(Body):
    """A model to download."""

    name: str = Field(max_length=500, description="owner/name.")
    revision: str | None = Field(None, max_length=500, description="A branch, tag or commit; left out for the newest.")


@bp.get("/api/models/search")
@describes(query=SearchQuery, answer={"models": list[RemoteModel]})
def search() -> Response:
    """Text-generation models with safetensors on Hugging Face, the most downloaded first. 503 where unreachable."""
    return jsonify({"models": [model.json() for model in services().model_hub.search(read_query(SearchQuery).q)]})


@bp.get("/api/models/about")
@describes(query=AboutQuery, answer=RemoteModel)
def about() -> Response:
    """A model on Hugging Face with its license and the bytes of its download."""
    query = read_query(AboutQuery)
    return jsonify(services().model_hub.about(query.name, query.revision).json())


@bp.get("/api/models/downloads")
@describes(answer={"downloads": list})
def downloads() -> Response:
    """Downloads that are running or can be resumed."""
    return jsonify({"downloads": [view.json() for view in services().downloads.all()]})


@bp.post("/api/models/downloads")
@describes(body=DownloadBody, answer={"id": str, "state": str, "bytes": int, "total_bytes": int}, status=202)
def api_download() -> tuple[Response, int]:
    """Download a model, or go on with its download. Asked twice, it runs once."""
    body = read_body(DownloadBody)
    return jsonify(services().downloads.start(body.name, body.revision).json()), 202


@bp.get("/api/models/downloads/<download_id>")
@describes(answer={"id": str, "state": str, "bytes": int, "total_bytes": int, "error": str})
def api_download_progress(download_id: str) -> Response:
    """How far a download is: 'working', 'stopped', 'failed' or 'done'."""
    return jsonify(services().downloads.get(download_id).json())


@bp.post("/api/models/downloads/<download_id>/cancel")
@describes(answer={"id": str, "state": str})
def api_cancel_download(download_id: str) -> Response:
    """Stop a download; what has arrived is kept, and starting it again goes on from there."""
    return jsonify(services().downloads.cancel(download_id).json())


@bp.delete("/api/models/downloads/<download_id>")
@describes(status=204)
def api_discard_download(download_id: str) -> tuple[str, int]:
    """Stop a download and delete what has arrived. A model that is complete stays."""
    services().downloads.discard(download_id)
    return "", 204


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
