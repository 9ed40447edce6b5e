"""An export that llama.cpp crashed on: kept, marked unverified, and checked again with one button."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from commands.export import close
from core.errors import Conflict
from core.fidelity import FidelityReport, FidelityVerdict
from core.job import JobKind, JobState
from core.job_dir import JobDir, write_json
from core.settings import Home
from services.container import Services
from services.jobs.database import Database
from services.jobs.rebuild import rebuild
from tests.conftest import Browser, tiny
from tests.support.live import held
from tests.web.exports.test_exports import create, finish
from tests.web.runs.test_runs import follow, start


def unverified(client: FlaskClient, services: Services, name: str = "unverified") -> str:
    """An export whose worker reports that llama.cpp crashed."""
    session_id = start(client, tiny(name, max_steps=1))
    follow(services, session_id, "completed")
    export_id = create(client, session_id)
    finish(services, export_id, "completed")
    return export_id


def page(client: FlaskClient, export_id: str) -> str:
    return client.get(f"/exports/{export_id}").get_data(as_text=True)


def test_the_file_is_kept_and_marked_unverified(client: FlaskClient, services: Services) -> None:
    """On its page, in the list, the API and the terminal; it can be downloaded and chatted with."""
    export_id = unverified(client, services)
    view = client.get(f"/api/exports/{export_id}").json or {}
    assert (view["status"], view["unverified"], view["verifying"]) == ("completed", ["model.gguf"], False)
    assert view["model_path"] == f"export:{export_id}/model.gguf"
    assert view["fidelity"][0]["verdict"] == "unverified"
    shown = page(client, export_id)
    for words in ("Not verified on this machine", "Download (not verified)", 'data-testid="verify-again"'):
        assert words in shown
    assert 'data-testid="export-again"' not in shown
    assert "Not verified on this machine: model.gguf" in client.get("/exports").get_data(as_text=True)
    said: list[str] = []
    close(view, "files", said.append)
    assert any(f"flask --app flask_app verify {export_id}" in line for line in said)


def test_one_button_compares_it_again(browser: Browser, client: FlaskClient, services: Services) -> None:
    """Nothing is exported again; meanwhile the files stay, and the page shows the progress."""
    export_id = unverified(client, services)
    browser.get(f"/exports/{export_id}")
    with held(services.settings.home.root):
        browser.post(f"/exports/{export_id}/verify")
        finish(services, export_id, "running")
        view = services.exports.get(export_id)
        assert (view.verifying, [file["name"] for file in view.files], view.model_path) == (True, ["model.gguf"], None)
        assert 'data-testid="verify-again"' not in page(client, export_id)
        with pytest.raises(Conflict):
            services.exports.verify(export_id)
    finish(services, export_id, "completed")
    assert services.exports.get(export_id).unverified == []
    assert "Unverified" not in page(client, export_id)
    with pytest.raises(Conflict):
        services.exports.verify(export_id)


def test_a_comparison_that_is_canceled_changes_nothing(client: FlaskClient, services: Services) -> None:
    """Whether it is queued or running."""
    export_id = unverified(client, services)
    assert client.post(f"/api/exports/{export_id}/verify").status_code == 202
    client.post(f"/api/exports/{export_id}/cancel")
    assert services.exports.get(export_id).job.status == "completed"
    with held(services.settings.home.root):
        client.post(f"/api/exports/{export_id}/verify")
        finish(services, export_id, "running")
        client.post(f"/api/exports/{export_id}/cancel")
        finish(services, export_id, "completed")
    view = services.exports.get(export_id)
    assert (view.unverified, view.job.error, view.job.message) == (
        ["model.gguf"],
        None,
        "Not verified again. The check was canceled.",
    )
    assert services.exports.path(export_id, "model.gguf").is_file()


def test_a_comparison_whose_worker_is_killed_changes_nothing(client: FlaskClient, services: Services) -> None:
    """The files are kept, and the page says what happened."""
    export_id = unverified(client, services, "dies")
    client.post(f"/api/exports/{export_id}/verify")
    finish(services, export_id, "completed")
    view = services.exports.get(export_id)
    assert view.unverified == ["model.gguf"]
    assert "Not verified again. The worker process was killed" in view.job.message
    assert "Its files are unchanged." in view.job.message
    services.watcher.catch_up()
    assert services.exports.get(export_id).unverified == ["model.gguf"]


def test_a_database_made_again_knows_the_files(
    client: FlaskClient, services: Services, home: Home, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the later comparison found."""
    export_id = unverified(client, services)
    run_dir = JobDir(home.exports / export_id)
    status = run_dir.read_status()
    assert status is not None
    run_dir.write_status(status.model_copy(update={"state": JobState.STOPPED}))
    other = Database(f"sqlite:///{tmp_path_factory.mktemp('other') / 'catalogue.db'}")
    rebuild(home, other)
    assert {job.id: job.state for job in other.jobs(JobKind.EXPORT)}[export_id] == "completed"
    other.close()


def test_a_pointless_repetition_is_not_the_primary_button(client: FlaskClient, services: Services) -> None:
    """'Export again' is offered for a broken file, but is not the primary button."""
    session_id = start(client, tiny(max_steps=1))
    follow(services, session_id, "completed")
    with held(services.settings.home.root):
        export_id = create(client, session_id)
        finish(services, export_id, "running")
        client.post(f"/api/exports/{export_id}/cancel")
        finish(services, export_id, "stopped")
    assert 'class="button primary" data-testid="export-again"' in page(client, export_id)
    report = FidelityReport(subject="Q4_K_M", verdict=FidelityVerdict.BROKEN, reason="Its end token is another one.")
    result = JobDir(services.settings.home.exports / export_id).result
    write_json(result, {"files": [], "commands": [], "fidelity": [report.model_dump(mode="json")]})
    assert 'class="button" data-testid="export-again"' in page(client, export_id)
