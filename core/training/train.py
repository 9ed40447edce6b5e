"""A training run from top to bottom: device, model, data, then its method's ``train``."""

from __future__ import annotations

import logging
from contextlib import closing

from core.config import RunConfig, dump, parse
from core.device_checks import device_checks
from core.environment import note_environment
from core.errors import InvalidConfig, InvalidInput
from core.job_dir import JobDir, read_json
from core.model import Device
from core.settings import Home
from core.training import methods
from core.training.evaluation.best import Best
from core.training.job import checkpoint
from core.training.job.device import this_device, use_cores
from core.training.job.reporter import Reporter
from core.training.job.status import Status
from core.training.method_rows import prepare, with_decisions
from core.training.methods.training_job import TrainingJob
from core.training.models import start
from core.training.models.load import load_for_training, parameters_of, use_unsloth

log = logging.getLogger("tunesmith")


def train(run: JobDir, home: Home, status: Status) -> str:
    """Complete the rest of the run in ``run``.

    Returns:
        A final message.

    Raises:
        Stopped: A user stopped it.
        TunesmithError: It cannot continue.
    """
    config = parse(run.whole_config()["config"])
    device = this_device()
    use_cores(device)
    status.update(device=device.name if device.kind == "cuda" else "cpu")
    note_environment(run, status.value.attempt, device)
    # The remarks are about fields that a user set; the complete configuration sets every field.
    _check(parse(run.read_config().get("given") or dump(config)), device, status)
    _check_method(run, config)
    if use_unsloth(config, device):
        # It replaces classes inside TRL, which a method's module imports by name, so Unsloth must be imported first:
        # otherwise the run would silently train with plain TRL.
        import unsloth  # noqa: F401
    train_by_method = methods.trainer_of(config.method)
    status.update(message="Loading the model")
    start.prepare(run, config, device, home, status)
    loaded = load_for_training(config, device, home, run)
    trained, every = parameters_of(loaded.model)
    status.update(message="Preparing the data", trained_parameters=trained, parameters=every)
    data = prepare(config, loaded.tokenizer, run, home, status)
    config = with_decisions(config, data, status)
    with (
        closing(Reporter(run, status.value.attempt)) as reporter,
        closing(
            TrainingJob(config, run, home, device, loaded, data, status, reporter, resume=checkpoint.latest(run))
        ) as job,
    ):
        train_by_method(job)
        return Best(config, run).conclusion(loaded.tokenizer, status.value.step)


def _check(given: RunConfig, device: Device, status: Status) -> None:
    remarks = device_checks(given, device)
    problems = [(remark.field, remark.message) for remark in remarks if remark.level == "problem"]
    if problems:
        raise InvalidConfig(problems)
    for remark in remarks:
        status.note(f"{remark.field}: {remark.message}")


def _check_method(run: JobDir, config: RunConfig) -> None:
    """Reject checkpoints of another method: each has its own state and, some, a model with another head."""
    begun = str((read_json(run.prepared / "info.json") or {}).get("method", config.method))
    if begun != config.method and (run.numbered() or run.numbered(checkpoint.WARM_UP)):
        raise InvalidInput(
            f"This run has checkpoints of the method '{begun}' and cannot be resumed with '{config.method}'. Set the "
            "method back, or start a new run that continues from this one.",
            field="method",
        )
