"""What is reported about the active protection, and what happens without one."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from core.errors import Unavailable
from core.rewards.sandbox import Limits, Sandbox, Task, client, launch, protection
from core.rewards.sandbox.launch import Level
from tests.support.live import gone, until

PATIENT = Limits(cpu=20, wall=60)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A machine with neither bubblewrap nor namespaces."""
    monkeypatch.setattr(client, "available", lambda level: False)
    protection.cache_clear()
    yield monkeypatch
    protection.cache_clear()


def test_without_protection_untrusted_code_is_refused(bare: pytest.MonkeyPatch) -> None:
    """The message names what to install, and the setting that accepts the weaker form."""
    bare.delenv(launch.WEAK_CONSENT, raising=False)
    assert protection().state == "No sandbox"
    with pytest.raises(Unavailable, match=r"apt install bubblewrap.*TUNESMITH_WEAK_SANDBOX=1"):
        Sandbox(1)


def test_the_weaker_level_needs_consent_and_says_what_it_lacks(bare: pytest.MonkeyPatch) -> None:
    """With consent code runs; it still can neither write, connect nor start programs."""
    bare.setenv(launch.WEAK_CONSENT, "1")
    found = protection()
    assert found.level is Level.WEAK
    assert found.state == "Weaker sandbox"
    assert "can read every file" in found.words
    assert "apt install bubblewrap" in found.words
    box = Sandbox(1)
    try:
        sources = (
            "print(1)",
            "open('/tmp/tunesmith-escape', 'w')",
            "import socket\nsocket.socket()",
            "import os\nos.fork()",
        )
        results = box.run([Task("script", source, {"inputs": [""]}, limits=PATIENT) for source in sources])
    finally:
        box.close()
    assert results[0] == {"results": [{"output": "1\n"}]}
    for result in results[1:]:
        assert "Operation not permitted" in result["results"][0]["error"]


@pytest.mark.skipif(protection().level is None, reason="no namespaces on this machine")
def test_a_sandbox_that_vanishes_is_replaced() -> None:
    """Killing the whole sandbox from outside between two tasks affects neither."""
    box = Sandbox(1)
    task = Task("script", "print('here')", {"inputs": [""]}, limits=PATIENT)
    try:
        assert "results" in box.run([task])[0]
        (guest,) = box._guests
        inside = psutil.Process(guest._process.pid).children(recursive=True)
        guest._process.kill()
        # The inner process ends after the outer one; until then it could still respond.
        until(lambda: [one.pid for one in inside if not gone(one.pid)], lambda left: left == [])
        assert box.run([task]) == [{"results": [{"output": "here\n"}]}]
    finally:
        box.close()
