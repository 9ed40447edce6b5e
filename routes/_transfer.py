"""Compress responses where that is safe, and cache static files for a year under a versioned URL.

docs/decisions/compression.md explains which requests are compressed.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, request

LEAST = 1024
"""Minimum size in bytes. Compressing less than this does not save a packet."""
TYPES = frozenset(
    {
        "text/html", "text/css", "text/javascript", "text/plain", "text/csv",
        "application/javascript", "application/json", "image/svg+xml",
    }
)  # fmt: skip
"""Text formats. Weights, images and archives are already compressed, and event streams must not be buffered."""
YEAR = 365 * 24 * 3600


def install(app: Flask) -> None:
    """Serve static files under a URL that changes with their content, and compress responses."""
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
    """Hash a folder's content into a short version string."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:10]


def cache_static(response: Response) -> Response:
    """Cache files under the current version for a year. Old and unversioned URLs are revalidated each time."""
    if request.endpoint == "static" and response.status_code == 200 and g.get("current_static"):
        response.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable"
    return response


def compress(response: Response) -> Response:
    """Gzip a text response if the client accepts it and no other site could have requested it."""
    if response.mimetype not in TYPES or "Content-Encoding" in response.headers or response.status_code in {206, 304}:
        return response
    static = request.endpoint == "static"
    # A streamed response may be gigabytes, or never end.
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
        response.set_etag(tag, weak=True)  # same content, different bytes
    return response


def _only_ours() -> bool:
    """Whether no other site can have caused this request with the user's cookies (BREACH)."""
    site = request.headers.get("Sec-Fetch-Site")
    return site in {"same-origin", "none"} if site else "Cookie" not in request.headers


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


@lru_cache(maxsize=128)
def _packed_once(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)
