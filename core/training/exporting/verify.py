"""Compares files that were left unverified, because llama.cpp crashed or was killed, with the trained model again.

Nothing is created again. Broken files are removed; if the comparison fails for another reason, the export stays as it
was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import Conflict, Unavailable
from core.export import ExportedFile, ExportFormat
from core.fidelity import FidelityReport, FidelityVerdict, with_better_choice
from core.job_dir import read_json, write_json
from core.training.exporting import files as export_files
from core.training.exporting import merge
from core.training.exporting.job import CHECKING, Export
from core.training.gguf import file as gguf_file
from core.training.job.device import use_cores
from core.training.job.status import Stopped


class Verification(Export):
    """An export with files that were not yet compared with the trained model."""

    def make(self) -> str:
        """Compare what is unverified.

        Returns:
            A final message.

        Raises:
            Stopped: It was canceled; the files are kept.
            Conflict: The run has been trained further since.
            Unavailable: No file is left: all are broken.
        """
        result = read_json(self.run.result) or {}
        reports = [FidelityReport.model_validate(report) for report in result["fidelity"]]
        due = [report.subject for report in reports if report.verdict == FidelityVerdict.UNVERIFIED]
        if not due:
            return "Finished"
        then = result["origin"]
        if self.origin.digest != (then.get("adapter_sha256") or then.get("model_sha256")):
            raise Conflict("The run was trained further, so the model that was exported no longer exists.")
        self.stages = 2 + len(due) + (self.spec.format == ExportFormat.ADAPTER_GGUF)
        shutil.rmtree(self.partial, ignore_errors=True)
        self.work.mkdir(parents=True)
        try:
            found = {report.subject: report for report in self._compared(result["files"], due)}
            after = [found.get(report.subject, report) for report in reports]
            self.reports = [with_better_choice(report, after) for report in after]
            self._conclude(result, found)
        except gguf_file.Cancelled:
            raise Stopped("Cancelled.") from None
        finally:
            shutil.rmtree(self.partial, ignore_errors=True)
        return self.closing()

    def _compared(self, files: Sequence[dict[str, Any]], due: Sequence[str]) -> list[FidelityReport]:
        use_cores(merge.CPU)
        self._next("Loading the trained model")
        model, tokenizer = merge.load_trained(self.origin)
        self._next(CHECKING)
        fidelity = self._fidelity(tokenizer)
        fidelity.trained(model, merge.untrained(self.origin, model, self.home))
        if self.spec.format == ExportFormat.ADAPTER_GGUF:
            made = next(self.run.files / file["name"] for file in files if file["name"].endswith(".gguf"))
            raw, _ = self._base_gguf(model, tokenizer, fidelity)
            del model
            self._next("Checking the adapter in llama.cpp")
            return [fidelity.gguf(raw, due[0], adapter=made)]
        del model
        names = {file["file_type"]: file["name"] for file in files if file["name"].endswith(".gguf")}
        reports = []
        for kind in due:
            self._next(f"Checking {kind} in llama.cpp against the trained model")
            reports.append(fidelity.gguf(self.run.files / names[kind], kind))
        return reports

    def _conclude(self, result: dict[str, Any], found: dict[str, FidelityReport]) -> None:
        """Remove broken files and record the results."""
        broken = [file for file in result["files"] if self._verdict_of(file, found) == FidelityVerdict.BROKEN]
        if not broken:
            files = [self._judged(file, found) for file in result["files"]]
            self._rewrite(result, files, result["commands"])
            return
        ggufs = [file["name"] for file in result["files"] if file["name"].endswith(".gguf") and file not in broken]
        if not ggufs:
            self._rewrite(result, [], [])
            shutil.rmtree(self.run.files)
            raise Unavailable(f"No file was kept: none matches the trained model. {self.reports[-1].reason}")
        self._collect(ggufs)
        shutil.rmtree(self.work)
        files = [file.model_dump(mode="json") for file in self._files()]
        # File by file, and removed last: whenever it is killed, every good file is in its place and listed.
        for path in self.partial.iterdir():
            path.replace(self.run.files / path.name)
        # In the order in which they were requested, as their commands are.
        self._rewrite(result, files, export_files.gguf_commands(ggufs, self.stem))
        for path in {*self.run.files.iterdir()} - {self.run.files / file["name"] for file in files}:
            path.unlink()

    def _collect(self, ggufs: Sequence[str]) -> None:
        """The remaining files, with their Modelfiles: the first one's is called Modelfile."""
        recipes = [path.read_text("utf-8") for path in sorted(self.run.files.glob("Modelfile*"))]
        for place, name in enumerate(ggufs):
            os.link(self.run.files / name, self.partial / name)
            text = next((text for text in recipes if name in text.partition("\n")[0]), None)
            if text is not None:
                recipe = "Modelfile" if place == 0 else f"Modelfile-{Path(name).stem.rpartition('-')[2]}"
                (self.partial / recipe).write_text(text, "utf-8")

    def _verdict_of(self, file: dict[str, Any], found: dict[str, FidelityReport]) -> FidelityVerdict | None:
        report = found.get((file.get("fidelity") or {}).get("subject", ""))
        return report.verdict if report else None

    def _judged(self, file: dict[str, Any], found: dict[str, FidelityReport]) -> dict[str, Any]:
        subject = (file.get("fidelity") or {}).get("subject", "")
        report = next((one for one in self.reports if one.subject == subject), None)
        given = ExportedFile.model_validate(file)
        judged = given.model_copy(update={"fidelity": report}) if subject in found else given
        return judged.model_dump(mode="json")

    def _rewrite(self, result: dict[str, Any], files: list[dict[str, Any]], commands: Any) -> None:
        fidelity = [report.model_dump(mode="json") for report in self.reports]
        write_json(self.run.result, {**result, "files": files, "commands": commands, "fidelity": fidelity})
