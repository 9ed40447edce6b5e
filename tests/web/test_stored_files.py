"""Files from an earlier version load, show what they showed, and save back unchanged.

They are in ``tests/fixtures/stored``, made by ``tests/support/store_files.py``: configurations, a finished and a
stopped run, a probe, an evaluation, two exports, an uploaded table, a saved reward, the draft, and the database.
A new key in a response is fine; a missing or changed one is not.
"""

from __future__ import annotations

import io
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from markupsafe import escape

from core import rerun
from core.config import dump, dump_given, parse
from core.settings import Home, Settings
from flask_app import create_app
from tests.support.letters import NAME
from tests.support.stored import PLACE, STORED, answers, draft, lost, unpack

ANSWERS: dict[str, Any] = json.loads((STORED / "answers.json").read_bytes())
COMPLETE: dict[str, Any] = json.loads((STORED / "complete.json").read_bytes())
CONFIGS = sorted((STORED / "home" / "configs").glob("*.json"))
LISTS = ("/api/training/sessions", "/api/exports/list", "/api/evaluations/list")


def ids(address: str, key: str, **fits: Any) -> list[str]:
    """From one of the stored lists."""
    (entries,) = ANSWERS[address].values()
    return [entry[key] for entry in entries if all(entry[name] == value for name, value in fits.items())]


(TRAINED,) = ids("/api/training/sessions", "session_id", status="completed")
(STOPPED,) = ids("/api/training/sessions", "session_id", status="stopped")
(ADAPTER,) = ids("/api/exports/list", "export_id", format="adapter")
(BUNDLE,) = ids("/api/exports/list", "export_id", format="bundle")
(EVALUATION,) = ids("/api/evaluations/list", "evaluation_id")
(PROBE,) = (address.rpartition("/")[2] for address in ANSWERS if re.fullmatch(r"/api/probe/[^/]*", address))
RUN = f"/api/training/sessions/{TRAINED}"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stored home folder, laid out once and never changed."""
    root = tmp_path_factory.mktemp("stored").resolve() / "home"
    unpack(root)
    return root


@pytest.fixture
def home(kept: Path, tmp_path: Path) -> Home:
    """A separate copy, at the same path as in the web process; the base model appears to be installed."""
    home = Home(tmp_path.resolve() / "home")
    unpack(home.root)
    folder = home.cache / "models" / NAME
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return home


@pytest.fixture(scope="module")
def reader(kept: Path) -> Iterator[FlaskClient]:
    """A read-only client for the stored home folder."""
    app = create_app(Settings.from_env({"TUNESMITH_HOME": str(kept)}))
    yield app.test_client()
    app.extensions["tunesmith"].close()


# --- configurations ---


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_saves_back_byte_for_byte(client: FlaskClient, home: Home, path: Path) -> None:
    """Downloaded, or saved or uploaded again, the file is unchanged."""
    name, file = path.stem.replace("%2F", "/"), home.configs / path.name
    downloaded = client.get(f"/api/configs/download?name={quote(name, safe='')}").data
    assert downloaded == path.read_bytes()
    file.unlink()
    body = json.dumps({"name": name, "config": json.loads(downloaded)})
    assert client.post("/api/configs/save", data=body, content_type="application/json").status_code == 200
    assert file.read_bytes() == path.read_bytes()
    file.unlink()
    response = client.post("/api/configs/upload", data={"file": (io.BytesIO(downloaded), "any.json")})
    assert response.status_code == 201, response.text
    assert file.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_means_what_it_meant(path: Path) -> None:
    """Every given field is returned, and omitted ones have the same defaults as before."""
    given = json.loads(path.read_bytes())
    assert dump_given(parse(given)) == given
    assert not lost(COMPLETE[path.stem], dump(parse(given)))


# --- what is shown ---


@pytest.mark.parametrize("address", ANSWERS)
def test_the_api_answers_as_it_did(reader: FlaskClient, kept: Path, address: str) -> None:
    """Runs with rows, completions and verdicts; exports, evaluations, probes, datasets, rewards; all lists."""
    assert not lost(ANSWERS[address], answers(reader, kept, [address])[address])


def test_the_draft_is_still_there(reader: FlaskClient) -> None:
    """The wizard's forms have the same values, and the saved template can be chosen."""
    assert not lost(json.loads((STORED / "draft.json").read_bytes()), draft(reader))
    assert "kurz" in reader.get("/new/dataset").text


def answer(address: str, *path: str | int) -> Any:
    """Part of a stored response."""
    found: Any = ANSWERS[address]
    for step in path:
        found = found[step]
    return found


def newest_questions() -> list[str]:
    """Those of the run's last step."""
    groups = [group for group in answer(f"{RUN}/completions?limit=500", "groups") if group["phase"] == "training"]
    return [group["instruction"] for group in groups if group["step"] == groups[0]["step"]]


