"""The complete user journey: seven steps, a real model, real rows, a working GGUF."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from core.settings import PROJECT
from tests.browser.conftest import Complaints, Server, serve
from tests.support.live import until

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.training, pytest.mark.timeout(1500)]

ROWS = PROJECT / "tests" / "fixtures" / "gsm8k_small.jsonl"
MODEL = PROJECT / "cache" / "models" / "smollm2-135m-instruct"
TRAINING_MS = 480_000

ASK = """
import json, sys
sys.path.append(sys.argv[2])
from llama_cpp import Llama
from core.settings import Settings
from core.training.llama.params import defaults
from core.training.llama.selftest import ensure
with defaults(extra_buffers=ensure(Settings.from_env().home).extra_buffers):
    model = Llama(sys.argv[1], n_ctx=256, verbose=False, n_threads=2)
answer = model.create_chat_completion([{"role": "user", "content": "What is 2+3?"}], max_tokens=16, temperature=0)
facts = {"answer": answer["choices"][0]["message"]["content"], "file_type": model.metadata["general.file_type"]}
print(json.dumps(facts))
"""
"""Runs in a separate process, because llama.cpp aborts its process on errors."""

LLAMA_FTYPE_MOSTLY_Q4_K_M = "15"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if not MODEL.is_dir():
        pytest.skip("the built-in model is not installed: run setup")
    yield from serve(tmp_path / "home")


def choose_model(page: Page, url: str) -> None:
    page.goto(f"{url}/new/model")
    page.get_by_test_id("model-builtin-smollm2-135m-instruct").check()
    page.get_by_test_id("continue").click()
    expect(page.locator("h1")).to_have_text("Dataset")


def upload_dataset(page: Page) -> None:
    page.get_by_test_id("kind-upload").check()
    page.get_by_test_id("file").set_input_files(ROWS)
    expect(page.get_by_test_id("preview").locator("tbody tr").first).to_be_visible()
    expect(page.get_by_test_id("prompts")).to_contain_text("<|im_start|>")
    page.get_by_test_id("continue").click()
    expect(page.locator("h1")).to_have_text("Training settings")


def configure(page: Page) -> None:
    values = {
        "training-max-steps": "8", "training-num-generations": "4", "training-batch-size": "4",
        "training-gradient-accumulation-steps": "1", "training-max-new-tokens": "16",
        "training-max-sequence-length": "512",
    }  # fmt: skip
    for group in ("batch", "generation", "warm-up"):
        page.locator(f"#group-{group} > summary").click()
    for name, value in values.items():
        page.locator(f"#{name}").fill(value)
    page.locator("#pre-training-enabled").uncheck()
    page.get_by_test_id("continue").click()
    expect(page.locator("h1")).to_have_text("Reward")


def choose_reward(page: Page) -> None:
    page.get_by_test_id("reward-preset").check()
    page.get_by_test_id("preset-math").check()
    page.get_by_test_id("try-completion").fill("<SOLUTION>72</SOLUTION>")
    page.get_by_test_id("try-button").click()
    expect(page.get_by_test_id("try-total")).to_be_visible()
    page.get_by_test_id("continue").click()
    expect(page.locator("h1")).to_have_text("Start training")


def points(page: Page) -> int:
    """Rows in the page's charts."""
    return int(page.locator("[data-run]").get_attribute("data-rows") or 0)


def said(home: Path) -> str:
    """The status of the only run, from its worker."""
    return "".join(json.loads(path.read_text())["state"] for path in (home / "outputs").glob("*/status.json"))


def written(home: Path) -> int:
    """The rows of the only run, from its worker."""
    return sum(path.read_text().count("\n") for path in (home / "outputs").glob("*/metrics.jsonl"))


def working(home: Path) -> psutil.Process:
    """The worker of the only run."""
    (status,) = (home / "outputs").glob("*/status.json")
    return psutil.Process(json.loads(status.read_text())["pid"])


