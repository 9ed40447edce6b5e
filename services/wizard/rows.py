"""The first rows of the draft's dataset, and the prompts that the model will see."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from core.data.rows import map_rows
from core.dataset import FieldGuess, Row
from core.errors import TunesmithError
from core.model import local_folder
from core.settings import Home
from services.datasets.datasets import LIMITS, Datasets, read_dataset_section
from services.wizard.draft import DatasetDraft, Draft, config_of

SAMPLES = 5
PROMPTS = 2
SLOW = ("tasks", "mix")
"""Their rows take a moment to generate, and are deterministic."""
MAPPING = (
    "instruction_field",
    "response_field",
    "chosen_field",
    "rejected_field",
    "winner_field",
    "label_field",
    "extraction",
    "extraction_pattern",
    "instruction_template",
    "columns",
    "text_field",
)
PROMPT = ("system_prompt", "reasoning_start", "reasoning_end", "solution_start", "solution_end", "chat_template")
ROWS = ("source", "subset", "revision", "split", "size", "max_operand", "seed", "tasks", "mix")
KEPT = 32
T = TypeVar("T")


@dataclass(frozen=True)
class RowsPreview:
    """The first rows of the file (long cells truncated), the total, and the suggested mapping.

    ``total`` is None if unknown.
    """

    rows: list[Row]
    columns: list[str]
    total: int | None
    guess: FieldGuess


class DraftRows:
    """Reads the draft's dataset. Loading a page never waits for Hugging Face: only a button may :meth:`fetch`.

    Args:
        home: Location of models.
        datasets: Reads the rows.
    """

    def __init__(self, home: Home, datasets: Datasets) -> None:
        self._home, self._datasets = home, datasets
        # Cache of what was fetched or took a moment to generate, by request.
        self._rows: dict[str, RowsPreview] = {}
        self._prompts: dict[str, dict[str, Any]] = {}
        self._trained: dict[str, dict[str, Any]] = {}

    def look(self, dataset: DatasetDraft) -> RowsPreview | None:
        """The first rows; None if they are on Hugging Face and not downloaded yet.

        Raises:
            TunesmithError: They cannot be read.
        """
        key = _key(dataset)
        if dataset.remote or key in self._rows:
            return self._rows.get(key)
        seen = self._preview(dataset, SAMPLES)
        if dataset.kind in SLOW:
            _keep(self._rows, key, seen)
        return seen

    def fetch(self, draft: Draft) -> None:
        """Read the first rows of a Hugging Face dataset, and the prompts, for the page.

        Raises:
            TunesmithError: It cannot be reached or read.
        """
        if draft.dataset.remote:
            _keep(self._rows, _key(draft.dataset), self._preview(draft.dataset, SAMPLES))
        if draft.model.name:
            _keep(self._prompts, _prompt_key(draft), self._prompt_preview(draft))
            if draft.chosen_method.uses("training.train_on"):
                # Whatever prevents it is reported for the prompts too, or is not known yet.
                with suppress(TunesmithError):
                    answer = self._datasets.trained_preview(config_of(draft, self._home))
                    _keep(self._trained, _trained_key(draft), answer)

    def mapped(self, dataset: DatasetDraft, count: int = 50) -> list[Row]:
        """Mapped rows, as far as they can be read without the network; empty without a source.

        Raises:
            TunesmithError: They cannot be read or mapped.
        """
        if not dataset.source:
            return []
        raw = self._rows.get(_key(dataset)) if dataset.remote else self._preview(dataset, count)
        section = read_dataset_section({**_readable(dataset), "text_field": None})  # Rewards need questions.
        return map_rows(raw.rows if raw else [], section)[0]

    def prompts(self, draft: Draft) -> dict[str, Any] | None:
        """The first prompts, exactly as rendered; None if the model's chat template would have to be downloaded.

        Returns:
            As :func:`services.datasets.prompts.preview`.

        Raises:
            TunesmithError: They cannot be rendered.
        """
        answer = self._prompts.get(_prompt_key(draft))
        if answer is None and not draft.dataset.remote and local_folder(draft.model.name, self._home):
            answer = self._prompt_preview(draft)
            if draft.dataset.kind in SLOW:
                _keep(self._prompts, _prompt_key(draft), answer)
        return answer

    def trained(self, draft: Draft) -> dict[str, Any] | None:
        """What the first row is trained on; None if files would have to be downloaded, or the method has no choice.

        Returns:
            As :func:`services.datasets.trained.trained_preview`.

        Raises:
            TunesmithError: It cannot be rendered.
        """
        if not draft.chosen_method.uses("training.train_on") or not draft.dataset.source:
            return None
        answer = self._trained.get(_trained_key(draft))
        if answer is None and not draft.dataset.remote and local_folder(draft.model.name, self._home):
            answer = self._datasets.trained_preview(config_of(draft, self._home))
            if draft.dataset.kind in SLOW:
                _keep(self._trained, _trained_key(draft), answer)
        return answer

    def _preview(self, dataset: DatasetDraft, count: int) -> RowsPreview:
        found = self._datasets.preview(_readable(dataset), count)
        guess = FieldGuess.model_validate(found["fields"])
        return RowsPreview(found["rows"], found["columns"], found["total"], guess)

    def _prompt_preview(self, draft: Draft) -> dict[str, Any]:
        return self._datasets.prompt_preview(config_of(draft, self._home), PROMPTS)


def _keep(kept: dict[str, T], key: str, value: T) -> None:
    """Cache the latest few."""
    while len(kept) >= KEPT:
        kept.pop(next(iter(kept)))
    kept[key] = value


def _readable(dataset: DatasetDraft) -> dict[str, Any]:
    """The fields that decide which rows are read; an error in others must not hide them."""
    return {name: dataset.values[name] for name in (*ROWS, *MAPPING, *PROMPT) if name in dataset.values}


def _key(dataset: DatasetDraft) -> str:
    names = ("source", "subset", "split", "revision", "size", "seed", "tasks", "mix")
    return json.dumps([dataset.values.get(name) for name in names], default=str)


def _prompt_key(draft: Draft) -> str:
    return json.dumps([draft.model.values, draft.dataset.values], sort_keys=True, default=str)


def _trained_key(draft: Draft) -> str:
    limits = [draft.sections["training"].get(name) for name in LIMITS]
    return json.dumps([_prompt_key(draft), limits], default=str)
