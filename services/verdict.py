"""One plain line on how a run is going, and what to do about it. Pure functions of metric rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, pvariance
from typing import Any

from core.run import JobState
from core.statistics import decimals

Row = dict[str, Any]

EARLY = 5
"""Fewer steps than this say nothing about a trend."""
WINDOW = 10
"""Steps that count as 'lately'."""


@dataclass(frozen=True)
class Verdict:
    """``level`` is ``good``, ``calm``, ``watch`` or ``problem``; ``advice`` says what to do, in order."""

    level: str
    headline: str
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class Health:
    """A figure against its healthy range. ``level``: '', ``good``, ``watch`` or ``bad``."""

    level: str
    words: str


def merge(rows: Iterable[Row]) -> list[Row]:
    """Rows with a later one of the same phase, step and moment in place of the earlier, in order of step.

    A resumed run repeats the steps after its last checkpoint.
    """
    latest: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        latest[row.get("phase"), row.get("step"), row.get("when")] = row
    return sorted(latest.values(), key=lambda row: row.get("row", 0))


def verdict(rows: Sequence[Row], state: JobState, *, error: str | None = None) -> Verdict:
    """How a run stands.

    Args:
        rows: Its metric rows, merged.
        state: Its state.
        error: What the worker or the watcher said, where it failed or vanished.
    """
    if state in {JobState.FAILED, JobState.CRASHED}:
        return _broken(rows, state, error)
    training = [row for row in rows if row.get("phase") == "training" and "reward" in row]
    if not training:
        return _not_yet(rows, state)
    found = next((remark for rule in _RULES if (remark := rule(training[-WINDOW:], training))), None)
    trend = _trend([row["reward"] for row in training])
    if state is JobState.COMPLETED:
        return _finished(training, rows, trend, found)
    if state is JobState.STOPPED:
        return Verdict(
            "calm",
            f"Stopped after step {training[-1]['step']}. {_path(training)}",
            ("Resume goes on exactly where it stopped.",),
        )
    if found:
        return found
    if len(training) < EARLY:
        return Verdict(
            "calm", f"Too early to say: {len(training)} of the first {EARLY} steps are done.", ("Give it a few steps.",)
        )
    return {
        "rising": Verdict(
            "good", f"It is learning. {_path(training)}", ("Nothing to do. Read some answers now and then.",)
        ),
        "falling": Verdict(
            "watch",
            f"The reward is falling. {_path(training)}",
            (
                "Read the latest answers: is it exploiting the reward or losing the form?",
                "If it goes on, stop and lower the learning rate.",
            ),
        ),
        "flat": Verdict(
            "calm",
            f"No clear movement yet. {_path(training)}",
            ("Small models may need tens of steps. If nothing moves for long, see whether any answer is right.",),
        ),
    }[trend]


def _not_yet(rows: Sequence[Row], state: JobState) -> Verdict:
    losses = [row["loss"] for row in rows if row.get("phase") == "warm_up" and "loss" in row]
    if state is JobState.QUEUED:
        return Verdict("calm", "Waiting for the run before it to end.", ("It starts by itself.",))
    if state is JobState.STOPPED:
        return Verdict("calm", "Stopped before the first training step.", ("Resume goes on where it stopped.",))
    if state is JobState.COMPLETED:
        return Verdict("watch", "Finished without a training step.", ("Look at the log.",))
    if losses:
        moved = f" Its loss went from {losses[0]:.2f} to {losses[-1]:.2f}." if len(losses) > 1 else ""
        return Verdict(
            "calm", f"Learning the form of an answer first (warm-up).{moved}", ("Rewards start after this phase.",)
        )
    if state is JobState.EVALUATING:
        return Verdict("calm", "Scoring questions it will never train on, for comparison.", ())
    return Verdict(
        "calm", "Getting ready: loading the model and the data.", ("The first numbers appear in about a minute.",)
    )


def _broken(rows: Sequence[Row], state: JobState, error: str | None) -> Verdict:
    steps = [row["step"] for row in rows if row.get("phase") == "training"]
    kept = f"Everything up to step {max(steps)} is kept on this page." if steps else "No step was finished."
    what = (
        "It stopped with an error."
        if state is JobState.FAILED
        else "The process vanished: killed, out of memory, or a power cut."
    )
    return Verdict(
        "problem", f"{what} {kept}", (error or "The log has the details.", "Resume goes on from the last checkpoint.")
    )


def _finished(training: Sequence[Row], rows: Sequence[Row], trend: str, found: Verdict | None) -> Verdict:
    held = [row["reward"] for row in rows if row.get("phase") == "evaluation" and "reward" in row]
    moved = f"from {decimals(held[0])} to {decimals(held[-1])}" if len(held) > 1 else ""
    unseen = f" On questions it never trained on: {moved}." if moved else ""
    better = held[-1] > held[0] if len(held) > 1 else trend == "rising"
    advice = (
        ("Export it, or ask it something.",)
        if better
        else (*(found.advice if found else ()), "Read its answers before using it.")
    )
    return Verdict("good" if better else "watch", f"Finished. {_path(training)}{unseen}", advice)


def _path(training: Sequence[Row]) -> str:
    rewards = [row["reward"] for row in training]
    size = max(1, min(WINDOW, len(rewards) // 3))
    if len(rewards) < 2:
        return f"Reward {rewards[0]:.2f}."
    return f"Reward from {fmean(rewards[:size]):.2f} to {fmean(rewards[-size:]):.2f}."


def _trend(rewards: Sequence[float]) -> str:
    """``rising`` or ``falling`` where the last third differs from the first by twice its standard error."""
    size = max(2, len(rewards) // 3)
    first, last = rewards[:size], rewards[-size:]
    noise = sqrt((pvariance(first) + pvariance(last)) / size)
    change = fmean(last) - fmean(first)
    if abs(change) <= max(2 * noise, 0.01):
        return "flat"
    return "rising" if change > 0 else "falling"


def _mean(rows: Sequence[Row], name: str) -> float | None:
    values = [row[name] for row in rows if name in row]
    return fmean(values) if values else None


def _cut_off(lately: Sequence[Row], training: Sequence[Row]) -> Verdict | None:
    share = _mean(lately, "cut_off") or 0
    if len(training) < EARLY or share <= 0.5:
        return None
    return Verdict(
        "problem",
        f"{share:.0%} of the answers are cut off before they end, so their solutions are never seen.",
        ("Stop, and start again with a higher 'Longest answer'.", "Or ask for shorter answers in the system prompt."),
    )


def _nothing_earned(lately: Sequence[Row], training: Sequence[Row]) -> Verdict | None:
    if len(training) < EARLY or any(row["reward"] > 0.01 for row in lately):
        return None
    return Verdict(
        "problem",
        f"No answer has earned anything in the last {len(lately)} steps, so there is nothing to learn from.",
        (
            "Switch the warm-up on, or make it longer: it shows the form of an answer first.",
            "Try easier questions, or a reward that gives something for partial success.",
        ),
    )


def _no_spread(lately: Sequence[Row], training: Sequence[Row]) -> Verdict | None:
    share = _mean(lately, "groups_without_spread") or 0
    if len(training) < EARLY or share < 0.9:
        return None
    if (_mean(lately, "solved") or 0) > 0.9:
        return Verdict(
            "good",
            "Nearly every answer is fully right; there is little left to learn here.",
            ("Stop and export it, or train on harder questions.",),
        )
    return Verdict(
        "problem",
        "All answers to a question earn the same, so there is nothing to compare and nothing is learnt.",
        (
            "Raise the variety (temperature) or the number of answers per question.",
            "Use a reward that tells good from better.",
        ),
    )


def _drift(lately: Sequence[Row], _: Sequence[Row]) -> Verdict | None:
    kl = _mean(lately, "kl") or 0
    if kl <= 1:
        return None
    return Verdict(
        "problem",
        f"It has moved very far from the original model (KL divergence {kl:.1f}).",
        ("Read the latest answers. If they are poor, start again with a lower learning rate or a higher KL penalty.",),
    )


_RULES: tuple[Callable[[Sequence[Row], Sequence[Row]], Verdict | None], ...] = (
    _cut_off,
    _nothing_earned,
    _no_spread,
    _drift,
)


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
