"""Rewards: what they pay for, and what they do not."""

from __future__ import annotations

import doctest
import importlib
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import core.rewards
from core.config import MARKERS as MARKER_NAMES
from core.config import DatasetSection, RewardComponent, RewardSection, marker_checks
from core.data.prompts import warm_up_target
from core.errors import InvalidConfig
from core.reward import Markers, Score
from core.rewards.catalogue import CATALOGUE, RewardInfo
from core.rewards.numbers import Style, single_number
from core.rewards.numeric import read_reference

MARKERS = Markers("<start_working_out>", "<end_working_out>", "<SOLUTION>", "</SOLUTION>")
ROW = {"instruction": "How many?", "response": "48 + 24 = 72\n#### 72"}
FIXTURE = Path(__file__).parents[3] / "fixtures" / "gsm8k_small.jsonl"
REAL = Path(__file__).parents[5] / "shared" / "data" / "gsm8k"


def scored(name: str, completion: str, response: str = ROW["response"], **params: Any) -> float:
    score = CATALOGUE[name].function(completion, "", {"response": response}, markers=MARKERS, **params)
    assert score.why.endswith(".")
    return score.value


def solution(text: str) -> str:
    return f"<start_working_out>so<end_working_out><SOLUTION>{text}</SOLUTION>"


@pytest.mark.parametrize("module", ["numbers", "bounds", "answers", "numeric", "exact", "form"])
def test_the_examples_in_the_docstrings_hold(module: str) -> None:
    """Each reward's right, wrong and garbage completion earns what its docstring says."""
    result = doctest.testmod(importlib.import_module(f"core.rewards.{module}"))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("72", 72), ("72.0", 72), ("72.", 72), ("**72**", 72), ("72 (72)", 72), ("72 clips", 72), ("72km", 72)),
        *(("1,000", 1000), ("1000", 1000), ("1e3", 1000), (r"1{,}000", 1000), ("2.5 million", 2_500_000)),
        *(("$1,200.50", Fraction(2401, 2)), (r"\$18", 18), ("€7.50", Fraction(15, 2)), ("50%", 50), ("50 %", 50)),
        *(("-5", -5), ("$-5", -5), ("-$5", -5), ("\N{MINUS SIGN}5", -5), ("+7", 7), ("0.1", Fraction(1, 10))),
        *(
            ("3/4", Fraction(3, 4)),
            (".75", Fraction(3, 4)),
            (r"\frac{3}{4}", Fraction(3, 4)),
            ("1 1/2", Fraction(3, 2)),
        ),
        *(("x = 5", 5), ("48/2 = 24", 24), ("5 = x", 5), ("12 m^2", 12)),
        # None of these states exactly one number.
        *((text, None) for text in ("", "none", "70 or 72", "70, 71, 72", "70,71,72", "70 71 72 73", "3/0", "1.2.3")),
        *((text, None) for text in ("H2O", "1,23", "10^3", "x >= 5", "9" * 500, "12:30")),
        # Unusual notation: mixed numbers, fraction characters, thin spaces.
        *(
            (r"3\frac{1}{2}", Fraction(7, 2)),
            (r"\frac12", Fraction(1, 2)),
            ("5½", Fraction(11, 2)),
            ("1\u202f000", 1000),
        ),
        # An unevaluated sum, a bound, a root: none of these is the number in it.
        *((text, None) for text in ("36+36", "3 * 3", "2**3", "5-5", "x<3", "> 72", r"\sqrt{5}", r"5\pi", "√5")),
        *(("x = - 5", -5), ("= \N{MINUS SIGN} 5", -5), ("- 5 clips", 5)),
        *(("<b>72</b>", 72), ("=> 72", 72), ("-> 72", 72), ("72</SOLUTION", 72), ("<<48/2=24>>24", 24)),
    ],
)
def test_a_short_answer_is_read_exactly_or_not_at_all(text: str, value: Fraction | int | None) -> None:
    """Numbers are fractions; a text with several numbers or none has no value."""
    assert single_number(text) == value


