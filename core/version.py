"""The version of this program, from ``pyproject.toml``."""

from __future__ import annotations

import tomllib

from core.settings import PROJECT

VERSION = str(tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
