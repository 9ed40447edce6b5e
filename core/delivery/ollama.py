"""Creates a model in an Ollama server from a finished GGUF through its HTTP API, and tests it.

The file is sent under its SHA-256, so the server can skip content that it already has. The model is not listed before
the create request succeeds.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.delivery.modelfile_reader import create_fields, modelfile_for
from core.delivery.state import Job, NameTaken, Progress
from core.errors import Conflict, InvalidInput, Unavailable
from core.job_dir import JobDir, read_json
from core.progress import Reporter

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}(/[a-z0-9][a-z0-9._-]{0,79})?(:[A-Za-z0-9][A-Za-z0-9._-]{0,79})?")
DEFAULT_PORT = 11434
PIECE = 1 << 18
"""Bytes per chunk."""
LONGEST_ANSWER = 256
"""Tokens of the first answer."""
PATIENCE = 600.0
"""Timeout in seconds without data from the server, which may be loading a large model."""


def address(given: str) -> str:
    """``OLLAMA_HOST`` as parsed by Ollama: a host, host:port or URL; empty for this machine.

    >>> address(""), address("0.0.0.0"), address("box:9000"), address("https://ollama.example.org")
    ('http://127.0.0.1:11434', 'http://127.0.0.1:11434', 'http://box:9000', 'https://ollama.example.org:443')

    Raises:
        InvalidInput: It is not an address.
    """
    text = given.strip().strip("\"'") or "127.0.0.1"
    scheme, _, rest = text.rpartition("://")
    try:
        parts = urlsplit(f"{scheme or 'http'}://{rest}")
        port = parts.port or {"http": 80, "https": 443}.get(scheme, DEFAULT_PORT)
    except ValueError:
        raise InvalidInput(f"OLLAMA_HOST is not a valid address: {text!r:.80}. Use the form 127.0.0.1:11434.") from None
    if parts.scheme not in {"http", "https"} or parts.path not in {"", "/"}:
        raise InvalidInput(f"OLLAMA_HOST is not a valid address: {text!r:.80}. Use the form 127.0.0.1:11434.")
    host = parts.hostname or "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (every address of a server, seen from here)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


class Ollama:
    """A few calls of Ollama's API.

    Args:
        base: From :func:`address`.
        timeout: Seconds without data before it counts as gone.
    """

    def __init__(self, base: str, timeout: float = PATIENCE) -> None:
        self.base, self._timeout = base, timeout

    def version(self) -> str:
        """The server's version. Raises Unavailable if none responds."""
        return str(self._json("GET", "/api/version").get("version", "unknown"))

    def has_model(self, name: str) -> bool:
        status, _ = self._call("POST", "/api/show", {"model": name})
        return status == http.client.OK

    def has_blob(self, digest: str) -> bool:
        status, _ = self._call("HEAD", f"/api/blobs/{digest}")
        return status == http.client.OK

    def send_blob(self, digest: str, path: Path, sent: Callable[[int], None]) -> None:
        """Send a file; ``sent`` is called with the bytes so far."""
        size = path.stat().st_size
        with path.open("rb") as file:
            status, answer = self._call("POST", f"/api/blobs/{digest}", _counted(file, sent), length=size)
        if status not in {http.client.OK, http.client.CREATED}:
            raise Unavailable(f"Ollama rejected the file: {_said(answer, status)}")

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Every line of a streamed response. Raises Unavailable with Ollama's message if it fails."""
        with closing(self._connect()) as connection:
            try:
                connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                response = connection.getresponse()
                if response.status != http.client.OK:
                    raise Unavailable(f"Ollama refused: {_said(response.read(), response.status)}")
                while line := response.readline():
                    entry: dict[str, Any] = json.loads(line)
                    if entry.get("error"):
                        raise Unavailable(f"Ollama refused: {entry['error']}")
                    yield entry
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise error if isinstance(error, Unavailable) else self._gone(error) from None

    def chat(self, name: str, messages: list[dict[str, str]], said: Callable[[str], None] = lambda _text: None) -> str:
        """The model's next turn; ``said`` is called with the text so far."""
        text = ""
        body = {"model": name, "messages": messages, "stream": True, "options": {"num_predict": LONGEST_ANSWER}}
        for entry in self.stream("/api/chat", body):
            text += str((entry.get("message") or {}).get("content", ""))
            said(text)
        return text

    def _json(self, method: str, path: str) -> dict[str, Any]:
        status, answer = self._call(method, path)
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if status != http.client.OK or not isinstance(found, dict):
            raise Unavailable(f"The server at {self.base} is not Ollama. Check OLLAMA_HOST.")
        return found

    def _call(self, method: str, path: str, body: Any = None, *, length: int | None = None) -> tuple[int, bytes]:
        headers = {"Content-Length": str(length)} if length is not None else {}
        if isinstance(body, dict):
            body, headers = json.dumps(body), {"Content-Type": "application/json"}
        with closing(self._connect()) as connection:
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                raise self._gone(error) from None

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.base)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=self._timeout)

    def _gone(self, error: Exception) -> Unavailable:
        why = getattr(error, "strerror", None) or error
        return Unavailable(
            f"Ollama cannot be reached at {self.base} ({why}). Start it with 'ollama serve', or set OLLAMA_HOST."
        )


