"""A delivery's own files, in ``exports/<id>/deliveries/<n>/``.

===================  ========  ==================================================
file                 writer    what it is
===================  ========  ==================================================
``job.json``         web       what was requested; no secret is in it
``progress.json``    process   how far it is, written beside and renamed
``chat.json``        web       the conversation with a model that was delivered
``worker.log``       process   everything it printed
===================  ========  ==================================================

The Hugging Face token is passed in the process's environment and is in none of them.
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
        kind: Its target.
        name: The model's name in Ollama, or the repository's on Hugging Face.
        address: Address of the Ollama server.
        file: For Ollama, the GGUF to send.
        base: For an adapter in Ollama, its base model there.
        private: For Hugging Face, whether a new repository is private.
        replace: Whether a model or repository with that name may be overwritten.
        licence: The base model's, if known.
        question: The first question in Ollama.
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
    """One turn with a delivered model."""

    role: str
    content: str


class Conversation(BaseModel):
    """``chat.json``."""

    messages: tuple[Message, ...] = ()


class NameTaken(Conflict):
    """Something with that name exists and may not be replaced."""


class Progress(progress.Progress):
    """Its progress.

    Attributes:
        file: The file being sent.
        bytes, total_bytes: Sent, of all files together.
        files, total_files: Finished, and the total.
        taken: Whether it failed only because the name is taken.
        url: Its page, for Hugging Face.
        question, answer: The first question in Ollama and the model's answer.
        command: Command to use it in a terminal.
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
    """Its progress; a process that vanished counts as failed."""
    return progress.read(folder, Progress, VANISHED)
