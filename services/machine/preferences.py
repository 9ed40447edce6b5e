"""Settings that are changed in the app: ``settings.json`` in the home folder, readable only by its owner."""

from __future__ import annotations

import threading
import time
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core.config import explain
from core.errors import InvalidInput
from core.job_dir import read_model, write_json
from core.model import DEMO_MODEL
from core.settings import Home, Settings

MOST_DAYS = 3650
DAMAGED = (
    "The file settings.json could not be read, so the default settings are in use. The old file was kept as {}. "
    "Enter your settings again, or repair that file, rename it back and restart the server."
)
UNREADABLE = "The file settings.json cannot be read, so the default settings are in use."

TITLES = {
    "hf_token": "Hugging Face token",
    "theme": "Theme",
    "base_model": "Default base model",
    "notifications": "Notifications",
    "shortcuts": "Keyboard shortcuts",
    "trash_days": "Empty the trash after",
    "webhook_url": "Webhook URL",
}
"""Each setting's name for users."""


class Preferences(BaseModel):
    """Settings in the app. Every field has a default, so a missing file means a new installation.

    Attributes:
        hf_token: Hugging Face access token; ``HF_TOKEN`` in the environment takes precedence.
        hf_user: The token's account, from Hugging Face; '' if it could not be reached.
        theme: Colors of every page.
        base_model: The model that a new run starts with.
        notifications: Whether pages may show a notification when a run ends.
        shortcuts: Whether single-letter shortcuts are enabled.
        trash_days: Days after which deleted items are removed permanently; 0 keeps them until the trash is emptied.
        webhook_url: URL that the end of a run is posted to; '' for none.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    hf_token: str = Field("", max_length=500, repr=False)
    hf_user: str = Field("", max_length=200)
    theme: Literal["system", "light", "dark"] = "system"
    base_model: str = Field(DEMO_MODEL, min_length=1, max_length=500)
    notifications: bool = True
    shortcuts: bool = True
    trash_days: int = Field(30, ge=0, le=MOST_DAYS)
    webhook_url: str = Field("", max_length=2000)

    @field_validator("hf_token")
    @classmethod
    def _one_word(cls, token: str) -> str:
        if not _plain(token):
            raise ValueError("a token has letters, digits and underscores only, such as hf_…")
        return token

    @field_validator("webhook_url")
    @classmethod
    def _web_address(cls, url: str) -> str:
        if not url:
            return url
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not _plain(url):
            raise ValueError("enter a complete address that begins with https:// or http://")
        if parts.username or parts.password:
            raise ValueError("leave the user name and password out of the address; put a secret into its path instead")
        parts.port  # noqa: B018 - raises ValueError where it is no number
        return url


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


class PreferenceStore:
    """Reads and changes the settings. A change takes effect immediately, for pages and jobs started afterwards.

    Args:
        home: Location of the file.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock, self._changing = threading.Lock(), threading.Lock()
        self.problem = ""
        """Why defaults are used instead of the file; '' if nothing is wrong."""

    def get(self) -> Preferences:
        """The current settings; the defaults if the file cannot be read. A damaged file is moved aside."""
        found = read_preferences(self._home)
        if found is not None:
            if self.problem == UNREADABLE:
                self.problem = ""
            return found
        with self._lock:
            found = read_preferences(self._home)
            if found is None:
                self._set_aside()
                found = Preferences()
        return found

    def _set_aside(self) -> None:
        file = self._home.preferences
        beside = file.with_name(f"{file.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        try:
            if file.is_file():
                file.read_bytes()  # What the system cannot read, such as with too many open files, may be intact.
            file.rename(beside)
            self.problem = DAMAGED.format(beside.name)
        except OSError:
            self.problem = UNREADABLE

    def trash_days(self) -> int:
        """How long the trash keeps things; forever (0) if the file that says how long cannot be read."""
        days = self.get().trash_days
        return 0 if self.problem else days

    def check(self, changes: dict[str, Any]) -> Preferences:
        """The settings with some changes.

        Raises:
            InvalidInput: A value cannot be used.
        """
        try:
            return Preferences.model_validate({**self.get().model_dump(), **changes})
        except ValidationError as error:
            # Without the input, which may be a secret.
            path, words = explain({**error.errors()[0], "input": ...})
            raise InvalidInput(f"{TITLES.get(path, path)}: {words.rstrip('.')}.", field=path) from None

    def change(self, changes: dict[str, Any]) -> Preferences:
        """Change some settings.

        Raises:
            InvalidInput: A value cannot be used; nothing is changed.
        """
        with self._changing:
            after = self.check(changes)
            write_json(self._home.preferences, after.model_dump(), private=True)
            self.problem = ""
        return after


def read_preferences(home: Home) -> Preferences | None:
    """The file's settings, the defaults if there is none; None if it cannot be read."""
    if not home.preferences.exists() and not home.preferences.is_symlink():
        return Preferences()
    return read_model(home.preferences, Preferences)


def hub_token(settings: Settings) -> str:
    """The effective Hugging Face token: the environment's, else the one from Settings; '' for none."""
    return settings.hf_token or stored_token(settings.home)


def stored_token(home: Home) -> str:
    """The token from Settings, regardless of the environment."""
    return (read_preferences(home) or Preferences()).hf_token
