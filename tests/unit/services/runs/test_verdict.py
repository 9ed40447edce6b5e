"""The verdict on a run, from its rows and other stored data."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import pytest

from core.config import dump, parse
from core.evaluation import Answered, PairedReport, paired_report
from core.job import JobState
from core.job_rows import MetricRow
from services.runs.diagnosis import Remedy
from services.runs.verdict import Action, Outcome, Stored, merge, verdict
from services.wizard.steps import STEP
from tests.conftest import tiny


def row_of(**values: Any) -> MetricRow:
    return cast("MetricRow", values)


def steps(rewards: list[float], **more: Any) -> list[MetricRow]:
    return [row_of(row=n, phase="training", step=n, reward=reward, **more) for n, reward in enumerate(rewards, 1)]


def held(reward: float, when: str, **more: Any) -> MetricRow:
    return row_of(row=0 if when == "before" else 99, phase="evaluation", step=0, when=when, reward=reward, **more)


def compared(before: list[float], after: list[float], best: float = 1.2) -> PairedReport:
    """A report as written at the end of a run."""

    def one(total: float) -> Answered:
        return Answered("q", "a", "t", total, {}, total >= best - 1e-9)

    pairs = [(one(a), one(b)) for a, b in zip(before, after, strict=True)]
    report = paired_report(pairs, first="the original model", second="the trained model")
    assert report is not None
    return report


def stored(config: dict[str, Any] | None = None, **more: Any) -> Stored:
    return Stored(dump(parse(config or tiny())), **{"best": 1.2, **more})


# --- running ---


def test_a_rising_reward_is_called_learning() -> None:
    """A reward that climbs well above its noise, with the maximum it can reach."""
    found = verdict(steps([0.1, 0.15, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.7]), JobState.RUNNING, stored())
    assert found.level == "good"
    assert found.headline == "It is learning. Reward from 0.12 to 0.67 of 1.20."


def test_zero_reward_is_explained_with_what_to_do() -> None:
    """A reward flat at zero is a problem, with the warm-up as first advice."""
    found = verdict(steps([0.0] * 8), JobState.RUNNING)
    assert (found.level, found.action) == ("problem", Action.STOP)
    assert "warm-up" in found.advice[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [({"cut_off": 0.8}, "cut off"), ({"groups_without_spread": 1.0}, "being learned"), ({"kl": 2.0}, "very far")],
)
def test_an_unhealthy_figure_comes_before_the_trend(more: dict[str, Any], words: str) -> None:
    """Truncated answers, groups without spread and drift are reported even while the reward rises."""
    found = verdict(steps([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], **more), JobState.RUNNING)
    assert found.level == "problem"
    assert words in found.headline


def test_all_solved_is_not_a_problem() -> None:
    """Groups without spread because everything is right are good news, and no reason to stop."""
    found = verdict(steps([1.2] * 8, groups_without_spread=1.0, solved=1.0), JobState.RUNNING)
    assert (found.level, found.action) == ("good", Action.NONE)


def test_few_steps_say_nothing_while_more_will_come() -> None:
    """Two steps are too few for a trend; in a finished run they are all there is."""
    rows = steps([0.0, 0.0], cut_off=1.0)
    assert "early" in verdict(rows, JobState.RUNNING).headline
    assert "cut off" in verdict(rows, JobState.STOPPED).headline


# --- finished ---


def test_a_finished_run_that_learned_nothing_says_so_and_what_to_change() -> None:
    """The headline is the verdict, with the largest reward and the right answers; Export is not primary."""
    report = compared([0.0, 0.0, 0.0, 0.02, 0.0], [0.0, 0.05, 0.0, 0.0, 0.0])
    found = verdict(steps([0.0, 0.01, 0.0, 0.01, 0.01, 0.0]), JobState.COMPLETED, stored(report=report))
    assert found.headline == "It did not learn this: reward 0.01 of 1.20, 0 of 5 right."
    assert (found.outcome, found.level, found.action) == (Outcome.NOT_LEARNED, "problem", Action.CHANGE)
    assert found.remedy is not None
    assert found.remedy.words == "a warm-up"
    assert "rule out chance" in " ".join(found.evidence).lower()
    assert found.brief == "did not learn this"


def test_a_finished_run_that_learned_offers_the_export() -> None:
    """Only if the held-out answers show it."""
    report = compared([0.0] * 12, [1.2] * 9 + [0.0] * 3)
    found = verdict(steps([0.1, 0.2, 0.4, 0.6, 0.8, 0.9]), JobState.COMPLETED, stored(report=report))
    assert found.headline == ("It learned this: reward from 0.00 to 0.90 of 1.20 on held-out questions, 9 of 12 right.")
    assert (found.outcome, found.action, found.remedy) == (Outcome.LEARNED, Action.EXPORT, None)


def test_too_few_held_out_answers_are_reported_in_the_headline() -> None:
    """A rise in training that five questions cannot confirm is not called learning."""
    report = compared([0.2, 0.2, 1.2, 0.2, 0.2], [1.2, 0.2, 1.2, 0.2, 1.2])
    found = verdict(steps([0.2, 0.3, 0.4, 0.5, 0.6, 0.7]), JobState.COMPLETED, stored(report=report))
    assert found.headline.startswith("Not enough evidence that it learned: reward from 0.40 to 0.80 of 1.20")
    assert (found.outcome, found.action) == (Outcome.NOT_ENOUGH, Action.EVALUATE)
    assert found.remedy is not None
    assert (found.remedy.words, found.remedy.changes[0].path, found.remedy.changes[0].value) == (
        "more held-out questions", "evaluation.holdout_fraction", 0.3,
    )  # fmt: skip


def test_all_that_is_held_out_is_asked_before_more_is_held_out() -> None:
    """If the limit of questions was reached, the limit is what changes."""
    config = {**tiny(), "evaluation": {"max_prompts": 5}}
    report = compared([0.2, 0.2, 1.2, 0.2, 0.2], [1.2, 0.2, 1.2, 0.2, 1.2])
    found = verdict(steps([0.2, 0.3, 0.4, 0.5, 0.6, 0.7]), JobState.COMPLETED, stored(config, report=report))
    assert found.remedy is not None
    assert [(change.path, change.value) for change in found.remedy.changes] == [("evaluation.max_prompts", 20)]


def test_a_run_that_made_it_worse_says_so() -> None:
    """The remedy is a lower learning rate."""
    report = compared([1.2] * 10, [0.2] * 9 + [1.2])
    found = verdict(steps([0.9, 0.8, 0.5, 0.3, 0.2, 0.2]), JobState.COMPLETED, stored(report=report))
    assert found.headline.startswith("It got worse: reward from 1.20 to 0.30 of 1.20")
    assert found.remedy is not None
    assert found.remedy.words == "a lower learning rate"


def test_unlearnable_answers_are_not_called_unclear() -> None:
    """Answers truncated until the end teach nothing, whatever the few held-out ones show."""
    report = compared([0.2] * 5, [0.2, 0.2, 0.2, 0.2, 1.2])
    found = verdict(steps([0.3] * 6, cut_off=0.88), JobState.COMPLETED, stored(report=report))
    assert found.headline == "It did not learn this: reward 0.40 of 1.20, 1 of 5 right."
    assert any("88% of the answers are cut off" in words for words in found.evidence)


def test_a_task_already_solved_leaves_little_to_learn() -> None:
    """If the base model solves everything, there is no gain to show."""
    rows = steps([1.2] * 6, groups_without_spread=1.0, solved=1.0)
    found = verdict(rows, JobState.COMPLETED, stored(report=compared([1.2] * 5, [1.2] * 5)))
    assert found.headline.startswith("There was little left to learn: reward from 1.20 to 1.20 of 1.20")
    assert found.remedy == Remedy("harder questions", step="dataset")


def test_a_run_of_before_the_reports_is_judged_by_its_rows() -> None:
    """The held-out rows show the progress and the right answers; without any, this is said."""
    rows = [
        held(0.1, "before", solved=0.0, samples=5),
        *steps([0.2, 0.3, 0.5, 0.6]),
        held(0.55, "end", solved=0.4, samples=5),
    ]
    found = verdict(rows, JobState.COMPLETED)
    assert found.headline == "It learned this: reward from 0.10 to 0.55 on held-out questions, 2 of 5 right."
    alone = verdict(steps([0.2, 0.3, 0.5, 0.6]), JobState.COMPLETED, stored())
    assert alone.headline == "It learned this: reward from 0.20 to 0.60 of 1.20 in training."
    assert "No questions were held out" in alone.evidence[0]


def test_a_run_without_a_step_is_no_success() -> None:
    """The verdict says so."""
    found = verdict([], JobState.COMPLETED)
    assert (found.outcome, found.action) == (Outcome.NOT_LEARNED, Action.FIX)


def test_missing_rows_are_not_mistaken_for_missing_steps() -> None:
    """The report and the worker's step count still apply; without either, nothing is claimed."""
    by_report = verdict([], JobState.COMPLETED, stored(report=compared([0.0] * 12, [1.2] * 12), step=6))
    assert by_report.outcome is Outcome.LEARNED
    assert "missing" in verdict([], JobState.COMPLETED, stored(step=6)).headline
    broken = verdict([], JobState.FAILED, stored(step=6, checkpoint=4))
    assert (broken.outcome, broken.action) == (Outcome.BROKEN, Action.RESUME)
    assert "step 6" in broken.headline


