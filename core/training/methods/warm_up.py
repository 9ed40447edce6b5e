"""The warm-up: supervised fine-tuning on reference answers before GRPO.

A plain loop. Cross-entropy on the answer's tokens alone, AdamW, constant rate. It can be stopped
after any step and continues there; once done, ``checkpoints/warm-up`` says so and it is not
repeated. What was left out: packing, schedules, evaluation inside the phase.
"""

from __future__ import annotations

import json
import logging
import math
import random
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from core.config import RunConfig
from core.run import JobState
from core.training.arguments import WarmUpArguments, warm_up_arguments
from core.training.job import checkpoint
from core.training.job.status import Stopped
from core.training.method_rows import Item, rendered, target_ids
from core.training.methods.training_job import TrainingJob

IGNORED = -100
"""Label of a token that is not learnt, as torch's cross-entropy has it."""

log = logging.getLogger("tunesmith")


def warm_up(job: TrainingJob) -> bool:
    """Run the phase, continue it, or take over its result.

    Returns:
        Whether it was done just now; False where an earlier attempt had done it.

    Raises:
        Stopped: A stop was asked for; the phase continues from here.
    """
    model, tokenizer, run = job.loaded.model, job.loaded.tokenizer, job.run
    done = run.checkpoints / checkpoint.WARM_UP
    if done.is_dir():
        load_adapter(model, done)
        return False
    arguments = warm_up_arguments(job.config)
    examples = make_examples(job.data.train, job.config, arguments, tokenizer)
    WarmUp(job, examples, arguments).run()
    with checkpoint.whole_folder(done, "the result of the warm-up") as folder:
        model.save_pretrained(folder)
    checkpoint.publish_adapter(run, done, tokenizer)
    for old in run.checkpoints.glob(f"{checkpoint.WARM_UP}-*"):
        shutil.rmtree(old)
    job.status.update(checkpoint_step=0)
    return True


def load_adapter(model: Any, folder: Path) -> None:
    """Put a saved adapter's numbers into the model's own adapter."""
    set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))


def make_examples(
    items: list[Item], config: RunConfig, arguments: WarmUpArguments, tokenizer: PreTrainedTokenizerBase
) -> list[tuple[list[int], list[int]]]:
    """(tokens, labels) of each row's prompt and reference answer; rows that are too long are cut."""
    chosen = items if arguments.max_samples is None else items[: arguments.max_samples]
    return [_example(item, config, arguments.max_length, tokenizer) for item in chosen]


def _example(
    item: Item, config: RunConfig, max_length: int, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[int]]:
    answer = target_ids(item.row, config, tokenizer, item.opened, end_of_turn(tokenizer))
    ids = [*item.prompt_ids, *answer][:max_length]
    labels = [*[IGNORED] * len(item.prompt_ids), *answer][:max_length]
    return ids, labels


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> str:
    """The token that this model's template puts after an answer, usually its end-of-sequence token."""
    probe = "answer-without-markup"
    talk = [{"role": "user", "content": "question"}, {"role": "assistant", "content": probe}]
    text = rendered(talk, tokenizer, ask=False)
    rest = text.rpartition(probe)[2]
    known = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    found = [token for token in known if token and rest.lstrip().startswith(token)]
    return max(found, key=len, default=str(tokenizer.eos_token))


class WarmUp:
    """The loop and its state: step, optimizer, random states."""

    def __init__(
        self, job: TrainingJob, examples: list[tuple[list[int], list[int]]], arguments: WarmUpArguments
    ) -> None:
        self.model, self.tokenizer = job.loaded.model, job.loaded.tokenizer
        self.examples = examples
        self.arguments = arguments
        self.checkpoints, self.status, self.reporter = job.run.checkpoints, job.status, job.reporter
        self.per_epoch = math.ceil(len(examples) / arguments.batch_size)
        self.max_steps = max(1, round(self.per_epoch * arguments.epochs))
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=arguments.learning_rate, betas=arguments.betas, weight_decay=arguments.weight_decay
        )
        self.step = 0
        unfinished = checkpoint.latest_warm_up(job.run)
        if unfinished:
            self._restore(unfinished)

    def run(self) -> None:
        """Every step that is left.

        Raises:
            Stopped: After the step at hand, with a checkpoint unless it was to be at once.
        """
        self.status.begin_phase(
            JobState.WARMING_UP, "Learning from reference answers (warm-up)", step=self.step, max_steps=self.max_steps
        )
        self.model.train()
        while self.step < self.max_steps:
            if self.status.stop_asked:
                self._stop()
            started = time.perf_counter()
            row = self._one_step(self._batch(self.step))
            self.step += 1
            seconds = time.perf_counter() - started
            epoch = self.step / self.per_epoch
            self.reporter.row("warm_up", self.step, {"epoch": epoch, **row, "step_time": seconds})
            self.status.stepped(self.step, seconds)

    def _batch(self, step: int) -> list[tuple[list[int], list[int]]]:
        """The rows of one step. The order of each pass is drawn from the seed and the pass alone."""
        epoch, place = divmod(step, self.per_epoch)
        order = list(range(len(self.examples)))
        random.Random(f"{self.arguments.seed}-{epoch}").shuffle(order)  # noqa: S311  # an order, not a secret
        size = self.arguments.batch_size
        return [self.examples[index] for index in order[place * size : (place + 1) * size]]

    def _one_step(self, batch: list[tuple[list[int], list[int]]]) -> dict[str, float]:
        loss = self.model(**self._collate(batch)).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.arguments.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"loss": loss.item(), "learning_rate": self.arguments.learning_rate, "grad_norm": float(norm)}

    def _collate(self, batch: list[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
        longest = max(len(ids) for ids, _ in batch)
        pad = self.tokenizer.pad_token_id
        rows = {
            "input_ids": [ids + [pad] * (longest - len(ids)) for ids, _ in batch],
            "attention_mask": [[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in batch],
            "labels": [labels + [IGNORED] * (longest - len(labels)) for _, labels in batch],
        }
        return {name: torch.tensor(value, device=self.model.device) for name, value in rows.items()}

    def _stop(self) -> None:
        if self.step and not self.status.now_asked:
            self._save()
            raise Stopped(f"Stopped in the warm-up after step {self.step} of {self.max_steps}. Resume continues there.")
        raise Stopped("Stopped in the warm-up. Resume continues from what was saved last.")

    def _save(self) -> None:
        target = self.checkpoints / f"{checkpoint.WARM_UP}-{self.step}"
        with checkpoint.whole_folder(target, f"the checkpoint of warm-up step {self.step}") as folder:
            self.model.save_pretrained(folder)
            torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")
            torch.save(_random_states(), folder / "random.pt")
            (folder / "progress.json").write_text(json.dumps({"step": self.step}))

    def _restore(self, folder: Path) -> None:
        load_adapter(self.model, folder)
        self.optimizer.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True))
        torch.set_rng_state(torch.load(folder / "random.pt", weights_only=True)["torch"])
        self.step = int(json.loads((folder / "progress.json").read_text())["step"])


def _random_states() -> dict[str, Any]:
    # Dropout draws from torch's generator; the order of the rows is a function of seed and pass.
    return {"torch": torch.get_rng_state()}
