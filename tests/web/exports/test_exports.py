"""Exports over HTTP."""

from __future__ import annotations

import io
import json
import shutil
import time
import zipfile
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from core.errors import Conflict
from core.fidelity import FidelityReport, FidelityVerdict
from core.job_dir import write_json
from core.settings import Home, Settings
from flask_app import create_app
from pages.exports.show import tensor_lines
from services.container import Services
from services.jobs.launcher import LocalLauncher
from services.jobs.rebuild import rebuild
from tests.conftest import SUPPORT, Browser, tiny
from tests.support.live import PATIENCE, held
from tests.web.runs.test_runs import follow, start


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a completed run, trained once for all tests."""
    home = Home(tmp_path_factory.mktemp("trained"))
    folder = home.cache / "models" / "smollm2-135m-instruct"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    settings = Settings.from_env({"TUNESMITH_HOME": str(home.root)})
    app = create_app(settings, launcher=LocalLauncher(settings, SUPPORT / "fake_worker.py"))
    session_id = start(app.test_client(), tiny(max_steps=2))
    follow(app.extensions["tunesmith"], session_id, "completed")
    app.extensions["tunesmith"].close()
    return home.outputs / session_id


@pytest.fixture
def trained(services: Services, once: Path) -> str:
    """A finished run."""
    home = services.settings.home
    shutil.copytree(once, home.outputs / once.name)
    assert rebuild(home, services.database) == 1
    return once.name


def finish(services: Services, export_id: str, *states: str) -> None:
    end = time.monotonic() + PATIENCE
    while services.exports.get(export_id).job.status not in states:
        assert time.monotonic() < end, services.exports.get(export_id)
        services.watcher.tick()
        time.sleep(0.05)


def create(client: FlaskClient, session_id: str) -> str:
    body = {"session_id": session_id, "format": "gguf", "quantization": "q4_k_m"}
    response = client.post("/api/exports/create", json=body)
    assert response.status_code == 202, response.json
    return str((response.json or {})["export_id"])


def test_an_export_is_made_listed_and_downloaded(client: FlaskClient, services: Services, trained: str) -> None:
    """The download equals the file on disk, in full and by range."""
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
    """A name that points outside the folder, or to nothing, is a 404."""
    export_id = create(client, trained)
    finish(services, export_id, "completed")
    response = client.get(f"/api/exports/{export_id}/download/{file}")
    assert response.status_code == 404
    assert b"kind" not in response.data


def test_a_link_out_of_the_folder_is_not_followed(client: FlaskClient, services: Services, trained: str) -> None:
    """Even a symlink among the files."""
    export_id = create(client, trained)
    finish(services, export_id, "completed")
    home = services.settings.home
    (home.exports / export_id / "files" / "link").symlink_to(home.root / "catalogue.db")
    assert client.get(f"/api/exports/{export_id}/download/link").status_code == 404


def test_a_canceled_export_leaves_no_file(client: FlaskClient, services: Services, trained: str) -> None:
    """It is stopped; it can be deleted only after that."""
    with held(services.settings.home.root):
        export_id = create(client, trained)
        finish(services, export_id, "running")
        assert client.delete(f"/api/exports/{export_id}").status_code == 409
        assert client.post(f"/api/exports/{export_id}/cancel").status_code == 202
        finish(services, export_id, "stopped")
    assert services.exports.get(export_id).files == []
    again = services.exports.again(export_id)
    assert again.export_id != export_id
    assert (again.session_id, again.quantizations) == (trained, services.exports.get(export_id).quantizations)
    with pytest.raises(Conflict):
        services.exports.again(again.export_id)  # it has not ended
    assert client.delete(f"/api/exports/{export_id}").status_code == 204
    assert client.get(f"/api/exports/{export_id}").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"format": "gguf"}, "quantization"),
        ({"format": "adapter", "quantization": "q8_0"}, "quantization"),
        ({"format": "gguf", "quantization": "q3"}, "quantization"),
        ({"format": "zip"}, "format"),
        ({"format": "gguf", "quantizations": ["q8_0", "q9"]}, "quantization"),
        ({"format": "gguf", "quantization": "iq2_xxs"}, "importance_matrix"),
        ({"format": "gguf", "quantization": "f16", "importance_matrix": True}, "importance_matrix"),
        ({"format": "merged", "adapter": "/tmp/other"}, "session_id"),
    ],
)
def test_an_unknown_format_is_refused_with_what_is_known(
    client: FlaskClient, trained: str, body: dict[str, str], field: str
) -> None:
    """The error names the field."""
    response = client.post("/api/exports/create", json={"session_id": trained, **body})
    assert (response.status_code, (response.json or {})["error"]["field"]) == (400, field)


def test_a_run_without_an_adapter_is_not_exported(client: FlaskClient) -> None:
    """A queued run, and one that was stopped before its first checkpoint."""
    session_id = start(client, tiny())
    body = {"session_id": session_id, "format": "adapter"}
    assert client.post("/api/exports/create", json=body).status_code == 409
    client.post("/api/training/stop", json={"session_id": session_id})
    assert client.post("/api/exports/create", json=body).status_code == 409


def test_a_run_is_not_deleted_under_its_export(client: FlaskClient, services: Services, trained: str) -> None:
    """The export reads the run's adapter: 409 until it has ended."""
    export_id = create(client, trained)
    assert client.delete(f"/api/training/sessions/{trained}").status_code == 409
    finish(services, export_id, "completed")
    assert client.delete(f"/api/training/sessions/{trained}").status_code == 204
    assert services.exports.get(export_id).job.name == "tiny"


