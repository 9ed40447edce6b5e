"""Deliveries: send finished exports to Ollama or Hugging Face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from flask import Blueprint, Response, jsonify, request
from pydantic import Field
from werkzeug.wrappers import Response as AnyResponse

from core.errors import NotFound, TunesmithError
from pages.exports.deliveries import DeliveryPanel
from pages.exports.deliveries import delivery_panel as panel_of
from routes._api import Body, describes, read_body
from routes._pages import say, to
from services.current import services

bp = Blueprint("deliveries", __name__)
Answer = tuple[Response, int]


class SendBody(Body):
    """Where to send an export, and under which name."""

    to: Literal["ollama", "hub"]
    name: str = Field(description="Model name in Ollama, or Hugging Face repository.")
    file: str = Field("", description="For Ollama: the GGUF file to send. Default: the largest one.")
    base: str = Field("", description="For an adapter in Ollama: its base model's name there.")
    private: bool = Field(True, description="For Hugging Face: create a new repository as private.")
    replace: bool = Field(False, description="Replace an existing model or repository of that name.")


class ResumeBody(Body):
    """Whether to replace an existing model or repository. Default: as before."""

    replace: bool | None = None


class ChatBody(Body):
    """A chat message."""

    message: str = Field(max_length=20_000)


@bp.get("/api/deliveries/targets")
@describes(answer={"ollama": dict, "hub": dict})
def targets() -> Response:
    """Check whether an Ollama server responds and a Hugging Face token is set."""
    found = services().deliveries
    return jsonify({"ollama": found.ollama().json(), "hub": {"token": found.has_token()}})


@bp.post("/api/exports/<export_id>/deliveries")
@describes(body=SendBody, answer=dict, status=202)
def send(export_id: str) -> Answer:
    """Start sending an export to Ollama or Hugging Face. 409 if it is unfinished or already being sent."""
    body = read_body(SendBody)
    view = services().deliveries.send(
        export_id, body.to, body.name, file=body.file, base=body.base, private=body.private, replace=body.replace
    )
    return jsonify(view.json()), 202


@bp.get("/api/exports/<export_id>/deliveries")
@describes(answer={"deliveries": list})
def listing(export_id: str) -> Response:
    """List an export's deliveries, newest first."""
    return jsonify({"deliveries": [view.json() for view in services().deliveries.of_export(export_id)]})


@bp.get("/api/exports/<export_id>/deliveries/<int:number>")
@describes(answer=dict)
def delivery(export_id: str, number: int) -> Response:
    """Return a delivery with its progress."""
    return jsonify(services().deliveries.get(export_id, number).json())


@bp.get("/api/exports/<export_id>/deliveries/<int:number>/logs")
@describes(content="text/plain")
def logs(export_id: str, number: int) -> Response:
    """Return a delivery's log."""
    return Response(services().deliveries.log(export_id, number), mimetype="text/plain")


@bp.post("/api/exports/<export_id>/deliveries/<int:number>/cancel")
@describes(answer=dict, status=202)
def cancel(export_id: str, number: int) -> Answer:
    """Cancel a delivery. Incomplete data does not become visible at the destination. 409 if it has ended."""
    return jsonify(services().deliveries.cancel(export_id, number).json()), 202


@bp.post("/api/exports/<export_id>/deliveries/<int:number>/resume")
@describes(body=ResumeBody, answer=dict, status=202)
def resume(export_id: str, number: int) -> Answer:
    """Resume a canceled or failed delivery without resending completed data. 409 if it is complete."""
    replace = read_body(ResumeBody).replace if request.data else None
    return jsonify(services().deliveries.resume(export_id, number, replace=replace).json()), 202


@bp.post("/api/exports/<export_id>/deliveries/<int:number>/chat")
@describes(body=ChatBody, answer=dict)
def chat(export_id: str, number: int) -> Response:
    """Chat with a model that was sent to Ollama. Its reply is the last of ``messages``. 409 if it is not there."""
    return jsonify(services().deliveries.chat(export_id, number, read_body(ChatBody).message).json())


@bp.delete("/api/exports/<export_id>/deliveries/<int:number>")
@describes(status=204)
def discard(export_id: str, number: int) -> tuple[str, int]:
    """Remove a delivery from the list; the sent files stay. 409 while it is in progress."""
    services().deliveries.discard(export_id, number)
    return "", 204


# --- the part of the export's page ---


@bp.record_once
def _panel(state: Any) -> None:
    """Make the panel available to ``templates/deliveries/_panel.html``; its data is read only when it is included."""

    def delivery_panel(export_id: str) -> DeliveryPanel:
        return panel_of(services(), export_id)

    state.app.jinja_env.globals["delivery_panel"] = delivery_panel


@bp.post("/exports/<export_id>/deliveries")
def begin(export_id: str) -> AnyResponse:
    """Start the delivery that the form describes."""
    form = request.form
    where: Literal["ollama", "hub"] = "hub" if form.get("to") == "hub" else "ollama"
    try:
        services().deliveries.send(
            export_id, where, form.get("name", ""), file=form.get("file", ""), base=form.get("base", ""),
            private=form.get("visibility") != "public", replace=form.get("replace") == "on",
        )  # fmt: skip
    except TunesmithError as error:
        say(f"Nothing was sent. {error.message}", "problem")
    return to("exports.show", export_id=export_id)


@bp.post("/exports/<export_id>/deliveries/<int:number>/<action>")
def act(export_id: str, number: int, action: str) -> AnyResponse:
    """Cancel, resume, chat with or remove a delivery."""
    found, form = services().deliveries, request.form
    acts: dict[str, Callable[[], object]] = {
        "cancel": lambda: found.cancel(export_id, number),
        "resume": lambda: found.resume(export_id, number, replace=form.get("replace") == "on" or None),
        "chat": lambda: found.chat(export_id, number, form.get("message", "")),
        "forget": lambda: found.discard(export_id, number),
    }
    if action not in acts:
        raise NotFound("There is no such action on a delivery.")
    try:
        acts[action]()
    except TunesmithError as error:
        say(error.message, "problem")
    return to("exports.show", export_id=export_id)
