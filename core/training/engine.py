"""Which engine writes a run's answers, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from core.config import RunConfig
from core.errors import Unavailable
from core.model import Device
from core.run_dir import RunDir
from core.settings import Home
from core.training.generate import TransformersEngine
from core.training.load import Loaded, source_of
from core.training.prepare import Prepared, encode
from core.training.status import Status, Stopped


@contextmanager
def engine_for(
    loaded: Loaded, data: Prepared, config: RunConfig, device: Device, home: Home, run: RunDir, status: Status
) -> Iterator[TransformersEngine]:
    """The engine that the configuration asks for, where this machine and model have proved it.

    Raises:
        Stopped: A stop was asked for while the base model was converted.
    """
    reason = without_llama(config, device)
    if reason is not None:
        if config.training.rollout_engine == "llama_cpp":
            status.note(f"Answers are written by transformers, because {reason}.")
        yield TransformersEngine(loaded.model, loaded.tokenizer, lambda: status.now_asked)
        return
    from core.training.gguf_file import Cancelled
    from core.training.rollout import LlamaEngine, base_gguf

    try:
        status.update(message="Converting the base model for faster answers (once for each model)")
        base = base_gguf(_folder(config, home), home, lambda: status.stop_asked)
    except Unavailable as error:
        status.note(f"Answers are written by transformers, which is slower: {error.message}")
        yield TransformersEngine(loaded.model, loaded.tokenizer, lambda: status.now_asked)
        return
    except Cancelled:
        raise Stopped("Stopped before training began.") from None
    engine = LlamaEngine(loaded.model, loaded.tokenizer, base, run.rollout, status.note, lambda: status.now_asked)
    try:
        status.update(message="Comparing the faster engine with transformers")
        engine.prove([encode(item.prompt, loaded.tokenizer) for item in data.train[:3]])
        yield engine
    finally:
        engine.close()


def without_llama(config: RunConfig, device: Device) -> str | None:
    """Why llama.cpp is not even tried; None where it is."""
    if config.training.rollout_engine == "transformers":
        return "the configuration says so"
    if device.kind != "cpu":
        return "llama.cpp is used on a CPU only"
    return None


def _folder(config: RunConfig, home: Home) -> Path:
    source = source_of(config.model.name, home)
    if Path(source).is_dir():
        return Path(source)
    found = try_to_load_from_cache(source, "config.json", revision=config.model.revision)
    if not isinstance(found, str):
        raise Unavailable(f"The files of {source} are not in the cache, so they could not be converted.")
    return Path(found).parent
