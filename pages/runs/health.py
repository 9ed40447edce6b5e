"""A figure of the latest step against its healthy range, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Health:
    """A figure against its healthy range. ``level``: '', ``good``, ``watch`` or ``bad``."""

    level: str
    words: str


def health(name: str, value: float | None) -> Health:
    """A figure against its healthy range, in words."""
    if value is None or name not in _RANGES:
        return Health("", "")
    return _RANGES[name](value)


_RANGES: dict[str, Callable[[float], Health]] = {
    "kl": lambda v: (
        Health("bad", "stop and look")
        if v > 1
        else Health("watch", "watch it")
        if v > 0.1
        else Health("good", "calm" if v < 0.01 else "fine")
    ),
    "cut_off": lambda v: (
        Health("bad", "the limit is too short")
        if v > 0.5
        else Health("watch", "some answers lose their end")
        if v > 0.2
        else Health("good", "fine")
    ),
    "groups_without_spread": lambda v: (
        Health("bad", "nothing is being learnt")
        if v > 0.9
        else Health("watch", "little to compare")
        if v > 0.6
        else Health("good", "fine")
    ),
    "grad_norm": lambda v: (
        Health("watch", "unusually large")
        if v > 100
        else Health("watch", "unusually small")
        if v < 0.01
        else Health("good", "fine")
    ),
    "entropy": lambda v: Health("watch", "it says nearly one thing only") if v < 0.05 else Health("good", "fine"),
    "clip_ratio": lambda v: Health("watch", "many corrections are held back") if v > 0.2 else Health("good", "fine"),
}
