"""A local reward model scores the answer in a separate process: a Hugging Face sequence classifier, or a run's.

The process is started by its file's path (see :mod:`core.training.chat.classify`); torch is loaded only there. Answers
are sent in batches with a time limit, and scores are cached by weights, question and answer. A reward model gives an
opinion; its scores are not checked.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.reward import Item, Markers, Score
from core.rewards.classifier import RUN, Asked, Form, asked_text, process_of, usual_scores
from core.rewards.info import Param, RewardInfo, one_of
from core.rewards.spending import Spent, charge

KEPT = 100_000
"""Cached answers; the oldest are evicted first."""
Scale = Literal["auto", "sigmoid", "softmax"]


def reward_model(
    items: Sequence[Item],
    *,
    markers: Markers,
    model: str = "",
    revision: str = "",
    form: Form = "auto",
    scale: Scale = "auto",
    label: str = "",
    centre: float = 0.0,
    width: float = 1.0,
    batch: int = 8,
    max_tokens: int = 1024,
    timeout: float = 60,
) -> list[Score]:
    """A sequence classifier's score for the answer, scaled to [0, 1]; 0 with the reason if there is none.

    The model alone decides what is right, wrong or garbage.

    Args:
        model: A folder on this machine, a name from Hugging Face, or ``run:<id>`` for a run that trained a reward model.
            Safetensors only, remote code is never run.
        revision: A branch, tag or commit of a Hugging Face model.
        form: Input format: a ``chat``, a ``pair`` of texts, or only the ``answer``. ``auto`` uses its chat template
            if it has one, else a pair. A run's model always reads answers as in its training.
        scale: ``sigmoid`` of one output, or ``softmax`` over all. ``auto`` goes by their number. With ``auto``, the
            scores of a run are centered and scaled by those of its held-out answers before the sigmoid.
        label: Name or index of the output that means good; empty for the last.
        centre, width: For the sigmoid: the raw score that maps to 0.5, and its distance from the one for 0.73.
        batch: Answers per forward pass.
        max_tokens: Longer texts are truncated at the start.
        timeout: Seconds per batch.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> reward_model([Item("Paris", "Capital?", {})], markers=m, model="/there/is/none")[0]
    Score(value=0.0, why='The reward model returned no score: there is no folder /there/is/none.')
    """
    asked = Asked(model.strip(), revision.strip(), form, max_tokens)
    if asked.missing:
        charge(Spent(failed=len(items)))
        return [Score(0.0, f"The reward model returned no score: {asked.missing}.")] * len(items)
    keys = [asked.key(item) for item in items]
    with _LOCK:
        found: dict[str, Outputs | str] = {key: _CACHE[key] for key in keys if key in _CACHE}
    wanted = {key: item for key, item in zip(keys, items, strict=True) if key not in found}
    tokens = 0
    for start in range(0, len(wanted), batch):
        part = list(wanted)[start : start + batch]
        judged, used = _judged(asked, [wanted[key] for key in part], timeout)
        found |= zip(part, judged, strict=True)
        tokens += used
    _remember({key: value for key in wanted if not isinstance(value := found[key], str)})
    failed = sum(isinstance(found[key], str) for key in wanted)
    charge(Spent(len(wanted) - failed, len(items) - len(wanted), failed, tokens))
    if asked.run and scale == "auto" and (centre, width) == (0.0, 1.0):
        centre, width = usual_scores(asked.run)
    return [_score(found[key], scale, label, centre, width) for key in keys]


def raw_scores(items: Sequence[Item], *, model: str, timeout: float = 600) -> list[float | str]:
    """The raw score of each answer by a model with one output, or why it has none; in one batch, not cached.

    Args:
        items: At most a few.
        model: As for :func:`reward_model`.
        timeout: Seconds.
    """
    asked = Asked(model, "", "auto", 1024)
    if asked.missing:
        return [asked.missing] * len(items)
    judged, _ = _judged(asked, items, timeout)
    return [one if isinstance(one, str) else one.values[-1] for one in judged]


@dataclass(frozen=True)
class Outputs:
    """The classifier's output for one answer: a number for each label."""

    values: tuple[float, ...]
    labels: tuple[str, ...]


def scored_by(session_id: str) -> dict[str, Any]:
    """A component of a reward: the reward model that a run has trained."""
    return {"name": "reward_model", "params": {"model": f"{RUN}{session_id}"}}


_CACHE: dict[str, Outputs] = {}
_LOCK = threading.Lock()


def _remember(outputs: dict[str, Any]) -> None:
    with _LOCK:
        _CACHE.update(outputs)
        while len(_CACHE) > KEPT:
            _CACHE.pop(next(iter(_CACHE)))


