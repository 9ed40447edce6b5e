"""Every field of the configuration reaches the trainer, checked field by field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from core import start
from core.config import RunConfig, parse
from core.data import hub, prompts
from core.data.pipeline import prepare_rows
from core.data.rows import map_rows, split_rows
from core.data.sources import load_rows
from core.data.spans import Template, texts_of
from core.errors import NotFound, TunesmithError
from core.job_dir import JobDir
from core.methods.reward_model import RewardModelSection
from core.methods.sft import SftSection
from core.model import Device
from core.rewards import compose, markers_of
from core.settings import Home
from core.start import Source
from core.training.arguments import (
    dtype_name,
    fast_arguments,
    grpo_arguments,
    lora_arguments,
    optimizer_name,
    unsloth_lora_arguments,
    warm_up_arguments,
)
from core.training.evaluation.best import Best
from core.training.evaluation.held_out import Evaluation
from core.training.method_rows import Item
from core.training.methods import trainer_of
from core.training.methods.dpo import dpo_arguments
from core.training.methods.kto import kto_arguments
from core.training.methods.orpo import orpo_arguments
from core.training.methods.reward_model import margin_of, reward_arguments
from core.training.methods.sft import sft_arguments
from core.training.models import load
from core.training.rollouts.engine import without_llama
from core.training.rollouts.generate import training_sampling
from core.weights import Weights
from tests.training.worker_runs import changed

CPU = Device("cpu", "cpu", 1 << 34, 1 << 33, False)
GPU = Device("cuda", "a GPU", 1 << 36, 1 << 35, True)
HOME = Home(Path("/tmp/no-such-home"))
ROW = {"question": "What is 3 + 4?", "answer": "three and four\n#### 7", "alternative": "eight"}

BASE: dict[str, Any] = {
    "name": "base",
    "model": {"name": "someone/model"},
    "dataset": {"source": "generated:arithmetic", "size": 64, "system_prompt": None},
    "training": {"batch_size": 8, "num_generations": 8},
    "reward": {"type": "composite", "components": [{"name": "numeric"}]},
    "pre_training": {"enabled": True},
}

Observe = Callable[[RunConfig], Any]


def grpo(name: str, device: Device = CPU) -> Observe:
    return lambda config: grpo_arguments(config, device, Path("/tmp/run"))[name]


def sft(name: str) -> Observe:
    return lambda config: sft_arguments(config, CPU, Path("/tmp/run"))[name]


def dpo(name: str) -> Observe:
    return lambda config: dpo_arguments(config, CPU, Path("/tmp/run"))[name]


def kto(name: str) -> Observe:
    return lambda config: kto_arguments(config, CPU, Path("/tmp/run"))[name]


def orpo(name: str) -> Observe:
    return lambda config: orpo_arguments(config, CPU, Path("/tmp/run"))[name]


LINEAR = [f"model.layers.0.{part}" for part in ("self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj")]


def reward(name: str) -> Observe:
    return lambda config: reward_arguments(config, CPU, Path("/tmp/run"))[name]


def margin(config: RunConfig) -> float:
    return margin_of(SIZED, config.own(RewardModelSection).margin_field)


def lora(name: str) -> Observe:
    return lambda config: [
        arguments(config, LINEAR, "llama")[name] for arguments in (lora_arguments, unsloth_lora_arguments)
    ]


def warm(name: str) -> Observe:
    return lambda config: getattr(warm_up_arguments(config), name)


def asked(config: RunConfig) -> Any:
    """A row's question, reference, and warm-up target."""
    rows, left_out = map_rows([dict(ROW)], config.dataset)
    return prompts.conversation(rows[0], config.dataset), prompts.warm_up_target(rows[0], config.dataset), left_out


def sides(config: RunConfig) -> Any:
    """The answers of a pair, or the rating of an answer."""
    (row,), left_out = map_rows([{**ROW, "worse": "six", "good": 1, "winner": "b"}], config.dataset)
    return {name: row.get(name) for name in ("response", "chosen", "rejected", "label", "rated")}, left_out


def spoken(config: RunConfig) -> Any:
    """What is trained of a row with two turns."""
    talk = [{"role": role, "content": text} for role, text in (("user", "a"), ("assistant", "b"))] * 2
    section = config.dataset.model_copy(update={"instruction_field": "talk", "response_field": "talk"})
    (row,), _ = map_rows([{"talk": talk}], section, whole=config.trains_conversations)
    (text,) = texts_of(row, section, config.training.train_on, Template(None, {}, frozenset())).texts
    return [text.text[start:end] for start, end, _ in text.spans]


