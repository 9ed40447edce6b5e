"""Rewards for reasoning: whether there are steps, they are correct, and the answer follows from them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from core.reward import Item, Markers, Score
from core.rewards.answers import after_hashes, after_thought, between_markers, boxed
from core.rewards.boxed_code import run_reward
from core.rewards.info import Param, RewardInfo, one_of
from core.rewards.numbers import clean, find_numbers, show, single_number
from core.rewards.sandbox import Limits

_TERM = r"[-+]?\$?\d[\d,]{0,20}(?:\.\d{1,12})?%?"
_EQUATION = re.compile(
    rf"(?<![\d.,])(?P<left>{_TERM}(?:\s{{0,3}}[-+*/×÷x·]\s{{0,3}}{_TERM}){{1,8}})\s{{0,3}}=\s{{0,3}}(?P<right>{_TERM})(?![\d.,]\d)"
)
_OPERATION = re.compile(rf"({_TERM})\s*([-+*/×÷x·])?\s*")


def _working(completion: str, markers: Markers) -> str:
    for start, end in ((markers.reasoning_start, markers.reasoning_end), *markers.thoughts):
        if start and start in completion:
            return completion.partition(start)[2].partition(end)[0] if end else completion.partition(start)[2]
    before = completion.partition(markers.solution_start)[0] if markers.solution_start else completion
    return before.rpartition("####")[0] or before


def equations(text: str) -> list[tuple[str, Fraction | None, Fraction]]:
    """Each 'a + b = c' as (text, computed left side, claimed result). None if it cannot be computed.

    >>> [(left, str(got), str(said)) for left, got, said in equations("48 / 2 = 24, then 2 + 3 x 4 = 14 and 1 + 1 = 3")]
    [('48 / 2', '24', '24'), ('2 + 3 x 4', '14', '14'), ('1 + 1', '2', '3')]
    """
    found = []
    for match in _EQUATION.finditer(clean(text)):
        right = single_number(match["right"])
        if right is not None:
            found.append((match["left"].strip(), _value(match["left"]), right))
    return found


def _value(left: str) -> Fraction | None:
    """Left to right, multiplication and division first."""
    total, product, sign = Fraction(0), None, 1
    pending = "*"
    for number, operator in _OPERATION.findall(left):
        value = single_number(number)
        if value is None:
            return None
        if number.startswith(("-", "+")) and product is not None and pending == "":
            total, product, pending = total + product, Fraction(1), "*"
        if product is None:
            product = Fraction(1)
        if pending == "/" and not value:
            return None
        product = product / value if pending == "/" else product * value
        if operator in {"+", "-"}:
            total += sign * product
            product, sign, pending = Fraction(1), 1 if operator == "+" else -1, "*"
        else:
            pending = "/" if operator in {"/", "÷"} else "*" if operator else ""
    return None if product is None else total + sign * product


def steps(completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, wanted: int = 2) -> Score:
    """Whether there are checkable, correct steps, and whether later ones use earlier ones.

    A third each: the number of equations out of ``wanted``, the share that are right, and the share of later ones
    whose numbers come from the question or from an earlier result. An equation that is repeated counts once; without
    equations the score is 0. Does not check the final answer.

    Args:
        wanted: Number of different equations for full score.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> ask = "Tom has 48 clips and buys half as many. How many has he?"
    >>> steps("<w>48 / 2 = 24. 48 + 24 = 72.</w><s>72</s>", ask, {}, markers=m)
    Score(value=1.0, why='2 steps, 2 of them correct, 2 of 2 based on the question or an earlier step.')
    >>> round(steps("<w>48 / 2 = 20. 11 + 13 = 25.</w><s>72</s>", ask, {}, markers=m).value, 2)
    0.5
    >>> steps("therefore " * 40, ask, {}, markers=m)
    Score(value=0.0, why='There are no steps to check, such as 48 / 2 = 24.')
    """
    found = list(
        {
            left.replace(" ", ""): (left, got, said) for left, got, said in equations(_working(completion, markers))
        }.values()
    )
    if not found:
        return Score(0.0, "There are no steps to check, such as 48 / 2 = 24.")
    right = sum(got == said for _, got, said in found)
    known = set(find_numbers(prompt or str(row.get("instruction", ""))))
    built = 0
    for left, _, said in found:
        built += bool(set(find_numbers(re.sub(r"[×÷x·*/+-]", " ", left))) & known)
        known.add(said)
    value = (min(len(found), wanted) / wanted + right / len(found) + built / len(found)) / 3
    if not right:
        value = min(value, 0.5)
    return Score(
        value,
        f"{len(found)} steps, {right} of them correct, {built} of {len(found)} based on the question or an earlier step.",
    )


def consistent(completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers) -> Score:
    """1 if the final answer is the result of the reasoning: its last number, or the result of its last equation.

    0 otherwise, or if one of the two is missing. Compares the answer with the reasoning, not with the reference.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> consistent("<w>48 / 2 = 24, 48 + 24 = 72</w><s>72</s>", "", {}, markers=m)
    Score(value=1.0, why='The answer 72 matches the reasoning.')
    >>> consistent("<w>48 / 2 = 24, 48 + 24 = 72</w><s>42</s>", "", {}, markers=m)
    Score(value=0.0, why='The reasoning gives 72, but the answer is 42.')
    >>> consistent("42 42 42", "", {}, markers=m)
    Score(value=0.0, why='There is no final answer, or no reasoning before it.')
    """
    said = after_thought(completion, markers) or ""
    answers = between_markers(said, markers) or boxed(said) or after_hashes(said)
    answer = single_number(answers[-1]) if answers else None
    working = _working(completion, markers)
    numbers = find_numbers(working)
    if answer is None or not numbers:
        return Score(0.0, "There is no final answer, or no reasoning before it.")
    checked = equations(working)
    ends = {numbers[-1]} | ({checked[-1][2]} if checked else set())
    if answer in ends:
        return Score(1.0, f"The answer {show(answer)} matches the reasoning.")
    return Score(0.0, f"The reasoning gives {show(numbers[-1])}, but the answer is {show(answer)}.")


_GYM = """
import reasoning_gym
def reward(completion, prompt, row):
    scorer = reasoning_gym.get_score_answer_fn(row["task"])
    value = float(scorer(answer=completion, entry=row["entry"]))
    if value < 1 and not row["partial"]:
        value = 0.0
    return value, f"The checker of {row['task']} returned {value:g}."
