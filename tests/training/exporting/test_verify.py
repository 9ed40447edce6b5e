"""A repeated check of an export that finds a broken file, killed at each of its steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.export import ExportedFile
from core.fidelity import FidelityReport, FidelityVerdict
from core.job_dir import JobDir, read_json, write_json
from core.training.exporting import verify
from core.training.exporting.verify import Verification


class Killed(BaseException):
    """Simulates the worker's death."""


def report(name: str, verdict: FidelityVerdict) -> FidelityReport:
    return FidelityReport(subject=name, verdict=verdict, reason="")


def listed(path: Path, reports: dict[str, FidelityReport]) -> ExportedFile:
    kind = path.stem.rpartition("-")[2] if path.suffix == ".gguf" else None
    return ExportedFile(name=path.name, size=1, sha256="", file_type=kind, fidelity=reports.get(kind or ""))


@pytest.fixture
def checking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verification:
    """Check two files, of which Q4 turns out to be broken."""
    run = JobDir(tmp_path)
    run.files.mkdir()
    for name, kind in (("Modelfile", "Q4"), ("Modelfile-Q8", "Q8")):
        (run.files / f"m-{kind}.gguf").write_text(kind)
        (run.files / name).write_text(f"FROM ./m-{kind}.gguf\n")
    monkeypatch.setattr("core.training.exporting.files.exported", listed)
    before = {kind: report(kind, FidelityVerdict.UNVERIFIED) for kind in ("Q4", "Q8")}
    files = [listed(path, before).model_dump(mode="json") for path in sorted(run.files.iterdir())]
    write_json(run.result, {"files": files, "fidelity": []})
    job = Verification.__new__(Verification)
    job.run, job.partial, job.work, job.stem = run, tmp_path / "files.partial", tmp_path / "files.partial/.work", "m"
    job.work.mkdir(parents=True)
    job.reports = [report("Q4", FidelityVerdict.BROKEN), report("Q8", FidelityVerdict.FAITHFUL)]
    return job


@pytest.mark.parametrize("step", ["", "Path.rename", "Path.replace", "write_json", "Path.unlink"])
def test_the_good_file_stays_whenever_it_is_killed(
    checking: Verification, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """With its Modelfile; the broken one is gone at the end."""
    run, result = checking.run, read_json(checking.run.result) or {}

    def die(*_args: object, **_more: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if step:
            target, _, name = step.rpartition(".")
            patch.setattr(Path if target else verify, name, die)
        try:
            checking._conclude(result, {one.subject: one for one in checking.reports})
        except Killed:
            assert step
    after = {file["name"] for file in (read_json(run.result) or {})["files"]}
    assert "m-Q8.gguf" in after
    assert after <= {path.name for path in run.files.iterdir()}
    if not step:
        assert {path.name for path in run.files.iterdir()} == after == {"m-Q8.gguf", "Modelfile"}
        assert "m-Q8" in (run.files / "Modelfile").read_text()
