"""What a run has trained, and on which base: an adapter, or a whole model.

The only place that knows the difference in a run's directory. Whoever loads a run's model, for an export, a chat, an
evaluation or another run, asks here and loads ``base``, then ``adapter`` if there is one.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Conflict, Damaged, NotFound
from core.job_dir import JobDir, read_json, read_model, step_of
from core.kept import Kept

ADAPTER_SETTINGS = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
MODEL_SETTINGS = "config.json"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "vocab.json", "merges.txt", "tokenizer.model",
)  # fmt: skip
START = "start"
"""In place of a checkpoint's step: the model that a run started from."""
LONGEST_HEADER = 100_000_000
"""Bytes of a safetensors header; the format's limit."""
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of one value by safetensors' dtypes."""


@dataclass(frozen=True)
class Weights:
    """A model to load.

    Attributes:
        base: A folder's path, or a base model's name as in a configuration.
        revision: Of a base on Hugging Face.
        adapter: The adapter's folder; None for a whole model.
        whole: Whether every weight was trained: ``base`` is then the result itself.
    """

    base: str
    revision: str | None = None
    adapter: Path | None = None
    whole: bool = False

    @property
    def folder(self) -> Path:
        """What was trained: the adapter's folder, or the whole model's."""
        return self.adapter or Path(self.base)


def is_whole(folder: Path) -> bool:
    """Whether a folder has a whole model and not an adapter."""
    return (folder / MODEL_SETTINGS).is_file()


def published(run: JobDir) -> Path | None:
    """A run's latest trained weights: ``adapter/`` or ``model/``; None before the first checkpoint."""
    return next((folder for folder in (run.adapter, run.model) if folder.is_dir()), None)


def published_step(run: JobDir) -> int | None:
    """The step of a run's latest trained weights: the best evaluation's if it keeps that; None if unknown."""
    kept, status = read_model(run.kept, Kept), run.read_status()
    if kept and kept.published:
        return kept.step
    return status.checkpoint_step if status else None


def checkpoint_of(run: JobDir, step: int) -> Path:
    """The folder of one checkpoint.

    Raises:
        NotFound: It does not exist, because it was never saved or is superseded.
    """
    found = run.numbered()
    path = next((path for path in found if step_of(path) == step), None)
    if path is None:
        kept = ", ".join(str(step_of(path)) for path in found) or "none"
        raise NotFound(f"There is no checkpoint at step {step}. Saved steps: {kept}.", field="checkpoint")
    return path


def own_base(run: JobDir) -> Path | None:
    """The base model of a run that went on from an earlier run's whole model; None for a base model by name.

    Raises:
        Damaged: It was deleted from the run's folder.
    """
    facts = read_json(run.start_facts) or {}
    if not facts.get("own_base"):
        return None
    if not is_whole(run.base):
        raise Damaged(
            "This run's base model is missing from its folder: it was deleted there. Start a new run from the earlier "
            "run, or from the base model."
        )
    return run.base


def start_of(run: JobDir, model: dict[str, Any]) -> Weights:
    """The model that a run started from: the base model, or the result of the run that it went on from.

    Args:
        run: Its directory.
        model: The section ``model`` of its configuration.
    """
    base, adapter = own_base(run), run.start if run.start.is_dir() else None
    if base:
        return Weights(str(base), adapter=adapter)
    revision = model.get("revision")
    return Weights(str(model.get("name") or ""), revision if isinstance(revision, str) else None, adapter)


def trained_by(run: JobDir, model: dict[str, Any], step: int | None = None) -> Weights:
    """The model that a run has trained.

    Args:
        run: Its directory.
        model: The section ``model`` of its configuration.
        step: Of a checkpoint; None for the latest weights.

    Raises:
        NotFound: There is no such checkpoint.
        Conflict: Nothing has been saved yet.
    """
    if step is not None:
        folder: Path | None = checkpoint_of(run, step)
    else:
        folder = published(run) or next(reversed(run.numbered()), None)
    if folder is None:
        raise Conflict("This run has no trained model yet. The first one is saved with the first checkpoint.")
    if folder == run.model or is_whole(folder):
        return Weights(str(folder), whole=True)
    start = start_of(run, model)
    return Weights(start.base, start.revision, folder)


def tokenizer_folder(folder: Path) -> Path | None:
    """Where the tokenizer of trained weights is: beside them, or beside a run's published ones; None if nowhere."""
    places = [folder]
    if folder.parent.name == "checkpoints":
        run = JobDir(folder.parent.parent)
        places += [run.adapter, run.model]
    return next((place for place in places if (place / "tokenizer_config.json").is_file()), None)


def weight_files(folder: Path) -> list[Path]:
    """The files with the weights of an adapter or a whole model."""
    if is_whole(folder):
        return sorted(folder.glob("model*.safetensors"))
    return [path for path in (folder / ADAPTER_WEIGHTS,) if path.is_file()]


def check_whole(file: Path) -> None:
    """Check that a safetensors file is complete, from its header, without reading its weights.

    Raises:
        Damaged: It is truncated, overwritten, or no safetensors file.
    """
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > LONGEST_HEADER:
                raise ValueError("The header is longer than the format allows.")
            header = json.loads(opened.read(length))
        header.pop("__metadata__", None)
        ends = [int(entry["data_offsets"][1]) for entry in header.values()]
        sound = all(
            math.prod(entry["shape"]) * BYTES.get(entry["dtype"], 1)
            <= entry["data_offsets"][1] - entry["data_offsets"][0]
            for entry in header.values()
        )
        if not ends or not sound or file.stat().st_size != 8 + length + max(ends):
            raise ValueError("The file has another length than its header says.")
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise Damaged(f"{file.name} is damaged and cannot be used: {error}") from None


def stamp(folder: Path) -> str:
    """``@`` and the time at which a model's folder was last written, for telling its versions apart; '' for a name.

    A running run replaces its whole model with each checkpoint, under the same name.
    """
    try:
        times = [file.stat().st_mtime_ns for file in weight_files(folder)] if folder.is_absolute() else []
    except OSError:
        return ""
    return f"@{max(times)}" if times else ""
