"""A chat process without a model: it echoes the last message, one word per token.

Words trigger misbehavior: 'die' ends the process; 'crash' too, like llama.cpp with its extra buffers; 'smash' with
and without them; 'slow' waits between words; 'refuse' is an error; 'hold' waits until the answer is canceled.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from queue import Queue
from typing import Any

LONGEST_HOLD = 300.0
"""Seconds; longer than any test waits."""
cancelled: set[str] = set()
requests: Queue[dict[str, Any] | None] = Queue()


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def answer(request: dict[str, Any]) -> None:
    name, text = request["id"], request["messages"][-1]["content"]
    say(id=name, event="loading")
    print("a library says hello on standard output", flush=True)
    words: list[str] = []
    for word in text.split():
        if word == "die":
            os._exit(1)
        if word == "crash" and not request["model"].get("safe"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if word == "smash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if word == "refuse":
            say(id=name, event="error", message="The conversation is too long.", code="invalid_input")
            return
        time.sleep(0.2 if "slow" in text else 0)
        end = time.monotonic() + (LONGEST_HOLD if word == "hold" else 0)
        while name not in cancelled and time.monotonic() < end:
            time.sleep(0.01)
        if name in cancelled or len(words) == request["max_tokens"] or word in request["stop"]:
            break
        words.append(word)
        say(id=name, event="token", text=f"{word} " if len(words) < len(text.split()) else word, tokens=len(words))
    prompt = f"<|user|>{text}<|end|>"
    seen = [["<|user|>", True], [text, False], ["<|end|>", True]]
    finish = "cancelled" if name in cancelled else "length" if len(words) == request["max_tokens"] else "stop"
    facts = {"tokens": len(words), "seconds": 0.1, "first": 0.05, "finish": finish}
    say(id=name, event="done", text=" ".join(words), prompt=prompt, prompt_tokens=3, seen=seen, **facts)


def listen() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if message["op"] == "cancel":
            cancelled.add(message["id"])
        elif message["op"] == "generate":
            requests.put(message)
    requests.put(None)


if __name__ == "__main__":
    threading.Thread(target=listen, daemon=True).start()
    while (found := requests.get()) is not None:
        answer(found)
