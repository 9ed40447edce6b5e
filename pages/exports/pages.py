"""The contexts of the export pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from core.errors import NotFound
from core.export import NEED_MATRIX, ExportFormat, Quantization
from core.fidelity import Verdict
from core.run import ENDED, JobState
from pages.exports import views as export_views
from pages import parts as views
from services.container import Services
from services.exports.exports import ExportView, unverified
from services.runs.view import RunView

JUDGED = 25
"""Newest runs of a list of choices whose outcome is said there."""
RECOMMENDED = (
    ("gguf/q4_k_m", "GGUF, small (Q4_K_M)", "About 5 bits a weight, more in small models. For laptops."),
    ("gguf/q8_0", "GGUF, large (Q8_0)", "8 bits a weight. Twice the size, and closer."),
    ("gguf/f16", "GGUF, unreduced (F16)", "16 bits a weight. The trained model as it is."),
    ("merged", "Whole model", "Original and adapter in one, as safetensors, for Python programs."),
)
MORE = (
    ("gguf", "GGUF in the number formats ticked below", "Several files from one merge, each compared with the model."),
    ("adapter", "Adapter only", "A few megabytes, in PEFT's format; needs the original model beside it."),
    ("adapter_gguf", "Adapter only, as GGUF", "For llama.cpp's --lora and Ollama's ADAPTER."),
    ("bundle", "Everything to run the training again", "Configuration, data, versions and results in one zip file."),
)
TITLES = {
    ExportFormat.ADAPTER: "Adapter",
    ExportFormat.ADAPTER_GGUF: "Adapter as GGUF",
    ExportFormat.MERGED: "Whole model",
    ExportFormat.GGUF: "GGUF",
    ExportFormat.BUNDLE: "Reproduction bundle",
}
KINDS = {
    ".gguf": "Model for llama.cpp, Ollama and LM Studio",
    ".safetensors": "Weights",
    ".zip": "Everything to run it again",
    ".jinja": "How a conversation is written",
}
VERDICTS = {
    Verdict.FAITHFUL: ("good", "Faithful"),
    Verdict.LOSES_QUALITY: ("watch", "Loses quality"),
    Verdict.BROKEN: ("problem", "Broken"),
    Verdict.UNVERIFIED: ("watch", "Unverified on this machine"),
    Verdict.NOT_CHECKED: ("", "Not checked"),
}


def export_choices(chosen: str = "gguf/q4_k_m") -> tuple[export_views.FormatChoice, ...]:
    """The few ways to take a model away that suit most people."""
    return tuple(export_views.FormatChoice(value, title, text, value == chosen) for value, title, text in RECOMMENDED)


def more_choices() -> tuple[export_views.FormatChoice, ...]:
    """The other ways."""
    return tuple(export_views.FormatChoice(value, title, text, False) for value, title, text in MORE)


def number_formats() -> tuple[export_views.NumberFormat, ...]:
    """Every number format that a GGUF can have here, largest first."""
    return tuple(export_views.NumberFormat(kind.value, kind.label, kind in NEED_MATRIX) for kind in Quantization)


def split_choice(choice: str) -> tuple[str, str | None]:
    """'gguf/q4_k_m' as format and quantization."""
    kind, _, quantization = choice.partition("/")
    return kind, quantization or None


def exportable(found: Services) -> tuple[RunView, ...]:
    """Runs that are over and have an adapter, newest first."""
    trained = {model.session_id for model in found.models.trained()}
    return tuple(run for run in found.runs.list() if run.session_id in trained and JobState(run.status) in ENDED)


def export_lines(found: Services, session_id: str | None = None) -> tuple[export_views.ExportLine, ...]:
    """All exports, or those of one run."""
    shown = found.exports.of_session(session_id) if session_id else found.exports.list()
    runs = found.runs.titles()
    return tuple(
        export_views.ExportLine(
            item.export_id,
            title(item, runs.get(item.session_id)),
            _detail(item),
            item.status,
            item.active,
            item.step,
            item.max_steps,
            item.created_at,
        )
        for item in shown
    )


def exports_page(found: Services, session_id: str) -> export_views.ExportsPage:
    """The list of exports, and the forms."""
    runs = exportable(found)
    return export_views.ExportsPage(
        runs,
        {
            run.session_id: found.runs.verdict(run)
            for place, run in enumerate(runs)
            if place < JUDGED or run.session_id == session_id
        },
        session_id,
        export_choices(),
        more_choices(),
        number_formats(),
        tuple(found.exports.checkpoints(session_id)) if session_id else (),
        export_lines(found),
    )


def export_page(found: Services, export_id: str) -> export_views.ExportPage:
    """Raises NotFound."""
    item = found.exports.get(export_id)
    run_title = found.runs.titles().get(item.session_id)
    return export_views.ExportPage(
        export_views.ExportDetail(
            export_id=item.export_id,
            session_id=item.session_id,
            run_name=run_title or item.name,
            title=title(item, run_title),
            status=item.status,
            active=item.active,
            step=item.step,
            max_steps=item.max_steps,
            message=item.message,
            error=item.error or "",
            notes=tuple(item.notes),
            damage=tuple(item.damage),
            created_at=item.created_at,
            made_from=made_from(item),
            checks=tuple(map(check_line, item.fidelity)),
            files=tuple(file_line(file) for file in sorted(item.files, key=lambda file: -file["size"])),
            commands=commands(item.commands),
            modelfile=_modelfile(found, item),
            log=found.exports.log(export_id, useful=True),
            talk=f"/playground?model={item.model_path}" if item.model_path else "",
            evaluate=f"/evaluations/new?session_id={item.session_id}&model={item.model_path}"
            if item.model_path
            else "",
            unverified=tuple(item.unverified),
            verifying=item.verifying,
            repeats=any(report["verdict"] == Verdict.BROKEN for report in item.fidelity),
        )
    )


def made_from(item: ExportView) -> tuple[views.Line, ...]:
    """Where its numbers come from."""
    origin = item.origin
    step = origin.get("checkpoint")
    lines = [
        views.Line(
            "Original model", " ".join(str(origin[name]) for name in ("base", "base_revision") if origin.get(name))
        ),
        views.Line("Adapter", item.adapter),
        views.Line("Checkpoint", f"of step {step}" if step is not None else ""),
        views.Line("Adapter's sha256", origin.get("adapter_sha256") or ""),
        views.Line("Data's sha256", origin.get("dataset_hash") or ""),
        views.Line("Importance matrix", "measured on this run's own prompts" if item.importance_matrix else ""),
    ]
    return tuple(line for line in lines if line.value)


def check_line(report: dict[str, Any]) -> export_views.CheckLine:
    """A comparison with the trained model, in words and figures."""
    level, word = VERDICTS[Verdict(report["verdict"])]
    figures = [
        views.Line("Prompts compared", str(report.get("prompts", 0))),
        views.Line("Same tokens in", _of_prompts(report.get("same_prompt_ids"))),
        views.Line("Same likeliest token", _share(report.get("top1_agreement"))),
        views.Line("KL divergence", _kl(report.get("mean_kl"))),
        views.Line("Same answer", _share(report.get("exact_match"))),
        views.Line("Stops by itself", _share(report.get("stops"))),
        views.Line("Reward", _pair(report)),
        views.Line("Reward lost", _drop(report)),
        views.Line("Would not lose", str(report.get("better_choice") or "")),
    ]
    return export_views.CheckLine(
        subject=report["subject"],
        level=level,
        verdict=word,
        reason=report.get("reason", ""),
        figures=tuple(line for line in figures if line.value),
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _of_prompts(value: float | None) -> str:
    return "" if value is None else f"{value:.1%} of the prompts"


def _kl(value: float | None) -> str:
    return "" if value is None else f"{value:.2g} nats a token (how far its probabilities are off; 0 is not at all)"


def _pair(report: dict[str, Any]) -> str:
    before, after = report.get("reward_trained"), report.get("reward_exported")
    return "" if before is None or after is None else f"{before:.3f} trained, {after:.3f} exported"


def _drop(report: dict[str, Any]) -> str:
    drop, low, high = (report.get(f"reward_drop{end}") for end in ("", "_low", "_high"))
    return "" if drop is None or low is None or high is None else f"{drop:.3f} (95 % interval {low:.3f} to {high:.3f})"


def file_line(file: dict[str, Any]) -> export_views.FileLine:
    """A finished file with what each of its tensors is."""
    report = file.get("fidelity")
    return export_views.FileLine(
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
        return "Recipe for Ollama"
    if file.get("file_type") == "LoRA adapter" or name == "adapter_model.safetensors":
        return "Adapter's weights"
    return KINDS.get(
        suffix, "Tokenizer" if name.startswith(("tokenizer", "vocab", "merges", "special")) else "Settings"
    )


def tensor_lines(tensors: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """What each tensor became, layers with the same type together: ('blk.*.attn_q.weight', 'Q4_K')."""
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


def title(item: ExportView, run_title: str | None = None) -> str:
    """'GGUF Q4_K_M of my run'; ``run_title`` is what tells the run apart, where there still is one."""
    numbers = ", ".join(kind.upper() for kind in item.quantizations)
    return f"{TITLES[ExportFormat(item.format)]}{f' {numbers}' if numbers else ''} of {run_title or item.name}"


def _detail(item: ExportView) -> str:
    if item.queue_position:
        return f"number {item.queue_position} in the queue"
    if item.status != JobState.COMPLETED:
        return item.error or item.message
    names = ", ".join(file["name"] for file in sorted(item.files, key=lambda file: -file["size"])[:4])
    return f"{names}; unverified on this machine: {', '.join(item.unverified)}" if item.unverified else names


def commands(given: Any) -> tuple[export_views.Command, ...]:
    """What the export wrote down for its use: a list of entries, or a title for each text."""
    if isinstance(given, dict):
        return tuple(
            export_views.Command(str(name), "\n".join(text) if isinstance(text, list) else str(text))
            for name, text in given.items()
        )
    found = []
    for entry in given or []:
        if isinstance(entry, dict):
            text = entry.get("command") or entry.get("text") or entry.get("commands") or ""
            found.append(
                export_views.Command(
                    str(entry.get("title") or entry.get("name") or "Command"),
                    "\n".join(text) if isinstance(text, list) else str(text),
                )
            )
        else:
            found.append(export_views.Command("Command", str(entry)))
    return tuple(found)


def _modelfile(found: Services, item: ExportView) -> str:
    if not any(file["name"] == "Modelfile" for file in item.files):
        return ""
    try:
        path: Path = found.exports.path(item.export_id, "Modelfile")
        return path.read_text("utf-8", "replace")
    except (NotFound, OSError):  # it was deleted by hand
        return ""
