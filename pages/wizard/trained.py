"""What is trained: the first row's tokens, for each choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from core.errors import TunesmithError
from services.container import Services
from services.wizard.draft import Draft

DARKEST = 3
"""Shades of weights below 1, equal to it and above it are 1, 2 and 3."""


@dataclass(frozen=True)
class TokenView:
    """A token as it is shown, with visible line breaks. ``text`` is empty if it only completes a character."""

    text: str
    weight: float


@dataclass(frozen=True)
class Stretch:
    """Neighboring tokens with the same weight, and its shade: 0 if they are not trained."""

    tokens: tuple[TokenView, ...]
    weight: str
    shade: int


@dataclass(frozen=True)
class ChoiceView:
    """A choice, and what it trains in the row."""

    key: str
    title: str
    chosen: bool
    counts: str
    texts: tuple[tuple[Stretch, ...], ...]
    cut: int
    notes: tuple[str, ...]
    refused: str


@dataclass(frozen=True)
class TrainedView:
    """The first row by choice, or why it cannot be shown."""

    choices: tuple[ChoiceView, ...]
    problem: str = ""


def trained_view(services: Services, draft: Draft) -> TrainedView | None:
    """The preview; None if the method has no choice, or the model or the rows are not here."""
    if not draft.model.name:
        return None
    try:
        answer = services.draft_rows.trained(draft)
    except TunesmithError as error:
        return TrainedView((), error.message)
    if not answer or not answer["rows"]:
        return None
    row: Mapping[str, Mapping[str, Any]] = answer["rows"][0]
    return TrainedView(tuple(_choice(key, one, key == answer["train_on"]) for key, one in row.items()))


def _choice(key: str, found: Mapping[str, Any], chosen: bool) -> ChoiceView:
    texts = len(found["texts"])
    counts = f"{found['trained']:,} of {found['tokens']:,} tokens" + (
        f" in {texts} training texts" if texts > 1 else ""
    )
    return ChoiceView(
        key=key,
        title=found["title"],
        chosen=chosen,
        counts="not possible for this row" if found["refused"] else counts,
        texts=tuple(tuple(_stretches(text["tokens"])) for text in found["texts"]),
        cut=sum(text["cut"] for text in found["texts"]),
        notes=tuple(found["notes"]),
        refused=found["refused"] or "",
    )


def _stretches(tokens: Iterable[Mapping[str, Any]]) -> Iterable[Stretch]:
    for weight, some in groupby(tokens, key=lambda token: float(token["weight"])):
        views = tuple(TokenView(str(token["text"]), weight) for token in some)
        shade = 0 if not weight else 1 if weight < 1 else 2 if weight == 1 else DARKEST
        yield Stretch(views, f"{weight:g}", shade)
