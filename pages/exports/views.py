"""What the pages of exports are given (see :mod:`pages.parts`)."""

from __future__ import annotations

from dataclasses import dataclass

from services.runs.verdict import Verdict
from services.runs.view import RunView
from pages.parts import Line


@dataclass(frozen=True)
class FormatChoice:
    """One way to take a model away."""

    value: str
    title: str
    text: str
    chosen: bool


@dataclass(frozen=True)
class NumberFormat:
    """One number format of a GGUF; ``matrix``: only with an importance matrix."""

    value: str
    title: str
    matrix: bool


@dataclass(frozen=True)
class ExportLine:
    """An export in a list."""

    export_id: str
    title: str
    detail: str
    status: str
    active: bool
    step: int
    max_steps: int
    created_at: str


@dataclass(frozen=True)
class ExportsPage:
    """The list of exports, and the form that makes one."""

    run_choices: tuple[RunView, ...]
    verdicts: dict[str, Verdict]
    """Of the newest of these runs."""
    session_id: str
    formats: tuple[FormatChoice, ...]
    more: tuple[FormatChoice, ...]
    numbers: tuple[NumberFormat, ...]
    checkpoints: tuple[int, ...]
    exports: tuple[ExportLine, ...]


@dataclass(frozen=True)
class Command:
    """A command to copy."""

    title: str
    text: str


@dataclass(frozen=True)
class CheckLine:
    """One comparison with the trained model; ``level`` is a note's."""

    subject: str
    level: str
    verdict: str
    reason: str
    figures: tuple[Line, ...]


@dataclass(frozen=True)
class FileLine:
    """A finished file; ``tensors`` are (pattern of names, what they became)."""

    name: str
    kind: str
    size: int
    sha256: str
    file_type: str
    bits_per_weight: float | None
    tensor_types: dict[str, int]
    tensors: tuple[tuple[str, str], ...]
    check: CheckLine | None
    unverified: bool


@dataclass(frozen=True)
class ExportDetail:
    """One export with everything on its page.

    ``repeats``: it ended by a fault that making it again would meet again.
    """

    export_id: str
    session_id: str
    run_name: str
    title: str
    status: str
    active: bool
    step: int
    max_steps: int
    message: str
    error: str
    notes: tuple[str, ...]
    damage: tuple[str, ...]
    created_at: str
    made_from: tuple[Line, ...]
    checks: tuple[CheckLine, ...]
    files: tuple[FileLine, ...]
    commands: tuple[Command, ...]
    modelfile: str
    log: str
    talk: str
    evaluate: str
    unverified: tuple[str, ...]
    verifying: bool
    repeats: bool

    def download(self, name: str) -> str:
        """The file's address."""
        return f"/api/exports/{self.export_id}/download/{name}"


@dataclass(frozen=True)
class ExportPage:
    """An export's own page."""

    export: ExportDetail