@pytest.mark.parametrize(
    ("text", "style", "value"),
    [
        ("50%", Style(percent="fraction"), Fraction(1, 2)),
        ("12.5 percent", Style(percent="fraction"), Fraction(1, 8)),
        ("0.5", Style(percent="fraction"), Fraction(1, 2)),
        ("3,5", Style(decimal="comma"), Fraction(7, 2)),
        ("1.234", Style(decimal="comma"), 1234),
        ("1.234.567,5 EUR", Style(decimal="comma"), Fraction(2469135, 2)),
        ("2.75", Style(decimal="comma"), Fraction(11, 4)),
        ("0,5 %", Style("fraction", "comma"), Fraction(1, 200)),
        ("1,234", Style(), 1234),
        *((text, Style(), None) for text in ("3,5", "3,5/7", "1/2/3", "24/12/2024")),
        *((text, Style(decimal="comma"), None) for text in ("12.345.6", "1,234.5", "70, 71")),
    ],
)
def test_percent_signs_and_commas_mean_what_the_setting_says(text: str, style: Style, value: Fraction | None) -> None:
    """50% is 50 or a half; 3,5 is three and a half or not a number; never guessed."""
    assert single_number(text, style) == value


def test_numeric_reads_answer_and_reference_alike() -> None:
    """A setting applies to both sides."""
    assert scored("numeric", solution("50 %"), "50%", percent="fraction") == 1
    assert scored("numeric", solution("0.5"), "50%", percent="fraction") == 1
    assert scored("numeric", solution("50"), "50%", percent="fraction") == 0
    assert scored("numeric", solution("50"), "50%") == 1
    assert scored("numeric", solution("3,50"), "3,5", decimal="comma") == 1
    assert scored("numeric", "es sind 3,5", "3,5", decimal="comma", where="anywhere") == 1


def test_numeric_does_not_pay_for_naming_many_numbers() -> None:
    """Listing every number from 0 to 100 between the tags earns nothing, in one block or in many."""
    assert scored("numeric", solution("72")) == 1
    assert scored("numeric", solution(" ".join(map(str, range(101))))) == 0
    assert scored("numeric", "".join(solution(str(n)) for n in range(101))) == 0
    assert scored("numeric", solution("72") + solution("72")) == 1


def test_numeric_judges_by_the_markers_where_there_are_any() -> None:
    """A right number elsewhere does not help a wrong or unfinished solution."""
    assert scored("numeric", solution("70") + "\n#### 72") == 0
    assert scored("numeric", "<SOLUTION>72") == 0
    assert scored("numeric", "the answer is 72") == 0
    assert scored("numeric", r"\boxed{72}") == 1
    assert scored("numeric", "#### 72") == 1


def test_numeric_looks_only_where_configured() -> None:
    """The setting 'where' is followed, and only 'anywhere' takes the last number of free text."""
    assert scored("numeric", "#### 72", where="markers") == 0
    assert scored("numeric", solution("72"), where="boxed") == 0
    assert scored("numeric", solution("72"), where="hashes") == 0
    assert scored("numeric", "first 5, then 72 clips", where="anywhere") == 1
    assert scored("numeric", "first 72, then 5", where="anywhere") == 0
    assert scored("numeric", "<SOLUTION>72", where="anywhere") == 0


def test_numeric_tolerance_is_a_difference() -> None:
    """Noise as in 0.1 + 0.2 needs no tolerance; a tolerance of 0.01 is exactly that."""
    assert scored("numeric", solution("0.3"), "0.3") == 1
    assert scored("numeric", solution("3.14"), "3.15", tolerance=0.01) == 1
    assert scored("numeric", solution("3.14"), "3.16", tolerance=0.01) == 0


def test_a_reference_without_a_number_is_reported() -> None:
    """The reason blames the reference, which explains a flat reward."""
    score = CATALOGUE["numeric"].function(solution("72"), "", {"response": "Paris"}, markers=MARKERS)
    assert score == Score(0.0, "The reference answer is not a number, so there is nothing to compare with.")


def test_forty_repetitions_of_a_marker_do_not_beat_one() -> None:
    """Repeating any tag loses its share, and never reaches the maximum."""
    whole = scored("format", solution("4"))
    assert whole == 1
    for marker in (MARKERS.reasoning_start, MARKERS.reasoning_end, MARKERS.solution_start, MARKERS.solution_end):
        assert scored("format", solution("4") + marker * 40) < 0.5
        assert scored("format", marker * 40) == 0


