"""Taking a trained model away: adapter, merged model, or GGUF with a Modelfile.

Everything is made in ``files.partial`` and becomes ``files`` by one rename, so an export is there
whole or not at all. What is said about a file is read back from the file.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoConfig, PreTrainedTokenizerBase

from core.config import RunConfig, parse
from core.data import prompts
from core.errors import Conflict, Unavailable
from core.export import ExportedFile, ExportFormat, ExportSpec, Quantization
from core.model import BUILTIN_PREFIX, Device
from core.run import JobState
from core.run_dir import RunDir, iter_lines, write_json
from core.settings import Home
from core.training import checkpoint, gguf_file
from core.training.device import use_cores
from core.training.load import load_base, load_tokenizer, source_of
from core.training.modelfile import modelfile, recognise
from core.training.prepare import rendered
from core.training.status import Status, Stopped

CPU = Device("cpu", "cpu", 0, 0, False)
"""Merging is done on the CPU in float32: exact, and it needs no GPU memory."""
SPARE = 256 * 1024 * 1024
"""Bytes of disk that an export leaves free."""
BUILTIN_ORIGINAL = {"builtin:smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""Where other people get the built-in model."""

log = logging.getLogger("tunesmith")


def export(run: RunDir, home: Home, status: Status) -> str:
    """Make what ``run``'s configuration asks for.

    Returns:
        A closing sentence.

    Raises:
        Stopped: It was cancelled; nothing is left of it.
        TunesmithError: It cannot be made, in words.
    """
    given = {name: value for name, value in run.read_config().items() if name != "created_at"}
    return Export(run, ExportSpec.model_validate(given), home, status).make()


