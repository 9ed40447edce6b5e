"""Deliveries: finished exports sent to an Ollama server or to Hugging Face."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from core.child import script_command
from core.delivery import hub, ollama, state
from core.delivery.state import CHAT, FOLDER, JOB, LOG, Job, Progress
from core.errors import Conflict, InvalidInput, NotFound, TunesmithError
from core.export import ExportFormat
from core.job import JobState
from core.job_dir import JobDir, iter_lines, new_folder, read_json, read_model, remove_folder, write_json
from core.log_tail import tail_text
from core.moment import now
from core.process import identify
from core.progress import stop_process, write_progress
from core.settings import PROJECT, Settings
from services.datasets.prompts import reader_environment
from services.exports.delivery_view import DeliveryView, Kind, OllamaView, event, gguf_files
from services.jobs.events import Events
from services.machine.preferences import hub_token
from services.models.families import BASE_MODELS

ENTRY = PROJECT / "core" / "delivery" / "__main__.py"
LOOK = 10.0
"""Seconds for which the Ollama server's state is cached."""
QUICK = 0.7
"""Seconds that a page waits for the Ollama server at most."""
ANSWER_SECONDS = 180.0
EVERY = 0.3
LONGEST_CHAT = 40
"""Messages that are stored and sent."""
PLAIN_QUESTION = "What is 2 + 3?"


class Finished(Protocol):
    """The part of the exports service that deliveries use."""

    def get(self, export_id: str) -> Any: ...


