"""The wizard's draft on the server: reading it and every change to it.

Each step saves only its own sections, so two tabs on different steps never overwrite each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from core.config import SECTIONS
from core.methods import Method, method_of
from core.model import DEMO_MODEL
from core.settings import Home
from services.datasets.library import Library
from services.forms.fields import whole_number
from services.jobs.database import Database
from services.models.layers import model_facts
from services.wizard.draft import SINGLE, DatasetDraft, Draft, config_of, read_draft
from services.wizard.forms import read_form
from services.wizard.merge import Merged, merge, read_was
from services.wizard.resuggest import followed, planned, switched
from services.wizard.steps import STEP


class Wizard:
    """The stored draft.

    Args:
        database: Stores it.
        on_gpu: Whether runs here use a GPU; called when defaults are needed.
        home: Location of uploads, for their names.
        library: Knows the mapping that comes with a dataset.
        base_model: The model of a new draft.
    """

    def __init__(
        self,
        database: Database,
        on_gpu: Callable[[], bool],
        home: Home,
        library: Library,
        base_model: Callable[[], str] = lambda: DEMO_MODEL,
    ) -> None:
        self._database, self._on_gpu, self._base_model = database, on_gpu, base_model
        self._home, self._library = home, library
        self._saving = threading.Lock()

    def draft(self) -> Draft:
        """The current draft. A request reads it once and passes it on."""
        return read_draft(self._database.get_draft(), on_gpu=self._on_gpu(), base_model=self._base_model())

    def method(self) -> Method:
        """Only the draft's training method, for pages that show nothing else of the draft."""
        return method_of({"method": self._database.draft_part("method")})

    def config(self) -> dict[str, Any]:
        """The draft as an unvalidated configuration, without sections that were never chosen."""
        return config_of(self.draft(), self._home)

    def save(self, step: str, form: Mapping[str, str]) -> Merged:
        """Save what the form changed in the step's sections, unless the same page has sent a newer form.

        Args:
            form: The submitted fields; ``was`` is the page's :func:`services.wizard.merge.page_state`.

        Returns:
            What was saved, what was changed in another tab, and what was rejected because both changed it.
        """
        with self._saving:
            draft = self.draft()
            if _overtaken(form.get("ui.sent", ""), str(draft.page(step).get("sent", ""))):
                return Merged({})
            return self._save(draft, step, form)

    def _save(self, draft: Draft, step: str, form: Mapping[str, str]) -> Merged:
        state, memory = read_was(form.get("was", "")), draft.page(step)
        now = {name: draft.part(name) for name in STEP[step].sections}
        page = form.get("ui.sent", "").rpartition(" ")[0]
        by = dict(memory.get("by") or {})
        base = {name: _as_it_was(state, name, value) for name, value in now.items()}
        mine = read_form(self._library, step, form, base)
        merged = merge(base, mine, now, lambda path: bool(page) and by.get(path) == page)
        by |= dict.fromkeys(merged.mine, page)
        # A rejected choice must not look as if it had been made.
        shown = {"sent": form.get("ui.sent", "")} if merged.refused else _ui(form, state)
        saved = {**merged.sections, f"ui_{step}": {**memory, **shown, "by": by, "visited": True}}
        if (to := method_of({"method": merged.sections.get("method", draft.method)})) is not draft.chosen_method:
            saved |= switched(draft, to, on_gpu=self._on_gpu())
        self._database.save_draft(saved)
        return merged

    def switch(self, key: str) -> None:
        """Choose another training method, as on the Model step."""
        with self._saving:
            draft, to = self.draft(), method_of({"method": key})
            if to is not draft.chosen_method:
                self._database.save_draft({"method": to.key, **switched(draft, to, on_gpu=self._on_gpu())})

    def remember(self, step: str, *, of: Draft | None = None, **values: Any) -> Draft:
        """Store state of a step's page that is not part of the configuration.

        Args:
            of: The draft, if already read.

        Returns:
            The updated draft.
        """
        draft = (of or self.draft()).remembering(step, values)
        self._database.save_draft({f"ui_{step}": draft.page(step)})
        return draft

    def put(self, **sections: Any) -> None:
        """Replace whole sections of the draft; None resets a section to the suggestions."""
        self._database.save_draft(sections)

    def update(self, change: Callable[[Draft], Mapping[str, Any]]) -> None:
        """Apply ``change`` to the draft atomically; no form is saved in between."""
        with self._saving:
            self._database.save_draft(dict(change(self.draft())))

    def change(self, values: Mapping[str, Any]) -> None:
        """Set single fields of the draft, by path; a path without a dot replaces a whole section."""
        draft = self.draft()
        changed: dict[str, Any] = {}
        for path, value in values.items():
            section, _, name = path.partition(".")
            changed[section] = {**changed.get(section, draft.sections[section]), name: value} if name else value
        self.put(**changed)

    def load(self, config: Mapping[str, Any]) -> None:
        """Make a saved configuration the draft, unchanged."""
        given = {name: one for name in SECTIONS if isinstance(one := config.get(name), Mapping)}
        # Sections that its method does not use come from another method's suggestions, if that is chosen.
        sections = given | {name: {} for name in SECTIONS if name not in given and method_of(config).uses(name)}
        self._database.clear_draft()
        self.put(
            **sections,
            name=config.get("name", ""),
            method=config.get("method"),
            ui_model={"setup": "advanced" if set(sections["model"]) - {"name"} else "recommended", "visited": True},
            ui_dataset={"kind": DatasetDraft(sections["dataset"]).kind, "visited": True},
            ui_configuration={"visited": True},
            ui_reward={"visited": True},
        )

    def follow(self, source: str, data: tuple[int | None, tuple[int, int] | None] | None) -> None:
        """Update suggestions for the model and the data; values that a user set stay.

        Args:
            source: The dataset's previous source.
            data: Its rows and the lengths that fit them; None if the draft cannot be read.
        """
        with self._saving:
            draft = self.draft()
            model = model_facts(draft.model.name, draft.model.text("adapter") or "lora", self._home)
            if changes := followed(draft, source, data, model, on_gpu=self._on_gpu()):
                self._database.save_draft(changes)

    def plan(self, key: str) -> None:
        """Choose a plan."""
        with self._saving:
            self._database.save_draft(planned(self.draft(), key, on_gpu=self._on_gpu()))

    def reset(self) -> None:
        """Clear every choice."""
        self._database.clear_draft()


def _as_it_was(state: Mapping[str, Any], name: str, now: Any) -> Any:
    """A section as rendered on a page; the current one if the form has none or it is invalid."""
    sections = state.get("sections")
    if not isinstance(sections, dict) or name not in sections:
        return now
    was = sections[name]
    return was if isinstance(was, str if name in SINGLE else dict) or was is None else now


def _ui(form: Mapping[str, str], state: Mapping[str, Any]) -> dict[str, Any]:
    """State of the page that is not part of the configuration, with the form's changes."""
    before = state.get("ui") if isinstance(state.get("ui"), dict) else None
    given = {key.removeprefix("ui."): value for key, value in form.items() if key.startswith("ui.")}
    return {key: value for key, value in given.items() if (before or {}).get(key, _NEVER) != value}


_NEVER = object()


def _overtaken(given: str, kept: str) -> bool:
    """Whether both are ``<page> <number>`` of the same page and ``kept`` was sent later."""
    page, _, number = given.rpartition(" ")
    same, _, last = kept.rpartition(" ")
    sent, before = whole_number(number), whole_number(last)
    return bool(page) and page == same and sent is not None and before is not None and sent < before
