"""The descriptions of the training methods, and what the configuration does with them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from core.config import NO_REWARD, SECTIONS, RunConfig, dump, dump_given, parse, run_config
from core.device_checks import device_checks
from core.errors import InvalidConfig, InvalidInput
from core.methods import METHODS, Method, method, method_of
from core.methods.grpo import GRPO
from core.methods.sft import SFT
from core.model import Device
from core.rewards import maximum, needs, settled
from core.section import range_words, usual_range
from core.settings import PROJECT
from services.probes.probes import fingerprint
from tests.support.second_method import CopySection, install
from tests.support.shapes import FIELDS

CPU = Device("cpu", "a processor", 8 << 30, 8 << 30, bf16=False)
SMALL: dict[str, Any] = {
    "name": "x",
    "model": {"name": "m"},
    "dataset": {"source": "generated:arithmetic"},
    "reward": {"type": "preset", "preset_name": "math"},
}
UNREWARDED = {name: section for name, section in SMALL.items() if name != "reward"}


def rows_for(one: Method) -> dict[str, Any]:
    """A dataset section with rows that a method learns from."""
    return {"dataset": {**SMALL["dataset"], **FIELDS[one.shapes[0]]}}


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a second method."""
    install(monkeypatch)


def refusal(config: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidConfig) as refused:
        parse(config)
    return dict(refused.value.problems)


def paths() -> set[str]:
    """Every field and section of the format, and each section with an asterisk."""
    found = set()
    for section in run_config.SECTIONS:
        model: Any = RunConfig.model_fields[section].annotation
        found |= {section, f"{section}.*", *(f"{section}.{name}" for name in model.model_fields)}
    return found


@pytest.mark.parametrize("one", METHODS, ids=lambda one: one.key)
def test_a_method_names_only_what_exists(one: Method) -> None:
    """Fields, statuses and choices exist in the format; no metric is listed twice."""
    assert set(one.shows) <= paths()
    assert {phase.when for phase in one.phases} <= {"", *paths()}
    assert set(one.choices) <= set(one.section.model_fields)
    assert len(set(one.metrics)) == len(one.metrics)
    assert one.sentence.endswith(".")
    assert RunConfig.model_fields[one.section_name].annotation is one.section


@pytest.mark.parametrize("one", METHODS, ids=lambda one: one.key)
@pytest.mark.parametrize("on_gpu", [False, True])
def test_what_a_method_suggests_can_be_run(one: Method, on_gpu: bool) -> None:
    """Its suggestions are a valid configuration in which every setting has an effect."""
    suggested = one.suggest("generated:arithmetic", on_gpu)
    config = parse({**UNREWARDED, **rows_for(one), **suggested, "method": one.key})
    device = replace(CPU, kind="cuda", bf16=True) if on_gpu else CPU
    assert device_checks(config, device) == []
    assert one.rows_a_step(config) >= 1


def test_every_method_has_a_unique_key() -> None:
    """And the default is one of them."""
    assert len({one.key for one in METHODS}) == len({one.section_name for one in METHODS}) == len(METHODS)
    assert method(None) is method("grpo") is GRPO
    with pytest.raises(InvalidInput, match="no method 'sgd'"):
        method("sgd")
    assert method_of({"method": ["no", "name"]}) is method_of({}) is GRPO


def test_gspo_is_a_setting_of_grpo() -> None:
    """The name of the run's method follows from its settings."""
    assert GRPO.variant({}) == "GRPO"
    assert GRPO.variant({"importance_sampling_level": "sequence"}) == "GSPO"


def test_a_step_of_grpo_takes_a_question_for_each_group() -> None:
    """Eight answers to each of four questions."""
    training = {"batch_size": 16, "gradient_accumulation_steps": 2, "num_generations": 8}
    assert GRPO.rows_a_step(parse({**SMALL, "training": training})) == 4


def test_phases_follow_from_the_settings() -> None:
    """No warm-up and no final score if they are switched off."""
    complete = dump(parse({**SMALL, "pre_training": {"enabled": True}}))
    assert [phase.key for phase in GRPO.phases if phase.planned(complete)] == ["warm_up", "training", "evaluation"]
    bare = dump(parse({**SMALL, "evaluation": {"holdout_fraction": 0}}))
    assert [phase.key for phase in GRPO.phases if phase.planned(bare)] == ["training"]


def test_a_file_without_method_and_adapter_is_written_without_them() -> None:
    """Files of the first version are saved unchanged; explicit values stay."""
    assert "method" not in dump(parse(SMALL))
    assert "adapter" not in dump(parse(SMALL))["model"]
    packed = {**UNREWARDED, "method": "sft", "sft": {"loss_type": "nll"}}
    assert dump(parse(packed))["sft"] == {"loss_type": "nll", "neftune_noise_alpha": None}
    packed["sft"]["packing"] = True
    assert dump(parse(packed))["sft"]["packing"] is True
    assert not {"early_stop", "keep_best"} & set(dump(parse(SMALL))["evaluation"])
    best = {**SMALL, "evaluation": {"early_stop": None, "keep_best": True}}
    assert {name: dump(parse(best))["evaluation"][name] for name in best["evaluation"]} == best["evaluation"]
    named = {**SMALL, "method": "grpo", "model": {"name": "m", "adapter": "lora"}}
    assert dump_given(parse(named)) == named
    assert (dump(parse(named))["method"], dump(parse(named))["model"]["adapter"]) == ("grpo", "lora")
    assert parse(json.loads(json.dumps(dump(parse(named))))) == parse(SMALL)


