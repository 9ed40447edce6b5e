"""Custom rewards: Python code that a user wrote in the editor, run only in the sandbox."""

from __future__ import annotations

import ast
import re
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

    Return a number from 0 (wrong) to 1 (right), or the number and a sentence that explains it.
    Return None for no opinion: the answer is then left out of its group's comparison.
    """
    # Text inside the model's thinking is not the answer. Add your own tags here.
    for begin, end in (("<think>", "</think>"), ("<start_working_out>", "<end_working_out>")):
        if begin in completion and end not in completion:
            return 0.0, "The thinking never ends."
    said = re.sub(r"<[^<>]*>", " ", completion).lower().split()
    wanted = str(row["response"]).lower().split()
    before = said[: -len(wanted)][-1:]
    if wanted and said[-len(wanted) :] == wanted and before not in (["not"], ["or"], ["minus"]):
        return 1.0, "It ends with the reference answer."
    return 0.0, "It does not end with the reference answer."
'''


EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "Partial credit",
        """\
def reward(completion, prompt, row):
    wanted = [word.strip() for word in str(row["response"]).lower().split(",")]
    said = {word.strip(" .") for word in completion.lower().split(",")}
    if len(said) > 2 * len(wanted):
        return 0.0, "Too many items to count as an answer."
    found = [word for word in wanted if word in said]
    return len(found) / len(wanted), f"{len(found)} of {len(wanted)} were found."
""",
    ),
    (
        "Compare a JSON value with the reference",
        """\
import json

def reward(completion, prompt, row):
    try:
        answer = json.loads(completion)
    except ValueError:
        return 0.0, "This is not JSON."
    if not isinstance(answer, dict):
        return 0.1, "This is JSON, but not an object."
    same = str(answer.get("city", "")).lower() == str(row["response"]).lower()
    return (1.0 if same else 0.2), f"The city is {answer.get('city')}."
""",
    ),
)
"""Examples in the editor: a title and Python."""


def own(
    items: Sequence[Item], *, markers: Markers, source: str = "", seconds: float = 2.0, title: str = ""
) -> list[Score]:
    """Score by the user's ``reward(completion, prompt, row)``, which has no access to files, network or this process.

    A function in TRL's form, ``f(completions, prompts, answer, **kwargs)``, is called for each answer with
    one-element lists.

    Args:
        source: Python that defines ``reward``, or a function in TRL's form.
        seconds: Time limit per row.
        title: What the user called it; for display.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> code = "def reward(completion, prompt, row):\\n    return float(row['response'] in completion), 'looked for it'"
    >>> row = {"response": "Paris"}
    >>> own([Item("It is Paris.", "", row), Item("It is Lyon.", "", row), Item("", "", row)], markers=m, source=code)
    [Score(value=1.0, why='looked for it'), Score(value=0.0, why='looked for it'), Score(value=0.0, why='looked for it')]
    >>> code = "def right(completions, answer, **kwargs):\\n    return [float(a in c) for c, a in zip(completions, answer)]"
    >>> [score.value for score in own([Item("Paris", "", row), Item("Lyon", "", row)], markers=m, source=code)]
    [1.0, 0.0]
    """
    return run_reward(adapted(source), items, limits=Limits(cpu=seconds, wall=seconds + 1))


_TRL = "completions"
"""The argument that identifies a function in TRL's form."""
_CONVERSATIONS = re.compile(r"\[\s*(?:0|-1)\s*\]\s*(?:\[\s*['\"]content['\"]\s*\]|\.get\(\s*['\"]content)")
_ADAPTER = """

__theirs = {name}


def reward(completion, prompt, row):
    import inspect

    chat = {chat}
    columns = {{key: [value] for key, value in row.items()}}
    # The mapping has renamed the columns; their usual names still lead to them.
    for key in {reference}:
        columns.setdefault(key, [row.get("response")])
    for key in {question}:
        columns.setdefault(key, [row.get("instruction")])
    columns["prompts"] = [[{{"role": "user", "content": prompt}}]] if chat else [prompt]
    columns["completions"] = [[{{"role": "assistant", "content": completion}}]] if chat else [completion]
    wanted = inspect.signature(__theirs).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in wanted.values()):
        columns = {{key: value for key, value in columns.items() if key in wanted}}
    found = __theirs(**columns)
    if not isinstance(found, (list, tuple)) or len(found) != 1:
        raise TypeError("it must return a list with one number for each completion")
    return found[0]
"""
_REFERENCE = ("answer", "answers", "solution", "solutions", "ground_truth", "reference", "target", "label", "gold")
_QUESTION = ("question", "problem", "query", "instruction")
_ANOTHER_FORM = (
    "{name} takes lists, as TRL's rewards do, and cannot be called here because {why}. Change its first line to "
    "'def reward(completion, prompt, row):' and its last to 'return 1.0' with the number for that one completion"
)


