"""Datasets over HTTP, as a local API client uses them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.data.nested import MAX_DEPTH
from core.settings import Home, Settings
from flask_app import create_app
from services.datasets import incoming
from tests.conftest import tiny
from tests.support.multipart import send_file

FIXTURE = Path(__file__).parents[2] / "fixtures" / "gsm8k_small.jsonl"


def upload(client: FlaskClient, data: bytes, name: str = "rows.jsonl") -> Any:
    return send_file(client, "/api/datasets/upload", data, name)


def test_a_file_is_uploaded_listed_looked_into_and_deleted(client: FlaskClient, home: Home) -> None:
    """The full life cycle of an upload, with real rows."""
    made = upload(client, FIXTURE.read_bytes(), "../../gsm8k.jsonl")
    assert made.status_code == 201
    assert (made.get_json()["name"], made.get_json()["rows"], made.get_json()["columns"]) == (
        "gsm8k.jsonl",
        40,
        ["question", "answer"],
    )
    assert made.get_json()["fields"]["instruction"] == "question"
    source, upload_id = made.get_json()["source"], made.get_json()["id"]
    listed = client.get("/api/datasets/list").get_json()
    assert [one["id"] for one in listed["datasets"]] == [upload_id]
    assert listed["generated"][0]["source"] == "generated:arithmetic"
    for path in (source, upload_id):
        seen = client.post("/api/datasets/preview", json={"path": path, "samples": 2, "offset": 38}).get_json()
        assert (len(seen["rows"]), seen["total"], seen["fields"]["response"]) == (2, 40, "answer")
    assert client.delete(f"/api/datasets/{upload_id}").status_code == 204
    assert client.delete(f"/api/datasets/{upload_id}").status_code == 404
    assert list(home.uploads.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"a,b\n1,2\n", "no usable column"),
        ("a.jsonl", b"", "empty"),
        ("a.pdf", b"%PDF-1.4\n1 0 obj\n", "a PDF document"),
        ("a.jsonl", b"\n<!DOCTYPE html>\n<html>\n", "a web page"),
        ("a.jsonl", b'{"question": "a", "answer": "b"}\n' * 2 + b"{oops}\n", "line 3: this line is not valid JSON"),
    ],
)
def test_an_unusable_file_is_refused_with_a_message(
    client: FlaskClient, home: Home, name: str, data: bytes, words: str
) -> None:
    """400 in the standard error format, with the line; nothing is kept."""
    refused = upload(client, data, name)
    assert refused.status_code == 400
    assert refused.get_json()["error"]["code"] in {"invalid_input", "bad_rows"}
    assert words in refused.get_json()["error"]["message"]
    assert list(home.uploads.iterdir()) == []


def test_an_upload_without_a_file_says_what_to_send(client: FlaskClient) -> None:
    """Neither an empty form nor JSON is an upload."""
    for response in (client.post("/api/datasets/upload", data={}), client.post("/api/datasets/upload", json={})):
        assert response.status_code == 400
        assert response.get_json()["error"]["field"] == "file"


def test_a_file_above_the_limit_is_refused(settings: Settings, home: Home) -> None:
    """MAX_UPLOAD_GB is enforced, and nothing is kept."""
    app = create_app(Settings(home=home, database_url=settings.database_url, max_upload_gb=1e-5))
    refused = upload(app.test_client(), b'{"question": "a", "answer": "b"}\n' * 1000)
    assert refused.status_code == 413
    assert refused.get_json()["error"]["code"] == "too_large"
    assert list(home.uploads.iterdir()) == []
    app.extensions["tunesmith"].close()


@pytest.fixture
def small_disk(home: Home) -> Iterator[Path]:
    """uploads/ on a 2 MB disk."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(home.uploads)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk requires root")
    yield home.uploads
    subprocess.run(["umount", str(home.uploads)], check=True)


@pytest.mark.parametrize("rows", [20_000, 80_000])
def test_a_full_disk_is_reported_and_leaves_no_partial_file(small_disk: Path, client: FlaskClient, rows: int) -> None:
    """Whether it fills up while the file is received or while its rows are written."""
    refused = upload(client, b'{"question": "a?", "answer": "some words to fill the disk"}\n' * rows)
    assert refused.status_code == 503
    assert "disk is full" in refused.get_json()["error"]["message"]
    assert list(small_disk.iterdir()) == []
    assert upload(client, FIXTURE.read_bytes()).status_code == 201


