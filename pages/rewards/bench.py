"""The reward tester: rewards on the user's rows, tested for loopholes and compared."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import core.rewards
from core.errors import InvalidInput, TunesmithError
from core.rewards import Account, adversarial, charged_to
from core.rewards.classifier import RUN
from core.rewards.reward_model import scored_by
from services.container import Services
from services.forms.fields import whole_number
from services.forms.labels import plain_name, reward_title
from services.rewards.rewards import read_reward_section
from services.wizard.draft import Draft


@dataclass(frozen=True)
class BenchPage:
    """Completions under one or two rewards, the adversarial table, the distribution, what a judge cost.

    ``best`` is the first reward's highest score, ``ranges`` the distribution's columns.
    """

    choices: tuple[tuple[str, str], ...]
    first: str
    second: str
    row: int
    shown: dict[str, Any]
    completions: str
    scored: tuple[dict[str, Any], ...]
    report: adversarial.Report | None
    spread: dict[str, Any]
    problem: str
    model: str
    spent: str
    best: float
    ranges: tuple[str, ...]
    decided: tuple[str, ...] = ()


def _dataset(draft: Draft) -> dict[str, Any]:
    """The draft's dataset, empty if none is chosen."""
    return draft.dataset.filled() if draft.dataset.source else {}


def reward_choices(services: Services, draft: Draft) -> dict[str, tuple[str, dict[str, Any]]]:
    """Rewards that can be tested: the draft's, built-in ones, reward models that were trained here, saved ones."""
    own_one = draft.reward.json() or {"type": "preset", "preset_name": "math"}
    offered = {"draft": (f"From your setup: {reward_title(own_one)}", own_one)}
    for preset in core.rewards.PRESETS.values():
        offered[f"preset:{preset.name}"] = (preset.title, {"type": "preset", "preset_name": preset.name})
    for model in services.models.scoring():
        section = {"type": "composite", "components": [scored_by(model.session_id)]}
        offered[f"{RUN}{model.session_id}"] = (f"Reward model: {model.title}", section)
    for one in services.saved_rewards.list():
        offered[f"saved:{one['name']}"] = (f"{one['name']} (saved)", services.saved_rewards.use(one["name"]))
    return offered


def bench_page(services: Services, form: Any) -> BenchPage:
    """The page after the form's action: none, score, sample, attack or distribution."""
    draft, action = services.wizard.draft(), form.get("action", "")
    offered = reward_choices(services, draft)
    first = form.get("first", "draft") if form.get("first", "draft") in offered else "draft"
    second = form.get("second", "") if form.get("second", "") in offered else ""
    row = max(0, (whole_number(form.get("row")) or 1) - 1)  # people count from 1
    completions = form.get("completions", "").replace("\r\n", "\n")
    state: dict[str, Any] = {"shown": {}, "scored": (), "report": None, "spread": {}, "problem": "", "decided": ()}
    dataset, rewards = _dataset(draft), [offered[key][1] for key in (first, second) if key]
    with charged_to(Account()) as account:
        try:
            if not dataset:
                raise TunesmithError("Choose a dataset in your setup first. Its rows are used here.")
            # Only a button may wait for Hugging Face.
            state["shown"] = services.bench.rows(dataset, row + 1, fetch=bool(action))[-1]
            state["decided"] = services.bench.decided(rewards, dataset)
            if action == "sample":
                completions = _written(services, draft, row)
            if completions.strip() and action in {"score", "sample"}:
                state["scored"] = _scored(services, rewards, dataset, completions, row)
            if action == "attack":
                state["report"] = services.bench.attack(rewards[0], dataset)
            if action == "distribution":
                state["spread"] = services.bench.distribution(rewards[0], dataset, 100)
        except TunesmithError as error:
            state["problem"] = error.message
    names = tuple((key, title) for key, (title, _) in offered.items())
    spent = account.spent.words()
    return BenchPage(
        names,
        first,
        second,
        row + 1,
        completions=completions,
        model=plain_name(draft.model.name, services.settings.home),
        spent=spent,
        best=_best(rewards[0]),
        ranges=_ranges(state["spread"]),
        **state,
    )


def _written(services: Services, draft: Draft, row: int) -> str:
    """Three answers of the model, as the page shows several."""
    training = draft.training
    try:
        longest, variety = min(training.whole("max_new_tokens", 64), 128), training.number("temperature", 1.0)
    except (TypeError, ValueError):
        raise InvalidInput("A number under Training settings is not valid. Correct it there first.") from None
    return "\n---\n".join(services.bench.write(draft.model.name, _dataset(draft), row, 3, longest, variety))


def _best(reward: dict[str, Any]) -> float:
    """The highest possible score; 0 for an invalid reward, which the page reports elsewhere."""
    try:
        return core.rewards.maximum(read_reward_section(reward))
    except TunesmithError:
        return 0.0


def _ranges(spread: dict[str, Any]) -> tuple[str, ...]:
    """The bins of a distribution as 'from–to'."""
    if not spread:
        return ()
    low, bins = spread["low"], len(spread["right"]["bins"])
    edges = [f"{low + (spread['high'] - low) * place / bins:.2f}" for place in range(bins + 1)]
    return tuple(f"{start}–{end}" for start, end in pairwise(edges))


def _scored(
    services: Services, rewards: list[dict[str, Any]], dataset: dict[str, Any], completions: str, row: int
) -> tuple[dict[str, Any], ...]:
    texts = [text.strip("\n") for text in completions.split("\n---\n")]
    answer = services.bench.score(rewards, dataset, texts, row)
    titles = [core.rewards.titles(read_reward_section(reward)) for reward in rewards]
    return tuple(
        {"text": text, "columns": [
            {"total": totals[place].total, "best": best, "parts": [(names[key], part) for key, part in totals[place].components.items()]}
            for names, best, totals in zip(titles, map(_best, rewards), answer["rewards"], strict=True)
        ]}
        for place, text in enumerate(texts)
    )  # fmt: skip
