"""The model card: origin, quality, checks and reproduction of a model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

import core.rewards
from core.config import ModelSection, RunConfig, dump, parse
from core.environment import environment, known_attempts
from core.errors import TunesmithError
from core.evaluation import RunEvaluation
from core.export import ExportFormat, ExportSpec
from core.job_dir import JobDir, iter_rows, read_json, read_model
from core.job_rows import MetricRow, is_metric, measure
from core.kept import Kept
from core.lora import share_words
from core.methods import Need, method
from core.metric import Better
from core.metrics import metric
from core.model import BUILTIN_PREFIX, ORIGINAL
from core.reproduce import ran_on, versions_line
from core.reward_report import RewardReport
from core.reward_report_words import in_words
from core.settings import Home
from core.start import Start

CARD = "README.md"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
RELATION = {
    ExportFormat.ADAPTER: "adapter",
    ExportFormat.ADAPTER_GGUF: "adapter",
    ExportFormat.MERGED: "finetune",
    ExportFormat.GGUF: "quantized",
}
LIBRARY = {ExportFormat.ADAPTER: "peft", ExportFormat.MERGED: "transformers"}
SPDX = {"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "gpl-3.0", "openrail", "gemma"}
VERDICTS = {
    "faithful": "faithful",
    "loses_quality": "loses quality",
    "broken": "broken",
    "unverified": "not verified: llama.cpp crashed on the machine that made it",
    "not_checked": "not checked",
}


def model_card(export: JobDir, home: Home, *, repo: str, licence: str = "") -> str:
    """The text of ``README.md`` for an export.

    Args:
        export: The finished export's directory.
        home: Location of the run that it comes from.
        repo: The repository's name, as the title.
        licence: The base model's, as SPDX id or its own name; empty if unknown.
    """
    asked = export.read_config()
    spec = ExportSpec.model_validate(
        {name: asked[name] for name in {*ExportSpec.model_fields, "quantization"} & set(asked)}
    )
    result = read_json(export.result) or {}
    session, config = _session(spec, home)
    base = public_name(config.model.name if config else spec.base or str((result.get("origin") or {}).get("base", "")))
    head = front_matter(spec.format, base, config, licence)
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n",
        f"# {plain(repo.rpartition('/')[2])}\n",
        _opening(spec, base, config, session),
        _fidelity(result),
        _evaluation(session, config),
        _scores_report(session),
        _use(result),
        _data(config, session, result),
        _reward(config),
        _training(config, session),
        _again(config, session),
    ]
    return "\n".join(part for part in parts if part)


def front_matter(kind: ExportFormat, base: str, config: RunConfig | None, licence: str) -> dict[str, Any]:
    """Metadata for Hugging Face: base model and relation to it, license, tags, data."""
    known = licence.lower() if licence.lower() in SPDX else ""
    head: dict[str, Any] = {"license": known or "other"}
    if not known:
        head["license_name"] = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-") or "as-the-base-model"
    if HUB_ID.fullmatch(base):
        head |= {"base_model": base, "base_model_relation": RELATION.get(kind, "finetune")}
        if not known:
            head["license_link"] = f"https://huggingface.co/{base}"
    if config:
        sources = [part.source for part in config.dataset.mix] or [config.dataset.source]
        named = [source for source in sources if HUB_ID.fullmatch(source)]
        head |= {"datasets": named} if named else {}
    if kind in LIBRARY:
        head["library_name"] = LIBRARY[kind]
    head["pipeline_tag"] = "text-classification" if _scores(config) else "text-generation"
    lora = [] if config and config.model.adapter == "none" else ["lora"]
    tags = ["tunesmith", *method(config.method if config else None).tags, *lora]
    head["tags"] = [*tags, "gguf"] if kind in {ExportFormat.GGUF, ExportFormat.ADAPTER_GGUF} else tags
    return head


def _scores(config: RunConfig | None) -> bool:
    """Whether it is a reward model."""
    return config is not None and method(config.method).head == "score"


def public_name(name: str) -> str:
    """A model's public name: the original of the built-in one; only the last part of a folder."""
    if name in ORIGINAL:
        return ORIGINAL[name]
    if name.startswith(BUILTIN_PREFIX):
        return name.removeprefix(BUILTIN_PREFIX)
    return Path(name).name if name.startswith(("/", ".", "~")) else name


