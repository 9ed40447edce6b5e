"""TRL's GRPO trainer with less computation and the same gradients.

Two kinds of work are skipped; nothing is approximated:

- **Shared tokens.** The forward and backward passes run over a trie of unique tokens
  (:mod:`core.training.prefix_sharing.prefix_trie`), a window of gradient accumulation at a time, so that a group's
  rows are together again however TRL shuffled and split them.
- **Zero-variance groups.** If all raw rewards of a group are equal, its advantages are zero and, without a KL
  penalty, so is its gradient. Its rows are not computed, and still count in every loss type's denominator. Stock TRL
  trains on rounding noise there.

The loss itself stays TRL's: :meth:`GRPOTrainer._compute_loss` is called once for each micro-batch with precomputed
log-probabilities. It is a sum over rows, so a chunk of rows gets its exact gradient while the others are constants.

Optionally, and off by default, **dynamic sampling** draws other prompts in place of zero-variance groups, at most
:data:`REDRAWS` times per step. It changes which prompts are trained on.

Whatever the equivalence check does not cover runs as in stock TRL, and :attr:`FastGRPOTrainer.fast_notes` says why.

This relies on internals of TRL's ``grpo_trainer.py``. Check these again before upgrading TRL:

- the order in ``_prepare_inputs``: generate and score a whole round, shuffle its rows, split it into as many pieces as
  there are micro-batches, keep them in ``_buffered_inputs``, serve piece ``_step % steps_per_generation``;
- the names in the dictionary that is passed along (``PADDED_LEFT``,
  :class:`core.training.prefix_sharing.accumulation.Window`), and that any other tensor in it is shuffled and split
  like these;
- ``_compute_loss`` asking for log-probabilities once, through ``_get_per_token_logps_and_entropies``, and reducing
  over rows by sums with denominators that do not depend on log-probabilities;
- ``_metrics["train"]``, lists that are averaged and emptied at each log.

``tests/training/prefix_sharing/test_trainer.py`` compares gradients with stock TRL's for every kind of loss and
fails if one moves.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from torch import Tensor
from trl import GRPOTrainer

from core.training.prefix_sharing import prefix_trie
from core.training.prefix_sharing.accumulation import Window, WindowRow, constant_groups
from core.training.prefix_sharing.equivalence_check import MAX_DIFFERENCE, check_equivalence, unsupported_adapter

log = logging.getLogger("tunesmith")

LOSS_TYPES = ("dapo", "grpo", "dr_grpo", "bnpo", "cispo")
MEMORY_SHARE = 0.25
"""Share of the machine's memory for one chunk's activations. Of the total rather than of what is free
at the moment, because the split into chunks must be the same after a resume."""

MAX_SAMPLER_KL = 1e-2
"""Mean KL divergence, sampler to trainer, above which a round is not trained on but generated again. A normal one is
a thousand times smaller; without the adapter it is far above."""
REDRAWS = 3
"""Most replacements of a step's zero-variance groups with dynamic sampling."""
PADDED_LEFT = ("prompt_ids", "prompt_mask")
"""Tensors from TRL that are padded on the left; completions and related ones are padded on the right."""


class SamplerMismatch(Exception):
    """The sampler's probabilities differ from the trainer's: this round must not be trained on."""

    def __init__(self, kl: float) -> None:
        super().__init__(f"KL divergence {kl:.1e}")
        self.kl = kl


