"""The list of rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import core.rewards
from core.rewards.sandbox import Protection, protection
from services.container import Services


@dataclass(frozen=True)
class RewardsPage:
    """Every reward by family, the built-in rewards, the saved ones, and the protection in force."""

    families: dict[str, list[Any]]
    presets: tuple[Any, ...]
    saved: list[dict[str, Any]]
    protection: Protection


def rewards_page(services: Services) -> RewardsPage:
    """The list."""
    families: dict[str, list[Any]] = {}
    for info in core.rewards.CATALOGUE.values():
        families.setdefault(info.family, []).append(info)
    return RewardsPage(families, tuple(core.rewards.PRESETS.values()), services.saved_rewards.list(), protection())
