"""The importance matrix: which columns of a weight matrix matter most for this model's prompts.

A quantizer rounds each block with a small error. Given the mean square of each column's input, it keeps the error small
where it matters. The values are measured on the merged model with the run's own prompts and reference answers, and
passed to llama.cpp by tensor name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
from torch.utils.hooks import RemovableHandle

from core.config import RunConfig
from core.data import prompts
from core.job_dir import JobDir, iter_lines
from core.reward import opened_by
from core.rewards import markers_of
from core.training.method_rows import ids_of, shown, target_ids

TEXTS = 128
"""Most rows to measure."""
LONGEST = 512
"""Tokens of one text; longer ones are truncated."""

log = logging.getLogger("tunesmith")


def texts_of(session: JobDir, config: RunConfig, tokenizer: Any) -> list[list[int]]:
    """Token ids of training prompts with their reference answers; held-out rows are reserved for the check."""
    found = []
    for row in iter_lines(session.prepared / "train.jsonl"):
        asked = shown(prompts.conversation(row, config.dataset), tokenizer)
        opened = opened_by(asked.text, markers_of(config.dataset))
        answer = target_ids(row, config, tokenizer, opened, str(tokenizer.eos_token or ""))
        found.append([*ids_of(asked, tokenizer), *answer][:LONGEST])
        if len(found) == TEXTS:
            break
    return found


def measure(model: Any, texts: Sequence[list[int]], stop: Callable[[], bool]) -> dict[str, np.ndarray]:
    """Mean square of each input column of each linear layer.

    Args:
        model: The merged model, in float32.
        texts: Token ids.
        stop: Called between two texts.

    Returns:
        By the module's path, float32 of shape ``(in_features,)``.
    """
    with _listening(model) as (sums, counts), torch.inference_mode():
        for text in texts:
            if stop():
                break
            model(input_ids=torch.tensor([text]), use_cache=False)
    return {path: (total / counts[path]).float().numpy() for path, total in sums.items() if counts[path]}


@contextmanager
def _listening(model: Any) -> Iterator[tuple[dict[str, torch.Tensor], dict[str, int]]]:
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def listener(path: str) -> Callable[[Any, tuple[torch.Tensor, ...]], None]:
        def hear(_: Any, given: tuple[torch.Tensor, ...]) -> None:
            rows = given[0].detach().reshape(-1, given[0].shape[-1]).double()
            sums[path] = sums.get(path, torch.zeros(())) + rows.square().sum(0)
            counts[path] = counts.get(path, 0) + rows.shape[0]

        return hear

    handles: list[RemovableHandle] = [
        module.register_forward_pre_hook(listener(path))
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    try:
        yield sums, counts
    finally:
        for handle in handles:
            handle.remove()


def by_tensor(measured: dict[str, np.ndarray], architecture: str, layers: int, *, tied: bool) -> dict[str, np.ndarray]:
    """The same by GGUF tensor names.

    A converter that reorders q and k moves rows, never columns, so the numbers stay as they are.

    Args:
        measured: From :func:`measure`.
        architecture: ``general.architecture`` of the GGUF.
        layers: Number of blocks.
        tied: Whether the output layer is the embedding table, which then must be quantized carefully.
    """
    kind = next((number for number, name in MODEL_ARCH_NAMES.items() if name == architecture), None)
    if kind is None:
        return {}
    names = get_tensor_name_map(kind, layers)
    found: dict[str, np.ndarray] = {}
    for path, values in measured.items():
        name = "token_embd" if tied and path == "lm_head" else names.get_name(path)
        if name is None:
            log.warning("the importance matrix skips %s, which has no known name in GGUF", path)
            continue
        found[f"{name}.weight"] = values
    return found


def write(path: Path, matrix: dict[str, np.ndarray]) -> None:
    """Write an archive of arrays by tensor name, for :mod:`core.training.gguf.quantize_child`."""
    with path.open("wb") as file:
        np.savez(file, **matrix)  # type: ignore[arg-type]  # its stub takes no arrays by name
