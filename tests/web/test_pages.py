"""Pages without a browser: every template gets what it uses, and nothing else."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jinja2 import meta, nodes

from core.config import RunConfig
from core.methods import method
from pages.configs import ConfigsPage
from pages.datasets.index import DatasetsPage
from pages.datasets.show import DatasetPage, PreparingPage
from pages.evaluations.index import EvaluationsPage
from pages.evaluations.new import NewEvaluationPage
from pages.evaluations.show import EvaluationPage
from pages.exports.index import ExportsPage
from pages.exports.show import ExportPage
from pages.help import HelpGlossary, HelpIndex, HelpShortcuts, HelpTopic, ProblemReport, WhatsNew
from pages.home import HomePage
from pages.models.playground import PlaygroundPage
from pages.models.serve import ServePage
from pages.probe import ProbePage
from pages.rewards.bench import BenchPage
from pages.rewards.edit import RewardEditPage
from pages.rewards.index import RewardsPage
from pages.runs.index import RunsPage
from pages.runs.show import RunPage
from pages.settings import SettingsPage
from pages.storage.index import StoragePage
from pages.trash.index import TrashPage
from pages.wizard.configuration import ConfigurationStep
from pages.wizard.dataset import DatasetStep
from pages.wizard.export import ExportStep
from pages.wizard.groups import groups
from pages.wizard.model import ModelStep
from pages.wizard.preparation import PreparationStep
from pages.wizard.reward import RewardStep
from pages.wizard.test import ChatStep
from pages.wizard.train import TrainStep
from services.forms.fields import form_field, section_model
from services.wizard.steps import CONFIGURATION, STEPS
from services.wizard.wizard import Wizard
from tests.conftest import Browser

CONTEXTS: dict[str, type[Any]] = {
    "home/index.html": HomePage,
    "help/index.html": HelpIndex,
    "help/show.html": HelpTopic,
    "help/glossary.html": HelpGlossary,
    "help/shortcuts.html": HelpShortcuts,
    "help/whats_new.html": WhatsNew,
    "help/report.html": ProblemReport,
    "wizard/model.html": ModelStep,
    "wizard/dataset.html": DatasetStep,
    "wizard/preparation.html": PreparationStep,
    "wizard/configuration.html": ConfigurationStep,
    "wizard/reward.html": RewardStep,
    "wizard/train.html": TrainStep,
    "wizard/export.html": ExportStep,
    "wizard/test.html": ChatStep,
    "runs/index.html": RunsPage,
    "runs/show.html": RunPage,
    "datasets/index.html": DatasetsPage,
    "datasets/show.html": DatasetPage,
    "datasets/preparing.html": PreparingPage,
    "configs/index.html": ConfigsPage,
    "exports/index.html": ExportsPage,
    "exports/show.html": ExportPage,
    "evaluations/index.html": EvaluationsPage,
    "evaluations/new.html": NewEvaluationPage,
    "evaluations/show.html": EvaluationPage,
    "models/playground.html": PlaygroundPage,
    "models/serve.html": ServePage,
    "system/settings.html": SettingsPage,
    "storage/index.html": StoragePage,
    "trash/index.html": TrashPage,
    "rewards/index.html": RewardsPage,
    "rewards/edit.html": RewardEditPage,
    "rewards/bench.html": BenchPage,
    "probe/show.html": ProbePage,
}
LOOSE = {
    "auth/login.html": {"next", "error"},
    "errors/answer.html": {"code", "title", "message", "before"},
}
"""Pages to which another blueprint passes plain values."""
FRAME = {"shell"}


def used(app: Flask, name: str) -> set[str]:
    """Variables that a template and everything it extends or includes needs from outside."""
    wanted, macros = _used(app, name)
    return wanted - macros - set(app.jinja_env.globals)


def _used(app: Flask, name: str) -> tuple[set[str], set[str]]:
    """The needed variables, and the macros imported along the way."""
    environment = app.jinja_env
    assert environment.loader is not None
    tree = environment.parse(environment.loader.get_source(environment, name)[0])
    wanted = meta.find_undeclared_variables(tree)
    macros = {
        entry if isinstance(entry, str) else entry[1]
        for node in tree.find_all(nodes.FromImport)
        for entry in node.names
    }
    inside = {target.name for target in tree.find_all(nodes.Name) if target.ctx == "store"}
    for node in tree.find_all((nodes.Extends, nodes.Include)):
        assert isinstance(node, nodes.Extends | nodes.Include)
        assert isinstance(node.template, nodes.Const)
        below, more = _used(app, node.template.value)
        wanted |= below - inside if isinstance(node, nodes.Include) else below
        macros |= more
    return wanted, macros


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_template_gets_what_it_uses_and_uses_what_it_gets(app: Flask, name: str) -> None:
    """A template's variables are the fields of its context."""
    wanted = used(app, name) - FRAME
    given = {field.name for field in fields(CONTEXTS[name])}
    assert wanted == given


