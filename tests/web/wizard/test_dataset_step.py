"""Step 2 as a browser uses it: exercises, mixtures, popular datasets, templates, and the exact prompt."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from tokenizers import Tokenizer, models, pre_tokenizers

from core.config import parse
from core.dataset import Shape
from core.settings import Home
from services.datasets import preparation_jobs
from tests.conftest import Browser
from tests.support import preparing
from tests.support.hub import Hub, Repo
from tests.support.live import held, until

ROWS = "".join(
    json.dumps({"context": f"Town {n} has {n} towers.", "question": "How many towers?", "answer": f"So.\n#### {n}"})
    + "\n"
    for n in range(60)
)


@pytest.fixture
def draft(app: Flask) -> Any:
    return lambda: app.extensions["tunesmith"].wizard.draft().sections


def upload(app: Flask, rows: str = ROWS) -> str:
    form = {"file": (io.BytesIO(rows.encode()), "towers.jsonl")}
    return str(app.test_client().post("/api/datasets/upload", data=form).get_json()["source"])


def save(browser: Browser, action: str = "save", **fields: str) -> None:
    browser.get("/new/dataset")
    sent = browser.post(
        "/new/dataset", form={"action": action, **{name.replace("__", "."): value for name, value in fields.items()}}
    )
    assert sent.status_code in {302, 303}, sent.get_data(as_text=True)[:500]


def test_a_file_brings_its_whole_mapping(app: Flask, browser: Browser, draft: Any) -> None:
    """Question and context are joined, the answer is extracted after its marker, and the prompt shows its start."""
    source = upload(app)
    save(browser, ui__kind="upload", upload=source)
    section = draft()["dataset"]
    assert section["instruction_template"] == "{context}\n\n{question}"
    assert (section["extraction"], section["extraction_pattern"]) == ("after_marker", "####")
    browser.post(
        "/new/model", form={"action": "save", "choice": "builtin:smollm2-135m-instruct", "ui.setup": "recommended"}
    )
    text = browser.get("/new/dataset").get_data(as_text=True)
    assert "Town 0 has 0 towers." in text
    assert "Reference answer: 0" in text
    assert 'data-testid="answer-starts"' in text


def test_further_columns_are_named_for_the_reward(app: Flask, browser: Browser, draft: Any) -> None:
    """Comma-separated, kept in the configuration and the rows; another source removes them."""
    rows = "".join(
        json.dumps({"question": f"Write f{n}.", "answer": "def f", "test_list": [f"f{n}()"], "choices": "a"}) + "\n"
        for n in range(20)
    )
    source = upload(app, rows)
    save(browser, ui__kind="upload", upload=source)
    assert "Available: test_list, choices." in browser.get("/new/dataset").get_data(as_text=True)
    named = {"dataset.columns": "checks = test_list, choices"}
    save(browser, ui__kind="upload", upload=source, **named)
    found = app.extensions["tunesmith"]
    assert found.wizard.config()["dataset"]["columns"] == {"checks": "test_list", "choices": "choices"}
    assert 'value="checks = test_list, choices"' in browser.get("/new/dataset").get_data(as_text=True)
    assert found.draft_rows.mapped(found.wizard.draft().dataset, 1)[0]["checks"] == ["f0()"]
    save(browser, ui__kind="upload", upload=source, **{"dataset.columns": "checks = nothing"})
    assert "no column &#39;nothing&#39;" in browser.get("/new/dataset").get_data(as_text=True)
    save(browser, ui__kind="generated", **named)
    assert "columns" not in draft()["dataset"]


def test_exercises_are_ticked_weighed_and_bring_their_checker(browser: Browser, draft: Any) -> None:
    """They generate the rows and their checker becomes the reward; another source removes both."""
    save(browser, action="show-tasks", ui__kind="tasks")
    text = browser.get("/new/dataset").get_data(as_text=True)
    assert 'name="task.chain_sum"' in text
    chosen = {
        "tasks-shown": "1",
        "task.chain_sum": "on",
        "weight.chain_sum": "2",
        "difficulty.chain_sum": "1",
        "task.spell_backward": "on",
    }
    save(browser, action="show-tasks", ui__kind="tasks", dataset__size="24", dataset__seed="3", **chosen)
    section = draft()["dataset"]
    assert section["source"] == "generated:reasoning-gym"
    assert section["tasks"] == [
        {"name": "chain_sum", "weight": 2.0, "difficulty": 1},
        {"name": "spell_backward", "weight": 1.0},
    ]
    assert draft()["reward"]["preset_name"] == "reasoning_gym"
    assert "24 rows" in browser.get("/new/dataset").get_data(as_text=True)
    save(browser, ui__kind="generated")
    assert "tasks" not in draft()["dataset"]
    assert draft()["reward"]["preset_name"] == "arithmetic"  # the reward for sums; the checker went with the exercises


def test_generated_preferences_bring_their_columns(app: Flask, browser: Browser, draft: Any) -> None:
    """Both answers are mapped, so that the rows are pairs; another source takes the mapping back."""
    found = app.extensions["tunesmith"]
    found.wizard.put(method="dpo")
    save(browser, ui__kind="preferences", dataset__size="24")
    dataset = parse(found.wizard.config()).dataset
    assert (dataset.source, dataset.size, dataset.shape) == ("generated:preferences", 24, Shape.PAIRS)
    assert "24 rows" in browser.get("/new/dataset").get_data(as_text=True)
    save(browser, ui__kind="generated")
    assert not {"chosen_field", "rejected_field"} & {name for name, value in draft()["dataset"].items() if value}


def test_datasets_are_mixed_by_weight(app: Flask, browser: Browser, draft: Any) -> None:
    """Each with its own mapping; a source without a weight is left out."""
    source, _other = upload(app), upload(app, ROWS.replace("towers", "bells"))
    save(browser, action="take-mix", ui__kind="mix", **{f"mix.{source}": "2", "mix.generated:arithmetic": "1"})
    section = draft()["dataset"]
    assert section["source"] == "mix"
    assert [(part["source"], part["weight"]) for part in section["mix"]] == [
        (source, 2.0),
        ("generated:arithmetic", 1.0),
    ]
    assert section["mix"][0]["extraction"] == "after_marker"
    assert "90 rows" in browser.get("/new/dataset").get_data(as_text=True)


def part(place: int, was: dict[str, Any], **fields: str) -> dict[str, str]:
    """One of a mixture's own forms, as the browser sends it."""
    path = f"mix-part.{place}"
    return {f"{path}.was": json.dumps(was)} | {f"{path}.{name}": value for name, value in fields.items()}


