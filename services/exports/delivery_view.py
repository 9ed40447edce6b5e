"""View of a delivery."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.delivery.state import Progress
from core.job import JobState

Kind = Literal["ollama", "hub"]


@dataclass(frozen=True)
class OllamaView:
    """State of the Ollama server: ``version`` is empty if none responds, and ``error`` says why."""

    address: str
    version: str
    error: str

    @property
    def reachable(self) -> bool:
        return bool(self.version)

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "reachable": self.reachable}


@dataclass(frozen=True)
class DeliveryView:
    """One delivery as shown on pages and in the API; the fields are those of :mod:`core.delivery.state`."""

    export_id: str
    number: int
    to: Kind
    name: str
    status: str
    file: str
    bytes: int
    total_bytes: int
    files: int
    total_files: int
    message: str
    error: str
    taken: bool
    url: str
    question: str
    answer: str
    command: str
    private: bool
    replace: bool
    created_at: str
    messages: tuple[dict[str, str], ...]

    @property
    def active(self) -> bool:
        return self.status == "working"

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "messages": list(self.messages), "active": self.active}


def event(export_id: str, number: int, progress: Progress) -> dict[str, Any]:
    """The payload of ``export_progress`` while an export is sent: the export stays completed."""
    shown = progress.model_dump(include={"file", "bytes", "total_bytes", "files", "total_files", "message", "error"})
    return {
        "export_id": export_id,
        "status": str(JobState.COMPLETED),
        "delivery": {"number": number, "status": progress.state, **shown},
    }


def gguf_files(files: Sequence[dict[str, Any]]) -> list[str]:
    """Names of an export's GGUF files, the largest first."""
    found = [file for file in files if str(file["name"]).endswith(".gguf")]
    return [str(file["name"]) for file in sorted(found, key=lambda file: -int(file["size"]))]


def suggested_name(name: str) -> str:
    """A name that both Ollama and Hugging Face accept.

    >>> suggested_name("Rechnen & mehr: 2. Lauf")
    'rechnen-mehr-2.-lauf'
    """
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:60] or "my-model"
