"""Docstring examples of every family, and how components are combined."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import pytest

from core.config import RewardSection
from core.reward import Item, Markers
from core.rewards import CATALOGUE, Account, Spent, charged_to, compose, embedding, maximum, own, resolve
from core.rewards import judge as judging
from core.rewards.sandbox import protection
from tests.support.judge import JudgeEndpoint, judge_endpoint

__all__ = ["judge_endpoint"]  # a fixture
pytestmark = pytest.mark.usefixtures("patient_sandbox")
MARKERS = Markers("<w>", "</w>", "<s>", "</s>")
BOXED = ("code", "own", "structure", "maths", "reasoning")
PLAIN = (
    "answers_qa",
    "choices",
    "citations",
    "judge",
    "lengths",
    "quantities",
    "reward_model",
    "signals",
    "spending",
    "summaries",
    "words",
    "writing",
)


@pytest.mark.timed
@pytest.mark.parametrize("name", [*PLAIN, *BOXED])
def test_the_examples_in_the_docstrings_are_true(name: str) -> None:
    """Each reward gives its docstring's right, wrong and garbage answers the stated scores."""
    if name in BOXED and protection().level is None:
        pytest.skip("no sandbox on this machine")
    if name == "answers_qa" and not embedding.available():
        pytest.skip("the embedding model is not installed")
    result = doctest.testmod(importlib.import_module(f"core.rewards.{name}"))
    assert result.attempted
    assert not result.failed


def test_every_reward_s_docstring_has_examples() -> None:
    """Every reward's docstring needs a right, a wrong and a garbage answer."""
    for name, info in CATALOGUE.items():
        examples = doctest.DocTestParser().get_examples(info.function.__doc__ or "")
        assert examples, name


def composite(*parts: dict[str, Any], **fields: Any) -> RewardSection:
    return RewardSection.model_validate({"type": "composite", "components": parts, **fields})


GATED = composite(
    {"name": "numeric", "requires": "form"},
    {"name": "format", "label": "form", "weight": 0.2, "params": {"require": "solution"}},
)


def earned(name: str, answer: str, row: Any, **params: Any) -> float:
    row = row if isinstance(row, dict) else {"response": row}
    return compose(composite({"name": name, "params": params}), MARKERS)(f"<s>{answer}</s>", "", row).total


def test_an_expression_is_not_the_number_in_it() -> None:
    """What math-verify is used for and what not, in one test because it takes a second to start."""
    if protection().level is None:
        pytest.skip("no sandbox on this machine")
    wrong = [
        ("2x", "2"),
        ("x^2+2", "2"),
        (r"\sqrt{5}", "5"),
        (r"5\pi", "5"),
        ("x<3", "x>3"),
        ("3+3", "3"),
        ("x>3", "3"),
    ]
    right = [("36+36", "72"), ("x>3", "x>3"), (r"\sqrt{25}", "5"), ("(x+1)**2", "x^2+2x+1"), (r"3\frac{1}{2}", "3.5")]
    items = [Item(f"<s>{text}</s>", "", {"response": wanted}) for text, wanted in wrong + right]
    totals = [total.total for total in compose(composite({"name": "math"}), MARKERS).many(items)]
    assert totals == [0] * len(wrong) + [1] * len(right)


def test_math_reads_percent_signs_and_decimal_commas_as_configured() -> None:
    """Like the numeric reward, in answers and references alike."""
    assert [earned("math", "50 %", "0.5", percent=way) for way in ("ignore", "fraction")] == [0, 1]
    assert earned("math", "3,50", "3,5", decimal="comma") == 1
    assert earned("math", "1.234,5", "1234,5", decimal="comma") == 1
    if protection().level is not None:
        assert earned("math", "(1,5; 2)", "(1,5; 2)", decimal="comma") == 1
        assert earned("math", "(1,5; 3)", "(1,5; 2)", decimal="comma") == 0


