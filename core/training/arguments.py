"""Converts a configuration into arguments for TRL and PEFT. This is the only place that does.

Every field of :class:`core.config.RunConfig` is used here, in the data (``method_rows.py``), in the warm-up
(``methods/warm_up.py``), in the reward or in the evaluation. ``tests/training/test_arguments.py`` lists them and fails
if a field is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from core import lora
from core.config import GPU_OPTIMIZERS, LORA_TARGETS, RunConfig
from core.errors import Unavailable
from core.methods import method
from core.model import Device


def trainer_arguments(config: RunConfig, device: Device, folder: Path) -> dict[str, Any]:
    """Keyword arguments that the configurations of all TRL trainers share: those of transformers and a few more.

    Args:
        config: The run's configuration.
        device: Determines the optimizer's variant and the number format.
        folder: Where TRL may write.
    """
    training = config.training
    return {
        "output_dir": str(folder),
        "num_train_epochs": training.num_epochs,
        "max_steps": training.max_steps or -1,
        "per_device_train_batch_size": training.batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "learning_rate": training.learning_rate,
        "warmup_steps": training.warmup_steps,
        "weight_decay": training.weight_decay,
        "adam_beta1": training.adam_beta1,
        "adam_beta2": training.adam_beta2,
        "max_grad_norm": training.max_grad_norm,
        "lr_scheduler_type": training.lr_scheduler_type,
        "optim": optimizer_name(config, device),
        "gradient_checkpointing": training.gradient_checkpointing,
        "save_strategy": "steps",
        "save_steps": training.save_steps,
        "save_total_limit": training.keep_checkpoints,
        "seed": method(config.method).model_seed(config),
        # Constant for all runs. TRL would train in bfloat16 by default.
        **_number_format(config, device),
        "use_cpu": device.kind == "cpu",
        "dataloader_pin_memory": device.kind == "cuda",
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_first_step": True,
        # A NaN loss must be visible: transformers would log the mean of the losses before it.
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "push_to_hub": False,
        "trust_remote_code": False,
    }


def grpo_arguments(config: RunConfig, device: Device, folder: Path) -> dict[str, Any]:
    """Keyword arguments of ``trl.GRPOConfig``; the parameters are those of :func:`trainer_arguments`.

    Raises:
        Unavailable: The installed TRL lacks an argument that the configuration needs.
    """
    from trl import GRPOConfig

    training, grpo = config.training, config.grpo
    wanted = {
        **trainer_arguments(config, device, folder),
        "num_generations": training.num_generations,
        "max_completion_length": training.max_new_tokens,
        "temperature": training.temperature,
        "top_p": training.top_p,
        "top_k": training.top_k,
        "min_p": training.min_p,
        "repetition_penalty": training.repetition_penalty,
        "beta": grpo.kl_penalty,
        "epsilon": grpo.clip_range,
        "epsilon_high": grpo.clip_range_high,
        "importance_sampling_level": grpo.importance_sampling_level,
        "loss_type": grpo.loss_type,
        "num_iterations": grpo.num_iterations,
        "scale_rewards": grpo.scale_rewards,
        "mask_truncated_completions": grpo.mask_truncated_completions,
        "log_completions": False,
    }
    return known_to(GRPOConfig, wanted)


def known_to(arguments: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """``wanted``, if the installed TRL knows every name.

    Args:
        arguments: The dataclass that they are for, such as ``trl.GRPOConfig``.
        wanted: Its keyword arguments.

    Raises:
        Unavailable: It does not know one. The dataclass would raise an unhelpful TypeError.
    """
    missing = sorted(set(wanted) - {field.name for field in fields(arguments)})
    if missing:
        raise Unavailable(
            f"The installed version of TRL has no setting named {', '.join(missing)}. Run setup again to "
            "install the supported version."
        )
    return wanted


def optimizer_name(config: RunConfig, device: Device) -> str:
    """The optimizer's name in transformers; those of bitsandbytes become plain AdamW without CUDA."""
    optimizer = config.training.optim
    return "adamw_torch" if device.kind != "cuda" and optimizer in GPU_OPTIMIZERS else optimizer


