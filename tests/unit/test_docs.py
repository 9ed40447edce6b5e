"""The documentation names only what exists: files, commands, settings and endpoints."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import PROJECT

DOCUMENTS = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
MADE = ("cache", "logs", "outputs", "exports", "uploads", "configs", ".venv", ".tools", "static/vendor", "catalogue.db")
"""Created by setup and runs; a document may name paths below these."""
EXTENSIONS = r"py|md|js|css|html|json|txt|yml|toml|svg|sh"
PATH = re.compile(
    rf"^(?:[\w.-]+/)+(?:[\w.-]+\.(?:{EXTENSIONS}))?$|^[\w.-]+\.(?:py|md|toml|yml)$|^(?:Dockerfile|Makefile)$"
)


def spans(document: Path) -> Iterator[str]:
    """Everything between single backticks, outside fenced blocks."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`([^`\n]+)`", text)


def tracked() -> list[str]:
    """Every file of the project that git tracks or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()


def exists(path: str, files: list[str]) -> bool:
    """Whether the path exists, from the project folder or as the end of a longer path."""
    if path.rstrip("/").startswith(MADE) or (PROJECT / path).exists():
        return True
    return any(f"/{file}".endswith(f"/{path}") or f"/{path}" in f"/{file}" for file in files if path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_paths_in_documents_exist(document: Path) -> None:
    """A document names no file or folder that is not in the project."""
    files = tracked()
    missing = [span for span in spans(document) if PATH.match(span) and not exists(span, files)]
    # A run's files are described in core/job_dir.py and exist only once something runs.
    run_files = (PROJECT / "core" / "job_dir.py").read_text(encoding="utf-8")
    assert [path for path in missing if path.split("/")[0] not in run_files] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    """A relative link or image points to an existing file."""
    targets = re.findall(r"\]\((?!https?:|#|mailto:|/)([^)#\s]+)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_links_into_the_app_lead_to_a_page(tmp_path: Path) -> None:
    """A help guide links only to pages that the server has."""
    from core.settings import Home, Settings
    from flask_app import create_app

    Home(tmp_path).make()
    client = create_app(Settings.from_env({"TUNESMITH_HOME": str(tmp_path)})).test_client()
    named = {
        target: document.name
        for document in DOCUMENTS
        for target in re.findall(r"\]\((/[^)\s]*)", document.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    assert {target: name for target, name in named.items() if client.get(target).status_code not in {200, 302}} == {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_make_commands_in_documents_exist(document: Path) -> None:
    """Every `make something` in a document is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^\s*|&& |sudo )make ([a-z][a-z-]*)(?=[\s`]|$)", text, re.MULTILINE))
    assert named - targets == set()


def test_every_make_command_is_listed_by_make_help() -> None:
    """`make` alone lists each command with a description."""
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"^([a-z-]+):(?!.*## )", makefile, re.MULTILINE) == []


def read_by_settings() -> set[str]:
    """Environment variables that core/settings.py reads."""
    source = (PROJECT / "core" / "settings.py").read_text(encoding="utf-8")
    return set(re.findall(r'env\.get\("([A-Z_]+)"', source))


def test_example_settings_are_the_ones_that_are_read() -> None:
    """.env.example has every setting, and none without effect."""
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)) == read_by_settings()


def test_readme_documents_every_setting() -> None:
    """The README's table of settings is complete."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([A-Z_]+)`", readme, re.MULTILINE)) == read_by_settings()


def test_endpoints_in_documents_exist(tmp_path: Path) -> None:
    """Every /api address in a document exists on the server."""
    from core.settings import Settings
    from flask_app import create_app

    app = create_app(Settings.from_env({"TUNESMITH_HOME": str(tmp_path)}))
    addresses = app.url_map.bind("localhost")
    named = {
        address.rstrip("/.")
        for document in DOCUMENTS
        for address in re.findall(r"/api/[\w/<>.:-]+", document.read_text(encoding="utf-8"))
    }
    assert [name for name in sorted(named) if not addresses.allowed_methods(re.sub(r"<[^>]+>", "1", name))] == []


def test_no_registry_is_named() -> None:
    """No file names a package registry's host, so a mirror or proxy is enough to work elsewhere."""
    hosts = re.compile(
        "|".join([r"registry\.npm" + "js", r"pypi\." + "org", r"files\.python" + "hosted", r"download\.py" + "torch"])
    )
    text_files = [PROJECT / file for file in tracked() if (PROJECT / file).suffix not in {".png", ".gguf", ".parquet"}]
    assert [
        str(file.relative_to(PROJECT))
        for file in text_files
        if file.is_file() and hosts.search(file.read_text(encoding="utf-8", errors="replace"))
    ] == []


def test_pinned_requirements_are_exact() -> None:
    """Every package has one exact version, and no list names an index or a URL."""
    for file in (PROJECT / "requirements").glob("*.txt"):
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        assert [line for line in lines if not re.fullmatch(r"[a-z0-9.-]+==[\w.]+", line)] == [], file.name
