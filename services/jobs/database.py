"""The catalog database: jobs, the watcher's position in each, and the wizard's draft.

Only the web process writes to it. No run depends on it: :mod:`services.jobs.rebuild` recreates it from the directories.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import JSON, Engine, Text, create_engine, event, func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, defer, mapped_column

from core.disk import disk_words
from core.errors import NotFound, Unavailable
from core.job import ACTIVE, ENDED, RESUMABLE, JobKind, JobState
from core.job_rows import MetricRow
from services.jobs.facts import JobFacts
from services.jobs.kinds import KINDS, Kind
from services.jobs.launcher import LOCAL, NO_WORKER, Handle
from services.jobs.upgrade import upgrade

VERSION = 1
"""Schema version. A database with another version is rejected; rebuilding it takes seconds."""


class Base(DeclarativeBase):
    """All tables."""


class Job(Base):
    """One job, with the watcher's position in its files.

    ``offset`` and ``last_row`` say how far ``metrics.jsonl`` was read and published; ``place`` is the
    order in the queue; ``config`` the complete configuration as in ``config.json``.
    """

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    phase: Mapped[str] = mapped_column(default="", server_default="")
    created_at: Mapped[str]
    started_at: Mapped[str | None] = mapped_column(default=None)
    ended_at: Mapped[str | None] = mapped_column(default=None)
    model: Mapped[str] = mapped_column(default="")
    dataset: Mapped[str] = mapped_column(default="")
    session_id: Mapped[str | None] = mapped_column(default=None, index=True)
    """For an export: its run."""
    config: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    place: Mapped[int] = mapped_column(default=0)
    step: Mapped[int] = mapped_column(default=0)
    max_steps: Mapped[int] = mapped_column(default=0)
    message: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str | None] = mapped_column(Text, default=None)
    notes: Mapped[list[str]] = mapped_column(JSON, default=list)
    attempt: Mapped[int] = mapped_column(default=0)
    device: Mapped[str] = mapped_column(default="")
    seconds_per_step: Mapped[float] = mapped_column(default=0.0)
    checkpoint_step: Mapped[int | None] = mapped_column(default=None)
    reward: Mapped[float | None] = mapped_column(default=None)
    evaluations: Mapped[list[MetricRow]] = mapped_column(JSON, default=list)
    offset: Mapped[int] = mapped_column(default=0)
    last_row: Mapped[int] = mapped_column(default=0)
    launcher: Mapped[str] = mapped_column(default=LOCAL, server_default=LOCAL)
    """Name of the launcher that runs it."""
    worker: Mapped[str] = mapped_column(Text, default=NO_WORKER, server_default="")
    """The launcher's handle for its worker; '' if there is none."""
    stop_now_at: Mapped[float | None] = mapped_column(default=None)
    """When an immediate stop was requested, in seconds since the epoch."""

    # Older versions identify a worker by these, and their files require a value in every row. Only
    # services.jobs.upgrade reads them, to convert older values to handles.
    pid: Mapped[int] = mapped_column(default=0)
    pid_started: Mapped[float] = mapped_column(default=0.0)
    pid_boot: Mapped[str] = mapped_column(default="", server_default="")

    @property
    def handle(self) -> Handle:
        """Its worker, for its launcher."""
        return Handle(self.worker)

    @property
    def job_state(self) -> JobState:
        return JobState(self.state)

    @property
    def active(self) -> bool:
        """Whether it has a worker process."""
        return self.job_state in ACTIVE

    @property
    def of_kind(self) -> Kind:
        """Its kind."""
        return KINDS[JobKind(self.kind)]

    def facts(self, queue: Sequence[str] = ()) -> JobFacts:
        """Its facts, without its configuration.

        Args:
            queue: Ids of the waiting jobs, next first; needed for the position in the queue.
        """
        return JobFacts(
            id=self.id,
            kind=JobKind(self.kind),
            name=self.name,
            state=self.job_state,
            phase=self.phase,
            step=self.step,
            max_steps=self.max_steps,
            message=self.message,
            notes=list(self.notes),
            error=self.error,
            created_at=self.created_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            model=self.model,
            dataset=self.dataset,
            session_id=self.session_id or "",
            attempt=self.attempt,
            device=self.device,
            seconds_per_step=self.seconds_per_step,
            checkpoint_step=self.checkpoint_step,
            resumable=self.job_state in RESUMABLE and self.of_kind.resumable,
            queue_position=queue.index(self.id) + 1 if self.id in queue else None,
        )


