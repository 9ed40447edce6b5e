"""Rendered pages are valid HTML: html-validate sees what the template linter cannot."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from flask import Flask
from setup_node import find_node

from core.settings import PROJECT, Home
from tests.browser import sample
from tests.conftest import Browser

VALIDATE = PROJECT / ".tools" / "lint" / "node_modules" / "html-validate" / "bin" / "html-validate.mjs"


def test_every_page_is_valid_html(app: Flask, home: Home, tmp_path: Path) -> None:
    """With runs, an export, an evaluation and every step of the wizard, in one call."""
    node = find_node(PROJECT / ".tools")
    assert node, "Node.js is missing: python3 scripts/setup.py --test"
    assert VALIDATE.is_file(), "html-validate is missing: python3 scripts/setup.py --test"
    sample.fill(home.root)
    app.test_cli_runner().invoke(args=["rebuild"])
    browser = Browser(app)
    folder = tmp_path / "html"
    folder.mkdir()
    for path in sample.PAGES:
        answer = browser.get(path)
        assert answer.status_code == 200, path
        (folder / f"{re.sub(r'[^a-z0-9]+', '-', path.strip('/')) or 'home'}.html").write_text(
            answer.text, encoding="utf-8"
        )
    command = [str(node), str(VALIDATE), "--config", str(PROJECT / "html-validate.config.js"), str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
