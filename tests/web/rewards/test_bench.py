# ruff: noqa: E501 - cases, one a line
"""Rewards on real rows: test page, adversarial check, suggestion, saved versions, own Python."""

from __future__ import annotations

import html
import io
import json
import re
import time
from contextlib import closing
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.config import parse
from core.errors import Unavailable
from core.job_dir import JobDir, JsonlWriter
from core.rewards.own import TEMPLATE
from core.rewards.sandbox import protection
from services.rewards.bench import StartCheck
from tests.conftest import TINY, tiny
from tests.support.judge import JudgeEndpoint, judge_endpoint

pytestmark = pytest.mark.usefixtures("patient_sandbox")
SUMS = {"source": "generated:arithmetic", "size": 64}
MATH = {"type": "preset", "preset_name": "arithmetic"}
LENGTH = {"type": "composite", "components": [{"name": "length"}]}
__all__ = ["judge_endpoint"]  # a fixture
boxed = pytest.mark.skipif(protection().level is None, reason="no sandbox on this machine")


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_two_rewards_on_the_same_completions(client: FlaskClient) -> None:
    """Each completion has its components and total under both."""
    body = {"reward": MATH, "compare": LENGTH, "dataset": SUMS, "row": 3, "completions": ["<SOLUTION>1</SOLUTION>", ""]}
    answer = client.post("/api/rewards/bench", json=body).json
    assert answer is not None
    assert answer["row"]["instruction"]
    assert [len(totals) for totals in answer["rewards"]] == [2, 2]
    assert set(answer["rewards"][0][0]["components"]) == {"numeric", "format"}


def test_the_meaning_of_digits_is_decided_by_the_dataset_and_shown(client: FlaskClient) -> None:
    """Try, test, adversarial check and page use the same decision, based on other rows than the current one."""
    rows = [{"question": f"{n}?", "options": ["4", "3", "2", "1"], "answer": str(n)} for n in (1, 2, 4)]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    source = client.post("/api/datasets/upload", data={"file": (io.BytesIO(data), "c.jsonl")}).get_json()["source"]
    dataset = {"source": source, "instruction_field": "question", "response_field": "answer"}
    reward = {"type": "composite", "components": [{"name": "choice"}]}
    body = {"reward": reward, "dataset": dataset, "completions": ["<SOLUTION>1</SOLUTION>", "<SOLUTION>3</SOLUTION>"]}
    found = client.post("/api/rewards/bench", json=body).get_json()
    assert [total["total"] for total in found["rewards"][0]] == [1, 0]
    (words,) = found["decided"]
    assert words.startswith("References name the choice by its text, including digits (3 of 3 rows fit).")
    assert "also fit: by its position, counted from 1" in words
    tried = {"reward": reward, "dataset": dataset, "completion": "<SOLUTION>3</SOLUTION>", "row": found["row"]}
    assert client.post("/api/rewards/test", json=tried).get_json()["total"] == 0
    report = client.post("/api/rewards/adversarial", json={"reward": reward, "dataset": dataset}).get_json()
    assert report["sound"], report["warnings"]
    assert "other_choices" in {one["key"] for one in report["attempts"]}


def test_the_check_finds_a_reward_that_pays_for_form(client: FlaskClient) -> None:
    """A number reward is sound, a length reward is not, and each warning names what fooled the reward."""
    good = client.post("/api/rewards/adversarial", json={"reward": MATH, "dataset": SUMS}).json
    bad = client.post("/api/rewards/adversarial", json={"reward": LENGTH, "dataset": SUMS}).json
    assert good is not None
    assert bad is not None
    assert good["sound"]
    assert not good["warnings"]
    keys = {one["key"] for one in good["attempts"]}
    assert keys == {
        "reference", "right_bare", "wrong_in_form", "other_reference", "empty", "prompt", "tags", "numbers", "made_of", "denied", "unended",
        "quoted", "all_numbers", "keywords", "longest",
    }  # fmt: skip
    assert not bad["sound"]
    assert any("only the format is scored" in words for words in bad["warnings"])


@boxed
def test_own_python_is_judged_by_what_it_pays(client: FlaskClient) -> None:
    """The editor's template compares with the reference, which only running it reveals, and is found sound."""
    own = {"type": "composite", "components": [{"name": "python", "params": {"source": TEMPLATE}}]}
    answer = client.post("/api/rewards/adversarial", json={"reward": own, "dataset": SUMS}).json
    assert answer is not None
    assert answer["sound"], answer["warnings"]


