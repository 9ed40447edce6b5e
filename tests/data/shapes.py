"""The table of docs/datasets-formats.md: every shape in every format, and the nasty ones, as files."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

Rows = list[dict[str, Any]]

SHAPES: dict[str, Rows] = {
    "question / answer": [
        {"question": "How many legs have 3 dogs?", "answer": "3 x 4 = 12\n#### 12"},
        {"question": "What is 7 + 5?", "answer": "7 + 5 = 12\n#### 12"},
    ],
    "instruction / input / output": [
        {"instruction": "Translate into French.", "input": "cheese", "output": "fromage"},
        {"instruction": "Name a colour.", "input": "", "output": "red"},
    ],
    "prompt / completion": [{"prompt": "The capital of Italy is", "completion": "Rome"}, {"prompt": "2 + 2 =", "completion": "4"}],
    "prompt / chosen / rejected": [
        {"prompt": "Say hello.", "chosen": "Hello to you.", "rejected": "No."},
        {"prompt": "Name a fruit.", "chosen": "A pear.", "rejected": "A brick."},
    ],
    "messages": [
        {"messages": [{"role": "user", "content": "Who wrote Faust?"}, {"role": "assistant", "content": "Goethe"}]},
        {"messages": [{"role": "user", "content": "2 x 3?"}, {"role": "assistant", "content": "6"}]},
    ],
    "conversations (ShareGPT)": [
        {"conversations": [{"from": "human", "value": "Largest planet?"}, {"from": "gpt", "value": "Jupiter"}]},
        {"conversations": [{"from": "human", "value": "Smallest prime?"}, {"from": "gpt", "value": "2"}]},
    ],
    "context + question + answers (SQuAD)": [
        {"context": "Denver won the game.", "question": "Who won?", "answers": {"text": ["Denver"], "answer_start": [0]}},
        {"context": "It rained in Oslo.", "question": "Where did it rain?", "answers": {"text": ["Oslo"], "answer_start": [13]}},
    ],
}  # fmt: skip


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_json(rows: Rows) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def as_object(rows: Rows) -> bytes:
    return json.dumps({"version": "1.0", "data": rows}, ensure_ascii=False).encode()


def as_table(rows: Rows, delimiter: str = ",") -> bytes:
    """A cell that is a list or an object is written as JSON, as people do."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: cell if isinstance(cell, str) else json.dumps(cell) for name, cell in row.items()})
    return text.getvalue().encode()


def as_parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def as_zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


FORMATS: dict[str, tuple[str, Callable[[Rows], bytes]]] = {
    "JSON Lines": ("rows.jsonl", as_jsonl),
    "JSON list": ("rows.json", as_json),
    "JSON object with a data field": ("rows.json", as_object),
    "CSV": ("rows.csv", as_table),
    "TSV": ("rows.tsv", lambda rows: as_table(rows, "\t")),
    "Parquet": ("rows.parquet", as_parquet),
    "JSON Lines, gzip": ("rows.jsonl.gz", lambda rows: gzip.compress(as_jsonl(rows))),
    "CSV, zstd": ("rows.csv.zst", lambda rows: as_zstd(as_table(rows))),
}


def _structs() -> bytes:
    rows = [
        {
            "question": "Which is larger, a cat or a cow?",
            "answer": "cow",
            "hints": [{"about": "cat", "kg": 4.5}, {"about": "cow", "kg": 700.0}],
        }
    ]
    return as_parquet(rows)


def _duplicate_columns() -> bytes:
    table = pa.Table.from_arrays(
        [pa.array(["Why?"]), pa.array(["a"]), pa.array(["b"])], names=["question", "answer", "answer"]
    )
    out = io.BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()


QA = SHAPES["question / answer"]
NASTY: dict[str, tuple[str, bytes]] = {
    "CSV with a byte-order mark": ("a.csv", b"\xef\xbb\xbf" + as_table(QA)),
    "JSON Lines with a byte-order mark and CRLF": ("a.jsonl", b"\xef\xbb\xbf" + as_jsonl(QA).replace(b"\n", b"\r\n")),
    "CSV, CRLF, quotes with line ends inside": ("a.csv", b'question,answer\r\n"He said ""one,\r\ntwo"". How many words?","two"\r\n'),
    "CSV, semicolons, Windows-1252": ("a.csv", "question;answer\r\nWie heißt die größte Stadt Österreichs, bitte?;Wien\r\n".encode("cp1252")),
    "CSV in UTF-16": ("a.csv", "question,answer\r\nWhat is 1 + 1?,2\r\n".encode("utf-16")),
    "TSV called .txt": ("a.txt", b"question\tanswer\nWhat is 1, 2 and 3?\t6\n"),
    "nested JSON": ("a.jsonl", b'{"question": "Deep?", "answer": {"value": {"kind": ["yes"]}}}\n'),
    "mixed types in a column": ("a.jsonl", b'{"question": "a?", "answer": 7}\n{"question": "b?", "answer": "seven"}\n{"question": "c?", "answer": [7]}\n{"question": "d?", "answer": null}\n'),
    "Unicode: emoji, right to left, combining": ("a.jsonl", '{"question": "\U0001f9c0 \u05e9\u05dc\u05d5\u05dd e\u0301?", "answer": "\u00e9\u4f60\u597d"}\n'.encode()),
    "a 5 MB cell": ("a.jsonl", b'{"question": "Long?", "answer": "' + b"x" * 5_000_000 + b'"}\n'),
    "a 5 MB cell in CSV": ("a.csv", b"question,answer\nLong?," + b"x" * 5_000_000 + b"\n"),
    "duplicate column names in CSV": ("a.csv", b"question,answer,answer\nWhy?,a,b\n"),
    "duplicate column names in Parquet": ("a.parquet", _duplicate_columns()),
    "an empty file": ("a.csv", b""),
    "only a heading": ("a.csv", b"question,answer\n"),
    "Parquet with lists of structs": ("a.parquet", _structs()),
    "truncated gzip": ("a.jsonl.gz", gzip.compress(b"".join(b'{"question": "What is %d + 1?", "answer": "%d"}\n' % (i, i + 1) for i in range(9000)))[:-4000]),
    "truncated zstd": ("a.jsonl.zst", as_zstd(b"".join(b'{"question": "What is %d + 1?", "answer": "%d"}\n' % (i * 7919 % 10007, i + 1) for i in range(9000)))[:-4000]),
    "truncated Parquet": ("a.parquet", as_parquet(QA)[:-30]),
    "truncated JSON list": ("a.json", as_json(QA)[:-20]),
    "JSON Lines, line 2 broken": ("a.jsonl", as_jsonl(QA[:1]) + b'{"question": \n' + as_jsonl(QA[1:])),
    "CSV, a row with too few cells": ("a.csv", b"question,answer\nWhat is 1 + 1?,2\nlonely\n"),
    "CSV, a quotation mark never closed": ("a.csv", b'question,answer\nWhat is 1 + 1?,2\n"never closed,3\n'),
    "half a surrogate pair": ("a.jsonl", b'{"question": "a?", "answer": "b"}\n{"question": "\\ud83e", "answer": "b"}\n'),
    "a spreadsheet": ("a.xlsx", b"PK\x03\x04" + b"\0" * 100),
}  # fmt: skip
