"""Settings, system status and health check."""

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
"""Settings that the API returns unchanged."""
MOVE = {"state": str, "message": str, "error": str, "bytes": int, "total_bytes": int}


class SettingsBody(Body):
    """Settings to change. Settings that are left out stay as they are."""

    hf_token: str | None = Field(None, description="Write-only. Verified with Hugging Face; '' removes it.")
    theme: Literal["system", "light", "dark"] | None = None
    base_model: str | None = Field(None, description="Default base model of new runs.")
    notifications: bool | None = Field(None, description="Whether to show a browser notification when a run ends.")
    shortcuts: bool | None = Field(None, description="Whether single-key keyboard shortcuts are on.")
    trash_days: int | None = Field(None, ge=0, le=MOST_DAYS, description="Days to keep deleted items; 0 for no limit.")
    webhook_url: str | None = Field(None, description="Receives a POST request when a run ends; '' for none.")


class MoveBody(Body):
    """A folder to move, and its destination."""

    name: Literal["outputs", "exports", "uploads", "cache"]
    to: str | None = Field(None, description="Absolute path of a new or empty folder; null moves it back.")


@bp.get("/healthz")
@describes(answer={"status": str})
def healthz() -> Response:
    """Check that the server is up. Needs no login."""
    return jsonify({"status": "ok"})


@bp.get("/api/system/status")
@describes(answer={"device": dict, "load": dict, "disk": dict, "versions": dict, "active_jobs": int})
def status() -> Response:
    """Return the device, CPU, memory, GPU and disk usage, versions, and active jobs."""
    return jsonify(services().system.status())


@bp.get("/api/settings")
@describes(answer={**dict.fromkeys(PLAIN, str), "hf_token": dict, "webhook": dict, "folders": dict, "problem": str})
def api_settings() -> Response:
    """Return the settings. For the Hugging Face token, only whether it is set, its source and its user."""
    return jsonify(_json())


@bp.patch("/api/settings")
@describes(body=SettingsBody, answer={**dict.fromkeys(PLAIN, str), "hf_token": dict})
def api_change() -> Response:
    """Update settings. Jobs use them from their next start. If one is invalid, nothing is changed."""
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
    """Send a test message to the webhook, and return the result. 400 if none is set."""
    return jsonify(services().webhook.test().model_dump())


@bp.get("/api/settings/move")
@describes(answer=MOVE)
def api_move() -> Response:
    """Return the current folder move (``state`` is working), or the latest one."""
    return _move_json()


@bp.post("/api/settings/move")
@describes(body=MoveBody, answer=MOVE, status=202)
def api_start_move() -> tuple[Response, int]:
    """Start moving a folder. All other changes are rejected with 409 until it ends. 409 while a job is active."""
    body = read_body(MoveBody)
    services().folders.move(body.name, body.to)
    return _move_json(), 202


@bp.delete("/api/settings/move")
@describes(answer=MOVE)
def api_cancel_move() -> Response:
    """Cancel the folder move. The folder stays in place unless the switch was already made."""
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
    """Show the settings, and what this installation runs on."""
    given = request.args
    return page("system/settings.html", settings_page(services(), given.get("folder", ""), given.get("to", "")))


@bp.post("/settings")
def save() -> AnyResponse:
    """Save the general settings."""
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
    """Save the webhook URL, and send a test message if requested."""
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
    """Start moving a folder, or move it back."""
    name, place = request.form.get("name", ""), request.form.get("to")
    try:
        services().folders.move(name, place)
    except TunesmithError as error:
        say(error.message, "problem")
        return to("system.settings", folder=name, to=place)
    return to("system.settings", _anchor="folders")


@bp.post("/settings/move/cancel")
def cancel_move() -> AnyResponse:
    """Cancel the folder move. The page shows the result."""
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
