"""Plans on the settings step, their estimated time, and suggestions that follow the data."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from core import speed
from core.config import dump, parse
from core.job import JobState
from core.settings import Home
from core.speed import Speed
from services.container import Services
from tests.conftest import Browser, tiny
from tests.web.wizard.test_readiness import LONG, WORDS, choose, tokenizer, upload
from tests.web.wizard.test_tabs import Tab

__all__ = ["tokenizer"]

LABELS = "".join(json.dumps({"question": f"Ticket {n}?", "answer": "ab"[n % 2] * 3}) + "\n" for n in range(40))


def training(services: Services) -> dict[str, Any]:
    return dict(services.wizard.draft().training.values)


def page_of(browser: Browser) -> str:
    return str(browser.get("/new/configuration").text)


def chosen(page: str) -> list[str]:
    return re.findall(r'id="plan-([a-z]+)"\s+aria-pressed="true"', page)


def custom(page: str) -> str:
    found = re.search(r'data-testid="plan-custom">(.*?)</p>', page, re.DOTALL)
    return " ".join(re.sub("<[^>]*>", " ", found[1]).split()) if found else ""


def press(browser: Browser, plan: str) -> None:
    page_of(browser)
    browser.post("/new/configuration", form={"action": f"plan-{plan}"})


def test_a_plan_sets_its_fields_and_no_others(browser: Browser, services: Services) -> None:
    """Settings outside the plan stay as the user set them; those in it are replaced."""
    assert chosen(page_of(browser)) == ["balanced"]
    Tab(browser, "configuration").send(training__max_steps="41", training__temperature="0.9")
    page = page_of(browser)
    assert chosen(page) == []
    assert custom(page) == "Custom. Different from the suggested values: Steps, Temperature."
    press(browser, "quick")
    page = page_of(browser)
    assert chosen(page) == ["quick"]
    assert custom(page) == "Custom. Different from the suggested values: Temperature."
    assert (training(services)["max_steps"], training(services)["temperature"]) == (10, 0.9)
    assert training(services)["num_generations"] == 4
    press(browser, "nonsense")
    assert chosen(page_of(browser)) == ["balanced"]


def test_the_chosen_plan_is_kept_by_the_reset(browser: Browser, services: Services) -> None:
    """Every field has the value that the plan suggests."""
    press(browser, "thorough")
    Tab(browser, "configuration").send(training__temperature="0.9")
    browser.post("/new/configuration", form={"action": "suggest"})
    page = page_of(browser)
    assert (chosen(page), custom(page)) == (["thorough"], "")
    assert training(services)["max_steps"] == 150


def test_a_plan_is_kept_when_the_method_changes(browser: Browser, services: Services) -> None:
    """With the values that the other method has for it."""
    press(browser, "quick")
    Tab(browser, "model").send(method="sft")
    assert chosen(page_of(browser)) == ["quick"]
    assert services.wizard.config()["training"]["max_steps"] == 10
    Tab(browser, "model").send(method="grpo")
    assert (chosen(page_of(browser)), training(services)["num_generations"]) == (["quick"], 4)


@pytest.mark.usefixtures("tokenizer")
def test_lengths_follow_the_data(browser: Browser, client: FlaskClient, services: Services) -> None:
    """Suggestions for the previous dataset are replaced; the change is reported, and nothing is cut off."""
    choose(browser, **{"ui.kind": "generated"})
    Tab(browser, "configuration").send(training__temperature="0.9")
    assert training(services)["max_new_tokens"] == 24
    choose(browser, upload=upload(client, LONG))
    now = training(services)["max_new_tokens"]
    assert now > 90
    page = browser.get("/new/train").text
    assert f"The maximum answer length is now {now} tokens, to suit this dataset." in page
    assert "are longer than" not in page
    assert training(services)["temperature"] == 0.9
    assert chosen(page_of(browser)) == ["balanced"]


@pytest.mark.usefixtures("tokenizer")
def test_an_answer_without_reasoning_is_short(browser: Browser, client: FlaskClient, services: Services) -> None:
    """Labels get the shortest limit; reasoning tags restore the usual one."""
    choose(browser, upload=upload(client, LABELS))
    assert training(services)["max_new_tokens"] == 32
    Tab(browser, "configuration").send(training__temperature="0.9")
    Tab(browser, "dataset").send(dataset__reasoning_start="<think>", dataset__reasoning_end="</think>")
    assert training(services)["max_new_tokens"] == 128
    assert training(services)["temperature"] == 0.9


@pytest.mark.usefixtures("tokenizer")
def test_a_length_that_a_person_set_stays(browser: Browser, client: FlaskClient, services: Services) -> None:
    """Even if the data changes later."""
    choose(browser, upload=upload(client, LONG))
    Tab(browser, "configuration").send(training__max_new_tokens="40")
    choose(browser, upload=upload(client, WORDS))
    assert training(services)["max_new_tokens"] == 40
    assert chosen(page_of(browser)) == []


def test_times_are_shown_where_they_were_measured(browser: Browser, services: Services) -> None:
    """On each plan and in the summary; before the first run nothing is made up."""
    page = page_of(browser)
    assert page.count("Time not known yet") == 3
    assert "Choose a model and a dataset to see how long training takes." in page
    choose(browser, **{"ui.kind": "generated"})
    page = page_of(browser)
    assert "No training time has been measured for this model on this machine yet." in page
    assert 'value="probe"' in page
    run = services.runs.start(dump(parse(tiny())))
    services.database.update(run.session_id, seconds_per_step=1.0, device="cpu", state=str(JobState.COMPLETED))
    page = page_of(browser)
    assert "Based on earlier runs of this model on this machine." in page
    assert "Time not known yet" not in page
    assert 'value="probe"' not in page
    assert re.search(r"<dt>Time</dt><dd>About \d+", browser.get("/new/train").text)


@pytest.mark.usefixtures("tokenizer")
def test_before_the_first_run_times_are_rough(browser: Browser, home: Home) -> None:
    """A range based on the machine's speed; the check before training is still offered, because it measures."""
    choose(browser, **{"ui.kind": "generated"})
    assert page_of(browser).count("Time not known yet") == 3
    (home.cache / "models" / "smollm2-135m-instruct" / "model.safetensors").write_bytes(b"")
    speed.keep(
        home,
        Speed(
            machine=speed.machine(), loading=8, each_pass=4, learning=0.03, each_token=0.7, writing=0.01, by_llama=True
        ),
    )
    page = page_of(browser)
    assert len(re.findall(r'<span class="time">Roughly \d+ (\w+ )?to \d+ \w+</span>', page)) == 3
    assert "Rough, based on this machine's speed. Check before training measures it." in html.unescape(page)
    assert 'value="probe"' in page
    start = html.unescape(browser.get("/new/train").text)
    assert re.search(r"<dt>Time</dt><dd>Roughly \d+", start)
    assert "The estimate is rough, based on this machine's speed." in start
    Tab(browser, "model").send(method="sft")
    page = html.unescape(page_of(browser))
    assert page.count('class="time">Roughly ') == 3
    assert "Your first run measures it." in page


