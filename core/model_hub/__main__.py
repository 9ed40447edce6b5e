"""Downloads a model in a separate process, which reads one JSON request on stdin: ``{"folder", "root"}``."""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Do the one request."""
    from core.model_hub.download import answer

    answer(json.load(sys.stdin))


if __name__ == "__main__":
    main()
