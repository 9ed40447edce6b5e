"""A local judge: an OpenAI-compatible endpoint for tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from core.rewards import judge as judging


@dataclass
class JudgeEndpoint:
    """Prefers answers with 'Paris', uses 500 tokens for each, and fails ``broken`` times."""

    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    broken: int = 0

    def reply(self, body: dict[str, Any]) -> dict[str, Any] | None:
        self.seen.append(body)
        if self.broken > 0:
            self.broken -= 1
            return None
        good = "Paris" in body["messages"][0]["content"].rpartition("<answer>")[2]
        grade = json.dumps({"score": 10 if good else 1, "why": "seen"})
        return {"choices": [{"message": {"content": grade}}], "usage": {"total_tokens": 500}}


@pytest.fixture
def judge_endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeEndpoint]:
    """The endpoint, with an empty cache."""
    found = JudgeEndpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply = found.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if reply is None:
                self.send_error(503)
                return
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

    monkeypatch.setattr(judging, "_CACHE", {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()
