"""A home folder from an earlier version, as stored in ``tests/fixtures/stored``.

``home/`` is the folder without models, cache and secrets; ``catalogue.sql`` is a dump of its database. Where that
version wrote the home folder's path there is :data:`PLACE`, which :func:`unpack` fills in. ``answers.json`` has that
version's API responses by address, and ``draft.json`` the values of its wizard's forms.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

STORED = Path(__file__).parent.parent / "fixtures" / "stored"
PLACE = "/the-home-folder"
"""Placeholder for the path of the home folder."""
SAVED = 1_767_225_600
"""Modification time of every unpacked file, in seconds since the epoch: git stores none."""
BINARY = frozenset({".safetensors", ".pt", ".pth", ".bin", ".zip"})

STEPS = ("model", "dataset", "configuration", "reward", "train")
"""Pages of the wizard whose forms show the draft."""
MOVING = frozenset({"memory_needed", "available", "fits", "free", "memory"})
"""Keys that depend on the machine and time, not on the stored data."""

SAID = frozenset({"headline", "evidence", "advice", "words"})
"""Keys with sentences for users, which later versions may reword."""

BROUGHT = {"/api/models/list": ("base", "groups"), "/api/datasets/list": ("generated",)}
"""What a list contains even in an empty home folder."""
OTHERS = re.compile(r"csrf|^was$|\.was$|^(theme|back|checks)$")
"""Fields of a page that are not part of a draft."""


def unpack(root: Path) -> None:
    """Unpack the stored home into ``root``, a missing or empty folder."""
    shutil.copytree(STORED / "home", root, dirs_exist_ok=True)
    for path in root.rglob("*"):
        if path.is_file() and path.suffix not in BINARY:
            path.write_bytes(path.read_bytes().replace(PLACE.encode(), str(root).encode()))
        os.utime(path, (SAVED, SAVED))
    script = (STORED / "catalogue.sql").read_text("utf-8").replace(PLACE, str(root))
    connection = sqlite3.connect(root / "catalogue.db")
    connection.executescript(script)
    connection.close()


def pack(root: Path) -> None:
    """The inverse: store the home in ``root``, whose server has ended."""
    shutil.rmtree(STORED, ignore_errors=True)
    kept = shutil.ignore_patterns("cache", "logs", "secrets.json", "sessions.json", ".*", "catalogue.db*")
    shutil.copytree(root, STORED / "home", ignore=kept)
    for path in (STORED / "home").rglob("*"):
        if path.is_file() and path.suffix not in BINARY:
            path.write_bytes(path.read_bytes().replace(str(root).encode(), PLACE.encode()))
    connection = sqlite3.connect(root / "catalogue.db")
    script = "\n".join(connection.iterdump())
    connection.close()
    (STORED / "catalogue.sql").write_text(script.replace(str(root), PLACE) + "\n", "utf-8")


def answers(client: FlaskClient, root: Path, addresses: Iterable[str]) -> dict[str, Any]:
    """API responses by address, without what depends on the machine."""
    return {address: _settled(_ours(address, _get(client, address)), str(root)) for address in addresses}


def draft(client: FlaskClient) -> dict[str, dict[str, list[str]]]:
    """The values of the wizard's forms, by page and name."""
    found = {}
    for step in STEPS:
        response = client.get(f"/new/{step}")
        assert response.status_code == 200, response.text
        form = _Form()
        form.feed(response.text)
        found[step] = form.values
    return found


def lost(then: Any, now: Any, path: str = "") -> list[str]:
    """What is missing or different in ``now`` compared with ``then``, one line each; new keys do not count.

    For :data:`SAID`, only presence counts.
    """
    if isinstance(then, dict) and isinstance(now, dict):
        gone = [
            f"{path}/{key} is gone" for key in then if key not in now or (key in SAID and then[key] and not now[key])
        ]
        both = [key for key in then if key in now and key not in SAID]
        return gone + [line for key in both for line in lost(then[key], now[key], f"{path}/{key}")]
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [
            line for place, pair in enumerate(zip(then, now, strict=True)) for line in lost(*pair, f"{path}/{place}")
        ]
    return [] if then == now and type(then) is type(now) else [f"{path} was {then!r:.300} and is {now!r:.300}"]


def _ours(address: str, answer: dict[str, Any]) -> dict[str, Any]:
    if address == "/api/configs/list":
        answer["configs"] = [config for config in answer["configs"] if not config["preset"]]
    return {key: value for key, value in answer.items() if key not in BROUGHT.get(address, ())}


def _get(client: FlaskClient, address: str) -> Any:
    response = client.get(address)
    assert response.status_code == 200, f"{address}: {response.text}"
    return response.get_json()


def _settled(value: Any, root: str) -> Any:
    if isinstance(value, dict):
        return {key: _settled(entry, root) for key, entry in value.items() if key not in MOVING}
    if isinstance(value, list):
        return [_settled(entry, root) for entry in value]
    return value.replace(root, PLACE) if isinstance(value, str) else value


class _Form(HTMLParser):
    """Reads the values of a page's fields, except its token and its original state."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self._select = self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name, value = given.get("name") or "", given.get("value") or ""
        if tag == "select":
            self._select = name
        elif tag == "textarea":
            self._area = name
            self.values.setdefault(name, []).append("")
        elif tag == "option" and "selected" in given:
            self.values.setdefault(self._select, []).append(value)
        elif tag == "input" and name and not self._unset(given):
            self.values.setdefault(name, []).append(value)

    def handle_endtag(self, tag: str) -> None:
        self._area = "" if tag == "textarea" else self._area

    def handle_data(self, data: str) -> None:
        if self._area:
            self.values[self._area][-1] += data

    @staticmethod
    def _unset(given: dict[str, str | None]) -> bool:
        if given.get("type") in {"checkbox", "radio"}:
            return "checked" not in given
        return bool(OTHERS.search(given.get("name") or "")) or given.get("type") in {"submit", "file"}
