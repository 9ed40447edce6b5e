"""Who may speak to this server: addresses, origins, the access token, the login's rate limit."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from core.errors import Conflict, Forbidden, TooManyRequests
from core.run_dir import read_json
from core.settings import Settings

EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 (compared with, not bound)
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Secrets:
    """What is kept in ``secrets.json`` (mode 0600). The token itself is not: only its hash."""

    session_key: str
    token_hash: str
    new_token: str | None
    """The token, the one time it was made."""


def load_secrets(settings: Settings) -> Secrets:
    """Read the secrets, making what is missing on first start."""
    path = settings.home.secrets
    kept = read_json(path) or {}
    new_token = None
    session_key = settings.secret_key or kept.get("session_key") or secrets.token_hex(32)
    token_hash = hash_token(settings.token) if settings.token else kept.get("token_hash", "")
    if not settings.loopback and not token_hash:
        new_token = secrets.token_urlsafe(32)
        token_hash = hash_token(new_token)
    keep = dict(kept)
    if not settings.secret_key:
        keep["session_key"] = session_key
    if new_token:
        keep["token_hash"] = token_hash
    if keep != kept:
        _write_private(settings, keep)
    return Secrets(session_key, token_hash, new_token)


def hash_token(token: str) -> str:
    """A token of 256 random bits needs no slow hash: it cannot be guessed from a fast one either."""
    return hashlib.sha256(token.encode()).hexdigest()


def _write_private(settings: Settings, data: dict[str, str]) -> None:
    path = settings.home.secrets
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(data, file)
    beside.replace(path)


class Gate:
    """Decides about hosts, origins and tokens.

    Args:
        settings: Address and allowed names.
        kept: The secrets.
    """

    def __init__(self, settings: Settings, kept: Secrets) -> None:
        self._settings = settings
        self._token_hash = kept.token_hash
        self.login_required = not settings.loopback or bool(settings.token)
        self._limit = RateLimit()

    def check_host(self, host: str) -> None:
        """Refuse names that this server does not go by: a page can point its own name here (DNS rebinding).

        Raises:
            Forbidden: Unknown name.
        """
        name = host_name(host)
        if name in LOOPBACK_NAMES or name == self._settings.host.lower() or name in self._settings.allowed_hosts:
            return
        if self._settings.host in EVERY_ADDRESS and _is_address(name):
            return
        raise Forbidden(
            "This server does not answer to that name. If it is right, add it to ALLOWED_HOSTS and start again."
        )

    def check_origin(self, origin: str | None, host: str) -> None:
        """Refuse requests that another site's page sends.

        Raises:
            Forbidden: The origin is not this server.
        """
        if origin is None:
            return
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or parts.netloc.lower() != host.lower():
            raise Forbidden("This request came from a page of another site and was refused.")

    def check_token(self, token: str, address: str) -> bool:
        """Whether ``token`` is the access token; wrong tries are counted per address and in all.

        Raises:
            TooManyRequests: Too many wrong tries; says how long to wait.
        """
        self._limit.check(address)
        right = bool(self._token_hash) and hmac.compare_digest(hash_token(token), self._token_hash)
        if not right:
            self._limit.failed(address)
        return right

    @property
    def key(self) -> str:
        """Where the access token comes from: ``environment``, ``kept`` (its hash is), or ``none``."""
        return "environment" if self._settings.token else "kept" if self._token_hash else "none"

    def new_token(self) -> str:
        """Make an access token anew and keep its hash. The old one, and logins with it, end.

        Raises:
            Conflict: The token is set in the environment, which has the last word.
        """
        if self._settings.token:
            raise Conflict("The access token is set as TUNESMITH_TOKEN. Change it there and start the server again.")
        token = secrets.token_urlsafe(32)
        kept = read_json(self._settings.home.secrets) or {}
        _write_private(self._settings, {**kept, "token_hash": hash_token(token)})
        self._token_hash = hash_token(token)
        return token

    def login_mark(self) -> str:
        """What a logged-in session carries: changes with the token, so a new token ends old logins."""
        return hashlib.sha256(f"login:{self._token_hash}".encode()).hexdigest()[:32]


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets, lower case."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class RateLimit:
    """Five wrong tries an address in five minutes, fifty in all; then the door stays shut for a while."""

    WINDOW = 300.0
    PER_ADDRESS = 5
    IN_ALL = 50

    def __init__(self) -> None:
        self._failures: list[tuple[float, str]] = []
        self._lock = threading.Lock()

    def check(self, address: str) -> None:
        """Raises TooManyRequests where the limit is reached."""
        now = time.monotonic()
        with self._lock:
            self._failures = [entry for entry in self._failures if now - entry[0] < self.WINDOW]
            mine = [at for at, who in self._failures if who == address]
            reached = mine if len(mine) >= self.PER_ADDRESS else []
            if len(self._failures) >= self.IN_ALL:
                reached = [at for at, _ in self._failures]
        if reached:
            wait = int(self.WINDOW - (now - reached[0])) + 1
            raise TooManyRequests(f"Too many wrong tokens. Wait {wait} seconds and try again.")

    def failed(self, address: str) -> None:
        with self._lock:
            self._failures.append((time.monotonic(), address))
