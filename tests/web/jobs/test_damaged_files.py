"""Ten thousand damaged files: no server error, no job that waits forever, no loss for other jobs."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.config import dump, parse
from core.data.store import IndexWriter
from core.dataset import FieldGuess, UploadInfo
from core.evaluation import Answered, EvaluationSpec, RunEvaluation, paired_report
from core.job import JobState
from core.job_dir import JobDir, JsonlWriter, write_json
from core.probe import Figures, judge
from core.settings import Home, Settings
from core.text import json_line
from flask_app import create_app
from services.container import Services
from services.jobs.database import Database
from services.jobs.rebuild import rebuild
from tests.conftest import TINY
from tests.support.damage import DAMAGES, OFTEN, PaperLauncher

CASES = 10_000
"""A case is one file of one job, damaged in one way at one place."""
EACH = 12
"""Jobs of each kind per home folder."""
CONFIG = dump(parse(TINY))
ANSWER = {
    "text": "2", "tokens": 1, "cut_off": False, "total": 1.0, "advantage": 0.5,
    "components": {"numeric": {"score": 1.0, "weight": 1.0, "why": "right"}},
}  # fmt: skip
GROUP = {"attempt": 1, "instruction": "1 + 1", "prompt": "1 + 1", "reference": "2", "completions": [ANSWER]}
FIGURES = Figures(2, 2, 0.5, 0.5, 0.0, 0.5, 1.0, 0.5, 0.5, 1.0, 0.0)
RIGHT = Answered("1 + 1", "2", "2", 1.0, {"numeric": 1.0}, True)
WRONG = Answered("1 + 1", "2", "3", 0.0, {"numeric": 0.0}, False)
REPORT = paired_report([(WRONG, RIGHT)] * 6, first="before", second="after")
SPEC = EvaluationSpec.model_validate({
    "name": "compared", "source": "typed", "dataset": {"source": "none"}, "best": 1.0,
    "created_at": "2026-01-01T00:00:00+00:00",
    "models": [{"label": name, "model_path": name, "resolved": {}} for name in ("one", "two")],
})  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of job or dataset: its folder, and the addresses to check.

    Attributes:
        parent: The parent folder, relative to the home folder.
        looks: Addresses, its page first; ``{}`` stands for the id.
    """

    parent: str
    looks: tuple[str, ...]


RUN = "/api/training/sessions/{}"
KINDS = {
    "run": Kind("outputs", (
        "/runs/{}", RUN, f"{RUN}/metrics?points=10", f"{RUN}/completions", f"{RUN}/logs", f"{RUN}/evaluation",
    )),
    "active": Kind("outputs", ("/runs/{}?phase=evaluation", f"{RUN}/metrics", f"{RUN}/completions?step=1")),
    "queued": Kind("outputs", ("/runs/{}", RUN)),
    "export": Kind("exports", ("/exports/{}", "/api/exports/{}", "/api/exports/{}/deliveries", "/api/exports/{}/logs")),
    "probe": Kind("outputs", ("/probe/{}", "/api/probe/{}", "/api/probe/{}/completions")),
    "evaluation": Kind("outputs", (
        "/evaluations/{}", "/api/evaluations/{}", "/api/evaluations/{}/results", "/api/evaluations/{}/results.csv",
    )),
    "dataset": Kind("uploads", ("/datasets/{}", "/api/datasets/{}", "/api/datasets/{}/rows?offset=3&limit=5")),
    "arriving": Kind("uploads", ("/api/datasets/jobs/{}",)),
}  # fmt: skip
LISTS = (
    "/", "/runs", "/exports", "/evaluations", "/evaluations/new", "/datasets", "/new/dataset", "/new/train",
    "/settings", "/playground", "/api/training/sessions", "/api/exports/list", "/api/evaluations/list",
    "/api/datasets/list", "/api/datasets/jobs", "/api/models/list", "/shell",
)  # fmt: skip


