"""The table of docs/datasets-formats.md: every layout in every format, and difficult ones, as files."""

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
    "question + choices + answerKey (ARC)": [
        {"id": "M_1", "question": "Which is a metal?", "choices": {"text": ["wood", "iron"], "label": ["A", "B"]}, "answerKey": "B"},
        {"id": "M_2", "question": "Which one floats?", "choices": {"text": ["cork", "lead"], "label": ["A", "B"]}, "answerKey": "A"},
    ],
    "question + choices + number of the answer (MMLU)": [
        {"question": "The order of the group is", "subject": "algebra", "choices": ["0", "4", "2", "6"], "answer": 1},
        {"question": "The index of the subgroup is", "subject": "algebra", "choices": ["8", "2", "24", "120"], "answer": 0},
    ],
    "ctx + endings + label (HellaSwag)": [
        {"ind": 4, "activity_label": "Roof", "ctx": "A man is on a roof. He", "endings": ["sings.", "removes tiles."], "label": "1"},
        {"ind": 9, "activity_label": "Lake", "ctx": "A boat sails. It", "endings": ["tips over.", "is green."], "label": "0"},
    ],
    "prompt + reward_model (verl, DAPO)": [
        {"data_source": "math", "prompt": [{"role": "user", "content": "What is 3 x 4?"}], "ability": "MATH", "reward_model": {"style": "rule", "ground_truth": "12"}, "extra_info": {"index": "a1", "split": "train"}},
        {"data_source": "math", "prompt": [{"role": "user", "content": "What is 9 - 2?"}], "ability": "MATH", "reward_model": {"style": "rule", "ground_truth": "7"}, "extra_info": {"index": "a2", "split": "train"}},
    ],
    "problem + solution + answer (OpenR1, DeepScaleR)": [
        {"problem": "Find x with x + 1 = 3.", "solution": "Take one away: x = 2.", "answer": "2", "problem_type": "Algebra", "uuid": "u1", "generations": ["<think>so</think>2"]},
        {"problem": "Find the root of 9.", "solution": "3 x 3 = 9.", "answer": "3", "problem_type": "Algebra", "uuid": "u2", "generations": ["3"]},
    ],
    "problem + solution (MATH)": [
        {"problem": "Evaluate $2^3$.", "level": "Level 1", "type": "Algebra", "solution": "We get $2^3=\\boxed{8}$."},
        {"problem": "Evaluate $3^2$.", "level": "Level 1", "type": "Algebra", "solution": "It is $\\boxed{9}$."},
    ],
    "instruction + context + response (Dolly)": [
        {"instruction": "When did it open?", "context": "It opened in 1901.", "response": "In 1901.", "category": "closed_qa"},
        {"instruction": "Name a bird.", "context": "", "response": "A wren.", "category": "open_qa"},
    ],
    "messages with tools (OpenAI fine-tuning)": [
        {"messages": [{"role": "user", "content": "Weather in Oslo?"}, {"role": "assistant", "content": "It rains."}], "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}], "parallel_tool_calls": False},
        {"messages": [{"role": "user", "content": "Weather in Rome?"}, {"role": "assistant", "content": "Sun."}], "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}], "parallel_tool_calls": False},
    ],
    "messages ending in a question + answer": [
        {"messages": [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "2 + 2?"}], "answer": "4"},
        {"messages": [{"role": "user", "content": "Hey."}, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "3 + 3?"}], "answer": "6"},
    ],
    "prompt + chosen + rejected as messages (UltraFeedback)": [
        {"prompt": "Name a river.", "prompt_id": "p1", "chosen": [{"role": "user", "content": "Name a river."}, {"role": "assistant", "content": "The Po."}], "rejected": [{"role": "user", "content": "Name a river."}, {"role": "assistant", "content": "No."}]},
        {"prompt": "Name a lake.", "prompt_id": "p2", "chosen": [{"role": "user", "content": "Name a lake."}, {"role": "assistant", "content": "Como."}], "rejected": [{"role": "user", "content": "Name a lake."}, {"role": "assistant", "content": "Why?"}]},
    ],
    "chosen + rejected as transcripts (Anthropic hh)": [
        {"chosen": "\n\nHuman: What is ice?\n\nAssistant: Frozen water.", "rejected": "\n\nHuman: What is ice?\n\nAssistant: Fire."},
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Capital of Peru?\n\nAssistant: Lima.", "rejected": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Capital of Peru?\n\nAssistant: Rome."},
    ],
    "prompt + canonical_solution + test (HumanEval)": [
        {"task_id": "HumanEval/0", "prompt": "def one() -> int:\n", "canonical_solution": "    return 1\n", "test": "def check(candidate):\n    assert candidate() == 1\n", "entry_point": "one"},
        {"task_id": "HumanEval/1", "prompt": "def two() -> int:\n", "canonical_solution": "    return 2\n", "test": "def check(candidate):\n    assert candidate() == 2\n", "entry_point": "two"},
    ],
    "text + code + test_list (MBPP)": [
        {"task_id": 601, "text": "Write a function that adds.", "code": "def add(a, b): return a + b", "test_list": ["assert add(1, 2) == 3"], "test_setup_code": ""},
        {"task_id": 602, "text": "Write a function that negates.", "code": "def neg(a): return -a", "test_list": ["assert neg(1) == -1"], "test_setup_code": ""},
    ],
    "question + thinking + correct_answer": [
        {"question": "Half of 10?", "thinking": "Two times five is ten.", "correct_answer": "5", "incorrect_answers": ["4", "20"]},
        {"question": "Half of 8?", "thinking": "Two times four is eight.", "correct_answer": "4", "incorrect_answers": ["3", "16"]},
    ],
}  # fmt: skip


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_json(rows: Rows) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def as_object(rows: Rows) -> bytes:
    return json.dumps({"version": "1.0", "data": rows}, ensure_ascii=False).encode()


