"""The page of one export: its files, their comparison with the trained model, how to use them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import NotFound
from core.fidelity import FidelityVerdict
from core.settings import Home
from pages.exports.index import title
from pages.parts import Line
from services.container import Services
from services.exports.exports import ExportView, unverified
from services.forms.labels import plain_name
from services.jobs.facts import JobFacts

KINDS = {
    ".gguf": "Model for llama.cpp, Ollama, and LM Studio",
    ".safetensors": "Weights",
    ".zip": "Reproduction bundle",
    ".jinja": "Chat template",
}
VERDICTS = {
    FidelityVerdict.FAITHFUL: ("good", "Faithful"),
    FidelityVerdict.LOSES_QUALITY: ("watch", "Loses quality"),
    FidelityVerdict.BROKEN: ("problem", "Broken"),
    FidelityVerdict.UNVERIFIED: ("watch", "Not verified on this machine"),
    FidelityVerdict.NOT_CHECKED: ("", "Not checked"),
}


@dataclass(frozen=True)
class Command:
    """A command to copy."""

    title: str
    text: str


@dataclass(frozen=True)
class CheckLine:
    """One comparison with the trained model; ``level`` is a note's."""

    subject: str
    level: str
    verdict: str
    reason: str
    figures: tuple[Line, ...]


@dataclass(frozen=True)
class FileLine:
    """A finished file; ``tensors`` are (pattern of names, type)."""

    name: str
    kind: str
    size: int
    sha256: str
    file_type: str
    bits_per_weight: float | None
    tensor_types: dict[str, int]
    tensors: tuple[tuple[str, str], ...]
    check: CheckLine | None
    unverified: bool


@dataclass(frozen=True)
class ExportDetail:
    """One export with everything on its page.

    ``repeats``: it failed with an error that a new attempt would repeat.
    """

    export_id: str
    session_id: str
    run_name: str
    title: str
    job: JobFacts
    damage: tuple[str, ...]
    made_from: tuple[Line, ...]
    checks: tuple[CheckLine, ...]
    files: tuple[FileLine, ...]
    commands: tuple[Command, ...]
    modelfile: str
    log: str
    talk: str
    evaluate: str
    unverified: tuple[str, ...]
    verifying: bool
    repeats: bool

    def download(self, name: str) -> str:
        """The file's address."""
        return f"/api/exports/{self.export_id}/download/{name}"


@dataclass(frozen=True)
class ExportPage:
    """An export's own page."""

    export: ExportDetail


def export_page(services: Services, export_id: str) -> ExportPage:
    """Raises NotFound."""
    item = services.exports.get(export_id)
    run_title = services.runs.titles().get(item.session_id)
    return ExportPage(
        ExportDetail(
            export_id=item.export_id,
            session_id=item.session_id,
            run_name=run_title or item.job.name,
            title=title(item, run_title),
            job=item.job,
            damage=tuple(item.damage),
            made_from=made_from(item, services.settings.home),
            checks=tuple(map(check_line, item.fidelity)),
            files=tuple(file_line(file) for file in sorted(item.files, key=lambda file: -file["size"])),
            commands=commands(item.commands),
            modelfile=_modelfile(services, item),
            log=services.exports.log(export_id, useful=True),
            talk=f"/playground?model={item.model_path}" if item.model_path else "",
            evaluate=f"/evaluations/new?session_id={item.session_id}&model={item.model_path}"
            if item.model_path
            else "",
            unverified=tuple(item.unverified),
            verifying=item.verifying,
            repeats=any(report["verdict"] == FidelityVerdict.BROKEN for report in item.fidelity),
        )
    )


def made_from(item: ExportView, home: Home) -> tuple[Line, ...]:
    """The source of its weights."""
    origin = item.origin
    step = origin.get("checkpoint")
    base = (plain_name(str(origin.get("base") or ""), home), str(origin.get("base_revision") or ""))
    lines = [
        Line("Base model", " ".join(base).strip()),
        Line("Adapter", item.adapter),
        Line("Checkpoint", f"Step {step}" if step is not None else ""),
        Line("Adapter SHA-256", origin.get("adapter_sha256") or ""),
        Line("Trained model SHA-256", origin.get("model_sha256") or ""),
        Line("Data SHA-256", origin.get("dataset_hash") or ""),
        Line("Importance matrix", "Measured on this run's prompts" if item.importance_matrix else ""),
    ]
    return tuple(line for line in lines if line.value)


