"""Login with the access token, and logout."""

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
    """The login page; redirects if no login is needed."""
    if not _gate().login_required:
        return redirect("/")
    return render_template("auth/login.html", next=_inside(request.args.get("next", "/")), error=None)


@bp.post("/login")
def enter() -> Response | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Log in: compare the token with the stored hash; slows down after failed attempts."""
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
    """Log out; every copy of the cookie becomes invalid."""
    _gate().sessions.end(str(session.get("id", "")))
    session.clear()
    return redirect(url_for("auth.login"))


def _inside(target: str) -> str:
    """A path on this server; anything else becomes the home page."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    outside = parts.scheme or parts.netloc or not target.startswith("/") or target.startswith("//")
    # A header cannot hold control characters, and browsers read a backslash as a slash.
    return "/" if outside or "\\" in target or not target.isprintable() else target