# --- stopped, failed, vanished ---


def test_a_stopped_run_keeps_its_diagnosis() -> None:
    """A new run is primary, with Resume beside it; without any problem, Resume is primary."""
    rows = steps([0.0] * 6, cut_off=0.88)
    found = verdict(rows, JobState.STOPPED, stored(tiny(max_new_tokens=40), checkpoint=6))
    assert found.headline.startswith("Stopped after step 6: 88% of the answers are cut off")
    assert (found.outcome, found.action, found.advice[-1]) == (
        Outcome.STOPPED, Action.CHANGE, "Resume continues from step 6.",
    )  # fmt: skip
    assert found.remedy is not None
    assert (found.remedy.words, [(c.path, c.value, c.was) for c in found.remedy.changes]) == (
        "longer answers",
        [("training.max_new_tokens", 160, 40), ("training.max_sequence_length", 248, 128)],
    )
    fine = verdict(steps([0.2, 0.3, 0.4]), JobState.STOPPED, stored(checkpoint=3))
    assert (fine.headline, fine.action) == ("Stopped after step 3. Reward from 0.20 to 0.40 of 1.20.", Action.RESUME)


def test_a_crash_says_what_was_kept_and_where_resume_starts() -> None:
    """It names the step that is saved; Resume is offered only with a checkpoint."""
    found = verdict(steps([0.1, 0.2]), JobState.CRASHED, stored(checkpoint=2))
    assert "step 2" in found.headline
    assert (found.outcome, found.action, found.advice[-1]) == (
        Outcome.BROKEN, Action.RESUME, "Resume continues from step 2.",
    )  # fmt: skip
    without = verdict(steps([0.1, 0.2]), JobState.CRASHED, stored())
    assert without.action is Action.FIX
    assert "No checkpoint was saved" in without.advice[-1]


