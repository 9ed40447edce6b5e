# ruff: noqa: E501 - cases, one a line
"""Rewards on real rows: bench, adversarial check, suggestion, saved versions, own Python, the probe's endpoints and pages."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.rewards.sandbox import protection
from core.run import JobState
from core.run_dir import write_json
from services.probes import fingerprint
from tests.conftest import TINY, tiny

SUMS = {"source": "generated:arithmetic", "size": 64}
MATH = {"type": "preset", "preset_name": "arithmetic"}
LENGTH = {"type": "composite", "components": [{"name": "length"}]}
boxed = pytest.mark.skipif(protection().level is None, reason="no sandbox on this machine")


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_two_rewards_on_the_same_completions(client: FlaskClient) -> None:
    """Each completion has its parts and total under both."""
    body = {"reward": MATH, "compare": LENGTH, "dataset": SUMS, "row": 3, "completions": ["<SOLUTION>1</SOLUTION>", ""]}
    answer = client.post("/api/rewards/bench", json=body).json
    assert answer is not None
    assert answer["row"]["instruction"]
    assert [len(totals) for totals in answer["rewards"]] == [2, 2]
    assert set(answer["rewards"][0][0]["components"]) == {"numeric", "format"}


def test_the_check_finds_a_reward_that_pays_for_form(client: FlaskClient) -> None:
    """A reward on numbers is sound; one on length is not, and each warning names what fooled it."""
    good = client.post("/api/rewards/adversarial", json={"reward": MATH, "dataset": SUMS}).json
    bad = client.post("/api/rewards/adversarial", json={"reward": LENGTH, "dataset": SUMS}).json
    assert good is not None
    assert bad is not None
    assert good["sound"]
    assert not good["warnings"]
    keys = {one["key"] for one in good["attempts"]}
    assert keys == {
        "reference", "right_bare", "wrong_in_form", "other_reference", "empty", "prompt", "tags", "numbers", "all_numbers", "keywords", "longest",
    }  # fmt: skip
    assert not bad["sound"]
    assert any("checks the answer against anything" in words for words in bad["warnings"])


def test_a_start_with_a_reward_that_can_be_fooled_asks_first(client: FlaskClient) -> None:
    """409 with the way on; confirmed, it starts."""
    config = {**TINY, "reward": LENGTH}
    refused = client.post("/api/training/start", json={"config": config})
    assert refused.status_code == 409
    assert refused.json is not None
    assert refused.json["error"]["field"] == "confirm_reward"
    assert client.post("/api/training/start", json={"config": config, "confirm_reward": True}).status_code == 202
    assert client.post("/api/training/start", json={"config": tiny("sound")}).status_code == 202


def test_the_distribution_sets_right_and_wrong_apart(client: FlaskClient) -> None:
    """Over many rows the references lie at the top and other rows' answers below."""
    answer = client.post("/api/rewards/distribution", json={"reward": MATH, "dataset": SUMS, "rows": 40}).json
    assert answer is not None
    assert sum(answer["right"]["bins"]) == answer["rows"] == 40
    assert answer["right"]["mean"] > answer["another_row"]["mean"]


def test_a_suggestion_comes_with_its_reason(client: FlaskClient) -> None:
    """Sums get the reward on numbers."""
    answer = client.post("/api/rewards/suggest", json={"dataset": SUMS}).json
    assert answer is not None
    assert answer["reward"] == MATH
    assert "number" in answer["reason"]


def test_saved_rewards_keep_their_versions(client: FlaskClient) -> None:
    """A change is a new version, the same again is none, old ones can be read, names are held to their form."""
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
    """The configuration holds the parts themselves and says which version they are a copy of."""
    found = app.extensions["tunesmith"].saved_rewards
    found.save("mine", LENGTH)
    assert found.use("mine") == {**LENGTH, "saved_as": "mine@1"}


