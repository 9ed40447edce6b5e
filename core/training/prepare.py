"""The rows of a run: read once, split, frozen in ``prepared/``, rendered and counted in tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from core.config import RunConfig
from core.data import prompts
from core.data.prepared import prepare_rows
from core.dataset import Row
from core.errors import InvalidInput
from core.rewards import decided, markers_of, settled
from core.rewards.selfcheck import earns_with_reference
from core.run_dir import RunDir, read_json, whole_lines, write_json
from core.settings import Home
from core.text import json_line
from core.training.checkpoint import whole_folder
from core.training.status import Status

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Item:
    """One row as the model sees it.

    Attributes:
        row: The mapped row, for rewards.
        prompt: The whole rendered text.
        prompt_ids: Its tokens.
    """

    row: Row
    prompt: str
    prompt_ids: list[int]


@dataclass(frozen=True)
class Prepared:
    """What is trained on and what is held out; no row is in both."""

    train: list[Item]
    holdout: list[Item]


def prepare(config: RunConfig, tokenizer: PreTrainedTokenizerBase, run: RunDir, home: Home, status: Status) -> Prepared:
    """Read the rows, or what the run's first start froze, and render them.

    Raises:
        InvalidInput: Nothing is left to train on, with the reason.
    """
    train_rows, holdout_rows = _frozen(run) or _freeze(config, run, home, status)
    room = config.training.max_sequence_length - config.training.max_new_tokens
    train, too_long = _fitting(train_rows, config, tokenizer, room)
    holdout, too_long_held = _fitting(holdout_rows, config, tokenizer, room)
    if too_long + too_long_held:
        status.note(
            f"{too_long + too_long_held} rows were left out: their question has more than {room} tokens, and with "
            f"an answer of up to {config.training.max_new_tokens} they pass max_sequence_length "
            f"({config.training.max_sequence_length})."
        )
    _check_enough(config, train, too_long)
    check_rendering(train, config, tokenizer, status)
    return Prepared(train, holdout)


def with_decisions(config: RunConfig, data: Prepared, status: Status) -> RunConfig:
    """The configuration with what its reward leaves to the dataset decided by all rows of the run, and told."""
    rows = [item.row for item in (*data.train, *data.holdout)]
    for words in decided(config.reward, rows):
        status.note(words)
    return config.model_copy(update={"reward": settled(config.reward, rows)})


def encode(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens of a rendered prompt. Its special tokens are in the text already: none is added."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """The names that chat templates use, such as ``bos_token``."""
    return {name: str(value) for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}


def rendered(messages: list[dict[str, str]], tokenizer: PreTrainedTokenizerBase, *, ask: bool = True) -> str:
    """A conversation as text, by the same function that the preview uses. ``ask`` opens the answer's turn."""
    template = str(tokenizer.chat_template)
    return prompts.render(messages, template, special_tokens(tokenizer), add_generation_prompt=ask)


def check_rendering(items: list[Item], config: RunConfig, tokenizer: PreTrainedTokenizerBase, status: Status) -> None:
    """Compare our rendering with the tokenizer's own, token by token, on a few rows."""
    for item in items[:3]:
        messages = prompts.messages(item.row, config.dataset)
        theirs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
        if list(theirs["input_ids"]) != item.prompt_ids:
            status.note(
                "This model's tokenizer renders a question differently from the preview. Training uses the text of "
                "the preview; other programs may ask the model in a slightly different form."
            )
            return


def _freeze(config: RunConfig, run: RunDir, home: Home, status: Status) -> tuple[list[Row], list[Row]]:
    parses = (
        earns_with_reference(config.reward, markers_of(config.dataset)) if config.dataset.drop_unparseable else None
    )
    found = prepare_rows(config, home, parses)
    with whole_folder(run.prepared, "the prepared data") as folder:
        _write_rows(folder / "train.jsonl", found.train)
        _write_rows(folder / "holdout.jsonl", found.holdout)
        if found.test:
            _write_rows(folder / "test.jsonl", found.test)
        write_json(
            folder / "info.json",
            {
                "read": found.read,
                "left_out": found.left_out,
                "train": len(found.train),
                "holdout": len(found.holdout),
                "test": len(found.test),
                "spare": found.spare,
                "sha256": found.sha256,
                "decided": decided(config.reward, [*found.train, *found.holdout]),
            },
        )
    for reason, count in found.left_out.items():
        status.note(f"{count} rows were left out: {reason}.")
    if found.spare:
        status.note(f"{found.spare} rows are held out and not scored: more than evaluation.max_rows fell to that side.")
    return found.train, found.holdout


def _frozen(run: RunDir) -> tuple[list[Row], list[Row]] | None:
    if read_json(run.prepared / "info.json") is None:
        return None
    return whole_lines(run.prepared / "train.jsonl"), whole_lines(run.prepared / "holdout.jsonl")


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    with path.open("wb") as file:
        file.writelines(json_line(row, default=str) for row in rows)


def _fitting(
    rows: list[Row], config: RunConfig, tokenizer: PreTrainedTokenizerBase, room: int
) -> tuple[list[Item], int]:
    items = [_item(row, config, tokenizer) for row in rows]
    fitting = [item for item in items if len(item.prompt_ids) <= room]
    return fitting, len(items) - len(fitting)


def _item(row: dict[str, Any], config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> Item:
    prompt = rendered(prompts.messages(row, config.dataset), tokenizer)
    return Item(row, prompt, encode(prompt, tokenizer))


def _check_enough(config: RunConfig, train: list[Item], too_long: int) -> None:
    training = config.training
    needed = training.batch_size * training.gradient_accumulation_steps // training.num_generations
    if len(train) >= needed:
        return
    why = f" {too_long} rows are too long for max_sequence_length: raise it." if too_long else ""
    raise InvalidInput(
        f"There are {len(train)} rows to train on, and one step takes {needed} different questions. "
        f"Use more rows, or a smaller batch.{why}",
        field="dataset.max_samples",
    )