def plain(text: object) -> str:
    """Text escaped so that it cannot leave its cell or start markup."""
    return re.sub(r"([|<>\[\]`*_#\\])", r"\\\1", " ".join(str(text).split()))


def _session(spec: ExportSpec, home: Home) -> tuple[JobDir | None, RunConfig | None]:
    try:
        session = JobDir.open(home.outputs, spec.session_id)
        return session, parse(session.whole_config()["config"])
    except (TunesmithError, KeyError):
        return None, None


def _opening(spec: ExportSpec, base: str, config: RunConfig | None, session: JobDir | None) -> str:
    kinds = {
        ExportFormat.ADAPTER: "A LoRA adapter",
        ExportFormat.ADAPTER_GGUF: "A LoRA adapter as GGUF",
        ExportFormat.MERGED: "A whole model" if config and config.model.adapter == "none" else "A merged model",
        ExportFormat.GGUF: "A model as GGUF",
        ExportFormat.BUNDLE: "A training",
    }
    name = f"[{base}](https://huggingface.co/{base})" if HUB_ID.fullmatch(base) else plain(base or "an unnamed model")
    if config is None or session is None:
        return f"{kinds[spec.format]} made from {name} and an adapter.\n"
    step = f", checkpoint of step {spec.checkpoint}" if spec.checkpoint is not None else ""
    how = f"{method(config.method).term}{' after a warm-up' if config.pre_training.enabled else ''}"
    return (
        f"{kinds[spec.format]}: {name}, trained with {how} "
        f"by Tunesmith (run '{plain(session.read_config().get('name', ''))}'{step}).\n"
    )


def _fidelity(result: dict[str, Any]) -> str:
    reports = result.get("fidelity") or []
    if not reports:
        return ""
    if all(one.get("positions") in {0, None} and one.get("mean_kl") is None for one in reports):
        said = [f"- {plain(one.get('subject', ''))}: {plain(one.get('reason', ''))}" for one in reports]
        return "\n".join(["## Comparison with the trained model\n", *said, ""])
    lines = [
        "## Comparison with the trained model\n",
        "| File | Result | Same top token | KL divergence, nats per token | Reward loss (95% interval) |",
        "|---|---|---|---|---|",
    ]
    for one in reports:
        lost = _interval(one.get("reward_drop"), one.get("reward_drop_low"), one.get("reward_drop_high"))
        verdict = VERDICTS.get(str(one.get("verdict")), str(one.get("verdict")))
        lines.append(
            f"| {plain(one.get('subject', ''))} | **{plain(verdict)}** | {_share(one.get('top1_agreement'))} "
            f"| {_formatted(one.get('mean_kl'), '.2g')} | {lost} |"
        )
    said = [f"- {plain(one.get('subject', ''))}: {plain(one['reason'])}" for one in reports if one.get("reason")]
    prompts = max((int(one.get("prompts") or 0) for one in reports), default=0)
    return "\n".join([*lines, "", *said, "", f"On the same {prompts} held-out prompts.\n"])


def _evaluation(session: JobDir | None, config: RunConfig | None) -> str:
    if session is None or config is None:
        return ""
    made = read_model(session.evaluation, RunEvaluation)
    if made:
        return _paired(made)
    lead = method(config.method).described[0]
    found = [
        (row, value)
        for row in iter_rows(session.metrics, is_metric)
        if row.get("phase") == "evaluation" and (value := measure(row, lead.key)) is not None
    ]
    if len(found) < 2:
        return ""
    (_, first), (row, last) = found[0], found[-1]
    kept = read_model(session.kept, Kept)
    if kept and kept.published:
        row, last = next((one for one in reversed(found) if one[0]["step"] == kept.step), found[-1])
    better = f" ({lead.better.words})" if lead.better is Better.LOWER else ""
    return (
        "## Evaluation\n\n"
        f"Mean {lead.term}{better} on {row.get('samples', '?')} held-out prompts: {first:.3f} before training, "
        f"{last:.3f} at step {row['step']}. {_change(row, lead.key)}{_kept(kept)}\n"
    )


