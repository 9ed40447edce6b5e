"""The table of job kinds."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from core.config import dump, parse
from core.job import JobKind
from core.settings import PROJECT
from services.jobs.database import new_job
from services.jobs.facts import JobFacts
from services.jobs.kinds import KINDS
from tests.conftest import tiny
from tests.support.jobs import Stage

CREATED = "2026-01-01T00:00:00+00:00"


def test_every_kind_has_an_entry() -> None:
    """No two share an event, a page or an id name."""
    assert set(KINDS) == set(JobKind)
    for name in ("event", "address", "id_name", "word"):
        assert len({getattr(kind, name) for kind in KINDS.values()}) == len(KINDS), name


@pytest.mark.parametrize("kind", JobKind)
def test_events_and_pages_use_existing_fields(kind: JobKind) -> None:
    """A misspelled name would fail with the first job of that kind."""
    known = {field.name for field in fields(JobFacts)} | {
        name for name, value in vars(JobFacts).items() if isinstance(value, property)
    }
    assert {*KINDS[kind].told, *KINDS[kind].shown} <= known


@pytest.mark.parametrize("kind", JobKind)
def test_the_events_are_in_the_documentation(kind: JobKind) -> None:
    """API clients listen to them."""
    assert f"`{KINDS[kind].event}`" in (PROJECT / "docs" / "api.md").read_text("utf-8")


def test_a_payload_names_the_id_as_its_kind_does(tmp_path: Path) -> None:
    """Its content matches the documentation."""
    stage = Stage(tmp_path / "home")
    stage.add("one", "export", session_id="r1", error="It broke.")
    assert KINDS[JobKind.EXPORT].payload(stage.job("one").facts()) == {
        "export_id": "one", "session_id": "r1", "name": "one", "status": "queued", "step": 0, "max_steps": 0,
        "message": "", "error": "It broke.", "active": False,
    }  # fmt: skip


def content(kind: JobKind) -> dict[str, Any]:
    """A config.json as written by a start."""
    config = dump(parse(tiny("mine")))
    asked = {"label": "tiny", "model_path": "builtin:tiny", "resolved": {"kind": "transformers", "base": "tiny"}}
    common = {"kind": str(kind), "created_at": CREATED, "name": "mine"}
    contents: dict[JobKind, dict[str, Any]] = {
        JobKind.TRAIN: {**common, "config": config, "given": {}},
        JobKind.PROBE: {**common, "config": config, "given": {}, "prompts": 8, "samples": 4},
        JobKind.EXPORT: {**common, "session_id": "r1", "format": "merged"},
        JobKind.EVALUATION: {**common, "models": [asked], "source": "typed", "dataset": config["dataset"]},
    }
    return contents[kind]


@pytest.mark.parametrize("kind", JobKind)
def test_a_row_is_made_of_config_json_alone(kind: JobKind) -> None:
    """The same for a start and for a rebuild."""
    job = new_job("one", content(kind))
    assert (job.kind, job.name, job.created_at, job.state) == (kind, "mine", CREATED, "queued")
    assert job.config


@pytest.mark.parametrize("kind", JobKind)
def test_a_damaged_config_json_makes_no_row(kind: JobKind) -> None:
    """Missing or mistyped values are refused in one of three ways."""
    whole = content(kind)
    for name in ("kind", "created_at", *({"config"} & {*whole}), *({"models", "format"} & {*whole})):
        with pytest.raises((ValueError, KeyError, TypeError)):
            new_job("one", {key: value for key, value in whole.items() if key != name})
        if name != "created_at":
            with pytest.raises((ValueError, KeyError, TypeError)):
                new_job("one", {**whole, name: 7})
