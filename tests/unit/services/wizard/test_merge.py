"""Two tabs, one draft: separate changes, and changes of the same field."""

from __future__ import annotations

from typing import Any

import pytest

from services.wizard.merge import Merged, merge, read_was

WAS = {"training": {"max_steps": 12, "max_new_tokens": 40}}


def merged(mine: dict[str, Any], now: dict[str, Any], own: bool = False) -> Merged:
    """Both with their changes to :data:`WAS`."""
    ours, theirs = ({"training": {**WAS["training"], **changes}} for changes in (mine, now))
    return merge(WAS, ours, theirs, lambda _path: own)


@pytest.mark.parametrize(
    ("mine", "now", "kept", "elsewhere", "refused"),
    [
        ({}, {}, {"max_steps": 12, "max_new_tokens": 40}, (), ()),
        ({"max_steps": 7}, {}, {"max_steps": 7, "max_new_tokens": 40}, (), ()),
        ({}, {"max_steps": 7}, {"max_steps": 7, "max_new_tokens": 40}, ("training.max_steps",), ()),
        (
            {"max_new_tokens": 64},
            {"max_steps": 7},
            {"max_steps": 7, "max_new_tokens": 64},
            ("training.max_steps",),
            (),
        ),
        ({"max_steps": 9}, {"max_steps": 7}, {"max_steps": 7, "max_new_tokens": 40}, (), ("training.max_steps",)),
        ({"max_steps": 7}, {"max_steps": 7}, {"max_steps": 7, "max_new_tokens": 40}, (), ()),
        ({"seed": 1}, {}, {"max_steps": 12, "max_new_tokens": 40, "seed": 1}, (), ()),
    ],
)
def test_only_what_both_changed_is_refused(
    mine: dict[str, Any],
    now: dict[str, Any],
    kept: dict[str, Any],
    elsewhere: tuple[str, ...],
    refused: tuple[str, ...],
) -> None:
    found = merged(mine, now)
    assert found.sections == {"training": kept}
    assert (found.elsewhere, found.refused) == (elsewhere, refused)


def test_a_page_may_change_again_what_it_changed_itself() -> None:
    """A second save can be sent before the first response."""
    assert merged({"max_steps": 70}, {"max_steps": 7}, own=True).sections["training"]["max_steps"] == 70


def test_a_field_taken_away_is_a_change() -> None:
    both = {"training": {"max_new_tokens": 40}}
    assert merge(WAS, both, WAS).sections == both
    assert merge(WAS, WAS, both).sections == both


def test_a_column_is_not_mapped_onto_a_dataset_that_another_tab_chose() -> None:
    """Columns belong to their dataset; the system prompt goes with any."""
    was = {"dataset": {"source": "upload:1", "response_field": "answer"}}
    now = {"dataset": {"source": "somebody/set", "response_field": "answer"}}
    mine = {"dataset": {"source": "upload:1", "response_field": "label", "system_prompt": "Be brief."}}
    found = merge(was, mine, now)
    assert found.sections["dataset"] == {
        "source": "somebody/set", "response_field": "answer", "system_prompt": "Be brief.",
    }  # fmt: skip
    assert found.refused == ("dataset.response_field",)


def test_a_section_that_was_not_there_and_a_name() -> None:
    found = merge(
        {"dataset": None, "name": ""}, {"dataset": {"source": "a/b"}, "name": "mine"}, {"dataset": None, "name": ""}
    )
    assert found.sections == {"dataset": {"source": "a/b"}, "name": "mine"}


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", "[" * 100_000])
def test_what_cannot_be_read_says_nothing(text: str) -> None:
    assert read_was(text) == {}
