"""Prepares a whole dataset in a separate process, which reads one JSON request from stdin.

It applies the same preparation as training, with counts and examples of removed rows, lengths from the model's own
tokenizer, and the prepared rows as downloadable files. The response is one JSON object on stdout, as in
:mod:`core.data.__main__`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

MOST_MEASURED = 20_000
"""Rows whose tokens are counted; more hardly change a histogram and take minutes."""
REPORT = "report.json"
FILES = {"jsonl": "prepared.jsonl", "parquet": "prepared.parquet"}


def main() -> None:
    """Handle the request."""
    from core.errors import TunesmithError

    request = json.load(sys.stdin)
    answer: dict[str, Any]
    try:
        answer = {"result": prepare(**request)}
    except TunesmithError as error:
        answer = {"error": {"kind": type(error).__name__, "message": error.message, "field": error.field}}
    json.dump(answer, sys.stdout)


def prepare(
    config: dict[str, Any], root: str, tokenizer: str | None, folder: str | None, progress: str | None = None
) -> dict[str, Any]:
    """The report on a configuration's dataset; see :func:`services.datasets.library.Library.prepare`.

    Args:
        tokenizer: Folder with the model's tokenizer and chat template, or None if it is not available.
        folder: Where the prepared rows and the report are stored; None to store nothing.
        progress: File for progress messages; None for none.
    """
    from core.config import parse
    from core.data.pipeline import prepare_rows
    from core.data.preference_facts import preferences_of
    from core.job_dir import write_json
    from core.methods import Need, method
    from core.rewards import decided, markers_of
    from core.rewards.selfcheck import earns_with_reference
    from core.settings import Home

    def say(message: str) -> None:
        if progress:
            write_json(Path(progress), {"message": message})

    complete = parse(config)
    say("Reading rows, after downloading them from Hugging Face if needed")
    scored = Need.REWARD in method(complete.method).needs
    parses = earns_with_reference(complete.reward, markers_of(complete.dataset)) if scored else lambda row: True
    found = prepare_rows(complete, Home(Path(root)), parses)
    rows = [*found.train, *found.holdout, *found.test]
    counted = preferences_of(rows, complete.dataset, found.left_out)
    say(f"Counting tokens in {min(len(rows), MOST_MEASURED):,} rows")
    report = {
        "read": found.read,
        "left_out": found.left_out,
        "removed": {reason: {"count": one.count, "rows": _samples(one.rows)} for reason, one in found.removed.items()},
        "train": len(found.train),
        "holdout": len(found.holdout),
        "test": len(found.test),
        "spare": found.spare,
        "sha256": found.sha256,
        "decided": decided(complete.reward, [*found.train, *found.holdout]),
        "unparseable": sum(not parses(row) for row in rows),
        "preferences": asdict(counted) if counted else None,
        **(_lengths(rows[:MOST_MEASURED], complete, Path(tokenizer)) if tokenizer else {"lengths": None}),
    }
    if folder:
        say(f"Writing {len(rows):,} prepared rows")
        _write(rows, Path(folder))
        write_json(Path(folder) / REPORT, report | {"config": config})
    return report


def _lengths(rows: list[dict[str, Any]], config: Any, folder: Path) -> dict[str, Any]:
    """``lengths``, ``changes`` (what the chat template does not support, and the number of affected rows) and
    ``refused`` (rows that it cannot render).
    """
    from tokenizers import Tokenizer

    from core.data import chat_template, lengths, prompts
    from core.data.answers import learned
    from core.errors import InvalidInput
    from core.methods import method

    if not rows or not (folder / "tokenizer.json").is_file():
        return {"lengths": None}
    template, special = prompts.read_chat_template(folder)
    template = config.dataset.chat_template or template
    control = chat_template.read_control_tokens(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    chosen = method(config.method)
    shown, answers = [], []
    for row in rows:
        with suppress(InvalidInput):
            shown.append(chat_template.show(prompts.conversation(row, config.dataset), template, special, control))
            answers.append(learned(row, config.dataset, chosen.shapes))
    if not shown:
        return {"lengths": None, "refused": len(rows)}

    def counted(texts: Iterable[str]) -> list[int]:
        found = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(one.ids) for one in found]

    # Most prompts are one piece, and batches of pieces take a fraction of the time.
    asked = [sum(counted(one.parts)) if len(one.parts) > 1 else 0 for one in shown]
    asked = [many or single for many, single in zip(asked, counted(one.parts[0] for one in shown), strict=True)]
    # Of a pair, the longer answer: it decides whether the row fits.
    flat = iter(counted(text for texts in answers for text in texts))
    told = [max(islice(flat, len(texts))) for texts in answers]
    learns = chosen.learns_answers
    limits = (config.training.max_sequence_length, 1 if learns else config.training.max_new_tokens)
    measured, proposed = lengths.measure(asked, told, limits=limits), lengths.measure(asked, told)
    whole = [ask + tell for ask, tell in zip(asked, told, strict=True)]
    examples = {"cut_examples": sum(one > limits[0] for one in whole) / len(whole), "longest_example": max(whole)}
    changes = Counter(change for one in shown for change in one.changes)
    return {
        "lengths": measured.json()
        | {"cut_if_proposed": [proposed.cut_prompts, proposed.cut_references], "limits": limits}
        | (examples if learns else {}),
        "changes": {chat_template.WORDS[change]: count for change, count in changes.items()},
        "refused": len(rows) - len(shown),
    }


def _samples(rows: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    return [{name: str(row[name])[:500] for name in ("instruction", "response")} for row in rows]


def _write(rows: list[dict[str, Any]], folder: Path) -> None:
    """The prepared rows as JSON Lines and Parquet. In Parquet, cells that are not text are written as JSON."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    from core.text import json_line

    folder.mkdir(exist_ok=True)
    with (folder / FILES["jsonl"]).open("wb") as file:
        file.writelines(json_line(row, default=str) for row in rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [_cell(row.get(name)) for row in rows] for name in names}
    parquet.write_table(
        pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()}),
        folder / FILES["parquet"],
    )


def _cell(value: Any) -> str | None:
    from core.text import whole

    if value is None:
        return None
    return whole(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


if __name__ == "__main__":
    main()
