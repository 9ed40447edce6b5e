"""The reward step's test: a row, an answer, and its score."""

from __future__ import annotations

from dataclasses import dataclass, replace

import core.rewards
from core.dataset import Row
from core.errors import TunesmithError
from services.container import Services
from services.rewards.rewards import read_reward_section
from services.wizard.draft import Draft
from services.wizard.samples import MARKERS, SAMPLES


@dataclass(frozen=True)
class ScoredPart:
    """The score of one part of the reward."""

    title: str
    score: float
    weight: float
    why: str


@dataclass(frozen=True)
class Trial:
    """The reward tested on one row. ``total`` is None until something was scored."""

    row: Row | None
    index: int
    completion: str
    samples: tuple[tuple[str, str], ...]
    hint: str
    problem: str = ""
    total: float | None = None
    best: float = 0.0
    parts: tuple[ScoredPart, ...] = ()


def trial(services: Services, draft: Draft) -> Trial:
    """The trial stored in the draft, scored again."""
    index, completion = draft.row, str(draft.page("reward").get("completion") or "")
    hint = "Choose a dataset first to try the reward on its rows."
    try:
        rows = services.draft_rows.mapped(draft.dataset)
    except TunesmithError as error:
        rows, hint = [], error.message
    if not rows:
        return Trial(None, 0, completion, (), hint)
    row = rows[index % len(rows)]
    empty = Trial(row, index % len(rows), completion, SAMPLES, "")
    return _scored(services, draft, empty, rows) if completion.strip() else empty


def _scored(services: Services, draft: Draft, before: Trial, rows: list[Row]) -> Trial:
    markers = {name: value for name, value in draft.dataset.json().items() if name in MARKERS}
    reward = draft.reward.json() or {"type": "preset", "preset_name": "math"}
    try:
        total = services.rewards.test(reward, "", before.completion, before.row or {}, markers, rows)
    except TunesmithError as error:
        return replace(before, problem=error.message)
    titles = core.rewards.titles(read_reward_section(reward))
    parts = tuple(
        ScoredPart(titles[name], part.score, part.weight, part.why) for name, part in total.components.items()
    )
    return replace(before, total=total.total, best=sum(max(part.weight, 0) for part in parts), parts=parts)
