"""The test bench: rewards tried on a person's own rows, attacked, compared; and which reward suits a dataset."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import core.rewards
from core.config import RunConfig
from core.data.prompts import messages, warm_up_target
from core.data.rows import map_rows
from core.data.sources import peek
from core.errors import Conflict, InvalidInput, TunesmithError
from core.reward import Item
from core.rewards import adversarial, markers_of
from core.rewards.suggest import suggest
from core.settings import Home
from services.datasets import read_section as read_dataset
from services.models import Chat, Models
from services.rewards import read_section

LOCAL = ("upload:", "generated:")
BINS = 10


class Bench:
    """Verbs on a reward together with a dataset.

    Args:
        home: Where datasets lie.
        models: Writes answers, by the chat process.
    """

    def __init__(self, home: Home, models: Models) -> None:
        self._home = home
        self._models = models

    def rows(self, dataset: dict[str, Any], count: int) -> list[dict[str, Any]]:
        """Mapped rows. Raises InvalidInput where none can be had."""
        section = read_dataset(dataset)
        found = map_rows(peek(section, self._home, count)[0], section)[0]
        if not found:
            raise InvalidInput(
                "No row of this dataset could be read with these columns. Check the mapping.", field="dataset"
            )
        return found

    def score(
        self, rewards: Sequence[dict[str, Any]], dataset: dict[str, Any], completions: Sequence[str], row: int = 0
    ) -> dict[str, Any]:
        """The same completions under each reward: ``{"row", "rewards": [[total, …], …]}``, totals as the API gives them."""
        rows = self.rows(dataset, row + 1)
        chosen = rows[min(row, len(rows) - 1)]
        items = [Item(text, str(chosen["instruction"]), chosen) for text in completions]
        markers = markers_of(read_dataset(dataset))
        scored = [core.rewards.compose(read_section(reward), markers).many(items) for reward in rewards]
        return {"row": chosen, "rewards": scored}

    def write(
        self, model: str, dataset: dict[str, Any], row: int, count: int, max_tokens: int, temperature: float
    ) -> list[str]:
        """Completions that a model really writes to one row."""
        section = read_dataset(dataset)
        rows = self.rows(dataset, row + 1)
        asked = tuple(messages(rows[min(row, len(rows) - 1)], section))
        chat = Chat(model, asked, temperature=temperature, max_tokens=max_tokens)
        return [str(self._models.test(chat)["response"]) for _ in range(count)]

    def distribution(self, reward: dict[str, Any], dataset: dict[str, Any], count: int) -> dict[str, Any]:
        """Totals of the references in the asked-for form and of another row's reference, over ``count`` rows, in ten bins."""
        section, data = read_section(reward), read_dataset(dataset)
        rows = self.rows(dataset, count)
        score = core.rewards.compose(section, markers_of(data))
        right = [Item(warm_up_target(row, data), str(row["instruction"]), row) for row in rows]
        wrong = [
            Item(warm_up_target(rows[(place + 1) % len(rows)], data), item.prompt, item.row)
            for place, item in enumerate(right)
        ]
        totals = [[total.total for total in score.many(items)] for items in (right, wrong)]
        low, high = min(map(min, totals)), max(*map(max, totals), core.rewards.maximum(section))
        return {
            "rows": len(rows), "low": low, "high": high,
            "right": {"mean": statistics.fmean(totals[0]), "bins": _bins(totals[0], low, high)},
            "another_row": {"mean": statistics.fmean(totals[1]), "bins": _bins(totals[1], low, high)},
        }  # fmt: skip

    def attack(
        self, reward: dict[str, Any], dataset: dict[str, Any], count: int = adversarial.ROWS
    ) -> adversarial.Report:
        """Made-up answers against the reference; see :mod:`core.rewards.adversarial`."""
        data = read_dataset(dataset)
        rows = self.rows(dataset, 4 * count)
        return adversarial.check(read_section(reward), data, rows, lambda row: warm_up_target(dict(row), data))

    def suggestion(self, dataset: dict[str, Any]) -> dict[str, Any]:
        """``{"reward", "reason"}`` for a dataset."""
        reward, reason = suggest(self.rows(dataset, 50), markers_of(read_dataset(dataset)))
        return {"reward": reward, "reason": reason}

    def warnings(self, config: RunConfig) -> tuple[str, ...]:
        """What the adversarial check says before a start; nothing where the rows cannot be read without a network."""
        if not config.dataset.source.startswith(LOCAL):
            return ()
        reward, dataset = config.reward.model_dump(mode="json"), config.dataset.model_dump(mode="json")
        return self._remembered(json.dumps(reward, sort_keys=True), json.dumps(dataset, sort_keys=True))

    def confirm(self, config: RunConfig, confirmed: bool) -> None:
        """Let a start through, or ask for a word first.

        Raises:
            Conflict: The reward can be fooled and nobody has said that it is to be used all the same.
        """
        found = () if confirmed else self.warnings(config)
        if found:
            raise Conflict(
                f"This reward can be fooled: {found[0]} To start all the same, confirm it on the page, or send confirm_reward: true.",
                field="confirm_reward",
            )

    @lru_cache(maxsize=64)  # noqa: B019 - one bench lives as long as the process
    def _remembered(self, reward: str, dataset: str) -> tuple[str, ...]:
        try:
            return self.attack(json.loads(reward), json.loads(dataset)).warnings
        except TunesmithError:
            return ()  # a dataset that cannot be read is refused by the start itself, in its own words


def _bins(values: Sequence[float], low: float, high: float) -> list[int]:
    counts, width = [0] * BINS, (high - low) / BINS or 1.0
    for value in values:
        counts[min(BINS - 1, int((value - low) / width))] += 1
    return counts
