"""Measures how fast this machine trains: ``__main__.py speed``, started by the server while nothing else runs.

The built-in model learns from made-up tokens and writes some, with the code that a run uses, at two sizes each. Two
sizes give what a pass costs however small it is, and what each token adds. It uses about half a minute of processor
time, a quarter of it for loading the libraries.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import torch

from core import speed
from core.config import parse
from core.errors import Unavailable
from core.model import DEMO_MODEL
from core.settings import Home, Settings
from core.training.job.device import this_device, use_cores
from core.training.methods import trainer_of
from core.training.methods.loop import Example, forward_backward, micro_batches
from core.training.models.load import Loaded, load_for_training, source_of
from core.training.rollouts.generate import Sampling, TransformersEngine
from core.training.rollouts.llama_cpp import LlamaEngine, base_gguf

ROUNDS = 2
WAITS = 1.5
"""How much longer something takes, at most, than the processor works for it: threads wait for each other."""
SHORT, LONG = (1, 64), (4, 128)
"""Rows and tokens of each, of the two sizes that are learned."""
FEW, MANY = 2, 16
"""Answers of the two sizes that are written."""
WRITTEN = 16
"""Tokens of each answer, after a prompt of :data:`PROMPT`."""
PROMPT = 48
NEVER = 17
"""A reserved token that no model writes, as the only one that would end an answer."""


def main() -> int:
    """Measure and keep the result."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    home = Settings.from_env().home
    speed.keep(home, measure(home))
    return 0


def measure(home: Home) -> speed.Speed:
    """How fast this process's machine is, in the terms of :class:`core.speed.Speed`."""
    config = parse(
        {
            "name": "speed",
            "model": {"name": DEMO_MODEL},
            "dataset": {"source": "generated:arithmetic"},
            "reward": {"type": "preset", "preset_name": "arithmetic"},
        }
    )
    device = this_device()
    use_cores(device)
    trainer_of(config.method)  # a run imports its trainer, which is most of its start
    loaded = load_for_training(config, device, home)
    loading = _alone(time.time() - psutil.Process().create_time(), _processor())
    billions = sum(weight.numel() for weight in loaded.model.get_base_model().parameters()) / 1e9
    loaded.model.train()
    short, long = _seconds(lambda: _learn(loaded, *SHORT), lambda: _learn(loaded, *LONG))
    learning = max(1e-9, (long - short) / (LONG[0] * LONG[1] - SHORT[0] * SHORT[1]))
    with _engine(loaded, home) as engine:
        few, many = _seconds(lambda: _write(engine, FEW), lambda: _write(engine, MANY))
        by_llama = isinstance(engine, LlamaEngine) and engine.by_llama
    writing = max(1e-9, (many - few) / (MANY - FEW))
    return speed.Speed(
        machine=speed.machine(),
        loading=loading,
        each_pass=max(0.0, short - SHORT[0] * SHORT[1] * learning) / billions,
        learning=learning / billions,
        each_token=max(0.0, few - FEW * writing) / WRITTEN / billions,
        writing=writing / WRITTEN / billions,
        by_llama=by_llama,
    )


def _seconds(*work: Callable[[], object]) -> list[float]:
    """The least of each; in turn, so that a busy moment does not fall on one of them alone."""
    found: list[list[float]] = []
    for _ in range(ROUNDS + 1):
        found.append([])
        for one in work:
            started, used = time.perf_counter(), _processor()
            one()
            used = (_processor() - used) / torch.get_num_threads()
            found[-1].append(_alone(time.perf_counter() - started, used))
    return [min(times) for times in zip(*found[1:], strict=True)]


def _alone(elapsed: float, used: float) -> float:
    """What something would have taken if nothing else had wanted the processor.

    Other programs come first, so on a busy machine a measurement can take ten times as long. The processor time that it
    used does not change.

    Args:
        elapsed: Seconds that it took.
        used: Seconds of processor time for each of its threads.
    """
    return min(elapsed, WAITS * used)


def _processor() -> float:
    """Seconds of processor time so far, llama.cpp's included."""
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def _learn(loaded: Loaded, rows: int, tokens: int) -> None:
    ids = [1000 + place for place in range(tokens)]
    labels = [-100] * (tokens // 2) + ids[tokens // 2 :]
    batches = micro_batches([Example(ids, labels)] * rows, rows, pad=0, device=loaded.model.device)
    forward_backward(loaded.model, batches)
    loaded.model.zero_grad(set_to_none=True)


def _write(engine: TransformersEngine, answers: int) -> None:
    engine.generate([[1000 + place for place in range(PROMPT)]] * answers, Sampling(WRITTEN))


@contextmanager
def _engine(loaded: Loaded, home: Home) -> Iterator[TransformersEngine]:
    """The one that a run uses: llama.cpp where it can be used here."""
    folder = home.cache / ".speed"
    engine: TransformersEngine
    try:
        base = base_gguf(Path(source_of(DEMO_MODEL, home)), home)
        engine = LlamaEngine(loaded.model, loaded.tokenizer, base, folder, lambda _: None)
    except Unavailable:
        engine = TransformersEngine(loaded.model, loaded.tokenizer)
    try:
        with closing(engine):
            if isinstance(engine, LlamaEngine):
                engine.check_equivalence([[1000, 1001, 1002, 1003]])
                engine.checks = False
            engine.end_ids = {NEVER}
            yield engine
    finally:
        shutil.rmtree(folder, ignore_errors=True)
