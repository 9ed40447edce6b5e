"""Actions on the draft: the buttons of the wizard's pages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import core.methods
from core.errors import InvalidConfig, InvalidInput, NotFound, TunesmithError
from services.datasets.library import Library
from services.forms.fields import field_title
from services.forms.reward_form import remembering
from services.probes.probes import Probes
from services.runs.preflight import Preflight
from services.runs.runs import Runs
from services.wizard import start
from services.wizard.configs import Configs
from services.wizard.dataset_choice import DatasetChoice
from services.wizard.draft import Draft
from services.wizard.merge import Merged, others, read_was
from services.wizard.rows import DraftRows
from services.wizard.samples import sample
from services.wizard.snapshot import Snapshot, Snapshots, can_be_probed
from services.wizard.steps import STEP, choices_of, following
from services.wizard.suggestions import use_suggested_reward
from services.wizard.wizard import Wizard

CONFIRM = "To use this reward, select 'Start anyway' first."
UNREADY = "The run was not started. Fix the problems listed below first. Your setup is kept."
CHANGED = "The run was not started: your setup was changed in another tab. Review it here, then start."
DATA_STEPS = ("model", "dataset")
"""Steps that affect the number of rows and their length in tokens."""
ANSWER = "training.max_new_tokens"
Form = Mapping[str, str]
Said = tuple[str, str]
"""A message and its level: '', ``good``, ``watch`` or ``problem``."""


@dataclass(frozen=True)
class Outcome:
    """The result of an action.

    Attributes:
        page: The next page: a step's key, ``preparation``, ``probe`` or ``run``.
        said: Message at the top of the page.
        job_id: For the pages ``probe`` and ``run``.
        refused: Fields that another tab also changed: they keep its value, and the button did nothing.
        elsewhere: Fields that another tab changed, if the same page is shown again.
    """

    page: str
    said: tuple[Said, ...] = ()
    job_id: str = ""
    refused: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drafts:
    """Operations on the draft as a whole; those on the dataset are in ``dataset``."""

    wizard: Wizard
    snapshots: Snapshots
    rows: DraftRows
    dataset: DatasetChoice
    library: Library
    configs: Configs
    runs: Runs
    probes: Probes
    preflight: Preflight
    _starting: threading.Lock = field(default_factory=threading.Lock)

    def first_step(self) -> str:
        """The first step that needs attention or was not visited."""
        snapshot = self.snapshots.take()
        missing, draft = snapshot.review.missing, snapshot.draft
        steps = (step.key for step in choices_of(draft.chosen_method))
        return next((key for key in steps if key in missing or not draft.page(key).get("visited")), "train")

    def submit(self, step: str, form: Form) -> Outcome:
        """Save what a step's form changed, then run the button's ``action``.

        Raises:
            NotFound: There is no such step.
            TunesmithError: The dataset cannot be prepared.
        """
        if step not in STEP:
            raise NotFound("There is no such step. Start at New run.")
        before = self.wizard.draft()
        if step == "reward":
            form = remembering(form, before.reward.values)
        merged = self.wizard.save(step, form)
        # A loaded setup has no suggestions that another method could change.
        if step == "dataset" or (before.suggested and self.wizard.method() is not before.chosen_method):
            self.dataset.suggest()
        told = _told(merged)
        if merged.refused:
            return Outcome(step, told, refused=merged.refused)
        if step == "model":
            told = (*told, *self._follow_start(before))
        outcome = self._act(step, form)
        if step == "dataset":
            self.dataset.suggest()  # the action may have fetched rows or changed the columns
        if step in DATA_STEPS:
            told = (*told, *self._follow_data(before))
        elsewhere = merged.elsewhere if outcome.page == step else ()
        return replace(outcome, said=(*told, *outcome.said), elsewhere=elsewhere)

    def start(self, *, confirmed: bool = False) -> str:
        """Start the draft's run once: a second call, from a double click or another tab, returns the same run.

        After a run has ended, a changed draft starts another.

        Args:
            confirmed: Whether the user chose to start although the reward has loopholes.

        Returns:
            The run's id.

        Raises:
            TunesmithError: As :meth:`services.runs.runs.Runs.start` and
                :meth:`services.runs.preflight.Preflight.admit`.
        """
        with self._starting:
            return self._start_once(self.snapshots.take(), confirmed)

    def _start_once(self, snapshot: Snapshot, confirmed: bool) -> str:
        if snapshot.started.run:
            return snapshot.started.run.session_id
        # The last check, because it may fetch rows and load a model to test the reward.
        self.preflight.admit(self.runs.check_start(snapshot.config), confirmed, CONFIRM)
        session_id = self.runs.start(snapshot.config).session_id
        self.wizard.put(session_id=session_id)
        return session_id

    def _follow_start(self, before: Draft) -> tuple[Said, ...]:
        """Take over the base model of a run to continue from, with a message if that changed it."""
        after = self.wizard.draft()
        values, words = start.followed(before, after, self.snapshots.home)
        if values != dict(after.model.values):
            self.wizard.put(model=values)
        return ((words, ""),) if words else ()

    def _follow_data(self, before: Draft) -> tuple[Said, ...]:
        """Update suggested settings for the rows, with a message if the answer length changed."""
        snapshot = self.snapshots.take()
        self.wizard.follow(before.dataset.source, snapshot.data)
        after = self.wizard.draft()
        now, chosen = after.value(ANSWER), bool(before.dataset.source)
        if not chosen or now == before.value(ANSWER) or before.method != after.method:
            return ()
        return ((f"The {field_title(ANSWER).lower()} is now {now} tokens, to suit this dataset.", ""),)

    # --- buttons ---

    def _act(self, step: str, form: Form) -> Outcome:
        action = form.get("action", "save")
        if action in _ACTIONS:
            return _ACTIONS[action](self, form)
        verb, _, of = action.partition("-")
        if verb == "fix":
            return self._fix(step, of)
        if verb == "known":
            return self._take_known(of)
        if verb == "sample":
            self._fill_in(of)
        if verb == "plan":
            self.wizard.plan(of)
        if verb == "method":
            return self._switch(of)
        if action != "next":
            return Outcome(step)
        snapshot = self.snapshots.take()
        return Outcome(step if step in snapshot.review.missing else following(step, snapshot.draft.chosen_method))

    def _fix(self, step: str, path: str) -> Outcome:
        """Apply the fix that the readiness list offers for a field."""
        fix = self.snapshots.take().review.readiness.fix(path)
        if fix is None:
            return Outcome(step, (("This is no longer needed because your setup has changed.", "good"),))
        self.wizard.change(fix.values)
        return Outcome(step, ((f"Done: {fix.label}.", "good"),))

    def _take_known(self, path: str) -> Outcome:
        return self._look() if self.dataset.use_known(path) else Outcome("dataset")

    def _look(self) -> Outcome:
        return _tried("dataset", self.dataset.fetch)

    def _use_guess(self) -> Outcome:
        self.dataset.use_guess()
        return Outcome("dataset")

    def _switch(self, key: str) -> Outcome:
        """Use another method for the chosen dataset, with the columns that it needs."""
        if key not in {one.key for one in core.methods.METHODS}:
            return Outcome("dataset")
        self.wizard.switch(key)
        self.dataset.map_preferences()
        return Outcome("dataset", ((f"The training method is now {self.wizard.method().term}.", "good"),))

    def _use_text(self) -> Outcome:
        self.dataset.use_text()
        return Outcome("dataset")

    def _use_template(self, form: Form) -> Outcome:
        self.dataset.use_template(form.get("template", ""))
        return Outcome("dataset")

    def _save_template(self, form: Form) -> Outcome:
        name = form.get("template-name", "")
        return _tried("dataset", lambda: self.dataset.save_template(name), "Prompt saved.")

    def _delete_template(self, form: Form) -> Outcome:
        return _tried("dataset", lambda: self.library.delete_template(form.get("template", "")))

    def _prepare(self) -> Outcome:
        self.dataset.prepare()
        return Outcome("preparation")

    def _suggest(self) -> Outcome:
        self.wizard.put(**dict.fromkeys(STEP["configuration"].sections))
        self.wizard.remember("configuration", by={})
        words = "All settings of this step are back to their suggested values."
        return Outcome("configuration", ((words, "good"),))

    def _use_suggestion(self) -> Outcome:
        use_suggested_reward(self.wizard, self.rows)
        return Outcome("reward")

    def _fill_in(self, key: str) -> None:
        """Fill in the reward step's test field with a sample answer."""
        draft = self.wizard.draft()
        try:
            rows = self.rows.mapped(draft.dataset)
        except TunesmithError:
            rows = []
        text = sample(rows[draft.row % len(rows)], draft.dataset, key) if rows else ""
        self.wizard.remember("reward", of=draft, completion=text)

    def _move_row(self, by: int) -> Outcome:
        draft = self.wizard.draft()
        self.wizard.remember("reward", of=draft, row=max(0, draft.row + by), completion="")
        return Outcome("reward")

    def _start(self, form: Form) -> Outcome:
        """Start what the page shows, unless another tab has changed the choices since."""
        try:
            with self._starting:
                snapshot = self.snapshots.take()
                now = others(snapshot.draft, "train")
                if read_was(form.get("was", "")).get("others", now) != now:
                    return Outcome("train", ((CHANGED, "watch"),))
                session_id = self._start_once(snapshot, bool(form.get("confirm_reward")))
        except InvalidConfig:
            return Outcome("train", ((UNREADY, "problem"),))  # the page lists the problems, with the fields' labels
        except TunesmithError as error:
            return Outcome("train", ((f"The run was not started. {error.message} Your setup is kept.", "problem"),))
        return Outcome("run", job_id=session_id)

    def _again(self) -> Outcome:
        self.wizard.put(session_id=None)
        return Outcome("train")

    def _probe(self) -> Outcome:
        if not can_be_probed(self.wizard.method()):
            return Outcome("train", (("This training method cannot be checked before training.", "watch"),))
        try:
            view = self.probes.start(self.wizard.config())
        except TunesmithError as error:
            return Outcome("train", ((f"The check was not started. {error.message}", "problem"),))
        self.wizard.remember("train", probe_id=view.probe_id)
        return Outcome("probe", job_id=view.probe_id)

    def _apply_probe(self) -> Outcome:
        """Apply the advice of the check, and check again."""
        snapshot = self.snapshots.take()
        fix = snapshot.fix_of(snapshot.probe)
        if fix is None:
            return Outcome("train", (("Your setup has changed since that check. Check again.", "watch"),))
        self.wizard.change(fix.values)
        return self._probe()

    def _keep(self) -> Outcome:
        config = self.wizard.config()
        try:
            self.configs.save(config["name"], config)
        except InvalidInput as error:
            return Outcome("train", ((error.message, "problem"),))
        return Outcome("train", ((f"Saved as preset '{config['name']}'.", "good"),))


