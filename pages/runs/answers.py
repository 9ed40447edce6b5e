"""What the model wrote, on a run's page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from core.job_rows import GroupRow, PartRow
from services.container import Services
from services.forms.fields import whole_number

GROUPS = 4
"""Questions shown of a step at once."""


@dataclass(frozen=True)
class Piece:
    """A stretch of an answer; ``found`` where it is the reference."""

    text: str
    found: bool


@dataclass(frozen=True)
class AnswerView:
    """One answer with its score."""

    pieces: tuple[Piece, ...]
    tokens: int
    cut_off: bool
    total: float | None
    advantage: float | None
    components: dict[str, PartRow]


@dataclass(frozen=True)
class GroupView:
    """All answers to one question."""

    instruction: str
    reference: str
    prompt: str
    answers: tuple[AnswerView, ...]


@dataclass(frozen=True)
class AnswersView:
    """The answers of one step; ``place`` is the step's index in ``steps``."""

    phase: str
    steps: tuple[int, ...]
    step: int
    place: int
    special: bool
    groups: tuple[GroupView, ...]
    total: int


@dataclass(frozen=True)
class Wanted:
    """Which answers the page shows; ``step`` None for the latest."""

    phase: str = "training"
    step: int | None = None
    special: bool = False

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Wanted:
        """From a query string; what makes no sense is left out."""
        phase = args.get("phase", "training")
        return cls(
            phase if phase in {"training", "evaluation"} else "training",
            whole_number(args.get("step")),
            args.get("special") == "1",
        )


def _answers(services: Services, session_id: str, wanted: Wanted) -> AnswersView:
    steps = tuple(services.runs.completions(session_id, limit=0, phase=wanted.phase)["steps"])
    phase = wanted.phase
    if not steps and phase == "training":
        phase = "evaluation"
        steps = tuple(services.runs.completions(session_id, limit=0, phase=phase)["steps"])
    if not steps:
        # The other kind may be there: the form must offer the way back.
        other = services.runs.completions(session_id, limit=0)["steps"]
        return AnswersView(phase, tuple(other), other[-1] if other else 0, 0, wanted.special, (), 0)
    step = wanted.step if wanted.step is not None and wanted.step in steps else steps[-1]
    page = services.runs.completions(session_id, step=step, limit=GROUPS, phase=phase)
    groups = tuple(_group(group) for group in page["groups"])
    return AnswersView(phase, steps, step, steps.index(step), wanted.special, groups, page["total"])


def _group(group: GroupRow) -> GroupView:
    reference = str(group.get("reference") or "")
    answers = tuple(
        AnswerView(
            _pieces(item["text"], reference),
            item.get("tokens", 0),
            bool(item.get("cut_off")),
            item["total"],
            item.get("advantage"),
            item.get("components") or {},
        )
        for item in group["completions"]
    )
    return GroupView(str(group["instruction"]), reference, str(group["prompt"]), answers)


def _pieces(text: str, reference: str) -> tuple[Piece, ...]:
    """The answer cut up so that the reference, or what stands after its ####, is set apart where it occurs."""
    wanted = reference.rpartition("####")[2].strip()
    if not wanted or len(wanted) > 200:
        return (Piece(text, False),)
    pattern = re.compile(rf"(?<![\w.]){re.escape(wanted)}(?![\w])")
    pieces, last = [], 0
    for match in pattern.finditer(text):
        pieces += [Piece(text[last : match.start()], False), Piece(match.group(), True)]
        last = match.end()
    return tuple(piece for piece in [*pieces, Piece(text[last:], False)] if piece.text)