def dtype_name(config: RunConfig, device: Device) -> str:
    """The number format of the model's weights: ``float32``, ``bfloat16`` or ``float16``.

    Weights that are trained are in float32 unless another format is chosen: in 16 bits, the small changes of a step
    are rounded away.
    """
    if config.model.dtype != "auto":
        return config.model.dtype
    return "float32" if config.model.adapter == "none" else native_dtype(device)


def native_dtype(device: Device) -> str:
    """A device's fastest number format: bfloat16 on a CPU is emulated and half as fast as float32."""
    if device.kind != "cuda":
        return "float32"
    return "bfloat16" if device.bf16 else "float16"


def _number_format(config: RunConfig, device: Device) -> dict[str, bool]:
    # On a CPU the weights themselves are in the chosen format, without autocast.
    mixed = device.kind == "cuda"
    # If weights are trained in float32, the computation is in 16 bits all the same.
    dtype = native_dtype(device) if config.model.dtype == "auto" else config.model.dtype
    return {"bf16": mixed and dtype == "bfloat16", "fp16": mixed and dtype == "float16"}


def fast_arguments(config: RunConfig, device: Device) -> dict[str, bool]:
    """Keyword arguments of :class:`core.training.prefix_sharing.trainer.FastGRPOTrainer`; optimizations on a CPU."""
    on_cpu = device.kind == "cpu"
    return {
        "share_prefixes": on_cpu and config.training.share_prefixes,
        "skip_constant_groups": on_cpu and config.grpo.skip_constant_groups,
        "dynamic_sampling": config.grpo.dynamic_sampling,
    }


def lora_arguments(config: RunConfig, linear: Iterable[str], model_type: str) -> dict[str, Any]:
    """Keyword arguments of ``peft.LoraConfig``.

    Args:
        config: The run's configuration.
        linear: Paths of the model's linear layers, without its output layer.
        model_type: As in the model's ``config.json``.

    Raises:
        InvalidInput: The model has no layers of the chosen preset.
    """
    model = config.model
    targets = lora.targets(model.layers, model.target_modules, linear, model_type)
    return {
        "r": model.lora_rank,
        "lora_alpha": model.lora_alpha,
        "lora_dropout": model.lora_dropout,
        "target_modules": targets if targets == lora.ALL_LINEAR else list(targets),
        "use_rslora": model.use_rslora,
        "use_dora": model.use_dora,
        "fan_in_fan_out": model_type in lora.TRANSPOSED,
        "bias": "none",
        # With SEQ_CLS, PEFT also trains the head that gives the score, and saves it with the adapter.
        "task_type": "SEQ_CLS" if method(config.method).head == "score" else "CAUSAL_LM",
    }


def unsloth_lora_arguments(config: RunConfig, linear: Iterable[str], model_type: str) -> dict[str, Any]:
    """Keyword arguments of Unsloth's ``get_peft_model``, which takes the layers by name; see :func:`lora_arguments`."""
    shared = lora_arguments(config, linear, model_type)
    del shared["task_type"]
    if shared["target_modules"] == lora.ALL_LINEAR:
        shared["target_modules"] = list(LORA_TARGETS)
    checkpointing = "unsloth" if config.training.gradient_checkpointing else False
    return {**shared, "use_gradient_checkpointing": checkpointing, "random_state": config.training.seed}


@dataclass(frozen=True)
class WarmUpArguments:
    """Settings of the warm-up phase.

    Attributes:
        epochs: Passes over its rows.
        max_samples: Rows, or None for all.
        batch_size: Rows in one optimizer step.
        learning_rate: Constant.
        weight_decay, betas, max_grad_norm, seed: As in the main phase.
        max_length: Longest prompt and answer together, in tokens.
    """

    epochs: float
    max_samples: int | None
    batch_size: int
    learning_rate: float
    weight_decay: float
    betas: tuple[float, float]
    max_grad_norm: float
    seed: int
    max_length: int


def warm_up_arguments(config: RunConfig) -> WarmUpArguments:
    """The warm-up's own fields, with the optimizer's shared ones."""
    phase, training = config.pre_training, config.training
    return WarmUpArguments(
        epochs=phase.epochs,
        max_samples=phase.max_samples,
        batch_size=phase.batch_size,
        learning_rate=phase.learning_rate,
        weight_decay=training.weight_decay,
        betas=(training.adam_beta1, training.adam_beta2),
        max_grad_norm=training.max_grad_norm,
        seed=training.seed,
        max_length=training.max_sequence_length,
    )