def loaded_rows(config: RunConfig) -> Any:
    return map_rows(load_rows(config.dataset, HOME), config.dataset)


def held_out(config: RunConfig) -> Any:
    rows = [{"instruction": f"question {number}", "response": "x"} for number in range(60)]
    return split_rows(rows, config.evaluation, config.training.seed)


def prepared(config: RunConfig) -> Any:
    """A run's training and held-out rows."""
    found = prepare_rows(config, HOME, lambda row: len(row["response"]) < 3)
    return found.train, found.holdout, found.test


def paid(config: RunConfig) -> Any:
    score = compose(config.reward, markers_of(config.dataset))
    texts = ("<SOLUTION>7</SOLUTION>", "7", "#### 7", "[S]7[/S]")
    totals = [score(text, "q", {"instruction": "q", "response": "7"}) for text in texts]
    return [(total.total, list(total.components)) for total in totals]


def evaluations(config: RunConfig) -> Any:
    """When it scores, and how many rows."""
    found = Evaluation.__new__(Evaluation)
    found.every, found.done = config.evaluation.every_steps, set()
    due: list[int] = []

    def once(when: str, step: int) -> None:
        due.append(step)
        found.done.add((when, step))

    monkey = pytest.MonkeyPatch()
    monkey.setattr(found, "once", once)
    for step in range(101):
        found.at_interval(step, 100)
    return due


def from_hub(monkeypatch: pytest.MonkeyPatch) -> Observe:
    """The arguments of the Hub's loader."""

    def observe(config: RunConfig) -> Any:
        seen: dict[str, Any] = {}

        def remember(*args: Any, **kwargs: Any) -> Any:
            seen.update(kwargs, args=args)
            raise OSError("no network")

        with monkeypatch.context() as patch, suppress(TunesmithError):
            patch.setattr("datasets.load_dataset", remember)
            patch.setattr(hub, "ask_once", lambda name, dataset: None)
            patch.setattr(hub, "choose_subset", lambda name, dataset: dataset.subset)
            load_rows(config.dataset, HOME)
        return seen

    return observe


def splits(monkeypatch: pytest.MonkeyPatch) -> Observe:
    """Which splits of the dataset are read."""

    def observe(config: RunConfig) -> Any:
        seen: list[str] = []

        def rows(section: Any, _home: Home, **_: Any) -> list[dict[str, Any]]:
            seen.append(section.split)
            return [{"question": f"{section.split} {number}?", "answer": "x"} for number in range(40)]

        with monkeypatch.context() as patch:
            patch.setattr("core.data.pipeline.load_rows", rows)
            return seen, prepare_rows(config, HOME)

    return observe


def refused(config: RunConfig) -> Any:
    return prepare_rows(config, HOME).left_out


def unusable(config: RunConfig) -> str:
    """Why no row can be used, or ''."""
    try:
        prepare_rows(config, HOME)
    except TunesmithError as error:
        return error.message
    return ""


def loading(monkeypatch: pytest.MonkeyPatch) -> Observe:
    """The arguments of transformers."""

    def observe(config: RunConfig) -> Any:
        seen: dict[str, Any] = {}

        def remember(*args: Any, **kwargs: Any) -> Any:
            seen.update(kwargs, args=args)
            raise OSError("no network")

        with monkeypatch.context() as patch:
            patch.setattr("core.training.models.load.AutoModelForCausalLM.from_pretrained", remember)
            patch.setattr(load, "four_bit", lambda dtype: "four bit")
            with pytest.raises(Exception):  # noqa: B017
                load.load_base(
                    load.source_of(config.model.name, HOME), config.model.revision, dtype=dtype_name(config, CPU),
                    device=CPU, config=config,
                )  # fmt: skip
        return seen

    return observe


def trainable(monkeypatch: pytest.MonkeyPatch) -> Observe:
    """Whether an adapter is added, and the number format of the weights on a GPU."""

    def observe(config: RunConfig) -> Any:
        base, begun = SimpleNamespace(config=SimpleNamespace()), Weights("/tmp")
        with monkeypatch.context() as patch:
            patch.setattr(load, "add_adapter", lambda base, config: "with an adapter")
            patch.setattr(load, "source_of", lambda name, home: "/tmp")
            return load._trainable(base, begun, config, HOME) is base, dtype_name(config, GPU)

    return observe


