"""Chooses the setup's dataset with its mapping, saved prompts, length limits and suggestions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.data.known_datasets import CATALOGUE
from core.dataset import FieldGuess
from core.errors import TunesmithError
from services.datasets.library import PREFERENCES, TEMPLATE_FIELDS, Library, detected_mapping
from services.datasets.preparation_jobs import DRAFT, Preparations
from services.wizard.draft import DatasetDraft
from services.wizard.rows import DraftRows
from services.wizard.snapshot import preparable
from services.wizard.suggestions import follow_dataset
from services.wizard.wizard import Wizard


@dataclass(frozen=True)
class DatasetChoice:
    """Operations on the setup's dataset."""

    wizard: Wizard
    rows: DraftRows
    library: Library
    preparations: Preparations

    def use(self, section: Mapping[str, Any], kind: str) -> None:
        """Choose a dataset with its mapping. The system prompt and tags stay.

        Args:
            section: The dataset section.
            kind: Which kind of source on the Dataset step it belongs to.
        """
        before = self.wizard.draft().dataset.values
        self._choose({name: value for name, value in before.items() if name in TEMPLATE_FIELDS}, section, kind)

    def use_known(self, path: str) -> bool:
        """Choose a well-known dataset with its mapping. False if there is none with this path."""
        known = next((known for known in CATALOGUE if known.path == path), None)
        if known is None:
            return False
        before = self.wizard.draft().dataset.values
        kept = {name: value for name, value in before.items() if name in TEMPLATE_FIELDS}
        self._choose(kept, known.section, "hub")
        return True

    def _choose(self, kept: Mapping[str, Any], section: Mapping[str, Any], kind: str) -> None:
        self.wizard.put(dataset={**kept, **section})
        self.wizard.remember("dataset", kind=kind)
        self.suggest()

    def suggest(self) -> None:
        """Suggest a reward, a system prompt and markers for the rows, unless the user has chosen others."""
        follow_dataset(self.wizard, self.rows)

    def fetch(self) -> None:
        """Fetch the first rows and prompts for the page to show. Raises TunesmithError."""
        self.rows.fetch(self.wizard.draft())

    def use_guess(self) -> None:
        """Use the detected mapping if it is complete."""
        dataset = self.wizard.draft().dataset
        guess = self._guess(dataset)
        if guess is None or not (guess.instruction and guess.response):
            return
        proposed = detected_mapping(guess)
        if not guess.columns:
            del proposed["columns"]
        unset = {name for name in PREFERENCES if not proposed[name] and name not in dataset.values}
        proposed = {name: value for name, value in proposed.items() if name not in unset}
        self.wizard.put(dataset={**dataset.values, **proposed})

    def use_text(self) -> None:
        """Learn the only column with text as plain text."""
        dataset = self.wizard.draft().dataset
        guess = self._guess(dataset)
        if guess and guess.text:
            self.wizard.put(dataset={**dataset.values, "text_field": guess.text})

    def map_preferences(self) -> None:
        """Use the detected columns of pairs or ratings, if the draft names none."""
        dataset = self.wizard.draft().dataset
        guess = self._guess(dataset)
        if guess is None or any(dataset.text(name) for name in PREFERENCES):
            return
        found = detected_mapping(guess)
        if columns := {name: found[name] for name in PREFERENCES if found[name]}:
            self.wizard.put(dataset={**dataset.values, **columns})

    def _guess(self, dataset: DatasetDraft) -> FieldGuess | None:
        """The detected mapping; None if the rows cannot be read here, which the page reports."""
        try:
            preview = self.rows.look(dataset)
        except TunesmithError:
            return None
        return preview.guess if preview else None

    # --- saved prompts ---

    def use_template(self, name: str) -> None:
        """Put a saved template into the draft; an unknown name changes nothing."""
        template = self.library.templates().get(name)
        if template is not None:
            before = self.wizard.draft().dataset.values
            kept = {name: value for name, value in before.items() if name not in TEMPLATE_FIELDS}
            self.wizard.put(dataset=kept | template)

    def save_template(self, name: str) -> None:
        """Save the prompt settings under a name. Raises InvalidInput for an invalid name, Conflict for too many."""
        self.library.save_template(name, self.wizard.draft().dataset.json())

    # --- preparation ---

    def prepare(self) -> None:
        """Prepare the whole dataset; a page shows the progress, then the report. Raises TunesmithError."""
        self.preparations.start(DRAFT, preparable(self.wizard.config()))

    def use_limits(self, report: Mapping[str, Any] | None) -> bool:
        """Apply the lengths that a preparation report proposes; False if it proposes none."""
        lengths = (report or {}).get("lengths")
        if not lengths:
            return False
        uses = self.wizard.method().uses
        paths = (f"training.{name}" for name in ("max_sequence_length", "max_new_tokens"))
        self.wizard.change({path: lengths[path.partition(".")[2]] for path in paths if uses(path)})
        return True

    def use_own_limits(self) -> bool:
        """The same with the latest report on the draft's dataset."""
        return self.use_limits(self.library.draft_report(preparable(self.wizard.config()))[0])
