"""The readiness list: what blocks, what warns, and the fix each entry offers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.config import RunConfig, dump, parse
from core.model import Device
from core.readiness import (
    Download,
    Facts,
    Problem,
    Readiness,
    RowFacts,
    Severity,
    State,
    check,
    ordered,
    rows_needed,
)
from core.settings import PROJECT
from core.statistics import smallest_share
from tests.conftest import TINY
from tests.support.second_method import install

CPU = Device("cpu", "a processor", 16_000_000_000, 8_000_000_000, bf16=False)
GOOD = Facts(
    compares=True, rows=RowFacts(seen=400, rows=400, held_out=40, measured=400, proposed=(256, 64), judged=400)
)


def config(**changes: Any) -> RunConfig:
    """:data:`TINY` with some fields changed: ``training={...}``."""
    sections = {name: values for name, values in changes.items() if isinstance(values, dict)}
    merged = {name: {**TINY.get(name, {}), **values} for name, values in sections.items()}
    return parse({**TINY, **changes, **merged})


def found(facts: Facts = GOOD, **changes: Any) -> Readiness:
    return check(config(**changes), CPU, facts)


def with_rows(**rows: Any) -> Facts:
    assert GOOD.rows
    return replace(GOOD, rows=replace(GOOD.rows, **rows))


def only(readiness: Readiness) -> Problem:
    """The only entry of a list that is not a note."""
    entries = [problem for problem in readiness.problems if problem.severity is not Severity.NOTE]
    assert len(entries) == 1, entries
    return entries[0]


def test_nothing_known_against_it_is_ready() -> None:
    assert found().state is State.READY
    assert found().problems == ()


@pytest.mark.parametrize(
    ("facts", "changes", "severity", "field", "words"),
    [
        (
            replace(GOOD, rows=None),
            {"dataset": {"source": "somebody/questions", "response_field": ""}},
            Severity.BLOCKS,
            "dataset.response_field",
            "Choose the answer column",
        ),
        (
            replace(GOOD, rows=None, unusable=("dataset.instruction_field", "No row can be used.")),
            {},
            Severity.BLOCKS,
            "dataset.instruction_field",
            "No row can be used",
        ),
        (with_rows(missing=("tests",)), {}, Severity.BLOCKS, "dataset.columns", "The reward needs the column 'tests'"),
        (
            with_rows(unreadable=400, example="about five"),
            {},
            Severity.BLOCKS,
            "reward",
            "cannot read any of the 400 correct answers, such as 'about five'",
        ),
        (with_rows(unreadable=3), {}, Severity.WARNS, "reward", "cannot read 3 of the 400 correct answers"),
        (
            with_rows(long_references=100, longest_reference=90, whole=False),
            {},
            Severity.WARNS,
            "training.max_new_tokens",
            "100 of the first 400 correct answers are longer than 8 tokens; the longest has 90",
        ),
        (
            with_rows(long_prompts=400),
            {},
            Severity.BLOCKS,
            "training.max_sequence_length",
            "All of the 400 questions are longer than the 120 tokens left",
        ),
        (
            GOOD,
            {"training": {"learning_rate": 0.9}},
            Severity.WARNS,
            "training.learning_rate",
            "0.9 is 4,500 times the highest usual value, 0.0002",
        ),
        (
            GOOD,
            {"training": {"learning_rate": 1e-8}},
            Severity.WARNS,
            "training.learning_rate",
            "far below the lowest usual value, 0.00001",
        ),
        (
            GOOD,
            {"pre_training": {"enabled": True, "learning_rate": 0.5}},
            Severity.WARNS,
            "pre_training.learning_rate",
            "0.5 is 1,000 times",
        ),
        (
            replace(GOOD, model=Download("about 1.2 GB", reachable=False)),
            {},
            Severity.WARNS,
            "model.name",
            "It must be downloaded (about 1.2 GB), but Hugging Face cannot be reached right now",
        ),
        (
            replace(GOOD, dataset=Download(reachable=False)),
            {},
            Severity.WARNS,
            "dataset.source",
            "Hugging Face cannot be reached right now",
        ),
        (
            replace(GOOD, memory=(30_000_000_000, 16_000_000_000)),
            {},
            Severity.WARNS,
            "model.name",
            "needs about 30.0 GB of memory (give or take a third), and this machine has 16.0 GB",
        ),
        (
            with_rows(held_out=4, rows=40),
            {},
            Severity.WARNS,
            "evaluation.holdout_fraction",
            "4 held-out questions are too few to show any difference. Hold out at least 15.",
        ),
        (
            GOOD,
            {"evaluation": {"max_prompts": 10}},
            Severity.WARNS,
            "evaluation.max_prompts",
            "10 held-out questions only show a difference if 67% of the answers change",
        ),
        (
            GOOD,
            {"evaluation": {"holdout_fraction": 0}},
            Severity.WARNS,
            "evaluation.holdout_fraction",
            "No rows are held out",
        ),
        (
            replace(GOOD, unchecked="a judge scores the answers", asked=True),
            {},
            Severity.WARNS,
            "reward",
            "was not checked for loopholes, because a judge scores the answers.",
        ),
    ],
)
def test_each_fault_is_one_entry_beside_its_field(
    facts: Facts, changes: dict[str, Any], severity: Severity, field: str, words: str
) -> None:
    """Nothing else is reported: the cause, not its consequences."""
    entry = only(found(facts, **changes))
    assert (entry.severity, entry.field) == (severity, field)
    assert words in entry.message


def test_unsupported_settings_block_and_those_without_effect_are_notes() -> None:
    assert found(model={"load_in_4bit": True}).state is State.NOT_READY
    noted = found(training={"num_epochs": 2})
    assert [problem.severity for problem in noted.problems] == [Severity.NOTE]
    assert noted.state is State.READY


def test_the_worst_comes_first() -> None:
    """Blockers, then warnings, then notes; each group sorted by severity."""
    facts = with_rows(long_references=400, held_out=2)
    listed = found(facts, model={"load_in_4bit": True}, training={"learning_rate": 0.9, "num_epochs": 2}).problems
    assert [problem.field for problem in listed] == [
        "model.load_in_4bit", "training.max_new_tokens", "training.learning_rate", "evaluation.holdout_fraction",
        "training.num_epochs",
    ]  # fmt: skip


def test_a_missing_answer_column_is_not_blamed_on_the_reward() -> None:
    """Without a reference, any reward seems easy to fool."""
    facts = replace(with_rows(unreadable=400), loopholes=("Every number earns as much.",))
    entry = only(found(facts, dataset={"source": "somebody/questions", "response_field": ""}))
    assert entry.field == "dataset.response_field"


def test_independent_problems_are_all_reported() -> None:
    listed = found(with_rows(unreadable=400, long_references=400)).problems
    assert [problem.field for problem in listed] == ["reward", "training.max_new_tokens"]


def test_a_reward_without_a_reference_needs_no_answer_column() -> None:
    """The warm-up does: it would teach empty answers."""
    facts = replace(GOOD, compares=False)
    without = {"source": "somebody/questions", "response_field": ""}
    assert found(facts, dataset=without).state is State.READY
    entry = only(found(facts, dataset=without, pre_training={"enabled": True}))
    assert entry.severity is Severity.WARNS
    assert entry.fix
    assert entry.fix.values == {"pre_training.enabled": False}


def test_every_source_of_a_mixture_needs_an_answer_column() -> None:
    sources = [
        {"source": "somebody/a"},
        {"source": "somebody/b", "response_field": ""},
        {"source": "generated:arithmetic"},
    ]
    entry = only(found(dataset={"source": "mix", "mix": sources, "size": 64}))
    assert entry.field == "dataset.mix.1.response_field"


def test_a_loophole_needs_a_confirmation() -> None:
    listed = found(replace(GOOD, loopholes=("The empty answer earns as much.", "So does its length."))).problems
    assert [(problem.severity, problem.confirm) for problem in listed] == [(Severity.WARNS, True)] * 2


@pytest.mark.parametrize(
    ("facts", "changes", "values"),
    [
        (
            with_rows(long_references=400),
            {},
            {"training.max_new_tokens": 64, "training.max_sequence_length": 256},
        ),
        (with_rows(long_prompts=90), {}, {"training.max_sequence_length": 256}),
        (GOOD, {"training": {"learning_rate": 0.9}}, {"training.learning_rate": 0.0001}),
        (with_rows(held_out=4, rows=100), {}, {"evaluation.holdout_fraction": 0.2}),
        (
            with_rows(held_out=4, rows=40),
            {"evaluation": {"max_prompts": 8}},
            {"evaluation.holdout_fraction": 0.5, "evaluation.max_prompts": 15},
        ),
        (
            with_rows(unreadable=4, suggestion=({"type": "preset", "preset_name": "short_answer"}, "Short answer")),
            {},
            {"reward": {"type": "preset", "preset_name": "short_answer"}},
        ),
    ],
)
def test_a_fix_solves_its_problem(facts: Facts, changes: dict[str, Any], values: dict[str, Any]) -> None:
    """The result is a valid configuration."""
    entry = only(found(facts, **changes))
    assert entry.fix
    assert entry.fix.values == values
    data = dump(config(**changes))
    for path, value in values.items():
        section, _, name = path.partition(".")
        data[section] = {**data[section], name: value} if name else value
    parse(data)


def test_too_few_rows_to_hold_out_is_reported_without_a_button() -> None:
    entry = only(found(with_rows(held_out=2, rows=20)))
    assert entry.fix is None
    assert "only 20 rows. Add more rows." in entry.message


def test_the_rows_that_are_needed_follow_from_the_statistics() -> None:
    """If half of them change, four of five runs show it; with one row fewer, not."""
    assert smallest_share(rows_needed()) <= 0.5 < smallest_share(rows_needed() - 1)


COPYING: dict[str, Any] = {**{name: value for name, value in TINY.items() if name != "reward"}, "method": "imitate"}


def copied(facts: Facts = GOOD, **changes: Any) -> Readiness:
    """The list for the method that learns the rows' answers."""
    merged = {section: {**COPYING.get(section, {}), **values} for section, values in changes.items()}
    return check(parse({**COPYING, **merged}), CPU, replace(facts, compares=False))


