"""Deleted items: moved by one rename, restored completely, and never lost by a crash in between."""

from __future__ import annotations

import errno
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.errors import Conflict, InvalidInput, NotFound, Unavailable
from core.job import JobKind
from core.moment import now
from services.jobs.rebuild import row_of
from services.jobs.verbs import Jobs
from services.machine.bin import BESIDE, Bin, Entry
from services.storage.trash import Trash
from tests.support.jobs import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "home")


def trash(stage: Stage, days: int = 30) -> Trash:
    return Trash(stage.home, stage.database, stage.events, lambda: days)


def verbs(stage: Stage, kind: JobKind = JobKind.TRAIN) -> Jobs:
    return Jobs(kind, stage.home, stage.database, stage.events, stage.watcher.wake)


def written(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ended(stage: Stage, job_id: str = "one", kind: str = "train") -> dict[str, bytes]:
    """Add an ended job with files; returns them."""
    run_dir = stage.add(job_id, kind, state="crashed", step=7, notes=["a note"], error="It vanished.")
    run_dir.log.write_text("the log\n")
    run_dir.checkpoints.mkdir()
    (run_dir.checkpoints / "state").write_bytes(b"\0" * 100)
    return written(run_dir.path)


@pytest.mark.parametrize("kind", JobKind)
def test_a_deleted_job_comes_back_as_it_was(stage: Stage, kind: JobKind) -> None:
    """Its files, and its row with data that no file has, such as that it crashed."""
    files = ended(stage, kind=kind)
    before = row_of(stage.job("one"))
    entry = verbs(stage, kind).delete("one")
    assert entry
    assert (stage.database.exists("one"), stage.files("one", kind).path.exists()) == (False, False)
    assert [(one.name, one.size) for one in trash(stage).list()] == [("one", sum(map(len, files.values())))]
    stage.told.clear()
    trash(stage).restore(entry.id)
    assert {**row_of(stage.job("one")), "place": 0} == {**before, "place": 0}
    assert written(stage.files("one", kind).path) == files
    assert [payload["status"] for _, payload in stage.told] == ["crashed"]
    assert (trash(stage).list(), list(stage.home.trash.iterdir())) == ([], [])
    with pytest.raises(NotFound, match="no longer in the trash"):
        trash(stage).restore(entry.id)


def test_a_job_whose_row_cannot_be_read_is_restored_from_its_files(stage: Stage) -> None:
    """As a rebuild would find it."""
    run_dir = stage.add("one", state="stopped")
    config = {"model": {"name": "m"}, "dataset": {"source": "s"}}
    run_dir.config.write_text(
        json.dumps({"kind": "train", "name": "mine", "created_at": "2026-01-01", "config": config})
    )
    entry = verbs(stage).delete("one")
    assert entry
    file = stage.home.trash / entry.id / "entry.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "row": {"id": "one"}}))
    trash(stage).restore(entry.id)
    assert stage.job("one").name == "mine"


def test_an_item_without_files_is_only_removed_from_the_list(stage: Stage) -> None:
    """There is nothing to restore."""
    stage.add("one", state="stopped")
    (stage.files("one").config).unlink()
    stage.files("one").path.rmdir()
    assert verbs(stage).delete("one") is None
    assert (stage.database.empty(), trash(stage).list()) == (True, [])


class Killed(BaseException):
    """Simulates the server's death."""


def _die(*_args: Any, **_more: Any) -> None:
    raise Killed


@pytest.mark.parametrize("step", ["services.machine.bin._move", "services.jobs.database.Database.delete"])
def test_a_server_that_is_killed_while_it_deletes_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The next one finds the run in the list or in the trash."""
    files = ended(stage)
    with monkeypatch.context() as patch:
        patch.setattr(step, _die)
        patch.setattr("services.machine.bin.Bin.take_out", _die)  # a dead server puts nothing back
        with pytest.raises(Killed):
            verbs(stage).delete("one")
    trash(stage).start()
    for entry in trash(stage).list():
        assert not stage.database.exists("one")
        trash(stage).restore(entry.id)
    assert written(stage.files("one").path) == files
    assert stage.job("one").step == 7


@pytest.mark.parametrize("step", ["services.jobs.database.Database.add", "services.machine.bin.Bin.drop"])
def test_a_server_that_is_killed_while_it_restores_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The next one finishes it."""
    files = ended(stage)
    entry = verbs(stage).delete("one")
    assert entry
    with monkeypatch.context() as patch:
        patch.setattr(step, _die)
        with pytest.raises(Killed):
            trash(stage).restore(entry.id)
    trash(stage).start()
    assert (trash(stage).list(), stage.job("one").step, written(stage.files("one").path)) == ([], 7, files)


def test_a_half_deleted_item_is_never_offered(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is removed first; the next server removes the rest."""
    ended(stage)
    entry = verbs(stage).delete("one")
    assert entry
    with monkeypatch.context() as patch:
        patch.setattr("services.machine.bin.remove_folder", _die)
        with pytest.raises(Killed):
            trash(stage).purge(entry.id)
    assert trash(stage).list() == []
    assert list(stage.home.trash.iterdir()) != []
    trash(stage).start()
    assert list(stage.home.trash.iterdir()) == []


def test_a_failing_catalogue_puts_the_files_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and row stay together."""
    files = ended(stage)

    def locked(*_args: object) -> None:
        raise RuntimeError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(stage.database, "delete", locked)
        with pytest.raises(RuntimeError):
            verbs(stage).delete("one")
    assert (written(stage.files("one").path), trash(stage).list()) == (files, [])


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "empty the trash or the caches"), (errno.EROFS, "read-only"), (errno.EBUSY, "is still there")],
)
def test_what_cannot_be_moved_stays(stage: Stage, monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    """With the reason, if it is known."""

    def refused(*_args: object, **_more: object) -> None:
        raise OSError(code, "refused")

    files = ended(stage)
    with monkeypatch.context() as patch:
        patch.setattr("services.machine.bin.write_json", refused)
        with pytest.raises(Unavailable, match=words):
            verbs(stage).delete("one")
    assert (written(stage.files("one").path), stage.database.exists("one")) == (files, True)
    assert list(stage.home.trash.iterdir()) == []


def test_a_folder_on_another_disk_keeps_its_trash_there(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is copied, which could take hours: it is only renamed."""
    files = ended(stage)
    real = Path.rename

    def across(self: Path, target: Path) -> Path:
        if stage.home.trash in target.parents:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", across)
    first = verbs(stage).delete("one")
    assert first
    assert [path.name for path in stage.home.outputs.iterdir()] == [f"{BESIDE}{first.id}"]
    trash(stage).start()
    trash(stage).restore(first.id)
    assert written(stage.files("one").path) == files
    second = verbs(stage).delete("one")
    assert second
    assert trash(stage).empty() == second.size
    assert list(stage.home.outputs.iterdir()) == []


@pytest.mark.parametrize("away", ["outputs", "trash"])
def test_items_on_a_missing_disk_wait_for_it(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    """A server that starts without the disk treats nothing as left over, now or when the disk is back."""
    place, disk = stage.home.root / away, tmp_path / "disk"
    disk.mkdir()
    if place.exists():
        place.rmdir()
    place.symlink_to(disk)
    files, real = ended(stage), Path.rename

    def across(self: Path, target: Path) -> Path:
        if stage.home.trash in target.parents:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", across)
    entry = verbs(stage).delete("one")
    assert entry
    disk.rename(tmp_path / "unplugged")
    trash(stage).start()
    (tmp_path / "unplugged").rename(disk)
    trash(stage).start()
    trash(stage).restore(entry.id)
    assert written(stage.files("one").path) == files


def test_an_item_whose_place_is_taken_waits_or_is_renamed(stage: Stage) -> None:
    """A run waits: exports refer to its id. A preset is restored under another name."""
    ended(stage)
    entry = verbs(stage).delete("one")
    assert entry
    stage.add("one", state="stopped")
    with pytest.raises(Conflict, match="another run"):
        trash(stage).restore(entry.id)
    stage.database.delete("one")
    with pytest.raises(Conflict, match="another run in its place"):
        trash(stage).restore(entry.id)
    preset = stage.home.configs / "Mine.json"
    for content in ("first", "second", "third"):
        preset.write_text(content)
        if content != "third":
            Bin(stage.home).put(preset, kind="preset", name="Mine")
    for one in reversed([one for one in trash(stage).list() if one.kind == "preset"]):
        trash(stage).restore(one.id)
    assert sorted(path.name for path in stage.home.configs.iterdir()) == ["Mine-2.json", "Mine-3.json", "Mine.json"]
    assert sorted(written(stage.home.configs).values()) == [b"first", b"second", b"third"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"kind": "run"}', '{"id": "ID", "kind": "run", "file": "../../x", "name": "n", "deleted_at": ""}',
     '{"id": "ID", "kind": "etc", "file": "x", "name": "n", "deleted_at": ""}',
     '{"id": "ID", "kind": "run", "file": "..", "name": "n", "deleted_at": ""}',
     '{"id": "other", "kind": "run", "file": "x", "name": "n", "deleted_at": ""}'],
)  # fmt: skip
@pytest.mark.parametrize("content", [True, False])
def test_a_damaged_entry_is_listed_and_can_only_be_deleted(stage: Stage, text: str, content: bool) -> None:
    """It points nowhere outside its folder, and neither a start nor its age removes it."""
    folder = stage.home.trash / "20260101-000000-abcdef"
    folder.mkdir(parents=True)
    if content:
        (folder / "content").write_text("x")
    (folder / "entry.json").write_text(text.replace("ID", folder.name))
    found = trash(stage)
    found.start()
    assert [one.id for one in found.list()] == [folder.name]
    with pytest.raises(Conflict, match="cannot be restored, because"):
        found.restore(folder.name)
    found.purge(folder.name)
    assert not folder.exists()


@pytest.mark.parametrize("entry_id", ["..", "../outputs", "a/b", "", "A"])
def test_no_other_path_is_an_entry(stage: Stage, entry_id: str) -> None:
    """Malformed ids are refused before any lookup."""
    for verb in (trash(stage).restore, trash(stage).purge):
        with pytest.raises((InvalidInput, NotFound)):
            verb(entry_id)


def test_expired_items_are_deleted_automatically(stage: Stage) -> None:
    """After the days in Settings; never if that is 0."""
    ended(stage)
    verbs(stage).delete("one")
    later = datetime.now(UTC) + timedelta(days=30, minutes=1)
    for days, left in ((0, 1), (31, 1), (30, 0)):
        trash(stage, days).expire(later)
        assert len(trash(stage).list()) == left


def test_a_moment_that_cannot_be_read_never_comes(stage: Stage) -> None:
    """Such an entry stays until someone deletes it."""
    entry = Entry(id="x", kind="run", file="x", name="x", deleted_at="yesterday")
    assert trash(stage).gone_on(entry) is None
    assert trash(stage).gone_on(entry.model_copy(update={"deleted_at": now()})) is not None
