"""Compares an exported model with the trained model on the same held-out prompts.

The trained model answers first, in float32 with its adapter. Each export then answers the way its users will run it:
with its own chat template, tokens and end tokens, a GGUF in llama.cpp in a separate process
(:mod:`core.training.fidelity.backends`). Probabilities are compared at the tokens of reference answers, so that one
different token does not make everything after it incomparable.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from core.config import RunConfig
from core.data import prompts
from core.data.conversation import Conversation
from core.data.rows import is_text
from core.dataset import Row
from core.errors import InvalidInput
from core.fidelity import FidelityReport, FidelityVerdict, judged, with_better_choice
from core.llama import not_the_file
from core.methods import Need, method
from core.reward import Item, opened_by
from core.rewards import Scorer, compose, markers_of, settled
from core.settings import Settings
from core.statistics import bootstrap_mean
from core.training.fidelity import kl
from core.training.fidelity.backends import Backend, Pairs, Task, Unusable, in_llama, in_transformers
from core.training.fidelity.prompts import GENERAL, PROBES, first_difference, only_spaces
from core.training.gguf import file as gguf_file
from core.training.llama.selftest import ensure
from core.training.method_rows import ids_of, shown, target_ids
from core.training.models.load import load_tokenizer
from core.training.models.reference import Start
from core.training.rollouts.generate import Sampling
from core.training.rollouts.llama_process import ChildDied, Fallback

PROMPTS = 64
"""Most held-out prompts to use."""
ANSWER = 128
"""Most tokens of a greedy answer."""
POSITIONS = 1500
"""Most reference tokens at which probabilities are compared: 150 MB per model with a vocabulary of 50,000."""
BYTES = 512 * 1024 * 1024
"""Most bytes of one model's log-probabilities; fewer positions are used if the vocabulary is large."""

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Question:
    """One prompt as the trained model sees it."""

    row: Row
    conversation: Conversation
    text: str
    ids: list[int]
    opened: str


