"""Parse requests into models, and record each handler's request and response types for OpenAPI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from core.config import explain
from core.errors import InvalidInput

_View = TypeVar("_View", bound=Callable[..., object])
_Model = TypeVar("_Model", bound=BaseModel)


class Body(BaseModel):
    """Base class of request bodies and query strings. Unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


@dataclass(frozen=True)
class Described:
    """A handler's request and response, as :mod:`routes.openapi` documents them next to its docstring.

    ``answer`` is a type, or a dict from field names to types for an object.
    """

    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: Any = None
    status: int = 200
    content: str = "application/json"


def describes(
    *,
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    answer: Any = None,
    status: int = 200,
    content: str = "application/json",
) -> Callable[[_View], _View]:
    """Attach the description to a handler, which is returned unchanged."""

    def attach(view: _View) -> _View:
        view.described = Described(body, query, answer, status, content)  # type: ignore[attr-defined]
        return view

    return attach


def read_body(model: type[_Model]) -> _Model:
    """Parse the JSON body into a model.

    Raises:
        InvalidInput: The body is not JSON, or a field is unknown, missing or of the wrong type.
    """
    return _read(model, read_json())


def read_json() -> Any:
    """Decode the JSON body. Raises InvalidInput if it is not valid JSON."""
    try:
        return request.get_json()
    except RecursionError:
        raise InvalidInput("Lists or objects are nested too deeply to be read. Send something flatter.") from None
    except (BadRequest, UnsupportedMediaType):
        raise InvalidInput("Send a JSON object with the header Content-Type: application/json.") from None


def read_query(model: type[_Model]) -> _Model:
    """Parse the query string into a model. Raises InvalidInput as :func:`read_body` does."""
    return _read(model, request.args.to_dict())


def _read(model: type[_Model], data: Any) -> _Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        path, words = explain(first)
        if first["type"] == "extra_forbidden":
            raise InvalidInput(
                f"There is no field {path} here. Known: {', '.join(model.model_fields)}.", field=path
            ) from None
        raise InvalidInput(f"{path or 'The request'}: {words}.", field=path or None) from None
