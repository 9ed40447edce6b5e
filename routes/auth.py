"""Log in with the access token, and log out."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, current_app, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from core.errors import TooManyRequests
from services.access.security import Gate

bp = Blueprint("auth", __name__)


def _gate() -> Gate:
    gate: Gate = current_app.extensions["tunesmith_gate"]
    return gate


@bp.get("/login")
def login() -> Response | str:
    """Show the login page, or redirect to the home page if no login is required."""
    if not _gate().login_required:
        return redirect("/")
    return render_template("auth/login.html", next=_inside(request.args.get("next", "/")), error=None)


@bp.post("/login")
def enter() -> Response | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Log in with the access token. 401 if it is wrong, 429 after too many failed attempts."""
    onward = _inside(request.form.get("next", "/"))
    try:
        right = _gate().check_token(request.form.get("token", "").strip(), request.remote_addr or "")
    except TooManyRequests as refusal:
        page = render_template("auth/login.html", next=onward, error=refusal.message)
        return page, refusal.status, {"Retry-After": str(refusal.retry_after)}
    if not right:
        error = "This access token is not correct. It was printed in the terminal when the server first started."
        return render_template("auth/login.html", next=onward, error=error), 401
    session.clear()
    session["login"] = _gate().login_mark()
    session["id"] = _gate().sessions.begin()
    return redirect(onward)


@bp.post("/logout")
def logout() -> Response:
    """Log out and invalidate every copy of the session cookie."""
    _gate().sessions.end(str(session.get("id", "")))
    session.clear()
    return redirect(url_for("auth.login"))


def _inside(target: str) -> str:
    """Return the path if it is on this server, or the home page otherwise."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    outside = parts.scheme or parts.netloc or not target.startswith("/") or target.startswith("//")
    # A header cannot hold control characters, and browsers read a backslash as a slash.
    return "/" if outside or "\\" in target or not target.isprintable() else target
