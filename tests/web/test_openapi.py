"""The document at /api/openapi.json matches the application."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from core.settings import PROJECT

PROMISED = (
    (  # as in docs/api.md
        """
POST /api/training/start
POST /api/training/stop
POST /api/training/resume
GET /api/training/sessions
GET /api/training/sessions/{session_id}
GET /api/training/sessions/{session_id}/metrics
GET /api/training/sessions/{session_id}/completions
GET /api/training/sessions/{session_id}/logs
DELETE /api/training/sessions/{session_id}
GET /api/metrics
GET /api/datasets/list
POST /api/datasets/upload
POST /api/datasets/preview
DELETE /api/datasets/{id}
GET /api/methods
GET /api/rewards/list
POST /api/rewards/test
GET /api/models/list
POST /api/models/test
POST /api/exports/create
GET /api/exports/list
GET /api/exports/{export_id}
GET /api/exports/{export_id}/download/{file}
POST /api/configs/save
GET /api/configs/load
GET /api/configs/list
DELETE /api/configs/{name}
GET /api/system/status
GET /healthz
"""
    )
    .strip()
    .splitlines()
)


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/openapi.json").get_json()
    return found


def plain(path: str) -> str:
    """A path without its parameters' names."""
    return re.sub(r"\{\w+\}|<(?:\w+:)?\w+>", "{}", path)


def test_every_endpoint_is_in_the_document_and_nothing_else(app: Flask, document: dict[str, Any]) -> None:
    """In both directions, method by method."""
    real = {
        (plain(rule.rule), method)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") or rule.rule == "/healthz"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    written = {(plain(path), method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert written == real


def test_every_endpoint_says_what_it_does(document: dict[str, Any]) -> None:
    """With one sentence each, and a schema for every body."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"].endswith((".", "``.")), (method, path, operation["summary"])


@pytest.mark.parametrize("promise", PROMISED)
def test_promised_endpoints_exist(document: dict[str, Any], promise: str) -> None:
    """The endpoints in docs/api.md exist."""
    method, path = promise.split()
    found = {(plain(known), name) for known, methods in document["paths"].items() for name in methods}
    assert (plain(path), method.lower()) in found
    assert re.sub(r"\{\w+\}", "<", path).split("<")[0] in (PROJECT / "docs" / "api.md").read_text()


def test_the_schemas_are_valid_and_complete(document: dict[str, Any]) -> None:
    """Every reference resolves; RunConfig is the configuration format."""
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    for reference in re.findall(r"#/components/schemas/(\w+)", str(document)):
        assert reference in schemas
    assert {"model", "dataset", "training", "grpo", "reward"} <= set(schemas["RunConfig"]["properties"])
