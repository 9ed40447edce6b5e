"""Settings changed in the app."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import InvalidInput
from core.settings import Home, Settings
from services.datasets.prompts import reader_environment
from services.jobs.launcher import worker_env
from services.machine.preferences import Preferences, PreferenceStore, hub_token


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_change_applies_at_once_and_keeps_the_rest(home: Home) -> None:
    """For every reader, and readable only by the file's owner."""
    PreferenceStore(home).change({"theme": "dark", "hf_token": "hf_secret"})
    PreferenceStore(home).change({"trash_days": 7})
    assert PreferenceStore(home).get() == Preferences(theme="dark", hf_token="hf_secret", trash_days=7)
    assert home.preferences.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"theme": "pink"}', '{"trash_days": "soon"}', '{"hf_token": "a b"}'])
def test_a_damaged_file_is_kept_aside_and_the_defaults_hold(home: Home, text: str) -> None:
    """The user is told until something is saved."""
    home.preferences.write_text(text)
    store = PreferenceStore(home)
    assert (store.trash_days(), store.get()) == (0, Preferences())
    aside = [path for path in home.root.iterdir() if path.name.startswith("settings.json.damaged-")]
    assert [path.read_text() for path in aside] == [text]
    assert aside[0].name in store.problem
    store.change({"theme": "light"})
    assert (store.problem, store.get().theme, store.trash_days()) == ("", "light", 30)


def test_a_file_that_cannot_be_read_just_now_stays(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many open files, for example; nothing in the trash expires meanwhile."""
    store = PreferenceStore(home)
    store.change({"theme": "dark", "trash_days": 7})

    def refused(_path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        assert (store.get(), store.trash_days()) == (Preferences(), 0)
        assert "cannot be read" in store.problem
    assert (store.get().theme, store.trash_days(), store.problem) == ("dark", 7, "")


def test_a_file_of_a_later_version_is_read(home: Home) -> None:
    """Unknown settings are ignored."""
    home.preferences.write_text(json.dumps({"theme": "dark", "hologram": True}))
    assert PreferenceStore(home).get().theme == "dark"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hf_token": "hf_top hunter2"}, "Hugging Face token"),
        ({"hf_token": "hf_x\nHost: y"}, "Hugging Face token"),
        ({"trash_days": -1}, "at least 0"),
        ({"trash_days": 10**9}, "at most 3650"),
        ({"theme": "pink"}, "Theme"),
        ({"base_model": ""}, "Default base model"),
        ({"webhook_url": "ftp://example.org/x"}, "https://"),
        ({"webhook_url": "file:///etc/passwd"}, "https://"),
        ({"webhook_url": "http://"}, "https://"),
        ({"webhook_url": "http://me:hunter2@example.org/"}, "user name and password"),
        ({"webhook_url": "http://example.org:notaport/"}, "Webhook URL"),
        ({"webhook_url": "http://example.org/\r\nX: y"}, "https://"),
        ({"webhook_url": "http://example.org/\u00e9"}, "https://"),
        ({"webhook_url": "http://[::1/"}, "Webhook URL"),
    ],
)
def test_what_cannot_be_used_changes_nothing(home: Home, changes: dict[str, object], words: str) -> None:
    """The reason names the setting and never repeats the input."""
    store = PreferenceStore(home)
    with pytest.raises(InvalidInput, match=words) as refused:
        store.change(changes)
    assert "hunter2" not in refused.value.message
    assert (store.get(), home.preferences.exists()) == (Preferences(), False)


def test_every_process_that_asks_the_hub_gets_the_token(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's has precedence; jobs that do not need the Hub get neither."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    settings = Settings(home)
    assert (hub_token(settings), "HF_TOKEN" in reader_environment(home)) == ("", False)
    PreferenceStore(home).change({"hf_token": "hf_stored"})
    assert worker_env(settings, {"HF_TOKEN"}, {})["HF_TOKEN"] == "hf_stored"
    assert "HF_TOKEN" not in worker_env(settings, set(), {})
    assert reader_environment(home)["HF_TOKEN"] == "hf_stored"
    assert worker_env(replace(settings, hf_token="hf_env"), {"HF_TOKEN"}, {})["HF_TOKEN"] == "hf_env"
    monkeypatch.setenv("HF_TOKEN", "hf_env")
    assert reader_environment(home)["HF_TOKEN"] == "hf_env"


def test_the_token_is_in_no_repr() -> None:
    """So that it is never logged."""
    assert "hf_secret" not in repr(Preferences(hf_token="hf_secret"))
