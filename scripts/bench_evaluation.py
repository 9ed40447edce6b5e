"""Answer times of an evaluation: two engines alternating on the same prompts.

``python scripts/bench_evaluation.py [CASE …]``: ``adapter`` (the built-in model with an adapter, by transformers and
by llama.cpp after a comparison) and ``f16``, ``q8_0`` (a GGUF, one prompt after the other in the playground's
process, and all together). 32 prompts, greedy, up to 64 tokens; the two run A B A B. "Ready" is loading and
the comparison; the base model's GGUF is made beforehand. Nothing is asserted. ``ROUNDS``, ``PROMPTS`` and ``TOKENS`` in
the environment shorten it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parent.parent
sys.path.append(str(PROJECT))

from core.config import DatasetSection  # noqa: E402
from core.data.conversation import Conversation  # noqa: E402
from core.evaluation import Asked, EvaluationSpec  # noqa: E402
from core.export import Quantization  # noqa: E402
from core.job_dir import JobDir  # noqa: E402
from core.settings import Home  # noqa: E402
from core.training.evaluation.answering import Answerer, InLlama, InTransformers, Question  # noqa: E402
from core.training.gguf.file import quantize  # noqa: E402
from core.training.job.device import this_device, use_cores  # noqa: E402
from core.training.job.status import Status  # noqa: E402
from core.training.rollouts.llama_cpp import base_gguf  # noqa: E402

MODEL = PROJECT / "cache" / "models" / "smollm2-135m-instruct"
ENTRY = PROJECT / "core" / "training" / "__main__.py"
ROUNDS = int(os.environ.get("ROUNDS", "2"))
TOKENS = int(os.environ.get("TOKENS", "64"))
PROMPTS = int(os.environ.get("PROMPTS", "32"))
THINGS = (
    "a bridge, a lens, a loom, a harbour, a compass, a mill, a valve, a violin, a glacier, a volcano, a comet, a cell, "
    "a market, a court, a census, a library, a novel, a sonnet, a mosaic, a fresco, a vaccine, a tendon, a harvest, "
    "a furnace, a rudder, a lighthouse, a railway, a telescope, a battery, a magnet, a prism, a pendulum"
)
ASKED = "Explain what {} is, how it came to be, and what it is used for."
QUESTIONS: list[Question] = [
    (place, Conversation(({"role": "user", "content": ASKED.format(thing)},)))
    for place, thing in enumerate(THINGS.split(", ")[:PROMPTS])
]


@dataclass(frozen=True)
class Took:
    """One run: seconds until ready, seconds of answering, total CPU seconds, the answers."""

    ready: float
    answering: float
    processor: float
    texts: list[str]
    tokens: int


class OneByOne:
    """A GGUF in the playground's process, one prompt after the other."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(ENTRY), "chat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ask([{"role": "user", "content": "Hello"}], 1)

    def ask(self, messages: list[dict[str, str]], tokens: int) -> dict[str, Any]:
        model = {"kind": "gguf", "path": self._path}
        request = {"op": "generate", "id": "1", "model": model, "messages": messages, "temperature": 0}
        asked, heard = self.process.stdin, self.process.stdout
        if asked is None or heard is None:
            raise RuntimeError("started without pipes")
        asked.write(json.dumps({**request, "max_tokens": tokens, "seed": 0}) + "\n")
        asked.flush()
        return next(event for event in map(json.loads, heard) if event["event"] in {"done", "error"})

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def used() -> float:
    """CPU seconds of this process and its children, including ended ones."""
    own = psutil.Process()
    times = [own.cpu_times(), *(child.cpu_times() for child in own.children())]
    return sum(one.user + one.system for one in times) + times[0].children_user + times[0].children_system


