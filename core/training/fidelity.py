"""Comparing an exported model with the model that was trained, on the same held-out prompts.

The trained model is asked first, in float32 and with its adapter as it was trained. Each export is then
asked as its users will ask it: with its own chat template, its own tokens, its own end tokens, a GGUF by
llama.cpp in a process of its own. Probabilities are compared along the reference answers, after the
same tokens, so that one different word does not make all that follows it incomparable.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from core.config import RunConfig
from core.data import prompts
from core.dataset import Row
from core.errors import InvalidInput
from core.fidelity import FidelityReport, Verdict, judged, with_better_choice
from core.reward import Item
from core.rewards import Scorer, compose, markers_of
from core.statistics import bootstrap_mean
from core.training import closeness
from core.training.fidelity_prompts import GENERAL, PROBES, first_difference
from core.training.generate import Interrupted, Sampling, TransformersEngine, end_ids, evaluating
from core.training.gguf_file import Cancelled
from core.training.load import load_tokenizer
from core.training.prepare import encode, rendered
from core.training.rollout import Child, ChildDied
from core.training.sampling import Rules

CHILD = Path(__file__).with_name("fidelity_child.py")
PROMPTS = 64
"""Held-out prompts that are asked."""
ANSWER = 128
"""Tokens of a greedy answer at most."""
POSITIONS = 1500
"""Tokens of reference answers at which probabilities are compared at most: 150 MB a model for 50,000 words."""
BYTES = 512 * 1024 * 1024
"""Of one model's log-probabilities at most; fewer positions are taken where the vocabulary is large."""
BATCH = 32
"""Answers that transformers writes at once."""

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Question:
    """One prompt as the trained model sees it."""

    row: Row
    conversation: list[dict[str, str]]
    text: str
    ids: list[int]


@dataclass(frozen=True)
class Export:
    """How an export is asked and what it answers.

    Attributes:
        texts: The rendered conversations, the questions first.
        ids: Their tokens.
        ends: Tokens that end an answer.
        end: The one that its file names as the end of a sequence.
        ask: Writes greedy answers to token ids.
        measure: Writes log-probabilities along given answers to a file.
    """

    texts: list[str]
    ids: list[list[int]]
    ends: frozenset[int]
    end: int | None
    ask: Callable[[list[list[int]]], list[list[int]]]
    measure: Callable[[Path], None]


