"""The list of exports, and the form that makes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.export import ADAPTERS, NEED_MATRIX, ExportFormat, Quantization, unexportable
from core.fidelity import FidelityVerdict
from core.job import JobState
from services.container import Services
from services.exports.expected import Checked, Expected, expected, quality
from services.exports.exports import ExportView
from services.jobs.facts import JobFacts
from services.runs.verdict import Outcome, RunVerdict
from services.runs.view import RunView
from services.words import size

JUDGED = 25
"""Number of newest runs whose outcome is shown in a list of choices."""
RECOMMENDED = (
    ("gguf/q4_k_m", "GGUF, small (Q4_K_M)", "For laptops: Ollama, llama.cpp, LM Studio."),
    ("gguf/q8_0", "GGUF, large (Q8_0)", "For the same programs, with answers closer to the trained model's."),
    ("merged", "Merged model", "Base model and adapter in one, as safetensors. For Python."),
)
MORE = (
    ("gguf/f16", "GGUF, full precision (F16)", "The trained model without quantization."),
    ("gguf", "GGUF, several quantizations", "One file for each one selected in the table below."),
    ("adapter", "Adapter", "In PEFT format, for use with the base model in Python."),
    ("adapter_gguf", "Adapter as GGUF", "For llama.cpp's --lora option and Ollama's ADAPTER."),
    ("bundle", "Reproduction bundle", "Settings, data, versions, and results in one zip file, to repeat the training."),
)
TITLES = {
    ExportFormat.ADAPTER: "Adapter",
    ExportFormat.ADAPTER_GGUF: "Adapter as GGUF",
    ExportFormat.MERGED: "Merged model",
    ExportFormat.GGUF: "GGUF",
    ExportFormat.BUNDLE: "Reproduction bundle",
}


@dataclass(frozen=True)
class CheckedTag:
    """The result of earlier checks of a format on this machine; ``level`` is a tag's."""

    level: str
    text: str


@dataclass(frozen=True)
class FormatChoice:
    """One way to export a model; ``size`` and ``quality`` are empty if unknown."""

    value: str
    title: str
    text: str
    chosen: bool
    size: str = ""
    quality: str = ""
    checked: CheckedTag | None = None


@dataclass(frozen=True)
class NumberFormat:
    """One quantization of a GGUF; ``matrix``: only with an importance matrix."""

    value: str
    title: str
    matrix: bool
    size: str = ""
    bits: str = ""
    quality: str = ""
    checked: CheckedTag | None = None


@dataclass(frozen=True)
class ExportLine:
    """An export in a list."""

    export_id: str
    title: str
    detail: str
    job: JobFacts


@dataclass(frozen=True)
class ExportsPage:
    """The list of exports, and the form that makes one. ``space`` is the free and required disk space."""

    run_choices: tuple[RunView, ...]
    verdicts: dict[str, RunVerdict]
    """Of the newest of these runs."""
    session_id: str
    head: str
    """What these runs' models give back; see :attr:`core.methods.Method.head`."""
    other: str
    """A run of the other kind, or ''."""
    formats: tuple[FormatChoice, ...]
    more: tuple[FormatChoice, ...]
    numbers: tuple[NumberFormat, ...]
    checkpoints: tuple[int, ...]
    exports: tuple[ExportLine, ...]
    space: str
    no_adapter: str
    """Why the run's adapter cannot be exported by itself; '' if it can."""


def export_choices(known: Expected | None = None, head: str = "language") -> tuple[FormatChoice, ...]:
    """The few formats that suit most users, with their expected size and quality if known; the first is chosen."""
    offered = _offered(RECOMMENDED, head)
    return tuple(_format(known, *choice, chosen=not place) for place, choice in enumerate(offered))


def more_choices(known: Expected | None = None, head: str = "language") -> tuple[FormatChoice, ...]:
    """The other formats, those of an adapter only if the run has one that can be exported by itself."""
    impossible = {ExportFormat.ADAPTER_GGUF} if known and known.dora else frozenset[ExportFormat]()
    impossible |= ADAPTERS if known and known.no_adapter else frozenset[ExportFormat]()
    offered = (choice for choice in _offered(MORE, head) if choice[0] not in impossible)
    return tuple(_format(known, *choice, chosen=False) for choice in offered)


def _offered(choices: Sequence[tuple[str, str, str]], head: str) -> list[tuple[str, str, str]]:
    return [choice for choice in choices if not unexportable(ExportFormat(split_choice(choice[0])[0]), head)]