def test_a_dataset_in_use_is_not_deleted(client: FlaskClient) -> None:
    """Refused while a queued run needs it; the run is named."""
    made = upload(client, FIXTURE.read_bytes()).get_json()
    config = tiny("reader") | {"dataset": {"source": made["source"]}}
    assert client.post("/api/training/start", json={"config": config}).status_code == 202
    refused = client.delete(f"/api/datasets/{made['id']}")
    assert refused.status_code == 409
    assert "reader" in refused.get_json()["error"]["message"]
    assert client.get("/api/datasets/list").get_json()["datasets"][0]["used_by"] == ["reader"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"path": "/etc/passwd"}, 400, "dataset.source"),
        ({"path": "upload:../.."}, 400, "dataset.source"),
        ({"path": "upload:20260101-000000-abcdef"}, 404, "dataset.source"),
        ({"path": "generated:poems"}, 400, "dataset.source"),
        ({"path": "generated:arithmetic", "samples": 0}, 400, "samples"),
        ({"path": "generated:arithmetic", "sample": 3}, 400, "sample"),
        ({}, 400, "path"),
    ],
)
def test_a_preview_of_nothing_says_why(client: FlaskClient, body: dict[str, Any], status: int, field: str) -> None:
    """Paths, unknown uploads, unknown tasks and misspelled fields."""
    refused = client.post("/api/datasets/preview", json=body)
    assert (refused.status_code, refused.get_json()["error"]["field"]) == (status, field)


def test_the_generated_task_needs_no_file(client: FlaskClient) -> None:
    """Returns rows and mapping in one response."""
    seen = client.post("/api/datasets/preview", json={"path": "generated:arithmetic", "samples": 2}).get_json()
    assert seen["rows"][0] == {"question": "What is 21 + 12?", "answer": "33"}
    assert (seen["fields"]["instruction"], seen["fields"]["response"]) == ("question", "answer")


def test_long_cells_are_cut_in_the_preview_only(client: FlaskClient, home: Home) -> None:
    """A 5 MB cell is stored in full and truncated in the preview."""
    made = upload(client, b'{"question": "why?", "answer": "' + b"x" * 5_000_000 + b'"}').get_json()
    answer = client.post("/api/datasets/preview", json={"path": made["source"]}).get_json()["rows"][0]["answer"]
    assert len(answer) < 21_000
    assert answer.endswith("(4980000 more characters)")
    assert (home.uploads / made["id"] / "data.jsonl").stat().st_size > 5_000_000


def test_the_deepest_row_that_is_accepted_breaks_no_page(client: FlaskClient) -> None:
    """Every page and endpoint can show what the upload accepts; deeper rows are rejected."""
    inner = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    made = upload(client, b'{"question": "why?", "answer": %s}' % inner).get_json()
    assert client.post("/api/datasets/preview", json={"path": made["source"]}).status_code == 200
    assert upload(client, b'{"question": "why?", "answer": [%s]}' % inner).status_code == 400
    for address in ("", "/rows", "/rows?search=why"):
        assert client.get(f"/api/datasets/{made['id']}{address}").status_code == 200
    for address in (f"/datasets/{made['id']}", f"/datasets/{made['id']}?search=why", "/datasets", "/new/dataset"):
        assert client.get(address).status_code == 200


def test_a_page_of_many_long_cells_stays_small(client: FlaskClient) -> None:
    """A thousand columns, and a list of a million characters: the preview limits all cells together."""
    row = {"question": "why?", "answer": ["x" * 100] * 10_000} | {f"c{i}": "y" * 9_000 for i in range(900)}
    made = upload(client, json.dumps(row).encode()).get_json()
    seen = client.post("/api/datasets/preview", json={"path": made["source"]})
    assert len(seen.get_data()) < 5_000_000
    assert seen.get_json()["rows"][0]["answer"].startswith('["xxx')
    assert seen.get_json()["rows"][0]["question"] == "why?"


def test_the_exact_prompt_is_shown_or_why_not(client: FlaskClient) -> None:
    """With messages, reference and warm-up target; a mapping to a missing column is refused with its path."""
    config = tiny()
    seen = client.post("/api/datasets/prompts", json={"config": config, "samples": 2}).get_json()
    assert [one["reference"] for one in seen["prompts"]] == ["33", "41"]
    assert seen["prompts"][0]["text"].endswith("What is 21 + 12?\n\nAnswer:")
    config["dataset"] = {**config["dataset"], "instruction_field": "quest"}
    refused = client.post("/api/datasets/prompts", json={"config": config})
    assert (refused.status_code, refused.get_json()["error"]["field"]) == (400, "dataset.instruction_field")


def test_the_same_file_is_reported_and_stored_once(client: FlaskClient, home: Home) -> None:
    """The second upload returns the first dataset, in chunks too; it is stored again only on request."""
    first = upload(client, FIXTURE.read_bytes(), "shop.jsonl").get_json()
    again = upload(client, FIXTURE.read_bytes(), "other.jsonl")
    assert (again.status_code, again.get_json()["already"]) == (200, True)
    assert (again.get_json()["id"], again.get_json()["name"]) == (first["id"], "shop.jsonl")
    assert in_pieces(client, FIXTURE.read_bytes()).get_json()["id"] == first["id"]
    assert [path.name for path in home.uploads.iterdir()] == [first["id"]]
    second = in_pieces(client, FIXTURE.read_bytes(), again=True).get_json()
    assert (second["id"] != first["id"], "already" in second) == (True, False)
    assert "You already have this file" in client.get(f"/datasets/{first['id']}?already=1").text
    assert f"({first['sha256'][:6]})" not in client.get("/runs").text


