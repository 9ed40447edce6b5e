"""The cost of scoring: requests to a judge or a reward model, their tokens, and money if a price is known."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Spent:
    """What was asked of judges and reward models.

    Attributes:
        requests: Answers that a model judged.
        cached: Answers whose score was remembered.
        failed: Answers that received no score.
        tokens: Read and written by the judging models.
        cost: By the price that was given, in the user's currency; 0 without one.
    """

    requests: int = 0
    cached: int = 0
    failed: int = 0
    tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(**{name: value + asdict(other)[name] for name, value in asdict(self).items()})

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    def row(self) -> dict[str, Any]:
        """As fields of a metric row, ``judge_requests`` and so on; empty if nothing was asked.

        >>> Spent(requests=2, tokens=900).row()
        {'judge_requests': 2, 'judge_cached': 0, 'judge_failed': 0, 'judge_tokens': 900, 'judge_cost': 0.0}
        >>> Spent().row()
        {}
        """
        return {f"judge_{name}": value for name, value in asdict(self).items()} if self else {}

    def words(self) -> str:
        """One sentence for a user; empty if nothing was asked.

        >>> Spent(requests=3, cached=1, tokens=1200, cost=0.0024).words()
        'The judge was called 3 times (1 more from the cache): 1,200 tokens, 0.0024, in the currency of your price.'
        """
        if not self:
            return ""
        known = f" ({self.cached} more from the cache)" if self.cached else ""
        failed = f" {self.failed} received no score." if self.failed else ""
        cost = f", {self.cost:.4g}, in the currency of your price" if self.cost else ", no price given"
        times = "once" if self.requests == 1 else f"{self.requests} times"
        return f"The judge was called {times}{known}: {self.tokens:,} tokens{cost}.{failed}"


class Account:
    """Adds up what is spent; safe from several threads."""

    def __init__(self) -> None:
        self.spent = Spent()
        self._lock = threading.Lock()

    def add(self, spent: Spent) -> None:
        with self._lock:
            self.spent = self.spent + spent

    def take(self) -> Spent:
        """What came together since the last time."""
        with self._lock:
            spent, self.spent = self.spent, Spent()
        return spent


_ACCOUNT: ContextVar[Account | None] = ContextVar("account", default=None)


@contextmanager
def charged_to(account: Account) -> Iterator[Account]:
    """What is scored inside, in this thread, is counted there too: an account inside another is counted in both."""
    outer = _ACCOUNT.get()
    before = account.spent
    token = _ACCOUNT.set(account)
    try:
        yield account
    finally:
        _ACCOUNT.reset(token)
        if outer is not None and outer is not account:
            outer.add(_difference(account.spent, before))


def _difference(after: Spent, before: Spent) -> Spent:
    return Spent(**{name: value - asdict(before)[name] for name, value in asdict(after).items()})


def charge(spent: Spent) -> None:
    """Called by a reward that had something judged."""
    account = _ACCOUNT.get()
    if account is not None:
        account.add(spent)
