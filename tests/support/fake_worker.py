"""A worker that trains nothing but otherwise behaves like one, for tests of the platform.

``training.max_steps`` steps of ``STEP`` seconds, a checkpoint every ``training.save_steps``. The run's
name triggers misbehavior: 'fails' raises, 'deaf' ignores stops, 'dies' ends without a final status,
'mute' ends before its first status. While there is a file ``hold`` in the home folder, the last step (an
export's last stage) waits, so that a run stays in progress while a test needs it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

import psutil

from core.job import JobPhase, JobState, JobStatus
from core.job_dir import JobDir, JsonlWriter, step_of, write_json

STEP = 0.05
LONGEST_HOLD = 300.0
"""Seconds, so that failed tests also release their workers."""


class Fake:
    """One run or export, from its config.json to its final status."""

    def __init__(self, path: Path) -> None:
        self.run = JobDir(path)
        self.data = self.run.read_config()
        before = self.run.read_status()
        saved = self.run.numbered()  # Like the real one: whatever is on disk, reported or not.
        self.status = JobStatus(
            state=JobState.STARTING,
            pid=os.getpid(),
            pid_started=psutil.Process().create_time(),
            attempt=before.attempt + 1 if before else 1,
            checkpoint_step=step_of(saved[-1]) if saved else None,
            device="cpu",
        )
        self.say()

    def say(self, **changes: Any) -> None:
        self.status = self.status.model_copy(update={**changes, "heartbeat": time.time()})
        self.run.write_status(self.status)

    def save(self, step: int) -> None:
        (self.run.checkpoints / f"checkpoint-{step}").mkdir(parents=True, exist_ok=True)
        self.run.adapter.mkdir(exist_ok=True)
        self.say(checkpoint_step=step)

    def train(self) -> None:
        training = self.data["config"]["training"]
        steps, every, name = training["max_steps"], training["save_steps"], self.data["name"]
        first = (self.status.checkpoint_step or 0) + 1
        writer, groups = JsonlWriter(self.run.metrics), JsonlWriter(self.run.completions)
        self.say(state=JobState.RUNNING, phase=JobPhase.TRAIN, max_steps=steps, seconds_per_step=STEP)
        for step in range(first, steps + 1):
            time.sleep(STEP)
            if step == steps and self.held(lambda: self.stopped(steps - 1)):
                return
            self.row(writer, groups, step)
            self.say(step=step)
            print(f"step {step}", flush=True)
            if name == "dies" and step == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "fails" and step == 2:
                self.say(state=JobState.FAILED, error="It failed, as it was asked to.")
                sys.exit(1)
            if step % every == 0:
                self.save(step)
            if self.stopped(step):
                return
        self.save(steps)
        self.say(state=JobState.COMPLETED, message="Done")

    def stopped(self, step: int) -> bool:
        """Whether it was stopped on request."""
        control = self.run.read_control()
        if not control.stop or self.data["name"] == "deaf":
            return False
        if not control.now and self.data["kind"] != "export":
            self.save(step)
        self.say(state=JobState.STOPPED)
        return True

    def held(self, stopped: Callable[[], bool]) -> bool:
        """Wait until a test releases it; returns whether it was stopped instead."""
        gate, end = Path(os.environ["TUNESMITH_HOME"]) / "hold", time.monotonic() + LONGEST_HOLD
        while gate.exists() and time.monotonic() < end:
            if stopped():
                return True
            time.sleep(STEP)
        return False

    def row(self, writer: JsonlWriter, groups: JsonlWriter, step: int) -> None:
        common = {"attempt": self.status.attempt, "time": time.time(), "phase": "training", "step": step}
        writer.append({**common, "epoch": 0.0, "loss": 0.0, "reward": step / 100, "step_time": STEP})
        parts = {"numeric": {"score": 1.0, "weight": 1.0, "why": "right"}}
        answer = {"text": "2", "tokens": 1, "cut_off": False, "total": 1.0, "advantage": 0.0, "components": parts}
        groups.append({**common, "instruction": "1 + 1", "prompt": "1 + 1", "reference": "2", "completions": [answer]})

    def export(self) -> None:
        self.say(state=JobState.RUNNING, max_steps=2)
        for stage in (1, 2):
            for _ in range(10):
                time.sleep(STEP)
                if self.stopped(0):
                    return
            if stage == 2 and self.held(lambda: self.stopped(0)):
                return
            self.say(step=stage, message=f"Stage {stage}")
        if self.data["name"] == "dies" and self.run.made:
            os.kill(os.getpid(), signal.SIGKILL)
        crashes = self.data["name"] in {"unverified", "dies"} and not self.run.made
        report = {"subject": "Q4_K_M", "verdict": "unverified" if crashes else "faithful", "reason": "", "prompts": 2}
        self.run.files.mkdir(exist_ok=True)
        (self.run.files / "model.gguf").write_bytes(bytes(range(256)))
        file = {"name": "model.gguf", "size": 256, "sha256": "", "file_type": "Q4_K_M", "fidelity": report}
        write_json(self.run.result, {"files": [file], "commands": [], "fidelity": [report]})
        self.say(state=JobState.COMPLETED)


def main() -> None:
    path = Path(sys.argv[2])
    if JobDir(path).read_config()["name"] == "mute":
        print("cannot load the library", flush=True)
        sys.exit(7)
    fake = Fake(path)
    if fake.data["kind"] == "export":
        fake.export()
    else:
        fake.train()


if __name__ == "__main__":
    main()
