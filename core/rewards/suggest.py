"""Which ready-made reward suits a dataset, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from core.reward import Markers
from core.rewards.answers import after_hashes, boxed
from core.rewards.numeric import read_reference
from core.rewards.signals import read_signal

_TESTS = ("test_list", "tests", "test", "unit_tests", "input_output")
_CONTEXT = ("context", "document", "article")


def suggest(rows: Sequence[Mapping[str, Any]], markers: Markers) -> tuple[dict[str, Any], str]:
    """A reward section and the reason in one sentence.

    Args:
        rows: Some mapped rows, at least one.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> suggest([{"instruction": "2+2?", "response": "so 2+2 = 4\\n#### 4"}] * 3, m)[0]["preset_name"]
    'math'
    >>> suggest([{"instruction": "2+2?", "response": "4", "full_response": "so 2+2 = 4\\n#### 4"}] * 3, m)[0]["preset_name"]
    'math'
    >>> suggest([{"instruction": "Capital?", "response": "Paris"}, {"instruction": "?", "response": "Rome"}], m)[0]["preset_name"]
    'short_answer'
    """
    columns = {name for row in rows for name, value in row.items() if value not in (None, "", [])}
    answers = [str(row.get("response", "")).strip() for row in rows]
    # A rule may have taken the answer out of its working-out; what there is to learn from is the whole of it.
    whole = [str(row.get("full_response") or row.get("response") or "").strip() for row in rows]
    special = _by_columns(columns, answers)
    if special:
        return special
    if _share(read_reference(text, "auto", markers) is not None for text in answers) >= 0.95:
        bare = _share(len(text) < 12 for text in whole) > 0.9
        name = "arithmetic" if bare and _share("####" in text for text in whole) == 0 else "math"
        return _preset(name), "Every reference comes down to one number, so the number can be compared exactly."
    if _share(bool(boxed(text)) or "\\" in text or bool(after_hashes(text)) for text in whole) > 0.5:
        return _preset("algebra"), "The references are mathematical expressions, so they can be compared by algebra."
    if _share(read_signal(text) is not None for text in answers) > 0.9:
        return _own(
            ("signal", 1.0, {}), ("format", 0.2, {"require": "solution"})
        ), "The references are buy, sell or hold."
    words = sorted(len(text.split()) for text in answers)[len(answers) // 2]
    if words <= 4:
        return _preset("short_answer"), "The references are a few words each, so the same words can be asked for."
    if columns & set(_CONTEXT) and words > 25:
        return _preset(
            "summary"
        ), "The rows have a text and a longer reference about it. It checks likeness, not truth."
    if words <= 25:
        return _preset("question_answering"), "The references are short sentences, so shared words can be counted."
    return (
        _own(("semantic", 1.0, {}), ("repetition", 0.2, {}), ("soft_limit", 0.2, {})),
        "The references are long and free in form. Likeness in meaning is the best that can be checked here; it is not truth.",
    )


def _by_columns(columns: set[str], answers: Sequence[str]) -> tuple[dict[str, Any], str] | None:
    if "reasoning_gym" in columns:
        return _preset(
            "reasoning_gym"
        ), "The rows come from reasoning-gym, which brings an exact checker for each task."
    if columns & set(_TESTS) or {"inputs", "outputs"} <= columns:
        return _preset("code"), "The rows bring tests, so a program can be run against them in the sandbox."
    if (
        columns & {"choices", "options"}
        or _share(bool(re.fullmatch(r"\(?[A-E]\)?\.?", text)) for text in answers) > 0.9
    ):
        return _preset("multiple_choice"), "The references are choices, so the chosen letter can be compared."
    return None


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
