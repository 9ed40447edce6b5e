"""What writes answers, and which engine does it for a run, a probe or an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import try_to_load_from_cache
from transformers import PreTrainedTokenizerBase

from core.config import RunConfig
from core.errors import Unavailable
from core.job_dir import JobDir
from core.model import Device
from core.settings import Home
from core.training.job.status import Status, Stopped
from core.training.method_rows import Prepared
from core.training.models.load import Loaded, source_of
from core.training.rollouts.generate import Completions, Sampling, TransformersEngine


class Engine(Protocol):
    """Writes completions with the model that is being trained, adapter and all, as it is at that moment.

    Implemented by :class:`core.training.rollouts.generate.TransformersEngine` and
    :class:`core.training.rollouts.llama_cpp.LlamaEngine`. Another one needs no base class, only these members.

    Attributes:
        model: What is being trained (a ``PeftModel``); its present weights are used in every call.
        tokenizer: Its tokenizer.
        batch: Prompts that are best answered together, where there are many.
        checks: Whether each round is compared with the trained model before it is returned. A trainer that
            compares every round itself, on all its tokens, sets it to False.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    batch: int
    checks: bool

    def generate(self, prompt_ids: Sequence[Sequence[int]], sampling: Sampling) -> Completions:
        """One completion for each prompt. Every draw comes from torch's random state.

        Args:
            prompt_ids: Token ids of each prompt, of any length, none empty. A prompt that is to be answered
                several times is given several times.
            sampling: How the next token is drawn.

        Raises:
            Interrupted: The job was told to end at once; nothing of the round is kept.
        """

    def fall_back(self, kl: float) -> None:
        """A trainer found that the last round was not sampled from the trained model's distribution.

        Args:
            kl: Mean KL divergence from sampler to trainer, in nats a token.

        The engine sees to it that the next round is, whatever that costs.
        """

    def cut_off(self, ids: Sequence[int]) -> bool:
        """Whether a completion was truncated: it reached the length limit before an end token."""

    def text(self, ids: Sequence[int]) -> str:
        """A completion as rewards and people read it, without special tokens."""

    def close(self) -> None:
        """Give back what is held besides the model: processes, files."""


@dataclass(frozen=True)
class Base:
    """The weights below an adapter: a folder or a Hub id, and the revision of the latter."""

    source: str
    revision: str | None = None


def engine_for(
    loaded: Loaded, data: Prepared, config: RunConfig, device: Device, home: Home, run: JobDir, status: Status
) -> Engine:
    """The engine that the configuration asks for, where it passes the equivalence check on this
    machine and model. The caller closes it.

    Raises:
        Stopped: A stop was asked for while the base model was converted.
    """
    from core.training.gguf.file import Cancelled

    reason = without_llama(config.training.rollout_engine, device)
    base = Base(source_of(config.model.name, home), config.model.revision)
    prompts = [item.prompt_ids for item in data.train[:3]]
    try:
        engine = choose(loaded, base, prompts, reason, home, run, status, status.note)
    except Cancelled:
        raise Stopped("Stopped before training began.") from None
    if reason is not None and config.training.rollout_engine == "llama_cpp":
        status.note(f"Answers are written by transformers, because {reason}.")
    return engine


def choose(
    loaded: Loaded,
    base: Base,
    prompts: Sequence[Sequence[int]],
    reason: str | None,
    home: Home,
    run: JobDir,
    status: Status,
    note: Callable[[str], None],
) -> Engine:
    """llama.cpp where it passes the equivalence check, else transformers.

    Args:
        loaded: The model, with or without an adapter. To be closed by the caller, as the engine is.
        base: What is converted, once.
        prompts: A few true ones, in tokens, for the equivalence check.
        reason: Why llama.cpp is not even tried; None where it is.
        home, run: Where the converted model is kept, and where files for the child lie.
        status: Shows what is done, and hears a stop.
        note: Called with a sentence where transformers takes over.

    Raises:
        Cancelled: A stop was asked for while the base model was converted.
        Interrupted: The job was told to end at once.
    """
    slow = TransformersEngine(loaded.model, loaded.tokenizer, lambda: status.now_asked)
    if reason is not None:
        return slow
    from core.training.rollouts.llama_cpp import LlamaEngine, base_gguf

    try:
        status.update(message="Converting the base model for faster answers (once for each model)")
        file = base_gguf(_folder(base), home, lambda: status.stop_asked)
    except Unavailable as error:
        note(f"Answers are written by transformers, which is slower: {error.message}")
        return slow
    engine = LlamaEngine(loaded.model, loaded.tokenizer, file, run.rollout, note, lambda: status.now_asked)
    try:
        status.update(message="Comparing the faster engine with transformers")
        engine.check_equivalence(prompts)
    except BaseException:
        engine.close()
        raise
    return engine


def without_llama(wanted: str, device: Device) -> str | None:
    """Why llama.cpp is not even tried; None where it is.

    Args:
        wanted: ``training.rollout_engine``.
        device: What the job runs on.
    """
    if wanted == "transformers":
        return "the configuration says so"
    if device.kind != "cpu":
        return "llama.cpp is used on a CPU only"
    return None


def _folder(base: Base) -> Path:
    if Path(base.source).is_dir():
        return Path(base.source)
    found = try_to_load_from_cache(base.source, "config.json", revision=base.revision)
    if not isinstance(found, str):
        raise Unavailable(f"The files of {base.source} are not in the cache, so they could not be converted.")
    return Path(found).parent
