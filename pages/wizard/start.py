"""What is trained and from where: the base model or an earlier run, an adapter or every weight."""

from __future__ import annotations

from dataclasses import dataclass

from core.config import RunConfig
from core.methods import method_of
from core.model import Device
from services.container import Services
from services.forms.labels import model_title
from services.models.families import estimate
from services.runs.room import every_weight
from services.wizard.snapshot import Snapshot
from services.wizard.start import source_of
from services.words import size


@dataclass(frozen=True)
class StartOption:
    """A finished run to go on from. ``value`` is a reference for ``model.continue_from``."""

    value: str
    title: str


@dataclass(frozen=True)
class StartChoice:
    """The part of the Model step about the weights.

    Attributes:
        options: Runs to go on from, newest first.
        chosen: The chosen reference; '' for the base model.
        problem: Why it cannot be used; '' if it can.
        mergeable: Whether it is an adapter, which may be merged first.
        merge_first: Whether it is.
        same: Whether the same adapter is trained further, so that its size is given.
        facts: What is known about it, in a sentence.
        every_weight: Whether every weight is trained.
        memory: Memory for an adapter and for every weight, in words; empty if unknown.
        level: Tags' levels of both: '', ``good`` or ``bad``.
    """

    options: tuple[StartOption, ...]
    chosen: str
    problem: str
    mergeable: bool
    merge_first: bool
    same: bool
    facts: str
    every_weight: bool
    memory: tuple[str, str]
    level: tuple[str, str]


def start_choice(services: Services, snapshot: Snapshot) -> StartChoice:
    """For the draft."""
    model = snapshot.draft.model
    chosen, merge_first = model.text("continue_from"), bool(model.values.get("merge_first"))
    source = source_of(snapshot.draft, services.settings.home)
    options = _options(services)
    if chosen and chosen not in {one.value for one in options}:
        options = (StartOption(chosen, source.name if source else chosen), *options)
    mergeable = source is not None and not source.whole
    remark = snapshot.review.remarks.get("model.continue_from") or snapshot.review.remarks.get("model.merge_first")
    needs, level = _memory(services, snapshot)
    return StartChoice(
        options=options,
        chosen=chosen,
        problem=remark[1] if chosen and remark else "",
        mergeable=mergeable,
        merge_first=merge_first,
        same=mergeable and not merge_first,
        facts=_facts(source.base, whole=source.whole, step=source.step) if source else "",
        every_weight=model.values.get("adapter") == "none",
        memory=needs,
        level=level,
    )


def _options(services: Services) -> tuple[StartOption, ...]:
    runs = {run.session_id: run for run in services.runs.list() if run.job.over}
    found = []
    for one in services.models.trained():
        if one.session_id in runs:
            config = services.runs.config(one.session_id)
            whole = (config.get("model") or {}).get("adapter") == "none"
            what = f"{method_of(config).term}, {'every weight' if whole else 'adapter'}, {model_title(one.base)}"
            found.append(StartOption(one.session_id, f"{one.title} ({what})"))
    return tuple(found)


def _facts(base: str, *, whole: bool, step: int | None) -> str:
    what = "every weight" if whole else "an adapter"
    return f"It trained {what} of {model_title(base)}{f', up to step {step}' if step else ''}."


def _memory(services: Services, snapshot: Snapshot) -> tuple[tuple[str, str], tuple[str, str]]:
    config = snapshot.standing
    parameters = services.preflight.parameters(config) if config else None
    if config is None or parameters is None:
        return ("", ""), ("", "")
    device = services.system.device()
    needs = _needs(config, parameters, device)
    words = (f"about {size(needs[0])} of memory", f"about {size(needs[1])} of memory")
    levels = tuple("good" if one <= device.memory else "bad" for one in needs)
    return words, (levels[0], levels[1])


def _needs(config: RunConfig, parameters: float, device: Device) -> tuple[int, int]:
    model = config.model
    lora = estimate(parameters, device, lora_rank=model.lora_rank, four_bit=model.load_in_4bit).total
    return lora, every_weight(config, parameters, config.training.optim, device)
