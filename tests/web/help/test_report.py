"""The problem report: what it contains, and what it never contains."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from core.job_dir import JobDir
from core.version import VERSION
from services.container import Services
from services.machine.report import RecentLog, redacted
from tests.browser import sample
from tests.conftest import Browser


def test_the_report_has_versions_the_machine_and_the_newest_failure(browser: Browser, services: Services) -> None:
    """On the page and as a file; messages of native libraries and the path of the home folder are left out."""
    home = services.settings.home
    sample.fill(home.root)
    run = JobDir(home.outputs / sample.CRASHED)
    lines = "llama_model_load: a remark\nOutOfMemoryError: tried to allocate 3 GB\n"
    run.log.write_text(f"{lines}reading {home.root}/uploads/x\n", encoding="utf-8")
    home.logs.mkdir(exist_ok=True)
    (home.logs / "setup.log").write_text("pip install --token=verysecrettoken\n", encoding="utf-8")
    from services.jobs.rebuild import rebuild

    rebuild(home, services.database)
    page, file = browser.get("/help/report"), browser.get("/help/report.txt")
    assert file.headers["Content-Disposition"] == "attachment; filename=tunesmith-report.txt"
    report = file.get_data(as_text=True)
    for words in (f"Tunesmith {VERSION}", "CPU cores: ", "torch ", "OutOfMemoryError", "reading <Tunesmith>/uploads/x"):
        assert words in report
    assert "OutOfMemoryError" in page.get_data(as_text=True)
    for words in (str(home.root), "a remark", "verysecrettoken"):
        assert words not in report


@pytest.mark.parametrize(
    "line",
    [
        "HF_TOKEN=hf_abcdefghijklmnop",
        "Authorization: Bearer abc.def-ghi_123456",
        "url https://me:hunter2hunter2@hub.example.org/x",
        '{"api_key": "sk-1234567890abcdef"}',
        "password: hunter2hunter2",
        "my own token is correct-horse-battery",
        "401 from the judge for battery-staple",
        "mail jane.doe@example.org",
    ],
)
def test_no_secret_is_in_a_report(services: Services, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of known formats nor of this installation."""
    monkeypatch.setenv("TUNESMITH_JUDGE_KEY", "battery-staple")
    settings = replace(services.settings, token="correct-horse-battery")
    shown = redacted(line, settings)
    for secret in ("abcdefghijklmnop", "abc.def", "hunter2", "1234567890abcdef", "correct-horse", "staple", "jane.doe"):
        assert secret not in shown


def test_home_folders_are_not_named(services: Services) -> None:
    """The user's own is '~', and other users' names are removed too."""
    shown = redacted(f"{Path.home()}/models /home/jane/rows.csv /Users/joe/x", services.settings)
    assert "jane" not in shown
    assert "joe" not in shown
    assert len(Path.home().parts) < 2 or shown.startswith("~/models ")


def test_the_last_warnings_of_the_server_are_kept() -> None:
    """With tracebacks, up to a limit, and nothing below a warning."""
    kept = RecentLog(most=2)
    log = logging.getLogger("tests.report")
    log.addHandler(kept)
    log.info("all is well")
    for number in (1, 2, 3):
        log.warning("warning %d", number)
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("failed")
    log.removeHandler(kept)
    assert len(kept.lines) == 2
    assert "WARNING tests.report: warning 3" in kept.lines[0]
    assert "ValueError: odd" in kept.lines[1]
