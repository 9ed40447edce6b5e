"""Saved rewards. Every change creates a version; old versions stay available."""

from __future__ import annotations

import re
from typing import Any

import core.rewards
from core.errors import InvalidInput, NotFound
from core.job_dir import read_json, write_json
from core.moment import now
from core.settings import Home
from services.machine.bin import Bin, Entry
from services.rewards.rewards import read_reward_section

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
KEPT = 100
"""Versions kept per reward; the oldest are deleted first."""


class SavedRewards:
    """One JSON file per reward in ``configs/rewards``.

    Args:
        home: Location of ``configs/``.
    """

    def __init__(self, home: Home) -> None:
        self._folder = home.configs / "rewards"
        self._bin = Bin(home)

    def save(self, name: str, reward: dict[str, Any]) -> dict[str, Any]:
        """Save a new version, unless the reward is unchanged.

        Returns:
            ``{"name", "version"}``.

        Raises:
            InvalidConfig: It is not a reward.
            InvalidInput: The name is invalid.
        """
        core.rewards.resolve(read_reward_section(reward))
        path = self._path(name)
        self._folder.mkdir(parents=True, exist_ok=True)
        versions = (read_json(path) or {}).get("versions", [])
        bare = {key: value for key, value in reward.items() if key != "saved_as"}
        if not versions or versions[-1]["reward"] != bare:
            number = versions[-1]["version"] + 1 if versions else 1
            versions = [*versions, {"version": number, "saved_at": now(), "reward": bare}][-KEPT:]
            write_json(path, {"name": name, "versions": versions})
        return {"name": name, "version": versions[-1]["version"]}

    def list(self) -> list[dict[str, Any]]:
        """Name, latest version, its time and parts; sorted by name."""
        return (
            [self._summary(path.stem) for path in sorted(self._folder.glob("*.json"))] if self._folder.is_dir() else []
        )

    def get(self, name: str, version: int | None = None) -> dict[str, Any]:
        """One version, by default the latest: ``{"name", "version", "saved_at", "reward", "versions"}``.

        Raises:
            NotFound: There is no such reward or version.
        """
        versions = (read_json(self._path(name)) or {}).get("versions", [])
        chosen = [one for one in versions if version is None or one["version"] == version]
        if not chosen:
            raise NotFound(f"There is no saved reward {name}{'' if version is None else f', version {version}'}.")
        return {"name": name, **chosen[-1], "versions": [one["version"] for one in versions]}

    def use(self, name: str, version: int | None = None) -> dict[str, Any]:
        """The self-contained reward section for a configuration, with a mark of its origin."""
        found = self.get(name, version)
        reward = dict(found["reward"])
        if reward.get("type") == "composite":
            reward["saved_as"] = f"{name}@{found['version']}"
        return reward

    def delete(self, name: str) -> Entry:
        """Move it with all its versions to the trash. Presets that used it keep their copy. Raises NotFound."""
        self.get(name)
        return self._bin.put(self._path(name), kind="reward", name=name)

    def _summary(self, name: str) -> dict[str, Any]:
        found = self.get(name)
        section = read_reward_section(found["reward"])
        parts = section.preset_name or ", ".join(
            core.rewards.part_title(part.key, section) for part in section.components
        )
        return {"name": name, "version": found["version"], "saved_at": found["saved_at"], "parts": parts}

    def _path(self, name: str) -> Any:
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                "Use only lowercase letters, digits, and hyphens in the name, such as strict-math.", field="name"
            )
        return self._folder / f"{name}.json"
