"""The verdict on a run whose method has no reward, from its losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

import core.methods
from core.config import dump, parse
from core.job import JobPhase, JobState
from core.job_rows import MetricRow
from core.kept import Kept
from core.methods.grpo import GRPO
from services.runs.diagnosis import Remedy, changed
from services.runs.verdict import Action, Outcome, RunVerdict, Stored, merge, verdict
from tests.conftest import tiny
from tests.support.second_method import COPY, install

FALLING = [2.4, 2.2, 2.0, 1.6, 1.4, 1.2, 1.1, 1.0, 0.9]
FLAT = [2.3, 2.4, 2.3, 2.4, 2.3, 2.4, 2.3, 2.4, 2.3]
WIDE = replace(
    COPY, shows=("model.*", "dataset.*", "evaluation.*", *(
        f"training.{name}" for name in ("batch_size", "max_steps", "num_epochs", "learning_rate")
    )),
)  # fmt: skip
"""The second method with the settings that remedies change."""


@pytest.fixture(autouse=True)
def copying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a method without a reward."""
    install(monkeypatch)
    monkeypatch.setattr(core.methods, "METHODS", (GRPO, WIDE))


def row_of(**values: Any) -> MetricRow:
    return cast("MetricRow", values)


def steps(losses: Sequence[float | None], **more: Any) -> list[MetricRow]:
    """A row per step; no loss means that it was not finite."""
    known = [{} if loss is None else {"loss": loss} for loss in losses]
    return [row_of(row=n, phase="training", step=n, **one, **more) for n, one in enumerate(known, 1)]


def held(*points: tuple[int, float], samples: int = 32) -> list[MetricRow]:
    """Held-out losses by step: the first before training, the last at its end."""
    whens = ["before", *["interval"] * (len(points) - 2), "end"]
    return [
        row_of(row=100 + step, phase="evaluation", step=step, when=when, loss=loss, samples=samples)
        for when, (step, loss) in zip(whens, points, strict=False)
    ]


def config_of(evaluation: dict[str, Any] | None = None, **training: Any) -> dict[str, Any]:
    given = {**tiny(), "method": "imitate", "imitate": {}, "evaluation": evaluation or {}}
    given["training"] = {"max_steps": 9, "learning_rate": 2e-4, **training}
    del given["reward"]
    given.pop("grpo", None)
    return given


def judged(rows: list[MetricRow], state: JobState = JobState.COMPLETED, **more: Any) -> RunVerdict:
    config = more.pop("config", None) or config_of()
    return verdict(rows, state, Stored(dump(parse(config)), **more))


# --- running ---


@pytest.mark.parametrize(
    ("rows", "level", "headline"),
    [
        (held((0, 2.3)), "calm", "Preparing: loading the model and the data."),
        (steps([2.0, 1.9]), "calm", "Too early to tell: 2 of the first 5 steps done."),
        (steps(FALLING), "good", "The loss is falling. Training loss from 2.20 to 1.00."),
        (steps(FLAT), "calm", "No clear trend yet. Training loss from 2.33 to 2.33."),
        (steps(FALLING[::-1]), "watch", "The training loss is rising. Training loss from 1.00 to 2.20."),
        (
            [*steps(FALLING), *held((0, 2.31), (5, 1.12))], "good",
            "It is learning: the loss on 32 held-out rows fell from 2.31 to 1.12.",
        ),
        (
            [*steps(FLAT), *held((0, 1.0), (9, 1.5))], "watch",
            "It is getting worse: the loss on 32 held-out rows rose from 1.00 to 1.50.",
        ),
        (
            [*steps(FALLING), *held((0, 2.0), (3, 1.2), (7, 1.6))], "watch",
            ("It is overfitting: the loss on 32 held-out rows was lowest at step 3 (1.20) and has risen to 1.60 since, "
            "while the training loss has not."),
        ),
        (
            steps([2.0, 1.9, 1.8, None, None]), "problem",
            "The loss is no longer a finite number, so the model stopped learning.",
        ),
    ],
)  # fmt: skip
def test_a_running_run_is_judged_by_its_losses(rows: list[MetricRow], level: str, headline: str) -> None:
    """Based on held-out rows first, then on training rows."""
    found = judged(rows, JobState.RUNNING)
    assert (found.outcome, found.level, found.headline) == (Outcome.UNDER_WAY, level, headline)


