"""Measure large uploads: ``python scripts/bench_datasets.py [--gigabytes 1 5]``.

Starts a server with its own home folder, sends JSON Lines in pieces as the page does, waits until the
file is a dataset, opens page 1 and page 10,000, and deletes everything. Prints seconds, and the peak memory
of the server in excess of that before the upload.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil

PROJECT = Path(__file__).resolve().parent.parent
PAGE = 20
COLUMNS = (
    "size", "rows", "sent", "read and checked", "first preview", "page 1", "page 10,000", "server, peak above start",
    "reader, peak",
)  # fmt: skip


def main() -> None:
    """Measure each size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[1, 5])
    home = Path(tempfile.mkdtemp(prefix="tunesmith-bench-"))
    try:
        with Server(home) as server:
            print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
            for size in parser.parse_args().gigabytes:
                print(measure(server, int(size * 2**30)), flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)


class Server:
    """The server on a free port, with its memory measured."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.port = free_port()
        self.peak = self.reader_peak = 0

    def __enter__(self) -> Self:
        env = os.environ | {"TUNESMITH_HOME": str(self._home), "PORT": str(self.port), "HOST": "127.0.0.1"}
        command = [sys.executable, str(PROJECT / "flask_app.py")]
        self._process = subprocess.Popen(
            command, cwd=PROJECT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if self.ask("GET", "/healthz")[0] == 200:
                    break
            except OSError:
                time.sleep(0.1)
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)

    @property
    def memory(self) -> int:
        """Bytes in memory now."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def _watch(self) -> None:
        own = psutil.Process(self._process.pid)
        while self._process.poll() is None:
            try:
                self.peak = max(self.peak, own.memory_info().rss)
                readers = [child.memory_info().rss for child in own.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
            self.reader_peak = max([self.reader_peak, *readers])
            time.sleep(0.02)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and decoded response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        connection.request(method, path, data, {"Content-Type": kind})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, json.loads(answer) if answer else None


def measure(server: Server, size: int) -> str:
    """Measure one line of the table."""
    before = server.memory
    server.peak = server.reader_peak = 0
    total, rows = written(size)
    began = time.monotonic()
    job = server.ask("POST", "/api/datasets/uploads", {"name": "bench.jsonl", "size": total})[1]
    offset = 0
    for piece in pieces(total, rows, job["chunk"]):
        offset = server.ask("PATCH", f"/api/datasets/jobs/{job['id']}?offset={offset}", piece)[1]["offset"]
    sent = time.monotonic()
    server.ask("POST", f"/api/datasets/jobs/{job['id']}/finish", {})
    while (found := server.ask("GET", f"/api/datasets/jobs/{job['id']}")[1])["state"] == "working":
        time.sleep(0.2)
    if found["state"] != "done":
        raise SystemExit(found)
    read = time.monotonic()
    rows_of = f"/api/datasets/{job['id']}/rows?limit={PAGE}&offset="
    times = [
        timed(server, "POST", "/api/datasets/preview", {"path": f"upload:{job['id']}", "samples": 5}),
        timed(server, "GET", f"{rows_of}0"),
        timed(server, "GET", f"{rows_of}{9_999 * PAGE}"),
    ]
    above = (server.peak - before) / 2**20
    server.ask("DELETE", f"/api/datasets/{job['id']}")
    shown = [
        f"{size / 2**30:g} GB",
        f"{rows:,}",
        f"{sent - began:.1f} s",
        f"{read - sent:.1f} s",
        *(f"{1000 * one:.0f} ms" for one in times),
    ]
    return f"| {' | '.join(shown)} | {above:.0f} MB | {server.reader_peak / 2**20:.0f} MB |"


def timed(server: Server, method: str, path: str, body: Any = None) -> float:
    """Seconds of a call that must succeed."""
    began = time.monotonic()
    status, answer = server.ask(method, path, body)
    if status != 200 or not answer["rows"]:
        raise SystemExit(f"{path}: {status} {answer}")
    return time.monotonic() - began


def line(number: int) -> bytes:
    """A unique row of about 1 kB."""
    words = " ".join(f"word{(number * 7919 + place * 104729) % 100_003}" for place in range(90))
    return f'{{"question": "{number}: what follows from {words}?", "answer": "So it is.\\n#### {number}"}}\n'.encode()


def written(size: int) -> tuple[int, int]:
    """Bytes and rows of the first rows that reach a size."""
    total = number = 0
    block = b"".join(line(n) for n in range(1000))
    while total < size:
        total += len(block)
        number += 1000
    return total, number


def pieces(total: int, rows: int, chunk: int) -> Iterator[bytes]:
    """The file, a thousand rows repeated, split into pieces."""
    block = b"".join(line(n) for n in range(1000))
    waiting = b""
    for _ in range(rows // 1000):
        waiting += block
        while len(waiting) >= chunk:
            yield waiting[:chunk]
            waiting = waiting[chunk:]
    if waiting:
        yield waiting


def free_port() -> int:
    """An unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
