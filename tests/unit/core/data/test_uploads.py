"""Uploads: what is accepted and rejected, and that nothing is left behind."""

from __future__ import annotations

import errno
import gzip
import io
import json
import random
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from core.config import DatasetSection
from core.data import reading, store, uploads
from core.data.cells import plain
from core.data.extract import by_path
from core.data.ingest import BadRows
from core.data.jobs import Job
from core.data.nested import MAX_DEPTH
from core.data.rows import map_rows, turns
from core.data.work import work
from core.dataset import UploadInfo
from core.errors import InvalidInput, TooLarge, Unavailable

FIXTURE = Path(__file__).parents[3] / "fixtures" / "gsm8k_small.jsonl"
GOOD = b'{"question": "a?", "answer": "b"}\n'

ACCENTS = ('{"question": "' + "é" * 300 + '"}\n').encode()


def keep(folder: Path, data: bytes, name: str = "rows.jsonl", limit: int = 1 << 30, **options: Any) -> UploadInfo:
    return uploads.store(io.BytesIO(data), name, folder, limit, **options)


def rows(folder: Path, info: UploadInfo) -> list[dict[str, Any]]:
    return list(uploads.iter_rows(folder / info.id))


def test_real_rows_come_back_as_they_were(tmp_path: Path) -> None:
    """JSONL: same rows, columns and mapping, and the file's hash and size."""
    info = keep(tmp_path, FIXTURE.read_bytes(), "../../gsm8k.jsonl")
    assert rows(tmp_path, info) == [json.loads(line) for line in FIXTURE.read_text("utf-8").splitlines()]
    assert (info.name, info.format, info.rows, info.columns) == ("gsm8k.jsonl", "jsonl", 40, ("question", "answer"))
    assert info.size == FIXTURE.stat().st_size
    assert (info.fields.instruction, info.fields.response) == ("question", "answer")
    assert (info.fields.extraction, info.fields.pattern) == ("after_marker", "####")
    assert uploads.every(tmp_path) == [info]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", b"", "The file is empty"),
        ("a.jsonl", b"\n \n", "The file is empty"),
        ("a.jsonl", GOOD * 2 + b'{"question": "x", "answer"\n' + GOOD, r"line 3: this line is not valid JSON"),
        ("a.jsonl", GOOD + b"[1, 2]\n", "line 2: this is a list"),
        ("a.jsonl", b'{"a": 1} {"a": 2}', "line 1: this line is not valid JSON: Extra data"),
        ("a.jsonl", GOOD + ACCENTS + b'{"question": "\xff"}\n', "line 3: byte 15 of this line is not UTF-8"),
        ("a.jsonl", b'{"a":' * 100_000, "nested more than 100 deep"),
        ("a.jsonl", GOOD + b'{"question": "\\ud800"}', "line 2: it contains half a character"),
        ("a.jsonl", GOOD + b"{}\n", "line 2: the object is empty"),
        ("a.gz", b"\x1f\x8b\x08\x00", "gzip file is damaged"),
        ("a.jsonl.gz", gzip.compress(GOOD * 3, mtime=0)[:-9], "gzip file ends here unexpectedly"),
        ("a.xlsx", b"PK\x03\x04rest", "spreadsheet"),
        ("a.txt", b"hello", "no rows"),
        ("a.jsonl", b'{"a": 1, "b": [2]}\n', "no usable column"),
        ("a.json", b'[{"question": "a"},\n7]', "line 2: this is a number"),
        ("a.json", b'[{"question": "a"}', "line 1: the file ends unexpectedly"),
        ("a.json", b"[]", "no rows"),
        ("a.csv", b"a,b\n1,2\n3,4\n", "no usable column"),
        ("a.csv", b"question,answer\n", "no rows"),
        ("a.csv", b"question,answer\na,b\nc\n", "line 3: it has 1 cell, but the header row has 2"),
        ("a.csv", b'question,answer\n"a,b\n', "line 2: this line is not valid CSV: .* never closed"),
        ("a.parquet", b"PAR1" + b"x" * 200, "Parquet file is damaged"),
    ],
)
def test_unusable_files_are_refused_with_the_line_and_leave_nothing(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    """Each problem has its own message, and the folder is as empty as before."""
    with pytest.raises(InvalidInput, match=words):
        keep(tmp_path, data, name)
    assert list(tmp_path.iterdir()) == []


def test_bad_rows_are_skipped_where_the_person_says_so(tmp_path: Path) -> None:
    """Good rows are kept in order; bad ones are counted, with line and reason."""
    data = GOOD + b"{oops}\n" + GOOD + b"7\n"
    with pytest.raises(BadRows) as refused:
        keep(tmp_path, data)
    assert [row.line for row in refused.value.bad] == [2, 4]
    assert "keep the remaining 2 rows" in refused.value.message
    info = keep(tmp_path, data, on_bad="skip")
    assert (info.rows, info.bad_rows, [row.line for row in info.bad]) == (2, 2, [2, 4])
    assert rows(tmp_path, info) == [{"question": "a?", "answer": "b"}] * 2


def test_a_file_over_the_limit_is_refused_while_it_arrives(tmp_path: Path) -> None:
    """Reading stops at the limit, before and after decompression, and the partial file is removed."""
    with pytest.raises(TooLarge, match="MAX_UPLOAD_GB"):
        keep(tmp_path, GOOD * 1000, limit=1000)
    with pytest.raises(TooLarge, match="Once decompressed"):
        keep(tmp_path, gzip.compress(GOOD * 100_000), "a.jsonl.gz", limit=100_000)
    assert list(tmp_path.iterdir()) == []


def test_an_oversized_row_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single line, value or open quote cannot use up the memory."""
    monkeypatch.setattr(reading, "MAX_ROW", 1 << 16)
    long = b'{"question": "' + b"x" * (1 << 18) + b'"}'
    info = keep(tmp_path, GOOD + long + b"\n" + GOOD, on_bad="skip")
    assert (info.rows, [(row.line, "longer than" in row.reason) for row in info.bad]) == (2, [(2, True)])
    assert len(uploads.page(tmp_path / info.id, 0, 5)) == 2
    there = list(tmp_path.iterdir())
    for name, data in (("a.json", b'[{"question": "a"},' + long + b"]"), ("b.csv", b"question,b\n" + b"x" * (1 << 17))):
        with pytest.raises(InvalidInput, match=r"longer than"):
            keep(tmp_path, data, name)
    assert list(tmp_path.iterdir()) == there


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    """The stream simulates a disk that fills up during the upload."""

    class Full(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Unavailable, match="disk is full"):
        uploads.store(Full(), "a.jsonl", tmp_path, 1 << 20)
    assert list(tmp_path.iterdir()) == []


def test_any_page_of_a_large_file_needs_one_seek(tmp_path: Path) -> None:
    """Rows are read by number, across index steps; past the end there are none; blank lines do not count."""
    lines = [b'{"question": "q%d?", "n": %d}\n%s' % (i, i, b"\n" * (i % 3 == 0)) for i in range(3 * store.STRIDE + 7)]
    info = keep(tmp_path, b"".join(lines))
    folder, total = tmp_path / info.id, len(lines)
    for offset in (0, store.STRIDE - 1, store.STRIDE, 2 * store.STRIDE + 1, total - 1):
        assert [row["n"] for row in uploads.page(folder, offset, 3)] == list(range(offset, min(offset + 3, total)))
    assert uploads.page(folder, total, 3) == []
    assert uploads.page(folder, total + 1000, 3) == []


def test_parquet_is_read_by_page_too(tmp_path: Path) -> None:
    """Across row groups, from any row."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    table = pa.table({"question": [f"q{i}?" for i in range(2500)], "n": list(range(2500))})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    home = tmp_path / "uploads"
    info = keep(home, (tmp_path / "a.parquet").read_bytes(), "a.parquet")
    for offset in (0, 699, 700, 1999, 2498):
        assert [row["n"] for row in uploads.page(home / info.id, offset, 2)] == [offset, min(offset + 1, 2499)][
            : 2500 - offset
        ]
    assert uploads.page(home / info.id, 2500, 5) == []


class Killed(BaseException):
    """Simulates the death of the import process."""


@pytest.mark.parametrize(
    ("form", "step"),
    [
        ("a.parquet", "ingest.ParquetStore.rows"),
        ("a.parquet", "work.finished"),
        ("a.csv", "ingest._guess"),
        ("a.csv", "ingest.write_json"),
        ("a.csv", "work.finished"),
    ],
)
def test_a_reader_that_is_killed_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, step: str
) -> None:
    """The uploaded file is kept until the dataset is complete, then deleted."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    folder = tmp_path / "uploads" / "20260101-000000-abcdef.partial"
    folder.mkdir(parents=True)
    if form == "a.parquet":
        parquet.write_table(pa.table({"question": ["a?", "b?"], "answer": ["x", "y"]}), folder / "part")
    else:
        (folder / "part").write_text("question,answer\na?,x\nb?,y\n")
    job = Job(kind="upload", name=form, size=(folder / "part").stat().st_size, on_bad="skip")
    (folder / "job.json").write_text(job.model_dump_json())

    def die(*_args: object, **_more: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"core.data.{step}", die)
        with suppress(Killed):
            work(folder, tmp_path, 1 << 30)
    if folder.exists():
        work(folder, tmp_path, 1 << 30)
    dataset = tmp_path / "uploads" / "20260101-000000-abcdef"
    assert [row["question"] for row in uploads.iter_rows(dataset)] == ["a?", "b?"]
    data = {"data.parquet"} if form == "a.parquet" else {"data.jsonl", "data.idx"}
    assert {path.name for path in dataset.iterdir()} == {"info.json", *data}


def test_search_finds_text_in_any_cell_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Case-insensitive; column names do not match; non-ASCII letters are found in any escaping."""
    data = [{"question": f"row {i}?", "answer": "Käse" if i % 100 == 7 else "brot"} for i in range(350)]
    info = keep(tmp_path, "\n".join(json.dumps(row, ensure_ascii=i % 2 == 0) for i, row in enumerate(data)).encode())
    folder = tmp_path / info.id
    assert [number for number, _ in uploads.search(folder, "KÄSE").rows] == [7, 107, 207, 307]
    first = uploads.search(folder, "käse", limit=2)
    assert (first.searched, first.done) == (108, False)
    assert [number for number, _ in uploads.search(folder, "käse", start=first.searched).rows] == [207, 307]
    assert uploads.search(folder, "question").rows == []
    assert [number for number, _ in uploads.search(folder, "row 42?").rows] == [42]


