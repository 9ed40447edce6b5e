"""Training methods, one module each: ``train(job)`` completes the rest of a run, or raises ``Stopped``.

A method's module has the name of its key in :data:`core.methods.METHODS`. It imports torch and TRL, so it is loaded by
that name and only by the worker that trains.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.training.methods.training_job import TrainingJob


def trainer_of(key: str) -> Callable[[TrainingJob], None]:
    """The ``train`` function of a method.

    Args:
        key: From a parsed configuration, so it exists.
    """
    train: Callable[[TrainingJob], None] = import_module(f"{__name__}.{key}").train
    return train
