"""A run's reward model, loaded to score answers: for exports, for rewards, and for files of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft import PeftModel

from core.config import RunConfig, parse
from core.data import prompts
from core.errors import InvalidInput
from core.job_dir import JobDir
from core.methods import method
from core.model import Device
from core.settings import Home
from core.training.models.load import load_tokenizer, source_of
from core.training.models.score import score_at_the_end, scores, shortened, text_ids, with_score
from core.weights import tokenizer_folder, trained_by


@dataclass(frozen=True)
class RunScorer:
    """A reward model with everything that its scores depend on.

    Attributes:
        model: Base and adapter, or a model whose every weight was trained.
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


def load_scorer(run: JobDir, home: Home, device: Device, step: int | None = None) -> RunScorer:
    """Load a run's reward model in float32.

    Args:
        run: The run.
        home: Location of models.
        device: Where to.
        step: Of a checkpoint; by default the latest weights.

    Raises:
        InvalidInput: The run has not trained a reward model.
        Conflict: It has not saved one yet.
        NotFound, Unavailable: Its base model cannot be loaded.
    """
    config = parse(run.whole_config()["config"])
    if method(config.method).head != "score":
        message = f"The run {config.name!r} has not trained a reward model, so it gives no score."
        raise InvalidInput(message, field="model")
    trained = trained_by(run, config.model.model_dump(), step)
    model = with_score(source_of(trained.base, home), trained.revision, seed=0, dtype="float32")
    tokenizer = load_tokenizer(str(tokenizer_folder(trained.folder) or trained.folder))
    if trained.adapter:
        model = PeftModel.from_pretrained(model, str(trained.adapter))
    model = model.eval().to(device.kind)
    score_at_the_end(model, tokenizer)
    return RunScorer(model, tokenizer, config)
