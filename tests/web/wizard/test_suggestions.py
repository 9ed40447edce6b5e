"""Reward, system prompt and answer tags are suggested together from the dataset, and never replace a choice."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from flask import Flask

from core.config import DEFAULT_SYSTEM_PROMPT
from core.rewards.suggest import SUMS
from services.container import Services
from tests.conftest import Browser

LABELS = ("billing", "bug", "delivery", "praise", "question")
PROSE = "The town lies beyond the hills, and whoever comes there in spring finds the meadows full of flowers and birds "


def table(rows: list[tuple[str, str]]) -> str:
    return "question,answer\n" + "".join(f'"{question}","{answer}"\n' for question, answer in rows)


FILES = {
    "labels.csv": table([(f"Message number {n}", LABELS[n % 5]) for n in range(40)]),
    "more_labels.csv": table([(f"Review number {n}", ("good", "bad")[n % 2]) for n in range(40)]),
    "gsm8k.jsonl": "".join(
        json.dumps({"question": f"{n} clips and {n} more?", "answer": f"{n} + {n} = {2 * n}\n#### {2 * n}"}) + "\n"
        for n in range(40)
    ),
    "choices.jsonl": "".join(
        json.dumps({"question": f"Which is {n}?", "choices": [f"{n}", f"{n + 1}", f"{n + 2}"], "answer": "ABC"[n % 3]})
        + "\n"
        for n in range(40)
    ),
    "prose.csv": table([(f"Tell me about town {n}", f"{chr(97 + n % 26)} {n} {PROSE * 2}") for n in range(40)]),
    "no_answers.jsonl": "".join(json.dumps({"text": f"Town {n} has towers."}) + "\n" for n in range(40)),
}
NO_WORKING = {"reasoning_start": "", "reasoning_end": ""}


@pytest.fixture
def choose(app: Flask, browser: Browser) -> Any:
    """Upload a file and choose it on the dataset step."""
    browser.get("/new/dataset")

    def choose(name: str, **fields: str) -> str:
        form = {"file": (io.BytesIO(FILES[name].encode()), name)}
        source = app.test_client().post("/api/datasets/upload", data=form).get_json()["source"]
        browser.post("/new/dataset", form={"ui.kind": "upload", "upload": source, "action": "save", **fields})
        return str(source)

    return choose


def told(services: Services) -> dict[str, Any]:
    """The draft's prompt and answer tags, if set."""
    values = services.wizard.draft().dataset.values
    names = ("system_prompt", "reasoning_start", "reasoning_end", "solution_start", "solution_end")
    return {name: values[name] for name in names if name in values}


def reward(services: Services) -> Any:
    return services.wizard.draft().reward.values


def test_a_classification_gets_its_labels_and_no_math_prompt(browser: Browser, services: Services, choose: Any) -> None:
    """The prompt names the labels, nothing asks for working-out, and both pages say why."""
    choose("labels.csv")
    assert reward(services) == {"type": "preset", "preset_name": "short_answer"}
    prompt = told(services).pop("system_prompt")
    assert prompt == (
        "Answer with one of these labels: billing, bug, delivery, praise, question. "
        "Put only the label between {solution_start} and {solution_end}."
    )
    assert told(services) == {"system_prompt": prompt, **NO_WORKING}
    reason = "The answers are 5 different labels, so the label can be compared exactly."
    assert reason in browser.get("/new/dataset").text
    page = browser.get("/new/reward").text
    assert "Suggested for your data: <strong>Short answer</strong>" in page
    assert reason in page
    assert "use-suggestion" not in page


def test_gsm8k_gets_math_and_its_working_out(browser: Browser, services: Services, choose: Any) -> None:
    """The defaults: shown in full on the page, and saving the page does not turn them into a choice."""
    choose("labels.csv")
    source = choose("gsm8k.jsonl")
    assert reward(services) == {"type": "preset", "preset_name": "math"}
    assert told(services) == {}
    assert "provide your working out" in browser.get("/new/dataset").text
    form = {"upload": source, "dataset.system_prompt": DEFAULT_SYSTEM_PROMPT, "action": "save"}
    browser.post("/new/dataset", form=form)
    assert told(services) == {}
    choose("choices.jsonl")
    assert "Choose the right option." in told(services)["system_prompt"]