class Deliveries:
    """Operations on deliveries. Each runs in a separate process, which continues while the server is down.

    Args:
        settings: Home, Ollama's address, Hugging Face's token and address.
        exports: Knows which exports are finished.
        events: Receives progress.
    """

    def __init__(self, settings: Settings, exports: Finished, events: Events) -> None:
        self._settings, self._exports, self._events = settings, exports, events
        self._lock = threading.Lock()
        self._followed: set[Path] = set()
        self._seen: tuple[float, OllamaView | None] = (0.0, None)

    # --- where to ---

    def ollama(self) -> OllamaView:
        """Whether an Ollama server responds at ``OLLAMA_HOST``; cached for ten seconds."""
        at, seen = self._seen
        if seen is None or time.monotonic() - at > LOOK:
            seen = self._look()
            self._seen = (time.monotonic(), seen)
        return seen

    def _look(self) -> OllamaView:
        try:
            address = ollama.address(self._settings.ollama_host)
            return OllamaView(address, ollama.Ollama(address, QUICK).version(), "")
        except TunesmithError as error:
            return OllamaView(self._settings.ollama_host, "", error.message)

    def has_token(self) -> bool:
        """Whether there is a token for Hugging Face."""
        return bool(hub_token(self._settings))

    # --- send ---

    def send(self, export_id: str, to: Kind, name: str, *, file: str = "", base: str = "", private: bool = True,
             replace: bool = False) -> DeliveryView:  # fmt: skip
        """Start sending a finished export.

        Args:
            export_id: Which.
            to: Where to.
            name: The model's name in Ollama, or the repository on Hugging Face (with or without its owner).
            file: For Ollama, which GGUF; by default the largest.
            base: For an adapter in Ollama, its base model there.
            private: Whether a new repository is private.
            replace: Whether something with this name may be overwritten.

        Raises:
            NotFound: There is no such export or file.
            InvalidInput: The name is not valid.
            Conflict: The export is not finished, there is no token, or the same is already being sent.
        """
        view = self._finished(export_id)
        name = name.strip()
        job = Job(kind=to, name=name, private=private, replace=replace, created_at=now())
        job = self._to_ollama(view, job, file, base.strip()) if to == "ollama" else self._to_hub(view, job)
        if any(one.active and (one.to, one.name) == (to, name) for one in self.of_export(export_id)):
            raise Conflict(f"{name} is being sent already. Wait for it to end, or cancel it.")
        with self._lock, new_folder(self._home(export_id) / str(self._next(export_id))) as made:
            write_json(made.path / JOB, job.model_dump(mode="json"))
        return self._start(export_id, made.path, job)

    def _to_ollama(self, view: Any, job: Job, file: str, base: str) -> Job:
        if not ollama.NAME.fullmatch(job.name):
            raise InvalidInput(
                "Use lowercase letters, digits, dots and dashes for the name in Ollama, with an optional tag: "
                "my-model:v1.",
                field="name",
            )
        if base and not ollama.NAME.fullmatch(base):
            raise InvalidInput("Enter the name of a model in Ollama, such as smollm2:135m.", field="base")
        files = gguf_files(view.files)
        if not files:
            raise Conflict("Ollama needs a GGUF file, and this export has none. Export the run as GGUF first.")
        if file and file not in files:
            raise NotFound(f"This export has no file {file}. Its GGUF files: {', '.join(files)}.")
        if view.format == ExportFormat.ADAPTER_GGUF and not base:
            raise InvalidInput("Enter the name of the adapter's base model in Ollama.", field="base")
        address = ollama.address(self._settings.ollama_host)
        question = self._question(view.session_id)
        return job.model_copy(update={"file": file or files[0], "base": base, "address": address, "question": question})

    def _to_hub(self, view: Any, job: Job) -> Job:
        if not hub.NAME.fullmatch(job.name) or ".." in job.name or job.name.endswith((".git", ".ipynb")):
            raise InvalidInput(
                "Use letters, digits, dots and dashes for the repository, with an optional owner: me/my-model.",
                field="name",
            )
        if not self.has_token():
            raise Conflict(hub.WITHOUT_ACCESS)
        if view.format == ExportFormat.BUNDLE:
            raise Conflict(
                "A reproduction bundle contains your training data, so it cannot be uploaded. Download it instead."
            )
        name = view.base or self._base_of(view.session_id)
        licence = next((one.licence for one in BASE_MODELS if one.name == name), "")
        return job.model_copy(update={"licence": licence})

    def _base_of(self, session_id: str) -> str:
        session = read_json(self._settings.home.outputs / (session_id or "-") / "config.json") or {}
        try:
            return str(session["config"]["model"]["name"])
        except (KeyError, TypeError):  # the run is gone, or its file is damaged
            return ""

    def _question(self, session_id: str) -> str:
        """A sample prompt: the first held-out question."""
        prepared = JobDir(self._settings.home.outputs / session_id).prepared if session_id else None
        for name in ("holdout.jsonl", "train.jsonl") if prepared else ():
            for row in iter_lines(prepared / name) if prepared else ():
                return str(row.get("instruction") or PLAIN_QUESTION)
        return PLAIN_QUESTION

    def _start(self, export_id: str, folder: Path, job: Job) -> DeliveryView:
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                script_command(ENTRY), stdin=subprocess.PIPE, stdout=log, stderr=log,
                env=self._environment(job), start_new_session=True, cwd="/",
            )  # fmt: skip
        # Written before the process gets its task; afterwards only the process writes.
        write_progress(folder, Progress(state="working", message="Starting").by(identify(process.pid)))
        if process.stdin is not None:
            with process.stdin as pipe:
                pipe.write(json.dumps({"folder": str(folder), "root": str(self._settings.home.root)}).encode())
        threading.Thread(target=process.wait, daemon=True).start()  # so that it does not stay a zombie
        self._follow(export_id, folder)
        return self.get(export_id, int(folder.name))

    def _environment(self, job: Job) -> dict[str, str]:
        env = reader_environment(self._settings.home)
        if job.kind == "ollama":
            return {name: value for name, value in env.items() if not name.startswith("HF_")}
        # With Hugging Face's plain file API, which reports the bytes sent of each file.
        env |= {"HF_TOKEN": hub_token(self._settings), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        return env | ({"HF_ENDPOINT": self._settings.hf_endpoint} if self._settings.hf_endpoint else {})

    # --- look at ---

    @property
    def busy(self) -> bool:
        """Whether an export is being sent, by this server or an earlier one."""
        found = map(state.read_progress, self._settings.home.exports.glob(f"*/{FOLDER}/*"))
        return any(progress is not None and progress.state == "working" for progress in found)

    def of_export(self, export_id: str) -> Sequence[DeliveryView]:
        """Every delivery of an export, newest first. Raises NotFound if there is no such export."""
        self._exports.get(export_id)
        return [self.get(export_id, number) for number in sorted(self._numbers(export_id), reverse=True)]

    def get(self, export_id: str, number: int) -> DeliveryView:
        """One delivery. Raises NotFound."""
        folder = self._folder(export_id, number)
        job, progress = state.read_job(folder), state.read_progress(folder)
        if job is None:
            raise NotFound(f"There is no delivery {number} of this export.")
        progress = progress or Progress(state="stopped")
        if progress.state == "working":
            self._follow(export_id, folder)
        shown = progress.model_dump(exclude={"state", "pid", "pid_started", "boot"})
        return DeliveryView(
            export_id=export_id, number=number, to=job.kind, name=job.name, status=progress.state, private=job.private,
            replace=job.replace, created_at=job.created_at, messages=tuple(self._messages(folder, progress)), **shown,
        )  # fmt: skip

    def log(self, export_id: str, number: int) -> str:
        """Log of its process."""
        return tail_text(self._folder(export_id, number) / LOG, 200)

    # --- end and continue ---

    def cancel(self, export_id: str, number: int) -> DeliveryView:
        """Stop sending. Incomplete files are not visible there; complete ones are not sent again."""
        folder = self._folder(export_id, number)
        found = state.read_progress(folder)
        if found is None or found.state in {"done", "failed"}:
            raise Conflict("This delivery has already ended.")
        if found.state == "working":
            stop_process(folder, found, "Cancelled")
        return self.get(export_id, number)

    def resume(self, export_id: str, number: int, *, replace: bool | None = None) -> DeliveryView:
        """Retry a canceled or failed delivery; files that have arrived are not sent again.

        Args:
            export_id, number: Which.
            replace: Whether something with this name may be overwritten; None for as before.
        """
        self._finished(export_id)
        folder, view = self._folder(export_id, number), self.get(export_id, number)
        if view.status == "done":
            raise Conflict("This delivery is already complete.")
        if view.active:
            return view  # A second click: it is already being sent.
        job = state.read_job(folder)
        if job is None:
            raise NotFound(f"There is no delivery {number} of this export.")
        if job.kind == "hub" and not self.has_token():
            raise Conflict(hub.WITHOUT_ACCESS)
        job = job if replace is None else job.model_copy(update={"replace": replace})
        write_json(folder / JOB, job.model_dump(mode="json"))
        return self._start(export_id, folder, job)

    def discard(self, export_id: str, number: int) -> None:
        """Remove a delivery from the list; the files that were sent are not affected."""
        folder = self._folder(export_id, number)
        if self.get(export_id, number).active:
            raise Conflict("This delivery is in progress. Cancel it first.")
        remove_folder(folder, "This entry")

    # --- talk ---

    def chat(self, export_id: str, number: int, message: str) -> DeliveryView:
        """Send a message, with the conversation so far, to a model in Ollama, and store its answer.

        Raises:
            Conflict: It is not in Ollama.
            InvalidInput: The message is empty.
            Unavailable: Ollama does not respond.
        """
        folder, view = self._folder(export_id, number), self.get(export_id, number)
        job = state.read_job(folder)
        if job is None or job.kind != "ollama" or view.status != "done":
            raise Conflict("You can chat only with a model that is in Ollama.")
        if not message.strip():
            raise InvalidInput("Enter a message.", field="message")
        told = [*view.messages, {"role": "user", "content": message.strip()}][-LONGEST_CHAT:]
        answer = ollama.Ollama(job.address, ANSWER_SECONDS).chat(job.name, told)
        write_json(folder / CHAT, {"messages": [*told, {"role": "assistant", "content": answer}]})
        return self.get(export_id, number)

    @staticmethod
    def _messages(folder: Path, progress: Progress) -> list[dict[str, str]]:
        kept = read_model(folder / CHAT, state.Conversation)
        if kept:
            return [message.model_dump() for message in kept.messages]
        if not progress.answer:
            return []
        return [{"role": "user", "content": progress.question}, {"role": "assistant", "content": progress.answer}]

    # --- inside ---

    def _finished(self, export_id: str) -> Any:
        view = self._exports.get(export_id)
        if view.job.state is not JobState.COMPLETED or not view.files:
            raise Conflict("This export is not finished, so it cannot be sent yet.")
        return view

    def _home(self, export_id: str) -> Path:
        return JobDir.open(self._settings.home.exports, export_id).path / FOLDER

    def _numbers(self, export_id: str) -> list[int]:
        home = self._home(export_id)
        found = home.iterdir() if home.is_dir() else ()
        return [int(path.name) for path in found if path.name.isdecimal() and (path / JOB).is_file()]

    def _next(self, export_id: str) -> int:
        home = self._home(export_id)
        found = home.iterdir() if home.is_dir() else ()
        return 1 + max((int(path.name) for path in found if path.name.isdecimal()), default=0)

    def _folder(self, export_id: str, number: int) -> Path:
        self._exports.get(export_id)
        folder = self._home(export_id) / str(number)
        if not (folder / JOB).is_file():
            raise NotFound(f"There is no delivery {number} of this export.")
        return folder

    def _follow(self, export_id: str, folder: Path) -> None:
        """Publish a delivery's progress until it ends, including deliveries that an earlier server started."""
        with self._lock:
            if folder in self._followed:
                return
            self._followed.add(folder)
        threading.Thread(target=self._tell, args=(export_id, folder), name="delivery", daemon=True).start()

    def _tell(self, export_id: str, folder: Path) -> None:
        said, progress = None, state.read_progress(folder)
        while progress is not None:
            if not folder.is_dir():  # The export was deleted.
                stop_process(folder, progress)
                break
            if progress != said:
                self._events.publish("export_progress", event(export_id, int(folder.name), progress))
                said = progress
            if progress.state != "working":
                break
            time.sleep(EVERY)
            progress = state.read_progress(folder) or progress
        with self._lock:
            self._followed.discard(folder)