"""


def reasoning_gym(items: Sequence[Item], *, markers: Markers, partial: bool = False) -> list[Score]:
    """The task's own checker from reasoning-gym, run in the sandbox.

    The row has ``reasoning_gym`` with ``task`` and ``entry``, as in the generated dataset of that name.
    The answer is between the solution markers, or the whole text without an opening marker.

    Args:
        partial: Keep the checkers' partial credit (many give 0.01 for any attempt); else all or nothing.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> entry = {"question": "4 + 3 =", "answer": "7", "metadata": {"source_dataset": "chain_sum", "source_index": 0}}
    >>> row = {"reasoning_gym": {"task": "chain_sum", "entry": entry}}
    >>> for score in reasoning_gym([Item(t, "", row) for t in ("<s>7</s>", "<s>8</s>", "seven seven")], markers=m):
    ...     print(score)
    Score(value=1.0, why='The checker of chain_sum returned 1.')
    Score(value=0.0, why='The checker of chain_sum returned 0.')
    Score(value=0.0, why='The checker of chain_sum returned 0.')
    >>> told = [Item("<s>the answer is 7</s>", "", row)]
    >>> [round(reasoning_gym(told, markers=m, partial=keep)[0].value, 3) for keep in (True, False)]
    [0.067, 0.0]
    """
    asked: list[Item] = []
    for item in items:
        answers = between_markers(item.completion, markers)
        answer = answers[-1].strip() if answers else "" if markers.opened(item.completion) else item.completion.strip()
        entry = _entry(item.row)
        asked.append(Item(answer[:10_000], "", {**entry, "partial": partial} if entry else {}))
    known = [item for item in asked if item.row]
    limits = Limits(cpu=30, wall=8, memory=4 << 30)
    scores = iter(run_reward(_GYM, known, limits=limits, preload=("reasoning_gym",)) if known else [])
    missing = Score(0.0, "The row is not from reasoning-gym, so it has no checker.")
    return [next(scores) if item.row else missing for item in asked]


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    found = row.get("reasoning_gym")
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            return {}
    good = isinstance(found, Mapping) and isinstance(found.get("entry"), Mapping) and isinstance(found.get("task"), str)
    return dict(found) if good and found else {}


INFOS = (
    RewardInfo(
        "steps",
        "Correct steps",
        "Checks that the reasoning has equations, that they are correct, and that later ones use earlier results. Does not check the final answer.",
        False,
        (),
        (
            Param(
                "wanted",
                "integer",
                2,
                "Steps",
                "Number of different equations for full score.",
                minimum=1,
                maximum=50,
            ),
        ),
        steps,
        family="Reasoning",
        thought=True,
    ),
    RewardInfo(
        "consistent",
        "Answer matches reasoning",
        "Checks that the final number is the result of the reasoning. Does not compare it with the reference.",
        False,
        (),
        (),
        consistent,
        family="Reasoning",
        thought=True,
    ),
    RewardInfo(
        "reasoning_gym",
        "reasoning-gym checker",
        "Runs the exact checker of each generated task in the sandbox.",
        True,
        ("reasoning_gym",),
        (
            Param(
                "partial",
                "boolean",
                False,
                "Partial credit",
                "Keep the checker's partial scores. Many checkers give a little for any attempt.",
            ),
        ),
        one_of(reasoning_gym),
        batch=reasoning_gym,
        family="Reasoning",
    ),
)
