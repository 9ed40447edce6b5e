"""Runs a script of the project with the project's modules importable: ``python -P core/run_child.py <script> …``.

The project's folder goes to the END of ``sys.path``: its folder ``websockets/`` would otherwise shadow the installed
package of that name. ``-P`` keeps this file's own folder off it: ``core/statistics.py`` would shadow Python's. Children
are started through :func:`core.child.script_command`, so none of them needs to know its depth in the tree.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
