"""The machine: device, memory, load, versions. Read without torch."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from core import llama
from core.model import Device
from core.settings import Home

PACKAGES = (
    "torch", "transformers", "trl", "peft", "datasets", "unsloth", "bitsandbytes", "llama-cpp-python", "flask",
)  # fmt: skip
_QUERY = "name,memory.total,memory.used,utilization.gpu,compute_cap"


@dataclass(frozen=True)
class Gpu:
    """One reading of ``nvidia-smi``. Memory in bytes, ``load`` in percent."""

    name: str
    memory: int
    used: int
    load: float
    compute: float


class System:
    """Readings of this machine, each cached for a moment.

    Args:
        home: Its disk is measured.
        active: Number of running jobs.
    """

    KEEP = 1.5

    def __init__(self, home: Home, active: Callable[[], int]) -> None:
        self._home = home
        self._active = active
        self._lock = threading.Lock()
        self._gpu: tuple[float, Gpu | None] = (-60.0, None)
        self._smi = shutil.which("nvidia-smi")
        self._mark = (time.monotonic(), _processor_times())
        self._cpu = 0.0

    def device(self) -> Device:
        """The device of a run: the first GPU, else the CPU."""
        gpu = self.gpu()
        if gpu:
            return Device("cuda", gpu.name, gpu.memory, gpu.memory - gpu.used, bf16=gpu.compute >= 8.0)
        memory = psutil.virtual_memory()
        name, bf16 = _processor()
        return Device("cpu", name, memory_limit(memory.total), min(memory.available, memory_limit(memory.total)), bf16)

    def on_gpu(self) -> bool:
        return self.gpu() is not None

    def gpu(self) -> Gpu | None:
        """The first NVIDIA GPU, or None if there is none (or its driver does not respond)."""
        if self._smi is None:
            return None
        with self._lock:
            read_at, gpu = self._gpu
            if time.monotonic() - read_at > self.KEEP:
                gpu = _read_gpu(self._smi)
                self._gpu = (time.monotonic(), gpu)
        return gpu

    def cpu(self) -> float:
        """Percent of all cores in use since the last reading.

        psutil's own function counts from the calling thread's last call, and each request has its own thread.
        """
        with self._lock:
            marked, (busy_before, total_before) = self._mark
            busy, total = _processor_times()
            if time.monotonic() - marked > self.KEEP / 3 and total > total_before:
                self._cpu = round(100 * min(1.0, max(0.0, (busy - busy_before) / (total - total_before))), 1)
                self._mark = (time.monotonic(), (busy, total))
            return self._cpu

    def load(self) -> dict[str, Any]:
        """The payload of ``system_update``: percentages, and bytes in the fields named so."""
        memory = psutil.virtual_memory()
        gpu = self.gpu()
        return {
            "cpu": self.cpu(),
            "memory": memory.percent,
            "memory_used_bytes": memory.total - memory.available,
            "memory_total_bytes": memory.total,
            "gpu_memory": round(100 * gpu.used / gpu.memory, 1) if gpu else None,
            "gpu_memory_used_bytes": gpu.used if gpu else None,
            "gpu_memory_total_bytes": gpu.memory if gpu else None,
            "gpu_utilization": gpu.load if gpu else None,
        }

    def status(self) -> dict[str, Any]:
        """The response of ``GET /api/system/status``."""
        device = self.device()
        disk = shutil.disk_usage(self._home.root)
        return {
            "device": {
                "kind": device.kind,
                "name": device.name,
                "memory_bytes": device.memory,
                "free_bytes": device.free,
                "bf16": device.bf16,
            },
            "load": self.load(),
            "cores": psutil.cpu_count(),
            "disk": {"total_bytes": disk.total, "free_bytes": disk.free},
            "versions": versions(),
            "llama": llama_state(self._home),
            "active_jobs": self._active(),
        }


def llama_state(home: Home) -> dict[str, Any]:
    """Result of the llama.cpp self-test on this machine; ``tested`` is false before the first."""
    outcome = llama.read(home)
    if outcome is None:
        return {"tested": False, "works": None, "extra_buffers": None, "crashes_on": [], "words": llama.NOT_TESTED}
    return {
        "tested": True,
        "works": outcome.works,
        "extra_buffers": outcome.extra_buffers,
        "crashes_on": list(outcome.dead),
        "words": outcome.words(),
    }


def _processor_times() -> tuple[float, float]:
    """Busy and total seconds of all cores together. User time already includes guest time."""
    times = psutil.cpu_times()._asdict()
    total = sum(seconds for name, seconds in times.items() if not name.startswith("guest"))
    return total - times["idle"] - times.get("iowait", 0.0), total


def versions() -> dict[str, str | None]:
    """Installed versions by package; None if a package is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def memory_limit(total: int) -> int:
    """The machine's memory, or a container's lower limit."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limit = Path(path).read_text().strip()
        except OSError:
            continue
        if limit.isdigit():
            return min(total, int(limit))
    return total


def _read_gpu(smi: str) -> Gpu | None:
    try:
        answer = subprocess.run(
            [smi, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=3, check=True,
        )  # fmt: skip
        return parse_gpu(answer.stdout.splitlines()[0])
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return None


def parse_gpu(line: str) -> Gpu:
    """One line of nvidia-smi's CSV. Raises ValueError if it is malformed."""
    name, total, used, load, compute = (part.strip() for part in line.rsplit(",", 4))
    mib = 1024 * 1024
    return Gpu(name, int(total) * mib, int(used) * mib, _gpu_number(load), _gpu_number(compute))


def _gpu_number(text: str) -> float:
    """Some GPUs report '[N/A]' for load."""
    return 0.0 if text.startswith("[") else float(text)


@cache
def _processor() -> tuple[str, bool]:
    """The CPU's name, and whether it computes bfloat16 natively."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "CPU", False
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    return fields.get("model name") or platform.machine() or "CPU", bool(flags & {"amx_bf16", "avx512_bf16"})