def spec(engine: str) -> EvaluationSpec:
    """Greedy answers without a score."""
    return EvaluationSpec.model_validate({
        "name": "bench", "models": [{"label": "model", "model_path": "", "resolved": {}}], "source": "a bench",
        "dataset": DatasetSection(source="generated:arithmetic", system_prompt=""),
        "max_new_tokens": TOKENS, "rollout_engine": engine,
    })  # fmt: skip


def timed(start: Callable[[], Answerer]) -> Took:
    """Start an engine and answer every prompt."""
    before, begun = used(), time.perf_counter()
    with closing(start()) as answerer:
        ready = time.perf_counter()
        found = dict(answer for piece in answerer.answers(QUESTIONS) for answer in piece)
        ended, spent = time.perf_counter(), used() - before
    ordered = [found[place] for place, _ in QUESTIONS]
    return Took(ready - begun, ended - ready, spent, [one.text for one in ordered], sum(one.tokens for one in ordered))


def with_adapter(folder: Path, engine: str) -> Took:
    """A base model and its adapter, with one of the engines."""

    def start() -> Answerer:
        run = JobDir(folder)
        status = Status(run)
        made = InTransformers(spec(engine), Home(PROJECT), run, status)
        resolved = {"kind": "transformers", "base": str(MODEL), "adapter": str(folder / "adapter")}
        made.use(Asked(label="model", model_path="", resolved=resolved), QUESTIONS)
        if status.value.notes:
            sys.exit(f"llama.cpp was not used: {status.value.notes}")
        return made

    return timed(start)


def one_by_one(path: Path) -> Took:
    """A GGUF as in the playground."""
    before, begun = used(), time.perf_counter()
    with closing(OneByOne(path)) as process:
        ready = time.perf_counter()
        events = [process.ask(list(asked.messages), TOKENS) for _, asked in QUESTIONS]
        ended, spent = time.perf_counter(), used() - before
    texts = [str(event.get("text")) for event in events]
    return Took(ready - begun, ended - ready, spent, texts, sum(int(event.get("tokens", 0)) for event in events))


def make_adapter(folder: Path) -> None:
    """An adapter on all linear layers that changes the model's output."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.002)
    model.save_pretrained(folder / "adapter")


def sides(case: str, folder: Path) -> tuple[Callable[[], Took], Callable[[], Took]]:
    """The slow way and the fast one."""
    if case == "adapter":
        make_adapter(folder)
        return lambda: with_adapter(folder, "transformers"), lambda: with_adapter(folder, "auto")
    file = base_gguf(MODEL, Home(PROJECT))
    if case != "f16":
        target = folder / f"{case}.gguf"
        quantize(file, target, Quantization(case), lambda: False)
        file = target
    return lambda: one_by_one(file), lambda: timed(lambda: InLlama(str(file), spec("auto"), lambda: False))


def report(case: str, slow: list[Took], fast: list[Took]) -> None:
    """Medians of both, the ratio of each round, and whether their answers are equal."""
    ratios = [a.answering / b.answering for a, b in zip(slow, fast, strict=True)]
    same = sum(a == b for a, b in zip(slow[0].texts, fast[0].texts, strict=True))
    print(json.dumps({
        "case": case,
        **{name: [round(statistics.median(getattr(one, name) for one in side), 1) for side in (slow, fast)]
           for name in ("ready", "answering", "processor", "tokens")},
        "ratio": round(statistics.median(ratios), 2), "range": [round(min(ratios), 2), round(max(ratios), 2)],
        "same answers": f"{same} of {len(QUESTIONS)}", "load": os.getloadavg()[0],
    }), flush=True)  # fmt: skip


def main() -> None:
    """Run every requested case."""
    use_cores(this_device())
    for case in sys.argv[1:] or ["adapter", "q8_0", "f16"]:
        with tempfile.TemporaryDirectory() as name:
            slow, fast = sides(case, Path(name))
            pairs = [(slow(), fast()) for _ in range(ROUNDS)]
            report(case, [a for a, _ in pairs], [b for _, b in pairs])


if __name__ == "__main__":
    main()