def test_a_configuration_that_names_the_default_is_probed_as_the_same() -> None:
    """Probes from the first version stay valid for their configurations."""
    plain = fingerprint(parse(SMALL))
    written = dump(parse(SMALL))
    assert plain == fingerprint({"name": "other", **{name: written[name] for name in SECTIONS if name in written}})
    assert plain == fingerprint(parse({**SMALL, "method": "grpo"}))
    assert plain != fingerprint({**dump(parse(SMALL)), "method": "sft"})


def test_unsupported_features_are_refused_with_a_message() -> None:
    """Another method, and settings that cannot train every weight."""
    assert "known here: grpo" in refusal({**SMALL, "method": "sgd"})["method"]
    every = {"name": "m", "adapter": "none"}
    said = refusal({**SMALL, "model": {**every, "load_in_4bit": True, "dtype": "float16", "merge_first": True}})
    assert set(said) == {"model.load_in_4bit", "model.dtype", "model.merge_first"}
    assert refusal({**SMALL, "model": {**every, "load_in_4bit": True}}).keys() == {"model.load_in_4bit"}


def test_the_method_demands_the_reward(copying: None) -> None:
    """Not the format: a method without one runs, and an unknown method is the only problem reported."""
    assert refusal(UNREWARDED) == {"reward": "this field is required"}
    assert set(refusal({**UNREWARDED, "method": "sgd"})) == {"method"}
    config = parse({**UNREWARDED, "method": "imitate"})
    assert config.reward is NO_REWARD
    assert (needs(config.reward), maximum(config.reward)) == ((), 0)
    assert "reward" not in dump(config)
    assert "reward" not in dump(config.model_copy(update={"reward": settled(config.reward, [])}))
    assert parse(dump(config)) == config
    assert refusal({**SMALL, "method": "imitate", "reward": None})["reward"] == "must be an object (it is None)"


def test_a_section_of_another_method_is_refused(copying: None) -> None:
    """Except those in every older file: they are noted to have no effect."""
    assert "belongs to the method 'imitate'" in refusal({**SMALL, "imitate": {}})["imitate"]
    config = parse({**UNREWARDED, "method": "imitate", "imitate": {"packing": True}, "grpo": {"clip_range": 0.3}})
    assert config.own(CopySection).packing
    notes = {note.field: note.message for note in device_checks(config, CPU)}
    assert notes == {"grpo.clip_range": "Has no effect with Copying."}
    assert {"imitate", "grpo"} <= set(dump(config))
    assert "pre_training" not in dump(config)


def test_unused_common_fields_are_reported(copying: None) -> None:
    """No setting is dropped silently, and GRPO's rules apply only to GRPO."""
    training = {"batch_size": 3, "gradient_accumulation_steps": 1, "num_generations": 8}
    assert set(refusal({**SMALL, "training": training})) == {"training.num_generations"}
    config = parse({**SMALL, "method": "imitate", "training": training})
    said = {note.field for note in device_checks(config, CPU)}
    assert said == {
        "training.gradient_accumulation_steps",
        "training.num_generations",
        "reward.type",
        "reward.preset_name",
    }
    kept = parse({**UNREWARDED, "method": "imitate", "dataset": {**SMALL["dataset"], "drop_unparseable": True}})
    assert {note.field for note in device_checks(kept, CPU)} == {"dataset.drop_unparseable"}


def test_a_section_that_no_method_has_is_not_found() -> None:
    """Asking a configuration for it is a programming error."""
    with pytest.raises(LookupError):
        parse(SMALL).own(CopySection)


@pytest.mark.parametrize("one", METHODS, ids=lambda one: one.key)
@pytest.mark.parametrize("on_gpu", [False, True])
def test_suggested_values_are_usual(one: Method, on_gpu: bool) -> None:
    """A method's suggestions are not flagged by the form."""
    config = parse({**UNREWARDED, **rows_for(one), **one.suggest("generated:arithmetic", on_gpu), "method": one.key})
    for section in SECTIONS:
        values = getattr(config, section)
        for name, info in type(values).model_fields.items():
            value, usual = getattr(values, name), usual_range(info)
            if usual and value is not None and one.uses(f"{section}.{name}"):
                assert usual[0] <= value <= usual[1], f"{section}.{name}"


def test_every_suggested_range_has_a_source() -> None:
    """The table in docs/decisions/ranges.md lists exactly these."""
    text = (PROJECT / "docs" / "decisions" / "ranges.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `([\w.]+)` \| (.+?) \| \S.*\|$", text, re.MULTILINE))
    ranges = {
        f"{section}.{name}": range_words(usual)
        for section in SECTIONS
        for name, info in type(getattr(parse(SMALL), section)).model_fields.items()
        if (usual := usual_range(info))
    }
    assert ranges == table


def test_a_card_says_what_was_trained_unless_it_is_the_last_answer() -> None:
    """Plain text leaves no choice."""
    config = {"name": "x", "model": {"name": "a/b"}, "dataset": {"source": "a/b"}, "method": "sft"}
    assert [name for name, _ in SFT.facts(parse(config))] == ["Loss"]
    turns = parse({**config, "training": {"train_on": "last_assistant_turn"}})
    assert ("Trained on", "last assistant turn") in SFT.facts(turns)
    assert ("Trained on", "plain text") in SFT.facts(parse({**config, "dataset": {"source": "a/b", "text_field": "t"}}))


def test_what_is_trained_is_a_choice_of_supervised_fine_tuning_alone() -> None:
    """Other methods show whole sections, and not these settings."""
    for path in ("training.train_on", "dataset.text_field"):
        assert [one.key for one in METHODS if one.uses(path)] == ["sft"]
    assert SFT.uses("dataset.columns")
