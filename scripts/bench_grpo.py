"""Seconds of a GRPO step by part: stock TRL and the fast path alternating on the same prompts.

``python scripts/bench_grpo.py [CASE …]``: ``8x64`` (8 answers of 64 tokens), ``2x8x64`` (two questions), ``long``
(prompt of 250 tokens, 8 answers of 60) and ``demo`` (sums after a warm-up, 2 x 8 answers of up to 24 tokens, as the
model ends them). Each side is a separate process; they run A B A B. The end token is off except in ``demo``, so that
both sides generate equally much. Nothing is asserted.
"""

from __future__ import annotations

import json
import os
import re
import resource
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.append(str(PROJECT))

MODEL = PROJECT / "cache" / "models" / "smollm2-135m-instruct"
ROUNDS = int(os.environ.get("ROUNDS", "3"))
PARTS = ("rollout", "reward", "forward_backward", "optimizer", "step", "processor")
"""``processor``: CPU seconds of trainer and llama.cpp together, which a busy machine disturbs least."""
SYSTEM = "Give the result between <SOLUTION> and </SOLUTION>."
ANSWER = re.compile(r"<SOLUTION>\s*(-?\d+)\s*</SOLUTION>")
STORY = (
    "A farmer has a field beside the river, and every morning he walks along it with his dog and counts what he sees. "
)


@dataclass(frozen=True)
class Case:
    """A step's workload. ``filler`` sentences lengthen the question; ``fixed`` disables the end token."""

    questions: int
    tokens: int
    steps: int
    filler: int = 0
    fixed: bool = True


CASES = {
    "8x64": Case(1, 64, 4),
    "2x8x64": Case(2, 64, 3),
    "long": Case(1, 60, 4, filler=8),
    "demo": Case(2, 24, 8, fixed=False),
}


