"""Loads Flask-SocketIO without aiohttp.

python-socketio imports aiohttp for its asynchronous client if it is installed (``datasets`` brings it here). A server
never uses that client, and loading it takes as long as the rest of Socket.IO: a tenth of the second that a
start may take. An entry of None makes Python report that there is no such package, which python-socketio handles.
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
