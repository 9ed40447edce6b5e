"""The models that answer in an evaluation: a base model with or without an adapter, or a GGUF.

A base model and its adapters are loaded in transformers. On a CPU, llama.cpp generates for them as in training, after
the same equivalence check. If that fails, transformers generates and the job's notes say why. A GGUF is loaded in a
separate llama.cpp process, which decodes many prompts in parallel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from core.data.chat_template import Shown, show
from core.data.conversation import Conversation
from core.errors import InvalidInput, NotFound, Unavailable
from core.evaluation import Asked, EvaluationSpec
from core.job_dir import JobDir
from core.llama import not_the_file
from core.settings import Home, Settings
from core.training.job.status import Status
from core.training.rollouts.engine import Base, Engine, choose, without_llama
from core.training.rollouts.generate import Sampling
from core.weights import tokenizer_folder

if TYPE_CHECKING:
    from core.training.rollouts.llama_process import Child

TRIES = 3
"""If the first so many prompts all fail, the file is unusable and the evaluation ends."""
LOOK = 1.0
"""Seconds between checks for a GGUF's finished answers and for stop requests."""
CHILD = Path(__file__).with_name("answer_child.py")
Question = tuple[int, Conversation]
"""A prompt's index in the evaluation, and the prompt."""


@dataclass(frozen=True)
class Written:
    """One answer.

    Attributes:
        prompt: The rendered conversation.
        text, tokens: The answer.
        cut_off: Whether it was truncated at the length limit.
        problem: Why there is no answer; '' if there is one.
    """

    prompt: str
    text: str = ""
    tokens: int = 0
    cut_off: bool = False
    problem: str = ""


Answers = list[tuple[int, Written]]
"""Answers by their prompt's index."""


class Answerer(Protocol):
    """A loaded model."""

    def answers(self, questions: Sequence[Question]) -> Iterator[Answers]:
        """One answer per prompt, yielded in batches, in any order; a batch may be empty.

        Raises:
            Interrupted: It must end immediately.
            Unavailable: It cannot answer at all.
        """

    def close(self) -> None:
        """Release the memory."""