def lay_out(home: Home, kind: str, job_id: str) -> Path:
    """Create a complete job on disk."""
    path = home.root / KINDS[kind].parent / (f"{job_id}.partial" if kind == "arriving" else job_id)
    path.mkdir()
    run = JobDir(path)
    made = {"created_at": "2026-01-01T00:00:00+00:00", "name": kind}
    if kind in {"dataset", "arriving"}:
        _LAYOUTS[kind](run)
        return path
    state = {"active": "training", "queued": ""}.get(kind, "completed")
    if state:
        write_json(
            run.status, {"state": state, "step": 3, "max_steps": 6, "pid": 7, "pid_started": 1.0, "heartbeat": 5e8}
        )
    write_json(run.control, {"stop": False, "now": False})
    run.log.write_text("12:00:00 INFO step 1\nstep 2\n")
    if kind in {"run", "active", "queued"}:
        write_json(run.config, {**made, "kind": "train", "config": CONFIG, "given": TINY})
    _LAYOUTS[kind](run)
    return path


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    writer = JsonlWriter(path)
    for row in rows:
        writer.append(row)
    writer.close()


def _run(run: JobDir) -> None:
    steps = range(1, 7)
    common = {"attempt": 1, "time": 5e8, "reward": 0.5, "kl": 0.1}
    held = [{**common, "phase": "evaluation", "step": step, "when": when} for step, when in ((0, "before"), (6, "end"))]
    parts = {"reward_components": {"numeric": 0.5}}
    _lines(run.metrics, [held[0], *({**common, **parts, "phase": "training", "step": step} for step in steps), held[1]])
    _lines(run.completions, [{**GROUP, "phase": "training", "step": step} for step in steps])
    assert REPORT
    write_json(run.evaluation, RunEvaluation(step=6, report=REPORT).model_dump(mode="json"))
    write_json(run.environment, {"attempts": [{"attempt": 1, "packages": {"torch": "2"}}]})
    run.prepared.mkdir()
    _lines(run.prepared / "holdout.jsonl", [{"instruction": "1 + 1", "response": "2"}] * 3)
    write_json(run.prepared / "info.json", {"train": 3, "holdout": 3, "sha256": "0"})
    run.adapter.mkdir()


def _queued(run: JobDir) -> None: ...


def _export(run: JobDir) -> None:
    write_json(run.config, {
        "kind": "export", "session_id": "healthy", "format": "gguf", "quantizations": ["q4_k_m"], "name": "an export",
        "created_at": "2026-01-01T00:00:00+00:00",
    })  # fmt: skip
    run.files.mkdir()
    (run.files / "model.gguf").write_bytes(b"GGUF" * 8)
    (run.files / "Modelfile").write_text("FROM ./model.gguf\n")
    checked = {"subject": "model.gguf", "verdict": "faithful", "reason": "It is.", "prompts": 4}
    files = [{"name": name, "size": 32, "sha256": "0", "file_type": "Q4_K_M"} for name in ("model.gguf", "Modelfile")]
    commands = [{"title": "Run it", "command": "ollama run x"}]
    write_json(run.result, {"files": files, "commands": commands, "origin": {"base": "b"}, "fidelity": [checked]})
    sent = run.path / "deliveries" / "1"
    sent.mkdir(parents=True)
    write_json(sent / "job.json", {"kind": "ollama", "name": "mine", "file": "model.gguf", "question": "?"})
    write_json(sent / "progress.json", {"state": "done", "bytes": 32, "question": "?", "answer": "2", "pid": 9})
    write_json(sent / "chat.json", {"messages": [{"role": "user", "content": "?"}]})
    (sent / "worker.log").write_text("sent\n")


def _probe(run: JobDir) -> None:
    write_json(run.config, {
        "kind": "probe", "name": "a probe", "created_at": "2026-01-01T00:00:00+00:00", "config": CONFIG, "given": TINY,
        "prompts": 2, "samples": 2,
    })  # fmt: skip
    write_json(run.result, {"figures": FIGURES.json(), "verdict": judge(FIGURES).json()})
    _lines(run.completions, [{**GROUP, "phase": "probe", "step": 1}] * 2)


def _evaluation(run: JobDir) -> None:
    write_json(run.config, SPEC.model_dump(mode="json"))
    _lines(run.given, [{"instruction": "1 + 1", "response": "2"}] * 3)
    places = [(model, place) for model in (0, 1) for place in range(3)]
    answers = [
        {**GROUP, "phase": "evaluation", "step": place + 1, "model": model, "place": place} for model, place in places
    ]
    _lines(run.completions, answers)
    assert REPORT
    write_json(run.result, {"reports": [REPORT.model_dump(mode="json")]})


