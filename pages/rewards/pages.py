"""The pages about rewards and probes: the catalogue, the editor, the test bench, a probe's result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import core.rewards
from core.config import RunConfig
from core.errors import InvalidInput, TunesmithError
from core.rewards import Account, adversarial, charged_to, own
from core.rewards.sandbox import Protection, protection
from services.container import Services
from services.forms.fields import whole_number
from services.forms.labels import plain_name, reward_title
from services.probes.probes import ProbeView, fingerprint
from services.rewards.rewards import read_section
from services.wizard.draft import Draft


@dataclass(frozen=True)
class RewardsPage:
    """Every reward by family, the ready-made combinations, the saved ones, and the protection in force."""

    families: dict[str, list[Any]]
    presets: tuple[Any, ...]
    saved: list[dict[str, Any]]
    protection: Protection


@dataclass(frozen=True)
class RewardEditPage:
    """The editor of an own reward: its Python, or its parts as JSON."""

    name: str
    source: str
    text: str
    version: int
    versions: list[int]
    problem: str
    protection: Protection
    result: tuple[dict[str, Any], ...]
    examples: str
    samples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class BenchPage:
    """Completions under one or two rewards, the adversarial table, the distribution, what a judge cost."""

    choices: tuple[tuple[str, str], ...]
    first: str
    second: str
    row: int
    shown: dict[str, Any]
    completions: str
    scored: tuple[dict[str, Any], ...]
    report: adversarial.Report | None
    spread: dict[str, Any]
    problem: str
    model: str
    spent: str
    decided: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProbePage:
    """A probe's verdict, figures, and everything that was sampled."""

    probe: ProbeView
    lines: tuple[tuple[str, str], ...]
    groups: tuple[dict[str, Any], ...]
    fix: str
    reward: dict[str, Any]


def rewards_page(services: Services) -> RewardsPage:
    """The list."""
    families: dict[str, list[Any]] = {}
    for info in core.rewards.CATALOGUE.values():
        families.setdefault(info.family, []).append(info)
    return RewardsPage(families, tuple(core.rewards.PRESETS.values()), services.saved_rewards.list(), protection())


def edit_page(
    services: Services, name: str, *, version: int | None = None, source: str = "", examples: str = ""
) -> RewardEditPage:
    """A saved reward, or a new one where nothing of the name is there yet; ``source`` is tried where it is given."""
    known = {one["name"] for one in services.saved_rewards.list()}
    saved = services.saved_rewards.get(name, version) if name in known else None
    reward = saved["reward"] if saved else python_reward(own.TEMPLATE)
    parts = reward.get("components") or []
    is_python = len(parts) == 1 and parts[0]["name"] == "python"
    code = source or (parts[0]["params"].get("source", own.TEMPLATE) if is_python else "")
    problem = (own.problem(code) or "") if code else ""
    return RewardEditPage(
        name, code, "" if is_python else json.dumps(reward, indent=1, ensure_ascii=False), saved["version"] if saved else 0,
        saved["versions"] if saved else [], problem, protection(),
        _tried(services, code, examples) if source and not problem else (), examples, own.EXAMPLES,
    )  # fmt: skip


def python_reward(source: str) -> dict[str, Any]:
    """A reward section of one part: this Python."""
    return {"type": "composite", "components": [{"name": "python", "params": {"source": source}}]}


def _tried(services: Services, source: str, examples: str) -> tuple[dict[str, Any], ...]:
    dataset = _dataset(services.wizard.draft())
    texts = [text.strip() for text in examples.replace("\r\n", "\n").split("\n---\n")] if examples.strip() else []
    try:
        row = (
            services.bench.rows(dataset, 1, fetch=False)[0]
            if dataset
            else {"instruction": "What is 2 + 2?", "response": "4"}
        )
    except TunesmithError:
        row = {"instruction": "What is 2 + 2?", "response": "4"}
    texts = texts or [str(row["response"]), "certainly not", ""]
    results = []
    for text in texts:
        part = services.rewards.test(python_reward(source), str(row.get("instruction", "")), text, row).components[
            "python"
        ]
        results.append({"text": text, "score": part.score, "why": part.why})
    return tuple(results)


def _dataset(draft: Draft) -> dict[str, Any]:
    """The draft's dataset, empty where none is chosen."""
    return draft.dataset.filled() if draft.dataset.source else {}


