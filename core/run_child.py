"""Runs a script of the project where it finds the project's modules: ``python -P core/run_child.py <script> …``.

The project's folder goes to the END of ``sys.path``: its folder ``websockets/`` would otherwise shadow the installed
package of that name. ``-P`` keeps this file's own folder off it: ``core/statistics.py`` would shadow Python's. Children
are started through :func:`core.child.script_command`, so that none of them has to know how deep it lies.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