def _dataset(run: JobDir) -> None:
    index, lines = (
        IndexWriter(),
        [json_line({"question": f"{n} + 1", "answer": str(n + 1)}) for n in range(130)],
    )
    offset = 0
    for line in lines:
        index.add(offset)
        offset += len(line)
    (run.path / "data.jsonl").write_bytes(b"".join(lines))
    index.write(run.path)
    guess = FieldGuess(instruction="question", response="answer", confidence=1.0, why="Named so.")
    info = UploadInfo(
        id=run.path.name, name="rows.jsonl", format="jsonl", size=offset, rows=len(lines),
        columns=("question", "answer"), sha256="0", created_at="2026-01-01T00:00:00+00:00",
        fields=guess, mapping={"instruction_field": "question"},
    )  # fmt: skip
    write_json(run.path / "info.json", info.model_dump(mode="json"))
    (run.path / "prepared").mkdir()
    histogram = {"step": 8, "counts": [3], "median": 4, "high": 7, "most": 7}
    lengths = {
        "rows": 3, "prompt": histogram, "reference": histogram, "max_sequence_length": 64, "max_new_tokens": 8,
        "cut_prompts": 0.0, "cut_references": 0.0, "cut_if_proposed": [0.0, 0.0], "limits": [64, 8],
    }  # fmt: skip
    removed = {"said twice": {"count": 1, "rows": [{"instruction": "1 + 1", "response": "2"}]}}
    write_json(run.path / "prepared" / "report.json", {
        "read": 130, "left_out": {"empty": 1}, "removed": removed, "train": 100, "holdout": 20, "test": 0, "spare": 0,
        "sha256": "0", "unparseable": 0, "lengths": lengths, "config": {"dataset": {"source": "x"}, "reward": {}},
    })  # fmt: skip


def _arriving(run: JobDir) -> None:
    write_json(
        run.path / "job.json", {"kind": "fetch", "name": "a/b", "dataset": {"source": "a/b"}, "created_at": "now"}
    )
    write_json(run.path / "progress.json", {"state": "stopped", "bytes": 3, "total_bytes": 9, "pid": 9})
    (run.path / "worker.log").write_text("fetched\n")
    (run.path / "part").write_bytes(b"abc")


_LAYOUTS = {
    "run": _run, "active": _run, "queued": _queued, "export": _export, "probe": _probe, "evaluation": _evaluation,
    "dataset": _dataset, "arriving": _arriving,
}  # fmt: skip


