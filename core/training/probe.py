"""The check before training: samples a few groups exactly as the run would, and measures their cost.

It does what a run does before its first step: rows, model, adapter, and the warm-up if one is configured. Then it
samples, scores, measures one forward and backward pass, and writes the figures and the verdict to ``result.json``. All
sampled groups are in ``completions.jsonl``.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psutil
import torch

from core.config import RunConfig, parse
from core.data.prompts import warm_up_target
from core.job_dir import JobDir, write_json
from core.job_rows import GroupContent
from core.methods import method
from core.model import Device
from core.probe import Component, Figures, judge, shares
from core.reward import Total
from core.rewards import CATALOGUE, Scorer, Spent, compose, markers_of, maximum, resolve, titles
from core.rewards.adversarial import answered, wrong_in_form
from core.settings import Home
from core.training.evaluation.held_out import completion_record
from core.training.job.device import this_device, use_cores
from core.training.job.reporter import Reporter
from core.training.job.status import Status, Stopped
from core.training.method_rows import Item, prepare, with_decisions
from core.training.methods.training_job import TrainingJob
from core.training.methods.warm_up import warm_up
from core.training.models import start
from core.training.models.load import Loaded, load_for_training
from core.training.rollouts.engine import Engine
from core.training.rollouts.generate import training_sampling

ADAM_BYTES = 8
"""Two float32 values per trained weight."""


@dataclass
class Sampled:
    """All sampled completions, group by group."""

    items: list[Item] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    ids: list[list[list[int]]] = field(default_factory=list)
    cut: list[list[bool]] = field(default_factory=list)
    totals: list[list[Total]] = field(default_factory=list)
    seconds: float = 0.0
    scoring: float = 0.0
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True)
class Cost:
    """Cost of one forward and backward pass: seconds and bytes per token, and constant memory."""

    seconds_a_token: float
    bytes_a_token: float
    held: int
    trained: int


def probe(run: JobDir, home: Home, status: Status) -> str:
    """Run the probe in ``run``.

    Raises:
        Stopped: A user stopped it; only the samples are kept.
        TunesmithError: It failed; the message says why.
    """
    with start.for_a_while(run):
        return _probe(run, home, status)


def _probe(run: JobDir, home: Home, status: Status) -> str:
    asked = run.whole_config()
    config = parse(asked["config"])
    device = this_device()
    use_cores(device)
    status.update(message="Loading the model", device=device.name if device.kind == "cuda" else "cpu")
    start.prepare(run, config, device, home, status)
    loaded = load_for_training(config, device, home, run)
    data = prepare(config, loaded.tokenizer, run, home, status)
    config = with_decisions(config, data, status)
    with (
        closing(Reporter(run, status.value.attempt)) as reporter,
        closing(TrainingJob(config, run, home, device, loaded, data, status, reporter)) as job,
    ):
        engine = job.engine
        warmed = config.pre_training.enabled and warm_up(job)
        items = data.train[: int(asked["prompts"])]
        sampled = _sample(items, int(asked["samples"]), config, engine, status, reporter)
        status.update(message="Measuring one step")
        cost = _measure(loaded, sampled, device)
    figures = _figures(sampled, config, loaded, cost, device, len(data.train), warmed)
    verdict = judge(figures, titles(config.reward))
    write_json(run.result, {"figures": figures.json(), "verdict": verdict.json()})
    return verdict.title


def _sample(
    items: list[Item], count: int, config: RunConfig, engine: Engine, status: Status, reporter: Reporter
) -> Sampled:
    found, sampling, score = Sampled(), training_sampling(config), compose(config.reward, markers_of(config.dataset))
    torch.manual_seed(config.training.seed)
    status.begin_phase("", "Sampling answers", step=0, max_steps=len(items))
    for place, item in enumerate(items):
        if status.stop_asked:
            raise Stopped("Stopped. The answers collected so far were saved, but there is no verdict.")
        started = time.perf_counter()
        ids = engine.generate([item.prompt_ids] * count, sampling).tokens
        found.seconds += time.perf_counter() - started
        texts = [engine.text(one) for one in ids]
        started = time.perf_counter()
        totals = score.many([item.answered(text) for text in texts])
        found.scoring += time.perf_counter() - started
        cut = [engine.cut_off(one) for one in ids]
        found.items.append(item)
        found.texts.append(texts)
        found.ids.append(ids)
        found.cut.append(cut)
        found.totals.append(totals)
        reporter.group("probe", place + 1, _group(item, texts, ids, cut, totals))
        found.spent += score.take_spent()
        status.update(step=place + 1)
    return found


def _group(item: Item, texts: list[str], ids: list[list[int]], cut: list[bool], totals: list[Total]) -> GroupContent:
    records = [completion_record(*one, None) for one in zip(texts, ids, cut, totals, strict=True)]
    return {
        "instruction": item.row["instruction"], "prompt": item.prompt, "reference": item.row.get("response"), "completions": records,
    }  # fmt: skip


def _figures(
    found: Sampled, config: RunConfig, loaded: Loaded, cost: Cost, device: Device, rows: int, warmed: bool
) -> Figures:
    score, markers = compose(config.reward, markers_of(config.dataset)), markers_of(config.dataset)
    right = [[_right(total, config) for total in group] for group in found.totals]
    never, sometimes, always = shares(right)
    flat = [total for group in found.totals for total in group]
    targets = [warm_up_target(item.row, config.dataset, item.opened) for item in found.items]
    tokens = sum(len(one) for group in found.ids for one in group)
    texts = [item.opened + text for item, group in zip(found.items, found.texts, strict=True) for text in group]
    step = _step_seconds(found, cost, config, tokens)
    steps = _steps(config, rows)
    return Figures(
        prompts=len(found.items), samples=len(found.totals[0]), never=never, sometimes=sometimes, always=always,
        solved=sum(map(sum, right)) / len(flat),
        with_spread=sum(max(t.total for t in group) - min(t.total for t in group) > 1e-6 for group in found.totals) / len(found.totals),
        reward=statistics.fmean(total.total for total in flat), reward_spread=statistics.pstdev(total.total for total in flat),
        reference=_reference(score, found.items, targets), wrong=_wrong(score, config, found.items),
        components={name: _component([total.components[name].score for total in flat]) for name in flat[0].components},
        cut_off=sum(map(sum, found.cut)) / len(flat),
        reference_cut_off=sum(_length(text, loaded) > config.training.max_new_tokens for text in targets) / len(targets),
        unparsed=sum(not answered(text, config.reward, markers) for text in texts) / len(texts),
        entropy=_entropy(loaded, found), tokens_per_second=tokens / found.seconds,
        seconds_per_step=step, steps=steps, hours=step * steps / 3600,
        memory_needed=_memory(cost, config, found), memory_free=_free(device), warmed_up=warmed,
        judge_requests=found.spent.requests, judge_tokens=found.spent.tokens, judge_cost=found.spent.cost,
        run_judge_cost=found.spent.cost / len(flat) * answers_a_step(config) * steps,
    )  # fmt: skip


def _right(total: Total, config: RunConfig) -> bool:
    truth = [part.key for part in resolve(config.reward) if CATALOGUE[part.name].verifies and part.weight > 0]
    if truth:
        return all(total.components[key].score >= 1 for key in truth)
    return total.total >= maximum(config.reward) - 1e-9


def _component(scores: Sequence[float]) -> Component:
    return Component(statistics.fmean(scores), statistics.pstdev(scores))


def _reference(score: Scorer, items: list[Item], targets: list[str]) -> float:
    totals = score.many([item.answered(text) for text, item in zip(targets, items, strict=True)])
    return statistics.fmean(total.total for total in totals)


def _wrong(score: Scorer, config: RunConfig, items: list[Item]) -> float:
    """The reward of a wrong answer in the right format."""
    return statistics.fmean(
        total.total for total in score.many(wrong_in_form(config.dataset, [item.row for item in items]))
    )


def _length(text: str, loaded: Loaded) -> int:
    # One more for the end token.
    return len(loaded.tokenizer(text, add_special_tokens=False)["input_ids"]) + 1


def _steps(config: RunConfig, rows: int) -> int:
    training = config.training
    per_step = max(1, method(config.method).rows_a_step(config))
    return training.max_steps or max(1, math.ceil(rows / per_step * training.num_epochs))


def answers_a_step(config: RunConfig) -> int:
    """Completions per optimizer step."""
    return config.training.batch_size * config.training.gradient_accumulation_steps


def _step_seconds(found: Sampled, cost: Cost, config: RunConfig, tokens: int) -> float:
    """Seconds for generating, scoring and training on one step's answers."""
    answers = answers_a_step(config)
    sampled = sum(len(group) for group in found.ids)
    prompt = statistics.fmean(len(item.prompt_ids) for item in found.items)
    learned = (prompt + tokens / sampled) * answers * config.grpo.num_iterations
    return (found.seconds + found.scoring) / sampled * answers + learned * cost.seconds_a_token