@pytest.mark.parametrize(
    ("answer", "row", "score"),
    [
        ("4", {"response": "1", "choices": ["0", "4", "2", "6"]}, 1),  # the text of a choice, not its position
        ("2", {"response": "1", "choices": ["0", "4", "2", "6"]}, 0),
        ("2", {"response": "2", "choices": {"text": ["x", "y", "z"], "label": ["1", "2", "3"]}}, 1),
        ("B", {"response": "2", "choices": {"text": ["x", "y", "z"], "label": ["1", "2", "3"]}}, 1),
        ("C", {"response": "2", "choices": {"text": ["x", "y", "z"], "label": ["1", "2", "3"]}}, 0),
        ("it is not B", {"response": "B"}, 0),
    ],
)
def test_a_choice_is_known_by_letter_label_or_text(answer: str, row: dict[str, Any], score: float) -> None:
    """Choices and labels that are numbers are not mistaken for positions."""
    assert earned("choice", answer, row) == score


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        (r"$9.81\ \text{m/s}^2$", "9.81 m/s^2"),
        (r"1.2 \times 10^{3}\,\mathrm{m}", "1.2 km"),
        ("1,250 m", "1.25 km"),
        ("5.0 Nm", "5.0 N m"),
        (r"25.0^\circ C", "25.0 °C"),
    ],
)
def test_a_quantity_may_be_dressed(answer: str, reference: str) -> None:
    """LaTeX, thousands separators and newton meters do not hide a right quantity."""
    assert earned("science", answer, reference, figures="ignore") == 1


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        *((text, "5 m", 0) for text in ("–5 m", "−5 m", "minus 5 m", "not 5 m", "5 m, 6 m", "5 m or 6 m", "6 m; 5 m")),
        *((text, "-5 m", 1) for text in ("–5 m", "−5 m", "minus 5 m", "x = −5 m", "2 m − 7 m = −5 m")),
        ("9.81 m·s⁻²", "9.81 m/s^2", 1),
        ("5 m²", "5 m^2", 1),
    ],
)
def test_a_quantity_is_one_and_has_its_sign(answer: str, reference: str, score: float) -> None:
    """Every dash is a minus; a negation or a list is not a quantity."""
    assert earned("science", answer, reference, figures="ignore") == score


def test_json_is_compared_by_its_shape() -> None:
    """A list is not an object with numeric keys, a slash in a key is not a level; NaN is not JSON."""
    assert earned("json", "[1]", '{"0": 1}', compare=True) == 0
    assert earned("json", '{"a/b": 1}', '{"a": {"b": 1}}', compare=True) == 0
    assert earned("json", '{"b": 2, "a": 1.0}', '{"a": 1, "b": 2}', compare=True) == 1
    assert earned("json", '{"a": NaN}', "") == 0


def test_the_editor_s_examples_tell_right_from_wrong() -> None:
    """The templates run, and pay the right answer in full and a wrong one less."""
    if protection().level is None:
        pytest.skip("no sandbox on this machine")
    tried = [("red, blue", "red, blue", "red, green"), ("Paris", '{"city": "paris"}', '{"city": "Rome"}')]
    for (_, source), (reference, right, wrong) in zip(own.EXAMPLES, tried, strict=True):
        items = [Item(text, "", {"response": reference}) for text in (right, wrong, "")]
        best, worse, nothing = [score.value for score in own.own(items, markers=MARKERS, source=source)]
        assert (best, nothing) == (1, 0)
        assert 0 < worse < 1


def test_a_gate_must_be_passed_before_correctness_counts() -> None:
    """If the format is a gate, the right number without tags earns nothing, with them everything."""
    score, row = compose(GATED, MARKERS), {"response": "7"}
    assert score("<s>7</s>", "", row).total == pytest.approx(1.2)
    bare = score("\\boxed{7}", "", row)
    assert bare.total == 0
    assert bare.components["numeric"].why.startswith("Not counted because form is below 1.")


