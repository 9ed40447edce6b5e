"""The readiness list on the Train step, in the API and in the terminal."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tokenizers import Tokenizer, models, pre_tokenizers

from commands.train import say_readiness
from core.job import JobState
from core.job_dir import write_json
from core.probe import Figures
from core.rewards import adversarial
from core.rewards.own import TEMPLATE
from core.settings import Home
from services.container import Services
from services.machine.hub_reach import HubReach
from services.rewards.bench import Bench
from tests.conftest import TINY, Browser, tiny
from tests.support.live import until

LONG = "".join(
    json.dumps({"question": f"How many towers has town {n}?", "answer": f"{'Count one more. ' * 30}\n#### {n}"}) + "\n"
    for n in range(200)
)
ONE_COLUMN = "".join(json.dumps({"text": f"Town {n} has towers."}) + "\n" for n in range(200))
WORDS = "".join(
    json.dumps({"question": f"Who is {n}?", "answer": f"person {chr(97 + n % 26)}"}) + "\n" for n in range(200)
)


def upload(client: FlaskClient, rows: str) -> str:
    form = {"file": (io.BytesIO(rows.encode()), "towers.jsonl")}
    return str(client.post("/api/datasets/upload", data=form).get_json()["source"])


@pytest.fixture
def tokenizer(home: Home) -> None:
    """A tokenizer that counts words."""
    made = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(home.cache / "models" / "smollm2-135m-instruct" / "tokenizer.json"))


def choose(browser: Browser, **fields: str) -> Any:
    """Save the dataset step with these fields and press Continue."""
    browser.get("/new/dataset")
    return browser.post("/new/dataset", form={"ui.kind": "upload", "action": "next", **fields})


def test_a_file_without_an_answer_column_stops_on_the_dataset_step(browser: Browser, client: FlaskClient) -> None:
    """With the message at the column; a reward that needs no answer passes."""
    choose(browser, upload=upload(client, ONE_COLUMN), **{"dataset.instruction_field": "text"})
    sent = choose(
        browser, **{"dataset.instruction_field": "text", "dataset.response_field": ""}, upload=_chosen(browser)
    )
    assert sent.location.endswith("/new/dataset")
    assert "Choose the answer column" in browser.get("/new/dataset").text
    train = browser.get("/new/train").text
    assert "Ready to start" not in train
    assert train.index("Not ready") < train.index("Choose the answer column")
    assert "/new/dataset#field-dataset-response-field" in train
    refused = client.post("/api/training/start", json={"config": _draft(browser), "confirm_reward": True})
    assert refused.status_code == 422
    assert refused.json is not None
    assert refused.json["error"]["field"] == "dataset.response_field"
    browser.post("/new/reward", form={"reward.type": "composite", "use.length": "on", "action": "save"})
    sent = choose(
        browser, **{"dataset.instruction_field": "text", "dataset.response_field": ""}, upload=_chosen(browser)
    )
    assert sent.location.endswith("/new/configuration")


def _services(browser: Browser) -> Services:
    found: Services = browser.client.application.extensions["tunesmith"]
    return found


def _draft(browser: Browser) -> dict[str, Any]:
    return _services(browser).wizard.config()


def _chosen(browser: Browser) -> str:
    return str(_draft(browser)["dataset"]["source"])


@pytest.mark.usefixtures("tokenizer")
def test_references_that_do_not_fit_are_known_before_anything_runs(browser: Browser, client: FlaskClient) -> None:
    """And the button sets lengths that fit them."""
    choose(browser, upload=upload(client, LONG))
    browser.post("/new/configuration", form={"training.max_new_tokens": "40", "action": "save"})
    page = browser.get("/new/train").text
    assert "200 of the 200 correct answers are longer than 40 tokens" in page
    assert "Ready to start" not in page
    assert "200 of the 200 correct answers" in browser.get("/new/configuration").text
    browser.post("/new/train", form={"action": "fix-training.max_new_tokens"})
    assert _draft(browser)["training"]["max_new_tokens"] > 90
    assert "do not fit" not in browser.get("/new/train").text
    browser.post("/new/train", form={"action": "fix-training.max_new_tokens"})
    assert "no longer needed" in browser.get("/new/train").text


def test_a_reward_that_reads_no_reference_is_first_and_offers_another(browser: Browser, client: FlaskClient) -> None:
    choose(browser, upload=upload(client, WORDS))
    browser.post("/new/reward", form={"reward.preset_name": "math", "action": "save"})
    page = browser.get("/new/train").text
    assert "cannot read any of the 200 correct answers, such as &#39;person a&#39;" in page
    browser.post("/new/train", form={"action": "fix-reward"})
    assert _draft(browser)["reward"]["preset_name"] == "short_answer"
    assert "cannot read" not in browser.get("/new/train").text


def test_references_in_whole_sentences_get_a_reward_that_reads_them(browser: Browser, client: FlaskClient) -> None:
    """Even if no ready-made one suits them."""
    rows = "".join(
        json.dumps(
            {"question": f"What about {n}?", "answer": f"{chr(97 + n % 26)} town lies " + "beyond the hills and " * 12}
        )
        + "\n"
        for n in range(60)
    )
    choose(browser, upload=upload(client, rows))
    browser.post("/new/reward", form={"reward.type": "preset", "reward.preset_name": "math", "action": "save"})
    assert "Use the suggested reward" in browser.get("/new/train").text
    browser.post("/new/train", form={"action": "fix-reward"})
    assert _draft(browser)["reward"]["type"] == "composite"
    assert "cannot read" not in browser.get("/new/train").text


def test_a_learning_rate_of_nearly_one_does_not_pass_in_silence(browser: Browser) -> None:
    """On its own step, on Train and in the summary; a start is still possible."""
    choose(browser, **{"ui.kind": "generated"})
    assert "Ready to start" in browser.get("/new/train").text
    browser.post("/new/configuration", form={"training.learning_rate": "0.9", "action": "save"})
    page = browser.get("/new/train").text
    assert "Ready, but check 1 warning first" in page
    assert "4,500 times the highest usual value" in page
    assert "4,500 times the highest usual value" in browser.get("/new/configuration").text
    assert "Ready, with 1 warning" in browser.get("/new/model").text


def test_a_first_visit_finds_nothing_wrong(browser: Browser) -> None:
    """The built-in model is chosen, form and summary agree, and unvisited steps are no error."""
    model = browser.get("/new/model").text
    assert 'value="builtin:smollm2-135m-instruct" checked' in model
    assert "Not chosen yet" not in model.partition("<dt>Dataset</dt>")[0]
    page = browser.get("/new/train").text
    assert "Not set up yet." in page
    assert 'class="note problem"' not in page
    assert "not looked at yet" not in page
    assert browser.get("/new").location.endswith("/new/model")
    choose(browser, **{"ui.kind": "generated"})
    page = browser.get("/new/train").text
    assert "Ready to start" in page
    assert page.count("(Suggested values)") == 3
    assert page.count("(Done)") == 1


def test_a_missing_dataset_is_reported_where_continue_was_clicked(browser: Browser) -> None:
    sent = choose(browser)
    assert sent.location.endswith("/new/dataset")
    assert "Choose a dataset." in browser.get("/new/dataset").text


def test_a_missing_hub_model_is_reported_early(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Already on the Model step, with its size, and a warning if the Hub cannot be reached."""
    browser.get("/new/model")
    browser.post("/new/model", form={"choice": "Qwen/Qwen3-0.6B", "ui.setup": "recommended", "action": "save"})
    monkeypatch.setattr(HubReach, "look", lambda _self: None)
    assert "It will be downloaded (about 1.2 GB)." in browser.get("/new/model").text
    monkeypatch.setattr(HubReach, "look", lambda _self: False)
    assert "Hugging Face cannot be reached right now" in browser.get("/new/model").text
    choose(browser, **{"ui.kind": "generated"})
    page = browser.get("/new/train").text
    assert "Ready to start" not in page
    assert "Hugging Face cannot be reached right now" in page


