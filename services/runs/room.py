"""The memory and disk space that a run needs, and what this machine has."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.config import RunConfig
from core.methods import Need, method
from core.model import Device
from core.settings import Home
from services.models.families import EveryWeight, estimate


@dataclass(frozen=True)
class Room:
    """What is missing, in bytes; the attributes are those of :class:`core.readiness.Facts`."""

    memory: tuple[int, int] | None = None
    fits_in_4bit: bool = False
    instead: Mapping[str, int] = field(default_factory=dict)
    disk: tuple[int, int] | None = None


def room_for(config: RunConfig, parameters: float, device: Device, home: Home) -> Room:
    """What a run needs, compared with this machine.

    Args:
        config: The run's configuration.
        parameters: Of its model, in billions.
        device: Has the memory.
        home: Its disk takes the checkpoints.
    """
    model, disk = config.model, disk_needed(config, parameters, device)
    room = (disk, shutil.disk_usage(home.outputs).free) if disk else None
    if model.adapter == "none":
        needed = every_weight(config, parameters, config.training.optim, device)
        if needed <= device.memory:
            return Room(disk=room)
        lora = estimate(parameters, device, lora_rank=model.lora_rank).total
        instead = {"lora": lora, "adafactor": every_weight(config, parameters, "adafactor", device)}
        return Room((needed, device.memory), instead=instead, disk=room)
    needed, in_4bit = (
        estimate(parameters, device, lora_rank=model.lora_rank, four_bit=four_bit).total
        for four_bit in (model.load_in_4bit, True)
    )
    if needed <= device.memory:
        return Room(disk=room)
    helps = in_4bit <= device.memory and device.kind == "cuda" and not model.load_in_4bit
    return Room((needed, device.memory), helps, disk=room)


def every_weight(config: RunConfig, parameters: float, optim: str, device: Device) -> int:
    """Bytes of memory for training every weight with an optimizer."""
    training, chosen = config.training, method(config.method)
    return estimate(
        parameters,
        device,
        half=config.model.dtype == "bfloat16",
        tokens=training.max_sequence_length,
        batch=training.batch_size,
        group=training.num_generations if Need.ROLLOUTS in chosen.needs else 0,
        whole=EveryWeight(optim, chosen.keeps_reference(config)),
    ).total


def disk_needed(config: RunConfig, parameters: float, device: Device) -> int:
    """Bytes on disk for the checkpoints of a whole model and a merged base model; 0 for an adapter, which is small."""
    model = config.model
    size = 2 if model.dtype == "bfloat16" else 4
    each = float(size) if model.merge_first else 0.0
    if model.adapter == "none":
        # The kept ones and the one that is being written. The run's latest weights are another name for a checkpoint's.
        moments = EveryWeight(config.training.optim).moments(size, device)
        each += (config.training.keep_checkpoints + 1) * (size + moments)
    return int(parameters * 1e9 * each)
