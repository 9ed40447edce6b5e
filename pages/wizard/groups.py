"""The settings step's fields, in groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from core.learning_rate import EXAMPLES
from core.methods import Method, Need
from core.section import range_words
from services.forms.fields import FieldGroup, FormField, Remarks, Values, form_field, section_model
from services.wizard.draft import Draft

OWN = "method"
"""The group of the draft's method, which provides its title and fields."""


class Group(NamedTuple):
    """Fields that belong together.

    ``paths`` may have ``section.*`` for every field that no other group of the method names. ``rollouts`` is whether
    the group is for methods that generate answers during training (True), for the others (False) or for all.
    """

    id: str
    title: str
    text: str
    paths: tuple[str, ...]
    rollouts: bool | None = None


LENGTH = (
    "training.max_steps",
    "training.num_epochs",
    "training.num_generations",
    "training.batch_size",
    "training.gradient_accumulation_steps",
)
GROUPS = (
    Group(
        "batch",
        "Length and batch size",
        "In each step, the model answers some questions several times and is updated once.",
        LENGTH,
        rollouts=True,
    ),
    Group(
        "batch",
        "Length and batch size",
        "In each step, the model learns from some rows and is updated once.",
        (*LENGTH, "training.max_sequence_length", "training.train_on"),
        rollouts=False,
    ),
    Group(
        "generation",
        "Answer generation",
        "How the model generates answers during training.",
        (
            "training.max_new_tokens",
            "training.max_sequence_length",
            "training.temperature",
            "training.top_p",
            "training.top_k",
            "training.min_p",
            "training.repetition_penalty",
        ),
        rollouts=True,
    ),
    Group(
        "warm-up",
        "Warm-up",
        "Small models often need to see the answer format before they can be rewarded for it.",
        ("pre_training.*",),
    ),
    Group(
        "learning",
        "Learning rate and optimizer",
        "",
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
    Group(OWN, "", "", ()),
    Group(
        "evaluation",
        "Evaluation",
        "Held-out rows are never trained on, only scored.",
        ("evaluation.*",),
    ),
    Group("checkpoints", "Checkpoints, memory, and seed", "", ("training.*",)),
)


def groups(draft: Draft, remarks: Remarks, suggested: Mapping[str, Values]) -> tuple[FieldGroup, ...]:
    """The groups of the draft's method that have a field, with the draft's values and what is wrong with them.

    Args:
        suggested: Sections with the method's suggestions, which fields show as their defaults.
    """
    chosen, made = draft.chosen_method, []
    own = groups_of(chosen)
    taken = {path for group in own for path in group.paths}
    for group in own:
        names = [name for path in group.paths for name in _expand(path, taken) if chosen.uses(".".join(name))]
        fields = tuple(
            _with_rates(form_field(section, name, draft.sections[section], remarks, suggested.get(section, {})), draft)
            for section, name in names
        )
        opened = any(item.level in {"problem", "watch"} for item in fields)
        made += [FieldGroup(group.id, group.title, group.text, opened, fields)] if fields else []
    return tuple(made)


def _with_rates(field: FormField, draft: Draft) -> FormField:
    """A learning rate with the range that suits its method and adapter; other fields unchanged."""
    known = {"training.learning_rate": draft.chosen_method.rates, "pre_training.learning_rate": EXAMPLES}
    rates = known.get(field.path)
    if rates is None:
        return field
    full = draft.model.text("adapter") == "none"
    usual = rates.full if full else rates.lora
    why = (
        "Training every weight needs about a tenth of LoRA's learning rate."
        if full
        else "LoRA needs about ten times the learning rate of full fine-tuning."
    )
    facts = f"{field.facts} · Suggested: {range_words((usual.low, usual.high))}"
    return replace(field, description=f"{field.description} {why}", facts=facts)


def groups_of(chosen: Method) -> tuple[Group, ...]:
    """The groups for a method, including its own."""
    own = Group(OWN, chosen.section_title, "", (f"{chosen.section_name}.*",))
    rollouts = Need.ROLLOUTS in chosen.needs
    return tuple(own if group.id == OWN else group for group in GROUPS if group.rollouts in (None, rollouts))


def _expand(path: str, taken: set[str]) -> list[tuple[str, str]]:
    section, _, name = path.partition(".")
    if name != "*":
        return [(section, name)]
    return [(section, field) for field in section_model(section).model_fields if f"{section}.{field}" not in taken]