EARLIER = Source(Path("/tmp/adapter"), "someone/model", None, None, None, "earlier", 1, {})


def continued(config: RunConfig) -> Any:
    """Where it looks for the earlier weights."""
    try:
        return start.checked(config, HOME)
    except NotFound as error:
        return error.message


HUB = {"dataset__source": "someone/rows"}
GYM = {
    "dataset__source": "generated:reasoning-gym",
    "dataset__tasks": [{"name": "chain_sum"}, {"name": "leg_counting"}],
}
PART = {"source": "generated:arithmetic", "size": 40}


def mixed(**first: Any) -> dict[str, Any]:
    """A dataset section that mixes two sources, with changes to the first."""
    return {"source": "mix", "mix": [{**PART, **first}, {**PART, "max_operand": 9}]}


MIX = {"dataset": mixed()}
PAIRED = {"dataset__chosen_field": "alternative", "dataset__rejected_field": "worse"}
RATED = {"method": "kto", "dataset__label_field": "good"}
SCORING = {"method": "reward_model", **PAIRED}
SIZED = Item({"instruction": "q", "size": 2}, "q", [1])
HUB_MIX = {"dataset": mixed(source="someone/rows")}
GYM_MIX = {"dataset": mixed(source="generated:reasoning-gym", tasks=[{"name": "chain_sum"}, {"name": "leg_counting"}])}


def gym(**first: Any) -> list[dict[str, Any]]:
    return [{"name": "chain_sum", **first}, {"name": "leg_counting"}]


def gym_mix(**first: Any) -> dict[str, Any]:
    return mixed(source="generated:reasoning-gym", tasks=gym(**first))


def composed(**fields: Any) -> dict[str, Any]:
    return {"type": "composite", "components": [{"name": "numeric"}], **fields}


def gated(**fields: Any) -> dict[str, Any]:
    first = {"name": "numeric", "requires": "format", "requires_at_least": 0.9, **fields}
    return {"type": "composite", "components": [first, {"name": "format"}]}


GATED = {"reward": gated()}
DOUBLE = {"name": "numeric", "weight": 2.0}


SFT = {"method": "sft"}
DPO = {"method": "dpo", **PAIRED}
Entry = tuple[dict[str, Any], Any, Observe | str]
"""Values set beforehand, the field's new value, and where the change must show."""

