"""Moving a folder: killed at any system call, it loses nothing, and the next start finishes or undoes it."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core import move
from core.errors import Unavailable
from core.job_dir import read_json
from core.move import Move, carry_out, read_move, settle, write_move
from core.settings import Home

CALLS = ("mkdir", "rename", "replace", "symlink", "unlink", "rmdir", "fsync", "open")


class Killed(BaseException):
    """What kill -9 looks like from inside: no handler gets to run."""


@pytest.fixture(autouse=True)
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Paths that were synced; these tests do not wait for the disk."""
    found: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda handle: found.append(Path(f"/proc/self/fd/{handle}").readlink()))
    return found


class Scene(NamedTuple):
    """A home folder whose outputs are about to move, with the places before and after."""

    home: Home
    move: Move
    before: dict[str, str]


def contents(folder: Path) -> dict[str, str]:
    """Every file, empty folder and symlink below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = "folder" if path.is_dir() else path.read_text()
    return found


def fill(folder: Path) -> None:
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "run" / "config.json").write_text("{}")
    (folder / "run" / "checkpoints" / "weights").write_text("w" * 5000)
    (folder / "run" / "empty").mkdir()
    (folder / "run" / "latest").symlink_to("checkpoints/weights")
    (folder / ".trash-0123").write_text("deleted")


def scene(root: Path, way: str, *, copied: bool) -> Scene:
    """``away``: from the home folder to a disk; ``on``: between two disks; ``back``: from a disk to the home folder."""
    home = Home(root / "home")
    home.make()
    home.moving.mkdir()
    for disk in ("one", "two"):
        (root / disk).mkdir()
    link, source, target = home.outputs, home.outputs, root / "two" / "runs"
    if way != "away":
        source = root / "one" / "runs"
        link.rmdir()
        source.mkdir()
        link.symlink_to(source)
        target = target if way == "on" else link
    elif copied:
        target.mkdir()  # an existing empty folder is as good as a new one
    fill(source)
    staged = target.with_name(f".{target.name}.moving-x")
    old = link.with_name(".outputs.old-x") if source == link else source
    plan = write_move(home, Move(link=link, source=source, target=target, staged=staged, old=old, size=5000))
    staged.mkdir()
    return Scene(home, plan, contents(source))


@contextmanager
def killed_at(count: int, after: bool) -> Iterator[list[int]]:
    """Killed before or after the system call with this number. Nothing else is done afterwards."""
    seen = [0]
    real = {name: getattr(os, name) for name in CALLS}

    def patched(call: Callable[..., Any]) -> Callable[..., Any]:
        def do(*args: Any, **more: Any) -> Any:
            seen[0] += 1
            if seen[0] > count or (seen[0] == count and not after):
                raise Killed
            result = call(*args, **more)
            if seen[0] == count:
                raise Killed
            return result

        return do

    try:
        for name, call in real.items():
            setattr(os, name, patched(call))
        yield seen
    finally:
        for name, call in real.items():
            setattr(os, name, call)


def only_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """As between two file systems, which are detected only by trying."""
    rename = os.rename

    def across(source: Path, target: Path) -> None:
        if ".moving-" in str(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", across)


def check_ended(there: Scene, *, moved: bool | None = None) -> None:
    """Everything is in one place, old or new; the symlink points there, and there are no leftovers."""
    home, plan, before = there
    assert contents(plan.link.resolve()) == before
    at = plan.link.resolve()
    assert at in {plan.source, plan.target} if moved is None else at == (plan.target if moved else plan.source)
    assert plan.link.is_symlink() == (at != plan.link)
    other = plan.target if at == plan.source else plan.source
    assert other == plan.link or not other.exists() or not any(other.iterdir())
    about = [path for folder in {home.root, plan.target.parent, plan.source.parent} for path in folder.glob(".*.*-x")]
    assert about == []
    assert read_move(home) is None


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "renamed"])
@pytest.mark.parametrize("way", ["away", "on", "back"])
def test_it_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synced: list[Path], way: str, *, copied: bool
) -> None:
    """With a symlink in its place, every byte, empty folders and symlinks included, and the original removed."""
    if copied:
        only_copies(monkeypatch)
    there = scene(tmp_path, way, copied=copied)
    said: list[int] = []
    carry_out(there.home, there.move, said.append)
    settle(there.home)
    check_ended(there, moved=True)
    assert sum(said) == (5009 if copied else 0)
    names = {"run/config.json", "run/checkpoints/weights", ".trash-0123", "run/checkpoints", "run/empty", "run", "."}
    assert not copied or {there.move.staged / name for name in names} <= set(synced)
    assert "were moved to" in (read_json(there.home.moving / "progress.json") or {})["message"]


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "renamed"])
@pytest.mark.parametrize("way", ["away", "on", "back"])
def test_killed_at_any_call_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, *, copied: bool
) -> None:
    """Even if the next start is killed in turn, a few calls later."""
    if copied:
        only_copies(monkeypatch)
    count, ended = 0, False
    while not ended:
        count += 1
        for after, again in ((False, 10_000), (True, count % 7 + 1)):
            root = tmp_path / f"{count}-{after}"
            root.mkdir()
            there = scene(root, way, copied=copied)
            try:
                with killed_at(count, after):
                    carry_out(there.home, there.move, lambda _: None)
                    settle(there.home)
                ended = True
            except Killed:
                there.home.make()  # what a start does first
                try:
                    with killed_at(again, after):
                        settle(there.home)
                except Killed:
                    there.home.make()
                    settle(there.home)
            check_ended(there)
            shutil.rmtree(root)
    assert count > 15


def test_until_the_swap_the_original_is_the_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted copy is removed, complete or not."""
    only_copies(monkeypatch)
    there = scene(tmp_path, "away", copied=True)
    move.copy(there.move.source, there.move.staged, lambda _: None)
    settle(there.home)
    check_ended(there, moved=False)
    error = (read_json(there.home.moving / "progress.json") or {})["error"]
    assert f"Everything is still in {there.home.outputs}" in error


