"""Each metric is declared once, and everything that names one reads the declaration."""

from __future__ import annotations

import ast
import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from core.job import JobPhase, JobState, JobStatus
from core.job_dir import JsonlWriter, iter_lines
from core.job_rows import PLACE, MetricRow
from core.kept import Kept
from core.methods import METHODS, Method
from core.methods.grpo import GRPO
from core.methods.sft import SFT
from core.metric import Better, Level, Metric, Section, Unit
from core.metrics import METRICS, SOURCES, metric, named
from core.rewards import Spent
from core.settings import PROJECT
from pages.glossary import GLOSSARY
from pages.runs.charts import TurnView, charts, columns_of
from pages.runs.overview import tiles_of
from tests.support.fake_worker import Fake

KEYS = {one.key for one in METRICS}
every_metric = pytest.mark.parametrize("one", METRICS, ids=lambda one: one.key)


def test_keys_are_declared_once() -> None:
    """No duplicate keys, no key that is a row's position, and no TRL log name for two metrics."""
    assert len(KEYS) == len(METRICS)
    assert not KEYS & PLACE
    assert len(SOURCES) == sum(len(one.sources) for one in METRICS)


def test_a_rows_type_names_no_metric_that_is_not_declared() -> None:
    """Names that the code reads from a row are a position or a declared metric; mypy finds any other."""
    assert PLACE <= set(MetricRow.__annotations__) <= PLACE | KEYS


def test_metrics_are_found_by_key() -> None:
    """One or several, in the requested order; an unknown key is an error."""
    assert metric("kl").title == "KL divergence"
    assert [one.key for one in named(["loss", "kl"])] == ["loss", "kl"]
    with pytest.raises(KeyError):
        named(["loss", "luck"])


@every_metric
def test_what_an_entry_refers_to_exists(one: Metric) -> None:
    """A metric's chart exists, and its band consists of metrics that are written."""
    assert {one.line.around, *(one.line.between or ()), one.beside} - {""} <= KEYS
    assert one.chart is None or one.chart.only_with in {"", *KEYS}
    assert not one.beside or metric(one.beside).chart


@every_metric
def test_ranges_cover_every_value(one: Metric) -> None:
    """The last range has no bounds, and a healthy value is in a good one."""
    if not one.ranges:
        assert one.healthy_range == (None, None)
        return
    assert (one.ranges[-1].above, one.ranges[-1].below) == (None, None)
    assert {one.level for one in one.ranges} > {Level.GOOD}
    for bound in one.healthy_range:
        found = one.range_of(bound) if bound is not None else None
        assert found is None or found.level is Level.GOOD


@every_metric
def test_numbers_in_sentences_are_bounds(one: Metric) -> None:
    """A sentence names no threshold but the ranges'; 0 and 1 are the ends of a share."""
    bounds = {bound for found in one.ranges for bound in (found.above, found.below) if bound is not None}
    caption = one.chart.caption if one.chart else ""
    found = re.findall(r"(\d+(?:\.\d+)?)(%?)", f"{one.healthy} {caption}")
    numbers = {float(number) / (100 if percent else 1) for number, percent in found}
    assert numbers <= bounds | {0, 1}


def test_a_value_is_taken_by_its_range() -> None:
    """The bounds themselves are still fine."""
    kl, norm = metric("kl"), metric("grad_norm")
    found = [kl.range_of(value) for value in (0.005, 0.1, 0.2, 2)]
    words = ["very little drift", "healthy", "watch", "stop and check the answers"]
    assert [one.words for one in found if one] == words
    assert norm.healthy_range == (0.01, 100.0)
    assert kl.marks == (0.1, 1.0)
    assert metric("cut_off").above(Level.BAD) == 0.5
    assert metric("reward").range_of(1) is None
    with pytest.raises(KeyError):
        metric("entropy").above(Level.BAD)


def test_an_unhealthy_value_is_reported_with_its_bound() -> None:
    """In the metric's own unit; nothing for a healthy value or one without ranges."""
    assert metric("kl").remark(0.41) == "Above 0.1: watch"
    assert metric("cut_off").remark(0.6) == "Above 50%: the length limit is too short"
    assert metric("entropy").remark(0.01) == "Below 0.05: its answers hardly vary"
    assert (metric("kl").remark(0.05), metric("reward").remark(0.5)) == ("", "")


def test_directions_are_words() -> None:
    """The page's word for a direction; empty without one."""
    assert [better.words for better in Better] == ["higher is better", "lower is better", ""]


def test_every_chart_has_its_lines() -> None:
    """A unique key, at most four lines, and a label for each of several."""
    sections = charts(1.2, GRPO.described)
    assert [section.title for section in sections] == [section.value for section in Section]
    found = [chart for section in sections for chart in section.charts]
    assert [chart.key for chart in found if chart.parts] == ["reward_components"]
    assert len({chart.key for chart in found}) == len(found) == sum(one.chart is not None for one in GRPO.described)
    for chart in found:
        assert chart.parts or 1 <= len(chart.lines) <= 4
        assert len(chart.lines) <= 1 or all(line.label for line in chart.lines)
    reward, length = found[0], next(chart for chart in found if chart.key == "completion_length_mean")
    assert "Higher is better; the maximum is 1.2." in reward.caption
    assert "Higher is better. " in charts(None, GRPO.described)[0].charts[0].caption
    assert [(line.key, line.held_out) for line in reward.lines] == [("reward", False), ("reward", True)]
    assert [line.label for line in length.lines] == ["mean", "shortest", "longest"]
    assert length.unit == "tokens"


