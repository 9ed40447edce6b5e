"""The model served by the OpenAI-compatible API, stored in ``endpoint.json`` in the home folder."""

from __future__ import annotations

import re
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.errors import InvalidInput, NotFound
from core.job_dir import read_json, write_json
from services.models.models import Models

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}")
OFF = "The OpenAI-compatible API is off. Turn it on in the Playground, under 'OpenAI-compatible API'."


@dataclass(frozen=True)
class Served:
    """The served model.

    Attributes:
        on: Whether ``/v1`` answers.
        model_path: The model's reference, resolved again with every request.
        name: Its name for clients.
        since: When it was chosen, in seconds since the epoch.
    """

    on: bool = False
    model_path: str = ""
    name: str = ""
    since: int = 0


class Endpoint:
    """The endpoint's state: off by default, kept across restarts.

    Args:
        path: The file.
        models: Checks whether a model exists.
    """

    def __init__(self, path: Path, models: Models) -> None:
        self._path = path
        self._models = models
        self._lock = threading.Lock()

    @property
    def served(self) -> Served:
        """The current state. An invalid file counts as off."""
        try:
            return Served(**(read_json(self._path) or {}))
        except (ValueError, TypeError):
            return Served()

    def switch_on(self, model_path: str, name: str, *, since: int) -> Served:
        """Serve a model.

        Args:
            model_path: Its reference.
            name: Its name for clients; by default the last part of the reference.
            since: The current time.

        Raises:
            NotFound, InvalidInput, InvalidConfig, Conflict: There is no such model.
        """
        self._models.resolve(model_path)
        name = name.strip() or default_name(model_path)
        if not _NAME.fullmatch(name):
            message = "Use up to 100 letters, digits and . _ : / @ - for the name. Nothing was changed."
            raise InvalidInput(message, field="name")
        return self._keep(Served(True, model_path, name, since))

    def switch_off(self) -> Served:
        """Stop serving; the choice of model is kept."""
        return self._keep(Served(**{**asdict(self.served), "on": False}))

    def chosen(self) -> Served:
        """The served model.

        Raises:
            NotFound: It is switched off.
        """
        served = self.served
        if not served.on:
            raise NotFound(OFF)
        return served

    def model_path(self, name: str) -> str:
        """The reference of the model that a client names.

        Raises:
            NotFound: It is not the served one, or nothing is served.
        """
        served = self.chosen()
        if name not in {served.name, served.model_path}:
            raise NotFound(f"There is no model {name!r} here. This server serves {served.name!r}.", field="model")
        return served.model_path

    def _keep(self, served: Served) -> Served:
        with self._lock:
            write_json(self._path, asdict(served))
        return served


def default_name(model_path: str) -> str:
    """A short name from a reference: ``smollm2-135m-instruct``, ``20261121-101500-abcdef``, ``model-Q4_K_M``."""
    last = model_path.rstrip("/").rpartition("/")[2] or model_path
    plain = re.sub(r"[^A-Za-z0-9._@-]+", "-", last.rpartition(":")[2]).removesuffix(".gguf").strip("-.@_")
    return plain[:100] or "model"


def examples(base_url: str, name: str) -> dict[str, str]:
    """Examples for other programs: ``curl`` and ``python``, ready to copy, without the key."""
    curl = (
        f"curl {base_url}/chat/completions \\\n"
        '  -H "Authorization: Bearer $TUNESMITH_TOKEN" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f'  -d \'{{"model": "{name}", "messages": [{{"role": "user", "content": "Hello"}}]}}\''
    )
    python = (
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{base_url}", api_key="<your access token>")\n'
        "answer = client.chat.completions.create(\n"
        f'    model="{name}", messages=[{{"role": "user", "content": "Hello"}}]\n'
        ")\n"
        "print(answer.choices[0].message.content)"
    )
    return {"curl": curl, "python": python}


def served_view(served: Served, base_url: str, *, key: str) -> dict[str, Any]:
    """The served model, its address, and whether there is a key, for clients and the page."""
    return {**asdict(served), "base_url": base_url, "key": key, **examples(base_url, served.name or "model")}
