"""The contexts of the export pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.export import ExportFormat
from core.run import ENDED, JobState
from services import views
from services.container import Services
from services.exports import ExportView
from services.run_view import RunView

CHOICES = (
    ("gguf/q4_k_m", "GGUF, small (Q4_K_M)", "About 5 bits a weight, more in small models. For laptops."),
    ("gguf/q5_k_m", "GGUF, medium (Q5_K_M)", "About 6 bits a weight. A little larger, a little closer."),
    ("gguf/q8_0", "GGUF, large (Q8_0)", "8 bits a weight. Larger and closer still."),
    ("gguf/f16", "GGUF, unreduced (F16)", "16 bits a weight. The trained model as it is."),
    ("adapter", "Adapter only", "A few megabytes, in PEFT's format; needs the original model beside it."),
    ("merged", "Whole model", "Original and adapter in one, as safetensors, for Python programs."),
)


def export_choices(chosen: str = "gguf/q4_k_m") -> tuple[views.FormatChoice, ...]:
    """The ways to take a model away."""
    return tuple(views.FormatChoice(value, title, text, value == chosen) for value, title, text in CHOICES)


def split_choice(choice: str) -> tuple[str, str | None]:
    """'gguf/q4_k_m' as format and quantization."""
    kind, _, quantization = choice.partition("/")
    return kind, quantization or None


def exportable(found: Services) -> tuple[RunView, ...]:
    """Runs that are over and have an adapter, newest first."""
    trained = {model.session_id for model in found.models.trained()}
    return tuple(run for run in found.runs.list() if run.session_id in trained and JobState(run.status) in ENDED)


def export_lines(found: Services, session_id: str | None = None) -> tuple[views.ExportLine, ...]:
    """All exports, or those of one run."""
    shown = found.exports.of_session(session_id) if session_id else found.exports.list()
    return tuple(
        views.ExportLine(
            item.export_id,
            title(item),
            _detail(item),
            item.status,
            item.active,
            item.step,
            item.max_steps,
            item.created_at,
        )
        for item in shown
    )


def exports_page(found: Services, session_id: str) -> views.ExportsPage:
    """The list of exports, and the form."""
    return views.ExportsPage(exportable(found), session_id, export_choices(), export_lines(found))


def export_page(found: Services, export_id: str) -> views.ExportPage:
    """Raises NotFound."""
    item = found.exports.get(export_id)
    return views.ExportPage(
        views.ExportDetail(
            export_id=item.export_id,
            session_id=item.session_id,
            run_name=item.name,
            title=title(item),
            status=item.status,
            active=item.active,
            step=item.step,
            max_steps=item.max_steps,
            message=item.message,
            error=item.error or "",
            created_at=item.created_at,
            files=tuple(sorted(item.files, key=lambda file: -file["size"])),
            commands=commands(item.commands),
            modelfile=_modelfile(found, item),
            log=found.exports.log(export_id),
            talk=f"/playground?model={item.model_path}" if item.model_path else "",
        )
    )


def title(item: ExportView) -> str:
    """'GGUF Q4_K_M of my run'."""
    kind = {ExportFormat.ADAPTER: "Adapter", ExportFormat.MERGED: "Whole model", ExportFormat.GGUF: "GGUF"}[
        ExportFormat(item.format)
    ]
    return f"{kind}{f' {item.quantization.upper()}' if item.quantization else ''} of {item.name}"


def _detail(item: ExportView) -> str:
    if item.queue_position:
        return f"number {item.queue_position} in the queue"
    return (
        item.error or item.message
        if item.status != JobState.COMPLETED
        else ", ".join(file["name"] for file in item.files[:4])
    )


def commands(given: Any) -> tuple[views.Command, ...]:
    """What the export wrote down for its use: a list of entries, or a title for each text."""
    if isinstance(given, dict):
        return tuple(
            views.Command(str(name), "\n".join(text) if isinstance(text, list) else str(text))
            for name, text in given.items()
        )
    found = []
    for entry in given or []:
        if isinstance(entry, dict):
            text = entry.get("command") or entry.get("text") or entry.get("commands") or ""
            found.append(
                views.Command(
                    str(entry.get("title") or entry.get("name") or "Command"),
                    "\n".join(text) if isinstance(text, list) else str(text),
                )
            )
        else:
            found.append(views.Command("Command", str(entry)))
    return tuple(found)


def _modelfile(found: Services, item: ExportView) -> str:
    if not any(file["name"] == "Modelfile" for file in item.files):
        return ""
    path: Path = found.exports.path(item.export_id, "Modelfile")
    return path.read_text("utf-8")
