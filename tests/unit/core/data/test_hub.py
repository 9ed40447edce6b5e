"""Hub client errors as messages. A small server simulates the Hub's responses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.config import DatasetSection, ModelSection
from core.errors import NotFound, Unavailable
from core.settings import Home
from services.datasets.datasets import Datasets
from services.datasets.prompts import ask, tokenizer_folder


class Refusing(BaseHTTPRequestHandler):
    """Responds like the Hub to missing and gated repositories."""

    def do_GET(self) -> None:
        gated = "gated" in self.path
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - the base class's own name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's own name
        """Log nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


def peek(home: Home, source: str) -> object:
    section = DatasetSection(source=source).model_dump(mode="json")
    return ask(home, "peek", timeout=120, dataset=section, root=str(home.root), samples=2)


@pytest.mark.usefixtures("hub")
def test_a_dataset_that_is_not_on_the_hub_says_so(tmp_path: Path) -> None:
    """Not found, with the field and what to check."""
    with pytest.raises(NotFound, match="has no dataset named someone/missing") as refused:
        peek(Home(tmp_path), "someone/missing")
    assert refused.value.field == "dataset.source"


@pytest.mark.usefixtures("hub")
def test_a_gated_dataset_and_model_say_how_to_get_in(tmp_path: Path) -> None:
    """The message names the terms to accept and the setting for the token."""
    with pytest.raises(Unavailable, match="HF_TOKEN"):
        peek(Home(tmp_path), "someone/gated")
    with pytest.raises(Unavailable, match="HF_TOKEN") as refused:
        tokenizer_folder(Home(tmp_path), ModelSection(name="someone/gated"))
    assert refused.value.field == "model.name"


def test_without_a_network_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within seconds, not after half a minute of retries."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nothing listens there
    datasets = Datasets(Home(tmp_path), 1 << 20, lambda _: [])
    with pytest.raises(Unavailable, match=r"cannot be reached.*generated arithmetic"):
        datasets.preview({"source": "openai/gsm8k"}, 2)
