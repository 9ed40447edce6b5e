"""How responses travel: compressed where that is safe, static files cached for a year under a versioned address.

Why compression is limited to some requests is in docs/decisions/compression.md.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, request

LEAST = 1024
"""Bytes below which compression does not save a packet."""
TYPES = frozenset(
    {
        "text/html", "text/css", "text/javascript", "text/plain", "text/csv",
        "application/javascript", "application/json", "image/svg+xml",
    }
)  # fmt: skip
"""Text. Weights, pictures and archives are compressed already, and event streams must not wait in a buffer."""
YEAR = 365 * 24 * 3600


def install(app: Flask) -> None:
    """Give static files an address that changes with their content, and compress responses."""
    version = content_version(Path(str(app.static_folder)))
    # In the path, not the query string, so that a module's relative imports carry it too.
    app.add_url_rule("/static/v-<version>/<path:filename>", endpoint="static")

    @app.url_defaults
    def add_version(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values.setdefault("version", version)

    @app.url_value_preprocessor
    def take_version(endpoint: str | None, values: dict[str, Any] | None) -> None:
        if endpoint == "static" and values is not None:
            g.current_static = values.pop("version", None) == version

    app.after_request(cache_static)
    app.after_request(compress)  # runs first: Flask calls these in reverse order


def content_version(folder: Path) -> str:
    """A short name for what a folder holds now; another content has another name."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:10]


def cache_static(response: Response) -> Response:
    """A versioned address is never asked for again; an old or unversioned one is checked each time."""
    if request.endpoint == "static" and response.status_code == 200 and g.get("current_static"):
        response.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable"
    return response


def compress(response: Response) -> Response:
    """Gzip a text response where the client takes it and no other site could have asked for it."""
    if response.mimetype not in TYPES or "Content-Encoding" in response.headers or response.status_code in {206, 304}:
        return response
    static = request.endpoint == "static"
    # What a view streams or sends from a file may be gigabytes, or never end.
    if response.is_streamed and not static:
        return response
    response.vary.add("Accept-Encoding")
    if not request.accept_encodings["gzip"] or not (static or _only_ours()):
        return response
    response.direct_passthrough = False
    data = response.get_data()
    if len(data) < LEAST:
        return response
    response.set_data(_packed_once(data) if static else _packed(data))
    response.headers["Content-Encoding"] = "gzip"
    tag, _ = response.get_etag()
    if tag:
        response.set_etag(tag, weak=True)  # the same content in other bytes
    return response


def _only_ours() -> bool:
    """Whether no other site's page can have caused this request with the person's cookies (BREACH)."""
    site = request.headers.get("Sec-Fetch-Site")
    return site in {"same-origin", "none"} if site else "Cookie" not in request.headers


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


@lru_cache(maxsize=128)
def _packed_once(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)
