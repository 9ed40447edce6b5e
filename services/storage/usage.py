"""Disk usage, measured in the background, so that no page waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.data import uploads
from core.job import ENDED, JobKind
from core.job_dir import JobDir
from core.moment import now
from core.settings import Home
from services.jobs.database import Database, Job
from services.jobs.in_use import needing
from services.jobs.secrets import of_hub
from services.machine.bin import BESIDE, size_of

log = logging.getLogger(__name__)

KEEP = 60.0
"""Seconds after which a page starts a new measurement."""
PATIENCE = 0.3
"""Seconds that a page waits for a measurement in progress, enough for most disks."""
LARGEST = 12
"""Items in the list of the largest."""


@dataclass(frozen=True)
class Part:
    """A kind of item and its total bytes."""

    key: str
    size: int


@dataclass(frozen=True)
class Item:
    """One item; ``kind`` is that of :data:`services.machine.bin.FOLDERS`, or ``model``."""

    kind: str
    id: str
    name: str
    size: int


@dataclass(frozen=True)
class Download:
    """A model or dataset downloaded from Hugging Face.

    Attributes:
        name: Its name on Hugging Face.
        kind: ``model`` or ``dataset``.
        last_used: When the newest job that used it was created, ISO 8601; '' for none.
        needed_by: Description of the unfinished job that needs it; '' for none.
    """

    name: str
    kind: str
    size: int
    last_used: str
    needed_by: str


@dataclass(frozen=True)
class Usage:
    """One measurement. ``at`` is ISO 8601, UTC; sizes in bytes."""

    at: str
    parts: tuple[Part, ...]
    largest: tuple[Item, ...]
    downloads: tuple[Download, ...]
    old_checkpoints: int
    caches: int

    @property
    def total(self) -> int:
        return sum(part.size for part in self.parts)

    def part(self, key: str) -> int:
        """Bytes of one part."""
        return next((part.size for part in self.parts if part.key == key), 0)


class Storage:
    """Keeps the latest measurement and makes new ones, one at a time.

    Args:
        home: The folder to measure.
        database: Knows the jobs.
    """

    def __init__(self, home: Home, database: Database) -> None:
        self._home, self._database = home, database
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._again = False
        self._usage: Usage | None = None
        self._measured = float("-inf")

    def look(self) -> tuple[Usage | None, bool]:
        """The latest measurement, and whether another one is in progress; starts one if it is old."""
        if time.monotonic() - self._measured > KEEP:
            self.measure()
        self.wait(PATIENCE)
        return self._usage, self.measuring

    @property
    def measuring(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    def measure(self) -> None:
        """Start a measurement; one in progress restarts, because it may have missed changes."""
        with self._lock:
            self._again = True
            if not self.measuring:
                self._thread = threading.Thread(target=self._measure, name="storage", daemon=True)
                self._thread.start()

    def wait(self, seconds: float) -> Usage | None:
        """The measurement in progress, or the latest one if that takes too long."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return self._usage

    def _measure(self) -> None:
        while True:
            with self._lock:
                if not self._again:
                    self._thread = None
                    return
                self._again = False
            try:
                self._usage = measured(self._home, self._database)
            except Exception:  # the disk may change or fail meanwhile; the page shows no figures
                log.exception("the disk could not be measured")
            self._measured = time.monotonic()


