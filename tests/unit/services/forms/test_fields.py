"""Form fields made from the configuration's models: readable names, and hints about their values."""

from __future__ import annotations

import re

import pytest

from core.config import SECTIONS
from services.forms.fields import FormField, form_field, section_model

FIELDS = [form_field(section, name, {}, {}) for section in SECTIONS for name in section_model(section).model_fields]


@pytest.mark.parametrize("field", [one for one in FIELDS if one.kind == "choice"], ids=lambda one: one.path)
def test_every_option_has_a_name(field: FormField) -> None:
    """A select shows no raw value such as ``adamw_torch``; names that are spelled like it are fine."""
    for value, title in field.choices:
        assert title != value or value in {"bfloat16", "float16", "float32"}, value
        assert not re.search(r"[a-z]_[a-z]", title)


def test_a_field_names_its_default_and_usual_range() -> None:
    """The suggestion overrides the format's default; a field without a default names none."""
    rate = form_field("training", "weight_decay", {}, {}, {"weight_decay": 5e-5})
    assert rate.facts == "Default: 5e-5 · Suggested: 0 to 0.1"
    assert form_field("training", "optim", {}, {}, {}).facts == "Default: AdamW"
    assert form_field("training", "gradient_checkpointing", {}, {}, {}).facts == "Default: off"
    assert form_field("evaluation", "split", {}, {}, {}).facts == ""
    assert form_field("training", "optim", {}, {}).facts == ""


def test_a_collapsed_group_omits_unset_values() -> None:
    assert form_field("training", "min_p", {}, {}).shown == ""
    assert form_field("grpo", "kl_penalty", {"kl_penalty": 0.01}, {}).shown == "KL penalty: 0.01"


def test_a_switch_is_on_or_off_like_a_choice() -> None:
    """Next to each other in a collapsed group they are spelled alike."""
    assert form_field("dataset", "deduplicate", {}, {}).shown == "Remove duplicates: Off"
    personal = form_field("dataset", "drop_personal", {"drop_personal": True}, {})
    assert personal.shown == "Remove rows with secrets or email addresses: On"
