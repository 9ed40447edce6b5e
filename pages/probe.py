"""The page of one probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import core.rewards
from core.job_rows import GroupRow
from services.container import Services
from services.probes.probes import ProbeView
from services.words import duration


@dataclass(frozen=True)
class ProbePage:
    """A probe's verdict, figures and samples."""

    probe: ProbeView
    lines: tuple[tuple[str, str], ...]
    groups: tuple[GroupRow, ...]
    fix: str
    reward: dict[str, Any]


def probe_page(services: Services, probe_id: str) -> ProbePage:
    """One probe."""
    view = services.probes.get(probe_id)
    fix, reward = services.snapshots.take().fix_of(view), services.probes.reward(probe_id)
    groups = tuple(services.probes.answers(probe_id))
    return ProbePage(view, figure_lines(view, reward), groups, fix.label if fix else "", reward)


def figure_lines(view: ProbeView, reward: Any = None) -> tuple[tuple[str, str], ...]:
    """The figures in words."""
    figures = view.figures
    if not figures:
        return ()

    def share(name: str) -> str:
        return f"{figures[name]:.0%}"

    parts = [
        (core.rewards.part_title(name, reward), f"mean {part['mean']:.2f}, standard deviation {part['spread']:.2f}")
        for name, part in figures["components"].items()
    ]
    judged = (
        [
            (
                "Judge",
                f"{figures['judge_requests']} answers, {figures['judge_tokens']:,} tokens, cost {figures['judge_cost']:.4g}; the whole run about {figures['run_judge_cost']:.4g}, at the price you set",
            )
        ]
        if figures.get("judge_requests")
        else []
    )
    return (
        ("Questions answered correctly never, sometimes, always", f"{share('never')}, {share('sometimes')}, {share('always')}"),
        ("Questions with mixed scores (only these drive learning)", share("with_spread")),
        ("Reward", f"mean {figures['reward']:.2f}, standard deviation {figures['reward_spread']:.2f}; a correct answer scores {figures['reference']:.2f}, a wrong one in the correct format {figures['wrong']:.2f}"),
        *parts,
        ("Components cancel out", "yes" if figures.get("cancel") else "no"),
        ("Answers cut off", share("cut_off")),
        ("Answers without the required format", share("unparsed")),
        ("Entropy", f"{figures['entropy']:.2f} nats per token"),
        ("Generation speed", f"{figures['tokens_per_second']:.0f} tokens per second"),
        ("Training time", f"{figures['steps']} steps × {figures['seconds_per_step']:.{0 if figures['seconds_per_step'] >= 10 else 1}f} s, about {duration(figures['hours'] * 3600)}"),
        ("Memory", f"{figures['memory_needed'] / 1e9:.1f} GB needed, {figures['memory_free'] / 1e9:.1f} GB available"),
        *judged,
    )  # fmt: skip
