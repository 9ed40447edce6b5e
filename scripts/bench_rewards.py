"""Measure scoring: completions per second for mathematics, programs and a combination, and how the sandbox scales.

``.venv/bin/python scripts/bench_rewards.py`` prints a table. The sandbox's start-up is included where stated.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

from core.config import DatasetSection, RewardSection
from core.reward import Item
from core.rewards import compose, markers_of
from core.rewards.sandbox import Sandbox, Task, protection

MARKERS = markers_of(DatasetSection(source="none"))
PROGRAM = "def double(x):\n    return x + x\n"
TESTS = {"tests": ["assert double(2) == 4", "assert double(0) == 0", "assert double(-3) == -6"]}


def main() -> None:
    """Print every figure."""
    print(f"{os.cpu_count()} processor cores, Python {sys.version.split()[0]}. {protection().words}\n")
    print(f"{'what':58} {'completions/s':>14}")
    print(f"{'mathematics, numbers (exact)':58} {rate(section('math'), numbers, 2000):14.0f}")
    print(
        f"{'mathematics, expressions (by algebra, in the sandbox)':58} {rate(section('math'), expressions, 128):14.0f}"
    )
    print(f"{'programs against 3 asserts (sandbox)':58} {rate(section('code'), programs, 256):14.0f}")
    mixed = RewardSection.model_validate({"type": "composite", "components": [
        {"name": "numeric", "requires": "format", "requires_at_least": 0.5}, {"name": "format", "weight": 0.2},
        {"name": "repetition", "weight": 0.1}, {"name": "soft_limit", "weight": 0.1},
    ]})  # fmt: skip
    print(f"{'a combination of four parts with a gate':58} {rate(mixed, numbers, 2000):14.0f}")
    print(f"\n{'programs at once':>16} {'start included, s':>18} {'warm, s':>9} {'programs/s warm':>16}")
    for count in (1, 2, 4, 8, 16, 32, 64):
        cold, warm = scaling(count)
        print(f"{count:16} {cold:18.3f} {warm:9.3f} {count / warm:16.0f}")


def section(name: str) -> RewardSection:
    """A reward with one part."""
    return RewardSection.model_validate({"type": "composite", "components": [{"name": name}]})


def numbers(place: int) -> Item:
    """An answer with a number."""
    return Item(
        f"{place} and {place} make {MARKERS.solution_start}{2 * place}{MARKERS.solution_end}",
        "",
        {"response": f"#### {2 * place}"},
    )


def expressions(place: int) -> Item:
    """An answer with an expression."""
    text = f"{MARKERS.solution_start}{place}(x+1)/2{MARKERS.solution_end}"
    return Item(text, "", {"response": rf"\frac{{{place}x + {place}}}{{2}}"})


def programs(place: int) -> Item:
    """An answer with a program."""
    return Item(f"```python\n# {place}\n{PROGRAM}```", "", TESTS)


def rate(reward: RewardSection, make: Callable[[int], Item], count: int) -> float:
    """Completions per second over ``count``, in batches of 64 as in training, after one batch to warm up."""
    score, items = compose(reward, MARKERS), [make(place) for place in range(count)]
    score.many(items[:64])
    started = time.perf_counter()
    for start in range(0, count, 64):
        score.many(items[start : start + 64])
    return count / (time.perf_counter() - started)


def scaling(count: int) -> tuple[float, float]:
    """Seconds for ``count`` programs at once: cold, and with the sandbox running (the best of three)."""
    tasks = [Task("tests", f"{PROGRAM}# {place}", hidden=TESTS) for place in range(count)]
    started = time.perf_counter()
    box = Sandbox()
    box.run(tasks)
    cold = time.perf_counter() - started
    times = []
    for _ in range(3):
        started = time.perf_counter()
        box.run(tasks)
        times.append(time.perf_counter() - started)
    box.close()
    return cold, min(times)


if __name__ == "__main__":
    main()
