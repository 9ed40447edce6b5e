"""The dataset manager: contents, column mapping, usage and preparation of each dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import core.config
from core.config import RunConfig, SourceFields
from core.data import sources, uploads
from core.data.cells import plain
from core.data.extract import Extraction
from core.data.known_datasets import BY_PATH
from core.data.report import Report
from core.data.rows import map_row
from core.dataset import FieldGuess, Shape, UploadInfo
from core.errors import Conflict, InvalidInput, NotFound, TunesmithError
from core.job import JobKind
from core.job_dir import checked_json, read_json
from core.methods import Need, method_of
from core.settings import PROJECT, Home
from services.datasets.preparation_child import FILES, REPORT
from services.datasets.prompts import ask, ask_script, tokenizer_folder
from services.jobs.database import Database
from services.jobs.in_use import unfinished
from services.machine.bin import size_of
from services.storage.usage import download_folders

MAPPED = (
    "instruction_field",
    "response_field",
    "chosen_field",
    "rejected_field",
    "winner_field",
    "label_field",
    "instruction_template",
    "extraction",
    "extraction_pattern",
    "columns",
)
PREFERENCES = ("chosen_field", "rejected_field", "winner_field", "label_field")
"""Those of rows with pairs or ratings."""
PREPARING = PROJECT / "services" / "datasets" / "preparation_child.py"
PREPARE_SECONDS = 600.0
TASK_SECONDS = 120.0
TEMPLATES = "prompt_templates"
TEMPLATE_FIELDS = (
    "system_prompt",
    "chat_template",
    "reasoning_start",
    "reasoning_end",
    "solution_start",
    "solution_end",
)
MOST_TEMPLATES = 200


@dataclass(frozen=True)
class Use:
    """A run that used a dataset. ``sha256`` is the content hash of its rows."""

    session_id: str
    name: str
    active: bool
    sha256: str


@dataclass(frozen=True)
class CacheEntry:
    """A download that can be downloaded again."""

    name: str
    kind: str
    size: int


class Library:
    """Operations of the dataset manager.

    Args:
        home: The data folders.
        database: Knows the runs; keeps the saved templates.
    """

    def __init__(self, home: Home, database: Database) -> None:
        self._home = home
        self._database = database
        self._tasks: list[dict[str, Any]] = []

    # --- one dataset ---

    def info(self, upload_id: str) -> UploadInfo:
        """Raises NotFound, or Damaged if its metadata cannot be read."""
        return uploads.whole_info(self._folder(upload_id))

    def change(self, upload_id: str, *, name: str | None = None, mapping: dict[str, Any] | None = None) -> UploadInfo:
        """Rename a dataset, or save another mapping. Earlier runs keep theirs.

        Raises:
            InvalidInput: The name is empty, or the mapping names a missing column.
        """
        info = self.info(upload_id)
        changes: dict[str, Any] = {}
        if name is not None:
            if not name.strip():
                raise InvalidInput("Enter a dataset name.", field="name")
            changes["name"] = uploads.shown_name(name.strip())
        if mapping is not None:
            changes["mapping"] = self._checked(info, mapping)
        info = info.model_copy(update=changes)
        uploads.write_info(self._folder(upload_id), info)
        return info

    def mapping(self, info: UploadInfo) -> dict[str, Any]:
        """The dataset section for a dataset: with its saved mapping, else the detected one."""
        detected = detected_mapping(info.fields)
        plain_values = {name: field.default for name, field in SourceFields.model_fields.items()} | {"columns": {}}
        chosen = detected | info.mapping
        needed = {
            name: value
            for name, value in chosen.items()
            if name in {"instruction_field", "response_field"} or value != plain_values.get(name)
        }
        return {"source": f"upload:{info.id}", **needed}

    def shape(self, info: UploadInfo) -> Shape:
        """What its rows hold, by its mapping."""
        return Shape.of(self.mapping(info))

    def page(self, upload_id: str, offset: int, limit: int) -> list[dict[str, Any]]:
        """Some raw rows, from any position."""
        return uploads.page(self._folder(upload_id), offset, limit)

    def search(self, upload_id: str, text: str, start: int, limit: int) -> dict[str, Any]:
        """Rows that contain a text: ``rows`` with their numbers, ``searched`` to continue from, ``done``."""
        hits = uploads.search(self._folder(upload_id), text, start=start, limit=limit)
        rows = [{"row": number, "cells": plain(row)} for number, row in hits.rows]
        return {"rows": rows, "searched": hits.searched, "done": hits.done}

    def mapped(self, upload_id: str, mapping: dict[str, Any], count: int = 5) -> list[dict[str, Any]]:
        """The first rows with a mapping applied, as a live preview.

        Raises:
            InvalidInput: A column, rule or pattern is wrong.
        """
        info = self.info(upload_id)
        section = SourceFields.model_validate({"source": f"upload:{upload_id}", **self._checked(info, mapping)})
        return [plain(map_row(row, section)) for row in self.page(upload_id, 0, count)]

    def uses(self, upload_id: str) -> list[Use]:
        """Every run that uses the dataset, newest first."""
        found = []
        for job in self._database.jobs_with_config(JobKind.TRAIN):
            if f"upload:{upload_id}" in sources_of(job.config):
                info = read_json(self._home.outputs / job.id / "prepared" / "info.json") or {}
                found.append(Use(job.id, job.name, job.active, str(info.get("sha256", ""))))
        return found

    def use_counts(self) -> dict[str, int]:
        """Number of runs that use each dataset, by its id."""
        counts: dict[str, int] = {}
        for job in self._database.jobs_with_config(JobKind.TRAIN):
            for source in set(sources_of(job.config)):
                if source.startswith(sources.UPLOAD):
                    upload_id = source.removeprefix(sources.UPLOAD)
                    counts[upload_id] = counts.get(upload_id, 0) + 1
        return counts

    # --- preparing ---

    def prepare(
        self,
        config: dict[str, Any],
        *,
        draft: bool = False,
        progress: Path | None = None,
        started: Callable[[Popen[str]], None] = lambda _: None,
        timeout: float | None = PREPARE_SECONDS,
    ) -> dict[str, Any]:
        """What training would do with a dataset: counts, removed rows, lengths, content hash.

        Args:
            config: A configuration; its dataset, evaluation and tokenizer are used.
            draft: Store report and prepared rows as the new run's, for any source; otherwise those of an upload are
                stored beside it, and no others.
            progress: File whose ``message`` describes the progress.
            started: Called with the process.
            timeout: Seconds; None for no limit.

        Raises:
            InvalidInput, NotFound, Unavailable: The dataset cannot be read or mapped.
        """
        complete = _complete(config)
        folder = self._draft if draft else None
        if not draft and complete.dataset.source.startswith(sources.UPLOAD):
            folder = sources.upload_folder(complete.dataset.source, self._home) / "prepared"
        try:
            tokenizer: str | None = str(tokenizer_folder(self._home, complete.model))
        except TunesmithError:
            tokenizer = None
        report: dict[str, Any] = ask_script(
            self._home, PREPARING, timeout=timeout, started=started, config=core.config.dump(complete),
            root=str(self._home.root), tokenizer=tokenizer, folder=str(folder) if folder else None,
            progress=str(progress) if progress else None,
        )  # fmt: skip
        return report

    def draft_report(self, config: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
        """The latest report on the new run's dataset, or None; and whether ``config`` has changed since."""
        report = checked_json(self._draft / REPORT, Report)
        made = (report or {}).get("config") or {}
        if not report or (made.get("dataset") or {}).get("source") != (config.get("dataset") or {}).get("source"):
            return None, False
        try:
            now = core.config.dump(_complete(config))
        except TunesmithError:
            return report, True
        return report, {**now, "name": ""} != {**made, "name": ""}

    def report(self, upload_id: str) -> dict[str, Any] | None:
        """The latest report on a dataset, or None."""
        return checked_json(self._folder(upload_id) / "prepared" / REPORT, Report)

    def prepared_file(self, upload_id: str | None, form: str) -> Path:
        """The prepared rows, for download; None for the new run's.

        Raises:
            InvalidInput: Neither jsonl nor parquet.
            NotFound: It has not been prepared.
        """
        if form not in FILES:
            raise InvalidInput("Prepared rows are available as jsonl or parquet.", field="form")
        path = (self._folder(upload_id) / "prepared" if upload_id else self._draft) / FILES[form]
        if not path.is_file():
            raise NotFound("This dataset has not been prepared yet. Prepare it first, then download it.")
        return path

    # --- generated tasks, templates, cache ---

    def tasks(self) -> list[dict[str, Any]]:
        """Every reasoning-gym task. The library is loaded once, in a separate process."""
        if not self._tasks:
            self._tasks = ask(self._home, "tasks", timeout=TASK_SECONDS)
        return self._tasks

    def templates(self) -> dict[str, dict[str, Any]]:
        """System prompts with markers and chat template, by their user-given names."""
        return dict(self._database.setting(TEMPLATES) or {})

    def save_template(self, name: str, section: dict[str, Any]) -> None:
        """Save the dataset section's prompt, markers and chat template under a name.

        Raises:
            InvalidInput: The name is empty or too long.
        """
        name = name.strip()
        if not 0 < len(name) <= 100:
            raise InvalidInput("Enter a name of at most 100 characters for the prompt.", field="name")
        kept = self.templates()
        if name not in kept and len(kept) >= MOST_TEMPLATES:
            raise Conflict(f"You already have {MOST_TEMPLATES} saved prompts. Delete some first.")
        kept[name] = {field: section[field] for field in TEMPLATE_FIELDS if section.get(field) is not None}
        self._database.set_setting(TEMPLATES, kept)

    def delete_template(self, name: str) -> None:
        """Raises NotFound if there is none with this name."""
        kept = self.templates()
        if kept.pop(name, None) is None:
            raise NotFound(f"There is no saved prompt named {name!r}.")
        self._database.set_setting(TEMPLATES, kept)

    def cache(self) -> list[CacheEntry]:
        """The contents of the Hugging Face cache, largest first."""
        found = [CacheEntry(name, kind, size_of(folder)) for folder, kind, name in download_folders(self._home)]
        made = (("Converted rows", self._home.cache / "hub" / "datasets"), ("Prepared rows", self._draft))
        found += [CacheEntry(title, "cache", size) for title, folder in made if (size := size_of(folder))]
        return sorted(found, key=lambda one: -one.size)

    def _checked(self, info: UploadInfo, mapping: dict[str, Any]) -> dict[str, Any]:
        unknown = set(mapping) - set(MAPPED)
        if unknown:
            raise InvalidInput(
                f"A mapping has no field {min(unknown)}. Available: {', '.join(MAPPED)}.",
                field=f"mapping.{min(unknown)}",
            )
        section = core.config.parse({
            "name": "x", "model": {"name": "x"}, "dataset": {"source": f"upload:{info.id}", **mapping},
            "reward": {"type": "preset", "preset_name": "math"},
        }).dataset  # fmt: skip
        from core.data.rows import check_columns

        check_columns(info.columns, section)
        Extraction(section.extraction, section.extraction_pattern).check()
        return {name: getattr(section, name) for name in MAPPED if name in mapping}

    @property
    def _draft(self) -> Path:
        return self._home.cache / "prepared"

    def _folder(self, upload_id: str) -> Path:
        return sources.upload_folder(f"{sources.UPLOAD}{upload_id}", self._home)


