"""Metadata of a reward: name, settings, requirements, whether it checks correctness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.reward import Item, Score

BatchFunction = Callable[..., list[Score]]
"""A reward on many completions: (items, *, markers, **params) to one score per item, in order."""


@dataclass(frozen=True)
class Param:
    """One setting of a reward.

    Attributes:
        type: ``integer``, ``number``, ``boolean``, ``choice`` or ``text``.
        choices: For ``choice``: value and meaning, in display order.
        minimum, maximum: For numbers, inclusive; for text, its length.
        required: For text: whether it must not be empty.
        suggests: What a page offers to choose from: ``reward_runs`` for runs that trained a reward model; '' for nothing.
    """

    name: str
    type: Literal["integer", "number", "boolean", "choice", "text"]
    default: Any
    title: str
    description: str
    choices: tuple[tuple[str, str], ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False
    suggests: str = ""

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, or None."""
        if self.type == "boolean":
            return None if isinstance(value, bool) else f"must be true or false (it is {value!r:.60})"
        if self.type == "choice":
            names = [name for name, _ in self.choices]
            return None if value in names else f"must be one of {', '.join(names)} (it is {value!r:.60})"
        if self.type == "text":
            return self._text_problem(value)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole and (self.type == "integer" or not isinstance(value, float)):
            return f"must be a {'whole number' if self.type == 'integer' else 'number'} (it is {value!r:.60})"
        low, high = self.minimum, self.maximum
        if value != value or (low is not None and value < low) or (high is not None and value > high):
            return f"must be from {low:g} to {high:g} (it is {value!r:.60})"
        return None

    def _text_problem(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return f"must be text (it is {value!r:.60})"
        if self.required and not value.strip():
            return "must not be empty"
        return (
            f"must be at most {self.maximum:g} characters long" if self.maximum and len(value) > self.maximum else None
        )


@dataclass(frozen=True)
class Decision:
    """How a reward's settings are resolved for a dataset.

    Attributes:
        params: Settings that replace the unresolved ones.
        words: One or two sentences for a user.
    """

    params: dict[str, Any]
    words: str


@dataclass(frozen=True)
class RewardInfo:
    """A reward as the pages and ``GET /api/rewards/list`` describe it.

    Attributes:
        verifies: Whether it checks correctness against the reference; False: "Doesn't check correctness".
        needs: Mapped columns that a row must have.
        function: See :class:`core.reward.RewardFunction`; also given ``markers`` and the params.
        batch: The same on many completions, if that is faster: sandbox, embedding, judge.
        family: Heading in the list.
        check: Problems between params, as (param, fix).
        decide: Resolves params by a dataset's rows: once for all of them, never per row.
        thought: Whether it reads the whole completion. Others get the text outside the model's reasoning, and earn
            nothing if the reasoning never ends.
    """

    name: str
    title: str
    description: str
    verifies: bool
    needs: tuple[str, ...]
    params: tuple[Param, ...]
    function: Callable[..., Score]
    batch: BatchFunction | None = None
    family: str = "Answers"
    check: Callable[[dict[str, Any]], tuple[str, str] | None] | None = None
    decide: Callable[[Sequence[Mapping[str, Any]], Mapping[str, Any]], Decision | None] | None = None
    thought: bool = False

    @property
    def badge(self) -> str:
        """What it checks, in a few words; unknown for custom code."""
        if self.verifies:
            return "Checks the answer"
        return {"Judges": "Opinion", "Custom": "Custom rule"}.get(self.family, "Doesn't check correctness")

    def json(self) -> dict[str, Any]:
        """JSON data, without the function."""
        params = [
            asdict(param) | {"choices": [{"value": v, "title": t} for v, t in param.choices]} for param in self.params
        ]
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "verifies": self.verifies,
            "needs": list(self.needs),
            "params": params,
        }


def one_of(batch: BatchFunction) -> Callable[..., Score]:
    """A batch reward as a function of one completion."""

    def single(completion: str, prompt: str, row: Any, **params: Any) -> Score:
        return batch([Item(completion, prompt, row)], **params)[0]

    single.__doc__ = batch.__doc__
    return single