def test_the_first_evaluation_is_named_correctly() -> None:
    """Nothing is scored in such a run."""
    found = verdict([], JobState.RUNNING, Stored(config_of()), JobPhase.EVALUATE)
    assert found.headline == "Measuring the loss on held-out rows for comparison."


def test_gradients_explode_only_where_the_loss_suffers() -> None:
    """A large gradient is clipped; only a rising loss makes it a problem."""
    norms = [1.0] * 6 + [500.0] * 3
    rising = [{**row, "grad_norm": norm} for row, norm in zip(steps(FALLING[::-1]), norms, strict=True)]
    found = judged(cast("list[MetricRow]", rising), JobState.RUNNING)
    assert found.headline == "The loss is rising and the gradients are exploding (norm 500, previously 1)."
    assert (found.action, found.remedy and found.remedy.words) == (Action.STOP, "a lower learning rate")
    falling = [{**row, "grad_norm": norm} for row, norm in zip(steps(FALLING), norms, strict=True)]
    assert judged(cast("list[MetricRow]", falling), JobState.RUNNING).level == "good"


# --- finished ---


@pytest.mark.parametrize(
    ("rows", "outcome", "level", "headline", "remedy"),
    [
        (
            [*steps(FALLING), *held((0, 2.31), (5, 1.5), (9, 1.12))], Outcome.LEARNED, "good",
            ("It learned this: the loss on 32 held-out rows fell from 2.31 to 1.12 "
            "(on average, each token of the answers became 3.3 times as likely)."), "",
        ),
        (
            [*steps(FALLING), *held((0, 2.31), (5, 1.02), (9, 1.4))], Outcome.LEARNED, "watch",
            ("It learned this, then overfitted: the loss on 32 held-out rows fell from 2.31 to 1.40; "
            "it was lowest at step 5 (1.02)."), "fewer steps",
        ),
        (
            [*steps(FALLING), *held((0, 1.2), (5, 1.0), (9, 1.5))], Outcome.NOT_LEARNED, "problem",
            "It got worse: the loss on 32 held-out rows rose from 1.20 to 1.50; it was lowest at step 5 (1.00).",
            "fewer steps",
        ),
        (
            [*steps(FALLING), *held((0, 1.2), (5, 1.0), (9, 1.22))], Outcome.NOT_LEARNED, "problem",
            ("It did not keep what it learned: the loss on 32 held-out rows hardly changed, from 1.20 to 1.22; "
            "it was lowest at step 5 (1.00)."), "fewer steps",
        ),
        (
            [*steps(FLAT), *held((0, 1.2), (9, 1.5))], Outcome.NOT_LEARNED, "problem",
            "It got worse: the loss on 32 held-out rows rose from 1.20 to 1.50.", "a lower learning rate",
        ),
        (
            [*steps(FLAT), *held((0, 2.3), (9, 2.26))], Outcome.NOT_LEARNED, "problem",
            "It did not learn this: the loss on 32 held-out rows hardly changed, from 2.30 to 2.26.", "more steps",
        ),
        (
            [*steps(FALLING), *held((0, 2.3), (9, 2.26))], Outcome.NOT_ENOUGH, "watch",
            "Not enough evidence that it learned: the loss on 32 held-out rows hardly changed, from 2.30 to 2.26.",
            "more steps",
        ),
        (
            [*steps(FLAT), *held((0, 2.3), (9, 2.15), samples=10)], Outcome.NOT_ENOUGH, "watch",
            ("Not enough evidence that it learned: the loss on 10 held-out rows did not clearly change, "
             "from 2.30 to 2.15."),
            "more held-out rows",
        ),
        (
            [*steps(FALLING), *held((0, 2.3), (9, 1.0), samples=3)], Outcome.NOT_ENOUGH, "watch",
            "Not enough evidence that it learned: only 3 held-out rows were measured.", "more held-out rows",
        ),
        (
            [*steps(FLAT), *held((0, 0.04), (9, 0.04))], Outcome.NOT_ENOUGH, "watch",
            "There was little left to learn: the loss on 32 held-out rows hardly changed, from 0.04 to 0.04.",
            "harder rows",
        ),
        (
            steps(FALLING), Outcome.NOT_ENOUGH, "watch",
            ("Not enough evidence that it learned: the training loss fell from 2.20 to 1.00, "
            "and the held-out loss was not measured before and after."), "held-out rows",
        ),
        (
            steps(FALLING[::-1]), Outcome.NOT_LEARNED, "problem",
            ("It got worse: the training loss rose from 1.00 to 2.20, "
             "and the held-out loss was not measured before and after."),
            "a lower learning rate",
        ),
        (
            [*steps([2.0, 1.9, None, None]), *held((0, 2.3), (2, 1.9))], Outcome.NOT_LEARNED, "problem",
            "The loss is no longer a finite number, so the model stopped learning.", "a lower learning rate",
        ),
    ],
)  # fmt: skip
def test_a_finished_run_is_judged_by_its_held_out_loss(
    rows: list[MetricRow], outcome: Outcome, level: str, headline: str, remedy: str
) -> None:
    """Training rows alone show harm but no success; each remedy is a valid configuration."""
    config = config_of()
    found = judged(rows, config=config)
    assert (found.outcome, found.level, found.headline) == (outcome, level, headline)
    assert (found.remedy.words if found.remedy else "") == remedy
    assert found.action is (Action.CHANGE if remedy else Action.EXPORT)
    for change in found.remedy.changes if found.remedy else ():
        assert change.value != change.was
        parse(changed(dump(parse(config)), (change,)))
        assert WIDE.uses(change.path)