def test_a_mapping_to_one_of_two_columns_of_a_name_is_possible(tmp_path: Path) -> None:
    """Duplicate column names are made unique, so that both can be used."""
    info = keep(tmp_path, b"question,answer,answer\nwhy?,a,b\n", "a.csv")
    assert info.columns == ("question", "answer", "answer (2)")
    section = DatasetSection(source="x", response_field="answer (2)")
    assert map_rows(rows(tmp_path, info), section)[0][0]["response"] == "b"


def test_random_bytes_are_read_or_rejected_with_a_reason(tmp_path: Path) -> None:
    """Every kind of file, damaged at random places: rows or a reason, never another exception."""
    draw = random.Random(5)
    for number in range(300):
        data = bytearray(
            gzip.compress(GOOD * 5) if number % 3 == 0 else b"[" + GOOD + b"]" if number % 3 == 1 else GOOD * 5
        )
        for _ in range(draw.randint(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            info = keep(tmp_path, bytes(data), draw.choice(["a.json", "a.jsonl", "a.csv", "x"]), on_bad="skip")
        except InvalidInput:
            continue
        assert len(rows(tmp_path, info)) == info.rows


def nested(depth: int, opening: str, closing: str) -> str:
    return opening * depth + closing * depth


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":[', "]}")])
def test_the_deepest_accepted_row_works_everywhere(tmp_path: Path, opening: str, closing: str) -> None:
    """It can be shown, searched, mapped and written; one level deeper is a bad row."""
    levels = len(re.findall(r"[\[{]", opening))
    deepest = (MAX_DEPTH - 1) // levels
    inner = nested(deepest, opening, closing)
    info = keep(tmp_path, b'{"question": "a?", "answer": %s}\n' % inner.encode())
    (row,) = rows(tmp_path, info)
    assert json.dumps(plain(row)) == json.dumps(store.plain(row))
    assert uploads.search(tmp_path / info.id, "nothing").rows == []
    assert map_rows([row], DatasetSection(source="x"))[0][0]["response"].count("[") == inner.count("[")
    more = nested(deepest + 1, opening, closing).encode()
    for name, data in (
        ("a.jsonl", b'{"question": "a?", "answer": %s}\n'),
        ("a.json", b'[{"question": "a?", "answer": %s}]'),
    ):
        with pytest.raises(BadRows, match=r"line 1: lists or objects are nested more than 100 deep"):
            keep(tmp_path, data % more, name)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 500, 960, 5000, 100_000])
