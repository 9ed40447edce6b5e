"""All services of one installation, wired together once."""

from __future__ import annotations

from dataclasses import dataclass

from core.settings import Settings
from services.catalogue import Catalogue
from services.events import Events


@dataclass
class Services:
    settings: Settings
    events: Events
    catalogue: Catalogue


def build(settings: Settings) -> Services:
    """Wire the services. Starts no thread and no process."""
    settings.home.make()
    return Services(settings=settings, events=Events(), catalogue=Catalogue(settings.database_url))