class InTransformers:
    """A base model with or without an adapter. Models with the same base load it once.

    Args:
        spec: Sampling settings, the engine, and the chat template if the training had its own.
        home, run: Location of the base model's GGUF, and of files for llama.cpp.
        status: Receives stop requests, and a note if llama.cpp is not used.
    """

    def __init__(self, spec: EvaluationSpec, home: Home, run: JobDir, status: Status) -> None:
        self._spec, self._home, self._run, self._status = spec, home, run, status
        self._base: tuple[str, str | None] = ("", None)
        self._model: Any = None
        self._engine: Engine | None = None

    def use(self, asked: Asked, questions: Sequence[Question]) -> None:
        """Load a base, or keep the loaded one, and apply an adapter.

        Args:
            asked: The model.
            questions: A few of them are used to compare llama.cpp with transformers.

        Raises:
            Cancelled: A stop was requested while the base model was converted.
        """
        from peft import PeftModel

        from core.training.models.load import Loaded, load_tokenizer, plain_generation

        resolved = asked.resolved
        base, adapter, revision = str(resolved["base"]), resolved.get("adapter"), resolved.get("revision")
        if adapter and not Path(adapter).is_dir():
            raise NotFound(
                f"The adapter in {adapter} no longer exists: its run or checkpoint was deleted in the meantime."
            )
        if Path(base).is_absolute() and not Path(base).is_dir():
            raise NotFound(f"The model in {base} no longer exists: its run, checkpoint or export was deleted.")
        self._end_engine()
        if (base, revision) != self._base:
            self.close()
            self._model, self._base = _load(base, revision), (base, revision)
        elif isinstance(self._model, PeftModel):
            self._model = self._model.unload()
        if adapter:
            self._model = PeftModel.from_pretrained(self._model, adapter)
        # Beside an adapter are the tokenizer and chat template that it was trained with.
        own = tokenizer_folder(Path(adapter)) if adapter else None
        tokenizer = load_tokenizer(str(own or base), None if own else revision)
        tokenizer.chat_template = self._spec.dataset.chat_template or tokenizer.chat_template
        plain_generation(self._model, tokenizer)
        self._model.eval()
        self._engine = self._chosen(Loaded(self._model, tokenizer), asked, questions)

    def answers(self, questions: Sequence[Question]) -> Iterator[Answers]:
        import torch

        engine = self._engine
        if engine is None:
            raise RuntimeError("use() comes before answers()")
        left = list(questions)
        while left:
            batch, left = left[: engine.batch], left[engine.batch :]
            torch.manual_seed(self._spec.seed + batch[0][0])
            yield self._answer(engine, batch)

    def close(self) -> None:
        import gc

        self._end_engine()
        self._model, self._base = None, ("", None)
        gc.collect()

    def _chosen(self, loaded: Any, asked: Asked, questions: Sequence[Question]) -> Engine:
        """llama.cpp if it passes the equivalence check."""
        from core.training.job.device import this_device
        from core.training.method_rows import ids_of, shown

        several = len(self._spec.models) > 1

        def note(text: str) -> None:
            self._status.note(f"{asked.label}: {text}" if several else text)

        prompts = [ids_of(shown(talk, loaded.tokenizer), loaded.tokenizer) for _, talk in questions[:3]]
        wanted = self._spec.rollout_engine
        adapters = getattr(loaded.model, "peft_config", {}).values()
        dora = any(getattr(one, "use_dora", False) for one in adapters)
        reason = without_llama(wanted, this_device(), dora=dora)
        said = reason if wanted == "llama_cpp" or dora else None
        if reason is None:
            reason = said = self._unfit(prompts)
        if said is not None:
            note(f"Answers are generated by transformers, because {said}.")
        prompts = [ids for ids in prompts if ids]
        return choose(loaded, Base(*self._base), prompts, reason, self._home, self._run, self._status, note)

    def _unfit(self, prompts: Sequence[Sequence[int]]) -> str | None:
        """Why llama.cpp is not tried for this model."""
        if not any(prompts):
            return "there is no prompt for checking the faster engine"
        if Path(self._base[0]).resolve().is_relative_to(self._home.exports.resolve()):
            return "a merged export is not converted for an evaluation; a GGUF export of it would be faster"
        folder = Path(self._base[0]).resolve()
        if folder.is_relative_to(self._home.outputs.resolve()) and folder.name != JobDir(folder.parent).base.name:
            return "a run's whole model is not converted for an evaluation; a GGUF export of it would be faster"
        return None

    def _answer(self, engine: Engine, batch: Sequence[Question]) -> Answers:
        from core.training.method_rows import ids_of, shown

        asked = [shown(talk, engine.tokenizer) for _, talk in batch]
        prompts, ids = [one.text for one in asked], [ids_of(one, engine.tokenizer) for one in asked]
        context = getattr(self._model.config, "max_position_embeddings", None)
        problems = [_problem(len(one), self._spec.max_new_tokens, context) for one in ids]
        found = [Written(prompt, problem=problem) for prompt, problem in zip(prompts, problems, strict=True)]
        fitting = [at for at, problem in enumerate(problems) if not problem]
        if fitting:
            written = engine.generate([ids[at] for at in fitting], _sampling(self._spec)).tokens
            for at, answer in zip(fitting, written, strict=True):
                found[at] = Written(prompts[at], engine.text(answer), len(answer), engine.cut_off(answer))
        return [(place, one) for (place, _), one in zip(batch, found, strict=True)]

    def _end_engine(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._engine = None


class InLlama:
    """A GGUF, prompted with the chat template in the file.

    Its process ends with the worker, or on an error of llama.cpp, which is reported.

    Args:
        path: The file.
        spec: Sampling settings.
        interrupted: Called five times a second.
    """

    def __init__(self, path: str, spec: EvaluationSpec, interrupted: Callable[[], bool]) -> None:
        import torch

        from core.training.rollouts.llama_process import Child, Fallback

        self._path, self._spec = Path(path), spec
        if not self._path.is_file():
            raise NotFound(f"{self._path.name} no longer exists: its export was deleted in the meantime.")
        self._fallback = Fallback()
        self._begun: Child | None = None

        def start() -> Child:
            extra = self._fallback.extra_buffers
            threads, gpu = torch.get_num_threads(), torch.cuda.is_available()
            return Child(self._path, threads, interrupted, CHILD, gpu=gpu, extra_buffers=extra)

        self._start = start
        with self._explained("opened"):
            self._child = self._fallback.guarded(start)
        self._facts = self._ask(op="inspect")

    def answers(self, questions: Sequence[Question]) -> Iterator[Answers]:
        asked, problems = self._rendered(questions)
        places, texts = list(asked), {place: one.text for place, one in asked.items()}
        parts = [one.parts for one in asked.values()]
        ids = dict(zip(places, self._ask(op="prompts", texts=parts)["ids"], strict=True))
        for place in places:
            if problem := _problem(len(ids[place]), self._spec.max_new_tokens, self._facts["longest"]):
                problems.append((place, Written(texts[place], problem=problem)))
                del ids[place]
        yield problems
        # One long prompt must not take the space of thirty short ones: prompts of similar length are grouped.
        for cells, group in groupby(
            sorted(ids, key=lambda place: self._cells(ids[place])), lambda p: self._cells(ids[p])
        ):
            yield from self._written({place: ids[place] for place in group}, cells, texts)

    def close(self) -> None:
        self._child.close()

    def _rendered(self, questions: Sequence[Question]) -> tuple[dict[int, Shown], Answers]:
        """Prompts by index, and those that the file's template cannot render."""
        special = {name: self._facts[name] for name in ("bos_token", "eos_token")}
        found: dict[int, Shown] = {}
        problems: Answers = []
        for place, talk in questions:
            try:
                found[place] = show(talk, self._facts["template"], special, self._facts["control"])
            except InvalidInput as error:
                problems.append((place, Written("", problem=error.message)))
        if len(problems) >= TRIES and not found:
            raise Unavailable(f"{self._path.name} cannot answer any of the prompts. {problems[0][1].problem}")
        return found, problems

    def _written(self, ids: dict[int, list[int]], cells: int, texts: dict[int, str]) -> Iterator[Answers]:
        self._begun = None
        left = dict(ids)
        while left:
            with self._explained("answered with"):
                finished = self._fallback.guarded(lambda: self._more(left, cells))
            for place, _, _ in finished:
                del left[place]
            yield [
                (place, Written(texts[place], text, tokens, tokens >= self._spec.max_new_tokens))
                for place, text, tokens in finished
            ]

    def _more(self, left: dict[int, list[int]], cells: int) -> list[tuple[int, str, int]]:
        """Continue for a while; a new process starts with the remaining answers."""
        from core.training.rollouts.sampling import Rules

        spec = self._spec
        if self._begun is None or self._running() is not self._begun:
            rules = asdict(Rules(spec.temperature, spec.top_p))
            request = {
                "op": "open", "prompts": list(left.values()), "places": list(left), "max_tokens": spec.max_new_tokens,
                "stop": self._facts["ends"], "rules": rules, "seed": spec.seed, "cells": cells,
            }  # fmt: skip
            self._running().ask(request)
            self._begun = self._child
        finished: list[tuple[int, str, int]] = self._child.ask({"op": "more", "seconds": LOOK})["finished"]
        return finished

    def _running(self) -> Child:
        """Its process, restarted after it has died."""
        if self._child.process.poll() is not None:
            self._child = self._start()
        return self._child

    def _cells(self, ids: Sequence[int]) -> int:
        return -(-(len(ids) + self._spec.max_new_tokens) // 256) * 256

    def _ask(self, **request: Any) -> dict[str, Any]:
        with self._explained("answered with"):
            return self._fallback.guarded(lambda: self._running().ask(request))

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        from core.training.gguf import file as gguf_file
        from core.training.llama.selftest import ensure
        from core.training.rollouts.llama_process import ChildDied

        try:
            yield
        except ChildDied as error:
            elsewhere = not_the_file(ensure(Settings.from_env().home), error.code, gguf_file.tensor_types(self._path))
            advice = elsewhere or "Export the file again, or leave it out. The log has the details."
            raise Unavailable(
                f"llama.cpp crashed while it {doing} {self._path.name} ({error}). Earlier answers were saved. {advice}"
            ) from error


def _sampling(spec: EvaluationSpec) -> Sampling:
    return Sampling(spec.max_new_tokens, temperature=spec.temperature, top_p=spec.top_p)


def _problem(tokens: int, longest: int, context: int | None) -> str:
    """Why a prompt of this many tokens cannot be answered with up to ``longest``; '' if it can."""
    if not tokens:
        return "The prompt is empty."
    if not context or tokens + longest <= context:
        return ""
    return (
        f"The prompt has {tokens} tokens; with an answer of up to {longest} it exceeds this model's context of "
        f"{context}."
    )


def _load(base: str, revision: str | None) -> Any:
    from core.training.arguments import native_dtype
    from core.training.job.device import this_device
    from core.training.models.load import load_base

    device = this_device()
    return load_base(base, revision, dtype=native_dtype(device), device=device)
