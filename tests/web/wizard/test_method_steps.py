"""The wizard with a method that needs no reward and generates no answers during training."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

import core.config
from core.readiness import Severity
from services.container import Services
from services.wizard.draft import same_choices
from tests.conftest import Browser, tiny
from tests.support.second_method import install
from tests.web.wizard.test_tabs import Tab

STEPS = ("model", "dataset", "dataset/preparation", "configuration", "train")


SHOWN = (
    "model.name",
    "model.lora_rank",
    "dataset.source",
    "dataset.response_field",
    "dataset.drop_personal",
    "training.batch_size",
    "training.max_sequence_length",
    "training.temperature",
    "evaluation.max_rows",
)


@pytest.fixture(autouse=True)
def copying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a second method."""
    install(monkeypatch)


@pytest.fixture
def copied(services: Services) -> dict[str, Any]:
    """A complete draft that uses the second method."""
    config = {name: section for name, section in tiny().items() if name != "reward"} | {"method": "imitate"}
    services.wizard.load(config)
    return config


def steps_on(page: str) -> list[str]:
    return re.findall(r'data-testid="step-([a-z]+)"', page)


def test_no_step_summary_or_link_is_about_a_reward(copied: None, browser: Browser) -> None:
    """Back and Continue skip that step, too."""
    for step in STEPS:
        page = browser.get(f"/new/{step}").text
        assert steps_on(page) == ["model", "dataset", "configuration", "train"]
        assert "<dt>Reward</dt>" not in page
        assert "<dt>Answers</dt>" not in page
        assert "Set the reward" not in page
    assert "Set the reward" not in browser.get("/runs").text
    assert 'class="button" href="/new/configuration"' in browser.get("/new/train").text
    assert browser.post("/new/configuration", form={"action": "next"}).location == "/new/train"


def test_the_address_of_the_reward_leads_to_the_next_step(copied: None, browser: Browser) -> None:
    """With a reason; a stale page of that step still saves its fields for another method."""
    assert browser.get("/new/reward").location == "/new/train"
    assert "This training method needs no reward." in browser.get("/new/train").text
    sent = browser.post("/new/reward", form={"reward.preset_name": "short_answer", "action": "next"})
    assert sent.location == "/new/train"


def test_no_probe_is_offered_or_started(copied: None, browser: Browser, services: Services) -> None:
    """It tries a reward on the model's answers."""
    assert "Check before training" not in browser.get("/new/train").text
    assert browser.post("/new/train", form={"action": "probe"}).location == "/new/train"
    assert "cannot be checked before training" in browser.get("/new/train").text
    assert services.database.unfinished() == []


def test_an_unfinished_draft_skips_the_reward_step(browser: Browser, services: Services) -> None:
    """Once the other steps are done."""
    services.wizard.put(method="imitate", dataset={"source": "generated:arithmetic"})
    for step in ("model", "dataset", "configuration"):
        assert browser.get("/new").location == f"/new/{step}"
        services.wizard.remember(step, visited=True)
    assert browser.get("/new").location == "/new/train"


def fields_on(browser: Browser, step: str) -> set[str]:
    names = re.findall(r'<(?:input|select|textarea)[^>]*name="([a-z_]+\.[a-z0-9_]+)"', browser.get(f"/new/{step}").text)
    return {name for name in names if name.partition(".")[0] in core.config.SECTIONS}


