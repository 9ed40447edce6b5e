"""Paired evaluation: compares two models' answers to the same prompts, in words and numbers.

A claim (*better* or *worse*) needs both tests of :mod:`core.statistics` to agree: the bootstrap interval of the mean
difference excludes 0, and the exact sign-flip test is significant. Everything else is *not enough evidence*, with the
smallest difference that this many questions usually show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from core.config import DatasetSection, RewardSection, RolloutEngine
from core.job import JobKind
from core.job_rows import AnswerRow, GroupRow
from core.statistics import (
    LEVEL,
    ROUNDING,
    bootstrap_means,
    decimals,
    fewest_changes,
    mcnemar,
    share_interval,
    sign_flip,
    smallest_effect,
)

EXAMPLES = 5
"""Most examples of each kind in a report."""
MOST_MODELS = 6
MOST_PROMPTS = 5000


class PairedVerdict(StrEnum):
    """The verdict on the second model compared with the first."""

    BETTER = "better"
    WORSE = "worse"
    NOT_ENOUGH = "not enough evidence"


@dataclass(frozen=True)
class Answered:
    """One answer of one model.

    Attributes:
        instruction, reference: The question and its reference answer, for showing.
        text: The answer.
        total: Its reward; None if nothing was scored.
        components: Each part's score by name, in [0, 1].
        solved: Whether it earned the highest possible reward; None if nothing was scored.
    """

    instruction: str
    reference: str
    text: str
    total: float | None
    components: Mapping[str, float]
    solved: bool | None

    @classmethod
    def read(cls, group: GroupRow, best: float | None) -> Answered:
        """From a line of ``completions.jsonl`` with one completion.

        Args:
            best: The highest possible reward; None if nothing was scored.
        """
        answer = group["completions"][0]
        total = answer.get("total")
        return cls(
            instruction=str(group["instruction"]),
            reference=str(group.get("reference") or ""),
            text=str(answer["text"]),
            total=total,
            components={
                name: part["score"]
                for name, part in (answer.get("components") or {}).items()
                if part["score"] is not None
            },
            solved=None if total is None or best is None else total >= best - ROUNDING,
        )


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Compared(_Frozen):
    """Each model's mean, the second's minus the first's, and the interval of that difference."""

    first: float
    second: float
    difference: float
    low: float
    high: float


class Wins(_Frozen):
    """Answers that scored higher than the other model's to the same prompt.

    Attributes:
        second, first: Prompts won by each model; the others are ties.
        rate: The second model's share of those that are no ties.
        low, high: Its exact interval, at the report's level.
    """

    second: int
    first: int
    rate: float
    low: float
    high: float


class Example(_Frozen):
    """One prompt, both answers and their rewards."""

    instruction: str
    reference: str
    before: str
    after: str
    before_score: float
    after_score: float


class PairedReport(_Frozen):
    """The result of a paired comparison.

    Attributes:
        first, second: The models' names.
        verdict, sentence: The verdict on the second model, as a value and as a sentence.
        pairs: Prompts that both answered and that were scored.
        level: Level of the intervals: 0.95, higher if several models are compared with the first.
        score: The reward.
        components: Each part's score.
        solved: The share of answers with the highest possible reward.
        p_value: p-value of the sign-flip test on the reward.
        only_first, only_second: Prompts that only one model solved.
        both, neither: Prompts that both solved, and that neither solved.
        mcnemar: p-value of McNemar's exact test on those that only one solved.
        wins: How often the second model's answer scored higher than the first's; None if every prompt was a tie,
            and in older reports.
        smallest_effect: The smallest difference in reward that this many prompts would have shown in four of
            five cases; None if they could have shown none.
        improved, worsened: The prompts whose reward changed most, at most :data:`EXAMPLES` of each.
    """

    first: str
    second: str
    verdict: PairedVerdict
    sentence: str
    pairs: int
    level: float
    score: Compared
    components: dict[str, Compared]
    solved: Compared
    p_value: float
    only_first: int
    only_second: int
    both: int
    neither: int
    mcnemar: float
    wins: Wins | None = None
    smallest_effect: float | None
    improved: tuple[Example, ...]
    worsened: tuple[Example, ...]


class RunEvaluation(_Frozen):
    """``evaluation.json`` of a run: its held-out answers before the first step compared with those at the end."""

    step: int
    report: PairedReport


class EvaluationResult(_Frozen):
    """``result.json`` of an evaluation: each other model compared with the first."""

    reports: tuple[PairedReport, ...]


class Asked(_Frozen):
    """One model of an evaluation.

    Attributes:
        label: Its name.
        model_path: Its reference: a base model's name, ``session:<id>``, ``export:<id>/<file>``.
        resolved: What is loaded: ``{"kind": "transformers", "base", "adapter"}`` or ``{"kind": "gguf", "path"}``.
    """

    label: str
    model_path: str
    resolved: dict[str, Any]