def _change(row: MetricRow, key: str) -> str:
    low, high = measure(row, f"{key}_change_low"), measure(row, f"{key}_change_high")
    if low is None or high is None:
        return "No interval was computed, so a small difference may not be significant."
    return f"95% interval of the change: {low:+.3f} to {high:+.3f}."


def _kept(kept: Kept | None) -> str:
    """Why the run ended early, and which step is its result."""
    if kept is None:
        return ""
    ended = f" Training ended early, after step {kept.ended} of {kept.planned}." if kept.ended is not None else ""
    best = f" This is the step with the best of all evaluations, {kept.step}." if kept.published else ""
    return f"{ended}{best}"


def _paired(found: RunEvaluation) -> str:
    report = found.report
    rows = [(metric("reward").title, report.score), (metric("solved").title, report.solved)]
    rows += [(f"Component: {plain(core.rewards.part_title(name))}", part) for name, part in report.components.items()]
    lines = [
        f"## Evaluation\n\n{plain(report.sentence)}\n",
        f"| On {report.pairs} held-out prompts | Before | After | Difference | {report.level:.0%} interval |",
        "|---|---|---|---|---|",
    ]
    for title, one in rows:
        lines.append(
            f"| {title} | {one.first:.3f} | {one.second:.3f} | {one.difference:+.3f} "
            f"| {one.low:+.3f} to {one.high:+.3f} |"
        )
    lines += ["", f"Same prompts for both, at step {found.step}. McNemar's exact test on right and wrong: p = "]
    lines[-1] += f"{report.mcnemar:.3g}.\n"
    return "\n".join(lines)


def _scores_report(session: JobDir | None) -> str:
    """What a reward model's scores are worth."""
    found = read_model(session.reward_report, RewardReport) if session else None
    if found is None:
        return ""
    lines = ["## What the scores are worth\n", f"On {len(found.pairs)} held-out pairs:\n", "| | |", "|---|---|"]
    lines += [f"| {plain(name)} | {plain(value)} |" for name, value in in_words(found)]
    return "\n".join(lines) + "\n"


def _use(result: dict[str, Any]) -> str:
    told = []
    for entry in result.get("commands") or []:
        text = str(entry.get("text") or entry.get("command") or "") if isinstance(entry, dict) else ""
        if text:
            told.append(f"{plain(entry.get('title', 'Command'))}:\n\n{fenced(text)}")
    return "## How to use it\n\n" + "\n".join(told) if told else ""


def _data(config: RunConfig | None, session: JobDir | None, result: dict[str, Any]) -> str:
    if config is None:
        return ""
    info = (read_json(session.prepared / "info.json") if session else None) or {}
    lines = ["## Data\n"]
    for one in config.dataset.mix or (config.dataset,):
        which = ", ".join(filter(None, (one.subset, one.split, one.revision)))
        lines.append(f"- {plain(public_name(one.source))} ({plain(which)})")
    if info.get("train") is not None:
        lines.append(f"- {info['train']} training rows and {info.get('holdout', 0)} held-out rows")
    digest = info.get("sha256") or (result.get("origin") or {}).get("dataset_hash")
    if digest:
        lines.append(f"- SHA-256 of the prepared rows: `{digest}`")
    return "\n".join(lines) + "\n"


def _reward(config: RunConfig | None) -> str:
    parts = core.rewards.resolve(config.reward) if config else ()
    if not parts:
        return ""
    lines = ["## Reward\n", "| Component | Weight | Checks correctness |", "|---|---|---|"]
    for part in parts:
        checks = "yes" if core.rewards.CATALOGUE[part.name].verifies else "no, format only"
        name = part.name if part.key == part.name else f"{part.key} ({part.name})"
        lines.append(f"| {plain(name)} | {part.weight:g} | {checks} |")
    return "\n".join(lines) + "\n"