@pytest.mark.parametrize(
    ("config", "rows", "words", "changes"),
    [
        (config_of(), held((0, 2.3), (9, 2.3)), "more steps", {"training.max_steps": 27}),
        (config_of(max_steps=None), held((0, 2.3), (9, 2.3)), "more epochs", {"training.num_epochs": 3}),
        (config_of(max_steps=None, num_epochs=20), held((0, 2.3), (9, 2.3)), "other rows", {}),
        (
            config_of(learning_rate=1e-6), held((0, 2.3), (9, 2.3)),
            "a higher learning rate", {"training.learning_rate": 2e-4},
        ),
        (config_of(), held((0, 1.0), (9, 2.0)), "a lower learning rate", {"training.learning_rate": 7e-5}),
        (config_of({"holdout_fraction": 0}), [], "held-out rows", {"evaluation.holdout_fraction": 0.1}),
        (config_of({"max_prompts": 5}), held((0, 2.0), (9, 1.0), samples=5), "more held-out rows",
         {"evaluation.max_prompts": 20}),
        (config_of({"holdout_fraction": 0.5}), held((0, 2.0), (9, 1.0), samples=5), "more held-out rows", {}),
    ],
)  # fmt: skip
def test_the_remedy_is_what_has_not_been_tried(
    config: dict[str, Any], rows: list[MetricRow], words: str, changes: dict[str, Any]
) -> None:
    """Steps or epochs, whichever applies; a very low rate first; existing rows first."""
    remedy = judged([*steps(FLAT), *rows], config=config).remedy
    assert remedy is not None
    assert (remedy.words, {change.path: change.value for change in remedy.changes}) == (words, changes)
    assert remedy.changes or remedy.step == "dataset"


