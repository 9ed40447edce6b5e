"""The list of exports, and the form that makes one."""

from __future__ import annotations

from dataclasses import dataclass
from services.runs.verdict import RunVerdict
from services.jobs.facts import JobFacts
from services.runs.view import RunView
from core.export import NEED_MATRIX, ExportFormat, Quantization
from core.job import ENDED, JobState
from services.container import Services
from services.exports.exports import ExportView, unverified

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


@dataclass(frozen=True)
class FormatChoice:
    """One way to take a model away."""

    value: str
    title: str
    text: str
    chosen: bool


@dataclass(frozen=True)
class NumberFormat:
    """One number format of a GGUF; ``matrix``: only with an importance matrix."""

    value: str
    title: str
    matrix: bool


@dataclass(frozen=True)
class ExportLine:
    """An export in a list."""

    export_id: str
    title: str
    detail: str
    job: JobFacts


@dataclass(frozen=True)
class ExportsPage:
    """The list of exports, and the form that makes one."""

    run_choices: tuple[RunView, ...]
    verdicts: dict[str, RunVerdict]
    """Of the newest of these runs."""
    session_id: str
    formats: tuple[FormatChoice, ...]
    more: tuple[FormatChoice, ...]
    numbers: tuple[NumberFormat, ...]
    checkpoints: tuple[int, ...]
    exports: tuple[ExportLine, ...]


def export_choices(chosen: str = "gguf/q4_k_m") -> tuple[FormatChoice, ...]:
    """The few ways to take a model away that suit most people."""
    return tuple(FormatChoice(value, title, text, value == chosen) for value, title, text in RECOMMENDED)


def more_choices() -> tuple[FormatChoice, ...]:
    """The other ways."""
    return tuple(FormatChoice(value, title, text, False) for value, title, text in MORE)


def number_formats() -> tuple[NumberFormat, ...]:
    """Every number format that a GGUF can have here, largest first."""
    return tuple(NumberFormat(kind.value, kind.label, kind in NEED_MATRIX) for kind in Quantization)


def split_choice(choice: str) -> tuple[str, str | None]:
    """'gguf/q4_k_m' as format and quantization."""
    kind, _, quantization = choice.partition("/")
    return kind, quantization or None


def exportable(services: Services) -> tuple[RunView, ...]:
    """Runs that are over and have an adapter, newest first."""
    trained = {model.session_id for model in services.models.trained()}
    return tuple(run for run in services.runs.list() if run.session_id in trained and run.job.over)


def export_lines(services: Services, session_id: str | None = None) -> tuple[ExportLine, ...]:
    """All exports, or those of one run."""
    shown = services.exports.of_session(session_id) if session_id else services.exports.list()
    runs = services.runs.titles()
    return tuple(
        ExportLine(
            item.export_id,
            title(item, runs.get(item.session_id)),
            _detail(item),
            item.job,
        )
        for item in shown
    )


def exports_page(services: Services, session_id: str) -> ExportsPage:
    """The list of exports, and the forms."""
    runs = exportable(services)
    return ExportsPage(
        runs,
        {
            run.session_id: services.runs.verdict(run)
            for place, run in enumerate(runs)
            if place < JUDGED or run.session_id == session_id
        },
        session_id,
        export_choices(),
        more_choices(),
        number_formats(),
        tuple(services.exports.checkpoints(session_id)) if session_id else (),
        export_lines(services),
    )


def title(item: ExportView, run_title: str | None = None) -> str:
    """'GGUF Q4_K_M of my run'; ``run_title`` is what tells the run apart, where there still is one."""
    numbers = ", ".join(kind.upper() for kind in item.quantizations)
    return f"{TITLES[ExportFormat(item.format)]}{f' {numbers}' if numbers else ''} of {run_title or item.job.name}"


def _detail(item: ExportView) -> str:
    if item.job.queue_position:
        return f"number {item.job.queue_position} in the queue"
    if item.job.state is not JobState.COMPLETED:
        return item.job.error or item.job.message
    names = ", ".join(file["name"] for file in sorted(item.files, key=lambda file: -file["size"])[:4])
    return f"{names}; unverified on this machine: {', '.join(item.unverified)}" if item.unverified else names
