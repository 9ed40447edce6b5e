"""The earlier weights that a run goes on from: ``model.continue_from``.

A reference is found and checked here from files alone, before anything is loaded. The worker then copies what it needs
into the run's own folder (:mod:`core.training.models.start`), so that the earlier run can be deleted afterwards.

============================  ==================================================================
``<run>``                     a run's latest weights: its adapter, or the whole model
``<run>/checkpoint-<step>``   those of one of its checkpoints
a path                        a folder with an adapter, in ``outputs/`` or ``exports/``
============================  ==================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.config import ModelSection, RunConfig, adapter_fields
from core.errors import Conflict, InvalidConfig, InvalidInput, NotFound, TunesmithError
from core.job import check_id
from core.job_dir import JobDir, read_json, step_of
from core.methods import method
from core.model import local_folder, original_name, typed_path
from core.settings import Home
from core.weights import (
    ADAPTER_SETTINGS,
    Weights,
    check_whole,
    checkpoint_of,
    is_whole,
    own_base,
    published,
    published_step,
    weight_files,
)

FIELD = "model.continue_from"
CHECKPOINT = re.compile(r"([^/]+)/checkpoint-(\d+)")
SCORES = ("SEQ_CLS", "ForSequenceClassification")


class Start(BaseModel):
    """``start.json``: what a run went on from.

    Attributes:
        reference: ``model.continue_from``.
        session_id: The earlier run; empty for an adapter of unknown origin.
        name: Its name.
        step: Its step; None if unknown.
        sha256: Of the files with its weights, by name.
        merged: Whether its adapter was merged into the base model.
        own_base: Whether the run has its base model in its own folder.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    reference: str
    session_id: str = ""
    name: str = ""
    step: int | None = None
    sha256: dict[str, str] = {}
    merged: bool = False
    own_base: bool = False


@dataclass(frozen=True)
class Source:
    """Weights to go on from.

    Attributes:
        folder: With the adapter or the whole model.
        base: The base model's name, as in a configuration.
        revision: Of a base on Hugging Face.
        own_base: The base model's folder if it is itself the result of a run, else None.
        run: The run that trained them; None if unknown.
        name: The run's name, or the folder's.
        step: Its step; None if unknown.
        shape: The adapter's settings by the names of the section ``model``; empty for a whole model.
    """

    folder: Path
    base: str
    revision: str | None
    own_base: Path | None
    run: JobDir | None
    name: str
    step: int | None
    shape: dict[str, Any]

    @property
    def whole(self) -> bool:
        """Whether it is a whole model and not an adapter."""
        return is_whole(self.folder)

    @property
    def weights(self) -> Weights:
        """The same as a model to load."""
        if self.whole:
            return Weights(str(self.folder), whole=True)
        return Weights(str(self.own_base or self.base), None if self.own_base else self.revision, self.folder)

    def own(self, model: ModelSection) -> bool:
        """Whether a run with this section that goes on from here needs a base model of its own."""
        return self.whole or model.merge_first or self.own_base is not None


def find(reference: str, home: Home) -> Source:
    """The weights that a reference names, checked to be complete.

    Raises:
        NotFound: There is no such run, checkpoint or folder.
        Conflict: The run has saved nothing.
        Damaged: A file is truncated or overwritten.
        InvalidInput: It is outside ``outputs/`` and ``exports/``, no safetensors, or scores texts.
    """
    try:
        source = (
            _of_path(reference, home) if reference.startswith(("/", "./", "../", "~")) else _of_run(reference, home)
        )
        _check(source)
    except TunesmithError as error:
        error.field = FIELD
        raise
    return source


def checked(config: RunConfig, home: Home) -> tuple[RunConfig, Source | None]:
    """A configuration with the shape of the adapter that it goes on with, and where that is.

    Args:
        config: As given: fields that were set must agree with the adapter.
        home: Location of runs and exports.

    Raises:
        InvalidConfig: The configuration contradicts the earlier run: another base model, or another shape.
        TunesmithError: As :func:`find`.
    """
    model = config.model
    if not model.continue_from:
        return config, None
    source = find(model.continue_from, home)
    if problems := [*_base_problems(model, source, home), *_way_problems(model, source, method(config.method).head)]:
        raise InvalidConfig(problems)
    if source.whole or model.merge_first:
        return config, source
    given = {name for name in model.model_fields_set if name in source.shape}
    wrong = [
        (f"model.{name}", _contradiction(getattr(model, name), source.shape[name]))
        for name in type(model).model_fields
        if name in given and _shown(getattr(model, name)) != _shown(source.shape[name])
    ]
    if wrong:
        raise InvalidConfig(wrong)
    section = type(model).model_validate({**model.model_dump(exclude_unset=True), **source.shape})
    return config.model_copy(update={"model": section}), source


def _of_run(reference: str, home: Home) -> Source:
    named = CHECKPOINT.fullmatch(reference)
    run_id = named[1] if named else reference
    try:
        run = JobDir.open(home.outputs, check_id(run_id))
    except (NotFound, InvalidInput):
        raise NotFound(
            f"There is no run '{run_id}'. Enter a run's ID, <run>/checkpoint-<step>, or an adapter folder in outputs "
            "or exports."
        ) from None
    return _in_run(run, int(named[2]) if named else None)


