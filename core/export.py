"""Types and settings of exports."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from core.errors import InvalidInput
from core.fidelity import FidelityReport


class ExportFormat(StrEnum):
    """What a trained model can be exported as."""

    ADAPTER = "adapter"
    """The adapter alone, in PEFT's format."""
    ADAPTER_GGUF = "adapter_gguf"
    """The adapter alone, as a GGUF LoRA for llama.cpp and Ollama's ``ADAPTER``."""
    MERGED = "merged"
    """Base and adapter in one, as safetensors."""
    GGUF = "gguf"
    """One file per quantization for Ollama, llama.cpp and LM Studio, with a Modelfile."""
    BUNDLE = "bundle"
    """Everything needed to repeat the training."""


class Quantization(StrEnum):
    """Quantization of a GGUF, largest first. A test makes each and reads it back."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q6_K = "q6_k"
    Q5_1 = "q5_1"
    Q5_K_M = "q5_k_m"
    Q5_K_S = "q5_k_s"
    Q5_0 = "q5_0"
    Q4_1 = "q4_1"
    Q4_K_M = "q4_k_m"
    Q4_K_S = "q4_k_s"
    Q4_0 = "q4_0"
    IQ4_NL = "iq4_nl"
    IQ4_XS = "iq4_xs"
    Q3_K_L = "q3_k_l"
    Q3_K_M = "q3_k_m"
    IQ3_M = "iq3_m"
    Q3_K_S = "q3_k_s"
    IQ3_S = "iq3_s"
    IQ3_XS = "iq3_xs"
    IQ3_XXS = "iq3_xxs"
    Q2_K = "q2_k"
    IQ2_M = "iq2_m"
    Q2_K_S = "q2_k_s"
    IQ2_S = "iq2_s"
    IQ2_XS = "iq2_xs"
    IQ2_XXS = "iq2_xxs"
    IQ1_M = "iq1_m"
    IQ1_S = "iq1_s"

    @property
    def label(self) -> str:
        """As the file's header and the page write it: ``Q4_K_M``."""
        return self.value.upper()


UNREDUCED = frozenset({Quantization.F32, Quantization.F16, Quantization.BF16})
"""Written by the converter, without quantizer and importance matrix."""
NEED_MATRIX = frozenset(
    {
        Quantization.IQ3_XS,
        Quantization.IQ3_XXS,
        Quantization.Q2_K_S,
        Quantization.IQ2_M,
        Quantization.IQ2_S,
        Quantization.IQ2_XS,
        Quantization.IQ2_XXS,
        Quantization.IQ1_M,
        Quantization.IQ1_S,
    }
)
"""llama.cpp does not make these without an importance matrix."""


BITS = dict(
    zip(
        Quantization,
        (32, 16, 16, 9, 7, 7, 7, 7, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6),
        strict=True,
    )
)
"""Most bits per weight that a file takes, in whole ones: small models keep their large tensors in 6 bits or more."""


ADAPTERS = frozenset({ExportFormat.ADAPTER, ExportFormat.ADAPTER_GGUF})
"""Formats of an adapter without its base model."""


def no_adapter(*, whole: bool, own_base: bool) -> str:
    """Why a run's adapter cannot be exported by itself; '' if it can.

    Args:
        whole: Whether every weight was trained.
        own_base: Whether its base is a model that only the run has.
    """
    if whole:
        return "This run trained every weight, so there is no adapter. Export the whole model or a GGUF."
    if own_base:
        return (
            "This adapter belongs to a base model that only its run has, because the run went on from an earlier run. "
            "Export the merged model or a GGUF, which contain both."
        )
    return ""


OF_SCORES = frozenset({ExportFormat.ADAPTER, ExportFormat.MERGED, ExportFormat.BUNDLE})
"""What a model that scores can be exported as."""


def unexportable(kind: ExportFormat, head: str) -> str:
    """Why a model cannot be exported in a format; '' if it can.

    Args:
        kind: The format.
        head: What the model gives back; see :attr:`core.methods.Method.head`.
    """
    if head == "score" and kind not in OF_SCORES:
        return (
            "A reward model scores answers and writes none, and the programs that read GGUF files, such as Ollama, can "
            "only let a model write. Export the merged model or the adapter."
        )
    return ""


class ExportSpec(BaseModel):
    """``exports/<id>/config.json``: everything that the export worker needs.

    Attributes:
        session_id: The run; empty for the merge of an adapter folder that was not trained here.
        checkpoint: Step of the checkpoint; None for the run's published adapter.
        adapter: A PEFT folder on this machine, for such a merge; else empty.
        base: The adapter's base model; empty: from the run or the adapter's file.
        revision: Revision of the base on Hugging Face.
        format: What to make.
        quantizations: For a GGUF: one file each, all from one merge.
        importance_matrix: Whether to quantize with an importance matrix from the run's prompts.
        name: For file names and titles.

    A file written before several quantizations could be asked for has ``quantization``, which is
    still read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = "export"
    session_id: str = ""
    checkpoint: int | None = None
    adapter: str = ""
    base: str = ""
    revision: str | None = None
    format: ExportFormat
    quantizations: tuple[Quantization, ...] = ()
    importance_matrix: bool = False
    name: str = ""

    @model_validator(mode="before")
    @classmethod
    def _one_quantization(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "quantization" not in data:
            return data
        rest = {key: value for key, value in data.items() if key != "quantization"}
        if data["quantization"] and not rest.get("quantizations"):
            rest["quantizations"] = (data["quantization"],)
        return rest

    def check_adapter(self, settings: Mapping[str, Any] | None) -> None:
        """Reject a GGUF adapter of a DoRA. Other adapters that GGUF cannot hold are found when they are loaded.

        Args:
            settings: The adapter's ``adapter_config.json``; None if it cannot be read.

        Raises:
            InvalidInput: The adapter cannot be in this format.
        """
        if self.format is ExportFormat.ADAPTER_GGUF and settings and settings.get("use_dora"):
            raise InvalidInput(
                "This adapter is a DoRA, and llama.cpp's adapter format has no place for its magnitudes. Export a "
                "GGUF, which has the adapter merged into the model.",
                field="format",
            )


class ExportedFile(BaseModel):
    """One finished file, read back from disk.

    Attributes:
        name: File name inside ``exports/<id>/files``.
        size: Bytes.
        sha256: Of its content.
        file_type: ``general.file_type`` by name (``Q4_K_M``), for a GGUF.
        tensor_types: Number of tensors of each type, for a GGUF.
        tensors: Type of each tensor by name, for a GGUF.
        bits_per_weight: Tensor bytes times eight over parameters, for a GGUF.
        fidelity: Its comparison with the trained model, if checked.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    size: int
    sha256: str
    file_type: str | None = None
    tensor_types: dict[str, int] = {}
    tensors: dict[str, str] = {}
    bits_per_weight: float | None = None
    fidelity: FidelityReport | None = None


class ExportResult(BaseModel):
    """``exports/<id>/result.json``: the files, and the results of all checks."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    files: tuple[ExportedFile, ...] = ()
    commands: Any = None
    origin: dict[str, Any] = {}
    fidelity: tuple[FidelityReport, ...] = ()
    versions: dict[str, str | None] = {}
