"""Compiles llama-cpp-python so that it runs on this CPU, and tests it.

The compiler flags exclude AMX: GCC 12 compiles llama.cpp's AMX kernels so that every quantized file crashes the
process (docs/decisions/llama.md). CMAKE_ARGS, CFLAGS and CXXFLAGS come after them and take precedence.
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
    """Flags for every compilation on this kind of machine, if the compiler knows them."""
    return WITHOUT_AMX if platform.machine() in X86 else ""


def inputs() -> tuple[str, ...]:
    """Inputs whose change requires a new compilation."""
    return (flags(), *(os.environ.get(name, "") for name in ("CMAKE_ARGS", "CFLAGS", "CXXFLAGS")))


def environment() -> dict[str, str]:
    """CFLAGS and CXXFLAGS for the compilation; a compiler that does not know the flags has no AMX either."""
    found = {}
    for name, program, language in (("CFLAGS", c_compiler(), "c"), ("CXXFLAGS", compiler(), "c++")):
        if flags() and program and accepts(program, language):
            found[name] = f"{flags()} {os.environ.get(name, '')}".strip()
    return found


def accepts(program: str, language: str) -> bool:
    """Whether a compiler accepts the flags without warnings."""
    command = [*program.split(), *flags().split(), "-Werror", "-fsyntax-only", "-x", language, os.devnull]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def compile_llama(console: Console, pip: Pip, venv: Path, requirements: Path, *, fresh: bool = False) -> None:
    """Compile llama-cpp-python with the cmake and ninja of the virtual environment, or use a matching wheel.

    Args:
        console: Runs commands.
        pip: Runs the virtual environment's pip.
        venv: The virtual environment.
        requirements: Folder with native.txt and build.txt.
        fresh: Use no previously compiled wheel.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    pip(console, "install", "-r", requirements / "build.txt")
    env = environment()
    cached = [] if fresh or os.environ.get("CMAKE_ARGS") else cache(venv, requirements, env)
    # The build tools are pinned and installed above; in pip's build environment they would be the newest.
    # The installed package may have been compiled with other flags, which pip does not know.
    options = ["--verbose", "--no-deps", "--no-build-isolation", "--force-reinstall", *(cached or ["--no-cache-dir"])]
    env["PATH"] = f"{venv / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    pip(console, "install", *options, "-r", requirements / "native.txt", env=env)


def cache(venv: Path, requirements: Path, env: dict[str, str]) -> list[str]:
    """Option of pip for a cache of wheels compiled with these flags, this compiler and for this CPU.

    pip identifies a compiled wheel only by source and version: one without the flags, or for another CPU
    that shares the home folder, would also be used. Empty if pip's cache is disabled.
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
    """The first line of a compiler's version."""
    if program is None:
        return ""
    answer = subprocess.run([*program.split(), "--version"], capture_output=True, text=True, check=False)
    return answer.stdout.partition("\n")[0]


def processor() -> str:
    """The CPU's instruction sets, from Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))


def known(python: Path, project: Path) -> bool:
    """Whether the current build has been tested on this CPU."""
    code = "import sys; sys.path.append(sys.argv[1])\nfrom core import llama\nfrom core.settings import Settings\n"
    code += "sys.exit(llama.read(Settings.from_env().home) is None)"
    try:
        command = [str(python), "-P", "-c", code, str(project)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def try_llama(console: Console, python: Path, project: Path, compile_again: Callable[[], None]) -> None:
    """Test every number format in processes that may crash; if some do, recompile once and test again.

    This fixes a wheel or folder from another machine. Remaining crashes are reported, and the
    setup continues: training works without it.

    Args:
        console: Runs commands.
        python: The virtual environment's Python.
        project: The project folder.
        compile_again: Compiles without cache.
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
