"""Creates GGUF files and reads back their contents.

The conversion runs llama.cpp's converter as a separate program, because it brings its own ``gguf`` package, which must
not be mixed with the installed one. Quantization and the load test also run in child processes.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gguf import LlamaFileType

from core import llama
from core.child import child_environment
from core.errors import Unavailable
from core.export import Quantization
from core.settings import PROJECT
from core.training.gguf import header as gguf_header
from core.training.gguf.convert_child import NO_RULE
from core.training.gguf.vocabulary import Vocabulary

CONVERTER = PROJECT / ".tools" / "convert" / "convert_hf_to_gguf.py"
FILE_TYPES = {member.name.removeprefix("MOSTLY_").removeprefix("ALL_"): int(member.value) for member in LlamaFileType}
"""Values of ``general.file_type`` by name."""
CHILD = Path(__file__).with_name("quantize_child.py")
CONVERT_CHILD = Path(__file__).with_name("convert_child.py")
NO_RULE_WORDS = (
    "llama.cpp does not support the way this model's tokenizer splits text, so a GGUF would tokenize questions "
    "differently from training."
)


log = logging.getLogger("tunesmith")


class Crashed(Unavailable):
    """The child process ended by a signal."""


class Cancelled(Exception):
    """The child process was ended because a stop was requested."""


@dataclass(frozen=True)
class GgufFacts:
    """Contents of a GGUF, read from the file itself.

    Attributes:
        file_type: ``general.file_type`` by name, such as ``Q4_K_M``.
        tensor_types: Number of tensors of each type. Rows that are not a multiple of the wanted type's block
            get another type, so a Q4_K_M file may contain Q5_0 and Q8_0.
        bits_per_weight: Tensor bytes times eight over the number of weights.
        tensors: Type of each tensor, by name.
        adapter: Whether it is an adapter, not a model.
        chat_template: As stored, or None.
    """

    file_type: str
    tensor_types: dict[str, int]
    bits_per_weight: float
    tensors: dict[str, str]
    adapter: bool
    chat_template: str | None


def convert(
    model: Path,
    target: Path,
    stop: Callable[[], bool],
    kind: Quantization = Quantization.F16,
    vocabulary: Vocabulary | None = None,
    name: str = "",
) -> None:
    """Convert a merged Hugging Face folder to a GGUF in 32 or 16 bit.

    Args:
        model: The folder.
        target: The file.
        stop: Polled.
        kind: F32, F16 or BF16.
        vocabulary: Facts about the tokenizer that the converter cannot detect.
        name: The model's name in the file's header; empty for the folder's.

    Raises:
        Unavailable: The converter is missing, does not know the model or its tokenizer, or failed.
        Cancelled: A stop was requested.
    """
    if not CONVERTER.is_file():
        raise Unavailable("The GGUF converter is not installed. Run setup again to install it.")
    told = vocabulary or Vocabulary()
    # Without -P: the converter's own folder must come first on the path, where its packages lie.
    command = [sys.executable, str(CONVERT_CHILD), str(CONVERTER), json.dumps({"rule": told.rule, "flags": told.flags})]
    command += [str(model), "--outfile", str(target), "--outtype", kind.value]
    command += ["--model-name", told.named(name)] if name else []
    run_child(command, "The conversion to GGUF failed", stop, {NO_RULE: NO_RULE_WORDS})


def quantize(
    source: Path, target: Path, kind: Quantization, stop: Callable[[], bool], matrix: Path | None = None
) -> None:
    """Quantize an f16 file, with an importance matrix if there is one. Raises as :func:`convert`."""
    command = [sys.executable, "-P", str(CHILD), str(source), str(target), kind.label]
    command += [str(matrix)] if matrix else []
    failure = f"Quantization to {kind.label} failed"
    try:
        run_child(command, failure, stop)
    except Crashed:
        log.warning("llama.cpp crashed while quantizing to %s; retrying once", kind.label)
        run_child(command, failure, stop)


def run_child(
    command: Sequence[str], failure: str, stop: Callable[[], bool], messages: Mapping[int, str] | None = None
) -> str:
    """Run a program to its end, or terminate it when a stop is requested.

    Args:
        command: The program and its arguments.
        failure: Description of the failure.
        stop: Called twice a second.
        messages: Messages for known exit codes.

    Returns:
        Its standard output. Its standard error goes to the log.

    Raises:
        Crashed: It was ended by a signal.
        Unavailable: It failed; the message quotes its last lines.
        Cancelled: A stop was requested.
    """
    environment = child_environment(HF_HUB_OFFLINE="1", PYTHONDONTWRITEBYTECODE="1")
    process = subprocess.Popen(
        command,
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    output, errors = "", ""
    while True:
        try:
            output, errors = process.communicate(timeout=0.5)
            break
        except subprocess.TimeoutExpired:
            if stop():
                process.kill()
                process.communicate()
                raise Cancelled from None
    sys.stderr.write(errors)
    if process.returncode in (messages or {}):
        raise Unavailable((messages or {})[process.returncode])
    if process.returncode < 0:
        advice = f" {llama.ELSEWHERE} {llama.REMEDY}" if process.returncode == -signal.SIGILL else ""
        raise Crashed(f"{failure}: its process ended with {llama.died(process.returncode)}.{advice}")
    if process.returncode:
        last = " ".join(line.strip() for line in errors.strip().splitlines()[-3:])
        raise Unavailable(f"{failure} (exit code {process.returncode}): {last[-600:] or 'no output'}")
    return output


def tensor_types(path: Path) -> set[str]:
    """The types of a file's tensors; empty if it cannot be read."""
    try:
        return {tensor.kind for tensor in gguf_header.read(path).tensors.values()}
    except (ValueError, OSError):
        return set()


def read_back(path: Path) -> GgufFacts:
    """Read a GGUF's header and tensor table."""
    header = gguf_header.read(path)
    names = {value: name for name, value in FILE_TYPES.items()}
    number = int(header.fields.get("general.file_type", -1))
    template = header.fields.get("tokenizer.chat_template")
    tensors = header.tensors.values()
    return GgufFacts(
        file_type=names.get(number, f"unknown ({number})"),
        tensor_types=dict(Counter(tensor.kind for tensor in tensors).most_common()),
        bits_per_weight=round(
            8 * sum(tensor.size for tensor in tensors) / sum(tensor.weights for tensor in tensors), 3
        ),
        adapter="adapter.type" in header.fields,
        tensors={name: tensor.kind for name, tensor in header.tensors.items()},
        chat_template=None if template is None else str(template),
    )