def measured(home: Home, database: Database) -> Usage:
    """Measure the home folder in one pass."""
    sizes: dict[str, int] = {}
    items: list[Item] = []

    def add(key: str, size: int) -> int:
        sizes[key] = sizes.get(key, 0) + size
        return size

    jobs = {job.id: job for kind in JobKind for job in database.jobs(kind, with_config=True)}
    for folder in _inside(home.outputs):
        job, checkpoints = jobs.get(folder.name), size_of(folder / "checkpoints")
        whole = size_of(folder)
        add("checkpoints", checkpoints)
        add("runs" if job is None or job.kind == JobKind.TRAIN else "checks", whole - checkpoints)
        items.append(_job_item(folder, job, whole))
    items += [
        _job_item(folder, jobs.get(folder.name), add("exports", size_of(folder))) for folder in _inside(home.exports)
    ]
    names = uploads.names(home.uploads)
    for folder in _inside(home.uploads):
        size = add("datasets", size_of(folder))
        if folder.name in names:
            items.append(Item("dataset", folder.name, names[folder.name], size))
    found = downloads(home, database, list(jobs.values()))
    for one in found:
        add("models" if one.kind == "model" else "downloaded", one.size)
        if one.kind == "model":
            items.append(Item("model", one.name, one.name, one.size))
    add("models", _size(home.cache / "models"))
    emptied = add("caches", sum(_size(path) for path in cache_folders(home)))
    add("caches", sum(_size(path) for path in _unknown(home)))
    add("logs", _size(home.logs))
    beside = (path for folder in (home.outputs, home.exports, home.uploads) for path in folder.glob(f"{BESIDE}*"))
    add("trash", _size(home.trash) + sum(map(size_of, beside)))
    largest = sorted(items, key=lambda item: -item.size)[:LARGEST]
    old = sum(size_of(path) for _, path in old_checkpoints(home, database))
    parts = tuple(Part(key, size) for key, size in sizes.items())
    return Usage(now(), parts, tuple(item for item in largest if item.size), tuple(found), old, emptied)


def _size(folder: Path) -> int:
    """Size of a folder that may be a link to another disk."""
    return size_of(folder.resolve())


def _unknown(home: Home) -> list[Path]:
    """Everything else in the cache, such as a download in progress; counted but never emptied."""
    hub = home.cache / "hub"
    known = {home.cache / "models", hub, hub / "hub", *cache_folders(home)}
    return [path for folder in (home.cache, hub) if folder.is_dir() for path in folder.iterdir() if path not in known]


def _inside(folder: Path) -> list[Path]:
    try:
        # Names with a dot are work in progress, and trash on another disk.
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _job_item(folder: Path, job: Job | None, size: int) -> Item:
    if job is None:
        return Item("folder", folder.name, str(folder), size)
    return Item(job.of_kind.word, job.id, job.name, size)


def downloads(home: Home, database: Database, jobs: Sequence[Job] | None = None) -> list[Download]:
    """Every model and dataset in the Hugging Face cache, largest first."""
    if jobs is None:
        jobs = [job for kind in JobKind for job in database.jobs(kind, with_config=True)]
    used: dict[str, str] = {}
    needed: dict[str, str] = {}
    for job in jobs:
        for name in of_hub(job.config, home):
            used[name] = max(used.get(name, ""), job.created_at)
            if job.job_state not in ENDED:
                needed[name] = f"the {job.of_kind.word} '{job.name}'"
    found = [
        Download(name, kind, size_of(folder), used.get(name, ""), needed.get(name, ""))
        for folder, kind, name in download_folders(home)
    ]
    return sorted(found, key=lambda one: (-one.size, one.name))


def download_folders(home: Home) -> Iterator[tuple[Path, str, str]]:
    """Folder, kind and name of each download."""
    for folder in _inside(home.cache / "hub" / "hub"):
        kind, _, name = folder.name.partition("--")
        if kind in {"models", "datasets"} and name:
            yield folder, kind.removesuffix("s"), name.replace("--", "/")


def cache_folders(home: Home) -> list[Path]:
    """Folders that are rebuilt when needed: readable rows, prepared rows, converted base models, chunks."""
    hub = home.cache / "hub"
    return [hub / "datasets", hub / "xet", home.cache / "prepared", home.cache / "gguf"]


def old_checkpoints(home: Home, database: Database) -> Iterator[tuple[Job, Path]]:
    """All but the newest checkpoints of ended runs that no unfinished job needs."""
    for job in database.jobs(JobKind.TRAIN):
        run_dir = JobDir.known(home.outputs, job.id)
        if job.job_state in ENDED and not needing(database, f"session:{job.id}", run_dir.path):
            yield from ((job, path) for path in run_dir.superseded())