def train_stop_resume(page: Page, home: Path) -> None:
    page.get_by_test_id("run-name").fill("The whole road")
    page.get_by_test_id("start").click()
    expect(page.get_by_test_id("run")).to_be_visible()
    # From the worker's own files: the page may lag behind by more than the run takes.
    until(lambda: said(home), lambda state: state == "training", TRAINING_MS / 1000)
    worker = working(home)
    worker.suspend()
    expect(page.get_by_test_id("progress")).to_contain_text("of 8", timeout=TRAINING_MS)
    page.evaluate("window.stayed = true")
    page.get_by_test_id("tab-charts").click()
    expect(page.locator("[data-run][data-rows]")).to_be_visible()
    drawn, before = points(page), written(home)
    worker.resume()
    until(lambda: written(home), lambda count: count > before, TRAINING_MS / 1000)
    worker.suspend()  # Even on a fast machine there is a step left to stop.
    # The page's policy forbids the eval that Playwright's wait_for_function needs.
    end = time.monotonic() + TRAINING_MS / 1000
    while points(page) <= drawn and time.monotonic() < end:
        page.wait_for_timeout(50)
    assert points(page) > drawn, "points must arrive while it trains"
    expect(page.locator("#chart-reward .now")).not_to_be_empty()
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("run-status")).to_contain_text("stopping", ignore_case=True)
    worker.resume()
    expect(page.get_by_test_id("run-status")).to_contain_text("stopped", ignore_case=True, timeout=TRAINING_MS)
    assert page.evaluate("window.stayed"), "points and states must arrive without a reload"
    page.get_by_test_id("tab-overview").click()
    page.get_by_test_id("resume").click()
    expect(page.get_by_test_id("run-status")).to_contain_text("completed", ignore_case=True, timeout=TRAINING_MS)
    page.get_by_test_id("tab-answers").click()
    expect(page.get_by_test_id("completions").locator(".answer").first).to_be_visible()


def export_q4(page: Page, url: str, folder: Path) -> Path:
    page.goto(f"{url}/new/export")
    page.get_by_test_id("format-gguf-q4_k_m").check()
    page.get_by_test_id("create-export").click()
    expect(page.get_by_test_id("export-status")).to_contain_text("completed", ignore_case=True, timeout=TRAINING_MS)
    expect(page.get_by_test_id("file-type").first).to_contain_text("Q4_K_M")
    with page.expect_download() as download:
        page.get_by_test_id("download").first.click()
    target = folder / download.value.suggested_filename
    download.value.save_as(target)
    return target


def tensor_types(path: Path) -> set[str]:
    from gguf import GGUFReader

    return {tensor.tensor_type.name for tensor in GGUFReader(path).tensors}


def test_the_whole_road(context: BrowserContext, server: Server, complaints: Complaints, tmp_path: Path) -> None:
    """Model, dataset, configuration, reward, training with a stop, export, answers from both models."""
    context.set_default_timeout(60_000)
    page = context.new_page()
    complaints.listen(page)
    choose_model(page, server.url)
    upload_dataset(page)
    configure(page)
    choose_reward(page)
    train_stop_resume(page, server.home)

    steps = [
        row["step"]
        for row in map(json.loads, next((server.home / "outputs").glob("*/metrics.jsonl")).read_text().splitlines())
        if row["phase"] == "training"
    ]
    assert steps == list(range(1, 9)), "a stop and a resume lose and repeat nothing"

    gguf = export_q4(page, server.url, tmp_path)
    said_types = page.get_by_test_id("tensor-types").first.inner_text()
    asked = subprocess.run(
        [sys.executable, "-P", "-c", ASK, str(gguf), str(PROJECT)], capture_output=True, text=True, check=True
    )
    facts = json.loads(asked.stdout.splitlines()[-1])
    assert facts["answer"].strip()
    assert facts["file_type"] == LLAMA_FTYPE_MOSTLY_Q4_K_M
    for name in tensor_types(gguf):
        assert name in said_types

    page.goto(f"{server.url}/new/test")
    page.locator("#chat-settings > summary").click()
    page.locator("#chat-max-tokens").fill("16")
    page.get_by_test_id("chat-prompt").fill("What is 2+3?")
    page.get_by_test_id("chat-send").click()
    for side in page.locator("[data-side]").all():
        expect(side.locator(".facts")).to_contain_text("token", timeout=TRAINING_MS)
    assert complaints.found == []
