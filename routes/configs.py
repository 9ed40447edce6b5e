"""Presets: save, load, rename, delete, download, upload."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, request, send_file
from pydantic import Field
from werkzeug.wrappers import Response as AnyResponse

from core.errors import InvalidInput, NotFound, TunesmithError
from pages.configs import configs_page
from routes._api import Body, describes, read_body, read_query
from routes._pages import page, say, say_deleted, to
from services.current import services
from services.wizard import configs as saved

bp = Blueprint("configs", __name__)


class SaveBody(Body):
    """A configuration and the name to save it under."""

    name: str
    config: dict[str, Any] = Field(description="A configuration; see the schema RunConfig. Saved exactly as given.")


class ValidateBody(Body):
    """A configuration to validate."""

    config: dict[str, Any]


class RenameBody(Body):
    """The current and the new name of a preset."""

    name: str
    new_name: str


class NameQuery(Body):
    """The name of a preset."""

    name: str


@bp.post("/api/configs/save")
@describes(body=SaveBody, answer={"name": str, "modified_at": str, "summary": str})
def api_save() -> Response:
    """Save a configuration as a preset, replacing one of the same name. 422 if invalid, 409 for a built-in name."""
    body = read_body(SaveBody)
    return jsonify(services().configs.save(body.name, body.config).json())


@bp.get("/api/configs/load")
@describes(query=NameQuery, answer={"name": str, "config": dict})
def api_load() -> Response:
    """Return a saved or built-in preset exactly as it was saved."""
    name = read_query(NameQuery).name
    return jsonify({"name": name, "config": services().configs.load(name)})


@bp.get("/api/configs/list")
@describes(answer={"configs": list})
def api_list() -> Response:
    """List saved presets, newest first, then built-in ones. Unusable files are included with their problem."""
    return jsonify({"configs": [entry.json() for entry in services().configs.list()]})


@bp.post("/api/configs/rename")
@describes(body=RenameBody, answer={"name": str, "modified_at": str, "summary": str})
def api_rename() -> Response:
    """Rename a saved preset. 409 if it is built in or the new name is taken."""
    body = read_body(RenameBody)
    return jsonify(services().configs.rename(body.name, body.new_name).json())


@bp.delete("/api/configs/<path:name>")
@describes(status=204)
def api_delete(name: str) -> tuple[str, int]:
    """Move a saved preset to the trash. 409 if it is built in."""
    services().configs.delete(name)
    return "", 204


@bp.post("/api/configs/validate")
@describes(body=ValidateBody, answer={"problems": list, "notes": list})
def api_validate() -> Response:
    """Validate a configuration and check that it can run on this machine. Nothing is saved."""
    config, found = saved.problems(read_body(ValidateBody).config)
    remarks = services().runs.check(config) if config else []
    found += [(note.field, note.message) for note in remarks if note.level == "problem"]
    notes = [{"field": note.field, "message": note.message} for note in remarks if note.level == "note"]
    return jsonify({"problems": [{"field": path, "message": words} for path, words in found], "notes": notes})


@bp.get("/api/configs/download")
@describes(query=NameQuery, answer=dict)
def api_download() -> Response:
    """Download a preset as a JSON file."""
    path = services().configs.path(read_query(NameQuery).name)
    return send_file(
        io.BytesIO(path.read_bytes()), mimetype="application/json", as_attachment=True, download_name=path.name
    )


@bp.post("/api/configs/upload")
@describes(answer={"name": str, "modified_at": str, "summary": str}, status=201)
def api_upload() -> tuple[Response, int]:
    """Upload a preset as the multipart field 'file'. 422 if it is invalid, 409 if its name is taken."""
    return jsonify(receive().json()), 201


def receive() -> saved.ConfigEntry:
    """Validate and save the uploaded preset. Raises InvalidInput if no file was sent."""
    file = request.files.get("file")
    if file is None:
        raise InvalidInput("Send the file as the multipart field 'file'.", field="file")
    return services().configs.upload(file.stream.read(saved.MAX_BYTES + 1), file.filename or "the file")


# --- pages ---


@bp.get("/configs")
def index() -> str:
    """Show saved and built-in presets."""
    return page("configs/index.html", configs_page(services()))


@bp.post("/configs/use")
def use() -> AnyResponse:
    """Load a preset into the setup."""
    services().wizard.load(services().configs.load(request.form.get("name", "")))
    say("Preset loaded. Review your setup, then start.", "good")
    return to("wizard.train")


@bp.post("/configs/<action>")
def act(action: str) -> AnyResponse:
    """Save the setup as a preset, or import, rename or delete one. Errors are shown on the same page."""
    if action not in _ACTS:
        raise NotFound("There is no such action on presets.")
    try:
        if said := _ACTS[action]():
            say(said, "good")
    except TunesmithError as error:
        say(f"Nothing was changed. {error.message}", "problem")
    return to("configs.index")


def _act_keep() -> str:
    name = request.form.get("name", "").strip()
    services().configs.save(name, {**services().wizard.config(), "name": name})
    return f"Saved as '{name}'."


def _act_upload() -> str:
    return f"Imported as '{receive().name}'."


def _act_rename() -> str:
    entry = services().configs.rename(request.form.get("name", ""), request.form.get("to", ""))
    return f"Renamed to '{entry.name}'."


def _act_delete() -> str:
    say_deleted("Preset deleted.", services().configs.delete(request.form.get("name", "")))
    return ""


_ACTS: dict[str, Callable[[], str]] = {
    "keep": _act_keep,
    "upload": _act_upload,
    "rename": _act_rename,
    "delete": _act_delete,
}
