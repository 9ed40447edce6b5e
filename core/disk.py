"""What a disk that is full, broken or not writable means to a person, in one place."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

FULL = "The disk is full. Free some space and try again; what was saved before is kept."
READ_ONLY = (
    "The disk cannot be written: it is mounted read-only. Make it writable, or set TUNESMITH_HOME to another folder."
)
FAILING = (
    "The disk cannot be read or written (input/output error): it is full or failing. Free some space, look at the "
    "system's log, and try again."
)
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_IOERR: FAILING,
    sqlite3.SQLITE_READONLY: "The catalogue's database cannot be written. Check that its file and the folder it lies "
    "in belong to this user, and that the disk is not read-only.",
    sqlite3.SQLITE_PERM: "The catalogue's database may not be opened by this user. Check the permissions of its file.",
}


def disk_words(error: BaseException) -> str:
    """What happened and what to do, where the disk is the cause of an error; '' where it is not.

    >>> disk_words(OSError(errno.ENOSPC, "No space left on device"))[:17]
    'The disk is full.'
    >>> disk_words(PermissionError(errno.EACCES, "Permission denied", "/data/outputs"))
    '/data/outputs cannot be written: permission denied. Check who owns it and whether it is protected, then try again.'
    >>> disk_words(ValueError("no number"))
    ''
    """
    return next((words for cause in _causes(error) if (words := _words(cause))), "")


def disk_full(error: BaseException) -> bool:
    """Whether there was no room left: nobody's fault, and everybody's trouble."""
    return disk_words(error) == FULL


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was made from (a database's own error among that), each once."""
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
    # Without a file it is not about one: a signal or an address that is not allowed.
    if error.errno in {errno.EACCES, errno.EPERM} and error.filename is not None:
        why = (error.strerror or "not allowed").lower()
        where = Path(str(error.filename2 or error.filename))
        return f"{where} cannot be written: {why}. Check who owns it and whether it is protected, then try again."
    return ""
