"""Datasets over HTTP: chunked uploads, rows, search, mapping, preparation, templates, tasks."""

from __future__ import annotations

import gzip
import io
import json
import time
from typing import Any

import pyarrow.parquet as parquet
import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.data.uploads import write_info
from core.settings import Home
from services.container import Services
from services.datasets import incoming
from tests.conftest import Browser, tiny
from tests.support.live import PATIENCE

ROWS = [{"question": f"What is {n} + 1?", "answer": f"{n} + 1 = {n + 1}\n#### {n + 1}"} for n in range(300)]
DATA = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def begun(client: FlaskClient, data: bytes, name: str = "rows.jsonl") -> str:
    made = client.post("/api/datasets/uploads", json={"name": name, "size": len(data)})
    assert made.status_code == 201
    return str(made.get_json()["id"])


def send(client: FlaskClient, job: str, data: bytes, offset: int) -> Any:
    return client.patch(f"/api/datasets/jobs/{job}?offset={offset}", data=data)


def uploaded(client: FlaskClient, data: bytes = DATA, name: str = "rows.jsonl") -> dict[str, Any]:
    made = client.post("/api/datasets/upload", data={"file": (io.BytesIO(data), name)})
    assert made.status_code == 201, made.get_json()
    found: dict[str, Any] = made.get_json()
    return found


