"""Rows prepared for charts, and text read from the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from core.job_rows import MetricRow
from core.log_tail import Tail, native, tail_text
from services.runs.series import collapse, thin


def rows(count: int, **more: Any) -> list[MetricRow]:
    found = [{"row": i, "phase": "training", "step": i, "reward": 0.5, **more} for i in range(1, count + 1)]
    return cast("list[MetricRow]", found)


def test_a_later_row_takes_the_place_of_the_earlier_one_of_its_step() -> None:
    """A resume repeats steps: the line does not go back."""
    first = rows(5)
    again: list[MetricRow] = [{**row, "row": row["row"] + 5, "reward": 0.9} for row in rows(6)[3:]]
    merged = collapse(first + again)
    assert [row["step"] for row in merged] == [1, 2, 3, 4, 5, 6]
    assert [row["reward"] for row in merged] == [0.5, 0.5, 0.5, 0.9, 0.9, 0.9]


def test_evaluations_before_and_after_the_warm_up_are_two() -> None:
    """Both are at step 0."""
    found: list[MetricRow] = [
        {"row": 1, "phase": "evaluation", "step": 0, "when": when} for when in ("before", "after_warm_up")
    ]
    assert collapse(found) == found


def test_few_rows_stay_as_they_are() -> None:
    """Nothing is thinned that fits."""
    assert thin(rows(100), 2000) == rows(100)


def test_the_highest_and_lowest_survive_thinning() -> None:
    """A single peak in ten thousand rows is kept."""
    many = rows(10_000)
    many[5_432]["reward"], many[7_777]["reward"] = 1.0, 0.0
    thinned = thin(many, 500)
    assert len(thinned) <= 500
    assert {1.0, 0.0} <= {row["reward"] for row in thinned}
    assert (thinned[0]["step"], thinned[-1]["step"]) == (1, 10_000)
    assert [row["row"] for row in thinned] == sorted(row["row"] for row in thinned)


def test_a_gap_stays_a_gap() -> None:
    """Rows on both sides of a missing value are kept."""
    many = rows(5_000)
    for row in many[2_000:2_100]:
        del row["reward"]
    kept = {row["step"] for row in thin(many, 200)}
    assert {2_000, 2_001, 2_100, 2_101} <= kept


def test_every_evaluation_is_kept() -> None:
    """They are few, and each is a result."""
    many = rows(5_000)
    many[100:100] = [{"row": 0, "phase": "evaluation", "step": 100, "reward": 0.1}]
    assert any(row["phase"] == "evaluation" for row in thin(many, 50))


def test_the_end_of_a_log_is_what_a_terminal_would_show(tmp_path: Path) -> None:
    """A progress bar is its last state."""
    log = tmp_path / "worker.log"
    log.write_bytes(b"one\n 10%\r 50%\r100%\nthree\n")
    assert tail_text(log, 2) == "100%\nthree"
    assert tail_text(tmp_path / "none.log", 5) == ""


def test_remarks_of_native_libraries_do_not_push_the_useful_lines_out(tmp_path: Path) -> None:
    """As many useful lines as requested; native lines between them are included and marked for the page."""
    log = tmp_path / "worker.log"
    remark = "llama_adapter_lora_init_impl: lora for 'blk.8.attn_k.weight' cannot use buft 'AMX', fallback to CPU\n"
    log.write_text("12:00:01 INFO one\n" + remark * 500 + "12:00:02 INFO two\n12:00:03 INFO three\n")
    assert "one" not in tail_text(log, 200)
    shown = tail_text(log, 3, useful=True).split("\n")
    assert [line for line in shown if not native(line)] == [
        "12:00:01 INFO one",
        "12:00:02 INFO two",
        "12:00:03 INFO three",
    ]
    assert len(shown) == 3 + 400
    assert tail_text(log, 1, useful=True) == "12:00:03 INFO three"


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        ("llama_context: n_ctx_per_seq (512) < n_ctx_train (8192)", True),
        ("ggml_cpu_init: using AMX", True),
        ("load_tensors:   CPU_Mapped model buffer size =   256.63 MiB", True),
        ("print_info: arch             = llama", True),
        ("load: special_eos_id is not in special_eog_ids", True),
        ("~llama_context: CPU compute buffer size is 1.0 MiB", True),
        ("Loading weights:  40%|####      | 4/10 [00:01<00:02]", True),
        ("ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 1", False),
        ("llama_decode: error: out of memory", False),
        ("12:00:01 INFO training step 3: loss 0.1, reward 0.5", False),
        ("12:00:01 WARNING load_tensors: quoted by us", False),
        ("Traceback (most recent call last):", False),
        ("print_this_of_mine = 3", False),
        ("", False),
    ],
)
def test_a_native_remark_is_known_by_its_form(line: str, hidden: bool) -> None:
    """Lines about errors stay visible."""
    assert native(line) is hidden


def test_a_tail_gives_whole_lines_once(tmp_path: Path) -> None:
    """A partial line waits for its end."""
    log = tmp_path / "worker.log"
    log.write_text("before\n")
    tail = Tail(log)
    with log.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert tail.new_lines() == ["one"]
        file.write("o\n")
        file.flush()
        assert tail.new_lines() == ["two"]
    assert tail.new_lines() == []
