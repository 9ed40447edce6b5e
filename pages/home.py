"""The home page: the demo on the first visit, then the latest runs and next steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.config import parse
from core.errors import InvalidConfig, NotFound
from core.job import JobState
from core.model import DEMO_MODEL, local_folder
from pages.parts import PhaseView
from pages.runs.index import times, verdicts
from pages.runs.spark import Spark, sparks
from services.container import Services
from services.runs.verdict import Action, Outcome, RunVerdict
from services.runs.view import RunView
from services.words import size

RECENT = 6


@dataclass(frozen=True)
class Card:
    """A suggested next step."""

    title: str
    text: str
    url: str
    action: str


@dataclass(frozen=True)
class Demo:
    """The built-in demo. ``ready`` is whether its model is on this machine."""

    ready: bool
    words: str
    phases: tuple[PhaseView, ...]


@dataclass(frozen=True)
class HomePage:
    """The demo on the first visit, then the latest runs."""

    first_time: bool
    demo: Demo | None
    device: str
    runs: tuple[RunView, ...]
    verdicts: dict[str, RunVerdict]
    sparks: dict[str, Spark]
    times: dict[str, str]
    cards: tuple[Card, ...]


DEMO = "demo-arithmetic"
"""Name of the built-in preset that the home page starts."""


def home_page(services: Services) -> HomePage:
    """The home page."""
    runs = services.runs.list()
    device = services.system.device()
    recent = tuple(runs[:RECENT])
    return HomePage(
        first_time=not runs,
        demo=demo(services),
        runs=recent,
        verdicts=verdicts(services, recent),
        sparks=sparks(services, recent),
        times=times(recent),
        cards=_first_cards() if not runs else _next_cards(services, runs),
        device=f"{device.name}, {size(device.memory)} memory{'' if device.kind == 'cuda' else ', no GPU'}",
    )


def demo(services: Services) -> Demo | None:
    """The demo, or None if its preset is missing."""
    try:
        config = parse(services.configs.load(DEMO))
        local_folder(DEMO_MODEL, services.settings.home)
        ready = True
    except InvalidConfig:
        return None
    except NotFound as error:
        if error.field != "model.name":
            return None
        config, ready = parse(services.configs.load(DEMO)), False
    if not ready:
        return Demo(
            False,
            "The built-in model is not installed yet. Run make setup in the Tunesmith folder to download it.",
            (),
        )
    phases = (
        PhaseView(
            "1. Warm-up",
            f"Learns the answer format from {config.pre_training.max_samples} examples.",
        ),
        PhaseView(
            f"2. {config.training.max_steps} training steps",
            f"Answers each problem {config.training.num_generations} times; correct answers score higher.",
        ),
        PhaseView("3. Evaluation", "Problems it has never seen, before and after."),
    )
    return Demo(
        True,
        "Takes 5 to 15 minutes on two CPU cores. Needs no network and no GPU. You can watch the score from the first "
        "minute and stop at any time.",
        phases,
    )


def _first_cards() -> tuple[Card, ...]:
    return (
        Card(
            "Your data",
            "A file with questions and answers, a public dataset, or generated arithmetic problems.",
            "/new/dataset",
            "Choose a dataset",
        ),
        Card(
            "Your definition of good",
            "A reward scores each answer. Test it before you train.",
            "/rewards",
            "Explore rewards",
        ),
        Card(
            "Your model",
            "Download it as a single file for Ollama, LM Studio, or llama.cpp.",
            "/help/export",
            "See how to export",
        ),
    )


def _next_cards(services: Services, runs: Sequence[RunView]) -> tuple[Card, ...]:
    cards = []
    running = next((run for run in runs if run.job.active), None)
    if running:
        cards.append(
            Card("Watch it learn", f"{running.title} is training.", f"/runs/{running.session_id}", "Open the run")
        )
    over = next((run for run in runs if run.job.state is JobState.COMPLETED), None)
    if over:
        talks = any(model.session_id == over.session_id for model in services.models.trained())
        cards += _cards_of(over, services.runs.verdict(over), talks=talks)
    broken = next((run for run in runs if run.job.resumable), None)
    if broken:
        cards.append(_unfinished(broken, services.runs.verdict(broken)))
    cards.append(
        Card(
            "Train on your own data",
            "Your setup is saved as you go, so you can leave and come back.",
            "/new",
            "Set up a run",
        )
    )
    return tuple(cards[:4])


def _cards_of(over: RunView, judged: RunVerdict, *, talks: bool) -> list[Card]:
    """For the latest finished run; an export is suggested only if it learned, a chat only if it writes."""
    chat = Card(
        "Chat with the model",
        f"Compare {over.title} with its base model.",
        f"/playground?session_id={over.session_id}",
        "Open the playground",
    )
    talk = [chat] if talks else []
    if judged.outcome is not Outcome.LEARNED:
        words = f"{over.title}: {judged.headline}"
        return [Card("See what to change", words, f"/runs/{over.session_id}", "Open the run"), *talk]
    return [
        *talk,
        Card(
            "Export",
            "Download it as a single file for Ollama, LM Studio, or llama.cpp."
            if talks
            else "Download the reward model, for Python.",
            f"/exports?session_id={over.session_id}",
            "Export the model",
        ),
    ]


def _unfinished(run: RunView, judged: RunVerdict) -> Card:
    """For the latest run that ended early; Resume is suggested only if there is a checkpoint."""
    url, words = f"/runs/{run.session_id}", f"{run.title}: {judged.headline}"
    if run.job.checkpoint_step is None:
        return Card("Fix and start again", words, url, "Open the run")
    if judged.action is Action.RESUME:
        return Card("Resume a run", f"{run.title} can be resumed.", url, "Open the run")
    return Card("See what to change", words, url, "Open the run")
