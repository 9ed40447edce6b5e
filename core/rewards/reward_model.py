"""A local reward model scores the answer in a separate process: a Hugging Face sequence classifier, or a run's.

The process is started by its file's path (see :mod:`core.training.chat.classify`); torch is loaded only there. Answers
are sent in batches with a time limit, and scores are cached by weights, question and answer. A reward model gives an
opinion; its scores are not checked.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import math
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from core.errors import InvalidInput, NotFound
from core.job_dir import JobDir, read_model
from core.methods import method_of
from core.reward import Item, Markers, Score
from core.reward_report import RewardReport
from core.rewards.info import Param, RewardInfo, one_of
from core.rewards.spending import Spent, charge
from core.settings import PROJECT, Settings

ENTRY = PROJECT / "core" / "training" / "__main__.py"
LOADING = 600.0
"""Time limit for the start in seconds: a Hugging Face model may have to be downloaded."""
IDLE = 600.0
"""Seconds after which an idle model is unloaded."""
AGAIN = 60.0
"""Seconds before a failed start is retried; until then its error is repeated."""
KEPT = 100_000
"""Cached answers; the oldest are evicted first."""
_PASSED_ON = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH",
    "HF_HOME", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
    "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip

RUN = "run:"
"""Begins the name of a reward model that was trained here; the run's id follows."""

Scale = Literal["auto", "sigmoid", "softmax"]
Form = Literal["auto", "chat", "pair", "answer"]


def reward_model(
    items: Sequence[Item],
    *,
    markers: Markers,
    model: str = "",
    revision: str = "",
    form: Form = "auto",
    scale: Scale = "auto",
    label: str = "",
    centre: float = 0.0,
    width: float = 1.0,
    batch: int = 8,
    max_tokens: int = 1024,
    timeout: float = 60,
) -> list[Score]:
    """A sequence classifier's score for the answer, scaled to [0, 1]; 0 with the reason if there is none.

    The model alone decides what is right, wrong or garbage.

    Args:
        model: A folder on this machine, a name from Hugging Face, or ``run:<id>`` for a run that trained a reward model.
            Safetensors only, remote code is never run.
        revision: A branch, tag or commit of a Hugging Face model.
        form: Input format: a ``chat``, a ``pair`` of texts, or only the ``answer``. ``auto`` uses its chat template
            if it has one, else a pair. A run's model always reads answers as in its training.
        scale: ``sigmoid`` of one output, or ``softmax`` over all. ``auto`` goes by their number. With ``auto``, the
            scores of a run are centered and scaled by those of its held-out answers before the sigmoid.
        label: Name or index of the output that means good; empty for the last.
        centre, width: For the sigmoid: the raw score that maps to 0.5, and its distance from the one for 0.73.
        batch: Answers per forward pass.
        max_tokens: Longer texts are truncated at the start.
        timeout: Seconds per batch.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> reward_model([Item("Paris", "Capital?", {})], markers=m, model="/there/is/none")[0]
    Score(value=0.0, why='The reward model returned no score: there is no folder /there/is/none.')
    """
    asked = _Asked(model.strip(), revision.strip(), form, max_tokens)
    if asked.missing:
        charge(Spent(failed=len(items)))
        return [Score(0.0, f"The reward model returned no score: {asked.missing}.")] * len(items)
    keys = [asked.key(item) for item in items]
    with _LOCK:
        found: dict[str, Outputs | str] = {key: _CACHE[key] for key in keys if key in _CACHE}
    wanted = {key: item for key, item in zip(keys, items, strict=True) if key not in found}
    tokens = 0
    for start in range(0, len(wanted), batch):
        part = list(wanted)[start : start + batch]
        judged, used = _judged(asked, [wanted[key] for key in part], timeout)
        found |= zip(part, judged, strict=True)
        tokens += used
    _remember({key: value for key in wanted if not isinstance(value := found[key], str)})
    failed = sum(isinstance(found[key], str) for key in wanted)
    charge(Spent(len(wanted) - failed, len(items) - len(wanted), failed, tokens))
    if asked.run and scale == "auto" and (centre, width) == (0.0, 1.0):
        centre, width = usual_scores(asked.run)
    return [_score(found[key], scale, label, centre, width) for key in keys]


