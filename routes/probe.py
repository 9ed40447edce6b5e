"""Checks before training: start, show, stop, delete."""

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
    """The configuration to check, and the sample size."""

    config: dict[str, Any] = Field(description="A configuration; see the schema RunConfig.")
    prompts: int = Field(8, ge=1, le=128, description="Number of questions.")
    samples: int | None = Field(None, ge=2, le=64, description="Answers per question. Default: the group size.")


@bp.post("/api/probe/start")
@describes(body=ProbeBody, answer={"probe_id": str, "status": str}, status=202)
def start() -> tuple[Response, int]:
    """Start a check before training by adding it to the queue. 422 if the configuration is invalid."""
    body = read_body(ProbeBody)
    view = services().probes.start(body.config, prompts=body.prompts, samples=body.samples)
    return jsonify({"probe_id": view.probe_id, "status": view.job.status}), 202


@bp.get("/api/probe/<probe_id>")
@describes(answer=dict)
def show(probe_id: str) -> Response:
    """Return a check's status and, once it is completed, its verdict, reason and figures."""
    return jsonify(services().probes.get(probe_id).json())


@bp.get("/api/probe/<probe_id>/completions")
@describes(answer={"groups": list})
def completions(probe_id: str) -> Response:
    """Return all sampled answers with their scores by reward component."""
    return jsonify({"groups": services().probes.answers(probe_id)})


@bp.post("/api/probe/<probe_id>/stop")
@describes(answer=dict, status=202)
def stop(probe_id: str) -> tuple[Response, int]:
    """Stop a check immediately. 409 if it has already ended."""
    return jsonify(services().probes.stop(probe_id).json()), 202


@bp.delete("/api/probe/<probe_id>")
@describes(status=204)
def delete(probe_id: str) -> tuple[str, int]:
    """Move a check to the trash. 409 while it is running or queued."""
    services().probes.delete(probe_id)
    return "", 204


@bp.get("/probe/<probe_id>")
def page_of(probe_id: str) -> str:
    """Show a check before training."""
    return page("probe/show.html", probe_page(services(), probe_id))


@bp.post("/probe/<probe_id>/delete")
def remove(probe_id: str) -> AnyResponse:
    """Move a check to the trash, and return to the setup."""
    try:
        say_deleted("Check deleted.", services().probes.delete(probe_id))
    except Conflict as error:
        say(error.message, "problem")
        return to("probe.page_of", probe_id=probe_id)
    return to("wizard.train")


@bp.post("/probe/<probe_id>")
def stop_from_page(probe_id: str) -> AnyResponse:
    """Stop a check from its page. If it has already ended, show a message."""
    try:
        services().probes.stop(probe_id)
    except Conflict as error:
        say(error.message, "watch")
    return to("probe.page_of", probe_id=probe_id)
