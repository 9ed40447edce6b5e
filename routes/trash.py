"""Trash: list, restore, delete permanently."""

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
"""The page of an item, by kind."""
_LISTS = {"preset": "configs.index", "reward": "rewards.index"}


@bp.get("/api/trash")
@describes(answer={"items": list, "size": int})
def api_list() -> Response:
    """List the items in the trash, last deleted first. ``deletes_at`` is null for items that are kept."""
    found = services().trash
    entries = found.list()
    items = [{**_json(entry), "deletes_at": _moment(entry)} for entry in entries]
    return jsonify({"items": items, "size": sum(entry.size for entry in entries)})


@bp.post("/api/trash/<entry_id>/restore")
@describes(answer={"id": str, "kind": str, "name": str, "deleted_at": str, "size": int})
def api_restore(entry_id: str) -> Response:
    """Restore an item. 404 if it is not in the trash, 409 if another item has taken its place."""
    return jsonify(_json(services().trash.restore(entry_id)))


@bp.delete("/api/trash/<entry_id>")
@describes(status=204)
def api_purge(entry_id: str) -> tuple[str, int]:
    """Delete an item in the trash permanently."""
    services().trash.purge(entry_id)
    return "", 204


@bp.delete("/api/trash")
@describes(answer={"freed": int})
def api_empty() -> Response:
    """Empty the trash: delete all its items permanently. Returns the freed bytes."""
    return jsonify({"freed": services().trash.empty()})


def _json(entry: Entry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in _SHOWN}


def _moment(entry: Entry) -> str | None:
    gone = services().trash.gone_on(entry)
    return gone.isoformat(timespec="seconds") if gone else None


# --- pages ---


@bp.get("/settings/trash")
def index() -> str:
    """Show the trash."""
    return page("trash/index.html", trash_page(services()))


@bp.post("/settings/trash/<entry_id>/restore")
def restore(entry_id: str) -> AnyResponse:
    """Restore an item, and show its page."""
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
    """Delete an item permanently."""
    try:
        services().trash.purge(entry_id)
        say("Deleted permanently.")
    except TunesmithError as error:
        say(error.message, "problem")
    return to("trash.index")


@bp.post("/settings/trash/empty")
def empty() -> AnyResponse:
    """Empty the trash."""
    try:
        say(f"The trash is empty. {size(services().trash.empty())} freed.", "good")
    except TunesmithError as error:
        say(error.message, "problem")
    return to("trash.index")
