"""Disk usage and cleanup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from flask import Blueprint, Response, jsonify, request
from pydantic import Field
from werkzeug.wrappers import Response as AnyResponse

from core.errors import NotFound, TunesmithError
from pages.storage.index import storage_page
from routes._api import Body, describes, read_query
from routes._pages import page, say, to
from services.current import services
from services.words import size

bp = Blueprint("storage", __name__)
PATIENCE = 30.0
"""Maximum seconds that an API request waits for the first measurement."""


class NameQuery(Body):
    """The download to delete."""

    name: str = Field(min_length=1, max_length=300, description="Hugging Face name, such as Qwen/Qwen3-0.6B.")


@bp.get("/api/storage")
@describes(
    answer={
        "at": str, "measuring": bool, "total": int, "parts": dict, "largest": list, "downloads": list,
        "old_checkpoints": int, "caches": int,
    }
)  # fmt: skip
def api_usage() -> Response:
    """Return disk usage in bytes: by kind, largest items, downloads. ``at`` is when it was measured, or null."""
    storage = services().storage
    usage, _ = storage.look()
    usage = usage or storage.wait(PATIENCE)
    if usage is None:
        return jsonify({"at": None, "measuring": storage.measuring})
    parts = {part.key: part.size for part in usage.parts}
    return jsonify({**asdict(usage), "parts": parts, "total": usage.total, "measuring": storage.measuring})


@bp.post("/api/storage/measure")
@describes(answer={"measuring": bool}, status=202)
def api_measure() -> tuple[Response, int]:
    """Start measuring disk usage in the background."""
    services().storage.measure()
    return jsonify({"measuring": True}), 202


@bp.delete("/api/storage/checkpoints")
@describes(answer={"freed": int})
def api_checkpoints() -> Response:
    """Delete all but the newest checkpoint of each run that has ended. Returns the freed bytes."""
    return jsonify({"freed": services().cleanup.checkpoints()})


@bp.delete("/api/storage/downloads")
@describes(query=NameQuery, answer={"freed": int})
def api_download() -> Response:
    """Delete a downloaded model or dataset. 404 if there is none, 409 while an unfinished job needs it."""
    return jsonify({"freed": services().cleanup.download(read_query(NameQuery).name)})


@bp.delete("/api/storage/caches")
@describes(answer={"freed": int})
def api_caches() -> Response:
    """Delete caches that are rebuilt when needed. 409 while a job is running or queued."""
    return jsonify({"freed": services().cleanup.caches()})


# --- pages ---


@bp.get("/settings/storage")
def index() -> str:
    """Show disk usage."""
    return page("storage/index.html", storage_page(services()))


@bp.post("/settings/storage/<action>")
def act(action: str) -> AnyResponse:
    """Measure disk usage again, or clean up."""
    cleanup = services().cleanup
    acts: dict[str, Callable[[], int]] = {
        "checkpoints": cleanup.checkpoints,
        "caches": cleanup.caches,
        "download": lambda: cleanup.download(request.form.get("name", "")),
    }
    if action not in {*acts, "measure"}:
        raise NotFound("There is no such action on the Storage page.")
    try:
        if action in acts:
            say(f"{size(acts[action]())} freed.", "good")
        else:
            services().storage.measure()
    except TunesmithError as error:
        say(error.message, "problem")
    return to("storage.index")