def new_job(job_id: str, content: dict[str, Any]) -> Job:
    """A queued job's row.

    Args:
        job_id: Its id.
        content: Its ``config.json``.

    Raises:
        ValueError, KeyError, TypeError: It is not a job's.
    """
    kind = JobKind(content["kind"])
    columns = KINDS[kind].columns(content)
    return Job(id=job_id, kind=str(kind), state=str(JobState.QUEUED), created_at=content["created_at"], **columns)


class Draft(Base):
    """The wizard's draft, one JSON object per section."""

    __tablename__ = "drafts"

    section: Mapped[str] = mapped_column(primary_key=True)
    data: Mapped[Any] = mapped_column(JSON)


class Setting(Base):
    """One value by name, such as the schema's version."""

    __tablename__ = "settings"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)


_NO_DATABASE = (
    "The catalog database cannot be used: {}. Check DATABASE_URL (databases other than SQLite need a Python driver "
    "in .venv), or remove it to use a file in the home folder. If that file is damaged, move it away and run "
    "'flask --app flask_app rebuild' to rebuild it from the runs."
)
_ENDED = [str(state) for state in ENDED]
_ACTIVE = [str(state) for state in ACTIVE]


class Database:
    """Access to the database; every method is one short transaction. Thread-safe.

    Args:
        url: SQLAlchemy URL, SQLite or PostgreSQL.

    Raises:
        Unavailable: The database cannot be used, or is from another version.
    """

    def __init__(self, url: str) -> None:
        self._writing = threading.RLock()
        self._writes = 0
        try:
            self._engine = _engine(url)
            found = self._open()
        except (SQLAlchemyError, ImportError) as error:
            message = disk_words(error) or _NO_DATABASE.format(str(error).split("\n")[0])
            raise Unavailable(message) from None
        if found != VERSION:
            raise Unavailable(
                f"The catalog was made by another version of Tunesmith (schema {found}, this one uses {VERSION}). "
                "No run is lost: move catalogue.db away and run 'flask --app flask_app rebuild'."
            )

    def _open(self) -> Any:
        """Create missing tables. Returns the schema version."""
        Base.metadata.create_all(self._engine)
        upgrade(self._engine)
        found = self.setting("schema_version")
        if found is None:
            self.set_setting("schema_version", VERSION)
        return VERSION if found is None else found

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        """One writer at a time, so that SQLite never reports 'database is locked' within the process."""
        with self._writing:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                yield session
            self._writes += 1

    @property
    def writes(self) -> int:
        """The number of writes. While it is unchanged, so are all results, because nobody else writes.

        As a cache key, use the number from before the query.
        """
        return self._writes

    # --- jobs ---

    def add(self, job: Job) -> Job:
        """Add a job; a queued one goes to the end of the queue."""
        with self._write() as session:
            job.place = self._next_place(session)
            session.add(job)
        return job

    def exists(self, job_id: str) -> bool:
        with self._session() as session:
            return session.get(Job, job_id) is not None

    def job(self, job_id: str, kind: JobKind) -> Job:
        """One job with its configuration.

        Raises:
            NotFound: There is none with this id and kind.
        """
        with self._session() as session:
            job = session.get(Job, job_id)
        if job is None or job.kind != kind:
            raise NotFound(f"There is no {KINDS[kind].word} {job_id}. It may have been deleted.")
        return job

    def jobs(self, kind: JobKind, *, with_config: bool = False) -> Sequence[Job]:
        """All jobs of a kind, newest first."""
        query = select(Job).where(Job.kind == kind)
        if not with_config:
            query = query.options(defer(Job.config, raiseload=True))
        with self._session() as session:
            return session.scalars(query.order_by(Job.created_at.desc(), Job.place.desc())).all()

    def jobs_with_config(self, kind: JobKind) -> Sequence[Job]:
        """All jobs of a kind, newest first, with their configurations."""
        with self._session() as session:
            return session.scalars(select(Job).where(Job.kind == kind).order_by(Job.created_at.desc())).all()

    def runs(self) -> Sequence[tuple[Job, str]]:
        """All runs, newest first, without their configurations, each with the method it names; '' for the default."""
        query = select(Job, Job.config["method"].as_string()).where(Job.kind == JobKind.TRAIN)
        query = query.options(defer(Job.config, raiseload=True)).order_by(Job.created_at.desc(), Job.place.desc())
        with self._session() as session:
            return [(job, key or "") for job, key in session.execute(query).all()]

    def timed(self, device: str, most: int) -> Sequence[Job]:
        """The latest runs on a device with known step times, with their configurations."""
        query = select(Job).where(Job.kind == JobKind.TRAIN, Job.device == device, Job.seconds_per_step > 0)
        with self._session() as session:
            return session.scalars(query.order_by(Job.created_at.desc()).limit(most)).all()

    def namesakes(self, job: Job) -> Sequence[Job]:
        """All jobs with a job's kind and name, including itself."""
        query = select(Job).where(Job.kind == job.kind, Job.name == job.name)
        with self._session() as session:
            return session.scalars(query.options(defer(Job.config, raiseload=True))).all()

    def unfinished(self) -> Sequence[Job]:
        """Queued and active jobs of every kind, in queue order."""
        query = select(Job).where(Job.state.not_in(_ENDED)).order_by(Job.place)
        query = query.options(defer(Job.config, raiseload=True))
        with self._session() as session:
            return session.scalars(query).all()

    def queue(self) -> Sequence[str]:
        """Ids of the waiting jobs, next first."""
        query = select(Job.id).where(Job.state == JobState.QUEUED).order_by(Job.place)
        with self._session() as session:
            return session.scalars(query).all()

    def update(self, job_id: str, **values: Any) -> None:
        with self._write() as session:
            session.execute(update(Job).where(Job.id == job_id).values(**values))

    def move(self, job_id: str, *, to: JobState, only_from: Sequence[JobState], **values: Any) -> bool:
        """Change a job's state if it is still one of ``only_from``; False if not.

        A queued job goes to the end of the queue, unless ``values`` have a ``place``.
        """
        with self._write() as session:
            if to is JobState.QUEUED:
                values.setdefault("place", self._next_place(session))
            query = update(Job).where(Job.id == job_id, Job.state.in_([str(state) for state in only_from]))
            changed: int = session.execute(query.values(state=str(to), **values)).rowcount  # type: ignore[attr-defined]
        return changed == 1

    def empty(self) -> bool:
        with self._session() as session:
            return session.scalar(select(func.count()).select_from(Job)) == 0

    def active_count(self) -> int:
        """The number of jobs with a worker."""
        with self._session() as session:
            return session.scalar(select(func.count()).select_from(Job).where(Job.state.in_(_ACTIVE))) or 0

    def delete(self, job_id: str) -> None:
        with self._write() as session:
            job = session.get(Job, job_id)
            if job is not None:
                session.delete(job)

    @staticmethod
    def _next_place(session: Session) -> int:
        return (session.scalar(select(func.max(Job.place))) or 0) + 1

    # --- draft and settings ---

    def get_draft(self) -> dict[str, Any]:
        """The wizard's draft, ``{section: data}``; empty if none was started."""
        with self._session() as session:
            return {draft.section: draft.data for draft in session.scalars(select(Draft))}

    def draft_part(self, section: str) -> Any:
        """One section of the draft; None if it was never saved."""
        with self._session() as session:
            found = session.get(Draft, section)
            return found.data if found else None

    def save_draft(self, sections: dict[str, Any]) -> None:
        """Save the given sections and leave the others unchanged."""
        with self._write() as session:
            for section, data in sections.items():
                session.merge(Draft(section=section, data=data))

    def clear_draft(self) -> None:
        with self._write() as session:
            for draft in session.scalars(select(Draft)):
                session.delete(draft)

    def setting(self, key: str) -> Any:
        with self._session() as session:
            found = session.get(Setting, key)
            return found.value if found else None

    def set_setting(self, key: str, value: Any) -> None:
        with self._write() as session:
            session.merge(Setting(key=key, value=value))


def _engine(url: str) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: Any) -> None:
            # WAL lets pages read while the watcher writes; NORMAL survives a killed process.
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=NORMAL")
            cursor.execute("PRAGMA busy_timeout=5000")
            cursor.close()

    return engine