class Export:
    """One export, stage by stage."""

    def __init__(self, run: RunDir, spec: ExportSpec, home: Home, status: Status) -> None:
        self.run, self.spec, self.home, self.status = run, spec, home, status
        session = RunDir.open(home.outputs, spec.session_id)
        self.adapter = adapter_folder(session)
        self.config: RunConfig = parse(session.read_config()["config"])
        self.session = session
        self.source = source_of(self.config.model.name, home)
        self.partial = run.path / "files.partial"
        self.work = self.partial / ".work"
        self.stem = slug(spec.name or self.config.name)
        self.stage = 0
        self.stages = {ExportFormat.ADAPTER: 2, ExportFormat.MERGED: 4, ExportFormat.GGUF: 7}.get(spec.format, 2)

    def make(self) -> str:
        """Every stage; on the way out nothing half made is left."""
        shutil.rmtree(self.partial, ignore_errors=True)
        self.work.mkdir(parents=True)
        try:
            files, commands = self._make()
            shutil.rmtree(self.work)
            shutil.rmtree(self.run.files, ignore_errors=True)
            self.partial.rename(self.run.files)
            write_json(self.run.result, {"files": [file.model_dump() for file in files], "commands": commands})
        except gguf_file.Cancelled:
            raise Stopped("Cancelled. Nothing of it was kept.") from None
        finally:
            shutil.rmtree(self.partial, ignore_errors=True)
        return "Finished"

    def _make(self) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        if self.spec.format == ExportFormat.ADAPTER:
            return self._adapter()
        if self.spec.format == ExportFormat.MERGED:
            return self._merged()
        return self._gguf()

    def _adapter(self) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        self._next("Copying the adapter")
        for file in self.adapter.iterdir():
            if file.name != "README.md":
                shutil.copy2(file, self.partial / file.name)
        self._name_base(self.partial / "adapter_config.json")
        self._next("Reading the files back")
        base = self._base_name()
        text = (
            "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n"
            f'base = AutoModelForCausalLM.from_pretrained("{base}")\nmodel = PeftModel.from_pretrained(base, ".")'
        )
        return self._files(), [{"title": "Python, in the folder with the downloaded files", "text": text}]

    def _merged(self) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        self._merge(self.partial, sixteen_bit=True)
        self._next("Reading the files back")
        text = (
            "from transformers import pipeline\n"
            'answer = pipeline("text-generation", model=".")\nprint(answer("Hello", max_new_tokens=64))'
        )
        return self._files(), [{"title": "Python, in the folder with the downloaded files", "text": text}]

    def _gguf(self) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        kind = (*self.spec.quantizations, Quantization.F16)[0]
        merged = self.work / "merged"
        tokenizer = self._merge(merged, sixteen_bit=False)
        self._next("Converting to GGUF")
        raw = self.work / "f16.gguf"
        gguf_file.convert(merged, raw, self._stop)
        shutil.rmtree(merged)
        self._next(f"Quantizing to {kind.value.upper()}" if kind != Quantization.F16 else "Keeping 16 bit")
        made = self.work / "made.gguf"
        if kind == Quantization.F16:
            raw.rename(made)
        else:
            gguf_file.quantize(raw, made, kind, self._stop)
            raw.unlink()
        return self._name_and_try(made, kind, tokenizer)

    def _name_and_try(
        self, made: Path, kind: Quantization, tokenizer: PreTrainedTokenizerBase
    ) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        """The file is called what its own header says it is."""
        facts = gguf_file.read_back(made)
        if facts.file_type != kind.value.upper():
            raise Unavailable(
                f"The file says it is {facts.file_type}, and {kind.value.upper()} was asked for. It was not kept."
            )
        target = self.partial / f"{self.stem}-{facts.file_type}.gguf"
        made.rename(target)
        self._next("Trying it in llama.cpp")
        said = gguf_file.answer(target, self._trial(tokenizer), 48, self._stop)
        self.status.note(f"Tried in llama.cpp: it answered {said.strip()[:200]!r}.")
        if not said.strip():
            raise Unavailable(
                "The file loads in llama.cpp but answers nothing, so it was not kept. Try another quantization."
            )
        self._next("Writing the Modelfile")
        self._modelfile(target, tokenizer)
        return self._files(facts), self._commands(target.name)

    def _modelfile(self, target: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        family = recognise(lambda messages: rendered(messages, tokenizer), str(tokenizer.bos_token or ""))
        if family is None:
            self.status.note(
                "The Modelfile has no TEMPLATE: this model's way of writing a conversation belongs to no family that "
                "is known here. Ollama uses the chat template inside the GGUF where it can."
            )
        system = prompts.system_prompt(self.config.dataset)
        text = modelfile(target.name, family, system, str(tokenizer.eos_token or ""))
        (self.partial / "Modelfile").write_text(text, "utf-8")

    def _commands(self, file: str) -> list[dict[str, str]]:
        name = self.stem.lower()
        return [
            {"title": "Ollama", "text": f"ollama create {name} -f Modelfile\nollama run {name}"},
            {"title": "llama.cpp: chat in the terminal", "text": f"llama-cli -m {file} --jinja -cnv"},
            {"title": "llama.cpp: server with an API", "text": f"llama-server -m {file} --jinja --port 8080"},
            {"title": "LM Studio", "text": f"lms import {file}"},
        ]

    def _merge(self, target: Path, *, sixteen_bit: bool) -> PreTrainedTokenizerBase:
        """Base and adapter as one model in ``target``; added up in float32."""
        self._next("Loading the base model")
        use_cores(CPU)
        tokenizer = load_tokenizer(str(self.adapter))
        base = load_base(self.source, self.config.model.revision, dtype="float32", device=CPU)
        self._check_disk(base.num_parameters(), sixteen_bit=sixteen_bit)
        self._next("Merging base and adapter")
        model: Any = PeftModel.from_pretrained(base, str(self.adapter)).merge_and_unload(safe_merge=True)
        if sixteen_bit:
            model = model.to(_stored_dtype(self.source, self.config.model.revision))
        self._next("Writing the merged model")
        model.save_pretrained(target, max_shard_size="5GB")
        tokenizer.save_pretrained(target)
        del model, base
        gc.collect()
        return tokenizer

    def _check_disk(self, parameters: int, *, sixteen_bit: bool) -> None:
        # As GGUF: the merged model in 32 bit and the f16 file are there together for a while.
        needed = parameters * (2 if sixteen_bit else 6) + SPARE
        free = shutil.disk_usage(self.run.path).free
        if free < needed:
            raise Unavailable(
                f"This export needs about {needed / 1e9:.1f} GB of free disk and there are {free / 1e9:.1f} GB. "
                "Free some space, then try again. Nothing was written."
            )

    def _trial(self, tokenizer: PreTrainedTokenizerBase) -> str:
        """A question that the model was trained for: the first that was held out, else the first row."""
        for name in ("holdout.jsonl", "train.jsonl"):
            for row in iter_lines(self.session.prepared / name):
                return rendered(prompts.messages(row, self.config.dataset), tokenizer)
        return rendered([{"role": "user", "content": "What is 2 + 3?"}], tokenizer)

    def _files(self, facts: gguf_file.GgufFacts | None = None) -> list[ExportedFile]:
        return [
            exported(path, facts if path.suffix == ".gguf" else None)
            for path in sorted(self.partial.iterdir())
            if path.is_file()
        ]

    def _base_name(self) -> str:
        name = self.config.model.name
        return BUILTIN_ORIGINAL.get(name, name) if name.startswith(BUILTIN_PREFIX) else name

    def _name_base(self, config: Path) -> None:
        # The trainer wrote the folder on this machine, which says nothing on another.
        data = json.loads(config.read_text("utf-8"))
        data["base_model_name_or_path"] = self._base_name()
        write_json(config, data)

    def _next(self, message: str) -> None:
        if self._stop():
            raise gguf_file.Cancelled
        self.stage += 1
        log.info("stage %d of %d: %s", self.stage, self.stages, message)
        self.status.update(state=JobState.RUNNING, step=self.stage, max_steps=self.stages, message=message)

    def _stop(self) -> bool:
        return self.status.stop_asked


def adapter_folder(session: RunDir) -> Path:
    """A run's trained adapter: the published one, else its latest checkpoint's.

    Raises:
        Conflict: There is none yet.
    """
    found = session.adapter if session.adapter.is_dir() else checkpoint.latest(session)
    if found is None:
        raise Conflict(
            "This run has no adapter yet: no checkpoint was saved. Resume it and let it reach its first checkpoint."
        )
    return found


def exported(path: Path, facts: gguf_file.GgufFacts | None) -> ExportedFile:
    """Size, hash and, for a GGUF, what its header says."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    if facts is None:
        return ExportedFile(name=path.name, size=size, sha256=digest)
    return ExportedFile(
        name=path.name,
        size=size,
        sha256=digest,
        file_type=facts.file_type,
        tensor_types=facts.tensor_types,
        bits_per_weight=facts.bits_per_weight,
    )


def slug(name: str) -> str:
    """A name as a file name: letters, digits, dots and dashes.

    >>> slug("Rechnen & mehr: 2. Lauf")
    'Rechnen-mehr-2.-Lauf'
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:60] or "model"


def _stored_dtype(source: str, revision: str | None) -> torch.dtype:
    """The 16-bit format that the base came in; bfloat16 where it came in 32 bit."""
    stored = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False).dtype
    return torch.float16 if stored == torch.float16 else torch.bfloat16
