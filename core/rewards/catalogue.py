"""Every reward and every built-in combination of them. A new reward is a function and an entry in its family's file."""

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
    """A built-in reward: components with weights."""

    name: str
    title: str
    description: str
    components: tuple[RewardComponent, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """Mapped columns that its parts need."""
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
        "Correct number",
        "Compares the number in the answer with the reference exactly: 1,000 = 1000.0 and 3/4 = 0.75. "
        "Answers with several numbers score 0.",
        True,
        ("response",),
        (
            Param(
                "where",
                "choice",
                "auto",
                "Where to look",
                "The part of the answer that is searched for the number.",
                (
                    ("auto", "Between the answer tags, then in \\boxed{}, then after ####"),
                    ("markers", "Between the answer tags only"),
                    ("boxed", r"In \boxed{…} only"),
                    ("hashes", "After #### only"),
                    ("anywhere", "All of these, then the last number in the text"),
                ),
            ),
            Param(
                "tolerance",
                "number",
                0,
                "Tolerance",
                "Largest difference that still counts as correct. 0 requires the same number.",
                minimum=0,
                maximum=1e12,
            ),
            *NUMBER_STYLE,
        ),
        numeric,
    ),
    RewardInfo(
        "exact",
        "Exact match",
        "Compares the answer with the reference word for word. White space is ignored.",
        True,
        ("response",),
        (
            Param(
                "where",
                "choice",
                "auto",
                "Where to look",
                "The part of the answer that is compared.",
                (
                    ("auto", "Between the answer tags, or the whole text if there are none"),
                    ("markers", "Between the answer tags only"),
                    ("whole", "The whole text"),
                ),
            ),
            Param("ignore_case", "boolean", True, "Ignore case", "Paris and PARIS are the same."),
            Param(
                "ignore_punctuation",
                "boolean",
                True,
                "Ignore punctuation",
                "'Paris.' and 'Paris' are the same. Minus signs and decimal points are never ignored.",
            ),
            Param("ignore_articles", "boolean", False, "Ignore articles", "'the Seine' and 'Seine' are the same."),
        ),
        exact,
    ),
    RewardInfo(
        "format",
        "Answer format (tags)",
        "Checks that the answer tags appear once and in order, with an answer inside. Partial credit if some are missing. "
        "Does not check whether the answer is correct.",
        False,
        (),
        (
            Param(
                "require",
                "choice",
                "all",
                "Required tags",
                "The tags an answer must have.",
                (
                    ("all", "Reasoning and answer tags"),
                    ("solution", "Answer tags only"),
                ),
            ),
        ),
        format_markers,
        thought=True,
    ),
    RewardInfo(
        "length",
        "Length",
        "Full score within a length range, less the further the answer is outside it. Does not check whether the answer is correct.",
        False,
        (),
        (
            Param(
                "unit",
                "choice",
                "words",
                "Unit",
                "What the length is measured in.",
                (("words", "Words"), ("characters", "Characters")),
            ),
            Param(
                "minimum", "integer", 10, "Minimum length", "Shorter answers score less.", minimum=0, maximum=1_000_000
            ),
            Param(
                "maximum", "integer", 200, "Maximum length", "Longer answers score less.", minimum=1, maximum=1_000_000
            ),
            Param(
                "fall_off",
                "integer",
                100,
                "Margin",
                "How far outside the range the score reaches 0.",
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
        "Math",
        "Correct number: 1 point. Answer tags: 0.2. For GSM8K and other tasks whose answer is a number.",
        (
            RewardComponent(name="numeric", weight=1.0),
            RewardComponent(name="format", weight=0.2),
        ),
    ),
    Preset(
        "short_answer",
        "Short answer",
        "Exact match: 1 point. Answer tags: 0.2. For labels, names, and single words.",
        (
            RewardComponent(name="exact", weight=1.0),
            RewardComponent(name="format", weight=0.2),
        ),
    ),
    Preset(
        "algebra",
        "Math expressions",
        "Correct number or expression: 1 point. Answer tags: 0.2. For competition math with answers such as x/2 + 1.",
        (RewardComponent(name="math", weight=1.0), RewardComponent(name="format", weight=0.2)),
    ),
    Preset(
        "multiple_choice",
        "Multiple choice",
        "Correct choice: 1 point. Answer tags: 0.2.",
        (RewardComponent(name="choice"), RewardComponent(name="format", weight=0.2, params={"require": "solution"})),
    ),
    Preset(
        "code",
        "Programs",
        "Share of tests passed: up to 1 point. Valid Python: 0.1. Programs run in the sandbox.",
        (RewardComponent(name="code"), RewardComponent(name="syntax", weight=0.1)),
    ),
    Preset(
        "question_answering",
        "Question answering",
        "Words shared with the reference: up to 1 point. Answer tags: 0.2.",
        (RewardComponent(name="token_f1"), RewardComponent(name="format", weight=0.2, params={"require": "solution"})),
    ),
    Preset(
        "summary",
        "Summaries",
        "Similar wording to the reference: up to 1 point. Length budget: 0.3. In its own words: 0.2.",
        (
            RewardComponent(name="rouge_l"),
            RewardComponent(name="budget", weight=0.3),
            RewardComponent(name="own_words", weight=0.2),
        ),
    ),
    Preset(
        "reasoning_gym",
        "reasoning-gym",
        "The task's own checker: 1 point. Answer tags: 0.2.",
        (
            RewardComponent(name="reasoning_gym"),
            RewardComponent(name="format", weight=0.2, params={"require": "solution"}),
        ),
    ),
    Preset(
        "arithmetic",
        "Arithmetic",
        "Correct number: 1 point. Answer tags: 0.2. No reasoning required.",
        (
            RewardComponent(name="numeric", weight=1.0),
            RewardComponent(name="format", weight=0.2, params={"require": "solution"}),
        ),
    ),
)
PRESETS: dict[str, Preset] = {preset.name: preset for preset in _PRESETS}
