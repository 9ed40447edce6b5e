"""Suggests a reward, system prompt and markers for a dataset, with the reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from core.reward import Markers
from core.rewards.answers import after_hashes, boxed, final_answers
from core.rewards.numeric import read_reference
from core.rewards.signals import read_signal

_TESTS = ("test_list", "tests", "test", "unit_tests", "input_output")
_CONTEXT = ("context", "document", "article")
PROMPT = ("system_prompt", "reasoning_start", "reasoning_end", "solution_start", "solution_end")
"""Dataset fields that a suggestion may set."""
MOST_LABELS = 12
MOST_NUMBERS = 5
"""Numbers that can be labels: 0 and 1, or one to five stars."""

_NO_WORKING: dict[str, Any] = {"reasoning_start": "", "reasoning_end": ""}
_BETWEEN = "between {solution_start} and {solution_end}"
WORKING: dict[str, Any] = {}
"""The configuration's defaults: reasoning first, then the solution."""
SUMS = {"system_prompt": f"Give the result {_BETWEEN}.", **_NO_WORKING}


class Suggestion(NamedTuple):
    """A suggestion for a dataset.

    Attributes:
        reward: A reward section.
        prompt: Those of :data:`PROMPT` that differ from the configuration's defaults.
        reason: One sentence.
    """

    reward: dict[str, Any]
    prompt: dict[str, Any]
    reason: str


def suggest(rows: Sequence[Mapping[str, Any]], markers: Markers, *, scored: bool = True) -> Suggestion:
    """Suggest reward, system prompt and markers together, so that the prompt asks for what is scored.

    Args:
        rows: Some mapped rows, at least one.
        markers: Of the configuration; references may already contain them.
        scored: Whether answers are scored. If they are only learned, free text needs no markers.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> found = suggest([{"instruction": "2+2?", "response": "so 2+2 = 4\\n#### 4"}] * 3, m)
    >>> found.reward["preset_name"], found.prompt
    ('math', {})
    >>> suggest([{"instruction": "2+2?", "response": "4", "full_response": "so 2+2 = 4\\n#### 4"}] * 3, m).reward["preset_name"]
    'math'
    >>> found = suggest([{"instruction": "?", "response": "spam"}, {"instruction": "?", "response": "ham"}] * 9, m)
    >>> found.reward["preset_name"], found.prompt["system_prompt"]
    ('short_answer', 'Answer with one of these labels: ham, spam. Put only the label between {solution_start} and {solution_end}.')
    """
    columns = {name for row in rows for name, value in row.items() if value not in (None, "", [])}
    answers = [str(row.get("response", "")).strip() for row in rows]
    # A rule may have extracted the answer from its reasoning; the full text is what can be learned.
    whole = [str(row.get("full_response") or row.get("response") or "").strip() for row in rows]
    return (
        _by_columns(columns, answers)
        or _by_labels(answers, whole, markers)
        or _by_values(answers, whole, markers)
        or _by_length(columns, answers, scored=scored)
    )


def _by_columns(columns: set[str], answers: Sequence[str]) -> Suggestion | None:
    if "reasoning_gym" in columns:
        return Suggestion(
            _preset("reasoning_gym"),
            _only("Give your answer"),
            "The rows come from reasoning-gym, which has an exact checker for each task.",
        )
    if columns & set(_TESTS) or {"inputs", "outputs"} <= columns:
        return Suggestion(
            _preset("code"),
            _only("Solve the task in Python. Put only the program"),
            "The rows include tests, so programs can be run against them in the sandbox.",
        )
    if (
        columns & {"choices", "options"}
        or _share(bool(re.fullmatch(r"\(?[A-E]\)?\.?", text)) for text in answers) > 0.9
    ):
        return Suggestion(
            _preset("multiple_choice"),
            _only("Choose the right option. Put only its letter"),
            "The answers are options, so the chosen letter can be compared.",
        )
    return None


