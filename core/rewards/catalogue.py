"""Every reward and every ready-made combination. A new reward is a function and an entry in its family's file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.config import RewardComponent
from core.rewards import (
    answers_qa,
    choices,
    citations,
    code,
    judge,
    lengths,
    maths,
    own,
    quantities,
    reasoning,
    reward_model,
    signals,
    structure,
    summaries,
    writing,
)
from core.rewards.exact import exact
from core.rewards.form import format_markers, length
from core.rewards.info import Param, RewardInfo
from core.rewards.numeric import NUMBER_STYLE, numeric

__all__ = ["CATALOGUE", "PRESETS", "Param", "Preset", "RewardInfo"]


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
            *NUMBER_STYLE,
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
        thought=True,
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
        thought=True,
    ),
)
_FAMILIES = (
    signals,
    maths,
    choices,
    quantities,
    code,
    reasoning,
    answers_qa,
    summaries,
    writing,
    citations,
    structure,
    lengths,
    own,
    judge,
    reward_model,
)
CATALOGUE: dict[str, RewardInfo] = {
    info.name: info for info in (*_REWARDS, *(info for family in _FAMILIES for info in family.INFOS))
}

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
        "algebra",
        "Mathematics with expressions",
        "The right number or expression counts 1, the right form 0.2. For competition mathematics with answers such as x/2 + 1.",
        (RewardComponent(name="math", weight=1.0), RewardComponent(name="format", weight=0.2)),
    ),
    Preset(
        "multiple_choice",
        "Multiple choice",
        "The right letter counts 1, the solution markers 0.2.",
        (RewardComponent(name="choice"), RewardComponent(name="format", weight=0.2, params={"require": "solution"})),
    ),
    Preset(
        "code",
        "Programs",
        "The share of tests passed counts 1, a program that parses 0.1. Programs run in the sandbox.",
        (RewardComponent(name="code"), RewardComponent(name="syntax", weight=0.1)),
    ),
    Preset(
        "question_answering",
        "Question answering",
        "Words shared with the reference count 1, the solution markers 0.2.",
        (RewardComponent(name="token_f1"), RewardComponent(name="format", weight=0.2, params={"require": "solution"})),
    ),
    Preset(
        "summary",
        "Summaries",
        "Likeness to the reference counts 1, a length budget 0.3, its own words 0.2.",
        (
            RewardComponent(name="rouge_l"),
            RewardComponent(name="budget", weight=0.3),
            RewardComponent(name="own_words", weight=0.2),
        ),
    ),
    Preset(
        "reasoning_gym",
        "reasoning-gym",
        "Each task's own checker counts 1, the solution markers 0.2.",
        (
            RewardComponent(name="reasoning_gym"),
            RewardComponent(name="format", weight=0.2, params={"require": "solution"}),
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
