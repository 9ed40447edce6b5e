"""Access control: addresses, origins, the access token, and the rate limit of the login."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from core.errors import Conflict, Forbidden, TooManyRequests, Unavailable
from core.job_dir import read_json, write_json
from core.settings import Settings
from services.access.sessions import Sessions

log = logging.getLogger(__name__)

EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 (compared with, not bound)
_SECRETS = {"session_key": re.compile(r"[0-9a-f]{64}"), "token_hash": re.compile(r"[0-9a-f]{64}")}
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
LEAST_TOKEN = 16
"""Minimum length of an access token if the server is on the network; see docs/decisions/login.md."""


@dataclass(frozen=True)
class Secrets:
    """The contents of ``secrets.json`` (mode 0600), with the token's hash instead of the token."""

    session_key: str
    token_hash: str
    new_token: str | None
    """The token, only when it was just created."""


def load_secrets(settings: Settings) -> Secrets:
    """Read the secrets, creating those that are missing and replacing those that are damaged.

    A new session key logs everybody out. Without the hash no token is accepted until there is a new
    one: a damaged file grants no access.

    Raises:
        Unavailable: ``TUNESMITH_TOKEN`` is short enough to be guessed, and the server is on the network.
    """
    if settings.token and len(settings.token) < LEAST_TOKEN and (not settings.loopback or settings.allowed_hosts):
        raise Unavailable(
            f"TUNESMITH_TOKEN has {len(settings.token)} characters but needs at least {LEAST_TOKEN}, because other "
            "machines can reach this server. The server was not started. Choose a longer token, or remove the setting "
            "to have a safe one generated."
        )
    kept = _kept(settings)
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
        write_json(settings.home.secrets, keep, private=True)
    return Secrets(session_key, token_hash, new_token)


def hash_token(token: str) -> str:
    """A token of 256 random bits needs no slow hash: it cannot be guessed from a fast one either."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _kept(settings: Settings) -> dict[str, str]:
    """The valid contents of the file."""
    path = settings.home.secrets
    found = read_json(path)
    kept = {name: value for name, value in (found or {}).items() if _is_secret(name, value)}
    if path.exists() and kept != found:
        log.warning("%s is damaged. Unreadable parts were regenerated, and everyone was logged out", path)
    return kept


def _is_secret(name: str, value: object) -> bool:
    return name not in _SECRETS or (isinstance(value, str) and bool(_SECRETS[name].fullmatch(value)))


class Gate:
    """Decides about hosts, origins and tokens.

    Args:
        settings: Address and allowed names.
        kept: The secrets.
    """

    def __init__(self, settings: Settings, kept: Secrets) -> None:
        self._settings = settings
        self._token_hash = kept.token_hash
        self._session = {} if settings.secret_key else {"session_key": kept.session_key}
        self.login_required = not settings.loopback or bool(settings.token)
        self.sessions = Sessions(settings.home.sessions)
        self._limit = RateLimit()

    def check_host(self, host: str) -> None:
        """Reject unknown host names: a site can point its own name here (DNS rebinding).

        Raises:
            Forbidden: Unknown name.
        """
        name = host_name(host)
        if name in LOOPBACK_NAMES or name == self._settings.host.lower() or name in self._settings.allowed_hosts:
            return
        if self._settings.host in EVERY_ADDRESS and _is_address(name):
            return
        raise Forbidden(
            "This server does not accept that host name. If it is correct, add it to ALLOWED_HOSTS and restart."
        )

    def check_origin(self, origin: str | None, scheme: str, host: str) -> None:
        """Reject requests from other sites' pages.

        Args:
            origin: The Origin header, or None without one.
            scheme: The request's scheme, ``http`` or ``https``.
            host: The request's Host header.

        Raises:
            Forbidden: The origin is not this server.
        """
        if origin is None:
            return
        # Names in ALLOWED_HOSTS may be a proxy that adds TLS: then a page's scheme differs from the request's.
        schemes = {"http", "https"} if host_name(host) in self._settings.allowed_hosts else {scheme}
        if origin.lower() not in {f"{one}://{host}".lower() for one in schemes}:
            raise Forbidden(
                "This request came from another website and was blocked. Open Tunesmith directly and try again."
            )

    def check_token(self, token: str, address: str) -> bool:
        """Whether ``token`` is the access token; failed attempts are counted per address and in total.

        The right one is never rejected: otherwise anybody on the network could lock the owner out. The
        token's length prevents guessing (docs/decisions/login.md).

        Raises:
            TooManyRequests: It is wrong, after too many failed attempts; says how long to wait.
        """
        right = bool(self._token_hash) and hmac.compare_digest(hash_token(token), self._token_hash)
        if not right:
            self._limit.check(address)
            self._limit.failed(address)
        return right

    @property
    def key(self) -> str:
        """Source of the access token: ``environment``, ``kept`` (only its hash), or ``none``."""
        return "environment" if self._settings.token else "kept" if self._token_hash else "none"

    def new_token(self) -> str:
        """Create a new access token and store its hash. The old one, and logins with it, end.

        Raises:
            Conflict: The token is set in the environment, which takes precedence.
        """
        if self._settings.token:
            raise Conflict("The access token is set by TUNESMITH_TOKEN. Change it there and restart the server.")
        token = secrets.token_urlsafe(32)
        kept = {**_kept(self._settings), **self._session, "token_hash": hash_token(token)}
        write_json(self._settings.home.secrets, kept, private=True)
        self._token_hash = hash_token(token)
        return token

    def login_mark(self) -> str:
        """A mark in logged-in sessions that changes with the token, so a new token ends old logins."""
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
    """Five failed attempts per address in five minutes, fifty in total; further ones have to wait."""

    WINDOW = 300.0
    PER_ADDRESS = 5
    IN_ALL = 50

    def __init__(self) -> None:
        self._failures: list[tuple[float, str]] = []
        self._lock = threading.Lock()

    def check(self, address: str) -> None:
        """Raises TooManyRequests if the limit is reached."""
        now = time.monotonic()
        with self._lock:
            self._failures = [entry for entry in self._failures if now - entry[0] < self.WINDOW]
            mine = [at for at, who in self._failures if who == address]
            reached = mine if len(mine) >= self.PER_ADDRESS else []
            if len(self._failures) >= self.IN_ALL:
                reached = [at for at, _ in self._failures]
        if reached:
            wait = int(self.WINDOW - (now - reached[0])) + 1
            raise TooManyRequests(
                f"This access token is not correct, and there were too many failed attempts. Wait {wait} seconds "
                "before you try again. The correct token is accepted at any time.",
                retry_after=wait,
            )

    def failed(self, address: str) -> None:
        with self._lock:
            self._failures.append((time.monotonic(), address))
