"""The adapter on the Model step: which layers it is on, and how many parameters it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast, get_args

from core.lora import ALL_LINEAR, Preset, share_words
from services.container import Services
from services.forms.fields import CHOICES, FormField, Remarks, form_field
from services.models.layers import LocalLayers, layers_here
from services.wizard.draft import ModelDraft
from services.wizard.forms import preset_of

TEXTS: dict[str, str] = {
    "all": "Learns best, and suits most tasks.",
    "attention": "How the model relates words to each other. A smaller adapter that learns less.",
    "feed_forward": "Where a model keeps most of what it knows. Most of the weights are here.",
    "minimal": "Part of the attention layers, as in the LoRA paper. The smallest adapter.",
    "custom": "Name the layers yourself.",
}
"""What each preset trains, in plain words."""


@dataclass(frozen=True)
class PresetChoice:
    """One choice of layers; ``count`` is how many parameters it trains, '' if unknown."""

    key: str
    title: str
    text: str
    chosen: bool
    count: str


@dataclass(frozen=True)
class AdapterPart:
    """The layers of the adapter.

    Attributes:
        presets: The choices of layers; empty if the method has none.
        preset: The field, for its message.
        names: The field with the layers' names, for a custom choice.
        share: A sentence on how many parameters are trained.
    """

    presets: tuple[PresetChoice, ...]
    preset: FormField
    names: FormField
    share: str


def adapter_part(services: Services, model: ModelDraft, uses: Callable[[str], bool], remarks: Remarks) -> AdapterPart:
    """The part for the draft's model.

    Args:
        uses: Whether the method uses a setting.
    """
    known = layers_here(model.name, services.settings.home) if model.name else None
    chosen = preset_of(model.values)
    values = {**model.values, "lora_preset": chosen}
    counts = {key: _trained(known, model, key) for key in get_args(Preset)}
    found = counts.get(chosen)
    if model.text("adapter") == "none":
        share = f"Trains all {known.parameters:,} parameters." if known else "Trains every parameter."
    elif found:
        share = f"Trains {share_words(*found)}."
    elif known is None and model.name:
        share = "The number of trained parameters is shown once the model's files are on this machine."
    else:
        share = ""
    choices = CHOICES["lora_preset"] if uses("model.lora_preset") else {}
    return AdapterPart(
        tuple(
            PresetChoice(key, title, TEXTS[key], key == chosen, _words(counts.get(key)))
            for key, title in choices.items()
        ),
        form_field("model", "lora_preset", values, remarks),
        form_field("model", "target_modules", values, remarks),
        share,
    )


def _words(found: tuple[int, int] | None) -> str:
    if found is None:
        return ""
    millions = found[0] / 1e6
    return f"{millions:.1f} million parameters" if millions >= 1 else f"{found[0]:,} parameters"


def _trained(known: LocalLayers | None, model: ModelDraft, preset: str) -> tuple[int, int] | None:
    """Trained and all parameters with a preset; None if the files or the typed values do not say."""
    layers = model.values.get("target_modules", ALL_LINEAR)
    try:
        rank = model.whole("lora_rank", 16)
    except (TypeError, ValueError):
        return None
    typed = isinstance(layers, str) or (
        isinstance(layers, list | tuple) and all(isinstance(one, str) for one in layers)
    )
    if known is None or not typed or not 1 <= rank <= 1024:
        return None
    chosen = cast("str | tuple[str, ...]", layers)
    return known.trained(cast("Preset", preset), chosen, rank, dora=bool(model.values.get("use_dora")))