class EvaluationSpec(_Frozen):
    """``config.json`` of an evaluation: several models, the same prompts.

    Attributes:
        name: Its name.
        models: The models; each other one is compared with the first.
        source: Description of the prompts' source.
        session_id: The run whose held-out rows they are, or ''.
        dataset: System prompt, markers and chat template; without given prompts, also where to read them from.
        limit: Maximum number of prompts.
        reward: What scores the answers; None for none.
        best: The highest possible reward; None without a reward.
        max_new_tokens: Longest answer.
        temperature: 0 always picks the most likely token (greedy), so that differences are not due to chance.
        top_p, seed: Sampling settings, without effect when greedy.
        rollout_engine: As ``training.rollout_engine``: the engine for a base model or an adapter on a CPU.
    """

    kind: JobKind = JobKind.EVALUATION
    name: str
    created_at: str = ""
    models: tuple[Asked, ...] = Field(min_length=1, max_length=MOST_MODELS)
    source: str
    session_id: str = ""
    dataset: DatasetSection
    limit: int = Field(64, ge=1, le=MOST_PROMPTS)
    reward: RewardSection | None = None
    best: float | None = None
    max_new_tokens: int = Field(256, ge=1, le=8192)
    temperature: float = Field(0.0, ge=0, le=5)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    rollout_engine: RolloutEngine = "auto"


def reports(spec: EvaluationSpec, groups: Iterable[AnswerRow]) -> list[PairedReport]:
    """Each model of an evaluation compared with the first, on the prompts that both have answered so far.

    Args:
        groups: Lines of its ``completions.jsonl``, with ``model`` and ``place``.
    """
    found: dict[int, dict[int, Answered]] = {}
    for group in groups:
        found.setdefault(group["model"], {})[group["place"]] = Answered.read(group, spec.best)
    first, others = found.get(0, {}), range(1, len(spec.models))
    made = [
        paired_report(
            [(first[place], found[other][place]) for place in sorted(first) if place in found[other]],
            first=spec.models[0].label,
            second=spec.models[other].label,
            comparisons=len(others),
        )
        for other in others
        if other in found
    ]
    return [report for report in made if report is not None]


def paired_report(
    pairs: Iterable[tuple[Answered, Answered]],
    *,
    first: str,
    second: str,
    comparisons: int = 1,
    seed: int = 0,
) -> PairedReport | None:
    """Compare two models' answers to the same prompts.

    Args:
        pairs: (first model's answer, second model's answer) to each prompt; those without a score are left out.
        first, second: Their names.
        comparisons: How many models are compared with the first. The chance of a false claim is shared
            between them (Bonferroni), so that it is 5% for all together.
        seed: Seed of the resampling.

    Returns:
        None if no pair was scored.
    """
    scored = [pair for pair in pairs if pair[0].total is not None and pair[1].total is not None]
    if not scored:
        return None
    level = 1 - (1 - LEVEL) / max(1, comparisons)
    names = [name for name in scored[0][0].components if all(name in one.components for pair in scored for one in pair)]
    score, solved, *parts = _compared(
        scored, [_total, _solved, *(_part(name) for name in names)], level=level, seed=seed
    )
    differences = [_total(after) - _total(before) for before, after in scored]
    p_value = sign_flip(differences, seed)
    smallest = smallest_effect(differences, level=level)
    counts = {(a, b): sum((bool(x.solved), bool(y.solved)) == (a, b) for x, y in scored) for a, b in _OUTCOMES}
    verdict = _verdict(score, p_value, level)
    return PairedReport(
        first=first,
        second=second,
        verdict=verdict,
        sentence=_sentence(verdict, score, differences, (first, second), level, smallest),
        pairs=len(scored),
        level=level,
        score=score,
        components=dict(zip(names, parts, strict=True)),
        solved=solved,
        p_value=p_value,
        only_first=counts[True, False],
        only_second=counts[False, True],
        both=counts[True, True],
        neither=counts[False, False],
        mcnemar=mcnemar(counts[True, False], counts[False, True]),
        wins=_wins(differences, level),
        smallest_effect=smallest,
        improved=_examples(scored, 1),
        worsened=_examples(scored, -1),
    )


def run_pairs(groups: Iterable[GroupRow], best: float, step: int | None = None) -> list[tuple[Answered, Answered]]:
    """A run's held-out answers before its first step, each paired with that of its last evaluation.

    Args:
        groups: Lines of its ``completions.jsonl``. Repeated rows of later attempts replace earlier ones.
        best: The highest possible reward.
        step: Pair with the evaluation of this step instead, if there was one in training.
    """
    found: dict[str, dict[tuple[str, int], Answered]] = {"before": {}, "end": {}, "at_step": {}}
    ended = None
    seen: dict[tuple[Any, ...], int] = {}
    for group in groups:
        when = str(group.get("when"))
        if step is not None and when == "interval" and group.get("step") == step:
            when = "at_step"
        ended = group.get("step") if when == "end" else ended
        if group.get("phase") == "evaluation" and when in found:
            # A dataset may repeat a question: the n-th occurrences are paired.
            counted = (when, group.get("attempt"), group["prompt"])
            seen[counted] = seen.get(counted, 0) + 1
            found[when][str(group["prompt"]), seen[counted]] = Answered.read(group, best)
    before, end = found["before"], found["end"] if step == ended else found["at_step"] or found["end"]
    return [(before[key], end[key]) for key in before if key in end]


