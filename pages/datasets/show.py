"""The page of one dataset: its rows, column mapping and preparation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.data.formats import Detected
from core.dataset import Shape, UploadInfo
from core.errors import TunesmithError
from core.methods.method import FOR_REWARDS
from core.model import DEMO_MODEL
from core.rewards import PRESETS
from pages.datasets.answers import HOLDS, MappedRow, mapped_rows
from pages.datasets.mapping import MappingFields, mapping_fields
from pages.datasets.report import ReportView, report_view
from services.container import Services
from services.datasets.library import MAPPED, Use
from services.datasets.preparation_jobs import Preparing
from services.forms.fields import FormField, form_field, whole_number
from services.forms.labels import model_title

PAGE = 20
SWITCHES = ("drop_unparseable", "drop_personal", "drop_overlap")


@dataclass(frozen=True)
class RowsPlace:
    """The displayed rows and the links; ``more`` is the row from which a search continues."""

    words: str
    page: int = 1
    pages: int = 1
    search: str = ""
    before: int | None = None
    next: int | None = None
    more: int | None = None


@dataclass(frozen=True)
class PreparingPage:
    """One dataset during its preparation."""

    info: UploadInfo
    preparing: Preparing


@dataclass(frozen=True)
class DatasetPage:
    """One dataset."""

    info: UploadInfo
    form: str
    uses: tuple[Use, ...]
    mapping: MappingFields
    mapped: tuple[MappedRow, ...]
    holds: str
    model: str
    prepared: dict[str, Any]
    switches: tuple[FormField, ...]
    scored: bool
    """Whether a reward may check the answers; pairs and ratings are only learned."""
    preset: str
    presets: tuple[tuple[str, str], ...]
    report: ReportView | None
    rows: list[dict[str, Any]]
    place: RowsPlace
    problem: str
    already: bool


def dataset_page(services: Services, upload_id: str, args: Mapping[str, str]) -> DatasetPage:
    """``args`` are ``page``, or ``search`` and ``start``. Raises NotFound."""
    library = services.library
    info = library.info(upload_id)
    section = library.mapping(info)
    report, problem = library.report(upload_id), ""
    rows: list[dict[str, Any]] = []
    mapped: tuple[MappedRow, ...] = ()
    shape = library.shape(info)
    place = RowsPlace("")
    try:
        rows, place = _rows(services, info, args)
        mapping = {key: value for key, value in section.items() if key != "source"}
        mapped = mapped_rows(library.mapped(upload_id, mapping, 3), shape)
    except TunesmithError as error:
        problem = error.message
    prepared = ((report or {}).get("config") or {}).get("dataset") or {}
    reward = ((report or {}).get("config") or {}).get("reward") or {}
    scored = shape is Shape.EXAMPLES
    switches = SWITCHES if scored else [name for name in SWITCHES if f"dataset.{name}" not in FOR_REWARDS]
    detected = Detected(
        format=info.format, compression=info.compression, encoding=info.encoding, delimiter=info.delimiter,
        heading=info.heading,
    )  # fmt: skip
    return DatasetPage(
        info=info,
        form=detected.words,
        uses=tuple(library.uses(upload_id)),
        mapping=mapping_fields(
            [replace(form_field("dataset", name, section, {}), path=name) for name in MAPPED],
            info.columns,
            any_method=True,
        ),
        mapped=mapped,
        holds=HOLDS[shape],
        model=model_title(services.wizard.draft().model.name) or model_title(DEMO_MODEL),
        prepared=prepared,
        switches=tuple(replace(form_field("dataset", name, prepared, {}), path=name) for name in switches),
        scored=scored,
        preset=reward.get("preset_name") or "math",
        presets=tuple((preset.name, preset.title) for preset in PRESETS.values()),
        report=report_view(report),
        rows=rows,
        place=place,
        problem=problem,
        already=args.get("already") == "1",
    )


def _rows(services: Services, info: UploadInfo, args: Mapping[str, str]) -> tuple[list[dict[str, Any]], RowsPlace]:
    search = args.get("search", "").strip()[:500]
    if search:
        start = whole_number(args.get("start")) or 0
        hits = services.library.search(info.id, search, start, PAGE)
        rows = [{"row": hit["row"] + 1, **hit["cells"]} for hit in hits["rows"]]
        found = f"{len(rows)} {'match' if len(rows) == 1 else 'matches'}"
        words = f"{found} in rows {start + 1:,} to {hits['searched']:,} of {info.rows:,}"
        return services.datasets.cut(rows), RowsPlace(
            words, search=search, more=None if hits["done"] else hits["searched"]
        )
    last = max(1, -(-info.rows // PAGE))
    number = min(last, max(1, whole_number(args.get("page")) or 1))
    first = (number - 1) * PAGE
    found_rows = services.library.page(info.id, first, PAGE)
    rows = [{"row": first + place, **row} for place, row in enumerate(found_rows, 1)]
    place = RowsPlace(
        f"Page {number:,} of {last:,}",
        page=number,
        pages=last,
        before=number - 1 if number > 1 else None,
        next=number + 1 if number < last else None,
    )
    return services.datasets.cut(rows), place
