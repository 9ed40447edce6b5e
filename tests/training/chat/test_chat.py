"""The chat process, using the server's protocol."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from core.settings import Home
from core.training.chat.process import Stops
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
    """An adapter that changes the tiny model's answers drastically."""
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
    """The pieces add up to the answer, with token count, time and the prompt as the model saw it."""
    model = {"kind": "transformers", "base": str(models.cache / "models" / REAL.name), "adapter": None}
    loading, *pieces, done = chat.ask("a", model, max_tokens=12)
    assert loading["event"] == "loading"
    assert len(pieces) > 3
    assert "".join(piece["text"] for piece in pieces) == done["text"]
    assert "Paris" in done["text"]
    assert 0 < done["tokens"] <= 12
    assert done["prompt"].endswith("<|im_start|>assistant\n")
    assert "".join(part for part, _ in done["seen"]) == done["prompt"]
    assert ["<|im_start|>", True] in done["seen"]
    assert done["prompt_tokens"] > 10
    assert 0 < done["first"] <= done["seconds"]
    assert [piece["tokens"] for piece in pieces] == sorted(piece["tokens"] for piece in pieces)


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


def test_every_setting_reaches_the_model(chat: Chat, models: Home) -> None:
    """Top-k 1, a min-p of 1 and a tiny top-p each leave one candidate; a repetition penalty changes the answer."""
    model = {"kind": "transformers", "base": str(models.cache / "models" / "tiny"), "adapter": None}
    greedy = chat.ask("s0", model)[-1]["text"]
    for name, only in (("top_k", 1), ("min_p", 1.0), ("top_p", 1e-6)):
        assert chat.ask(f"s-{name}", model, temperature=1.5, **{name: only})[-1]["text"] == greedy, name
    assert chat.ask("s-repeat", model, repetition_penalty=3.0, max_tokens=24)[-1]["text"] != greedy


