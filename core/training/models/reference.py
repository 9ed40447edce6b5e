"""The model as it was at the start of a run, beside the model that is being trained.

Its probabilities are what a run's KL divergence is measured from. What it takes depends on what is trained:

- a fresh adapter: the model with its adapter switched off, which costs no memory;
- an earlier run's adapter: a frozen copy of that adapter, a few megabytes. Switching the adapter off would give the
  bare base model, which is not where the run started;
- every weight: the model is loaded a second time, and only while it is needed.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from core.training.job.weights import TRAINED

FROZEN = "start"
"""Our name of the frozen copy of an adapter. TRL makes another one, ``ref``, when its trainer begins."""

Forward = Callable[..., Any]
"""A forward pass: takes and returns what the model does."""
Start = Callable[[], AbstractContextManager[Forward]]
"""Opens the model as it was at the start. Between its forward passes, the trained model is as always."""


def start_of(model: Any, load: Callable[[], Any]) -> Start:
    """How to compute with the model as it was at the start.

    Args:
        model: The model to train, as it is at the start.
        load: Loads it once more.
    """
    adapters = getattr(model, "peft_config", None)
    if adapters is None:
        return lambda: _loaded(load)
    if FROZEN in adapters:
        return lambda: _adapted(model, lambda **inputs: _by_copy(model, inputs))
    return lambda: _adapted(model, lambda **inputs: _by_base(model, inputs))


@contextmanager
def _adapted(model: Any, forward: Forward) -> Iterator[Forward]:
    was_training = model.training
    model.eval()
    try:
        yield forward
    finally:
        model.train(was_training)


def _by_base(model: Any, inputs: dict[str, Any]) -> Any:
    with model.disable_adapter():
        return model(**inputs)


def _by_copy(model: Any, inputs: dict[str, Any]) -> Any:
    # PEFT makes the adapter that is set trainable and freezes the others: both are undone.
    model.set_adapter(FROZEN, inference_mode=True)
    try:
        return model(**inputs)
    finally:
        model.set_adapter(TRAINED)


@contextmanager
def _loaded(load: Callable[[], Any]) -> Iterator[Forward]:
    model = load().eval().requires_grad_(False)
    try:
        yield model
    finally:
        del model
        gc.collect()