class FastGRPOTrainer(GRPOTrainer):
    """TRL's trainer with shared tokens computed once and zero-variance groups skipped.

    Args:
        share_prefixes: Whether to compute shared tokens once, if the equivalence check passes.
        skip_constant_groups: Whether to skip groups whose raw rewards are all equal.
        dynamic_sampling: Whether to draw other prompts instead.
        kwargs: TRL's arguments.

    Attributes:
        fast_notes: What is not optimized and why, as sentences for the run's notes.
        on_sampler_mismatch: Called with the KL divergence if a round was sampled with other probabilities than the
            trainer's; it must fix the next round, and this one is discarded. Without it the divergence is only
            recorded.
    """

    def __init__(
        self,
        *,
        share_prefixes: bool = True,
        skip_constant_groups: bool = True,
        dynamic_sampling: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.fast_notes: list[str] = []
        self.on_sampler_mismatch: Callable[[float], None] | None = None
        self._served: tuple[Tensor, Tensor] | None = None
        """Precomputed values that TRL's loss gets instead of its own forward pass."""
        self._window: Window | None = None
        self._in_step = 0
        self._constant: Tensor | None = None
        self._redraws = REDRAWS if dynamic_sampling and self.scale_rewards != "batch" else 0
        unsupported = self._unsupported()
        self._skips = skip_constant_groups and unsupported is None
        self._shares = share_prefixes and unsupported is None and self._can_share()
        if unsupported and (share_prefixes or skip_constant_groups):
            self.fast_notes.append(f"Training runs without the CPU optimizations, because {unsupported}.")
        if dynamic_sampling and not self._redraws:
            self.fast_notes.append(
                "Dynamic sampling is off, because rewards are scaled by the standard deviation of the whole batch."
            )

    # Supported configurations

    def _unsupported(self) -> str | None:
        # Each is a branch in or around TRL's loss that the tests do not compare. A branch that a new
        # version adds must be added here as well: an unknown attribute would fail loudly, an unknown branch silently.
        reasons = {
            f"the loss {self.loss_type} has not been verified with them": self.loss_type not in LOSS_TYPES,
            "training runs on a GPU": self.accelerator.device.type != "cpu",
            "training runs on several processes": self.accelerator.num_processes > 1,
            "mixed precision is on": self.accelerator.mixed_precision != "no",
            "an entropy quantile is set": self.top_entropy_quantile < 1.0,
            "an entropy bonus is set": self._entropy_bonus_enabled,
            "a mixture-of-experts loss is added": self.aux_loss_enabled,
            "off-policy masking is set": self.off_policy_mask_threshold is not None,
            "another fused loss is set": self.use_liger_kernel or self.use_vllm,
        }
        return next((reason for reason, applies in reasons.items() if applies), None)

    def _can_share(self) -> bool:
        reason = prefix_trie.supported(self.model) or unsupported_adapter(self.model) or self._failed_check()
        if reason:
            self.fast_notes.append(f"Prefix sharing is off, because {reason}.")
        return reason is None

    def _failed_check(self) -> str | None:
        if self.args.gradient_checkpointing:
            return "gradient checkpointing recomputes layers"
        if next(self.model.parameters()).dtype != torch.float32:
            return "the number format is not float32"
        difference = check_equivalence(self, self.model)
        log.info("shared-prefix pass compared with the padded one: largest relative difference %.1e", difference)
        return None if difference < MAX_DIFFERENCE else f"its gradients differ by {difference:.1e} on this model"

    # Zero-variance groups

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        # The raw rewards exist only in this method's result; TRL then turns them into advantages, in which a group
        # with equal rewards shows only as noise around zero. The rows are still in the order of the groups.
        rewards = super()._calculate_rewards(*args, **kwargs)
        group = self.num_generations if self.model.training else self.num_generations_eval
        self._constant = constant_groups(rewards, self.reward_weights.to(rewards.device), group)
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        output = self._round(inputs)
        for _ in range(self._redraws if self.model.training else 0):
            flat = self._flat_groups(output)
            if not flat:
                break
            more = self._round(self._other_questions(len(flat)))
            good = [group for group in range(len(flat)) if group not in self._flat_groups(more)]
            output = self._replaced(output, flat[: len(good)], more, good)
        return output

    def _round(self, inputs: Any) -> Any:
        """Generate and score one round, and mark its zero-variance groups."""
        output = super()._generate_and_score_completions(inputs)
        # TRL shuffles and splits all entries of this dictionary equally, so added values stay with their row.
        output["constant"] = self._constant
        if self._skips and self.model.training and self._constant is not None:
            output["advantages"][self._constant] = 0.0
            # A KL penalty also affects these rows, so then they only lose their rounding noise.
            if self.beta == 0.0:
                output["skipped"] = self._constant
        return output

    def _flat_groups(self, output: dict[str, Any]) -> list[int]:
        marks: list[bool] = output["constant"].view(-1, self.num_generations)[:, 0].tolist()
        return [group for group, mark in enumerate(marks) if mark]

    def _other_questions(self, count: int) -> list[dict[str, Any]]:
        """Rows for ``count`` groups, drawn with torch's random state so that a resumed run draws the same."""
        places = torch.randint(len(self.train_dataset), (count,)).tolist()
        return [dict(self.train_dataset[place]) for place in places for _ in range(self.num_generations)]

    def _replaced(
        self, output: dict[str, Any], flat: list[int], more: dict[str, Any], good: list[int]
    ) -> dict[str, Any]:
        """``output`` with the rows of its ``flat`` groups taken from the ``good`` groups of ``more``."""
        if not good:
            return output
        at, source = (self._rows_of(groups) for groups in (flat, good))
        result = {}
        # In order, not a set: TRL takes the batch size from the first entry.
        for name in (name for name in output if name in more):
            mine, theirs = output[name], more[name]
            if mine.dim() > 1:
                width = max(mine.shape[1], theirs.shape[1])
                fill = self._tokenizer.pad_token_id if name.endswith("_ids") else 0
                mine, theirs = (_widened(part, width, fill, left=name in PADDED_LEFT) for part in (mine, theirs))
            result[name] = mine if mine.dim() == 0 else mine.index_copy(0, at, theirs[source].to(mine.dtype))
        # The denominator of token-based loss types, which TRL computed for the replaced rows.
        result["num_items_in_batch"] = result["completion_mask"].sum()
        return result

    def _rows_of(self, groups: list[int]) -> Tensor:
        size = self.num_generations
        return torch.tensor([row for group in groups for row in range(group * size, (group + 1) * size)])

    # A round that was sampled from another distribution

    @property
    def checks_sampler(self) -> bool:
        """Whether every round is compared with the trainer before an update."""
        return (self._shares or self._skips) and self.num_iterations == 1

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """TRL's step, repeated if the round had to be generated again."""
        try:
            loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        except SamplerMismatch as mismatch:
            if self.on_sampler_mismatch is None:
                raise
            self.on_sampler_mismatch(mismatch.kl)
            # Back to the start of the step. Chunks before the mismatch may have left gradients, and
            # without a buffer TRL's _prepare_inputs generates a new round whatever its batch count. The count
            # itself is unchanged: TRL increments it after training_step returns.
            model.zero_grad()
            self._window = None
            self._buffered_inputs: Any = None
            loss = super().training_step(model, inputs, num_items_in_batch)
        return loss

    def _compare_sampler(self, window: Window, chunk: list[WindowRow], log_probabilities: Tensor) -> None:
        """Divergence of the sampler's distribution from the trainer's, over the chunk's tokens."""
        gaps = []
        for place, (batch, row) in enumerate(chunk):
            sampled = window.batches[batch].get("sampling_per_token_logps")
            # If completions are reused, the trainer has legitimately moved away from the sampling policy.
            if sampled is not None and self.num_iterations == 1:
                mask = window.batches[batch]["completion_mask"][row].bool()
                gaps.append((log_probabilities[place] - sampled[row])[mask])
        gap = torch.cat(gaps) if gaps else torch.zeros(0)
        if not gap.numel():
            return
        # A nonnegative estimate from samples (Schulman's k3), as in TRL's penalty.
        kl = float((gap.exp() - 1 - gap).mean())
        # Only before anything of the optimizer step is accepted. If a step has several rounds, a later one could not
        # be generated again without discarding the gradients of the first.
        if kl > MAX_SAMPLER_KL and self.on_sampler_mismatch is not None and self._in_step == 0:
            raise SamplerMismatch(kl)
        self._metrics["train"]["sampler_kl"].append(kl)

    # The window of gradient accumulation

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        # TRL calls this once per micro-batch, in order. The first call of an optimizer step computes the whole
        # step; all calls return precomputed values, so that loss, metrics and logs are TRL's own.
        if not (self._shares or self._skips) or not model.training:
            return super()._compute_loss(model, inputs)
        if self._window is None:
            self._window = self._run_window(model)
        window, place = self._window, self._window.used
        with self._serving(window.log_probabilities[place], window.entropies[place]):
            loss = super()._compute_loss(model, inputs)
        window.used += 1
        # transformers sets sync_gradients on the last micro-batch before an optimizer step. An epoch may end in the
        # middle of an accumulation window; the step then has fewer micro-batches than configured.
        self._in_step = 0 if self.accelerator.sync_gradients else self._in_step + 1
        if window.used == len(window.batches):
            self._window = None
        # The gradients already exist: TRL's backward call gets a detached leaf.
        return loss.detach() + torch.zeros((), device=loss.device, requires_grad=True)

    def _run_window(self, model: Any) -> Window:
        """Forward and backward passes of every micro-batch up to the next optimizer step."""
        # TRL's arithmetic in _prepare_inputs, for the micro-batches that it will request next.
        first = self._step % self.args.steps_per_generation
        size = self.current_gradient_accumulation_steps - self._in_step
        window = Window.of(self._buffered_inputs[first : first + size])
        for chunk in window.groups(self._token_limit()) if self._shares else window.micro_batches():
            self._run_chunk(model, window, chunk)
        window.fill_entropies()
        for parameter in model.parameters():
            # With every row skipped, stock TRL's gradients are zeros, not absent: Adam's state continues.
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return window

    def _run_chunk(self, model: Any, window: Window, chunk: list[WindowRow]) -> None:
        ids, mask, length = window.stacked(chunk)
        log_probabilities, entropies = self._score(model, ids, mask, length)
        self._compare_sampler(window, chunk, log_probabilities.detach())
        total = log_probabilities.new_zeros(())
        with self._metrics_aside():
            for batch in sorted({row.batch for row in chunk}):
                # The loss of a whole micro-batch, in which only this chunk's rows have a gradient: TRL's denominator
                # is then right without being known here.
                places = [place for place, row in enumerate(chunk) if row.batch == batch]
                rows = torch.tensor([chunk[place].row for place in places])
                served = window.log_probabilities[batch].index_put((rows,), log_probabilities[places])
                with self._serving(served, window.entropies[batch]):
                    total = total + super()._compute_loss(model, window.batches[batch])
        # As transformers does it. accelerate would divide by its own number of accumulation steps, which transformers
        # sets to 1; TRL has divided already.
        self.accelerator.backward(total)
        for place, (batch, row) in enumerate(chunk):
            window.log_probabilities[batch][row] = log_probabilities[place].detach()
            window.entropies[batch][row] = entropies[place]

    def _token_limit(self) -> int:
        config = self.model.config.get_text_config()
        layer = 16 * config.hidden_size + 8 * (getattr(config, "intermediate_size", 0) or 4 * config.hidden_size)
        return int(MEMORY_SHARE * psutil.virtual_memory().total / (4 * config.num_hidden_layers * layer))

    def _score(self, model: Any, ids: Tensor, mask: Tensor, length: int) -> tuple[Tensor, Tensor]:
        if self._shares:
            return prefix_trie.log_probabilities(model, prefix_trie.plan(ids, mask, length), self.temperature)
        log_probabilities, entropies, _ = super()._get_per_token_logps_and_entropies(
            model, ids, mask, length, compute_entropy=True
        )
        return log_probabilities, entropies

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        # TRL's only source of log-probabilities, called by the loss and, before it, for the reference and the old
        # policy.
        # The third result is the auxiliary loss of mixture-of-experts models, which _unsupported() rules out.
        if self._served is not None:
            return (*self._served, None)
        if not self._shares or torch.is_grad_enabled():
            stock: tuple[Tensor, Tensor | None, Tensor | None] = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep,
                batch_size=batch_size, compute_entropy=compute_entropy, **kwargs,
            )  # fmt: skip
            return stock
        # The reference, and the old policy if completions are reused.
        rows = max(self._token_limit() // input_ids.shape[1], batch_size or 1)
        pieces = [
            prefix_trie.log_probabilities(model, prefix_trie.plan(ids, mask, logits_to_keep), self.temperature)
            for ids, mask in zip(input_ids.split(rows), attention_mask.split(rows), strict=True)
        ]
        entropies = torch.cat([piece[1] for piece in pieces]) if compute_entropy else None
        return torch.cat([piece[0] for piece in pieces]), entropies, None

    # Helpers

    @contextmanager
    def _serving(self, log_probabilities: Tensor, entropies: Tensor) -> Iterator[None]:
        self._served = log_probabilities, entropies
        try:
            yield
        finally:
            self._served = None

    @contextmanager
    def _metrics_aside(self) -> Iterator[None]:
        """The loss of a partial micro-batch is meaningless: keep TRL's metrics out of the log."""
        kept: dict[str, Any] = self._metrics
        self._metrics: dict[str, Any] = {"train": defaultdict(list), "eval": defaultdict(list)}
        try:
            yield
        finally:
            self._metrics = kept


def _widened(rows: Tensor, width: int, fill: int, *, left: bool) -> Tensor:
    missing = width - rows.shape[1]
    return torch.nn.functional.pad(rows, (missing, 0) if left else (0, missing), value=fill)
