"""Metadata read back from finished files, and commands for using them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.export import ExportedFile
from core.fidelity import FidelityReport
from core.training.gguf import file as gguf_file
from core.training.job.weights import sha256
from core.weights import ADAPTER_WEIGHTS

BITS_OF = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8}
"""Bits per value of safetensors' dtypes."""

Command = dict[str, str]


def exported(path: Path, reports: Mapping[str, FidelityReport]) -> ExportedFile:
    """Size, hash and, for weights, each tensor's type.

    Args:
        path: A finished file.
        reports: The checks by subject.
    """
    common = {"name": path.name, "size": path.stat().st_size, "sha256": sha256(path)}
    if path.suffix == ".gguf":
        facts = gguf_file.read_back(path)
        report = reports.get(facts.file_type) or reports.get("adapter as GGUF")
        return ExportedFile(
            **common,
            file_type="LoRA adapter" if facts.adapter else facts.file_type,
            tensor_types=facts.tensor_types,
            tensors=facts.tensors,
            bits_per_weight=facts.bits_per_weight,
            fidelity=report,
        )
    if path.suffix == ".safetensors":
        tensors, bits = safetensors_types(path)
        report = reports.get("adapter" if path.name == ADAPTER_WEIGHTS else "merged")
        types = dict(Counter(tensors.values()).most_common())
        return ExportedFile(
            **common, tensor_types=types, tensors=tensors, bits_per_weight=round(bits, 3), fidelity=report
        )
    return ExportedFile(**common)


def safetensors_types(path: Path) -> tuple[dict[str, str], float]:
    """Each tensor's dtype from the file's header, and the bits per weight."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    tensors = {name: str(entry["dtype"]) for name, entry in header.items()}
    size = sum(entry["data_offsets"][1] - entry["data_offsets"][0] for entry in header.values())
    weights = sum(8 * (entry["data_offsets"][1] - entry["data_offsets"][0]) / BITS_OF[entry["dtype"]]
                  for entry in header.values() if entry["dtype"] in BITS_OF)  # fmt: skip
    return tensors, 8 * size / weights if weights else 0.0


def slug(name: str) -> str:
    """A name as a file name: letters, digits, dots and dashes.

    >>> slug("Rechnen & mehr: 2. Lauf")
    'Rechnen-mehr-2.-Lauf'
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:60] or "model"


def adapter_commands(base: str) -> list[Command]:
    """For an adapter in PEFT's format."""
    text = (
        "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n"
        f'base = AutoModelForCausalLM.from_pretrained("{base}")\nmodel = PeftModel.from_pretrained(base, ".")'
    )
    return [{"title": "Python, in the folder with the downloaded files", "text": text}]


def merged_commands() -> list[Command]:
    """For a merged folder."""
    text = (
        "from transformers import pipeline\n"
        'answer = pipeline("text-generation", model=".")\nprint(answer("Hello", max_new_tokens=64))'
    )
    return [{"title": "Python, in the folder with the downloaded files", "text": text}]


def gguf_commands(files: Sequence[str], stem: str) -> list[Command]:
    """For GGUF files with their Modelfiles, the first of which is called Modelfile; a line or two each."""
    ollama = []
    for place, file in enumerate(files):
        kind = Path(file).stem.rpartition("-")[2]
        name, recipe = (stem.lower(), "Modelfile") if place == 0 else (f"{stem}-{kind}".lower(), f"Modelfile-{kind}")
        ollama.append(f"ollama create {name} -f {recipe}\nollama run {name}")
    return [
        {"title": "Ollama", "text": "\n".join(ollama)},
        _each("llama.cpp: chat in the terminal", "llama-cli -m {} --jinja -cnv", files),
        _each("llama.cpp: server with an API", "llama-server -m {} --jinja --port 8080", files),
        _each("LM Studio", "lms import {}", files),
    ]


def _each(title: str, command: str, files: Sequence[str]) -> Command:
    return {"title": title, "text": "\n".join(command.format(file) for file in files)}


def lora_commands(adapter: str, base: str, stem: str, name: str) -> list[Command]:
    """For a GGUF adapter; ``base`` is the user's GGUF of the base model ``name``."""
    made = f"python convert_hf_to_gguf.py <folder of {name}> --outfile {base} --outtype f16"
    return [
        {"title": "Once: convert the base model to GGUF with llama.cpp", "text": made},
        {"title": "llama.cpp", "text": f"llama-cli -m {base} --lora {adapter} --jinja -cnv"},
        {
            "title": "Ollama, with the base model in the same folder",
            "text": f"ollama create {stem.lower()} -f Modelfile\nollama run {stem.lower()}",
        },
    ]


def bundle_commands(file: str) -> list[Command]:
    """For a reproduction bundle."""
    return [{"title": "Reproduce the run with Tunesmith", "text": f"flask --app flask_app reproduce {file}"}]