def test_the_hub_is_asked_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed port is noticed at once; in offline mode, no request is sent."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    reach = HubReach()
    assert until(reach.look, lambda known: known is not None) is False
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert HubReach().look() is False


def test_the_api_gives_the_same_list(client: FlaskClient) -> None:
    answer = client.post("/api/training/check", json=tiny(learning_rate=0.9)).json
    assert answer is not None
    assert answer["state"] == "ready_but"
    first = answer["problems"][0]
    assert (first["severity"], first["field"]) == ("warns", "training.learning_rate")
    assert first["fix"] == {"label": "Set to 0.0001", "values": {"training.learning_rate": 0.0001}}
    assert client.post("/api/training/start", json={"config": tiny(learning_rate=0.9)}).status_code == 202


def test_the_terminal_prints_it(app: Flask) -> None:
    lines: list[str] = []
    config = {**TINY, "model": {**TINY["model"], "load_in_4bit": True}}
    answer = app.test_client().post("/api/training/check", json=config).json
    say_readiness(answer, lines.append)  # type: ignore[arg-type]
    assert lines[0] == "Not ready:"
    assert lines[1].startswith("  blocks  model.load_in_4bit: 4-bit quantization needs an NVIDIA GPU")


def test_only_the_page_before_the_start_may_take_seconds(
    browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandboxed reward is tried there, and every other page shows the result."""
    tried: list[str] = []

    def attack(_bench: Bench, _reward: Any, dataset: dict[str, Any], *, fetch: bool) -> adversarial.Report:
        tried.append(dataset["source"])
        return adversarial.Report((), 1.0, 4, ("Nothing earns everything.",))

    monkeypatch.setattr(Bench, "attack", attack)
    own = {"type": "composite", "components": [{"name": "python", "params": {"source": TEMPLATE}}]}
    services.wizard.load({**TINY, "reward": own})
    assert "Nothing earns everything." not in browser.get("/new/reward").text
    assert not tried
    assert "Nothing earns everything." in browser.get("/new/train").text
    assert "Nothing earns everything." in browser.get("/new/reward").text
    assert tried == ["generated:arithmetic"]


def probed(services: Services, outcome: str, field: str, **figures: Any) -> str:
    """The draft's probe, ended with this verdict."""
    view = services.probes.start(services.wizard.config())
    services.wizard.remember("train", probe_id=view.probe_id)
    verdict = {"outcome": outcome, "title": "A verdict", "reason": "A reason.", "field": field, "advice": "Advice."}
    whole = asdict(Figures(8, 8, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.2)) | {"cancel": False, **figures}
    write_json(services.settings.home.outputs / view.probe_id / "result.json", {"verdict": verdict, "figures": whole})
    services.database.update(view.probe_id, state=str(JobState.COMPLETED))
    return view.probe_id


@pytest.mark.usefixtures("tokenizer")
def test_the_probes_advice_is_a_button(browser: Browser, client: FlaskClient, services: Services) -> None:
    """On its page and on the Train step: it sets the lengths that the rows need, and checks again."""
    choose(browser, upload=upload(client, LONG))
    browser.post("/new/configuration", form={"training.max_new_tokens": "40", "action": "save"})
    first = probed(services, "cut_off", "training.max_new_tokens", reference_cut_off=1.0)
    train = browser.get("/new/train").text
    assert "Ready to start" not in train
    assert "The check before training found: A verdict." in train
    label = re.search(r'data-testid="apply-probe">([^<]+)<', browser.get(f"/probe/{first}").text)
    assert label
    assert label[1] in train
    wanted = int(re.findall(r"to (\d+) and check again", label[1])[0])
    sent = browser.post("/new/train", form={"action": "apply-probe"})
    assert _draft(browser)["training"]["max_new_tokens"] == wanted > 90
    second = services.wizard.draft().page("train")["probe_id"]
    assert sent.location.endswith(f"/probe/{second}")
    assert second != first
    assert "apply-probe" not in browser.get(f"/probe/{first}").text


def test_user_messages_name_no_field_and_no_flag(browser: Browser, services: Services) -> None:
    """In the list of setups and in a refused start."""
    services.configs.save("mine", TINY)
    page = browser.get("/configs").text
    assert "SmolLM2 135M Instruct · Arithmetic (generated) · reward: Arithmetic" in page
    assert "builtin:" not in page
    choose(browser, **{"ui.kind": "generated"})
    browser.post("/new/reward", form={"reward.type": "composite", "use.length": "on", "action": "save"})
    browser.post("/new/train", form={"action": "start"})
    page = browser.get("/new/train").text
    assert "select &#39;Start anyway&#39; first" in page
    assert "confirm_reward:" not in page
    assert "--confirm-reward" not in page
    browser.post("/new/configuration", form={"training.batch_size": "3", "training.max_steps": "0", "action": "save"})
    browser.post("/new/train", form={"action": "start", "confirm_reward": "on"})
    page = browser.get("/new/train").text
    assert "Not ready" in page
    visible = re.sub(r"<[^>]*>|<script.*?</script>", " ", page.partition("<main")[2].partition("</main>")[0])
    assert not re.search(r"\b(batch_size|max_steps|gradient_accumulation_steps|training\.)", visible)