def test_a_start_with_a_reward_that_can_be_fooled_asks_first(client: FlaskClient) -> None:
    """409 with how to proceed; once confirmed, it starts."""
    config = {**TINY, "reward": LENGTH}
    refused = client.post("/api/training/start", json={"config": config})
    assert refused.status_code == 409
    assert refused.json is not None
    assert refused.json["error"]["field"] == "confirm_reward"
    for wrong in ({"model": {"name": "/no/folder"}}, {"dataset": {"source": "upload:20260101-000000-aaaaaa"}}):
        plain = client.post("/api/training/start", json={"config": {**config, **wrong}})
        assert plain.status_code == 404  # an error that prevents any start comes first
    assert client.post("/api/training/start", json={"config": config, "confirm_reward": True}).status_code == 202
    assert client.post("/api/training/start", json={"config": tiny("sound")}).status_code == 202


HUB = {"source": "somebody/sums", "instruction_field": "question", "response_field": "answer"}
FROM_HUB = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(20)]


def with_hub(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[int]:
    """``answer`` gives the Hub's dataset, or raises; returns how often it was called."""
    asked: list[int] = []

    def peek(home: Any, section: Any, samples: int, timeout: float) -> Any:
        asked.append(samples)
        if isinstance(answer, Exception):
            raise answer
        return answer, ["question", "answer"], len(answer)

    monkeypatch.setattr("services.rewards.bench.peek", peek)
    return asked


def test_a_start_tries_the_reward_on_rows_of_the_hub(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are fetched once; a reward that can be fooled needs a confirmation, a sound one starts."""
    asked = with_hub(monkeypatch, FROM_HUB)
    bad = {**TINY, "dataset": HUB, "reward": LENGTH}
    refused = client.post("/api/training/start", json={"config": bad})
    assert refused.status_code == 409
    assert "has loopholes" in refused.json["error"]["message"]  # type: ignore[index]
    assert client.post("/api/training/start", json={"config": {**TINY, "dataset": HUB}}).status_code == 202
    assert len(asked) == 1


def test_a_reward_that_could_not_be_tried_says_why_and_asks(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the Hub a start needs a confirmation; the wizard's page says why, and never contacts the Hub itself."""
    asked = with_hub(monkeypatch, Unavailable("The Hub cannot be reached."))
    config = {**TINY, "dataset": HUB}
    app.extensions["tunesmith"].wizard.load(config)
    browser = app.test_client()
    page = browser.get("/new/train").text
    assert "was not checked for loopholes" in page
    assert not asked
    assert 'id="confirm-reward"' not in page
    refused = client.post("/api/training/start", json={"config": config})
    assert refused.status_code == 409
    assert "was not checked for loopholes, because the Hub cannot be reached" in refused.json["error"]["message"]  # type: ignore[index]
    assert 'id="confirm-reward"' in browser.get("/new/train").text
    assert client.post("/api/training/start", json={"config": config, "confirm_reward": True}).status_code == 202


def test_a_judge_is_not_called_without_confirmation(client: FlaskClient) -> None:
    """Made-up answers cost money there: the start says that the reward was not tried, and asks."""
    parts = [{"name": "numeric"}, {"name": "judge", "weight": 0.1, "params": {"url": "http://127.0.0.1:9/v1"}}]
    config = {**TINY, "reward": {"type": "composite", "components": parts}}
    refused = client.post("/api/training/start", json={"config": config})
    assert refused.status_code == 409
    assert "because a judge scores the answers" in refused.json["error"]["message"]  # type: ignore[index]
    assert client.post("/api/training/start", json={"config": config, "confirm_reward": True}).status_code == 202


def test_the_page_before_the_start_loads_no_reward_model(app: Flask) -> None:
    """It says that the start will try it; viewing the page loads nothing."""
    parts = [{"name": "numeric"}, {"name": "reward_model", "weight": 0.1, "params": {"model": "/there/is/none"}}]
    config = {**TINY, "reward": {"type": "composite", "components": parts}}
    app.extensions["tunesmith"].wizard.load(config)
    page = app.test_client().get("/new/train").text
    assert "it needs to load a reward model. It is checked when you start the run." in page
    assert app.extensions["tunesmith"].bench.check(parse(config), fetch=True).unchecked == ""


def test_a_judges_cost_is_shown_on_the_test_page(
    client: FlaskClient, app: Flask, judge_endpoint: JudgeEndpoint
) -> None:
    """Requests, tokens and cost, in the API and on the page; cached answers cost nothing."""
    part = {"name": "judge", "params": {"url": judge_endpoint.url, "price": 2.0}}
    reward = {"type": "composite", "components": [part]}
    body = {"reward": reward, "dataset": SUMS, "completions": ["one", "two", "one"]}
    spent = client.post("/api/rewards/bench", json=body).json["spent"]  # type: ignore[index]
    assert spent == {"requests": 2, "cached": 1, "failed": 0, "tokens": 1000, "cost": 0.002}
    again = client.post("/api/rewards/bench", json=body).json["spent"]  # type: ignore[index]
    assert (again["requests"], again["cached"]) == (0, 3)
    app.extensions["tunesmith"].wizard.put(dataset=SUMS, reward=reward)
    browser = app.test_client()
    token = page_token(browser, "/rewards/bench")
    form = {"csrf_token": token, "action": "score", "first": "draft", "row": "0", "completions": "three"}
    assert (
        "The judge was called once: 500 tokens, 0.001, in the currency"
        in browser.post("/rewards/bench", data=form).text
    )


def test_the_cost_of_judges_is_among_a_runs_figures(app: Flask) -> None:
    """Every row counts, including repeated steps; a run without a judge has no such tile."""
    found = app.extensions["tunesmith"]
    program = app.test_client()
    session_id = program.post("/api/training/start", json={"config": tiny("judged")}).json["session_id"]  # type: ignore[index]
    assert "tile-judge" not in app.test_client().get(f"/runs/{session_id}").text
    spent = {"judge_requests": 8, "judge_cached": 1, "judge_failed": 1, "judge_tokens": 4000, "judge_cost": 0.25}
    with closing(JsonlWriter(JobDir(found.settings.home.outputs / session_id).metrics)) as writer:
        for step in (1, 1):
            writer.append({"attempt": 1, "time": 0.0, "phase": "training", "step": step, "reward": 0.5, **spent})
    page = app.test_client().get(f"/runs/{session_id}").text
    assert "tile-judge" in page
    assert "8,000 tokens, cost 0.5 at the price you entered, 2 without a score" in page


def test_the_distribution_sets_right_and_wrong_apart(client: FlaskClient) -> None:
    """Over many rows, references score high and other rows' answers low."""
    answer = client.post("/api/rewards/distribution", json={"reward": MATH, "dataset": SUMS, "rows": 40}).json
    assert answer is not None
    assert sum(answer["right"]["bins"]) == answer["rows"] == 40
    assert answer["right"]["mean"] > answer["another_row"]["mean"]


def test_a_suggestion_comes_with_its_reason(client: FlaskClient) -> None:
    """Sums get the number reward."""
    answer = client.post("/api/rewards/suggest", json={"dataset": SUMS}).json
    assert answer is not None
    assert answer["reward"] == MATH
    assert "number" in answer["reason"]


def test_saved_rewards_keep_their_versions(client: FlaskClient) -> None:
    """A change is a new version, an identical save is not, old ones can be read, and names are validated."""
    save = {"name": "mine", "reward": LENGTH}
    assert client.post("/api/rewards/save", json=save).json == {"name": "mine", "version": 1}
    assert client.post("/api/rewards/save", json=save).json == {"name": "mine", "version": 1}
    assert client.post("/api/rewards/save", json={"name": "mine", "reward": MATH}).json == {
        "name": "mine",
        "version": 2,
    }
    old = client.get("/api/rewards/saved/mine?version=1").json
    assert old is not None
    assert (old["reward"], old["versions"]) == (LENGTH, [1, 2])
    for name in ("..", "A", "a/b", ""):
        assert client.post("/api/rewards/save", json={"name": name, "reward": MATH}).status_code == 400
    assert client.delete("/api/rewards/saved/mine").status_code == 204
    assert client.get("/api/rewards/saved/mine").status_code == 404


def test_a_used_reward_travels_with_the_configuration(app: Flask) -> None:
    """The configuration holds the components themselves and names the version they were copied from."""
    found = app.extensions["tunesmith"].saved_rewards
    found.save("mine", LENGTH)
    assert found.use("mine") == {**LENGTH, "saved_as": "mine@1"}


def page_token(client: FlaskClient, path: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


@boxed
def test_own_python_is_written_tried_and_saved_on_its_page(client: FlaskClient) -> None:
    """The editor opens with the template, shows the result of a try, rejects invalid rewards, and saves versions."""
    assert "def reward" in client.get("/rewards/brevity").text
    token = page_token(client, "/rewards/brevity")
    source = "def reward(completion, prompt, row):\n    return 1 / (1 + len(completion)), 'short is good'"
    tried = client.post(
        "/rewards/brevity", data={"csrf_token": token, "action": "try", "source": source, "examples": "abc"}
    )
    assert "short is good" in tried.text
    broken = client.post("/rewards/brevity", data={"csrf_token": token, "action": "save", "source": "def reward(:"})
    assert "line 1" in broken.text
    client.post("/rewards/brevity", data={"csrf_token": token, "action": "save", "source": source})
    assert "Version 1" in client.get("/rewards/brevity").text
    assert "brevity" in client.get("/rewards").text


@boxed
def test_own_python_cannot_reach_the_server(client: FlaskClient) -> None:
    """Any attempt on this machine fails its row with a message."""
    source = "def reward(completion, prompt, row):\n    return open('/etc/passwd').read()"
    reward = {"type": "composite", "components": [{"name": "python", "params": {"source": source}}]}
    answer = client.post("/api/rewards/test", json={"reward": reward, "completion": "x"}).json
    assert answer is not None
    assert answer["total"] == 0
    assert "FileNotFoundError" in answer["components"]["python"]["why"]


@pytest.mark.parametrize("action", ["score", "attack", "distribution"])
def test_the_bench_page_does_each_of_its_buttons(client: FlaskClient, app: Flask, action: str) -> None:
    """The page shows the result of the button that was pressed."""
    app.extensions["tunesmith"].wizard.put(dataset=SUMS, reward=MATH)
    token = page_token(client, "/rewards/bench")
    data = {
        "csrf_token": token,
        "action": action,
        "first": "draft",
        "second": "preset:math",
        "row": "2",
        "completions": "a\n---\nb",
    }
    shown = client.post("/rewards/bench", data=data).text
    assert {"score": "second reward", "attack": "Loopholes", "distribution": "Scores on 64 rows"}[action] in shown
    assert 'class="note problem"' not in shown


def test_the_bench_page_counts_rows_from_one(client: FlaskClient, app: Flask) -> None:
    """As in the wizard, the first row is row 1, which is also the default."""
    app.extensions["tunesmith"].wizard.put(dataset=SUMS, reward=MATH)
    rows = app.extensions["tunesmith"].bench.rows(SUMS, 2)
    token = page_token(client, "/rewards/bench")
    for number, row in (("1", rows[0]), ("2", rows[1]), ("", rows[0]), ("0", rows[0])):
        data = {"csrf_token": token, "action": "", "first": "draft", "row": number, "completions": ""}
        shown = client.post("/rewards/bench", data=data).text
        assert row["instruction"] in shown
        assert f'name="row" value="{number if number in ("1", "2") else 1}"' in shown


def test_the_tester_shows_points_of_the_maximum_and_takes_empty_markers(client: FlaskClient, app: Flask) -> None:
    """'of 1.20' beside each total; a draft without working-out tags does not ask for them."""
    section = {**SUMS, "system_prompt": "", "reasoning_start": "", "reasoning_end": ""}
    services = app.extensions["tunesmith"]
    services.wizard.put(dataset=section, reward={"type": "preset", "preset_name": "math"})
    right = services.bench.rows(section, 1)[0]["response"]
    form = {"csrf_token": page_token(client, "/rewards/bench"), "action": "score", "first": "draft"}
    shown = client.post("/rewards/bench", data={**form, "completions": f"<SOLUTION>{right}</SOLUTION>"}).text
    assert '<strong class="score">1.20</strong>' in shown
    assert "of 1.20" in shown
    assert "Missing" not in shown


def test_the_check_before_a_start_is_quick(app: Flask) -> None:
    """The page before the start does not wait for it."""
    started = time.process_time()
    assert app.extensions["tunesmith"].bench.check(parse(TINY)) == StartCheck()
    assert time.process_time() - started < 3


def test_the_protection_is_one_word_and_the_rest_is_collapsed(client: FlaskClient) -> None:
    """On pages with a code editor; Settings shows everything, and so do those pages where code is refused."""
    force = protection()
    for url in ("/rewards", "/rewards/new-one"):
        page = html.unescape(client.get(url).get_data(as_text=True))
        assert force.words in page
        assert (f"</svg>{force.state}</summary>" in page) == (force.level is not None)
    assert force.words in html.unescape(client.get("/settings").get_data(as_text=True))
