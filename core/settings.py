"""Settings of one installation, read once from the environment and ``.env``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import Unavailable

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Home:
    """The data folders below ``TUNESMITH_HOME``. Nothing outside them is ever written."""

    root: Path

    @property
    def configs(self) -> Path:
        return self.root / "configs"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def cache(self) -> Path:
        """Downloads and derived files that can be made again: ``cache/models``, ``cache/hub``."""
        return self.root / "cache"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def secrets(self) -> Path:
        """JSON, mode 0600: the session key and the hash of the access token."""
        return self.root / "secrets.json"

    @property
    def sessions(self) -> Path:
        """JSON, mode 0600: hashes of the valid logins; see ``services/access/sessions.py``."""
        return self.root / "sessions.json"

    @property
    def endpoint(self) -> Path:
        """JSON: which model is served to other programs, if any; see ``services/models/endpoint.py``."""
        return self.root / "endpoint.json"

    @property
    def preferences(self) -> Path:
        """JSON, mode 0600: settings changed in the app; see ``services/machine/preferences.py``."""
        return self.root / "settings.json"

    @property
    def trash(self) -> Path:
        """Deleted items that can be restored; see ``services/machine/bin.py``."""
        return self.root / "trash"

    @property
    def moving(self) -> Path:
        """The move of a folder to another place, under way or the latest; see ``core/move.py``."""
        return self.root / ".move"

    def make(self) -> None:
        """Create every folder that is missing. Raises Unavailable if that is not possible."""
        try:
            for folder in (self.configs, self.uploads, self.outputs, self.exports, self.cache, self.logs):
                if folder.is_symlink() and not folder.exists():
                    if (self.moving / "move.json").exists():
                        continue  # between two steps of a move, which the start takes further
                    raise Unavailable(
                        f"{folder} is a link to {folder.readlink()}, which is not there. Connect the disk that it is "
                        "on, then start Tunesmith again. Nothing was changed."
                    )
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if isinstance(error, Unavailable):
                raise
            message = f"The folder {self.root} cannot be used: {error.strerror or error}. Check TUNESMITH_HOME."
            raise Unavailable(message) from None


@dataclass(frozen=True)
class Settings:
    """Settings of an operator. Defaults in brackets.

    Attributes:
        home: ``TUNESMITH_HOME`` [the project folder].
        host: ``HOST`` [127.0.0.1]. Any other address requires a login.
        port: ``PORT`` [5000].
        database_url: ``DATABASE_URL`` [SQLite below the home folder].
        secret_key: ``FLASK_SECRET_KEY`` [generated and stored on first start].
        token: ``TUNESMITH_TOKEN`` [generated and printed once if a login is required].
        allowed_hosts: ``ALLOWED_HOSTS``, comma separated names that a browser may use [].
        hf_token: ``HF_TOKEN``; handed to workers by environment only, never written.
        hf_endpoint: ``HF_ENDPOINT``, a mirror of Hugging Face.
        ollama_host: ``OLLAMA_HOST``, address of an Ollama server, in Ollama's format [127.0.0.1:11434].
        max_upload_gb: ``MAX_UPLOAD_GB`` [10].
        log_level: ``LOG_LEVEL`` [INFO].
    """

    home: Home
    host: str = "127.0.0.1"
    port: int = 5000
    database_url: str = ""
    secret_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    allowed_hosts: tuple[str, ...] = ()
    hf_token: str = field(default="", repr=False)
    hf_endpoint: str = ""
    ollama_host: str = ""
    max_upload_gb: float = 10.0
    log_level: str = "INFO"

    @property
    def loopback(self) -> bool:
        """Whether only programs on this machine can reach the server."""
        return self.host in {"127.0.0.1", "localhost", "::1"}

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the environment. The caller loads ``.env`` first.

        Raises:
            ValueError: A number is not a number, or out of range; the name is in the message.
        """
        env = os.environ if env is None else env
        home = Home(Path(env.get("TUNESMITH_HOME") or PROJECT).expanduser().resolve())
        hosts = tuple(h.strip().lower() for h in env.get("ALLOWED_HOSTS", "").split(",") if h.strip())
        return cls(
            home=home,
            host=env.get("HOST") or "127.0.0.1",
            port=int(_setting_between("PORT", env.get("PORT") or 5000, low=0, high=65535)),
            database_url=env.get("DATABASE_URL") or f"sqlite:///{home.root / 'catalogue.db'}",
            secret_key=env.get("FLASK_SECRET_KEY", ""),
            token=env.get("TUNESMITH_TOKEN", ""),
            allowed_hosts=hosts,
            hf_token=env.get("HF_TOKEN", ""),
            hf_endpoint=env.get("HF_ENDPOINT", ""),
            ollama_host=env.get("OLLAMA_HOST", ""),
            max_upload_gb=_setting_between("MAX_UPLOAD_GB", env.get("MAX_UPLOAD_GB") or 10, low=0.001, high=1e6),
            log_level=env.get("LOG_LEVEL") or "INFO",
        )


def _setting_between(name: str, given: str | float, *, low: float, high: float) -> float:
    try:
        value = float(given)
    except ValueError:
        raise ValueError(f"{name} is {given!r}, which is not a number") from None
    if not low <= value <= high:
        raise ValueError(f"{name} is {given} but must be from {low:g} to {high:.9g}")
    return value
