"""What is shown of a job, whatever it does."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from services.jobs.facts import JobFacts
from services.jobs.kinds import KINDS


@dataclass(frozen=True)
class JobView:
    """A job as pages and programs see it. Each kind's view adds what only that kind has."""

    job: JobFacts

    def json(self) -> dict[str, Any]:
        """JSON data, the facts and what was added side by side."""
        added = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "job"}
        return {**KINDS[self.job.kind].json(self.job), **added}
