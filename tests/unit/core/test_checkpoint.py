"""Replacing one folder with another, with the writer killed at each step."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from core.job_dir import JobDir
from core.training.job.checkpoint import prune, whole_folder

KILLED_AFTER = """
import os, signal, sys
from pathlib import Path
from core.training.job.checkpoint import whole_folder

left, rename = int(sys.argv[2]), Path.rename

def counted(self, target):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    moved = rename(self, target)
    if left == 0 and sys.argv[3] == "at once":
        os.kill(os.getpid(), signal.SIGKILL)
    return moved

Path.rename = counted
with whole_folder(Path(sys.argv[1]), "the adapter") as folder:
    (folder / "weights").write_text("second")
"""


def write(target: Path, text: str) -> None:
    with whole_folder(target, "the adapter") as folder:
        (folder / "weights").write_text(text)


@pytest.mark.parametrize(("renames", "when"), [(0, "before"), (1, "at once"), (2, "at once")])
def test_a_killed_writer_leaves_nothing_in_the_way(tmp_path: Path, renames: int, when: str) -> None:
    """Killed before the old folder is moved, after that, and with the new one in place."""
    target = tmp_path / "adapter"
    write(target, "first")
    killed = subprocess.run([sys.executable, "-c", KILLED_AFTER, str(target), str(renames), when], check=False)
    assert killed.returncode == -9
    write(target, "third")
    assert (target / "weights").read_text() == "third"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.parametrize("name", ["adapter", "another"])
def test_a_failed_write_after_a_kill_keeps_what_was_there(tmp_path: Path, name: str) -> None:
    """The old folder, moved away by the killed writer, is put back before the next write, whatever happens to it."""
    target = tmp_path / "adapter"
    write(target, "first")
    subprocess.run([sys.executable, "-c", KILLED_AFTER, str(target), "1", "at once"], check=False)
    assert not target.exists()
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / name, "the adapter"):
        _ = 1 / 0
    assert (target / "weights").read_text() == "first"


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails between the two renames loses nothing."""
    target = tmp_path / "adapter"
    write(target, "first")
    real, results = Path.rename, iter([True, False])

    def failing(self: Path, to: Path) -> Path:
        if not next(results, True):
            raise OSError(errno.EIO, "Input/output error")
        return real(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output"):
        write(target, "second")
    assert (target / "weights").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_leftovers_of_a_killed_prune_do_not_block_the_next(tmp_path: Path) -> None:
    """Even if the same step was trained and saved again in between."""
    run = JobDir(tmp_path)
    for name in (".checkpoint-2", "checkpoint-2", "checkpoint-4", "checkpoint-6", "warm-up"):
        (run.checkpoints / name).mkdir(parents=True)
        (run.checkpoints / name / "weights").write_text(name)
    prune(run, keep=2)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["checkpoint-4", "checkpoint-6", "warm-up"]
