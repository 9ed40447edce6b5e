"""The complete configuration: parse, validate, serialize."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, ValidatorFunctionWrapHandler, create_model, field_validator
from pydantic_core import PydanticKnownError

from core.config.dataset import DatasetSection, SourceFields, marker_checks, source_checks
from core.config.evaluation import EvaluationSection
from core.config.model import ModelSection, weight_checks
from core.config.pre_training import PreTrainingSection
from core.config.reward import NO_REWARD, RewardSection
from core.config.training import TrainingSection
from core.dataset import Shape
from core.errors import InvalidConfig
from core.methods import DEFAULT, METHODS, Method, Need, method
from core.methods.grpo import GrpoSection
from core.section import Section

CARRIED = frozenset({"grpo", "pre_training"})
"""Sections that are allowed with any method, because the first version wrote them into every file."""
LATER = {
    "": ("method",),
    "model": ("adapter", "continue_from", "merge_first", "lora_preset", "use_dora"),
    "dataset": ("chosen_field", "rejected_field", "winner_field", "label_field", "text_field"),
    "training": ("train_on",),
    "sft": ("packing",),
    "evaluation": ("early_stop", "keep_best"),
}
"""Fields that the first version did not have, by section. Files without them are saved without them."""
_Model = TypeVar("_Model", bound=Section)


class RunConfig(Section):
    """A complete training configuration, with a section for each method that has its own settings.

    Raises:
        InvalidConfig: From :func:`parse`, with the path of every invalid field.
    """

    name: str = Field(min_length=1, max_length=100, title="Name", description="What to call this run.")
    method: str = Field(DEFAULT, title="Method", description="How the model is trained, as GET /api/methods lists it.")
    model: ModelSection
    dataset: DatasetSection
    training: TrainingSection = Field(default_factory=TrainingSection)
    grpo: GrpoSection = Field(default_factory=GrpoSection)
    reward: RewardSection = Field(default_factory=lambda: NO_REWARD, validate_default=True)
    pre_training: PreTrainingSection = Field(default_factory=PreTrainingSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)

    @field_validator("method")
    @classmethod
    def _known(cls, key: str) -> str:
        keys = [one.key for one in METHODS]
        if key not in keys:
            raise ValueError(f"there is no such method; known here: {', '.join(keys)}")
        return key

    @field_validator("reward", mode="wrap")
    @classmethod
    def _demanded(cls, given: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        if given is not NO_REWARD:
            return read(given)
        # The method is validated before the reward. If it is invalid, report only that.
        if "method" in info.data and Need.REWARD in method(info.data["method"]).needs:
            raise PydanticKnownError("missing")
        return given

    @property
    def trains_conversations(self) -> bool:
        """Whether rows are trained on as whole conversations, not as a prompt with a reference answer."""
        chosen = self.training.train_on != "last_assistant_message"
        return chosen and method(self.method).uses("training.train_on")

    def own(self, model: type[_Model]) -> _Model:
        """Return the method section of this type.

        Raises:
            LookupError: No listed method has such a section.
        """
        for value in vars(self).values():
            if isinstance(value, model):
                return value
        raise LookupError(model.__name__)


def with_sections(base: type[_Model], methods: Iterable[Method]) -> type[_Model]:
    """Extend a configuration model with the method sections that it does not declare itself."""
    fields: dict[str, Any] = {
        one.section_name: (one.section, Field(default_factory=one.section))
        for one in methods
        if one.section_name not in base.model_fields
    }
    if not fields:
        return base
    return create_model(base.__name__, __base__=base, __module__=base.__module__, __doc__=base.__doc__, **fields)


if not TYPE_CHECKING:
    # The type checker sees the class above. Use RunConfig.own() for the sections of methods.
    RunConfig = with_sections(RunConfig, METHODS)


def sections_of(model: type[Section]) -> tuple[str, ...]:
    """Return the names of the section fields, in the order of the format."""
    return tuple(
        name
        for name, info in model.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section)
    )


SECTIONS: tuple[str, ...] = sections_of(RunConfig)
"""Names of all sections, including those of every method."""


def cross_checks(config: RunConfig) -> list[tuple[str, str]]:
    """Find combinations of fields that work on no device, as (field path, how to fix it)."""
    training, chosen = config.training, method(config.method)
    problems = _other_methods(config)
    problems.extend(weight_checks(config.model))
    problems.extend(chosen.cross_checks(config))
    if Need.ROLLOUTS in chosen.needs and training.max_new_tokens >= training.max_sequence_length:
        problems.append(
            (
                "training.max_new_tokens",
                f"answers of {training.max_new_tokens} tokens leave no room for the question within "
                f"max_sequence_length ({training.max_sequence_length}). Lower it, or raise max_sequence_length to "
                f"at least {training.max_new_tokens + 64}",
            )
        )
    dataset = config.dataset
    problems.extend(marker_checks(dataset))
    problems.extend(source_checks(dataset, "dataset"))
    problems.extend(_shape_checks(dataset, chosen))
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


_LACKING = {
    Shape.PAIRS: (
        "chosen_field",
        "pairs of a better and a worse answer: set dataset.chosen_field and dataset.rejected_field",
    ),
    Shape.RATINGS: ("label_field", "answers with a rating: set dataset.label_field"),
}


def _shape_checks(dataset: DatasetSection, chosen: Method) -> list[tuple[str, str]]:
    """Find sources whose rows are not what the method learns from."""
    if Shape.EXAMPLES in chosen.shapes:
        return []
    parts: dict[str, SourceFields] = {f"dataset.mix.{place}": part for place, part in enumerate(dataset.mix)}
    field, words = _LACKING[chosen.shapes[0]]
    return [
        (f"{path}.{field}", f"{chosen.term} learns from {words}")
        for path, source in (parts or {"dataset": dataset}).items()
        if source.shape not in chosen.shapes
    ]


def _other_methods(config: RunConfig) -> list[tuple[str, str]]:
    """Find sections of other methods, which would have no effect."""
    given = config.model_fields_set - CARRIED - {method(config.method).section_name}
    return [
        (one.section_name, f"belongs to the method '{one.key}', and this one is '{config.method}'. Remove the section")
        for one in METHODS
        if one.section_name in given
    ]


def parse(data: object) -> RunConfig:
    """Validate a configuration from a file, a form or an API client.

    Args:
        data: Decoded JSON.

    Returns:
        The complete configuration, with defaults filled in.

    Raises:
        InvalidConfig: With the dotted path of every invalid field, and how to fix it.
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
    dataset = prompted(config.dataset, method(config.method))
    return config if dataset is config.dataset else config.model_copy(update={"dataset": dataset})


