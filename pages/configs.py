"""The page of saved and built-in presets."""

from __future__ import annotations

from dataclasses import dataclass

from services.container import Services
from services.forms.labels import config_title, in_words
from services.wizard.configs import ConfigEntry
from services.wizard.draft import suggest_name


@dataclass(frozen=True)
class ConfigLine:
    """A preset in a list."""

    name: str
    detail: str


@dataclass(frozen=True)
class ConfigsPage:
    """The user's presets, and the built-in ones."""

    configs: tuple[ConfigLine, ...]
    presets: tuple[ConfigLine, ...]
    draft_name: str


def configs_page(services: Services) -> ConfigsPage:
    """Both lists, and a name for the current setup."""
    lines = [(entry.preset, ConfigLine(entry.name, _holds(services, entry))) for entry in services.configs.list()]
    own, presets = (tuple(line for is_preset, line in lines if is_preset is wanted) for wanted in (False, True))
    draft = services.wizard.draft()
    return ConfigsPage(own, presets, draft.name or suggest_name(draft, services.settings.home))


def _holds(services: Services, entry: ConfigEntry) -> str:
    return config_title(entry.config, services.settings.home) if entry.config else in_words(entry.problem or "")
