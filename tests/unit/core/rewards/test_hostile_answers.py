# ruff: noqa: E501 - programs, one a line
"""One answer never changes another's score, and no content can stop a training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from core.config import RewardSection
from core.errors import InvalidConfig
from core.job_dir import JsonlWriter, iter_lines, write_json
from core.reward import NO_OPINION, Item, Markers, Score
from core.rewards import CATALOGUE, RewardInfo, compose, own, resolve
from core.rewards.sandbox import protection
from core.text import LONGEST_REASON
from core.training.evaluation.held_out import completion_record, reward_summary

pytestmark = pytest.mark.usefixtures("patient_sandbox")
boxed = pytest.mark.skipif(protection().level is None, reason="no sandbox on this machine")
MARKERS = Markers("<w>", "</w>", "<s>", "</s>")
HALF = chr(0xD800)


def python(source: str, **fields: Any) -> RewardSection:
    part = {"name": "python", "params": {"source": source}}
    return RewardSection.model_validate({"type": "composite", "components": [part, *fields.pop("more", [])], **fields})


def earned(source: str, texts: list[str], row: dict[str, Any] | None = None) -> list[Score]:
    batch = CATALOGUE["python"].batch
    assert batch is not None
    return batch([Item(text, "q", row or {"response": "Paris"}) for text in texts], markers=MARKERS, source=source)


@boxed
def test_a_half_character_in_a_reason_is_written_all_the_same(tmp_path: Path) -> None:
    """A program that raises chr(0xd800) earns 0, its neighbor is unaffected, and both are written to the run's file."""
    source = f"def reward(completion, prompt, row):\n    if completion == 'bad':\n        raise ValueError('caf' + chr({0xD800}))\n    return 1.0, 'x' * 100_000"
    totals = compose(python(source), MARKERS).many([Item(text, "", {}) for text in ("bad", "good")])
    assert [total.total for total in totals] == [0, 1]
    assert all(len(total.components["python"].why) <= LONGEST_REASON for total in totals)
    writer = JsonlWriter(tmp_path / "completions.jsonl")
    for total in totals:
        writer.append(completion_record(f"said {HALF}", [1], False, total, 0.0))
    writer.close()
    assert [row["total"] for row in iter_lines(tmp_path / "completions.jsonl")] == [0, 1]
    write_json(tmp_path / "status.json", {"message": HALF})
    assert json.loads((tmp_path / "status.json").read_text("utf-8"))["message"] == "?"


@boxed
@pytest.mark.parametrize(
    "returned",
    ["{10**5000: 1}", "{1: chr(0xd800)}", "[[[]] * 3] * 3", "10**6000", "{(1, 2): {3}}", "float('nan')", "b'x' * 99"],
)
def test_a_program_that_returns_something_odd_affects_only_itself(returned: str) -> None:
    """A right program beside it earns the same as alone."""
    row = {"input_output": {"inputs": [[1]], "outputs": [2], "fn_name": "f"}}
    texts = ["def f(x):\n    return x + 1", f"def f(x):\n    return {returned}"]
    section = RewardSection.model_validate({"type": "composite", "components": [{"name": "code"}]})
    right, odd = compose(section, MARKERS).many([Item(text, "", row) for text in texts])
    assert (right.total, odd.total) == (1, 0)


def test_a_batch_that_fails_is_scored_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the faulty answer scores 0, with the reason; so does a batch with a missing score."""

    def batch(items: list[Item], **_: Any) -> list[Score]:
        if any(item.completion == "bad" for item in items):
            raise RuntimeError(f"no {HALF} luck")
        return [Score(1.0, "fine")] * (len(items) if len(items) < 3 else 1)

    def single(completion: str, prompt: str, row: Any, **params: Any) -> Score:
        return batch([Item(completion, prompt, row)])[0]

    monkeypatch.setitem(CATALOGUE, "broken", RewardInfo("broken", "", "", True, (), (), single, batch))
    section = RewardSection.model_validate({"type": "composite", "components": [{"name": "broken"}]})
    totals = compose(section, MARKERS).many([Item(text, "", {}) for text in ("good", "bad", "good")])
    assert [total.total for total in totals] == [1, 0, 1]
    assert totals[1].components["broken"].why == "The reward failed on this answer: RuntimeError: no ? luck"
    assert [total.total for total in compose(section, MARKERS).many([Item("good", "", {})] * 3)] == [1, 1, 1]


@boxed
def test_non_numbers_are_refused_with_the_reason_and_none_is_no_score() -> None:
    """NaN and infinities are reported as errors; None is a deliberate 'no score'."""
    source = "def reward(completion, prompt, row):\n    return {'nan': float('nan'), 'inf': float('inf'), 'two': 2, 'none': None, 'why': (None, 'not mine'), 'list': [1.0, 1.0], 'good': 1}[completion]"
    nan, inf, two, none, why, several, good = earned(source, ["nan", "inf", "two", "none", "why", "list", "good"])
    assert [score.value for score in (nan, inf, two, several, good)] == [0, 0, 0, 0, 1]
    assert "nan" in nan.why
    assert "inf" in inf.why
    assert "between 0 and 1" in two.why
    assert none.value is NO_OPINION
    assert why == (NO_OPINION, "not mine")


@boxed
@pytest.mark.parametrize("normalise", [False, True])
def test_no_opinion_leaves_an_answer_out_of_its_group(normalise: bool) -> None:
    """It neither shifts the group's mean nor gains from it, is in no mean over answers, and is counted."""
    source = "def reward(completion, prompt, row):\n    return None if completion == 'pass' else float(completion)"
    score = compose(python(source, normalise=normalise, more=[{"name": "length", "params": {"minimum": 0}}]), MARKERS)
    totals = score.many([Item(text, "", {}) for text in ("1.0", "0.5", "pass", "0.0")])
    values = score.compared(totals)
    assert values[2] == pytest.approx(sum(values) / 4) == pytest.approx(sum(values[:2] + values[3:]) / 3)
    found = reward_summary(totals, 2.0)
    assert found["no_opinion"] == 1
    assert found["reward_components"]["python"] == 0.5
    record = completion_record("pass", [1], False, totals[2], 0.0)
    assert (record["components"] or {})["python"]["opinion"] is False
    silent = compose(python(source), MARKERS).many([Item(text, "", {}) for text in ("pass", "pass", "1.0")])
    assert [total.opinion for total in silent] == [False, False, True]
    assert reward_summary(silent, 1.0) == {
        "reward": 1,
        "reward_components": {"python": 1},
        "solved": 1,
        "no_opinion": 2,
    }
    assert reward_summary(silent[:1], 1.0)["reward"] == 0
    assert "no_opinion" not in reward_summary(silent[2:], 1.0)


