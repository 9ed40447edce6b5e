"""Own rewards: Python that a person wrote in the editor, run in the sandbox and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from core.reward import Item, Markers, Score
from core.rewards.boxed_code import run_reward
from core.rewards.info import Param, RewardInfo, one_of
from core.rewards.sandbox import Limits

TEMPLATE = '''\
import re


def reward(completion: str, prompt: str, row: dict) -> float | tuple[float, str]:
    """Score one answer.

    completion: what the model wrote
    prompt:     the question
    row:        the whole row of the dataset; row["response"] is the reference answer

    Return a number from 0 (wrong) to 1 (right), or the number and a sentence that says why.
    """
    said = re.sub(r"<[^<>]*>", " ", completion).lower().split()
    wanted = str(row["response"]).lower().split()
    if wanted and said[-len(wanted) :] == wanted:
        return 1.0, "It ends with the reference answer."
    return 0.0, "It does not end with the reference answer."
'''


EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "Part of the score for part of the answer",
        """\
def reward(completion, prompt, row):
    wanted = [word.strip() for word in str(row["response"]).lower().split(",")]
    said = {word.strip(" .") for word in completion.lower().split(",")}
    if len(said) > 2 * len(wanted):
        return 0.0, "Too many were named to know any."
    found = [word for word in wanted if word in said]
    return len(found) / len(wanted), f"{len(found)} of {len(wanted)} were named."
""",
    ),
    (
        "A value in JSON, against a column of the row",
        """\
import json

def reward(completion, prompt, row):
    try:
        answer = json.loads(completion)
    except ValueError:
        return 0.0, "This is not JSON."
    if not isinstance(answer, dict):
        return 0.1, "This is JSON, and no object."
    same = str(answer.get("city", "")).lower() == str(row["response"]).lower()
    return (1.0 if same else 0.2), f"The city is {answer.get('city')}."
""",
    ),
)
"""What the editor shows to begin from: a title and Python."""


def own(
    items: Sequence[Item], *, markers: Markers, source: str = "", seconds: float = 2.0, title: str = ""
) -> list[Score]:
    """What the person's own ``reward(completion, prompt, row)`` gives. It cannot reach files, network or this program.

    Args:
        source: Python that defines ``reward``.
        seconds: Longest time for one row.
        title: What the person called it; for display.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> code = "def reward(completion, prompt, row):\\n    return float(row['response'] in completion), 'looked for it'"
    >>> row = {"response": "Paris"}
    >>> own([Item("It is Paris.", "", row), Item("It is Lyon.", "", row), Item("", "", row)], markers=m, source=code)
    [Score(value=1.0, why='looked for it'), Score(value=0.0, why='looked for it'), Score(value=0.0, why='looked for it')]
    """
    return run_reward(source, items, limits=Limits(cpu=seconds, wall=seconds + 1))


def problem(source: str) -> str | None:
    """What keeps this source from being a reward, without running it; None where nothing is seen.

    >>> problem("def reward(completion, prompt):\\n    return 1")
    'reward must take three arguments: completion, prompt, row'
    >>> problem("def reward(completion, prompt, row:\\n    return 1")
    "line 1: '(' was never closed"
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"line {getattr(error, 'lineno', None) or 1}: {getattr(error, 'msg', None) or error}"
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "reward"]
    if not functions:
        return "there is no 'def reward(completion, prompt, row)'"
    arguments = functions[-1].args
    if len(arguments.posonlyargs + arguments.args) - len(arguments.defaults) > 3 or (
        len(arguments.posonlyargs + arguments.args) < 3 and not arguments.vararg
    ):
        return "reward must take three arguments: completion, prompt, row"
    return None


def _check(params: dict[str, Any]) -> tuple[str, str] | None:
    found = problem(params["source"])
    return ("source", found) if found else None


INFOS = (
    RewardInfo(
        "python",
        "Your own Python",
        "A function of your own, run in the sandbox: without network, files or environment.",
        False,
        (),
        (
            Param(
                "source",
                "text",
                TEMPLATE,
                "Python",
                "Defines reward(completion, prompt, row). It returns a number from 0 to 1, and a sentence if you like.",
                maximum=50_000,
                required=True,
            ),
            Param(
                "seconds",
                "number",
                2.0,
                "Longest time a row",
                "In seconds. A row that takes longer scores 0.",
                minimum=0.1,
                maximum=60,
            ),
            Param("title", "text", "", "Name", "What to call it in lists and charts.", maximum=60),
        ),
        one_of(own),
        batch=own,
        family="Your own",
        check=_check,
    ),
)
