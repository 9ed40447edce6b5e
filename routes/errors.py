"""Error handling: one JSON format for API clients, one error page for browsers."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, g, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException, RequestTimeout

from core.disk import disk_words
from core.errors import InvalidConfig, TooManyRequests, TunesmithError
from services.forms.labels import in_words
from services.models.openai_chat import problem

bp = Blueprint("errors", __name__)
log = logging.getLogger(__name__)

_WORDS = {
    400: (
        "invalid_input",
        "The request is incomplete or not valid. Go back and try again. Programs must send valid JSON.",
    ),
    401: ("unauthorized", "Log in, or send the access token in the header 'Authorization: Bearer <token>'."),
    403: ("forbidden", "This request is not allowed. Start again from the home page."),
    404: ("not_found", "There is nothing at this address. The link may be wrong, or what it led to was deleted."),
    405: (
        "method_not_allowed",
        "This address does not support this kind of request. /api/openapi.json lists the supported methods.",
    ),
    408: ("timeout", "The request took too long to arrive. Check your connection and try again."),
    409: ("conflict", "This is not possible right now. Reload the page to see the current state."),
    413: (
        "too_large",
        "This is larger than the server accepts. Send less, or raise the upload limit (MAX_UPLOAD_GB) and restart.",
    ),
    415: (
        "invalid_input",
        "The server cannot read this format. Send JSON with the header Content-Type: application/json.",
    ),
    416: ("invalid_input", "The file does not have the requested range of bytes. Request a range within its size."),
    429: ("too_many_requests", "Too many requests in a short time. Wait a minute, then try again."),
    503: ("unavailable", "This is temporarily unavailable. Try again in a minute."),
}
_TITLES = {
    400: "Invalid request",
    401: "Log in to continue",
    403: "Not allowed",
    404: "Page not found",
    405: "Not supported",
    408: "Request timed out",
    409: "Not possible right now",
    413: "Too large",
    415: "Unsupported format",
    416: "Range not available",
    422: "Some settings need your attention",
    429: "Too many requests",
    500: "Something went wrong",
    503: "Temporarily unavailable",
}
"""Headings of error pages. A test covers the text of every status."""
_OTHER = "Something went wrong"
_NOT_SAVED = "Your changes were not saved."
_BROKEN = "The server had an unexpected error. Nothing was deleted. Try again; if it happens again, report the problem."


@bp.app_errorhandler(TunesmithError)
def expected(error: TunesmithError) -> Response:
    """Handle an error of this application, which has its own message."""
    problems = error.problems if isinstance(error, InvalidConfig) else None
    response = answer(error.status, error.code, error.message, field=error.field, problems=problems)
    if isinstance(error, TooManyRequests) and error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


@bp.app_errorhandler(HTTPException)
def refused(error: HTTPException) -> Response:
    """Handle an error raised by Flask or Werkzeug."""
    status = RequestTimeout.code if isinstance(error.__context__, TimeoutError) else error.code or 500
    code, message = _WORDS.get(status, ("error", error.description or _BROKEN))
    response = answer(status, code, message)
    if status == 405 and getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(error.valid_methods)  # type: ignore[attr-defined]
    return response


@bp.app_errorhandler(Exception)
def unexpected(error: Exception) -> Response:
    """Handle a bug or disk error. The traceback goes to the log, never to the browser."""
    if getattr(error, "errno", None) == errno.ENAMETOOLONG or "embedded null byte" in str(error):
        return answer(404, *_WORDS[404])  # a name that no file can have
    if message := disk_words(error):
        log.warning("disk error at %s %s: %s", request.method, request.path, error)
        return answer(503, "unavailable", f"{_NOT_SAVED} {message}")
    log.error("unexpected error at %s %s", request.method, request.path, exc_info=error)
    return answer(500, "error", _BROKEN)


def answer(
    status: int,
    code: str,
    message: str,
    *,
    field: str | None = None,
    problems: list[tuple[str, str]] | None = None,
) -> Response:
    """Render an error as JSON, as a web page, or in OpenAI's format under /v1."""
    if request.path.startswith("/v1/"):
        response = jsonify(problem(status, code, message, field))
    elif wants_json():
        error: dict[str, Any] = {"code": code, "message": message}
        if field:
            error["field"] = field
        if problems:
            error["problems"] = [{"field": path, "message": message} for path, message in problems]
        response = jsonify({"error": error})
    else:
        title, words = _TITLES.get(status, _OTHER), in_words(message)
        response = make_response(
            _framed(
                lambda: render_template("errors/answer.html", code=status, title=title, message=words, before=_before())
            )
        )
    response.status_code = status
    return response


def _framed(render: Callable[[], str]) -> str:
    """Render the page, and retry without its frame (the navigation around the content) if that fails."""
    try:
        return render()
    except Exception as error:
        log.error("the error page could not be shown with its frame", exc_info=error)
        g.without_frame = True
        return render()


def _before() -> str:
    """Return the path of the page whose form was rejected; '' for other requests."""
    came = urlsplit(request.referrer or "")
    if request.method != "POST" or came.netloc != request.host or not came.path.startswith("/"):
        return ""
    return "/" + f"{came.path}?{came.query}".strip("/?")


def wants_json() -> bool:
    """Whether the client expects JSON: an API client or a page's script."""
    return (
        request.path.startswith(("/api/", "/v1/", "/socket.io"))
        or request.is_json
        or request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json"
    )
