"""The reward tester: scores rewards on the user's rows, tests them for loopholes, and suggests one for a dataset."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import core.rewards
from core.config import DatasetSection, RewardSection, RunConfig
from core.data import sources
from core.data.prompts import conversation, warm_up_target
from core.data.rows import map_rows
from core.errors import InvalidInput, TunesmithError, Unavailable
from core.readiness import require_answers
from core.reward import Item, opened_by
from core.rewards import adversarial, markers_of
from core.rewards.suggest import suggest
from core.settings import Home
from services.datasets.datasets import at_hand, peek, read_dataset_section
from services.models.models import Chat, Models
from services.rewards.rewards import read_reward_section

BINS = 10
FETCHED = 200
"""Rows to fetch of a dataset that is not on this machine."""
PATIENCE = 60.0
"""Seconds that a start waits for those rows."""
KEPT = 32
PAID = frozenset({"judge"})
"""Parts that call a service, which may cost money: adversarial answers are only sent on request."""
SLOW = frozenset({"judge", "reward_model"})
"""Parts that are tested with fewer adversarial answers."""


@dataclass(frozen=True)
class StartCheck:
    """Known facts about a reward before a start.

    Attributes:
        warnings: The loopholes found.
        unchecked: Why it was not tested; empty if it was.
        asked: Whether a start needs a confirmation because nothing could be tested.
    """

    warnings: tuple[str, ...] = ()
    unchecked: str = ""
    asked: bool = False


class Bench:
    """Operations on a reward together with a dataset.

    Args:
        home: Location of datasets.
        models: Generates answers, with the chat process.
    """

    def __init__(self, home: Home, models: Models) -> None:
        self._home = home
        self._models = models
        self._fetched: dict[str, list[dict[str, Any]] | str] = {}
        self._checked: dict[str, tuple[str, ...]] = {}

    def rows(self, dataset: dict[str, Any], count: int, *, fetch: bool = True) -> list[dict[str, Any]]:
        """Mapped rows.

        Args:
            dataset: A dataset section.
            count: Maximum number of rows.
            fetch: Whether rows that are not on this machine may be fetched now; otherwise only cached ones are used.

        Raises:
            InvalidInput: No row fits the mapping.
            TunesmithError: They cannot be read.
        """
        section = read_dataset_section(dataset)
        raw = peek(self._home, section, count)[0] if at_hand(section) else self._remote(section, fetch)[:count]
        found = map_rows(raw, section)[0]
        if not found:
            raise InvalidInput("No row of this dataset has these columns. Check the column mapping.", field="dataset")
        return found

    def score(
        self, rewards: Sequence[dict[str, Any]], dataset: dict[str, Any], completions: Sequence[str], row: int = 0
    ) -> dict[str, Any]:
        """The same completions under each reward: ``{"row", "rewards": [[total, …], …], "decided"}``.

        ``decided`` describes the settings that the rows determine.
        """
        for reward in rewards:
            require_answers(read_dataset_section(dataset), core.rewards.needs(read_reward_section(reward)))
        rows = self.rows(dataset, max(row + 1, FETCHED))
        chosen = rows[min(row, len(rows) - 1)]
        items = [Item(text, str(chosen["instruction"]), chosen) for text in completions]
        markers = markers_of(read_dataset_section(dataset))
        sections = [read_reward_section(reward) for reward in rewards]
        scorers = [core.rewards.compose(core.rewards.settled(section, rows), markers) for section in sections]
        decided = [words for section in sections for words in core.rewards.decided(section, rows)]
        scored = [score.many(items) for score in scorers]
        return {"row": chosen, "rewards": scored, "decided": list(dict.fromkeys(decided))}

    def decided(self, rewards: Sequence[dict[str, Any]], dataset: dict[str, Any]) -> tuple[str, ...]:
        """The settings of these rewards that the dataset's rows determine, if rows are on this machine."""
        sections = [read_reward_section(reward) for reward in rewards]
        if not any(core.rewards.CATALOGUE[part.name].decide for one in sections for part in core.rewards.resolve(one)):
            return ()
        rows = self.rows(dataset, FETCHED, fetch=False)
        return tuple(dict.fromkeys(words for section in sections for words in core.rewards.decided(section, rows)))

    def write(
        self, model: str, dataset: dict[str, Any], row: int, count: int, max_tokens: int, temperature: float
    ) -> list[str]:
        """A model's actual completions for one row, including what its chat template opens."""
        section = read_dataset_section(dataset)
        rows = self.rows(dataset, row + 1)
        asked = conversation(rows[min(row, len(rows) - 1)], section)
        chat = Chat(model, asked.messages, temperature=temperature, max_tokens=max_tokens, tools=asked.tools)
        written = [self._models.test(chat) for _ in range(count)]
        markers = markers_of(section)
        return [opened_by(str(one["prompt"] or ""), markers) + str(one["response"]) for one in written]

    def distribution(self, reward: dict[str, Any], dataset: dict[str, Any], count: int) -> dict[str, Any]:
        """Totals of the references in the required format and of another row's reference, over ``count`` rows, in ten bins."""
        section, data = read_reward_section(reward), read_dataset_section(dataset)
        require_answers(data, core.rewards.needs(section))
        rows = self.rows(dataset, count)
        score = core.rewards.compose(core.rewards.settled(section, rows), markers_of(data))
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

    def attack(self, reward: dict[str, Any], dataset: dict[str, Any], *, fetch: bool = True) -> adversarial.Report:
        """Adversarial answers compared with the reference; see :mod:`core.rewards.adversarial`.

        With a judge or a reward model, only on two rows and with a tenth of the numbers.
        """
        section, data = read_reward_section(reward), read_dataset_section(dataset)
        require_answers(data, core.rewards.needs(section))
        slow = _slow(section)
        rows = self.rows(dataset, 4 * adversarial.ROWS, fetch=fetch)
        return adversarial.check(
            section, data, rows, lambda row: warm_up_target(dict(row), data),
            count=2 if slow else adversarial.ROWS, every=10 if slow else 1,
        )  # fmt: skip

    def suggestion(self, dataset: dict[str, Any]) -> dict[str, Any]:
        """``{"reward", "dataset", "reason"}`` for a dataset; ``dataset`` has the prompt fields to change."""
        found = suggest(self.rows(dataset, FETCHED), markers_of(read_dataset_section(dataset)))
        return {"reward": found.reward, "dataset": found.prompt, "reason": found.reason}

    def check(self, config: RunConfig, *, fetch: bool = False) -> StartCheck:
        """The loophole test before a start, if the rows are on this machine.

        Args:
            config: The configuration to start.
            fetch: Whether Hugging Face rows may be fetched and a model loaded, which takes seconds.
        """
        if any(part.name in PAID and part.weight for part in core.rewards.resolve(config.reward)):
            return StartCheck(
                unchecked="a judge scores the answers, and made-up answers are not sent to it without your consent. Use 'Test for loopholes' in the reward tester",
                asked=True,
            )
        reward, dataset = config.reward.model_dump(mode="json"), config.dataset.model_dump(mode="json")
        key = _checked_key(config)
        try:
            if key not in self._checked:
                if not fetch and _slow(config.reward):
                    return StartCheck(unchecked="it needs to load a reward model")
                warnings = self.attack(reward, dataset, fetch=fetch).warnings
                _keep(self._checked, key, warnings)
            return StartCheck(self._checked[key])
        except TunesmithError as error:
            if at_hand(config.dataset):
                return StartCheck()  # the start itself rejects an unreadable dataset
            known = self._fetched.get(_source(config.dataset))
            return StartCheck(unchecked=_lower(error.message.rstrip(".")), asked=isinstance(known, str) or fetch)

    def checked(self, config: RunConfig) -> StartCheck | None:
        """The result of an earlier :meth:`check` of the same reward on the same rows; None if there was none."""
        known = self._checked.get(_checked_key(config))
        return None if known is None else StartCheck(known)

    def known_rows(self, section: DatasetSection) -> list[dict[str, Any]] | None:
        """Cached raw rows; None if there are none, or they could not be fetched."""
        known = self._fetched.get(_source(section))
        return known if isinstance(known, list) else None

    def _remote(self, section: DatasetSection, fetch: bool) -> list[dict[str, Any]]:
        """Fetched raw rows, cached; so is an error, until the next attempt."""
        key = _source(section)
        known = self._fetched.get(key)
        fetch = fetch or not any(sources.is_hub(part.source) for part in (section.mix or (section,)))
        if known is None and not fetch:
            raise Unavailable("The rows have not been downloaded yet.")
        if fetch and not isinstance(known, list):
            try:
                known = peek(self._home, section, FETCHED, PATIENCE)[0]
            except TunesmithError as error:
                _keep(self._fetched, key, error.message)
                raise
            _keep(self._fetched, key, known)
        if not isinstance(known, list):
            raise Unavailable(str(known))
        return known


def _checked_key(config: RunConfig) -> str:
    parts = (config.reward.model_dump(mode="json"), config.dataset.model_dump(mode="json"))
    return json.dumps(parts, sort_keys=True)


def _slow(section: RewardSection) -> bool:
    return any(part.name in SLOW for part in core.rewards.resolve(section))


def _source(section: DatasetSection) -> str:
    """The fields that determine which rows are fetched."""
    names = {"source", "subset", "revision", "split", "size", "seed", "tasks", "mix"}
    return json.dumps(section.model_dump(mode="json", include=names), sort_keys=True)


def _keep(memory: dict[str, Any], key: str, value: Any) -> None:
    while len(memory) >= KEPT:
        memory.pop(next(iter(memory)))
    memory[key] = value


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


def _bins(values: Sequence[float], low: float, high: float) -> list[int]:
    counts, width = [0] * BINS, (high - low) / BINS or 1.0
    for value in values:
        counts[min(BINS - 1, int((value - low) / width))] += 1
    return counts
