# ruff: noqa: E501 - cases, one a line
"""The wizard's Reward step: a custom reward as form fields, and back."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from core.rewards.catalogue import CATALOGUE
from services.container import Services
from services.forms.reward_form import parts, read_reward, shown_components
from tests.conftest import Browser

MATH = {"type": "preset", "preset_name": "arithmetic"}


def test_the_wizard_keeps_gates_labels_and_python_as_they_are() -> None:
    """A form sets gates and normalization; hidden settings stay; Python keeps its lines and number formats."""
    before = {
        "type": "composite", "clip_high": 2.0, "saved_as": "mine@1",
        "components": [{"name": "length", "label": "short", "clip_low": 0.2}, {"name": "python", "params": {"source": "x"}}],
    }  # fmt: skip
    form = {
        "reward.type": "composite", "reward.normalise": "on", "use.short": "on", "weight.short": "0.5", "param.short.minimum": "3",
        "use.python": "on", "gate.python": "short", "param.python.source": "def reward(c, p, r):\r\n    return 1", "param.python.title": "12",
    }  # fmt: skip
    assert read_reward(form, before) == {
        "type": "composite", "clip_high": 2.0, "saved_as": "mine@1", "normalise": True,
        "components": [
            {"name": "length", "label": "short", "clip_low": 0.2, "weight": 0.5, "params": {"minimum": 3}},
            {"name": "python", "weight": 1, "requires": "short", "params": {"source": "def reward(c, p, r):\n    return 1", "title": "12"}},
        ],
    }  # fmt: skip


def as_form(section: dict[str, Any]) -> dict[str, str]:
    """What the page's form sends for a combination nobody edits."""
    form = {
        "reward.type": "composite",
        "reward.clip_low": str(section.get("clip_low", "")),
        "reward.clip_high": str(section.get("clip_high", "")),
    }
    for part in parts(section):
        slot = part.slot
        form |= {
            f"part.{slot}": part.name,
            f"weight.{slot}": part.weight,
            f"label.{slot}": part.label,
            f"gate.{slot}": part.gate,
        }
        form |= {
            f"at-least.{slot}": part.at_least,
            f"clip-low.{slot}": part.clip_low,
            f"clip-high.{slot}": part.clip_high,
        }
        form |= {f"param.{slot}.{param.name}": param.value for param in part.params}
        form |= {f"use.{slot}": "on"}
    return form | ({"reward.normalise": "on"} if section.get("normalise") else {})


def parts_of(section: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in part.items() if key != "params"} for part in section["components"]]


def test_a_combination_goes_through_its_form_unchanged() -> None:
    """Labels, gates with their scores, limits of a component and of the total: all have fields, and none is lost."""
    section = {
        "type": "composite", "clip_low": -1, "clip_high": 2.5, "normalise": True,
        "components": [
            {"name": "format", "weight": 0.2},
            {"name": "numeric", "weight": 1, "requires": "format", "requires_at_least": 0.9},
            {"name": "length", "label": "not too long", "weight": -0.5, "requires": "format", "clip_low": 0.1, "clip_high": 0.8},
        ],
    }  # fmt: skip
    read = read_reward(as_form(section), section)
    assert {key: value for key, value in read.items() if key != "components"} == {
        key: value for key, value in section.items() if key != "components"
    }
    assert sorted(parts_of(read), key=str) == sorted(section["components"], key=str)  # type: ignore[call-overload]


def test_a_part_is_used_twice_labelled_and_gated_by_the_form_alone() -> None:
    """Add another of the same kind, rename a label that gates use, remove a component together with its gate."""
    section: dict[str, Any] = {"type": "composite", "components": [{"name": "length"}, {"name": "numeric"}]}
    section = read_reward(as_form(section) | {"action": "add-component", "component": "length"}, section)
    title = CATALOGUE["length"].title
    form = as_form(section)
    second = next(part.slot for part in parts(section) if part.label == f"{title} 2")
    form |= {
        f"label.{second}": "short",
        "gate.numeric": second,
        "at-least.numeric": "0.5",
        f"clip-high.{second}": "0.7",
    }
    section = read_reward(form, section)
    assert {"name": "numeric", "weight": 1, "requires": "short", "requires_at_least": 0.5} in parts_of(section)
    assert {"name": "length", "label": "short", "weight": 1, "clip_high": 0.7} in parts_of(section)
    # The page was not reloaded: the same fields are sent again, with the label changed once more.
    section = read_reward({**form, f"label.{second}": "brief"}, section)
    assert {"name": "numeric", "weight": 1, "requires": "brief", "requires_at_least": 0.5} in parts_of(section)
    section = read_reward({**form, "action": f"remove-{second}"}, section)
    assert [part["name"] for part in section["components"]] == ["length", "numeric"]
    assert "requires" not in section["components"][1]


def test_components_are_added_and_removed_by_buttons(browser: Browser, services: Services) -> None:
    """The page shows only chosen ones; a second one of the same reward gets a label. No script is needed."""
    services.wizard.put(reward={"type": "composite", "components": [{"name": "length"}]})
    shown = browser.get("/new/reward").text
    assert 'data-testid="part-length"' in shown
    assert 'data-testid="part-numeric"' not in shown
    assert '<option value="numeric"' in shown
    form = {"reward.type": "composite", "use.length": "on"}
    browser.post("/new/reward", form={**form, "action": "add-component", "component": "length"})
    shown = browser.get("/new/reward").text
    assert f'name="label.length-1" value="{CATALOGUE["length"].title} 2"' in shown
    form |= {"use.length-1": "on", "part.length-1": "length", "label.length-1": "twice", "was": state(shown)}
    browser.post("/new/reward", form={**form, "action": "remove-length"})
    assert services.wizard.draft().reward.values["components"] == [{"name": "length", "label": "twice", "weight": 1}]


def state(page: str) -> str:
    found = re.search(r'id="draft-was" data-live="sent" value="([^"]*)"', page)
    assert found
    return html.unescape(found[1])


def test_a_custom_reward_begins_with_the_preset_and_comes_back() -> None:
    """'Custom reward' starts from the built-in one; its settings survive a switch to a built-in reward and back."""
    custom = read_reward({"reward.type": "composite"}, MATH)
    assert custom == {
        "type": "composite",
        "components": [
            {"name": "numeric"},
            {"name": "format", "weight": 0.2, "params": {"require": "solution"}},
        ],
    }
    kept = json.dumps([{"name": "length", "weight": 2}, {"name": "gone"}, 3])
    assert shown_components(MATH, kept) == {"components": [{"name": "length", "weight": 2}]}
    back = read_reward({"reward.type": "composite", "ui.components": kept}, MATH)
    assert back["components"] == [{"name": "length", "weight": 2}]
    for broken in ("", "{", "[" * 100_000, "7"):
        assert shown_components(MATH, broken) == {"components": []}
