"""The processes of reward models: which model, its input, and the process that has it.

A process is started by its file's path (see :mod:`core.training.chat.classify`); torch is loaded only there. It is
sent answers in batches with a time limit, and ends after a while without any.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from core.errors import InvalidInput, NotFound
from core.job_dir import JobDir, read_model
from core.methods import method_of
from core.reward import Item
from core.reward_report import RewardReport
from core.settings import PROJECT, Settings
from core.weights import published

ENTRY = PROJECT / "core" / "training" / "__main__.py"
LOADING = 600.0
"""Time limit for the start in seconds: a Hugging Face model may have to be downloaded."""
IDLE = 600.0
"""Seconds after which an idle model is unloaded."""
AGAIN = 60.0
"""Seconds before a failed start is retried; until then its error is repeated."""
_PASSED_ON = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH",
    "HF_HOME", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
    "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip

RUN = "run:"
"""Begins the name of a reward model that was trained here; the run's id follows."""

Form = Literal["auto", "chat", "pair", "answer"]
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Asked:
    """Which model, and its input format."""

    model: str
    revision: str
    form: Form
    max_tokens: int

    @property
    def missing(self) -> str:
        """Why it cannot be used at all."""
        if not self.model:
            return "no model is set"
        if self.model.startswith(RUN):
            return unusable_run(self.model)
        return (
            "" if not self.model.startswith(("/", "~")) or self.folder.is_dir() else f"there is no folder {self.model}"
        )

    @property
    def run(self) -> JobDir | None:
        """The run that trained it; None for another model."""
        return run_of(self.model) if self.model.startswith(RUN) else None

    @property
    def folder(self) -> Path:
        if self.run:
            return published(self.run) or self.run.adapter
        return Path(self.model).expanduser()

    @property
    def stamp(self) -> str:
        """Changes when the weights in a folder do."""
        if not self.model.startswith(("/", "~", RUN)):
            return ""
        files = sorted([*self.folder.glob("*.safetensors"), *self.folder.glob("*.json")])
        return ",".join(f"{file.name}@{file.stat().st_mtime_ns}" for file in files)

    @property
    def request(self) -> dict[str, Any]:
        """The first message to the classifier's process."""
        if self.run:
            return {"run": str(self.run.path), "home": str(Settings.from_env().home.root)}
        model = str(self.folder) if self.folder.is_absolute() else self.model
        return {"model": model, "revision": self.revision, "form": self.form, "max_tokens": self.max_tokens}

    def key(self, item: Item) -> str:
        parts = (self.model, self.revision, self.form, self.max_tokens, self.stamp, *asked_text(item))
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def asked_text(item: Item) -> list[Any]:
    """What the classifier's process is sent for an answer: question, answer, and the conversation if there is one."""
    conversation = item.row.get("conversation")
    return [item.prompt, item.completion, conversation if isinstance(conversation, Mapping) else None]


def run_of(model: str) -> JobDir | None:
    """The directory of a run given as ``run:<id>``; None if there is no such run."""
    try:
        return JobDir.open(Settings.from_env().home.outputs, model.removeprefix(RUN).strip())
    except (InvalidInput, NotFound):
        return None


def unusable_run(model: str) -> str:
    """Why a run given as ``run:<id>`` cannot score answers; '' if it can. Nothing is loaded to find out."""
    run = run_of(model)
    if run is None:
        return f"there is no run {model.removeprefix(RUN)!r:.80}"
    if method_of(run.read_config().get("config") or {}).head != "score":
        return f"the run {run.path.name} has not trained a reward model"
    return "" if published(run) else f"the run {run.path.name} has not saved its reward model yet"


def usual_scores(run: JobDir) -> tuple[float, float]:
    """Mean and standard deviation of a run's scores of its held-out answers; 0 and 1 if they are not known."""
    report = read_model(run.reward_report, RewardReport)
    return (report.mean, report.deviation) if report and report.deviation > 0 else (0.0, 1.0)


@dataclass
class Classifier:
    """One running classifier, used by one thread at a time."""

    asked: Asked
    stamp: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    process: subprocess.Popen[bytes] | None = None
    idle: threading.Timer | None = None
    rest: bytes = b""
    refused: tuple[float, str] = (0.0, "")

    def ask(self, texts: list[list[Any]], timeout: float) -> dict[str, Any]:
        """One batch.

        Raises:
            TimeoutError: It took too long; its process is ended, and the next batch starts another.
            OSError: The process ended, or could not be started.
        """
        with self.lock:
            self._awake()
            try:
                if self.process is None:
                    self._start()
                self._send({"texts": texts})
                return self._answer(timeout)
            except (OSError, TimeoutError, ValueError):
                self._end()
                raise
            finally:
                self._rest()

    def close(self) -> None:
        """End the process."""
        with self.lock:
            self._awake()
            self._end()

    def _start(self) -> None:
        if self.refused[1] and time.monotonic() - self.refused[0] < AGAIN:
            raise ValueError(self.refused[1])
        self.rest = b""
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(ENTRY), "classify"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=_environment(), cwd="/", close_fds=True, start_new_session=True, bufsize=0,
        )  # fmt: skip
        self._send(self.asked.request)
        answer = self._answer(LOADING)
        self.refused = (time.monotonic(), str(answer.get("error", "")))
        if "error" in answer:
            raise ValueError(self.refused[1])

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process  # noqa: S101 - for the type checker: it was just started
        assert self.process.stdin  # noqa: S101 - as above
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    def _answer(self, timeout: float) -> dict[str, Any]:
        assert self.process  # noqa: S101 - as above
        assert self.process.stdout  # noqa: S101 - as above
        fd, deadline = self.process.stdout.fileno(), time.monotonic() + timeout
        while b"\n" not in self.rest:
            if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"it took longer than {timeout:g} seconds and was stopped")
            piece = os.read(fd, 1 << 16)
            if not piece:
                raise OSError("its process ended, possibly because memory ran out")
            self.rest += piece
        line, _, self.rest = self.rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _awake(self) -> None:
        if self.idle:
            self.idle.cancel()

    def _rest(self) -> None:
        self.idle = threading.Timer(IDLE, self.close)
        self.idle.daemon = True
        self.idle.start()


def _environment() -> dict[str, str]:
    """The process's environment: Hugging Face's settings, and none of this server's secrets."""
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    env.setdefault("HF_HOME", str(Settings.from_env().home.cache / "hub"))
    return env | {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


RUNNING: dict[tuple[str, str, str, int], Classifier] = {}


def process_of(asked: Asked) -> Classifier:
    """The classifier's process; restarted if the weights in its folder have changed."""
    key, stamp = (asked.model, asked.revision, asked.form, asked.max_tokens), asked.stamp
    with _LOCK:
        if not RUNNING:
            atexit.register(close_all)
        running = RUNNING.get(key)
        if running is None or running.stamp != stamp:
            RUNNING[key] = Classifier(asked, stamp)
        current = RUNNING[key]
    if running is not None and running is not current:
        running.close()
    return current


def close_all() -> None:
    """End every classifier's process."""
    with _LOCK:
        running = list(RUNNING.values())
        RUNNING.clear()
    for one in running:
        one.close()
