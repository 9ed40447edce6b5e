"""The configuration step's fields, in groups."""

from __future__ import annotations

from services.forms.fields import FieldGroup, Remarks, form_field, section_model
from services.wizard.draft import Draft

OWN = "method"
"""The group of what the draft's method alone has; the method brings its title and its fields."""
GROUPS: tuple[tuple[str, str, str, bool, tuple[str, ...]], ...] = (
    (
        "batch",
        "How long and how much at once",
        "One step answers some questions several times, compares, and changes the model once.",
        True,
        (
            "training.max_steps",
            "training.num_epochs",
            "training.num_generations",
            "training.batch_size",
            "training.gradient_accumulation_steps",
        ),
    ),
    (
        "generation",
        "The answers",
        "What the model may write while it practises.",
        True,
        (
            "training.max_new_tokens",
            "training.max_sequence_length",
            "training.temperature",
            "training.top_p",
            "training.top_k",
            "training.min_p",
            "training.repetition_penalty",
        ),
    ),
    (
        "warm-up",
        "Warm-up before it starts",
        "A small model often needs to be shown the form of an answer before it can be rewarded for it.",
        True,
        ("pre_training.*",),
    ),
    (
        "learning",
        "Learning rate and optimizer",
        "",
        False,
        (
            "training.learning_rate",
            "training.lr_scheduler_type",
            "training.warmup_steps",
            "training.optim",
            "training.weight_decay",
            "training.max_grad_norm",
            "training.adam_beta1",
            "training.adam_beta2",
        ),
    ),
    (OWN, "", "", False, ()),
    (
        "evaluation",
        "Held-out questions (evaluation)",
        "Rows that are set aside and only ever scored.",
        False,
        ("evaluation.*",),
    ),
    ("checkpoints", "Checkpoints, memory and seed", "", False, ("training.*",)),
)
"""Group id, title, text, open at first, fields. ``section.*`` takes every field not named elsewhere."""


def groups(draft: Draft, remarks: Remarks) -> tuple[FieldGroup, ...]:
    """Every group with the draft's values and what is wrong with them."""
    chosen = draft.chosen_method
    taken = {path for *_, paths in GROUPS for path in paths}
    made = []
    for key, title, text, opened, paths in GROUPS:
        if key == OWN:
            title, paths = chosen.section_title, (f"{chosen.section_name}.*",)  # noqa: PLW2901  # its own row
        names = [name for path in paths for name in _expand(path, taken) if chosen.uses(".".join(name))]
        fields = tuple(form_field(section, name, draft.sections[section], remarks) for section, name in names)
        opened_now = opened or any(item.level == "problem" for item in fields)
        made += [FieldGroup(key, title, text, opened_now, fields)] if fields else []
    return tuple(made)


def _expand(path: str, taken: set[str]) -> list[tuple[str, str]]:
    section, _, name = path.partition(".")
    if name != "*":
        return [(section, name)]
    return [(section, field) for field in section_model(section).model_fields if f"{section}.{field}" not in taken]
