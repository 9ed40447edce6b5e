"""Every layout in every format, and difficult ones: what is read, detected, and shown to the model.

The table in docs/datasets-formats.md is made here (``TUNESMITH_WRITE_DOCS=1 pytest tests/data/test_formats.py``)
and compared with the code.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest

from core.config import DatasetSection
from core.data import prompts, uploads
from core.data.chat_template import show
from core.data.extract import TITLES
from core.data.ingest import BadRows
from core.data.rows import map_row
from core.dataset import UploadInfo
from core.errors import InvalidInput
from tests.data.shapes import FORMATS, NASTY, SHAPES

RULES = {str(rule): f"{title[0].lower()}{title[1:]}".partition(", such as")[0] for rule, title in TITLES.items()}
DOC = Path(__file__).parents[2] / "docs" / "datasets-formats.md"


def keep(folder: Path, name: str, data: bytes, *, skip: bool = False) -> UploadInfo:
    return uploads.store(io.BytesIO(data), name, folder, 1 << 30, "skip" if skip else "stop")


def section(info: UploadInfo) -> DatasetSection:
    """The detected mapping, as in a configuration."""
    fields = info.fields
    return DatasetSection(
        source=f"upload:{info.id}", instruction_field=fields.instruction or "question", response_field=fields.response or "",
        instruction_template=fields.template, extraction=fields.extraction, extraction_pattern=fields.pattern, system_prompt="",
    )  # fmt: skip


def first_prompt(folder: Path, info: UploadInfo) -> tuple[str, str]:
    """The first row's prompt with the plain template, and its reference."""
    row = map_row(uploads.page(folder / info.id, 0, 1)[0], section(info))
    return show(prompts.conversation(row, section(info)), None, {}).text, row["response"]


EXPECTED = {
    "question / answer": ("question", "answer", "How many legs have 3 dogs?", "12"),
    "instruction / input / output": ("instruction", "output", "Translate into French.\n\ncheese", "fromage"),
    "prompt / completion": ("prompt", "completion", "The capital of Italy is", "Rome"),
    "prompt / chosen / rejected": ("prompt", "chosen", "Say hello.", "Hello to you."),
    "messages": ("messages", "messages", "Who wrote Faust?", "Goethe"),
    "conversations (ShareGPT)": ("conversations", "conversations", "Largest planet?", "Jupiter"),
    "context + question + answers (SQuAD)": ("question", "answers", "Denver won the game.\n\nWho won?", "Denver"),
    "question + choices + answerKey (ARC)": ("question", "answerKey", "Which is a metal?\n\nA) wood\nB) iron", "B"),
    "question + choices + number of the answer (MMLU)": (
        "question",
        "answer",
        "The order of the group is\n\nA) 0\nB) 4\nC) 2\nD) 6",
        "1",
    ),
    "ctx + endings + label (HellaSwag)": (
        "ctx",
        "label",
        "A man is on a roof. He\n\nA) sings.\nB) removes tiles.",
        "1",
    ),
    "prompt + reward_model (verl, DAPO)": ("prompt", "reward_model", "What is 3 x 4?", "12"),
    "problem + solution + answer (OpenR1, DeepScaleR)": ("problem", "answer", "Find x with x + 1 = 3.", "2"),
    "problem + solution (MATH)": ("problem", "solution", "Evaluate $2^3$.", "8"),
    "instruction + context + response (Dolly)": (
        "instruction",
        "response",
        "It opened in 1901.\n\nWhen did it open?",
        "In 1901.",
    ),
    "messages with tools (OpenAI fine-tuning)": ("messages", "messages", "Weather in Oslo?", "It rains."),
    "messages ending in a question + answer": ("messages", "answer", "2 + 2?", "4"),
    "prompt + chosen + rejected as messages (UltraFeedback)": ("prompt", "chosen", "Name a river.", "The Po."),
    "chosen + rejected as transcripts (Anthropic hh)": ("chosen", "chosen", "What is ice?", "Frozen water."),
    "prompt + canonical_solution + test (HumanEval)": ("prompt", "canonical_solution", "def one() -> int:", "return 1"),
    "text + code + test_list (MBPP)": ("text", "code", "Write a function that adds.", "def add(a, b): return a + b"),
    "question + thinking + correct_answer": ("question", "correct_answer", "Half of 10?", "5"),
}


