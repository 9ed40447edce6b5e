"""The check before training: start one, read what it found, stop it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify
from pydantic import Field
from werkzeug.wrappers import Response as AnyResponse

from core.errors import Conflict
from pages.probe import probe_page
from routes._api import Body, describes, read_body
from routes._pages import page, say, say_deleted, to
from services.current import services

bp = Blueprint("probe", __name__)


class ProbeBody(Body):
    """What to probe, and how thoroughly."""

    config: dict[str, Any] = Field(description="A configuration; see the schema RunConfig.")
    prompts: int = Field(8, ge=1, le=128, description="How many questions are asked.")
    samples: int | None = Field(None, ge=2, le=64, description="Answers to each; the group size where left out.")


@bp.post("/api/probe/start")
@describes(body=ProbeBody, answer={"probe_id": str, "status": str}, status=202)
def start() -> tuple[Response, int]:
    """Put a probe into the queue."""
    body = read_body(ProbeBody)
    view = services().probes.start(body.config, prompts=body.prompts, samples=body.samples)
    return jsonify({"probe_id": view.probe_id, "status": view.job.status}), 202


@bp.get("/api/probe/<probe_id>")
@describes(answer=dict)
def show(probe_id: str) -> Response:
    """How it stands; when it is completed, the verdict, its reason and the figures."""
    return jsonify(services().probes.get(probe_id).json())


@bp.get("/api/probe/<probe_id>/completions")
@describes(answer={"groups": list})
def completions(probe_id: str) -> Response:
    """Everything that was sampled, with reward parts."""
    return jsonify({"groups": services().probes.answers(probe_id)})


@bp.post("/api/probe/<probe_id>/stop")
@describes(answer=dict, status=202)
def stop(probe_id: str) -> tuple[Response, int]:
    """End it at once."""
    return jsonify(services().probes.stop(probe_id).json()), 202


@bp.delete("/api/probe/<probe_id>")
@describes(status=204)
def delete(probe_id: str) -> tuple[str, int]:
    """Delete it with its answers; refused while it runs."""
    services().probes.delete(probe_id)
    return "", 204


@bp.get("/probe/<probe_id>")
def page_of(probe_id: str) -> str:
    """A probe's page."""
    return page("probe/show.html", probe_page(services(), probe_id))


@bp.post("/probe/<probe_id>/delete")
def remove(probe_id: str) -> AnyResponse:
    """Delete it, and go back to the set-up that it was made from."""
    try:
        say_deleted("Check deleted.", services().probes.delete(probe_id))
    except Conflict as error:
        say(error.message, "problem")
        return to("probe.page_of", probe_id=probe_id)
    return to("wizard.train")


@bp.post("/probe/<probe_id>")
def stop_from_page(probe_id: str) -> AnyResponse:
    """The page's Stop button; pressed too late, it says so."""
    try:
        services().probes.stop(probe_id)
    except Conflict as error:
        say(error.message, "watch")
    return to("probe.page_of", probe_id=probe_id)
