"""The self-test of llama.cpp: tiny random models with every tensor type, each loaded in a process that may crash.

``python -P core/training/__main__.py llama`` runs it during setup; otherwise the first user of
llama.cpp does (:func:`ensure`). It takes a few seconds.
"""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter

from core import llama
from core.child import child_environment, script_command
from core.llama import SPIN, Outcome
from core.settings import Home, Settings

CHILD = Path(__file__).with_name("selftest_child.py")
TYPES = (
    "F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_1", "Q5_K", "Q5_0", "Q4_1", "Q4_K", "Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K",
    "IQ3_S", "IQ3_XXS", "Q2_K", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S",
)  # fmt: skip
"""Every tensor type that the offered number formats use (:mod:`core.export`)."""
QUANTIZER = "quantizer"
WIDTH = 256
"""Values per row: the block size of K-quants."""
HEADS, KEY_HEADS = 4, 2
SMALL_BYTES = 32
"""Upper bound for random bytes of a quantized block: as 16-bit numbers, scales stay below 0.01 and finite."""
PATIENCE = 120.0
"""Seconds without output after which a process counts as hung. Normal are hundredths."""

log = logging.getLogger("tunesmith")


@dataclass
class Tried:
    """The result of one process.

    Attributes:
        done: Names that worked.
        at: The name and operation at which it ended; empty before the first.
        code: Its exit code; None if it hung and was terminated.
        said: Its last line on standard error.
    """

    done: list[str]
    at: str = ""
    doing: str = ""
    code: int | None = None
    said: str = ""

    @property
    def how(self) -> str:
        """Description of how it ended."""
        ended = "no answer" if self.code is None else llama.died(self.code)
        said = f": {self.said}" if self.said and (self.code or 0) > 0 else ""
        return f"{ended}{f' at {self.doing}' if self.doing else ''}{said}"

    @property
    def outside(self) -> bool:
        """Whether it was terminated from outside, which says nothing about llama.cpp."""
        return self.code is not None and self.code < 0 and -self.code not in llama.CRASHES


class Ended(Exception):
    """The test's process was terminated from outside, so there is no outcome."""


def ensure(home: Home, say: Callable[[str], None] = log.info) -> Outcome:
    """The stored outcome for this machine; if there is none, run the test, in one process at a time.

    Args:
        home: Its cache stores the outcome.
        say: Called with progress messages.
    """
    found = llama.read(home)
    if found is not None:
        return found
    with llama.alone(home):
        found = llama.read(home)
        return found if found is not None else run(home, say)


def run(home: Home, say: Callable[[str], None] = log.info, child: Path = CHILD) -> Outcome:
    """Test llama.cpp and store the outcome.

    Args:
        home: Its cache stores the outcome.
        say: Called with progress messages.
        child: The script to run.
    """
    began = time.monotonic()
    say("Testing llama.cpp on this machine (once per processor and build)")
    with tempfile.TemporaryDirectory(prefix=".llama-", dir=home.cache) as folder:
        files = write(Path(folder))
        outcome = Outcome(fingerprint=llama.fingerprint(), processor=llama.processor())
        try:
            outcome = outcome.model_copy(update=_found(files, say, child))
        except Ended as error:
            log.warning("The llama.cpp self-test was killed (%s); it will be repeated", error)
            return outcome
    outcome = outcome.model_copy(update={"seconds": round(time.monotonic() - began, 1)})
    llama.keep(home, outcome)
    say(f"llama.cpp, tested in {outcome.seconds} s: {outcome.words()}")
    return outcome


def _found(files: Sequence[Path], say: Callable[[str], None], child: Path) -> dict[str, object]:
    """Test with the extra buffers; if anything died, repeat everything without."""
    with_them, unusable = _all(files, True, say, child)
    if unusable or not with_them:
        return {"unusable": unusable}
    say(f"Crashed on {', '.join(with_them)}; trying without the extra buffers")
    without, _ = _all(files, False, say, child)
    # If disabling them does not help, they are not the cause.
    if set(without) == set(with_them):
        return {"dead": with_them}
    return {"extra_buffers": False, "crashed": with_them, "dead": without}


