"""Rewards: pure functions of a completion and the row it answers, and their weighted sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from core.config import DatasetSection, RewardComponent, RewardSection
from core.errors import InvalidConfig
from core.reward import Markers, Part, Score, Total
from core.rewards.catalogue import CATALOGUE, PRESETS, Param, Preset, RewardInfo

__all__ = [
    "CATALOGUE",
    "PRESETS",
    "Param",
    "Preset",
    "RewardInfo",
    "compose",
    "markers_of",
    "maximum",
    "needs",
    "resolve",
]

Compose = Callable[[str, str, Mapping[str, Any]], Total]


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


def compose(section: RewardSection, markers: Markers) -> Compose:
    """One function that scores a completion by every part.

    It takes (completion, prompt, row) and never raises: a part that fails scores 0 and says why.

    Raises:
        InvalidConfig: As :func:`resolve`.
    """
    parts = [(part, CATALOGUE[part.name].function) for part in resolve(section)]

    def score(completion: str, prompt: str, row: Mapping[str, Any]) -> Total:
        components: dict[str, Part] = {}
        for part, function in parts:
            result = _guarded(function, completion, prompt, row, {**part.params, "markers": markers})
            components[part.name] = Part(result.value, part.weight, result.why)
        return Total(math.fsum(part.score * part.weight for part in components.values()), components)

    return score


def maximum(section: RewardSection) -> float:
    """The largest total that a completion can earn: the sum of the positive weights."""
    return math.fsum(part.weight for part in resolve(section) if part.weight > 0)


def needs(section: RewardSection) -> tuple[str, ...]:
    """Mapped columns that a row must have for this reward."""
    return tuple(dict.fromkeys(need for part in resolve(section) for need in CATALOGUE[part.name].needs))


def _guarded(
    function: Callable[..., Score], completion: str, prompt: str, row: Mapping[str, Any], params: dict[str, Any]
) -> Score:
    try:
        value, why = function(completion, prompt, row, **params)
    except Exception as error:  # noqa: BLE001 - one bad row or reward must not end a night's training
        return Score(0.0, f"This reward failed on this answer: {type(error).__name__}: {error}")
    if not 0 <= value <= 1:
        return Score(0.0, f"This reward gave {value}, which is not between 0 and 1.")
    return Score(float(value), why)


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
    return problems


def _unknown(kind: str, name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known) or 'none'}"
    return f"there is no {kind} {name!r:.60}; {hint}"