class Fidelity:
    """The trained model's answers and probabilities, and every export compared with them.

    Args:
        config: The run's; None for a merge of a folder that no run made: then general questions are asked
            and nothing is rewarded.
        rows: Held-out rows, of which the first 64 are asked; with none, general questions are.
        tokenizer: The trained model's.
        work: A folder for what is kept in between; removed by the caller.
        stop: Asked between and during stages; true ends with :class:`core.training.gguf_file.Cancelled`.
        say: Called with what is being done, in words.
    """

    def __init__(
        self,
        *,
        config: RunConfig | None,
        rows: list[Row],
        tokenizer: PreTrainedTokenizerBase,
        work: Path,
        stop: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self.config, self.tokenizer, self.work, self.stop, self.say = config, tokenizer, work, stop, say
        work.mkdir(parents=True, exist_ok=True)
        self.questions = self._questions(rows)
        self.probes = [probe for probe in PROBES if self._renders(probe)]
        limit = min(ANSWER, config.training.max_new_tokens) if config else ANSWER
        self.sampling = Sampling(max_new_tokens=limit, temperature=0)
        self.score: Scorer | None = compose(config.reward, markers_of(config.dataset)) if config and rows else None
        self.answers: list[list[int]] = []
        self.rewards: list[float] = []
        self.ends: frozenset[int] = frozenset()
        self.pairs: list[tuple[list[int], list[int]]] = []
        self.reports: list[FidelityReport] = []

    # The trained model

    def trained(self, model: Any) -> None:
        """Ask the trained model, a ``PeftModel`` in float32 before it is merged; with its adapter and without."""
        self.say(f"Asking the trained model {len(self.questions)} questions")
        self.ends = frozenset(end_ids(model, self.tokenizer))
        self.answers = self._written(model, self.tokenizer, [question.ids for question in self.questions])
        self.rewards = self._rewarded(self.answers)
        self.pairs = self._references(words=model.config.get_text_config().vocab_size)
        with evaluating(model):
            closeness.measure(model, self.pairs, self.work / "trained.npy", stop=self._check)
            with model.disable_adapter():
                closeness.measure(model, self.pairs, self.work / "base.npy", stop=self._check)

    # Exports

    def adapted(self, model: Any, subject: str = "adapter") -> FidelityReport:
        """A model in memory with the trained tokenizer, such as the base with the exported adapter read back."""
        return self._transformers(model, self.tokenizer, subject)

    def merged(self, folder: Path) -> FidelityReport:
        """A merged folder, computed in float32."""
        try:
            tokenizer = load_tokenizer(str(folder))
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            return self._broken("merged", f"transformers cannot load it: {str(error).strip().splitlines()[0]}")
        return self._transformers(model, tokenizer, "merged")

    def gguf(self, file: Path, subject: str, *, adapter: Path | None = None) -> FidelityReport:
        """A GGUF in llama.cpp, in a process of its own.

        Args:
            file: The model.
            subject: What it is, such as ``Q4_K_M``.
            adapter: A GGUF adapter that is applied to it. The base's own chat template and end token are then
                not part of the export and are not judged.
        """
        try:
            with self._child(file) as child:
                child.ask({"op": "adapter", "path": str(adapter) if adapter else None})
                export = self._in_llama(child, subject, judge_prompts=adapter is None)
                if isinstance(export, FidelityReport):
                    return export
                return self._compared(subject, export)
        except ChildDied as error:
            return self._broken(
                subject, f"llama.cpp could not load it or answer with it: its process ended with {error}."
            )

    def _transformers(self, model: Any, tokenizer: PreTrainedTokenizerBase, subject: str) -> FidelityReport:
        texts = [rendered(one, tokenizer) for one in self._conversations]
        export = Export(
            texts=texts,
            ids=[encode(text, tokenizer) for text in texts],
            ends=frozenset(end_ids(model, tokenizer)),
            end=tokenizer.eos_token_id,
            ask=lambda ids: self._written(model, tokenizer, ids),
            measure=lambda out: self._measured(model, out),
        )
        return self._compared(subject, export)

    def _in_llama(self, child: Child, subject: str, *, judge_prompts: bool) -> Export | FidelityReport:
        facts = child.ask({"op": "inspect"})
        texts, ids = [one.text for one in self._all], [one.ids for one in self._all]
        ends, end = frozenset(facts["ends"]), facts["eos"]
        if judge_prompts:
            special = {name: facts[name] for name in ("bos_token", "eos_token")}
            if not facts["template"]:
                return self._broken(subject, "It has no chat template, so programs guess how to ask it.")
            try:
                texts = [prompts.render(one, facts["template"], special) for one in self._conversations]
            except InvalidInput as error:
                return self._broken(subject, f"Its chat template cannot show a conversation. {error.message}")
            ids = child.ask({"op": "tokenize", "texts": texts})["ids"]
        else:
            ends, end = ends | self.ends, None
        return Export(
            texts=texts,
            ids=ids,
            ends=ends,
            end=end,
            ask=lambda given: self._by_llama(child, given, ends),
            measure=lambda out: self._measured_by_llama(child, out),
        )

    # The comparison

    def _compared(self, subject: str, export: Export) -> FidelityReport:
        began = time.monotonic()
        self.say(f"Comparing {subject} with the trained model")
        share, difference = self._prompts_differ(export)
        report = FidelityReport(
            subject=subject, prompts=len(self.questions), same_prompt_ids=share, first_difference=difference
        )
        wrong_end = self._wrong_end(export)
        if judged(report).verdict == Verdict.BROKEN:
            return self._kept(judged(report), began)
        if wrong_end:
            return self._kept(report.model_copy(update={"verdict": Verdict.BROKEN, "reason": wrong_end}), began)
        report = report.model_copy(update={**self._closeness(export), **self._answers(export)})
        return self._kept(with_better_choice(judged(report), self.reports), began)

    def _closeness(self, export: Export) -> dict[str, Any]:
        out = self.work / "exported.npy"
        try:
            export.measure(out)
            lengths = [len(answer) for _, answer in self.pairs]
            found = asdict(closeness.compare(self.work / "trained.npy", self.work / "base.npy", out, lengths))
        finally:
            out.unlink(missing_ok=True)
        names = {"kept": "change_kept", "kept_low": "change_kept_low", "kept_high": "change_kept_high"}
        return {names.get(name, name): value for name, value in found.items()}

    def _answers(self, export: Export) -> dict[str, Any]:
        count = len(self.questions)
        answers = export.ask(export.ids[:count])
        rewards = self._rewarded(answers)
        drops = [before - after for before, after in zip(self.rewards, rewards, strict=True)]
        found: dict[str, Any] = {
            "exact_match": sum(a == b for a, b in zip(answers, self.answers, strict=True)) / count,
            "stops": _share_ended(answers, export.ends),
            "stops_trained": _share_ended(self.answers, self.ends),
        }
        if drops:
            low, high = bootstrap_mean(drops)
            found |= {
                "reward_trained": sum(self.rewards) / count,
                "reward_exported": sum(rewards) / count,
                "reward_drop": sum(drops) / count,
                "reward_drop_low": low,
                "reward_drop_high": high,
            }
        return found

    def _prompts_differ(self, export: Export) -> tuple[float, str]:
        """Share of the questions that have the same tokens, and the first difference, also of the further probes."""
        asked = self._all
        differing = [place for place, one in enumerate(asked) if export.ids[place] != one.ids]
        if not differing:
            return 1.0, ""
        first = differing[0]
        words = first_difference(
            asked[first].text, export.texts[first], asked[first].ids, export.ids[first], self.tokenizer
        )
        if any(place >= len(self.questions) for place in differing):
            # The template itself differs, if only in conversations that the run does not have.
            return 1 - len(differing) / len(asked) if first < len(self.questions) else 0.0, words
        return 1 - len(differing) / len(self.questions), words

    def _wrong_end(self, export: Export) -> str:
        """In words, where answers end differently; empty where they do not."""
        if export.end is not None and export.end not in self.ends:
            return (
                f"Its end token is {self._token(export.end)}, and the trained model ends an answer with "
                f"{self._token(self.tokenizer.eos_token_id)}: programs would not stop where the answer ends."
            )
        used = {ids[-1] for ids in self.answers if ids and ids[-1] in self.ends}
        missing = sorted(used - export.ends)
        if missing:
            return (
                f"The trained model ends an answer with {self._token(missing[0])}, and the export does not know that "
                "token as an end: it would go on after the answer."
            )
        return ""

    # Helpers

    def _questions(self, rows: list[Row]) -> list[Question]:
        chosen = rows[:PROMPTS] or [{"instruction": question, "response": ""} for question in GENERAL]
        return [self._question(row) for row in chosen]

    def _question(self, row: Row) -> Question:
        asked = [{"role": "user", "content": str(row["instruction"])}]
        conversation = prompts.messages(row, self.config.dataset) if self.config else asked
        text = rendered(conversation, self.tokenizer)
        return Question(row, conversation, text, encode(text, self.tokenizer))

    def _renders(self, probe: Sequence[dict[str, str]]) -> bool:
        try:
            rendered(list(probe), self.tokenizer)
        except InvalidInput:  # a template may refuse a system prompt
            return False
        return True

    @property
    def _all(self) -> list[Question]:
        """The questions, and conversations that are rendered and not asked."""
        further = []
        for probe in self.probes:
            text = rendered(list(probe), self.tokenizer)
            further.append(Question({}, list(probe), text, encode(text, self.tokenizer)))
        return [*self.questions, *further]

    @property
    def _conversations(self) -> list[list[dict[str, str]]]:
        return [one.conversation for one in self._all]

    def _references(self, words: int) -> list[tuple[list[int], list[int]]]:
        """Prompts with the answers along which probabilities are compared, all cut to one length that fits."""
        answers = [
            self._reference(question) or answer for question, answer in zip(self.questions, self.answers, strict=True)
        ]
        room = min(POSITIONS, BYTES // (2 * words))
        longest = max(len(answer) for answer in answers)
        while longest > 1 and sum(min(len(answer), longest) for answer in answers) > room:
            longest -= 1
        return [(one.ids, answer[:longest]) for one, answer in zip(self.questions, answers, strict=True)]

    def _reference(self, question: Question) -> list[int]:
        """The row's answer in the form that the warm-up teaches, end token included; nothing where it has none."""
        if self.config is None or not str(question.row.get("response") or ""):
            return []
        text = prompts.warm_up_target(question.row, self.config.dataset)
        end = [self.tokenizer.eos_token_id] if self.tokenizer.eos_token_id is not None else []
        return [*encode(text, self.tokenizer), *end]

    def _rewarded(self, answers: Sequence[Sequence[int]]) -> list[float]:
        if self.score is None:
            return []
        texts = [str(self.tokenizer.decode(list(ids), skip_special_tokens=True)) for ids in answers]
        items = [Item(text, one.row["instruction"], one.row) for text, one in zip(texts, self.questions, strict=True)]
        return [total.total for total in self.score.many(items)]

    def _written(self, model: Any, tokenizer: PreTrainedTokenizerBase, ids: list[list[int]]) -> list[list[int]]:
        engine = TransformersEngine(model, tokenizer, self.stop)
        written: list[list[int]] = []
        with _cancelled():
            for start in range(0, len(ids), BATCH):
                written += engine.generate(ids[start : start + BATCH], self.sampling)
        return written

    def _measured(self, model: Any, out: Path) -> None:
        with evaluating(model):
            closeness.measure(model, self.pairs, out, stop=self._check)

    def _by_llama(self, child: Child, ids: list[list[int]], ends: frozenset[int]) -> list[list[int]]:
        cells = _cells(max(map(len, ids)) + self.sampling.max_new_tokens)
        answer = child.ask(
            {
                "op": "generate",
                "prompts": ids,
                "max_tokens": self.sampling.max_new_tokens,
                "stop": sorted(ends),
                "rules": asdict(Rules(temperature=0)),
                "seed": 0,
                "cells": cells,
                **child.ask({"op": "room", "cells": cells}),
            }
        )
        completions: list[list[int]] = answer["completions"]
        return completions

    def _measured_by_llama(self, child: Child, out: Path) -> None:
        cells = _cells(max(len(prompt) + len(answer) for prompt, answer in self.pairs))
        slots = child.ask({"op": "room", "cells": cells})
        child.ask({"op": "measure", "pairs": self.pairs, "cells": cells, "out": str(out), **slots})

    @contextmanager
    def _child(self, file: Path) -> Any:
        with _cancelled():
            child = Child(file, torch.get_num_threads(), self.stop, CHILD)
            try:
                yield child
            finally:
                child.close()

    def _check(self) -> None:
        if self.stop():
            raise Cancelled

    def _token(self, token: int | None) -> str:
        return "none" if token is None else f"{self.tokenizer.convert_ids_to_tokens(token)!r} (number {token})"

    def _broken(self, subject: str, reason: str) -> FidelityReport:
        report = FidelityReport(subject=subject, verdict=Verdict.BROKEN, reason=reason, prompts=len(self.questions))
        return self._kept(report, time.monotonic())

    def _kept(self, report: FidelityReport, began: float) -> FidelityReport:
        report = report.model_copy(update={"seconds": round(time.monotonic() - began, 1)})
        self.reports.append(report)
        log.info("fidelity of %s: %s. %s", report.subject, report.verdict, report.reason)
        return report


@contextmanager
def _cancelled() -> Any:
    try:
        yield
    except Interrupted:
        raise Cancelled from None


def _share_ended(answers: Sequence[Sequence[int]], ends: frozenset[int]) -> float:
    return sum(bool(ids) and ids[-1] in ends for ids in answers) / len(answers)


def _cells(tokens: int) -> int:
    return -(-tokens // 256) * 256