def _judged(asked: Asked, items: Sequence[Item], timeout: float) -> tuple[list[Outputs | str], int]:
    """The classifier's outputs for one batch and the tokens it read, or an error for each answer."""
    try:
        answer = process_of(asked).ask([asked_text(item) for item in items], timeout)
        if "error" in answer:
            return [str(answer["error"])] * len(items), 0
        labels = tuple(map(str, answer["labels"]))
        return [Outputs(tuple(map(float, row)), labels) for row in answer["outputs"]], int(answer["tokens"])
    except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
        return [str(error) or type(error).__name__] * len(items), 0


def _score(found: Outputs | str, scale: Scale, label: str, centre: float, width: float) -> Score:
    if isinstance(found, str):
        return Score(0.0, f"The reward model returned no score: {found[:300].rstrip('.')}.")
    if not found.values or not all(map(math.isfinite, found.values)):
        return Score(0.0, "The reward model returned no score: its output is not a number.")
    place = _place(found.labels, label)
    if place is None:
        known = ", ".join(found.labels[:20])
        return Score(0.0, f"The reward model returned no score: it has no label {label!r:.60}; its labels are {known}.")
    raw, name = found.values[place], found.labels[place]
    if scale == "softmax" or (scale == "auto" and len(found.values) > 1):
        most = max(found.values)
        powers = [math.exp(value - most) for value in found.values]
        return Score(
            powers[place] / math.fsum(powers),
            f"The reward model is {powers[place] / math.fsum(powers):.0%} confident in “{name}”.",
        )
    return Score(_sigmoid((raw - centre) / width), f"The reward model's raw score is {raw:.4g}.")


def _place(labels: Sequence[str], label: str) -> int | None:
    label = label.strip()
    if not label:
        return len(labels) - 1
    lowered = [one.casefold() for one in labels]
    if label.casefold() in lowered:
        return lowered.index(label.casefold())
    return int(label) if label.isdigit() and int(label) < len(labels) else None


def _sigmoid(value: float) -> float:
    """Without overflow.

    >>> _sigmoid(0), _sigmoid(-1e6), _sigmoid(1e6)
    (0.5, 0.0, 1.0)
    """
    if value < 0:
        power = math.exp(max(value, -745.0)) if value > -745 else 0.0
        return power / (1 + power)
    return 1 / (1 + math.exp(-min(value, 745.0)))


def _check(params: dict[str, Any]) -> tuple[str, str] | None:
    if not params["model"].strip():
        return (
            "model",
            "name the model: one of your runs as run:<id>, a folder on this machine, or owner/name as on Hugging Face",
        )
    return None


_FORMS = (
    ("auto", "Chat template if it has one, otherwise a pair of question and answer"),
    ("chat", "Chat template"),
    ("pair", "Pair of question and answer"),
    ("answer", "Answer only"),
)
_SCALES = (
    ("auto", "One output: sigmoid; several: softmax; of a run: compared with its held-out answers"),
    ("sigmoid", "Sigmoid of one output"),
    ("softmax", "Softmax over all outputs"),
)
INFOS = (
    RewardInfo(
        "reward_model",
        "Reward model",
        "A model that was trained to score answers: one of your own runs, or a sequence classifier from Hugging Face. It runs on this machine. Safetensors only; code from its repository is never run. Its scores are opinions, which can be wrong or manipulated.",
        False,
        (),
        (
            Param("model", "text", "", "Model", "One of your runs (run: and its ID), a local folder, or owner/name on Hugging Face.", maximum=500, suggests="reward_runs"),
            Param("revision", "text", "", "Revision", "Branch, tag, or commit on Hugging Face. Default: the latest.", maximum=200),
            Param("form", "choice", "auto", "Input format", "Use the format the model was trained with; see its model card.", _FORMS),
            Param("scale", "choice", "auto", "Score from output", "Maps the model's output to a score from 0 to 1.", _SCALES),
            Param("label", "text", "", "Positive label", "Name or number. Default: the last label.", maximum=200),
            Param("centre", "number", 0.0, "Center", "Raw output that scores 0.5, for the sigmoid.", minimum=-1e6, maximum=1e6),
            Param("width", "number", 1.0, "Width", "For the sigmoid: an output this far above the center scores 0.73.", minimum=1e-6, maximum=1e6),
            Param("batch", "integer", 8, "Batch size", "Answers per forward pass. Larger is faster and needs more memory.", minimum=1, maximum=1024),
            Param("max_tokens", "integer", 1024, "Maximum tokens", "Longer texts are cut off at the start.", minimum=16, maximum=131_072),
            Param("timeout", "number", 60, "Timeout", "Seconds per batch. Loading the model has a separate limit of 10 minutes.", minimum=0.1, maximum=3600),
        ),
        one_of(reward_model),
        batch=reward_model,
        family="Judges",
        check=_check,
    ),
)  # fmt: skip
