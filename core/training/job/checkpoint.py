"""Checkpoints: folders that are complete or absent.

``checkpoints/warm-up-<step>``  the warm-up was stopped here
``checkpoints/warm-up``         the warm-up is done; its weights are where GRPO starts
``checkpoints/checkpoint-<n>``  after step n: trained weights, optimizer, schedule, random states, data position

Each is written as ``.partial`` and renamed, so that neither kill -9 nor a full disk leaves an incomplete one.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import Unavailable
from core.job_dir import JobDir, remove_checkpoint
from core.training.job.weights import link
from core.weights import ADAPTER_SETTINGS, MODEL_SETTINGS, is_whole, weight_files

WARM_UP = "warm-up"
PARTIAL, OLD = ".partial", ".old"
GENERATION, INDEX = "generation_config.json", "model.safetensors.index.json"
"""Further files of a whole model, if it has them."""
ALMOST_NOTHING = 4 * 1024 * 1024
"""With fewer free bytes than this, a failed write is attributed to the full disk."""

log = logging.getLogger("tunesmith")


@contextmanager
def whole_folder(target: Path, what: str) -> Iterator[Path]:
    """Yield an empty folder to fill; it is renamed to ``target``, or removed on errors.

    Args:
        target: Its final path; an existing folder is replaced.
        what: Its description for messages ('the checkpoint of step 20').

    Raises:
        Unavailable: The disk is full; ``target`` is unchanged.
    """
    partial = target.parent / PARTIAL / target.name
    _clear_up(target.parent)
    try:
        partial.mkdir(parents=True)
        yield partial
        _sync(partial)
        _replace(partial, target)
    except Exception as error:
        if disk_full(error, target.parent):
            raise Unavailable(
                f"The disk is full: {what} could not be written. Everything saved earlier was kept. Free some "
                "space, then resume."
            ) from error
        raise
    finally:
        _clear_up(target.parent)


def disk_full(error: BaseException, folder: Path) -> bool:
    """Whether a failed write is due to a full disk. Must be called before the incomplete file is removed.

    torch reports a short write as a RuntimeError and safetensors as its own error, neither with an errno, so their
    text and the free space are checked.
    """
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return True
    if "No space left" in str(error):
        return True
    if not isinstance(error, OSError | RuntimeError):
        return False
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free < ALMOST_NOTHING


def latest(run: JobDir) -> Path | None:
    """The newest complete GRPO checkpoint, or None."""
    return next(reversed(run.numbered()), None)


def latest_warm_up(run: JobDir) -> Path | None:
    """The newest checkpoint inside the warm-up, or None."""
    return next(reversed(run.numbered(WARM_UP)), None)


def prune(run: JobDir, keep: int) -> None:
    """Delete all but the ``keep`` newest GRPO checkpoints."""
    for old in run.superseded(keep):
        with suppress(Unavailable):  # It is tried again after the next checkpoint.
            remove_checkpoint(old)


def publish(run: JobDir, checkpoint: Path, tokenizer: Any) -> None:
    """Make a checkpoint's weights the run's latest, with the tokenizer, for exports and chats.

    They are another name for the checkpoint's files, which never change, so a whole model takes its space once.
    """
    whole = is_whole(checkpoint)
    names = (MODEL_SETTINGS, GENERATION, INDEX) if whole else (ADAPTER_SETTINGS,)
    with whole_folder(run.model if whole else run.adapter, "the trained model") as folder:
        for file in [*weight_files(checkpoint), *(checkpoint / name for name in names)]:
            if file.is_file():
                link(file, folder / file.name)
        tokenizer.save_pretrained(folder)


def _clear_up(parent: Path) -> None:
    # What ends _replace leaves the old folder: as the only one between the renames, as rubbish after them.
    for old in (parent / PARTIAL).glob(f"*{OLD}"):
        target = parent / old.name.removesuffix(OLD)
        if not target.exists():
            old.rename(target)
    shutil.rmtree(parent / PARTIAL, ignore_errors=True)


def _replace(new: Path, target: Path) -> None:
    # A folder cannot be renamed onto one that is not empty.
    if target.exists():
        target.rename(new.with_name(f"{new.name}{OLD}"))
    new.rename(target)
    _sync_one(target.parent)


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync_one(path)


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
