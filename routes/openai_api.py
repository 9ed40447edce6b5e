"""``/v1``: an OpenAI-compatible API that serves one model, and the page that turns it on.

``routes/_guard.py`` requires the access token here, even for local requests. A session cookie is not enough.
"""

from __future__ import annotations

import select
import socket
import time

from flask import Blueprint, Response, current_app, jsonify, request, session
from pydantic import Field
from werkzeug.wrappers import Response as AnyResponse

from core.errors import NotFound, TunesmithError
from pages.models.serve import serve_page
from routes._api import Body, describes, read_body, read_json
from routes._pages import page, say, to
from services.access.security import Gate
from services.current import services
from services.models import openai_chat
from services.models.endpoint import served_view

bp = Blueprint("openai_api", __name__)


class ServeBody(Body):
    """Whether to serve a model, and which one."""

    on: bool
    model_path: str = Field("", max_length=4096, description="Model reference, as in /api/models/test.")
    name: str = Field("", max_length=100, description="Its name for clients. Default: derived from the reference.")


# --- /v1 ---


@bp.get("/v1/models")
def models() -> Response:
    """List the served model. 404 if the API is off."""
    served = services().endpoint.chosen()
    return jsonify({"object": "list", "data": [openai_chat.model_card(served.name, served.since)]})


@bp.get("/v1/models/<path:name>")
def model(name: str) -> Response:
    """Return the served model. 404 for any other name."""
    services().endpoint.model_path(name)
    return jsonify(openai_chat.model_card(name, services().endpoint.chosen().since))


@bp.post("/v1/chat/completions")
def completions() -> Response:
    """Generate a chat completion, streamed or not."""
    asked = openai_chat.read(read_json())
    chat = asked.chat(services().endpoint.model_path(asked.model))
    events = openai_chat.listen(services().models, chat, _watched())
    if not asked.stream:
        return jsonify(openai_chat.whole(events, asked.model, int(time.time())))
    lines = openai_chat.pieces(openai_chat.begun(events), asked.model, int(time.time()), usage=asked.usage)
    return Response(lines, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})


@bp.route("/v1/", defaults={"rest": ""}, methods=["GET", "POST", "DELETE"])
@bp.route("/v1/<path:rest>", methods=["GET", "POST", "DELETE"])
def unknown(rest: str) -> Response:
    """Reject every other endpoint of OpenAI's API with 404."""
    raise NotFound(f"There is no /v1/{rest} here. There are /v1/models and /v1/chat/completions.")


# --- the switch ---


@bp.get("/api/models/serve")
@describes(answer={"on": bool, "model_path": str, "name": str, "base_url": str, "key": str})
def served() -> Response:
    """Return whether the OpenAI-compatible API is on, its model, and its base URL."""
    return jsonify(served_view(services().endpoint.served, _base_url(), key=_gate().key))


@bp.post("/api/models/serve")
@describes(body=ServeBody, answer={"on": bool, "model_path": str, "name": str, "base_url": str, "key": str})
def serve() -> Response:
    """Turn the OpenAI-compatible API on with a model, or off. 404 if there is no such model."""
    body, endpoint = read_body(ServeBody), services().endpoint
    now = endpoint.switch_on(body.model_path, body.name, since=int(time.time())) if body.on else endpoint.switch_off()
    return jsonify(served_view(now, _base_url(), key=_gate().key))


@bp.post("/api/models/serve/key")
@describes(answer={"token": str}, status=201)
def key() -> tuple[Response, int]:
    """Create a new access token, returned only once. The old token and its logins stop working."""
    return jsonify({"token": _new_token()}), 201


# --- page ---


@bp.get("/playground/serve")
def show() -> str:
    """Show the settings of the OpenAI-compatible API, and how clients connect."""
    chosen = request.args.get("model", "")
    return page("models/serve.html", serve_page(services(), _base_url(), key=_gate().key, chosen=chosen))


@bp.post("/playground/serve")
def change() -> str | AnyResponse:
    """Turn the API on or off, or create an access token, which is shown once on the resulting page."""
    form, endpoint, token = request.form, services().endpoint, ""
    try:
        if form.get("action") == "off":
            endpoint.switch_off()
        elif form.get("action") == "key":
            token = _new_token()
        else:
            endpoint.switch_on(form.get("other") or form.get("model", ""), form.get("name", ""), since=int(time.time()))
            token = _new_token() if _gate().key == "none" else ""
    except TunesmithError as error:
        say(error.message, "problem")
    if not token:
        return to("openai_api.show")
    return page("models/serve.html", serve_page(services(), _base_url(), key=_gate().key, token=token))


def _new_token() -> str:
    """Create an access token, and keep the current session logged in."""
    token = _gate().new_token()
    if "login" in session:
        session["login"] = _gate().login_mark()
    return token


def _base_url() -> str:
    return f"{request.host_url}v1"


def _gate() -> Gate:
    gate: Gate = current_app.extensions["tunesmith_gate"]
    return gate


class _Watched:
    """Whether the client has disconnected. Always false if the server does not expose the connection."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection

    def __call__(self) -> bool:
        if self._connection is None:
            return False
        try:
            ready, _, _ = select.select([self._connection], [], [], 0)
            return bool(ready) and self._connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True


def _watched() -> _Watched:
    return _Watched(request.environ.get("werkzeug.socket"))
