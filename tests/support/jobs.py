"""A fake launcher and clock, and a stage for watcher tests: no process is started, and no time passes by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.job import JobState, JobStatus
from core.job_dir import JobDir, JsonlWriter, write_json
from core.settings import Home
from services.jobs.database import Database, Job
from services.jobs.events import Events
from services.jobs.launcher import LOCAL, Handle
from services.jobs.watcher import Watcher


class FakeClock:
    """Stands still until a test advances it."""

    def __init__(self) -> None:
        self.moment = 1_000_000.0

    def time(self) -> float:
        return self.moment

    def monotonic(self) -> float:
        return self.moment

    def pass_by(self, seconds: float) -> None:
        self.moment += seconds


class FakeLauncher:
    """Its workers are numbers; tests write on their behalf.

    Attributes:
        living: Handles of the live workers.
        newest: The latest handle by job id.
        signals: What was sent, as (job's id, whether it was by force).
        looks: Number of liveness checks.
    """

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self.living: set[Handle] = set()
        self.newest: dict[str, Handle] = {}
        self.signals: list[tuple[str, bool]] = []
        self.looks = 0
        self._given = 0

    def start(self, job: JobDir) -> Handle:
        self._given += 1
        worker = Handle(str(self._given))
        self.living.add(worker)
        self.newest[job.path.name] = worker
        return worker

    def find(self, job: JobDir) -> Handle | None:
        worker = self.newest.get(job.path.name)
        return worker if worker in self.living else None

    def alive(self, worker: Handle, job: JobDir) -> bool:
        self.looks += 1
        return worker in self.living

    def wrote(self, worker: Handle, status: JobStatus) -> bool:
        return str(status.pid) == worker

    def exit_code(self, worker: Handle) -> int | None:
        return None

    def end(self, worker: Handle, job: JobDir, *, force: bool) -> None:
        self.signals.append((job.path.name, force))

    def sweep(self, worker: Handle, job: JobDir) -> None: ...


class Stage:
    """A home with a database, a watcher and controllable launchers.

    Args:
        root: An empty folder.
        launchers: By name; by default one for this machine.
    """

    def __init__(self, root: Path, **launchers: FakeLauncher) -> None:
        self.home = Home(root)
        self.home.make()
        self.launchers = launchers or {LOCAL: FakeLauncher()}
        self.launcher = self.launchers[LOCAL]
        self.clock = FakeClock()
        self.events = Events()
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.events.listen(lambda name, payload: self.told.append((name, payload)))
        self.database = Database(f"sqlite:///{root / 'catalogue.db'}")
        self.watcher = self.server()

    def server(self) -> Watcher:
        """A watcher that knows only what is stored, as after a server start."""
        self.watcher = Watcher(self.home, self.database, self.events, self.launchers, clock=self.clock)
        return self.watcher

    def add(self, job_id: str, kind: str = "train", state: str = "queued", **columns: Any) -> JobDir:
        """A job in the database, and its folder."""
        run_dir = self.files(job_id, kind)
        run_dir.path.mkdir()
        write_json(run_dir.config, {"kind": kind})
        self.database.add(Job(id=job_id, kind=kind, name=job_id, state=state, created_at="2026-01-01", **columns))
        return run_dir

    def files(self, job_id: str, kind: str = "train") -> JobDir:
        return JobDir((self.home.exports if kind == "export" else self.home.outputs) / job_id)

    def say(self, job_id: str, state: JobState, **more: Any) -> None:
        """Write a status on behalf of a job's newest worker."""
        launcher = next(one for one in self.launchers.values() if job_id in one.newest)
        self.files(job_id).write_status(JobStatus(state=state, **{"pid": int(launcher.newest[job_id]), **more}))

    def rows(self, job_id: str, *steps: int) -> None:
        """Append rows of metrics."""
        writer = JsonlWriter(self.files(job_id).metrics)
        for step in steps:
            writer.append({"attempt": 1, "phase": "training", "step": step, "reward": step / 10})
        writer.close()

    def leave(self, job_id: str) -> None:
        """End a job's worker and its process."""
        for launcher in self.launchers.values():
            launcher.living.discard(launcher.newest.get(job_id, Handle("")))

    def tick(self, times: int = 1, seconds: float = 1.0) -> None:
        """Run rounds of the watcher, each after that many seconds."""
        for _ in range(times):
            self.clock.pass_by(seconds)
            self.watcher.tick()

    def job(self, job_id: str) -> Job:
        with self.database._session() as session:
            found = session.get(Job, job_id)
        assert found is not None
        return found

    def state(self, *job_ids: str) -> list[str]:
        """The states of jobs."""
        return [self.job(job_id).state for job_id in job_ids]