FIELDS: dict[str, Entry] = {
    "name": ({}, "other", lambda config: config.name),  # the run's name; the trainer does not use it
    "method": ({}, "sft", lambda config: trainer_of(config.method)),
    "model.name": ({}, "other/model", "loading"),
    "model.revision": ({}, "v2", "loading"),
    "model.adapter": ({}, "none", "trainable"),
    "model.continue_from": ({}, "r1", continued),
    "model.merge_first": ({"model__continue_from": "r1"}, True, lambda config: EARLIER.own(config.model)),
    "model.lora_rank": ({}, 4, lora("r")),
    "model.lora_alpha": ({}, 8, lora("lora_alpha")),
    "model.lora_dropout": ({}, 0.5, lora("lora_dropout")),
    "model.lora_preset": ({}, "attention", lora("target_modules")),
    "model.target_modules": ({}, ["q_proj"], lora("target_modules")),
    "model.use_rslora": ({}, True, lora("use_rslora")),
    "model.use_dora": ({}, True, lora("use_dora")),
    "model.load_in_4bit": ({}, True, "loading"),
    "model.dtype": ({}, "bfloat16", "loading"),
    "dataset.source": ({}, "someone/rows", "from_hub"),
    "dataset.subset": (HUB, "main", "from_hub"),
    "dataset.revision": (HUB, "v2", "from_hub"),
    "dataset.split": (HUB, "test", "from_hub"),
    "dataset.instruction_field": ({}, "alternative", asked),
    "dataset.response_field": ({}, "alternative", asked),
    "dataset.chosen_field": (PAIRED, "question", sides),
    "dataset.rejected_field": (PAIRED, "question", sides),
    "dataset.winner_field": (PAIRED, "winner", sides),
    "dataset.label_field": ({}, "good", sides),
    "dataset.text_field": ({}, "answer", asked),
    "dataset.max_samples": ({}, 5, loaded_rows),
    "dataset.system_prompt": ({}, "Be brief.", asked),
    "dataset.reasoning_start": ({}, "<w>", asked),
    "dataset.reasoning_end": ({}, "</w>", asked),
    "dataset.solution_start": ({}, "[S]", asked),
    "dataset.solution_end": ({}, "[/S]", asked),
    "dataset.size": ({}, 16, loaded_rows),
    "dataset.max_operand": ({}, 5, loaded_rows),
    "dataset.instruction_template": ({}, "{question} {alternative}", asked),
    "dataset.extraction": ({}, "last_number", prepared),
    "dataset.extraction_pattern": (
        {"dataset__extraction": "after_marker", "dataset__extraction_pattern": "####"}, "and", asked
    ),
    "dataset.columns": ({}, {"columns": {"tests": "question"}}, prepared),
    "dataset.seed": ({}, 3, prepared),
    "dataset.deduplicate": ({"dataset__max_operand": 3}, "exact", prepared),
    "dataset.drop_unparseable": ({"dataset__max_operand": 99}, True, prepared),
    "dataset.drop_personal": ({"dataset__instruction_template": "Ask ann@firm.org: {question}"}, True, refused),
    "dataset.drop_overlap": ({"dataset__instruction_template": "How many?"}, True, prepared),
    "dataset.chat_template": ({}, "{{ messages[0].content }}", lambda config: load.template_of(config, "own")),
    "dataset.tasks.name": (GYM, {"tasks": gym(name="spell_backward")}, prepared),
    "dataset.tasks.weight": (GYM, {"tasks": gym(weight=3.0)}, prepared),
    "dataset.tasks.difficulty": (GYM, {"tasks": gym(difficulty=4)}, prepared),
    "dataset.mix.source": (MIX, gym_mix(), prepared),
    "dataset.mix.subset": (HUB_MIX, mixed(source="someone/rows", subset="main"), "from_hub"),
    "dataset.mix.revision": (HUB_MIX, mixed(source="someone/rows", revision="v2"), "from_hub"),
    "dataset.mix.split": (HUB_MIX, mixed(source="someone/rows", split="test"), "from_hub"),
    "dataset.mix.instruction_field": (MIX, mixed(instruction_field="answer"), prepared),
    "dataset.mix.response_field": (MIX, mixed(response_field="question"), prepared),
    "dataset.mix.chosen_field": (MIX, mixed(chosen_field="question", rejected_field="answer"), prepared),
    "dataset.mix.rejected_field": (MIX, mixed(chosen_field="answer", rejected_field="question"), prepared),
    "dataset.mix.winner_field": (
        {"dataset": mixed(chosen_field="question", rejected_field="answer")},
        mixed(chosen_field="question", rejected_field="answer", winner_field="answer"),
        unusable,
    ),
    "dataset.mix.label_field": (MIX, mixed(label_field="question"), unusable),
    "dataset.mix.text_field": (MIX, mixed(text_field="answer"), prepared),
    "dataset.mix.instruction_template": (MIX, mixed(instruction_template="Now: {question}"), prepared),
    "dataset.mix.extraction": (MIX, mixed(extraction="last_number"), prepared),
    "dataset.mix.extraction_pattern": (
        {"dataset": mixed(extraction="regex", extraction_pattern=".+")},
        mixed(extraction="regex", extraction_pattern="."),
        prepared,
    ),
    "dataset.mix.columns": (MIX, mixed(columns={"tests": "question"}), prepared),
    "dataset.mix.max_samples": (MIX, mixed(max_samples=5), prepared),
    "dataset.mix.size": (MIX, mixed(size=16), prepared),
    "dataset.mix.max_operand": (MIX, mixed(max_operand=7), prepared),
    "dataset.mix.weight": (MIX, mixed(weight=3.0), prepared),
    "dataset.mix.tasks.name": (GYM_MIX, gym_mix(name="spell_backward"), prepared),
    "dataset.mix.tasks.weight": (GYM_MIX, gym_mix(weight=3.0), prepared),
    "dataset.mix.tasks.difficulty": (GYM_MIX, gym_mix(difficulty=4), prepared),
    "evaluation.test_fraction": ({}, 0.3, held_out),
    "evaluation.split": (HUB, "test", "splits"),
    "training.num_epochs": ({}, 2, grpo("num_train_epochs")),
    "training.train_on": (SFT, "all_assistant_messages", spoken),
    "training.max_steps": ({}, 7, grpo("max_steps")),
    "training.batch_size": ({}, 4, grpo("per_device_train_batch_size")),
    "training.gradient_accumulation_steps": ({}, 2, grpo("gradient_accumulation_steps")),
    "training.num_generations": ({}, 4, grpo("num_generations")),
    "training.learning_rate": ({}, 1e-5, grpo("learning_rate")),
    "training.warmup_steps": ({}, 3, grpo("warmup_steps")),
    "training.weight_decay": ({}, 0.5, grpo("weight_decay")),
    "training.adam_beta1": ({}, 0.5, grpo("adam_beta1")),
    "training.adam_beta2": ({}, 0.5, grpo("adam_beta2")),
    "training.max_grad_norm": ({}, 5.0, grpo("max_grad_norm")),
    "training.lr_scheduler_type": ({}, "cosine", grpo("lr_scheduler_type")),
    "training.optim": ({}, "paged_adamw_8bit", grpo("optim", GPU)),
    "training.max_sequence_length": ({}, 4096, warm("max_length")),
    "training.max_new_tokens": ({}, 99, grpo("max_completion_length")),
    "training.temperature": ({}, 0.3, grpo("temperature")),
    "training.top_p": ({}, 0.5, grpo("top_p")),
    "training.top_k": ({}, 9, grpo("top_k")),
    "training.min_p": ({}, 0.1, grpo("min_p")),
    "training.repetition_penalty": ({}, 1.5, grpo("repetition_penalty")),
    "training.gradient_checkpointing": ({}, True, grpo("gradient_checkpointing")),
    "training.rollout_engine": ({}, "transformers", lambda config: without_llama(config.training.rollout_engine, CPU)),
    "training.share_prefixes": ({}, False, lambda config: fast_arguments(config, CPU)),
    "training.save_steps": ({}, 3, grpo("save_steps")),
    "training.keep_checkpoints": ({}, 9, grpo("save_total_limit")),
    "training.seed": ({}, 7, grpo("seed")),
    "grpo.kl_penalty": ({}, 0.5, grpo("beta")),
    "grpo.clip_range": ({}, 0.5, grpo("epsilon")),
    "grpo.clip_range_high": ({}, 0.5, grpo("epsilon_high")),
    "grpo.importance_sampling_level": ({}, "sequence", grpo("importance_sampling_level")),
    "grpo.loss_type": ({}, "dr_grpo", grpo("loss_type")),
    "grpo.num_iterations": ({}, 3, grpo("num_iterations")),
    "grpo.scale_rewards": ({}, "none", grpo("scale_rewards")),
    "grpo.skip_constant_groups": ({}, False, lambda config: fast_arguments(config, CPU)),
    "grpo.dynamic_sampling": ({}, True, lambda config: fast_arguments(config, CPU)),
    "grpo.mask_truncated_completions": ({}, True, grpo("mask_truncated_completions")),
    "kto.loss_type": (RATED, "apo_zero_unpaired", kto("loss_type")),
    "kto.beta": (RATED, 0.5, kto("beta")),
    "kto.desirable_weight": (RATED, 2.0, kto("desirable_weight")),
    "kto.undesirable_weight": (RATED, 2.0, kto("undesirable_weight")),
    "dpo.loss_type": (DPO, "ipo", dpo("loss_type")),
    "dpo.beta": (DPO, 0.5, dpo("beta")),
    "dpo.label_smoothing": (DPO, 0.1, dpo("label_smoothing")),
    "dpo.sft_weight": (DPO, 0.2, dpo("loss_weights")),
    "dpo.ld_alpha": (DPO, 0.5, dpo("ld_alpha")),
    "orpo.beta": ({"method": "orpo", **PAIRED}, 0.5, orpo("beta")),
    "reward_model.center_rewards_coefficient": (SCORING, 0.01, reward("center_rewards_coefficient")),
    "reward_model.margin_field": (SCORING, "size", margin),
    "reward_model.model_seed": (SCORING, 7, reward("seed")),
    # Read by write_report(); see test_reward_model.
    "reward_model.report_pairs": (SCORING, 7, lambda config: config.own(RewardModelSection).report_pairs),
    "sft.loss_type": (SFT, "dft", sft("loss_type")),
    "sft.neftune_noise_alpha": (SFT, 5.0, sft("neftune_noise_alpha")),
    "sft.packing": (SFT, True, lambda config: config.own(SftSection).packing),  # read by train(); see test_packing
    "reward.type": ({}, {"type": "preset", "preset_name": "arithmetic"}, paid),
    "reward.preset_name": (
        {"reward": {"type": "preset", "preset_name": "arithmetic"}}, {"type": "preset", "preset_name": "math"}, paid
    ),
    "reward.components.name": ({}, [{"name": "format"}], paid),
    "reward.components.weight": ({}, [{"name": "numeric", "weight": 3.0}], paid),
    "reward.components.params": ({}, [{"name": "numeric", "params": {"where": "hashes"}}], paid),
    "reward.components.label": ({}, [{"name": "numeric", "label": "right"}], paid),
    "reward.components.requires": (GATED, gated(requires=None), paid),
    "reward.components.requires_at_least": (GATED, gated(requires_at_least=0.0), paid),
    "reward.components.clip_low": ({}, [{"name": "numeric", "clip_low": 0.5}], paid),
    "reward.components.clip_high": ({}, [{"name": "numeric", "clip_high": 0.5}], paid),
    "reward.normalise": (
        {"reward": composed(components=[DOUBLE])}, composed(components=[DOUBLE], normalise=True), paid
    ),
    "reward.clip_low": ({}, composed(clip_low=5.0), paid),
    "reward.clip_high": ({}, composed(clip_high=0.1), paid),
    "reward.saved_as": ({}, composed(saved_as="mine@1"), lambda config: config.reward.saved_as),  # a note for people
    "pre_training.enabled": ({}, False, lambda config: config.pre_training.enabled),  # read by train(); see test_worker
    "pre_training.epochs": ({}, 3, warm("epochs")),
    "pre_training.max_samples": ({}, 5, warm("max_samples")),
    "pre_training.learning_rate": ({}, 1e-3, warm("learning_rate")),
    "pre_training.batch_size": ({}, 9, warm("batch_size")),
    "evaluation.holdout_fraction": ({}, 0.3, held_out),
    "evaluation.max_rows": ({}, 2, held_out),
    "evaluation.every_steps": ({}, 7, evaluations),
    "evaluation.early_stop": ({}, 3, lambda config: Best(config, JobDir(Path("/tmp/run"))).patience),
    "evaluation.keep_best": ({}, True, lambda config: Best(config, JobDir(Path("/tmp/run"))).keeps),
    "evaluation.max_prompts": ({}, 3, lambda config: Evaluation.chosen(list(range(50)), config)),
}  # fmt: skip


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The path of every field with a value."""
    for name, field in model.model_fields.items():
        inner = _model_inside(field.annotation)
        if inner is None:
            yield prefix + name
        else:
            yield from leaves(inner, f"{prefix}{name}.")


def _model_inside(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) is Literal:
        return None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_inside(part))), None)


def test_no_field_is_without_an_entry() -> None:
    """A new field of the configuration must be shown to reach the trainer."""
    assert set(leaves(RunConfig)) == set(FIELDS)


@pytest.mark.parametrize("path", FIELDS)
def test_a_changed_field_changes_what_is_trained(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another value changes the trainer's arguments, the data or the reward."""
    before, value, where = FIELDS[path]
    observers = {"from_hub": from_hub, "loading": loading, "splits": splits, "trainable": trainable}
    observe: Observe = where if callable(where) else observers[where](monkeypatch)
    base = changed(BASE, **before)
    assert observe(parse(base)) != observe(parse(_with(base, path, value)))


