"""The loophole test: adversarial answers that must score less than the reference."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.config import DatasetSection, RewardComponent, RewardSection
from core.reward import Item, Markers
from core.rewards import CATALOGUE, compose, markers_of, needs, resolve, settled
from core.rewards.answers import after_thought, final_answers
from core.rewards.choices import Notation, notation, wrong_choices
from core.rewards.code import program_of
from core.rewards.numbers import find_numbers, show, single_number

ROWS = 8
"""Rows used by the check."""
TIMED_ROWS = 2
"""Rows of these on which programs are timed: each takes seconds."""
KEYWORDS = "therefore because step answer final solution correct reasoning thus hence "


@dataclass(frozen=True)
class Attempt:
    """One kind of adversarial answer over the rows.

    Attributes:
        key, title: Which.
        mean, best: Totals over the rows; for 'every number' the mean over all wrong ones.
        reference: The reference's mean total on the same rows.
        warning: A sentence if it beats or ties the reference; else empty.
    """

    key: str
    title: str
    mean: float
    best: float
    reference: float
    warning: str


@dataclass(frozen=True)
class Report:
    """The table and its warnings."""

    attempts: tuple[Attempt, ...]
    reference: float
    rows: int
    warnings: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether there are no warnings."""
        return not self.warnings

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "sound": self.sound}


def check(
    section: RewardSection,
    dataset: DatasetSection,
    rows: Sequence[Mapping[str, Any]],
    target: Callable[[Mapping[str, Any]], str],
    *,
    longest: int = 256,
    count: int = ROWS,
    every: int = 1,
) -> Report:
    """Score adversarial answers on a few rows.

    Args:
        section: The reward.
        dataset: For its markers.
        rows: Mapped rows; uses the first few that have what the reward needs.
        target: The reference answer of a row in the required format, as in the warm-up.
        longest: Length of the longest answer in words.
        count: How many rows.
        every: Step through the numbers from 0 to 100; larger for slow or expensive rewards.
    """
    section, needed = settled(section, rows), needs(section)
    chosen = [row for row in rows if all(row.get(name) is not None for name in needed)][:count]
    if not chosen:
        names = ", ".join(needed) or "a row"
        return Report(
            (), 0.0, 0, (f"No row has what this reward needs ({names}), so every answer would score the same.",)
        )
    score, markers = compose(section, markers_of(dataset)), markers_of(dataset)
    way = notation(rows)
    made = [
        _made(row, chosen[(place + 1) % len(chosen)], target, markers, longest, way) | _programs(section, row, place)
        for place, row in enumerate(chosen)
    ]
    for answers in made:
        answers |= {key: answers[key][::every] for key in ("numbers", "made_of", "other_choices") if key in answers}
    flat = [
        Item(text, str(row.get("instruction", "")), row)
        for row, answers in zip(chosen, made, strict=True)
        for texts in answers.values()
        for text in texts
    ]
    totals = iter(score.many(flat))
    earned: dict[str, list[float]] = {}
    ties: dict[str, int] = {}
    references: list[float] = []
    for answers in made:
        scores = {key: [next(totals).total for _ in texts] for key, texts in answers.items()}
        reference = scores["reference"][0]
        references.append(reference)
        for key, values in scores.items():
            earned.setdefault(key, []).extend(values)
            ties[key] = ties.get(key, 0) + sum(value >= reference - 1e-9 for value in values)
    mean = sum(references) / len(references)
    attempts = tuple(_attempt(key, values, ties[key], mean) for key, values in earned.items())
    return Report(attempts, mean, len(chosen), _warnings(section, attempts, mean))


def wrong_in_form(dataset: DatasetSection, rows: Sequence[Mapping[str, Any]]) -> list[Item]:
    """For each row a wrong answer in the right format."""
    markers = markers_of(dataset)
    return [
        Item(_in_form(_wrong(_answer(row, markers)), markers), str(row.get("instruction", "")), row) for row in rows
    ]


