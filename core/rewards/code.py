"""Rewards for programs, run against the row's tests in the sandbox."""

from __future__ import annotations

import ast
import io
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
import tokenize
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from core.reward import Item, Markers, Score
from core.rewards.answers import between_markers
from core.rewards.boxed_code import run_tasks
from core.rewards.info import Param, RewardInfo, one_of
from core.rewards.sandbox import Limits, Task

_FENCE = re.compile(r"```(?:python|py|python3)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL | re.IGNORECASE)


def program_of(completion: str, markers: Markers) -> str:
    """The Python in an answer: the last fenced block between the solution markers or anywhere, else the text itself.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> program_of("Here:\\n```python\\nprint(1)\\n```\\nDone.", m)
    'print(1)'
    >>> program_of("<w>hm</w><s>\\nprint(2)\\n</s>", m)
    'print(2)'
    """
    inside = between_markers(completion, markers)
    text = inside[-1] if inside else completion
    blocks = _FENCE.findall(text)
    if blocks:
        return str(max(blocks, key=len) if len(blocks) < 3 else blocks[-1])
    return text.strip("\n")


def code(items: Sequence[Item], *, markers: Markers, seconds: float = 6.0, whole_only: bool = False) -> list[Score]:
    """The share of the row's tests that the program passes, run in the sandbox.

    Tests are found in the row by their usual names: ``test_list`` (MBPP: assert statements), ``test`` with
    ``entry_point`` (HumanEval: ``check(candidate)``; ``prompt`` has the function's signature), ``tests`` (assert
    statements), ``inputs`` and ``outputs`` or ``input_output`` (standard input and output, or calls of ``fn_name``).
    The program sees neither the tests nor the expected results.

    Args:
        seconds: Time limit for a program with all its tests.
        whole_only: 1 for a program that passes every test, else 0.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"tests": "assert double(2) == 4\\nassert double(0) == 0"}
    >>> right = Item("```python\\ndef double(x):\\n    return 2 * x\\n```", "", row)
    >>> wrong = Item("```python\\ndef double(x):\\n    return x * x\\n```", "", row)
    >>> for score in code([right, wrong._replace(completion="def double(x): return 3"), Item("hello", "", row)], markers=m):
    ...     print(score.value, score.why)
    1.0 2 of 2 tests passed.
    0.0 0 of 2 tests passed: an assertion failed.
    0.0 The answer is plain text, so there is no program to run.
    """
    limits = Limits(cpu=seconds, wall=seconds)
    tasks: list[Task] = []
    readers: list[Any] = []
    for item in items:
        task, reader = _task(item, markers, limits)
        readers.append((len(tasks), reader) if task else (None, reader))
        tasks += [task] if task else []
    answers = run_tasks(tasks)
    scores = [_read(reader, None if place is None else answers[place]) for place, reader in readers]
    return [Score(float(score.value == 1), score.why) for score in scores] if whole_only else scores


def _read(reader: Any, answer: dict[str, Any] | None) -> Score:
    """One program's score. Results that it made unreadable on purpose count as failures."""
    try:
        score: Score = reader(answer)
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError, OverflowError):
        return Score(0.0, "The program's output could not be read.")
    return score


def _task(item: Item, markers: Markers, limits: Limits) -> tuple[Task | None, Any]:
    row = item.row
    source = program_of(item.completion, markers)
    if not _looks_like_code(source):
        return None, lambda _: Score(0.0, "The answer is plain text, so there is no program to run.")
    entry = str(row.get("entry_point") or "")
    if row.get("test") and entry:
        prompt = str(row.get("prompt") or item.prompt)
        if not _defines(source, entry):
            source = f"{prompt}{'' if source.startswith((' ', chr(9))) else chr(10)}{source}"
        hidden = {"tests": [str(row["test"])], "setup": "", "prompt": prompt, "entry": entry}
        return Task("tests", source, hidden=hidden, limits=limits), _passed
    pairs = _pairs(row)
    if pairs:
        return _with_pairs(source, *pairs, limits)
    tests = _texts(row.get("test_list") or row.get("tests") or row.get("unit_tests"))
    if not tests:
        return None, lambda _: Score(0.0, "The row has no tests to run.")
    setup = "\n".join([*_texts(row.get("test_imports")), *_texts(row.get("test_setup_code"))])
    return Task("tests", source, hidden={"tests": tests, "setup": setup}, limits=limits), _passed