def test_every_field_names_its_default_and_usual_range(browser: Browser) -> None:
    """The default is what is suggested here, not the format's default."""
    page = page_of(browser)
    hint = page.partition('id="hint-training-learning-rate"')[2].partition("</p>")[0]
    assert "Default: 1e-4 · Suggested: 1e-5 to 2e-4" in hint
    Tab(browser, "configuration").send(training__temperature="1.9")
    message = page_of(browser).partition('id="msg-training-temperature"')[2].partition("</div>")[0]
    assert "Above the usual range of 0.7 to 1.2." in message


def test_a_start_leads_to_the_run(browser: Browser, services: Services) -> None:
    """The step itself links to it in one line, with the next actions."""
    choose(browser, **{"ui.kind": "generated"})
    sent = browser.post("/new/train", form={"action": "start"})
    (run,) = services.runs.list()
    assert sent.location == f"/runs/{run.session_id}"
    page = browser.get("/new/train").text
    assert f'href="/runs/{run.session_id}"' in page
    assert "New run with these settings" in page
    browser.post("/new/train", form={"action": "keep"})
    assert len([entry for entry in services.configs.list() if not entry.preset]) == 1
    for path in ("/new/export", "/new/test"):
        page = browser.get(path).text
        assert 'data-testid="step-' not in page
        assert f'href="/runs/{run.session_id}"' in page


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("training.max_steps", "soon", "Enter a whole number."),
        ("training.max_steps", "-3", "Enter a value of at least 1."),
        ("training.temperature", "0", "Enter a value greater than 0."),
        ("training.adam_beta1", "1", "Enter a value less than 1."),
        ("training.top_p", "7", "Enter a value of at most 1."),
    ],
)
def test_an_invalid_number_gets_a_message_with_the_valid_range(
    browser: Browser, field: str, typed: str, words: str
) -> None:
    """The field keeps the input; the API's messages, which repeat it, are for developers."""
    page_of(browser)
    browser.post("/new/configuration", form={field: typed, "action": "save"})
    page = page_of(browser)
    anchor = field.replace(".", "-").replace("_", "-")
    assert words in page.partition(f'id="msg-{anchor}"')[2].partition("</div>")[0]
    assert f'name="{field}" value="{typed}"' in page
