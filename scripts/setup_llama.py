"""Compiling llama-cpp-python so that it runs on this processor, and trying it.

The compiler's flags leave AMX out: GCC 12 compiles llama.cpp's AMX kernels so that every quantized file kills the
process (docs/decisions/llama.md). What CMAKE_ARGS, CFLAGS and CXXFLAGS say comes after them and has the last word.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

from setup_checks import c_compiler, compiler
from setup_steps import Console

WITHOUT_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
X86 = ("x86_64", "AMD64")
ENTRY = Path("core", "training", "__main__.py")

Pip = Callable[..., None]


def flags() -> str:
    """What every compilation on this kind of machine is to be made with, where the compiler knows it."""
    return WITHOUT_AMX if platform.machine() in X86 else ""


def inputs() -> tuple[str, ...]:
    """What makes a new compilation due when it changes."""
    return (flags(), *(os.environ.get(name, "") for name in ("CMAKE_ARGS", "CFLAGS", "CXXFLAGS")))


def environment() -> dict[str, str]:
    """CFLAGS and CXXFLAGS for the compilation; a compiler that does not know the flags knows no AMX either."""
    found = {}
    for name, program, language in (("CFLAGS", c_compiler(), "c"), ("CXXFLAGS", compiler(), "c++")):
        if flags() and program and accepts(program, language):
            found[name] = f"{flags()} {os.environ.get(name, '')}".strip()
    return found


def accepts(program: str, language: str) -> bool:
    """Whether a compiler takes the flags without a word."""
    command = [*program.split(), *flags().split(), "-Werror", "-fsyntax-only", "-x", language, os.devnull]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def compile_llama(console: Console, pip: Pip, venv: Path, requirements: Path, *, fresh: bool = False) -> None:
    """Compile llama-cpp-python with the cmake and ninja of the virtual environment, or take a wheel that fits.

    Args:
        console: To run commands with.
        pip: Runs the virtual environment's pip.
        venv: The virtual environment.
        requirements: Where native.txt and build.txt lie.
        fresh: Take no wheel that was compiled before.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    pip(console, "install", "-r", requirements / "build.txt")
    env = environment()
    cached = [] if fresh or os.environ.get("CMAKE_ARGS") else cache(venv, requirements, env)
    # The build tools are pinned and installed above; in an environment of pip's own they would be the newest.
    # What is installed may have been compiled with other flags, which pip does not see.
    options = ["--verbose", "--no-deps", "--no-build-isolation", "--force-reinstall", *(cached or ["--no-cache-dir"])]
    env["PATH"] = f"{venv / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    pip(console, "install", *options, "-r", requirements / "native.txt", env=env)


def cache(venv: Path, requirements: Path, env: dict[str, str]) -> list[str]:
    """Option of pip for a cache of wheels that were compiled with these flags, by this compiler, for this processor.

    pip knows a wheel that it has compiled by source and version alone: one without the flags, or of the processor
    that shares the home folder, would be taken as well. Nothing where pip is told to keep no cache.
    """
    asked = subprocess.run(
        [str(venv / "bin" / "python"), "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=False
    )
    if asked.returncode != 0 or not asked.stdout.strip():
        return []
    digest = hashlib.sha256((requirements / "native.txt").read_bytes() + (requirements / "build.txt").read_bytes())
    for text in (str(sorted(env.items())), version(c_compiler()), version(compiler()), processor()):
        digest.update(text.encode() + b"\0")
    return ["--cache-dir", str(Path(asked.stdout.strip()) / f"tunesmith-{digest.hexdigest()[:16]}")]


def version(program: str | None) -> str:
    """A compiler's own first line."""
    if program is None:
        return ""
    answer = subprocess.run([*program.split(), "--version"], capture_output=True, text=True, check=False)
    return answer.stdout.partition("\n")[0]


def processor() -> str:
    """Which instructions the processor has, as Linux says."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))


def known(python: Path, project: Path) -> bool:
    """Whether it has been tried on this processor as it is compiled now."""
    code = "import sys; sys.path.append(sys.argv[1])\nfrom core import llama\nfrom core.settings import Settings\n"
    code += "sys.exit(llama.read(Settings.from_env().home) is None)"
    try:
        command = [str(python), "-P", "-c", code, str(project)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def try_llama(console: Console, python: Path, project: Path, compile_again: Callable[[], None]) -> None:
    """Try every number format in processes that may die; where some die, compile anew, once, and try again.

    A wheel or a folder that comes from another machine is mended so. What crashes even then is said, and the
    set-up goes on: training works without.

    Args:
        console: To run commands with.
        python: The virtual environment's.
        project: The project folder.
        compile_again: Compiles without any cache.
    """
    command: list[str | Path] = [python, "-P", project / ENTRY, "llama"]
    for last in (False, True):
        try:
            console.run(command)
        except subprocess.CalledProcessError:
            if last:
                console.say(f"  {console.tail[-1] if console.tail else 'llama.cpp crashes on this machine.'}")
                return
            console.say("  it crashes on this processor; recompiling it from source")
            compile_again()
        else:
            return
