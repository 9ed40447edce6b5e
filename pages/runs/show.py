"""A run's page, drawn from its rows on the server; a live page fetches it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import RewardSection
from core.job import ENDED, JobPhase, JobState
from core.job_dir import JobDir, read_row
from core.job_rows import MetricRow, is_metric, measure
from core.methods import Need, method_of
from core.metric import Metric, Unit
from core.rewards import part_title, titles
from core.statistics import decimals
from pages.evaluations.report import ReportView, of_run
from pages.parts import PhaseView
from pages.runs.actions import RunAction, actions
from pages.runs.answers import AnswersView, Wanted, _answers
from pages.runs.charts import charts
from services.container import Services
from services.runs.series import headline
from services.runs.verdict import RunVerdict, merge
from services.runs.view import RunView
from services.words import duration, num, state_word

TABLE_ROWS = 60
"""Rows of the table for those without charts: the latest of each phase, evenly thinned."""


@dataclass(frozen=True)
class Tile:
    """One figure of the latest step."""

    key: str
    title: str
    value: str
    unit: str
    hint: str


@dataclass(frozen=True)
class Column:
    """A column of the table of metrics."""

    key: str
    title: str


@dataclass(frozen=True)
class RunBoard:
    """Everything of a run's page that is drawn on the server."""

    view: RunView
    path: str
    title: str
    """Of the document: how far it is, or how it ended."""
    verdict: RunVerdict
    doing: str
    phase_word: str
    speed: str
    left: str
    phases: tuple[PhaseView, ...]
    actions: tuple[RunAction, ...]
    has_numbers: bool
    tiles: tuple[Tile, ...]
    columns: tuple[Column, ...]
    table: tuple[MetricRow, ...]
    answers: AnswersView | None
    """None for a method that writes none."""
    reports: tuple[ReportView, ...]
    log: str
    config_line: str
    config_text: str
    data: dict[str, Any]


@dataclass(frozen=True)
class RunPage:
    """A run's own page."""

    run: RunBoard


def columns_of(metrics: Sequence[Metric]) -> tuple[Column, ...]:
    """What has a tile comes first."""
    listed = [*(one for one in metrics if one.tile), *(one for one in metrics if one.column and not one.tile)]
    return tuple(Column(one.key, one.title) for one in listed)


def board(services: Services, session_id: str, wanted: Wanted, path: str) -> RunBoard:
    """Everything of a run's page.

    Raises:
        NotFound: There is no such run.
    """
    view = services.runs.get(session_id)
    method = method_of(view.config)
    rows, _ = services.runs.metrics(session_id)
    merged = merge(rows)
    state, judged = view.job.state, services.runs.verdict(view)
    phase = view.job.phase if state is JobState.RUNNING else ""
    latest = next((row for row in reversed(merged) if row.get("phase") == "training"), merged[-1] if merged else None)
    return RunBoard(
        view=view,
        path=path,
        title=_title(view, phase, judged),
        verdict=judged,
        doing=_doing(view),
        phase_word=_phase_word(phase),
        speed=f"{num(view.job.seconds_per_step)} s a step" if view.job.seconds_per_step else "",
        left=duration(view.job.eta_seconds) if view.job.eta_seconds else "",
        phases=_phases(view, phase, merged),
        actions=actions(view, judged, has_adapter=services.models.has_adapter(view.job)),
        has_numbers=bool(merged),
        tiles=_tiles(method.described, latest or {}, merged, judged.best) + _judge_tile(rows),
        columns=columns_of(method.described),
        table=_table(merged),
        answers=_answers(services, session_id, wanted) if Need.ROLLOUTS in method.needs else None,
        reports=of_run(services, session_id) if state is JobState.COMPLETED else (),
        log=services.runs.log(session_id, tail=200, useful=True),
        config_line=_config_line(view.config),
        config_text=json.dumps(view.config, indent=2, ensure_ascii=False),
        data={
            "session_id": session_id,
            "charts": charts(judged.best, method.described),
            "parts": _part_titles(merged, view.config.get("reward")),
        },
    )


def _phase_word(phase: str) -> str:
    words: dict[str, str] = {JobPhase.WARM_UP: "Warm-up", JobPhase.EVALUATE: "Scoring"}
    return words.get(phase, "Training")


def _title(view: RunView, phase: str, judged: RunVerdict) -> str:
    """'Training 12/40 · my run', so that a tab in the background says how far it is."""
    if view.job.active and view.job.max_steps:
        return f"{_phase_word(phase)} {view.job.step}/{view.job.max_steps} · {view.title}"
    how = f": {judged.brief}" if view.job.state is JobState.COMPLETED and judged.brief else ""
    return f"{state_word(view.job.status)}{how} · {view.title}"


def _part_titles(rows: Sequence[MetricRow], reward: Any) -> dict[str, str]:
    keys = {key for row in rows for key in row.get("reward_components") or {}}
    if reward:
        keys |= set(titles(RewardSection.model_validate(reward)))
    return {key: part_title(key, reward) for key in sorted(keys)}


@dataclass(frozen=True)
class Spark:
    """How a run went, small.

    Attributes:
        points: Of an SVG polyline, at most 60; '' for fewer than two.
        words: The latest value with its name, such as 'loss 0.12'; '' where there is none.
    """

    points: str = ""
    words: str = ""


