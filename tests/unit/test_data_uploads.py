"""Uploads: what is accepted, what is refused and how, and that nothing is left behind."""

from __future__ import annotations

import errno
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest

from core.config import DatasetSection
from core.data import files, uploads
from core.data.rows import map_rows
from core.dataset import UploadInfo
from core.errors import InvalidInput, TooLarge, Unavailable

FIXTURE = Path(__file__).parents[1] / "fixtures" / "gsm8k_small.jsonl"
GOOD = b'{"question": "a?", "answer": "b"}\n'


def store(folder: Path, data: bytes, name: str = "rows.jsonl", limit: int = 1 << 30) -> UploadInfo:
    return uploads.store(io.BytesIO(data), name, folder, limit)


def rows(folder: Path, info: UploadInfo) -> list[dict[str, Any]]:
    return list(uploads.iter_rows(folder / info.id))


def test_real_rows_come_back_as_they_were(tmp_path: Path) -> None:
    """JSONL: same rows, columns and mapping found, hash and size of the file."""
    info = store(tmp_path, FIXTURE.read_bytes(), "../../gsm8k.jsonl")
    assert rows(tmp_path, info) == [json.loads(line) for line in FIXTURE.read_text("utf-8").splitlines()]
    assert (info.name, info.format, info.rows, info.columns) == ("gsm8k.jsonl", "jsonl", 40, ("question", "answer"))
    assert info.size == FIXTURE.stat().st_size
    assert (info.fields.instruction, info.fields.response) == ("question", "answer")
    assert uploads.every(tmp_path) == [info]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        (
            "a.jsonl",
            b'\xef\xbb\xbf\r\n{"question": "\xc3\xa9?", "answer": 7}\r\n\r\n',
            [{"question": "é?", "answer": 7}],
        ),
        (
            "a.json",
            b' [ {"question": "a?"} ,\n{"question": "b", "answer": [1, "]"]}]\n',
            [{"question": "a?"}, {"question": "b", "answer": [1, "]"]}],
        ),
        ("a.csv", b'question,answer\n"a, ""b""\nc?",2\n\n', [{"question": 'a, "b"\nc?', "answer": "2"}]),
        ("a.csv", b"\xef\xbb\xbfquestion;answer\r\nwhy, though?;x\r\n", [{"question": "why, though?", "answer": "x"}]),
        ("a.tsv", b"question\tanswer\nwhy?\tx\n", [{"question": "why?", "answer": "x"}]),
        ("a.txt", b'{"question": "a?", \r"answer": "\\u00e9\\ud800"}', [{"question": "a?", "answer": "é?"}]),
        ("noending", b'{"question": "last line without end?"}', [{"question": "last line without end?"}]),
    ],
)
def test_what_people_upload_is_read(tmp_path: Path, name: str, data: bytes, expected: list[dict[str, Any]]) -> None:
    """BOM, CRLF, blank lines, quotes with line ends, other separators, JSON lists, escapes."""
    assert rows(tmp_path, store(tmp_path, data, name)) == expected


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", b"", "The file is empty"),
        ("a.jsonl", b"\n \n", "only blank lines"),
        ("a.jsonl", GOOD * 2 + b'{"question": "x", "answer"\n' + GOOD, "Line 3 is not valid JSON: it ends too early"),
        ("a.jsonl", GOOD + b'{"question": nope}\n', "Line 2 is not valid JSON: Expecting value"),
        ("a.jsonl", GOOD + b"[1, 2]\n", "Line 2 is a list"),
        ("a.jsonl", b'{"a": 1} {"a": 2}', "Line 1 is not valid JSON: something follows the object"),
        ("a.jsonl", b'{\n  "question": "a"\n}\n', "must be whole and on one line"),
        ("a.jsonl", GOOD + b'{"question": NaN}\n', "Line 2 is not valid JSON: NaN"),
        ("a.jsonl", GOOD + b'{"question": 1e999}\n', "too large a number"),
        ("a.jsonl", GOOD + b'{"question": "\xff"}\n', "Line 2 is not UTF-8: its byte 15 is 0xff"),
        ("a.jsonl", b'{"a":' * 100_000, "nested too deeply"),
        ("a.jsonl", GOOD.decode().encode("utf-16"), "UTF-16"),
        ("a.jsonl", b"\x1f\x8b\x08\x00", "gzip"),
        ("a.xlsx", b"PK\x03\x04rest", "spreadsheet"),
        ("a.txt", b"hello", "format is not known"),
        ("a.jsonl", b'{"a": 1, "b": [2]}\n', "no usable column"),
        ("a.json", b'[{"question": "a"}, 7]', "Item 2 of the list is not an object"),
        ("a.json", b'[{"question": "a"}', "broken after item 1: expected ',', the file ends"),
        ("a.json", b'[{"question": "a"}] x', "Something follows"),
        ("a.json", b"[]", "The list is empty"),
        ("a.json", b'[{"question": "\xff"}]', "not UTF-8: byte 15 is 0xff"),
        ("a.csv", b"a,b\n1,2\n3,4\n", "no usable column"),
        ("a.csv", b"question,answer\n", "no rows"),
        ("a.csv", b"question,question\na,b\n", "the same name: question"),
        ("a.csv", b"question,,\na,b,c\n", "column 2, 3 has no name"),
        ("a.csv", b"question,answer\na,b\nc\n", "Line 3 has 1 cells, the first line has 2"),
        ("a.csv", b'question,answer\n"a,b\n', "Line 2 is not valid CSV"),
        ("a.csv", b"question,answer\n\xff,b\n", "Line 2 is not UTF-8: its byte 1 is 0xff"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line_and_leaves_nothing(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    """Each fault has its own words, and the folder is as empty as before."""
    with pytest.raises(InvalidInput, match=words.replace("[", r"\[")):
        store(tmp_path, data, name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_over_the_limit_is_refused_while_it_arrives(tmp_path: Path) -> None:
    """Reading stops at the limit, and what was written is removed."""
    with pytest.raises(TooLarge, match="MAX_UPLOAD_GB"):
        store(tmp_path, GOOD * 1000, limit=1000)
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_is_no_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, item or open quote cannot take all the memory."""
    monkeypatch.setattr(files, "MAX_ROW", 1 << 16)
    long = b'{"question": "' + b"x" * (1 << 17) + b'"}'
    for name, data in (
        ("a.jsonl", GOOD + long),
        ("a.json", b"[" + long + b"]"),
        ("a.csv", b'question,b\n"' + b"x\n" * (1 << 16)),
    ):
        with pytest.raises(InvalidInput, match="longer than"):
            store(tmp_path, data, name)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """The stream stands in for a disk that fills up while the file arrives."""

    class Full(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Unavailable, match="disk is full"):
        uploads.store(Full(), "a.jsonl", tmp_path, 1 << 20)
    assert list(tmp_path.iterdir()) == []


def test_any_page_of_a_large_file_is_one_seek_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come by number, across the index's steps, and past the end there are none."""
    monkeypatch.setattr(uploads, "EVERY", 10)
    info = store(tmp_path, b"".join(b'{"question": "q%d?", "n": %d}\n' % (i, i) for i in range(95)))
    folder = tmp_path / info.id
    for offset in (0, 9, 10, 11, 89, 90, 94):
        assert [row["n"] for row in uploads.page(folder, offset, 3)] == list(range(offset, min(offset + 3, 95)))
    assert uploads.page(folder, 95, 3) == []
    assert uploads.page(folder, 1000, 3) == []


def test_only_forgotten_partial_uploads_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that another process is receiving stays."""
    (tmp_path / "x.partial").mkdir()
    uploads.sweep(tmp_path)
    assert (tmp_path / "x.partial").exists()
    monkeypatch.setattr(uploads, "FORGOTTEN", -1.0)
    uploads.sweep(tmp_path)
    assert not (tmp_path / "x.partial").exists()


def mutated(draw: random.Random, data: bytes) -> bytes:
    """A few cuts, swaps, repetitions and foreign bytes."""
    nasty = [
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"\n",
        b"\r",
        b"\xef\xbb\xbf",
        b"null",
        b"1e400",
        b"\\ud800",
        b";",
    ]
    for _ in range(draw.randint(1, 6)):
        at, to = sorted((draw.randint(0, len(data)), draw.randint(0, len(data))))
        match draw.randint(0, 4):
            case 0:
                data = data[:at] + data[to:]
            case 1:
                data = data[:at] + draw.choice(nasty) * draw.randint(1, 3) + data[at:]
            case 2:
                data = data[:to] + data[at:to] + data[to:]
            case 3:
                data = data[:at] + bytes(draw.randrange(256) for _ in range(draw.randint(0, 9))) + data[at:]
            case _:
                data = data[at:to] or data
    return data


@pytest.mark.parametrize("seed", range(8))
def test_no_malformed_file_breaks_anything(tmp_path: Path, seed: int) -> None:
    """250 mutations a seed: kept and readable to the end, or refused in words; never half, never outside."""
    draw = random.Random(seed)
    jsonl = b"".join(FIXTURE.read_bytes().splitlines(keepends=True)[:4])
    lines = [json.loads(line) for line in jsonl.splitlines()]
    seeds = {
        "a.jsonl": jsonl,
        "a.json": json.dumps(lines).encode(),
        "a.csv": b'question,answer\n"a ""b"",\nc?",1\nd,2\n',
        "../a b": jsonl,
    }
    folder = tmp_path / "uploads"
    folder.mkdir()
    for _ in range(250):
        name = draw.choice(list(seeds))
        data = mutated(draw, seeds[name])
        kept = {path.name for path in folder.iterdir()}
        try:
            info = store(folder, data, name)
        except InvalidInput:
            assert {path.name for path in folder.iterdir()} == kept
            continue
        assert len(rows(folder, info)) == info.rows == len(uploads.page(folder / info.id, 0, info.rows + 1))
        section = DatasetSection(
            source="x", instruction_field=str(info.fields.instruction), response_field=info.fields.response or ""
        )
        try:
            mapped, _ = map_rows(rows(folder, info), section)
            json.dumps(mapped, ensure_ascii=False, allow_nan=False).encode()
        except InvalidInput:
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["uploads"]
