"""The page of one evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from core.evaluation import PairedReport
from pages.evaluations.new import Choice
from pages.evaluations.report import ReportView, report_view
from services.container import Services
from services.evaluations.evaluations import EvaluationView
from services.evaluations.results import SHOWN, PromptRow, Wanted
from services.forms.fields import whole_number

PER_PAGE = 25
SHOW_WORDS = {
    "all": "All answers", "right": "Right", "wrong": "Wrong", "improved": "Improved", "worsened": "Got worse",
    "changed": "Changed", "problem": "No answer",
}  # fmt: skip


@dataclass(frozen=True)
class EvaluationPage:
    """One evaluation; ``link`` makes the address of another page of the table."""

    evaluation: EvaluationView
    reports: tuple[ReportView, ...]
    rows: tuple[PromptRow, ...]
    columns: tuple[int, ...]
    total: int
    number: int
    pages: int
    wanted: Wanted
    shows: tuple[Choice, ...]
    can_stop: bool
    newer: str
    older: str


def evaluation_page(services: Services, evaluation_id: str, args: Mapping[str, str]) -> EvaluationPage:
    """One evaluation. Raises NotFound."""
    view = services.evaluations.get(evaluation_id)
    model, kind = whole_number(args.get("model")), args.get("show", "all")
    place = model if model is not None and model < len(view.models) else None
    wanted = Wanted(args.get("q", "")[:200], place, kind if kind in SHOWN else "all")
    number = max(1, whole_number(args.get("page")) or 1)
    rows, total = services.evaluations.results(evaluation_id, wanted, limit=PER_PAGE, offset=(number - 1) * PER_PAGE)
    pages = max(1, -(-total // PER_PAGE))
    everyone = range(len(view.models))
    return EvaluationPage(
        evaluation=view,
        reports=tuple(
            report_view(PairedReport.model_validate(report), str(place)) for place, report in enumerate(view.reports, 1)
        ),
        rows=tuple(rows),
        columns=tuple(everyone if place is None else sorted({0, place})),
        total=total,
        number=number,
        pages=pages,
        wanted=wanted,
        shows=tuple(Choice(key, SHOW_WORDS[key]) for key in SHOWN if view.scored or key in {"all", "problem"}),
        can_stop=not view.job.over,
        newer=_address(args, number - 1) if number > 1 else "",
        older=_address(args, number + 1) if number < pages else "",
    )


def _address(args: Mapping[str, str], page: int) -> str:
    return "?" + urlencode({**{name: args[name] for name in ("q", "model", "show") if args.get(name)}, "page": page})
