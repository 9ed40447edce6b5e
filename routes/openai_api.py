"""``/v1``: one model for other programs, as OpenAI's clients speak; and the page that switches it on.

``routes/_guard.py`` lets nobody in here without the access token: neither a cookie nor being on this
machine is enough.
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
    """Which model to serve, or none."""

    on: bool
    model_path: str = Field("", max_length=4096, description="A reference, as /api/models/test takes it.")
    name: str = Field("", max_length=100, description="What programs call it; made from the reference if left out.")


# --- /v1 ---


@bp.get("/v1/models")
def models() -> Response:
    """The served model."""
    served = services().endpoint.chosen()
    return jsonify({"object": "list", "data": [openai_chat.model_card(served.name, served.since)]})


@bp.get("/v1/models/<path:name>")
def model(name: str) -> Response:
    """The served model, by its name."""
    services().endpoint.model_path(name)
    return jsonify(openai_chat.model_card(name, services().endpoint.chosen().since))


@bp.post("/v1/chat/completions")
def completions() -> Response:
    """An answer, whole or streamed."""
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
    """Everything else that OpenAI's service has."""
    raise NotFound(f"There is no /v1/{rest} here. There are /v1/models and /v1/chat/completions.")


# --- the switch ---


@bp.get("/api/models/serve")
@describes(answer={"on": bool, "model_path": str, "name": str, "base_url": str, "key": str})
def served() -> Response:
    """Whether a model is served to other programs, which, and how to reach it."""
    return jsonify(served_view(services().endpoint.served, _base_url(), key=_gate().key))


@bp.post("/api/models/serve")
@describes(body=ServeBody, answer={"on": bool, "model_path": str, "name": str, "base_url": str, "key": str})
def serve() -> Response:
    """Serve a model to other programs, or stop doing so."""
    body, endpoint = read_body(ServeBody), services().endpoint
    now = endpoint.switch_on(body.model_path, body.name, since=int(time.time())) if body.on else endpoint.switch_off()
    return jsonify(served_view(now, _base_url(), key=_gate().key))


@bp.post("/api/models/serve/key")
@describes(answer={"token": str}, status=201)
def key() -> tuple[Response, int]:
    """A new access token, shown this once; the old one ends, and logins with it."""
    return jsonify({"token": _new_token()}), 201


# --- page ---


@bp.get("/playground/serve")
def show() -> str:
    """The switch, and how other programs reach the model."""
    chosen = request.args.get("model", "")
    return page("models/serve.html", serve_page(services(), _base_url(), key=_gate().key, chosen=chosen))


@bp.post("/playground/serve")
def change() -> str | AnyResponse:
    """Switch on or off, or make an access token, which is shown on the page that answers."""
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
    """The one who makes a new token stays logged in."""
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
    """Whether the connection of a request was closed; always open where the server does not show it."""

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