def _in_run(run: JobDir, step: int | None) -> Source:
    asked = run.whole_config()
    model = (asked.get("config") or {}).get("model") if asked.get("kind") == "train" else None
    if not isinstance(model, dict):
        raise InvalidInput(
            f"'{asked.get('name', run.path.name)}' is not a training run, so there is nothing to continue."
        )
    if step is not None:
        folder: Path | None = checkpoint_of(run, step)
    else:
        folder = published(run)
        step = published_step(run)
    if folder is None:
        raise Conflict("This run has saved no trained weights, so there is nothing to go on from. Resume it first.")
    revision = model.get("revision")
    shape = {} if is_whole(folder) else _shape(model, folder)
    return Source(
        folder, str(model.get("name") or ""), revision if isinstance(revision, str) else None, own_base(run), run,
        str(asked.get("name") or run.path.name), step, shape,
    )  # fmt: skip


def _of_path(reference: str, home: Home) -> Source:
    folder = typed_path(reference, FIELD)
    outputs, exports = home.outputs.resolve(), home.exports.resolve()
    if folder.is_relative_to(outputs) and folder != outputs:
        run = JobDir(home.outputs / folder.relative_to(outputs).parts[0])
        if folder in {run.path.resolve(), run.adapter.resolve(), run.model.resolve()}:
            return _in_run(run, None)
        if folder.parent == run.checkpoints.resolve() and re.fullmatch(r"checkpoint-\d+", folder.name):
            return _in_run(run, step_of(folder))
    elif folder.is_relative_to(exports) and folder.name == "files" and folder.parent.parent == exports:
        return _of_export(folder, JobDir(folder.parent), home)
    raise InvalidInput(
        f"{reference} is not the adapter folder of a run or an export here. A run can only go on from weights in "
        "outputs or exports."
    )


def _of_export(folder: Path, export: JobDir, home: Home) -> Source:
    asked = export.read_config()
    settings = read_json(folder / ADAPTER_SETTINGS)
    if settings is None:
        raise InvalidInput("This export is not an adapter in PEFT's format, so no run can go on from it.")
    session = str(asked.get("session_id") or "")
    try:
        from_run = _in_run(JobDir.open(home.outputs, session), None) if session else None
    except TunesmithError:  # deleted or damaged since: the export is complete by itself
        from_run = None
    base = str(asked.get("base") or (from_run.base if from_run else settings.get("base_model_name_or_path")) or "")
    revision = asked.get("revision") or (from_run.revision if from_run else None)
    return Source(
        folder, base, revision, None, from_run.run if from_run else None, str(asked.get("name") or folder.parent.name),
        asked.get("checkpoint"), _shape({}, folder),
    )  # fmt: skip


def _shape(model: dict[str, Any], folder: Path) -> dict[str, Any]:
    """An adapter's settings by our names: the run's own, else those in PEFT's file."""
    known = {name: model[name] for name in adapter_fields() if name in model}
    if known:
        return known
    found = read_json(folder / ADAPTER_SETTINGS) or {}
    targets = found.get("target_modules")
    targets = sorted(targets) if isinstance(targets, list) else targets
    ours = {
        "lora_rank": found.get("r"), "lora_alpha": found.get("lora_alpha"), "lora_dropout": found.get("lora_dropout"),
        "use_rslora": found.get("use_rslora"), "target_modules": targets,
    }  # fmt: skip
    return {name: value for name, value in ours.items() if value is not None}


def _check(source: Source) -> None:
    files = weight_files(source.folder)
    if not files:
        raise Conflict(f"There are no weights in {source.folder.name} of '{source.name}'. Choose another checkpoint.")
    for file in files:
        check_whole(file)
    settings = read_json(source.folder / ("config.json" if source.whole else ADAPTER_SETTINGS)) or {}
    kinds = [str(settings.get("task_type") or ""), *map(str, settings.get("architectures") or ())]
    if any(kind.endswith(SCORES) for kind in kinds):
        raise InvalidInput(
            f"'{source.name}' was trained to score texts, not to write them, so no run can go on from it. Choose a run "
            "that trained a text model."
        )


def _base_problems(model: ModelSection, source: Source, home: Home) -> list[tuple[str, str]]:
    if _same_model(model.name, source.base, home) and (model.revision or None) == source.revision:
        return []
    which = source.base + (f" in revision {source.revision}" if source.revision else "")
    return [("model.name", f"'{source.name}' was trained on {which}. Use the same model to go on from it")]


def _same_model(one: str, other: str, home: Home) -> bool:
    return original_name(one) == original_name(other) or _real(one, home) == _real(other, home)


def _real(name: str, home: Home) -> str:
    try:
        folder = local_folder(name, home)
    except TunesmithError:
        return name
    return str(folder.resolve()) if folder else name


def _way_problems(model: ModelSection, source: Source, head: str) -> list[tuple[str, str]]:
    if source.whole and model.merge_first:
        return [
            ("model.merge_first", f"'{source.name}' trained every weight, so there is no adapter to merge. Turn it off")
        ]
    if not source.whole and not model.merge_first and model.adapter == "none":
        words = f"'{source.name}' trained an adapter. To train every weight from there, merge it first: set it to true"
        return [("model.merge_first", words)]
    if not source.whole and not model.merge_first and head == "score":
        words = f"'{source.name}' trained an adapter that writes. For a reward model, merge it first: set it to true"
        return [("model.merge_first", words)]
    return []


def _contradiction(wanted: Any, there: Any) -> str:
    return (
        f"is {_shown(there)} in the adapter that this run goes on with, and cannot be {_shown(wanted)}. Remove the "
        "field, or set merge_first for a fresh adapter"
    )


def _shown(value: Any) -> str:
    return ", ".join(sorted(value)) if isinstance(value, list | tuple) else str(value)
