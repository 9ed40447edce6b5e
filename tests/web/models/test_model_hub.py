"""Searching Hugging Face for models and downloading them, with the real client, from a local server."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from safetensors.numpy import save

from core.settings import Home, Settings
from services.container import Services
from services.machine.hub_reach import HubReach
from services.models.memory import snapshot
from tests.conftest import Browser
from tests.support.hub import COMMIT, TOKEN, Hub, Repo
from tests.support.live import PATIENCE, until

CONFIG = json.dumps({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}).encode()
WEIGHTS = save({"weight": np.zeros((1024, 8000), dtype=np.float32)})
"""Three chunks of 10 MB, the client's write size: incomplete chunks are downloaded again."""
ABOUT = {
    "config": {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]},
    "safetensors": {"parameters": {"F32": 8_192_000}, "total": 8_192_000},
    "cardData": {"license": "apache-2.0"},
    "tags": ["safetensors", "license:apache-2.0"],
    "downloads": 1200,
}
MODEL = {
    "config.json": CONFIG,
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"a pickle",
    "modeling_own.py": b"raise SystemExit",
    "README.md": b"# A model",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    repos = {
        "someone/small": Repo(MODEL, kind="model", about=ABOUT),
        "someone/small-awq": Repo(MODEL, kind="model", about={**ABOUT, "tags": ["awq"], "downloads": 9999}),
        "someone/small-vision": Repo(MODEL, kind="model", about={**ABOUT, "config": {"model_type": "sees_pictures"}}),
        "someone/small-gated": Repo(MODEL, kind="model", gated=True, about={**ABOUT, "downloads": 7}),
        "someone/pickle": Repo({"config.json": CONFIG, "pytorch_model.bin": b"x"}, kind="model", about=ABOUT),
    }
    with Hub(repos) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server


@pytest.fixture
def settings(home: Home, hub: Hub) -> Settings:
    """As when the server starts: read from an environment that has the mirror's address."""
    return Settings.from_env({"TUNESMITH_HOME": str(home.root), "HF_ENDPOINT": hub.endpoint})


def held(hub: Hub) -> None:
    """The second half of a file is held back until ``hub.go`` is set."""
    hub.slow = 0.1
    hub.go.clear()


def started(client: FlaskClient, name: str = "someone/small", **more: str) -> str:
    answer = client.post("/api/models/downloads", json={"name": name, **more})
    assert answer.status_code == 202, answer.get_json()
    return str(answer.get_json()["id"])


def progress(client: FlaskClient, download: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/models/downloads/{download}").get_json()
    return found


def ended(client: FlaskClient, download: str) -> dict[str, Any]:
    """The final state of the download."""
    return until(lambda: progress(client, download), lambda found: found["state"] != "working", PATIENCE)


def test_a_search_finds_what_can_be_trained(client: FlaskClient, hub: Hub) -> None:
    """With size, license and whether it is gated; quantized and unsupported models are left out. Requested once."""
    found = client.get("/api/models/search?q=Small").get_json()["models"]
    assert [model["name"] for model in found] == ["someone/small", "someone/small-gated"]
    first = found[0]
    assert (first["parameters"], first["licence"], first["downloads"]) == (0.008, "Apache-2.0", 1200)
    assert first["gated"] is False
    assert found[1]["gated"] is True
    client.get("/api/models/search?q=small")
    assert hub.searches == ["small"]


@pytest.mark.parametrize("text", ["", "a", "x" * 150])
def test_a_search_needs_some_letters(client: FlaskClient, hub: Hub, text: str) -> None:
    """Shorter or longer queries are not sent."""
    assert client.get(f"/api/models/search?q={text}").status_code == 400
    assert hub.searches == []


def test_a_search_without_a_network_says_so(client: FlaskClient, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once if the network is known to be down or is switched off."""
    monkeypatch.setattr(HubReach, "look", lambda _self: False)
    answer = client.get("/api/models/search?q=small")
    assert answer.status_code == 503
    assert answer.get_json()["error"]["message"].startswith("Hugging Face cannot be reached right now.")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in client.get("/api/models/search?q=small").get_json()["error"]["message"]
    assert hub.searches == []


def test_the_size_and_license_are_known_before_a_download(client: FlaskClient, hub: Hub) -> None:
    """The size counts only the files to be downloaded."""
    about = client.get("/api/models/about?name=someone/small").get_json()
    assert about["size"] == len(CONFIG) + 2 + len(WEIGHTS)
    assert about["licence"] == "Apache-2.0"
    refused = client.get("/api/models/about?name=someone/pickle")
    assert (refused.status_code, "safetensors" in refused.get_json()["error"]["message"]) == (400, True)
    assert client.get("/api/models/about?name=someone/nothing").status_code == 404


def test_a_download_is_what_transformers_finds_offline(client: FlaskClient, hub: Hub, home: Home) -> None:
    """Only weights, config and tokenizer, in the library's own cache."""
    assert ended(client, started(client))["state"] == "done"
    folder = snapshot("someone/small", home)
    assert folder is not None
    assert folder.name == COMMIT
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    from huggingface_hub import snapshot_download

    cache = home.cache / "hub" / "hub"
    assert snapshot_download("someone/small", cache_dir=cache, local_files_only=True) == str(folder)
    assert client.get("/api/models/downloads").get_json() == {"downloads": []}
    assert "README.md" not in {path for path, _ in hub.ranges}


def test_a_broken_download_goes_on_where_it_stopped(client: FlaskClient, hub: Hub, home: Home) -> None:
    """A paused download does not count as a model, is listed, and does not fetch finished parts again."""
    held(hub)
    download = started(client)
    until(lambda: progress(client, download), lambda found: found["bytes"] > len(WEIGHTS) // 4, PATIENCE)
    assert client.post(f"/api/models/downloads/{download}/cancel").get_json()["state"] == "stopped"
    assert snapshot("someone/small", home) is None
    assert [one["id"] for one in client.get("/api/models/downloads").get_json()["downloads"]] == [download]
    hub.go.set()
    hub.ranges.clear()
    assert ended(client, started(client))["state"] == "done"
    ((file, piece),) = hub.ranges
    assert file == "model.safetensors"
    assert piece.startswith("bytes=1")
    assert snapshot("someone/small", home) is not None


def test_two_starts_are_one_download(client: FlaskClient, hub: Hub) -> None:
    held(hub)
    assert started(client) == started(client)
    hub.go.set()
    assert ended(client, "someone--small")["state"] == "done"
    assert [path for path, _ in hub.ranges].count("model.safetensors") == 1


def test_a_discarded_download_leaves_nothing(client: FlaskClient, hub: Hub, home: Home) -> None:
    """Even while it is running."""
    held(hub)
    download = started(client)
    until(lambda: progress(client, download), lambda found: found["total_bytes"] > 0, PATIENCE)
    assert client.delete(f"/api/models/downloads/{download}").status_code == 204
    hub.go.set()
    assert client.get(f"/api/models/downloads/{download}").status_code == 404
    assert list((home.cache / "downloads").iterdir()) == []


def test_a_gated_model_needs_a_token(
    client: FlaskClient, hub: Hub, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one it says what to do; the one in Settings is passed only to the download."""
    refused = ended(client, started(client, "someone/small-gated"))
    assert refused["state"] == "failed"
    assert "someone/small-gated" in refused["error"]
    services.preferences.change({"hf_token": TOKEN})
    assert ended(client, started(client, "someone/small-gated"))["state"] == "done"


def test_a_full_disk_is_reported_before_the_download(
    client: FlaskClient, hub: Hub, monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    """By the download process, which knows the size."""
    from core.errors import Unavailable
    from core.model_hub.download import check_room

    usage = shutil.disk_usage(home.root)._replace(free=1_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(Unavailable, match=r"needs 2\.0 GB more, and the disk has 1\.0 GB free"):
        check_room({"model.safetensors": 2_000_000_000}, home.cache)
    check_room({"model.safetensors": 400_000_000}, home.cache)


@pytest.mark.parametrize(
    ("name", "revision"),
    [("../../etc", None), ("a/b/c", None), ("someone/small", "../../../x"), ("/etc", None), ("someone/small", "-x")],
)
def test_nothing_is_downloaded_to_elsewhere(client: FlaskClient, hub: Hub, name: str, revision: str | None) -> None:
    answer = client.post("/api/models/downloads", json={"name": name, "revision": revision})
    assert answer.status_code == 400
    assert hub.ranges == []


@pytest.mark.parametrize("download", ["..", "%2e%2e", "nothing--here", "x" * 300])
def test_a_download_that_is_not_there_is_not_found(client: FlaskClient, download: str) -> None:
    assert client.get(f"/api/models/downloads/{download}").status_code == 404
    assert client.delete(f"/api/models/downloads/{download}").status_code in {404, 405}


def test_the_model_step_offers_the_download(browser: Browser, services: Services, hub: Hub) -> None:
    """First the size, then a button, the progress, and finally the model among those on this machine."""
    browser.get("/new/model")
    form = {"choice": "", "model.name": "someone/small", "ui.setup": "recommended"}
    browser.post("/new/model", form={**form, "action": "save"})
    page = until(lambda: browser.get("/new/model").text, lambda text: "Download size" in text, PATIENCE)
    assert "License: Apache-2.0" in page
    assert "Not on this machine" in page
    held(hub)
    browser.post("/new/model", form={**form, "action": "download-start someone/small"})
    page = browser.get("/new/model").text
    assert "Pause" in page
    assert 'data-testid="download-someone--small"' in page
    browser.post("/new/model", form={**form, "action": "download-pause someone--small"})
    assert "Paused. What has been downloaded is kept." in browser.get("/new/model").text
    hub.go.set()
    browser.post("/new/model", form={**form, "action": "download-resume someone--small"})
    until(lambda: services.downloads.get("someone--small").state, lambda state: state == "done", PATIENCE)
    page = browser.get("/new/model").text
    assert 'data-testid="model-someone-small"' in page
    assert "Downloaded, 32.8 MB" in page
    assert "Not on this machine" not in page


def test_a_gated_license_is_reported_with_the_steps(browser: Browser, services: Services, hub: Hub) -> None:
    """Where to accept it, and whether a token is set."""
    browser.get("/new/model")
    browser.post("/new/model", form={"choice": "", "model.name": "someone/small-gated", "ui.setup": "recommended"})
    page = until(lambda: browser.get("/new/model").text, lambda text: "First accept the license" in text, PATIENCE)
    assert f'href="{hub.endpoint}/someone/small-gated"' in page
    assert "Then add a Hugging Face token" in page
    services.preferences.change({"hf_token": TOKEN})
    page = browser.get("/new/model").text
    assert "The download uses your Hugging Face token." in page
    assert TOKEN not in page


@pytest.mark.parametrize(
    ("name", "words"), [("someone/mistyped", 'role="alert"'), ("someone/small-vision", "cannot train models")]
)
def test_untrainable_models_are_reported_on_the_model_step(browser: Browser, hub: Hub, name: str, words: str) -> None:
    """A name that does not exist, and a model that is not for text."""
    browser.get("/new/model")
    browser.post("/new/model", form={"choice": "", "model.name": name, "ui.setup": "recommended"})
    until(lambda: browser.get("/new/model").text, lambda text: words in text, PATIENCE)


def test_an_incomplete_model_does_not_count(home: Home, client: FlaskClient) -> None:
    """One of two files in the index, as an interrupted download leaves it."""
    folder = home.cache / "hub" / "hub" / "models--a--b" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "model-00001-of-00002.safetensors").write_bytes(WEIGHTS)
    assert snapshot("a/b", home) is None
    shards = {"x": "model-00001-of-00002.safetensors", "y": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert snapshot("a/b", home) is None
    os.link(folder / "model-00001-of-00002.safetensors", folder / "model-00002-of-00002.safetensors")
    assert snapshot("a/b", home) == folder