def as_columns(rows: Rows) -> bytes:
    return json.dumps({name: [row[name] for row in rows] for name in rows[0]}, ensure_ascii=False).encode()


def as_pandas(rows: Rows) -> bytes:
    """As pandas' ``to_json()`` writes by default: by columns, with cells by row number."""
    return json.dumps({name: {str(i): row[name] for i, row in enumerate(rows)} for name in rows[0]}).encode()


def as_split(rows: Rows) -> bytes:
    """As pandas writes with ``orient="split"``."""
    table = {"columns": list(rows[0]), "index": list(range(len(rows))), "data": [list(row.values()) for row in rows]}
    return json.dumps(table).encode()


def as_table_schema(rows: Rows) -> bytes:
    """As pandas writes with ``orient="table"``."""
    fields = [{"name": name, "type": "string"} for name in ("index", *rows[0])]
    data = [{"index": i, **row} for i, row in enumerate(rows)]
    return json.dumps({"schema": {"fields": fields, "primaryKey": ["index"]}, "data": data}).encode()


def as_by_id(rows: Rows) -> bytes:
    return json.dumps({f"q-{i}": row for i, row in enumerate(rows)}).encode()


def as_service(rows: Rows) -> bytes:
    """As returned by Hugging Face's rows API."""
    features = [{"feature_idx": i, "name": name, "type": {"dtype": "string"}} for i, name in enumerate(rows[0])]
    wrapped = [{"row_idx": i, "row": row, "truncated_cells": []} for i, row in enumerate(rows)]
    return json.dumps({"features": features, "rows": wrapped, "num_rows_total": len(rows), "partial": False}).encode()


def as_python(rows: Rows) -> bytes:
    """A table whose lists and objects are written as Python prints them."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    for row in rows:
        writer.writerow({name: cell if isinstance(cell, str) else repr(cell) for name, cell in row.items()})
    return text.getvalue().encode()


def as_table(rows: Rows, delimiter: str = ",") -> bytes:
    """A cell with a list or an object is written as JSON, as people do."""
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
    "JSON by columns": ("rows.json", as_columns),
    "JSON by columns (pandas)": ("rows.json", as_pandas),
    "JSON by columns, called .jsonl": ("rows.jsonl", as_pandas),
    "JSON, pandas' split": ("rows.json", as_split),
    "JSON, pandas' table": ("rows.json", as_table_schema),
    "JSON, a row under each id": ("rows.json", as_by_id),
    "JSON, Hugging Face's rows service": ("rows.json", as_service),
    "CSV": ("rows.csv", as_table),
    "CSV, lists as Python prints them": ("rows.csv", as_python),
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
    "JSON by columns of different lengths": ("a.json", b'{"question": ["a?", "b?"], "answer": ["1"]}'),
    "JSON with two splits": ("a.json", b'{"train": [{"question": "a?", "answer": "1"}], "test": [{"question": "b?", "answer": "2"}]}'),
    "JSON of the rows service, a cell cut short": ("a.json", b'{"rows": [{"row_idx": 0, "row": {"question": "a?", "answer": "1"}, "truncated_cells": ["question"]}]}'),
    "a spreadsheet": ("a.xlsx", b"PK\x03\x04" + b"\0" * 100),
}  # fmt: skip