def page_token(client: FlaskClient, path: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


@boxed
def test_own_python_is_written_tried_and_saved_on_its_page(client: FlaskClient) -> None:
    """The editor opens with the template, shows what a try gives, refuses what is no reward, and saves versions."""
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
    """What it tries on this machine fails its row with a message."""
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
    assert {"score": "of the second reward", "attack": "Attempts to fool it", "distribution": "Over 64 rows"}[
        action
    ] in shown or action == "distribution"
    assert 'class="note problem"' not in shown


def probe_body(**more: Any) -> dict[str, Any]:
    return {"config": tiny("probed"), "prompts": 2, "samples": 2, **more}


def test_a_probe_is_a_job_that_can_be_read_and_stopped(client: FlaskClient, app: Flask) -> None:
    """It is queued like any other, has its own address, is in no list of runs, and ends when asked."""
    started = client.post("/api/probe/start", json=probe_body())
    assert started.status_code == 202
    assert started.json is not None
    probe_id = started.json["probe_id"]
    assert client.get(f"/api/probe/{probe_id}").json["status"] == "queued"  # type: ignore[index]
    assert client.get("/api/training/sessions").json == {"sessions": []}
    assert client.get("/api/training/sessions/" + probe_id).status_code == 404
    assert "Will it learn?" in app.test_client().get(f"/probe/{probe_id}").text
    assert client.post(f"/api/probe/{probe_id}/stop").status_code == 202
    assert client.get("/api/probe/../config").status_code == 404


def test_too_many_answers_are_refused(client: FlaskClient) -> None:
    """The limit is said."""
    refused = client.post("/api/probe/start", json=probe_body(prompts=100, samples=60))
    assert refused.status_code == 400
    assert "at most 256" in refused.json["error"]["message"]  # type: ignore[index]


def test_the_draft_keeps_its_probe_and_says_when_it_has_changed(client: FlaskClient, app: Flask) -> None:
    """On the page before the start: the verdict; after a change of the draft, that it is out of date."""
    found = app.extensions["tunesmith"]
    found.wizard.load(tiny("draft"))
    token = page_token(client, "/new/train")
    assert client.post("/new/train", data={"csrf_token": token, "action": "probe", "name": "draft"}).status_code == 302
    probe_id = found.wizard.ui("train")["probe_id"]
    result = {
        "verdict": {
            "outcome": "too_hard",
            "title": "Too hard",
            "reason": "None was right.",
            "field": "",
            "advice": "Take easier rows.",
        }
    }
    write_json(found.settings.home.outputs / probe_id / "result.json", result)
    found.catalogue.update(probe_id, state=str(JobState.COMPLETED))
    assert "Too hard. None was right." in client.get("/new/train").text
    assert "has changed since" not in client.get("/new/train").text
    found.wizard.put(training={**found.wizard.draft()["training"], "temperature": 0.5})
    assert "has changed since" in client.get("/new/train").text


def test_the_fingerprint_sees_what_a_probe_sees() -> None:
    """The name does not count; every section does."""
    from core.config import dump, parse

    first, renamed = dump(parse(tiny("one"))), dump(parse(tiny("two")))
    assert fingerprint(first) == fingerprint(renamed)
    assert fingerprint(first) != fingerprint(dump(parse(tiny("one", temperature=0.3))))


def test_the_check_before_a_start_is_quick(app: Flask) -> None:
    """The page before the start does not wait for it."""
    from core.config import parse

    started = time.monotonic()
    assert app.extensions["tunesmith"].bench.warnings(parse(TINY)) == ()
    assert time.monotonic() - started < 3


def test_the_wizard_keeps_gates_labels_and_python_as_they_are() -> None:
    """A form sets gates and normalisation; what it does not show stays; Python keeps its lines and its digits."""
    from services.wizard import read_reward

    before = {
        "type": "composite", "clip_high": 2.0, "saved_as": "mine@1",
        "components": [{"name": "length", "label": "short", "clip_low": 0.2}, {"name": "python", "params": {"source": "x"}}],
    }  # fmt: skip
    form = {
        "reward.type": "composite", "reward.normalise": "on", "use.short": "on", "weight.short": "0.5", "param.short.minimum": "3",
        "use.python": "on", "gate.python": "short", "param.python.source": "def reward(c, p, r):\r\n    return 1", "param.python.title": "12",
    }  # fmt: skip
    assert read_reward(form, before) == {
        "type": "composite", "clip_high": 2.0, "saved_as": "mine@1", "normalise": True,
        "components": [
            {"name": "length", "label": "short", "clip_low": 0.2, "weight": 0.5, "params": {"minimum": 3}},
            {"name": "python", "weight": 1, "requires": "short", "params": {"source": "def reward(c, p, r):\n    return 1", "title": "12"}},
        ],
    }  # fmt: skip
