"""The home page: the demo for a first visit, the latest runs and what to do next afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.config import parse
from core.errors import InvalidConfig, NotFound
from core.job import JobState
from core.model import DEMO_MODEL, local_folder
from pages.parts import PhaseView
from pages.runs.index import verdicts
from pages.runs.show import Spark, sparks
from services.container import Services
from services.runs.verdict import Action, Outcome, RunVerdict
from services.runs.view import RunView
from services.words import size

RECENT = 6


@dataclass(frozen=True)
class Card:
    """A suggestion of what to do next."""

    title: str
    text: str
    url: str
    action: str


@dataclass(frozen=True)
class Demo:
    """The shipped demo. ``ready`` is whether its model is on this machine."""

    ready: bool
    words: str
    phases: tuple[PhaseView, ...]


@dataclass(frozen=True)
class HomePage:
    """Home: the demo for a first visit, the latest runs afterwards."""

    first_time: bool
    demo: Demo | None
    device: str
    runs: tuple[RunView, ...]
    verdicts: dict[str, RunVerdict]
    sparks: dict[str, Spark]
    cards: tuple[Card, ...]


DEMO = "demo-arithmetic"
"""Name of the shipped configuration that the home page starts."""


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
        cards=_first_cards() if not runs else _next_cards(services, runs),
        device=f"{device.name}, {size(device.memory)} of memory{'' if device.kind == 'cuda' else ', no GPU'}",
    )


def demo(services: Services) -> Demo | None:
    """The shipped demo in words, or None where its file is not there."""
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
            "The built-in model is not on this machine yet. Run the set-up again (make setup): it fetches it.",
            (),
        )
    phases = (
        PhaseView(
            "1. Warm-up",
            f"It copies {config.pre_training.max_samples} worked examples, to learn the form of an answer.",
        ),
        PhaseView(
            f"2. {config.training.max_steps} training steps",
            f"{config.training.num_generations} tries at every sum; right ones earn more.",
        ),
        PhaseView("3. A fair test", "Sums it never saw, before and after."),
    )
    return Demo(
        True,
        "It takes 5 to 15 minutes on two processor cores, needs no network and no GPU, and can be stopped at any "
        "time. You can watch the score rise from the first minutes on.",
        phases,
    )


def _first_cards() -> tuple[Card, ...]:
    return (
        Card(
            "Your questions",
            "A file of questions and right answers, a public dataset, or sums made on the spot.",
            "/new/dataset",
            "Choose a dataset",
        ),
        Card(
            "Your idea of good",
            "Rewards say what an answer is worth. Try them by hand before anything is trained.",
            "/new/reward",
            "Look at rewards",
        ),
        Card(
            "Yours to keep",
            "Take the result away as one file for Ollama or llama.cpp. Everything stays on this machine.",
            "/help",
            "How it works",
        ),
    )


def _next_cards(services: Services, runs: Sequence[RunView]) -> tuple[Card, ...]:
    cards = []
    running = next((run for run in runs if run.job.active), None)
    if running:
        cards.append(
            Card("Watch it learn", f"{running.title} is at work.", f"/runs/{running.session_id}", "Open the run")
        )
    over = next((run for run in runs if run.job.state is JobState.COMPLETED), None)
    if over:
        cards += _cards_of(over, services.runs.verdict(over))
    broken = next((run for run in runs if run.job.resumable), None)
    if broken:
        cards.append(_unfinished(broken, services.runs.verdict(broken)))
    cards.append(
        Card(
            "Train on your own questions",
            "Seven steps; nothing is lost if you leave in between.",
            "/new",
            "Go on with the steps",
        )
    )
    return tuple(cards[:4])


def _cards_of(over: RunView, judged: RunVerdict) -> list[Card]:
    """For the latest run that finished: taken away only where it learned."""
    talk = Card(
        "Ask it something",
        f"Compare {over.title} with the model it came from.",
        f"/playground?session_id={over.session_id}",
        "Open the playground",
    )
    if judged.outcome is not Outcome.LEARNED:
        words = f"{over.title}: {judged.headline}"
        return [Card("See what to change", words, f"/runs/{over.session_id}", "Open the run"), talk]
    return [
        talk,
        Card(
            "Take it away",
            "Make one file for Ollama, llama.cpp or LM Studio.",
            f"/exports?session_id={over.session_id}",
            "Make an export",
        ),
    ]


def _unfinished(run: RunView, judged: RunVerdict) -> Card:
    """For the latest run that did not get to its end: resumed only where there is something to resume from."""
    url, words = f"/runs/{run.session_id}", f"{run.title}: {judged.headline}"
    if run.job.checkpoint_step is None:
        return Card("Fix and start again", words, url, "Open the run")
    if judged.action is Action.RESUME:
        return Card("Go on where it stopped", f"{run.title} can be resumed.", url, "Open the run")
    return Card("See what to change", words, url, "Open the run")
