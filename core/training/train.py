"""A training run from top to bottom: data, model, warm-up, GRPO, evaluation."""

from __future__ import annotations

import logging
from contextlib import closing

from core.config import RunConfig, parse
from core.device_checks import device_checks
from core.environment import note_environment
from core.errors import InvalidConfig
from core.model import Device
from core.rewards import compose, markers_of, maximum
from core.run_dir import RunDir
from core.settings import Home
from core.training.evaluation.held_out import Evaluation
from core.training.evaluation.run_report import compare_run
from core.training.job import checkpoint
from core.training.job.device import this_device, use_cores
from core.training.job.reporter import Reporter
from core.training.job.status import Status, Stopped
from core.training.method_rows import prepare, with_decisions
from core.training.models.load import load_for_training, use_unsloth
from core.training.rollouts.engine import engine_for

log = logging.getLogger("tunesmith")


def train(run: RunDir, home: Home, status: Status) -> str:
    """Do what is left of the run in ``run``.

    Returns:
        A closing sentence.

    Raises:
        Stopped: A person stopped it.
        TunesmithError: It cannot go on, in words.
    """
    config = parse(run.whole_config()["config"])
    device = this_device()
    use_cores(device)
    status.update(device=device.name if device.kind == "cuda" else "cpu")
    note_environment(run, status.value.attempt, device)
    # The remarks are about what a person set, and the complete configuration sets every field.
    _check(parse(run.read_config().get("given") or config.model_dump()), device, status)
    if use_unsloth(device):
        import unsloth  # noqa: F401  # patches TRL, so it comes first

    from core.training.methods.grpo import train_grpo
    from core.training.methods.warm_up import warm_up

    status.update(message="Loading the model")
    loaded = load_for_training(config, device, home)
    status.update(message="Preparing the data")
    data = prepare(config, loaded.tokenizer, run, home, status)
    config = with_decisions(config, data, status)
    with (
        closing(Reporter(run, status.value.attempt)) as reporter,
        engine_for(loaded, data, config, device, home, run, status) as engine,
    ):
        score = compose(config.reward, markers_of(config.dataset))
        best = maximum(config.reward)
        evaluation = Evaluation(data.holdout, config, engine, score, best, run, status, reporter)
        if checkpoint.latest(run) is None:
            evaluation.once("before", 0)
        _stop_if_asked(status)
        if config.pre_training.enabled and warm_up(loaded, data.train, config, run, status, reporter):
            evaluation.once("after_warm_up", 0)
        _stop_if_asked(status)
        train_grpo(loaded, data.train, config, device, engine, score, evaluation, run, status, reporter)
    compare_run(run, config, best, status.value.step)
    return "Finished"


def _check(given: RunConfig, device: Device, status: Status) -> None:
    remarks = device_checks(given, device)
    problems = [(remark.field, remark.message) for remark in remarks if remark.level == "problem"]
    if problems:
        raise InvalidConfig(problems)
    for remark in remarks:
        status.note(f"{remark.field}: {remark.message}")


def _stop_if_asked(status: Status) -> None:
    if status.stop_asked:
        raise Stopped("Stopped between two phases. Resume continues here.")