def test_a_packed_step_takes_sequences(
    copied: None, browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many rows they hold depends on the rows' lengths."""
    install(monkeypatch, shows=SHOWN, packs=lambda config: True)
    services.wizard.change({"training.batch_size": 3, "training.gradient_accumulation_steps": 1})
    assert "Each step: 3 sequences of packed rows." in browser.get("/new/configuration").text


def test_only_fields_that_the_method_uses_are_shown(
    copied: None, browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hidden checkboxes are not switched off; no group is empty or mentions answers that are not generated."""
    services.wizard.change({"dataset.drop_overlap": True, "model.use_rslora": True})
    install(monkeypatch, shows=SHOWN)
    assert fields_on(browser, "model") == {"model.name", "model.lora_rank"}
    on_dataset = fields_on(browser, "dataset")
    assert {"dataset.response_field", "dataset.drop_personal"} <= on_dataset
    assert not {"dataset.drop_overlap", "dataset.system_prompt", "dataset.columns"} & on_dataset
    assert fields_on(browser, "configuration") == {
        "training.batch_size",
        "training.max_sequence_length",
        "training.temperature",
        "evaluation.max_rows",
        "imitate.packing",
    }
    page = browser.get("/new/configuration").text
    assert [
        words
        for words in ("some questions several times", "Answer generation<", "Warm-up<", "Each step: 4 answers")
        if words in page
    ] == []
    assert "Each step: 4 rows." in page
    for step in ("model", "dataset"):
        browser.post(f"/new/{step}", form={**Tab(browser, step).fields, "ui.setup": "advanced", "action": "save"})
    sections = services.wizard.draft().sections
    assert (sections["dataset"]["drop_overlap"], sections["model"]["use_rslora"]) == (True, True)


def test_proposed_limits_are_taken_as_far_as_the_method_has_them(
    copied: None, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others stay for another method."""
    install(monkeypatch, shows=SHOWN)
    report = {"lengths": {"max_sequence_length": 99, "max_new_tokens": 9}}
    assert services.drafts.dataset.use_limits(report)
    training = services.wizard.draft().training.values
    assert (training["max_sequence_length"], training["max_new_tokens"]) == (99, 8)


def test_no_page_speaks_of_a_reward(copied: None, browser: Browser) -> None:
    """In its explanations."""
    for step in ("dataset/preparation", "configuration", "train"):
        main = browser.get(f"/new/{step}").text.partition("<main")[2].partition("</main>")[0]
        # Without tags: the hidden state has the sections of every method.
        assert "reward" not in re.sub(r"<[^>]*>", " ", main).lower(), step
    assert "let a reward find" not in browser.get("/new/dataset").text


def test_a_method_that_learns_from_answers_needs_their_column(
    browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The problem is shown at the field; a method that needs no answers reports none."""
    data = (io.BytesIO(b"question\nWhat is 1 + 1?\nWhat is 2 + 2?\nWhat is 3 + 3?\n"), "questions.csv")
    browser.get("/new/dataset")
    browser.client.post(
        "/new/dataset",
        base_url=browser.base,
        headers={"Origin": browser.base},
        data={"csrf_token": browser.csrf, "ui.kind": "upload", "action": "upload", "file": data},
    )
    install(monkeypatch, columns=("instruction",))
    services.wizard.put(method="imitate")
    services.wizard.change({"dataset.response_field": ""})
    assert "dataset" not in services.snapshots.take().review.missing
    install(monkeypatch, columns=("instruction", "response"))
    problems = services.snapshots.take().review.readiness.of(Severity.BLOCKS)
    assert [problem.field for problem in problems if problem.field.startswith("dataset.")] == ["dataset.response_field"]
    page = browser.get("/new/dataset").text
    message = page.partition('id="msg-dataset-response-field"')[2].partition("</")[0]
    assert "Choose the answer column" in message
    assert (
        browser.post("/new/dataset", form={**Tab(browser, "dataset").fields, "action": "next"}).location
        == "/new/dataset"
    )


def test_another_run_like_one_of_the_method(copied: dict[str, Any], browser: Browser, services: Services) -> None:
    """Its method and values are in the draft, and make the same run."""
    session_id = services.runs.start({**copied, "imitate": {"packing": True}}).session_id
    services.wizard.reset()
    browser.get("/runs")
    assert browser.post(f"/runs/{session_id}/again", form={}).location == "/new/train"
    config = services.wizard.config()
    assert (config["method"], config["imitate"]) == ("imitate", {"packing": True})
    assert config["training"]["max_steps"] == 6
    assert "num_generations" not in config["training"]
    assert same_choices(config, services.runs.get(session_id).config)
