"""Loading a model when the Hub cannot be reached."""

from __future__ import annotations

import socket
import time

import pytest
from huggingface_hub import constants

from core.errors import InvalidInput, NotFound, Unavailable
from core.training.models import load


@pytest.mark.parametrize("offline", ["", "0"])
def test_without_a_network_the_error_comes_in_seconds(monkeypatch: pytest.MonkeyPatch, offline: str) -> None:
    """The client alone would retry each of the model's files six times within half a minute."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="your connection"):
            load.load_tokenizer("someone/not-here")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("We couldn't connect to 'http://127.0.0.1:43401' to load the files", Unavailable),
        ("RepositoryNotFoundError: 401 Client Error. Repository Not Found for url", NotFound),
        ("404 Client Error: Not Found", NotFound),
        ("You are trying to access a gated repo. 403 Client Error", InvalidInput),
        ("401 Client Error: Unauthorized", InvalidInput),
    ],
)
def test_hub_errors_are_distinguished(words: str, kind: type[Exception]) -> None:
    """A port is not a status, and an unknown name gets a 401 without a login."""
    assert type(load.explain("someone/not-here", OSError(words))) is kind
