"""Moves one of the home's folders to another place, usually a bigger disk, and leaves a link to it.

It is copied beside the new place and compared. Only then a link takes the folder's place, and the original is deleted.
On one file system a rename does instead of the copy. ``.move/move.json`` says how far it is: as long as that is
``copy``, the original is the truth and the copy can be deleted; from then on every step can be repeated. So whoever
finds an interrupted move undoes or finishes it (:func:`settle`). The process reads ``{"root"}`` as JSON on stdin.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from core import progress
from core.disk import disk_words
from core.errors import TunesmithError, Unavailable
from core.job_dir import read_model, remove_folder, write_json
from core.settings import Home

JOURNAL = "move.json"
PIECE = 1 << 22
ROUNDS = 20
"""Passes over the original after which it is still changing too often to be moved."""
Phase = Literal["copy", "rename", "swap", "delete"]
Listing = dict[str, tuple[int, int, int]]
"""By the path in a folder: what kind of file, how many bytes, changed when (ns)."""


class Move(BaseModel):
    """``move.json``, which is there until nothing of the move is left to do.

    Attributes:
        link: The folder in the home folder, where a link is left.
        source: Where its content is: ``link`` itself, or what it is a link to.
        target: Where it goes; ``link`` itself where it moves back.
        staged: Where it is copied to first, beside ``target``.
        old: What is deleted at the end; None where a rename leaves nothing.
        size: Bytes.
    """

    model_config = ConfigDict(frozen=True)

    link: Path
    source: Path
    target: Path
    staged: Path
    old: Path | None
    size: int
    phase: Phase = "copy"


class MoveProgress(progress.Progress):
    """Its progress: bytes copied, and of how many."""

    bytes: int = 0
    total_bytes: int = 0

    @property
    def share(self) -> float | None:
        """From 0 to 1; None before the first byte, and where a rename does."""
        return min(1.0, self.bytes / self.total_bytes) if self.bytes and self.total_bytes else None


def read_move(home: Home) -> Move | None:
    """The move that is not at its end, or None."""
    return read_model(home.moving / JOURNAL, Move)


def write_move(home: Home, move: Move, phase: Phase = "copy") -> Move:
    """Write down how far it has come, and return it so."""
    move = move.model_copy(update={"phase": phase})
    write_json(home.moving / JOURNAL, move.model_dump(mode="json"))
    _sync(home.moving)
    return move


def carry_out(home: Home, move: Move, say: Callable[[int], None]) -> None:
    """Move it all. Whatever goes wrong on the way is for :func:`settle` to put right."""
    if move.source.stat().st_dev == move.staged.parent.stat().st_dev:
        try:
            renamed = _rename(home, write_move(home, move.model_copy(update={"old": None}), "rename"))
        except OSError:  # a bind mount, for example; nothing has changed
            write_move(home, move)
        else:
            _finish(home, renamed)
            return
    copy(move.source, move.staged, say)
    _finish(home, write_move(home, move, "swap"))


def settle(home: Home, why: str = "It was interrupted.") -> None:
    """Finish the move that is not at its end, or undo it where nothing was swapped. Its process must be gone.

    Args:
        home: Whose.
        why: What to say of a move that is undone.

    Raises:
        Unavailable: Neither is possible now. Nothing is lost, and the next attempt goes on from here.
    """
    move = read_move(home)
    if move is None:
        return
    try:
        left = _finish(home, move) if move.phase != "copy" else ""
    except OSError as error:
        undone = read_move(home)
        if undone is None or undone.phase != "copy":
            raise Unavailable(
                f"Moving {move.link} to {move.target} was interrupted and cannot be finished: "
                f"{disk_words(error) or error}. Nothing was lost. Make sure that both disks are connected, then start "
                "Tunesmith again."
            ) from None
        move, why = undone, f"{disk_words(error) or error}."
    if move.phase == "copy":
        shutil.rmtree(move.staged, ignore_errors=True)
        gone = move.staged.parent.is_dir() and not move.staged.exists()
        rest = "The copy was removed." if gone else f"Delete the unfinished copy {move.staged} yourself."
        said = f"{move.link} was not moved. {why} Everything is still in {move.source}. {rest}"
        last = MoveProgress(state="failed", error=said)
    else:
        said = f"The files in {move.source} were moved to {move.target}. {left}".strip()
        last = MoveProgress(state="done", message=said)
    # First, for whoever finds a last word and no process must find nothing to do.
    (home.moving / JOURNAL).unlink()
    with suppress(OSError):  # a full disk
        progress.write_progress(home.moving, last)


def _finish(home: Home, move: Move) -> str:
    """From any phase but ``copy``. Each step looks first whether it was done before."""
    if move.phase == "rename":
        move = _rename(home, move)
    if move.phase == "swap":
        if move.target != move.link:
            _place(home, move)
        _swap(move)
        move = write_move(home, move, "delete")
    if not move.link.is_dir():
        raise FileNotFoundError(f"{move.target} is not there")
    try:
        if move.old:
            remove_folder(move.old, "The original")
    except Unavailable:
        return f"The original could not be deleted: delete {move.old} yourself."
    return ""


def _rename(home: Home, move: Move) -> Move:
    # An empty folder may be in the place of the original, made by a start in between.
    if move.source.is_dir() and not (move.staged.is_dir() and any(move.staged.iterdir())):
        try:
            move.source.rename(move.staged)
        except OSError:
            write_move(home, move)
            raise
    return write_move(home, move, "swap")


def _place(home: Home, move: Move) -> None:
    if not move.staged.exists():
        if not move.target.is_dir():
            raise FileNotFoundError(f"{move.target} is not there")
        return
    try:
        move.staged.rename(move.target)
    except OSError:  # Something was put there. Back to where nothing had changed.
        if move.old is None:
            write_move(home, move, "rename")
            move.staged.rename(move.source)
        write_move(home, move)
        raise


def _swap(move: Move) -> None:
    """Put the link in the folder's place, or the folder in the link's."""
    link, away = move.link, move.target != move.link
    if (link.is_symlink() and link.readlink() == move.target) if away else not move.staged.exists():
        return
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        if move.old and not move.old.exists():
            link.rename(move.old)
        else:
            link.rmdir()  # made empty by a start in between; where it is not, this fails and deletes nothing
    if away:
        link.symlink_to(move.target)
    else:
        move.staged.rename(link)
    _sync(move.target.parent)
    _sync(link.parent)


# --- the copy ---


def copy(source: Path, target: Path, say: Callable[[int], None]) -> None:
    """Copy a folder until a pass over it finds nothing new, each file to the disk, then compare names and sizes.

    Pages that are looked at meanwhile may write what they derive, such as an index.

    Raises:
        OSError: Something cannot be read or written.
        Unavailable: The copy is not the same, or the original keeps changing.
    """
    done: Listing = {}
    for _ in range(ROUNDS):
        found = listing(source)
        if found == done:
            break
        for name in sorted(done.keys() - {name for name in found if found[name][0] == done.get(name, (0,))[0]})[::-1]:
            _remove(target / name)
        for name in sorted(found):
            if done.get(name) != found[name]:
                # Deleted meanwhile, or by now something else: the next pass sees that.
                with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                    _copy_one(source / name, target / name, found[name], say)
        done = found
    else:
        raise Unavailable("Files in it kept changing.")
    for name in [*sorted(name for name in done if stat.S_ISDIR(done[name][0]))[::-1], ""]:
        shutil.copystat(source / name, target / name)
        _sync(target / name)
    if _sizes(listing(target)) != _sizes(done):
        raise Unavailable("The copy is not the same as the original.")


def listing(root: Path) -> Listing:
    """Every file, folder and link in a folder, however deep."""
    found: Listing = {}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(root / folder))
        except FileNotFoundError:
            if not folder:
                raise
            continue  # deleted meanwhile
        for entry in entries:
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                kind, name = stat.S_IFMT(status.st_mode), f"{folder}{entry.name}"
                if kind == stat.S_IFDIR:
                    found[name] = (kind, 0, 0)
                    waiting.append(f"{name}/")
                elif kind in {stat.S_IFREG, stat.S_IFLNK}:  # the rest, such as a dead process's socket, has no content
                    found[name] = (kind, status.st_size, status.st_mtime_ns)
    return found


def _sizes(found: Listing) -> dict[str, tuple[int, int]]:
    return {name: (kind, size) for name, (kind, size, _) in found.items()}


def _copy_one(source: Path, target: Path, seen: tuple[int, int, int], say: Callable[[int], None]) -> None:
    kind, left, _ = seen
    if kind == stat.S_IFDIR:
        target.mkdir()
        return
    target.unlink(missing_ok=True)
    if kind == stat.S_IFLNK:
        target.symlink_to(source.readlink())
        return
    with source.open("rb") as read, target.open("xb") as write:
        while piece := read.read(min(PIECE, left)):  # no more than was there: what grows is copied by the next pass
            left -= len(piece)
            write.write(piece)
            say(len(piece))
        write.flush()
        os.fsync(write.fileno())
    shutil.copystat(source, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have the names in a folder written to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def main() -> None:
    """Carry out the move that is written down."""
    home = Home(Path(json.load(sys.stdin)["root"]))
    move = read_move(home)
    if move is None:
        return
    reporter = progress.Reporter(
        home.moving, MoveProgress(state="working", message=f"Moving to {move.target}", total_bytes=move.size)
    )
    why = ""
    try:
        carry_out(home, move, lambda more: reporter.say(bytes=reporter.now.bytes + more))
    except TunesmithError as error:
        why = error.message
    except OSError as error:
        why = disk_words(error) or f"{error.strerror or error}."
    reporter.close()
    settle(home, why)


if __name__ == "__main__":
    main()
