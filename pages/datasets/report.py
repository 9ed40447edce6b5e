"""The view of a preparation's report: problems first, then the counts and the lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.methods import method_of
from core.preferences import Preferences, concerns_of
from services.forms.fields import field_title

MANY = 0.05
"""Share of rows that may be left out without a remark: every dataset has some odd ones."""
LONGEST, ANSWER = "training.max_sequence_length", "training.max_new_tokens"


@dataclass(frozen=True)
class Concern:
    """Something that harms the training.

    Attributes:
        share: Share of the rows, 0 to 1; the largest is shown first.
        fix: What a button can change: ``reward``, ``limits`` or ''.
    """

    key: str
    words: str
    share: float
    fix: str = ""


@dataclass(frozen=True)
class Bar:
    """One bar of a chart; ``height`` is 0 to 100."""

    height: float
    words: str


@dataclass(frozen=True)
class Chart:
    """How long prompts or answers are, with the labels of both axes."""

    title: str
    summary: str
    bars: tuple[Bar, ...]
    top: str
    middle: str
    end: str


@dataclass(frozen=True)
class ReportView:
    """A report. ``data`` is from :func:`services.datasets.preparation_child.prepare`; ``fit`` describes truncation."""

    data: dict[str, Any]
    concerns: tuple[Concern, ...]
    charts: tuple[Chart, ...]
    fit: str


def report_view(data: dict[str, Any] | None) -> ReportView | None:
    """None if nothing was prepared."""
    if not data:
        return None
    lengths = data.get("lengths")
    charts: tuple[Chart, ...] = ()
    if lengths:
        pairs = "rejected" in method_of(data.get("config") or {}).columns
        title = "Answers (the longer one of each pair)" if pairs else "Answers with reasoning"
        charts = (_chart("Prompts", lengths["prompt"]), _chart(title, lengths["reference"]))
    concerns = sorted(_concerns(data), key=lambda one: -one.share)
    return ReportView(data, tuple(concerns), charts, _fit(lengths) if lengths else "")


def percent(share: float) -> str:
    """A share in whole percent, never rounded to 0% or 100%.

    >>> percent(0.121), percent(0.002), percent(0.999), percent(1.0)
    ('12%', '<1%', '>99%', '100%')
    """
    text = f"{share:.0%}"
    return "<1%" if text == "0%" and share else ">99%" if text == "100%" and share < 1 else text


def _concerns(data: Mapping[str, Any]) -> Iterator[Concern]:
    used = data["train"] + data["holdout"] + data["test"]
    if not data["train"]:
        yield Concern("empty", "No rows are left to train on. The counts below show why.", 2.0)
    if count := data.get("unparseable"):
        words = (
            f"The reward cannot read {count:,} of {used:,} answers. The model learns nothing from these rows. "
            "Choose another reward, or extract the answer from its column."
        )
        yield Concern("unreadable", words, count / max(used, 1), "reward")
    if count := data.get("refused"):
        words = f"The chat template cannot show {_rows(count)}, so they are skipped. Choose another chat template."
        yield Concern("refused", words, count / max(used, 1))
    if counted := data.get("preferences"):
        # Rows that are left out follow, as in every report.
        for one in concerns_of(Preferences(**counted | {"left_out": {}})):
            yield Concern("preferences", one.message, one.share)
    for reason, count in data["left_out"].items():
        share = count / max(data["read"], 1)
        if share > MANY:
            yield Concern("left-out", f"{percent(share)} of the rows are skipped: {reason}.", share)
    if lengths := data.get("lengths"):
        words, share = _cut(lengths)
        if share:
            yield Concern("cut", words, share, "limits")


def _cut(lengths: Mapping[str, Any]) -> tuple[str, float]:
    """What the current limits truncate, as sentences, and the larger of the shares."""
    longest, answer = lengths["limits"]
    if "cut_examples" in lengths:
        share = lengths["cut_examples"]
        return f"{percent(share)} of the rows are cut off at {longest:,} tokens.", share
    found = []
    if share := lengths["cut_prompts"]:
        found.append(f"{percent(share)} of the prompts are too long for {longest:,} tokens and are skipped.")
    if share := lengths["cut_references"]:
        found.append(f"{percent(share)} of the answers are longer than {answer:,} tokens and would be cut off.")
    return " ".join(found), max(lengths["cut_prompts"], lengths["cut_references"])


def _fit(lengths: Mapping[str, Any]) -> str:
    longest, answer = lengths["limits"]
    longest_title, answer_title = field_title(LONGEST), field_title(ANSWER).lower()
    alone = "cut_examples" in lengths
    now = f"{longest_title}: {longest:,} tokens" + ("" if alone else f", {answer_title}: {answer:,} tokens")
    suggested = f"{lengths['max_sequence_length']:,}" + ("" if alone else f" and {lengths['max_new_tokens']:,}")
    words = f"{now}. " + ("" if _cut(lengths)[1] else "Every row fits. ") + f"Suggested: {suggested}"
    after = max(lengths["cut_if_proposed"])
    return words + (f", which cuts off {percent(after)} of the rows." if after else ", which fits every row.")


def _chart(title: str, one: Mapping[str, Any]) -> Chart:
    counts, step = one["counts"], one["step"]
    top, end = max(counts, default=0) or 1, len(counts) * step
    bars = tuple(
        Bar(100 * count / top, f"{place * step:,}–{(place + 1) * step - 1:,} tokens: {_rows(count)}")
        for place, count in enumerate(counts)
    )
    return Chart(
        title=title,
        summary=f"median {one['median']:,}, 99th percentile {one['high']:,}, longest {one['most']:,} tokens",
        bars=bars,
        top=_rows(top),
        middle=f"{end // 2:,}",
        # The last bar also holds everything longer.
        end=f"{end:,}{'+' if one['most'] >= end else ''} tokens",
    )


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"
