"""Moves the large folders of the home to another place, usually a bigger disk, while nothing else is changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from core import progress
from core.child import child_environment, script_command
from core.disk import disk_words
from core.errors import Conflict, InvalidInput, Unavailable
from core.job import new_id
from core.model import typed_path
from core.move import Move, MoveProgress, read_move, settle, write_move
from core.process import identify
from core.settings import PROJECT, Home
from services.machine.bin import Bin, size_of
from services.words import size

SCRIPT = PROJECT / "core" / "move.py"
MOVABLE = ("outputs", "exports", "uploads", "cache")
SPARE = 250_000_000
"""Bytes that must stay free besides."""
PATIENCE = 5.0
"""Seconds that requests under way have to end."""
SHOWN = 86_400.0
"""Seconds for which the result of a move is shown."""
VANISHED = "The last move has ended without a word of how. The list below shows where the folders are."
SYSTEM = tuple(
    Path("/", name)
    for name in ("bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr", "var")
)
"""Where the system keeps its own, and what it empties. A home that is in one of these may stay there."""


class Folders:
    """Operations on where folders are. While one moves, every request that changes something is refused.

    Args:
        home: Whose folders.
        free: Called before a move, so that models that are loaded do not hold the old files.

    Attributes:
        under_way: What must end before a move, in words; '' for nothing.
    """

    def __init__(self, home: Home, free: Callable[[], None]) -> None:
        self._home, self._free = home, free
        self.under_way: Callable[[], str] = str
        self._turn = threading.Condition()
        self._changing = 0
        self._starting = False

    # --- the hold ---

    def held(self) -> bool:
        """Whether a folder moves, or is about to. A move whose process is gone is finished or undone here.

        Raises:
            Unavailable: That is not possible now.
        """
        if self._starting:
            return True
        with self._turn:
            if read_move(self._home) is None:
                return False
            last = progress.last_word(self._home.moving, MoveProgress)
            if last and last.state == "working" and progress.process_of(last):
                return True
            settle(self._home)
            return False

    def check(self) -> None:
        """Raises Conflict while a folder is being moved."""
        if self.held():
            raise Conflict(
                "A folder is being moved to another place, so nothing can be started or changed until that ends. "
                "Nothing was changed. Settings shows its progress, and you can cancel it there."
            )

    def enter(self) -> None:
        """Before a request that may change something; :meth:`leave` after it. Raises Conflict as :meth:`check`."""
        with self._turn:
            self.check()
            self._changing += 1

    def leave(self) -> None:
        with self._turn:
            self._changing -= 1
            self._turn.notify_all()

    # --- look ---

    def look(self) -> MoveProgress | None:
        """The move under way, else the latest for a day."""
        try:
            self.held()
        except OSError as error:
            return MoveProgress(state="failed", error=disk_words(error) or str(error))
        last = progress.read(self._home.moving, MoveProgress, VANISHED)
        return None if last is None or (last.state != "working" and self._ended_long_ago()) else last

    def _ended_long_ago(self) -> bool:
        return time.time() - (self._home.moving / progress.PROGRESS).stat().st_mtime > SHOWN

    # --- move ---

    def move(self, name: str, to: str | None = None) -> None:
        """Start to move a folder.

        Args:
            name: One of :data:`MOVABLE`.
            to: The whole path of a new or empty folder; None for back into the home folder.

        Raises:
            InvalidInput: It cannot go there.
            Conflict: Something is under way, or there is nothing to move.
            Unavailable: There is not enough room, or nothing can be written there.
        """
        with self._turn:
            self.check()
            self._starting = True
        try:
            self._quiet()
            plan = planned(self._home, name, to)
            self._free()
            self._run(plan)
        finally:
            self._starting = False

    def _quiet(self) -> None:
        with self._turn:
            if not self._turn.wait_for(lambda: self._changing == 0, PATIENCE):
                raise Conflict("Another request is still being answered. Nothing was moved. Try again in a moment.")
        if words := self.under_way():
            raise Conflict(f"{words} Nothing was moved. Wait until that ends, or stop it, then try again.")

    def _run(self, plan: Move) -> None:
        home = self._home
        home.moving.mkdir(exist_ok=True)
        (home.moving / progress.PROGRESS).unlink(missing_ok=True)
        write_move(home, plan)
        try:
            plan.staged.mkdir()
            with (home.moving / "worker.log").open("wb") as log:
                process = subprocess.Popen(
                    script_command(SCRIPT), stdin=subprocess.PIPE, stdout=log, stderr=log, env=child_environment(),
                    start_new_session=True, cwd="/",
                )  # fmt: skip
        except OSError as error:
            settle(home, f"{error.strerror or error}.")
            raise Unavailable(
                f"{plan.target} cannot be made: {error.strerror or error}. Nothing was moved. Choose a folder "
                "that your user account can write to."
            ) from None
        # Written before the process is told its task: from then on it is the one that writes.
        first = MoveProgress(state="working", message=f"Moving to {plan.target}", total_bytes=plan.size)
        progress.write_progress(home.moving, first.by(identify(process.pid)))
        if process.stdin is not None:
            with process.stdin as pipe:
                pipe.write(json.dumps({"root": str(home.root)}).encode())
        threading.Thread(target=process.wait, daemon=True).start()  # so that it does not stay a zombie

    def cancel(self) -> None:
        """Stop the move. What was swapped already is finished; otherwise everything stays where it was."""
        with self._turn:
            last = progress.last_word(self._home.moving, MoveProgress)
            if read_move(self._home) and last and last.state == "working":
                progress.stop_process(self._home.moving, last)
                settle(self._home, "It was canceled.")


def planned(home: Home, name: str, to: str | None) -> Move:
    """The move of a folder, checked; raises as :meth:`Folders.move`."""
    if name not in MOVABLE:
        raise InvalidInput("Choose which folder to move.", field="name")
    link = home.root / name
    if not link.is_dir():
        raise Unavailable(f"{link} cannot be read. Connect the disk that it is on, then try again.")
    source, target = link.resolve(), link if to is None else _target(home, to.strip(), link)
    if os.path.ismount(link):
        raise Conflict(f"{link} is a disk or volume of its own, so only whoever set it up can move it.")
    if source == target:
        raise Conflict(f"{link} is there already.")
    if source == link:
        Bin(home).keep_beside(link)
    tag, whole = new_id(), size_of(source, copied=True)
    staged = target.with_name(f".{target.name}.moving-{tag}")
    if source.stat().st_dev != staged.parent.stat().st_dev:
        free = shutil.disk_usage(staged.parent).free
        if free < whole + SPARE:
            raise Unavailable(
                f"There is not enough room: {link} is {size(whole)}, and {size(free)} are free in {staged.parent}; "
                f"{size(SPARE)} must stay free. Nothing was moved. Free some space, or choose another disk."
            )
    old = link.with_name(f".{name}.old-{tag}") if source == link else source
    return Move(link=link, source=source, target=target, staged=staged, old=old, size=whole)


def _target(home: Home, to: str, link: Path) -> Path:
    """A new or empty folder, absolute and without links, that nothing else has a claim to."""
    if not to.startswith("/") or not to.isprintable():
        raise InvalidInput("Enter the whole path of the new folder, beginning with a slash.", field="to")
    target = typed_path(to, "to")
    for own in {home.root, PROJECT, *(path.resolve() for path in home.root.iterdir() if path.is_dir())}:
        if target == own or target in own.parents or own in target.parents:
            why = f"{target} overlaps with {own}, where Tunesmith keeps files. Choose a folder elsewhere."
            raise InvalidInput(why, field="to")
    systems = [path for path in SYSTEM if path in target.parents and path not in home.root.parents]
    if len(target.parts) < 3 or (systems and Path("/run/media") not in target.parents):
        raise InvalidInput(f"{target} belongs to the system. Choose a folder on one of your disks.", field="to")
    if not target.parent.is_dir():
        raise InvalidInput(f"{target.parent} does not exist. Create it first, or connect its disk.", field="to")
    if os.path.ismount(target):
        raise InvalidInput(f"{target} is a whole disk. Enter a folder on it, such as {target / link.name}.", field="to")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InvalidInput(f"{target} is not empty. Enter a new or an empty folder.", field="to")
    return target