@pytest.mark.parametrize("name", LOOSE)
def test_other_pages_use_only_what_they_are_given(app: Flask, name: str) -> None:
    """The login and error pages have no other variables."""
    assert used(app, name) - FRAME <= LOOSE[name]


@pytest.mark.parametrize("name", [*CONTEXTS, *LOOSE])
def test_no_macro_hides_what_a_template_is_given(app: Flask, name: str) -> None:
    """A macro imported by the page or its parent would be printed instead of the value."""
    given = LOOSE[name] if name in LOOSE else {field.name for field in fields(CONTEXTS[name])}
    assert not given & _used(app, name)[1]


def test_every_template_has_a_page(app: Flask) -> None:
    """No template is unused."""
    folder = Path(app.root_path) / "templates"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.html")}
    whole = {name for name in names if not Path(name).name.startswith("_")}
    assert whole - set(CONTEXTS) - set(LOOSE) == {"base.html"}


def test_every_field_of_the_configuration_step_is_shown_once(app: Flask) -> None:
    """A new field of the format appears on the page without being listed there."""
    wizard: Wizard = app.extensions["tunesmith"].wizard
    shown = [field.path for group in groups(wizard.draft(), {}, {}) for field in group.fields]
    known = [f"{section}.{name}" for section in CONFIGURATION for name in section_model(section).model_fields]
    assert sorted(shown) == sorted(path for path in known if method("grpo").uses(path))


def test_an_unknown_step_is_not_found(browser: Browser) -> None:
    """A mistyped address is a 404."""
    assert browser.get("/new/nothing").status_code == 404


def test_every_section_has_a_step() -> None:
    """The wizard saves every section of the format, and the method with the draft."""
    saved = {section for step in STEPS for section in step.sections}
    assert saved | {"method"} == set(RunConfig.model_fields)


def test_small_numbers_are_written_out(app: Flask) -> None:
    """A learning rate of 5e-05 is shown as a person would type it."""
    assert form_field("pre_training", "learning_rate", {}, {}).value == "0.00005"


def test_a_step_saves_its_own_sections_only(browser: Browser, app: Flask) -> None:
    """Saving the configuration step does not change the model, and values stay as typed."""
    wizard: Wizard = app.extensions["tunesmith"].wizard
    wizard.put(model={"name": "builtin:smollm2-135m-instruct"})
    browser.get("/new/configuration")
    browser.post("/new/configuration", form={"training.max_steps": "soon", "action": "save"})
    draft = wizard.draft()
    assert (draft.training.values["max_steps"], draft.model.name) == ("soon", "builtin:smollm2-135m-instruct")
    assert b"whole number" in browser.get("/new/configuration").data
    assert b"Steps</a>: Enter a whole number." in browser.get("/new/train").data


def test_an_autosave_that_comes_late_changes_nothing(browser: Browser, app: Flask) -> None:
    """It may arrive after the form sent on leaving the page; another page's form counts."""
    wizard: Wizard = app.extensions["tunesmith"].wizard
    browser.get("/new/configuration")
    for sent, steps, kept in (("a 2", "30", 30), ("a 1", "20", 30), ("b 1", "40", 40)):
        browser.post("/new/configuration", form={"training.max_steps": steps, "ui.sent": sent, "action": "save"})
        assert wizard.draft().training.values["max_steps"] == kept


def test_input_for_another_kind_of_source_is_dropped(browser: Browser, app: Flask) -> None:
    """A number of rows to generate means nothing for a Hub dataset, whose page does not show it."""
    wizard: Wizard = app.extensions["tunesmith"].wizard
    browser.get("/new/dataset")
    form = {"ui.kind": "generated", "dataset.size": "300", "action": "save"}
    browser.post("/new/dataset", form=form)
    assert wizard.draft().dataset.values["size"] == 300
    browser.post("/new/dataset", form={**form, "ui.kind": "hub", "ui.hub": "someone/rows"})
    assert "size" not in wizard.draft().dataset.values


def test_two_starts_make_one_run(browser: Browser, app: Flask) -> None:
    """A double click or a second tab starts only one run."""
    services = app.extensions["tunesmith"]
    services.wizard.put(
        model={"name": "builtin:smollm2-135m-instruct"}, dataset={"source": "generated:arithmetic", "size": 64}
    )
    browser.get("/new/train")
    for _ in range(2):
        browser.post("/new/train", form={"action": "start"})
    assert len(services.runs.list()) == 1


def test_a_configuration_survives_the_wizard_unchanged(app: Flask) -> None:
    """What is saved equals what was loaded, field by field."""
    wizard: Wizard = app.extensions["tunesmith"].wizard
    config = app.extensions["tunesmith"].configs.load("math-reasoning")
    wizard.load(config)
    assert wizard.config() == config


def test_the_theme_comes_with_the_first_paint(browser: Browser) -> None:
    """The server renders the chosen theme into the page."""
    browser.get("/help")
    browser.post("/theme", form={"theme": "dark", "back": "/help"})
    assert b'data-theme="dark"' in browser.get("/help").data
    assert browser.post("/theme", form={"theme": "dark", "back": "//elsewhere"}).location == "/"
