"""A whole configuration: read, checked and written."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, ValidationError

from core.config.dataset import DatasetSection, marker_checks, source_checks
from core.config.evaluation import EvaluationSection
from core.config.grpo import GrpoSection
from core.config.model import ModelSection
from core.config.pre_training import PreTrainingSection
from core.config.reward import RewardSection
from core.config.training import TrainingSection
from core.errors import InvalidConfig
from core.section import Section


class RunConfig(Section):
    """A complete training configuration.

    Raises:
        InvalidConfig: By :func:`parse`, with the path of every field at fault.
    """

    name: str = Field(min_length=1, max_length=100, title="Name", description="What to call this configuration.")
    model: ModelSection
    dataset: DatasetSection
    training: TrainingSection = Field(default_factory=TrainingSection)
    grpo: GrpoSection = Field(default_factory=GrpoSection)
    reward: RewardSection
    pre_training: PreTrainingSection = Field(default_factory=PreTrainingSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)


def cross_checks(config: RunConfig) -> list[tuple[str, str]]:
    """Combinations of fields that cannot work on any device, as (field path, what would be right)."""
    problems: list[tuple[str, str]] = []
    training = config.training
    per_step = training.batch_size * training.gradient_accumulation_steps
    group = training.num_generations
    if per_step % group:
        nearest = max(1, round(per_step / group)) * group
        problems.append(
            (
                "training.num_generations",
                f"batch_size × gradient_accumulation_steps is {per_step}, which is not a multiple of the group "
                f"size {group}. Make it {nearest}, for example batch_size {training.batch_size} with "
                f"gradient_accumulation_steps {-(-nearest // training.batch_size)}"
                if nearest % training.batch_size == 0
                else f"batch_size × gradient_accumulation_steps is {per_step}, which is not a multiple of the group "
                f"size {group}. Make it {nearest}, for example batch_size 1 with gradient_accumulation_steps {nearest}",
            )
        )
    if training.max_new_tokens >= training.max_sequence_length:
        problems.append(
            (
                "training.max_new_tokens",
                f"the longest answer ({training.max_new_tokens}) leaves no room for the question within "
                f"max_sequence_length ({training.max_sequence_length}). Lower it, or raise max_sequence_length to "
                f"at least {training.max_new_tokens + 64}",
            )
        )
    grpo = config.grpo
    if grpo.clip_range_high is not None and grpo.clip_range_high < grpo.clip_range:
        problems.append(("grpo.clip_range_high", f"must be at least clip_range ({grpo.clip_range}), or empty"))
    dataset = config.dataset
    problems.extend(marker_checks(dataset))
    problems.extend(source_checks(dataset, "dataset"))
    if dataset.mix and dataset.source != "mix":
        problems.append(("dataset.source", "must be 'mix' where sources to mix are given"))
    if dataset.source == "mix" and not dataset.mix:
        problems.append(("dataset.mix", "give at least one source with its weight"))
    for place, part in enumerate(dataset.mix):
        if part.source == "mix":
            problems.append((f"dataset.mix.{place}.source", "a mixture cannot hold another one; list its sources here"))
        problems.extend(source_checks(part, f"dataset.mix.{place}"))
    if config.evaluation.holdout_fraction + config.evaluation.test_fraction > 0.8:
        problems.append(("evaluation.test_fraction", "leaves too little to train on; lower it"))
    return problems


def parse(data: object) -> RunConfig:
    """Validate what came from a file, a form or another program.

    Args:
        data: Decoded JSON.

    Returns:
        The complete configuration, defaults filled in.

    Raises:
        InvalidConfig: With the dotted path of every field at fault and what would be right.
    """
    if not isinstance(data, dict):
        raise InvalidConfig([("config", "must be a JSON object with the sections model, dataset and reward")])
    try:
        config = RunConfig.model_validate(data)
    except ValidationError as error:
        raise InvalidConfig([explain(item) for item in error.errors()]) from None
    problems = cross_checks(config)
    if problems:
        raise InvalidConfig(problems)
    return config


def dump(config: RunConfig) -> dict[str, Any]:
    """The configuration as JSON data, every field written out."""
    return config.model_dump(mode="json")


def dump_given(config: RunConfig) -> dict[str, Any]:
    """The configuration as it was given: only the fields that were set. Saves a file unchanged."""
    return config.model_dump(mode="json", exclude_unset=True)


_WHOLE, _NUMBER, _BOOL = "must be a whole number", "must be a number", "must be true or false"
_PLAIN = {
    "int_type": _WHOLE, "int_parsing": _WHOLE, "int_from_float": _WHOLE, "float_type": _NUMBER,
    "float_parsing": _NUMBER, "finite_number": "must be a finite number", "bool_type": _BOOL, "bool_parsing": _BOOL,
    "string_type": "must be text", "greater_than_equal": "must be at least {ge}", "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}", "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}", "string_too_short": "must be {min_length} or more characters long",
    "string_too_long": "must have at most {max_length} characters", "model_type": "must be an object",
    "dict_type": "must be an object", "tuple_type": "must be a list",
}  # fmt: skip
"""What pydantic finds, in plainer words than its own."""


def explain(item: Any) -> tuple[str, str]:
    """Path and plain words for one of the errors that pydantic found."""
    path = ".".join(str(part) for part in item["loc"] if not re.fullmatch(r"literal\[.*\]|tuple\[.*\]", str(part)))
    kind = item["type"]
    if kind == "extra_forbidden":
        return path, f"there is no field of this name{_suggest(path)}"
    if kind == "missing":
        return path, "this field is required"
    limits = {
        name: f"{value:.12g}" if isinstance(value, float) else value for name, value in item.get("ctx", {}).items()
    }
    message = _PLAIN.get(kind, "").format(**limits) or str(item["msg"]).removeprefix("Value error, ")
    given = item.get("input")
    if isinstance(given, str | int | float | bool) or given is None:
        shown = repr(given) if len(repr(given)) <= 60 else repr(given)[:57] + "…"
        return path, f"{message[:1].lower()}{message[1:]} (it is {shown})"
    return path, f"{message[:1].lower()}{message[1:]}"


def _suggest(path: str) -> str:
    from difflib import get_close_matches

    section, _, name = path.rpartition(".")
    owner: Any = RunConfig
    for part in section.split(".") if section else ():
        field = owner.model_fields.get(part) if hasattr(owner, "model_fields") else None
        owner = field.annotation if field else None
    names = list(getattr(owner, "model_fields", {}))
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(names)}" if names else ""