@pytest.mark.parametrize(
    ("facts", "changes", "severity", "field", "words"),
    [
        (
            GOOD,
            {"dataset": {"source": "somebody/questions", "response_field": ""}},
            Severity.BLOCKS,
            "dataset.response_field",
            "Choose the answer column: Copying learns from it.",
        ),
        (
            with_rows(long_examples=90, longest_example=700),
            {},
            Severity.WARNS,
            "training.max_sequence_length",
            "90 of the 400 rows are longer than 128 tokens, question and answer together; the longest has 700. The end",
        ),
        (
            with_rows(long_examples=400, longest_example=700, long_prompts=400),
            {},
            Severity.BLOCKS,
            "training.max_sequence_length",
            "No question leaves room for an answer.",
        ),
        (
            with_rows(held_out=4, rows=100),
            {},
            Severity.WARNS,
            "evaluation.holdout_fraction",
            "4 held-out questions are too few to tell whether the model improved. Hold out at least 8",
        ),
    ],
)
def test_problems_with_learned_rows(
    monkeypatch: pytest.MonkeyPatch,
    facts: Facts,
    changes: dict[str, Any],
    severity: Severity,
    field: str,
    words: str,
) -> None:
    install(monkeypatch)
    entry = only(copied(facts, **changes))
    assert (entry.severity, entry.field) == (severity, field)
    assert words in entry.message