def adapted(source: str) -> str:
    """The source with ``reward(completion, prompt, row)`` wrapped around a function in TRL's form, if it has one.

    TRL calls with lists, one entry per completion, and the dataset's columns by name. If the function
    reads a completion's ``[0]["content"]``, it gets conversations, as from TRL's conversational datasets.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source
    found = _in_trl_form(tree)
    if len(found) != 1 or _trl_problem(found):
        return source
    chat = bool(_CONVERSATIONS.search(source))
    return source + _ADAPTER.format(name=found[0].name, chat=chat, reference=_REFERENCE, question=_QUESTION)


def problem(source: str) -> str | None:
    """Why this source cannot be a reward, checked without running it; None if no problem is found.

    >>> problem("def reward(completion, prompt):\\n    return 1")
    'reward must take three arguments: completion, prompt, row'
    >>> problem("def reward(completion, prompt, row:\\n    return 1")
    "line 1: '(' was never closed"
    >>> problem("def mine(completions, prompts=None, answer=None, **kwargs):\\n    return [1.0] * len(completions)")
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"line {getattr(error, 'lineno', None) or 1}: {getattr(error, 'msg', None) or error}"
    lists = _in_trl_form(tree)
    if lists:
        return _trl_problem(lists)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "reward"]
    if not functions:
        return "there is no 'def reward(completion, prompt, row)'"
    arguments = functions[-1].args
    if len(arguments.posonlyargs + arguments.args) - len(arguments.defaults) > 3 or (
        len(arguments.posonlyargs + arguments.args) < 3 and not arguments.vararg
    ):
        return "reward must take three arguments: completion, prompt, row"
    if any(default is None for default in arguments.kw_defaults):
        return "reward must take three arguments and no others by name: completion, prompt, row"
    return None


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _in_trl_form(tree: ast.Module) -> list[_Function]:
    """Functions that take ``completions``; of several, those named ``reward``."""
    found = [
        node for node in tree.body if isinstance(node, _Function) and _TRL in {arg.arg for arg in _arguments(node)}
    ]
    if any(isinstance(node, _Function) and node.name == "reward" for node in tree.body):
        return [node for node in found if node.name == "reward"][-1:]
    return found


def _arguments(function: _Function) -> list[ast.arg]:
    return [*function.args.args, *function.args.kwonlyargs]


def _trl_problem(found: Sequence[_Function]) -> str | None:
    function = found[-1]
    name = function.name
    if len(found) > 1:
        names = " and ".join(one.name for one in found)
        return f"there are several reward functions in TRL's form, {names}: rename the one to use to 'reward', or add each as its own component"
    if isinstance(function, ast.AsyncFunctionDef):
        return _ANOTHER_FORM.format(name=name, why="it is asynchronous")
    if function.args.posonlyargs:
        return _ANOTHER_FORM.format(name=name, why="it takes positional-only arguments")
    ours = {"completion_ids", "prompt_ids", "trainer_state", "log_extra", "log_metric"}
    without = function.args.args[: len(function.args.args) - len(function.args.defaults)]
    missing = next((arg.arg for arg in without if arg.arg in ours), None)
    return _ANOTHER_FORM.format(name=name, why=f"it needs {missing}, which only TRL has") if missing else None


def _check(params: dict[str, Any]) -> tuple[str, str] | None:
    found = problem(params["source"])
    return ("source", found) if found else None


INFOS = (
    RewardInfo(
        "python",
        "Custom Python",
        "Your own function, run in the sandbox without access to the network, files, or environment.",
        False,
        (),
        (
            Param(
                "source",
                "text",
                TEMPLATE,
                "Python",
                "Defines reward(completion, prompt, row), which returns a number from 0 to 1 and optionally a sentence. Reward functions written for TRL work too.",
                maximum=50_000,
                required=True,
            ),
            Param(
                "seconds",
                "number",
                2.0,
                "Time limit per answer",
                "In seconds. An answer that takes longer scores 0.",
                minimum=0.1,
                maximum=60,
            ),
            Param("title", "text", "", "Name", "Shown in lists and charts.", maximum=60),
        ),
        one_of(own),
        batch=own,
        family="Custom",
        thought=True,
        check=_check,
    ),
)
