"""Run folders, a two-layer random model, and the real worker on them."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from core.config import dump, parse
from core.data import uploads
from core.dataset import Shape
from core.job import Control, JobState
from core.job_dir import JobDir, JsonlWriter, iter_lines, write_json
from core.settings import PROJECT, Home
from core.training.worker import Worker

ENTRY = PROJECT / "core" / "training" / "__main__.py"
KILLING = Path(__file__).with_name("killing.py")
"""A worker that gets killed."""
REAL = PROJECT / "cache" / "models" / "smollm2-135m-instruct"
needs_model = pytest.mark.skipif(not REAL.is_dir(), reason="the built-in model is not installed: run make setup")

TINY: dict[str, Any] = {
    "name": "tiny",
    "model": {"name": "builtin:tiny", "lora_rank": 4},
    "dataset": {"source": "generated:arithmetic", "size": 40, "system_prompt": "Add."},
    "training": {
        "max_steps": 6, "batch_size": 4, "gradient_accumulation_steps": 2, "num_generations": 4, "max_new_tokens": 8,
        "max_sequence_length": 96, "save_steps": 2, "learning_rate": 1e-2,
        # llama.cpp takes a process and seconds per run: only tests about it use it.
        "rollout_engine": "transformers",
    },
    # A random model solves nothing, but its answers differ in length.
    "reward": {"type": "composite", "components": [{
        "name": "length", "params": {"unit": "characters", "minimum": 40, "maximum": 40, "fall_off": 40},
    }]},
    "evaluation": {"max_prompts": 2},
}  # fmt: skip
"""A run of the random model, with rollouts by transformers."""


def changed(config: dict[str, Any], **values: Any) -> dict[str, Any]:
    """A configuration with fields set by their path: ``training__seed=3``."""
    result: dict[str, Any] = json.loads(json.dumps(config))
    for path, value in values.items():
        *sections, name = path.split("__")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return result


LLAMA = changed(TINY, training__rollout_engine="auto")
"""The same with the defaults: rollouts by llama.cpp."""


SFT: dict[str, Any] = {
    **{name: section for name, section in TINY.items() if name != "reward"},
    "method": "sft",
    "training": {
        name: value
        for name, value in TINY["training"].items()
        if name not in {"num_generations", "max_new_tokens", "rollout_engine"}
    },
}
"""The same with supervised fine-tuning: without a reward and rollouts."""


def make_home(root: Path) -> Home:
    """A home folder with the random model and, if installed, the built-in one; converted models are shared."""
    home = Home(root)
    home.make()
    known = PROJECT / "cache" / "llama.json"
    if known.is_file():
        shutil.copy(known, home.cache / known.name)
    converted = PROJECT / "cache" / "gguf"
    converted.mkdir(parents=True, exist_ok=True)
    home.cache.joinpath(converted.name).symlink_to(converted)
    models = home.cache / "models"
    models.mkdir()
    models.joinpath(REAL.name).symlink_to(REAL)
    folder = models / "tiny"
    torch.manual_seed(1)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(
        **shape, num_key_value_heads=1, vocab_size=49152, max_position_embeddings=512, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, pad_token_id=2, initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(REAL / name, folder / name)
    date(folder)
    return home


def made_dataset(home: Home, shape: Shape) -> dict[str, Any]:
    """A dataset section whose rows have a shape, uploaded for it unless they are generated: sums, right or wrong."""
    if shape is Shape.EXAMPLES:
        return dict(TINY["dataset"])
    right = [(f"What is {one} + {one + 3}?", 2 * one + 3) for one in range(40)]
    rows: list[dict[str, Any]]
    if shape is Shape.PAIRS:
        rows = [{"question": asked, "right": str(sum_), "wrong": f"{sum_ + 1} or so"} for asked, sum_ in right]
        fields = {"chosen_field": "right", "rejected_field": "wrong"}
    else:
        rows = [
            {"question": asked, "answer": str(sum_ + place % 2), "good": place % 2 == 0}
            for place, (asked, sum_) in enumerate(right)
        ]
        fields = {"label_field": "good"}
    data = "\n".join(map(json.dumps, rows)).encode()
    info = uploads.store(io.BytesIO(data), f"{shape}.jsonl", home.uploads, 1 << 20)
    return {"source": f"upload:{info.id}", "system_prompt": "Add.", **fields}


def date(folder: Path) -> None:
    """Derive file times from the content: a converted model is found by names, sizes and times."""
    for file in folder.iterdir():
        moment = int.from_bytes(sha256(file.read_bytes()).digest()[:6])
        os.utime(file, ns=(moment, moment))


def crashing(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """From now on llama.cpp's processes behave as on a machine where it crashes (``tests/support/crashing``)."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT / "tests" / "support" / "crashing"))
    monkeypatch.setenv("LLAMA_CRASHES", how)


def make_run(home: Home, name: str, config: dict[str, Any]) -> JobDir:
    """A job's folder as the launcher leaves it for the worker."""
    run = JobDir(home.outputs / name)
    run.path.mkdir(parents=True)
    write_json(
        run.config,
        {"kind": "train", "name": name, "created_at": "", "config": dump(parse(config)), "given": config},
    )
    return run


def work(run: JobDir, monkeypatch: pytest.MonkeyPatch, home: Home) -> JobState:
    """Run the worker in this process; returns its final state."""
    monkeypatch.setenv("TUNESMITH_HOME", str(home.root))
    Worker(run.path).run()
    status = run.read_status()
    assert status is not None
    return status.state


def work_until(
    run: JobDir, monkeypatch: pytest.MonkeyPatch, home: Home, ready: Callable[[list[dict[str, Any]]], bool]
) -> JobState:
    """Like :func:`work`, with a stop requested by the row that makes the rows so far ``ready``."""
    append = JsonlWriter.append

    def noticed(writer: JsonlWriter, row: dict[str, Any]) -> dict[str, Any]:
        numbered = append(writer, row)
        if ready(rows(run)):
            run.write_control(Control(stop=True))
        return numbered

    with monkeypatch.context() as patch:
        patch.setattr(JsonlWriter, "append", noticed)
        try:
            return work(run, monkeypatch, home)
        finally:
            run.control.unlink(missing_ok=True)


def launch(run: JobDir, home: Home, script: Path = ENTRY, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the worker as the launcher does: in its own process and group."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "TUNESMITH_HOME": str(home.root), "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    with run.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", str(script), "job", str(run.path), *arguments], cwd="/", env=environment,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    """Wait until it is true, or fail the test."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def rows(run: JobDir, phase: str | None = None) -> list[dict[str, Any]]:
    """Metric rows; of one phase, the latest of each step."""
    found = list(iter_lines(run.metrics))
    if phase is None:
        return found
    return list({(row["step"], row.get("when")): row for row in found if row["phase"] == phase}.values())


def written(run: JobDir) -> dict[tuple[int, str], list[str]]:
    """Training completions by step and question; of a repeated step, the latest."""
    groups = [group for group in iter_lines(run.completions) if group["phase"] == "training"]
    return {(g["step"], g["instruction"]): [c["text"] for c in g["completions"]] for g in groups}
