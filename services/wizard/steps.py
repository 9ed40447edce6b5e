"""The steps of the wizard, which methods ask for them, and which parts of the draft each of them saves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import dropwhile, takewhile

from core.methods import METHODS, Method, Need

CONFIGURATION = ("training", *(one.section_name for one in METHODS), "pre_training", "evaluation")


@dataclass(frozen=True)
class StepInfo:
    """A step. ``sections`` are the parts of the draft that it alone saves.

    ``need`` is what a method must need to ask for the step; None where every method does.
    """

    key: str
    title: str
    intro: str
    sections: tuple[str, ...]
    need: Need | None = None


STEPS = (
    StepInfo(
        "model",
        "Model",
        "Choose the model that will learn. Training adds a small adapter to it; the model itself stays as it is.",
        ("method", "model"),
    ),
    StepInfo(
        "dataset",
        "Dataset",
        "Choose the questions it will learn from, each with its right answer.",
        ("dataset",),
    ),
    StepInfo(
        "configuration",
        "Configuration",
        "How long and how strongly it learns. The values shown suit your model and this machine; most can stay.",
        CONFIGURATION,
    ),
    StepInfo(
        "reward",
        "Reward",
        "Say what a good answer is. The model learns whatever earns the most, so try the reward before training.",
        ("reward",),
        Need.REWARD,
    ),
    StepInfo("train", "Train", "Check the choices, start, and watch it learn.", ("name",)),
    StepInfo(
        "export",
        "Export",
        "Take the trained model away: as an adapter, as a whole model, or as one file for Ollama and llama.cpp.",
        (),
    ),
    StepInfo("test", "Test", "Ask the original and the trained model the same question, side by side.", ()),
)
STEP: dict[str, StepInfo] = {step.key: step for step in STEPS}


def steps_of(chosen: Method) -> tuple[StepInfo, ...]:
    """The steps that a method asks for, in order."""
    return tuple(step for step in STEPS if step.need is None or step.need in chosen.needs)


def choices_of(chosen: Method) -> tuple[StepInfo, ...]:
    """Those on which something is chosen before the start."""
    return tuple(takewhile(lambda step: step.key != "train", steps_of(chosen)))


def following(step: str, chosen: Method) -> str:
    """The step that a method asks for after a step; the last one itself."""
    later = dropwhile(lambda one: one.key != step, STEPS)
    return next((one.key for one in later if one.key != step and one in steps_of(chosen)), step)


def step_of(path: str) -> StepInfo:
    """The step on which a field is."""
    section = path.partition(".")[0]
    return next((step for step in STEPS if section in step.sections), STEP["train"])
