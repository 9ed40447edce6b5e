"""The overview tab of a run: verdict, next steps, metrics, sample answers and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.job import ENDED, JobPhase, JobState
from core.job_dir import JobDir
from core.job_rows import MetricRow, measure
from core.kept import Kept
from core.lora import share_words
from core.methods import Need, method_of
from core.metric import Level, Metric, Unit
from core.statistics import decimals
from pages.evaluations.report import ReportView, of_run
from pages.parts import PhaseView
from pages.runs.actions import RunAction
from pages.runs.address import Wanted
from pages.runs.answers import SampleView, sample
from pages.runs.score_files import ScoreFilesView, files_view
from pages.runs.scores import ScoresView, scores_view
from pages.runs.spark import points_of
from services.container import Services
from services.runs.verdict import RunVerdict
from services.runs.view import RunView
from services.words import num, signed

HEADLINES = 3
"""Number of tiles that sum up a run."""


@dataclass(frozen=True)
class Tile:
    """One metric of the latest step.

    Attributes:
        level: ``watch`` or ``bad`` if the value is outside its healthy range, else ''.
        hint: What is unhealthy about the value, or which direction is better.
        change: The change since the start.
        spark: The points of an SVG polyline through its values.
    """

    key: str
    title: str
    value: str
    unit: str = ""
    hint: str = ""
    level: str = ""
    change: str = ""
    spark: str = ""


@dataclass(frozen=True)
class OverviewView:
    """The overview: ``tiles`` sum up the run or are outside their healthy range, ``more`` are the other metrics.

    Attributes:
        trains: How many parameters the worker trains, in words; '' until it has loaded the model.
    """

    trains: str
    phases: tuple[PhaseView, ...]
    actions: tuple[RunAction, ...]
    tiles: tuple[Tile, ...]
    more: tuple[Tile, ...]
    sample: SampleView | None
    reports: tuple[ReportView, ...]
    scores: ScoresView | None
    files: ScoreFilesView | None


def overview(
    services: Services,
    view: RunView,
    rows: Sequence[MetricRow],
    judged: RunVerdict,
    actions: tuple[RunAction, ...],
    path: str,
) -> OverviewView:
    """The overview of a run.

    Args:
        rows: Its metric rows, merged.
    """
    method, raw = method_of(view.config), services.runs.metrics(view.session_id)[0]
    kept = services.runs.kept(view.session_id)
    tiles = [*tiles_of(method.described, rows, judged.best, kept), *_judge_tile(raw)]
    first = [tile for place, tile in enumerate(tiles) if place < HEADLINES or tile.level]
    rollouts = Need.ROLLOUTS in method.needs
    status = JobDir.known(services.settings.home.outputs, view.session_id).read_status()
    return OverviewView(
        trains=share_words(status.trained_parameters, status.parameters) if status and status.parameters else "",
        phases=_phases(view, rows),
        actions=actions,
        tiles=tuple(first),
        more=tuple(tile for tile in tiles if tile not in first),
        sample=sample(services, view.session_id, Wanted().url(path)) if rollouts else None,
        reports=of_run(services, view.session_id) if view.job.state is JobState.COMPLETED else (),
        scores=scores_view(services, view),
        files=files_view(services, view),
    )


def tiles_of(
    metrics: Sequence[Metric], rows: Sequence[MetricRow], best: float | None, kept: Kept | None = None
) -> tuple[Tile, ...]:
    """The tiles of the latest step; the held-out value of the headline metric comes second.

    Args:
        best: The highest possible reward of an answer, if known.
        kept: The evaluation whose adapter is the result, if that is not the latest: its value is shown.
    """
    trained = [row for row in rows if row.get("phase") == "training"] or rows[-1:]
    evaluated = [row for row in rows if row.get("phase") == "evaluation"]
    made = [
        _tile(one, values, best)
        for one in metrics
        if one.tile and (values := _values(trained if one.line.trained else evaluated, one.key, last=True))
    ]
    lead = metrics[0]
    held = _values(evaluated, lead.key)
    if held:
        change = f"{_number(lead, held[0])} before training" if len(held) > 1 else "measured before training"
        title, unit, value = f"Held-out {lead.term}", _unit(lead, best), held[-1]
        if kept and kept.metric == lead.key:
            value, change = kept.value, f"at step {kept.step}, which is kept; {change}"
        made.insert(1, Tile("heldout", title, _number(lead, value), unit, _better(lead), "", change, points_of(held)))
    return tuple(made)


def unhealthy(metrics: Sequence[Metric], rows: Sequence[MetricRow]) -> tuple[Tile, ...]:
    """The tiles of the metrics that are outside their healthy range in the latest step."""
    return tuple(tile for tile in tiles_of(metrics, rows, None) if tile.level)


def _values(rows: Sequence[MetricRow], key: str, *, last: bool = False) -> list[float]:
    """The values of a metric; with ``last``, none if the latest row lacks it."""
    values = [value for row in rows if (value := measure(row, key)) is not None]
    return [] if last and rows and measure(rows[-1], key) is None else values


def _tile(one: Metric, values: Sequence[float], best: float | None) -> Tile:
    remark, found = one.remark(values[-1]), one.range_of(values[-1])
    return Tile(
        key=one.key,
        title=one.title,
        value=_number(one, values[-1]),
        unit=_unit(one, best),
        hint=remark or _better(one),
        level=str(found.level) if found and found.level is not Level.GOOD else "",
        change=_change(one, values),
        spark=points_of(values),
    )


def _change(one: Metric, values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    change = values[-1] - values[0]
    if one.unit is Unit.SHARE:
        points = round(change * 100)
        return f"{signed(points)} points since the start" if points else "unchanged since the start"
    return f"{signed(change)} since the start" if num(values[0]) != num(values[-1]) else "unchanged since the start"


def _number(one: Metric, value: float) -> str:
    return f"{value:.0%}" if one.unit is Unit.SHARE else num(value)


def _unit(one: Metric, best: float | None) -> str:
    return f"of {decimals(best)}" if one.key == "reward" and best is not None else one.unit.suffix


def _better(one: Metric) -> str:
    return one.better.words.capitalize()


def _judge_tile(rows: Sequence[MetricRow]) -> tuple[Tile, ...]:
    """Requests to judges in the whole run, including repeated steps: they were paid for."""
    spent = {
        name: sum(measure(row, f"judge_{name}") or 0 for row in rows)
        for name in ("requests", "tokens", "cost", "failed")
    }
    if not any(spent.values()):
        return ()
    cost = f"cost {spent['cost']:.4g} at the price you entered" if spent["cost"] else "no price entered"
    failed = f", {spent['failed']} without a score" if spent["failed"] else ""
    hint = f"{spent['tokens']:,} tokens, {cost}{failed}"
    return (Tile("judge", "Judge requests", f"{spent['requests']:,}", "answers", hint),)


def _phases(view: RunView, rows: Sequence[MetricRow]) -> tuple[PhaseView, ...]:
    config, state = view.config, view.job.state
    phase = view.job.phase if state is JobState.RUNNING else ""
    seen = {row.get("phase") for row in rows}
    planned = [(phase.key, phase.title) for phase in method_of(config).phases if phase.planned(config)]
    names = [("prepare", "Preparing"), *planned]
    at = {JobState.QUEUED: "", JobState.STARTING: "prepare"}.get(
        state, "training" if "training" in seen else "warm_up" if "warm_up" in seen else "prepare"
    )
    if phase == JobPhase.WARM_UP:
        at = "warm_up"
    if phase == JobPhase.EVALUATE and "training" in seen and view.job.step >= view.job.max_steps:
        at = "evaluation"
    place = [name for name, _ in names].index(at) if at in dict(names) else 0
    return tuple(_phase(title, index, place, state) for index, (_, title) in enumerate(names))


def _phase(title: str, index: int, place: int, state: JobState) -> PhaseView:
    if state is JobState.COMPLETED or index < place:
        return PhaseView(title, state="past", word="Done")
    if index > place or state is JobState.QUEUED:
        return PhaseView(title, state="ahead", word="Pending")
    if state in ENDED:
        return PhaseView(title, state="ahead", word="Stopped" if state is JobState.STOPPED else "Failed")
    return PhaseView(title, state="now", word="In progress")
