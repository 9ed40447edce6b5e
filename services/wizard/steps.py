"""The steps of the wizard, the methods that need them, and the parts of the draft that each saves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import dropwhile

from core.methods import METHODS, Method, Need

CONFIGURATION = ("training", *(one.section_name for one in METHODS), "pre_training", "evaluation")


@dataclass(frozen=True)
class StepInfo:
    """A step. ``sections`` are the parts of the draft that only this step saves.

    ``title`` is its name in the stepper, ``heading`` that of its page. ``need`` is the need of a method that requires
    this step; None for all.
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
        "Choose how to train, and which base model to start from.",
        ("method", "model"),
    ),
    StepInfo(
        "dataset",
        "Dataset",
        "Dataset",
        "Choose the data to train on.",
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
"""Pages about the run that was started from the draft; not part of the setup."""
STEP: dict[str, StepInfo] = {step.key: step for step in (*STEPS, *AFTERWARDS)}


def steps_of(chosen: Method) -> tuple[StepInfo, ...]:
    """The steps that a method needs, in order."""
    return tuple(step for step in STEPS if step.need is None or step.need in chosen.needs)


def choices_of(chosen: Method) -> tuple[StepInfo, ...]:
    """Those with choices to make before the start."""
    return tuple(step for step in steps_of(chosen) if step.key != "train")


def following(step: str, chosen: Method) -> str:
    """The next step that a method needs; after the last one, that one again."""
    later = dropwhile(lambda one: one.key != step, STEPS)
    return next((one.key for one in later if one.key != step and one in steps_of(chosen)), step)


def step_of(path: str) -> StepInfo:
    """The step with a field."""
    section = path.partition(".")[0]
    return next((step for step in STEPS if section in step.sections), STEP["train"])
