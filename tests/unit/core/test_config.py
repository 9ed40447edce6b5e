"""The configuration format: what loads, what is refused, and with which messages."""

from __future__ import annotations

import copy
import json
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from core.config import GPU_OPTIMIZERS, RunConfig, dump, dump_given, parse
from core.data.prompts import system_prompt
from core.device_checks import device_checks
from core.errors import InvalidConfig
from core.model import Device
from services.wizard.configs import PRESETS, check

PUBLIC: dict[str, Any] = json.loads("""{
  "name": "math-reasoning-config",
  "model": {"name": "unsloth/Qwen3-1.7B", "lora_rank": 16, "lora_alpha": 32, "lora_dropout": 0.0},
  "dataset": {"source": "openai/gsm8k", "split": "train", "instruction_field": "question",
    "response_field": "answer", "max_samples": null},
  "training": {"num_epochs": 3, "batch_size": 1, "gradient_accumulation_steps": 8, "learning_rate": 0.0002,
    "warmup_steps": 10, "weight_decay": 0.001, "max_grad_norm": 0.3, "lr_scheduler_type": "constant",
    "optim": "paged_adamw_32bit", "max_sequence_length": 2048, "max_new_tokens": 512, "temperature": 0.7},
  "grpo": {"kl_penalty": 0.05, "clip_range": 0.2, "importance_sampling_level": "token"},
  "reward": {"type": "preset", "preset_name": "math"},
  "pre_training": {"enabled": true, "epochs": 2, "max_samples": 100, "learning_rate": 0.00005}
}""")
"""The public example that other programs rely on. It must always load and save unchanged."""
CPU = Device("cpu", "a processor", 8 << 30, 8 << 30, bf16=False)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The public example with one changed field."""
    config = copy.deepcopy(PUBLIC)
    section, _, name = path.rpartition(".")
    (config.setdefault(section, {}) if section else config)[name] = value
    return config


def refusal(config: object) -> dict[str, str]:
    with pytest.raises(InvalidConfig) as refused:
        check(config)
    return dict(refused.value.problems)


def test_the_public_example_loads_and_saves_unchanged() -> None:
    """Key for key; written out in full, it loads as the same configuration."""
    config = parse(PUBLIC)
    given = dump_given(config)
    assert given == PUBLIC
    assert [list(value) for value in given.values() if isinstance(value, dict)] == [
        list(value) for value in PUBLIC.values() if isinstance(value, dict)
    ]
    assert parse(json.loads(json.dumps(dump(config)))) == config


def test_only_name_model_dataset_and_reward_are_required() -> None:
    """All other fields have defaults that fit together."""
    config = {"name": "x", "model": {"name": "m"}, "dataset": {"source": "d"}, "reward": PUBLIC["reward"]}
    assert check(config).training.num_generations == 8
    assert set(refusal({})) == {"name", "model", "dataset", "reward"}


@pytest.mark.parametrize(
    ("path", "value", "field", "words"),
    [
        ("training.learning_rat", 1, "training.learning_rat", "did you mean learning_rate?"),
        ("traning", {}, "traning", "did you mean training?"),
        ("training.batch_size", "two", "training.batch_size", "must be a whole number"),
        ("training.batch_size", 0, "training.batch_size", "must be at least 1"),
        ("training.learning_rate", 7, "training.learning_rate", "must be at most 1 (it is 7)"),
        ("training.gradient_accumulation_steps", 9, "training.num_generations", "multiple of num_generations (8)"),
        ("training.learning_rate", float("nan"), "training.learning_rate", "finite"),
        ("training.max_new_tokens", 4096, "training.max_new_tokens", "leave no room for the question"),
        ("training.optim", "adam", "training.optim", "adamw_torch"),
        ("grpo.importance_sampling_level", "word", "grpo.importance_sampling_level", "'token' or 'sequence'"),
        ("grpo.clip_range_high", 0.1, "grpo.clip_range_high", "at least clip_range"),
        ("model.name", "", "model.name", "must not be empty"),
        ("dataset.solution_end", "<SOLUTION>", "dataset.solution_end", "differ"),
        ("reward", {"type": "preset"}, "reward", "preset_name is missing"),
        ("reward", {"type": "composite"}, "reward", "at least one"),
        ("reward", {"type": "preset", "preset_name": "meth"}, "reward.preset_name", "did you mean math?"),
        ("reward", {"type": "composite", "components": [{"name": "exat"}]}, "reward.components.0.name", "exact"),
        (
            "reward",
            {"type": "composite", "components": [{"name": "exact", "weight": 0}]},
            "reward",
            "all weights are 0",
        ),
    ],
)
def test_problems_are_reported_with_path_and_valid_values(path: str, value: Any, field: str, words: str) -> None:
    """Unknown fields, wrong types, values out of range, impossible combinations."""
    problems = refusal(changed(path, value))
    assert words in problems[field]


@pytest.mark.parametrize("data", [None, [], "text", 7])
def test_a_non_object_is_refused(data: object) -> None:
    """A file with another content gets a message, not a traceback."""
    assert set(refusal(data)) == {"config"}


def every_field() -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, section in RunConfig.model_fields.items():
        kind = section.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [(f"{name}.{field}", info) for field, info in kind.model_fields.items()]
        else:
            found.append((name, section))
    return found


@pytest.mark.parametrize(("path", "field"), every_field())
def test_every_field_has_a_title_and_a_plain_sentence(path: str, field: Any) -> None:
    """The configuration page can explain everything it shows."""
    assert field.title, path
    assert field.description, path
    assert field.description.rstrip().endswith((".", ")")), path


def test_a_gpu_optimizer_is_replaced_on_a_cpu_with_a_note() -> None:
    """The public example runs on a CPU; the note names the field."""
    optimizers = get_args(type(parse(PUBLIC).training).model_fields["optim"].annotation)
    assert set(GPU_OPTIMIZERS) < set(optimizers)
    notes = {note.field: note.level for note in device_checks(parse(PUBLIC), CPU)}
    assert notes["training.optim"] == "note"
    assert "problem" not in notes.values()


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.json")), ids=lambda path: path.stem)
def test_every_preset_that_ships_is_valid(path: Any) -> None:
    """It loads, its reward exists, its name matches its file, and it has no problems on a GPU."""
    data = json.loads(path.read_text("utf-8"))
    config = check(data)
    assert config.name == path.stem
    assert dump_given(config) == data
    gpu = Device("cuda", "a GPU", 24 << 30, 24 << 30, bf16=True)
    assert [note for note in device_checks(config, gpu) if note.level == "problem"] == []


@pytest.mark.parametrize(
    ("markers", "field"),
    [
        ({"solution_start": ""}, "solution_start"),
        ({"solution_end": "  "}, "solution_end"),
        ({"reasoning_start": " \n"}, "reasoning_start"),
        ({"solution_start": "##", "solution_end": "##"}, "solution_end"),
        ({"solution_start": "<SOL", "solution_end": "<SOLUTION>"}, "solution_end"),
        ({"reasoning_end": "<SOLUTION"}, "solution_start"),
        ({"reasoning_start": "<SOLUTION>"}, "solution_start"),
    ],
)
def test_ambiguous_markers_are_refused(markers: dict[str, str], field: str) -> None:
    """Empty, equal, or one inside another; the problem is reported at the field."""
    with pytest.raises(InvalidConfig) as refused:
        parse(changed_dataset(markers))
    assert [path for path, _ in refused.value.problems] == [f"dataset.{field}"]


@pytest.mark.parametrize(
    "markers",
    [
        {"reasoning_start": "", "reasoning_end": ""},
        {"reasoning_start": "", "reasoning_end": "</think>"},
        {
            "reasoning_start": "<think>",
            "reasoning_end": "</think>",
            "solution_start": "<answer>",
            "solution_end": "</answer>",
        },
        {"solution_start": "Answer: ", "solution_end": "."},
    ],
)
def test_usual_markers_are_taken(markers: dict[str, str]) -> None:
    """No working-out, a template that opens it, and the tags of other tools."""
    assert parse(changed_dataset(markers)).dataset.solution_end


def changed_dataset(fields: dict[str, str]) -> dict[str, Any]:
    return {
        "name": "x", "model": {"name": "m"}, "dataset": {"source": "generated:arithmetic", **fields},
        "reward": {"type": "preset", "preset_name": "math"},
    }  # fmt: skip


def test_without_a_system_prompt_preferences_are_learned_without_one() -> None:
    """An unset or empty prompt of a method for pairs means none; the others keep the first version's default."""
    pairs = {"source": "x", "chosen_field": "chosen", "rejected_field": "rejected"}
    for dataset in (pairs, pairs | {"system_prompt": None}):
        config = parse({"name": "a", "method": "dpo", "model": {"name": "m"}, "dataset": dataset})
        assert system_prompt(config.dataset) == ""
        assert dump(config)["dataset"]["system_prompt"] == ""
        assert parse(dump(config)) == config
    given = {"name": "a", "method": "dpo", "model": {"name": "m"}, "dataset": pairs}
    assert dump_given(parse(given)) == given
    told = {"name": "a", "method": "dpo", "model": {"name": "m"}, "dataset": pairs | {"system_prompt": "Be kind."}}
    assert system_prompt(parse(told).dataset) == "Be kind."
    scored = {
        "name": "a",
        "model": {"name": "m"},
        "dataset": pairs,
        "reward": {"type": "preset", "preset_name": "math"},
    }
    assert "working out" in system_prompt(parse(scored).dataset)
