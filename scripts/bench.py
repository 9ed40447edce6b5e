"""Measure what a user waits for, and print figures with how they were measured.

Four parts, each separately with ``python scripts/bench.py PART``: ``start`` (process start to first page),
``latency`` (a row's append in the worker to its event in a browser), ``pages`` (page times with 1,000 finished runs
of 2,000 rows each) and ``overhead`` (a training step of the app against a bare TRL script of the same run,
alternating). Nothing is asserted: the results depend on the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.append(str(PROJECT))

from core.config import dump, parse  # noqa: E402
from core.job import JobState, JobStatus  # noqa: E402
from core.job_dir import JobDir, iter_lines, write_json  # noqa: E402

STARTS = 7
RUNS, ROWS = 1000, 2000
VISITS = 9
ROUNDS = 3
STEPS = 8


def config(**training: Any) -> dict[str, Any]:
    """A small real run: the built-in model on sums."""
    return {
        "name": "bench",
        "model": {"name": "builtin:smollm2-135m-instruct"},
        "dataset": {
            "source": "generated:arithmetic",
            "system_prompt": "Give the result between <SOLUTION> and </SOLUTION>.",
        },
        "training": {
            "batch_size": 8, "gradient_accumulation_steps": 1, "max_new_tokens": 24, "max_sequence_length": 256,
            "save_steps": 1000, "learning_rate": 1e-4, "seed": 5, **training,
        },
        "reward": {"type": "preset", "preset_name": "arithmetic"},
        "evaluation": {"holdout_fraction": 0},
    }  # fmt: skip


@contextmanager
def server(home: Path) -> Iterator[str]:
    """The real server on ``home``; yields its address."""
    if not (home / "cache").exists():
        (home / "cache").symlink_to(PROJECT / "cache")
    env = {**os.environ, "TUNESMITH_HOME": str(home), "PORT": "0", "HOST": "127.0.0.1"}
    command = [sys.executable, str(PROJECT / "flask_app.py")]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield next(line.split()[-1] for line in process.stdout or () if line.startswith("Tunesmith is at "))
    finally:
        process.terminate()
        process.wait(timeout=30)


def get(url: str) -> bytes:
    """The response's body."""
    with urllib.request.urlopen(url, timeout=60) as response:
        body: bytes = response.read()
        return body


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The decoded response to a JSON request."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def wait_for_end(url: str, run: str, pause: Callable[[], object]) -> None:
    """Wait until the run has ended; anything but completion aborts the benchmark."""
    while True:
        status = json.loads(get(f"{url}/api/training/sessions/{run}"))
        if status["status"] == "completed":
            return
        if status["status"] in ("failed", "crashed", "stopped"):
            raise SystemExit(f"The run ended as {status['status']}: {status['error']}")
        pause()


def spread(values: list[float], unit: str, digits: int = 0) -> str:
    """Median and range."""
    middle, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} {unit} ({low} to {high}, n={len(values)})"


def bench_start(home: Path) -> None:
    """Process start to the complete first page, and whether torch was loaded for it."""
    seconds = []
    for _ in range(STARTS):
        started = time.perf_counter()
        with server(home) as url:
            get(f"{url}/")
            seconds.append(time.perf_counter() - started)
    print("start to first page:", spread([1000 * value for value in seconds], "ms"))
    check = "import flask_app, sys; print('torch' in sys.modules, 'transformers' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", check], cwd=PROJECT, capture_output=True, text=True, check=True)
    print("torch, transformers loaded in the web process:", loaded.stdout.strip())


LISTEN = """
async () => {
  const { io } = await import('/static/vendor/socket.io.esm.min.js');
  window.heard = [];
  const socket = io({ transports: ['websocket'] });
  socket.on('training_update', row => window.heard.push([Date.now() - 1000 * row.time, row.row]));
  await new Promise(done => socket.on('connect', done));
}
"""


def bench_latency(home: Path) -> None:
    """Append in the worker to event in Chromium, while the worker trains on the same cores."""
    from playwright.sync_api import sync_playwright

    with server(home) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(f"{url}/runs")
        page.evaluate(LISTEN)
        body = config(max_steps=150, max_new_tokens=4, batch_size=2, num_generations=2)
        run = post(f"{url}/api/training/start", {"config": body})["session_id"]
        wait_for_end(url, run, lambda: page.wait_for_timeout(500))
        heard = [milliseconds for milliseconds, _ in page.evaluate("window.heard")]
        browser.close()
    parts = statistics.quantiles(heard, n=20)
    print(f"append to a browser's event: p50 {statistics.median(heard):.0f} ms, p95 {parts[-1]:.0f} ms, n={len(heard)}")


