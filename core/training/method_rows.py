"""The rows of a run: read once, split, saved in ``prepared/``, rendered and counted in tokens."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from transformers import PreTrainedTokenizerBase

from core.config import RunConfig
from core.data import prompts
from core.data.answers import answer_parts, warm_up_parts
from core.data.chat_template import WORDS, Shown, control_tokens, show, tokens_of
from core.data.conversation import Conversation, Message
from core.data.pipeline import prepare_rows
from core.data.rows import is_text
from core.dataset import Row
from core.errors import InvalidInput
from core.job_dir import JobDir, read_json, whole_lines, write_json
from core.methods import Need, method
from core.reward import Item as Answer
from core.reward import opened_by
from core.rewards import decided, markers_of, settled
from core.rewards.selfcheck import earns_with_reference
from core.settings import Home
from core.text import json_line
from core.training.job.checkpoint import whole_folder
from core.training.job.status import Status

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Item:
    """One row as the model sees it.

    Attributes:
        row: The mapped row, for rewards.
        prompt: The full rendered text.
        prompt_ids: Its tokens.
        opened: The start of the answer in the prompt, such as ``<think>`` and a line break.
        number: Its place among the rows of its split, counted from 1.
    """

    row: Row
    prompt: str
    prompt_ids: list[int]
    opened: str = ""
    number: int = 0

    def answered(self, text: str) -> Answer:
        """A completion to score, including ``opened``."""
        return Answer(self.opened + text, str(self.row["instruction"]), self.row)


@dataclass(frozen=True)
class Prepared:
    """Training and held-out rows; no row is in both."""

    train: list[Item]
    holdout: list[Item]


def prepare(config: RunConfig, tokenizer: PreTrainedTokenizerBase, run: JobDir, home: Home, status: Status) -> Prepared:
    """Read the rows, or those frozen at the run's first start, and render them.

    Raises:
        InvalidInput: No rows are left to train on, with the reason.
    """
    train_rows, holdout_rows = _frozen(run) or _freeze(config, run, home, status)
    asking = _Asking(config, tokenizer)
    train = asking.fitting(train_rows)
    too_long = asking.too_long
    holdout = asking.fitting(holdout_rows)
    asking.note(status)
    _check_enough(config, train, too_long)
    check_rendering(train, config, tokenizer, status)
    return Prepared(train, holdout)


def with_decisions(config: RunConfig, data: Prepared, status: Status) -> RunConfig:
    """The configuration with the reward resolved by all rows of the run, noting the decisions."""
    rows = [item.row for item in (*data.train, *data.holdout)]
    for words in decided(config.reward, rows):
        status.note(words)
    return config.model_copy(update={"reward": settled(config.reward, rows)})


def encode(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens of a rendered text, which already includes special tokens; none is added."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def ids_of(shown: Shown, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens of a rendered conversation; a control token inside a message is text."""
    return shown.ids(lambda text: encode(text, tokenizer))


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Special tokens by their names in chat templates, such as ``bos_token``."""
    return {name: str(value) for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}


def control_of(tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    """Control tokens that messages must not inject."""
    known = _control.get(tokenizer)
    if known is None:
        _control[tokenizer] = known = _read_control(tokenizer)
    return known


_control: WeakKeyDictionary[Any, frozenset[str]] = WeakKeyDictionary()
"""Cached by tokenizer: reading the list takes a millisecond, and every row needs it."""


def _read_control(tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    added = [(str(token), bool(token.special)) for token in tokenizer.added_tokens_decoder.values()]
    return control_tokens([*added, *((token, True) for token in tokenizer.all_special_tokens)])


def shown(conversation: Conversation, tokenizer: PreTrainedTokenizerBase, *, ask: bool = True) -> Shown:
    """A rendered conversation, with the same function as the preview. ``ask`` adds the generation prompt."""
    template = str(tokenizer.chat_template)
    return show(conversation, template, special_tokens(tokenizer), control_of(tokenizer), ask=ask)


def rendered(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, *, ask: bool = True) -> str:
    """The text of :func:`shown` for messages without tools."""
    return shown(Conversation(tuple(messages)), tokenizer, ask=ask).text


def target_ids(row: Row, config: RunConfig, tokenizer: PreTrainedTokenizerBase, opened: str, end: str) -> list[int]:
    """Tokens of the warm-up target. Control tokens in the reference are text; only ``end`` is a token."""
    parts = warm_up_parts(row, config.dataset, opened, control_of(tokenizer))
    return tokens_of((*parts[:-1], parts[-1] + end), lambda text: encode(text, tokenizer))


def answer_ids(answer: str, item: Item, tokenizer: PreTrainedTokenizerBase, end: str) -> list[int]:
    """Tokens of a row's whole answer with its reasoning, such as one of a pair. Control tokens in it are text."""
    parts = answer_parts(answer, item.opened, control_of(tokenizer))
    return tokens_of((*parts[:-1], parts[-1] + end), lambda text: encode(text, tokenizer))


