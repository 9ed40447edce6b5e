"""The problem report: versions, the machine and recent errors, without secrets or private paths."""

from __future__ import annotations

import logging
import os
import platform
import re
from collections import deque
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING

from core.child import JUDGE_KEY
from core.job import JobState
from core.log_tail import native, tail_text
from core.moment import now
from core.settings import Settings
from core.version import VERSION
from services.machine.preferences import stored_token
from services.words import size

if TYPE_CHECKING:
    from services.container import Services

LOG_LINES = 40
"""Last lines of the newest failed job's log; half as many of the server's and the setup's."""
_NAMES = "(?:token|api[_-]?key|secret|password|passwd|authorization)"
_SECRETS = (
    (re.compile(r"\b(hf_|sk-|ghp_|gho_|github_pat_|xox[abp]-)[\w-]{6,}"), r"\1…"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), r"\1 …"),
    (re.compile(rf"(?i)({_NAMES}[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]+"), r"\1…"),
    (re.compile(r"(\w+://)[^/\s:@]+:[^/\s@]+@"), r"\1…@"),
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), "…@…"),
    (re.compile(r"(/home/|/Users/)[^/\s:\"']+"), r"\1…"),
)  # fmt: skip


class RecentLog(logging.Handler):
    """Keeps the last warnings and errors of this process for the report.

    Args:
        most: Maximum number of lines.
    """

    def __init__(self, most: int = LOG_LINES // 2) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.lines: deque[str] = deque(maxlen=most)

    def emit(self, record: logging.LogRecord) -> None:
        """Store one line, or a traceback's lines, as text: a record may reference whole requests."""
        self.lines.append(self.format(record))


RECENT = RecentLog()
"""This process's; ``flask_app.main`` attaches it to the root logger."""


def problem_report(services: Services) -> str:
    """The whole report as plain text."""
    status, home = services.system.status(), services.settings.home
    device, disk = status["device"], status["disk"]
    parts = [
        f"Tunesmith {VERSION}, {now()}",
        "",
        f"System: {platform.system()} {platform.release()} {platform.machine()}, {_distribution()}",
        f"Device: {device['name']} ({device['kind']})",
        f"Memory: {size(device['free_bytes'])} of {size(device['memory_bytes'])} free",
        f"CPU cores: {status['cores']}",
        f"Disk: {size(disk['free_bytes'])} of {size(disk['total_bytes'])} free",
        f"llama.cpp: {status['llama']['words']}",
        "Versions: "
        + ", ".join(f"{name} {version or 'not installed'}" for name, version in status["versions"].items()),
    ]
    failed = next((run for run in services.runs.list() if run.job.state in {JobState.FAILED, JobState.CRASHED}), None)
    if failed:
        log = "\n".join(line for line in services.runs.log(failed.session_id, 400).split("\n") if not native(line))
        parts += _part(
            f"Newest failed run ({failed.job.status}): {failed.job.error or 'no message'}",
            "\n".join(log.split("\n")[-LOG_LINES:]),
        )
    parts += _part("Recent warnings and errors of the server", "\n".join(RECENT.lines))
    parts += _part("End of the setup log", tail_text(home.logs / "setup.log", LOG_LINES // 2))
    return redacted("\n".join(parts), services.settings) + "\n"


def redacted(text: str, settings: Settings) -> str:
    """Text without tokens, passwords, e-mail addresses, the user's name and the paths of home folders."""
    judge = os.environ.get(JUDGE_KEY)
    for secret in (settings.token, settings.hf_token, stored_token(settings.home), settings.secret_key, judge):
        if secret:
            text = text.replace(secret, "…")
    for folder, word in ((settings.home.root, "<Tunesmith>"), (Path.home(), "~")):
        if len(folder.parts) > 1:
            text = text.replace(str(folder), word)
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    user = _user()
    return re.sub(rf"\b{re.escape(user)}\b", "<user>", text) if len(user) > 2 and user != "root" else text


def _part(title: str, text: str) -> list[str]:
    return ["", f"--- {title} ---", text.strip()] if text.strip() else []


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown distribution")
    except OSError:
        return "unknown distribution"


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container's user may not have a name
        return os.environ.get("USER", "")
