"""The page of one probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import core.rewards
from core.job_rows import GroupRow
from services.container import Services
from services.probes.probes import ProbeView


@dataclass(frozen=True)
class ProbePage:
    """A probe's verdict, figures, and everything that was sampled."""

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
        return f"{figures[name]:.0%}".replace("%", " %")

    parts = [
        (f"Part {core.rewards.part_title(name, reward)}", f"mean {part['mean']:.2f}, spread {part['spread']:.2f}")
        for name, part in figures["components"].items()
    ]
    judged = (
        [
            (
                "Asked of a judge",
                f"{figures['judge_requests']} answers, {figures['judge_tokens']:,} tokens, cost {figures['judge_cost']:.4g}; the configured run about {figures['run_judge_cost']:.4g}, both by the price you gave",
            )
        ]
        if figures.get("judge_requests")
        else []
    )
    return (
        ("Questions never, sometimes, always answered right", f"{share('never')}, {share('sometimes')}, {share('always')}"),
        ("Groups whose answers differ in worth (only those teach)", share("with_spread")),
        ("Reward, mean and spread", f"{figures['reward']:.2f}, {figures['reward_spread']:.2f}; the reference earns {figures['reference']:.2f}, a wrong answer in its form {figures['wrong']:.2f}"),
        *parts,
        ("Parts cancel in the sum", "yes" if figures.get("cancel") else "no"),
        ("Cut off at the length limit", share("cut_off")),
        ("No answer found in the text", share("unparsed")),
        ("Entropy", f"{figures['entropy']:.2f} nats a token"),
        ("Speed", f"{figures['tokens_per_second']:.0f} tokens a second while sampling"),
        ("The configured run", f"{figures['steps']} steps of {figures['seconds_per_step']:.1f} s: {figures['hours']:.1f} hours"),
        ("Memory", f"{figures['memory_needed'] / 1e9:.1f} GB needed at most, {figures['memory_free'] / 1e9:.1f} GB to be had"),
        *judged,
    )  # fmt: skip
