"""Every reward and every ready-made combination. A new reward is a function and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.config import RewardComponent
from core.reward import Score
from core.rewards.exact import exact
from core.rewards.form import format_markers, length
from core.rewards.numeric import numeric


@dataclass(frozen=True)
class Param:
    """One setting of a reward.

    Attributes:
        type: ``integer``, ``number``, ``boolean`` or ``choice``.
        choices: For ``choice``: value and what it means, in the order to show.
        minimum, maximum: For numbers, both included.
    """

    name: str
    type: Literal["integer", "number", "boolean", "choice"]
    default: Any
    title: str
    description: str
    choices: tuple[tuple[str, str], ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, or None."""
        if self.type == "boolean":
            return None if isinstance(value, bool) else f"must be true or false (it is {value!r:.60})"
        if self.type == "choice":
            names = [name for name, _ in self.choices]
            return None if value in names else f"must be one of {', '.join(names)} (it is {value!r:.60})"
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole and (self.type == "integer" or not isinstance(value, float)):
            return f"must be a {'whole number' if self.type == 'integer' else 'number'} (it is {value!r:.60})"
        low, high = self.minimum, self.maximum
        if value != value or (low is not None and value < low) or (high is not None and value > high):
            return f"must be from {low:g} to {high:g} (it is {value!r:.60})"
        return None


@dataclass(frozen=True)
class RewardInfo:
    """A reward as the pages and ``GET /api/rewards/list`` describe it.

    Attributes:
        verifies: Whether it checks truth against the reference; False: 'checks form, not truth'.
        needs: Mapped columns that a row must have.
        function: See :class:`core.reward.RewardFunction`; also given ``markers`` and the params.
    """

    name: str
    title: str
    description: str
    verifies: bool
    needs: tuple[str, ...]
    params: tuple[Param, ...]
    function: Callable[..., Score]

    def json(self) -> dict[str, Any]:
        """JSON data, the function left out."""
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


@dataclass(frozen=True)
class Preset:
    """A ready-made combination."""

    name: str
    title: str
    description: str
    components: tuple[RewardComponent, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """Mapped columns that any of its parts needs."""
        return tuple(dict.fromkeys(need for part in self.components for need in CATALOGUE[part.name].needs))

    def json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "needs": list(self.needs),
            "verifies": any(CATALOGUE[part.name].verifies for part in self.components),
            "components": [part.model_dump(mode="json") for part in self.components],
        }


_REWARDS = (
    RewardInfo(
        "numeric",
        "Right number",
        "Compares the number in the answer with the reference's, exactly: 1,000 = 1000.0 and 3/4 = 0.75. "
        "An answer that names several numbers earns nothing.",
        True,
        ("response",),
        (
            Param(
                "where",
                "choice",
                "auto",
                "Where the answer stands",
                "In which part of the text the number is looked for.",
                (
                    ("auto", "Between the solution markers, else in a box, else after ####"),
                    ("markers", "Between the solution markers only"),
                    ("boxed", r"In \boxed{…} only"),
                    ("hashes", "After #### only"),
                    ("anywhere", "As the first, else the last number of the text"),
                ),
            ),
            Param(
                "tolerance",
                "number",
                0,
                "Tolerance",
                "Largest difference that still counts as right. 0 wants the same number.",
                minimum=0,
                maximum=1e12,
            ),
        ),
        numeric,
    ),
    RewardInfo(
        "exact",
        "Same text",
        "Compares the answer with the reference word for word. White space never counts.",
        True,
        ("response",),
        (
            Param(
                "where",
                "choice",
                "auto",
                "Where the answer stands",
                "Which part of the text is compared.",
                (
                    ("auto", "Between the solution markers, or the whole text where there are none"),
                    ("markers", "Between the solution markers only"),
                    ("whole", "The whole text"),
                ),
            ),
            Param("ignore_case", "boolean", True, "Capitals do not count", "Paris and PARIS are the same."),
            Param(
                "ignore_punctuation",
                "boolean",
                True,
                "Punctuation does not count",
                "'Paris.' and 'Paris' are the same. Minus signs and decimal points always count.",
            ),
            Param(
                "ignore_articles", "boolean", False, "Articles do not count", "'the Seine' and 'Seine' are the same."
            ),
        ),
        exact,
    ),
    RewardInfo(
        "format",
        "Right form (markers)",
        "Checks that the markers are there, once and in order, with a solution inside. Some of them earn a part. "
        "Says nothing about whether the answer is right.",
        False,
        (),
        (
            Param(
                "require",
                "choice",
                "all",
                "Which markers",
                "Which markers an answer needs.",
                (
                    ("all", "Working-out and solution markers"),
                    ("solution", "Solution markers only"),
                ),
            ),
        ),
        format_markers,
    ),
    RewardInfo(
        "length",
        "Right length",
        "Full score inside a wanted length, less the further outside. Says nothing about whether the answer is right.",
        False,
        (),
        (
            Param(
                "unit",
                "choice",
                "words",
                "Counted in",
                "What is counted.",
                (("words", "Words"), ("characters", "Characters")),
            ),
            Param("minimum", "integer", 10, "Shortest", "Shorter answers earn less.", minimum=0, maximum=1_000_000),
            Param("maximum", "integer", 200, "Longest", "Longer answers earn less.", minimum=1, maximum=1_000_000),
            Param(
                "fall_off",
                "integer",
                100,
                "Margin",
                "How far outside the wanted length the score reaches 0.",
                minimum=1,
                maximum=1_000_000,
            ),
        ),
        length,
    ),
)
CATALOGUE: dict[str, RewardInfo] = {info.name: info for info in _REWARDS}

_PRESETS = (
    Preset(
        "math",
        "Mathematics",
        "The right number counts 1, the right form 0.2. For GSM8K and other tasks with a number as their answer.",
        (
            RewardComponent(name="numeric", weight=1.0),
            RewardComponent(name="format", weight=0.2),
        ),
    ),
    Preset(
        "short_answer",
        "Short answer",
        "The same text as the reference counts 1, the right form 0.2. For names, choices and single words.",
        (
            RewardComponent(name="exact", weight=1.0),
            RewardComponent(name="format", weight=0.2),
        ),
    ),
    Preset(
        "arithmetic",
        "Arithmetic",
        "The right number counts 1, the solution markers 0.2. No working-out is asked for.",
        (
            RewardComponent(name="numeric", weight=1.0),
            RewardComponent(name="format", weight=0.2, params={"require": "solution"}),
        ),
    ),
)
PRESETS: dict[str, Preset] = {preset.name: preset for preset in _PRESETS}
