"""Which models can be chatted with, the processes that hold them, and the page without scripts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from core.errors import Conflict, InvalidConfig, InvalidInput, NotFound, Unavailable
from core.export import ExportFormat, ExportSpec
from core.job_dir import JobDir
from core.model import Device
from core.settings import Home, Settings
from services.container import Services
from services.jobs.database import Job, new_job
from services.models.chat_pool import MOST_LOADED, ChatPool
from services.models.chat_process import ChatProcess
from services.models.memory import LLAMA_PROCESS, PROCESS, memory_needed
from services.models.models import Chat, check_chat
from services.runs.completions import CompletionIndex
from tests.conftest import SUPPORT, TINY, Browser, tiny
from tests.support.live import until

MODEL = "builtin:smollm2-135m-instruct"
GIB = 1 << 30


@pytest.fixture
def base(home: Home) -> str:
    return str(home.cache / "models" / "smollm2-135m-instruct")


@pytest.fixture
def run(services: Services, home: Home) -> JobDir:
    """A run with two checkpoints and a published adapter."""
    config = {**TINY, "model": {**TINY["model"], "revision": None}}
    services.database.add(
        Job(
            id="r1",
            kind="train",
            name="Sums",
            state="running",
            phase="train",
            created_at="2026-01-01",
            model=MODEL,
            config=config,
        )
    )
    run = JobDir(home.outputs / "r1")
    for folder in (run.adapter, run.checkpoints / "checkpoint-2", run.checkpoints / "checkpoint-10"):
        folder.mkdir(parents=True)
    (run.path / "config.json").write_text(json.dumps({"config": config, "given": config}))
    return run


def exported(services: Services, home: Home, kind: ExportFormat, *files: str, state: str = "completed") -> str:
    """An export of the run, as the worker writes it."""
    spec = ExportSpec(session_id="r1", format=kind, name="Sums")
    content = {**spec.model_dump(mode="json"), "created_at": "2026-01-02"}
    job = new_job(f"e-{kind.value}-{state}".replace("_", "-"), content)
    job.state = state
    services.database.add(job)
    folder = JobDir(home.exports / job.id)
    folder.files.mkdir(parents=True)
    folder.config.write_text(json.dumps(spec.model_dump(mode="json")))
    for name in files:
        (folder.files / name).write_text("{}")
    made = [{"name": name, "size": 2, "sha256": "", "file_type": "F16"} for name in files]
    folder.result.write_text(json.dumps({"files": made}))
    return job.id


def on(base: str, adapter: Path | None = None) -> dict[str, Any]:
    return {"kind": "transformers", "base": base, "adapter": str(adapter) if adapter else None}


def test_a_base_model_by_name_hub_id_or_path(services: Services, base: str, tmp_path: Path) -> None:
    """As a user would type it."""
    resolve = services.models.resolve
    assert resolve(MODEL) == resolve(base) == on(base)
    assert resolve("Qwen/Qwen3-0.6B") == on("Qwen/Qwen3-0.6B")
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    assert resolve(str(tmp_path / "x.gguf")) == {"kind": "gguf", "path": str(tmp_path / "x.gguf")}
    adapter = tmp_path / "theirs"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "Qwen/Qwen3-0.6B"}')
    assert resolve(str(adapter)) == on("Qwen/Qwen3-0.6B", adapter)


def test_a_running_session_is_its_latest_checkpoint(services: Services, run: JobDir, base: str) -> None:
    """Its adapter is updated with each checkpoint; a single checkpoint is chosen by its step."""
    resolve = services.models.resolve
    assert resolve("session:r1") == on(base, run.adapter)
    assert resolve("session:r1@2") == on(base, run.checkpoints / "checkpoint-2")
    run.adapter.rmdir()
    assert resolve("session:r1") == on(base, run.checkpoints / "checkpoint-10")
    with pytest.raises(NotFound, match="Saved steps: 2, 10"):
        resolve("session:r1@3")
    for step in (2, 10):
        (run.checkpoints / f"checkpoint-{step}").rmdir()
    with pytest.raises(Conflict, match="first checkpoint"):
        resolve("session:r1")


def test_exports_of_every_kind(services: Services, home: Home, run: JobDir, base: str) -> None:
    """A file of a GGUF export, a merged folder, an adapter on the run's base model."""
    resolve = services.models.resolve
    gguf = exported(services, home, ExportFormat.GGUF, "a-F16.gguf", "Modelfile")
    merged = exported(services, home, ExportFormat.MERGED, "config.json")
    adapter = exported(services, home, ExportFormat.ADAPTER, "adapter_config.json")
    assert resolve(f"export:{gguf}/a-F16.gguf")["path"] == str(home.exports / gguf / "files" / "a-F16.gguf")
    assert resolve(f"export:{merged}") == on(str(home.exports / merged / "files"))
    assert resolve(f"export:{adapter}") == on(base, home.exports / adapter / "files")


