"""The page of the machine, the folders and the versions."""

from __future__ import annotations

from dataclasses import dataclass

from core.job import JobState
from core.rewards.sandbox import protection
from pages.parts import Line
from services.container import Services
from services.words import size


@dataclass(frozen=True)
class SettingsSection:
    """Facts that belong together."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class SettingsPage:
    """The machine, the folders, the versions."""

    sections: tuple[SettingsSection, ...]


def settings_page(services: Services) -> SettingsPage:
    """What this installation runs on."""
    status, force = services.system.status(), protection()
    device, disk, kept = status["device"], status["disk"], services.settings
    waiting = sum(run.job.state is JobState.QUEUED for run in services.runs.list())
    versions = tuple(Line(name, version or "not installed") for name, version in status["versions"].items())
    return SettingsPage(
        (
            SettingsSection(
                "This machine",
                (
                    Line(
                        "Trains on",
                        f"{device['name']} ({'GPU' if device['kind'] == 'cuda' else 'processor; no NVIDIA GPU found'})",
                    ),
                    Line("Memory", f"{size(device['free_bytes'])} free of {size(device['memory_bytes'])}"),
                    Line("Processor cores", str(status["cores"])),
                    Line("llama.cpp", status["llama"]["words"]),
                    Line("Disk", f"{size(disk['free_bytes'])} free of {size(disk['total_bytes'])}"),
                    Line("Jobs", f"{status['active_jobs']} running, {waiting} waiting"),
                    Line("Rewards and programs", f"{force.state}. {force.words}" if force.level else force.words),
                ),
            ),
            SettingsSection(
                "Where your data lies",
                tuple(
                    Line(title, str(path))
                    for title, path in (
                        ("Runs", kept.home.outputs),
                        ("Exports", kept.home.exports),
                        ("Uploads", kept.home.uploads),
                        ("Configurations", kept.home.configs),
                        ("Downloads (can be made again)", kept.home.cache),
                        ("Logs", kept.home.logs),
                    )
                ),
            ),
            SettingsSection(
                "How it is reached",
                (
                    Line("Address", f"http://{kept.host}:{kept.port}"),
                    Line(
                        "Who can reach it",
                        "programs on this machine only"
                        if kept.loopback
                        else "anyone on the network who has the access token",
                    ),
                    Line("Largest upload", f"{kept.max_upload_gb:g} GB (MAX_UPLOAD_GB)"),
                    Line(
                        "Hub token",
                        "given (HF_TOKEN)"
                        if kept.hf_token
                        else "none; needed for models with a licence to accept, and to send exports there (HF_TOKEN)",
                    ),
                ),
            ),
            SettingsSection("Versions", versions),
        )
    )
