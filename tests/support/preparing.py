"""Dataset preparations that wait while a test needs them in progress."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.datasets.library import Library


def hold(library: Library, home: Path) -> None:
    """While there is a file ``hold`` in the home folder, a preparation's process waits at its start."""
    gate, prepare = home / "hold", library.prepare

    def held(
        config: dict[str, Any], *, started: Callable[[subprocess.Popen[str]], None] = lambda _: None, **more: Any
    ) -> dict[str, Any]:
        def begun(process: subprocess.Popen[str]) -> None:
            if gate.exists():
                process.send_signal(signal.SIGSTOP)
                threading.Thread(target=go_on, args=(process,), daemon=True).start()
            started(process)

        return prepare(config, started=begun, **more)

    def go_on(process: subprocess.Popen[str]) -> None:
        while gate.exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGCONT)

    setattr(library, "prepare", held)  # noqa: B010 (a method, to the type checker)
