"""API for the metrics that runs report."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Response, jsonify

from core.metric import Metric
from core.metrics import METRICS
from routes._api import describes

bp = Blueprint("metrics", __name__)


@dataclass(frozen=True)
class HealthyRange:
    """Smallest and largest healthy value; null if there is no bound."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class MetricInfo:
    """A metric. ``key`` is its name in metric rows; ``better`` is higher, lower or neither."""

    key: str
    title: str
    text: str
    unit: str
    better: str
    healthy: HealthyRange


@bp.get("/api/metrics")
@describes(answer={"metrics": list[MetricInfo]})
def listed() -> Response:
    """List the metrics of runs with unit, direction and healthy range."""
    return jsonify({"metrics": [_info(one) for one in METRICS]})


def _info(one: Metric) -> MetricInfo:
    text = f"{one.plain}. {one.text}".strip()
    return MetricInfo(one.key, one.title, text, one.unit, one.better, HealthyRange(*one.healthy_range))