def test_a_full_disk_ends_the_move_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what happened and what was kept; nothing is left on the disk."""
    only_copies(monkeypatch)
    there = scene(tmp_path, "away", copied=True)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(move, "_copy_one", full)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"root": str(there.home.root)})))
    move.main()
    check_ended(there, moved=False)
    said = read_json(there.home.moving / "progress.json") or {}
    assert said["state"] == "failed"
    assert "was not moved. The disk is full." in said["error"]
    assert said["error"].endswith(f"Everything is still in {there.home.outputs}. The copy was removed.")


def test_a_copy_on_a_disk_that_is_gone_is_named(tmp_path: Path) -> None:
    """It cannot be removed, and the original is unchanged."""
    there = scene(tmp_path, "away", copied=True)
    (tmp_path / "two").rename(tmp_path / "unplugged")
    settle(there.home)
    assert contents(there.home.outputs) == there.before
    assert (
        f"Delete the unfinished copy {there.move.staged}"
        in ((read_json(there.home.moving / "progress.json") or {})["error"])
    )


def test_a_copy_that_is_not_the_same_is_not_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk stored fewer bytes than it was given."""
    only_copies(monkeypatch)
    there = scene(tmp_path, "away", copied=True)
    real = move._copy_one

    def short(source: Path, target: Path, seen: tuple[int, int, int], say: Callable[[int], None]) -> None:
        real(source, target, seen, say)
        if target.name == "weights":
            os.truncate(target, 100)

    monkeypatch.setattr(move, "_copy_one", short)
    with pytest.raises(Unavailable, match="not the same"):
        carry_out(there.home, there.move, lambda _: None)
    settle(there.home)
    check_ended(there, moved=False)


def test_changes_during_the_copy_move_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Viewed pages write indexes, and the trash deletes expired items."""
    only_copies(monkeypatch)
    there = scene(tmp_path, "away", copied=True)
    run, changes = there.move.source / "run", iter([1])

    def change(_: int) -> None:
        if next(changes, None):
            (run / "config.json").write_text('{"longer": true}')
            (run / "checkpoints" / "weights").unlink()
            (run / "checkpoints").rmdir()
            (run / "checkpoints").write_text("a file by now")
            (run / "new").mkdir()
            (run / "new" / "index").write_text("index")

    carry_out(there.home, there.move, change)
    settle(there.home)
    found = contents(there.move.target)
    assert found.pop("run/new/index") == "index"
    assert found["run/config.json"] == '{"longer": true}'
    assert found["run/checkpoints"] == "a file by now"
    assert "run/checkpoints/weights" not in found


def test_a_folder_that_keeps_changing_stays(tmp_path: Path) -> None:
    """A copy that never matches the original is not used."""
    (tmp_path / "to").mkdir()
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "log").write_text("line")

    def grow(_: int) -> None:
        with (tmp_path / "from" / "log").open("a") as file:
            file.write("line")

    with pytest.raises(Unavailable, match="kept changing"):
        move.copy(tmp_path / "from", tmp_path / "to", grow)


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "renamed"])
def test_a_place_that_was_taken_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, copied: bool
) -> None:
    """The folder was empty when the move began."""
    if copied:
        only_copies(monkeypatch)
    there = scene(tmp_path, "away", copied=copied)
    there.move.target.mkdir(exist_ok=True)
    (there.move.target / "mine").write_text("mine")
    with pytest.raises(OSError, match="not empty"):
        carry_out(there.home, there.move, lambda _: None)
    settle(there.home)
    assert contents(there.move.target) == {"mine": "mine"}
    assert contents(there.home.outputs) == there.before
    assert read_move(there.home) is None


@pytest.mark.parametrize("phase", ["swap", "delete"])
def test_without_the_new_disk_nothing_is_swapped_or_deleted(tmp_path: Path, phase: move.Phase) -> None:
    """A move interrupted after the copy waits for the disk, and is finished when it is back."""
    there = scene(tmp_path, "away", copied=True)
    move.copy(there.move.source, there.move.staged, lambda _: None)
    write_move(there.home, there.move, "swap")
    if phase == "delete":
        move._place(there.home, there.move)
        move._swap(there.move)
        write_move(there.home, there.move, "delete")
    (tmp_path / "two").rename(tmp_path / "unplugged")
    with pytest.raises(Unavailable, match="Nothing was lost"):
        settle(there.home)
    kept = there.move.old if phase == "delete" else there.move.source
    assert kept is not None
    assert contents(kept) == there.before
    (tmp_path / "unplugged").rename(tmp_path / "two")
    settle(there.home)
    check_ended(there, moved=True)


def test_an_original_that_cannot_be_deleted_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The move is complete all the same."""
    only_copies(monkeypatch)
    there = scene(tmp_path, "on", copied=True)

    def refuse(path: Path, what: str) -> None:
        raise Unavailable("no")

    monkeypatch.setattr(move, "remove_folder", refuse)
    carry_out(there.home, there.move, lambda _: None)
    settle(there.home)
    assert there.home.outputs.resolve() == there.move.target
    assert f"delete {there.move.source} yourself" in (read_json(there.home.moving / "progress.json") or {})["message"]
