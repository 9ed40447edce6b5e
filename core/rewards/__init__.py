"""Rewards: pure functions of a completion and the row it answers, and their weighted sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from core.config import DatasetSection, RewardComponent, RewardSection
from core.errors import InvalidConfig
from core.reward import NO_OPINION, Item, Markers, Part, Score, Total
from core.rewards.answers import after_thought
from core.rewards.catalogue import CATALOGUE, PRESETS, Param, Preset, RewardInfo
from core.rewards.info import Decision
from core.rewards.spending import Account, Spent, charged_to
from core.text import reason

__all__ = [
    "CATALOGUE",
    "PRESETS",
    "Account",
    "Param",
    "Preset",
    "RewardInfo",
    "Scorer",
    "Spent",
    "charged_to",
    "compose",
    "decided",
    "markers_of",
    "maximum",
    "needs",
    "part_title",
    "resolve",
    "settled",
    "titles",
]


ENDLESS = Score(0.0, "The model's thinking never ends, so there is no answer.")


def markers_of(dataset: DatasetSection) -> Markers:
    """The four markers of a configuration."""
    return Markers(dataset.reasoning_start, dataset.reasoning_end, dataset.solution_start, dataset.solution_end)


def resolve(section: RewardSection) -> list[RewardComponent]:
    """The parts of a reward with every setting filled in.

    Raises:
        InvalidConfig: A preset, reward or setting is unknown or out of range; every problem, with its path.
    """
    if section.type == "preset":
        preset = PRESETS.get(section.preset_name or "")
        if preset is None:
            raise InvalidConfig([("reward.preset_name", _unknown("preset", section.preset_name or "", list(PRESETS)))])
        return [_filled(part) for part in preset.components]
    problems = [problem for i, part in enumerate(section.components) for problem in _problems(i, part)]
    if problems:
        raise InvalidConfig(problems)
    return [_filled(part) for part in section.components]


def settled(section: RewardSection, rows: Sequence[Mapping[str, Any]]) -> RewardSection:
    """The reward with all settings resolved that depend on the dataset.

    Args:
        section: The reward.
        rows: Mapped rows of the whole dataset, or a representative sample.

    Returns:
        The same section if nothing was unresolved; else its parts with every setting filled in.
    """
    parts = resolve(section)
    found = {part.key: decision for part, decision in _decisions(parts, rows)}
    if not found:
        return section
    components = [
        part.model_copy(update={"params": {**part.params, **found[part.key].params}}) if part.key in found else part
        for part in parts
    ]
    return section.model_copy(update={"type": "composite", "preset_name": None, "components": tuple(components)})


def decided(section: RewardSection, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What :func:`settled` decides, one or two sentences per part."""
    return [decision.words for _, decision in _decisions(resolve(section), rows)]


def _decisions(
    parts: Sequence[RewardComponent], rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[RewardComponent, Decision]]:
    for part in parts:
        decide = CATALOGUE[part.name].decide
        decision = decide(rows, part.params) if decide else None
        if decision:
            yield part, decision


class Scorer:
    """A composed reward: scores one completion when called, or many with :meth:`many`.

    Never raises: a part that fails scores 0 and says why. Made by :func:`compose`.
    """

    def __init__(self, section: RewardSection, markers: Markers) -> None:
        self._parts = resolve(section)
        self._markers = markers
        self._low = -math.inf if section.clip_low is None else section.clip_low
        self._high = math.inf if section.clip_high is None else section.clip_high
        self._divisor = _positive(self._parts) or 1.0 if section.normalise else 1.0
        self._account = Account()

    def __call__(self, completion: str, prompt: str, row: Mapping[str, Any]) -> Total:
        """Score one completion."""
        return self.many([Item(completion, prompt, row)])[0]

    def many(self, items: Sequence[Item]) -> list[Total]:
        """Score many, part by part: sandbox tasks and judge requests run in parallel."""
        with charged_to(self._account):
            columns = {part.key: (part, self._scores(part, items)) for part in self._parts}
        return [
            self._total({key: (part, scores[place]) for key, (part, scores) in columns.items()})
            for place in range(len(items))
        ]

    def compared(self, group: Sequence[Total]) -> list[float]:
        """Totals for comparing the answers of a group with each other.

        A part without a score for an answer counts as the mean of its scores for the others: the answer
        then neither moves the group's mean nor gains or loses by it. A 0 would make it the worst of its group.
        """
        means: dict[str, float] = {}
        for key in group[0].components if group else ():
            said = [total.components[key].score for total in group if total.components[key].opinion]
            if said and len(said) < len(group):
                means[key] = math.fsum(said) / len(said)
        return [self._sum(total.components, means) for total in group] if means else [total.total for total in group]

    def take_spent(self) -> Spent:
        """What judges were asked since the last call."""
        return self._account.take()

    def _scores(self, part: RewardComponent, items: Sequence[Item]) -> list[Score]:
        """Scores of one part. Parts that do not read the reasoning see only the answer."""
        if CATALOGUE[part.name].thought:
            return self._asked(part, items)
        said = [after_thought(item.completion, self._markers) for item in items]
        answered = [item._replace(completion=text) for item, text in zip(items, said, strict=True) if text is not None]
        scores = iter(self._asked(part, answered) if answered else [])
        return [ENDLESS if text is None else next(scores) for text in said]

    def _asked(self, part: RewardComponent, items: Sequence[Item]) -> list[Score]:
        info, params = CATALOGUE[part.name], {**part.params, "markers": self._markers}
        if info.batch is None:
            return [_guarded(info.function, item, params) for item in items]
        try:
            scores = info.batch(items, **params)
            if len(scores) != len(items):
                raise ValueError(f"it returned {len(scores)} scores for {len(items)} answers")
        except Exception as error:  # noqa: BLE001 - one bad row or reward must not end a night's training
            if len(items) == 1:
                return [_failed(error)]
            # An answer that makes the reward fail must not change the others' scores.
            return [_guarded(info.function, item, params) for item in items]
        return [_in_range(score) for score in scores]

    def _total(self, scored: dict[str, tuple[RewardComponent, Score]]) -> Total:
        parts: dict[str, Part] = {}
        for key, (part, score) in scored.items():
            if score.value is NO_OPINION:
                parts[key] = Part(0.0, part.weight, score.why, opinion=False)
                continue
            value, why = min(part.clip_high, max(part.clip_low, score.value)), score.why
            if part.requires and not scored[part.requires][1].value >= part.requires_at_least:
                title = _title(scored[part.requires][0])
                value, why = 0.0, f"Not counted because {title} is below {part.requires_at_least:g}. {why}"
            parts[key] = Part(value, part.weight, why)
        return Total(self._sum(parts, {}), parts)

    def _sum(self, parts: Mapping[str, Part], instead: Mapping[str, float]) -> float:
        """The clipped weighted sum; ``instead`` has the values of parts without a score."""
        scores = {key: part.score if part.opinion else instead.get(key, 0.0) for key, part in parts.items()}
        total = math.fsum(scores[key] * part.weight for key, part in parts.items()) / self._divisor
        return min(self._high, max(self._low, total))


