"""Previews of the exact prompt: the text after the chat template, and its length in tokens."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import core.errors
from core.child import HUB_TOKEN, script_command
from core.config import DatasetSection, ModelSection
from core.data import prompts, rows
from core.data.chat_template import WORDS, read_control_tokens, tokens_of
from core.errors import InvalidInput, TunesmithError, Unavailable
from core.model import local_folder
from core.reward import opened_by
from core.rewards import markers_of
from core.settings import PROJECT, Home
from services.machine.preferences import stored_token

READER = PROJECT / "core" / "data" / "__main__.py"
FILES = ("tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "tokenizer.json")
_PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "HF_TOKEN",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "HF_HUB_ETAG_TIMEOUT",
    "HF_HUB_DOWNLOAD_TIMEOUT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "LD_LIBRARY_PATH",
)


def ask(home: Home, op: str, *, timeout: float, **request: Any) -> Any:
    """Run one request in a separate process of :mod:`core.data.__main__`.

    Raises:
        TunesmithError: Raised by the process.
        Unavailable: It did not respond in time, or ended without a response.
    """
    return ask_script(home, READER, timeout=timeout, op=op, **request)


def ask_script(
    home: Home,
    script: Path,
    *,
    timeout: float | None,
    started: Callable[[subprocess.Popen[str]], None] = lambda _: None,
    **request: Any,
) -> Any:
    """Like :func:`ask`, with another script; ``started`` is called with its process."""
    process = subprocess.Popen(
        script_command(script),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=reader_environment(home),
    )  # fmt: skip
    started(process)
    try:
        answer = json.loads(process.communicate(json.dumps(request), timeout)[0])
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Unavailable(f"Reading took longer than {timeout:.0f} seconds and was stopped. Try again.") from None
    except ValueError:
        raise Unavailable(
            "Reading stopped without a result. Try again; if that does not help, choose another dataset or model."
        ) from None
    if "error" in answer:
        error = answer["error"]
        kind = getattr(core.errors, error["kind"], InvalidInput)
        raise kind(error["message"], field=error["field"])
    return answer["result"]


def reader_environment(home: Home) -> dict[str, str]:
    """The environment of a reader process: the Hugging Face settings, and none of this server's secrets."""
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    if not env.get(HUB_TOKEN) and (token := stored_token(home)):
        env[HUB_TOKEN] = token
    return env | {
        "HF_HOME": str(home.cache / "hub"),
        "USE_TORCH": "0",
        "USE_TF": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def preview(home: Home, model: ModelSection, dataset: DatasetSection, raw: list[dict[str, Any]]) -> dict[str, Any]:
    """The prompts of some rows, as far as they can be rendered.

    Args:
        home: The data folders.
        model: Its chat template and tokenizer are used.
        dataset: Mapping, system prompt and markers.
        raw: Rows before mapping.

    Returns:
        ``prompts`` (each with ``messages``, ``tools``, ``reference``, ``warm_up_target``, ``text``, its ``parts`` and
        ``tokens``, the last three None if unknown), ``template`` ('model', 'plain', None) and ``notes``.

    Raises:
        InvalidInput: No row can be used.
    """
    mapped, left_out = rows.map_rows(raw, dataset)
    asked = [prompts.conversation(row, dataset) for row in mapped]
    shown = [
        {
            "messages": list(one.messages),
            "tools": list(one.tools),
            "reference": row["response"],
            "warm_up_target": prompts.warm_up_target(row, dataset),
            "text": None,
            "parts": None,
            "tokens": None,
        }
        for row, one in zip(mapped, asked, strict=True)
    ]
    notes = [f"{count} of these rows cannot be used: {reason}." for reason, count in left_out.items()]
    try:
        folder = tokenizer_folder(home, model)
        template, special = prompts.read_chat_template(folder)
        template = dataset.chat_template or template
        control = tuple(sorted(read_control_tokens(folder)))
        answers = _rendered(
            home, template, tuple(sorted(special.items())), control, json.dumps([one.json() for one in asked])
        )
    except TunesmithError as error:
        notes.append(f"The exact prompt is not available yet. {error.message}")
        return {"prompts": shown, "template": None, "notes": notes}
    counts, why = part_counts(folder / "tokenizer.json", answers)
    for one, row, answer, tokens in zip(shown, mapped, answers, counts, strict=True):
        if "parts" in answer:
            text = "".join(answer["parts"])
            target = prompts.warm_up_target(row, dataset, opened_by(text, markers_of(dataset)))
            one.update(text=text, parts=list(answer["parts"]), tokens=tokens, warm_up_target=target)
    if template is None:
        notes.append(
            "This model has no chat template, so a plain one is used: the system prompt, 'Question: …' and 'Answer:'."
        )
    notes += _what_was_done(answers) + _thought_note(shown, dataset)
    return {"prompts": shown, "template": "plain" if template is None else "model", "notes": notes + why}


def _what_was_done(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the template does not support, how that is handled, and in how many rows."""
    counts = Counter(change for answer in answers for change in answer.get("changes", ()))
    notes = [f"In {count} of these {len(answers)} rows {WORDS[change]}." for change, count in counts.items()]
    refused = [answer["refused"] for answer in answers if "refused" in answer]
    return [*notes, f"{len(refused)} of these rows are left out. {refused[0]}"] if refused else notes


def _thought_note(shown: Sequence[Mapping[str, Any]], dataset: DatasetSection) -> list[str]:
    markers = markers_of(dataset)
    opened = next((found for one in shown if one["text"] and (found := opened_by(one["text"], markers))), "")
    if not opened:
        return []
    words = f"The chat template starts the reasoning itself: {opened.strip()} is in the prompt already and counts."
    if opened.strip() == markers.reasoning_start:
        return [words]
    end = dict(markers.thoughts)[opened.strip()]
    advice = f"Set the reasoning tags to {opened.strip()} and {end} so that this reasoning is recognized."
    return [f"{words} {advice}"]


def tokenizer_folder(home: Home, model: ModelSection) -> Path:
    """The folder with a model's tokenizer files, downloaded from Hugging Face if needed.

    Raises:
        NotFound: There is no such model.
        Unavailable: Hugging Face cannot be reached and the files are not in the cache.
    """
    folder = local_folder(model.name, home)
    if folder is not None:
        return folder
    return Path(ask(home, "fetch", timeout=60, name=model.name, revision=model.revision, files=list(FILES)))


@lru_cache(maxsize=64)
def _rendered(
    home: Home,
    template: str | None,
    special: tuple[tuple[str, str], ...],
    control: tuple[str, ...],
    conversations: str,
) -> tuple[dict[str, Any], ...]:
    request = {"special": dict(special), "control": list(control), "conversations": json.loads(conversations)}
    return tuple(ask(home, "render", timeout=30, template=template, **request))


def token_counts(file: Path, texts: Sequence[str]) -> tuple[list[int | None], list[str]]:
    """Token count of each text, or None for each and the reason."""
    return part_counts(file, [{"parts": [text]} for text in texts])


def part_counts(file: Path, answers: Sequence[Mapping[str, Any]]) -> tuple[list[int | None], list[str]]:
    """Token count of each rendered prompt; see :class:`core.data.chat_template.Shown` for its ``parts``."""
    nothing: list[int | None] = [None] * len(answers)
    if not file.is_file():
        return nothing, ["This model has no tokenizer.json, so tokens are not counted until training starts."]
    try:
        tokenizer = tokenizer_in(file)
    except InvalidInput as error:
        return nothing, [error.message]

    def tokenize(text: str) -> list[int]:
        # The template has already added the special tokens.
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    return [len(tokens_of(one["parts"], tokenize)) if "parts" in one else None for one in answers], []


def tokenizer_in(file: Path) -> Any:
    """The tokenizer of a ``tokenizer.json``.

    Raises:
        InvalidInput: The model has no such file, or it cannot be read.
    """
    if not file.is_file():
        raise InvalidInput("This model has no tokenizer.json, so its tokens are known only when training starts.")
    try:
        return _tokenizer(file, file.stat().st_mtime_ns)
    except Exception as error:
        # The library raises bare Exception for a file it cannot read.
        raise InvalidInput(f"Cannot read the model's tokenizer.json: {error}") from error


@lru_cache(maxsize=4)
def _tokenizer(file: Path, _changed: int) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file))
