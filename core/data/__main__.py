"""Reads untrusted data in a separate process, for one JSON request on stdin.

It is started by :func:`core.child.script_command`. The Hugging Face libraries would load torch into the web process,
and a hostile chat template could fill its memory or loop forever. Here both can be stopped without side effects. The
response is one JSON object on stdout: ``{"result": …}`` or ``{"error": {"kind", "message", "field"}}``.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEMORY = 1 << 30
CPU_SECONDS = 5


def main() -> None:
    """Answer the one request."""
    from core.errors import TunesmithError

    request = json.load(sys.stdin)
    operations: dict[str, Callable[..., Any]] = {
        "peek": _peek,
        "fetch": _fetch,
        "render": _render,
        "trained": _trained,
        "work": _work,
        "tasks": _tasks,
    }
    answer: dict[str, Any]
    try:
        answer = {"result": operations[request.pop("op")](**request)}
    except TunesmithError as error:
        answer = {"error": {"kind": type(error).__name__, "message": error.message, "field": error.field}}
    json.dump(answer, sys.stdout, allow_nan=False)


def _peek(dataset: dict[str, Any], root: str, samples: int, whole: bool = False) -> dict[str, Any]:
    from core.config import DatasetSection
    from core.data import sources
    from core.data.cells import plain
    from core.settings import Home

    rows, columns, total = sources.peek(DatasetSection.model_validate(dataset), Home(Path(root)), samples, whole=whole)
    return {"rows": [plain(row) for row in rows], "columns": columns, "total": total}


def _fetch(name: str, revision: str | None, files: list[str]) -> str:
    from core.data import hub

    return str(hub.fetch_files(name, revision, files))


def _work(folder: str, root: str, limit: int) -> None:
    from core.data.work import work

    work(Path(folder), Path(root), limit)


def _tasks() -> list[dict[str, Any]]:
    from core.data import tasks

    return [task.model_dump(mode="json") for task in tasks.catalogue()]


def _render(
    template: str | None, special: dict[str, str], control: list[str], conversations: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    from core.data.chat_template import show
    from core.data.conversation import Conversation
    from core.errors import InvalidInput

    answers: list[dict[str, Any]] = []
    refused: InvalidInput | None = None
    for data in conversations:
        try:
            found = show(Conversation.read(data), template, special, control)
            answers.append({"parts": found.parts, "changes": found.changes})
        except InvalidInput as error:
            refused = error
            answers.append({"refused": error.message})
    if refused is not None and all("refused" in answer for answer in answers):
        raise refused
    return answers


def _trained(
    template: str | None,
    special: dict[str, str],
    control: list[str],
    begin: str,
    dataset: dict[str, Any],
    rows: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """For each row, by each choice of what is trained on: ``texts`` and ``changes``, or why it is ``refused``."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    from core.config import DatasetSection
    from core.data.spans import Template, texts_of
    from core.data.trained_on import WORDS
    from core.errors import InvalidInput

    section, made = DatasetSection.model_validate(dataset), Template(template, special, frozenset(control), begin)
    answers = []
    for row in rows:
        by_choice: dict[str, Any] = {}
        for choice in WORDS:
            try:
                found = texts_of(row, section, choice, made)
                by_choice[choice] = {"texts": [text.json() for text in found.texts], "changes": found.changes}
            except InvalidInput as error:
                by_choice[choice] = {"refused": error.message}
        answers.append(by_choice)
    return answers


if __name__ == "__main__":
    main()
