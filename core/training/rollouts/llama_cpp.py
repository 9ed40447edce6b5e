"""Rollouts with llama.cpp, several times faster than transformers on a CPU.

The base model is converted to an f16 GGUF once and cached in ``cache/gguf``. The adapter is written next to the run
before each round, which takes hundredths of a second. llama.cpp terminates its process on errors, so it runs in a child
process (:mod:`core.training.rollouts.llama_cpp_child`). After one crash it is restarted in safe mode
(:mod:`core.training.rollouts.llama_process`) and the request is repeated; after a second one, transformers generates
for the rest of the run.

Results are verified. Before the first round, the child's log-probabilities are compared with those of transformers on a
few prompts with a random adapter. Every round is compared with the model being trained before it is used: by the
trainer, on all answers that it processes anyway, or here, on one of them. If they differ, transformers generates the
round.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import torch
from transformers import PreTrainedTokenizerBase

from core.settings import Home
from core.training.gguf import adapter as gguf_adapter
from core.training.gguf import file as gguf_file
from core.training.gguf.vocabulary import Vocabulary
from core.training.prefix_sharing.trainer import MAX_SAMPLER_KL
from core.training.rollouts.generate import Completions, Interrupted, Sampling, TransformersEngine, evaluating
from core.training.rollouts.llama_process import Child, ChildDied, Fallback
from core.training.rollouts.sampling import Rules

MAX_CHECK_KL = 1e-4
"""Mean KL divergence above which the start-up comparison fails. With f16 weights it is about 1e-5."""
MOST_FALLBACKS = 3
"""Number of rounds with a sampler mismatch after which llama.cpp is no longer used."""
SLOTS = 32
"""Most completions decoded together. More would help little and need more cache."""
CACHE_SHARE = 0.05
"""Share of the machine's memory for llama.cpp's cache."""

log = logging.getLogger("tunesmith")
_T = TypeVar("_T")


class LlamaEngine(TransformersEngine):
    """Generates with llama.cpp, or with transformers if the equivalence check or llama.cpp itself has failed.

    Args:
        model: A ``PeftModel``; its adapter is read before each round.
        tokenizer: Its tokenizer.
        base: The base model as GGUF.
        folder: For the child's input files; recreated, and removed at the end.
        note: Called with a sentence for the run's notes.
        interrupted: As in :class:`TransformersEngine`.

    Attributes:
        checks: Whether each round is compared here, at the cost of scoring one answer.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        base: Path,
        folder: Path,
        note: Callable[[str], None],
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(model, tokenizer, interrupted)
        self._base, self._note = base, note
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self._arch = gguf_adapter.architecture(base)
        self._layers: list[gguf_adapter.LoraLayer] = []
        self._child: Child | None = None
        self._fallback = Fallback()
        self._crashes = 0
        self._off = False
        self._rounds = 0
        self._shape = (0, 0)
        self.checks = True
        self._mismatches = 0
        self._once_by_transformers = False

    # The interface of TransformersEngine

    def generate(self, prompt_ids: Sequence[Sequence[int]], sampling: Sampling) -> Completions:
        """Like :meth:`TransformersEngine.generate`, with log-probabilities unless transformers is used.

        The sampling seed comes from torch's random state, which is in a checkpoint: a resumed run draws
        the same as the uninterrupted one.
        """
        seed = int(torch.randint(1 << 62, ())) if sampling.temperature else 0
        usual, self._once_by_transformers = self._off or self._once_by_transformers, False
        answer = None if usual else self._by_llama(prompt_ids, sampling, seed)
        if answer is None:
            return super().generate(prompt_ids, sampling)
        if self.checks and sampling.temperature:
            kl = self._divergence(prompt_ids, answer, sampling.temperature)
            if kl > MAX_SAMPLER_KL:
                self.fall_back(kl)
                self._once_by_transformers = False
                return super().generate(prompt_ids, sampling)
        return Completions(answer["completions"], answer["log_probabilities"])

    def fall_back(self, kl: float) -> None:
        """The last round did not match the trained model: transformers generates the next one, and after three, all."""
        self._once_by_transformers = True
        self._mismatches += 1
        self._note(
            "One round of answers was generated again by transformers, because llama.cpp's probabilities differed "
            f"from the trained model's (KL divergence {kl:.1e}, limit {MAX_SAMPLER_KL:.0e})."
        )
        if self._mismatches == MOST_FALLBACKS:
            self._give_up(f"its probabilities differed from the trained model's in {MOST_FALLBACKS} rounds")

    def close(self) -> None:
        """Terminate the child and remove its files."""
        if self._child:
            self._child.close()
        self._child = None
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def by_llama(self) -> bool:
        """Whether llama.cpp will generate the next round."""
        return not self._off

    # Equivalence check

    def check_equivalence(self, prompts: Sequence[Sequence[int]]) -> float:
        """Compare with transformers, with random adapter values. If they differ, transformers is used from now on.

        Args:
            prompts: A few real prompts, as tokens.

        Returns:
            The mean KL divergence, in nats; infinity if llama.cpp could not be used at all.
        """
        cut = [list(prompt[-48:]) for prompt in prompts[:3]]
        likely = self._arch in gguf_adapter.PERMUTED
        best = float("inf")
        with _random_adapter(self.model), torch.no_grad():
            wanted = [self._trainer(ids) for ids in cut]
            for permute in (likely, not likely):
                try:
                    self._layers = gguf_adapter.layers(self.model, permute=permute)
                except gguf_adapter.UnknownLayer as error:
                    self._give_up(str(error))
                    return float("inf")
                found = self._repeated(lambda: self._scored(cut))
                if found is None:
                    return float("inf")
                best = min(best, _mean_kl(wanted, found))
                if best <= MAX_CHECK_KL:
                    log.info("llama.cpp compared with transformers: mean KL divergence %.1e", best)
                    return best
        self._give_up(
            f"its probabilities differ from those of transformers on this model (mean KL {best:.1e}, limit "
            f"{MAX_CHECK_KL:.0e})"
        )
        return best

    def _scored(self, sequences: list[list[int]]) -> list[torch.Tensor]:
        out = self._folder / "logits.npy"
        child = self._ready()
        child.ask({"op": "score", "sequences": sequences, "cells": 256, "out": str(out)})
        rows = torch.from_numpy(np.load(out))
        out.unlink()
        return list(rows.split([len(sequence) for sequence in sequences]))

    def _trainer(self, ids: list[int]) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
        return logits

    def _divergence(self, prompt_ids: Sequence[Sequence[int]], answer: dict[str, Any], temperature: float) -> float:
        """Score one completion of the round, a different one each time, with the model being trained."""
        row = self._rounds % len(prompt_ids)
        self._rounds += 1
        prompt, completion = list(prompt_ids[row]), answer["completions"][row]
        with evaluating(self.model), torch.no_grad():
            logits = self.model(
                input_ids=torch.tensor([prompt + completion]), use_cache=False, logits_to_keep=len(completion) + 1
            ).logits[0, :-1]
        ours = (logits.float() / temperature).log_softmax(dim=-1)[torch.arange(len(completion)), completion]
        gap = ours - torch.tensor(answer["log_probabilities"][row])
        return float((gap.exp() - 1 - gap).mean())

    # The child

    def _by_llama(self, prompt_ids: Sequence[Sequence[int]], sampling: Sampling, seed: int) -> dict[str, Any] | None:
        """The child's response; None after its second crash."""
        slots, cells = self._slots_and_cells(prompt_ids, sampling)
        rules = Rules(sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p, sampling.repetition_penalty)
        request = {
            "op": "generate",
            "prompts": [list(ids) for ids in prompt_ids],
            "max_tokens": sampling.max_new_tokens,
            "stop": sorted(self.end_ids),
            "rules": asdict(rules),
            "seed": seed,
            "slots": slots,
            "cells": cells,
        }
        return self._repeated(lambda: self._ready().ask(request))

    def _repeated(self, work: Callable[[], _T]) -> _T | None:
        """Run a request in the child, retried after a crash; None after the second crash."""
        while not self._off:
            try:
                found = work()
            except ChildDied as error:
                self._crashed(error)
            except Interrupted:
                self._child = None
                raise
            else:
                self._fallback.worked()
                return found
        return None

    def _ready(self) -> Child:
        """A running child with the current adapter."""
        if self._child is None:
            extra = self._fallback.extra_buffers
            self._child = Child(self._base, torch.get_num_threads(), self.interrupted, extra_buffers=extra)
        path = self._folder / "adapter.gguf"
        if not self._layers:
            self._layers = gguf_adapter.layers(self.model, permute=self._arch in gguf_adapter.PERMUTED)
        # A base model without an adapter has no layer to write.
        adapted = bool(self._layers) and not self._layers[0].module.disable_adapters
        if adapted:
            gguf_adapter.write(path, self._arch, self._layers)
        self._child.ask({"op": "adapter", "path": str(path) if adapted else None})
        return self._child

    def _slots_and_cells(self, prompt_ids: Sequence[Sequence[int]], sampling: Sampling) -> tuple[int, int]:
        """Slots and cells per slot; never less than in the previous round, so that the cache is rarely rebuilt."""
        longest = max(len(ids) for ids in prompt_ids) + sampling.max_new_tokens
        cells = max(-(-longest // 256) * 256, self._shape[1])
        config = self.model.config.get_text_config()
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        bytes_per_slot = 2 * 2 * cells * config.num_hidden_layers * heads * width
        most = max(1, min(SLOTS, int(CACHE_SHARE * psutil.virtual_memory().total // bytes_per_slot)))
        self._shape = min(most, max(len(prompt_ids), self._shape[0])), cells
        return self._shape

    def _crashed(self, error: ChildDied) -> None:
        self._child = None
        self._crashes += 1
        self._fallback.again(error)
        if error.code is None:
            self._give_up(str(error))
        elif self._crashes > 1:
            self._give_up(f"its process crashed twice (last with {error})")
        else:
            log.warning("llama.cpp ended with %s; restarting it and repeating the round", error)

    def _give_up(self, reason: str) -> None:
        self._off = True
        if self._child:
            self._child.close()
        self._child = None
        self._note(f"Answers are generated by transformers, which is slower. llama.cpp was not used because {reason}.")


def _mean_kl(wanted: list[torch.Tensor], found: list[torch.Tensor]) -> float:
    p = torch.cat(wanted).double().log_softmax(dim=-1)
    q = torch.cat(found).double().log_softmax(dim=-1)
    return float((p.exp() * (p - q)).sum(dim=-1).mean())


@contextmanager
def _random_adapter(model: Any) -> Iterator[None]:
    """Temporarily sets the adapter to random values that change the model's output.

    Its contribution to a layer is about a quarter of the layer's initial weights.
    """
    generator = torch.Generator().manual_seed(0)
    adapted = [module for module in model.modules() if hasattr(module, "lora_A") and "default" in module.lora_A]
    weights = [half["default"].weight for module in adapted for half in (module.lora_A, module.lora_B)]
    kept = [weight.detach().clone() for weight in weights]
    sizes = []
    for module in adapted:
        rank, width = module.lora_A["default"].weight.shape
        sizes += [width**-0.5, 0.25 / (abs(module.scaling["default"]) * rank**0.5)]
    try:
        for weight, size in zip(weights, sizes, strict=True):
            weight.data = (torch.randn(weight.shape, generator=generator) * size).to(weight.dtype)
        with evaluating(model):
            yield
    finally:
        for weight, before in zip(weights, kept, strict=True):
            weight.data = before


def base_gguf(folder: Path, home: Home, stop: Callable[[], bool] = lambda: False) -> Path:
    """The base model as f16 GGUF, created once and cached in ``cache/gguf``.

    Args:
        folder: The model's folder of safetensors.
        home: Location of the cache.
        stop: Polled; true ends with :class:`core.training.gguf.file.Cancelled`.

    Raises:
        Unavailable: The converter is missing or does not know the model.
    """
    target = home.cache / "gguf" / _fingerprint(folder) / "base.gguf"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{psutil.Process().pid}")
    try:
        # Only token ids are used: a tokenizer that the converter does not know needs a rule, but any will do.
        gguf_file.convert(folder, beside, stop, vocabulary=Vocabulary(rule="gpt-2"))
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def _fingerprint(folder: Path) -> str:
    """A fingerprint of the weights, from names, sizes and times, so that gigabytes need not be read."""
    digest = hashlib.sha256()
    for file in sorted(folder.resolve().iterdir()):
        if file.suffix in {".safetensors", ".json", ".jinja", ".model"}:
            real = file.resolve().stat()
            digest.update(f"{file.name}:{real.st_size}:{real.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