def test_an_answer_ends_before_a_stop_text(chat: Chat, models: Home) -> None:
    """No part of it is shown, wherever the pieces end; a limit and a stop are distinguished."""
    model = {"kind": "transformers", "base": str(models.cache / "models" / "tiny"), "adapter": None}
    *_, whole = chat.ask("w", model, max_tokens=12)
    assert whole["finish"] == "length"
    middle = whole["text"][len(whole["text"]) // 2 :][:5]
    _, *pieces, done = [None, *chat.ask("v", model, max_tokens=12, stop=["never there", middle])]
    assert done["finish"] == "stop"
    assert done["text"] == whole["text"].partition(middle)[0]
    assert "".join(piece["text"] for piece in pieces if piece["event"] == "token") == done["text"]
    assert done["tokens"] < whole["tokens"]


def test_an_adapter_brings_its_own_template(chat: Chat, models: Home, adapter: Path, tmp_path: Path) -> None:
    """A model trained with another chat template is prompted with it, including its checkpoints."""
    run = tmp_path / "run"
    checkpoint = run / "checkpoints" / "checkpoint-2"
    shutil.copytree(adapter, checkpoint)
    shutil.copytree(adapter, run / "adapter")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(models.cache / "models" / "tiny" / name, run / "adapter" / name)
    (run / "adapter" / "chat_template.jinja").write_text("ASK {{ messages[-1].content }}")
    base = {"kind": "transformers", "base": str(models.cache / "models" / "tiny")}
    for number, folder in enumerate((run / "adapter", checkpoint)):
        assert chat.ask(f"t{number}", {**base, "adapter": str(folder)})[-1]["prompt"].startswith("ASK What is")
    assert not chat.ask("t2", {**base, "adapter": None})[-1]["prompt"].startswith("ASK")


def test_an_adapter_that_was_trained_further_is_read_again(
    chat: Chat, models: Home, adapter: Path, tmp_path: Path
) -> None:
    """A running session answers with its latest checkpoint, and older ones do not accumulate."""
    base = {"kind": "transformers", "base": str(models.cache / "models" / "tiny")}
    live = tmp_path / "live"
    shutil.copytree(adapter, live)
    before = chat.ask("l0", {**base, "adapter": str(live)})[-1]["text"]
    weights = load_file(live / "adapter_model.safetensors")
    save_file({name: value * -2 for name, value in weights.items()}, live / "adapter_model.safetensors")
    os.utime(live / "adapter_model.safetensors", (1, 1))
    assert chat.ask("l1", {**base, "adapter": str(live)})[-1]["text"] != before
    assert chat.ask("l2", {**base, "adapter": str(adapter)})[-1]["text"] == before


def test_a_conversation_that_is_too_long_is_refused(chat: Chat, models: Home) -> None:
    """With a message, before the model runs; the next question is answered."""
    model = {"kind": "transformers", "base": str(models.cache / "models" / "tiny"), "adapter": None}
    refused = chat.ask("z", model, messages=[{"role": "user", "content": "word " * 600}])[-1]
    assert (refused["event"], refused["code"]) == ("error", "invalid_input")
    assert "this model's limit is 512" in refused["message"]


def test_stops_hold_back_what_may_become_one() -> None:
    """In single letters or at once, the text before the first stop is returned, without a stop all of it."""
    for text, want in (("abcEND", "abc"), ("abENcEN", "abENcEN"), ("EENDx", "E"), ("a||b|", "a||b|"), ("x|||", "x")):
        for size in (1, 2, 10):
            stops, shown, over = Stops(("END", "|||")), "", False
            for start in range(0, len(text), size):
                piece, over = stops.feed(text[start : start + size])
                shown += piece
                if over:
                    break
            assert shown + ("" if over else stops.rest()) == want, (text, size)


def test_a_cancel_ends_an_answer_early(chat: Chat, models: Home) -> None:
    """The text so far is the answer."""
    model = {"kind": "transformers", "base": str(models.cache / "models" / REAL.name), "adapter": None}
    essay = [{"role": "user", "content": "Write a long essay about the history of France."}]
    chat.send(op="generate", id="long", model=model, messages=essay, temperature=0, max_tokens=2000)
    seen = 0
    for event in chat.events():
        seen += event["event"] == "token"
        if seen == 2:
            chat.send(op="cancel", id="long")
        if event["event"] == "done":
            break
    assert event["tokens"] < 2000
    assert event["finish"] == "cancelled"


def test_a_cancel_sent_with_its_question_works(chat: Chat, models: Home) -> None:
    """The question may be queued or its model loading; a finished one does not cancel the next."""
    model = {"kind": "transformers", "base": str(models.cache / "models" / "tiny"), "adapter": None}
    question = {"model": model, "messages": QUESTION, "temperature": 0, "max_tokens": 400}
    # In one write: a test that stalls in between would send the cancel too late.
    both = ({"op": "generate", "id": "soon", **question}, {"op": "cancel", "id": "soon"})
    assert chat.process.stdin
    chat.process.stdin.write("".join(json.dumps(one) + "\n" for one in both))
    chat.process.stdin.flush()
    done = next(event for event in chat.events() if event["event"] == "done")
    assert (done["id"], done["finish"]) == ("soon", "cancelled")
    chat.send(op="cancel", id="soon")
    assert chat.ask("soon", model)[-1]["finish"] != "cancelled"


def test_an_error_is_reported_and_the_next_request_answered(chat: Chat, models: Home) -> None:
    """A missing model ends one request, not the process."""
    failed = chat.ask("x", {"kind": "transformers", "base": "/nowhere", "adapter": None})
    assert failed[-1]["event"] == "error"
    assert "Traceback" not in failed[-1]["message"]
    gone = chat.ask("x2", {"kind": "gguf", "path": "/nowhere/model.gguf"})
    assert "was deleted" in gone[-1]["message"]
    (models.root / "half.gguf").write_bytes(b"GGUF" + bytes(100))
    half = chat.ask("x3", {"kind": "gguf", "path": str(models.root / "half.gguf")})
    assert "half.gguf: the file is incomplete or damaged" in half[-1]["message"]
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
