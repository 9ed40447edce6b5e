"""What an export is."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class ExportFormat(StrEnum):
    """What a trained model can be taken away as."""

    ADAPTER = "adapter"
    """The adapter alone, in PEFT's format."""
    MERGED = "merged"
    """Base and adapter in one, as safetensors."""
    GGUF = "gguf"
    """One file for Ollama, llama.cpp and LM Studio, with a Modelfile."""


class Quantization(StrEnum):
    """Number format of a GGUF's tensors, largest first."""

    F16 = "f16"
    Q8_0 = "q8_0"
    Q5_K_M = "q5_k_m"
    Q4_K_M = "q4_k_m"


class ExportSpec(BaseModel):
    """``exports/<id>/config.json``: all that the export worker needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = "export"
    session_id: str
    format: ExportFormat
    quantization: Quantization | None = None
    name: str = ""


class ExportedFile(BaseModel):
    """One finished file, read back from disk.

    Attributes:
        name: File name inside ``exports/<id>/files``.
        size: Bytes.
        sha256: Of its content.
        file_type: ``general.file_type`` by name (``Q4_K_M``), for a GGUF.
        tensor_types: How many tensors have which type, for a GGUF.
        bits_per_weight: Tensor bytes times eight over parameters, for a GGUF.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    size: int
    sha256: str
    file_type: str | None = None
    tensor_types: dict[str, int] = {}
    bits_per_weight: float | None = None