@boxed
@pytest.mark.parametrize(
    "source",
    [
        "def f(completions, prompts=None, answer=None, **kwargs):\n    return [float(a in c) for c, a in zip(completions, answer)]",
        "def reward(completions, prompts, answer):\n    return [1.0 if a in c else 0.0 for c, a in zip(completions, answer)]",
        "def f(prompts, completions, **kwargs):\n    return [float(a in c) for c, a in zip(completions, kwargs['ground_truth'])]",
        "def f(completions, *, city, **kwargs):\n    return [float(a in c) for c, a in zip(completions, city)]",
        "def helper(text):\n    return text\ndef f(completions, solution, **kw):\n    texts = [c[0]['content'] for c in completions]\n    return [float(s in helper(t)) for t, s in zip(texts, solution)]",
        "def other(completions):\n    return [0.0]\ndef reward(completions, answer):\n    return [float(a in c) for c, a in zip(completions, answer)]",
    ],
)
def test_a_trl_reward_scores_as_in_trl(source: str) -> None:
    """Plain completions, conversations, columns by their usual or the dataset's names."""
    assert own.problem(source) is None
    right, wrong = earned(source, ["It is Paris.", "It is Lyon."], {"response": "Paris", "city": "Paris"})
    assert (right.value, wrong.value) == (1, 0), right.why


@boxed
def test_a_trl_reward_may_give_no_score_and_reports_errors() -> None:
    """None in its list is None; a list of the wrong length is an error with a reason."""
    (silent,) = earned("def f(completions, **kwargs):\n    return [None for _ in completions]", ["x"])
    assert silent.value is NO_OPINION
    (broken,) = earned("def f(completions, **kwargs):\n    return 1.0", ["x"])
    assert broken.value == 0
    assert "list with one number" in broken.why


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("async def f(completions, **kwargs):\n    return [1.0]", "def reward(completion, prompt, row):"),
        ("def f(completions, log_metric):\n    return [1.0]", "which only TRL has"),
        ("def f(completions):\n    return [1.0]\ndef g(completions):\n    return [1.0]", "f and g"),
        ("def reward(completion, prompt, row, *, extra):\n    return 1.0", "no others by name"),
        ("def f(texts):\n    return 1.0", "there is no 'def reward"),
    ],
)
def test_an_uncallable_reward_is_refused_with_the_lines_to_change(source: str, words: str) -> None:
    """Before training starts, not as a flat reward."""
    assert words in str(own.problem(source))
    with pytest.raises(InvalidConfig) as refused:
        resolve(python(source))
    assert words in str(dict(refused.value.problems))


def test_a_gate_without_an_opinion_is_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A component behind it counts as 0 instead of in full."""

    def silent(*_: object, **__: object) -> Score:
        return Score(NO_OPINION, "")

    monkeypatch.setitem(CATALOGUE, "silent", RewardInfo("silent", "", "", True, (), (), silent))
    parts = [{"name": "format", "requires": "silent"}, {"name": "silent"}]
    section = RewardSection.model_validate({"type": "composite", "components": parts})
    total = compose(section, MARKERS)("<w></w><s>4</s>", "", {})
    assert total.total == 0
    assert math.isfinite(total.total)


@boxed
def test_rows_that_end_the_process_cost_no_row_after_them() -> None:
    """After four hostile answers in a row the right one is paid; a reward that cannot load says so."""
    source = "import os\ndef reward(completion, prompt, row):\n    if completion == 'bad':\n        os._exit(0)\n    return 1.0"
    assert [score.value for score in earned(source, ["bad"] * 4 + ["good"])] == [0, 0, 0, 0, 1]
    unloaded = earned("import os\nos._exit(0)\ndef reward(completion, prompt, row):\n    return 1.0", ["good"] * 5)
    assert not any(score.value for score in unloaded)
    assert "could not be loaded" in unloaded[-1].why