def _by_labels(answers: Sequence[str], whole: Sequence[str], markers: Markers) -> Suggestion | None:
    """For answers that are a few repeated labels: the prompt lists them."""
    counts = Counter(answers)
    numbers = any(_is_number(text, markers) for text in counts)
    few = 2 <= len(counts) <= (MOST_NUMBERS if numbers else MOST_LABELS) and min(counts.values()) >= 2
    plain = list(answers) == list(whole) and all(
        0 < len(text) <= 40 and not re.search(r"[\n{}]", text) for text in counts
    )
    if not few or not plain or len(answers) < (32 if numbers else 4 * len(counts)):
        return None
    if _share(read_signal(text) is not None for text in answers) > 0.9:
        return None
    labels = ", ".join(sorted(counts))
    return Suggestion(
        _preset("short_answer"),
        _only(f"Answer with one of these labels: {labels}. Put only the label"),
        f"The answers are {len(counts)} different labels, so the label can be compared exactly.",
    )


def _by_values(answers: Sequence[str], whole: Sequence[str], markers: Markers) -> Suggestion | None:
    if _share(_is_number(text, markers) for text in answers) >= 0.95:
        bare = _share(len(text) < 12 for text in whole) > 0.9
        reason = "Every answer is a number, so numbers can be compared exactly."
        if bare and _share("####" in text for text in whole) == 0:
            return Suggestion(_preset("arithmetic"), SUMS, reason)
        return Suggestion(_preset("math"), WORKING, reason)
    if _share(bool(boxed(text)) or "\\" in text or bool(after_hashes(text)) for text in whole) > 0.5:
        reason = "The answers are mathematical expressions, so they can be compared by value."
        return Suggestion(_preset("algebra"), WORKING, reason)
    if _share(read_signal(text) is not None for text in answers) > 0.9:
        return Suggestion(
            _own(("signal", 1.0, {}), ("format", 0.2, {"require": "solution"})),
            _only("Answer with buy, sell, or hold. Put only that word"),
            "The answers are buy, sell, or hold.",
        )
    return None


def _by_length(columns: set[str], answers: Sequence[str], *, scored: bool) -> Suggestion:
    if not scored:
        found = _by_length(columns, answers, scored=True)
        return found._replace(
            prompt=_free(""), reason="The answers are free text, so no prompt or answer tags are needed."
        )
    words = sorted(len(text.split()) for text in answers)[len(answers) // 2]
    if words <= 4:
        return Suggestion(
            _preset("short_answer"),
            _only("Answer in a few words. Put only the answer"),
            "The answers are a few words each, so they can be compared word for word.",
        )
    if columns & set(_CONTEXT) and words > 25:
        return Suggestion(
            _preset("summary"),
            _free("Summarize the text."),
            "The rows have a text and a longer answer about it. Similarity is scored, not correctness.",
        )
    if words <= 25:
        return Suggestion(
            _preset("question_answering"),
            _only("Answer briefly. Put only the answer"),
            "The answers are short sentences, so shared words can be counted.",
        )
    return Suggestion(
        _own(("semantic", 1.0, {}), ("repetition", 0.2, {}), ("soft_limit", 0.2, {})),
        _free(""),
        "The answers are long free text, so no prompt or answer tags are needed. "
        "Similar meaning is the best that can be scored; it does not show that an answer is correct.",
    )


def unscored(found: Suggestion | None = None) -> Suggestion:
    """The suggestion for rows with pairs or ratings whose answers are not scored: no prompt and no markers.

    Args:
        found: Its reward is for a method that scores answers.
    """
    reason = "The answers are learned as they are, so no prompt or answer tags are needed."
    return Suggestion(found.reward if found else {}, _free(""), reason)


def _is_number(text: str, markers: Markers) -> bool:
    """Whether an answer is a number, possibly with a unit or reasoning; not prose with a number in it."""
    stated = final_answers(text, "auto", markers)
    return (bool(stated) or len(text.split()) <= 6) and read_reference(text, "auto", markers) is not None


def _only(told: str) -> dict[str, Any]:
    """A prompt that asks for only the solution, in its markers."""
    return {"system_prompt": f"{told} {_BETWEEN}.", **_NO_WORKING}


def _free(told: str) -> dict[str, Any]:
    """A prompt, or none, for answers without markers."""
    return {"system_prompt": told, **_NO_WORKING, "solution_start": "", "solution_end": ""}


def _preset(name: str) -> dict[str, Any]:
    return {"type": "preset", "preset_name": name}


def _own(*parts: tuple[str, float, dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "composite",
        "components": [{"name": n, "weight": w, **({"params": p} if p else {})} for n, w, p in parts],
    }


def _share(values: Any) -> float:
    found = list(values)
    return sum(map(bool, found)) / len(found) if found else 0.0
