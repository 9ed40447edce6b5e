"""Uploads, and previews of any dataset before it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, BinaryIO

import core.config
from core.config import DatasetSection
from core.data import arithmetic, made_pairs, sources, tasks, uploads
from core.data import rows as rows_of
from core.data.cells import plain, text_of
from core.data.detect import SAMPLE, guess_fields
from core.data.ingest import HeadingChoice, OnBad
from core.dataset import Damage, UploadInfo
from core.errors import Conflict, InvalidInput
from core.job import ID_PATTERN
from core.methods import method_of
from core.settings import Home
from services.datasets import prompts, trained
from services.machine.bin import Bin, Entry

MAX_CELL = 20_000
"""Characters of a cell in a preview."""
MAX_SHOWN = 4_000_000
"""Characters of all cells in a preview: if there are many, each is truncated further."""
LEAST_CELL = 300
MAX_SAMPLES = 200
LIMITS = ("train_on", "max_sequence_length")
"""Training settings that decide which tokens are trained."""
MOST_MADE = 8
"""Number of cached exercise previews."""
HUB_TIMEOUT = 180.0

GENERATED = (
    {
        "source": arithmetic.SOURCE,
        "title": "Arithmetic (generated)",
        "description": "Problems such as 'What is 21 + 12?'. Needs no file and works offline. Good for a first run.",
        "columns": ["question", "answer"],
    },
    {
        "source": made_pairs.SOURCE,
        "title": "Preferences (generated)",
        "description": "Pairs of a short, correct sum and a worse answer: wrong, long-winded or both. Needs no file "
        "and works offline. Good for a first run that learns from preferences.",
        "columns": ["question", "chosen", "rejected"],
    },
)


Uploads = list[UploadInfo]
Rows = list[dict[str, Any]]
Peeked = tuple[list[dict[str, Any]], list[str], int | None]
"""Rows, columns, and the number of rows. (Inside the class below, ``list`` is a method.)"""


class Datasets:
    """Operations on datasets.

    Args:
        home: Location of ``uploads/`` and the cache.
        limit: Most bytes of an upload.
        used_by: Names of the unfinished jobs that use a source such as ``upload:<id>``.
    """

    def __init__(self, home: Home, limit: int, used_by: Callable[[str], Sequence[str]]) -> None:
        self._home = home
        self._limit = limit
        self._used_by = used_by
        self._bin = Bin(home)
        self._made: dict[tuple[str, int], Peeked] = {}
        uploads.sweep(home.uploads)

    def list(self) -> Uploads:
        """All uploads, newest first."""
        return uploads.every(self._home.uploads)

    def save_upload(
        self,
        stream: BinaryIO,
        filename: str,
        on_bad: OnBad = "stop",
        *,
        heading: HeadingChoice = "auto",
        once: bool = True,
    ) -> UploadInfo:
        """Check and keep a file. See :func:`core.data.uploads.store` for what it raises."""
        return uploads.store(stream, filename, self._home.uploads, self._limit, on_bad, heading=heading, once=once)

    def info(self, upload_id: str) -> UploadInfo:
        """An upload's metadata. Raises NotFound, or Damaged if its metadata cannot be read."""
        return uploads.whole_info(self._folder(upload_id))

    def damaged(self) -> Sequence[Damage]:
        """Damaged datasets, which can only be deleted."""
        return uploads.damaged(self._home.uploads)

    def preview(self, dataset: dict[str, Any], samples: int = 5, offset: int = 0) -> dict[str, Any]:
        """Some rows of any source, with the suggested mapping.

        Args:
            dataset: A dataset section; ``source`` alone is enough.
            samples: How many rows.
            offset: First row, for uploads; other sources are shown from the start.

        Returns:
            ``rows`` (long cells truncated), ``columns``, ``total`` (None: unknown), ``fields`` (see FieldGuess).

        Raises:
            InvalidInput, NotFound, Unavailable: As :func:`core.data.sources.load_rows`.
        """
        section = read_dataset_section(dataset)
        samples = min(max(samples, 1), MAX_SAMPLES)
        total: int | None
        if section.source.startswith(sources.UPLOAD):
            folder = sources.upload_folder(section.source, self._home)
            info = self.info(folder.name)
            rows = uploads.page(folder, max(offset, 0), samples)
            columns, total, fields = [*info.columns], info.rows, info.fields
        else:
            found, columns, total = self._peek(section, max(samples, min(SAMPLE, 20)))
            rows, fields = found[:samples], guess_fields(found)
        return {
            "rows": self.cut(rows),
            "columns": columns,
            "total": total,
            "fields": fields.model_dump(mode="json"),
        }

    def cut(self, rows: Sequence[dict[str, Any]]) -> Rows:
        """Rows for display: long cells are truncated, and all values are valid JSON."""
        cells = sum(map(len, rows)) or 1
        most = max(LEAST_CELL, min(MAX_CELL, MAX_SHOWN // cells))
        return [{name: _cut(value, most) for name, value in row.items()} for row in rows]

    def prompt_preview(self, config: dict[str, Any], n: int = 3) -> dict[str, Any]:
        """The exact prompts of the first rows, as from :func:`services.datasets.prompts.preview`.

        Args:
            config: A configuration; only its model and dataset sections are needed, and its method if it names one.
            n: How many rows.
        """
        complete = core.config.parse(
            {
                "name": "preview",
                "model": config.get("model"),
                "dataset": config.get("dataset"),
                "reward": {"type": "preset", "preset_name": "math"},
            }
        )
        rows, _, _ = self._peek(complete.dataset, min(max(n, 1), 20))
        dataset = core.config.prompted(complete.dataset, method_of(config))
        return prompts.preview(self._home, complete.model, dataset, rows)

    def trained_preview(self, config: dict[str, Any], n: int = 1) -> dict[str, Any]:
        """What the first rows are trained on, as from :func:`services.datasets.trained.trained_preview`.

        Args:
            config: A configuration for supervised fine-tuning; its model and dataset sections are needed.
            n: How many rows.
        """
        training = config.get("training")
        given = {name: training[name] for name in LIMITS if name in training} if isinstance(training, dict) else {}
        complete = core.config.parse(
            {
                "name": "preview",
                "method": "sft",
                "model": config.get("model"),
                "dataset": config.get("dataset"),
                "training": given,
            }
        )
        found, _, _ = peek(self._home, complete.dataset, min(max(n, 1), 20), whole=True)
        return trained.trained_preview(self._home, complete, found)

    def check(self, dataset: DatasetSection) -> None:
        """Reject a source that clearly does not exist. Does not query Hugging Face; the worker does that.

        Raises:
            InvalidInput: No such generated task, an impossible name, or a missing mapped column.
            NotFound: No such upload.
        """
        source = dataset.source
        if dataset.mix:
            for part in dataset.mix:
                self.check(DatasetSection.model_validate(part.model_dump(exclude={"weight"})))
        elif source == tasks.SOURCE:
            return
        elif source.startswith((sources.UPLOAD, sources.GENERATED)):
            _, columns, _ = sources.peek(dataset, self._home, 1)
            rows_of.check_columns(columns, dataset)
        else:
            sources.check_hub_id(source)

    def delete(self, upload_id: str) -> Entry:
        """Move an upload to the trash.

        Raises:
            NotFound: There is none.
            Conflict: An unfinished job uses it.
            Unavailable: Its files cannot be moved.
        """
        folder = sources.upload_folder(f"{sources.UPLOAD}{upload_id}", self._home, damaged=True)
        users = self._used_by(f"{sources.UPLOAD}{upload_id}")
        if users:
            raise Conflict(
                f"This dataset is in use by {', '.join(users[:5])}. Stop that first, or wait for it to finish."
            )
        info = uploads.read_info(folder)
        return self._bin.put(folder, kind="dataset", name=info.name if info else upload_id)

    def used_by(self, upload_id: str) -> Sequence[str]:
        """Names of the unfinished jobs that use an upload."""
        return self._used_by(f"{sources.UPLOAD}{upload_id}")

    def _folder(self, upload_id: str) -> Path:
        return sources.upload_folder(f"{sources.UPLOAD}{upload_id}", self._home)

    def _peek(self, section: DatasetSection, samples: int) -> Peeked:
        """As :func:`peek`. Exercises are the same every time, so they are cached."""
        if not _made_here(section):
            return peek(self._home, section, samples)
        asked = section.model_dump_json(), samples
        found = self._made.get(asked)
        if found is None:
            found = peek(self._home, section, samples)
            self._made = dict([*self._made.items(), (asked, found)][-MOST_MADE:])
        return deepcopy(found)


def _made_here(section: DatasetSection) -> bool:
    """Whether all of its rows are generated, some of them by a separate process."""
    named = [part.source for part in (section.mix or (section,))]
    return tasks.SOURCE in named and all(source.startswith(sources.GENERATED) for source in named)


def at_hand(section: DatasetSection) -> bool:
    """Whether its rows can be read right away: no network, and nothing that may take long to generate."""
    return not any(_slow(part.source) for part in (section.mix or (section,)))


def peek(
    home: Home, section: DatasetSection, samples: int, timeout: float = HUB_TIMEOUT, *, whole: bool = False
) -> Peeked:
    """The first rows. A separate process reads whatever is not available locally.

    Args:
        home: The data folders.
        section: The dataset.
        samples: How many rows.
        timeout: In seconds.
        whole: For a mixture, whose rows are mapped: as in :func:`core.data.rows.map_row`.

    Raises:
        TunesmithError: They cannot be read, or not within ``timeout`` seconds.
    """
    if at_hand(section):
        return sources.peek(section, home, samples, whole=whole)
    if not section.mix and section.source != tasks.SOURCE:
        sources.check_hub_id(section.source)
    request = {"dataset": section.model_dump(mode="json"), "root": str(home.root), "samples": samples, "whole": whole}
    found = prompts.ask(home, "peek", timeout=timeout, **request)
    return found["rows"], found["columns"], found["total"]


def _slow(source: str) -> bool:
    return source == tasks.SOURCE or not source.startswith((sources.UPLOAD, sources.GENERATED))


def read_dataset_section(dataset: dict[str, Any]) -> DatasetSection:
    """A dataset section from JSON data; a bare upload id stands for ``upload:<id>``.

    Raises:
        InvalidConfig: With the path of every invalid field.
    """
    source = dataset.get("source")
    if isinstance(source, str) and ID_PATTERN.fullmatch(source) and source[:8].isdigit():
        dataset = {**dataset, "source": f"{sources.UPLOAD}{source}"}
    if not isinstance(source, str):
        raise InvalidInput(
            "Specify a dataset: upload:<id>, generated:arithmetic, or owner/name on Hugging Face.",
            field="dataset.source",
        )
    rest = {"name": "preview", "model": {"name": "none"}, "reward": {"type": "preset", "preset_name": "math"}}
    return core.config.parse({**rest, "dataset": dataset}).dataset


def _cut(value: Any, most: int) -> Any:
    value = plain(value)
    if isinstance(value, str | list | dict):
        text = text_of(value)
        if len(text) > most:
            return f"{text[:most]} … ({len(text) - most} more characters)"
    return value