def test_format_needs_order_content_and_an_end() -> None:
    """Out of order or empty earns only a share; text after the solution costs a tenth."""
    assert scored("format", "</SOLUTION>4<SOLUTION><end_working_out><start_working_out>") == 0.5
    assert scored("format", solution(" ")) == 0.5
    assert scored("format", solution("4") + " and more") == pytest.approx(0.9)
    assert scored("format", "<SOLUTION>4</SOLUTION>", require="solution") == 1


def test_exact_keeps_signs_that_carry_meaning() -> None:
    """Minus, decimal point and comparison signs are never normalized away."""
    assert scored("exact", solution("-5"), "5") == 0
    assert scored("exact", solution("3.5"), "35") == 0
    assert scored("exact", solution("x > y"), "x < y") == 0
    assert scored("exact", solution("  PARIS! "), "Paris") == 1
    assert scored("exact", solution("PARIS"), "Paris", ignore_case=False) == 0
    assert scored("exact", solution("the Seine"), "Seine") == 0
    assert scored("exact", solution("the Seine"), "Seine", ignore_articles=True) == 1
    assert scored("exact", solution("...")) == 0
    assert scored("exact", solution("..."), "?!") == 0


def test_length_falls_in_a_straight_line() -> None:
    """1 inside the band, 0.5 half-way out, 0 beyond the margin."""
    values = {n: scored("length", "word " * n, minimum=10, maximum=20, fall_off=10) for n in (0, 5, 10, 20, 25, 30, 99)}
    assert values == {0: 0, 5: 0.5, 10: 1, 20: 1, 25: 0.5, 30: 0, 99: 0}
    assert scored("length", "abc", unit="characters", minimum=3, maximum=3) == 1


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name != "judge"])
def test_every_reward_stays_between_0_and_1_on_odd_input(name: str) -> None:
    """Empty, huge, tags only, control characters, braces: a score in [0, 1] and no error."""
    odd = [
        "",
        " ",
        "\x00",
        "<SOLUTION>" * 1000,
        "\\boxed{" * 500,
        "####",
        "9" * 50_000,
        "١٢",
        "½",
        "\ud800",
        "$" * 9999,
        "1/" * 9999,
        "1," * 9999,
    ]
    for completion in odd:
        for response in ("72", "", "####", "\\boxed{", None):
            score = CATALOGUE[name].function(completion, "", {"response": response}, markers=MARKERS)
            assert 0 <= score.value <= 1


@pytest.mark.parametrize("preset", ["math", "short_answer", "arithmetic", "algebra"])
def test_right_beats_wrong_beats_garbage_for_every_preset(preset: str) -> None:
    """The order that training needs, with both answers in the right format."""
    total = core.rewards.compose(RewardSection(preset_name=preset), MARKERS)
    row = {"instruction": "6 x 12?", "response": "72"}
    right, wrong, garbage = (total(text, "", row).total for text in (solution("72"), solution("73"), "hm"))
    assert right == pytest.approx(1.2)
    assert right > wrong > garbage == 0
    assert core.rewards.maximum(RewardSection(preset_name=preset)) == pytest.approx(1.2)


def test_a_reward_that_raises_scores_0_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """One broken component never ends a run, and the others still count."""

    def broken(*_: object, **__: object) -> Score:
        raise RuntimeError("no luck")

    monkeypatch.setitem(CATALOGUE, "broken", RewardInfo("broken", "", "", True, (), (), broken))
    parts = (RewardComponent(name="broken"), RewardComponent(name="format", weight=0.5))
    total = core.rewards.compose(RewardSection(type="composite", components=parts), MARKERS)(solution("4"), "", {})
    assert total.total == 0.5
    assert total.components["broken"].score == 0
    assert "no luck" in total.components["broken"].why


def test_every_problem_of_a_reward_is_named_with_its_path() -> None:
    """Unknown names, unknown settings, wrong types and values out of range."""
    parts = (
        RewardComponent(name="numerc"),
        RewardComponent(name="length", params={"minimum": -1, "maximum": 2.5, "unti": "words"}),
        RewardComponent(name="numeric", params={"tolerance": float("nan"), "where": "somewhere"}),
        RewardComponent(name="exact", params={"ignore_case": 1}),
    )
    with pytest.raises(InvalidConfig) as refused:
        core.rewards.resolve(RewardSection(type="composite", components=parts))
    problems = dict(refused.value.problems)
    assert set(problems) == {
        "reward.components.0.name", "reward.components.1.params.minimum", "reward.components.1.params.maximum",
        "reward.components.1.params.unti", "reward.components.2.params.tolerance", "reward.components.2.params.where",
        "reward.components.3.params.ignore_case",
    }  # fmt: skip
    assert "did you mean numeric?" in problems["reward.components.0.name"]


