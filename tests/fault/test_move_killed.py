"""kill -9 while a folder moves to another file system: the next start has all of it, in one place."""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from core.child import child_environment, script_command
from core.move import Move, write_move
from core.settings import PROJECT, Home
from tests.support.live import Live

pytestmark = pytest.mark.fault
MEMORY = Path("/dev/shm")


def test_a_move_survives_its_death(home: Home) -> None:
    """At random times, there and back."""
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == home.root.stat().st_dev:
        pytest.skip("this machine has only one file system")
    for number in range(400):
        (home.outputs / f"file-{number}").write_text("x" * number * 50)
    before = {path.name: path.stat().st_size for path in home.outputs.iterdir()}
    home.moving.mkdir()
    chance, live = random.Random(str(home.root)), Live(home.root)
    with tempfile.TemporaryDirectory(dir=MEMORY) as disk:
        runs = Path(disk) / "runs"
        for number in range(8):
            back = home.outputs.is_symlink()
            source, target = (runs, home.outputs) if back else (home.outputs, runs)
            process = begin(home, source, target)
            time.sleep(chance.uniform(0, 3))
            process.kill()
            process.wait()
            live.start()
            live.kill()
            assert {path.name: path.stat().st_size for path in home.outputs.iterdir()} == before, number
            assert [*home.root.glob(".*.*-x"), *Path(disk).glob(".*"), *home.moving.glob("move.json")] == [], number
            assert home.outputs.is_symlink() == runs.exists(), number


def begin(home: Home, source: Path, target: Path) -> subprocess.Popen[bytes]:
    staged = target.with_name(f".{target.name}.moving-x")
    old = home.root / ".outputs.old-x" if source == home.outputs else source
    write_move(home, Move(link=home.outputs, source=source, target=target, staged=staged, old=old, size=1))
    staged.mkdir()
    command = script_command(PROJECT / "core" / "move.py")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=child_environment(), cwd="/")
    assert process.stdin
    with process.stdin as pipe:
        pipe.write(json.dumps({"root": str(home.root)}).encode())
    return process