def check_rendering(items: list[Item], config: RunConfig, tokenizer: PreTrainedTokenizerBase, status: Status) -> None:
    """Compare our rendering with the tokenizer's own, token by token, on a few rows that need no changes."""
    for item in items[:3]:
        if is_text(item.row):
            continue
        asked = prompts.conversation(item.row, config.dataset)
        ours = shown(asked, tokenizer)
        if ours.changes or len(ours.parts) > 1 or any(one.get("tool_calls") for one in asked.messages):
            continue
        theirs = tokenizer.apply_chat_template(
            list(asked.messages),
            tools=list(asked.tools) or None,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
        )
        if list(theirs["input_ids"]) != item.prompt_ids:
            status.note(
                "This model's tokenizer formats a question differently from the preview. Training uses the "
                "preview's text; other programs may use a slightly different prompt."
            )
            return


def _freeze(config: RunConfig, run: JobDir, home: Home, status: Status) -> tuple[list[Row], list[Row]]:
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
                "method": config.method,
            },
        )
    for reason, count in found.left_out.items():
        status.note(f"{count} rows were skipped: {reason}.")
    if found.spare:
        status.note(
            f"{found.spare} held-out rows are not scored, because there are more than the maximum number of "
            "held-out rows."
        )
    return found.train, found.holdout


def _frozen(run: JobDir) -> tuple[list[Row], list[Row]] | None:
    if read_json(run.prepared / "info.json") is None:
        return None
    return whole_lines(run.prepared / "train.jsonl"), whole_lines(run.prepared / "holdout.jsonl")


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    with path.open("wb") as file:
        file.writelines(json_line(row, default=str) for row in rows)


class _Asking:
    """Renders rows, and counts the changes that were necessary."""

    def __init__(self, config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        self._config, self._tokenizer = config, tokenizer
        self._markers = markers_of(config.dataset)
        training = config.training
        self._writes = Need.ROLLOUTS in method(config.method).needs
        self._longest = training.max_sequence_length - (training.max_new_tokens if self._writes else 1)
        self.too_long = 0
        self.changes: Counter[str] = Counter()
        self.refused: list[InvalidInput] = []

    def fitting(self, rows: list[Row]) -> list[Item]:
        """The rows that the template can render and that leave space for an answer."""
        items = []
        for number, row in enumerate(rows, start=1):
            try:
                item = self._item(row, number)
            except InvalidInput as error:
                self.refused.append(error)
                continue
            # With whole conversations, the length limit may leave earlier turns, so it is applied to the tokens.
            if self._config.trains_conversations or len(item.prompt_ids) <= self._longest:
                items.append(item)
            else:
                self.too_long += 1
        if rows and len(self.refused) >= len(rows) and not items:
            raise self.refused[0]
        return items

    def note(self, status: Status) -> None:
        """Report the changes."""
        training = self._config.training
        if self.too_long:
            why = (
                f"and with an answer of up to {training.max_new_tokens} they exceed"
                if self._writes
                else "which leaves no room for an answer within"
            )
            status.note(
                f"{self.too_long} rows were skipped: their question has more than {self._longest} tokens, {why} the "
                f"maximum sequence length ({training.max_sequence_length})."
            )
        if self.refused:
            status.note(f"{len(self.refused)} rows were skipped. {self.refused[0].message}")
        for change, count in self.changes.items():
            status.note(f"{count} rows: {WORDS[change]}.")

    def _item(self, row: Row, number: int) -> Item:
        if is_text(row):
            return Item(row, "", [], number=number)
        found = shown(prompts.conversation(row, self._config.dataset), self._tokenizer)
        self.changes.update(found.changes)
        opened = opened_by(found.text, self._markers)
        return Item(row, found.text, ids_of(found, self._tokenizer), opened, number)


def _check_enough(config: RunConfig, train: list[Item], too_long: int) -> None:
    needed = method(config.method).rows_a_step(config)
    if len(train) >= needed:
        return
    why = f" {too_long} rows exceed the maximum sequence length: raise it." if too_long else ""
    raise InvalidInput(
        f"There are {len(train)} rows to train on, but each step needs {needed} different questions. Use more rows "
        f"or a smaller batch.{why}",
        field="dataset.max_samples",
    )