def deliver(job: Job, export: JobDir, report: Reporter[Progress]) -> None:
    """Create ``job.name`` in the Ollama server and let it answer one question.

    Raises:
        NameTaken: A model with that name exists and may not be replaced.
        Conflict: The file has changed since it was created.
        Unavailable: The server does not respond, or rejects the request.
    """
    server, path = Ollama(job.address), export.files / job.file
    report.say(message="Connecting to Ollama", file=job.file, total_bytes=path.stat().st_size, total_files=1)
    version = server.version()
    if not job.replace and server.has_model(job.name):
        raise NameTaken(f"Ollama already has a model {job.name}. Choose another name, or allow replacing it.")
    report.say(message="Checking the file")
    digest = f"sha256:{checked_sha256(export, job.file, lambda read: report.say(bytes=read))}"
    if server.has_blob(digest):
        report.say(message="Ollama already has the file", bytes=path.stat().st_size)
    else:
        report.say(message="Sending the file", bytes=0)
        server.send_blob(digest, path, lambda sent: report.say(bytes=sent))
    report.say(message="Creating the model", files=1)
    for entry in server.stream("/api/create", create_request(job, export, digest)):
        report.say(message=f"Ollama: {entry.get('status', '')}"[:200])
    report.say(message="Testing the model", question=job.question)
    answer = server.chat(
        job.name, [{"role": "user", "content": job.question}], lambda text: report.say(answer=text[-2000:])
    )
    report.end(
        "done", message=f"Ready in Ollama {version}", answer=answer, question=job.question,
        command=f"ollama run {job.name}",
    )  # fmt: skip


def create_request(job: Job, export: JobDir, digest: str) -> dict[str, Any]:
    """The body of the create request: the export's Modelfile, with the file's digest."""
    fields = create_fields(modelfile_for(export.files, job.file))
    if job.base:
        source: dict[str, Any] = {"from": job.base, "adapters": {job.file: digest}}
    else:
        source = {"files": {job.file: digest}}
    return {"model": job.name, **source, **fields, "stream": True}


def checked_sha256(export: JobDir, name: str, told: Callable[[int], None]) -> str:
    """The hash of a finished file, computed again; ``told`` is called with the bytes so far.

    Raises:
        Conflict: It differs from the one recorded when the file was created.
    """
    made = {file["name"]: file["sha256"] for file in (read_json(export.result) or {}).get("files", [])}
    digest = hashlib.sha256()
    with (export.files / name).open("rb") as file:
        for piece in _counted(file, told):
            digest.update(piece)
    if made.get(name) and digest.hexdigest() != made[name]:
        raise Conflict(f"{name} has changed since it was exported: its hash is different. Create the export again.")
    return digest.hexdigest()


def _counted(file: Any, sent: Callable[[int], None]) -> Iterator[bytes]:
    done = 0
    while piece := file.read(PIECE):
        yield piece
        done += len(piece)
        sent(done)


def _said(answer: bytes, status: int) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return f"it responded with {status}."