def main(names: list[str]) -> int:
    """Run the named cases, or all."""
    unknown = [name for name in names if name not in CASES]
    if unknown:
        print(f"There is no case {unknown[0]}; known: {', '.join(CASES)}", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-bench-"))
    try:
        for name in names or CASES:
            report(name, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def report(name: str, folder: Path) -> None:
    """Run both sides alternately, then print the table."""
    if name == "demo" and not (folder / "warm").is_dir():
        program("--warm-up", str(folder / "warm"))
    sides: dict[str, list[dict[str, float]]] = {"stock": [], "fast": []}
    for _ in range(ROUNDS):
        for side, found in sides.items():
            found.append(one_side(name, side, folder))
    stock, fast = sides["stock"], sides["fast"]
    print(f"\n== {name}: {json.dumps(asdict(CASES[name]))}, {ROUNDS} rounds of stock and fast in turn")
    print(f"{'seconds a step':<18}{'stock':>8}{'fast':>8}{'ratio':>8}   lowest to highest of the rounds")
    for part in PARTS:
        ratios = [a[part] / b[part] for a, b in zip(stock, fast, strict=True) if b[part] > 0]
        print(f"{part:<18}{middle(stock, part):>8.3f}{middle(fast, part):>8.3f}{spread(ratios)}")
    for measure, unit in (("tokens_per_second", "answer tokens a second"), ("memory", "peak memory, MiB")):
        ratios = [b[measure] / a[measure] for a, b in zip(stock, fast, strict=True)]
        print(f"{unit:<18}{middle(stock, measure):>8.0f}{middle(fast, measure):>8.0f}{spread(ratios)}   (fast / stock)")
    print(f"answers' mean length: stock {middle(stock, 'length'):.1f}, fast {middle(fast, 'length'):.1f} tokens")
    print(f"KL divergence sampler to trainer: {max(row['sampler_kl'] for row in fast):.1e} (highest round)", flush=True)


def middle(rows: list[dict[str, float]], part: str) -> float:
    """The median of the rounds."""
    return statistics.median(row[part] for row in rows)


def spread(ratios: list[float]) -> str:
    """Median ratio, lowest and highest."""
    if not ratios:
        return f"{'–':>8}"
    return f"{statistics.median(ratios):>8.2f}   {min(ratios):.2f} to {max(ratios):.2f}"


def one_side(name: str, side: str, folder: Path) -> dict[str, float]:
    """One process: medians over its steps without the first."""
    result: dict[str, float] = json.loads(program("--side", side, name, str(folder)))
    return result


def program(*arguments: str, file: str = __file__) -> str:
    """Run this file, or another benchmark, in a separate process; returns the last line of its output.

    All wait for threads like a run's worker, otherwise a busy machine would favor one side.
    """
    environment = {k: v for k, v in os.environ.items() if k not in {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}}
    environment |= {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1", **worker_environment()}
    done = subprocess.run(
        [sys.executable, "-P", file, *arguments],
        cwd=tempfile.gettempdir(), env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return next(reversed(done.stdout.splitlines()), "")


def worker_environment() -> dict[str, str]:
    """The environment that the worker's entry sets."""
    kept = dict(os.environ)
    runpy.run_path(str(PROJECT / "core" / "training" / "__main__.py"), run_name="environment")
    return {name: value for name, value in os.environ.items() if kept.get(name) != value}


def questions(case: Case) -> list[dict[str, str]]:
    """Rows with prompt and answer, the same for both sides."""
    from core.data.arithmetic import arithmetic

    rows = arithmetic(256, 50, 5)
    ask = "" if not case.fixed else " Then tell a long story about it."
    return [
        {
            "prompt": f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
            f"{STORY * case.filler}{row['question']}{ask}<|im_end|>\n<|im_start|>assistant\n",
            "answer": str(row["answer"]),
        }
        for row in rows
    ]


def sums(completions: list[str], answer: list[str], **_: Any) -> list[float]:
    """0.2 for the markers, 1 for the right number."""
    found = [ANSWER.search(completion) for completion in completions]
    return [
        0.2 * bool(match) + (match is not None and match[1] == right)
        for match, right in zip(found, answer, strict=True)
    ]


def any_spread(completions: list[str], **_: Any) -> list[float]:
    """A reward that varies, so that neither side may skip a group."""
    return [zlib.crc32(completion.encode()) / 2**32 for completion in completions]


def load(adapter: Path | None) -> tuple[Any, Any]:
    """The built-in model in float32 with an adapter, and its tokenizer."""
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

    tokenizer = AutoTokenizer.from_pretrained(MODEL, padding_side="left")
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    set_seed(5)
    if adapter:
        return PeftModel.from_pretrained(base, adapter, is_trainable=True), tokenizer
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(base, lora), tokenizer


def warm_up(folder: Path) -> None:
    """16 steps on 64 sums, as the demo's warm-up; the adapter goes to ``folder``."""
    import torch

    model, tokenizer = load(None)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=2e-4)
    rows = questions(CASES["demo"])[:64]
    for first in range(0, 64, 4):
        loss = torch.zeros(())
        for row in rows[first : first + 4]:
            prompt = tokenizer.encode(row["prompt"])
            ids = prompt + tokenizer.encode(f"<SOLUTION>{row['answer']}</SOLUTION>") + [tokenizer.eos_token_id]
            labels = [-100] * len(prompt) + ids[len(prompt) :]
            loss = loss + model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss / 4
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)


class Clock:
    """Adds up the seconds of wrapped methods for each step."""

    def __init__(self) -> None:
        self.now: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self.steps: list[dict[str, float]] = []
        self.began = self.used = 0.0

    def open(self) -> None:
        """A step begins."""
        self.began, self.used = time.perf_counter(), processor_seconds()

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Count the time of ``owner.name`` under ``part``."""
        method: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.now[part] += time.perf_counter() - started

        setattr(owner, name, timed)

    def close(self) -> None:
        """A step is over. Forward and backward is the rest of TRL's training step after generating and scoring."""
        now, self.now = self.now, dict.fromkeys(PARTS, 0.0)
        now["step"] = time.perf_counter() - self.began
        now["processor"] = processor_seconds() - self.used
        now["forward_backward"] -= now["rollout"] + now["reward"]
        now["optimizer"] = now["step"] - now["rollout"] - now["reward"] - now["forward_backward"]
        self.steps.append(now)


def processor_seconds() -> float:
    """CPU seconds so far of this process and its children."""
    import psutil

    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def side(kind: str, name: str, folder: Path) -> None:
    """Train a few steps and print medians."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from core.training.job.device import this_device, use_cores
    from core.training.prefix_sharing.trainer import FastGRPOTrainer

    case, clock = CASES[name], Clock()
    use_cores(this_device())
    model, tokenizer = load(folder / "warm" if name == "demo" else None)
    never = 17  # an unused reserved token
    lengths: list[int] = []
    engine = None
    extra: dict[str, Any] = {}
    if kind == "fast":
        engine = fast_engine(model, tokenizer, folder, questions(case))
        engine.end_ids = {never} if case.fixed else engine.end_ids
        extra["rollout_func"] = writer(engine, case)

    class Steps(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.open()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.close()

    def reward(**kwargs: Any) -> list[float]:
        lengths.extend(len(ids) for ids in kwargs["completion_ids"])
        return any_spread(**kwargs) if case.fixed else sums(**kwargs)

    trainer = (FastGRPOTrainer if kind == "fast" else GRPOTrainer)(
        model=model, processing_class=tokenizer, reward_funcs=reward,
        args=GRPOConfig(
            output_dir=str(folder / "out"), max_steps=case.steps, per_device_train_batch_size=8, num_generations=8,
            gradient_accumulation_steps=case.questions, max_completion_length=case.tokens, learning_rate=1e-5,
            logging_steps=1, save_strategy="no", report_to="none", seed=5, beta=0.0, temperature=1.0, use_cpu=True,
            gradient_checkpointing=False, bf16=False, disable_tqdm=True, lr_scheduler_type="constant",
            generation_kwargs={"eos_token_id": [never]} if case.fixed else None,
        ),
        train_dataset=Dataset.from_list(questions(case)), callbacks=[Steps()], **extra,
    )  # fmt: skip
    clock.wrap(trainer, "_generate", "rollout")
    clock.wrap(trainer, "_calculate_rewards", "reward")
    clock.wrap(trainer, "training_step", "forward_backward")
    trainer.train()
    kls = [row["sampler_kl"] for row in trainer.state.log_history if row.get("sampler_kl") is not None]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if engine is not None:
        engine.close()
        memory += resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        if not engine.by_llama or trainer.fast_notes:
            sys.exit(f"The fast path was not taken: {trainer.fast_notes}")
    counted = clock.steps[1:]
    result = {part: statistics.median(step[part] for step in counted) for part in PARTS}
    result["length"] = statistics.fmean(lengths[8 * case.questions :])
    result["tokens_per_second"] = result["length"] * 8 * case.questions / result["step"]
    print(json.dumps({**result, "memory": memory / 1024, "sampler_kl": max(kls, default=0.0)}))


def fast_engine(model: Any, tokenizer: Any, folder: Path, rows: list[dict[str, str]]) -> Any:
    """llama.cpp beside the trainer, checked as in a run."""
    from core.settings import Home
    from core.training.rollouts.llama_cpp import LlamaEngine, base_gguf

    engine = LlamaEngine(model, tokenizer, base_gguf(MODEL, Home(PROJECT)), folder / "rollout", sys.exit)
    engine.check_equivalence([tokenizer.encode(row["prompt"]) for row in rows[:3]])
    # As in a run: the trainer compares every answer that it processes anyway.
    engine.checks = False
    return engine


def writer(engine: Any, case: Case) -> Callable[[list[str], Any], dict[str, Any]]:
    """TRL's ``rollout_func``."""
    from core.training.rollouts.generate import Sampling

    def write(prompts: list[str], _: Any) -> dict[str, Any]:
        prompt_ids = [engine.tokenizer.encode(prompt) for prompt in prompts]
        found = engine.generate(prompt_ids, Sampling(case.tokens))
        return {"prompt_ids": prompt_ids, "completion_ids": found.tokens, "logprobs": found.log_probabilities}

    return write


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        side(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    elif sys.argv[1:2] == ["--warm-up"]:
        warm_up(Path(sys.argv[2]))
    else:
        sys.exit(main(sys.argv[1:]))
