"""The page that serves a model to other programs."""

from __future__ import annotations

from dataclasses import dataclass

from pages.models.playground import ModelGroup, model_groups, other_of
from services.container import Services
from services.models.endpoint import default_name, examples


@dataclass(frozen=True)
class ServePage:
    """The endpoint for other programs.

    Attributes:
        on: Whether it is enabled.
        name: The model's name for clients.
        own_name: The same if the user chose it, else empty.
        model: The served model's reference, or what the form starts with.
        other: The same if it is not in the list, else empty.
        groups: The models to choose from.
        base_url: The base URL for clients.
        key: Source of the access token; see :attr:`services.access.security.Gate.key`.
        token: The token, only when it was just created.
        curl, python: Examples.
    """

    on: bool
    name: str
    own_name: str
    model: str
    other: str
    groups: tuple[ModelGroup, ...]
    base_url: str
    key: str
    token: str
    curl: str
    python: str


def serve_page(services: Services, base_url: str, *, key: str, chosen: str = "", token: str = "") -> ServePage:
    """The endpoint's current state."""
    served, groups = services.endpoint.served, model_groups(services)
    model = chosen or served.model_path or groups[0].options[0].value
    return ServePage(
        on=served.on,
        name=served.name,
        own_name=served.name if served.name != default_name(served.model_path) else "",
        model=model,
        other=other_of(groups, model),
        groups=groups,
        base_url=base_url,
        key=key,
        token=token,
        **examples(base_url, served.name or "model"),
    )