def _looks_like_code(source: str) -> bool:
    """Whether the text parses, alone or as a function body, as more than a bare expression."""
    for text in (source, f"def f():\n{source}"):
        try:
            body = ast.parse(text).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return any(not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call) for node in body)
    return False


def _defines(source: str, name: str) -> bool:
    return re.search(rf"^(?:async )?def {re.escape(name)}\b|^{re.escape(name)}\s*=", source, re.MULTILINE) is not None


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else [value]
        except ValueError:
            value = [value]
    return [str(text) for text in value if str(text).strip()] if isinstance(value, list | tuple) else []


def _pairs(row: Mapping[str, Any]) -> tuple[list[Any], list[Any], str] | None:
    """Inputs, expected outputs, and the function's name if it is called instead of reading stdin."""
    found: Any = row.get("input_output")
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            return None
    found = found if isinstance(found, Mapping) else row
    inputs, outputs = found.get("inputs"), found.get("outputs")
    if (
        not isinstance(inputs, list | tuple)
        or not isinstance(outputs, list | tuple)
        or not inputs
        or len(inputs) != len(outputs)
    ):
        return None
    return list(inputs), list(outputs), str(found.get("fn_name") or "")


def _with_pairs(source: str, inputs: list[Any], outputs: list[Any], name: str, limits: Limits) -> tuple[Task, Any]:
    if not name:
        feeds = ["\n".join(map(str, feed)) if isinstance(feed, list) else str(feed) for feed in inputs]
        wanted = ["\n".join(map(str, text)) if isinstance(text, list) else str(text) for text in outputs]
        return Task("script", source, {"inputs": feeds}, limits=limits), lambda answer: _printed(answer, wanted)
    calls = [
        {"name": name, "args": _packed(list(args) if isinstance(args, list | tuple) else [args]), "kwargs": ["d", []]}
        for args in inputs
    ]
    return Task("calls", source, {"calls": calls}, limits=limits), lambda answer: _returned(answer, outputs)


