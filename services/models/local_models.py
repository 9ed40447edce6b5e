"""Base models that are already on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.errors import TunesmithError
from core.job_dir import read_json
from core.model import BUILTIN_PREFIX, DEMO_MODEL, BaseModelInfo, local_folder
from core.model_hub.files import is_complete
from core.settings import Home
from services.models.families import BASE_MODELS
from services.models.memory import snapshot, weight_bytes
from services.models.support import trainable

MOST_FOLDERS = 10
"""Number of recently used folders that are offered again."""
_BY_NAME = {info.name: info for info in BASE_MODELS}


@dataclass(frozen=True)
class LocalModel:
    """A base model on this machine.

    Attributes:
        info: Its description.
        kind: ``builtin``, ``download`` or ``folder``.
        size: Bytes of its weights.
    """

    info: BaseModelInfo
    kind: str
    size: int


def local_models(home: Home, used: Iterable[str]) -> list[LocalModel]:
    """The built-in model, complete downloads by name, and previously used folders, latest first.

    Args:
        home: Location of downloads and the built-in model.
        used: Names of models used in runs, latest first.
    """
    downloads = sorted((home.cache / "hub" / "hub").glob("models--*/"))
    names = [(folder.name.removeprefix("models--").replace("--", "/", 1)) for folder in downloads]
    found = [_folder(DEMO_MODEL, "builtin", home)]
    found += [_read(name, "download", path) for name in names if (path := snapshot(name, home))]
    paths = [name for name in dict.fromkeys(used) if Path(name).is_absolute()]
    found += [_folder(path, "folder", home) for path in paths[:MOST_FOLDERS]]
    return [model for model in found if model]


def _folder(name: str, kind: str, home: Home) -> LocalModel | None:
    try:
        folder = local_folder(name, home)
    except TunesmithError:  # moved or deleted since
        return None
    return _read(name, kind, folder) if folder and (kind == "builtin" or is_complete(folder)) else None


def _read(name: str, kind: str, folder: Path) -> LocalModel | None:
    """None for anything but a text model, such as a reward or embedding model."""
    config = read_json(folder / "config.json") or {}
    if trainable(str(config.get("model_type") or "")) is False:
        return None
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    info = _BY_NAME.get(name) or BaseModelInfo(
        name=name,
        family="",
        title=name if kind == "download" else Path(name.removeprefix(BUILTIN_PREFIX)).name,
        parameters=weight_bytes(folder, 1) / 1e9,
        licence="",
        gated=False,
        note="",
        architecture=_architecture(config.get("architectures")),
    )
    return LocalModel(info, kind, size)


def _architecture(listed: object) -> str:
    return str(listed[0]) if isinstance(listed, list) and listed else ""
