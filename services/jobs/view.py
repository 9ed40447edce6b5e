"""Base of the views of all jobs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from services.jobs.facts import JobFacts
from services.jobs.kinds import KINDS


@dataclass(frozen=True)
class JobView:
    """A job as shown on pages and in the API. Each kind's view adds its own fields."""

    job: JobFacts

    def json(self) -> dict[str, Any]:
        """JSON data: the facts and the added fields in one object."""
        added = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "job"}
        return {**KINDS[self.job.kind].json(self.job), **added}