PAGES = {
    "/runs": ["Sums &amp; more", "stopped half-way"],
    f"/runs/{TRAINED}": ["Sums &amp; more", answer(f"{RUN}/verdict", "headline").split(":")[0]],
    f"/runs/{TRAINED}?tab=answers": newest_questions(),
    f"/runs/{STOPPED}": ["stopped half-way", "Stopped after step 3", "Resume"],
    "/exports": [ADAPTER, BUNDLE],
    f"/exports/{ADAPTER}": ["adapter_model.safetensors", "adapter_config.json", "PeftModel"],
    f"/exports/{BUNDLE}": ["Sums-more-reproduction.zip"],
    "/evaluations": ["before and after"],
    f"/evaluations/{EVALUATION}": [
        "before and after", answer(f"/api/evaluations/{EVALUATION}", "message").split(":")[0],
    ],
    f"/probe/{PROBE}": [answer(f"/api/probe/{PROBE}", "verdict", "title")],
    "/configs": ["math-reasoning-config", "W\u00f6rter 2/3", "mixed (old) +1"],
    "/datasets": ["sums.csv"],
    "/rewards": ["strict"],
    "/": ["Sums &amp; more"],
}  # fmt: skip
"""What a page must contain, however it is worded."""


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_is_stored(reader: FlaskClient, page: str) -> None:
    """And reports no damage."""
    response = reader.get(page)
    assert response.status_code == 200
    for words in PAGES[page]:
        assert words in response.text or str(escape(words)) in response.text, words
    assert 'data-testid="damage"' not in response.text


@pytest.mark.parametrize("export_id", [ADAPTER, BUNDLE])
def test_an_exports_files_can_be_downloaded(reader: FlaskClient, kept: Path, export_id: str) -> None:
    """Each has the size and hash that its export recorded, unless it contains a path of the home folder."""
    for file in answer(f"/api/exports/{export_id}", "files"):
        with reader.get(f"/api/exports/{export_id}/download/{file['name']}") as response:
            got = response.data
        if str(kept).encode() not in got:
            assert (len(got), sha256(got).hexdigest()) == (file["size"], file["sha256"]), file["name"]


def test_a_reproduction_bundle_can_be_read(kept: Path, tmp_path: Path) -> None:
    """Every file in it matches its hash, and it has the rewards of all steps."""
    (file,) = (kept / "exports" / BUNDLE / "files").iterdir()
    bundle = rerun.read_bundle(file, tmp_path)
    assert list(bundle.rewards()) == [1, 2, 3, 4]
    assert bundle.rows
    assert not lost(answer(RUN, "config"), dump(bundle.config))


def test_what_is_served_is_still_served(reader: FlaskClient) -> None:
    """The model is served under its name; a key is required, and the stored home folder has none."""
    assert reader.get("/api/models/serve").get_json()["name"] == "sums"
    assert reader.get("/v1/models").status_code == 401


# --- going on ---


def test_a_stopped_run_can_be_resumed(client: FlaskClient) -> None:
    """It is queued with its checkpoint, and its rows stay."""
    response = client.post("/api/training/resume", json={"session_id": STOPPED})
    assert (response.status_code, response.get_json()["status"]) == (202, "queued")
    address = f"/api/training/sessions/{STOPPED}"
    then, run, metrics = ANSWERS[address], client.get(address).get_json(), f"{address}/metrics"
    assert (run["status"], run["queue_position"], run["checkpoint_step"]) == ("queued", 1, then["step"])
    assert not lost(ANSWERS[metrics], client.get(metrics).get_json())


def test_the_database_keeps_everything_it_knows(home: Home, app: Flask) -> None:
    """Opening it loses no row or value; only a worker's process is now stored in its handle."""
    assert dict(app.test_client().get("/api/training/sessions").get_json())
    with closing(sqlite3.connect(home.root / "catalogue.db")) as now, closing(sqlite3.connect(":memory:")) as then:
        then.executescript((STORED / "catalogue.sql").read_text("utf-8").replace(PLACE, str(home.root)))
        for table in ("jobs", "drafts", "settings"):
            names = [row[1] for row in then.execute(f"PRAGMA table_info({table})") if not row[1].startswith("pid")]
            columns = ", ".join(f'"{name}"' for name in names)
            query = f"SELECT {columns} FROM {table} ORDER BY 1"
            assert now.execute(query).fetchall() == then.execute(query).fetchall(), table
        processes = dict(then.execute("SELECT id, pid FROM jobs WHERE pid != 0").fetchall())
        handles = dict(now.execute("SELECT id, worker FROM jobs WHERE worker != ''").fetchall())
        assert processes
        assert {job_id: json.loads(handle)["pid"] for job_id, handle in handles.items()} == processes


def test_a_rebuilt_database_lists_the_same(home: Home, settings: Settings) -> None:
    """Except start and end times and the last speed, which no folder contains."""
    (home.root / "catalogue.db").unlink()
    app = create_app(settings)
    result = app.test_cli_runner().invoke(args=["rebuild"])
    assert result.output == "6 jobs found on disk and added to the catalog.\n", result.output
    found = answers(app.test_client(), home.root, LISTS)
    app.extensions["tunesmith"].close()
    differing = [line for address in LISTS for line in lost(ANSWERS[address], found[address])]
    assert [line for line in differing if not re.search(r"/(started_at|ended_at|seconds_per_step) was", line)] == []