def compose(section: RewardSection, markers: Markers) -> Scorer:
    """Compose one function that scores a completion by every part.

    It takes (completion, prompt, row) and never raises: a part that fails scores 0 and says why.

    Raises:
        InvalidConfig: As :func:`resolve`.
    """
    return Scorer(section, markers)


def maximum(section: RewardSection) -> float:
    """The largest possible total: the sum of positive weights, or 1 if normalized; then clipped."""
    parts = resolve(section)
    best = math.fsum(part.weight * (part.clip_high if part.weight > 0 else part.clip_low) for part in parts)
    best = best / (_positive(parts) or 1.0) if section.normalise else best
    return best if section.clip_high is None else min(best, section.clip_high)


def titles(section: RewardSection) -> dict[str, str]:
    """The title of each part, by the key under which its scores are stored."""
    return {part.key: _title(part) for part in resolve(section)}


def _title(part: RewardComponent) -> str:
    return str(part.label or part.params.get("title") or CATALOGUE[part.name].title)


def part_title(key: str, reward: RewardSection | Mapping[str, Any] | None = None) -> str:
    """The title of a part of a reward on all pages, by the key under which its scores are stored.

    Args:
        key: A part's label, or its reward's name.
        reward: The section that it belongs to, if known: it has the titles of custom rewards.
    """
    try:
        section = reward if isinstance(reward, RewardSection) else RewardSection.model_validate(dict(reward or {}))
        found = titles(section).get(key)
    except (ValueError, InvalidConfig, LookupError):
        found = None
    return found or (CATALOGUE[key].title if key in CATALOGUE else key)


def _positive(parts: Sequence[RewardComponent]) -> float:
    return math.fsum(part.weight for part in parts if part.weight > 0)


def needs(section: RewardSection) -> tuple[str, ...]:
    """Mapped columns that a row must have for this reward."""
    return tuple(dict.fromkeys(need for part in resolve(section) for need in CATALOGUE[part.name].needs))


def _guarded(function: Callable[..., Score], item: Item, params: dict[str, Any]) -> Score:
    try:
        return _in_range(function(item.completion, item.prompt, item.row, **params))
    except Exception as error:  # noqa: BLE001 - one bad row or reward must not end a night's training
        return _failed(error)


def _failed(error: Exception) -> Score:
    try:
        told = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the message may hold what cannot be shown
        told = type(error).__name__
    return Score(0.0, reason(f"The reward failed on this answer: {told}"))


def _in_range(score: Score) -> Score:
    if score.value is NO_OPINION:
        return Score(NO_OPINION, reason(score.why))
    if not 0 <= score.value <= 1:
        return Score(0.0, f"This reward gave {score.value}, which is not between 0 and 1.")
    return Score(float(score.value), reason(score.why))


def _filled(part: RewardComponent) -> RewardComponent:
    defaults = {param.name: param.default for param in CATALOGUE[part.name].params}
    return part.model_copy(update={"params": defaults | part.params})


def _problems(index: int, part: RewardComponent) -> list[tuple[str, str]]:
    path = f"reward.components.{index}"
    info = CATALOGUE.get(part.name)
    if info is None:
        return [(f"{path}.name", _unknown("reward", part.name, list(CATALOGUE)))]
    known = {param.name: param for param in info.params}
    problems = []
    for name, value in part.params.items():
        wrong = known[name].problem(value) if name in known else _unknown("setting", name, list(known))
        if wrong:
            problems.append((f"{path}.params.{name}", wrong))
    params = _filled(part).params
    if part.name == "length" and not problems and params["minimum"] > params["maximum"]:
        problems.append((f"{path}.params.minimum", f"must not be above maximum ({params['maximum']})"))
    found = info.check(params) if info.check and not problems else None
    return [*problems, (f"{path}.params.{found[0]}", found[1])] if found else problems


def _unknown(kind: str, name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known) or 'none'}"
    return f"there is no {kind} {name!r:.60}; {hint}"
