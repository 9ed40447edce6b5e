"""A run's environment: installed versions, system and hardware. Read without torch."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import re
import time
from pathlib import Path
from typing import Any

import psutil

from core.job_dir import JobDir, read_json, write_json
from core.model import Device
from core.settings import PROJECT

CONVERTER = PROJECT / ".tools" / "convert" / "convert_hf_to_gguf.py"

DECISIVE = (
    "torch", "transformers", "trl", "peft", "accelerate", "tokenizers", "datasets", "numpy", "safetensors",
    "llama-cpp-python", "bitsandbytes", "unsloth", "unsloth-zoo", "vllm", "reasoning-gym", "math-verify", "sympy",
    "jinja2",
)  # fmt: skip
"""Packages whose version can change training results. Others are recorded, and counted if they differ."""


def environment(device: Device | None = None) -> dict[str, Any]:
    """This process's Python, installed packages, system and hardware.

    Args:
        device: The device, if known.

    Returns:
        ``python``, ``platform``, ``machine``, ``packages`` (name: version; llama.cpp comes inside
        ``llama-cpp-python``), ``hardware`` (memory in bytes, physical cores) and ``program``: the hash of this
        program's code for training and data, and whether llama.cpp's converter is installed.
    """
    packages = {_name(found.metadata["Name"]): found.version for found in importlib.metadata.distributions()}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": dict(sorted(packages.items())),
        "program": {"code": _code(), "converter": "installed" if CONVERTER.is_file() else "missing"},
        "hardware": {
            "kind": device.kind if device else "cpu",
            "name": device.name if device and device.kind != "cpu" else _processor(),
            "memory_bytes": device.memory if device else psutil.virtual_memory().total,
            "cores": psutil.cpu_count(logical=False) or psutil.cpu_count(),
        },
    }


def note_environment(run: JobDir, attempt: int, device: Device) -> None:
    """Add this attempt to ``environment.json``: a resumed run may continue with other versions."""
    entry = {"attempt": attempt, "time": time.time(), **environment(device)}
    write_json(
        run.environment, {"attempts": [*(one for one in known_attempts(run) if one["attempt"] != attempt), entry]}
    )


def known_attempts(run: JobDir) -> list[dict[str, Any]]:
    """The attempts in ``environment.json``; empty if it is missing or cannot be read."""
    known = read_json(run.environment) or {}
    found = known.get("attempts")
    return [one for one in found if isinstance(one, dict) and "attempt" in one] if isinstance(found, list) else []


def _code() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for part in ("training", "data") for path in (PROJECT / "core" / part).rglob("*.py")):
        digest.update(f"{path.relative_to(PROJECT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    """The CPU's name, the same for every caller."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _name(name: str) -> str:
    """Normalized as in package indexes: ``llama_cpp_python`` is ``llama-cpp-python``."""
    return re.sub(r"[-_.]+", "-", name).lower()