def waited(client: FlaskClient, job: str, seconds: float = PATIENCE) -> dict[str, Any]:
    """The final state of the job."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found: dict[str, Any] = client.get(f"/api/datasets/jobs/{job}").get_json()
        if found["state"] not in {"working", "receiving"}:
            return found
        time.sleep(0.1)
    raise AssertionError(found)


def test_an_upload_goes_on_where_it_broke_off(client: FlaskClient, home: Home) -> None:
    """Chunks are appended in order; a chunk at the wrong offset is refused with the right offset."""
    job = begun(client, DATA)
    assert send(client, job, DATA[:1000], 0).get_json()["offset"] == 1000
    wrong = send(client, job, DATA[2000:], 2000)
    assert (wrong.status_code, "1000 bytes have been received" in wrong.get_json()["error"]["message"]) == (409, True)
    assert client.get(f"/api/datasets/jobs/{job}").get_json()["offset"] == 1000
    assert client.post(f"/api/datasets/jobs/{job}/finish", json={}).status_code == 409
    send(client, job, DATA[1000:], 1000)
    done = client.post(f"/api/datasets/jobs/{job}/finish", json={})
    assert (done.status_code, done.get_json()["rows"]) == (200, 300)
    assert client.get(f"/api/datasets/jobs/{job}").get_json()["state"] == "done"
    assert sorted(path.name for path in (home.uploads / job).iterdir()) == ["data.idx", "data.jsonl", "info.json"]


def test_more_than_announced_or_accepted_is_refused(client: FlaskClient) -> None:
    """The size limit is enforced."""
    job = begun(client, b"x" * 10)
    assert send(client, job, b"x" * 11, 0).status_code == 413
    assert client.post("/api/datasets/uploads", json={"name": "a", "size": 1 << 60}).status_code == 413


def test_a_person_decides_on_bad_rows_after_seeing_them(client: FlaskClient) -> None:
    """The file is kept until the user decides; then the good rows become the dataset."""
    data = DATA + b"{oops}\n"
    job = begun(client, data)
    send(client, job, data, 0)
    refused = client.post(f"/api/datasets/jobs/{job}/finish", json={"bad_rows": "stop"})
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (400, "bad_rows")
    seen = client.get(f"/api/datasets/jobs/{job}").get_json()
    assert (seen["state"], seen["bad"], seen["rows"]) == (
        "bad_rows",
        [{"line": 301, "reason": seen["bad"][0]["reason"]}],
        300,
    )
    done = client.post(f"/api/datasets/jobs/{job}/finish", json={"bad_rows": "skip"})
    assert (done.status_code, done.get_json()["rows"], done.get_json()["bad_rows"]) == (200, 300, 1)


def test_a_large_file_is_read_in_a_separate_process(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """202, then progress, then a dataset; a broken file fails with a message and can be discarded."""
    monkeypatch.setattr(incoming, "SMALL", 100)
    job = begun(client, DATA)
    send(client, job, DATA, 0)
    assert client.post(f"/api/datasets/jobs/{job}/finish", json={}).status_code == 202
    assert waited(client, job)["dataset"]["rows"] == 300
    broken = gzip.compress(DATA)[:200]
    job = begun(client, broken, "a.jsonl.gz")
    send(client, job, broken, 0)
    client.post(f"/api/datasets/jobs/{job}/finish", json={})
    end = waited(client, job)
    assert end["state"] in {"failed", "bad_rows"}
    assert "gzip" in end["error"]
    assert client.delete(f"/api/datasets/jobs/{job}").status_code == 204
    assert client.get(f"/api/datasets/jobs/{job}").status_code == 404
    assert client.get("/api/datasets/jobs").get_json() == {"jobs": []}


@pytest.mark.parametrize("job", ["..", "../../etc", "20260101-000000-abcdef", "x" * 200])
def test_a_job_that_is_not_there_is_not_found(client: FlaskClient, job: str) -> None:
    """Nothing outside uploads/ is read."""
    assert client.get(f"/api/datasets/jobs/{job}").status_code in {400, 404}
    assert client.delete(f"/api/datasets/jobs/{job}").status_code in {400, 404, 405}


def test_rows_are_paged_and_searched(client: FlaskClient) -> None:
    """Any page of rows, and full-text search."""
    made = uploaded(client)["id"]
    page = client.get(f"/api/datasets/{made}/rows?offset=290&limit=20").get_json()
    assert (len(page["rows"]), page["rows"][0], page["total"]) == (10, ROWS[290], 300)
    hits = client.get(f"/api/datasets/{made}/rows?search=IS 29&limit=5").get_json()
    assert [hit["row"] for hit in hits["rows"]] == [29, 290, 291, 292, 293]
    more = client.get(f"/api/datasets/{made}/rows?search=IS 29&offset={hits['searched']}").get_json()
    assert [hit["row"] for hit in more["rows"]] == list(range(294, 300))
    assert more["done"]


def test_a_mapping_is_tried_kept_and_held_to_the_columns(client: FlaskClient) -> None:
    """Extraction with a live preview; the error for an invalid pattern names its field."""
    made = uploaded(client)["id"]
    tried = client.post(
        f"/api/datasets/{made}/map",
        json={"mapping": {"extraction": "regex", "extraction_pattern": r"= (\d+)"}, "samples": 2},
    )
    assert [row["response"] for row in tried.get_json()["rows"]] == ["1", "2"]
    for wrong, field in (
        ({"extraction": "regex", "extraction_pattern": "("}, "dataset.extraction_pattern"),
        ({"instruction_field": "none"}, "dataset.instruction_field"),
        ({"split": "x"}, "mapping.split"),
    ):
        refused = client.post(f"/api/datasets/{made}/map", json={"mapping": wrong})
        assert (refused.status_code, refused.get_json()["error"]["field"]) == (400, field)
    client.patch(f"/api/datasets/{made}", json={"name": "sums", "mapping": {"extraction": "last_number"}})
    kept = client.get(f"/api/datasets/{made}").get_json()
    assert (kept["name"], kept["section"]["extraction"]) == ("sums", "last_number")
    assert client.patch(f"/api/datasets/{made}", json={"name": " "}).status_code == 400


def test_a_pattern_that_never_ends_is_refused_with_a_message(client: FlaskClient) -> None:
    """Catastrophic backtracking is cut off after a fraction of a second and does not block the server."""
    made = uploaded(client, json.dumps({"question": "q?", "answer": "a" * 50_000 + "!"}).encode())["id"]
    began = time.thread_time()
    mapping = {"extraction": "regex", "extraction_pattern": r"^(\w+\s?)*\s?(\w+\s?)*$"}
    refused = client.post(f"/api/datasets/{made}/map", json={"mapping": mapping})
    assert (refused.status_code, "takes too long" in refused.get_json()["error"]["message"]) == (400, True)
    assert time.thread_time() - began < 2


def test_preparation_counts_and_shows_what_it_removes(client: FlaskClient) -> None:
    """Exact and near duplicates, rows with personal data, unreadable references; the result can be downloaded."""
    extra = [
        ROWS[0],
        {"question": "Write to anna.bauer@firma.de today, what is 3 + 4?", "answer": "#### 7"},
        {"question": "Which colour has the sky on a clear day?", "answer": "#### blue"},
        {
            "question": "Tom has three apples and buys four more apples at the market, how many apples has he?",
            "answer": "#### 7",
        },
        {
            "question": "Tom has three apples and buys four more apples at the market; how many apples has he now?",
            "answer": "#### 8",
        },
    ]
    made = uploaded(client, "".join(json.dumps(row) + "\n" for row in [*ROWS, *extra]).encode())
    dataset = {
        "source": made["source"], "extraction": "after_marker", "extraction_pattern": "####", "deduplicate": "near",
        "drop_unparseable": True, "drop_personal": True,
    }  # fmt: skip
    config = tiny() | {"dataset": dataset, "reward": {"type": "preset", "preset_name": "math"}}
    report = client.post("/api/datasets/prepare", json={"config": config}).get_json()
    counts = {reason.split(":")[0]: one["count"] for reason, one in report["removed"].items()}
    assert counts == {
        "duplicate of an earlier row": 1,
        "contains an email address": 1,
        "the reward cannot read the answer": 1,
        "near-duplicate of an earlier question": 1,
    }
    assert report["removed"]["contains an email address"]["rows"][0]["response"] == "7"
    assert report["read"] == 305
    assert report["train"] + report["holdout"] + report["spare"] == 301
    with client.get(f"/api/datasets/{made['id']}/prepared/jsonl") as response:
        lines = response.data.splitlines()
    with client.get(f"/api/datasets/{made['id']}/prepared/parquet") as response:
        table = parquet.read_table(io.BytesIO(response.data))
    assert len(lines) == table.num_rows == report["train"] + report["holdout"]
    assert {"instruction", "response", "full_response"} <= set(table.column_names)
    again = client.post("/api/datasets/prepare", json={"config": config}).get_json()
    assert again["sha256"] == report["sha256"]


def test_a_dataset_in_a_mixture_is_in_use(client: FlaskClient) -> None:
    """A queued run needs every source of its mixture; deleting one is refused."""
    made = uploaded(client)
    mix = [{"source": made["source"], "weight": 2.0}, {"source": "generated:arithmetic", "size": 200}]
    config = tiny("mixer") | {"dataset": {"source": "mix", "mix": mix}}
    assert client.post("/api/training/start", json={"config": config}).status_code == 202
    refused = client.delete(f"/api/datasets/{made['id']}")
    assert (refused.status_code, "mixer" in refused.get_json()["error"]["message"]) == (409, True)
    assert client.get(f"/api/datasets/{made['id']}").get_json()["uses"][0]["name"] == "mixer"
    seen = client.post("/api/datasets/prompts", json={"config": config, "samples": 3}).get_json()
    assert len(seen["prompts"]) == 3


def test_generated_tasks_are_listed_and_previewed(client: FlaskClient) -> None:
    """A hundred kinds; rows keep the entry that their checker needs."""
    tasks = client.get("/api/datasets/tasks").get_json()["tasks"]
    assert len(tasks) > 90
    assert {"chain_sum", "spell_backward"} <= {task["name"] for task in tasks}
    dataset = {
        "source": "generated:reasoning-gym",
        "size": 20,
        "tasks": [{"name": "chain_sum", "difficulty": 1, "weight": 3}, {"name": "spell_backward"}],
    }
    config = tiny() | {"dataset": dataset}
    seen = client.post("/api/datasets/prompts", json={"config": config, "samples": 4}).get_json()
    assert len(seen["prompts"]) == 4
    report = client.post("/api/datasets/prepare", json={"config": config}).get_json()
    assert report["train"] + report["holdout"] == 20


def test_known_datasets_are_searched_and_filtered(client: FlaskClient) -> None:
    """By every word of the query, and by category."""
    alpaca = client.get("/api/datasets/known?search=code alpaca").get_json()["datasets"]
    assert "allows non-commercial use only" in alpaca[0]["licence"]
    found = client.get("/api/datasets/known?search=word problems grade-school&category=math").get_json()
    assert {one["path"] for one in found["datasets"]} == {"openai/gsm8k", "microsoft/orca-math-word-problems-200k"}
    assert set(found["categories"]) == {"math", "code", "general", "question answering", "reasoning", "preferences"}


def test_the_catalog_filters_by_the_address_on_both_pages(browser: Browser) -> None:
    """Chips are links that keep each other's state; unknown values filter nothing; each page has its own button."""
    text = browser.get("/datasets?task=math&license=permissive&size=nonsense").get_data(as_text=True)
    assert "GSM8K" in text
    assert "OpenMath Reasoning" not in text  # CC BY
    assert "8 of 28 datasets" in text
    assert 'href="/datasets?task=math&amp;license=permissive&amp;size=small#known"' in text
    assert 'href="/datasets?license=permissive#known"' in text  # the active chip links to the page without it
    text = browser.get("/datasets?reward=none").get_data(as_text=True)
    unchecked = [text.count(f'<span class="tag{tag}') for tag in (' watch">No answer to check', '">Pairs', '">Ratings')]
    assert unchecked == [6, 4, 1]
    assert text.count('data-testid="known-row"') == sum(unchecked)
    assert "No dataset matches" in browser.get("/datasets?q=zzz").get_data(as_text=True)
    text = browser.get("/new/dataset?kind=hub&reward=code").get_data(as_text=True)
    assert 'value="hub" checked' in text
    assert text.count('data-testid="known-row"') == text.count('data-testid="use-known"') == 2
    assert 'href="/new/dataset?kind=hub&amp;reward=code&amp;size=small#known"' in text