class Round:
    """A home folder full of damage with two healthy runs, and a server on it."""

    def __init__(self, home: Home, settings: Settings, number: int) -> None:
        self.chance = random.Random(number)
        self.home, self.settings, self.number = home, settings, number
        self.launcher = PaperLauncher()
        self.said: Counter[tuple[str, str]] = Counter()
        for parent in (home.outputs, home.exports, home.uploads):
            shutil.rmtree(parent)
            parent.mkdir()
        self.jobs = {f"{kind}-{place}": kind for kind in KINDS for place in range(EACH)}
        lay_out(home, "run", "healthy")
        self.cases: list[tuple[str, Path, str]] = []
        folders = {job_id: lay_out(home, kind, job_id) for job_id, kind in self.jobs.items()}
        lay_out(home, "queued", "z-waiting")
        self.known = bool(number % 2)
        if self.known:  # The database is older than the damage, or else it is rebuilt from what is left.
            (home.root / "catalogue.db").unlink(missing_ok=True)
            database = Database(settings.database_url)
            rebuild(home, database)
            database.close()
        for job_id, folder in folders.items():
            self.harm(job_id, folder)
        if not self.known:
            (home.root / "catalogue.db").unlink(missing_ok=True)

    def harm(self, job_id: str, folder: Path) -> None:
        """Damage one file of a job, or most of them as a failing disk does; long files in several places."""
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "model.gguf")
        if self.chance.random() < 0.2:
            self._damage(job_id, self.chance.choice(files), self.chance.choice(list(DAMAGES)))
            return
        spared = self.chance.choice(files)  # sometimes the file whose loss would hide the other damage
        for path in files:
            name = self.chance.choice([name for name in DAMAGES if name != "its folder deleted"])
            if path is not spared:
                self._damage(job_id, path, name)
            if name in OFTEN and path.suffix not in {".json", ".idx"}:
                for more in sorted(OFTEN - {name}):
                    self._damage(job_id, path, more)

    def _damage(self, job_id: str, path: Path, name: str) -> None:
        DAMAGES[name](path, self.chance)
        self.cases.append((job_id, path, name))

    def start(self) -> Flask:
        """As :func:`commands.serve.serve` does."""
        app = create_app(self.settings, launcher=self.launcher)
        services: Services = app.extensions["tunesmith"]
        if services.database.empty():
            rebuild(self.home, services.database)
        self.launcher.living = {job_id for job_id, kind in self.jobs.items() if kind == "active"}
        services.watcher.catch_up()
        services.watcher.tick()
        return app

    def look(self, client: FlaskClient, job_ids: list[str]) -> None:
        """Request each job's page, which reads all of its files, or one of its API endpoints."""
        for job_id in job_ids:
            page, *answers = KINDS[self.jobs[job_id]].looks
            look = page if not answers or self.chance.random() < 0.6 else self.chance.choice(answers)
            self._get(client, look.format(job_id), job_id)

    def look_at_lists(self, client: FlaskClient) -> None:
        """Request lists that contain damaged jobs."""
        for address in self.chance.sample(LISTS, k=9):
            self._get(client, address, "list")

    def _get(self, client: FlaskClient, address: str, job_id: str) -> None:
        response = client.get(address)
        assert response.status_code < 500, (
            self.number,
            address,
            self.harms(job_id),
            response.get_data(as_text=True)[:300],
        )
        self.said[self.jobs.get(job_id, "list"), str(response.status_code)] += 1

    def harms(self, job_id: str) -> list[tuple[str, str]]:
        """The damage done to a job, for a failure message."""
        return [(path.name, name) for other, path, name in self.cases if other == job_id]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that always checks whether a worker is alive, and never waits for the disk."""
    monkeypatch.setattr("services.jobs.watcher.ALIVE_EVERY", 0.0)
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.mark.usefixtures("quick")
def test_ten_thousand_damaged_files_affect_only_their_jobs(home: Home, settings: Settings) -> None:
    """Tests start, pages, queue and API, in many home folders with several hundred damaged files each.

    Each damaged file is a case; a file of many rows may be damaged in up to three ways, and a job may have several
    damaged files, as after a power failure. Each job is requested whatever happened to it. In every second home folder
    the database already knew the jobs; in the others it is rebuilt from what is left.
    """
    cases, number, kinds = 0, 0, Counter[str]()
    while cases < CASES:
        stage = Round(home, settings, number)
        app = stage.start()
        try:
            follow_to_the_end(stage, app)
        finally:
            app.extensions["tunesmith"].close()
        cases += len(stage.cases)
        kinds.update(name for _, _, name in stage.cases)
        number += 1
    assert cases >= CASES
    assert set(kinds) == set(DAMAGES)


def follow_to_the_end(stage: Round, app: Flask) -> None:
    """Check everything while workers are alive, end them, and run the queue until it is empty."""
    services: Services = app.extensions["tunesmith"]
    client = app.test_client()
    active = [job_id for job_id, kind in stage.jobs.items() if kind == "active"]
    stage.look(client, active)
    stage.look_at_lists(client)
    stage.launcher.living = set()
    for _ in range(2 * EACH + 10):
        services.watcher.tick()
    waiting = [job.id for job in services.database.unfinished()]
    assert waiting == [], (stage.number, [(job_id, stage.harms(job_id)) for job_id in waiting])
    assert services.runs.get("z-waiting").job.status == JobState.COMPLETED
    stage.look(client, [job_id for job_id in stage.jobs if job_id not in active])
    for job_id, count in (("healthy", 8), ("z-waiting", 3)):
        answer = client.get(f"/api/training/sessions/{job_id}/metrics").json
        assert answer
        assert [row["row"] for row in answer["rows"]] == list(range(1, count + 1))
        assert services.runs.get(job_id).damage == []
    if stage.known:
        listed = {run["session_id"] for run in (client.get("/api/training/sessions").json or {})["sessions"]}
        assert listed >= {job_id for job_id, kind in stage.jobs.items() if kind in {"run", "active", "queued"}}
