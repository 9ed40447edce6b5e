"""Training methods, a module each: ``train(job)`` does what is left of a run, or raises ``Stopped``.

The modules import torch and TRL, so they are loaded by name and only by the worker that trains.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.training.methods.training_job import TrainingJob

MODULES = {"grpo": "core.training.methods.grpo"}
"""A method's key in the configuration, and the module that trains with it."""
METHOD = "grpo"
"""What every configuration asks for, as long as there is one method."""


def trainer_of(key: str) -> Callable[[TrainingJob], None]:
    """The ``train`` function of a method.

    Raises:
        KeyError: There is no such method; a parsed configuration names only those that there are.
    """
    train: Callable[[TrainingJob], None] = import_module(MODULES[key]).train
    return train
