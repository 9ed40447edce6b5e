"""The server of :mod:`tests.support.hub` with uploads by the real client.

Repositories are created, files announced, large ones uploaded by SHA-256 (in several parts above a size, as the
real one requires), and everything becomes visible with one commit. Content with a wrong hash and requests
without a token are rejected.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import yaml

from tests.support.hub import COMMIT, TOKEN, Hub, Repo, _Handler
from tests.support.live import PATIENCE

LARGE = (".gguf", ".safetensors", ".bin")
PIECE = 400_000
"""Bytes; larger files are requested in parts."""


@dataclass
class UploadHub(Hub):
    """The server with its uploads.

    Attributes:
        stored: Large contents by SHA-256, committed or not.
        visibility: Of each created repository.
        puts: SHA-256 of every uploaded content (or part), in order.
        readonly: Whether the token is read-only.
    """

    stored: dict[str, bytes] = field(default_factory=dict)
    visibility: dict[str, str] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    readonly: bool = False

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_UploadHandler,), {"hub": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self


class _UploadHandler(_Handler):
    hub: UploadHub

    def do_PUT(self) -> None:  # noqa: N802 (the base class's own name)
        match = re.fullmatch(r"/lfs/([0-9a-f]{64})(?:/(\d+))?", self.path)
        data = self._content()
        self.hub.go.wait(PATIENCE)
        if match and match[2]:
            self.hub.parts.setdefault(match[1], {})[int(match[2])] = data
        elif match and not self._store(match[1], data):
            return
        self.hub.puts.append(match[1] if match else "")
        self._send(200, {}, {"ETag": f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'})

    def do_GET(self) -> None:  # noqa: N802 (the base class's own name)
        if self.path == "/api/whoami-v2":
            if self._may(write=False):
                self._send(200, {"name": "tester", "type": "user"})
        elif self._hidden():
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        else:
            super().do_GET()

    def do_POST(self) -> None:  # noqa: N802 (the base class's own name)
        path = unquote(urlsplit(self.path).path)
        verbs = (
            (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", self._validate),
            (r"/api/models/([\w.-]+/[\w.-]+)/preupload/main", self._preupload),
            (r"/api/models/([\w.-]+/[\w.-]+)/commit/main", self._commit),
            (r"/([\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch", self._batch),
            (r"/lfs/([0-9a-f]{64})/complete", self._complete),
        )
        for pattern, verb in verbs:
            if match := re.fullmatch(pattern, path):
                asked = self._content()
                if verb == self._complete or self._may(write=verb != self._validate):
                    verb(asked, *match.groups())
                return
        super().do_POST()

    def _content(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        length, data = int(self.headers.get("Content-Length") or 0), b""
        while len(data) < length and (piece := self.rfile.read(min(1 << 16, length - len(data)))):
            data += piece
        return data

    def _may(self, *, write: bool) -> bool:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, {"error": "Invalid username or password."})
        elif write and self.hub.readonly:
            self._send(403, {"error": "This token has no write access."})
        else:
            return True
        return False

    def _hidden(self) -> bool:
        named = re.match(r"/(?:api/models/)?([\w.-]+/[\w.-]+)", self.path)
        private = named and self.hub.visibility.get(named[1]) == "private"
        return bool(private) and self.headers.get("Authorization") != f"Bearer {TOKEN}"

    def _create(self, asked: bytes) -> None:
        given = json.loads(asked)
        name = f"{given.get('organization') or 'tester'}/{given['name']}"
        if name in self.hub.repos:
            self._send(409, {"error": "You already created this model repo", "url": f"{self.hub.endpoint}/{name}"})
            return
        self.hub.repos[name] = Repo({}, kind="model")
        private = given.get("private") or given.get("visibility") == "private"
        self.hub.visibility[name] = "private" if private else "public"
        self._send(200, {"url": f"{self.hub.endpoint}/{name}", "name": name})

    def _validate(self, asked: bytes) -> None:
        text = json.loads(asked)["content"]
        match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
        try:
            head = yaml.safe_load(match[1]) if match else None
        except yaml.YAMLError as error:
            self._send(400, {"errors": [{"message": str(error)}], "warnings": []})
            return
        if not isinstance(head, dict) or not isinstance(head.get("license", ""), str):
            self._send(400, {"errors": [{"message": "no metadata"}], "warnings": []})
            return
        self._send(200, {"errors": [], "warnings": []})

    def _preupload(self, asked: bytes, repo: str) -> None:
        if repo not in self.hub.repos:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        files = [
            {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
             "shouldIgnore": False}
            for one in json.loads(asked)["files"]
        ]  # fmt: skip
        self._send(200, {"files": files})

    def _batch(self, asked: bytes, _repo: str) -> None:
        objects = [self._upload(one) for one in json.loads(asked)["objects"]]
        self._send(200, {"objects": objects, "transfer": "basic"})

    def _upload(self, one: dict[str, Any]) -> dict[str, Any]:
        address = f"{self.hub.endpoint}/lfs/{one['oid']}"
        if one["oid"] in self.hub.stored:
            return one
        if one["size"] <= PIECE:
            return {**one, "actions": {"upload": {"href": address}}}
        count = -(-one["size"] // PIECE)
        header = {"chunk_size": str(PIECE), **{str(number): f"{address}/{number}" for number in range(1, count + 1)}}
        return {**one, "actions": {"upload": {"href": f"{address}/complete", "header": header}}}

    def _complete(self, asked: bytes, oid: str) -> None:
        parts = self.hub.parts.pop(oid, {})
        wanted = [part["partNumber"] for part in json.loads(asked)["parts"]]
        if self._store(oid, b"".join(parts[number] for number in wanted)):
            self._send(200, {})

    def _store(self, oid: str, data: bytes) -> bool:
        if hashlib.sha256(data).hexdigest() != oid:
            self._send(400, {"error": "the content does not have its hash"})
            return False
        self.hub.stored[oid] = data
        return True

    def _commit(self, asked: bytes, repo: str) -> None:
        lines = [json.loads(line) for line in asked.splitlines()]
        files = self.hub.repos[repo].files
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.stored:
                    self._send(400, {"error": f"LFS object {value['oid']} was not uploaded"})
                    return
                files[value["path"]] = self.hub.stored[value["oid"]]
        address = f"{self.hub.endpoint}/{repo}/commit/{COMMIT}"
        self._send(200, {"commitUrl": address, "commitOid": COMMIT, "pullRequestUrl": None})
