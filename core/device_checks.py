"""Checks a configuration for a device: what cannot run there, and which settings have no effect.

Settings without effect are reported on the page before the start and in the run's notes; nothing is ignored silently.
"""

from __future__ import annotations

from core.config import GPU_OPTIMIZERS, SECTIONS, RunConfig, adapter_fields
from core.lora import ALL_LINEAR
from core.methods import method
from core.methods.method import Note
from core.model import Device


def device_checks(config: RunConfig, device: Device) -> list[Note]:
    """Every remark on ``config`` for ``device``, in the order of the sections."""
    notes: list[Note] = []
    model, training, chosen = config.model, config.training, method(config.method)

    def problem(field: str, message: str) -> None:
        notes.append(Note(field, "problem", message))

    def note(field: str, message: str) -> None:
        notes.append(Note(field, "note", message))

    if device.kind != "cuda":
        if model.load_in_4bit:
            problem("model.load_in_4bit", "4-bit quantization needs an NVIDIA GPU, and this machine has none. Turn it off.")
        if training.optim in GPU_OPTIMIZERS:
            note("training.optim", "This optimizer needs an NVIDIA GPU. On this CPU, plain AdamW is used instead: the same results, more memory.")
        if model.dtype == "float16":
            problem("model.dtype", "Training in float16 is not possible on a CPU. Choose Automatic or float32.")
    else:
        for name in ("rollout_engine", "share_prefixes"):
            if name in training.model_fields_set:
                note(f"training.{name}", "Only has an effect on a CPU. On a GPU, other optimizations are faster.")
    if model.adapter != "none" and model.layers != "custom" and model.target_modules != ALL_LINEAR:
        note("model.target_modules", "Has no effect, because the layers are chosen by a preset. Choose custom layers to use it.")
    if model.adapter == "none":
        for name in adapter_fields():
            if name in model.model_fields_set:
                note(f"model.{name}", "Has no effect when every weight is trained: there is no adapter.")
    if model.dtype == "bfloat16" and not device.bf16:
        note("model.dtype", "This device does not support bfloat16 natively. It works, at about half the speed of float32.")
    if training.lr_scheduler_type == "constant" and training.warmup_steps and "warmup_steps" in training.model_fields_set:
        note("training.warmup_steps", "Has no effect with a constant learning rate. Choose 'Constant with warm-up' to use it.")
    if training.optim in {"sgd", "adafactor"} and (training.adam_beta1, training.adam_beta2) != (0.9, 0.999):
        note("training.adam_beta1", "Has no effect with this optimizer.")
    if training.max_steps is not None and "num_epochs" in training.model_fields_set:
        note("training.num_epochs", f"Ignored because the number of steps is set: the run ends after {training.max_steps}.")
    notes.extend(chosen.remarks(config, device))
    if config.evaluation.holdout_fraction == 0 and not config.evaluation.split:
        note("evaluation.holdout_fraction", "No rows are held out, so you cannot tell whether the model improves on questions it has not seen.")
    source = config.dataset.source
    if not source.startswith("generated:"):
        for name in ("size", "max_operand"):
            if name in config.dataset.model_fields_set:
                note(f"dataset.{name}", "Only has an effect with generated exercises.")
    if source.startswith(("generated:", "upload:")) and config.dataset.subset:
        note("dataset.subset", "Only has an effect with a Hugging Face dataset.")
    if not config.pre_training.enabled:
        given = config.pre_training.model_fields_set - {"enabled"}
        if given:
            note("pre_training.enabled", "The warm-up is off, so its other settings have no effect.")
    said = {remark.field for remark in notes}
    for path in _given(config):
        if not chosen.uses(path) and path not in said:
            note(path, f"Has no effect with {chosen.term}.")
    return notes


def _given(config: RunConfig) -> list[str]:
    """Paths of the fields that were set, in the order of the format."""
    sections = ((name, getattr(config, name)) for name in SECTIONS if name in config.model_fields_set)
    return [f"{name}.{field}" for name, section in sections for field in type(section).model_fields if field in section.model_fields_set]