def test_checks_of_generated_answers_are_skipped_for_learned_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is the warm-up, which the method does not have."""
    install(monkeypatch)
    facts = with_rows(long_references=400, unreadable=400, missing=("tests",), held_out=12)
    warm_up = {"enabled": True, "learning_rate": 1.0}
    assert copied(replace(facts, loopholes=("Yes.",)), pre_training=warm_up).of(Severity.WARNS) == ()


def test_a_longer_limit_is_offered_where_rows_would_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    entry = only(copied(with_rows(long_examples=90, longest_example=700)))
    assert entry.fix
    assert entry.fix.values == {"training.max_sequence_length": 256}


def test_json_is_whole() -> None:
    entry = Problem(Severity.WARNS, "model.name", "Too large.")
    assert ordered([entry]).json() == {
        "state": "ready_but",
        "problems": [
            {"severity": "warns", "field": "model.name", "message": "Too large.", "fix": None, "confirm": False}
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"training": {"temperature": 1.9}}, "training.temperature", "Above the usual range of 0.7 to 1.2."),
        ({"grpo": {"kl_penalty": 2}}, "grpo.kl_penalty", "Above the usual range of 0 to 0.1."),
        ({"training": {"learning_rate": 5e-4}}, "training.learning_rate", "Above the usual range of 1e-5 to 2e-4."),
    ],
)
def test_an_unusual_number_is_a_note(changes: dict[str, Any], field: str, words: str) -> None:
    """It may be intended, so the run stays ready."""
    readiness = found(**changes)
    assert readiness.state is State.READY
    assert [(problem.field, problem.message) for problem in readiness.problems] == [(field, words)]


def test_rows_of_another_split_are_held_out() -> None:
    """A share of 0 alone does not switch evaluation off."""
    fields = {problem.field for problem in found(evaluation={"holdout_fraction": 0, "split": "test"}).problems}
    assert "evaluation.holdout_fraction" not in fields


def test_an_unusual_number_without_effect_is_not_mentioned() -> None:
    """The warm-up is off."""
    messages = [problem.message for problem in found(pre_training={"epochs": 50}).problems]
    assert not any("usual" in words for words in messages)


@pytest.mark.parametrize("preset", sorted((PROJECT / "configs" / "presets").glob("*.json")), ids=lambda path: path.stem)
def test_built_in_presets_have_no_unusual_numbers(preset: Path) -> None:
    """GSPO's clip range is a thousandth of GRPO's."""
    messages = [problem.message for problem in check(parse(json.loads(preset.read_text())), CPU, Facts()).problems]
    assert not any("usual range" in words for words in messages)