def in_pieces(client: FlaskClient, data: bytes, name: str = "shop.jsonl", **choices: Any) -> Any:
    job = client.post("/api/datasets/uploads", json={"name": name, "size": len(data)}).get_json()["id"]
    client.patch(f"/api/datasets/jobs/{job}?offset=0", data=data)
    return client.post(f"/api/datasets/jobs/{job}/finish", json=choices)


def test_a_first_line_that_may_be_a_row_is_asked_about(client: FlaskClient, home: Home) -> None:
    """Refused with its own error code, then read as the client says; a chunked upload is kept meanwhile."""
    data = b"Hund,dog\nKatze,cat\n"
    refused = upload(client, data, "words.csv")
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (400, "heading")
    assert list(home.uploads.iterdir()) == []
    refused = in_pieces(client, data, "words.csv")
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (400, "heading")
    (job,) = client.get("/api/datasets/jobs").get_json()["jobs"]
    assert job["state"] == "heading"
    made = client.post(f"/api/datasets/jobs/{job['id']}/finish", json={"heading": "no"}).get_json()
    assert (made["rows"], made["heading"], made["columns"]) == (2, "no", ["column 1", "column 2"])


@pytest.mark.parametrize(("data", "state"), [(b"Hund,dog\nKatze,cat\n", "heading"), (FIXTURE.read_bytes(), "done")])
def test_a_large_file_is_asked_about_and_known_too(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, data: bytes, state: str
) -> None:
    """The import process reports this just as the server does for a small file."""
    known = upload(client, FIXTURE.read_bytes()).get_json()["id"]
    monkeypatch.setattr(incoming, "SMALL", 0)
    job = in_pieces(client, data, "words.csv").get_json()["id"]
    until = time.monotonic() + 120
    while (found := client.get(f"/api/datasets/jobs/{job}").get_json())["state"] == "working":
        assert time.monotonic() < until
        time.sleep(0.1)
    assert found["state"] == state
    if state == "done":
        assert (found["dataset"]["id"], found["dataset"]["already"]) == (known, True)


def test_files_of_one_name_are_told_apart_and_name_their_runs(client: FlaskClient, app: Flask) -> None:
    """In lists, pickers and the suggested name; a run keeps naming its source."""
    one = upload(client, b"question,answer\na?,1\n", "shop.csv").get_json()
    app.extensions["tunesmith"].wizard.put(dataset={"source": one["source"]})
    assert app.extensions["tunesmith"].wizard.config()["name"] == "SmolLM2 135M Instruct on shop.csv"
    two = upload(client, b"question,answer\nb?,2\n", "shop.csv").get_json()
    assert app.extensions["tunesmith"].wizard.config()["name"].endswith(f"on shop.csv ({one['sha256'][:6]})")
    config = tiny("reader") | {"dataset": {"source": two["source"]}}
    session_id = client.post("/api/training/start", json={"config": config}).get_json()["session_id"]
    for address in ("/runs", f"/runs/{session_id}"):
        assert f"shop.csv ({two['sha256'][:6]})" in client.get(address).text
    for address in ("/datasets", "/new/dataset", "/evaluations/new"):
        text = client.get(address).text
        assert one["sha256"][:6] in text
        assert two["sha256"][:6] in text


def test_a_reward_that_compares_is_not_tried_without_an_answer_column(client: FlaskClient) -> None:
    """Start, check and test page say which column to choose; the guess leaves the choice open and says so."""
    made = upload(client, b"asked,one,two\nWhy is it so?,b,c\nHow is it so?,d,e\n", "three.csv").get_json()
    assert (made["fields"]["response"], made["fields"]["ask"]) == (
        None,
        "Choose the column with the correct answers.",
    )
    dataset = {"source": made["source"], "instruction_field": "asked", "response_field": ""}
    reward = {"type": "preset", "preset_name": "math"}
    config = tiny() | {"dataset": dataset, "reward": reward}
    for address, body in (
        ("/api/training/start", {"config": config}),
        ("/api/probe/start", {"config": config}),
        ("/api/rewards/bench", {"reward": reward, "dataset": dataset, "completions": ["x"]}),
        ("/api/rewards/adversarial", {"reward": reward, "dataset": dataset}),
    ):
        refused = client.post(address, json=body)
        assert refused.status_code in {400, 422}, (address, refused.get_json())
        assert refused.get_json()["error"]["field"] == "dataset.response_field"
        assert "Choose the answer column" in refused.get_json()["error"]["message"]


def test_random_bytes_never_break_the_server(app: Flask, client: FlaskClient, home: Home) -> None:
    """Random bytes under odd names are accepted or refused: never a 5xx, never a file outside uploads/."""
    draw = random.Random(7)
    before = {path for path in home.root.rglob("*") if home.uploads not in path.parents}
    for name in ("../../../etc/x.jsonl", "a\x00b.csv", "é" * 300, "con.json", ".csv", "/abs.json", "a.parquet", ""):
        for start in (b"", b"{", b"[", b"a,b\n", b"\xef\xbb\xbf"):
            response = upload(client, start + draw.randbytes(draw.randint(0, 400)), name)
            assert response.status_code in {201, 400}, response.get_json()
    assert {path for path in home.root.rglob("*") if home.uploads not in path.parents} == before
