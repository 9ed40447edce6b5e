"""The training methods: their metadata and checks. Their trainers are in ``core/training/methods``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import InvalidInput
from core.methods.dpo import DPO
from core.methods.grpo import GRPO
from core.methods.kto import KTO
from core.methods.method import Method, Need
from core.methods.orpo import ORPO
from core.methods.reward_model import REWARD_MODEL
from core.methods.sft import SFT

__all__ = ["DEFAULT", "METHODS", "Method", "Need", "method", "method_of"]

METHODS: tuple[Method, ...] = (GRPO, SFT, DPO, ORPO, KTO, REWARD_MODEL)
DEFAULT = GRPO.key
"""The method of configurations that name none, as in the first version."""


def method(key: str | None) -> Method:
    """A method by its key; the default one if none is named.

    Raises:
        InvalidInput: There is no such method.
    """
    wanted = key or DEFAULT
    for one in METHODS:
        if one.key == wanted:
            return one
    known = ", ".join(one.key for one in METHODS)
    raise InvalidInput(f"There is no method {wanted!r:.60}. Known: {known}.", field="method")


def method_of(config: Mapping[str, Any]) -> Method:
    """The method of a configuration as JSON data, for pages: the default one where it names none that is known."""
    return next((one for one in METHODS if one.key == config.get("method")), method(DEFAULT))
