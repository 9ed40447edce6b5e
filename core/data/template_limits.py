"""Jinja with limits: a chat template is an untrusted program, and rendering it must end soon.

Jinja's sandbox isolates a template from Python; it does not prevent gigabytes of output or endless loops.
Here every loop, call, filter and operator is charged to a budget, and an operation that would make a value
larger than :data:`LARGEST` is rejected before it runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

LARGEST = 2_000_000
"""Characters and items of one value, and the largest width or count in a template."""
BUDGET = 10_000_000
"""Units of work for one rendering: about a second. Each character costs one."""
ITERATION = 10
"""Units for one loop iteration or call."""
BITS = 10_000
"""Of an integer."""

_left: ContextVar[list[int] | None] = ContextVar("units of work left", default=None)
_WIDTHS = re.compile(r"\d+")
_NESTED = re.compile(r"\{[^{}]*\{|%[^a-zA-Z%]*\*")


class TooMuch(TemplateError):
    """The template does more than rendering a conversation needs."""

    def __init__(self) -> None:
        super().__init__("it uses too much memory or time")


@contextmanager
def budget() -> Iterator[None]:
    """Charge all rendering inside to one budget, in any environment. TooMuch when it is used up."""
    before = _left.set([BUDGET])
    try:
        yield
    finally:
        _left.reset(before)


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """The immutable sandbox with a budget. Use :func:`budget` around each rendering."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, finalize=measured)
        self.filters = {name: _metered(function, name) for name, function in self.filters.items()}
        self.globals["range"] = _range
        del self.globals["lipsum"]  # can make millions of paragraphs

    def add_filter(self, name: str, function: Callable[..., Any]) -> None:
        """A filter of our own, under the same limits."""
        self.filters[name] = _metered(function, name)

    def turn(self) -> bool:
        """Charged once per loop iteration."""
        _charge(ITERATION)
        return True

    @staticmethod
    def measured(value: Any) -> Any:
        """The value, if it is not too large."""
        return measured(value)

    def joined(self, *values: Any) -> str:
        """``a ~ b``."""
        return "".join(map(str, measured(values)))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _check_operator(operator, left, right)
        return measured(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, PYI063 - Jinja's
        if __obj == __self.turn:  # fast path for the most frequent calls
            return __self.turn()
        method = getattr(__obj, "__wrapped__", __obj)  # Jinja's own str.format
        name, of = getattr(method, "__name__", ""), getattr(method, "__self__", None)
        _check_call(name, (of, *args) if isinstance(of, str | bytes | list | tuple) else args, kwargs)
        return measured(super().call(__context, __obj, *args, **kwargs))

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            turn = _call("turn", [], loop.lineno)
            if loop.test is None:
                loop.body.insert(0, nodes.ExprStmt(turn, lineno=loop.lineno))
            else:  # called once per iteration, including skipped ones
                loop.test = nodes.And(turn, loop.test, lineno=loop.lineno)
        _replace(tree)
        tree.set_environment(self)
        return tree


def measured(value: Any) -> Any:
    """``value``, charged by its size. Raises TooMuch if it is too large."""
    _charge(_size(value))
    return value


def _replace(node: nodes.Node) -> None:
    """Wrap the nodes that make larger values from smaller ones without an operator or a call."""
    for field in node.fields:
        value = getattr(node, field, None)
        if isinstance(value, list):
            setattr(node, field, [_replaced(item) for item in value])
        elif isinstance(value, nodes.Node):
            setattr(node, field, _replaced(value))


def _replaced(node: Any) -> Any:
    if not isinstance(node, nodes.Node):
        return node
    _replace(node)
    if isinstance(node, nodes.Concat):
        return _call("joined", node.nodes, node.lineno)
    if isinstance(node, nodes.List | nodes.Dict) or (isinstance(node, nodes.Tuple) and node.ctx == "load"):
        return _call("measured", [node], node.lineno)
    return node


def _call(name: str, args: list[nodes.Expr], line: int) -> nodes.Call:
    """A call of the environment's method that no name in the template can shadow."""
    return nodes.Call(nodes.EnvironmentAttribute(name, lineno=line), args, [], None, None, lineno=line)


def _metered(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(function)  # including the mark that makes Jinja pass a filter its context
    def metered(*args: Any, **kwargs: Any) -> Any:
        _check_call(name, args, kwargs)
        return measured(function(*args, **kwargs))

    return metered


def _check_call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Charge a call, and reject it if its result may be too large."""
    given = [*args, *kwargs.values()]
    _charge(ITERATION + sum(_size(one) for one in given))
    texts = [one for one in given if isinstance(one, str)]
    numbers = [abs(one) for one in given if isinstance(one, int) and not isinstance(one, bool)]
    text = texts[0] if texts else ""
    longest = max(map(len, texts[1:]), default=0)
    made = max(numbers, default=0)
    if name in {"indent", "expandtabs"}:  # a width for each line or tab
        made = (max(numbers, default=8) + longest) * (text.count("\n") + text.count("\t") + 1)
    elif name == "wordwrap":
        made = (1 + longest) * len(text)
    elif name == "replace" and len(texts) > 2:
        made = text.count(texts[1]) * len(texts[2])
    elif name == "join":
        items = max((len(one) for one in given if isinstance(one, list | tuple)), default=1)
        made = max(map(len, texts), default=0) * items
    elif name in {"format", "format_map"}:
        _check_format(text, given[1:])
    if made > LARGEST or name == "translate":
        raise TooMuch


def _check_format(pattern: str, values: list[Any]) -> None:
    """A width in a pattern adds to the size, and a repeated field multiplies it."""
    widths = sum(int(width[:9]) for width in _WIDTHS.findall(pattern))
    fields = pattern.count("{") + pattern.count("%")
    if _NESTED.search(pattern) or widths > LARGEST or fields * sum(_size(one) for one in values) > LARGEST:
        raise TooMuch


def _check_operator(operator: str, left: Any, right: Any) -> None:
    _charge(ITERATION)
    if operator == "*":
        for one, other in ((left, right), (right, left)):
            if isinstance(one, int) and not isinstance(other, int | float) and _size(other) * abs(one) > LARGEST:
                raise TooMuch
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        if left.bit_length() * abs(right) > BITS:
            raise TooMuch
    elif operator == "%" and isinstance(left, str):
        _check_format(left, list(right) if isinstance(right, tuple) else [right])


def _range(*bounds: int) -> range:
    made = range(*bounds)
    if len(made) > LARGEST:
        raise TooMuch
    return made


def _charge(units: int) -> None:
    left = _left.get()
    if left is None:  # Jinja computes constants when it compiles
        return
    left[0] -= units
    if left[0] < 0:
        raise TooMuch


def _size(value: Any) -> int:
    """Characters and items in a value, at all levels. Raises TooMuch beyond :data:`LARGEST`."""
    if isinstance(value, str | bytes):
        size = len(value)
    elif isinstance(value, int):
        size = 1 if value.bit_length() <= BITS else LARGEST + 1
    elif isinstance(value, list | tuple | dict):
        size = 0
        waiting: list[Any] = [value]
        while waiting:
            one = waiting.pop()
            size += len(one) if isinstance(one, str | bytes) else 1
            if size > LARGEST:
                raise TooMuch
            if isinstance(one, dict):
                waiting += one.keys()
                waiting += one.values()
            elif isinstance(one, list | tuple):
                waiting += one
    else:
        size = 1
    if size > LARGEST:
        raise TooMuch
    return size
