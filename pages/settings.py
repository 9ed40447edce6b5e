"""The Settings page: settings of the app, and facts about this installation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.move import MoveProgress
from core.rewards.sandbox import protection
from core.settings import Home
from core.version import VERSION
from pages.parts import Line
from services.container import Services
from services.machine.preferences import Preferences
from services.machine.webhook import Sent
from services.models.families import BASE_MODELS
from services.storage.folders import MOVABLE
from services.words import size

THEMES = (("system", "Same as the system"), ("light", "Light"), ("dark", "Dark"))
DAYS = (7, 14, 30, 90, 365)
FOLDERS = (
    ("Runs and checkpoints", "outputs"),
    ("Exports", "exports"),
    ("Datasets", "uploads"),
    ("Presets and rewards", "configs"),
    ("Cache (safe to delete)", "cache"),
    ("Logs", "logs"),
    ("Trash", "trash"),
)
PACKAGES = {
    "python": "Python", "torch": "PyTorch", "transformers": "Transformers", "trl": "TRL", "peft": "PEFT",
    "datasets": "Datasets", "unsloth": "Unsloth", "flask": "Flask",
}  # fmt: skip
"""Usual names of packages, if different."""


@dataclass(frozen=True)
class SettingsSection:
    """Facts that belong together; ``note`` says how they are changed."""

    title: str
    lines: tuple[Line, ...]
    note: str = ""


@dataclass(frozen=True)
class TokenView:
    """Facts about the Hugging Face token, without the token itself.

    Attributes:
        source: ``environment``, ``settings`` or '' for none.
        stored: Whether one was entered in Settings, used or not.
        user: Its account, if known.
    """

    source: str
    stored: bool
    user: str


@dataclass(frozen=True)
class FolderView:
    """A folder of the home.

    Attributes:
        key: Its name in the home folder.
        path: There.
        place: Where its files are, if it is a link.
        movable: Whether it can be moved here.
    """

    key: str
    title: str
    path: str
    place: str
    movable: bool


@dataclass(frozen=True)
class FoldersView:
    """The folders; ``chosen`` and ``to`` are what a refused form had."""

    folders: tuple[FolderView, ...]
    move: MoveProgress | None
    chosen: str
    to: str


@dataclass(frozen=True)
class SettingsPage:
    """Everything that can be set, and facts."""

    chosen: Preferences
    themes: tuple[tuple[str, str], ...]
    models: tuple[tuple[str, str], ...]
    days: tuple[tuple[int, str], ...]
    token: TokenView
    sent: Sent | None
    problem: str
    places: FoldersView
    sections: tuple[SettingsSection, ...]
    version: str
    sandbox: Line


def settings_page(services: Services, folder: str = "", to: str = "") -> SettingsPage:
    """The current settings; ``folder`` and ``to`` are a refused request to move a folder."""
    chosen, force, status = services.preferences.get(), protection(), services.system.status()
    return SettingsPage(
        chosen.model_copy(update={"hf_token": ""}),
        THEMES,
        _models(chosen),
        _days(chosen),
        token_view(services),
        services.webhook.last(),
        services.preferences.problem,
        FoldersView(_folders(services.settings.home), services.folders.look(), folder, to),
        (_machine(services, status), _network(services), _versions(status)),
        VERSION,
        Line(force.state if force.level else "Not available", force.words),
    )


def token_view(services: Services) -> TokenView:
    """The source of the token that jobs get."""
    kept = services.preferences.get()
    source = "environment" if services.settings.hf_token else "settings" if kept.hf_token else ""
    return TokenView(source, bool(kept.hf_token), kept.hf_user)


def _models(chosen: Preferences) -> tuple[tuple[str, str], ...]:
    known = tuple((info.name, info.title) for info in BASE_MODELS)
    other = chosen.base_model
    return known if other in dict(known) else (*known, (other, other))


def _days(chosen: Preferences) -> tuple[tuple[int, str], ...]:
    days = sorted({*DAYS, *((chosen.trash_days,) if chosen.trash_days else ())})
    return (*((count, f"{count} day{'' if count == 1 else 's'}") for count in days), (0, "Never"))


def _machine(services: Services, status: Mapping[str, Any]) -> SettingsSection:
    device, disk = status["device"], status["disk"]
    kind = "GPU" if device["kind"] == "cuda" else "CPU; no NVIDIA GPU found"
    waiting = len(services.database.queue())
    return SettingsSection(
        "This machine",
        (
            Line("Trains on", f"{device['name']} ({kind})"),
            Line("Memory", f"{size(device['free_bytes'])} free of {size(device['memory_bytes'])}"),
            Line("CPU cores", str(status["cores"])),
            Line("llama.cpp", status["llama"]["words"]),
            Line("Disk", f"{size(disk['free_bytes'])} free of {size(disk['total_bytes'])}"),
            Line("Jobs", f"{status['active_jobs']} running, {waiting} waiting"),
        ),
    )


def _folders(home: Home) -> tuple[FolderView, ...]:
    found = ((title, name, home.root / name) for title, name in FOLDERS)
    return tuple(
        FolderView(name, title, str(path), str(path.resolve()) if path.is_symlink() else "", name in MOVABLE)
        for title, name, path in found
    )


def _network(services: Services) -> SettingsSection:
    kept = services.settings
    reach = "Only programs on this machine" if kept.loopback else "Anyone on the network who has the access token"
    return SettingsSection(
        "Network",
        (
            Line("Address", f"http://{kept.host}:{kept.port}"),
            Line("Who can connect", reach),
            Line("Largest upload", f"{kept.max_upload_gb:g} GB"),
        ),
        "These are read when the server starts: set HOST, PORT, and MAX_UPLOAD_GB in the environment or in the file "
        ".env, then restart the server.",
    )


def _versions(status: Mapping[str, Any]) -> SettingsSection:
    lines = tuple(
        Line(PACKAGES.get(name, name), version or "Not installed") for name, version in status["versions"].items()
    )
    return SettingsSection("Versions", lines)
