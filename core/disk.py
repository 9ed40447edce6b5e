"""Messages about a disk that is full, failing or not writable, in one place."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

FULL = "The disk is full. Everything saved so far is kept. Free some space and try again."
READ_ONLY = (
    "The disk is mounted read-only, so nothing can be saved. Make it writable, or set TUNESMITH_HOME to another folder."
)
FAILING = (
    "The disk could not be read or written (input/output error). It may be full or failing. Free some space, check the "
    "system log, and try again."
)
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_IOERR: FAILING,
    sqlite3.SQLITE_READONLY: "The catalog database cannot be written. Check that its file and folder belong to this "
    "user, and that the disk is not read-only.",
    sqlite3.SQLITE_PERM: "This user may not open the catalog database. Check the permissions of its file.",
}


def disk_words(error: BaseException) -> str:
    """What happened and what to do if the disk caused an error; '' otherwise.

    >>> disk_words(OSError(errno.ENOSPC, "No space left on device"))[:17]
    'The disk is full.'
    >>> disk_words(PermissionError(errno.EACCES, "Permission denied", "/data/outputs"))
    '/data/outputs cannot be written: permission denied. Check its owner and permissions, then try again.'
    >>> disk_words(ValueError("no number"))
    ''
    """
    return next((words for cause in _causes(error) if (words := _words(cause))), "")


def disk_full(error: BaseException) -> bool:
    """Whether the disk is full, which affects every job."""
    return disk_words(error) == FULL


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes, the original error of a database among them, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        own = getattr(error, "orig", None)
        error = own if isinstance(own, BaseException) else error.__cause__ or error.__context__


def _words(error: BaseException) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return _OF_SQLITE.get(code & 0xFF, "")
    if not isinstance(error, OSError):
        return ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return FULL
    if error.errno == errno.EROFS:
        return READ_ONLY
    if error.errno == errno.EIO:
        return FAILING
    # Without a file name it is about something else, such as a signal or an address.
    if error.errno in {errno.EACCES, errno.EPERM} and error.filename is not None:
        why = (error.strerror or "not allowed").lower()
        where = Path(str(error.filename2 or error.filename))
        return f"{where} cannot be written: {why}. Check its owner and permissions, then try again."
    return ""
