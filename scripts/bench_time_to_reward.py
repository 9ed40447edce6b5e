"""Time until addition is learned: stock TRL, the fast path, and the fast path with dynamic sampling, alternating by
seed.

``python scripts/bench_time_to_reward.py [SIDE …]`` (``stock``, ``fast``, ``dynamic``; all of them by default) trains
'What is a + b?' as the demo does (2 questions x 8 answers of up to 24 tokens a step) until the mean reward of five
steps reaches 0.8 of at most 1.2, and to step 40 in any case. At that step each answers the same 64 held-out questions
greedily. All start from the same warm-up. ``SEEDS`` (3) and ``STEPS`` (at most, 80) may be set in the environment.
With all sides it writes ``docs/img/time-to-reward.svg`` and ``.json`` beside it. Nothing is asserted.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path += [str(PROJECT), str(PROJECT / "scripts")]

import bench_grpo as bench  # noqa: E402  # after the path is set: this is a program, started by its file name

SEEDS = int(os.environ.get("SEEDS", "3"))
STEPS = int(os.environ.get("STEPS", "80"))
GOAL, WINDOW = 0.8, 5
LOOK = 40
"""The step after which the held-out questions are answered."""
HELD_OUT = 64
CASE = bench.Case(questions=2, tokens=24, steps=STEPS, fixed=False)
COLORS = {"stock": "#d55e00", "fast": "#0072b2", "dynamic": "#009e73"}
TITLES = {"stock": "stock TRL", "fast": "this program", "dynamic": "and dynamic sampling"}

Run = dict[str, Any]
"""``side``, ``seed``, ``rewards`` and ``seconds`` and ``processor`` by step, ``held_out``."""


def main(sides: list[str]) -> int:
    """Run every seed on each side, then write the table and the chart."""
    if unknown := set(sides) - set(COLORS):
        print(f"There is no side {min(unknown)}; known: {', '.join(COLORS)}", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-bench-"))
    runs: list[Run] = []
    try:
        bench.program("--warm-up", str(folder / "warm"))
        for seed in range(1, SEEDS + 1):
            for side in sides or COLORS:
                runs.append(one(side, seed, folder))
                print(line(runs[-1]), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(runs)
    if sides:
        return 0
    target = PROJECT / "docs" / "img" / "time-to-reward.json"
    target.write_text(json.dumps(runs) + "\n", "utf-8")
    target.with_suffix(".svg").write_text(picture(runs), "utf-8")
    return 0


def one(side: str, seed: int, folder: Path) -> Run:
    """One training run in a separate process."""
    result: Run = json.loads(bench.program("--side", side, str(seed), str(folder), file=__file__))
    return result


def reached(rewards: list[float]) -> int | None:
    """The first step whose mean over the last five is the goal, from 1.

    >>> reached([0.0, 0.8, 0.8, 0.8, 0.8, 0.8])
    6
    """
    ends = range(WINDOW, len(rewards) + 1)
    return next((end for end in ends if statistics.fmean(rewards[end - WINDOW : end]) >= GOAL - 1e-9), None)


def seconds_to(run: Run, measure: str = "seconds") -> float | None:
    """Wall-clock or CPU seconds until the goal; None if it was not reached."""
    end = reached(run["rewards"])
    return sum(run[measure][:end]) if end else None


def line(run: Run) -> str:
    """One run in words."""
    end, seconds = reached(run["rewards"]), seconds_to(run)
    found = f"goal at step {end} after {seconds:.0f} s" if end else f"goal not reached in {len(run['rewards'])} steps"
    step = statistics.median(run["seconds"])
    return f"{run['side']:<7} seed {run['seed']}: {found}; {step:.2f} s a step; held out {run['held_out']:.3f}"


def report(runs: list[Run]) -> None:
    """Medians over the seeds and their ratio."""
    sides = list(dict.fromkeys(run["side"] for run in runs))
    for measure, title in (("seconds", "seconds to the goal"), ("processor", "processor seconds to the goal")):
        middle = {}
        for side in sides:
            found = [seconds_to(run, measure) for run in runs if run["side"] == side]
            # A run that did not reach the goal counts as slower than any that did.
            middle[side] = statistics.median(x if x is not None else float("inf") for x in found)
            ratio = middle[sides[0]] / middle[side]
            print(f"{title}, median: {side} {middle[side]:.0f}, ratio {sides[0]} / {side} {ratio:.2f}")
    for side in sides:
        scores = [run["held_out"] for run in runs if run["side"] == side]
        print(f"held-out reward after step {LOOK}, {side}: {', '.join(f'{score:.3f}' for score in scores)}")


def picture(runs: list[Run]) -> str:
    """Mean reward of the last five steps over seconds, one line per run."""
    width, height, left, bottom, top = 720, 360, 56, 44, 20
    longest = max(sum(run["seconds"]) for run in runs)

    def at(seconds: float, reward: float) -> str:
        x = left + seconds / longest * (width - left - 16)
        return f"{x:.1f},{height - bottom - reward / 1.2 * (height - bottom - top):.1f}"

    parts = [f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for reward in (0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2):
        y = at(0, reward).partition(",")[2]
        dash = ' stroke-dasharray="5 4" stroke="#555"' if reward == GOAL else ' stroke="#ddd"'
        parts.append(f'<line x1="{left}" x2="{width - 16}" y1="{y}" y2="{y}"{dash}/>')
        parts.append(f'<text x="{left - 8}" y="{float(y) + 4}" text-anchor="end">{reward:.1f}</text>')
    for seconds in range(0, int(longest) + 1, 60 if longest < 900 else 300):
        x = at(seconds, 0).partition(",")[0]
        parts.append(f'<text x="{x}" y="{height - bottom + 18}" text-anchor="middle">{seconds // 60}</text>')
    for run in runs:
        points, spent = [], 0.0
        for step, seconds in enumerate(run["seconds"], 1):
            spent += seconds
            window = run["rewards"][max(0, step - WINDOW) : step]
            points.append(at(spent, statistics.fmean(window)))
        color = COLORS[run["side"]]
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{color}" stroke-width="1.8"/>')
    for place, (name, words) in enumerate(TITLES.items()):
        below = height - bottom - 58 + 18 * place
        parts.append(f'<text x="{width - 180}" y="{below}" fill="{COLORS[name]}" font-weight="bold">{words}</text>')
    parts.append(f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">minutes of training</text>')
    label = "Mean reward of five steps over minutes of training, three seeds each"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{label}" '
        f'font-family="sans-serif" font-size="13">{"".join(parts)}</svg>\n'
    )


def side(kind: str, seed: int, folder: Path) -> None:
    """Train, evaluate the held-out questions on the way, print the run."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from core.training.job.device import this_device, undisturbed, use_cores
    from core.training.prefix_sharing.trainer import FastGRPOTrainer
    from core.training.rollouts.generate import Sampling, TransformersEngine

    use_cores(this_device())
    model, tokenizer = bench.load(folder / "warm")
    rows = bench.questions(CASE)
    train, held = rows[:-HELD_OUT], rows[-HELD_OUT:]
    engine = bench.fast_engine(model, tokenizer, folder, train) if kind != "stock" else None
    extra: dict[str, Any] = (
        {"rollout_func": bench.writer(engine, CASE), "dynamic_sampling": kind == "dynamic"} if engine else {}
    )
    run: Run = {"side": kind, "seed": seed, "rewards": [], "seconds": [], "processor": [], "held_out": 0.0}
    scores: list[float] = []

    def reward(**kwargs: Any) -> list[float]:
        found = bench.sums(**kwargs)
        scores.extend(found)
        return found

    def ask_held_out() -> float:
        with undisturbed():
            writer = TransformersEngine(model, tokenizer)
            ids = writer.generate(
                [tokenizer.encode(row["prompt"]) for row in held], Sampling(CASE.tokens, temperature=0)
            ).tokens
        return statistics.fmean(bench.sums([writer.text(one) for one in ids], [row["answer"] for row in held]))

    class Steps(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            scores.clear()
            self.began, self.used = time.perf_counter(), bench.processor_seconds()

        def on_step_end(self, args: Any, state: Any, control: Any, **__: Any) -> None:
            run["seconds"].append(time.perf_counter() - self.began)
            run["processor"].append(bench.processor_seconds() - self.used)
            run["rewards"].append(statistics.fmean(scores))
            if state.global_step == min(LOOK, STEPS):
                run["held_out"] = ask_held_out()
            control.should_training_stop = state.global_step >= LOOK and reached(run["rewards"]) is not None

    trainer = (FastGRPOTrainer if engine else GRPOTrainer)(
        model=model, processing_class=tokenizer, reward_funcs=reward,
        args=GRPOConfig(
            output_dir=str(folder / "out"), max_steps=STEPS, per_device_train_batch_size=8, num_generations=8,
            gradient_accumulation_steps=CASE.questions, max_completion_length=CASE.tokens, learning_rate=1e-4,
            adam_beta2=0.99, max_grad_norm=1.0, weight_decay=0.0, logging_steps=1, save_strategy="no",
            report_to="none", seed=seed, beta=0.0, temperature=1.0, use_cpu=True, gradient_checkpointing=False,
            bf16=False, disable_tqdm=True, lr_scheduler_type="constant",
        ),
        train_dataset=Dataset.from_list(train), callbacks=[Steps()], **extra,
    )  # fmt: skip
    trainer.train()
    if engine:
        engine.close()
        if not engine.by_llama or trainer.fast_notes:
            sys.exit(f"The fast path was not taken: {trainer.fast_notes}")
    print(json.dumps(run))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        side(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        sys.exit(main(sys.argv[1:]))