def check_line(report: dict[str, Any]) -> CheckLine:
    """A comparison with the trained model, in words and figures."""
    level, word = VERDICTS[FidelityVerdict(report["verdict"])]
    figures = [
        Line("Prompts compared", str(report.get("prompts", 0))),
        Line("Same prompt tokens", _of_prompts(report.get("same_prompt_ids"))),
        Line("Same top token", _share(report.get("top1_agreement"))),
        Line("KL divergence", _kl(report.get("mean_kl"))),
        Line("Identical answers", _share(report.get("exact_match"))),
        Line("Answers end on their own", _share(report.get("stops"))),
        Line("Reward", _pair(report)),
        Line("Drop in reward", _drop(report)),
        Line("Better choice", str(report.get("better_choice") or "")),
    ]
    return CheckLine(
        subject={"merged": "Merged model", "adapter": "Adapter"}.get(report["subject"], report["subject"]),
        level=level,
        verdict=word,
        reason=report.get("reason", ""),
        figures=tuple(line for line in figures if line.value),
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _of_prompts(value: float | None) -> str:
    return "" if value is None else f"in {value:.1%} of prompts"


def _kl(value: float | None) -> str:
    return "" if value is None else f"{value:.2g} nats per token (difference in probabilities; 0 means none)"


def _pair(report: dict[str, Any]) -> str:
    before, after = report.get("reward_trained"), report.get("reward_exported")
    return "" if before is None or after is None else f"{before:.3f} trained, {after:.3f} exported"


def _drop(report: dict[str, Any]) -> str:
    drop, low, high = (report.get(f"reward_drop{end}") for end in ("", "_low", "_high"))
    return "" if drop is None or low is None or high is None else f"{drop:.3f} (95% interval {low:.3f} to {high:.3f})"


def file_line(file: dict[str, Any]) -> FileLine:
    """A finished file with the types of its tensors."""
    report = file.get("fidelity")
    return FileLine(
        name=file["name"],
        kind=_kind(file),
        size=file["size"],
        sha256=file["sha256"],
        file_type=file.get("file_type") or "",
        bits_per_weight=file.get("bits_per_weight"),
        tensor_types=file.get("tensor_types") or {},
        tensors=tensor_lines(file.get("tensors") or {}),
        check=check_line(report) if report else None,
        unverified=unverified(file),
    )


def _kind(file: dict[str, Any]) -> str:
    name, suffix = file["name"], Path(file["name"]).suffix
    if name.startswith("Modelfile"):
        return "Settings for Ollama"
    if file.get("file_type") == "LoRA adapter" or name == "adapter_model.safetensors":
        return "Adapter weights"
    return KINDS.get(
        suffix, "Tokenizer" if name.startswith(("tokenizer", "vocab", "merges", "special")) else "Settings"
    )


def tensor_lines(tensors: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The type of each tensor, with equal layers grouped: ('blk.*.attn_q.weight', 'Q4_K')."""
    groups: dict[str, dict[str, list[int]]] = {}
    for name, kind in tensors.items():
        place = re.search(r"\.(\d+)\.", name)
        pattern = name if place is None else f"{name[: place.start()]}.*.{name[place.end() :]}"
        groups.setdefault(pattern, {}).setdefault(kind, []).append(int(place[1]) if place else -1)
    return tuple((pattern, _by_layer(kinds)) for pattern, kinds in groups.items())


def _by_layer(kinds: dict[str, list[int]]) -> str:
    if len(kinds) == 1:
        return next(iter(kinds))
    return "; ".join(f"{kind} in layers {_ranges(sorted(layers))}" for kind, layers in kinds.items())


def _ranges(numbers: list[int]) -> str:
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def commands(given: Any) -> tuple[Command, ...]:
    """The export's commands: a list of entries, or a title for each text."""
    if isinstance(given, dict):
        return tuple(
            Command(str(name), "\n".join(text) if isinstance(text, list) else str(text)) for name, text in given.items()
        )
    found = []
    for entry in given or []:
        if isinstance(entry, dict):
            text = entry.get("command") or entry.get("text") or entry.get("commands") or ""
            found.append(
                Command(
                    str(entry.get("title") or entry.get("name") or "Command"),
                    "\n".join(text) if isinstance(text, list) else str(text),
                )
            )
        else:
            found.append(Command("Command", str(entry)))
    return tuple(found)


def _modelfile(services: Services, item: ExportView) -> str:
    if not any(file["name"] == "Modelfile" for file in item.files):
        return ""
    try:
        path: Path = services.exports.path(item.export_id, "Modelfile")
        return path.read_text("utf-8", "replace")
    except (NotFound, OSError):  # deleted manually
        return ""
