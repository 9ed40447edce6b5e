"""``/api/openapi.json``: the API's OpenAPI document, generated from the code."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from core.config import RunConfig
from routes._api import Described, describes

bp = Blueprint("openapi", __name__)

_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")
_REF = "#/components/schemas/{model}"


@bp.get("/api/openapi.json")
@describes(answer=dict)
def openapi() -> Response:
    """Return this OpenAPI document."""
    return jsonify(document(current_app))


def document(app: Flask) -> dict[str, Any]:
    """Build an application's OpenAPI 3.1 document."""
    found = list(_endpoints(app))
    models = {model for _, _, view in found for model in _models(_described(view))} | {RunConfig}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, collected = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    schemas = collected.get("$defs", {})
    paths: dict[str, Any] = {}
    for rule, method, view in found:
        path = _PARAMETER.sub(r"{\2}", rule.rule)
        paths.setdefault(path, {})[method.lower()] = _operation(rule, view, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tunesmith",
            "version": _version(),
            "description": "Everything the web pages can do. See docs/api.md for Socket.IO events and examples.",
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string", "description": "What happened and how to fix it."},
                "field": {"type": "string", "description": "Path of the invalid field."},
                "problems": {
                    "type": "array",
                    "items": {"type": "object"},
                    "description": "All problems found in a configuration.",
                },
            },
        }
    },
}


def _endpoints(app: Flask) -> Iterator[tuple[Rule, str, Callable[..., Any]]]:
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if rule.rule.startswith("/api/") or rule.rule == "/healthz":
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method, app.view_functions[rule.endpoint]


def _described(view: Callable[..., Any]) -> Described:
    described: Described = getattr(view, "described", Described())
    return described


def _models(described: Described) -> list[type[BaseModel]]:
    return [model for model in (described.body, described.query) if model is not None]


def _operation(rule: Rule, view: Callable[..., Any], schemas: dict[str, Any]) -> dict[str, Any]:
    described = _described(view)
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for _, name in _PARAMETER.findall(rule.rule)
    ]
    failure = {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}}
    operation: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": (view.__doc__ or "").strip().partition("\n")[0],
        "parameters": [*in_path, *_query(described.query)],
        "responses": {
            str(described.status): _answer(described, schemas),
            "default": {"description": "Error", "content": failure},
        },
    }
    if described.body:
        schema = {"$ref": _REF.format(model=described.body.__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    elif getattr(view, "accepts_uploads", False):
        form = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    return operation


def _query(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=_REF)
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": field}
        for name, field in schema["properties"].items()
    ]


def _answer(described: Described, schemas: dict[str, Any]) -> dict[str, Any]:
    if described.status == 204:
        return {"description": "Success, without content"}
    schema = _answer_schema(described, schemas)
    return {"description": "Success", "content": {described.content: {"schema": schema}}}


def _answer_schema(described: Described, schemas: dict[str, Any]) -> dict[str, Any]:
    answer = described.answer
    if isinstance(answer, dict):
        properties = {name: _schema(kind, schemas) for name, kind in answer.items()}
        return {"type": "object", "required": list(answer), "properties": properties}
    return _schema(answer if answer is not None else str, schemas)


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a type's JSON schema, and add the models it refers to to ``schemas``."""
    schema = TypeAdapter(kind).json_schema(ref_template=_REF)
    schemas.update(schema.pop("$defs", {}))
    return schema


def _version() -> str:
    try:
        return importlib.metadata.version("tunesmith")
    except importlib.metadata.PackageNotFoundError:
        return "0.1.0"