def test_a_cell_of_json_that_is_nested_without_end_is_text(depth: int) -> None:
    """JSON text that is nested too deeply for pages is not used for conversations and paths."""
    text = nested(depth, "[", "]")
    assert turns(f'[{{"role": "user", "content": {text}}}]') is None
    assert by_path(f'{{"a": {text}}}', "a") is None
    assert map_rows([{"question": text, "answer": text}], DatasetSection(source="x"))[0][0]["response"] == text


def test_columns_have_a_limit_for_all_rows_together(tmp_path: Path) -> None:
    """Even if each row adds only a few; nothing is kept, and the message says what to do instead."""
    few = [{f"id {row * 300 + i}": "x" for i in range(300)} | {"question": "a?"} for row in range(4)]
    with pytest.raises(InvalidInput, match="more than 1,000 different columns") as refused:
        keep(tmp_path, "\n".join(map(json.dumps, few)).encode())
    assert "put them in cells" in refused.value.message
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadRows, match="name is longer than 200 characters"):
        keep(tmp_path, json.dumps({"question": "a?", "n" * 201: 1}).encode())


def test_column_names_are_counted_before_they_are_made_unique(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many names are refused without any further work; duplicates cost one step each."""
    seen: list[int] = []
    monkeypatch.setattr(reading, "unique", lambda names: seen.append(len(names)))
    with pytest.raises(InvalidInput, match="200000 columns; the limit is 1000"):
        keep(tmp_path, b"a," * 199_999 + b"a\n1,2\n", "a.csv")
    assert seen == []


def test_duplicate_names_are_numbered() -> None:
    """Twenty thousand equal names become unique, even if some of the new names are taken."""
    names = reading.unique(["a"] * 20_000)
    assert (len(set(names)), names[-1]) == (20_000, "a (20000)")
    taken = [f"a ({i})" for i in range(2, 5_000)]
    assert len(set(reading.unique([*taken, *["a"] * 5_000]))) == 9_998
