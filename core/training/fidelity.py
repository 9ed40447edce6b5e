"""Comparing an exported model with the model that was trained, on the same held-out prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from core.config import RunConfig
from core.dataset import Row
from core.fidelity import FidelityReport


class Fidelity:
    """The trained model's answers and probabilities, and every export compared with them.

    Args:
        config: The run's; None for a merge of a folder that no run made: then general questions are asked
            and nothing is rewarded.
        rows: Up to 64 held-out rows.
        tokenizer: The trained model's.
        work: A folder for what is kept in between; removed by the caller.
        stop: Asked between and during stages; true ends with :class:`core.training.gguf_file.Cancelled`.
        say: Called with what is being done, in words.
    """

    def __init__(
        self,
        *,
        config: RunConfig | None,
        rows: list[Row],
        tokenizer: PreTrainedTokenizerBase,
        work: Path,
        stop: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None: ...

    def trained(self, model: Any) -> None:
        """Ask the trained model, a ``PeftModel`` in float32 before it is merged; with its adapter and without."""

    def adapted(self, model: Any, subject: str = "adapter") -> FidelityReport:
        """A model in memory, such as the base with the exported adapter read back."""
        raise NotImplementedError

    def merged(self, folder: Path) -> FidelityReport:
        """A merged folder, loaded in float32."""
        raise NotImplementedError

    def gguf(self, file: Path, subject: str, *, adapter: Path | None = None) -> FidelityReport:
        """A GGUF in llama.cpp, in a process of its own.

        Args:
            file: The model.
            subject: What it is, such as ``Q4_K_M``.
            adapter: A GGUF adapter that is applied to it.
        """
        raise NotImplementedError
