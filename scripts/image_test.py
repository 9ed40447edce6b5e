"""Build the container image and try it, on a machine without a container engine: ``make image-test``.

debootstrap makes a minimal Debian, buildah builds the Dockerfile on it for a CPU, starts the server
in it, and this script requests its health check and its first page. Needs root, Debian's ``buildah``
and ``debootstrap``, about 15 GB of disk, and 15 minutes on 2 idle cores.

This machine's pip and npm configuration and its certificates are passed to the build as read-only mounts, so that it
reaches the same packages; only empty mount points stay in the image.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BASE, IMAGE = "localhost/tunesmith-base", "localhost/tunesmith-test"
PORT = 5055
STARTS_WITHIN = 90
"""Seconds for the first start in the image; the files are read from a cold disk."""
ENV = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}


class Answer(NamedTuple):
    """The server's response to one request."""

    status: int
    url: str
    body: str


def main() -> None:
    """Make the base, build the image, run the server in it, and test it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="bookworm", help="the Debian release of the base")
    parser.add_argument("--mirror", default="", help="Debian mirror; default: debootstrap's own")
    parser.add_argument("--keep", action="store_true", help="keep the image")
    options = parser.parse_args()
    check_tools()
    with tempfile.TemporaryDirectory(prefix="tunesmith-image-") as folder:
        scratch = Path(folder)
        try:
            make_base(scratch, options.suite, options.mirror)
            build(scratch)
            try_server()
            try_llama()
        finally:
            clean_up(keep=options.keep)
    print("The image builds, starts as an ordinary user and answers.")


def check_tools() -> None:
    """Report immediately what is missing.

    Raises:
        SystemExit: Not root, or a tool is missing.
    """
    if os.geteuid() != 0:
        raise SystemExit("debootstrap needs root. Start again with: sudo make image-test")
    missing = [tool for tool in ("buildah", "debootstrap") if not shutil.which(tool)]
    if missing:
        raise SystemExit(f"Missing: {' and '.join(missing)}. Install: apt-get install -y {' '.join(missing)}")


def make_base(scratch: Path, suite: str, mirror: str) -> None:
    """A minimal Debian image."""
    root = scratch / "root"
    with step("Making a minimal Debian (debootstrap)"):
        extra = [mirror] if mirror else []
        run(["debootstrap", "--variant=minbase", "--include=ca-certificates", suite, str(root), *extra], quiet=True)
    with step("Turning it into an image"):
        container = buildah("from", "scratch").strip()
        buildah("add", "--quiet", container, str(root), "/")
        buildah("commit", "--quiet", container, BASE)
        buildah("rm", container)
        shutil.rmtree(root)


def build(scratch: Path) -> None:
    """Build the Dockerfile for a CPU on that base."""
    with step("Building the Dockerfile (llama.cpp is compiled once more)"):
        arguments = [
            "--build-arg",
            f"BASE={BASE}",
            "--build-arg",
            "GPU=0",
            "--pull-never",
            "--format",
            "docker",
            "--tag",
            IMAGE,
        ]
        run(["buildah", "bud", *loans(scratch), *arguments, str(PROJECT)])


def loans(scratch: Path) -> list[str]:
    """``--volume`` options for this machine's certificates, pip and npm configuration, and what they name."""
    config = pip_configuration()
    (scratch / "pip.conf").write_text(config, encoding="utf-8")
    paths = {Path(found) for found in re.findall(r"(?:^|\s|file://)(/[^\s:]+)", config)}
    # A folder given as file:///a/simple lists files next to it, so its parent is mounted.
    shared = {path.parent if path.name == "simple" else path for path in paths if path.exists()}
    mounts = {str(path): str(path) for path in shared | {CERTIFICATES} if path.exists()}
    mounts["/etc/pip.conf"] = str(scratch / "pip.conf")
    npm = Path.home() / ".npmrc"
    text = npm.read_text(encoding="utf-8") if npm.is_file() else ""
    (scratch / "npmrc").write_text(f"{text}\ncafile={CERTIFICATES}\n", encoding="utf-8")
    mounts["/root/.npmrc"] = str(scratch / "npmrc")
    return [part for inside, outside in mounts.items() for part in ("--volume", f"{outside}:{inside}:ro")]