def _measure(loaded: Loaded, found: Sampled, device: Device) -> Cost:
    """Measure one pass over the longest sampled answer; the adapter is unchanged."""
    model = loaded.model
    place = max(range(len(found.items)), key=lambda n: len(found.items[n].prompt_ids))
    ids = torch.tensor([[*found.items[place].prompt_ids, *max(found.ids[place], key=len)]], device=model.device)
    held = _used(device)
    started = time.perf_counter()
    with _peak(device) as peak:
        logits = model(input_ids=ids).logits[:, :-1].float()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[0, 1:]).backward()
    seconds = time.perf_counter() - started
    model.zero_grad(set_to_none=True)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    length = ids.shape[1]
    return Cost(seconds / length, max(0, peak[0] - held) / length, held, trained)


def _used(device: Device) -> int:
    return int(torch.cuda.memory_allocated()) if device.kind == "cuda" else int(psutil.Process().memory_info().rss)


@contextmanager
def _peak(device: Device) -> Iterator[list[int]]:
    """Peak memory in bytes; on a CPU sampled every few milliseconds."""
    peak, over = [_used(device)], threading.Event()
    if device.kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
        yield peak
        peak[0] = int(torch.cuda.max_memory_allocated())
        return

    def watch() -> None:
        while not over.wait(0.003):
            peak[0] = max(peak[0], _used(device))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _memory(cost: Cost, config: RunConfig, found: Sampled) -> int:
    """Constant memory, optimizer state and gradients, and the largest batch, by tokens."""
    longest = max(len(item.prompt_ids) for item in found.items) + config.training.max_new_tokens
    batch = longest * config.training.batch_size
    return int(cost.held + cost.trained * (ADAM_BYTES + 4) + cost.bytes_a_token * batch)


def _free(device: Device) -> int:
    """Memory that this process may use: its own plus what is free."""
    if device.kind == "cuda":
        return int(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved())
    return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)


def _entropy(loaded: Loaded, found: Sampled, answers: int = 8) -> float:
    """Mean entropy over the tokens of a few answers, in nats, at temperature 1."""
    values: list[float] = []
    model = loaded.model
    model.eval()
    with torch.no_grad():
        for item, ids in list(zip(found.items, found.ids, strict=True))[:answers]:
            text = torch.tensor([[*item.prompt_ids, *ids[0]]], device=model.device)
            logits = model(input_ids=text, logits_to_keep=len(ids[0]) + 1).logits[0, :-1].float().log_softmax(-1)
            values += (-(logits.exp() * logits).sum(-1)).tolist()
    return statistics.fmean(values)
