"""Expected size and quality of an export before it is created."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import Damaged
from core.export import ExportFormat, Quantization, no_adapter
from core.fidelity import BITS, FidelityVerdict
from core.gguf_size import ModelShape, gguf_bytes, tensor_bytes
from core.job_dir import JobDir, read_json
from core.settings import Home
from core.weights import own_base
from services.exports.exports import ExportView
from services.models.families import BASE_MODELS
from services.models.shape import FOUR_BIT, shape_of

ADAPTER = "adapter_model.safetensors"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "vocab.json", "merges.txt")
QUALITY = {
    **dict.fromkeys(("F32", "F16", "BF16"), "Same as the trained model"),
    **dict.fromkeys(("Q8_0", "Q6_K"), "Nearly identical"),
    **dict.fromkeys(("Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0"), "Very small loss"),
    **dict.fromkeys(("Q4_K_M", "Q4_K_S", "IQ4_NL", "IQ4_XS"), "Small loss"),
    **dict.fromkeys(("Q4_1", "Q4_0", "Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS"), "Noticeable loss"),
    "Q3_K_S": "Large loss",
}
"""By the perplexity in llama.cpp's quantizer (docs/exports.md); others count as severe."""
SEVERE = "Severe loss"


@dataclass(frozen=True)
class Checked:
    """Results of earlier exports in one format on this machine: of the same run, else of the same base model."""

    verdict: FidelityVerdict
    this_run: bool


@dataclass(frozen=True)
class Expected:
    """What is known about a run's exports beforehand.

    Attributes:
        shape: Its base model's shape; None if its files are not on this machine.
        parameters: The base model's parameter count; None if unknown.
        adapter: Bytes of the adapter's weights; None without an adapter.
        tokenizer: Bytes of the tokenizer files.
        checked: By subject: a quantization's label, ``merged`` or ``adapter``.
        free: Free disk space for exports in bytes.
        dora: Whether the adapter is a DoRA, which cannot be a GGUF of its own.
        whole_model: Whether the run trained every weight.
        no_adapter: Why the run's adapter cannot be exported by itself; '' if it can.
    """

    shape: ModelShape | None
    parameters: float | None
    adapter: int | None
    tokenizer: int
    checked: Mapping[str, Checked]
    free: int
    dora: bool = False
    whole_model: bool = False
    no_adapter: str = ""

    def gguf(self, kind: Quantization) -> int | None:
        """Bytes of a GGUF file. Without the base model's files, estimated from its size and usual bits."""
        if self.shape:
            return gguf_bytes(self.shape, kind)
        return int(self.parameters * BITS[kind.label] / 8) if self.parameters else None

    def bits(self, kind: Quantization) -> float:
        """Bits per weight; those of a typical, larger model if this one is not on this machine."""
        if self.shape:
            return 8 * tensor_bytes(self.shape, kind) / self.shape.parameters
        return BITS[kind.label]

    def whole(self, format: ExportFormat) -> int | None:  # noqa: A002 (the format's own word)
        """Bytes of an export in one of the other formats; None if unknown."""
        if format is ExportFormat.MERGED and self.parameters:
            return int(2 * self.parameters) + self.tokenizer
        if format is ExportFormat.ADAPTER and self.adapter:
            return self.adapter + self.tokenizer
        return self.adapter if format is ExportFormat.ADAPTER_GGUF else None

    @property
    def needed(self) -> int | None:
        """Temporary disk space for making a GGUF in bytes: the merged model in 32 bits, and in 16."""
        return int(6 * self.parameters) if self.parameters else None


def expected(home: Home, exports: Sequence[ExportView], *, session_id: str, base: str, siblings: set[str]) -> Expected:
    """What is known about the exports of a run.

    Args:
        home: Location of models, runs and exports.
        exports: All exports, newest first.
        session_id: The run.
        base: Its base model.
        siblings: Runs of the same base model.
    """
    run = JobDir(home.outputs / session_id)
    whole = run.model.is_dir()
    own = _own_base(run)
    shape = shape_of(str(run.model if whole else own or base), home)
    listed = next((info.parameters for info in BASE_MODELS if info.name == base.removesuffix(FOUR_BIT)), None)
    trained = run.model if whole else run.adapter
    return Expected(
        shape=shape,
        parameters=shape.parameters if shape else listed and listed * 1e9,
        adapter=_size(run.adapter / ADAPTER) or None,
        tokenizer=sum(_size(trained / name) for name in TOKENIZER),
        checked=_checked(exports, session_id, siblings),
        free=shutil.disk_usage(home.exports).free,
        dora=bool((read_json(run.adapter / "adapter_config.json") or {}).get("use_dora")),
        whole_model=whole,
        no_adapter=no_adapter(whole=whole, own_base=own is not None),
    )


def _own_base(run: JobDir) -> Path | None:
    try:
        return own_base(run)
    except Damaged:  # the run's page says so
        return run.base


def quality(kind: Quantization) -> str:
    """The usual quality loss of a quantization, in words."""
    return QUALITY.get(kind.label, SEVERE)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _checked(exports: Sequence[ExportView], session_id: str, siblings: set[str]) -> dict[str, Checked]:
    """The newest result for each format; this run's take precedence."""
    found: dict[str, Checked] = {}
    known = {FidelityVerdict.FAITHFUL, FidelityVerdict.LOSES_QUALITY}
    for this_run in (False, True):
        of = [one for one in exports if (one.session_id == session_id if this_run else one.session_id in siblings)]
        for export in reversed(of):
            for report in export.fidelity:
                if report.get("verdict") in known:
                    found[str(report["subject"])] = Checked(FidelityVerdict(report["verdict"]), this_run)
    return found