def test_several_quantizations_are_one_export(client: FlaskClient, services: Services, trained: str) -> None:
    """Largest first, without duplicates; the old single field still works."""
    body = {"session_id": trained, "format": "gguf", "quantization": "q2_k", "quantizations": ["q4_k_m", "f16", "q2_k"]}
    made = client.post("/api/exports/create", json={**body, "importance_matrix": True}).json or {}
    view = services.exports.get(made["export_id"])
    assert view.quantizations == ["f16", "q4_k_m", "q2_k"]
    assert view.importance_matrix
    finish(services, view.export_id, "completed")
    page = client.get(f"/exports/{view.export_id}").get_data(as_text=True)
    assert "GGUF F16, Q4_K_M, Q2_K of tiny" in page


def test_an_export_of_an_older_version_is_still_shown(client: FlaskClient, services: Services, trained: str) -> None:
    """Its file names a single quantization."""
    export_id = create(client, trained)
    finish(services, export_id, "completed")
    services.database.update(export_id, config={"session_id": trained, "format": "gguf", "quantization": "q8_0"})
    assert services.exports.get(export_id).quantizations == ["q8_0"]
    assert client.get(f"/exports/{export_id}").status_code == 200


def test_all_files_come_as_one_zip(client: FlaskClient, services: Services, trained: str) -> None:
    """Uncompressed and without a temporary copy; its content equals the files on disk."""
    export_id = create(client, trained)
    finish(services, export_id, "completed")
    folder = services.settings.home.exports / export_id
    (folder / "files" / "Modelfile").write_text("FROM ./model.gguf")
    files = [{"name": name, "size": 1, "sha256": ""} for name in ("model.gguf", "Modelfile")]
    write_json(folder / "result.json", {"files": files, "commands": []})
    with client.get(f"/api/exports/{export_id}/bundle") as response:
        assert 'filename="tiny-gguf.zip"' in response.headers["Content-Disposition"]
        archive = zipfile.ZipFile(io.BytesIO(response.data))
    assert archive.testzip() is None
    assert archive.read("model.gguf") == bytes(range(256))
    assert archive.read("Modelfile") == b"FROM ./model.gguf"
    assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_the_checkpoint_must_be_there(client: FlaskClient, services: Services, trained: str) -> None:
    """The error lists the checkpoints that the run has kept."""
    body = {"session_id": trained, "format": "merged", "checkpoint": 77}
    answer = client.post("/api/exports/create", json=body)
    assert (answer.status_code, (answer.json or {})["error"]["field"]) == (404, "checkpoint")
    assert "Saved steps: 2" in (answer.json or {})["error"]["message"]


