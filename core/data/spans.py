"""Where a chat template prints each message, so that exactly the chosen ones are trained.

Templates differ in what they print around a message, and some print an earlier message differently once others follow:
they drop its reasoning, or an empty reasoning block. So nothing is assumed about a template, and each reply is taken
from where the model would write it:

1. The prompt of a reply is the conversation before it with the generation prompt, as at inference. The reply is what
   follows in the conversation that ends with it, up to the token that ends the turn.
2. Prompt and reply of the last trained message are one training text. Earlier replies are trained in it if prompt and
   reply, as they were when they were last, are its beginning, character by character. Those that are not get a text
   of their own.
3. Other messages are found by printing the conversation twice: once with the message, once with a filler in its place.
   Everything around it must be equal.

What none of this fits raises :class:`~core.errors.InvalidInput`, and the row is left out.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise

from core.config import DatasetSection
from core.config.training import TrainOn
from core.data.answers import warm_up_parts
from core.data.chat_template import Shown, adapted, cut_text, show
from core.data.conversation import Conversation, text_in
from core.data.prompts import conversation as asked
from core.data.prompts import system_prompt
from core.data.rows import is_text, parted_thought
from core.data.template_abilities import closing_token, thought_of, thoughts_go, with_thought, without_thought
from core.data.trained_on import TrainingText, plain_text, told, with_weights
from core.dataset import Row
from core.errors import InvalidInput
from core.reward import THOUGHTS, Markers, opened_by

NOTES = {
    "turns": "the chat template prints earlier turns differently once the conversation continues, so each turn is a "
    "training text of its own",
    "thoughts": "the chat template has no place for separate reasoning, so it is written before the answer, between "
    "<think> and </think>",
    "dropped": "the chat template does not print the reasoning of every message, and what it does not print is not "
    "trained",
    "no_thoughts": "the chat template ends the reasoning before the model writes, so reasoning is not trained",
}
"""What was done to train on a row, by the key in :attr:`Texts.changes`, besides ``chat_template.WORDS``."""


@dataclass(frozen=True)
class Template:
    """A model's chat template, and the tokens that texts may need.

    Attributes:
        source: None for a plain one.
        special: Special tokens by name.
        control: Control tokens, which are text inside messages.
        begin: The token that the tokenizer puts before a plain text; empty for none.
    """

    source: str | None
    special: Mapping[str, str]
    control: frozenset[str]
    begin: str = ""

    @property
    def end(self) -> str:
        """The end-of-sequence token."""
        return self.special.get("eos_token", "")

    def show(self, conversation: Conversation, *, ask: bool) -> Shown:
        """See :func:`core.data.chat_template.show`."""
        return show(conversation, self.source, self.special, self.control, ask=ask)

    @property
    def closing(self) -> str:
        """The token with which it ends an answer; empty if it prints none."""
        return closing_token(self.source, tuple(sorted(self.special.items())), self.control)


@dataclass(frozen=True)
class Texts:
    """The training texts of a row; none if no token of it is trained.

    Attributes:
        changes: Keys of :data:`NOTES` and of ``chat_template.WORDS``.
    """

    texts: tuple[TrainingText, ...]
    changes: tuple[str, ...] = ()


def texts_of(row: Row, dataset: DatasetSection, train_on: TrainOn, template: Template) -> Texts:
    """What a mapped row is trained on.

    Args:
        row: Mapped with ``whole``, unless ``train_on`` is ``last_assistant_message``.
        dataset: Its system prompt is added; its answer tags only apply to ``last_assistant_message``.

    Raises:
        InvalidInput: The template cannot print the conversation, the row's weights are wrong, or a trained message
            cannot be told apart from its surroundings.
    """
    if is_text(row):
        return Texts((plain_text(row["response"], template.control, begin=template.begin, end=template.end),))
    if train_on == "last_assistant_message":
        return _answer(row, dataset, template)
    own = asked(row, dataset.model_copy(update={"system_prompt": ""}))
    marked = told(with_weights(own, row, train_on), system_prompt(dataset), train_on)
    turns = _Turns.of(marked, template)
    return turns.everything() if train_on == "all_tokens" else turns.texts()


def _answer(row: Row, dataset: DatasetSection, template: Template) -> Texts:
    """The reference answer in its tags, after the prompt. Training makes the same tokens (``method_rows``)."""
    if not row["response"]:
        raise InvalidInput("This row has no answer at its end, so it is left out.", field="dataset.response_field")
    shown = template.show(asked(row, dataset), ask=True)
    markers = Markers(dataset.reasoning_start, dataset.reasoning_end, dataset.solution_start, dataset.solution_end)
    opened = opened_by(shown.text, markers)
    target = warm_up_parts(row, dataset, opened, template.control)
    parts = (*shown.parts, *target[:-1], target[-1] + (template.closing or template.end))
    start, whole = len(shown.text), sum(map(len, parts))
    return Texts((TrainingText(parts, ((start, whole, 1.0),), fresh=len(shown.parts)),), shown.changes)


@dataclass
class _Reply:
    """A reply as the last message: the prompt, and what the model writes."""

    prompt: Shown
    parts: tuple[str, ...]

    @property
    def start(self) -> int:
        return len(self.prompt.text)

    @property
    def text(self) -> str:
        return self.prompt.text + "".join(self.parts)


@dataclass
class _Turns:
    """Makes the texts of one conversation, whose messages have weights and a form that the template supports."""

    conversation: Conversation
    template: Template
    changes: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, marked: Conversation, template: Template) -> _Turns:
        place = thoughts_go(template.source, tuple(sorted(template.special.items())))
        messages = tuple(with_thought(one, place) for one in marked.messages)
        found, changes = adapted(replace(marked, messages=messages), template.source, template.special)
        moved = messages != marked.messages and place == "text"
        return cls(found, template, {*changes, *(("thoughts",) if moved else ())})

    def texts(self) -> Texts:
        messages = self.conversation.messages
        if any(one.get("weight", 0.0) is None for one in messages):
            raise InvalidInput(
                "The chat template merges messages that have different weights. Give them the same weight.",
                field="training.train_on",
            )
        trained = [place for place, one in enumerate(messages) if one.get("weight")]
        replies = {place: self._reply(place) for place in trained if messages[place]["role"] == "assistant"}
        others = [place for place in trained if place not in replies]
        groups = _together(replies)
        if len(groups) > 1:
            self.changes.add("turns")
        made = []
        for group in groups:
            here = [place for place in others if place < group[-1]]
            others = [place for place in others if place not in here]
            made.append(self._text(group, replies, here))
        if others:
            made.append(self._after(others))
        return Texts(tuple(made), tuple(sorted(self.changes)))

    def everything(self) -> Texts:
        """The whole conversation as the template prints it, all of it trained."""
        messages = self.conversation.messages
        shown = self._shown(len(messages), ask=False)
        if any(thought_of(one) not in shown.text for one in messages if one["role"] == "assistant"):
            self.changes.add("dropped")
        return Texts((TrainingText(shown.parts, ((0, len(shown.text), 1.0),)),), tuple(sorted(self.changes)))

    def _text(self, group: Sequence[int], replies: Mapping[int, _Reply], others: Sequence[int]) -> TrainingText:
        last = replies[group[-1]]
        borders = [(replies[place].start, len(replies[place].text), self._weight(place)) for place in group]
        borders += self._others(others, group[-1], last.prompt, ask=True)
        parts = _split((*last.prompt.parts, *last.parts), [replies[place].start for place in group])
        return TrainingText(parts, tuple(sorted(borders)))

    def _after(self, others: Sequence[int]) -> TrainingText:
        """Trained messages after the last trained reply."""
        shown = self._shown(others[-1] + 1, ask=False)
        return TrainingText(shown.parts, tuple(sorted(self._others(others, others[-1] + 1, shown, ask=False))))

    def _weight(self, place: int) -> float:
        return float(self.conversation.messages[place]["weight"])

    def _shown(self, count: int, *, ask: bool, filler: tuple[int, str] | None = None) -> Shown:
        messages = self.conversation.messages[:count]
        if filler:
            place, text = filler
            messages = (*messages[:place], {**messages[place], "content": text}, *messages[place + 1 :])
        return self.template.show(replace(self.conversation, messages=messages), ask=ask)

    # --- replies ---

    def _reply(self, place: int) -> _Reply:
        message, prompt = self.conversation.messages[place], self._shown(place, ask=True)
        thought = thought_of(message)
        said, asked_so = self._printed(place, prompt)
        opened = _OPENED.search(prompt.text)
        parts, before = _from(said.parts, len(asked_so)), ""
        if opened and not asked_so.endswith(opened[0]):
            # The generation prompt opens the reasoning, or ends it, and the template prints the message without it.
            block = _BLOCK.match("".join(parts))
            parts = _from(parts, block.end() if block else 0)
            before = "" if opened["closed"] else f"{thought}\n{_CLOSED[opened['open']]}\n\n".removeprefix("\n")
        elif thought and thought not in "".join(parts) and not opened:
            # The template drops the reasoning of every message; the model still has to learn to write it.
            before = f"<think>\n{thought}\n</think>\n\n"
        if thought and thought not in before + "".join(parts):
            self.changes.add("no_thoughts")
        if parted_thought(text_in(message))[1] not in "".join(parts):
            raise InvalidInput("The chat template does not print the text of an assistant message.", field="model.name")
        if before:
            first, *rest = parts
            parts = (*cut_text(before, self.template.control), first.lstrip("\n"), *rest)
        return _Reply(prompt, self._ended(parts))

    def _printed(self, place: int, prompt: Shown) -> tuple[Shown, str]:
        """A conversation that ends with a reply, and the text before it.

        Some templates print the system message only if the last message is a question, or the reasoning before a call
        only until the answer follows. The reply is the same without these.
        """
        messages = self.conversation.messages
        system = int(bool(messages) and messages[0]["role"] == "system")
        silent = tuple(without_thought(one) for one in messages[:place])
        for before in dict.fromkeys(((0, False), (system, False), (0, True), (system, True))):
            start, quiet = before
            history = (silent if quiet else messages[:place])[start:]
            if not history and place:
                continue
            turns = _Turns(replace(self.conversation, messages=(*history, messages[place])), self.template)
            said = turns._shown(len(history) + 1, ask=False)
            asks = turns._shown(len(history), ask=True).text if start or quiet else prompt.text
            opened = _OPENED.search(asks)
            for text in (asks, asks[: opened.start()] if opened else asks):
                if said.text.startswith(text):
                    return said, text
        raise InvalidInput(
            "The chat template prints an assistant message differently from what the model is asked to write, so it "
            "cannot be trained on. Choose the last assistant message, or all tokens.",
            field="training.train_on",
        )

    def _ended(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        """A reply up to the token that ends it, which is added if the template prints none."""
        closing, control = self.template.closing, self.template.control
        for number in range(len(parts) - 1, -1, -1):
            # A control token inside a message is split between two parts and is not found here.
            if closing and (at := parts[number].rfind(closing)) >= 0:
                return (*parts[:number], parts[number][: at + len(closing)])
        last = parts[-1].rstrip()
        if any(last.endswith(token) for token in control):
            return (*parts[:-1], last)
        return (*parts[:-1], last + self.template.end)

    # --- other messages ---

    def _others(self, places: Sequence[int], count: int, shown: Shown, *, ask: bool) -> list[tuple[int, int, float]]:
        found = []
        for place in places:
            filler = f"{secrets.randbelow(10**40):040d}"  # No text contains it, and no template filter changes it.
            other = self._shown(count, ask=ask, filler=(place, filler)).text
            if filler not in other:
                continue  # The template does not print this message.
            head, _, tail = other.partition(filler)
            end = len(shown.text) - len(tail)
            if filler in tail or shown.text[: len(head)] != head or not shown.text.endswith(tail) or end < len(head):
                raise InvalidInput(
                    f"The chat template does not print message {place + 1} in one place, so it cannot be trained on. "
                    "Choose the assistant messages, or all tokens.",
                    field="training.train_on",
                )
            found.append((len(head), end + self._closing_after(place, filler, tail), self._weight(place)))
        return [span for span in found if span[0] < span[1]]

    def _closing_after(self, place: int, filler: str, tail: str) -> int:
        """How many characters after a message belong to it: up to the control token that ends it."""
        alone = ""
        for tools in (self.conversation.tools, ()):  # Some templates refuse tools without a question.
            with suppress(InvalidInput):
                turns = _Turns(replace(self.conversation, tools=tools), self.template)
                alone = alone or turns._shown(place + 1, ask=False, filler=(place, filler)).text.partition(filler)[2]
        same = 0
        while same < min(len(alone), len(tail)) and alone[same] == tail[same]:
            same += 1
        ends = [tail.rfind(token, 0, same) + len(token) for token in self.template.control if token in tail[:same]]
        return max(ends, default=0)


def _together(replies: Mapping[int, _Reply]) -> list[list[int]]:
    """The replies that are trained in one text, in order: all that are its beginning, prompt and reply."""
    groups: list[list[int]] = []
    left = sorted(replies)
    while left:
        whole = replies[left[-1]].text
        fits = [place for place in left if whole.startswith(replies[place].text)]
        groups.insert(0, fits)
        left = [place for place in left if place not in fits]
    return groups


_CLOSED = dict(THOUGHTS)
_OPENED = re.compile(
    rf"(?P<open>{'|'.join(map(re.escape, _CLOSED))})\s*(?P<closed>{'|'.join(map(re.escape, _CLOSED.values()))})?\s*\Z"
)
"""Reasoning that a generation prompt opens, and possibly ends."""
_BLOCK = re.compile("|".join(rf"\s*{re.escape(start)}.*?{re.escape(end)}\s*" for start, end in THOUGHTS), re.DOTALL)


def _from(parts: Sequence[str], place: int) -> tuple[str, ...]:
    """The parts of a text from a character on; at least one, which may be empty."""
    found = []
    for part in parts:
        if place < len(part):
            found.append(part[max(place, 0) :])
        place -= len(part)
    return tuple(found) or ("",)


def _split(parts: Sequence[str], places: Collection[int]) -> tuple[str, ...]:
    """The parts of a text, split further before some characters."""
    found, at = [], 0
    for part in parts:
        cuts = sorted({0, len(part), *(place - at for place in places if 0 < place - at < len(part))})
        found += [part[start:end] for start, end in pairwise(cuts)]
        at += len(part)
    return tuple(found)