def test_the_catalog_leads_to_what_was_imported(app: Flask, home: Home, browser: Browser) -> None:
    """A popular dataset that is already imported is opened, not imported again by accident."""
    made = uploaded(app.test_client())["id"]
    info = app.extensions["tunesmith"].library.info(made)
    assert ">Imported" not in browser.get("/datasets").get_data(as_text=True)
    write_info(home.uploads / made, info.model_copy(update={"origin": "openai/gsm8k"}))
    text = browser.get("/datasets").get_data(as_text=True)
    assert 'aria-label="Open your copy of GSM8K"' in text
    assert text.count(f'href="/datasets/{made}"') == 2


def test_pasted_rows_become_a_dataset(app: Flask, browser: Browser) -> None:
    """Works without scripts, on both pages; the user chooses the name; unreadable input gets a message."""
    form = {"pasted": "question,answer\nIs 2 even?,yes\nIs 3 even?,no\n", "pasted-name": " parity ", "action": "upload"}
    browser.get("/datasets")
    page = browser.get(browser.post("/datasets", form=form).headers["Location"]).get_data(as_text=True)
    assert "<h1>parity</h1>" in page
    lines = '{"question": "Is 4 even?", "answer": "yes"}\n' * 2
    browser.get("/new/dataset")
    browser.post("/new/dataset", form={"ui.kind": "upload", "pasted": lines, "action": "upload"})
    source = app.extensions["tunesmith"].wizard.draft().dataset.source
    info = app.extensions["tunesmith"].library.info(source.removeprefix("upload:"))
    assert (info.name, info.rows, info.format) == ("Pasted rows", 2, "jsonl")
    browser.post("/datasets", form={"pasted": '{"question": oops}', "action": "upload"})
    assert "not valid JSON" in browser.get("/datasets").get_data(as_text=True)
    nothing: Any = {"file": (io.BytesIO(b""), ""), "pasted": " ", "action": "upload"}
    browser.post("/datasets", form=nothing)
    assert "Choose a file, or paste some rows." in browser.get("/datasets").get_data(as_text=True)


