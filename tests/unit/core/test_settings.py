"""Invalid settings are reported by name before anything is started."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from core.errors import Unavailable
from core.settings import Home, Settings
from flask_app import create_app
from services.jobs.database import Database


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "abc"), ("PORT", "99999"), ("MAX_UPLOAD_GB", "-1"), ("MAX_UPLOAD_GB", "nan")]
)
def test_a_number_that_cannot_be_is_named(name: str, value: str) -> None:
    """The message has the setting's name and value."""
    with pytest.raises(ValueError, match=f"{name} is .*{value}"):
        Settings.from_env({name: value})


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    """A file is in the folder's place."""
    (tmp_path / "home").write_text("")
    with pytest.raises(Unavailable, match="TUNESMITH_HOME"):
        Home(tmp_path / "home").make()


@pytest.mark.parametrize("kind", ["nonsense", "sqlite:////no/such/folder/x.db", "damaged"])
def test_an_unusable_database_is_reported(tmp_path: Path, kind: str) -> None:
    """An invalid address, a path that cannot be opened, a file that is not a database."""
    (tmp_path / "x.db").write_bytes(b"no database" * 100)
    with pytest.raises(Unavailable, match="DATABASE_URL"):
        Database(f"sqlite:///{tmp_path / 'x.db'}" if kind == "damaged" else kind)


def test_commands_report_it_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """`flask --app flask_app …` shows no traceback either."""
    monkeypatch.setenv("PORT", "abc")
    with pytest.raises(click.ClickException, match="PORT is 'abc'"):
        create_app()
