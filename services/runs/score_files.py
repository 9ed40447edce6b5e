"""Scores a file of prompts with right and wrong answers by a run's reward model (best-of-n).

A thread of the server sends the answers to the model's own process, one file at a time. Its state is in the run's
folder after every batch, so a page shows how far it is; if the server ends in between, the file has to be scored again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from core.best_of import BestOf, Question, questions, result
from core.config import DatasetSection
from core.data.sources import iter_rows
from core.errors import Conflict, NotFound, TunesmithError
from core.job import check_id, new_id
from core.job_dir import JobDir, read_model, write_json
from core.reward import Item
from core.rewards.classifier import RUN, unusable_run
from core.rewards.reward_model import raw_scores
from core.settings import Home

BATCH = 8
"""Answers that are sent at a time."""
KEPT = 20
"""Results of a run; the oldest are removed."""


class ScoredFile(BaseModel):
    """``scored/<id>.json`` in a run's folder.

    Attributes:
        id: Its name.
        dataset: The file, as ``upload:<id>``.
        name: The file's name.
        state: ``scoring``, ``completed``, ``failed`` or ``canceled``.
        done, of: Answers that are scored, and all.
        message: Why it failed.
        result: Once it is completed.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    dataset: str
    name: str
    created_at: str
    state: Literal["scoring", "completed", "failed", "canceled"]
    done: int = 0
    of: int = 0
    message: str = ""
    result: BestOf | None = None


@dataclass(frozen=True)
class _Work:
    path: Path
    session_id: str
    asked: Sequence[Question]
    stop: threading.Event


class ScoreFiles:
    """Operations on files of answers.

    Args:
        home: Location of runs and uploads.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._at_work: dict[str, _Work] = {}

    def start(self, session_id: str, source: str, name: str) -> ScoredFile:
        """Score an uploaded file.

        Args:
            session_id: The run.
            source: The file as ``upload:<id>``.
            name: What to call it.

        Raises:
            Conflict: The run has no reward model, or a file is being scored by it already.
            NotFound: There is no such file.
            InvalidInput: Its rows have another form.
        """
        run = JobDir.open(self._home.outputs, session_id)
        if reason := unusable_run(f"{RUN}{session_id}"):
            raise Conflict(f"This file cannot be scored: {reason}.")
        if any(work.session_id == session_id for work in self._at_work.values()):
            raise Conflict("This run's reward model is scoring a file already. Wait until that ends, or cancel it.")
        if not source.startswith("upload:"):
            raise NotFound("Upload the file as a dataset first, then choose it.", field="dataset")
        section = DatasetSection.model_validate({"source": source, "instruction_field": "prompt"})
        asked = questions(iter_rows(section, self._home))
        entry = ScoredFile(
            id=new_id(), dataset=source, name=name, created_at=datetime.now(UTC).isoformat(), state="scoring",
            of=sum(len(one.answers) for one in asked),
        )  # fmt: skip
        run.scored.mkdir(exist_ok=True)
        for old in sorted(run.scored.glob("*.json"))[: -KEPT + 1]:
            old.unlink(missing_ok=True)
        work = _Work(run.scored / f"{entry.id}.json", session_id, asked, threading.Event())
        self._write(work, entry)
        with self._lock:
            self._at_work[entry.id] = work
        threading.Thread(target=self._score, args=(work, entry), daemon=True, name=f"score {entry.id}").start()
        return entry

    def list(self, session_id: str) -> list[ScoredFile]:
        """A run's files, newest first."""
        run = JobDir.open(self._home.outputs, session_id)
        found = [one for path in run.scored.glob("*.json") if (one := read_model(path, ScoredFile))]
        return [self._known(one) for one in sorted(found, key=lambda one: one.created_at, reverse=True)]

    def get(self, session_id: str, file_id: str) -> ScoredFile:
        """One of them. Raises NotFound."""
        check_id(file_id)
        found = next((one for one in self.list(session_id) if one.id == file_id), None)
        if found is None:
            raise NotFound("This run has scored no such file.")
        return found

    def cancel(self, session_id: str, file_id: str) -> ScoredFile:
        """Stop scoring a file after the current batch.

        Raises:
            NotFound: There is no such file.
            Conflict: It is not being scored.
        """
        entry = self.get(session_id, file_id)
        work = self._at_work.get(file_id)
        if work is None:
            raise Conflict("This file is not being scored.")
        work.stop.set()
        return entry

    @property
    def busy(self) -> bool:
        """Whether a file is being scored."""
        return bool(self._at_work)

    def close(self) -> None:
        """Stop everything."""
        for work in tuple(self._at_work.values()):
            work.stop.set()

    def _known(self, entry: ScoredFile) -> ScoredFile:
        if entry.state == "scoring" and entry.id not in self._at_work:
            interrupted = "The server was stopped in between. Score the file again."
            return entry.model_copy(update={"state": "failed", "message": interrupted})
        return entry

    def _score(self, work: _Work, entry: ScoredFile) -> None:
        try:
            with self._turn:
                end = self._scored(work, entry)
        except TunesmithError as error:
            end = {"state": "failed", "message": error.message}
        except Exception as error:  # noqa: BLE001 (the thread's own boundary: whatever happens is shown on the page)
            end = {"state": "failed", "message": f"It failed unexpectedly: {type(error).__name__}: {error}"}
        self._write(work, entry.model_copy(update=end))
        with self._lock:
            self._at_work.pop(entry.id, None)

    def _scored(self, work: _Work, entry: ScoredFile) -> Mapping[str, Any]:
        answers = [Item(answer, one.prompt, {}) for one in work.asked for answer in one.answers]
        found: list[float | None] = []
        for start in range(0, len(answers), BATCH):
            if work.stop.is_set():
                return {"state": "canceled", "done": len(found)}
            scored = raw_scores(answers[start : start + BATCH], model=f"{RUN}{work.session_id}")
            failed = next((one for one in scored if isinstance(one, str)), "")
            if failed:
                return {"state": "failed", "done": len(found), "message": failed}
            found += [one for one in scored if not isinstance(one, str)]
            self._write(work, entry.model_copy(update={"done": len(found)}))
        rest = iter(found)
        counted = result(work.asked, [[next(rest) for _ in one.answers] for one in work.asked])
        if counted is None:
            return {"state": "failed", "done": len(found), "message": "No score is a finite number."}
        return {"state": "completed", "done": len(found), "result": counted}

    def _write(self, work: _Work, entry: ScoredFile) -> None:
        if work.path.parent.is_dir():  # the run may have been deleted in the meantime
            write_json(work.path, entry.model_dump(mode="json"))
