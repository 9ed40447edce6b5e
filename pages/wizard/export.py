"""Exporting the run that was started from the draft."""

from __future__ import annotations

from dataclasses import dataclass

from core.methods import method_of
from pages.exports.index import (
    ExportLine,
    FormatChoice,
    NumberFormat,
    expected_of,
    export_choices,
    export_lines,
    exportable,
    more_choices,
    number_formats,
)
from pages.wizard.frame import Frame, frame
from services.container import Services
from services.runs.verdict import RunVerdict
from services.runs.view import RunView


@dataclass(frozen=True)
class ExportStep:
    """What the page shows."""

    frame: Frame
    run: RunView | None
    run_choices: tuple[RunView, ...]
    verdicts: dict[str, RunVerdict]
    session_id: str
    formats: tuple[FormatChoice, ...]
    more: tuple[FormatChoice, ...]
    numbers: tuple[NumberFormat, ...]
    checkpoints: tuple[int, ...]
    exports: tuple[ExportLine, ...]
    no_adapter: str


def export_step(services: Services) -> ExportStep:
    """For the draft's run."""
    snapshot = services.snapshots.take()
    session_id = snapshot.draft.session_id or ""
    run = next((run for run in exportable(services) if run.session_id == session_id), None)
    known, head = expected_of(services, run), snapshot.draft.chosen_method.head
    if run:
        head = method_of(services.runs.config(session_id)).head
    return ExportStep(
        frame(services, "export", snapshot),
        run,
        (run,) if run else (),
        {session_id: services.runs.verdict(run)} if run else {},
        session_id,
        export_choices(known, head),
        more_choices(known, head),
        number_formats(known, head),
        tuple(services.exports.checkpoints(session_id)) if run and session_id else (),
        export_lines(services, session_id) if run else (),
        known.no_adapter if known else "",
    )
