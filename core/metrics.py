"""Every figure that a run writes to ``metrics.jsonl``, declared once.

Tiles, tables, charts, the glossary, health, verdicts, the log and ``GET /api/metrics`` read these entries, so a new
metric costs one of them. Keys are part of the public file format: one may be added, none is renamed.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.metric import Better, Chart, Level, Line, Metric, Range, Section, Unit

METRICS: tuple[Metric, ...] = (
    Metric(
        "reward", "reward", "How good the answers were",
        "Each answer is scored by the rewards you chose; "
        "this is the weighted sum, averaged over the answers of a step. "
        "It is the number to watch: if it rises, the model is learning what you asked for.",
        better=Better.HIGHER, healthy="rising over tens of steps; a single step says little",
        chart=Chart(
            Section.LEARNING,
            "Higher is better{best}. "
            "The band is the spread within a question; points are questions it never trains on.", wide=True,
        ),
        line=Line("mean", held_out=True, around="reward_std"), tile=True, logged=True, headlines=("training",),
    ),
    Metric(
        "reward_std", "reward standard deviation", "How much the answers differed",
        "Answers to one question are compared with each other. "
        "Where all earn the same there is nothing to compare, and nothing is learnt.",
        healthy="above 0; it shrinks as the model becomes sure",
    ),
    Metric(
        "reward_components", "reward components", "Parts of the reward", better=Better.HIGHER, parts=True,
        chart=Chart(Section.LEARNING, "Before weights; which part carries the reward?"),
    ),
    Metric(
        "solved", "solve rate", "Fully right answers",
        "The share of answers that earned the highest possible total.",
        unit=Unit.SHARE, better=Better.HIGHER, chart=Chart(Section.LEARNING, "Higher is better.", whole=True),
        line=Line("training", held_out=True), tile=True, logged=True,
    ),
    Metric(
        "completion_length_mean", "completion length", "Length of the answers",
        "Counted in tokens, about three quarters of a word each. Shortest, mean and longest of the step.",
        unit=Unit.TOKENS, healthy="well below the limit you set",
        chart=Chart(Section.WRITING, "Should stay well below the limit."),
        line=Line("mean", between=("completion_length_min", "completion_length_max")), tile=True,
    ),
    Metric(
        "completion_length_min", "shortest completion", "Length of the shortest answer",
        unit=Unit.TOKENS, beside="completion_length_mean", line=Line("shortest", smoothed=False),
    ),
    Metric(
        "completion_length_max", "longest completion", "Length of the longest answer",
        unit=Unit.TOKENS, beside="completion_length_mean", line=Line("longest", smoothed=False),
    ),
    Metric(
        "cut_off", "truncated completions", "Answers cut off",
        "The share of answers that reached the length limit before they were finished. "
        "A cut-off answer rarely contains its solution.",
        unit=Unit.SHARE, better=Better.LOWER, healthy="above 0.5 the limit is too short",
        ranges=(
            Range(Level.BAD, "the limit is too short", above=0.5, marked=True),
            Range(Level.WATCH, "some answers lose their end", above=0.2),
            Range(Level.GOOD, "fine"),
        ),
        chart=Chart(Section.WRITING, "Lower is better. Above 0.5 the limit is too short.", whole=True), tile=True,
    ),
    Metric(
        "groups_without_spread", "zero-variance groups", "Questions with nothing to compare",
        "The share of questions where every answer earned the same. They teach nothing in this step.",
        unit=Unit.SHARE, better=Better.LOWER, healthy="near 1 nothing is being learnt",
        ranges=(
            Range(Level.BAD, "nothing is being learnt", above=0.9, marked=True),
            Range(Level.WATCH, "little to compare", above=0.6),
            Range(Level.GOOD, "fine"),
        ),
        chart=Chart(Section.HEALTH, "Near 1 nothing is being learnt.", whole=True), tile=True,
    ),
    Metric(
        "kl", "KL divergence", "How far it moved from the original model",
        "Compares the model's word choices with those of the model it started from. "
        "Some movement is the point; a lot of it means it may be forgetting how to write.",
        unit=Unit.NATS, healthy="below 0.01 calm, above 0.1 watch, above 1 stop and look",
        ranges=(
            Range(Level.BAD, "stop and look", above=1, marked=True),
            Range(Level.WATCH, "watch it", above=0.1, marked=True),
            Range(Level.GOOD, "calm", below=0.01),
            Range(Level.GOOD, "fine"),
        ),
        chart=Chart(
            Section.HEALTH,
            "Below 0.01 calm, above 0.1 watch, above 1 stop and look. Measured in training only with a KL penalty.",
        ),
        line=Line("training", held_out=True), tile=True, logged=True, sources=("kl",),
    ),
    Metric(
        "entropy", "entropy", "How undecided it is",
        "How open the choice of the next word is, on average. It falls as the model becomes sure of itself.",
        unit=Unit.NATS, healthy="near 0 it says one thing only",
        ranges=(
            Range(Level.WATCH, "it says nearly one thing only", below=0.05),
            Range(Level.GOOD, "fine"),
        ),
        chart=Chart(Section.HEALTH, "Falls as it becomes sure; near 0 it says one thing only."),
        tile=True, logged=True, sources=("entropy",),
    ),
    Metric(
        "grad_norm", "gradient norm", "Size of the correction",
        "How strongly this step wanted to change the model, before clipping.",
        healthy="between 0.01 and 100",
        ranges=(
            Range(Level.WATCH, "unusually large", above=100, marked=True),
            Range(Level.WATCH, "unusually small", below=0.01),
            Range(Level.GOOD, "fine"),
        ),
        chart=Chart(Section.HEALTH, "Between 0.01 and 100 is fine."),
        tile=True, logged=True, sources=("grad_norm",),
    ),
    Metric(
        "clip_ratio", "clip ratio", "Corrections held back",
        "The share of tokens whose probability would have changed by more than the clip range allows. "
        "With one use of each answer it is 0 by construction.",
        unit=Unit.SHARE, healthy="below 0.2",
        ranges=(
            Range(Level.WATCH, "many corrections are held back", above=0.2),
            Range(Level.GOOD, "fine"),
        ),
        chart=Chart(Section.HEALTH, "With one use of each answer 0 by construction."), line=Line("all"),
        column=True, sources=("clip_ratio/region_mean", "cispo_clip_ratio"),
    ),
    Metric(
        "clip_ratio_low", "clip ratio, lower bound", "Corrections held back as a token would have become too unlikely",
        unit=Unit.SHARE, beside="clip_ratio", line=Line("low"), sources=("clip_ratio/low_mean",),
    ),
    Metric(
        "clip_ratio_high", "clip ratio, upper bound", "Corrections held back as a token would have become too likely",
        unit=Unit.SHARE, beside="clip_ratio", line=Line("high"), sources=("clip_ratio/high_mean",),
    ),
    Metric(
        "learning_rate", "learning rate", "How far each step goes",
        "Multiplies every correction. Too high and the reward collapses; too low and nothing happens.",
        chart=Chart(Section.HEALTH, "As the schedule has it."), line=Line(smoothed=False),
        column=True, sources=("learning_rate",),
    ),
    Metric(
        "loss", "loss", "What the optimizer lowers",
        "How surprised the model is by the tokens that it should write, on average (cross-entropy, in nats). "
        "In GRPO it is near 0 by construction and says nothing about progress: watch the reward instead.",
        better=Better.LOWER, line=Line("training", held_out=True), tile=True,
        chart=Chart(Section.LEARNING, "Lower is better. Points are rows it never trains on.", wide=True),
        column=True, logged=True, headlines=("warm_up", "training"), sources=("loss",),
    ),
    Metric(
        "step_time", "step time", "Time for one step",
        "Writing the answers, scoring them and learning from them.",
        unit=Unit.SECONDS, better=Better.LOWER, chart=Chart(Section.SPEED, "Lower is better."), line=Line("whole"),
        tile=True, logged=True, sources=("step_time",),
    ),
    Metric(
        "time_generation", "generation time", "Time for writing the answers of a step",
        unit=Unit.SECONDS, better=Better.LOWER, beside="step_time", line=Line("writing"),
    ),
    Metric(
        "time_reward", "scoring time", "Time for scoring a step (rewards)",
        unit=Unit.SECONDS, better=Better.LOWER,
        chart=Chart(Section.SPEED, "Lower is better. A fraction of the time for writing is fine."),
        beside="step_time", line=Line("scoring"),
    ),
    Metric(
        "no_opinion", "completions without an opinion", "Answers on which a reward said nothing (None)",
        unit=Unit.COUNT,
        chart=Chart(Section.SPEED, "In each step. They gain and lose nothing by it.", only_with="no_opinion"),
        line=Line(smoothed=False),
    ),
    Metric(
        "judge_requests", "judge requests", "Answers that another model judged",
        unit=Unit.COUNT,
        chart=Chart(
            Section.SPEED, "In each step. Those without a score earned nothing.", only_with="judge_requests"
        ),
        line=Line("answers", smoothed=False),
    ),
    Metric(
        "judge_cached", "cached judge scores", "Answers whose score was remembered",
        unit=Unit.COUNT, beside="judge_requests", line=Line("remembered", smoothed=False),
    ),
    Metric(
        "judge_failed", "failed judge requests", "Answers that got no score from the judge",
        unit=Unit.COUNT, better=Better.LOWER, beside="judge_requests", line=Line("without a score", smoothed=False),
    ),
    Metric(
        "judge_tokens", "judge tokens", "Tokens that the judge read and wrote",
        unit=Unit.TOKENS, line=Line(smoothed=False),
        chart=Chart(Section.SPEED, "What is paid for, in each step.", only_with="judge_requests"),
    ),
    Metric(
        "judge_cost", "judge cost", "What the judge cost",
        chart=Chart(Section.SPEED, "By the price that you gave, in each step.", only_with="judge_cost"),
        line=Line(smoothed=False),
    ),
    Metric(
        "token_accuracy", "token accuracy", "Next tokens that were right",
        "How often the token that the model finds likeliest is the one in the example.",
        unit=Unit.SHARE, better=Better.HIGHER, chart=Chart(Section.LEARNING, "Higher is better.", whole=True),
        tile=True, sources=("mean_token_accuracy",),
    ),
    Metric("tokens", "completion tokens", "Tokens written in a step", unit=Unit.TOKENS),
    Metric(
        "tokens_per_second", "throughput", "Writing speed",
        "How many tokens the model writes in a second while making answers.",
        unit=Unit.TOKENS_PER_SECOND, better=Better.HIGHER, chart=Chart(Section.SPEED, "Higher is better."), tile=True,
    ),
    Metric("epoch", "epoch", "Passes over the data so far", sources=("epoch",)),
    Metric("samples", "samples", "Held-out questions that were scored", unit=Unit.COUNT),
    Metric(
        "sampler_kl", "sampler mismatch", "How far the engine that writes the answers is from the trained model",
        unit=Unit.NATS, better=Better.LOWER, sources=("sampler_kl",),
    ),
)
"""Every metric, in the order of tiles, columns, charts and glossary."""

_BY_KEY = {one.key: one for one in METRICS}

SOURCES = {name: one.key for one in METRICS for name in one.sources}
"""Names in the logs of TRL's trainers, and ours."""


def metric(key: str) -> Metric:
    """The metric with a key.

    Raises:
        KeyError: No metric is declared under it.
    """
    return _BY_KEY[key]


def named(keys: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics with these keys, in their order.

    Raises:
        KeyError: One of them is not declared.
    """
    return tuple(metric(key) for key in keys)
