"""Entry of every worker process: ``__main__.py job <dir>``, ``… chat``, ``… classify``, ``… llama`` or ``… speed``.

The project root goes to the END of ``sys.path``: its folder ``websockets/`` would otherwise shadow
the installed package of that name.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Before torch is imported: the tokenizer's threads must not be forked, and telemetry is off.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# How long torch's threads spin while they wait for each other. The default is so long that, as soon as anything else
# needs
# a core (the server, a browser), a spinning thread keeps the one it waits for from running: measured on two
# shared cores, 25 small matrix products a second instead of 817. Without spinning, each of a step's thousands of
# products
# has to wake them: 1.4 s for a step's forward and backward pass, against 1.0 s with 2,000 rounds.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

ROOT = str(Path(__file__).resolve().parent.parent.parent)
if ROOT not in sys.path:
    sys.path.append(ROOT)


def main(arguments: list[str]) -> int:
    """Dispatch; the exit code is 0 for a job that completed or was stopped, 1 for one that failed."""
    if len(arguments) == 2 and arguments[0] == "job":
        from core.training.worker import Worker

        return Worker(Path(arguments[1])).run()
    if arguments == ["chat"]:
        from core.training.chat.process import serve

        return serve()
    if arguments == ["classify"]:
        from core.training.chat.classify import serve as classify

        return classify()
    if arguments == ["llama"]:
        from core.training.llama.selftest import main as selftest

        return selftest()
    if arguments == ["speed"]:
        os.nice(19)  # Whatever else this machine does comes first.
        from core.training.speed import main as speed

        return speed()
    sys.stderr.write("usage: __main__.py job <folder> | chat | classify | llama | speed\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