def prompted(dataset: DatasetSection, chosen: Method) -> DatasetSection:
    """The dataset section with the system prompt that a method uses if none is set.

    The default asks for answer tags, which the answers of pairs and ratings do not have: methods that learn only from
    them use no system prompt.
    """
    if dataset.system_prompt is not None or not chosen.prefers:
        return dataset
    found = dataset.model_copy(update={"system_prompt": ""})
    if "system_prompt" not in dataset.model_fields_set:
        found.model_fields_set.discard("system_prompt")  # a file is saved as it was given
    return found


def dump(config: RunConfig) -> dict[str, Any]:
    """Serialize a configuration to JSON data, with every field.

    Sections that the method does not use, and the fields of :data:`LATER`, are included only if they were set.
    """
    data = config.model_dump(mode="json")
    chosen = method(config.method)
    for name in SECTIONS:
        if not chosen.uses(name) and (name not in config.model_fields_set or getattr(config, name) is NO_REWARD):
            del data[name]
    for section, names in LATER.items():
        if section and section not in data:
            continue
        holder = getattr(config, section) if section else config
        written = data[section] if section else data
        for name in names:
            if name not in holder.model_fields_set:
                del written[name]
    for part, written in zip(config.dataset.mix, data["dataset"]["mix"], strict=True):
        for name in LATER["dataset"]:
            if name not in part.model_fields_set:
                written.pop(name, None)
    return data


def dump_given(config: RunConfig) -> dict[str, Any]:
    """Serialize only the fields that were set, so that a file is saved unchanged."""
    return config.model_dump(mode="json", exclude_unset=True)


_WHOLE, _NUMBER, _BOOL = "must be a whole number", "must be a number", "must be true or false"
_PLAIN = {
    "int_type": _WHOLE, "int_parsing": _WHOLE, "int_from_float": _WHOLE, "float_type": _NUMBER,
    "float_parsing": _NUMBER, "finite_number": "must be a finite number", "bool_type": _BOOL, "bool_parsing": _BOOL,
    "string_type": "must be text", "greater_than_equal": "must be at least {ge}", "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}", "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}", "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters", "model_type": "must be an object",
    "dict_type": "must be an object", "tuple_type": "must be a list",
}  # fmt: skip
"""Plainer wording for pydantic's errors."""


def explain(item: Any) -> tuple[str, str]:
    """Return the field path and a plain message for one of pydantic's errors."""
    path = ".".join(str(part) for part in item["loc"] if not re.fullmatch(r"literal\[.*\]|tuple\[.*\]", str(part)))
    kind = item["type"]
    if kind == "string_too_short" and item["ctx"]["min_length"] == 1:
        return path, "must not be empty"
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
