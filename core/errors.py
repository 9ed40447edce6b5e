"""All errors that are shown to users, as one exception tree.

Each class also derives from the matching exception of the standard library, so code that does not know this project can
catch it. A message says what happened and what to do next.
"""

from __future__ import annotations


class TunesmithError(Exception):
    """Base of all errors that are shown to a user.

    Args:
        message: What happened and what to do, in whole sentences.
        field: Dotted path of the invalid fields (``training.batch_size``), if there is one.
    """

    code = "error"
    status = 500

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidInput(TunesmithError, ValueError):
    """The input cannot be used (400)."""

    code = "invalid_input"
    status = 400


class InvalidConfig(InvalidInput):
    """A configuration is not valid (422). ``problems`` holds every problem found, not only the first."""

    code = "invalid_config"
    status = 422

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        field, message = problems[0]
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{field}: {message}{more}", field=field)


class NotFound(TunesmithError, LookupError):
    """What was requested does not exist (404)."""

    code = "not_found"
    status = 404


class Conflict(TunesmithError, RuntimeError):
    """Not possible in the current state, such as deleting a running job (409)."""

    code = "conflict"
    status = 409


class Damaged(Conflict):
    """A file was truncated, overwritten or deleted outside of this program (409)."""


class Forbidden(TunesmithError, PermissionError):
    """Refused for safety: wrong origin, missing CSRF token (403)."""

    code = "forbidden"
    status = 403


class Unauthorized(TunesmithError, PermissionError):
    """A login or token is required (401)."""

    code = "unauthorized"
    status = 401


class TooLarge(InvalidInput):
    """The request or file is too large (413)."""

    code = "too_large"
    status = 413


class TooManyRequests(TunesmithError):
    """A rate limit was reached (429). ``retry_after`` is the number of seconds to wait, if known."""

    code = "too_many_requests"
    status = 429

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(TunesmithError, OSError):
    """Something outside is missing: network, disk space, a compiler, a tool (503)."""

    code = "unavailable"
    status = 503
