"""The sample answers on a run's page: by step, or by search."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from core.job_rows import GroupRow, PartRow
from pages.runs.address import Wanted
from services.container import Services

GROUPS = 4
"""Questions per page."""
SAMPLES = 3
"""Answers on the overview."""
FOUND = 20
"""Maximum number of questions in search results."""


@dataclass(frozen=True)
class Piece:
    """A piece of an answer; ``found`` if it is the reference."""

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

    step: int
    instruction: str
    reference: str
    prompt: str
    answers: tuple[AnswerView, ...]


@dataclass(frozen=True)
class AnswersView:
    """The answers of one step, or the results of a search.

    Attributes:
        steps: All steps with answers of this phase; ``place`` is the index of ``step`` among them.
        q: The search text; if set, ``groups`` are from any step, newest first.
        total: Number of questions of the step, or of search results.
        more: Whether the search stopped before it had looked at everything.
        first: Number of the first question shown, from 1.
        earlier, later: Addresses of the previous and next page; '' for none.
        newest: Address of the newest step; '' if it is shown.
    """

    phase: str
    steps: tuple[int, ...]
    step: int
    place: int
    special: bool
    groups: tuple[GroupView, ...]
    total: int
    q: str = ""
    more: bool = False
    first: int = 1
    earlier: str = ""
    later: str = ""
    newest: str = ""


@dataclass(frozen=True)
class SampleView:
    """Answers to one question of the newest step, for the overview."""

    step: int
    phase: str
    group: GroupView
    url: str


def answers(services: Services, session_id: str, wanted: Wanted, path: str) -> AnswersView:
    """The answers tab of a run."""
    phase, steps = _steps(services, session_id, wanted.phase)
    if not steps:
        # There may be answers of the other phase: the form must offer the way back.
        other = services.runs.completions(session_id, limit=0)["steps"]
        return AnswersView(phase, tuple(other), other[-1] if other else 0, 0, wanted.special, (), 0, wanted.q)
    step = wanted.step if wanted.step is not None and wanted.step in steps else steps[-1]
    place = steps.index(step)
    if wanted.q:
        found, more = services.runs.search(session_id, wanted.q, phase, limit=FOUND)
        groups = tuple(map(_group, found))
        return AnswersView(phase, steps, step, place, wanted.special, groups, len(groups), wanted.q, more)
    pages = max(1, -(-services.runs.completions(session_id, step, 0, phase=phase)["total"] // GROUPS))
    page = min(wanted.page, pages)
    shown = services.runs.completions(session_id, step, GROUPS, (page - 1) * GROUPS, phase)
    return AnswersView(
        phase=phase,
        steps=steps,
        step=step,
        place=place,
        special=wanted.special,
        groups=tuple(map(_group, shown["groups"])),
        total=shown["total"],
        first=(page - 1) * GROUPS + 1,
        earlier=wanted.url(path, page=page - 1) if page > 1 else "",
        later=wanted.url(path, page=page + 1) if page < pages else "",
        newest=wanted.url(path, step=None, page=1) if step != steps[-1] else "",
    )


def sample(services: Services, session_id: str, path: str) -> SampleView | None:
    """Answers to a question of the newest step, one with different scores if there is any; None before all answers."""
    phase, steps = _steps(services, session_id, "training")
    found = services.runs.completions(session_id, steps[-1], GROUPS, phase=phase)["groups"] if steps else []
    if not found:
        return None
    group = _group(next((one for one in found if _mixed(one)), found[0]))
    # The best and the worst are among those that are shown.
    ranked = sorted(group.answers, key=lambda answer: -(answer.total or 0))
    shown = ranked if len(ranked) <= SAMPLES else [*ranked[: SAMPLES - 1], ranked[-1]]
    url = Wanted(tab="answers", phase=phase).url(path)
    return SampleView(steps[-1], phase, replace(group, answers=tuple(shown)), url)


def _mixed(group: GroupRow) -> bool:
    return len({answer.get("total") for answer in group["completions"]}) > 1


def _steps(services: Services, session_id: str, phase: str) -> tuple[str, tuple[int, ...]]:
    """The phase and its steps; the evaluation phase if training has no answers yet."""
    steps = tuple(services.runs.completions(session_id, limit=0, phase=phase)["steps"])
    if not steps and phase == "training":
        phase = "evaluation"
        steps = tuple(services.runs.completions(session_id, limit=0, phase=phase)["steps"])
    return phase, steps


def _group(group: GroupRow) -> GroupView:
    reference = str(group.get("reference") or "")
    answered = tuple(
        AnswerView(
            _pieces(item["text"], reference),
            item.get("tokens", 0),
            bool(item.get("cut_off")),
            item.get("total"),
            item.get("advantage"),
            item.get("components") or {},
        )
        for item in group["completions"]
    )
    return GroupView(group.get("step", 0), str(group["instruction"]), reference, str(group["prompt"]), answered)


def _pieces(text: str, reference: str) -> tuple[Piece, ...]:
    """The answer in pieces, with each occurrence of the reference (or the part after its ####) separate."""
    wanted = reference.rpartition("####")[2].strip()
    if not wanted or len(wanted) > 200:
        return (Piece(text, False),)
    pattern = re.compile(rf"(?<![\w.]){re.escape(wanted)}(?![\w])")
    pieces, last = [], 0
    for match in pattern.finditer(text):
        pieces += [Piece(text[last : match.start()], False), Piece(match.group(), True)]
        last = match.end()
    return tuple(piece for piece in [*pieces, Piece(text[last:], False)] if piece.text)
