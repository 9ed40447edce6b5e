"""Presets: one JSON file each, stored as given."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import core.config
import core.rewards
from core.config import RunConfig
from core.errors import Conflict, InvalidConfig, InvalidInput, NotFound, TooLarge
from core.job_dir import write_json
from core.settings import PROJECT, Home
from services.machine.bin import Bin, Entry

PRESETS = PROJECT / "configs" / "presets"
MAX_BYTES = 1 << 20
_PLAIN = frozenset(" -_.()+,")


@dataclass(frozen=True)
class ConfigEntry:
    """One entry of the list.

    Attributes:
        name: Identifies it.
        modified_at: ISO 8601, UTC.
        summary: Model, dataset and reward in one line; empty if it cannot be read.
        preset: Whether it is built in, and cannot be changed or deleted.
        problem: What is wrong with the file, or None.
        config: Its contents, if readable; not part of the JSON.
    """

    name: str
    modified_at: str
    summary: str
    preset: bool
    problem: str | None
    config: RunConfig | None = None

    def json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "config"}


Entries = list[ConfigEntry]
"""Inside the class below, ``list`` is a method."""


class Configs:
    """Operations on saved configurations.

    Args:
        home: Location of ``configs/``.
    """

    def __init__(self, home: Home) -> None:
        self._folder = home.configs
        self._bin = Bin(home)

    def save(self, name: str, config: object) -> ConfigEntry:
        """Validate a configuration and store it unchanged, replacing one of the same name.

        Raises:
            InvalidConfig: With every problem; nothing is written.
            InvalidInput: The name cannot be used.
            Conflict: A built-in preset has this name.
        """
        path = self._own(name)
        check(config)
        write_json(path, config)
        return _entry(path, preset=False)

    def load(self, name: str) -> dict[str, Any]:
        """A stored configuration, unchanged; the user's takes precedence over a built-in one of the same name.

        Raises:
            NotFound: There is none with this name.
            InvalidInput: Its file is not JSON.
        """
        return _read(self.path(name))

    def path(self, name: str) -> Path:
        """The file of a configuration or preset. Raises NotFound."""
        file_name = _file_name(name)
        for folder in (self._folder, PRESETS):
            if (folder / file_name).is_file():
                return folder / file_name
        raise NotFound(f"There is no preset {name!r:.120}. See the list of presets.", field="name")

    def list(self) -> Entries:
        """The user's, newest first; then the built-in ones by name. Broken files are listed too."""
        own = [_entry(path, preset=False) for path in self._folder.glob("*.json") if not path.name.startswith(".")]
        return sorted(own, key=lambda entry: entry.modified_at, reverse=True) + self.presets()

    def presets(self) -> Entries:
        """The built-in presets."""
        return [_entry(path, preset=True) for path in sorted(PRESETS.glob("*.json"))]

    def rename(self, name: str, new_name: str) -> ConfigEntry:
        """Rename a configuration, and the name inside it if that was the old one.

        Raises:
            NotFound: There is none with this name, or it is built in.
            Conflict: The new name is taken.
        """
        old, new = self._own(name, must_exist=True), self._own(new_name)
        if new.exists():
            raise Conflict(f"There is already a preset {new_name!r}. Choose another name.", field="new_name")
        config = _read(old)
        if config.get("name") == name:
            write_json(old, {**config, "name": new_name.strip()})
        old.rename(new)
        return _entry(new, preset=False)

    def delete(self, name: str) -> Entry:
        """Move a preset to the trash. Raises NotFound, or Conflict for one that comes with Tunesmith."""
        return self._bin.put(self._own(name, must_exist=True), kind="preset", name=name)

    def upload(self, data: bytes, filename: str) -> ConfigEntry:
        """Store a configuration file under the name in it.

        Raises:
            InvalidConfig: It is invalid; nothing is written.
            InvalidInput: It is not JSON.
            Conflict: The name is taken.
        """
        if len(data) > MAX_BYTES:
            raise TooLarge("The file is larger than 1 MiB, so it is not a preset. Choose another file.")
        config = _decode(data, filename)
        name = check(config).name
        if self._own(name).exists():
            raise Conflict(f"There is already a preset {name!r}. Rename or delete it first.", field="name")
        return self.save(name, config)

    def _own(self, name: str, *, must_exist: bool = False) -> Path:
        file_name = _file_name(name)
        path = self._folder / file_name
        if not path.is_file():
            if (PRESETS / file_name).is_file():
                raise Conflict(
                    f"{name!r} is a built-in preset and cannot be changed. Save under another name.", field="name"
                )
            if must_exist:
                raise NotFound(f"There is no preset {name!r:.120}.", field="name")
        return path


def check(config: object) -> RunConfig:
    """Check a configuration without a device.

    Raises:
        InvalidConfig: With every problem found.
    """
    parsed = core.config.parse(config)
    core.rewards.resolve(parsed.reward)
    return parsed


def problems(config: object) -> tuple[RunConfig | None, list[tuple[str, str]]]:
    """The parsed configuration, or None and its problems as (field path, fix)."""
    try:
        return check(config), []
    except InvalidConfig as error:
        return None, error.problems


def _file_name(name: str) -> str:
    """The file name for a name: letters, digits and a few symbols unchanged, the rest percent-encoded.

    >>> _file_name("My config (2)"), _file_name("../x")
    ('My config (2).json', '%2E.%2Fx.json')
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise InvalidInput("Enter a name of 1 to 100 printable characters.", field="name")
    encoded = "".join(sign if sign.isalnum() or sign in _PLAIN else quote(sign, safe="") for sign in name)
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if len(encoded.encode()) > 240:
        raise InvalidInput("This name is too long for a file name. Choose a shorter one.", field="name")
    return f"{encoded}.json"


def _entry(path: Path, *, preset: bool) -> ConfigEntry:
    summary, problem, config = "", None, None
    try:
        config = check(_read(path))
        reward = config.reward.preset_name or ", ".join(
            core.rewards.part_title(part.key, config.reward) for part in config.reward.components
        )
        summary = f"{config.model.name}, {config.dataset.source}{f', reward {reward}' if reward else ''}"
    except (InvalidInput, NotFound) as error:
        problem = error.message
    try:
        modified = path.stat().st_mtime
    except FileNotFoundError:
        modified = 0.0
    when = datetime.fromtimestamp(modified, UTC).isoformat(timespec="seconds")
    return ConfigEntry(unquote(path.name.removesuffix(".json")), when, summary, preset, problem, config)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFound("This preset has been deleted.", field="name") from None
    return _decode(data, path.name)


def _decode(data: bytes, filename: str) -> dict[str, Any]:
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{filename:.120} is not valid JSON: {error}.", field="config") from None
    if not isinstance(config, dict):
        raise InvalidInput(f"{filename:.120} does not contain a JSON object.", field="config")
    return config