def test_a_broken_run_keeps_its_diagnosis() -> None:
    """What the rows showed before the failure is still shown."""
    found = verdict(steps([0.0] * 6, cut_off=0.9), JobState.FAILED, stored(error="Too hot.", checkpoint=5))
    assert found.evidence[0] == "Too hot."
    assert "cut off" in found.evidence[1]
    assert found.remedy is not None


@pytest.mark.parametrize(
    ("error", "field", "step"),
    [
        ("It is away.", "model.name", "model"),
        ("Odd.", "training.batch_size", "configuration"),
        ("Odd.", "dataset.max_samples", "dataset"),
        ("Odd.", "reward.components", "reward"),
        ("There was not enough memory. Use a smaller model.", "", "configuration"),
        ("The model could not be fetched.", "", "model"),
        ("RuntimeError: odd.", "", "train"),
        (None, "", "train"),
    ],
)
def test_a_run_that_never_began_must_be_fixed(error: str | None, field: str, step: str) -> None:
    """At the wizard's step that the error is about; a score of the base model alone is not a step."""
    for rows in ([], [held(0.1, "before")]):
        found = verdict(rows, JobState.FAILED, stored(error=error, error_field=field))
        assert (found.outcome, found.action, found.step) == (Outcome.NEVER_BEGAN, Action.FIX, step)
        assert found.headline == "It failed before the first step."
        assert not any("Resume" in words for words in found.advice)
    assert found.step in STEP


