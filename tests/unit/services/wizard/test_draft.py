"""The typed draft: suggestions for unset fields, input where there is any."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from core.config import SECTIONS
from core.methods.grpo import GRPO
from core.model import DEMO_MODEL
from core.settings import Home
from services.wizard.draft import DatasetDraft, config_of, kind_of, read_draft, same_choices
from services.wizard.steps import STEPS, choices_of, following, steps_of
from tests.conftest import tiny


def test_an_empty_draft_is_what_is_suggested() -> None:
    """Every section is there; a dataset is for the user to choose."""
    draft = read_draft({}, on_gpu=False)
    assert set(draft.sections) == set(SECTIONS)
    assert (draft.model.name, draft.dataset.source, draft.session_id) == (DEMO_MODEL, "", None)
    assert draft.reward.preset_name == "math"
    assert draft.page("model") == {}


def test_a_section_that_was_taken_back_is_suggested_again() -> None:
    """The reward then follows the dataset; an emptied one stays empty."""
    saved: dict[str, Any] = {"dataset": {"source": "generated:arithmetic"}, "reward": None, "model": {}}
    draft = read_draft(saved, on_gpu=False)
    assert draft.reward.preset_name == "arithmetic"
    assert draft.model.name == ""


def test_input_is_kept_unchanged(home: Home) -> None:
    """And is in the configuration unchanged; empty sections are not."""
    draft = read_draft({"training": {"max_steps": "soon", "mine": 1}, "grpo": {}, "name": "a run"}, on_gpu=True)
    config = config_of(draft, home)
    assert config["training"] == {"max_steps": "soon", "mine": 1}
    assert (config["name"], "grpo" in config, "dataset" in config) == ("a run", False, False)
    assert draft.value("training.max_steps") == "soon"
    with pytest.raises(ValueError, match="soon"):
        draft.training.whole("max_steps", 1)


def test_an_invalid_section_counts_as_empty() -> None:
    """A loaded file may contain anything there; the pages still work."""
    draft = read_draft({"training": [1], "model": "mine", "reward": 3}, on_gpu=False)
    assert (draft.training.values, draft.model.name, draft.reward.values) == ({}, "", {})


def test_a_draft_cannot_be_changed() -> None:
    """A change makes another one."""
    draft = read_draft({"ui_train": {"probe_id": "a"}}, on_gpu=False)
    other = draft.remembering("train", {"visited": True})
    assert (draft.page("train"), other.page("train")) == ({"probe_id": "a"}, {"probe_id": "a", "visited": True})
    with pytest.raises(FrozenInstanceError):
        draft.name = "another"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("section", "kind", "remote"),
    [
        ({}, "upload", False),
        ({"source": "upload:20250101-000000-ffffff"}, "upload", False),
        ({"source": "generated:arithmetic"}, "generated", False),
        ({"source": "generated:preferences"}, "preferences", False),
        ({"source": "generated:reasoning-gym"}, "tasks", False),
        ({"source": "openai/gsm8k"}, "hub", True),
        ({"source": "mix", "mix": [{"source": "generated:arithmetic"}, {"source": "openai/gsm8k"}]}, "mix", True),
        ({"source": "mix", "mix": [{"source": "generated:arithmetic"}]}, "mix", False),
    ],
)
def test_a_source_belongs_to_one_way_of_choosing(section: dict[str, Any], kind: str, remote: bool) -> None:
    """A mixture is remote if one of its sources is."""
    dataset = DatasetDraft(section)
    assert (dataset.kind, dataset.remote) == (kind, remote)
    assert kind_of(dataset.source) == kind


def test_the_name_makes_no_other_run() -> None:
    """Nor do explicit defaults; unreadable drafts are never the same."""
    config = tiny()
    assert same_choices(config, {**config, "name": "another"})
    assert same_choices(config, {**config, "grpo": {"clip_range": 0.2}})
    assert not same_choices(config, tiny(max_steps=7))
    assert not same_choices({}, {})


def test_the_last_step_is_followed_by_itself() -> None:
    """An API client may press 'next' there."""
    assert [following(step.key, GRPO) for step in STEPS] == [*(step.key for step in STEPS[1:]), STEPS[-1].key]


def test_a_method_without_a_reward_has_no_step_for_it() -> None:
    """A stale page of that step continues all the same."""
    without = replace(GRPO, needs=())
    assert [step.key for step in steps_of(GRPO)] == [step.key for step in STEPS]
    assert [step.key for step in steps_of(without)] == [step.key for step in STEPS if step.key != "reward"]
    assert [step.key for step in choices_of(without)] == ["model", "dataset", "configuration"]
    assert following("configuration", without) == following("reward", without) == "train"
