"""A chat template is an untrusted program: it renders a conversation or ends with an error."""

from __future__ import annotations

import resource
import time
from typing import Any

import pytest

from core.data import template_limits
from core.data.prompts import render
from core.errors import InvalidInput

_DOUBLE = "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = DOUBLED %}{% endfor %}{{ n.x }}"
BOMBS = [
    "{{ 'a' * 2 * 10 ** 9 }}",
    "{{ 10 ** 9 * 'a' }}",
    "{{ [messages] * 10 ** 9 }}",
    "{{ '%2000000000d' % 1 }}",
    "{{ '%*d' % (2000000000, 1) }}",
    "{{ '{:2000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 2000000000) }}",
    "{{ '%2000000000d' | format(1) }}",
    "{{ 'a' | center(2000000000) }}",
    "{{ 'a'.ljust(2000000000) }}",
    "{{ 'a'.zfill(2000000000) }}",
    "{{ 'a\\n' * 1000 | indent(2000000000) }}",
    "{{ ('a\\n' * 100000) | indent(100000) }}",
    "{{ ('\\t' * 100000).expandtabs(100000) }}",
    "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
    "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
    "{{ (['a'] * 100000) | join('b' * 100000) }}",
    "{{ ('b' * 100000).join(['a'] * 100000) }}",
    "{{ ('a' * 1000).translate({97: 'b' * 1000000}) }}",
    "{{ ('a' * 100000) | wordwrap(1, true, 'b' * 100000) }}",
    "{{ lipsum(n=1000000) }}",
    "{{ messages | tojson(indent=1000000000) }}",
    "{{ messages | tojson(indent='x' * 1000000) }}",
    "{{ 9 ** 9 ** 9 ** 9 ** 9 ** 9 }}",
    "{% set n = namespace(x=9) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
    *(
        _DOUBLE.replace("DOUBLED", doubled)
        for doubled in ("n.x ~ n.x", "n.x + n.x", "[n.x, n.x]", "{1: n.x, 2: n.x}", "(n.x, n.x)", "(n.x ~ n.x) | trim")
    ),
    (
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}"
        "{% set n.x = y %}{% endfor %}"
    ),
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% for i in range(100000) %}{% for j in range(100000) if false %}{% endfor %}{% endfor %}",
    "{% for i in range(100000) %}{{ range(100000) | list | length }}{% endfor %}",
    "{% for i in range(100000) %}{{ range(100000) | map('string') | list | length }}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    (
        "{% for turn in range(100000) %}{% set environment = 1 %}{% for measured in range(100000) %}"
        "{% endfor %}{% endfor %}"
    ),
]
MESSAGES = [{"role": "user", "content": "2 + 3"}]


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_template_without_end_is_ended(bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even in a process that also trains: no gigabytes, no hours."""
    monkeypatch.setattr(template_limits, "BUDGET", 300_000)
    before, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InvalidInput, match="chat template"):
        render(MESSAGES, bomb, {})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
    assert time.process_time() - cpu < 60


KINDLY: list[tuple[str, str]] = [
    ("{{ messages[0].content.strip() }}", "2 + 3"),
    ("{% for m in messages if m.role == 'user' %}{{ loop.index0 }}{{ m.content }}{% endfor %}", "02 + 3"),
    ("{% for m in messages %}{% if loop.first %}{% break %}{% endif %}{% endfor %}x", "x"),
    ("{{ messages | tojson(indent=4) | length }}", "66"),
    ("{{ '%s-%05d' % ('a', 7) }}{{ '{}{:>4}'.format('b', 8) }}", "a-00007b   8"),
    (
        "{{ ['a', 'b'] | join(', ') }}{{ 'a.b'.split('.')[-1] }}{{ 'aXa' | replace('a', 'b') }}",
        "a, bbbXb",
    ),
    ("{% set n = namespace(x=0) %}{% for i in range(3) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}", "3"),
    ("{% macro f(a, b=[1]) %}{{ a ~ b[0] }}{% endmacro %}{{ f('x') }}{{ (1, 2)[1] }}{{ {'k': 'v'}.k }}", "x12v"),
    ("{% for a, b in {'k': 'v'}.items() %}{{ a ~ b }}{% endfor %}{{ messages[::-1][0]['role'] }}", "kvuser"),
    (
        "{% for k, v in messages[0] | dictsort %}{{ k }}{% endfor %}{{ 7 // 2 }}{{ 2 ** 10 }}{{ 7 % 4 }}",
        "contentrole310243",
    ),
]


@pytest.mark.parametrize(("template", "shown"), KINDLY)
def test_normal_templates_work(template: str, shown: str) -> None:
    """The limits do not affect normal templates."""
    assert render(MESSAGES, template, {}) == shown


def test_a_long_conversation_stays_within_the_limits() -> None:
    """A thousand turns, half a million characters."""
    many: list[dict[str, Any]] = [{"role": "user", "content": "word " * 100}] * 1000
    template = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>{% endfor %}"
    assert len(render(many, template, {})) > 500_000