def choices(services: Services, draft: Draft) -> dict[str, tuple[str, dict[str, Any]]]:
    """Rewards that the bench can be asked about: the draft's, ready-made ones, saved ones."""
    own_one = draft.reward.json() or {"type": "preset", "preset_name": "math"}
    offered = {"draft": (f"The draft's: {reward_title(own_one)}", own_one)}
    for preset in core.rewards.PRESETS.values():
        offered[f"preset:{preset.name}"] = (preset.title, {"type": "preset", "preset_name": preset.name})
    for one in services.saved_rewards.list():
        offered[f"saved:{one['name']}"] = (f"{one['name']} (saved)", services.saved_rewards.use(one["name"]))
    return offered


def bench_page(services: Services, form: Any) -> BenchPage:
    """The bench after what the form asks: nothing, score, sample, attack or distribution."""
    draft, action = services.wizard.draft(), form.get("action", "")
    offered = choices(services, draft)
    first = form.get("first", "draft") if form.get("first", "draft") in offered else "draft"
    second = form.get("second", "") if form.get("second", "") in offered else ""
    row = max(0, (whole_number(form.get("row")) or 1) - 1)  # people count from 1
    completions = form.get("completions", "").replace("\r\n", "\n")
    state: dict[str, Any] = {"shown": {}, "scored": (), "report": None, "spread": {}, "problem": "", "decided": ()}
    dataset, rewards = _dataset(draft), [offered[key][1] for key in (first, second) if key]
    with charged_to(Account()) as account:
        try:
            if not dataset:
                raise TunesmithError("Choose a dataset in the wizard's second step; its rows are used here.")
            # Only a button may wait for the Hub.
            state["shown"] = services.bench.rows(dataset, row + 1, fetch=bool(action))[-1]
            state["decided"] = services.bench.decided(rewards, dataset)
            if action == "sample":
                completions = _written(services, draft, row)
            if completions.strip() and action in {"score", "sample"}:
                state["scored"] = _scored(services, rewards, dataset, completions, row)
            if action == "attack":
                state["report"] = services.bench.attack(rewards[0], dataset)
            if action == "distribution":
                state["spread"] = services.bench.distribution(rewards[0], dataset, 100)
        except TunesmithError as error:
            state["problem"] = error.message
    names = tuple((key, title) for key, (title, _) in offered.items())
    spent = account.spent.words()
    return BenchPage(
        names,
        first,
        second,
        row + 1,
        completions=completions,
        model=plain_name(draft.model.name, services.settings.home),
        spent=spent,
        **state,
    )


def _written(services: Services, draft: Draft, row: int) -> str:
    """Three answers of the model, as the page shows several."""
    training = draft.training
    try:
        longest, variety = min(training.whole("max_new_tokens", 64), 128), training.number("temperature", 1.0)
    except (TypeError, ValueError):
        raise InvalidInput("A number in the wizard's third step cannot be read; mend it there first.") from None
    return "\n---\n".join(services.bench.write(draft.model.name, _dataset(draft), row, 3, longest, variety))


def _scored(
    services: Services, rewards: list[dict[str, Any]], dataset: dict[str, Any], completions: str, row: int
) -> tuple[dict[str, Any], ...]:
    texts = [text.strip("\n") for text in completions.split("\n---\n")]
    answer = services.bench.score(rewards, dataset, texts, row)
    titles = [core.rewards.titles(read_section(reward)) for reward in rewards]
    return tuple(
        {"text": text, "columns": [
            {"total": totals[place].total, "parts": [(names[key], part) for key, part in totals[place].components.items()]}
            for names, totals in zip(titles, answer["rewards"], strict=True)
        ]}
        for place, text in enumerate(texts)
    )  # fmt: skip


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


@dataclass(frozen=True)
class BeforeStart:
    """On the last page before a start: what the probe said.

    Attributes:
        probe: The draft's latest probe.
        lines: Its figures.
        changed: Whether the draft is no longer what was probed.
        possible: Whether the draft is complete enough to be probed.
        fix: What the button that follows the advice says; empty where there is none.
    """

    probe: ProbeView | None
    lines: tuple[tuple[str, str], ...]
    changed: bool
    possible: bool
    fix: str


def before_start(probe: ProbeView | None, config: RunConfig | None, fix: str) -> BeforeStart:
    """For the draft's configuration, None where it is not complete."""
    changed = bool(probe and config and probe.fingerprint != fingerprint(config))
    return BeforeStart(probe, figure_lines(probe) if probe else (), changed, config is not None, fix)
