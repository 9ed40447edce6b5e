"""The metrics that runs write, for programs."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Response, jsonify

from core.metric import Metric
from core.metrics import METRICS
from routes._api import describes

bp = Blueprint("metrics", __name__)


@dataclass(frozen=True)
class HealthyRange:
    """Smallest and largest value that are fine; null for no such bound."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class MetricInfo:
    """One metric: ``key`` is its name in the rows, ``better`` is higher, lower or neither."""

    key: str
    title: str
    text: str
    unit: str
    better: str
    healthy: HealthyRange


@bp.get("/api/metrics")
@describes(answer={"metrics": list[MetricInfo]})
def listed() -> Response:
    """Every metric of a run's rows, with its unit, direction and healthy range."""
    return jsonify({"metrics": [_info(one) for one in METRICS]})


def _info(one: Metric) -> MetricInfo:
    text = f"{one.plain}. {one.text}".strip()
    return MetricInfo(one.key, one.title, text, one.unit, one.better, HealthyRange(*one.healthy_range))
