"""Every metric that a run writes to ``metrics.jsonl``, declared once.

Tiles, tables, charts, the glossary, health checks, verdicts, the log and ``GET /api/metrics`` read these entries, so
adding a metric means adding one entry. Keys are part of the public file format: new ones may be added, none is renamed.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.metric import Better, Chart, Level, Line, Metric, Range, Section, Unit

METRICS: tuple[Metric, ...] = (
    Metric(
        "reward", "reward", "Average score of the answers",
        "The reward you chose scores each answer. "
        "This is the weighted sum of its components, averaged over the answers in a step. "
        "It is the number to watch: if it rises, the model is learning what you asked for.",
        better=Better.HIGHER, healthy="should rise over tens of steps; a single step says little",
        chart=Chart(
            Section.LEARNING,
            "Higher is better{best}. "
            "The band shows the spread between answers to the same question; "
            "points are held-out questions, which the model never trains on.", wide=True,
        ),
        line=Line("mean", held_out=True, around="reward_std"), tile=True, logged=True, headlines=("training",),
    ),
    Metric(
        "reward_std", "reward standard deviation", "Spread of the scores",
        "Answers to the same question are compared with each other. "
        "If they all score the same, there is nothing to compare and the model learns nothing.",
        healthy="should be above 0; shrinks as the model becomes more certain",
    ),
    Metric(
        "reward_components", "reward components", "Score of each component", better=Better.HIGHER, parts=True,
        chart=Chart(Section.LEARNING, "Before weights are applied. Shows which component drives the reward."),
    ),
    Metric(
        "solved", "solve rate", "Fully correct answers",
        "The share of answers that earned the highest possible score.",
        unit=Unit.SHARE, better=Better.HIGHER, chart=Chart(Section.LEARNING, "Higher is better.", whole=True),
        line=Line("training", held_out=True), tile=True, logged=True,
    ),
    Metric(
        "completion_length_mean", "answer length", "Length of the answers",
        "Counted in tokens; a token is about three quarters of a word. Shortest, mean, and longest in each step.",
        unit=Unit.TOKENS, healthy="should stay well below the maximum answer length",
        chart=Chart(Section.WRITING, "Should stay well below the maximum answer length."),
        line=Line("mean", between=("completion_length_min", "completion_length_max")), tile=True,
    ),
    Metric(
        "completion_length_min", "shortest answer", "Length of the shortest answer",
        unit=Unit.TOKENS, beside="completion_length_mean", line=Line("shortest", smoothed=False),
    ),
    Metric(
        "completion_length_max", "longest answer", "Length of the longest answer",
        unit=Unit.TOKENS, beside="completion_length_mean", line=Line("longest", smoothed=False),
    ),
    Metric(
        "cut_off", "answers cut off", "Answers that reached the length limit",
        "The share of answers that reached the length limit before they were finished. "
        "An answer that is cut off rarely contains its solution.",
        unit=Unit.SHARE, better=Better.LOWER, healthy="above 50%, the length limit is too short",
        ranges=(
            Range(Level.BAD, "the length limit is too short", above=0.5, marked=True),
            Range(Level.WATCH, "some answers are cut off", above=0.2),
            Range(Level.GOOD, "healthy"),
        ),
        chart=Chart(Section.WRITING, "Lower is better. Above 50%, the length limit is too short.", whole=True),
        tile=True,
    ),
    Metric(
        "groups_without_spread", "questions with identical scores", "Zero-variance groups",
        "The share of questions whose answers all scored the same. The model learns nothing from them in this step.",
        unit=Unit.SHARE, better=Better.LOWER, healthy="near 100%, nothing is being learned",
        ranges=(
            Range(Level.BAD, "nothing is being learned", above=0.9, marked=True),
            Range(Level.WATCH, "few questions drive learning", above=0.6),
            Range(Level.GOOD, "healthy"),
        ),
        chart=Chart(Section.HEALTH, "Lower is better. Near 100%, nothing is being learned.", whole=True), tile=True,
    ),
    Metric(
        "preference_accuracy", "accuracy", "Pairs in which the better answer is preferred",
        "The share of pairs in which the model prefers the better answer to the worse one. A tie counts as half, so a "
        "model that has learned nothing is at 50%.",
        unit=Unit.SHARE, better=Better.HIGHER, healthy="50% is chance; below 50%, it prefers the worse answers",
        ranges=(
            Range(Level.WATCH, "it prefers the worse answers", below=0.5, marked=True),
            Range(Level.GOOD, "healthy"),
        ),
        chart=Chart(
            Section.LEARNING, "Higher is better; 50% is chance. Points are held-out pairs.", wide=True, whole=True
        ),
        line=Line("training", held_out=True), tile=True, logged=True, headlines=("training", "evaluation"),
        sources=("rewards/accuracies", "accuracy"),
    ),
    Metric("preference_accuracy_low", "accuracy, lower end", "95% interval", unit=Unit.SHARE),
    Metric("preference_accuracy_high", "accuracy, upper end", "95% interval", unit=Unit.SHARE),
    Metric(
        "accuracy_change", "change in accuracy", "Accuracy on held-out pairs compared with before training",
        "The interval comes from the same pairs before and after: if it does not contain 0, the change is significant.",
        unit=Unit.SHARE, better=Better.HIGHER,
    ),
    Metric("accuracy_change_low", "change in accuracy, lower end", "95% interval", unit=Unit.SHARE),
    Metric("accuracy_change_high", "change in accuracy, upper end", "95% interval", unit=Unit.SHARE),
    Metric(
        "reward_margin", "reward margin", "How clearly the better answer is preferred",
        "The implicit reward of the better answer minus that of the worse one: how much more likely training has made "
        "the one than the other, compared with the model at the start.",
        better=Better.HIGHER,
        chart=Chart(Section.LEARNING, "Higher is better. Points are held-out pairs."),
        line=Line("training", held_out=True), tile=True, logged=True, sources=("rewards/margins", "margin"),
    ),
    Metric(
        "reward_chosen", "reward of better answers", "How much more likely better answers have become",
        "The implicit reward: the log-probability of the answer now minus that at the start, times beta. If it falls, "
        "the model is making good answers less likely too.",
        better=Better.HIGHER,
        chart=Chart(Section.LEARNING, "Better answers should rise, or at least not fall; worse ones should fall."),
        line=Line("better", held_out=True), tile=True, sources=("rewards/chosen",),
    ),
    Metric(
        "reward_rejected", "reward of worse answers", "How much more likely worse answers have become",
        better=Better.LOWER, beside="reward_chosen", line=Line("worse", held_out=True), sources=("rewards/rejected",),
    ),
    Metric(
        "logps_chosen", "log-probability of better answers", "How likely the model finds better answers",
        "The sum over an answer's tokens of their log-probabilities, on average over the answers of a step.",
        unit=Unit.NATS, better=Better.HIGHER,
        chart=Chart(Section.HEALTH, "If both lines fall, the model is moving away from all the answers it was shown."),
        line=Line("better", held_out=True), sources=("logps/chosen",),
    ),
    Metric(
        "logps_rejected", "log-probability of worse answers", "How likely the model finds worse answers",
        unit=Unit.NATS, better=Better.LOWER, beside="logps_chosen", line=Line("worse", held_out=True),
        sources=("logps/rejected",),
    ),
    Metric(
        "nll_loss", "loss of better answers", "How unlikely the model finds prompts and better answers",
        "The part of the ORPO loss that teaches it to write the better answers: cross-entropy per token, in nats.",
        unit=Unit.NATS, better=Better.LOWER,
        chart=Chart(Section.LOSS, "Lower is better. Points are held-out pairs."),
        line=Line("training", held_out=True), sources=("nll_loss",),
    ),
    Metric(
        "log_odds_chosen", "log odds ratio", "How much likelier the better answer is than the worse one",
        "The logarithm of the odds of the better answer divided by those of the worse one, per token. Above 0, the "
        "better answer is the likelier one.",
        better=Better.HIGHER, chart=Chart(Section.LOSS, "Higher is better. Points are held-out pairs."),
        line=Line("training", held_out=True), sources=("log_odds_chosen",),
    ),
    Metric(
        "log_odds_ratio", "odds ratio term", "The part of the ORPO loss that learns the preference",
        "The logarithm of the sigmoid of the log odds ratio. It is below 0 and rises towards it; lambda times it is "
        "subtracted from the loss.",
        better=Better.HIGHER, sources=("log_odds_ratio",),
    ),
    Metric(
        "kl", "KL divergence", "Drift from the base model",
        "Compares the model's word choices with those of the base model. "
        "Some drift is expected; a lot of it can mean that the model is losing its general abilities.",
        unit=Unit.NATS,
        healthy="below 0.01, it has hardly drifted; above 0.1, watch it; above 1, stop and check the answers",
        ranges=(
            Range(Level.BAD, "stop and check the answers", above=1, marked=True),
            Range(Level.WATCH, "watch", above=0.1, marked=True),
            Range(Level.GOOD, "very little drift", below=0.01),
            Range(Level.GOOD, "healthy"),
        ),
        chart=Chart(
            Section.HEALTH,
            "Above 0.1: watch. Above 1: stop and check the answers. Measured during training only with a KL penalty.",
        ),
        line=Line("training", held_out=True), tile=True, logged=True, sources=("kl",),
    ),
    Metric(
        "entropy", "entropy", "Uncertainty about the next word",
        "How many words the model considers at each position, on average. It falls as the model becomes more certain.",
        unit=Unit.NATS, healthy="near 0, the model always gives the same answer",
        ranges=(
            Range(Level.WATCH, "its answers hardly vary", below=0.05),
            Range(Level.GOOD, "healthy"),
        ),
        chart=Chart(Section.HEALTH, "Falls as the model becomes more certain. Near 0, its answers no longer vary."),
        tile=True, logged=True, sources=("entropy",),
    ),
    Metric(
        "grad_norm", "gradient norm", "Update size",
        "How strongly a step would change the model, before gradient clipping.",
        healthy="healthy between 0.01 and 100",
        ranges=(
            Range(Level.WATCH, "unusually large", above=100, marked=True),
            Range(Level.WATCH, "unusually small", below=0.01),
            Range(Level.GOOD, "healthy"),
        ),
        chart=Chart(Section.HEALTH, "Healthy between 0.01 and 100."),
        tile=True, logged=True, sources=("grad_norm",),
    ),
    Metric(
        "clip_ratio", "clip ratio", "Clipped updates",
        "The share of tokens whose probability would have changed by more than the clip range allows. "
        "Always 0 if each batch is used for one iteration.",
        unit=Unit.SHARE, healthy="healthy below 20%",
        ranges=(
            Range(Level.WATCH, "many updates are clipped", above=0.2),
            Range(Level.GOOD, "healthy"),
        ),
        chart=Chart(Section.HEALTH, "Always 0 if each batch is used for one iteration."), line=Line("all"),
        column=True, sources=("clip_ratio/region_mean", "cispo_clip_ratio"),
    ),
    Metric(
        "clip_ratio_low", "clip ratio, lower bound", "Updates that would make a token too unlikely",
        unit=Unit.SHARE, beside="clip_ratio", line=Line("low"), sources=("clip_ratio/low_mean",),
    ),
    Metric(
        "clip_ratio_high", "clip ratio, upper bound", "Updates that would make a token too likely",
        unit=Unit.SHARE, beside="clip_ratio", line=Line("high"), sources=("clip_ratio/high_mean",),
    ),
    Metric(
        "learning_rate", "learning rate", "How much each step changes the model",
        "Scales every update. Too high, and training collapses; too low, and nothing changes.",
        chart=Chart(Section.HEALTH, "Follows the learning-rate schedule."), line=Line(smoothed=False),
        column=True, sources=("learning_rate",),
    ),
    Metric(
        "loss", "loss", "What training minimizes",
        "How unlikely the model finds the tokens it should write, on average (cross-entropy, in nats). "
        "In GRPO it stays near 0 and says nothing about progress; watch the reward instead.",
        better=Better.LOWER, line=Line("training", held_out=True, rise="loss_rise_low"), tile=True,
        chart=Chart(
            Section.LEARNING, "Lower is better. Points are held-out rows, which the model never trains on.", wide=True
        ),
        column=True, logged=True, headlines=("warm_up", "training"), sources=("loss",),
    ),
    Metric(
        "perplexity", "perplexity", "How many tokens the model hesitates between",
        "The exponential of the loss on held-out rows: 5 means that the model is as unsure about the next token as if "
        "it chose between 5 equally likely ones. Only models with the same tokenizer can be compared by it.",
        better=Better.LOWER, chart=Chart(Section.LEARNING, "On held-out rows. Lower is better."),
        line=Line(held_out=True, trained=False), tile=True, logged=True,
    ),
    Metric(
        "loss_change", "change in held-out loss", "Held-out loss compared with before training",
        "The interval comes from the same rows before and after: if it does not contain 0, the change is significant.",
        unit=Unit.NATS, better=Better.LOWER,
    ),
    Metric("loss_change_low", "change in held-out loss, lower end", "95% interval", unit=Unit.NATS),
    Metric("loss_change_high", "change in held-out loss, upper end", "95% interval", unit=Unit.NATS),
    Metric(
        "loss_rise", "rise in held-out loss", "Held-out loss compared with its lowest value before",
        unit=Unit.NATS, better=Better.LOWER,
    ),
    Metric("loss_rise_low", "rise in held-out loss, lower end", "95% interval", unit=Unit.NATS),
    Metric("loss_rise_high", "rise in held-out loss, upper end", "95% interval", unit=Unit.NATS),
    Metric(
        "step_time", "step time", "Time per step",
        "Generating the answers, scoring them, and updating the model.",
        unit=Unit.SECONDS, better=Better.LOWER, chart=Chart(Section.SPEED, "Lower is better."), line=Line("total"),
        tile=True, logged=True, sources=("step_time",),
    ),
    Metric(
        "time_generation", "generation time", "Time to generate the answers of a step",
        unit=Unit.SECONDS, better=Better.LOWER, beside="step_time", line=Line("generation"),
    ),
    Metric(
        "time_reward", "scoring time", "Time to score the answers of a step",
        unit=Unit.SECONDS, better=Better.LOWER,
        chart=Chart(Section.SPEED, "Lower is better. Usually a fraction of the generation time."),
        beside="step_time", line=Line("scoring"),
    ),
    Metric(
        "no_opinion", "unscored components", "Answers that a reward component did not score",
        unit=Unit.COUNT,
        chart=Chart(
            Section.SPEED, "Per step. These components do not change the reward.", only_with="no_opinion"
        ),
        line=Line(smoothed=False),
    ),
    Metric(
        "judge_requests", "judge requests", "Answers scored by the judge",
        unit=Unit.COUNT,
        chart=Chart(
            Section.SPEED, "Per step. Answers without a score earn nothing.", only_with="judge_requests"
        ),
        line=Line("answers", smoothed=False),
    ),
    Metric(
        "judge_cached", "cached judge scores", "Scores reused from the cache",
        unit=Unit.COUNT, beside="judge_requests", line=Line("cached", smoothed=False),
    ),
    Metric(
        "judge_failed", "failed judge requests", "Answers the judge could not score",
        unit=Unit.COUNT, better=Better.LOWER, beside="judge_requests", line=Line("not scored", smoothed=False),
    ),
    Metric(
        "judge_tokens", "judge tokens", "Tokens the judge read and wrote",
        unit=Unit.TOKENS, line=Line(smoothed=False),
        chart=Chart(Section.SPEED, "Billed tokens per step.", only_with="judge_requests"),
    ),
    Metric(
        "judge_cost", "judge cost", "Cost of the judge",
        chart=Chart(Section.SPEED, "Per step, at the price you entered.", only_with="judge_cost"),
        line=Line(smoothed=False),
    ),
    Metric(
        "token_accuracy", "token accuracy", "Correctly predicted tokens",
        "How often the token the model finds most likely is the one in the example.",
        unit=Unit.SHARE, better=Better.HIGHER, chart=Chart(Section.LEARNING, "Higher is better.", whole=True),
        tile=True, sources=("mean_token_accuracy",),
    ),
    Metric("tokens", "completion tokens", "Tokens generated per step", unit=Unit.TOKENS),
    Metric(
        "tokens_per_second", "throughput", "Generation speed",
        "How many tokens the model generates per second.",
        unit=Unit.TOKENS_PER_SECOND, better=Better.HIGHER, chart=Chart(Section.SPEED, "Higher is better."), tile=True,
    ),
    Metric("epoch", "epoch", "Passes over the training data", sources=("epoch",)),
    Metric("samples", "samples", "Held-out rows that were scored", unit=Unit.COUNT),
    Metric("rows", "rows per step", "Rows that a step was trained on", unit=Unit.COUNT),
    Metric(
        "sampler_kl", "sampler mismatch", "Difference between the generation engine and the model in training",
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