def pip_configuration() -> str:
    """The configuration of pip here, from files and environment, as one file."""
    config = configparser.RawConfigParser()
    config.add_section("global")
    listing = run([sys.executable, "-m", "pip", "config", "list"], quiet=True)
    for name, value in re.findall(r"^(?:global|user|:env:)\.([\w.-]+)='(.*)'$", listing, re.MULTILINE):
        config.set("global", name.removeprefix("."), value)
    lines = [f"{name} = {value}" for name, value in config.items("global")]
    return "[global]\n" + "\n".join(lines) + "\n"


def try_server() -> None:
    """Run the server in the image as its own user; request the health check and the first page.

    Raises:
        SystemExit: A response is not as expected.
    """
    container = buildah("from", "--pull-never", IMAGE).strip()
    command = ["buildah", "run", "--env", f"PORT={PORT}", container, "--", "python", "flask_app.py"]
    with step("Starting the server in the image"):
        server = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            health = ask("/healthz", server)
            page = ask("/", server)
        finally:
            server.terminate()
            output = server.communicate(timeout=30)[0]
            buildah("rm", container)
    print(f"  /healthz {health.status}: {health.body.strip()[:80]}")
    title = re.search(r"<title>(.*?)</title>", page.body, re.DOTALL)
    print(f"  /        {page.status} at {page.url}: {title.group(1).strip() if title else 'no title'}")
    if health.status != 200 or page.status not in (200, 401) or "/login" not in page.url + page.body:
        raise SystemExit(f"The server in the image does not answer as it should. It printed:\n{output[-3000:]}")


def try_llama() -> None:
    """Test llama.cpp as the image's own user, as on its first use on this CPU.

    Raises:
        SystemExit: It crashes.
    """
    container = buildah("from", "--pull-never", IMAGE).strip()
    with step("Testing llama.cpp in the image"):
        try:
            found = buildah("run", container, "--", "python", "-P", "core/training/__main__.py", "llama")
        finally:
            buildah("rm", container)
    print(f"  {found.strip().splitlines()[-1]}")


def ask(path: str, server: subprocess.Popen[str]) -> Answer:
    """GET a page from the server, once it responds.

    Raises:
        SystemExit: It ended, or did not respond in time.
    """
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=5) as reply:
                return Answer(reply.status, reply.url, reply.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.url, error.read().decode())
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"The server in the image did not answer {path} within {STARTS_WITHIN} seconds.")


def clean_up(*, keep: bool) -> None:
    """Remove leftover images and containers."""
    if keep:
        return
    for image in (IMAGE, BASE):
        subprocess.run(["buildah", "rmi", "--force", image], env=ENV, capture_output=True, check=False)


def buildah(*arguments: str) -> str:
    """Run buildah and return what it printed."""
    return run(["buildah", *arguments], quiet=True)


def run(command: list[str], *, quiet: bool = False) -> str:
    """Run a command; with ``quiet`` its output is returned, and shown only on failure.

    Raises:
        SystemExit: It failed.
    """
    answer = subprocess.run(command, env=ENV, check=False, text=True, stdout=subprocess.PIPE if quiet else None)
    if answer.returncode != 0:
        raise SystemExit(f"{answer.stdout or ''}\n{' '.join(command[:3])} failed; its message is above.")
    return answer.stdout or ""


class step:  # noqa: N801 - reads as a statement: with step("…")
    """Print the current step and how long it took."""

    def __init__(self, title: str) -> None:
        self.title = title

    def __enter__(self) -> None:
        print(f"- {self.title}", flush=True)
        self.started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        print(f"  {time.monotonic() - self.started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
