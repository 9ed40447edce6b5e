"""The system status, and the cost of a server start."""

from __future__ import annotations

import html
import importlib.metadata
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
from flask.testing import FlaskClient

from core import llama
from core.llama import Outcome
from core.model import Device
from core.settings import PROJECT
from services.container import Services
from services.machine import system
from services.machine.system import parse_gpu
from services.models.families import BASE_MODELS, GIB, estimate


def test_the_status_names_device_load_disk_and_versions(client: FlaskClient) -> None:
    """With real values of this machine."""
    status = client.get("/api/system/status").json
    assert status is not None
    assert status["device"]["kind"] in {"cpu", "cuda"}
    assert status["device"]["name"]
    assert 0 < status["device"]["free_bytes"] <= status["device"]["memory_bytes"]
    assert status["disk"]["free_bytes"] > 0
    assert status["versions"]["flask"]
    assert status["active_jobs"] == 0


def test_a_page_reads_the_machine_once(client: FlaskClient, services: Services) -> None:
    """A page with thirty models looks up the processor once, and Settings looks up the versions once."""
    system._processor.cache_clear()
    with mock.patch.object(Path, "read_text", autospec=True, side_effect=Path.read_text) as read:
        assert len(services.models.families()) == len(BASE_MODELS)
    assert [call.args for call in read.mock_calls].count((Path("/proc/cpuinfo"),)) == 1
    with mock.patch("importlib.metadata.version", side_effect=importlib.metadata.version) as asked:
        client.get("/settings")
    assert [call.args for call in asked.mock_calls].count(("flask",)) == 1


def test_the_web_process_never_loads_the_training_libraries() -> None:
    """In a fresh process that creates the application and requests a page."""
    code = (
        "import sys, tempfile; from flask_app import create_app; from core.settings import Settings\n"
        "app = create_app(Settings.from_env({'TUNESMITH_HOME': tempfile.mkdtemp()}))\n"
        "app.test_client().get('/api/models/list'); app.test_client().get('/')\n"
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'datasets', 'llama_cpp', 'numpy', 'pandas', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_a_gpu_is_read_from_its_drivers_own_words() -> None:
    """With a comma in the name and an unavailable load."""
    gpu = parse_gpu("NVIDIA H100, 80GB HBM3, 81559, 1024, [N/A], 9.0")
    assert (gpu.name, gpu.memory, gpu.used, gpu.load, gpu.compute) == (
        "NVIDIA H100, 80GB HBM3", 81559 * 1024**2, 1024**3, 0.0, 9.0,
    )  # fmt: skip


@pytest.mark.parametrize("gigabytes", [8, 24, 80])
def test_larger_models_need_more_memory_and_four_bit_less(gigabytes: int) -> None:
    """The estimate grows with the model and shrinks with fewer bits."""
    gpu = Device("cuda", "GPU", gigabytes * GIB, gigabytes * GIB, bf16=True)
    needs = [estimate(size, gpu).total for size in sorted(info.parameters for info in BASE_MODELS)]
    assert needs == sorted(needs)
    for info in BASE_MODELS:
        assert estimate(info.parameters, gpu, four_bit=True).total < estimate(info.parameters, gpu).total


def test_the_estimate_is_near_what_is_known() -> None:
    """An 8B model in 4-bit trains on a 24 GB GPU and not on a 6 GB one; in 16-bit it needs over 16 GB."""
    gpu = Device("cuda", "GPU", 24 * GIB, 24 * GIB, bf16=True)
    assert 6 * GIB < estimate(8.0, gpu, four_bit=True).total < 16 * GIB
    assert 16 * GIB < estimate(8.0, gpu).total < 28 * GIB


def test_every_model_is_listed_with_what_it_needs(client: FlaskClient) -> None:
    """The built-in one is first and fits everywhere."""
    base = (client.get("/api/models/list").json or {})["base"]
    assert base[0]["name"] == "builtin:smollm2-135m-instruct"
    assert base[0]["fits"]
    assert {"Qwen3", "Llama", "Mistral", "Phi", "SmolLM"} <= {model["family"] for model in base}
    assert all(model["memory"] > 0 for model in base)


def test_the_processors_load_is_the_same_in_every_thread(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request has its own thread; a reading covers the time since the last one in any thread."""
    until = time.monotonic() + services.system.KEEP
    while time.monotonic() < until:
        pass
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        first = one.submit(services.system.cpu).result()
        monkeypatch.setattr(services.system, "KEEP", 3600.0)  # however long the machine stalls in between
        second = other.submit(services.system.cpu).result()
    assert first == second > 0


def test_what_llama_cpp_can_do_here_is_on_the_settings_page(client: FlaskClient, services: Services) -> None:
    """One line, from the stored self-test; the server tests nothing."""
    home = services.settings.home

    def shown() -> tuple[bool, str]:
        state = (client.get("/api/system/status").json or {})["llama"]
        assert state["words"] in html.unescape(client.get("/settings").get_data(as_text=True))
        return state["tested"], state["words"]

    assert shown() == (False, llama.NOT_TESTED)
    known = Outcome(fingerprint=llama.fingerprint())
    llama.keep(home, known)
    assert shown() == (True, "Works with all quantizations.")
    llama.keep(home, known.model_copy(update={"extra_buffers": False, "crashed": {"Q4_0": "SIGSEGV"}}))
    assert "with its extra buffers turned off" in shown()[1]
    llama.keep(home, known.model_copy(update={"dead": {"Q4_0": "SIGSEGV"}}))
    assert "Crashes on: Q4_0." in shown()[1]
