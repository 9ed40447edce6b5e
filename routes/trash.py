"""The trash: list, restore, delete for good."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from werkzeug.wrappers import Response as AnyResponse

from core.errors import TunesmithError
from pages.trash.index import WORDS, trash_page
from routes._api import describes
from routes._pages import page, say, to
from services.current import services
from services.machine.bin import Entry
from services.words import size

bp = Blueprint("trash", __name__)
_SHOWN = ("id", "kind", "name", "deleted_at", "size")
_PLACES = {
    "run": ("runs.show", "session_id"),
    "export": ("exports.show", "export_id"),
    "evaluation": ("evaluations.show", "evaluation_id"),
    "dataset": ("datasets.show", "upload_id"),
    "probe": ("probe.page_of", "probe_id"),
}
"""Kind to the page of one such thing."""
_LISTS = {"preset": "configs.index", "reward": "rewards.index"}


@bp.get("/api/trash")
@describes(answer={"items": list, "size": int})
def api_list() -> Response:
    """Everything that was deleted and can be restored, newest first, with ``deletes_at``: null for never."""
    found = services().trash
    entries = found.list()
    items = [{**_json(entry), "deletes_at": _moment(entry)} for entry in entries]
    return jsonify({"items": items, "size": sum(entry.size for entry in entries)})


@bp.post("/api/trash/<entry_id>/restore")
@describes(answer={"id": str, "kind": str, "name": str, "deleted_at": str, "size": int})
def api_restore(entry_id: str) -> Response:
    """Put one thing back where it was. 409 where something else has its place."""
    return jsonify(_json(services().trash.restore(entry_id)))


@bp.delete("/api/trash/<entry_id>")
@describes(status=204)
def api_purge(entry_id: str) -> tuple[str, int]:
    """Delete one thing for good."""
    services().trash.purge(entry_id)
    return "", 204


@bp.delete("/api/trash")
@describes(answer={"freed": int})
def api_empty() -> Response:
    """Delete everything in the trash for good; ``freed`` in bytes."""
    return jsonify({"freed": services().trash.empty()})


def _json(entry: Entry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in _SHOWN}


def _moment(entry: Entry) -> str | None:
    gone = services().trash.gone_on(entry)
    return gone.isoformat(timespec="seconds") if gone else None


# --- pages ---


@bp.get("/settings/trash")
def index() -> str:
    """What was deleted, to be restored or deleted for good."""
    return page("trash/index.html", trash_page(services()))


@bp.post("/settings/trash/<entry_id>/restore")
def restore(entry_id: str) -> AnyResponse:
    """Put one thing back, and show it."""
    try:
        entry = services().trash.restore(entry_id)
    except TunesmithError as error:
        say(error.message, "problem")
        return to("trash.index")
    say(f"{WORDS[entry.kind]} restored.", "good")
    if entry.kind in _PLACES:
        endpoint, name = _PLACES[entry.kind]
        return to(endpoint, **{name: entry.file})
    return to(_LISTS.get(entry.kind, "trash.index"))


@bp.post("/settings/trash/<entry_id>/delete")
def purge(entry_id: str) -> AnyResponse:
    """Delete one thing for good."""
    try:
        services().trash.purge(entry_id)
        say("Deleted permanently.")
    except TunesmithError as error:
        say(error.message, "problem")
    return to("trash.index")


@bp.post("/settings/trash/empty")
def empty() -> AnyResponse:
    """Delete everything for good."""
    try:
        say(f"The trash is empty. {size(services().trash.empty())} freed.", "good")
    except TunesmithError as error:
        say(error.message, "problem")
    return to("trash.index")