def test_a_folder_from_elsewhere_is_taken_where_it_is_an_adapter(
    client: FlaskClient, services: Services, tmp_path: Path
) -> None:
    """Its config names the base; without an adapter or without that base, it is refused."""
    folder = tmp_path / "theirs"
    body = {"format": "merged", "adapter": str(folder)}
    assert client.post("/api/exports/create", json=body).status_code == 404
    folder.mkdir()
    write_json(folder / "adapter_config.json", {"base_model_name_or_path": "builtin:smollm2-135m-instruct"})
    assert client.post("/api/exports/create", json=body).status_code == 404
    (folder / "adapter_model.safetensors").write_bytes(b"")
    assert client.post("/api/exports/create", json={**body, "base": "builtin:none"}).status_code == 404
    made = client.post("/api/exports/create", json=body).json or {}
    view = services.exports.get(made["export_id"])
    assert (view.session_id, view.adapter, view.base) == ("", str(folder), "builtin:smollm2-135m-instruct")
    finish(services, view.export_id, "completed")
    assert "From an adapter folder" in client.get(f"/exports/{view.export_id}").get_data(as_text=True)


def test_a_broken_export_says_why_and_offers_nothing(client: FlaskClient, services: Services, trained: str) -> None:
    """The page of a failed export shows what the check found, but no downloads."""
    with held(services.settings.home.root):
        export_id = create(client, trained)
        finish(services, export_id, "running")
        client.post(f"/api/exports/{export_id}/cancel")
        finish(services, export_id, "stopped")
    report = FidelityReport(subject="Q4_K_M", verdict=FidelityVerdict.BROKEN, reason="Its end token is another one.")
    folder = services.settings.home.exports / export_id
    write_json(folder / "result.json", {"files": [], "commands": [], "fidelity": [report.model_dump(mode="json")]})
    view = services.exports.get(export_id)
    assert (view.files, view.model_path, len(view.fidelity)) == ([], None, 1)
    page = client.get(f"/exports/{export_id}").get_data(as_text=True)
    assert "Broken. Its end token is another one." in page
    assert 'data-testid="download"' not in page


def test_the_tensor_summary_is_short() -> None:
    """Layers of the same type share one line; layers that differ are named."""
    tensors = {f"blk.{layer}.ffn_down.weight": "Q6_K" if layer in {0, 1, 5} else "Q4_K" for layer in range(6)}
    lines = tensor_lines({"token_embd.weight": "Q6_K", **tensors, "blk.0.attn_q.weight": "Q4_K"})
    assert lines == (
        ("token_embd.weight", "Q6_K"),
        ("blk.*.ffn_down.weight", "Q6_K in layers 0 to 1, 5; Q4_K in layers 2 to 4"),
        ("blk.*.attn_q.weight", "Q4_K"),
    )


def test_the_form_asks_for_what_the_interface_does(browser: Browser, services: Services, trained: str) -> None:
    """Chosen formats, matrix and checkpoint reach the export; a format that takes no matrix is refused."""
    browser.get(f"/exports?session_id={trained}")
    form = {
        "session_id": trained,
        "choice": "gguf",
        "quantization": "iq2_m",
        "importance_matrix": "on",
        "checkpoint": "2",
    }
    browser.post("/exports", form=form)
    view = services.exports.list()[0]
    assert (view.quantizations, view.importance_matrix, view.checkpoint) == (["iq2_m"], True, 2)
    browser.post("/exports", form={**form, "choice": "merged", "back": "/exports"})
    assert "The export was not started." in browser.get("/exports").get_data(as_text=True)
    assert len(services.exports.list()) == 1


def test_a_dora_is_not_offered_as_a_gguf_adapter(
    browser: Browser, client: FlaskClient, services: Services, trained: str
) -> None:
    """llama.cpp has no place for its magnitudes; the reason is given before anything is queued."""
    assert 'value="adapter_gguf"' in browser.get("/exports").text
    settings = services.settings.home.outputs / trained / "adapter" / "adapter_config.json"
    settings.write_text(json.dumps({"use_dora": True}))
    page = browser.get("/exports").text
    assert 'value="adapter_gguf"' not in page
    assert 'value="merged"' in page
    answer = client.post("/api/exports/create", json={"session_id": trained, "format": "adapter_gguf"})
    error = (answer.json or {})["error"]
    assert (answer.status_code, error["field"]) == (400, "format")
    assert "DoRA" in error["message"]
    assert services.exports.list() == []
