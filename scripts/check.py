"""Run everything that CI runs: linters, types, import contracts, JavaScript's tests, container files, then the tests.

Every check runs, even after one has failed; pytest runs last, so that its summary ends the output. Up to three failed
tests are retried once, and the first failure is printed (docs/decisions/second-try.md). Arguments go to pytest:
``make test ARGS="-m 'not browser' -x"``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from setup_node import find_node

PROJECT = Path(__file__).resolve().parent.parent
TOOLS = PROJECT / ".tools"
LINT = ".tools/lint/node_modules"
BIN = Path(sys.executable).parent
SIDE_BY_SIDE = ["--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder"]
"""Two pytest processes, one file at a time in folder order: the long ones come first."""
ALL = ([*SIDE_BY_SIDE, "-m", "not timed"], ["-m", "timed"])
"""Timing tests come last, alone: two cores may be two halves of one."""
SECOND_TRY = ["--reruns=1", "--max-suite-reruns=3", "--rerun-show-tracebacks"]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

SCRIPTS = ["static/js", "tests/js", *(file.name for file in sorted(PROJECT.glob("*.config.js")))]
STYLES = "static/css/*.css"
NODE_TEST = [
    "--disable-warning=ExperimentalWarning",
    "--import=./tests/js/support/setup.js",
    "--test-reporter=spec",
    "--test",
    *(f"tests/js/{file.name}" for file in sorted((PROJECT / "tests" / "js").glob("*.test.js"))),
]
"""The fake clock is experimental in Node.js 20; 24 has it without a warning."""

CHECKS: dict[str, list[str]] = {
    "Lint (ruff)": ["ruff", "check", "."],
    "Formatting (ruff format)": ["ruff", "format", "--check", "--quiet", "."],
    "Types (mypy, strict)": ["mypy"],
    "Import contracts (import-linter)": ["lint-imports", "--no-logo"],
    "Templates (djlint)": ["djlint", "--lint", "--quiet", "templates"],
    "JavaScript (eslint)": ["node", f"{LINT}/eslint/bin/eslint.js", *SCRIPTS],
    "JavaScript formatting (prettier)": ["node", f"{LINT}/prettier/bin/prettier.cjs", "--check", *SCRIPTS],
    "CSS (stylelint)": ["node", f"{LINT}/stylelint/bin/stylelint.mjs", f"--config-basedir={TOOLS / 'lint'}", STYLES],
    "JavaScript tests (node --test)": ["node", *NODE_TEST],
    "Dockerfile (hadolint)": ["hadolint", "Dockerfile"],
    "Compose files (check-jsonschema)": [
        "check-jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yml",
        "docker-compose.gpu.yml",
    ],
}


def main(arguments: list[str]) -> int:
    """Run the checks and then pytest; the exit status is 0 if all passed."""
    os.chdir(PROJECT)
    ensure_chromium()
    offer_go()
    failed = [name for name, command in CHECKS.items() if not passes(name, command)]
    if failed:
        print(f"\nFAILED so far: {', '.join(failed)}. See above. Running the tests anyway.", flush=True)
    # Explicit arguments choose the tests; the -m options would conflict with them.
    for part in [[*SIDE_BY_SIDE, *arguments]] if arguments else ALL:
        print(f"\n== Tests (pytest {' '.join(part)})", flush=True)
        command = [sys.executable, "-m", "pytest", "--durations=10", *SECOND_TRY, *part]
        if subprocess.run(command, check=False).returncode:
            failed.append("pytest")
    return int(bool(failed))


def passes(name: str, command: list[str]) -> bool:
    """Run one check, with a program of the virtual environment or Node.js, and print its time."""
    print(f"\n== {name}", flush=True)
    program = find_node(TOOLS) if command[0] == "node" else BIN / command[0]
    if program is None or not program.is_file():
        print(f"   FAILED: {command[0]} is not installed. Install it: python3 scripts/setup.py --test")
        return False
    started = time.monotonic()
    status = subprocess.run([str(program), *command[1:]], check=False).returncode
    print(f"   {'passed' if status == 0 else 'FAILED'} in {time.monotonic() - started:.1f} s", flush=True)
    return status == 0


def ensure_chromium() -> None:
    """The browser tests use Debian's Chromium; install it if that needs no password.

    Raises:
        SystemExit: It is missing and cannot be installed here.
    """
    if any(shutil.which(name) for name in CHROMIUM):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit("The browser tests need Chromium. Install it: sudo apt-get install -y chromium")
    print("Installing Chromium for the browser tests (apt-get install chromium)", flush=True)
    if not installed("chromium"):
        raise SystemExit(
            "Chromium could not be installed because apt-get failed. Run apt-get install chromium, then try again."
        )


def offer_go() -> None:
    """A test renders Ollama's templates with Go; it is skipped if Go cannot be installed."""
    if shutil.which("go") or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print("Installing Go for the Ollama template tests (apt-get install golang-go)", flush=True)
    installed("golang-go")


def installed(package: str) -> bool:
    """Install a Debian package; returns whether that worked."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    steps = (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", package])
    return all(not subprocess.run(step, env=quiet, stdout=subprocess.DEVNULL, check=False).returncode for step in steps)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
