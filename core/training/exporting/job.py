"""The export job: adapter, merged model, GGUF with a Modelfile, or reproduction bundle.

Files are created in ``files.partial``, which is renamed to ``files`` at the end, so an export is complete or absent.
Metadata is read back from the finished files, and every export is compared with the trained model before it is offered.
"""

from __future__ import annotations

import gc
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from core import reproduce
from core.config import DatasetSection
from core.data import prompts
from core.environment import environment
from core.errors import TunesmithError, Unavailable
from core.export import ADAPTERS, UNREDUCED, ExportedFile, ExportFormat, ExportSpec, Quantization
from core.fidelity import FidelityReport, FidelityVerdict, with_better_choice
from core.job import JobState
from core.job_dir import JobDir, iter_lines, write_json
from core.model import BUILTIN_PREFIX, original_name
from core.settings import Home
from core.training.exporting import adapter_file, merge, space
from core.training.exporting import files as export_files
from core.training.exporting.modelfile import licence_of, modelfile, recognise, sampling_of
from core.training.fidelity.check import Fidelity
from core.training.gguf import adapter as gguf_adapter
from core.training.gguf import file as gguf_file
from core.training.gguf import importance
from core.training.gguf import vocabulary as gguf_vocabulary
from core.training.job.device import use_cores
from core.training.job.status import Status, Stopped
from core.training.method_rows import rendered
from core.training.models.load import source_of
from core.weights import ADAPTER_SETTINGS

PROBES = 3
"""Number of prompts on which merged logits are compared with those of base and adapter."""
CHECKING = "Checking against the trained model"
UNCONVERTED = "Export the merged model or the adapter instead; they need no conversion."
log = logging.getLogger("tunesmith")


