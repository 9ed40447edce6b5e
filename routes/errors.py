"""One handler for every failure: one JSON shape for programs, one page for people."""

from __future__ import annotations

import errno
import logging
from typing import Any

from flask import Blueprint, Response, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException, RequestTimeout

from core.disk import disk_words
from core.errors import InvalidConfig, TooManyRequests, TunesmithError
from services.forms.labels import in_words
from services.models.openai_chat import problem

bp = Blueprint("errors", __name__)
log = logging.getLogger(__name__)

_WORDS = {
    400: ("invalid_input", "The request could not be read. Send a complete request with valid JSON."),
    401: ("unauthorized", "Log in first, or send the access token as 'Authorization: Bearer <token>'."),
    403: ("forbidden", "This server does not allow that request. Start again from the home page."),
    404: ("not_found", "There is nothing at this address. Check it, or start from the home page."),
    405: (
        "method_not_allowed",
        "This address does not take that kind of request. /api/openapi.json lists what each takes.",
    ),
    408: ("timeout", "The request did not arrive in time. Check the connection and send it again."),
    409: ("conflict", "That cannot be done at the moment. Reload the page to see how things stand."),
    413: ("too_large", "That is more than this server accepts in one request. Send less, or raise MAX_UPLOAD_GB."),
    415: ("invalid_input", "Send JSON with the header Content-Type: application/json."),
    416: ("invalid_input", "The file has no such range of bytes. Ask for a range within its size."),
    429: ("too_many_requests", "Too many requests came in a short time. Wait a minute, then try again."),
    503: ("unavailable", "That is not available at the moment. Try again in a minute."),
}
_TITLES = {
    400: "This request cannot be read",
    401: "Log in first",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible at this address",
    408: "The request took too long",
    409: "Not possible right now",
    413: "Too large",
    415: "Send JSON",
    416: "No such part of the file",
    422: "Something is not right yet",
    429: "Too many requests",
    500: "Something went wrong",
    503: "Not available right now",
}
"""What an error page is headed by; every one of these statuses has a test of its text."""
_OTHER = "That did not work"
_NOT_SAVED = "What you sent was not saved."
_BROKEN = "Something went wrong on the server. Nothing was deleted; the server's log has the details. Try again."


@bp.app_errorhandler(TunesmithError)
def expected(error: TunesmithError) -> Response:
    """A failure with words of its own."""
    problems = error.problems if isinstance(error, InvalidConfig) else None
    response = answer(error.status, error.code, error.message, field=error.field, problems=problems)
    if isinstance(error, TooManyRequests) and error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


@bp.app_errorhandler(HTTPException)
def refused(error: HTTPException) -> Response:
    """What Flask and Werkzeug refuse by themselves."""
    status = RequestTimeout.code if isinstance(error.__context__, TimeoutError) else error.code or 500
    code, message = _WORDS.get(status, ("error", error.description or _BROKEN))
    response = answer(status, code, message)
    if status == 405 and getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(error.valid_methods)  # type: ignore[attr-defined]
    return response


@bp.app_errorhandler(Exception)
def unexpected(error: Exception) -> Response:
    """A defect, or trouble with the disk: the trace goes to the log, never to the browser."""
    if getattr(error, "errno", None) == errno.ENAMETOOLONG or "embedded null byte" in str(error):
        return answer(404, *_WORDS[404])  # a name that no file can have
    if message := disk_words(error):
        log.warning("the disk refused at %s %s: %s", request.method, request.path, error)
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
    """The one error shape, or the error page where a person asked for a page; below /v1, OpenAI's shape."""
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
        response = make_response(
            render_template(
                "errors/answer.html", code=status, title=_TITLES.get(status, _OTHER), message=in_words(message)
            )
        )
    response.status_code = status
    return response


def wants_json() -> bool:
    """Whether the sender is a program or a page's script."""
    return (
        request.path.startswith(("/api/", "/v1/", "/socket.io"))
        or request.is_json
        or request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json"
    )
