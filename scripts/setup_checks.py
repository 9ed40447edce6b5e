"""Requirements that are checked before anything is installed. Each message names the command that fixes it."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")
SPACE_CPU = 7
SPACE_GPU = 18
"""Gigabytes of a finished setup and pip's cache, rounded up; the GPU option adds the CUDA libraries."""


def problems(project: Path, *, gpu: bool, installed: bool) -> Iterator[str]:
    """Everything that would prevent the setup, each as a sentence with the command that fixes it.

    Args:
        project: The project folder.
        gpu: Whether the CUDA packages are requested.
        installed: Whether an earlier setup finished; then only little more is written.
    """
    if not installed:
        yield from _virtual_environment()
        yield from _compiler()
        yield from _headers()
        yield from _space(project, SPACE_GPU if gpu else SPACE_CPU)
    if gpu and not os.environ.get("BUILDING_IMAGE") and not ctypes.util.find_library("cuda"):
        yield "GPU=1 is set, but the NVIDIA driver was not found. Install it, or leave out GPU=1."
    if not os.access(project, os.W_OK):
        yield f"{project} is not writable. Run this as the user who owns it: ls -ld {project}"


def fitting_python() -> str | None:
    """A compatible Python: this one, else the first working one on PATH."""
    if f"{sys.version_info[0]}.{sys.version_info[1]}" in VERSIONS:
        return sys.executable
    for version in reversed(VERSIONS):
        found = shutil.which(f"python{version}")
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return None


def compiler() -> str | None:
    """The C++ compiler that CMake will use: ``CXX``, else the usual names on PATH."""
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        if name and shutil.which(name.split()[0]):
            return name
    return None


def c_compiler() -> str | None:
    """The C compiler likewise: ``CC``, else the usual names."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        if name and shutil.which(name.split()[0]):
            return name
    return None


def _virtual_environment() -> Iterator[str]:
    test = "import venv, ensurepip"
    if subprocess.run([sys.executable, "-c", test], capture_output=True, check=False).returncode != 0:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        yield f"Python's venv module is missing. Install it: {_apt(f'python{version}-venv')}"


def _compiler() -> Iterator[str]:
    if compiler() is None:
        yield f"No C++ compiler was found, which llama.cpp needs. Install one: {_apt('g++')}"
    elif c_compiler() is None:
        yield f"No C compiler was found, which llama.cpp needs. Install one: {_apt('gcc')}"


def _headers() -> Iterator[str]:
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        yield (
            "Python's header files are missing, which one of the packages needs. "
            f"Install them: {_apt(f'python{version}-dev')}"
        )


def _space(project: Path, gigabytes: int) -> Iterator[str]:
    free = shutil.disk_usage(project).free / 1e9
    if free < gigabytes:
        yield (
            f"Setup needs {gigabytes} GB, but only {free:.1f} GB are free on the disk of {project}. "
            f"See what uses the space: du -xh --max-depth=2 {Path.home()} | sort -h | tail"
        )


def advice() -> Iterator[str]:
    """Recommendations that are not required."""
    if sys.platform == "linux" and shutil.which("bwrap") is None:
        yield (
            "Recommended: install bubblewrap, the strongest sandbox for code that you or a model write: "
            f"{_apt('bubblewrap')}"
        )


def _apt(package: str) -> str:
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get update && {sudo}apt-get install -y {package}"