def _packed(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return ["i", format(value, "x")]
    if isinstance(value, float):
        return ["f", repr(value)]
    if isinstance(value, Mapping):
        return ["d", [[_packed(k), _packed(v)] for k, v in value.items()]]
    return ["l", [_packed(item) for item in value]]


def _unpacked(data: Any) -> Any:
    """Plain data as in JSON: tuples become lists."""
    if not isinstance(data, list):
        return data
    tag, value = data[0], data[1]
    if tag in {"l", "t"}:
        return [_unpacked(item) for item in value]
    if tag == "d":
        return {str(_unpacked(k)): _unpacked(v) for k, v in value}
    return int(value, 16) if tag == "i" else float(value) if tag == "f" else data


def _passed(answer: dict[str, Any]) -> Score:
    if "error" in answer:
        return Score(0.0, f"The program did not run: {answer['error']}.")
    passed, total = int(answer["passed"]), int(answer["total"])
    if not total:
        return Score(0.0, "The row's tests contain no assert statements, so there is nothing to check.")
    why = f": {answer['messages'][0]}" if answer["messages"] else ""
    return Score(passed / total, f"{passed} of {total} tests passed{why}.")


def _printed(answer: dict[str, Any], wanted: list[str]) -> Score:
    if "error" in answer:
        return Score(0.0, f"The program did not run: {answer['error']}.")
    good = [
        "error" not in run and _same_output(run["output"], text)
        for run, text in zip(answer["results"], wanted, strict=True)
    ]
    return _share(good, next((run["error"] for run in answer["results"] if "error" in run), ""))


def _same_output(got: str, wanted: str) -> bool:
    """Equal apart from line endings and trailing spaces; numbers within 1e-6."""
    left, right = got.split(), wanted.split()
    return len(left) == len(right) and all(a == b or _close(a, b) for a, b in zip(left, right, strict=True))


def _close(a: str, b: str) -> bool:
    try:
        return "." in a + b and math.isclose(float(a), float(b), rel_tol=1e-6, abs_tol=1e-9)
    except ValueError:
        return False


def _returned(answer: dict[str, Any], wanted: list[Any]) -> Score:
    if "error" in answer:
        return Score(0.0, f"The program did not run: {answer['error']}.")
    good = []
    for run, value in zip(answer["results"], wanted, strict=True):
        got, goal = _unpacked(run.get("value")), _unpacked(_packed(value))
        # APPS wraps some results in a list of one.
        good.append(
            "error" not in run and ((type(got) is type(goal) and (got == goal or _nearly(got, goal))) or [got] == goal)
        )
    return _share(good, next((run["error"] for run in answer["results"] if "error" in run), ""))


def _nearly(a: Any, b: Any) -> bool:
    return isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


def _share(good: list[bool], error: str) -> Score:
    why = f": {error}" if error else ""
    return Score(sum(good) / len(good), f"{sum(good)} of {len(good)} tests passed{why}.")


def syntax(completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers) -> Score:
    """1 if the answer contains Python that parses, else 0. A sentence that happens to parse is not a program.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> syntax("```python\\nx = 1\\n```", "", {}, markers=m)
    Score(value=1.0, why='The program is valid Python.')
    >>> syntax("```python\\nx = = 1\\n```", "", {}, markers=m)
    Score(value=0.0, why='Line 1 is not valid Python: invalid syntax.')
    >>> syntax("therefore", "", {}, markers=m)
    Score(value=0.0, why='The answer contains no program.')
    """
    source = program_of(completion, markers)
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        return Score(0.0, f"Line {line} is not valid Python: {getattr(error, 'msg', None) or error}.")
    if not any(not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call) for node in body):
        return Score(0.0, "The answer contains no program.")
    return Score(1.0, "The program is valid Python.")


def style(items: Sequence[Item], *, markers: Markers, a_line: float = 0.25) -> list[Score]:
    """1 if ruff has no findings in the program, falling with findings per line. Code that does not parse earns 0.

    Args:
        a_line: Findings per line at which the score reaches 0.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> good, bad = "```python\\nx = 1\\nprint(x)\\n```", "```python\\nimport os, sys\\nl = 1\\n```"
    >>> [score.value for score in style([Item(good, "", {}), Item(bad, "", {}), Item("hello there", "", {})], markers=m)]
    [1.0, 0.0, 0.0]
    """
    scores: list[Score] = []
    for item in items:
        parsed = syntax(item.completion, item.prompt, item.row, markers=markers)
        scores.append(_by_ruff(program_of(item.completion, markers), a_line) if parsed.value else parsed)
    return scores


def _without_orders(source: str) -> str:
    """The program with empty comments, because some are ruff directives: noqa, isort: skip_file, fmt: off."""
    lines = source.splitlines(keepends=True)
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT and _ORDER.search(token.string):
                row, column = token.start
                lines[row - 1] = f"{lines[row - 1][:column]}# -{lines[row - 1][token.end[1] :]}"
    except (tokenize.TokenError, SyntaxError, IndexError):
        return source
    return "".join(lines)


_ORDER = re.compile(r"\b(?:noqa|ruff|flake8|isort|fmt|yapf|pylint|type|nopycln|nosec)\b\s*:?", re.IGNORECASE)


