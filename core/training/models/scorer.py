"""A run's reward model, loaded to score answers: for exports, for rewards, and for files of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftModel

from core.config import RunConfig, parse
from core.data import prompts
from core.errors import Conflict, InvalidInput
from core.job_dir import JobDir
from core.methods import method
from core.model import Device
from core.settings import Home
from core.training.models.load import load_tokenizer, source_of
from core.training.models.score import score_at_the_end, scores, shortened, text_ids, with_score


@dataclass(frozen=True)
class RunScorer:
    """A reward model with everything that its scores depend on.

    Attributes:
        model: Base and adapter.
        tokenizer: As it was trained with.
        config: The run's.
    """

    model: Any
    tokenizer: Any
    config: RunConfig

    def ids(self, question: str, answer: str, conversation: Mapping[str, Any] | None = None) -> list[int]:
        """Tokens of a question with an answer, as in training: with the run's system prompt and length limit.

        Args:
            question: The last thing the user said.
            answer: May be empty.
            conversation: All of it, as in a mapped row's ``conversation``; None for a question alone.
        """
        row = {"instruction": question, **({"conversation": conversation} if conversation else {})}
        asked = prompts.conversation(row, self.config.dataset)
        return shortened(text_ids(asked, answer, self.tokenizer), self.config.training.max_sequence_length)

    def scores(self, texts: Sequence[list[int]]) -> list[float]:
        """The raw score of each text in tokens."""
        return scores(self.model, texts)


def load_scorer(run: JobDir, home: Home, device: Device, adapter: Path | None = None) -> RunScorer:
    """Load a run's reward model in float32.

    Args:
        run: The run.
        home: Location of models.
        device: Where to.
        adapter: A checkpoint's folder; by default the latest.

    Raises:
        InvalidInput: The run has not trained a reward model.
        Conflict: It has not saved one yet.
        NotFound, Unavailable: Its base model cannot be loaded.
    """
    config = parse(run.whole_config()["config"])
    if method(config.method).head != "score":
        message = f"The run {config.name!r} has not trained a reward model, so it gives no score."
        raise InvalidInput(message, field="model")
    folder = adapter or run.adapter
    if not folder.is_dir():
        raise Conflict("This run has no reward model yet. The first one is saved with the first checkpoint.")
    base = with_score(source_of(config.model.name, home), config.model.revision, seed=0, dtype="float32")
    tokenizer = load_tokenizer(str(folder if (folder / "tokenizer_config.json").is_file() else run.adapter))
    model = PeftModel.from_pretrained(base, str(folder)).eval().to(device.kind)
    score_at_the_end(model, tokenizer)
    return RunScorer(model, tokenizer, config)