def test_sums_choices_exercises_and_free_text(browser: Browser, services: Services, choose: Any) -> None:
    """Sums ask for just the result, choices for a letter, free text for nothing, so it has no tags either."""
    browser.post("/new/dataset", form={"ui.kind": "generated", "action": "save"})
    assert (reward(services)["preset_name"], told(services)) == ("arithmetic", SUMS)
    choose("choices.jsonl")
    assert reward(services)["preset_name"] == "multiple_choice"
    assert told(services) == {
        "system_prompt": "Choose the right option. Put only its letter between {solution_start} and {solution_end}.",
        **NO_WORKING,
    }
    browser.post("/new/dataset", form={"ui.kind": "tasks", "action": "save"})
    assert reward(services)["preset_name"] == "reasoning_gym"
    source = choose("prose.csv")
    assert [part["name"] for part in reward(services)["components"]] == ["semantic", "repetition", "soft_limit"]
    assert set(told(services).values()) == {""}
    assert len(told(services)) == 5
    # An empty field stays empty: no prompt, not the default one.
    browser.post("/new/dataset", form={"upload": source, "dataset.system_prompt": "", "action": "save"})
    assert told(services)["system_prompt"] == ""
    page = browser.get("/new/dataset").text
    assert "No system prompt · no answer tags" in page
    assert not [one for one in services.snapshots.take().review.readiness.problems if "solution" in one.field]


def test_what_a_person_chose_is_not_overwritten(browser: Browser, services: Services, choose: Any) -> None:
    """A custom prompt keeps its tags, a reward stays; the page offers the suggestion, and one click applies it."""
    choose("labels.csv", **{"dataset.system_prompt": "Sort the message. {solution_start}{solution_end}"})
    browser.post("/new/reward", form={"reward.preset_name": "question_answering", "action": "save"})
    choose("more_labels.csv")
    assert told(services) == {"system_prompt": "Sort the message. {solution_start}{solution_end}"}
    assert reward(services)["preset_name"] == "question_answering"
    assert "use-suggestion" in browser.get("/new/reward").text
    browser.post("/new/reward", form={"action": "use-suggestion"})
    assert reward(services)["preset_name"] == "short_answer"
    choose("gsm8k.jsonl")
    assert reward(services)["preset_name"] == "math"
    assert told(services)["system_prompt"].startswith("Sort the message.")


def test_a_loaded_configuration_keeps_its_own(browser: Browser, services: Services, choose: Any) -> None:
    """Its values were not chosen here, but they were chosen."""
    own = {"type": "composite", "components": [{"name": "length"}]}
    base = {"name": "mine", "model": {"name": "builtin:smollm2-135m-instruct"}, "reward": own}
    services.wizard.load({**base, "dataset": {"source": "generated:arithmetic", "system_prompt": "Add."}})
    choose("labels.csv")
    assert (told(services), reward(services)) == ({"system_prompt": "Add."}, own)


def test_rows_without_answers_take_the_suggestion_back(browser: Browser, services: Services, choose: Any) -> None:
    """What suited the previous dataset would be wrong; the step asks for the answer column."""
    choose("labels.csv")
    fields = {"dataset.instruction_field": "text", "dataset.response_field": ""}
    choose("no_answers.jsonl")
    browser.post("/new/dataset", form={**fields, "action": "next"})
    assert told(services) == {}
    assert reward(services)["preset_name"] == "math"
    assert 'data-testid="suggestion"' not in browser.get("/new/reward").text


def test_the_api_suggests_the_three_together(app: Flask) -> None:
    """For API clients: the reward, the dataset fields to change, and the reason."""
    body = {"dataset": {"source": "generated:arithmetic", "size": 64}}
    found = app.test_client().post("/api/rewards/suggest", json=body).get_json()
    assert found == {
        "reward": {"type": "preset", "preset_name": "arithmetic"},
        "dataset": SUMS,
        "reason": "Every answer is a number, so numbers can be compared exactly.",
    }
