"""Checks disk space and memory before an export loads or writes anything."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import psutil

from core.errors import Unavailable
from core.export import BITS, UNREDUCED, ExportFormat, ExportSpec
from core.training.fidelity.check import BYTES, POSITIONS

SPARE = 256 * 1024 * 1024
"""Bytes of disk space to leave free."""
LIBRARIES = 1536 * 1024 * 1024
"""Bytes of memory for libraries and the activations of one answer."""


class Space(NamedTuple):
    """Bytes at an export's peak."""

    disk: int
    memory: int


def needed(spec: ExportSpec, parameters: int, vocabulary: int, *, whole: bool = False) -> Space:
    """Peak disk and memory of an export.

    Args:
        spec: What is created.
        parameters: Parameters of the base.
        vocabulary: Its size: the check stores probabilities for each token.
        whole: Whether every weight was trained: the check then loads the model before and after training.
    """
    check = 3 * min(BYTES, 2 * POSITIONS * vocabulary)
    memory = (8 if whole else 4) * parameters + LIBRARIES
    if spec.format == ExportFormat.BUNDLE:
        return Space(SPARE, 0)
    if spec.format == ExportFormat.ADAPTER:
        return Space(check + SPARE, memory)
    if spec.format == ExportFormat.ADAPTER_GGUF:
        return Space(4 * parameters + check + SPARE, memory)
    if spec.format == ExportFormat.MERGED:
        # The check loads the written model after everything else was released.
        return Space(2 * parameters + check + SPARE, memory)
    files = sum(BITS[kind] * parameters // 8 for kind in spec.quantizations)
    source = 0 if all(kind in UNREDUCED for kind in spec.quantizations) else 2 * parameters
    # The merged 32-bit model is released before the first smaller file is made.
    unreduced = sum(BITS[kind] * parameters // 8 for kind in spec.quantizations if kind in UNREDUCED)
    return Space(max(4 * parameters + unreduced + source, files + source) + check + SPARE, memory)


def check(space: Space, folder: Path, *, memory: int | None = None) -> None:
    """Raise if there is not enough.

    Args:
        space: From :func:`needed`.
        folder: Destination.
        memory: Free bytes; by default those of the machine.

    Raises:
        Unavailable: With the figures.
    """
    disk = shutil.disk_usage(folder).free
    if disk < space.disk:
        raise Unavailable(
            f"Not enough disk space: this export needs about {_gb(space.disk)}, and {_gb(disk)} are free. "
            "Free up some space and try again. Nothing was written."
        )
    free = free_memory() if memory is None else memory
    if free < space.memory:
        raise Unavailable(
            f"Not enough memory: this export needs about {_gb(space.memory)}, with the model in 32 bits, and "
            f"{_gb(free)} are free. Close other programs, or use a machine with more memory. Nothing was "
            "written."
        )


def free_memory() -> int:
    """Bytes that a process can still allocate, within a container's limit."""
    free = psutil.virtual_memory().available
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        most, now = _read_int(limit), _read_int(used)
        if most is not None and now is not None:
            return min(free, most - now + _cached())
    return free


def _cached() -> int:
    """Reclaimable file cache that counts as a container's memory use."""
    try:
        lines = Path("/sys/fs/cgroup/memory.stat").read_text("utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.split()[0] in {"inactive_file", "active_file"})


def _read_int(path: str) -> int | None:
    try:
        text = Path(path).read_text("utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
