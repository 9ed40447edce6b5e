"""Measure an export against llama.cpp's own converter and quantizer on the same model.

A: this project's export job, from adapter to Q4_K_M. B: ``convert_hf_to_gguf.py`` and llama.cpp's quantizer, by
hand, on A's merged model. Alternating A B A B, each in separate processes.

A is measured twice: in full, with its comparison of the merged model and of the file with the trained model; and by
stages, from its log, to show the cost of the comparison.

Run it with ``ROUNDS=2 python scripts/bench_export.py``; it prints a table.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
sys.path.append(str(PROJECT))

import psutil  # noqa: E402 (the path is set above)

from core.config import dump, parse  # noqa: E402 (as above)
from core.job_dir import JobDir, write_json  # noqa: E402 (as above)
from core.settings import Home  # noqa: E402 (as above)

ROUNDS = int(os.environ.get("ROUNDS", "2"))
MODEL = "smollm2-135m-instruct"
CONVERTER = PROJECT / ".tools" / "convert" / "convert_hf_to_gguf.py"
CHILD = PROJECT / "core" / "training" / "gguf" / "quantize_child.py"
CONFIG = {
    "name": "bench",
    "model": {"name": f"builtin:{MODEL}", "lora_rank": 16},
    "dataset": {"source": "generated:arithmetic", "size": 640},
    "training": {
        "max_steps": 1, "batch_size": 4, "gradient_accumulation_steps": 1, "num_generations": 4, "max_new_tokens": 24,
        "max_sequence_length": 256, "save_steps": 1,
    },
    "reward": {"type": "preset", "preset_name": "arithmetic"},
    "evaluation": {"max_prompts": 64},
}  # fmt: skip
COMPARING = re.compile("asking|checking|comparing", re.IGNORECASE)


class Cost(NamedTuple):
    """Seconds, and the peak memory of a process and its children in bytes (proportional set)."""

    seconds: float
    memory: int


def watched(commands: Sequence[Sequence[str]], home: Home, log: Path) -> Cost:
    """Run programs one after the other."""
    environment = {**os.environ, "TUNESMITH_HOME": str(home.root), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    began, peak = time.monotonic(), 0
    for command in commands:
        with log.open("ab") as output:
            process = subprocess.Popen(command, cwd="/", env=environment, stdout=output, stderr=output)
        over = threading.Event()
        found = [0]
        watcher = threading.Thread(target=_watch, args=(process.pid, over, found))
        watcher.start()
        code = process.wait()
        over.set()
        watcher.join()
        peak = max(peak, found[0])
        if code:
            sys.exit(f"{command} failed with {code}; see {log}")
    return Cost(time.monotonic() - began, peak)


def _watch(pid: int, over: threading.Event, found: list[int]) -> None:
    while not over.wait(0.2):
        try:
            leader = psutil.Process(pid)
            family = [leader, *leader.children(recursive=True)]
            found[0] = max(found[0], sum(_held(process) for process in family))
        except psutil.Error:
            continue


def _held(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def prepare(home: Home, log: Path) -> JobDir:
    """A run of one step, whose adapter is exported."""
    home.make()
    (home.cache / "models").mkdir(exist_ok=True)
    (home.cache / "models" / MODEL).symlink_to(PROJECT / "cache" / "models" / MODEL)
    run = JobDir(home.outputs / "bench")
    run.path.mkdir(parents=True)
    complete = dump(parse(CONFIG))
    write_json(run.config, {"kind": "train", "name": "bench", "created_at": "", "config": complete, "given": CONFIG})
    watched([worker(run)], home, log)
    return run


def worker(job: JobDir) -> list[str]:
    """A worker's command line."""
    return [sys.executable, "-P", str(PROJECT / "core" / "training" / "__main__.py"), "job", str(job.path)]


def export(home: Home, name: str, form: dict[str, Any]) -> tuple[JobDir, Cost]:
    """A: the job as the server starts it."""
    job = JobDir(home.exports / name)
    job.path.mkdir(parents=True)
    write_json(job.config, {"kind": "export", "session_id": "bench", "name": "bench", "created_at": "", **form})
    return job, watched([worker(job)], home, job.log)


def comparing(job: JobDir) -> float:
    """Seconds that a job spent comparing with the trained model, by its log's timestamps."""
    found = re.findall(r"^(\d\d:\d\d:\d\d) INFO (?:stage \d+ of \d+: )?(.*)$", job.log.read_text("utf-8"), re.MULTILINE)
    total = 0.0
    for (at, message), (later, _) in itertools.pairwise(found):
        if COMPARING.match(message):
            total += (datetime.strptime(later, "%H:%M:%S") - datetime.strptime(at, "%H:%M:%S")).seconds  # noqa: DTZ007
    return total


def by_hand(home: Home, merged: Path, work: Path) -> Cost:
    """B: llama.cpp's converter to F16, then its quantizer to Q4_K_M."""
    raw, made = work / "f16.gguf", work / "q4.gguf"
    cost = watched(
        [
            [sys.executable, str(CONVERTER), str(merged), "--outfile", str(raw), "--outtype", "f16"],
            [sys.executable, "-P", str(CHILD), str(raw), str(made), "Q4_K_M"],
        ],
        home,
        work / "by-hand.log",
    )
    raw.unlink()
    made.unlink()
    return cost


def main() -> None:
    """Prepare, measure alternately, print."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        home = Home(work / "home")
        home.root.mkdir()
        prepare(home, work / "train.log")
        merged, _ = export(home, "merged", {"format": "merged"})
        ours, theirs, checks = [], [], []
        for place in range(ROUNDS):
            job, cost = export(home, f"gguf-{place}", {"format": "gguf", "quantizations": ["q4_k_m"]})
            ours.append(cost)
            checks.append(comparing(job))
            shutil.rmtree(job.files)
            theirs.append(by_hand(home, merged.files, work))
        show(ours, theirs, checks)


def show(ours: list[Cost], theirs: list[Cost], checks: list[float]) -> None:
    """A line for each round, then the ratios of the medians."""
    for a, b, check in zip(ours, theirs, checks, strict=True):
        print(
            f"export {a.seconds:6.1f} s ({check:.0f} s of it comparing) {a.memory / 1e9:.2f} GB   "
            f"by hand {b.seconds:6.1f} s {b.memory / 1e9:.2f} GB"
        )
    whole, by_hand = (statistics.median(cost.seconds for cost in costs) for costs in (ours, theirs))
    made = statistics.median(cost.seconds - check for cost, check in zip(ours, checks, strict=True))
    memory = [statistics.median(cost.memory for cost in costs) for costs in (ours, theirs)]
    facts = {
        "rounds": len(ours), "whole_export_over_by_hand": round(whole / by_hand, 2),
        "without_comparing": round(made / by_hand, 2),
        "memory_ratio": round(memory[0] / memory[1], 2), "cores": psutil.cpu_count(logical=False),
    }  # fmt: skip
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
