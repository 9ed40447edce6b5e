"""A home folder with models, made once for all training tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

# As in the worker's entry point, before torch is imported: its threads wait without spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from core.job import JobState
from core.job_dir import JobDir
from core.settings import Home
from tests.training.reward_runs import reward_run
from tests.training.worker_runs import REAL, TINY, make_home, make_run, work


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home folder whose ``outputs/`` all tests share; each uses its own names."""
    if not REAL.is_dir():
        pytest.skip("the built-in model is not installed: run setup")
    return make_home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def own_signals() -> Iterator[None]:
    """A worker inside the test's process handles SIGTERM and SIGINT; the handlers are restored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def trained(models: Home) -> JobDir:
    """A finished run with two checkpoints and an adapter that changes the model, named ``exported``."""
    run = make_run(models, "exported", TINY)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with pytest.MonkeyPatch.context() as patch:
        assert work(run, patch, models) == JobState.COMPLETED
    for number, handler in before.items():
        signal.signal(number, handler)
    return run


@pytest.fixture(scope="session")
def finished(models: Home) -> JobDir:
    """A finished run that has learned that short answers are better."""
    run = make_run(
        models, "reward-finished", reward_run(models, training__max_steps=12, evaluation__holdout_fraction=0.3)
    )
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with pytest.MonkeyPatch.context() as patch:
        assert work(run, patch, models) == JobState.COMPLETED
    for number, handler in before.items():
        signal.signal(number, handler)
    return run
