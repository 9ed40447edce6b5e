"""The steps of the wizard, which methods ask for them, and which parts of the draft each of them saves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import dropwhile

from core.methods import METHODS, Method, Need

CONFIGURATION = ("training", *(one.section_name for one in METHODS), "pre_training", "evaluation")


@dataclass(frozen=True)
class StepInfo:
    """A step. ``sections`` are the parts of the draft that it alone saves.

    ``title`` is its name in the stepper, ``heading`` that of its page. ``need`` is what a method must need to ask for
    the step; None if every method does.
    """

    key: str
    title: str
    heading: str
    intro: str
    sections: tuple[str, ...] = ()
    need: Need | None = None


STEPS = (
    StepInfo(
        "model",
        "Model",
        "Model",
        "Choose a base model. Training adds a small adapter; the base model stays unchanged.",
        ("method", "model"),
    ),
    StepInfo(
        "dataset",
        "Dataset",
        "Dataset",
        "Choose the questions to train on, with their correct answers.",
        ("dataset",),
    ),
    StepInfo(
        "configuration",
        "Settings",
        "Training settings",
        "Pick how long to train. The suggested values suit your model, your data, and this machine.",
        CONFIGURATION,
    ),
    StepInfo(
        "reward",
        "Reward",
        "Reward",
        "How answers are scored. The model learns exactly what you reward.",
        ("reward",),
        Need.REWARD,
    ),
    StepInfo("train", "Start", "Start training", "Check your setup, then start the run.", ("name",)),
)
"""The setup, in order."""
AFTERWARDS = (
    StepInfo("export", "Export", "Export", "Download the trained model as an adapter, a merged model, or a GGUF file."),
    StepInfo("test", "Test", "Test", "Ask the base model and the trained model the same question, side by side."),
)
"""Pages about the run that was started from the draft; no part of its set-up."""
STEP: dict[str, StepInfo] = {step.key: step for step in (*STEPS, *AFTERWARDS)}


def steps_of(chosen: Method) -> tuple[StepInfo, ...]:
    """The steps that a method asks for, in order."""
    return tuple(step for step in STEPS if step.need is None or step.need in chosen.needs)


def choices_of(chosen: Method) -> tuple[StepInfo, ...]:
    """Those on which something is chosen before the start."""
    return tuple(step for step in steps_of(chosen) if step.key != "train")


def following(step: str, chosen: Method) -> str:
    """The step that a method asks for after a step; the last one itself."""
    later = dropwhile(lambda one: one.key != step, STEPS)
    return next((one.key for one in later if one.key != step and one in steps_of(chosen)), step)


def step_of(path: str) -> StepInfo:
    """The step on which a field is."""
    section = path.partition(".")[0]
    return next((step for step in STEPS if section in step.sections), STEP["train"])