class Export:
    """One export, stage by stage.

    However it ends, no incomplete file is kept: ``files`` appears by a rename after every check has
    passed, and the watcher removes ``files.partial`` if the worker was killed.
    """

    def __init__(self, run: JobDir, spec: ExportSpec, home: Home, status: Status) -> None:
        self.run, self.spec, self.home, self.status = run, spec, home, status
        self.origin = merge.origin_of(spec, home)
        self.partial = run.path / "files.partial"
        self.work = self.partial / ".work"
        self.stem = export_files.slug(spec.name or self.origin.weights.name)
        self.stage = 0
        self.stages = stages(spec, whole=self.origin.adapter is None)
        self.reports: list[FidelityReport] = []

    def make(self) -> str:
        """Run every stage; leave nothing incomplete on exit."""
        shutil.rmtree(self.partial, ignore_errors=True)
        self.work.mkdir(parents=True)
        try:
            files, commands = self._make()
            shutil.rmtree(self.work)
            shutil.rmtree(self.run.files, ignore_errors=True)
            self.partial.rename(self.run.files)
            self._write_result(files, commands)
        except (gguf_file.Cancelled, reproduce.Cancelled):
            raise Stopped("Canceled. No files were kept.") from None
        except TunesmithError:
            # A failed export's page shows the reason.
            self._write_result([], [])
            raise
        finally:
            shutil.rmtree(self.partial, ignore_errors=True)
        return self.closing()

    def closing(self) -> str:
        """The final message."""
        left = [report.subject for report in self.reports if report.verdict == FidelityVerdict.UNVERIFIED]
        return f"Finished. Not verified on this machine: {', '.join(left)}." if left else "Finished"

    def _make(self) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        if self.spec.format == ExportFormat.BUNDLE:
            return self._bundle()
        if self.spec.format in ADAPTERS:
            adapter_file.check_adapter(self.origin)
        self._check_room()
        use_cores(merge.CPU)
        self._next("Loading the trained model")
        model, tokenizer = merge.load_trained(self.origin)
        self._next(CHECKING)
        fidelity = self._fidelity(tokenizer)
        fidelity.trained(model, merge.untrained(self.origin, model, self.home))
        if self.spec.format == ExportFormat.ADAPTER:
            return self._adapter(model, fidelity)
        if self.spec.format == ExportFormat.ADAPTER_GGUF:
            return self._adapter_gguf(model, tokenizer, fidelity)
        merged = self._in_one(model, fidelity)
        del model
        if self.spec.format == ExportFormat.MERGED:
            return self._merged(merged, tokenizer, fidelity)
        return self._gguf(merged, tokenizer, fidelity)

    def _in_one(self, model: Any, fidelity: Fidelity) -> Any:
        """The trained model without an adapter beside it."""
        if self.origin.adapter is None:
            return model
        self._next("Merging base and adapter")
        return merge.merge(model, [question.ids for question in fidelity.questions[:PROBES]])

    # One method per format

    def _bundle(self) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        assert self.origin.session is not None  # noqa: S101 (the service asks for one)
        self._next("Collecting settings, data and results")
        target = self.partial / f"{self.stem}-reproduction.zip"
        reproduce.write_bundle(self.origin.session, target, home=self.home, stop=self._stop)
        self._next("Reading the files back")
        return self._files(), export_files.bundle_commands(target.name)

    def _adapter(self, model: Any, fidelity: Fidelity) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        self._next("Copying the adapter")
        adapter_file.copy(self.origin, self.partial)
        base = model.unload()
        del model
        self._next("Checking the copy against the trained model")
        copied = PeftModel.from_pretrained(base, str(self.partial)).eval()
        self._judge(fidelity.adapted(copied))
        name = original_name(self.origin.base)
        merge.name_base(self.partial / ADAPTER_SETTINGS, name)
        self._next("Reading the files back")
        return self._files(), export_files.adapter_commands(name)

    def _adapter_gguf(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, fidelity: Fidelity
    ) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        adapter_file.check_lora(model)
        made = self.partial / f"{self.stem}-LoRA.gguf"
        raw, layers = self._base_gguf(model, tokenizer, fidelity)
        self._next("Writing the adapter as a GGUF")
        adapter_file.write(made, raw, layers)
        del model
        self._next("Checking the adapter in llama.cpp")
        self._judge(fidelity.gguf(raw, "adapter as GGUF", adapter=made))
        known = original_name(self.origin.base).rpartition("/")[2].removeprefix(BUILTIN_PREFIX)
        base = f"{export_files.slug(known)}-F16.gguf"
        self._modelfile("Modelfile", base, tokenizer, adapter=made.name)
        self._next("Reading the files back")
        return self._files(), export_files.lora_commands(made.name, base, self.stem, original_name(self.origin.base))

    def _base_gguf(self, model: Any, tokenizer: PreTrainedTokenizerBase, fidelity: Fidelity) -> tuple[Path, Any]:
        """The base as a 16-bit GGUF, and the adapter's layers, collected before they are removed from it."""
        folder, raw = self.work / "base", self.work / "base.gguf"
        self._next("Converting the base model to GGUF for the check")
        layers = adapter_file.hold(model)
        merge.write(model.unload(), tokenizer, folder, merge.stored_dtype(self.origin))
        self._to_gguf(folder, raw, Quantization.F16, tokenizer, fidelity)
        shutil.rmtree(folder)
        return raw, layers

    def _merged(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, fidelity: Fidelity
    ) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        self._next("Writing the merged model")
        merge.write(model, tokenizer, self.partial, merge.stored_dtype(self.origin))
        del model
        gc.collect()
        self._next("Checking the merged model against the trained one")
        self._judge(fidelity.merged(self.partial))
        self._next("Reading the files back")
        return self._files(), export_files.merged_commands()

    def _gguf(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, fidelity: Fidelity
    ) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        folder, matrix = self.work / "merged", self.work / "importance.npz"
        measured = self._measure(model, tokenizer) if self.spec.importance_matrix else None
        self._next("Writing the merged model")
        tied, layers = bool(model.config.tie_word_embeddings), int(model.config.get_text_config().num_hidden_layers)
        merge.write(model, tokenizer, folder, model.dtype)
        del model
        gc.collect()
        self._next("Checking the merged model against the trained one")
        self._judge(fidelity.merged(folder))
        sources = self._convert(folder, tokenizer, fidelity)
        shutil.rmtree(folder)
        if measured is not None:
            found = importance.by_tensor(
                measured, gguf_adapter.architecture(sources[Quantization.F16]), layers, tied=tied
            )
            importance.write(matrix, found)
        return self._quantized(sources, matrix if measured is not None else None, tokenizer, fidelity)

    def _measure(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> Any:
        assert self.origin.session is not None  # noqa: S101 (the service asks for one)
        assert self.origin.config is not None  # noqa: S101
        self._next("Measuring the importance matrix")
        texts = importance.texts_of(self.origin.session, self.origin.config, tokenizer)
        self.status.note(f"The importance matrix was measured on {len(texts)} training prompts with their answers.")
        return importance.measure(model, texts, self._stop)

    def _convert(
        self, folder: Path, tokenizer: PreTrainedTokenizerBase, fidelity: Fidelity
    ) -> dict[Quantization, Path]:
        """The unquantized files: the requested ones, and the 16-bit one that the others are quantized from."""
        made = {}
        for kind in unreduced(self.spec.quantizations):
            self._next(f"Converting to GGUF ({kind.label})")
            made[kind] = self.work / f"{kind.value}.gguf"
            self._to_gguf(folder, made[kind], kind, tokenizer, fidelity)
        return made

    def _to_gguf(
        self, folder: Path, target: Path, kind: Quantization, tokenizer: PreTrainedTokenizerBase, fidelity: Fidelity
    ) -> None:
        gguf_vocabulary.write(folder, tokenizer)
        told = gguf_vocabulary.read(tokenizer, [one.text for one in fidelity.asked])
        try:
            gguf_file.convert(folder, target, self._stop, kind, told, self.stem)
        except Unavailable as error:
            raise Unavailable(f"{error.message} {UNCONVERTED}") from error

    def _quantized(
        self,
        sources: dict[Quantization, Path],
        matrix: Path | None,
        tokenizer: PreTrainedTokenizerBase,
        fidelity: Fidelity,
    ) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        """Create and check each requested file; broken ones are left out."""
        kept: list[Path] = []
        for kind in self.spec.quantizations:
            made = self.work / f"made-{kind.value}.gguf"
            if kind in UNREDUCED:
                made = sources[kind]
            else:
                self._next(f"Quantizing to {kind.label}")
                gguf_file.quantize(sources[Quantization.F16], made, kind, self._stop, matrix)
            self._next(f"Checking {kind.label} in llama.cpp against the trained model")
            file = self._named(made, kind)
            if self._judge(fidelity.gguf(file, kind.label), alone=len(self.spec.quantizations) == 1):
                kept.append(file)
            else:
                file.rename(made)
        if not kept:
            raise Unavailable(f"No file was kept: none matches the trained model. {self.reports[-1].reason}")
        for place, file in enumerate(kept):
            name = "Modelfile" if place == 0 else f"Modelfile-{file.stem.rpartition('-')[2]}"
            self._modelfile(name, file.name, tokenizer)
        # A file that loses quality names a larger one that does not, even if that was created later.
        self.reports = [with_better_choice(report, self.reports) for report in self.reports]
        self._next("Reading the files back")
        return self._files(), export_files.gguf_commands([file.name for file in kept], self.stem)

    def _named(self, made: Path, kind: Quantization) -> Path:
        """Name a file after the type in its header."""
        facts = gguf_file.read_back(made)
        if facts.file_type != kind.label:
            raise Unavailable(f"The file is {facts.file_type} instead of {kind.label}, so it was not kept.")
        target = self.partial / f"{self.stem}-{facts.file_type}.gguf"
        # The 16-bit file may still be needed for the smaller ones.
        target.hardlink_to(made)
        return target

    # Shared

    def _check_room(self) -> None:
        size, words = merge.count_parameters(self.origin), merge.vocabulary(self.origin)
        found = space.needed(self.spec, size, words, whole=self.origin.adapter is None)
        space.check(found, self.run.path)

    def _fidelity(self, tokenizer: PreTrainedTokenizerBase) -> Fidelity:
        session = self.origin.session
        return Fidelity(
            config=self.origin.config,
            rows=list(iter_lines(session.prepared / "holdout.jsonl")) if session else [],
            tokenizer=tokenizer,
            work=self.work / "fidelity",
            stop=self._stop,
            say=self._say,
        )

    def _judge(self, report: FidelityReport, *, alone: bool = True) -> bool:
        """Whether to keep a checked file.

        Raises:
            Unavailable: It is broken, and there is nothing else to keep.
        """
        self.reports.append(report)
        if report.verdict != FidelityVerdict.BROKEN:
            return True
        if alone:
            raise Unavailable(f"The export does not behave like the trained model, so it was not kept. {report.reason}")
        self.status.note(f"{report.subject} was not kept: it does not behave like the trained model. {report.reason}")
        return False

    def _modelfile(self, name: str, file: str, tokenizer: PreTrainedTokenizerBase, *, adapter: str = "") -> None:
        family = recognise(lambda messages: rendered(messages, tokenizer), str(tokenizer.bos_token or ""))
        if family is None:
            self.status.note(
                "The Modelfile has no TEMPLATE, because this model's chat template belongs to no known family. If "
                "possible, Ollama uses the chat template in the GGUF."
            )
        base = self._base_folder()
        text = modelfile(
            file,
            family,
            prompts.system_prompt(self._dataset()),
            str(tokenizer.eos_token or ""),
            parameters=sampling_of(base),
            licence=licence_of(base),
            adapter=adapter,
        )
        (self.partial / name).write_text(text, "utf-8")

    def _base_folder(self) -> Path:
        """Local folder of the base's files; for a Hugging Face model, fetches its license if possible."""
        source, revision = self.origin.source, self.origin.revision
        if self.origin.config and (self.origin.adapter is None or self.origin.own_base):
            # The source is a run's folder, which has no license.
            source, revision = source_of(self.origin.base, self.home), self.origin.config.model.revision
        if Path(source).is_dir():
            return Path(source)
        papers = ["README.md", "LICENSE*", "generation_config.json"]
        return Path(snapshot_download(source, revision=revision, allow_patterns=papers, etag_timeout=5))

    def _dataset(self) -> DatasetSection:
        return self.origin.config.dataset if self.origin.config else DatasetSection(source="none", system_prompt="")

    def _files(self) -> list[ExportedFile]:
        reports = {report.subject: report for report in self.reports}
        paths = sorted(path for path in self.partial.iterdir() if path.is_file())
        return [export_files.exported(path, reports) for path in paths]

    def _write_result(self, files: Sequence[ExportedFile], commands: list[dict[str, str]]) -> None:
        result = {
            "files": [file.model_dump(mode="json") for file in files],
            "commands": commands,
            "origin": self.origin.facts(),
            "fidelity": [report.model_dump(mode="json") for report in self.reports],
            "versions": environment()["packages"],
        }
        write_json(self.run.result, result)

    def _next(self, message: str) -> None:
        self._check()
        self.stage += 1
        log.info("stage %d of %d: %s", self.stage, self.stages, message)
        self.status.update(state=JobState.RUNNING, step=self.stage, max_steps=self.stages, message=message)

    def _say(self, message: str) -> None:
        self._check()
        log.info("%s", message)
        self.status.update(message=message)

    def _check(self) -> None:
        if self._stop():
            raise gguf_file.Cancelled

    def _stop(self) -> bool:
        return self.status.stop_asked


def stages(spec: ExportSpec, *, whole: bool = False) -> int:
    """Number of stages of an export.

    Args:
        spec: What is created.
        whole: Whether every weight was trained, so that nothing is merged.
    """
    if whole and spec.format in {ExportFormat.MERGED, ExportFormat.GGUF}:
        return stages(spec) - 1
    if spec.format != ExportFormat.GGUF:
        counts = {ExportFormat.BUNDLE: 2, ExportFormat.ADAPTER: 5, ExportFormat.ADAPTER_GGUF: 6, ExportFormat.MERGED: 6}
        return counts[spec.format]
    reduced = [kind for kind in spec.quantizations if kind not in UNREDUCED]
    checks = len(spec.quantizations)
    return 6 + spec.importance_matrix + len(unreduced(spec.quantizations)) + len(reduced) + checks


def unreduced(quantizations: Sequence[Quantization]) -> list[Quantization]:
    """Formats that the converter writes: requested ones, and F16 if others are made from it."""
    wanted = {kind for kind in quantizations if kind in UNREDUCED}
    if any(kind not in UNREDUCED for kind in quantizations):
        wanted.add(Quantization.F16)
    return [kind for kind in Quantization if kind in wanted]