def _training(config: RunConfig | None, session: JobDir | None) -> str:
    if config is None or session is None:
        return ""
    training = config.training
    attempts = known_attempts(session) or [environment()]
    writes = Need.ROLLOUTS in method(config.method).needs
    status = session.read_status()
    trained = []
    if status and status.parameters:
        trained = [("Trained", share_words(status.trained_parameters, status.parameters))]
    rows = [
        ("Steps", status.step if status else "?"),
        *(
            [("Prompts × answers per step", _per_step(config))]
            if writes
            else [("Rows per step", training.batch_size * training.gradient_accumulation_steps)]
        ),
        ("Learning rate", f"{training.learning_rate:g}, {training.lr_scheduler_type}"),
        *_adapter(config.model),
        *_start(session),
        *trained,
        *method(config.method).facts(config),
        ("Maximum length", f"{training.max_new_tokens} tokens, temperature {training.temperature:g}")
        if writes
        else ("Maximum length", f"{training.max_sequence_length} tokens"),
        ("Seed", training.seed),
        ("Hardware", ran_on(attempts[-1])),
        ("Versions", versions_line(attempts[-1])),
    ]
    lines = ["## Training\n", "| | |", "|---|---|", *(f"| {name} | {plain(value)} |" for name, value in rows)]
    return "\n".join(lines) + "\n"


def _again(config: RunConfig | None, session: JobDir | None) -> str:
    if config is None or session is None:
        return ""
    given = published(config)
    return (
        "## Reproduce\n\n"
        "Save the configuration below as `config.json` and run it with Tunesmith:\n\n"
        f"{fenced('flask --app flask_app train config.json')}\n"
        "On a CPU, the same versions, rows and seed give identical rewards at every step; on a GPU they are close. The "
        "run's reproduction bundle also contains the rows, versions and a hash of every file.\n\n"
        f"<details><summary>Complete configuration</summary>\n\n"
        f"{fenced(json.dumps(given, ensure_ascii=False, indent=1), 'json')}\n</details>\n"
    )


def published(config: RunConfig) -> dict[str, Any]:
    """The configuration for publication: without local paths and the address of a judge."""
    given = dump(config)
    given["model"]["name"] = public_name(given["model"]["name"])
    for part in (given["dataset"], *given["dataset"]["mix"]):
        part["source"] = public_name(part["source"])
    for part in given.get("reward", {}).get("components", []):
        part["params"] = {name: value for name, value in part["params"].items() if name != "url"}
    return given


def fenced(text: str, kind: str = "") -> str:
    """A code block that its text cannot close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{kind}\n{text.rstrip()}\n{fence}\n"


def _per_step(config: RunConfig) -> str:
    training = config.training
    answers = training.batch_size * training.gradient_accumulation_steps
    return f"{answers // training.num_generations} × {training.num_generations}"


def _adapter(model: ModelSection) -> list[tuple[str, str]]:
    if model.adapter == "none":
        return [("Adapter", "none, every weight is trained")]
    kind = "DoRA" if model.use_dora else "LoRA"
    own = model.target_modules if isinstance(model.target_modules, str) else ", ".join(model.target_modules)
    layers = own if model.layers == "custom" else f"{model.layers.replace('_', '-')} layers"
    scaling = ", rank-stabilized" if model.use_rslora else ""
    return [(kind, f"rank {model.lora_rank}, alpha {model.lora_alpha}{scaling}, {layers}")]


def _start(session: JobDir) -> list[tuple[str, str]]:
    """The earlier run that this one went on from."""
    start = read_model(session.start_facts, Start)
    if start is None:
        return []
    step = f", checkpoint of step {start.step}" if start.step is not None else ""
    how = "with its adapter merged into the base model" if start.merged else "with its weights"
    return [("Continued from", f"the run '{start.name}'{step}, {how}")]


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "not measured"
    bounds = f" ({low:+.3f} to {high:+.3f})" if low is not None and high is not None else ""
    return f"{value:+.3f}{bounds}"


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1%}"


def _formatted(value: float | None, form: str) -> str:
    return "not measured" if value is None else format(value, form)