def _by_ruff(source: str, a_line: float) -> Score:
    ruff = Path(sys.executable).parent / "ruff"
    program = str(ruff) if ruff.exists() else shutil.which("ruff")
    if program is None:
        return Score(0.0, "ruff is not installed, so style cannot be checked. Run setup again.")
    # Reads the text and never runs it.
    options = [
        "check",
        "--isolated",
        "--ignore-noqa",
        "--no-cache",
        "--select",
        "E,F,W,B,N,SIM,UP,C4",
        "--ignore",
        "E501,F821,W292",
        "--output-format",
        "json",
        "-",
    ]
    source = _without_orders(source)
    done = subprocess.run(
        [program, *options], input=source.encode("utf-8", "replace"), capture_output=True, timeout=20, check=False
    )
    remarks = json.loads(done.stdout or b"[]")
    lines = max(1, sum(bool(line.strip()) for line in source.splitlines()))
    value = max(0.0, 1 - len(remarks) / lines / a_line)
    if not remarks:
        return Score(1.0, "ruff found no issues.")
    return Score(value, f"{len(remarks)} remarks in {lines} lines, the first: {remarks[0]['message']}.")


def algorithm(items: Sequence[Item], *, markers: Markers, slack: float = 0.35, seconds: float = 8.0) -> list[Score]:
    """1 if the program's time grows no faster than the row allows, falling to 0 half a power above.

    The row has ``entry_point``, ``make_input`` (Python that defines ``make_input(n)``), ``sizes``, of which the two
    largest count, and ``max_power`` (1 for time proportional to n, 2 for its square). Processor time is measured from
    outside the program, at both sizes and one between them in each round, and the median of the rounds counts. Every
    call has its own process and input, so nothing can be cached; time that does not grow with the input is subtracted
    first, and if it is most of the time the score is 0. Correct results are checked by the reward 'code'.

    Args:
        slack: Tolerance above the allowed power; measuring is not exact.
        seconds: Total time limit; exceeding it earns 0.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"entry_point": "f", "make_input": "def make_input(n): return (n,)", "sizes": [1000, 4000, 16000], "max_power": 1}
    >>> linear = Item("```python\\ndef f(n):\\n    t = 0\\n    for i in range(40 * n): t += i\\n```", "", row)
    >>> square = Item("```python\\ndef f(n):\\n    t = 0\\n    for i in range(n * n // 20): t += i\\n```", "", row)
    >>> scores = algorithm([linear, square, Item("fast", "", row)], markers=m)
    >>> scores[0].value, scores[1].value < 0.5, scores[2].value
    (1.0, True, 0.0)
    """
    tasks: list[Task] = []
    places: list[str | tuple[int, _Growth]] = []
    for item in items:
        row, source = item.row, program_of(item.completion, markers)
        if not (row.get("entry_point") and row.get("make_input") and (asked := _asked_of(row))):
            places.append("Growth cannot be measured: the row needs entry_point, make_input, two sizes and max_power.")
        elif not _looks_like_code(source):
            places.append("The answer contains no program.")
        else:
            hidden = {"entry": row["entry_point"], "generator": row["make_input"], "sizes": list(asked.sizes)}
            places.append((len(tasks), asked))
            tasks.append(Task("growth", source, hidden=hidden, limits=Limits(cpu=seconds, wall=seconds)))
    answers = run_tasks(tasks)
    return [
        Score(0.0, place) if isinstance(place, str) else _grown(answers[place[0]], place[1], slack) for place in places
    ]


class _Growth(NamedTuple):
    """The two largest sizes of a row and the allowed power. At small sizes fixed costs hide growth."""

    small: float
    large: float
    allowed: float

    @property
    def sizes(self) -> tuple[float, float, float]:
        """Both sizes and their geometric mean."""
        middle = math.sqrt(self.small * self.large)
        whole = isinstance(self.small, int) and isinstance(self.large, int)
        return self.small, round(middle) if whole else middle, self.large


def _asked_of(row: Mapping[str, Any]) -> _Growth | None:
    sizes: Any = row.get("sizes")
    try:
        sizes = json.loads(sizes) if isinstance(sizes, str) else sizes
        small, large = sorted({size for size in sizes if isinstance(size, int | float) and size > 0})[-2:]
        return _Growth(small, large, float(row.get("max_power", 1)))
    except (TypeError, ValueError):
        return None


