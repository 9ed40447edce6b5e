"""The editor of a custom reward."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from core.errors import TunesmithError
from core.rewards import own
from core.rewards.sandbox import Protection, protection
from pages.rewards.bench import _dataset
from services.container import Services


@dataclass(frozen=True)
class RewardEditPage:
    """The editor of a custom reward: its Python, or its parts as JSON."""

    name: str
    source: str
    text: str
    version: int
    versions: list[int]
    problem: str
    protection: Protection
    result: tuple[dict[str, Any], ...]
    examples: str
    samples: tuple[tuple[str, str], ...]


def edit_page(
    services: Services, name: str, *, version: int | None = None, source: str = "", examples: str = ""
) -> RewardEditPage:
    """A saved reward, or a new one if the name is unused; ``source`` is tested if given."""
    known = {one["name"] for one in services.saved_rewards.list()}
    saved = services.saved_rewards.get(name, version) if name in known else None
    reward = saved["reward"] if saved else python_reward(own.TEMPLATE)
    parts = reward.get("components") or []
    is_python = len(parts) == 1 and parts[0]["name"] == "python"
    code = source or (parts[0]["params"].get("source", own.TEMPLATE) if is_python else "")
    problem = (own.problem(code) or "") if code else ""
    return RewardEditPage(
        name, code, "" if is_python else json.dumps(reward, indent=1, ensure_ascii=False), saved["version"] if saved else 0,
        saved["versions"] if saved else [], problem, protection(),
        _tried(services, code, examples) if source and not problem else (), examples, own.EXAMPLES,
    )  # fmt: skip


def python_reward(source: str) -> dict[str, Any]:
    """A reward section with one part: this Python."""
    return {"type": "composite", "components": [{"name": "python", "params": {"source": source}}]}


def _tried(services: Services, source: str, examples: str) -> tuple[dict[str, Any], ...]:
    dataset = _dataset(services.wizard.draft())
    texts = [text.strip() for text in examples.replace("\r\n", "\n").split("\n---\n")] if examples.strip() else []
    try:
        row = (
            services.bench.rows(dataset, 1, fetch=False)[0]
            if dataset
            else {"instruction": "What is 2 + 2?", "response": "4"}
        )
    except TunesmithError:
        row = {"instruction": "What is 2 + 2?", "response": "4"}
    texts = texts or [str(row["response"]), "certainly not", ""]
    results = []
    for text in texts:
        part = services.rewards.test(python_reward(source), str(row.get("instruction", "")), text, row).components[
            "python"
        ]
        results.append({"text": text, "score": part.score, "why": part.why})
    return tuple(results)
