"""Preparation of the chosen dataset, as a part of step 2."""

from __future__ import annotations

from dataclasses import dataclass

from pages.datasets.report import ReportView, report_view
from pages.wizard.dataset import PREPARATION
from pages.wizard.frame import Frame, frame
from services.container import Services
from services.datasets.preparation_jobs import DRAFT, Preparing
from services.forms.fields import form_field
from services.forms.labels import dataset_title
from services.wizard.snapshot import preparable


@dataclass(frozen=True)
class PreparationStep:
    """What training would do with the dataset chosen in step 2, for any source."""

    frame: Frame
    title: str
    values: str
    remote: bool
    report: ReportView | None
    outdated: bool
    preparing: Preparing | None
    fix: str


def preparation_step(services: Services) -> PreparationStep:
    """The page behind step 2: counts, removed rows and lengths."""
    snapshot = services.snapshots.take()
    dataset, uses = snapshot.draft.dataset, snapshot.draft.chosen_method.uses
    preparing = services.preparations.look(DRAFT)  # First: once it has ended, the report exists.
    report, outdated = services.library.draft_report(preparable(snapshot.config))
    fix = snapshot.review.readiness.fix("reward")
    return PreparationStep(
        frame=frame(services, "dataset", snapshot),
        title=dataset_title(dataset.source, services.settings.home),
        values=" · ".join(
            form_field("dataset", name, dataset.values, {}).shown for name in PREPARATION if uses(f"dataset.{name}")
        ),
        remote=dataset.remote,
        report=report_view(report),
        outdated=outdated,
        preparing=preparing,
        fix=fix.label if fix else "",
    )