def test_a_mixture_takes_exercises_with_difficulty_and_weight(browser: Browser, draft: Any) -> None:
    """Beside generated sums; exercise fields that the form does not show are kept, and without names none is used."""
    exercises = {"source": "generated:reasoning-gym", "tasks": [{"name": "chain_sum", "weight": 3.0}]}
    sums = {"mix.generated:arithmetic": "1"}
    own = part(0, exercises, tasks="chain_sum = 1, spell_backward", size="40", weight="2")
    save(browser, action="take-mix", ui__kind="mix", **sums, **own, **part(1, {}, source=""))
    made = draft()["dataset"]["mix"][1]
    assert made["tasks"] == [{"name": "chain_sum", "weight": 3.0, "difficulty": 1}, {"name": "spell_backward"}]
    assert (made["size"], made["weight"]) == (40, 2)
    text = browser.get("/new/dataset").get_data(as_text=True)
    assert 'value="chain_sum = 1, spell_backward"' in text
    assert "60 rows" in text
    save(browser, ui__kind="mix", **sums, **part(0, made, tasks="chain_sum = hard"))
    assert "must be a whole number" in browser.get("/new/dataset").get_data(as_text=True)
    save(browser, ui__kind="mix", **sums, **part(0, made, tasks=""))
    assert [one["source"] for one in draft()["dataset"]["mix"]] == ["generated:arithmetic"]


