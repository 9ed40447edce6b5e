"""Brings the earlier weights that a run goes on from into the run's own folder, once, before its model is loaded.

``start/``  an adapter that is trained further, as it was
``base/``   the base model, if it is an earlier run's whole model, or has an earlier run's adapter merged into it

The run then needs nothing of the earlier run, which may be trained further or deleted. Files that are only copied are
second names of the earlier run's files, so they take no space; a merged model takes the space of its weights.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from core.config import RunConfig
from core.errors import InvalidInput
from core.job_dir import JobDir, write_json
from core.model import Device
from core.settings import Home
from core.start import FIELD, Source, Start, checked
from core.training.arguments import dtype_name
from core.training.job import weights
from core.training.job.checkpoint import GENERATION, INDEX, whole_folder
from core.training.job.status import Status
from core.training.models.load import load_base, load_tokenizer, source_of
from core.weights import (
    ADAPTER_SETTINGS,
    ADAPTER_WEIGHTS,
    MODEL_SETTINGS,
    TOKENIZER_FILES,
    tokenizer_folder,
    weight_files,
)

CPU = Device("cpu", "cpu", 0, 0, False)


def prepare(run: JobDir, config: RunConfig, device: Device, home: Home, status: Status) -> None:
    """Copy or merge what ``config.model.continue_from`` names, unless an earlier attempt has.

    Raises:
        TunesmithError: It does not exist, is damaged, or does not fit; see :func:`core.start.checked`.
    """
    if not config.model.continue_from or run.start_facts.is_file():
        return
    _, source = checked(config, home)
    assert source is not None  # noqa: S101 (there is a reference)
    own_base = source.own(config.model)
    if config.model.merge_first:
        status.update(message="Merging the earlier run's adapter into its base model")
        with whole_folder(run.base, "the merged model") as folder:
            _merge(source, folder, dtype_name(config, device), home)
    elif own_base:
        whole = source.folder if source.whole else source.own_base
        assert whole is not None  # noqa: S101 (own() says so)
        with whole_folder(run.base, "the base model") as folder:
            _copy_model(whole, folder)
    if not source.whole and not config.model.merge_first:
        with whole_folder(run.start, "the adapter to go on with") as folder:
            _copy_adapter(source.folder, folder)
    facts = Start(
        reference=config.model.continue_from,
        session_id=source.run.path.name if source.run else "",
        name=source.name,
        step=source.step,
        sha256={file.name: weights.sha256(file) for file in weight_files(source.folder)},
        merged=config.model.merge_first,
        own_base=own_base,
    )
    write_json(run.start_facts, facts.model_dump(mode="json"))


@contextmanager
def for_a_while(run: JobDir) -> Iterator[None]:
    """Remove afterwards what :func:`prepare` made, for a job whose result does not need it."""
    try:
        yield
    finally:
        run.start_facts.unlink(missing_ok=True)
        for folder in (run.start, run.base):
            shutil.rmtree(folder, ignore_errors=True)


def _copy_adapter(source: Path, target: Path) -> None:
    for name in (ADAPTER_SETTINGS, ADAPTER_WEIGHTS):
        weights.link(source / name, target / name)
    _copy_tokenizer(source, target)


def _copy_model(source: Path, target: Path) -> None:
    for file in [*weight_files(source), *(source / name for name in (MODEL_SETTINGS, GENERATION, INDEX))]:
        if file.is_file():
            weights.link(file, target / file.name)
    _copy_tokenizer(source, target)


def _copy_tokenizer(source: Path, target: Path) -> None:
    place = tokenizer_folder(source)
    for name in TOKENIZER_FILES if place else ():
        if place and (place / name).is_file():
            shutil.copy2(place / name, target / name)


def _merge(source: Source, target: Path, dtype: str, home: Home) -> None:
    """Base and adapter in one, computed in float32 and written in the number format that the run loads."""
    start = source.weights
    base = load_base(source_of(start.base, home), start.revision, dtype="float32", device=CPU)
    tokenizer = load_tokenizer(str(tokenizer_folder(source.folder) or source_of(start.base, home)))
    merged = _adapted(base, source).merge_and_unload(safe_merge=True)
    weights.save(merged.to(getattr(torch, dtype)), target)
    tokenizer.save_pretrained(target)
    del base, merged
    gc.collect()


def _adapted(base: Any, source: Source) -> Any:
    try:
        return PeftModel.from_pretrained(base, str(source.folder)).eval()
    except (RuntimeError, ValueError, KeyError) as error:
        raise InvalidInput(
            f"The adapter of '{source.name}' does not fit {source.base}: {str(error).strip().splitlines()[0][:300]} "
            "Check that the model was not changed since.",
            field=FIELD,
        ) from error