@dataclass(frozen=True)
class Outputs:
    """The classifier's output for one answer: a number for each label."""

    values: tuple[float, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class _Asked:
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
            return self.run.adapter
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


def scored_by(session_id: str) -> dict[str, Any]:
    """A component of a reward: the reward model that a run has trained."""
    return {"name": "reward_model", "params": {"model": f"{RUN}{session_id}"}}


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
    return "" if run.adapter.is_dir() else f"the run {run.path.name} has not saved its reward model yet"


def usual_scores(run: JobDir) -> tuple[float, float]:
    """Mean and standard deviation of a run's scores of its held-out answers; 0 and 1 if they are not known."""
    report = read_model(run.reward_report, RewardReport)
    return (report.mean, report.deviation) if report and report.deviation > 0 else (0.0, 1.0)


_CACHE: dict[str, Outputs] = {}
_LOCK = threading.Lock()


def _remember(outputs: dict[str, Any]) -> None:
    with _LOCK:
        _CACHE.update(outputs)
        while len(_CACHE) > KEPT:
            _CACHE.pop(next(iter(_CACHE)))


def _judged(asked: _Asked, items: Sequence[Item], timeout: float) -> tuple[list[Outputs | str], int]:
    """The classifier's outputs for one batch and the tokens it read, or an error for each answer."""
    try:
        answer = _process(asked).ask([asked_text(item) for item in items], timeout)
        if "error" in answer:
            return [str(answer["error"])] * len(items), 0
        labels = tuple(map(str, answer["labels"]))
        return [Outputs(tuple(map(float, row)), labels) for row in answer["outputs"]], int(answer["tokens"])
    except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
        return [str(error) or type(error).__name__] * len(items), 0


def _score(found: Outputs | str, scale: Scale, label: str, centre: float, width: float) -> Score:
    if isinstance(found, str):
        return Score(0.0, f"The reward model returned no score: {found[:300].rstrip('.')}.")
    if not found.values or not all(map(math.isfinite, found.values)):
        return Score(0.0, "The reward model returned no score: its output is not a number.")
    place = _place(found.labels, label)
    if place is None:
        known = ", ".join(found.labels[:20])
        return Score(0.0, f"The reward model returned no score: it has no label {label!r:.60}; its labels are {known}.")
    raw, name = found.values[place], found.labels[place]
    if scale == "softmax" or (scale == "auto" and len(found.values) > 1):
        most = max(found.values)
        powers = [math.exp(value - most) for value in found.values]
        return Score(
            powers[place] / math.fsum(powers),
            f"The reward model is {powers[place] / math.fsum(powers):.0%} confident in “{name}”.",
        )
    return Score(_sigmoid((raw - centre) / width), f"The reward model's raw score is {raw:.4g}.")


def _place(labels: Sequence[str], label: str) -> int | None:
    label = label.strip()
    if not label:
        return len(labels) - 1
    lowered = [one.casefold() for one in labels]
    if label.casefold() in lowered:
        return lowered.index(label.casefold())
    return int(label) if label.isdigit() and int(label) < len(labels) else None


def _sigmoid(value: float) -> float:
    """Without overflow.

    >>> _sigmoid(0), _sigmoid(-1e6), _sigmoid(1e6)
    (0.5, 0.0, 1.0)
    """
    if value < 0:
        power = math.exp(max(value, -745.0)) if value > -745 else 0.0
        return power / (1 + power)
    return 1 / (1 + math.exp(-min(value, 745.0)))


@dataclass
class _Classifier:
    """One running classifier, used by one thread at a time."""

    asked: _Asked
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


_RUNNING: dict[tuple[str, str, str, int], _Classifier] = {}


def _process(asked: _Asked) -> _Classifier:
    """The classifier's process; restarted if the weights in its folder have changed."""
    key, stamp = (asked.model, asked.revision, asked.form, asked.max_tokens), asked.stamp
    with _LOCK:
        if not _RUNNING:
            atexit.register(close_all)
        running = _RUNNING.get(key)
        if running is None or running.stamp != stamp:
            _RUNNING[key] = _Classifier(asked, stamp)
        current = _RUNNING[key]
    if running is not None and running is not current:
        running.close()
    return current


def close_all() -> None:
    """End every classifier's process."""
    with _LOCK:
        running = list(_RUNNING.values())
        _RUNNING.clear()
    for one in running:
        one.close()


def _check(params: dict[str, Any]) -> tuple[str, str] | None:
    if not params["model"].strip():
        return (
            "model",
            "name the model: one of your runs as run:<id>, a folder on this machine, or owner/name as on Hugging Face",
        )
    return None


_FORMS = (
    ("auto", "Chat template if it has one, otherwise a pair of question and answer"),
    ("chat", "Chat template"),
    ("pair", "Pair of question and answer"),
    ("answer", "Answer only"),
)
_SCALES = (
    ("auto", "One output: sigmoid; several: softmax; of a run: compared with its held-out answers"),
    ("sigmoid", "Sigmoid of one output"),
    ("softmax", "Softmax over all outputs"),
)
INFOS = (
    RewardInfo(
        "reward_model",
        "Reward model",
        "A model that was trained to score answers: one of your own runs, or a sequence classifier from Hugging Face. It runs on this machine. Safetensors only; code from its repository is never run. Its scores are opinions, which can be wrong or manipulated.",
        False,
        (),
        (
            Param("model", "text", "", "Model", "One of your runs (run: and its ID), a local folder, or owner/name on Hugging Face.", maximum=500, suggests="reward_runs"),
            Param("revision", "text", "", "Revision", "Branch, tag, or commit on Hugging Face. Default: the latest.", maximum=200),
            Param("form", "choice", "auto", "Input format", "Use the format the model was trained with; see its model card.", _FORMS),
            Param("scale", "choice", "auto", "Score from output", "Maps the model's output to a score from 0 to 1.", _SCALES),
            Param("label", "text", "", "Positive label", "Name or number. Default: the last label.", maximum=200),
            Param("centre", "number", 0.0, "Center", "Raw output that scores 0.5, for the sigmoid.", minimum=-1e6, maximum=1e6),
            Param("width", "number", 1.0, "Width", "For the sigmoid: an output this far above the center scores 0.73.", minimum=1e-6, maximum=1e6),
            Param("batch", "integer", 8, "Batch size", "Answers per forward pass. Larger is faster and needs more memory.", minimum=1, maximum=1024),
            Param("max_tokens", "integer", 1024, "Maximum tokens", "Longer texts are cut off at the start.", minimum=16, maximum=131_072),
            Param("timeout", "number", 60, "Timeout", "Seconds per batch. Loading the model has a separate limit of 10 minutes.", minimum=0.1, maximum=3600),
        ),
        one_of(reward_model),
        batch=reward_model,
        family="Judges",
        check=_check,
    ),
)  # fmt: skip
