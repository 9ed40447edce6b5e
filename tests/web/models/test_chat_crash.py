"""llama.cpp crashes in a chat: it is retried in safe mode before an error is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core import llama
from core.llama import Outcome
from core.settings import Home, Settings
from services.models.chat_process import ChatProcess
from tests.conftest import SUPPORT


@pytest.fixture
def process(home: Home, settings: Settings) -> Iterator[ChatProcess]:
    """A chat process on a machine whose self-test has run."""
    llama.keep(home, Outcome(fingerprint=llama.fingerprint()))
    found = ChatProcess(settings, SUPPORT / "fake_chat.py")
    yield found
    found.close()


def ask(process: ChatProcess, text: str, kind: str = "gguf") -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    message = {"op": "generate", "id": "one", "model": {"kind": kind, "path": "x"}, "max_tokens": 9, "stop": []}
    process.ask({**message, "messages": [{"role": "user", "content": text}]}, heard.append)
    return [event for event in heard if event["event"] != "loading"]


def known(home: Home) -> Outcome:
    found = llama.read(home)
    assert found is not None
    return found


def test_a_crash_is_not_reported_if_safe_mode_helps(process: ChatProcess, home: Home) -> None:
    """The answer arrives, and this machine loads every model in safe mode from then on."""
    events = ask(process, "crash now")
    assert [event["event"] for event in events] == ["token", "token", "done"]
    assert (known(home).extra_buffers, known(home).learned) == (False, "SIGSEGV (signal 11)")


def test_a_crash_either_way_is_reported_with_what_to_do(process: ChatProcess, home: Home) -> None:
    """Once; nothing is saved for the machine, since the file may be the cause."""
    events = ask(process, "smash now")
    assert [event["event"] for event in events] == ["error"]
    for words in ("llama.cpp crashed (SIGSEGV (signal 11))", "Send again", "make llama"):
        assert words in events[0]["message"]
    assert known(home).extra_buffers
    assert ask(process, "still there")[-1]["text"] == "still there"


def test_a_crash_amid_an_answer_makes_the_next_one_safe(process: ChatProcess, home: Home) -> None:
    """Text already shown is not repeated."""
    events = ask(process, "one crash")
    assert [event["event"] for event in events] == ["token", "error"]
    assert known(home).extra_buffers
    assert ask(process, "one crash")[-1]["text"] == "one crash"
    assert not known(home).extra_buffers


def test_other_formats_are_not_retried(process: ChatProcess, home: Home) -> None:
    """Other libraries have no safe mode."""
    assert "memory" in ask(process, "crash now", "transformers")[0]["message"]
    assert known(home).extra_buffers