def _all(files: Sequence[Path], extra: bool, say: Callable[[str], None], child: Path) -> tuple[dict[str, str], str]:
    """How each failed one died, and how a process died before the first."""
    left = list(files)
    died: dict[str, str] = {}
    while left:
        tried = _try(left, extra, lambda name: say(f"[{_place(files, name)}/{len(files)}] {name}"), child)
        if tried.code == 0:
            break
        if tried.outside:
            raise Ended(tried.how)
        if not tried.at:
            return died, tried.how
        died[tried.at] = tried.how
        left = left[_place(left, tried.at) :]
    return died, ""


def _place(files: Sequence[Path], name: str) -> int:
    """Counted from 1."""
    return next(place for place, file in enumerate(files, 1) if file.stem == name)


def _try(files: Sequence[Path], extra: bool, say: Callable[[str], None], child: Path) -> Tried:
    """Run one process until it has tried all or has died."""
    threads = len(os.sched_getaffinity(0))
    command = script_command(child, str(int(extra)), str(threads), *map(str, files))
    environment = {k: v for k, v in child_environment(GOMP_SPINCOUNT=SPIN).items() if k != "OMP_WAIT_POLICY"}
    tried = Tried([])
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd="/", env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, bufsize=0,
        )  # fmt: skip
        with process:
            hung = _listen(process, tried, say)
        tried.code = None if hung else process.returncode
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
    tried.said = lines[-1].strip()[:300] if lines else ""
    if tried.code != 0:
        log.warning("llama.cpp's test: %s, %s", tried.at or "before the first", tried.how)
    return tried


def _listen(process: subprocess.Popen[bytes], tried: Tried, say: Callable[[str], None]) -> bool:
    """Record its output until it ends. Returns whether it hung and was terminated."""
    rest = b""
    while process.stdout is not None:
        if not select.select([process.stdout], [], [], PATIENCE)[0]:
            process.kill()
            return True
        chunk = process.stdout.read(1 << 16)
        if not chunk:
            return False
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            word, _, value = line.decode(errors="replace").partition(" ")
            if word == "try":
                tried.at, tried.doing = value, ""
                say(value)
            elif word == "at":
                tried.doing = value
            elif word == "done":
                tried.done.append(value)
    return False


# The models


def write(folder: Path) -> list[Path]:
    """Write a one-layer model for each tensor type, at most half a megabyte except unquantized ones."""
    draw = np.random.default_rng(0)
    files = [folder / f"{name}.gguf" for name in (*TYPES, QUANTIZER)]
    for file in files:
        _model(file, GGMLQuantizationType["F32" if file.stem == QUANTIZER else file.stem], draw)
    return files


def _model(path: Path, kind: GGMLQuantizationType, draw: np.random.Generator) -> None:
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(WIDTH)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(WIDTH)
    writer.add_tokenizer_model("no_vocab")
    keys = WIDTH * KEY_HEADS // HEADS
    rows = {
        "token_embd": WIDTH, "output": WIDTH, "blk.0.attn_q": WIDTH, "blk.0.attn_k": keys, "blk.0.attn_v": keys,
        "blk.0.attn_output": WIDTH, "blk.0.ffn_gate": WIDTH, "blk.0.ffn_up": WIDTH, "blk.0.ffn_down": WIDTH,
    }  # fmt: skip
    for name, count in rows.items():
        writer.add_tensor(f"{name}.weight", _weights(count, kind, draw), raw_dtype=kind)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _weights(rows: int, kind: GGMLQuantizationType, draw: np.random.Generator) -> Any:
    """Random rows of the type. Quantized ones need no quantizer: any bytes are valid weights."""
    values = (0.05 * draw.standard_normal((rows, WIDTH))).astype(np.float32)
    if kind.name == "F32":
        return values
    if kind.name == "F16":
        return values.astype(np.float16)
    if kind.name == "BF16":
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    block, size = GGML_QUANT_SIZES[kind]
    return draw.integers(0, SMALL_BYTES, (rows, WIDTH // block * size), np.uint8)


def main() -> int:
    """For the setup: test if needed. Returns 0 if every number format works."""
    home = Settings.from_env().home
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    home.cache.mkdir(parents=True, exist_ok=True)
    return int(not ensure(home, lambda text: print(text, flush=True)).works)
