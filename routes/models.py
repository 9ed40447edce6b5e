"""Models: list, search and download from Hugging Face, and chat in the Playground."""

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
    """A message to a model, and how to generate the reply."""

    model_path: str = Field(
        max_length=4096,
        description="Model reference: a base model, a path, session:<id>, session:<id>@<step>, export:<id> or "
        "export:<id>/<file.gguf>.",
    )
    prompt: str = Field(min_length=1, max_length=100_000)
    system_prompt: str | None = Field(
        None, max_length=100_000, description="Default: the system prompt it was trained with. '' for none."
    )
    temperature: float = Field(0.7, ge=0, le=5, description="0 always picks the most likely token.")
    max_tokens: int = Field(256, ge=1, le=8192)
    top_p: float = Field(1.0, ge=0, le=1)
    top_k: int = Field(0, ge=0, le=1000, description="0 turns it off.")
    min_p: float = Field(0.0, ge=0, le=1, description="0 turns it off.")
    repetition_penalty: float = Field(1.0, ge=0.1, le=5, description="1 turns it off.")
    seed: int | None = Field(None, ge=0, lt=2**32, description="Makes answers repeatable.")
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
    """List base models with their memory needs, trained models, and every model you can chat with, by kind."""
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
    """Generate one complete reply. 503 if the model does not fit into memory. To stream, use Socket.IO ``chat``."""
    found = services()
    return jsonify(found.models.test(read_body(TestBody).chat(found)))


class SearchQuery(Body):
    """A search for models on Hugging Face."""

    q: str = Field(max_length=200, description="Part of a model's name; 2 to 100 characters.")


class AboutQuery(Body):
    """A model on Hugging Face."""

    name: str = Field(max_length=500, description="owner/name.")
    revision: str | None = Field(None, max_length=500, description="Branch, tag or commit. Default: the latest.")


class DownloadBody(Body):
    """A model to download."""

    name: str = Field(max_length=500, description="owner/name.")
    revision: str | None = Field(None, max_length=500, description="Branch, tag or commit. Default: the latest.")


@bp.get("/api/models/search")
@describes(query=SearchQuery, answer={"models": list[RemoteModel]})
def search() -> Response:
    """Search Hugging Face for text-generation models, most downloaded first. 503 if it is unreachable."""
    return jsonify({"models": [model.json() for model in services().model_hub.search(read_query(SearchQuery).q)]})


@bp.get("/api/models/about")
@describes(query=AboutQuery, answer=RemoteModel)
def about() -> Response:
    """Return a Hugging Face model with its license and download size. 404 if there is none, 503 if unreachable."""
    query = read_query(AboutQuery)
    return jsonify(services().model_hub.about(query.name, query.revision).json())


@bp.get("/api/models/downloads")
@describes(answer={"downloads": list})
def downloads() -> Response:
    """List model downloads that are running or can be resumed."""
    return jsonify({"downloads": [view.json() for view in services().downloads.all()]})


@bp.post("/api/models/downloads")
@describes(body=DownloadBody, answer={"id": str, "state": str, "bytes": int, "total_bytes": int}, status=202)
def api_download() -> tuple[Response, int]:
    """Start or resume a model download. Repeated calls start it once."""
    body = read_body(DownloadBody)
    return jsonify(services().downloads.start(body.name, body.revision).json()), 202


@bp.get("/api/models/downloads/<download_id>")
@describes(answer={"id": str, "state": str, "bytes": int, "total_bytes": int, "error": str})
def api_download_progress(download_id: str) -> Response:
    """Return the progress of a download. 'state' is working, stopped, failed or done."""
    return jsonify(services().downloads.get(download_id).json())


@bp.post("/api/models/downloads/<download_id>/cancel")
@describes(answer={"id": str, "state": str})
def api_cancel_download(download_id: str) -> Response:
    """Cancel a download and keep its data. Start it again to resume."""
    return jsonify(services().downloads.cancel(download_id).json())


@bp.delete("/api/models/downloads/<download_id>")
@describes(status=204)
def api_discard_download(download_id: str) -> tuple[str, int]:
    """Cancel a download and delete its data. A complete model is kept."""
    services().downloads.discard(download_id)
    return "", 204


# --- pages ---


@bp.get("/playground")
def playground() -> str:
    """Show the Playground: up to four models side by side."""
    chosen = request.args.getlist("model")
    chat = chat_view(services(), form={}, session_id=request.args.get("session_id", ""), models=chosen)
    return page("models/playground.html", PlaygroundPage(chat))


@bp.post("/playground")
def ask() -> str:
    """Answer a message without streaming, for browsers without JavaScript."""
    chat = chat_view(services(), form=request.form.to_dict())
    return page("models/playground.html", PlaygroundPage(chat))
