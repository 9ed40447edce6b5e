"""Settings, the machine's state, and the health check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from flask import Blueprint, Response, jsonify, request
from pydantic import Field
from werkzeug.wrappers import Response as AnyResponse

from core.errors import TunesmithError, Unavailable
from pages.settings import settings_page, token_view
from routes._api import Body, describes, read_body
from routes._pages import page, say, to
from services.current import services
from services.machine.hub_account import remove_token, save_token
from services.machine.preferences import MOST_DAYS
from services.machine.webhook import Sent

bp = Blueprint("system", __name__)
PLAIN = ("theme", "base_model", "notifications", "shortcuts", "trash_days", "webhook_url")
"""Settings that are shown as they are."""
MOVE = {"state": str, "message": str, "error": str, "bytes": int, "total_bytes": int}


class SettingsBody(Body):
    """What to change; what is left out stays."""

    hf_token: str | None = Field(None, description="Write-only. Hugging Face is asked whose it is; '' removes it.")
    theme: Literal["system", "light", "dark"] | None = None
    base_model: str | None = Field(None, description="The model that a new run starts with.")
    notifications: bool | None = Field(None, description="Whether pages may show a notification when a run ends.")
    shortcuts: bool | None = Field(None, description="Whether single-letter keyboard shortcuts work.")
    trash_days: int | None = Field(None, ge=0, le=MOST_DAYS, description="0: until the trash is emptied.")
    webhook_url: str | None = Field(None, description="Posted to when a run ends; '' for none.")


class MoveBody(Body):
    """Which folder, and where to."""

    name: Literal["outputs", "exports", "uploads", "cache"]
    to: str | None = Field(None, description="The whole path of a new or empty folder; null: back into the home.")


@bp.get("/healthz")
@describes(answer={"status": str})
def healthz() -> Response:
    """Whether the server answers; says nothing about the machine."""
    return jsonify({"status": "ok"})


@bp.get("/api/system/status")
@describes(answer={"device": dict, "load": dict, "disk": dict, "versions": dict, "active_jobs": int})
def status() -> Response:
    """Device, CPU, memory, GPU, disk, versions, active jobs."""
    return jsonify(services().system.status())


@bp.get("/api/settings")
@describes(answer={**dict.fromkeys(PLAIN, str), "hf_token": dict, "webhook": dict, "folders": dict, "problem": str})
def api_settings() -> Response:
    """The settings. Of the Hugging Face token only whether there is one, from where, and whose it is."""
    return jsonify(_json())


@bp.patch("/api/settings")
@describes(body=SettingsBody, answer={**dict.fromkeys(PLAIN, str), "hf_token": dict})
def api_change() -> Response:
    """Change settings; they hold at once, for jobs from the next start on."""
    changes = read_body(SettingsBody).model_dump(exclude_none=True)
    token = changes.pop("hf_token", None)
    found = services()
    found.preferences.check(changes)  # all or nothing
    if token:
        save_token(found.preferences, found.settings, token)
    elif token == "":
        remove_token(found.preferences)
    found.preferences.change(changes)
    return jsonify(_json())


@bp.post("/api/settings/webhook/test")
@describes(answer=Sent)
def api_test_webhook() -> Response:
    """Post an example to the webhook now; says how that went."""
    return jsonify(services().webhook.test().model_dump())


@bp.get("/api/settings/move")
@describes(answer=MOVE)
def api_move() -> Response:
    """The move of a folder that is under way (``state`` is working), or the latest one."""
    return _move_json()


@bp.post("/api/settings/move")
@describes(body=MoveBody, answer=MOVE, status=202)
def api_start_move() -> tuple[Response, int]:
    """Move a folder to another place, or back; other changes are refused until that ends."""
    body = read_body(MoveBody)
    services().folders.move(body.name, body.to)
    return _move_json(), 202


@bp.delete("/api/settings/move")
@describes(answer=MOVE)
def api_cancel_move() -> Response:
    """Cancel the move: the folder stays where it was, unless it was swapped already."""
    services().folders.cancel()
    return _move_json()


def _move_json() -> Response:
    last = services().folders.look()
    return jsonify(last.model_dump(include=set(MOVE)) if last else dict.fromkeys(MOVE))


def _json() -> dict[str, Any]:
    found = services()
    chosen, token, sent = found.preferences.get(), token_view(found), found.webhook.last()
    home = found.settings.home
    return {
        **{name: getattr(chosen, name) for name in PLAIN},
        "hf_token": {"set": bool(token.source), "source": token.source or None, "user": token.user or None},
        "webhook": sent.model_dump() if sent else None,
        "folders": {
            name: str(home.root / name) for name in ("outputs", "exports", "uploads", "configs", "cache", "trash")
        },
        "problem": found.preferences.problem,
    }


# --- pages ---


@bp.get("/settings")
def settings() -> str:
    """What can be set, and what this installation runs on."""
    given = request.args
    return page("system/settings.html", settings_page(services(), given.get("folder", ""), given.get("to", "")))


@bp.post("/settings")
def save() -> AnyResponse:
    """Save the form of general settings."""
    form = request.form
    changes: dict[str, Any] = {name: form[name] for name in ("theme", "base_model", "trash_days") if name in form}
    changes |= {name: name in form for name in ("notifications", "shortcuts")}

    def change() -> str:
        services().preferences.change(changes)
        return "Settings saved."

    return _saved(change)


@bp.post("/settings/token")
def token() -> AnyResponse:
    """Save or remove the Hugging Face token."""
    found = services()
    if request.form.get("action") == "remove":
        return _saved(lambda: remove_token(found.preferences))
    return _saved(lambda: save_token(found.preferences, found.settings, request.form.get("token", "")))


@bp.post("/settings/webhook")
def webhook() -> AnyResponse:
    """Save the webhook's address; with 'Send test', post an example to it."""
    found, url = services(), request.form.get("webhook_url", "").strip()

    def change() -> str:
        found.preferences.change({"webhook_url": url})
        if request.form.get("action") == "test":
            sent = found.webhook.test()
            if not sent.ok:
                raise Unavailable(f"The webhook is saved, but the test failed. {sent.message}")
            return f"Webhook saved. {sent.message}"
        return "Webhook saved." if url else "Webhook removed."

    return _saved(change)


@bp.post("/settings/move")
def move() -> AnyResponse:
    """Start to move a folder to another place, or back."""
    name, place = request.form.get("name", ""), request.form.get("to")
    try:
        services().folders.move(name, place)
    except TunesmithError as error:
        say(error.message, "problem")
        return to("system.settings", folder=name, to=place)
    return to("system.settings", _anchor="folders")


@bp.post("/settings/move/cancel")
def cancel_move() -> AnyResponse:
    """Cancel the move; the result is on the page."""
    services().folders.cancel()
    return to("system.settings", _anchor="folders")


def _saved(change: Callable[[], str]) -> AnyResponse:
    try:
        say(change(), "good")
    except Unavailable as error:
        say(error.message, "watch")
    except TunesmithError as error:
        say(f"Not saved. {error.message}", "problem")
    return to("system.settings")
