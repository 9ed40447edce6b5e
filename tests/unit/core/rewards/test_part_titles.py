"""A reward component and an option have one readable name, the same on every page."""

from __future__ import annotations

from core.methods import METHODS
from core.rewards import CATALOGUE, part_title
from services.forms.fields import form_field, section_model
from services.forms.labels import reward_title

SOURCE = "def reward(completion, prompt, row):\n    return 1.0"
OWN = {
    "type": "composite",
    "components": [
        {"name": "python", "params": {"source": SOURCE, "title": "My rule"}},
        {"name": "length", "label": "not too long"},
        {"name": "numeric"},
    ],
}


def test_a_part_is_called_the_same_with_its_section_and_without() -> None:
    """The user's title, then the label, then the reward's own; an unknown key is shown as it is."""
    assert [part_title(key, OWN) for key in ("python", "not too long", "numeric")] == [
        "My rule",
        "not too long",
        "Correct number",
    ]
    assert part_title("numeric") == part_title("numeric", {"type": "preset", "preset_name": "math"}) == "Correct number"
    assert part_title("gone", {"type": "preset", "preset_name": "no such"}) == "gone"
    assert all(part_title(name) == info.title for name, info in CATALOGUE.items())
    assert reward_title(OWN).startswith("My rule × ")


def test_every_value_of_a_choice_has_a_name() -> None:
    """No select in the wizard shows a raw value such as adamw_torch."""
    for section in ("model", "dataset", "training", *(one.section_name for one in METHODS)):
        for name in section_model(section).model_fields:
            field = form_field(section, name, {}, {})
            for value, title in field.choices:
                assert title != value or value == "transformers", field.path
                assert "_" not in title, field.path
            if field.kind == "choice":
                assert dict(field.choices)[str(field.value)] in field.shown