def test_a_mixture_takes_datasets_of_the_hub(browser: Browser, draft: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path, subset, split and weight; a popular one comes with its mapping; rows are fetched only on request."""
    lines = "".join(json.dumps({"ask": f"Is {n} even?", "say": "yes"}) + "\n" for n in range(20)).encode()
    own = {"source": "own/set", "split": "train", "instruction_field": "ask", "response_field": "say"}
    hub = part(0, {}, **own, weight="2")
    with Hub({"own/set": Repo({"train.jsonl": lines})}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        sums = {"mix.generated:arithmetic": "1"}
        save(browser, action="take-mix", ui__kind="mix", **sums, **hub)
        assert draft()["dataset"]["mix"][1] == {name: own[name] for name in own if name != "split"} | {"weight": 2}
        assert "'Preview rows' downloads the first rows".replace("'", "&#39;") in browser.get("/new/dataset").get_data(
            as_text=True
        )
        save(browser, action="check", ui__kind="mix", **sums, **hub)
        assert "even?" in browser.get("/new/dataset").get_data(as_text=True)
    known = part(0, own, source="openai/gsm8k", subset="", instruction_field="ask", response_field="say", weight="1")
    save(browser, ui__kind="mix", **sums, **known)
    taken = draft()["dataset"]["mix"][1]
    assert (taken["subset"], taken["instruction_field"], taken["extraction"]) == ("main", "question", "after_marker")


PREPARATION = "/new/dataset/preparation"


def words_alone(folder: Path) -> None:
    """A tokenizer for a model that appears to be installed: every word is a token."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text("{% for one in messages %}{{ one.content }} {% endfor %}")


@pytest.mark.parametrize("kind", ["generated", "hub", "mix"])
def test_every_source_is_prepared_from_the_step(
    kind: str, home: Home, browser: Browser, draft: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts, lengths and files as on the dataset's page; its limits can be applied; later changes make it outdated."""
    rows = "".join(json.dumps({"question": f"Is {n % 50} even?", "answer": str(n)}) + "\n" for n in range(100))
    sums = {"generated": {}, "hub": {"ui.hub": "own/set"}, "mix": {"mix.generated:arithmetic": "1"}}[kind]
    fields = sums | (part(0, {}, source="own/set", weight="1") if kind == "mix" else {})
    model = {"action": "save", "choice": "builtin:smollm2-135m-instruct", "ui.setup": "recommended"}
    words_alone(home.cache / "models" / "smollm2-135m-instruct")
    browser.get("/new/model")
    browser.post("/new/model", form=model)
    with Hub({"own/set": Repo({"train.jsonl": rows.encode()})}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        save(browser, action="prepare", ui__kind=kind, **fields)
        browser.once_prepared(PREPARATION)
    text = browser.once_prepared(PREPARATION)
    assert 'data-testid="report"' in text
    assert "<strong>Prompts</strong>: median" in text
    assert "Your setup has changed" not in text
    with browser.get("/new/dataset/prepared/jsonl") as file:
        assert len(file.get_data(as_text=True).splitlines()) > 50
    browser.post("/new/dataset/limits", form={})
    assert draft()["training"]["max_new_tokens"] < 64
    assert "Your setup has changed" in browser.get(PREPARATION).get_data(as_text=True)
    save(browser, ui__kind="upload", upload="")
    assert 'data-testid="report"' not in browser.get(PREPARATION).get_data(as_text=True)


def test_a_well_known_dataset_brings_its_mapping(browser: Browser, draft: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the Hub cannot be reached."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nothing listens there
    save(browser, action="known-rajpurkar/squad_v2", ui__kind="hub")
    section = draft()["dataset"]
    assert (section["source"], section["extraction_pattern"]) == ("rajpurkar/squad_v2", "text[0]")
    assert "cannot be reached" in browser.get("/new/dataset").get_data(as_text=True)


def test_prompts_and_markers_are_kept_by_name_and_used_again(browser: Browser, draft: Any) -> None:
    """Saved on the page, applied after other choices, deleted."""
    fields = {
        "ui.kind": "generated",
        "dataset.system_prompt": "Be brief.",
        "dataset.solution_start": "[S]",
        "dataset.solution_end": "[/S]",
    }
    save(browser, action="save-template", **{"template-name": "brief"}, **fields)
    save(
        browser, **{"ui.kind": "generated", "dataset.system_prompt": "Something else.", "dataset.solution_start": "<A>"}
    )
    assert draft()["dataset"]["solution_start"] == "<A>"
    text = browser.get("/new/dataset").get_data(as_text=True)
    assert "<option>brief</option>" in text
    assert 'value="use-template"' in text
    save(browser, action="use-template", template="brief", **{"ui.kind": "generated"})
    assert (draft()["dataset"]["system_prompt"], draft()["dataset"]["solution_start"]) == ("Be brief.", "[S]")
    save(browser, action="delete-template", template="brief", **{"ui.kind": "generated"})
    assert "<option>brief</option>" not in browser.get("/new/dataset").get_data(as_text=True)


def test_preparation_and_a_custom_template_are_part_of_the_step(app: Flask, browser: Browser, draft: Any) -> None:
    """Switches reach the configuration; a custom chat template shows in the prompt, and a broken one says why."""
    browser.get("/new/model")
    browser.post(
        "/new/model", form={"action": "save", "choice": "builtin:smollm2-135m-instruct", "ui.setup": "recommended"}
    )
    checks = {"checks": "dataset.drop_personal dataset.drop_overlap", "dataset.drop_personal": "on"}
    save(
        browser,
        **{
            "ui.kind": "generated",
            "dataset.deduplicate": "near",
            "dataset.chat_template": "ASK {{ messages[-1].content }}",
        },
        **checks,
    )
    assert (draft()["dataset"]["drop_personal"], draft()["dataset"]["deduplicate"]) == (True, "near")
    page = browser.get("/new/dataset").get_data(as_text=True)
    assert "ASK Give the result between" in page
    assert "\n\nWhat is 21 + 12?<mark" in page
    assert "In 2 of these 2 rows the chat template has no system role" in page
    save(browser, **{"ui.kind": "generated", "dataset.chat_template": "{% for %}"})
    assert "template" in browser.get("/new/dataset").get_data(as_text=True)


def test_a_preparation_is_watched_and_stopped(
    app: Flask, home: Home, browser: Browser, draft: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page shows the progress; after a stop there is neither a report nor an error."""
    monkeypatch.setattr(preparation_jobs, "PATIENCE", 0.0)
    preparing.hold(app.extensions["tunesmith"].library, home.root)
    save(browser, ui__kind="generated")
    with held(home.root):
        browser.post(PREPARATION, form={})
        text = browser.get(PREPARATION).get_data(as_text=True)
        assert 'data-testid="preparing"' in text
        assert "data-poll" in text
        browser.post(f"{PREPARATION}/stop", form={})
        until(lambda: shown(browser), lambda text: "seconds so far" not in text)
    assert 'data-testid="report"' not in shown(browser)
    assert "Preparation failed" not in shown(browser)


def test_a_preparation_that_fails_says_why(browser: Browser, draft: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the page, with the reader's message; it can be retried."""
    with Hub({}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        save(browser, action="prepare", ui__kind="hub", ui__hub="nobody/nothing")
        text = browser.once_prepared(PREPARATION)
    assert "nobody/nothing" in text
    assert "note problem" in text or "problem" in text
    assert 'data-testid="prepare-form"' in text


def shown(browser: Browser) -> str:
    text: str = browser.get(PREPARATION).get_data(as_text=True)
    return text.replace("data-testid", "").partition("<main")[2]


def test_exercises_are_made_once_for_the_same_question(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each preview takes a process of seconds; another seed or number of rows needs a new one."""
    made: list[int] = []

    def ask(_: Home, op: str, *, samples: int, **__: Any) -> Any:
        made.append(samples)
        return {
            "rows": [{"question": f"{op} {len(made)}", "answer": "1"}],
            "columns": ["question", "answer"],
            "total": 1,
        }

    monkeypatch.setattr("services.datasets.prompts.ask", ask)
    preview = app.extensions["tunesmith"].datasets.preview
    exercises = {"source": "generated:reasoning-gym", "tasks": [{"name": "chain_sum"}]}
    first = preview(exercises)
    first["rows"].clear()
    assert preview(exercises)["rows"][0]["question"] == "peek 1"
    assert preview({**exercises, "seed": 5})["rows"][0]["question"] == "peek 2"
    preview(exercises, samples=30)
    assert made == [20, 20, 30]
    for seed in range(10, 20):
        preview({**exercises, "seed": seed})
    assert preview(exercises)["rows"][0]["question"] == "peek 14"
    hub = {"source": "mix", "mix": [exercises, {"source": "own/set"}]}
    assert preview(hub)["rows"] != preview(hub)["rows"]
