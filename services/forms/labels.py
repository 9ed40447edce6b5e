"""Names of models, datasets, rewards and settings on pages. The API uses ids and field paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from core.config import MARKERS, SECTIONS, RunConfig
from core.data import sources, uploads
from core.errors import TunesmithError
from core.methods import method
from core.rewards import PRESETS, part_title
from core.settings import Home
from services.forms.fields import field_title, section_model
from services.forms.reward_form import components
from services.models.families import BASE_MODELS

MADE = {
    "generated:arithmetic": "Arithmetic (generated)",
    "generated:preferences": "Preferences (generated)",
    "generated:reasoning-gym": "Exercises (generated)",
    "mix": "Mixed datasets",
}
SHORT = {
    "generated:arithmetic": "arithmetic",
    "generated:preferences": "preferences",
    "generated:reasoning-gym": "exercises",
    "mix": "mixed datasets",
}
_PATHS = {f"{section}.{name}" for section in SECTIONS for name in section_model(section).model_fields}
_NAMES = {
    name: f"{section}.{name}"
    for section, _, name in (path.partition(".") for path in sorted(_PATHS))
    if "_" in name and (section != "dataset" or name in MARKERS)
}
"""Field names that messages use without their section; the dataset's only if no column could have them."""
_WORD = re.compile(r"(?<![\w.'])[a-z]+(?:[._][a-z0-9]+)+(?![\w'])")


def in_words(text: str) -> str:
    """A message for users: field titles instead of paths and names.

    >>> in_words("training.batch_size: must be at least 1 (it is 0)")
    'Batch size: must be at least 1 (it is 0)'
    >>> in_words("batch_size × gradient_accumulation_steps is 8")
    "'Batch size' × 'Gradient accumulation' is 8"
    """

    def title(match: re.Match[str]) -> str:
        word = match[0]
        if ".".join(word.split(".")[:2]) in _PATHS:
            return field_title(word)
        return f"'{field_title(_NAMES[word])}'" if word in _NAMES else word

    return _WORD.sub(title, text)


def model_title(name: str) -> str:
    """A base model's title, or its name."""
    return next((info.title for info in BASE_MODELS if info.name == name), name)


def dataset_title(source: str, home: Home) -> str:
    """A dataset's name with its rows; if the name is shared, with the start of its hash."""
    if not source.startswith(sources.UPLOAD):
        return MADE.get(source, source)
    try:
        info = uploads.read_info(sources.upload_folder(source, home))
    except TunesmithError:
        info = None
    if info is None:
        return "a deleted file"
    return f"{uploads.names(home.uploads).get(info.id, info.name)}, {info.rows:,} rows"


def plain_name(name: str, home: Home) -> str:
    """A model's or dataset's name without technical prefixes; an upload by its file name."""
    head = name.partition(":")[0]
    if head == "upload":
        return dataset_title(name, home).rpartition(", ")[0] or "a deleted file"
    return SHORT.get(name, model_title(name).removeprefix("builtin:") if head == "builtin" else name)


def reward_title(reward: Mapping[str, Any]) -> str:
    """A reward section in words."""
    if reward.get("type") == "composite":
        names = {str(part.get("label") or part.get("name")): part for part in components(reward)}
        parts = [f"{part_title(name, reward)} × {part.get('weight', 1)}" for name, part in names.items()]
        return ", ".join(parts) or "no components yet"
    name = str(reward.get("preset_name") or "")
    return PRESETS[name].title if name in PRESETS else name.replace("_", " ")


def config_title(config: RunConfig, home: Home) -> str:
    """Model, dataset and, if the method needs one, reward of a configuration in one line."""
    title = f"{model_title(config.model.name)} · {dataset_title(config.dataset.source, home)}"
    if not method(config.method).uses("reward"):
        return title
    return f"{title} · reward: {reward_title(config.reward.model_dump(mode='json'))}"
