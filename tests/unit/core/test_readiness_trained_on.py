"""Readiness with conversations that are trained whole, and with plain text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.readiness import Severity, State
from tests.unit.core.test_readiness import GOOD, found

SFT_TALK: dict[str, Any] = {"method": "sft", "training": {"train_on": "all_assistant_messages"}}


def test_conversations_need_no_answer_column() -> None:
    """They have answers of their own."""
    facts = replace(GOOD, rows=None, compares=False)
    dataset = {"source": "somebody/talks", "response_field": "", "system_prompt": ""}
    assert found(facts, dataset=dataset, **SFT_TALK).state is not State.NOT_READY
    assert found(facts, dataset=dataset, method="sft").state is State.NOT_READY


def test_plain_text_needs_no_answer_column_and_a_method_that_reads_it() -> None:
    facts = replace(GOOD, rows=None)
    dataset = {"source": "somebody/books", "response_field": "", "text_field": "text"}
    assert found(facts, dataset=dataset, method="sft").state is not State.NOT_READY
    problem = found(facts, dataset=dataset).of(Severity.BLOCKS)[0]
    assert problem.field == "dataset.text_field"
    assert problem.fix is not None
    assert problem.fix.values == {"dataset.text_field": None}


def test_a_system_prompt_must_not_ask_for_tags_that_are_not_trained() -> None:
    """The default one does; with the last assistant message alone, the tags are in the answer."""
    asks = found(**SFT_TALK).fix("dataset.system_prompt")
    assert asks is not None
    assert asks.values == {"dataset.system_prompt": ""}
    plain = {"source": "generated:arithmetic", "system_prompt": "Be brief."}
    assert found(**SFT_TALK, dataset=plain).fix("dataset.system_prompt") is None
    tagged = {**plain, "system_prompt": "Write <SOLUTION>.", "solution_start": "<SOLUTION>"}
    assert found(**SFT_TALK, dataset=tagged).fix("dataset.system_prompt") is not None
    assert found(method="sft").fix("dataset.system_prompt") is None