def test_normalized_and_clipped_totals() -> None:
    """Divided by the sum of weights, the best answer earns 1; a clipped total stays within its limits."""
    parts = ({"name": "numeric", "weight": 3}, {"name": "length", "weight": -1, "params": {"minimum": 0, "maximum": 5}})
    row = {"response": "7"}
    assert compose(composite(*parts), MARKERS)("<s>7</s>", "", row).total == 2
    normal = composite(*parts, normalise=True)
    assert compose(normal, MARKERS)("<s>7</s>", "", row).total == pytest.approx(2 / 3)
    assert maximum(normal) == 1
    clipped = composite(*parts, clip_low=0, clip_high=1.5)
    assert [compose(clipped, MARKERS)(text, "", row).total for text in ("<s>7</s>", "<s>8</s>")] == [1.5, 0]
    assert maximum(clipped) == 1.5


def test_the_same_reward_twice_under_two_labels() -> None:
    """Two length rewards with two labels are two components."""
    section = composite(
        {"name": "length", "label": "short"}, {"name": "length", "label": "long", "params": {"minimum": 50}}
    )
    assert [part.key for part in resolve(section)] == ["short", "long"]
    assert list(compose(section, MARKERS)("word " * 20, "", {}).components) == ["short", "long"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([{"name": "numeric", "requires": "format"}], "is not the label of another component"),
        ([{"name": "numeric", "requires": "numeric"}], "is not the label of another component"),
        ([{"name": "format", "requires": "numeric"}, {"name": "numeric", "requires": "format"}], "has a condition"),
        ([{"name": "numeric", "clip_low": 0.5, "clip_high": 0.5}], "must be below its maximum"),
        ([{"name": "numeric"}, {"name": "numeric"}], "give one of them a label"),
    ],
)
def test_gates_that_lead_nowhere_are_refused(parts: list[dict[str, Any]], words: str) -> None:
    """A gate must be another component without a gate; limits must leave room; names must be unique."""
    with pytest.raises(ValueError, match=words):
        composite(*parts)


def test_many_at_once_is_the_same_as_one_by_one() -> None:
    """Batch scoring changes nothing but the time."""
    section = composite({"name": "numeric"}, {"name": "math", "weight": 0.5}, {"name": "length", "weight": 0.1})
    score = compose(section, MARKERS)
    items = [Item(f"<s>{n % 5}</s>", "q", {"instruction": "q", "response": str(n % 3)}) for n in range(40)]
    assert score.many(items) == [score(*item) for item in items]


def test_a_judge_scores_remembers_and_counts(judge_endpoint: JudgeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores come from the endpoint, repeated questions are cached, tokens and cost counted, failures retried."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    judge_endpoint.broken = 1
    items = [Item(text, "Capital of France?", {"response": "Paris"}) for text in ("Paris", "Lyon", "Paris")]
    with charged_to(Account()) as account:
        scores = judging.judge(items, markers=MARKERS, url=judge_endpoint.url, price=2.0, at_once=2)
    assert [score.value for score in scores] == [1.0, 0.1, 1.0]
    assert len(judge_endpoint.seen) == 3
    assert account.spent == Spent(requests=2, cached=1, tokens=1000, cost=0.002)


def test_an_unreachable_judge_fails_its_rows_with_a_reason(
    judge_endpoint: JudgeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the retries each row gets 0 and the reason; nothing is cached."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    judge_endpoint.broken = 99
    (score,) = judging.judge([Item("x", "", {})], markers=MARKERS, url=judge_endpoint.url, retries=2)
    assert score.value == 0
    assert "503" in score.why
    assert len(judge_endpoint.seen) == 3
    assert not judging._CACHE


def test_what_a_composition_spends_is_taken_from_it_once(judge_endpoint: JudgeEndpoint) -> None:
    """The trainer reads it after each step; a surrounding meter counts the same."""
    section = composite({"name": "judge", "params": {"url": judge_endpoint.url}}, {"name": "length", "weight": 0.1})
    score = compose(section, MARKERS)
    with charged_to(Account()) as outer:
        score.many([Item("Paris", "", {}), Item("Lyon", "", {})])
    assert score.take_spent() == outer.spent == Spent(requests=2, tokens=1000)
    assert not score.take_spent()
