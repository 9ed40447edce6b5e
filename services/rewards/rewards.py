"""The list of rewards, and scoring single answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import core.config
import core.rewards
from core.config import DatasetSection, RewardSection
from core.errors import InvalidInput
from core.reward import Markers, Total


class Rewards:
    """Operations on rewards."""

    def list(self) -> dict[str, Any]:
        """``presets`` and ``rewards``, with their needs and settings."""
        return {
            "presets": [preset.json() for preset in core.rewards.PRESETS.values()],
            "rewards": [info.json() for info in core.rewards.CATALOGUE.values()],
        }

    def test(
        self,
        reward: dict[str, Any],
        prompt: str,
        completion: str,
        row: Mapping[str, Any],
        markers: Mapping[str, str] | None = None,
        rows: Sequence[Mapping[str, Any]] = (),
    ) -> Total:
        """Score one completion as in training.

        Args:
            reward: A reward section.
            prompt: The question; empty for the row's.
            completion: A possible answer.
            row: By mapped names: ``instruction``, ``response``, and other columns.
            markers: The four markers by name; missing ones have their default.
            rows: The dataset's rows, for dataset-dependent settings; by default only this row.

        Raises:
            InvalidConfig: The reward is invalid.
            InvalidInput: The row lacks what the reward needs.
        """
        section = read_reward_section(reward)
        score = core.rewards.compose(core.rewards.settled(section, rows or [row]), read_markers(markers or {}))
        missing = [name for name in core.rewards.needs(section) if row.get(name) is None]
        if missing:
            raise InvalidInput(
                f"This reward needs the column {missing[0]!r}, which the row does not have. Add it to row.",
                field=f"row.{missing[0]}",
            )
        return score(completion, prompt or str(row.get("instruction", "")), row)


def read_reward_section(reward: dict[str, Any]) -> RewardSection:
    """A reward section from JSON data. Raises InvalidConfig with the path of every invalid field."""
    return core.config.parse(
        {"name": "test", "model": {"name": "none"}, "dataset": {"source": "none"}, "reward": reward}
    ).reward


def read_markers(given: Mapping[str, str]) -> Markers:
    """The four markers, with the configuration's defaults for missing ones.

    Raises:
        InvalidInput: There is an unknown name, or a solution marker is empty.
    """
    names = [field.name for field in fields(Markers)]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise InvalidInput(f"There is no marker {unknown[0]!r:.60}. Known: {', '.join(names)}.", field="markers")
    dataset = DatasetSection.model_validate({"source": "none", **given})
    for path, why in core.config.marker_checks(dataset):
        raise InvalidInput(f"The marker {path.rpartition('.')[2]} {why}.", field=f"markers.{path.rpartition('.')[2]}")
    return core.rewards.markers_of(dataset)


def total_json(total: Total) -> dict[str, Any]:
    """``{"total", "components": {name: {"score", "weight", "why"}}}``; ``"opinion": false`` for a part without a
    score.
    """
    return {"total": total.total, "components": {name: part.json() for name, part in total.components.items()}}