def _format(known: Expected | None, value: str, title: str, text: str, *, chosen: bool) -> FormatChoice:
    kind, quantization = split_choice(value)
    if quantization:
        of = Quantization(quantization)
        count, good, subject = known.gguf(of) if known else None, quality(of), of.label
    else:
        count, subject = known.whole(ExportFormat(kind)) if known else None, kind
        good = "Same as the trained model" if kind in {"merged", "adapter"} else ""
    checked = _tag(known.checked.get(subject)) if known else None
    if kind == ExportFormat.MERGED and known and known.whole_model:
        title, text = "Whole model", "The trained model as safetensors. For Python."
    return FormatChoice(value, title, text, chosen, _about(count), good, checked)


def number_formats(known: Expected | None = None, head: str = "language") -> tuple[NumberFormat, ...]:
    """Every quantization that a GGUF can have here, largest first; none if there can be no GGUF."""
    if unexportable(ExportFormat.GGUF, head):
        return ()
    return tuple(
        NumberFormat(
            kind.value,
            kind.label,
            kind in NEED_MATRIX,
            size(count) if known and (count := known.gguf(kind)) else "",
            f"{known.bits(kind):.1f}" if known else "",
            quality(kind),
            _tag(known.checked.get(kind.label)) if known else None,
        )
        for kind in Quantization
    )


def _about(count: int | None) -> str:
    return f"about {size(count)}" if count else ""


def _tag(checked: Checked | None) -> CheckedTag | None:
    if checked is None:
        return None
    faithful = checked.verdict is FidelityVerdict.FAITHFUL
    where = "for this run" if checked.this_run else "for another run of this base model"
    return CheckedTag("good" if faithful else "watch", f"{'Faithful' if faithful else 'Loses quality'} {where}")


def expected_of(services: Services, run: RunView | None) -> Expected | None:
    """What is known about a run's exports beforehand; empty without a run."""
    if run is None:
        return None
    base = run.job.model
    siblings = {one.session_id for one in services.runs.list() if one.job.model == base}
    return expected(
        services.settings.home, services.exports.list(), session_id=run.session_id, base=base, siblings=siblings
    )


def split_choice(choice: str) -> tuple[str, str | None]:
    """'gguf/q4_k_m' as format and quantization."""
    kind, _, quantization = choice.partition("/")
    return kind, quantization or None


def exportable(services: Services) -> tuple[RunView, ...]:
    """Runs that have ended and have a trained model, newest first."""
    trained = {model.session_id for model in (*services.models.trained(), *services.models.scoring())}
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
    """The list of exports, and the forms.

    Args:
        session_id: The run to export. Without one that can be, the newest that learned, else the newest.
    """
    runs = exportable(services)
    asked = next((run for run in runs if run.session_id == session_id), None)
    scoring = {model.session_id for model in services.models.scoring()}
    judged = (*runs[:JUDGED], *([asked] if asked else []))
    verdicts = {one.session_id: services.runs.verdict(one) for one in judged}
    learned = (run for run in runs[:JUDGED] if verdicts[run.session_id].outcome is Outcome.LEARNED)
    run = asked or next(learned, runs[0] if runs else None)
    known = expected_of(services, run)
    # The formats depend on it, so the form offers runs of one kind, and links to the others.
    head = "score" if run and run.session_id in scoring else "language"
    alike = tuple(one for one in runs if (one.session_id in scoring) == (head == "score"))
    other = next((one.session_id for one in runs if one not in alike), "")
    return ExportsPage(
        alike,
        verdicts,
        run.session_id if run else "",
        head,
        other,
        export_choices(known, head),
        more_choices(known, head),
        number_formats(known, head),
        tuple(services.exports.checkpoints(run.session_id)) if run else (),
        export_lines(services),
        _space(known),
        known.no_adapter if known else "",
    )


def _space(known: Expected | None) -> str:
    if known is None:
        return ""
    free = f"{size(known.free)} of disk space available."
    if not known.needed:
        return free
    enough = "" if known.needed < known.free else " Free up some space first."
    return f"{free} Creating a GGUF temporarily needs up to {size(known.needed)}.{enough}"


def title(item: ExportView, run_title: str | None = None) -> str:
    """'GGUF Q4_K_M of my run'; ``run_title`` is the run's unique title, if it still exists."""
    numbers = ", ".join(kind.upper() for kind in item.quantizations)
    return f"{TITLES[ExportFormat(item.format)]}{f' {numbers}' if numbers else ''} of {run_title or item.job.name}"


def _detail(item: ExportView) -> str:
    if item.job.queue_position:
        return f"Position {item.job.queue_position} in the queue"
    if item.job.state is not JobState.COMPLETED:
        return item.job.error or item.job.message
    names = ", ".join(file["name"] for file in sorted(item.files, key=lambda file: -file["size"])[:4])
    return f"{names}. Not verified on this machine: {', '.join(item.unverified)}" if item.unverified else names
