"""The reward step's try-out: a row, an answer to it, and what that would earn."""

from __future__ import annotations

from typing import Any

import core.rewards
from core.config import DatasetSection
from core.data.prompts import warm_up_target
from core.errors import TunesmithError
from pages.wizard.views import ScoredPart, Trial
from services.container import Services
from services.rewards.rewards import read_section

SAMPLES = (("right", "A right answer"), ("wrong", "Right form, wrong answer"), ("bare", "Right, without markers"))
MARKERS = ("reasoning_start", "reasoning_end", "solution_start", "solution_end")


def trial(services: Services) -> Trial:
    """The trial as the draft remembers it, scored anew."""
    from pages.wizard.dataset import mapped_rows

    ui = services.wizard.ui("reward")
    index, completion = int(ui.get("row", 0)), str(ui.get("completion") or "")
    hint = "Choose a dataset first; then its rows can be tried here."
    try:
        rows = mapped_rows(services)
    except TunesmithError as error:
        rows, hint = [], error.message
    if not rows:
        return Trial(None, 0, completion, (), hint)
    row = rows[index % len(rows)]
    empty = Trial(row, index % len(rows), completion, SAMPLES, "")
    return _scored(services, empty, rows) if completion.strip() else empty


def _scored(services: Services, before: Trial, rows: list[dict[str, Any]]) -> Trial:
    draft = services.wizard.draft()
    dataset = draft.get("dataset") or {}
    markers = {name: dataset[name] for name in MARKERS if name in dataset}
    reward = draft.get("reward") or {"type": "preset", "preset_name": "math"}
    try:
        total = services.rewards.test(reward, "", before.completion, before.row or {}, markers, rows)
    except TunesmithError as error:
        return Trial(before.row, before.index, before.completion, before.samples, "", problem=error.message)
    titles = core.rewards.titles(read_section(reward))
    parts = tuple(
        ScoredPart(titles[name], part.score, part.weight, part.why) for name, part in total.components.items()
    )
    best = sum(max(part.weight, 0) for part in parts)
    return Trial(
        before.row, before.index, before.completion, before.samples, "", total=total.total, best=best, parts=parts
    )


def sample(services: Services, key: str) -> str:
    """A made-up answer to the row at hand: ``right``, ``wrong`` or ``bare``."""
    row: dict[str, Any] | None = trial(services).row
    if row is None:
        return ""
    dataset = DatasetSection.model_validate(
        {"source": "none"}
        | {
            name: value
            for name, value in (services.wizard.draft().get("dataset") or {}).items()
            if name in (*MARKERS, "system_prompt")
        }
    )
    right = warm_up_target(row, dataset)
    answer = str(row["response"]).rpartition("####")[2].strip()
    if key == "bare":
        return f"The answer is {answer}."
    if key == "wrong":
        head, mark, _ = right.rpartition(dataset.solution_start)
        return f"{head}{mark}{'7' if answer != '7' else '8'}{dataset.solution_end}"
    return right
