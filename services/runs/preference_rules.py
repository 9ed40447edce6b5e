"""What can go wrong in learning from preferences although the preferences are learned. Pure functions.

A margin grows as well if both answers become less likely, the worse one faster. Such a model moves away from all the
answers that it was shown, to answers that nobody has judged: https://arxiv.org/abs/2402.13228.
"""

from __future__ import annotations

from math import sqrt
from statistics import fmean, variance
from typing import Any

from core.job_rows import measure
from core.methods import Method, Need, method_of
from core.statistics import decimals
from services.runs.diagnosis import EARLY, WINDOW, Change, Finding, Remedy, Seen, slower

FALLEN = 1.0
"""Nats by which the log-probability of a whole answer must have fallen: it is less than half as likely."""
SURE = 2.0
"""Standard errors by which it must have fallen."""
SFT_WEIGHT = 0.2
"""Weight of the SFT loss in Llama 3's DPO."""
MEANT = frozenset({"apo_down"})
"""Losses that are meant to make both answers less likely."""


def better_answers_fall(seen: Seen) -> Finding | None:
    """The better answers are clearly less likely than at the start, while the margin has grown.

    Their reward is beta times the change of their log-probability since the start, so it can be compared between steps
    with different rows, unlike the log-probability itself. None for methods without a reference model.
    """
    method = method_of(seen.config)
    fields = method.section.model_fields
    if Need.REFERENCE_MODEL not in method.needs or "beta" not in fields or _own(seen, method, "loss_type") in MEANT:
        return None
    beta = _own(seen, method, "beta")
    chosen, margins = _values(seen, "reward_chosen"), _values(seen, "reward_margin")
    if len(chosen) < EARLY or len(margins) < EARLY or not beta:
        return None
    size = min(WINDOW, max(2, len(chosen) // 2))
    lately = chosen[-size:]
    change = fmean(lately) / beta
    error = sqrt(variance(lately) / size) / beta
    grown = fmean(margins[-size:]) - margins[0]
    if change > -max(FALLEN, SURE * error) or grown <= 0:
        return None
    remedy, others = _remedies(seen, method, beta)
    return Finding(
        "watch",
        "The better answers are becoming less likely too: their log-probability is "
        f"{decimals(-change, 1)} lower than at the start, while the margin grows because the worse ones fall faster.",
        (f"Start a new run with {remedy.words}.", f"Or try {others}."),
        remedy,
    )


def _remedies(seen: Seen, method: Method, beta: float) -> tuple[Remedy, str]:
    """What to change first, and the alternatives in words."""
    path = f"{method.section_name}.beta"
    higher = Remedy(f"a higher beta ({2 * beta:g})", (Change(path, 2 * beta, beta),))
    slow = slower(seen)
    weight = _own(seen, method, "sft_weight")
    if weight == 0:
        added = Change(f"{method.section_name}.sft_weight", SFT_WEIGHT, weight)
        return Remedy("the SFT loss added", (added,)), f"{higher.words}, or {slow.words}"
    return higher, slow.words


def _own(seen: Seen, method: Method, name: str) -> Any:
    """A setting of the method's own section, or its default; None if it has no such setting."""
    fields, values = method.section.model_fields, seen.config.get(method.section_name) or {}
    return values[name] if name in values else fields[name].default if name in fields else None


def _values(seen: Seen, name: str) -> list[float]:
    return [value for row in seen.training if (value := measure(row, name)) is not None]