def test_no_remedy_changes_what_the_method_does_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a learning rate setting, other rows are the remaining remedy."""
    monkeypatch.setattr(core.methods, "METHODS", (GRPO, COPY))
    found = judged([*steps(FLAT), *held((0, 1.0), (9, 2.0))])
    assert found.remedy == Remedy("other rows", step="dataset")


def test_the_basis_of_a_verdict_is_shown() -> None:
    """Few or no rows are named; the training loss is next to it."""
    few = judged([*steps(FALLING), *held((0, 2.3), (9, 1.1), samples=12)])
    assert few.outcome is Outcome.LEARNED
    assert few.evidence == (
        "Only 12 held-out rows were measured, so small changes in the loss do not show.",
        "Training loss from 2.20 to 1.00.",
    )  # fmt: skip
    none = judged(steps(FALLING))
    assert none.evidence[0] == (
        "The held-out loss was not measured before and after, so its performance on new rows is unknown."
    )


def test_a_run_whose_last_measurement_is_missing_is_not_judged_by_an_earlier_one() -> None:
    """The final model is not the one that was measured."""
    found = judged([*steps(FALLING), *held((0, 2.3), (5, 1.1))])
    assert found.outcome is Outcome.NOT_ENOUGH
    assert found.evidence[0].startswith("The held-out loss was not measured before and after")


@pytest.mark.parametrize(
    ("state", "rows", "headline", "action"),
    [
        (JobState.QUEUED, [], "Waiting for another job to finish.", Action.NONE),
        (JobState.STOPPED, [], "Stopped before the first training step.", Action.RESUME),
        (JobState.STOPPED, steps(FALLING), "Stopped after step 9. Training loss from 2.20 to 1.00.", Action.RESUME),
        (
            JobState.STOPPED, [*steps(FALLING), *held((0, 2.0), (3, 1.2), (7, 1.6))],
            ("Stopped after step 9: it is overfitting: the loss on 32 held-out rows was lowest at step 3 (1.20) "
            "and has risen to 1.60 since, while the training loss has not."), Action.CHANGE,
        ),
        (JobState.FAILED, held((0, 2.0)), "It failed before the first step.", Action.FIX),
        (
            JobState.CRASHED, steps(FALLING),
            "It crashed after step 9 (it was killed, ran out of memory, or the power failed).",
            Action.RESUME,
        ),
        (JobState.COMPLETED, [], "It finished without a training step, so it learned nothing.", Action.FIX),
    ],
)  # fmt: skip
def test_verdicts_on_every_run_apply_to_these(
    state: JobState, rows: list[MetricRow], headline: str, action: Action
) -> None:
    """In the same words."""
    found = judged(rows, state, checkpoint=6)
    assert (found.headline, found.action) == (headline, action)


def measured(*points: tuple[int, float, tuple[float, float], tuple[float, float]]) -> list[MetricRow]:
    """Held-out losses with the intervals of their change and of their rise."""
    rows = held(*[(step, loss) for step, loss, _, _ in points])
    for row, (_, _, change, rise) in zip(rows[1:], points[1:], strict=True):
        known = {"loss_change_low": change[0], "loss_change_high": change[1]}
        cast("dict[str, Any]", row).update({**known, "loss_rise_low": rise[0], "loss_rise_high": rise[1]})
    return rows


NONE = (0.0, 0.0)


@pytest.mark.parametrize(
    ("rows", "outcome", "headline"),
    [
        (  # Smaller than what 32 rows could show by chance, but every row agrees.
            measured((0, 2.3, NONE, NONE), (9, 2.22, (-0.1, -0.06), (-0.1, -0.06))), Outcome.LEARNED,
            ("It learned this: the loss on 32 held-out rows fell from 2.30 to 2.22, by 0.06 to 0.10 (95% interval); "
            "on average, each token of the answers became 1.1 times as likely."),
        ),
        (  # Larger, but the rows disagree.
            measured((0, 2.3, NONE, NONE), (9, 2.0, (-0.7, 0.1), (-0.7, 0.1))), Outcome.NOT_ENOUGH,
            ("Not enough evidence that it learned: the loss on 32 held-out rows did not clearly change, from 2.30 to "
            "2.00 (95% interval of the change: -0.70 to +0.10)."),
        ),
        (  # Every row agrees on a change that is too small to matter.
            measured((0, 2.3, NONE, NONE), (9, 2.28, (-0.03, -0.01), (-0.03, -0.01))), Outcome.NOT_ENOUGH,
            ("Not enough evidence that it learned: the loss on 32 held-out rows hardly changed, from 2.30 to 2.28 "
            "(95% interval of the change: -0.03 to -0.01)."),
        ),
        (
            measured((0, 2.3, NONE, NONE), (5, 1.0, (-1.5, -1.1), (-1.5, -1.1)), (9, 1.1, (-1.4, -1.0), (0.05, 0.2))),
            Outcome.LEARNED,
            ("It learned this, then overfitted: the loss on 32 held-out rows fell from 2.30 to 1.10, by 1.00 to 1.40 "
            "(95% interval); it was lowest at step 5 (1.00)."),
        ),
        (
            measured((0, 2.3, NONE, NONE), (5, 1.0, (-1.5, -1.1), (-1.5, -1.1)), (9, 1.1, (-1.4, -1.0), (-0.1, 0.3))),
            Outcome.LEARNED,
            ("It learned this: the loss on 32 held-out rows fell from 2.30 to 1.10, by 1.00 to 1.40 (95% interval); "
            "on average, each token of the answers became 3.3 times as likely."),
        ),
    ],
)  # fmt: skip
def test_a_change_counts_by_its_interval(rows: list[MetricRow], outcome: Outcome, headline: str) -> None:
    """Of the same rows before and after, and if it is large enough to matter."""
    found = judged([*steps(FALLING), *rows])
    assert (found.outcome, found.headline) == (outcome, headline)


OVERFITTED = held((0, 2.31), (5, 1.02), (9, 1.4))


def test_a_kept_checkpoint_is_what_is_judged() -> None:
    """The rise after it is no problem any more, but says why the run ended early."""
    kept = Kept(metric="loss", step=5, value=1.02, since=2, published=True, ended=9, planned=40)
    found = judged([*steps(FALLING), *OVERFITTED], kept=kept)
    assert (found.outcome, found.level, found.action) == (Outcome.LEARNED, "good", Action.EXPORT)
    assert found.headline.startswith("It learned this: the loss on 32 held-out rows fell from 2.31 to 1.02 (on")
    assert found.evidence[:2] == (
        "It ended early, after step 9 of 40: the last 2 evaluations were not better than that of step 5.",
        "The result is step 5, which had the best evaluation.",
    )
    last = judged([*steps(FALLING), *OVERFITTED], kept=replace_kept(kept, published=False, since=1))
    assert last.headline.startswith("It learned this, then overfitted: the loss on 32 held-out rows fell from 2.31 to")
    assert last.evidence[0] == (
        "It ended early, after step 9 of 40: the last evaluation was not better than that of step 5."
    )


def test_overfitting_names_the_settings_that_help() -> None:
    """Fewer steps, or the evaluation settings; while the best checkpoint is kept, the run may be stopped."""
    found = judged([*steps(FALLING), *OVERFITTED])
    assert found.advice[:3] == (
        "Start a new run with fewer steps.", "Or train on more rows.",
        "Early stopping and keeping the best checkpoint are in the evaluation settings.",
    )  # fmt: skip
    kept = Kept(metric="loss", step=5, value=1.02, since=1, published=True)
    running = judged([*steps(FALLING), *OVERFITTED], JobState.RUNNING, kept=kept)
    assert running.action is Action.STOP
    assert running.advice[0] == "Stop it if you like: step 5 is kept."
    assert running.evidence[0] == "The result so far is step 5, which had the best evaluation."


def replace_kept(kept: Kept, **values: Any) -> Kept:
    return kept.model_copy(update=values)


def test_reward_rules_do_not_apply() -> None:
    """Figures that are a problem when answers are compared mean nothing here."""
    found = judged(steps(FALLING, reward=0.0, groups_without_spread=1.0, cut_off=1.0, kl=9.0), JobState.RUNNING)
    assert found.headline == "The loss is falling. Training loss from 2.20 to 1.00."


def test_no_verdict_fails_on_odd_rows() -> None:
    """Missing, mistyped or non-numeric figures are skipped in every state."""
    odd: list[Any] = [
        {"phase": "training", "step": 1}, {"phase": "training", "step": 2, "loss": None}, {"step": 3}, {},
        {"phase": "training", "loss": 1.0}, {"phase": "evaluation", "loss": "much"},
        {"phase": "evaluation", "loss": 1.0}, {"phase": "evaluation", "step": 1, "loss": 1e99, "samples": "x"},
        {"phase": "evaluation", "step": 2, "loss": 0.1}, *steps([0.1, -1.0], grad_norm="x"),
        *held((0, 1e90), (9, 1.0)),
    ]  # fmt: skip
    for state in JobState:
        for rows in ([], odd, odd[:3], odd[:8], odd[-2:]):
            assert verdict(merge(rows), state, Stored(config_of())).headline