TITLES = {
    "reference": "The reference answer in the required format",
    "right_bare": "Correct answer, wrong format",
    "wrong_in_form": "Wrong answer, correct format",
    "other_reference": "Another row's answer",
    "empty": "Empty answer",
    "prompt": "The question repeated",
    "tags": "Answer tags without an answer",
    "numbers": "Every wrong number from 0 to 100",
    "made_of": "Correct number, negated or in a formula",
    "denied": "Correct answer, negated",
    "unended": "Thinking that never ends, with the correct answer in it",
    "quoted": "Correct answer while thinking, wrong answer after it",
    "other_choices": "Every wrong choice",
    "hushed": "A messy program that disables the linter",
    "disguised": "A slow program that hides its complexity",
    "all_numbers": "All numbers from 0 to 100 at once",
    "keywords": "Repeated keywords",
    "longest": "Maximum length",
}


def _made(
    row: Mapping[str, Any],
    other: Mapping[str, Any],
    target: Callable[[Mapping[str, Any]], str],
    markers: Markers,
    longest: int,
    way: Notation,
) -> dict[str, list[str]]:
    reference, answer = str(row.get("response", "")), _answer(row, markers)

    def boxed(text: str) -> str:
        return _in_form(text, markers)

    right = target(row) if reference else boxed(answer)
    theirs = str(other.get("response", ""))
    made = {
        "reference": [right],
        "right_bare": [answer],
        "wrong_in_form": [boxed(_wrong(answer))],
        "empty": [""],
        "prompt": [str(row.get("instruction", ""))],
        "tags": [boxed("")],
        "numbers": [boxed(str(number)) for number in range(101) if show_number(answer) != str(number)],
        "all_numbers": [boxed(" ".join(map(str, range(101)))), " ".join(boxed(str(number)) for number in range(101))],
        "keywords": [(KEYWORDS * 40)[:2000], boxed(KEYWORDS * 4)],
        "longest": ["word " * longest],
    }
    others = wrong_choices(row, way)
    if others:
        made |= {"other_choices": [boxed(text) for text in others], "numbers": []}
    made["made_of"] = [boxed(text) for text in _made_of(answer)]
    made["denied"] = [boxed(text) for text in (f"not {answer}", f"It is not {answer}.") if 0 < len(answer) < 200]
    begin, end = markers.reasoning_start or "<think>", markers.reasoning_end or "</think>"
    solution = f"{markers.solution_start}{answer}{markers.solution_end}"
    made["unended"] = [f"{start}It is {solution}" for start in dict.fromkeys((begin, "<think>"))]
    wrong = f"{markers.solution_start}{_wrong(answer)}{markers.solution_end}"
    made["quoted"] = [f"{begin}It is {solution}, or is it?{end}{wrong}"]
    if theirs.strip() != reference.strip():
        made["other_reference"] = [target(other)]
    return {key: made[key] for key in TITLES if made.get(key)}


def _made_of(answer: str) -> list[str]:
    """Expressions that look like the number but differ; none for 0, 1 and 2, which can equal their powers."""
    value = single_number(answer)
    if value is None or abs(value) in (0, 1, 2):
        return []
    number, other = show(abs(value)), show(value + 1)
    made = [f"not {show(value)}", f"log({show(value)})", f"x={other}, y={show(value)}", f"({show(value)})²"]
    if value > 0:
        made += [f"\N{EN DASH}{number}", f"\N{MINUS SIGN}{number}", f"minus {number}"]
        made += [f"{number}!", f"{number}²"] if value.denominator == 1 and value < 100 else []
    return made


