"""Starts and stops workers. A small interface, implemented here for this machine.

Only a launcher knows what a worker is. It returns a :data:`Handle`, which callers store and pass back.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NewType, Protocol

import psutil

from core.child import HUB_TOKEN, JUDGE_KEY
from core.job import JobStatus
from core.job_dir import JobDir, read_json
from core.process import Identity, boot, find, identify, of_this_boot
from core.settings import PROJECT, Settings
from services.jobs.secrets import needed
from services.machine.preferences import hub_token

ENTRY = PROJECT / "core" / "training" / "__main__.py"

_PASSED_ON = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH",
    "HF_HUB_OFFLINE", "HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT",
    "TUNESMITH_WEAK_SANDBOX",  # whether a user accepted the weaker sandbox
)  # fmt: skip


JOB = "TUNESMITH_JOB"
"""Environment variable with the job's directory, set for its worker and the worker's children."""

Handle = NewType("Handle", str)
"""Identifies a worker that a launcher started or found: text that can be stored and that only the launcher parses."""
NO_WORKER = Handle("")
LOCAL = "local"
"""Name of this machine's launcher."""

_LOOKS, _UNTIL_NEXT_LOOK = 20, 0.05
"""Retries, and seconds between them, for a process whose environment is not readable yet."""


class Launcher(Protocol):
    """Interface to a place where workers run, as used by the watcher.

    A handle may be stale: of a worker that ended long ago or, if the database is from another version or
    machine, meaningless. It then stands for a worker that is gone.

    Attributes:
        slots: Number of jobs that may run there at a time.
    """

    slots: int

    def start(self, job: JobDir) -> Handle:
        """Start the worker of a job's directory. Raises OSError if that fails."""
        ...

    def find(self, job: JobDir) -> Handle | None:
        """The running worker of a directory, whichever server started it."""
        ...

    def alive(self, worker: Handle, job: JobDir) -> bool: ...

    def wrote(self, worker: Handle, status: JobStatus) -> bool:
        """Whether a status was written by this worker and not by an earlier one of the same job."""
        ...

    def exit_code(self, worker: Handle) -> int | None:
        """Its exit code, negative for a signal; None if unknown."""
        ...

    def end(self, worker: Handle, job: JobDir, *, force: bool) -> None:
        """Ask the worker to stop (SIGTERM), or with ``force`` kill it and its children (SIGKILL)."""
        ...

    def sweep(self, worker: Handle, job: JobDir) -> None:
        """Kill the remaining children of a worker that disappeared, and no other processes."""
        ...


def handle_of(process: Identity) -> Handle:
    """The handle of a process on this machine."""
    return Handle(json.dumps({"pid": process.pid, "started": process.started, "boot": process.boot}))


def process_of(worker: Handle) -> Identity:
    """The process on this machine that a handle stands for; id 0, which no process has, if there is none."""
    try:
        known = json.loads(worker)
        return Identity(int(known["pid"]), float(known["started"]), str(known["boot"]))
    except (ValueError, KeyError, TypeError):
        return Identity(0, 0.0)


def author(status: JobStatus) -> Handle:
    """The process that wrote a status, if it was on this machine."""
    return handle_of(Identity(status.pid, status.pid_started, status.boot))