def detected_mapping(found: FieldGuess) -> dict[str, Any]:
    """Fields of the dataset section for a detected mapping.

    The better answer of a pair is the answer column too: it is what a method for examples learns.
    """
    return {
        "instruction_field": found.instruction or "question",
        "response_field": found.response or "",
        "chosen_field": found.response if found.rejected and found.response else "",
        "rejected_field": found.rejected or "",
        "winner_field": "",
        "label_field": found.label or "",
        "instruction_template": found.template,
        "extraction": found.extraction,
        "extraction_pattern": found.pattern,
        "columns": found.columns,
    }


def _complete(config: dict[str, Any]) -> RunConfig:
    """A configuration with placeholders for missing sections."""
    scored = Need.REWARD in method_of(config).needs
    reward = {"reward": {"type": "preset", "preset_name": "math"}} if scored else {}
    return core.config.parse({"name": "preview", **reward, **config})


def sources_of(config: dict[str, Any]) -> list[str]:
    """All sources of a configuration's dataset."""
    dataset = config.get("dataset") or {}
    return [str(dataset.get("source"))] + [str(part.get("source")) for part in dataset.get("mix") or ()]


def used_by(database: Database) -> Callable[[str], list[str]]:
    """A function from a source to the names of the unfinished jobs that need it: runs, probes, evaluations."""

    def users(source: str) -> list[str]:
        return [job.name for job in unfinished(database) if source in sources_of(job.config)]

    return users


def known(path: str) -> dict[str, Any] | None:
    """The catalog's ready-made dataset section for a Hugging Face path."""
    found = BY_PATH.get(path)
    return found.section if found else None