HUSHED = "```python\n# ruff: noqa\n# flake8: noqa\nimport os, sys  # noqa\nl = 1  # noqa: E741\n```"
_SLOW = """```python
from functools import lru_cache
def size(one):
    return len(one) if hasattr(one, "__len__") else int(one)
def slow(*args):
    n = max(map(size, args))
    for _ in range(n * n // 4): pass
kept = {{}}
{disguise}
```"""
_DISGUISES = (
    "def {entry}(*args):\n    key = tuple(map(size, args))\n    if key not in kept: kept[key] = slow(*args)\n    return kept[key]",
    "@lru_cache\ndef {entry}(*args):\n    return slow(*args)",
    "def {entry}(*args):\n    for _ in range(4_000_000): pass\n    return slow(*args)",
)


def _programs(section: RewardSection, row: Mapping[str, Any], place: int) -> dict[str, list[str]]:
    """Programs that try to cheat, for rewards that score programs."""
    names = {part.name for part in resolve(section)}
    made = {"hushed": [HUSHED]} if "style" in names else {}
    linear = str(row.get("max_power", 1)) in {"1", "1.0"}
    if "algorithm" in names and linear and row.get("entry_point") and place < TIMED_ROWS:
        entry = str(row["entry_point"])
        made["disguised"] = [_SLOW.format(disguise=one.format(entry=entry)) for one in _DISGUISES]
    return made


def _answer(row: Mapping[str, Any], markers: Markers) -> str:
    reference = str(row.get("response", ""))
    return (final_answers(reference, "auto", markers) or [reference])[-1].strip()


def _in_form(text: str, markers: Markers) -> str:
    working = f"{markers.reasoning_start}{markers.reasoning_end}" if markers.reasoning_start else ""
    return f"{working}{markers.solution_start}{text}{markers.solution_end}"


def show_number(text: str) -> str:
    """The only number in a text as people write it, or ''."""
    found = find_numbers(text)
    return show(found[-1]) if found else ""


def _wrong(answer: str) -> str:
    number = find_numbers(answer)
    if number:
        return show(number[-1] + 1)
    if re.fullmatch(r"[A-Ja-j]", answer):
        return "B" if answer.upper() == "A" else "A"
    signal = {"buy": "SELL", "sell": "BUY", "hold": "BUY"}.get(answer.strip().lower())
    return signal or "something that is certainly not it"


def _attempt(key: str, values: list[float], ties: int, reference: float) -> Attempt:
    warning = ""
    if ties and key not in {"reference", "right_bare"}:
        how = f"in {ties} of {len(values)} cases" if ties < len(values) else "every time"
        warning = f"“{TITLES[key]}” scores as high as the correct answer {how}."
    return Attempt(key, TITLES[key], sum(values) / len(values), max(values), reference, warning)


def _compares(part: RewardComponent) -> bool:
    """Whether a part may score more than format. Custom code and judges cannot be known, so the table shows them."""
    info = CATALOGUE[part.name]
    tried = {"python", "judge", "reward_model"}
    return info.verifies or "response" in info.needs or part.name in tried or bool(part.params.get("compare"))


def _warnings(section: RewardSection, attempts: Sequence[Attempt], reference: float) -> tuple[str, ...]:
    found = [attempt.warning for attempt in attempts if attempt.warning]
    means = {attempt.key: attempt.mean for attempt in attempts}
    if means.get("wrong_in_form", -1.0) >= reference - 1e-9:
        found.insert(
            0,
            "This reward cannot tell right from wrong: a wrong answer in the correct format scores as high as the correct answer.",
        )
    if not any(_compares(part) and part.weight > 0 for part in resolve(section)):
        found.append("No component checks the answer itself; only the format is scored.")
    return tuple(found)


def answered(text: str, section: RewardSection, markers: Markers) -> bool:
    """Whether an answer was found in the text: a program for rewards that score programs, else a final answer."""
    names = {part.name for part in resolve(section)}
    text = after_thought(text, markers) or ""
    if names & {"code", "syntax", "style", "algorithm"}:
        return "def " in program_of(text, markers) or "print" in text
    if names & {"numeric", "math", "choice", "science", "exact", "token_f1", "signal", "reasoning_gym"}:
        return bool(final_answers(text, "auto", markers))
    return bool(text.strip())
