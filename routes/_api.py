"""Reading a request into a model, and writing down for OpenAPI what a handler takes and answers."""

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
    """Base of request bodies and queries: an unknown field is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


@dataclass(frozen=True)
class Described:
    """What :mod:`routes.openapi` shows of a handler beside its docstring.

    ``answer`` is a type, or the types of an object's fields by name.
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
    """Attach the description to a handler; the handler itself stays as it is."""

    def attach(view: _View) -> _View:
        view.described = Described(body, query, answer, status, content)  # type: ignore[attr-defined]
        return view

    return attach


def read_body(model: type[_Model]) -> _Model:
    """The JSON body as a model.

    Raises:
        InvalidInput: It is not JSON, or a field is unknown, missing or of the wrong type.
    """
    return _read(model, read_json())


def read_json() -> Any:
    """The decoded JSON body. Raises InvalidInput where it is none."""
    try:
        return request.get_json()
    except RecursionError:
        raise InvalidInput("Lists or objects are nested too deeply to be read. Send something flatter.") from None
    except (BadRequest, UnsupportedMediaType):
        raise InvalidInput("Send a JSON object with the header Content-Type: application/json.") from None


def read_query(model: type[_Model]) -> _Model:
    """The query string as a model. Raises InvalidInput as :func:`read_body` does."""
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