def test_sampling_is_the_same_for_rollouts_and_trl() -> None:
    """The engine samples with the settings that TRL corrects for."""
    config = parse(
        changed(BASE, training__temperature=0.7, training__top_p=0.9, training__top_k=5, training__min_p=0.1)
    )
    told = grpo_arguments(config, CPU, Path("/tmp/run"))
    drawn = training_sampling(config)
    for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty"):
        assert getattr(drawn, name) == told[name]
    assert drawn.max_new_tokens == told["max_completion_length"]


def test_a_cpu_gets_plain_adamw_and_float32() -> None:
    """GPU optimizers and formats are not used on a CPU."""
    config = parse(changed(BASE, training__optim="paged_adamw_32bit"))
    assert (optimizer_name(config, CPU), optimizer_name(config, GPU)) == ("adamw_torch", "paged_adamw_32bit")
    assert (dtype_name(config, CPU), dtype_name(config, GPU)) == ("float32", "bfloat16")
    told = grpo_arguments(config, CPU, Path("/tmp/run"))
    assert (told["bf16"], told["fp16"], told["use_cpu"]) == (False, False, True)


def _with(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    if path.startswith("reward."):
        return {**config, "reward": value if isinstance(value, dict) else {"type": "composite", "components": value}}
    if path.startswith("dataset.") and isinstance(value, dict):
        return {**config, "dataset": {**config["dataset"], **value}}
    return changed(config, **{path.replace(".", "__"): value})
