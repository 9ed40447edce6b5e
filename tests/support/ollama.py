"""A loopback server with the part of Ollama's API that deliveries use, and its rules.

A blob whose content does not have its SHA-256 is rejected; a model is made only of existing blobs, of known fields,
and with a template that works for the blob's model. Its answer in a chat shows the requested model and system prompt.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.hub import going
from tests.support.live import PATIENCE

CREATE_FIELDS = {
    "model", "from", "files", "adapters", "template", "license", "system", "parameters", "messages", "stream",
    "quantize", "renderer", "parser", "requires", "info", "capabilities",
}  # fmt: skip


@dataclass
class OllamaServer:
    """The server with its contents and requests.

    Attributes:
        blobs: By digest (``sha256:…``).
        models: Create requests by model name.
        calls: (method, path) in order.
        adapters: Whether it accepts LoRA adapters; newer versions do not.
        go: While it is cleared, received files are not acknowledged.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    adapters: bool = True
    go: threading.Event = field(default_factory=going)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"ollama": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    ollama: OllamaServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's own name
        """Log nothing."""

    def do_GET(self) -> None:
        self._note()
        if self.path == "/api/version":
            self._json(200, {"version": "0.12.6"})
        else:
            self._json(404, {"error": "not found"})

    def do_HEAD(self) -> None:
        self._note()
        self._json(200 if self.path.removeprefix("/api/blobs/") in self.ollama.blobs else 404, {})

    def do_POST(self) -> None:
        self._note()
        if self.path.startswith("/api/blobs/"):
            self._blob(self.path.removeprefix("/api/blobs/"))
            return
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        verbs = {"/api/show": self._show, "/api/create": self._create, "/api/chat": self._chat}
        verbs.get(self.path, lambda _asked: self._json(404, {"error": "not found"}))(asked)

    def _note(self) -> None:
        self.ollama.calls.append((self.command, self.path))

    def _blob(self, digest: str) -> None:
        length, data = int(self.headers["Content-Length"]), b""
        while len(data) < length and (piece := self.rfile.read(min(1 << 16, length - len(data)))):
            data += piece
        self.ollama.go.wait(PATIENCE)
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            self._json(400, {"error": f"digest mismatch, expected {digest!r}"})
            return
        self.ollama.blobs[digest] = data
        self._json(201, {})

    def _show(self, asked: dict[str, Any]) -> None:
        found = self.ollama.models.get(asked["model"])
        if found is None:
            self._json(404, {"error": f"model '{asked['model']}' not found"})
        else:
            self._json(200, {"template": found.get("template", "")})

    def _create(self, asked: dict[str, Any]) -> None:
        problem = self._problem(asked)
        if problem:
            self._json(400, {"error": problem})
            return
        for digest in (*asked.get("files", {}).values(), *asked.get("adapters", {}).values()):
            if digest not in self.ollama.blobs:
                self._lines([{"status": "parsing GGUF"}, {"error": f"blob {digest} not found"}])
                return
            if not self.ollama.blobs[digest].startswith(b"GGUF"):
                self._lines([{"status": "parsing GGUF"}, {"error": "supplied file was not in GGUF format"}])
                return
        self.ollama.models[asked["model"]] = asked
        said = ("parsing GGUF", "using existing layer", "writing manifest", "success")
        self._lines([{"status": status} for status in said])

    def _problem(self, asked: dict[str, Any]) -> str:
        unknown = set(asked) - CREATE_FIELDS
        parameters = asked.get("parameters", {})
        if unknown:
            return f"unknown field {min(unknown)}"
        if asked.get("adapters") and not self.ollama.adapters:
            return "LoRA adapters are no longer supported"
        if not asked.get("from") and not asked.get("files"):
            return "neither 'from' or 'files' was specified"
        if any("/" in name or ".." in name for name in asked.get("files", {})):
            return "file path must be relative"
        stops = parameters.get("stop", [])
        return "" if isinstance(stops, list) and all(isinstance(one, str) for one in stops) else "bad option 'stop'"

    def _chat(self, asked: dict[str, Any]) -> None:
        model = self.ollama.models.get(asked["model"])
        if model is None:
            self._json(404, {"error": f"model '{asked['model']}' not found"})
            return
        turns, last = len(asked["messages"]), asked["messages"][-1]["content"]
        words = f"[{model.get('system', '')[:8]}] {turns} turns, last: {last}".split(" ")
        said = [{"message": {"role": "assistant", "content": f"{word} "}, "done": False} for word in words]
        self._lines([*said, {"message": {"role": "assistant", "content": ""}, "done": True, "eval_count": len(words)}])

    def _lines(self, entries: list[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for entry in entries:
            line = json.dumps(entry).encode() + b"\n"
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def _json(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
