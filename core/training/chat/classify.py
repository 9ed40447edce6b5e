"""The classifier process: scores answers with one reward model over standard input and output.

The first JSON line names the model: a folder, a Hugging Face id, or the folder of a run that trained one. Each further
line is a batch of ``[question, answer, conversation or null]``, and each gets one line in return. It is started by
:mod:`core.rewards.classifier`, whose process never loads torch, and ends with its input.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from core.errors import InvalidInput, TunesmithError
from core.job_dir import JobDir
from core.settings import Home
from core.training.job.device import this_device
from core.training.models.scorer import RunScorer, load_scorer

log = logging.getLogger("tunesmith")

Asked = list[Any]
"""A question, an answer and, if it is more than a question, the conversation before the answer."""


@dataclass(frozen=True)
class Judge:
    """A sequence classifier in memory.

    Attributes:
        model: On the GPU if there is one with enough free memory, else on the CPU in float32.
        tokenizer: Truncates on the left, because the end of an answer matters most; pads on the right, where it
            does not shift positions.
        form: ``auto``, ``chat``, ``pair`` or ``answer``.
        labels: Name of each output.
    """

    model: Any
    tokenizer: Any
    form: str
    max_tokens: int
    labels: tuple[str, ...]

    def outputs(self, texts: list[Asked]) -> tuple[list[list[float]], int]:
        """The raw outputs, a row of ``len(labels)`` for each answer, and the number of tokens read."""
        encoded = self._encoded([(question, answer) for question, answer, *_ in texts]).to(self.model.device)
        with torch.inference_mode():
            logits = self.model(**encoded).logits.float()
        return logits.tolist(), int(encoded["attention_mask"].sum())

    def _encoded(self, texts: list[tuple[str, str]]) -> Any:
        limits: dict[str, Any] = {
            "truncation": True, "max_length": self.max_tokens, "padding": True, "return_tensors": "pt",
        }  # fmt: skip
        if self.form == "chat" or (self.form == "auto" and self.tokenizer.chat_template):
            chats = [
                [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
                for question, answer in texts
            ]
            written = [self.tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats]
            # A template adds the special tokens itself.
            return self.tokenizer(written, add_special_tokens=False, **limits)
        answers = [answer for _, answer in texts]
        if self.form == "answer":
            return self.tokenizer(answers, **limits)
        return self.tokenizer([question for question, _ in texts], answers, **{**limits, "truncation": "longest_first"})


@dataclass(frozen=True)
class RunJudge:
    """A reward model that was trained here: it reads answers exactly as in its training."""

    scorer: RunScorer
    labels: tuple[str, ...] = ("score",)

    def outputs(self, texts: list[Asked]) -> tuple[list[list[float]], int]:
        """As :meth:`Judge.outputs`."""
        ids = [self.scorer.ids(question, answer, *more) for question, answer, *more in texts]
        return [[score] for score in self.scorer.scores(ids)], sum(map(len, ids))


def load(asked: dict[str, Any]) -> Judge | RunJudge:
    """Load the requested model.

    Raises:
        InvalidInput: It is not a sequence classifier, has no safetensors, or needs remote code.
        TunesmithError: It is missing or cannot be reached.
    """
    if asked.get("run"):
        device = this_device()
        return RunJudge(load_scorer(JobDir(Path(asked["run"])), Home(Path(asked["home"])), device))
    source, revision = str(asked["model"]), str(asked.get("revision") or "") or None
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            source, revision=revision, trust_remote_code=False, use_safetensors=True,
            dtype=torch.float32, output_loading_info=True,
        )  # fmt: skip
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=revision, trust_remote_code=False, padding_side="right", truncation_side="left"
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise InvalidInput(_words(source, error), field="model") from None
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:3])
        raise InvalidInput(
            f"{source} is not a reward model: its weights have no {missing}, so its scores would be random.",
            field="model",
        )
    return Judge(_placed(model, tokenizer), tokenizer, str(asked["form"]), _longest(asked, model), _labels(model))


def _words(source: str, error: Exception) -> str:
    text = str(error)
    if "safetensors" in text:
        return f"{source} has no safetensors weights. Other formats are not supported."
    if "trust_remote_code" in text or "custom code" in text:
        return f"{source} needs code from its own repository, which is never run."
    return (
        f"{source} cannot be loaded as a reward model: {(text.strip().splitlines() or [type(error).__name__])[0]:.200}"
    )


def _placed(model: Any, tokenizer: Any) -> Any:
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    model.config.pad_token_id = tokenizer.pad_token_id
    model.eval()
    if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > 2 * model.get_memory_footprint():
        model.to("cuda")
    return model


def _longest(asked: dict[str, Any], model: Any) -> int:
    """The requested limit, capped at the model's positions."""
    reach = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    return min(int(asked["max_tokens"]), reach) if reach else int(asked["max_tokens"])


def _labels(model: Any) -> tuple[str, ...]:
    names = model.config.id2label or {}
    return tuple(str(names.get(place, place)) for place in range(model.config.num_labels))


def answer(judge: Judge | RunJudge, message: dict[str, Any]) -> dict[str, Any]:
    """The response to one batch."""
    outputs, tokens = judge.outputs(
        [[_plain(question), _plain(text), *more] for question, text, *more in message["texts"]]
    )
    return {"outputs": outputs, "labels": list(judge.labels), "tokens": tokens}


def _plain(text: str) -> str:
    """Text without lone surrogates, which a tokenizer rejects."""
    return str(text).encode("utf-8", "replace").decode()


def serve() -> int:
    """Respond until the input ends."""
    # Library output must not mix with the responses.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1))
    judge: Judge | RunJudge | None = None
    for line in sys.stdin:
        message = json.loads(line)
        if "texts" in message and judge is not None:
            said = _guarded(answer, judge, message)
        else:
            said = _guarded(load, message)
            judge, said = (None, said) if isinstance(said, dict) else (said, {"ready": True})
        output.write(json.dumps(said) + "\n")
        output.flush()
    return 0


def _guarded(do: Callable[..., Any], *arguments: Any) -> Any:
    """The result of ``do`` or the error message: one bad batch must not end the process."""
    try:
        return do(*arguments)
    except TunesmithError as error:
        return {"error": error.message}
    except Exception as error:
        log.exception("the classifier failed")
        return {"error": f"{type(error).__name__}: {error}"}