_OUTCOMES = [(a, b) for a in (True, False) for b in (True, False)]


def _total(answer: Answered) -> float:
    return float(answer.total or 0.0)


def _solved(answer: Answered) -> float:
    return float(bool(answer.solved))


def _part(name: str) -> Callable[[Answered], float]:
    return lambda answer: float(answer.components[name])


def _compared(
    pairs: Sequence[tuple[Answered, Answered]],
    measures: Sequence[Callable[[Answered], float]],
    *,
    level: float,
    seed: int,
) -> list[Compared]:
    """Each measure's means and interval, all on the same resamples."""
    before = [[measure(first) for first, _ in pairs] for measure in measures]
    after = [[measure(second) for _, second in pairs] for measure in measures]
    moved = [[b - a for a, b in zip(x, y, strict=True)] for x, y in zip(before, after, strict=True)]
    low, high = bootstrap_means(moved, seed, level=level)
    return [
        Compared(first=_mean(x), second=_mean(y), difference=_mean(d), low=_plain(under), high=_plain(over))
        for x, y, d, under, over in zip(before, after, moved, low, high, strict=True)
    ]


def _wins(differences: Sequence[float], level: float) -> Wins | None:
    second = sum(one > ROUNDING for one in differences)
    first = sum(one < -ROUNDING for one in differences)
    if not second + first:
        return None
    low, high = share_interval(second, second + first, level=level)
    return Wins(second=second, first=first, rate=second / (second + first), low=low, high=high)


def _mean(values: Sequence[float]) -> float:
    return _plain(sum(values) / len(values))


def _plain(value: float) -> float:
    """Without floating-point noise, so that 0.875 is rounded the same everywhere."""
    return round(float(value), 9) + 0.0


def _verdict(score: Compared, p_value: float, level: float) -> PairedVerdict:
    if p_value > 1 - level + ROUNDING:
        return PairedVerdict.NOT_ENOUGH
    if score.low > ROUNDING:
        return PairedVerdict.BETTER
    return PairedVerdict.WORSE if score.high < -ROUNDING else PairedVerdict.NOT_ENOUGH


def _sentence(
    verdict: PairedVerdict,
    score: Compared,
    differences: Sequence[float],
    names: tuple[str, str],
    level: float,
    smallest: float | None,
) -> str:
    first, second = names
    asked = f"{len(differences)} question{'' if len(differences) == 1 else 's'}"
    earned = (
        f"average reward {decimals(score.second)} vs. {decimals(score.first)}, difference {_moved(score.difference)} "
        f"({level * 100:.3g}% interval {_moved(score.low)} to {_moved(score.high)})."
    )
    if verdict is not PairedVerdict.NOT_ENOUGH:
        return f"{headed(second)} is {verdict} than {first} on {asked}: {earned}"
    changed = sum(abs(difference) > ROUNDING for difference in differences)
    found = f"No significant difference between {second} and {first} on {asked}: {earned}"
    return f"{found} {_why(changed, len(differences), level, smallest)}"


def headed(name: str) -> str:
    """The start of a sentence or heading: our words capitalized, user-given names unchanged."""
    return name[:1].upper() + name[1:] if name.startswith("the ") else name


def _moved(value: float) -> str:
    shown = decimals(value)
    return shown if shown.startswith("-") else f"+{shown}"


def _why(changed: int, asked: int, level: float, smallest: float | None) -> str:
    if not changed:
        return "Every answer scored the same with both models."
    needed = fewest_changes(level)
    if smallest is None or changed < needed:
        scores = "1 score" if changed == 1 else f"{changed} scores"
        return (
            f"Only {scores} changed, and at least {needed} must change for a significant difference. Evaluate on more "
            "questions."
        )
    return (
        f"With {asked} questions, differences of {decimals(smallest)} or more are usually detected. Evaluate on more "
        "questions to detect smaller ones."
    )


def _examples(pairs: Sequence[tuple[Answered, Answered]], sign: int) -> tuple[Example, ...]:
    """The prompts that changed most in one direction (1 up, -1 down), largest change first."""
    moved = [(sign * (_total(after) - _total(before)), before, after) for before, after in pairs]
    furthest = sorted((one for one in moved if one[0] > ROUNDING), key=lambda one: -one[0])[:EXAMPLES]
    return tuple(
        Example(
            instruction=before.instruction,
            reference=before.reference,
            before=before.text,
            after=after.text,
            before_score=_total(before),
            after_score=_total(after),
        )
        for _, before, after in furthest
    )
