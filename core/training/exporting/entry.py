"""Entry point of an export job: create the files, or verify existing ones again."""

from __future__ import annotations

from core.export import ExportSpec
from core.job_dir import JobDir
from core.settings import Home
from core.training.exporting.job import Export
from core.training.job.status import Status


def export(run: JobDir, home: Home, status: Status) -> str:
    """Create what ``run``'s configuration requests; for an existing export, verify what was left unverified.

    Returns:
        A final message.

    Raises:
        Stopped: It was canceled; nothing is kept.
        TunesmithError: It cannot be created.
    """
    from core.training.exporting.scores import ScoreExport
    from core.training.exporting.verify import Verification

    given = {name: value for name, value in run.whole_config().items() if name != "created_at"}
    spec = ExportSpec.model_validate(given)
    if run.made:
        return Verification(run, spec, home, status).make()
    made = Export(run, spec, home, status)
    if made.origin.head == "score":
        made = ScoreExport(run, spec, home, status)
    return made.make()
