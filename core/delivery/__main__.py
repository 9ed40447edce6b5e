"""Entry point of a delivery process, started by :func:`core.child.script_command` with one JSON request on stdin.

``{"folder": "…/exports/<id>/deliveries/<n>", "root": "<home>"}``. The process outlives the server and
can be stopped at any time: the receiver identifies received files by their hash.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path


def main() -> int:
    """Run one delivery."""
    request = json.load(sys.stdin)
    return work(Path(request["folder"]), Path(request["root"]))


def work(folder: Path, root: Path) -> int:
    """Run the delivery in ``folder``; returns the exit code."""
    from core.delivery import hub, ollama
    from core.delivery.state import NameTaken, Progress, read_job
    from core.errors import TunesmithError
    from core.job_dir import JobDir
    from core.progress import Reporter
    from core.settings import Home

    job = read_job(folder)
    if job is None:
        return 2
    export, report = JobDir(folder.parent.parent), Reporter(folder, Progress(state="working"))
    try:
        if job.kind == "ollama":
            ollama.deliver(job, export, report)
        else:
            hub.deliver(job, export, Home(root), report)
    except TunesmithError as error:
        report.end("failed", error=error.message, taken=isinstance(error, NameTaken))
        return 1
    except Exception as error:  # noqa: BLE001  # the process boundary: whatever it was is said in the progress
        traceback.print_exception(error)
        report.end("failed", error=f"{type(error).__name__}: {str(error)[:300]}. The log has the details.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