def worker_env(
    settings: Settings, secrets: Collection[str], environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of a worker: an allowlist, so that it gets no secrets of the server.

    Args:
        settings: For folders and Hugging Face's address.
        secrets: Which of :data:`core.child.SECRETS` it needs.
        environ: The server's environment.
    """
    environ = os.environ if environ is None else environ
    env = {name: environ[name] for name in _PASSED_ON if name in environ}
    env |= {
        "TUNESMITH_HOME": str(settings.home.root),
        "HF_HOME": str(settings.home.cache / "hub"),
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if HUB_TOKEN in secrets and (token := hub_token(settings)):
        env[HUB_TOKEN] = token
    if JUDGE_KEY in environ and JUDGE_KEY in secrets:
        env[JUDGE_KEY] = environ[JUDGE_KEY]
    if settings.hf_endpoint:
        env["HF_ENDPOINT"] = settings.hf_endpoint
    return env


class LocalLauncher:
    """Runs workers on this machine, each in its own session and process group.

    A worker outlives the server: neither Ctrl+C in the terminal nor the server's end affects it.

    Args:
        settings: For the worker's environment.
        entry: The worker's script, called with ``job <directory>``.
    """

    slots = 1
    """The device, and usually the memory, suffices for one."""

    def __init__(self, settings: Settings, entry: Path = ENTRY) -> None:
        self._settings = settings
        self._entry = entry
        self._children: dict[Handle, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def start(self, job: JobDir) -> Handle:
        command = [sys.executable, "-P", str(self._entry), "job", str(job.path)]
        with job.log.open("ab") as log:
            child = subprocess.Popen(
                command,
                cwd=self._settings.home.root,
                env={
                    **worker_env(self._settings, needed(read_json(job.config) or {}, self._settings.home)),
                    JOB: str(job.path),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        worker = handle_of(identify(child.pid))
        with self._lock:
            self._children[worker] = child
        return worker

    def find(self, job: JobDir) -> Handle | None:
        for process in psutil.process_iter():
            try:
                if _works_at(process, job):
                    return handle_of(Identity(process.pid, process.create_time(), boot()))
            except psutil.Error:
                continue
        return None

    def alive(self, worker: Handle, job: JobDir) -> bool:
        return self._process(worker, job) is not None

    def wrote(self, worker: Handle, status: JobStatus) -> bool:
        # Does not compare start times, which the system may report differently after a clock change. The boot is
        # missing
        # in files of older versions.
        process = process_of(worker)
        return status.pid == process.pid and (status.boot or process.boot) in {"", process.boot}

    def exit_code(self, worker: Handle) -> int | None:
        child = self._child(worker)
        return child.poll() if child else None

    def end(self, worker: Handle, job: JobDir, *, force: bool) -> None:
        process = self._process(worker, job)
        if process is None:
            return
        try:
            if force and os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, signal.SIGKILL)
            elif force:
                process.kill()
            else:
                process.terminate()
        except (ProcessLookupError, PermissionError, psutil.Error):
            return

    def sweep(self, worker: Handle, job: JobDir) -> None:
        # While a process group has members, its id is not reused. But once all of ours have ended,
        # another program may have got the id and left a group without a leader, so each process is checked.
        leader = process_of(worker)
        if not of_this_boot(leader) or psutil.pid_exists(leader.pid):
            return
        for _ in range(_LOOKS):
            owners = [_job_of(process) for process in psutil.process_iter() if _in_group(process, leader.pid)]
            if str(job.path) in owners:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(leader.pid, signal.SIGKILL)
                return
            if None not in owners:
                return
            time.sleep(_UNTIL_NEXT_LOOK)

    def _child(self, worker: Handle) -> subprocess.Popen[bytes] | None:
        with self._lock:
            return self._children.get(worker)

    def _process(self, worker: Handle, job: JobDir) -> psutil.Process | None:
        """The worker, if it still exists and is the same one."""
        known = process_of(worker)
        try:
            if child := self._child(worker):
                # A worker whose main thread has ended looks like a zombie while other threads still hold the memory.
                return psutil.Process(known.pid) if child.poll() is None else None
            # A clock change during a run shifts start times: then the command line decides. It
            # also does if the boot of the process id was not recorded.
            if known.boot and (process := find(known)):
                return process
            process = psutil.Process(known.pid) if of_this_boot(known) else None
            return process if process and _works_at(process, job) else None
        except psutil.Error:
            return None


def _works_at(process: psutil.Process, job: JobDir) -> bool:
    return process.status() != psutil.STATUS_ZOMBIE and process.cmdline()[-2:] == ["job", str(job.path)]


def _in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group
    except OSError:
        return False


def _job_of(process: psutil.Process) -> str | None:
    """The directory of a process's job, '' for none; None if it cannot be determined yet.

    A process's environment is not readable at first, while it still loads its program.
    """
    try:
        environ = process.environ()
        if not environ and process.status() != psutil.STATUS_ZOMBIE:
            return None
        return environ.get(JOB, "")
    except psutil.Error:
        return ""
