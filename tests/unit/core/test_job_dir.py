"""A job's folder: whole lines, whole files, and no path outside it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput, NotFound
from core.job import Control, JobPhase, JobState, JobStatus, new_id
from core.job_dir import JobDir, JsonlWriter, is_any, iter_lines, read_json, read_lines, write_json


@pytest.mark.parametrize("job_id", ["../..", "..", "", "a/b", "A", ".x", "a" * 65, "a\n", "a\x00", "%2e%2e"])
def test_an_id_is_never_a_path(tmp_path: Path, job_id: str) -> None:
    """Malformed ids are refused before any lookup."""
    with pytest.raises(InvalidInput):
        JobDir.open(tmp_path, job_id)


def test_only_real_directories_of_the_parent_are_opened(tmp_path: Path) -> None:
    """Neither a missing folder nor a symlink to elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "link").symlink_to(tmp_path / "elsewhere")
    for job_id in ("missing", "link"):
        with pytest.raises(NotFound):
            JobDir.open(tmp_path / "outputs", job_id)
    job_id = new_id()
    (tmp_path / "outputs" / job_id).mkdir()
    assert JobDir.open(tmp_path / "outputs", job_id).path.name == job_id


def test_status_and_control_survive_a_round_trip(tmp_path: Path) -> None:
    """What one side writes, the other reads; before the first write there is None and no request."""
    run_dir = JobDir(tmp_path)
    assert run_dir.read_status() is None
    assert run_dir.read_control() == Control()
    status = JobStatus(state=JobState.RUNNING, phase=JobPhase.TRAIN, step=3, notes=("ä",))
    run_dir.write_status(status)
    run_dir.write_control(Control(stop=True))
    assert (run_dir.read_status(), run_dir.read_control()) == (status, Control(stop=True))


@pytest.mark.parametrize("word", ["warming_up", "training", "evaluating", "running", "stopping", "completed"])
def test_status_json_says_state_and_phase_in_one_word(tmp_path: Path, word: str) -> None:
    """As other programs read it; files from older versions can be read."""
    run_dir = JobDir(tmp_path)
    write_json(run_dir.status, {"state": word, "step": 3})
    status = run_dir.read_status()
    assert status is not None
    assert status.word == word
    assert (status.state is JobState.RUNNING) == (word in {"warming_up", "training", "evaluating", "running"})
    run_dir.write_status(status)
    assert (read_json(run_dir.status) or {})["state"] == word
    assert run_dir.read_status() == status


@pytest.mark.parametrize("state", [None, 3, [], "", "train"])
def test_a_status_of_no_known_state_is_damaged(tmp_path: Path, state: Any) -> None:
    """It is not guessed."""
    write_json(tmp_path / "status.json", {"state": state})
    assert JobDir(tmp_path).read_status() is None


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """A value that cannot be written leaves the old content intact."""
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert read_json(tmp_path / "a.json") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_two_threads_may_write_one_file_at_once(tmp_path: Path) -> None:
    """A stop during the watcher's start: neither fails, and one of the two is stored."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: write_json(tmp_path / "control.json", {"number": number}), range(200)))
    assert read_json(tmp_path / "control.json") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["control.json"]


def test_a_reader_sees_whole_lines_only(tmp_path: Path) -> None:
    """A partial row waits for its end; the offset continues from there."""
    path = tmp_path / "rows.jsonl"
    assert read_lines(path, fits=is_any) == ([], 0, [])
    path.write_bytes(b'{"row": 1}\n{"row"')
    rows, offset, _ = read_lines(path, fits=is_any)
    assert (rows, offset) == ([{"row": 1}], 11)
    with path.open("ab") as file:
        file.write(b": 2}\n")
    assert read_lines(path, offset, fits=is_any) == ([{"row": 2}], 22, [])
    assert list(iter_lines(path)) == [{"row": 1}, {"row": 2}]


def test_a_writer_numbers_rows_over_the_files_whole_life(tmp_path: Path) -> None:
    """Even after a crash in mid-row: the partial line is removed, no number is used twice."""
    path = tmp_path / "rows.jsonl"
    writer = JsonlWriter(path)
    assert [writer.append({"step": step})["row"] for step in (1, 2)] == [1, 2]
    writer.close()
    with path.open("ab") as file:
        file.write(b'{"row": 3, "st')
    writer = JsonlWriter(path)
    assert writer.append({"step": 3}) == {"row": 3, "step": 3}
    writer.close()
    assert [json.loads(line)["row"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_non_finite_numbers_are_not_written(tmp_path: Path) -> None:
    """NaN is not JSON: the writer refuses it, and the file stays readable."""
    writer = JsonlWriter(tmp_path / "rows.jsonl")
    with pytest.raises(ValueError, match="not JSON compliant"):
        writer.append({"loss": float("nan")})
    assert writer.append({"loss": 1.0})["row"] == 1
    writer.close()


def test_the_best_checkpoint_is_never_superseded(tmp_path: Path) -> None:
    """As long as it is the run's result; a damaged note protects nothing."""
    run_dir = JobDir(tmp_path)
    for step in (2, 4, 6, 8):
        (run_dir.checkpoints / f"checkpoint-{step}").mkdir(parents=True)

    def older(keep: int = 1) -> list[str]:
        return [path.name.removeprefix("checkpoint-") for path in run_dir.superseded(keep)]

    assert older() == ["2", "4", "6"]
    noted = {"metric": "loss", "step": 4, "value": 1.0}
    write_json(run_dir.kept, noted)
    assert older() == ["2", "4", "6"]
    write_json(run_dir.kept, {**noted, "published": True})
    assert (older(), older(2)) == (["2", "6"], ["2"])
    run_dir.kept.write_text("{")
    assert older() == ["2", "4", "6"]
