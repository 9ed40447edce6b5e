"""The device of this process."""

from __future__ import annotations

import platform
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import torch

from core.model import Device


def this_device() -> Device:
    """The first CUDA GPU, else the CPU."""
    if torch.cuda.is_available():
        free, memory = torch.cuda.mem_get_info()
        return Device("cuda", torch.cuda.get_device_name(), memory, free, torch.cuda.is_bf16_supported())
    memory = psutil.virtual_memory()
    return Device("cpu", platform.processor() or platform.machine(), memory.total, memory.available, _cpu_bf16())


def use_cores(device: Device) -> None:
    """One thread for each physical core: hyper-threads share the units that matrix products need."""
    if device.kind == "cpu":
        torch.set_num_threads(len(psutil.Process().cpu_affinity()) if _pinned() else _physical())


def _physical() -> int:
    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1


def _pinned() -> bool:
    return len(psutil.Process().cpu_affinity()) < _physical()


def _cpu_bf16() -> bool:
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in {"AVX512", "AMX"}:
        return False
    flags = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restore every random generator's state afterwards, so that a resumed run draws the same as the
    uninterrupted one.
    """
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