# --- remedies ---


@pytest.mark.parametrize(
    ("rows", "config", "words"),
    [
        (steps([0.1] * 6, cut_off=0.6), tiny(), "longer answers"),
        (steps([0.0] * 6), tiny(), "a warm-up"),
        (steps([0.0] * 6), {**tiny(), "pre_training": {"enabled": True}}, "a longer warm-up"),
        (steps([0.0] * 6), {**tiny(), "pre_training": {"enabled": True, "max_samples": None}}, "a longer warm-up"),
        (steps([0.5] * 6, groups_without_spread=1.0), tiny(temperature=0.7), "a higher temperature"),
        (steps([0.5] * 6, groups_without_spread=1.0), tiny(), "more answers per question"),
        (steps([0.5] * 6, groups_without_spread=1.0), tiny(num_generations=16, batch_size=16), "a different reward"),
        (steps([0.5] * 6, kl=3.0), tiny(), "a lower learning rate"),
        (steps([0.1] * 6, solved=0.1), tiny(), "more steps"),
        (steps([0.1] * 6, solved=0.1), tiny(max_steps=300), "easier questions"),
    ],
)
def test_every_remedy_is_a_configuration_that_can_start(
    rows: list[MetricRow], config: dict[str, Any], words: str
) -> None:
    """The changes make a valid configuration that differs, or a step of the wizard is named instead."""
    found = verdict(rows, JobState.COMPLETED, stored(config))
    assert found.remedy is not None
    assert found.remedy.words == words
    changed = dump(parse(config))
    for change in found.remedy.changes:
        section, _, name = change.path.partition(".")
        assert changed[section][name] == change.was != change.value
        changed[section][name] = change.value
    parse(changed)
    assert found.remedy.changes or found.remedy.step in {"dataset", "reward"}


def test_no_verdict_fails_on_odd_rows() -> None:
    """Missing, mistyped or non-numeric figures are skipped in every state."""
    odd: list[Any] = [
        {"phase": "training", "step": 1}, {"phase": "training", "step": 2, "reward": None}, {"step": 3}, {},
        {"phase": "evaluation", "reward": "much"}, {"phase": "warm_up", "loss": None},
        *steps([0.1, 0.2], cut_off="x", solved=None, kl=[]),
    ]  # fmt: skip
    for state in JobState:
        for rows in ([], odd, odd[:5]):
            assert verdict(rows, state).headline


def test_repeated_steps_of_a_resume_replace_the_earlier_ones() -> None:
    """Of two rows with the same phase and step, the later one counts."""
    rows = merge([*steps([0.1, 0.2]), {"row": 3, "phase": "training", "step": 2, "reward": 0.3}])
    assert [row["reward"] for row in rows] == [0.1, 0.3]
    assert all(a["row"] <= b["row"] for a, b in pairwise(rows))