def test_the_lowest_held_out_loss_can_be_marked() -> None:
    """From the interval of the rise after it; a metric of evaluations alone has no training line."""
    [learning, *_] = charts(None, named(["loss", "perplexity"]))
    loss, perplexity = learning.charts
    assert "overfitting" in charts(None, SFT.described)[0].charts[0].caption
    assert loss.turn == TurnView("loss", "loss_rise_low", "Held-out loss rises from here")
    assert perplexity.turn is None
    assert [(line.key, line.held_out) for line in perplexity.lines] == [("perplexity", True)]


def test_a_tile_shows_what_evaluations_alone_measure() -> None:
    """Training rows lack it, and that does not hide it."""
    rows: list[Any] = [
        {"row": 1, "phase": "evaluation", "step": 0, "loss": 2.0, "perplexity": 7.4},
        {"row": 2, "phase": "evaluation", "step": 1, "loss": 1.0, "perplexity": 2.7},
        {"row": 3, "phase": "training", "step": 2, "loss": 1.5},
    ]
    tiles = {tile.key: tile for tile in tiles_of(named(["loss", "perplexity"]), rows, None)}
    assert (tiles["perplexity"].value, tiles["perplexity"].change) == ("2.70", "\u22124.70 since the start")
    assert tiles["heldout"].value == "1"
    kept = Kept(metric="loss", step=0, value=2.0, published=True)
    [_, heldout, *_] = tiles_of(named(["loss", "perplexity"]), rows, None, kept)
    assert (heldout.value, heldout.change) == ("2", "at step 0, which is kept; 2 before training")


def test_a_method_has_charts_of_its_own_metrics() -> None:
    """Only sections with one are there; GRPO keeps the loss apart, as it does not measure progress."""
    [section] = charts(None, named(["loss"]))
    assert (section.title, [chart.key for chart in section.charts]) == ("Learning", ["loss"])
    assert [line.held_out for line in section.charts[0].lines] == [False, True]
    apart = charts(None, GRPO.described)[-1]
    assert (apart.title, [chart.key for chart in apart.charts]) == ("Loss", ["loss"])
    assert [line.held_out for line in apart.charts[0].lines] == [False]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.key)
def test_a_method_reads_the_metrics_that_it_writes(method: Method) -> None:
    """Its summary metric is first, and overrides are the method's own."""
    assert {one.key for one in method.described} == set(method.metrics)
    assert "training" in method.described[0].headlines
    assert method.described[0].tile
    assert set(method.reads) <= set(method.metrics)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.key)
def test_tiles_and_columns_are_those_declared(method: Method) -> None:
    """A tile's metric has a column with the same title, and a glossary entry."""
    tiles = [one.key for one in method.described if one.tile]
    columns = columns_of(method.described)
    assert [column.key for column in columns][: len(tiles)] == tiles
    assert {column.key: column.title for column in columns} == {
        one.key: one.title for one in method.described if one.tile or one.column
    }
    assert {column.key: column.unit for column in columns} == {
        one.key: one.unit for one in method.described if one.tile or one.column
    }
    assert set(tiles) <= set(GLOSSARY)


def test_the_glossary_explains_metrics() -> None:
    """Every metric with explanations is a term, under its own names."""
    assert {one.key for one in METRICS if one.text} == KEYS & set(GLOSSARY)
    assert (GLOSSARY["kl"].term, GLOSSARY["kl"].better) == ("KL divergence", "")
    assert GLOSSARY["cut_off"].better == "lower is better"


def test_units_that_a_page_writes() -> None:
    """Shares are shown in percent, and counts name their unit in the title."""
    assert {unit.value for unit in Unit if unit.suffix} == {"tokens", "s", "tokens/s"}


# --- what is written ---


def dictionary_keys(folder: Path) -> set[str]:
    """Every string key of a dictionary in the code below a folder."""
    nodes = chain.from_iterable(ast.walk(ast.parse(file.read_text(encoding="utf-8"))) for file in folder.rglob("*.py"))
    keys = chain.from_iterable(node.keys for node in nodes if isinstance(node, ast.Dict))
    return {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


def test_nothing_is_declared_that_nothing_writes() -> None:
    """A metric comes from TRL, is written by name in the training code, or is a judge's cost."""
    written = set(SOURCES.values()) | dictionary_keys(PROJECT / "core" / "training") | set(Spent(requests=1).row())
    assert KEYS - written == set()


def test_everything_that_is_written_is_declared(tmp_path: Path) -> None:
    """By the fake worker and for judges; tests/training/test_worker.py covers a real run."""
    fake = object.__new__(Fake)
    fake.status = JobStatus(state=JobState.RUNNING, phase=JobPhase.TRAIN)
    rows, groups = JsonlWriter(tmp_path / "metrics.jsonl"), JsonlWriter(tmp_path / "completions.jsonl")
    fake.row(rows, groups, 1)
    rows.close()
    groups.close()
    [row] = iter_lines(tmp_path / "metrics.jsonl")
    assert set(row) | set(Spent(requests=1).row()) <= PLACE | KEYS


def test_scripts_list_no_metrics() -> None:
    """Pages get charts as data: JavaScript has no metric keys."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in (PROJECT / "static" / "js").rglob("*.js"))
    assert [key for key in KEYS if "_" in key and re.search(rf"\b{key}\b", text)] == []