def test_templates_are_kept_by_name(services: Services) -> None:
    """Prompt, answer tags and chat template together; deleted by name."""
    services.library.save_template(" short ", {"system_prompt": "Be brief.", "solution_start": "[S]", "source": "x"})
    assert services.library.templates() == {"short": {"system_prompt": "Be brief.", "solution_start": "[S]"}}
    services.library.delete_template("short")
    assert services.library.templates() == {}


def test_the_manager_shows_every_dataset_and_each_one_whole(app: Flask) -> None:
    """List, database, and a dataset's page with paging, search, mapping and preparation, as a browser uses them."""
    browser = Browser(app)
    made = uploaded(app.test_client())["id"]
    text = browser.get("/datasets").get_data(as_text=True)
    for words in ("rows.jsonl", "300 rows", "Import from Hugging Face", "GSM8K", "Show all 28", "Not used yet"):
        assert words in text
    assert "Alpaca 52K" in browser.get("/datasets?all=1").get_data(as_text=True)
    assert "Alpaca 52K" not in browser.get("/datasets?q=grade-school").get_data(as_text=True)
    text = browser.get(f"/datasets/{made}?page=15").get_data(as_text=True)
    assert "Page 15 of 15" in text
    assert "What is 299 + 1?" in text
    assert "11 matches" in browser.get(f"/datasets/{made}?search=is 29").get_data(as_text=True)
    browser.post(f"/datasets/{made}/change", form={"name": "my sums"})
    mapping = {
        "instruction_field": "question",
        "response_field": "answer",
        "extraction": "last_number",
        "extraction_pattern": "",
        "instruction_template": "",
        "columns": "sum = answer",
    }
    browser.post(f"/datasets/{made}/change", form=mapping)
    text = browser.get(f"/datasets/{made}").get_data(as_text=True)
    assert 'value="sum = answer"' in text
    assert "<h1>my sums</h1>" in text
    assert 'value="last_number" selected' in text
    assert "last_number</option>" not in text
    browser.post(f"/datasets/{made}/prepare", form={"deduplicate": "near", "drop_personal": "on", "preset": "math"})
    browser.once_prepared(f"/datasets/{made}/preparing")
    text = browser.get(f"/datasets/{made}").get_data(as_text=True)
    assert 'data-testid="report"' in text
    assert browser.post(f"/datasets/{made}/use").headers["Location"].endswith("/new/dataset")
    assert app.extensions["tunesmith"].wizard.draft().dataset.values["extraction"] == "last_number"
    assert app.extensions["tunesmith"].wizard.draft().dataset.values["columns"] == {"sum": "answer"}
    browser.post(f"/datasets/{made}/delete")
    assert "my sums" not in browser.get("/datasets").get_data(as_text=True)
