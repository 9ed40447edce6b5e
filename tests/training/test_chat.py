"""The chat process, spoken to as the server speaks to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from core.settings import Home
from tests.training.worker_runs import ENTRY, REAL

pytestmark = pytest.mark.training
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


class Chat:
    """The process and its two pipes."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(ENTRY), "chat"], cwd="/", env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, name: str, model: dict[str, Any], **values: Any) -> list[dict[str, Any]]:
        """Every event up to the last."""
        self.send(
            op="generate", id=name, model=model, **{"messages": QUESTION, "temperature": 0, "max_tokens": 8, **values}
        )
        events = []
        for event in self.events():
            events.append(event)
            if event["event"] in {"done", "error"}:
                break
        assert {event["id"] for event in events} == {name}
        return events

    def events(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)


@pytest.fixture(scope="module")
def chat() -> Iterator[Chat]:
    chat = Chat()
    yield chat
    chat.process.kill()
    for pipe in (chat.process.stdin, chat.process.stdout):
        assert pipe is not None
        pipe.close()
    chat.process.wait()


@pytest.fixture(scope="module")
def adapter(models: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that turns the tiny model's answers upside down."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(models.cache / "models" / "tiny")
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    return folder


def test_a_streamed_answer(chat: Chat, models: Home) -> None:
    """The pieces add up to the answer, with its count, its time and the prompt as the model saw it."""
    model = {"kind": "transformers", "base": str(models.cache / "models" / REAL.name), "adapter": None}
    loading, *pieces, done = chat.ask("a", model, max_tokens=12)
    assert loading["event"] == "loading"
    assert len(pieces) > 3
    assert "".join(piece["text"] for piece in pieces) == done["text"]
    assert "Paris" in done["text"]
    assert 0 < done["tokens"] <= 12
    assert done["prompt"].endswith("<|im_start|>assistant\n")


def test_base_and_adapter_share_one_base(chat: Chat, models: Home, adapter: Path) -> None:
    """Switching between them loads nothing again, and each gives its own answer, the same each time."""
    base = {"kind": "transformers", "base": str(models.cache / "models" / "tiny"), "adapter": None}
    plain = chat.ask("b", base)
    trained = chat.ask("c", {**base, "adapter": str(adapter)})
    again = chat.ask("d", base)
    assert (plain[0]["event"], trained[0]["event"], again[0]["event"]) == ("loading", "token", "token")
    assert trained[-1]["text"] != plain[-1]["text"] == again[-1]["text"]


def test_a_seed_repeats_a_sampled_answer(chat: Chat, models: Home) -> None:
    """Two answers with one seed are the same; without a seed they differ."""
    model = {"kind": "transformers", "base": str(models.cache / "models" / "tiny"), "adapter": None}
    first, second = (chat.ask(name, model, temperature=1.0, seed=7)[-1]["text"] for name in "ef")
    third, fourth = (chat.ask(name, model, temperature=1.0)[-1]["text"] for name in "gh")
    assert first == second
    assert third != fourth


def test_a_cancel_ends_an_answer_early(chat: Chat, models: Home) -> None:
    """What was written so far is the answer."""
    model = {"kind": "transformers", "base": str(models.cache / "models" / "tiny"), "adapter": None}
    chat.send(op="generate", id="long", model=model, messages=QUESTION, temperature=0, max_tokens=400)
    seen = 0
    for event in chat.events():
        seen += event["event"] == "token"
        if seen == 2:
            chat.send(op="cancel", id="long")
        if event["event"] == "done":
            break
    assert event["tokens"] < 400


def test_an_error_is_said_and_the_next_request_answered(chat: Chat, models: Home) -> None:
    """A model that is not there ends one request, not the process."""
    failed = chat.ask("x", {"kind": "transformers", "base": "/nowhere", "adapter": None})
    assert failed[-1]["event"] == "error"
    assert "Traceback" not in failed[-1]["message"]
    model = {"kind": "transformers", "base": str(models.cache / "models" / "tiny"), "adapter": None}
    assert chat.ask("y", model)[-1]["event"] == "done"


def test_the_process_ends_with_its_input(models: Home) -> None:
    """Closing standard input ends it."""
    chat = Chat()
    assert chat.process.stdin is not None
    assert chat.process.stdout is not None
    chat.process.stdin.close()
    assert chat.process.wait(timeout=60) == 0
    chat.process.stdout.close()