BEFORE = {
    "messages with tools (OpenAI fine-tuning)": (
        'You can call these functions. To call one, write <tool_call>{"name": "…", "arguments": {…}}</tool_call>.\n'
        '{"name": "weather", "parameters": {"type": "object"}}\n\n'
    ),
    "messages ending in a question + answer": "Question: Hello.\n\nAnswer: Hi.\n\n",
}
"""The turns of a conversation before the question."""


@pytest.mark.parametrize("form", FORMATS)
def test_every_shape_in_every_format_gives_the_same_prompt(form: str, tmp_path: Path) -> None:
    """The rows, the mapping and the first prompt do not depend on how they were stored."""
    name, write = FORMATS[form]
    for shape, rows in SHAPES.items():
        info = keep(tmp_path, name, write(rows))
        instruction, response, question, reference = EXPECTED[shape]
        assert (info.rows, info.fields.instruction, info.fields.response) == (2, instruction, response), shape
        before = BEFORE.get(shape, "")
        assert first_prompt(tmp_path, info) == (f"{before}Question: {question}\n\nAnswer:", reference), shape
        assert not info.fields.ask, shape


READ = {
    "CSV with a byte-order mark": 2, "JSON Lines with a byte-order mark and CRLF": 2, "CSV, CRLF, quotes with line ends inside": 1,
    "CSV, semicolons, Windows-1252": 1, "CSV in UTF-16": 1, "TSV called .txt": 1, "nested JSON": 1, "mixed types in a column": 4,
    "Unicode: emoji, right to left, combining": 1, "a 5 MB cell": 1, "a 5 MB cell in CSV": 1, "duplicate column names in CSV": 1,
    "duplicate column names in Parquet": 1, "Parquet with lists of structs": 1, "JSON with two splits": 1,
}  # fmt: skip
SKIPPED = {
    "truncated gzip": 1, "truncated zstd": 1, "truncated JSON list": 1, "JSON Lines, line 2 broken": 1,
    "CSV, a row with too few cells": 1, "CSV, a quotation mark never closed": 1, "half a surrogate pair": 1,
}  # fmt: skip
"""Bad rows of files whose good rows can be kept."""


@pytest.mark.parametrize("case", NASTY)
def test_difficult_files_are_read_or_rejected_with_a_reason(case: str, tmp_path: Path) -> None:
    """Valid ones are read completely; broken ones are rejected with the line, or partly kept on request."""
    name, data = NASTY[case]
    if case in READ:
        info = keep(tmp_path, name, data)
        assert (info.rows, info.bad_rows) == (READ[case], 0)
        assert first_prompt(tmp_path, info)[0]
    elif case in SKIPPED:
        with pytest.raises(BadRows, match="line "):
            keep(tmp_path, name, data)
        info = keep(tmp_path, name, data, skip=True)
        assert (info.rows > 0, info.bad_rows) == (True, SKIPPED[case])
    else:
        with pytest.raises(InvalidInput):
            keep(tmp_path, name, data)


def test_values_come_through_whole(tmp_path: Path) -> None:
    """Line breaks in quotes, accents in another encoding, structs, letters of every script."""
    info = keep(tmp_path, *NASTY["CSV, CRLF, quotes with line ends inside"])
    assert uploads.page(tmp_path / info.id, 0, 1)[0]["question"] == 'He said "one,\r\ntwo". How many words?'
    info = keep(tmp_path, *NASTY["CSV, semicolons, Windows-1252"])
    assert uploads.page(tmp_path / info.id, 0, 1)[0] == {
        "question": "Wie heißt die größte Stadt Österreichs, bitte?",
        "answer": "Wien",
    }
    info = keep(tmp_path, *NASTY["Parquet with lists of structs"])
    assert uploads.page(tmp_path / info.id, 0, 1)[0]["hints"] == [
        {"about": "cat", "kg": 4.5},
        {"about": "cow", "kg": 700.0},
    ]
    info = keep(tmp_path, *NASTY["mixed types in a column"])
    assert info.kinds["answer"] == "list, number, text"


