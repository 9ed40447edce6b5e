"""A loopback server with Hugging Face's file API, limited to what the real client uses.

Repositories are folders of files in memory. It can interrupt a download halfway, once.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.live import PATIENCE

TOKEN = "hf_" + "a" * 34
LARGE = 1_000_000
"""Bytes of a file that can be delayed."""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def going() -> threading.Event:
    """An open gate."""
    gate = threading.Event()
    gate.set()
    return gate


@dataclass
class Repo:
    """A repository: its files, and who may read them. ``kind`` is ``dataset`` or ``model``.

    ``about`` has other metadata: ``cardData``, ``config``, ``safetensors``, ``tags``, ``downloads``.
    """

    files: dict[str, bytes]
    kind: str = "dataset"
    gated: bool = False
    about: dict[str, Any] = field(default_factory=dict)


@dataclass
class Hub:
    """The server with its requests.

    Attributes:
        repos: By ``owner/name``.
        renamed: Old name to new.
        cut: Path of a file whose next download breaks off halfway.
        ranges: (file, Range header) of every download.
        slow: Seconds that a file takes.
        searches: The text of every search for models.
        go: While it is cleared, the second half of a large file is held back.
    """

    repos: dict[str, Repo]
    renamed: dict[str, str] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    ranges: list[tuple[str, str]] = field(default_factory=list)
    slow: float = 0.0
    searches: list[str] = field(default_factory=list)
    go: threading.Event = field(default_factory=going)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's own name
        """Log nothing."""

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(body=True, asked=data)

    def _answer(self, *, body: bool, asked: bytes = b"") -> None:
        path = unquote(urlsplit(self.path).path)
        api = re.fullmatch(
            r"/api/(datasets|models)/([\w.-]+/[\w.-]+)(?:/(revision|tree|paths-info)/([^/]+))?(?:/(.*))?", path
        )
        file = re.fullmatch(r"/(?:(datasets)/)?([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)", path)
        if path == "/api/models":
            self._search(parse_qs(urlsplit(self.path).query))
        elif api:
            repo = self._repo(api[1].removesuffix("s"), api[2])
            if repo:
                self._api(repo, api[2], api[3] or "revision", api[4] or "main", api[5] or "", asked)
        elif file:
            repo = self._repo(file[1].removesuffix("s") if file[1] else "model", file[2])
            if repo:
                self._file(repo, file[4], body=body)
        else:
            self._send(404, {"error": "not here"})

    def _search(self, asked: dict[str, list[str]]) -> None:
        """Models whose name contains the text, most downloaded first."""
        text, limit = asked.get("search", [""])[0].casefold(), int(asked.get("limit", ["100"])[0])
        self.hub.searches.append(text)
        found = [
            {"id": name, "gated": "manual" if repo.gated else False, "tags": [], "downloads": 0} | repo.about
            for name, repo in self.hub.repos.items()
            if repo.kind == "model" and text in name.casefold()
        ]
        self._send(200, sorted(found, key=lambda one: -int(str(one["downloads"])))[:limit])

    def _repo(self, kind: str, name: str) -> Repo | None:
        if name in self.hub.renamed:
            self.send_response(307)
            self.send_header("Location", self.path.replace(name, self.hub.renamed[name], 1))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        repo = self.hub.repos.get(name)
        if repo is None or repo.kind != kind:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return None
        if repo.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}" and "/resolve/" in self.path:
            words = f"Access to {kind} {name} is restricted. You must have access to it and be authenticated."
            self._send(401, {"error": words}, {"X-Error-Code": "GatedRepo", "X-Error-Message": words})
            return None
        return repo

    def _api(self, repo: Repo, name: str, verb: str, revision: str, inside: str, asked: bytes) -> None:
        if revision not in {"main", COMMIT}:
            self._send(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        elif verb == "revision":
            siblings = [{"rfilename": path, "size": len(data)} for path, data in repo.files.items()]
            about = {
                "id": name,
                "sha": COMMIT,
                "private": False,
                "gated": "manual" if repo.gated else False,
                "tags": [],
                "downloads": 0,
            }
            self._send(200, about | {"siblings": siblings, "disabled": False, "likes": 0} | repo.about)
        elif verb == "tree":
            known = [one for one in self._entries(repo) if not inside or one["path"].startswith(inside)]
            recursive = "true" in parse_qs(urlsplit(self.path).query).get("recursive", [""])[0].lower()
            self._send(
                200, known if recursive else [one for one in known if "/" not in one["path"][len(inside) :].strip("/")]
            )
        else:
            wanted = _paths(asked)
            self._send(200, [one for one in self._entries(repo) if one["path"] in wanted])

    @staticmethod
    def _entries(repo: Repo) -> list[dict[str, Any]]:
        folders = {path.rpartition("/")[0] for path in repo.files if "/" in path}
        found: list[dict[str, Any]] = [
            {"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in sorted(folders)
        ]
        return found + [
            {"type": "file", "path": path, "oid": hashlib.sha1(data).hexdigest(), "size": len(data)}
            for path, data in repo.files.items()
        ]

    def _file(self, repo: Repo, path: str, *, body: bool) -> None:
        data = repo.files.get(path)
        if data is None:
            self._send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        wanted = self.headers.get("Range") or ""
        start, end = _range(wanted, len(data))
        if body:
            self.hub.ranges.append((path, wanted))
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.end_headers()
        if body:
            self._body(path, data[start:end])

    def _body(self, path: str, data: bytes) -> None:
        if path in self.hub.cut:
            self.hub.cut.discard(path)
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        pieces = 20 if self.hub.slow else 1
        step = -(-len(data) // pieces) or 1
        for place in range(0, len(data), step):
            if place >= len(data) // 2 and len(data) > LARGE:
                self.hub.go.wait(PATIENCE)
            self.wfile.write(data[place : place + step])
            if self.hub.slow:
                threading.Event().wait(self.hub.slow / pieces)

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _paths(asked: bytes) -> set[str]:
    if asked.startswith(b"{"):
        return set(json.loads(asked)["paths"])
    return set(parse_qs(asked.decode()).get("paths", []))


def _range(header: str, size: int) -> tuple[int, int]:
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", header)
    if not match:
        return 0, size
    return int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
