"""The seven steps of the wizard, and which parts of the draft each of them saves."""

from __future__ import annotations

from dataclasses import dataclass

from core.methods import METHODS

CONFIGURATION = ("training", *(one.section_name for one in METHODS), "pre_training", "evaluation")


@dataclass(frozen=True)
class StepInfo:
    """One of the seven steps. ``sections`` are the parts of the draft that it alone saves."""

    key: str
    title: str
    intro: str
    sections: tuple[str, ...]


STEPS = (
    StepInfo(
        "model",
        "Model",
        "Choose the model that will learn. Training adds a small adapter to it; the model itself stays as it is.",
        ("model",),
    ),
    StepInfo(
        "dataset",
        "Dataset",
        "Choose the questions it will practise on, each with the right answer to compare against.",
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


def following(step: str) -> str:
    """The step after a step; the last one itself."""
    place = [one.key for one in STEPS].index(step)
    return STEPS[min(place + 1, len(STEPS) - 1)].key


def step_of(path: str) -> StepInfo:
    """The step on which a field is."""
    section = path.partition(".")[0]
    return next((step for step in STEPS if section in step.sections), STEP["train"])
