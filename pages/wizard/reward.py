"""Step 4: the reward, and a test of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from core.methods import Need
from core.rewards.classifier import RUN
from pages.wizard.frame import Frame, frame
from pages.wizard.trial import Trial, trial
from services.container import Services
from services.forms.fields import shown as as_text
from services.forms.labels import in_words, reward_title
from services.forms.reward_form import PartView, components, parts, shown_components
from services.wizard.draft import Draft
from services.wizard.snapshot import LEVELS
from services.wizard.steps import STEP
from services.wizard.suggestions import suggested


@dataclass(frozen=True)
class PresetView:
    """A built-in reward."""

    name: str
    title: str
    description: str
    verifies: bool


@dataclass(frozen=True)
class ComponentChoice:
    """A reward that can be added as a component."""

    name: str
    title: str
    description: str
    badge: str


@dataclass(frozen=True)
class SuggestedReward:
    """The suggested reward for the dataset, and why; ``chosen`` if the draft has it."""

    title: str
    reason: str
    chosen: bool


@dataclass(frozen=True)
class RewardStep:
    """Step 4."""

    frame: Frame
    problems: tuple[tuple[str, str], ...]
    type: str
    preset_name: str
    presets: tuple[PresetView, ...]
    parts: tuple[PartView, ...]
    kept: str
    families: dict[str, list[ComponentChoice]]
    normalise: bool
    clip_low: str
    clip_high: str
    suggestion: SuggestedReward | None
    trial: Trial
    offers: dict[str, tuple[tuple[str, str], ...]]
    """Values to choose from in fields of components, with titles; see :attr:`core.rewards.info.Param.suggests`."""


def reward_step(services: Services) -> RewardStep | None:
    """Step 4; None if the draft's method needs no reward."""
    from core.rewards import CATALOGUE, PRESETS

    snapshot = services.snapshots.take()
    if Need.REWARD not in snapshot.draft.chosen_method.needs:
        return None
    draft, review = snapshot.draft, snapshot.review
    reward, section = draft.reward, draft.reward.values
    shown = shown_components(section, draft.page("reward").get("components"))
    return RewardStep(
        frame=frame(services, "reward", snapshot),
        problems=tuple((LEVELS[problem.severity], in_words(problem.message)) for problem in review.of(STEP["reward"])),
        type=reward.type,
        preset_name=reward.preset_name or ("arithmetic" if draft.dataset.kind == "generated" else "math"),
        presets=tuple(
            PresetView(
                item.name, item.title, item.description, any(CATALOGUE[part.name].verifies for part in item.components)
            )
            for item in PRESETS.values()
        ),
        parts=parts(shown),
        kept=json.dumps(components(shown)),
        families=_families(),
        normalise=bool(section.get("normalise")),
        clip_low=as_text(section.get("clip_low")),
        clip_high=as_text(section.get("clip_high")),
        suggestion=_suggestion(services, draft),
        trial=trial(services, draft),
        offers={"reward_runs": reward_runs(services)},
    )


def reward_runs(services: Services) -> tuple[tuple[str, str], ...]:
    """Finished runs that trained a reward model: the value of the field and the run's title."""
    return tuple((f"{RUN}{item.session_id}", item.title) for item in services.models.scoring())


def _families() -> dict[str, list[ComponentChoice]]:
    """Every reward, by family."""
    from core.rewards import CATALOGUE

    found: dict[str, list[ComponentChoice]] = {}
    for info in CATALOGUE.values():
        choice = ComponentChoice(info.name, info.title, info.description, info.badge)
        found.setdefault(info.family, []).append(choice)
    return found


def _suggestion(services: Services, draft: Draft) -> SuggestedReward | None:
    """The suggested reward for the rows; None if they cannot be read here."""
    found = suggested(draft, services.draft_rows)
    if found is None:
        return None
    return SuggestedReward(reward_title(found.reward), found.reason, found.reward == draft.reward.values)
