"""The answers of an evaluation, prompt by prompt: rows for the page, filters, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.evaluation import Answered, EvaluationSpec
from core.job_rows import AnswerRow, PartRow
from core.statistics import ROUNDING

SHOWN = ("all", "right", "wrong", "improved", "worsened", "changed", "problem")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters of a formula in spreadsheets. Answers such as -5 become text, too."""
_COLUMNS = ("place", "model", "prompt", "reference", "answer", "tokens", "cut_off", "reward", "right", "problem")


@dataclass(frozen=True)
class Cell:
    """One model's answer to one prompt.

    Attributes:
        total: Its reward; None if nothing was scored.
        solved: Whether it earned the highest possible reward; None if nothing was scored.
        change: ``improved``, ``worsened``, ``same`` compared with the first model; '' for the first, or without scores.
        problem: Why there is no answer.
        parts: Each part's score, weight and reason by name.
    """

    text: str
    tokens: int
    cut_off: bool
    total: float | None
    solved: bool | None
    change: str
    problem: str
    parts: dict[str, PartRow]


@dataclass(frozen=True)
class PromptRow:
    """One prompt and each model's answer; None if there is none yet."""

    place: int
    instruction: str
    reference: str
    answers: tuple[Cell | None, ...]

    def json(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Wanted:
    """A filter for the results.

    Attributes:
        q: Text in the prompt, the reference or an answer.
        model: Index of the model that ``show`` applies to; None for any (right, wrong) or any but the first.
        show: One of :data:`SHOWN`.
    """

    q: str = ""
    model: int | None = None
    show: str = "all"

    def fits(self, row: PromptRow) -> bool:
        """Whether a row matches."""
        cells = [cell for place, cell in enumerate(row.answers) if cell and self.model in {None, place}]
        texts = [row.instruction, row.reference, *(cell.text for cell in row.answers if cell)]
        if self.q and not any(self.q.casefold() in text.casefold() for text in texts):
            return False
        return self.show == "all" or any(self._shows(cell) for cell in cells)

    def _shows(self, cell: Cell) -> bool:
        return {
            "right": cell.solved is True,
            "wrong": cell.solved is False,
            "changed": cell.change in {"improved", "worsened"},
            "problem": bool(cell.problem),
        }.get(self.show, cell.change == self.show)


def rows_of(spec: EvaluationSpec, groups: Sequence[AnswerRow]) -> list[PromptRow]:
    """Every prompt so far, in order.

    Args:
        groups: Lines of the evaluation's ``completions.jsonl``.
    """
    found: dict[int, dict[int, AnswerRow]] = {}
    for group in groups:
        found.setdefault(group["place"], {})[group["model"]] = group
    return [_row(place, found[place], spec) for place in sorted(found)]


def _row(place: int, answers: Mapping[int, AnswerRow], spec: EvaluationSpec) -> PromptRow:
    any_group = next(iter(answers.values()))
    first = answers[0]["completions"][0].get("total") if 0 in answers else None
    cells = tuple(
        _cell(answers[index], spec, first if index else None) if index in answers else None
        for index in range(len(spec.models))
    )
    return PromptRow(place, str(any_group["instruction"]), str(any_group.get("reference") or ""), cells)


def _cell(group: AnswerRow, spec: EvaluationSpec, first: float | None) -> Cell:
    answer, read = group["completions"][0], Answered.read(group, spec.best)
    return Cell(
        text=read.text, tokens=int(answer.get("tokens", 0)), cut_off=bool(answer.get("cut_off")), total=read.total,
        solved=read.solved, change=_change(first, read.total), problem=str(answer.get("problem", "")),
        parts=answer.get("components") or {},
    )  # fmt: skip


def _change(first: float | None, total: float | None) -> str:
    if first is None or total is None:
        return ""
    if abs(total - first) <= ROUNDING:
        return "same"
    return "improved" if total > first else "worsened"


def as_csv(spec: EvaluationSpec, rows: Sequence[PromptRow]) -> str:
    """Every answer, one per line, with each part's score."""
    labels = [model.label for model in spec.models]
    names = list(dict.fromkeys(name for row in rows for cell in row.answers if cell for name in cell.parts))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([_inert(name) for name in (*_COLUMNS, *names)])
    for row in rows:
        for label, cell in zip(labels, row.answers, strict=True):
            if cell is not None:
                writer.writerow([_inert(value) for value in _line(row, label, cell, names)])
    return text.getvalue()


def _inert(value: Any) -> Any:
    """Text safe for spreadsheets: an apostrophe is put before what would be a formula."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) else value


def _line(row: PromptRow, label: str, cell: Cell, names: Sequence[str]) -> Sequence[Any]:
    scores = [cell.parts[name]["score"] if name in cell.parts else "" for name in names]
    return [
        row.place + 1, label, row.instruction, row.reference, cell.text, cell.tokens, cell.cut_off,
        "" if cell.total is None else cell.total, "" if cell.solved is None else cell.solved, cell.problem, *scores,
    ]  # fmt: skip
