"""Exports over HTTP."""

from __future__ import annotations

import time

import pytest
from flask.testing import FlaskClient

from services.container import Services
from tests.conftest import tiny
from tests.web.test_runs import follow, start


@pytest.fixture
def trained(client: FlaskClient, services: Services) -> str:
    session_id = start(client, tiny(max_steps=2))
    follow(services, session_id, "completed")
    return session_id


def finish(services: Services, export_id: str, *states: str) -> None:
    end = time.monotonic() + 20
    while services.exports.get(export_id).status not in states:
        assert time.monotonic() < end, services.exports.get(export_id)
        services.watcher.tick()
        time.sleep(0.02)


def create(client: FlaskClient, session_id: str) -> str:
    body = {"session_id": session_id, "format": "gguf", "quantization": "q4_k_m"}
    response = client.post("/api/exports/create", json=body)
    assert response.status_code == 202, response.json
    return str((response.json or {})["export_id"])


def test_an_export_is_made_listed_and_downloaded(client: FlaskClient, services: Services, trained: str) -> None:
    """What is downloaded is what lies on disk, in whole and in part."""
    export_id = create(client, trained)
    finish(services, export_id, "completed")
    listed = (client.get("/api/exports/list").json or {})["exports"]
    assert [(view["export_id"], view["status"]) for view in listed] == [(export_id, "completed")]
    assert listed[0]["model_path"] == f"export:{export_id}/model.gguf"
    url = f"/api/exports/{export_id}/download/model.gguf"
    with client.get(url) as whole:
        assert whole.data == bytes(range(256))
        assert "attachment" in whole.headers["Content-Disposition"]
    with client.get(url, headers={"Range": "bytes=250-"}) as part:
        assert (part.status_code, part.data) == (206, bytes(range(250, 256)))


@pytest.mark.parametrize("file", ["../config.json", "..%2fconfig.json", "%2e%2e/config.json", "nothing.gguf", ".."])
def test_only_an_exports_own_files_are_downloaded(
    client: FlaskClient, services: Services, trained: str, file: str
) -> None:
    """A name that leads out of the folder, or nowhere, is a 404."""
    export_id = create(client, trained)
    finish(services, export_id, "completed")
    response = client.get(f"/api/exports/{export_id}/download/{file}")
    assert response.status_code == 404
    assert b"kind" not in response.data


def test_a_link_out_of_the_folder_is_not_followed(client: FlaskClient, services: Services, trained: str) -> None:
    """Even a link that lies among the files."""
    export_id = create(client, trained)
    finish(services, export_id, "completed")
    home = services.settings.home
    (home.exports / export_id / "files" / "link").symlink_to(home.root / "catalogue.db")
    assert client.get(f"/api/exports/{export_id}/download/link").status_code == 404


def test_a_cancelled_export_leaves_no_file(client: FlaskClient, services: Services, trained: str) -> None:
    """It is stopped, and can be deleted then, not before."""
    export_id = create(client, trained)
    finish(services, export_id, "running")
    assert client.delete(f"/api/exports/{export_id}").status_code == 409
    assert client.post(f"/api/exports/{export_id}/cancel").status_code == 202
    finish(services, export_id, "stopped")
    assert services.exports.get(export_id).files == []
    assert client.delete(f"/api/exports/{export_id}").status_code == 204
    assert client.get(f"/api/exports/{export_id}").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"format": "gguf"}, "quantization"),
        ({"format": "adapter", "quantization": "q8_0"}, "quantization"),
        ({"format": "gguf", "quantization": "q3"}, "quantization"),
        ({"format": "zip"}, "format"),
    ],
)
def test_an_unknown_format_is_refused_with_what_is_known(
    client: FlaskClient, trained: str, body: dict[str, str], field: str
) -> None:
    """The answer names the field."""
    response = client.post("/api/exports/create", json={"session_id": trained, **body})
    assert (response.status_code, (response.json or {})["error"]["field"]) == (400, field)


def test_a_run_without_an_adapter_is_not_exported(client: FlaskClient) -> None:
    """One that waits, and one that was stopped before its first checkpoint."""
    session_id = start(client, tiny())
    body = {"session_id": session_id, "format": "adapter"}
    assert client.post("/api/exports/create", json=body).status_code == 409
    client.post("/api/training/stop", json={"session_id": session_id})
    assert client.post("/api/exports/create", json=body).status_code == 409


def test_a_run_is_not_deleted_under_its_export(client: FlaskClient, services: Services, trained: str) -> None:
    """The export reads the run's adapter: 409 until it is over."""
    export_id = create(client, trained)
    assert client.delete(f"/api/training/sessions/{trained}").status_code == 409
    finish(services, export_id, "completed")
    assert client.delete(f"/api/training/sessions/{trained}").status_code == 204
    assert services.exports.get(export_id).name == "tiny"