NOTICED = 0.02
"""Seconds at the small size above which a constant part is looked for; less is noise."""
MOST_CONSTANT = 0.05
"""Constant time that is allowed, in seconds."""
FLAT = 0.45
"""The power below which time hardly grows: four times the size does not even double it."""
BENT, BENT_FROM = 0.5, 0.1
"""How much steeper the upper half may be than the lower before a constant part is suspected; from this many seconds."""


def _grown(answer: dict[str, Any], asked: _Growth, slack: float) -> Score:
    if "error" in answer:
        return Score(0.0, f"The program did not run: {answer['error']}.")
    small, large, allowed = asked
    step = math.log(large / small) / 2
    short, _, longest = (statistics.median(times) for times in zip(*answer["rounds"], strict=True))
    lower, upper = (
        statistics.median(math.log(max(times[n + 1], 1e-9) / max(times[n], 1e-9)) / step for times in answer["rounds"])
        for n in (0, 1)
    )
    power = statistics.median(
        math.log(max(times[2], 1e-9) / max(times[0], 1e-9)) / (2 * step) for times in answer["rounds"]
    )
    told = f"({longest * 1000:.1f} ms at the end)"
    if short > MOST_CONSTANT and power < FLAT < allowed:
        return Score(0.0, f"Most of the running time does not depend on the input: {short * 1000:.0f} ms {told}.")
    if (short > NOTICED and power < allowed - slack) or (short > BENT_FROM and upper - lower > BENT):
        power = max(power, _without_constant(answer["rounds"], step))
    over = power - allowed - slack
    told = f"From n = {small} to {large} the running time grew as n to the power of {power:.1f} {told}; the limit is {allowed:g}."
    return Score(1.0 if over <= 0 else max(0.0, 1 - over / 0.5), told)


def _without_constant(rounds: Sequence[Sequence[float]], step: float) -> float:
    """The power of the growing part: differences between sizes cancel a constant."""
    powers = [
        math.log((large - middle) / (middle - small)) / step
        for small, middle, large in rounds
        if large > middle > small
    ]
    return statistics.median(powers) if powers else 0.0


_TIME = Param(
    "seconds", "number", 6.0, "Time limit", "Seconds for a program with all its tests.", minimum=0.1, maximum=120
)

INFOS = (
    RewardInfo(
        "code",
        "Passes tests",
        "Runs the program against the row's tests in the sandbox: assert statements (MBPP, HumanEval), standard input and output, or function calls. The score is the share of tests passed.",
        True,
        (),
        (
            _TIME,
            Param(
                "whole_only",
                "boolean",
                False,
                "All or nothing",
                "Only programs that pass every test score.",
            ),
        ),
        one_of(code),
        batch=code,
        family="Programs",
    ),
    RewardInfo(
        "syntax",
        "Valid Python",
        "Checks that the Python code parses. Does not check what it does.",
        False,
        (),
        (),
        syntax,
        family="Programs",
    ),
    RewardInfo(
        "style",
        "Clean code (ruff)",
        "Scores code style with the ruff linter: unused imports, unclear names, needless complexity. Does not check whether the program works.",
        False,
        (),
        (
            Param(
                "a_line",
                "number",
                0.25,
                "Issues per line",
                "The score is 0 at this many issues per line.",
                minimum=0.01,
                maximum=10,
            ),
        ),
        one_of(style),
        batch=style,
        family="Programs",
    ),
    RewardInfo(
        "algorithm",
        "Time complexity",
        "Runs the program on growing inputs in the sandbox and measures how its running time grows.",
        True,
        ("entry_point", "make_input", "sizes"),
        (
            Param(
                "slack",
                "number",
                0.35,
                "Tolerance",
                "How far above the allowed exponent still scores 1.",
                minimum=0,
                maximum=0.9,
            ),
            _TIME,
        ),
        one_of(algorithm),
        batch=algorithm,
        family="Programs",
    ),
)
