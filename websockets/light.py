"""Loads Flask-SocketIO without aiohttp.

python-socketio imports aiohttp for its asynchronous client if it is installed, and ``datasets`` depends on it. The
server never uses that client, and importing it takes as long as the rest of Socket.IO: about 0.1 s of the 1 s budget
for startup. Setting the module to None makes the import fail, which python-socketio handles.
"""

from __future__ import annotations

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_hidden = "aiohttp" not in _modules
if _hidden:
    _modules["aiohttp"] = None
try:
    from flask_socketio import SocketIO
finally:
    if _hidden:
        del _modules["aiohttp"]

__all__ = ["SocketIO"]
