"""Step 4: the reward, and trying it."""

from __future__ import annotations

from dataclasses import dataclass

from core.methods import Need
from pages.wizard.frame import Frame, frame
from pages.wizard.trial import Trial, trial
from services.container import Services
from services.forms.fields import shown
from services.forms.labels import in_words, reward_title
from services.forms.reward_form import PartView, parts
from services.wizard.draft import Draft
from services.wizard.snapshot import LEVELS
from services.wizard.steps import STEP
from services.wizard.suggestions import suggested


@dataclass(frozen=True)
class PresetView:
    """A ready-made reward."""

    name: str
    title: str
    description: str
    verifies: bool


@dataclass(frozen=True)
class SuggestedReward:
    """The reward that suits the dataset, and why; ``chosen`` where the draft has it."""

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
    normalise: bool
    clip_low: str
    clip_high: str
    suggestion: SuggestedReward | None
    trial: Trial


def reward_step(services: Services) -> RewardStep | None:
    """Step 4; None where the draft's method needs no reward."""
    from core.rewards import CATALOGUE, PRESETS

    snapshot = services.snapshots.take()
    if Need.REWARD not in snapshot.draft.chosen_method.needs:
        return None
    draft, review = snapshot.draft, snapshot.review
    reward, section = draft.reward, draft.reward.values
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
        parts=parts(section),
        normalise=bool(section.get("normalise")),
        clip_low=shown(section.get("clip_low")),
        clip_high=shown(section.get("clip_high")),
        suggestion=_suggestion(services, draft),
        trial=trial(services, draft),
    )


def _suggestion(services: Services, draft: Draft) -> SuggestedReward | None:
    """The reward that suits the rows; None where they cannot be read here."""
    found = suggested(draft, services.draft_rows)
    if found is None:
        return None
    return SuggestedReward(reward_title(found.reward), found.reason, found.reward == draft.reward.values)