class Fidelity:
    """The trained model's answers and probabilities, and the comparison of exports with them.

    Args:
        config: The run's; None for a merge of a folder without a run: then general questions are asked
            and nothing is scored, as for a method without a reward.
        rows: Held-out rows, of which the first 64 are asked; with none, general questions are.
        tokenizer: The trained model's.
        work: A folder for intermediate files; removed by the caller.
        stop: Called between and during stages; true ends with :class:`core.training.gguf.file.Cancelled`.
        say: Called with a progress message.
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
        self.config, self.tokenizer, self.work, self.say = config, tokenizer, work, say
        work.mkdir(parents=True, exist_ok=True)
        self.questions = self._questions(rows)
        probes = [Conversation(tuple(probe)) for probe in PROBES]
        further = [self._question({}, probe) for probe in probes if self._renders(probe)]
        self.asked = [*self.questions, *further]
        """The questions, and conversations that are only rendered."""
        limit = min(ANSWER, config.training.max_new_tokens) if config else ANSWER
        conversations = [one.conversation for one in self.asked]
        self.task = Task(conversations, Sampling(max_new_tokens=limit, temperature=0), stop)
        self.score: Scorer | None = None
        if config and rows and Need.REWARD in method(config.method).needs:
            self.score = compose(settled(config.reward, rows), markers_of(config.dataset))
        self.backend: Backend | None = None
        self.answers: list[list[int]] = []
        self.rewards: list[float] = []
        self.pairs: Pairs = []
        self.reports: list[FidelityReport] = []

    # The models

    def trained(self, model: Any, untrained: Start) -> None:
        """Run the trained model, in float32 before it is merged, and the same without what was trained.

        Args:
            model: The trained model.
            untrained: Opens the model without what was trained.
        """
        self.say(f"Sampling {len(self.questions)} answers from the trained model")
        backend = in_transformers(model, self.tokenizer, self.task)
        self.answers = backend.answer([question.ids for question in self.questions])
        self.rewards = self._rewarded(self.answers)
        self.pairs = self._references(vocabulary_size=model.config.get_text_config().vocab_size)
        backend.measure(self.pairs, self.work / "trained.npy")
        with untrained() as base:
            kl.measure(model, self.pairs, self.work / "base.npy", stop=self._check, forward=base)
        # Without references that would keep the model in memory.
        self.backend = Backend(backend.texts, backend.ids, backend.ends, backend.end, _gone, _gone)

    def _check(self) -> None:
        if self.task.stop():
            raise gguf_file.Cancelled

    def adapted(self, model: Any, subject: str = "adapter") -> FidelityReport:
        """A model in memory with the trained tokenizer, such as the base with the exported adapter read back."""
        return self._checked(
            subject, lambda: self._compared(subject, in_transformers(model, self.tokenizer, self.task))
        )

    def merged(self, folder: Path) -> FidelityReport:
        """A merged folder, computed in float32."""

        def compared() -> FidelityReport:
            model, tokenizer = _loaded(folder)
            return self._compared("merged", in_transformers(model, tokenizer, self.task))

        return self._checked("merged", compared)

    def gguf(self, file: Path, subject: str, *, adapter: Path | None = None) -> FidelityReport:
        """A GGUF in llama.cpp, in a separate process.

        Args:
            file: The model.
            subject: What it is, such as ``Q4_K_M``.
            adapter: A GGUF adapter that is applied to it. The base's own chat template and end token are then
                not part of the export and not compared.
        """

        fallback = Fallback()

        def compared() -> FidelityReport:
            extra = fallback.extra_buffers
            with in_llama(file, adapter, self.task, self._trained_backend, extra_buffers=extra) as backend:
                return self._compared(subject, backend)

        def guarded() -> FidelityReport:
            try:
                return fallback.guarded(compared)
            except ChildDied as error:
                return self._died(subject, file, error)

        return self._checked(subject, guarded)

    # The comparison

    def _checked(self, subject: str, compared: Callable[[], FidelityReport]) -> FidelityReport:
        """A report even if the compared model fails, with the time that it took."""
        began = time.monotonic()
        self.say(f"Comparing {subject} with the trained model")
        try:
            report = compared()
        except Unusable as error:
            report = FidelityReport(
                subject=subject, verdict=FidelityVerdict.BROKEN, reason=str(error), prompts=len(self.questions)
            )
        report = report.model_copy(update={"seconds": round(time.monotonic() - began, 1)})
        self.reports.append(report)
        log.info("fidelity of %s: %s. %s", report.subject, report.verdict, report.reason)
        return report

    def _died(self, subject: str, file: Path, error: ChildDied) -> FidelityReport:
        """What a crash of llama.cpp implies: the file is broken, or nothing."""
        outcome = ensure(Settings.from_env().home)
        elsewhere = not_the_file(outcome, error.code, gguf_file.tensor_types(file))
        if elsewhere:
            verdict, reason = (
                FidelityVerdict.UNVERIFIED,
                f"The file could not be checked. {elsewhere} Use 'Verify again' to check it.",
            )
        else:
            verdict = FidelityVerdict.BROKEN
            reason = f"llama.cpp could not load it or failed to answer: its process ended with {error}."
            if error.code is not None and error.code < 0:
                reason += " Other files with the same quantization work here, so the file is the cause."
        return FidelityReport(subject=subject, verdict=verdict, reason=reason, prompts=len(self.questions))

    def _compared(self, subject: str, backend: Backend) -> FidelityReport:
        report = FidelityReport(subject=subject, prompts=len(self.questions), **self._prompts(backend))
        if judged(report).verdict == FidelityVerdict.BROKEN:
            return judged(report)
        wrong_end = self._wrong_end(backend)
        if wrong_end:
            return report.model_copy(update={"verdict": FidelityVerdict.BROKEN, "reason": wrong_end})
        report = report.model_copy(update={**self._divergences(backend), **self._answers(backend)})
        return with_better_choice(judged(report), self.reports)

    def _divergences(self, backend: Backend) -> dict[str, Any]:
        out = self.work / "exported.npy"
        try:
            backend.measure(self.pairs, out)
            lengths = [len(answer) for _, answer in self.pairs]
            found = asdict(kl.compare(self.work / "trained.npy", self.work / "base.npy", out, lengths))
        finally:
            out.unlink(missing_ok=True)
        names = {"kept": "change_kept", "kept_low": "change_kept_low", "kept_high": "change_kept_high"}
        return {names.get(name, name): value for name, value in found.items()}

    def _answers(self, backend: Backend) -> dict[str, Any]:
        count = len(self.questions)
        answers = backend.answer(backend.ids[:count])
        found: dict[str, Any] = {
            "exact_match": sum(a == b for a, b in zip(answers, self.answers, strict=True)) / count,
            "stops": _share_ended(answers, backend.ends),
            "stops_trained": _share_ended(self.answers, self._trained_backend.ends),
        }
        rewards = self._rewarded(answers)
        if rewards:
            drops = [before - after for before, after in zip(self.rewards, rewards, strict=True)]
            low, high = bootstrap_mean(drops)
            found |= {
                "reward_trained": sum(self.rewards) / count,
                "reward_exported": sum(rewards) / count,
                "reward_drop": sum(drops) / count,
                "reward_drop_low": low,
                "reward_drop_high": high,
            }
        return found

    def _prompts(self, backend: Backend) -> dict[str, Any]:
        """Whether questions and other conversations have the same tokens, and the first difference."""
        differing = [place for place, one in enumerate(self.asked) if backend.ids[place] != one.ids]
        if not differing:
            return {"same_prompt_ids": 1.0}
        first, count = differing[0], len(self.questions)
        asked = sum(place < count for place in differing)
        further = len(differing) - asked
        here = self.asked[first]
        spaces = all(
            backend.texts[place] == self.asked[place].text
            and only_spaces(self.asked[place].ids, backend.ids[place], self.tokenizer)
            for place in differing
        )
        # A template may differ only in conversations that are not in the run; there are few of them.
        return {
            "same_prompt_ids": 1 - max(asked / count, further / max(1, len(self.asked) - count)),
            "first_difference": first_difference(
                here.text, backend.texts[first], here.ids, backend.ids[first], self.tokenizer
            ),
            "only_spaces_differ": spaces,
        }

    def _wrong_end(self, backend: Backend) -> str:
        """Describes differences in how answers end; empty if there are none."""
        ends = self._trained_backend.ends
        if backend.end is not None and backend.end not in ends:
            return (
                f"Its end token is {self._token(backend.end)}, but the trained model ends answers with "
                f"{self._token(self.tokenizer.eos_token_id)}, so programs would not stop at the end of an answer."
            )
        used = {ids[-1] for ids in self.answers if ids and ids[-1] in ends}
        missing = sorted(used - backend.ends)
        if missing:
            return (
                f"The trained model ends answers with {self._token(missing[0])}, which is not an end token of the "
                "export, so it would not stop at the end of an answer."
            )
        return ""

    @property
    def _trained_backend(self) -> Backend:
        if self.backend is None:
            raise RuntimeError("the trained model was not asked yet")
        return self.backend

    # Questions

    def _questions(self, rows: list[Row]) -> list[Question]:
        chosen = [row for row in rows if not is_text(row)][:PROMPTS] or [
            {"instruction": question, "response": ""} for question in GENERAL
        ]
        return [self._question(row, self._conversation(row)) for row in chosen]

    def _conversation(self, row: Row) -> Conversation:
        if self.config:
            return prompts.conversation(row, self.config.dataset)
        return Conversation(({"role": "user", "content": str(row["instruction"])},))

    def _question(self, row: Row, conversation: Conversation) -> Question:
        found = shown(conversation, self.tokenizer)
        opened = opened_by(found.text, markers_of(self.config.dataset)) if self.config else ""
        return Question(row, conversation, found.text, ids_of(found, self.tokenizer), opened)

    def _renders(self, conversation: Conversation) -> bool:
        try:
            shown(conversation, self.tokenizer)
        except InvalidInput:  # a template may reject more than one turn
            return False
        return True

    def _references(self, vocabulary_size: int) -> Pairs:
        """Prompts with the answers at whose tokens probabilities are compared, all truncated to one length."""
        answers = [
            self._reference(question) or answer for question, answer in zip(self.questions, self.answers, strict=True)
        ]
        limit = min(POSITIONS, BYTES // (2 * vocabulary_size))
        longest = max(len(answer) for answer in answers)
        while longest > 1 and sum(min(len(answer), longest) for answer in answers) > limit:
            longest -= 1
        return [(one.ids, answer[:longest]) for one, answer in zip(self.questions, answers, strict=True)]

    def _reference(self, question: Question) -> list[int]:
        """The row's answer in the warm-up's format, with end token; empty if it has none."""
        if self.config is None or not str(question.row.get("response") or ""):
            return []
        end = [self.tokenizer.eos_token_id] if self.tokenizer.eos_token_id is not None else []
        return [*target_ids(question.row, self.config, self.tokenizer, question.opened, ""), *end]

    def _rewarded(self, answers: Sequence[Sequence[int]]) -> list[float]:
        if self.score is None:
            return []
        texts = [str(self.tokenizer.decode(list(ids), skip_special_tokens=True)) for ids in answers]
        items = [
            Item(one.opened + text, one.row["instruction"], one.row)
            for text, one in zip(texts, self.questions, strict=True)
        ]
        return [total.total for total in self.score.many(items)]

    def _token(self, token: int | None) -> str:
        return "none" if token is None else f"{self.tokenizer.convert_ids_to_tokens(token)!r} (number {token})"


def _loaded(folder: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    try:
        tokenizer = load_tokenizer(str(folder))
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
        )
    except (InvalidInput, OSError, ValueError) as error:
        raise Unusable(f"transformers cannot load it: {str(error).strip().splitlines()[0]}") from error
    return model, tokenizer


def _gone(*_: Any) -> Any:
    raise RuntimeError("the trained model is not in memory any more")


def _share_ended(answers: Sequence[Sequence[int]], ends: frozenset[int]) -> float:
    return sum(bool(ids) and ids[-1] in ends for ids in answers) / len(answers)
