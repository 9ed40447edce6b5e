"""What a reward model's scores are worth: the part of a run's overview that its report fills."""

from __future__ import annotations

from dataclasses import dataclass

from core.methods import method_of
from core.reward_report import RewardReport
from core.reward_report_words import correlation_words, in_words, share_words
from core.statistics import decimals
from pages.parts import Line
from services.container import Services
from services.runs.reward_reports import Compared, comparisons, report_of
from services.runs.view import RunView

LEFT, TOP, SIZE = 34.0, 8.0, 200.0
"""The plot's frame in units of the drawing."""


@dataclass(frozen=True)
class BinView:
    """A bin of the calibration, in words and as a mark: ``low`` and ``high`` are the ends of its interval's bar."""

    sure: str
    right: str
    x: float
    y: float
    low: float
    high: float
    radius: float


@dataclass(frozen=True)
class TwinView:
    """Another run on the same held-out pairs."""

    session_id: str
    title: str
    same: str
    spearman: str
    accuracy: str


@dataclass(frozen=True)
class ScoresView:
    """The report.

    Attributes:
        pairs: How many held-out pairs it is about.
        lines: Its figures.
        flattery: The text that was put in front of answers.
        bins: The calibration.
        error: Expected calibration error.
        twins: Other runs that scored the same pairs.
        reference: How the run is named as a reward model.
    """

    pairs: int
    lines: tuple[Line, ...]
    flattery: str
    bins: tuple[BinView, ...]
    error: str
    twins: tuple[TwinView, ...]
    reference: str


def scores_view(services: Services, view: RunView) -> ScoresView | None:
    """The report of a run; None if its method makes none, or it is not written yet."""
    if method_of(view.config).head != "score":
        return None
    home = services.settings.home
    found = report_of(home, view.session_id)
    if found is None:
        return None
    others = [(one.session_id, one.title) for one in services.models.scoring()]
    return ScoresView(
        pairs=len(found.pairs),
        lines=tuple(Line(*line) for line in in_words(found)),
        flattery=found.flattery.strip(),
        bins=_bins(found),
        error=decimals(found.calibration_error),
        twins=tuple(map(_twin, comparisons(home, view.session_id, others))),
        reference=f"run:{view.session_id}",
    )


def _bins(found: RewardReport) -> tuple[BinView, ...]:
    return tuple(
        BinView(
            sure=f"{one.low:.0%} to {one.high:.0%}",
            right=share_words(one.right),
            x=_x(one.predicted),
            y=_y(one.right.share),
            low=_y(one.right.low),
            high=_y(one.right.high),
            radius=round(3 + 5 * (one.right.of / len(found.pairs)) ** 0.5, 1),
        )
        for one in found.calibration
    )


def _x(sure: float) -> float:
    """The place of a probability between 0.5 and 1."""
    return round(LEFT + (sure - 0.5) * 2 * SIZE, 1)


def _y(share: float) -> float:
    return round(TOP + (1 - share) * SIZE, 1)


def _twin(one: Compared) -> TwinView:
    return TwinView(
        one.session_id,
        one.title,
        share_words(one.agreement.same),
        correlation_words(one.agreement.spearman),
        share_words(one.agreement.second),
    )