def test_the_table_in_the_docs_is_what_the_code_does(tmp_path: Path) -> None:
    """This test generates the page, so a change in behavior shows as a change in the page."""
    text = page(tmp_path)
    if os.environ.get("TUNESMITH_WRITE_DOCS"):
        DOC.write_text(text, encoding="utf-8")
    assert DOC.read_text("utf-8") == text, "run TUNESMITH_WRITE_DOCS=1 pytest tests/data/test_formats.py"


def page(folder: Path) -> str:
    lines = [
        INTRO.format(formats="; ".join(FORMATS)),
        "| Layout | Question column | Answer column | Also detected | First prompt | Answer |",
        "|---|---|---|---|---|---|",
    ]
    for shape, rows in SHAPES.items():
        info = keep(folder, "rows.jsonl", FORMATS["JSON Lines"][1](rows))
        prompt, reference = first_prompt(folder, info)
        rule = (
            f"{RULES[info.fields.extraction]} `{info.fields.pattern}`".removesuffix(" ``")
            if info.fields.extraction != "none"
            else ""
        )
        template = f"`{shown(info.fields.template)}`" if info.fields.template else ""
        further = " ".join(filter(None, (template, rule)))
        cells = (shape, f"`{info.fields.instruction}`", f"`{info.fields.response}`", further)
        lines.append(f"| {' | '.join(cells)} | `{shown(prompt)}` | `{shown(reference)}` |")
    lines += [NASTY_INTRO, "| File | Read as | Result |", "|---|---|---|"]
    lines += [f"| {case} | {steady(case, outcome(folder, *NASTY[case]))} |" for case in NASTY]
    return "\n".join(lines) + "\n"


def steady(case: str, text: str) -> str:
    """Where a truncated compressed file breaks off depends on the library that compressed it."""
    if not case.startswith("truncated g") and not case.startswith("truncated z"):
        return text
    return re.sub(r"remaining [\d,]+ row", "remaining N row", re.sub(r"line \d+", "line N", text))


def outcome(folder: Path, name: str, data: bytes) -> str:
    try:
        info = keep(folder, name, data)
    except BadRows as error:
        return f"unusable rows | {shown(error.message, 400)}"
    except InvalidInput as error:
        return f"refused | {shown(error.message, 400)}"
    prompt, reference = first_prompt(folder, info)
    notes = f". {shown(' '.join(info.notes), 400)}" if info.notes else ""
    where = " ".join(filter(None, (info.format, info.compression if info.compression != "none" else "", info.encoding)))
    return f"{where} | {info.rows} {'row' if info.rows == 1 else 'rows'}; columns {', '.join(info.columns)}; first prompt `{shown(prompt)}`, reference `{shown(reference)}`{notes}"


def shown(text: str, most: int = 90) -> str:
    flat = text.replace("\r", "").replace("\n", "⏎").replace("|", "\\|").replace("`", "'")
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


INTRO = """# Dataset formats

Generated by `tests/data/test_formats.py`; do not edit.

The file type is detected from the content; the extension decides only if the content leaves it open. You can
upload JSON, JSON Lines, CSV, TSV and Parquet, optionally compressed with gzip or zstd. Encoding and delimiter
are detected and shown. Each layout below gives the same rows, mapping and prompt in every one of these formats:
{formats}.

⏎ stands for a line break. Prompts are shown with the plain template and without a system prompt. For pairs of answers
and ratings, see [Pairs and ratings](datasets.md#pairs-and-ratings).
"""
NASTY_INTRO = """
## Unusual and damaged files

If some rows cannot be used, you can fix the file, or skip them and keep the rest.
"""