_ACTIONS: dict[str, Callable[[Drafts, Form], Outcome]] = {
    "prepare": lambda drafts, _: drafts._prepare(),
    "use-template": lambda drafts, form: drafts._use_template(form),
    "save-template": lambda drafts, form: drafts._save_template(form),
    "delete-template": lambda drafts, form: drafts._delete_template(form),
    "use-text": lambda drafts, _: drafts._use_text(),
    "use-guess": lambda drafts, _: drafts._use_guess(),
    "check": lambda drafts, _: drafts._look(),
    "suggest": lambda drafts, _: drafts._suggest(),
    "use-suggestion": lambda drafts, _: drafts._use_suggestion(),
    "next-row": lambda drafts, _: drafts._move_row(1),
    "previous-row": lambda drafts, _: drafts._move_row(-1),
    "start": lambda drafts, form: drafts._start(form),
    "again": lambda drafts, _: drafts._again(),
    "probe": lambda drafts, _: drafts._probe(),
    "apply-probe": lambda drafts, _: drafts._apply_probe(),
    "keep": lambda drafts, _: drafts._keep(),
}
"""By a button's ``action``. Those with a parameter after a dash (``fix-<field>``) are not included."""


def _tried(page: str, act: Callable[[], object], done: str = "") -> Outcome:
    """The same page with a success or error message."""
    try:
        act()
    except TunesmithError as error:
        return Outcome(page, ((error.message, "problem"),))
    return Outcome(page, ((done, "good"),) if done else ())


def _told(merged: Merged) -> tuple[Said, ...]:
    """Message about what another tab changed; the page's script reads the same from the URL."""
    names = ", ".join(f"'{field_title(path)}'" for path in merged.refused or merged.elsewhere)
    if merged.refused:
        words = f"Changed in another tab: {names}. Your change here was not saved. Reload to see the current values."
        return ((words, "watch"),)
    return ((f"Changed in another tab and kept: {names}.", "watch"),) if names else ()