def bench_pages(home: Path) -> None:
    """Pages and endpoints with many finished runs, over HTTP; median of several visits after the first."""
    started = time.perf_counter()
    last = fill(home)
    command = [sys.executable, "-m", "flask", "--app", "flask_app", "rebuild"]
    subprocess.run(
        command, cwd=PROJECT, env={**os.environ, "TUNESMITH_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL
    )
    print(f"{RUNS} runs of {ROWS} rows written and catalogued in {time.perf_counter() - started:.0f} s")
    with server(home) as url:
        for path in (
            "/", "/runs", f"/runs/{last}", "/api/training/sessions",
            f"/api/training/sessions/{last}/metrics?points=2000",
        ):  # fmt: skip
            times = []
            for _ in range(VISITS + 1):
                begun = time.perf_counter()
                size = len(get(url + path))
                times.append(1000 * (time.perf_counter() - begun))
            print(f"{path.replace(last, '<id>')}: {spread(times[1:], 'ms')}, {size / 1024:.0f} KiB")


def fill(home: Path) -> str:
    """Write finished runs in the form of a worker; returns the last one's id."""
    complete = dump(parse(config()))
    lines = "".join(json.dumps(metric_row(row)) + "\n" for row in range(1, ROWS + 1))
    for number in range(RUNS):
        run = JobDir(home / "outputs" / f"20260101-{number:06d}-bench0")
        run.path.mkdir(parents=True)
        write_json(run.config, {
            "kind": "train", "name": f"bench {number}", "created_at": "2026-01-01T00:00:00+00:00",
            "config": complete, "given": complete,
        })  # fmt: skip
        run.metrics.write_text(lines)
        run.write_status(JobStatus(state=JobState.COMPLETED, step=ROWS, max_steps=ROWS, heartbeat=1.77e9))
    return run.path.name


def metric_row(row: int) -> dict[str, Any]:
    """A training row with the usual columns."""
    wave = (row * 37 % 100) / 100
    return {
        "row": row, "attempt": 1, "time": 1.77e9 + row, "phase": "training", "step": row, "epoch": row / ROWS,
        "loss": wave / 10, "reward": wave, "reward_std": wave / 3,
        "reward_components": {"numeric": wave, "format": wave},
        "solved": wave,
        "completion_length_mean": 20 + wave, "completion_length_min": 4, "completion_length_max": 24,
        "cut_off": wave / 5, "groups_without_spread": wave / 2, "grad_norm": wave, "learning_rate": 1e-4,
        "entropy": wave, "step_time": 1 + wave, "tokens": 320, "tokens_per_second": 90 + wave,
    }  # fmt: skip


def bench_overhead(home: Path) -> None:
    """Seconds per step: the app's worker against bare TRL, alternating, without the first two steps of each."""
    ours, bare = [], []
    for turn in range(ROUNDS):
        ours.append(app_step(home / f"turn{turn}"))
        bare.append(bare_step(home / f"bare{turn}"))
    ratios = [mine / other for mine, other in zip(ours, bare, strict=True)]
    print("a step in the app:", spread(ours, "s", 2))
    print("a step of bare TRL:", spread(bare, "s", 2))
    print("app / bare TRL:", spread(ratios, "times", 2))


def app_step(home: Path) -> float:
    """Median wall time between two training rows of a worker started by the server, which keeps running."""
    home.mkdir(parents=True)
    with server(home) as url:
        run = post(f"{url}/api/training/start", {"config": config(max_steps=STEPS, rollout_engine="transformers")})[
            "session_id"
        ]
        while json.loads(get(f"{url}/api/training/sessions/{run}"))["status"] not in ("completed", "failed", "crashed"):
            time.sleep(1)
    times = [row["time"] for row in iter_lines(home / "outputs" / run / "metrics.jsonl") if row["phase"] == "training"]
    return median_gap(times)


def median_gap(times: list[float]) -> float:
    """Median time between two steps; the first step includes one-time costs."""
    return statistics.median(after - before for before, after in pairwise(times[1:]))


def bare_step(folder: Path) -> float:
    """The same run by :mod:`scripts.bench_bare_trl`, which is independent of this program."""
    folder.mkdir(parents=True)
    rows = folder / "rows.jsonl"
    from core.data.arithmetic import arithmetic

    rows.write_text("".join(json.dumps(row) + "\n" for row in arithmetic(512, 50, 5)))
    model = PROJECT / "cache" / "models" / "smollm2-135m-instruct"
    command = [sys.executable, "-P", str(PROJECT / "scripts" / "bench_bare_trl.py"), str(model), str(rows), str(STEPS)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return median_gap(times)


PARTS = {"start": bench_start, "latency": bench_latency, "pages": bench_pages, "overhead": bench_overhead}


def main(names: list[str]) -> int:
    """Run the named parts, or all."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"There is no part {unknown[0]}; known: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    for name in names or PARTS:
        print(f"\n== {name}", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="tunesmith-bench-"))
        try:
            PARTS[name](folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
