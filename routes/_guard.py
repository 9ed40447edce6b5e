"""Security checks before every request, including Socket.IO's, and security headers for every response."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Sized
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Flask, Response, current_app, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from werkzeug.wrappers import Response as AnyResponse

from core.errors import Forbidden, TunesmithError, Unauthorized, Unavailable
from routes.errors import answer, wants_json
from services.access.security import Gate, host_name
from services.current import services

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_View = TypeVar("_View", bound=Callable[..., object])

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_ENDPOINTS = frozenset({"static", "auth.login", "auth.enter", "system.healthz"})
DURING_A_MOVE = OPEN_ENDPOINTS | {
    "auth.logout", "system.move", "system.cancel_move", "system.api_start_move", "system.api_cancel_move",
}  # fmt: skip
"""Endpoints that accept changes while a folder is being moved."""
SMALL = 8 * 1024 * 1024
"""Maximum size of a request without a file, in bytes."""
MOST_SOCKETS = 100
"""Maximum simultaneous Socket.IO connections. Each WebSocket uses four threads."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{0,253})(:[0-9]{0,5})?")

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)


class CookieSessions(SecureCookieSessionInterface):
    """Marks the session cookie Secure for requests over HTTPS."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def accepts_uploads(view: _View) -> _View:
    """Let a handler accept files up to MAX_UPLOAD_GB. All others are limited to :data:`SMALL`."""
    view.accepts_uploads = True  # type: ignore[attr-defined]
    return view


def install(app: Flask, gate: Gate, *, port: int, max_upload: int) -> None:
    """Install the checks for every request to ``app``."""
    app.session_interface = CookieSessions()
    app.config.update(
        # Cookies are shared by all ports of a host, so each server needs its own name.
        SESSION_COOKIE_NAME=f"tunesmith_{port}",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        MAX_CONTENT_LENGTH=max_upload,
    )
    app.extensions["tunesmith_gate"] = gate
    app.before_request(guard)
    app.before_request(enter)
    app.teardown_request(leave)
    app.after_request(seal)
    app.jinja_env.globals.update(csrf_token=csrf_token, logged_in=lambda: gate.login_required)


def guard() -> AnyResponse | None:
    """Check host, origin, size, login and CSRF token, in this order. Under /v1, only the access token counts."""
    check_source()
    view = current_app.view_functions.get(request.endpoint or "")
    if not getattr(view, "accepts_uploads", False):
        request.max_content_length = SMALL
    if request.path.startswith("/v1/"):
        check_key()
        return None
    if not (request.endpoint in OPEN_ENDPOINTS or logged_in()):
        if wants_json():
            raise Unauthorized("Log in, or send the access token in the header 'Authorization: Bearer <token>'.")
        return redirect(url_for("auth.login", next=request.full_path.rstrip("?")))
    if request.method not in SAFE:
        check_csrf()
    return None


def enter() -> None:
    """Reject changes while a folder is being moved, and block moves while a change is being handled."""
    if request.method not in SAFE and request.endpoint not in DURING_A_MOVE:
        services().folders.enter()
        g.entered = True


def leave(_error: BaseException | None) -> None:
    if g.pop("entered", False):
        services().folders.leave()


def check_source() -> None:
    """Reject requests with an unknown host name, and requests from other websites.

    Raises:
        Forbidden: The Host, Origin or Sec-Fetch-Site header is not allowed.
    """
    gate = _gate()
    gate.check_host(request.host)
    gate.check_origin(request.headers.get("Origin"), request.scheme, request.host)
    site = request.headers.get("Sec-Fetch-Site", "none")
    following_a_link = request.method in SAFE and request.headers.get("Sec-Fetch-Mode") == "navigate"
    if site in {"cross-site", "same-site"} and not (
        following_a_link and not request.path.startswith(("/api/", "/v1/"))
    ):
        raise Forbidden(
            "This request came from another website and was blocked. Open Tunesmith directly and try again."
        )


def logged_in() -> bool:
    """Whether the client is authorized: no login is required, or it has a session or the access token."""
    if "logged_in" not in g:
        g.logged_in = False  # for the error page, if checking the token raises
        g.logged_in = _logged_in(_gate())
    return bool(g.logged_in)


def _logged_in(gate: Gate) -> bool:
    if not gate.login_required:
        return True
    if same(str(session.get("login", "")), gate.login_mark()) and gate.sessions.holds(str(session.get("id", ""))):
        return True
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    g.by_token = scheme.lower() == "bearer" and gate.check_token(token.strip(), request.remote_addr or "")
    return bool(g.by_token)


def check_key() -> None:
    """Require the access token, even for local requests. A session cookie is not enough.

    Raises:
        Unauthorized: The token is missing or wrong, or none exists yet.
    """
    gate = _gate()
    if gate.key == "none":
        raise Unauthorized("There is no access token yet. Create one in the playground, under 'OpenAI-compatible API'.")
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Send the access token as the API key, in the header 'Authorization: Bearer <token>'.")
    if not gate.check_token(token.strip(), request.remote_addr or ""):
        raise Unauthorized(
            "The access token is not valid for this server. If you lost it, create a new one in the playground, under "
            "'OpenAI-compatible API'."
        )


def check_csrf() -> None:
    """Require the session's CSRF token from browsers. Other clients have no session to exploit.

    Raises:
        Forbidden: The CSRF token is missing or wrong.
    """
    if g.get("by_token") or not _from_browser():
        return
    sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token") or ""
    if not same(sent, str(session.get("csrf", ""))) or not sent:
        raise Forbidden("This page has expired, so nothing was changed. Reload it and try again.")


def same(one: str, other: str) -> bool:
    """Compare two secrets in constant time. Accepts any text, even with lone surrogates."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def csrf_token() -> str:
    """Return the session's CSRF token, for forms and scripts."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return str(session["csrf"])


def seal(response: Response) -> Response:
    """Add headers that block framing, foreign scripts and caching."""
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    # Not 'no-referrer', which makes browsers send 'Origin: null' with our own forms.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


class Doorman:
    """WSGI middleware that validates the Host header and applies the same checks to Socket.IO's requests.

    Flask builds URLs from the Host header, even on error pages, so a malformed one must not reach it.

    Args:
        app: The Flask application whose rules apply.
        inner: The WSGI application to call, including Socket.IO.
    """

    def __init__(self, app: Flask, inner: WSGIApplication) -> None:
        self._app = app
        self._inner = inner

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        host = str(environ.get("HTTP_HOST", ""))
        if not _HOST.fullmatch(host) or (host.startswith("[") and not host_name(host)):
            return _plain(400, "The Host header of this request is not valid.")(environ, start)
        if not str(environ.get("PATH_INFO", "")).startswith("/socket.io"):
            return self._inner(environ, start)
        with self._app.request_context(environ):
            refusal = self._refusal()
            if refusal is not None:
                return refusal(environ, start)
        return self._inner(environ, start)

    def _refusal(self) -> Callable[[Any, Any], Iterable[bytes]] | None:
        try:
            check_source()
            if not logged_in():
                raise Unauthorized("Log in, or send the access token in the header 'Authorization: Bearer <token>'.")
            if "sid" not in request.args and len(self._sockets()) >= MOST_SOCKETS:
                raise Unavailable(
                    "Too many pages are connected. Close some of them; this page then connects automatically."
                )
        except TunesmithError as error:
            return seal(answer(error.status, error.code, error.message))
        return None

    def _sockets(self) -> Sized:
        open_ones: Sized = self._app.extensions["socketio"].server.eio.sockets
        return open_ones


def _plain(status: int, message: str) -> AnyResponse:
    return AnyResponse(message + "\n", status, content_type="text/plain; charset=utf-8")


def _from_browser() -> bool:
    return bool({"Origin", "Sec-Fetch-Site", "Cookie"} & set(request.headers.keys()))


def _gate() -> Gate:
    gate: Gate = current_app.extensions["tunesmith_gate"]
    return gate