def test_a_band_that_is_upside_down_is_refused() -> None:
    """With a minimum length above the maximum, nothing could earn anything."""
    parts = (RewardComponent(name="length", params={"minimum": 10, "maximum": 5}),)
    with pytest.raises(InvalidConfig, match=r"reward\.components\.0\.params\.minimum"):
        core.rewards.resolve(RewardSection(type="composite", components=parts))


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    """The message helps to choose another."""
    with pytest.raises(InvalidConfig, match="did you mean math"):
        core.rewards.resolve(RewardSection(preset_name="maths"))


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_defaults_satisfy_their_own_limits(name: str) -> None:
    """The wizard's initial values are valid."""
    for param in CATALOGUE[name].params:
        assert param.problem(param.default) is None
    assert json.dumps(CATALOGUE[name].json())


def gsm8k(path: Path) -> Iterator[dict[str, str]]:
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        yield {"instruction": row["question"], "response": row["answer"]}


def check_gsm8k(path: Path) -> int:
    total = core.rewards.compose(
        RewardSection(preset_name="math"), core.rewards.markers_of(DatasetSection(source="none"))
    )
    count = 0
    for row in gsm8k(path):
        working, _, answer = row["response"].rpartition("####")
        value = int(answer.replace(",", ""))
        assert read_reference(row["response"], "auto", MARKERS) == value
        for right in (row["response"], solution(answer), solution(f"${value}.00"), solution(f"{value:,} of them")):
            assert total(right, row["instruction"], row).components["numeric"].score == 1
        for wrong in (
            f"{working}#### {value + 1}",
            solution(str(value * 10 + 1)),
            solution(f"{answer} or {value + 1}"),
        ):
            assert total(wrong, row["instruction"], row).components["numeric"].score == 0
        count += 1
    return count


def test_the_math_reward_tells_right_from_wrong_on_real_rows() -> None:
    """For each of 40 GSM8K rows: reference read, right answer 1 in several notations, changed number 0."""
    assert check_gsm8k(FIXTURE) == 40


@pytest.mark.parametrize(("name", "rows"), [("train", 7473), ("test", 1319)])
def test_the_math_reward_tells_right_from_wrong_on_all_of_gsm8k(name: str, rows: int) -> None:
    """The same on the whole dataset, if it is next to the project."""
    path = REAL / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is missing; the 40 rows of the fixture were checked")
    assert check_gsm8k(path) == rows


BARE = DatasetSection(source="x", **dict.fromkeys(MARKER_NAMES, ""))
IN_SANDBOX = {"code", "syntax", "style", "algorithm", "python", "reasoning_gym", "judge", "reward_model"}


@pytest.mark.parametrize("name", sorted(set(CATALOGUE) - IN_SANDBOX))
def test_without_markers_the_whole_answer_counts(name: str) -> None:
    """Without tags, the target is the reference itself, and every reward accepts it."""
    target = warm_up_target({"response": "Paris is the capital."}, BARE)
    assert target == "Paris is the capital."
    row = {"instruction": "?", "response": target, "choices": ["A", "B"], "context": target, "schema": {}}
    scorer = core.rewards.compose(_only(name), core.rewards.markers_of(BARE))
    why = scorer(target, "?", row).components[name].why
    assert "failed" not in why
    if name in {"exact", "token_f1", "rouge_l"}:
        assert scorer(target, "?", row).total == 1
    if name == "format":
        assert why == "No answer tags are set, so there is no format to check."


def _only(name: str) -> RewardSection:
    params = {"pattern": {"expression": "a"}}.get(name, {})
    return RewardSection(type="composite", components=(RewardComponent(name=name, params=params),))


def test_solution_markers_are_set_together_or_not_at_all() -> None:
    """A single one could not be found in an answer."""
    assert marker_checks(BARE) == []
    (problem,) = marker_checks(BARE.model_copy(update={"solution_start": "<A>"}))
    assert problem[0] == "dataset.solution_end"
    assert "while the other answer tag is set" in problem[1]