@pytest.mark.parametrize(
    ("reference", "error"),
    [
        ("", InvalidConfig),
        ("no such/model/at all", InvalidConfig),
        ("/nowhere/at/all", NotFound),
        ("/nowhere/x.gguf", NotFound),
        ("session:none", NotFound),
        ("session:../r1", InvalidInput),
        ("session:r1@../../etc", NotFound),
        ("session:r1@02", NotFound),
        ("export:none", NotFound),
        ("export:e-gguf-completed", NotFound),
        ("export:e-gguf-completed/../config.json", NotFound),
        ("export:e-gguf-completed/Modelfile", NotFound),
        ("export:e-adapter-gguf-completed/lora.gguf", NotFound),
        ("export:e-merged-failed", Conflict),
    ],
)
def test_what_names_no_model_is_refused(
    services: Services, home: Home, run: JobDir, reference: str, error: type[Exception]
) -> None:
    """With a message, and nothing outside a job's own folder is read."""
    exported(services, home, ExportFormat.GGUF, "a.gguf", "Modelfile")
    exported(services, home, ExportFormat.ADAPTER_GGUF, "lora.gguf")
    exported(services, home, ExportFormat.MERGED, "config.json", state="failed")
    with pytest.raises(error):
        services.models.resolve(reference)


def test_system_prompts_are_found_without_reading_the_runs_answers(
    client: FlaskClient, services: Services, run: JobDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in the configurations; the answers of 20 long runs are gigabytes."""
    config = {**TINY, "dataset": {**TINY["dataset"], "system_prompt": "Answer like a pirate."}}
    services.database.update("r1", config=config)
    run.completions.write_text("{}\n")
    read: list[Path] = []

    def bad(index: CompletionIndex) -> list[int]:
        read.append(index._path)
        return []

    monkeypatch.setattr(CompletionIndex, "bad", bad)
    assert "Answer like a pirate." in client.get("/playground?session_id=r1").text
    assert read == []
    client.get("/runs/r1")
    assert read == [run.completions]


def test_every_model_is_offered(client: FlaskClient, services: Services, home: Home, run: JobDir) -> None:
    """Base models, runs, checkpoints and exports, by kind; each of them resolves."""
    exported(services, home, ExportFormat.GGUF, "a.gguf", "b.gguf")
    exported(services, home, ExportFormat.MERGED, "config.json")
    groups = client.get("/api/models/list").get_json()["groups"]
    assert [group["title"] for group in groups] == ["Base models", "Trained here", "Checkpoints", "Exports"]
    values = [option["value"] for group in groups for option in group["options"]]
    assert values[1:4] == ["session:r1", "session:r1@10", "session:r1@2"]
    assert len(values) == 7
    for value in values:
        services.models.resolve(value)


@pytest.mark.parametrize(
    "change", [{"top_k": -1}, {"min_p": 2}, {"repetition_penalty": 0}, {"seed": -1}, {"stop": ("",)}]
)
def test_settings_out_of_range_are_refused(change: dict[str, Any]) -> None:
    """By name."""
    with pytest.raises(InvalidInput) as refused:
        check_chat(Chat(MODEL, ({"role": "user", "content": "x"},), **change))
    assert refused.value.field == next(iter(change))


def test_one_turn_without_scripts(browser: Browser, services: Services) -> None:
    """Both answers are on the page, with their speed and the prompt as the model saw it."""
    services.models.pool.use(SUPPORT / "fake_chat.py")
    browser.get("/playground")
    form = {"model_1": MODEL, "model_2": "other", "other_2": "Qwen/Qwen3-0.6B", "prompt": "say it back", "top_k": "5"}
    page = browser.post("/playground", form={**form, "temperature": "0.5"}).get_data(as_text=True)
    assert page.count('<div class="bubble ">say it back</div>') == 2
    assert page.count("3 tokens in 0.10 s, 30 tokens per second") == 2
    assert '<span class="special">&lt;|user|&gt;</span>' in page
    assert 'value="Qwen/Qwen3-0.6B"' in page
    wrong = browser.post("/playground", form={**form, "top_k": "many"}).get_data(as_text=True)
    assert "Top-k: enter a whole number from 0 to 1000." in wrong


# --- the processes ---


class Machine:
    """Memory that models allocate and free."""

    def __init__(self, pool: ChatPool | None = None) -> None:
        self.total, self.pool, self.each = 100 * GIB, pool, PROCESS

    @property
    def processes(self) -> list[ChatProcess]:
        return list(self.pool._loaded.values()) if self.pool else []

    def device(self) -> Device:
        held = len(self.pool.loaded) if self.pool else 0
        return Device("cpu", "processor", self.total, self.total - held * self.each, False)


@pytest.fixture
def machine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr("services.models.chat_process.CANCEL_GRACE", 300.0)
    machine = Machine()
    machine.pool = ChatPool(settings, machine.device)
    machine.pool.use(SUPPORT / "fake_chat.py")
    yield machine
    machine.pool.close()


def ask(
    machine: Machine, base: str, text: str = "hello", name: str = "", events: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """All events of one answer."""
    assert machine.pool
    events = [] if events is None else events
    message = {"role": "user", "content": text}
    request = {"op": "generate", "id": name or f"{base}-{text}", "model": on(base), "messages": [message]}
    machine.pool.ask({**request, "stop": [], "max_tokens": 50}, events.append)
    return events


def held(machine: Machine) -> list[str]:
    assert machine.pool
    return [key.strip() for key in machine.pool.loaded]


def test_each_model_has_its_own_process(machine: Machine) -> None:
    """As many as there are sides; the least recently used one is unloaded first."""
    for name in "abcd":
        ask(machine, name)
    ask(machine, "a", "again")
    assert held(machine) == ["b", "c", "d", "a"]
    ask(machine, "e")
    assert held(machine) == ["c", "d", "a", "e"]
    assert len(held(machine)) == MOST_LOADED


def test_a_model_that_does_not_fit_beside_others_takes_their_place(machine: Machine, settings: Settings) -> None:
    """If it cannot fit at all, nothing is unloaded, and the message says what is needed and what is free."""
    folder = settings.home.root / "large"
    folder.mkdir()
    write_weights(folder, 100_000_000)
    ask(machine, "a")
    ask(machine, "b")
    machine.total, machine.each = 3 * GIB, GIB
    ask(machine, str(folder))
    assert held(machine) == ["b", str(folder)]
    machine.total = GIB
    with pytest.raises(Unavailable, match=r"needs about 960.0 MB, and .* free in this machine's memory.*smaller model"):
        ask(machine, f"{folder}/.")
    assert held(machine) == ["b", str(folder)]


def write_weights(folder: Path, count: int) -> None:
    """A safetensors header without weights, to estimate memory from."""
    header = json.dumps({"w": {"dtype": "F16", "shape": [count], "data_offsets": [0, 2 * count]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def test_memory_is_estimated_from_the_files(settings: Settings, tmp_path: Path) -> None:
    """Four bytes per weight on a CPU, two on a GPU, the file's size for a GGUF; otherwise unknown."""
    write_weights(tmp_path, 1_000_000)
    cpu, gpu = (Device(kind, "", GIB, GIB, False) for kind in ("cpu", "cuda"))
    needs = [memory_needed(on(str(tmp_path)), device, settings.home) for device in (cpu, gpu)]
    assert needs == [PROCESS + 4_600_000, PROCESS + 2_300_000]
    (tmp_path / "x.gguf").write_bytes(bytes(1000))
    assert memory_needed({"kind": "gguf", "path": str(tmp_path / "x.gguf")}, cpu, settings.home) == LLAMA_PROCESS + 1150
    assert memory_needed(on("somebody/unknown"), cpu, settings.home) is None
    assert memory_needed(on("Qwen/Qwen3-0.6B"), cpu, settings.home) == PROCESS + int(1.15 * 2_400_000_000)


def test_a_training_gets_the_memory_once_the_answer_is_written(machine: Machine) -> None:
    """Idle models are unloaded at once, a busy one as soon as its answer is complete."""
    ask(machine, "idle")
    writing = threading.Thread(target=ask, args=(machine, "busy", "one hold", "kept"))
    writing.start()
    until(lambda: held(machine), lambda names: "busy" in names)
    assert machine.pool
    machine.pool.release()
    assert held(machine) == ["busy"]
    machine.pool.cancel("kept")
    writing.join()
    assert held(machine) == []


def test_starting_a_training_frees_the_memory(services: Services, client: FlaskClient) -> None:
    """The watcher requests it before the worker starts."""
    services.models.pool.use(SUPPORT / "fake_chat.py")
    services.models.test(Chat(MODEL, ({"role": "user", "content": "hello"},)))
    assert len(services.models.pool.loaded) == 1
    services.runs.start(tiny(max_steps=1))
    services.watcher.start()
    until(lambda: services.models.pool.loaded, lambda loaded: loaded == ())


def test_an_idle_model_is_unloaded(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """And loaded again for the next message."""
    monkeypatch.setattr("services.models.chat_process.IDLE", 0.05)
    ask(machine, "a")
    (process,) = machine.processes
    until(lambda: process.alive, lambda alive: not alive)
    assert ask(machine, "a", "again")[-1]["text"] == "again"


def test_one_answer_at_a_time_and_a_waiting_one_can_be_canceled(machine: Machine) -> None:
    """The second is told that it is queued; canceled, it ends before the first."""
    assert machine.pool
    first = threading.Thread(target=ask, args=(machine, "a", "one hold", "first"))
    first.start()
    until(lambda: held(machine), lambda names: "a" in names)
    events: list[dict[str, Any]] = []
    second = threading.Thread(target=ask, args=(machine, "b", "hi", "second", events))
    second.start()
    until(lambda: [event["event"] for event in events], lambda names: names == ["waiting"])
    machine.pool.cancel("second")
    second.join()
    assert first.is_alive()
    machine.pool.cancel("first")
    first.join()
    assert [event["event"] for event in events] == ["waiting", "done"]
    assert (events[0]["ahead"], events[1]["finish"]) == (1, "cancelled")


def test_a_cancel_during_the_process_start_works(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process does not exist yet; it gets the cancel as soon as it does, and is not killed."""
    assert machine.pool
    pool, running = machine.pool, ChatProcess._running

    def cancelled_meanwhile(process: ChatProcess) -> Any:
        pool.cancel("early")
        return running(process)

    monkeypatch.setattr(ChatProcess, "_running", cancelled_meanwhile)
    events = ask(machine, "a", "hold", "early")
    assert (events[-1]["event"], events[-1]["finish"]) == ("done", "cancelled")
    assert ask(machine, "a", "again")[-1]["text"] == "again"
