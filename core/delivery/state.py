"""A delivery's own files, in ``exports/<id>/deliveries/<n>/``.

===================  ========  ==================================================
file                 writer    what it is
===================  ========  ==================================================
``job.json``         web       what was requested; no secret is in it
``progress.json``    process   how far it is, written beside and renamed
``chat.json``        web       the conversation with a model that was delivered
``worker.log``       process   everything it printed
===================  ========  ==================================================

The token for Hugging Face comes to the process by environment and is in none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from core import progress
from core.errors import Conflict
from core.job_dir import read_model

FOLDER = "deliveries"
JOB, CHAT, LOG = "job.json", "chat.json", "worker.log"
State = Literal["working", "stopped", "failed", "done"]
VANISHED = "Sending stopped unexpectedly. Try again; files already sent are not sent twice."


class Job(BaseModel):
    """What was requested.

    Attributes:
        kind: Where it goes.
        name: The model's name in Ollama, or the repository's on Hugging Face.
        address: Of the Ollama server.
        file: For Ollama, the GGUF to send.
        base: For an adapter in Ollama, the model there that it belongs to.
        private: For Hugging Face, who may see a new repository.
        replace: Whether a model or repository of that name may be written over.
        licence: The base model's, as far as it is known.
        question: What is asked first in Ollama.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["ollama", "hub"]
    name: str
    address: str = ""
    file: str = ""
    base: str = ""
    private: bool = True
    replace: bool = False
    licence: str = ""
    question: str = ""
    created_at: str = ""


class Message(BaseModel):
    """One turn with a model that was delivered."""

    role: str
    content: str


class Conversation(BaseModel):
    """``chat.json``."""

    messages: tuple[Message, ...] = ()


class NameTaken(Conflict):
    """There is something of that name already, and it may not be replaced."""


class Progress(progress.Progress):
    """Its progress.

    Attributes:
        file: Being sent now.
        bytes, total_bytes: Sent, of all files together.
        files, total_files: Finished, and of how many.
        taken: Whether it failed only because something has that name already.
        url: Where it can be seen, for Hugging Face.
        question, answer: The first question in Ollama and what the model said there.
        command: To use it from a terminal.
    """

    state: State
    file: str = ""
    bytes: int = 0
    total_bytes: int = 0
    files: int = 0
    total_files: int = 0
    taken: bool = False
    url: str = ""
    question: str = ""
    answer: str = ""
    command: str = ""


def read_job(folder: Path) -> Job | None:
    """The request, or None if the folder is not a delivery, or its contents cannot be read."""
    return read_model(folder / JOB, Job)


def read_progress(folder: Path) -> Progress | None:
    """Its progress; a process that vanished without a word counts as failed."""
    return progress.read(folder, Progress, VANISHED)