def spark(rows: Sequence[MetricRow], width: int = 100, height: int = 28) -> Spark:
    """The course of what sums up the training."""
    lead = headline(rows)
    if lead is None:
        return Spark()
    trained = [row for row in merge(rows) if row.get("phase") == "training"]
    values = [value for row in trained if (value := measure(row, lead.key)) is not None]
    if not values:
        return Spark()
    words = f"{lead.term} {num(values[-1])}"
    values = values[:: max(1, len(values) // 60)]
    if len(values) < 2:
        return Spark(words=words)
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    points = (
        f"{index * width / (len(values) - 1):.1f},{height - 2 - (value - low) / span * (height - 4):.1f}"
        for index, value in enumerate(values)
    )
    return Spark(" ".join(points), words)


def sparks(services: Services, runs: Sequence[RunView]) -> dict[str, Spark]:
    """The courses of the runs in a list, by id."""
    return {
        run.session_id: spark(_sampled(JobDir(services.settings.home.outputs / run.session_id).metrics)) for run in runs
    }


def _sampled(metrics: Path) -> list[MetricRow]:
    """About 120 rows, evenly spread: a list of long runs must not parse every row of each."""
    try:
        lines = metrics.read_bytes().splitlines()
    except OSError:
        return []
    sampled = lines[:: -max(1, len(lines) // 120)][::-1]  # the last one is among them
    return [row for line in sampled if (row := read_row(line, is_metric)) is not None]


def _doing(view: RunView) -> str:
    if view.job.queue_position:
        return f"Number {view.job.queue_position} in the queue"
    attempt = f"attempt {view.job.attempt}" if view.job.attempt > 1 else ""
    return " · ".join(
        part for part in (view.job.message, f"on {view.job.device}" if view.job.device else "", attempt) if part
    )


def _phases(view: RunView, phase: str, rows: Sequence[MetricRow]) -> tuple[PhaseView, ...]:
    config = view.config
    seen = {row.get("phase") for row in rows}
    state = view.job.state
    planned = [(phase.key, phase.title) for phase in method_of(config).phases if phase.planned(config)]
    names = [("prepare", "Getting ready"), *planned]
    at = {JobState.QUEUED: "", JobState.STARTING: "prepare"}.get(
        state, "training" if "training" in seen else "warm_up" if "warm_up" in seen else "prepare"
    )
    if phase == JobPhase.WARM_UP:
        at = "warm_up"
    if phase == JobPhase.EVALUATE and any(row.get("when") == "end" for row in rows):
        at = "evaluation"
    place = [name for name, _ in names].index(at) if at in dict(names) else 0
    return tuple(_phase(title, index, place, state) for index, (_, title) in enumerate(names))


def _phase(title: str, index: int, place: int, state: JobState) -> PhaseView:
    if state is JobState.COMPLETED or index < place:
        return PhaseView(title, state="past", word="done")
    if index > place or state is JobState.QUEUED:
        return PhaseView(title, state="ahead", word="to come")
    return (
        PhaseView(title, state="ahead", word="ended here")
        if state in ENDED
        else PhaseView(title, state="now", word="now")
    )


def _tiles(
    metrics: Sequence[Metric], latest: Mapping[str, object], rows: Sequence[MetricRow], best: float | None
) -> tuple[Tile, ...]:
    """Those of the latest step; the held-out value of the metric that sums up the training comes second."""
    most = f"of {decimals(best)}" if best is not None else ""
    tiles = [
        _tile(one, value, most if one.key == "reward" else one.unit.suffix)
        for one in metrics
        if one.tile and (value := measure(latest, one.key)) is not None
    ]
    lead = metrics[0]
    scored = [row for row in rows if row.get("phase") == "evaluation"]
    held = [value for row in scored if (value := measure(row, lead.key)) is not None]
    if held:
        hint = f"it was {num(held[0])} before training" if len(held) > 1 else "before training"
        unit = most if lead.key == "reward" else lead.unit.suffix
        tiles.insert(1, Tile("heldout", f"Held-out {lead.term}", num(held[-1]), unit, hint))
    return tuple(tiles)


def _tile(one: Metric, value: float, unit: str) -> Tile:
    shown = f"{value:.0%}".replace("%", " %") if one.unit is Unit.SHARE else num(value)
    found = one.range_of(value)
    return Tile(one.key, one.title, shown, unit, found.words if found else one.better.words)


def _judge_tile(rows: Sequence[MetricRow]) -> tuple[Tile, ...]:
    """What judges were asked in the whole run, repeated steps too: they were paid for."""
    spent = {
        name: sum(measure(row, f"judge_{name}") or 0 for row in rows)
        for name in ("requests", "tokens", "cost", "failed")
    }
    if not any(spent.values()):
        return ()
    cost = f"cost {spent['cost']:.4g} by the price you gave" if spent["cost"] else "no price was given"
    failed = f", {spent['failed']} got no score" if spent["failed"] else ""
    hint = f"{spent['tokens']:,} tokens, {cost}{failed}"
    return (Tile("judge", "Asked of the judge", f"{spent['requests']:,}", "answers", hint),)


def _table(rows: Sequence[MetricRow]) -> tuple[MetricRow, ...]:
    stride = max(1, -(-len(rows) // TABLE_ROWS))
    return tuple(
        row
        for index, row in enumerate(rows)
        if not (len(rows) - 1 - index) % stride or row.get("phase") == "evaluation"
    )


def _config_line(config: Mapping[str, Any]) -> str:
    training = config.get("training") or {}
    rate = f"learning rate {training.get('learning_rate')}"
    if Need.ROLLOUTS not in method_of(config).needs:
        return f"{rate}, texts of up to {training.get('max_sequence_length')} tokens"
    group, limit = training.get("num_generations"), training.get("max_new_tokens")
    return f"{group} answers a question, {rate}, answers of up to {limit} tokens"
