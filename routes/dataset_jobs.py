"""Dataset API: chunked uploads, Hugging Face imports, rows, column mapping, preparation, download cache."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, BinaryIO, Literal, cast

from flask import Blueprint, Response, jsonify, request, send_file
from pydantic import Field

from core.data.ingest import AlreadyHere
from core.data.known_datasets import CATALOGUE, KnownDataset, find
from core.dataset import Shape, UploadInfo
from core.errors import NotFound
from pages.datasets.answers import mapped_rows
from routes._api import Body, describes, read_body, read_query
from routes._guard import accepts_uploads
from services.current import services
from services.datasets.datasets import read_dataset_section

bp = Blueprint("dataset_jobs", __name__)
Answer = tuple[Response, int]


class BeginBody(Body):
    """A file to upload in chunks."""

    name: str = Field(max_length=500, description="File name.")
    size: int = Field(ge=0, description="File size in bytes.")


class PieceQuery(Body):
    """The position of a chunk."""

    offset: int = Field(ge=0, description="Number of bytes sent before this chunk.")


class FinishBody(Body):
    """How to read an uploaded file."""

    bad_rows: Literal["stop", "skip"] = Field("stop", description="Reject the file with unusable rows, or skip them.")
    heading: Literal["auto", "yes", "no"] = Field(
        "auto", description="Whether a table's first line is a header row. 'auto' fails if unclear."
    )
    again: bool = Field(False, description="Store another copy if a dataset with the same content exists.")


class FetchBody(Body):
    """A Hugging Face dataset to import."""

    dataset: dict[str, Any] = Field(description="A dataset section: source, subset, split, revision.")
    rows: int | None = Field(None, ge=1, description="Import only this many rows from the start. By default all.")


class ChangeBody(Body):
    """Changes to a dataset. Fields that are left out stay as they are."""

    name: str | None = Field(None, max_length=500)
    mapping: dict[str, Any] | None = None


class RowsQuery(Body):
    """Which rows to return."""

    offset: int = Field(0, ge=0)
    limit: int = Field(20, ge=1, le=200)
    search: str = Field("", max_length=500, description="Only rows that contain this text, starting at 'offset'.")


class MappingBody(Body):
    """A column mapping to preview."""

    mapping: dict[str, Any]
    samples: int = Field(5, ge=1, le=50)


class PrepareBody(Body):
    """A configuration with the dataset to prepare."""

    config: dict[str, Any] = Field(description="Sections model and dataset; optionally reward and evaluation.")


class KnownQuery(Body):
    """A search of the catalog of popular datasets."""

    search: str = ""
    category: str = ""


@bp.get("/api/datasets/jobs")
@describes(answer={"jobs": list})
def api_jobs() -> Response:
    """List uploads and imports in progress."""
    return jsonify({"jobs": [job.json() for job in services().dataset_jobs.all()]})


@bp.post("/api/datasets/uploads")
@describes(body=BeginBody, answer={"id": str, "offset": int, "chunk": int}, status=201)
def api_begin() -> Answer:
    """Start a chunked upload. 'chunk' is the recommended chunk size in bytes. 413 if the file is too large."""
    body = read_body(BeginBody)
    return jsonify(services().dataset_jobs.begin(body.name, body.size).json()), 201


@bp.patch("/api/datasets/jobs/<job_id>")
@accepts_uploads
@describes(query=PieceQuery, answer={"offset": int})
def api_append(job_id: str) -> Response:
    """Upload the next chunk as the raw body. 409 if it does not start at the job's current 'offset'."""
    offset = read_query(PieceQuery).offset
    return jsonify(services().dataset_jobs.append(job_id, offset, cast("BinaryIO", request.stream)).json())


@bp.post("/api/datasets/jobs/<job_id>/finish")
@describes(body=FinishBody, answer=UploadInfo)
def api_finish(job_id: str) -> Answer:
    """Finish a chunked upload and read the file. Returns the dataset, or 202 while a large file is being read.

    If a dataset with the same content exists, it is returned with 'already': true. 409 if bytes are missing.
    """
    body = read_body(FinishBody)
    try:
        found = services().dataset_jobs.finish(job_id, body.bad_rows, heading=body.heading, once=not body.again)
    except AlreadyHere as error:
        return jsonify(_info(error.info) | {"already": True}), 200
    return (jsonify(_info(found)), 200) if isinstance(found, UploadInfo) else (jsonify(found.json()), 202)


@bp.get("/api/datasets/jobs/<job_id>")
@describes(answer={"id": str, "state": str, "offset": int, "bytes": int, "rows": int})
def api_job(job_id: str) -> Response:
    """Return the progress of an upload or import, with 'dataset' once it is finished."""
    try:
        view = services().dataset_jobs.get(job_id)
        if view.state != "already":
            return jsonify(view.json())
        known = _info(services().library.info(view.same_as)) | {"already": True}
        return jsonify({"id": job_id, "state": "done", "dataset": known})
    except NotFound:
        info = services().dataset_jobs.ended(job_id)
        if info is None:
            raise
        return jsonify({"id": job_id, "state": "done", "dataset": _info(info)})


@bp.post("/api/datasets/fetch")
@describes(body=FetchBody, answer={"id": str, "state": str}, status=202)
def api_fetch() -> Answer:
    """Start importing a Hugging Face dataset in the background."""
    body = read_body(FetchBody)
    return jsonify(services().dataset_jobs.fetch(read_dataset_section(body.dataset), body.rows).json()), 202


@bp.post("/api/datasets/jobs/<job_id>/resume")
@describes(answer={"id": str, "state": str}, status=202)
def api_resume(job_id: str) -> Answer:
    """Resume an interrupted or canceled import. 409 for an upload: send its next chunk instead."""
    return jsonify(services().dataset_jobs.resume(job_id).json()), 202


@bp.post("/api/datasets/jobs/<job_id>/cancel")
@describes(answer={"id": str, "state": str})
def api_cancel(job_id: str) -> Response:
    """Cancel an import or the reading of a file, and keep the downloaded data."""
    return jsonify(services().dataset_jobs.cancel(job_id).json())


@bp.delete("/api/datasets/jobs/<job_id>")
@describes(status=204)
def api_discard(job_id: str) -> tuple[str, int]:
    """Cancel an upload or import, and delete its data."""
    services().dataset_jobs.discard(job_id)
    return "", 204


@bp.get("/api/datasets/<upload_id>")
@describes(answer=UploadInfo)
def api_info(upload_id: str) -> Response:
    """Return a dataset with its column mapping ('section') and the runs that use it ('uses')."""
    library = services().library
    info = library.info(upload_id)
    return jsonify(
        _info(info) | {"section": library.mapping(info), "uses": [asdict(use) for use in library.uses(upload_id)]}
    )


@bp.patch("/api/datasets/<upload_id>")
@describes(body=ChangeBody, answer=UploadInfo)
def api_change(upload_id: str) -> Response:
    """Update a dataset's name or column mapping."""
    body = read_body(ChangeBody)
    return jsonify(_info(services().library.change(upload_id, name=body.name, mapping=body.mapping)))


@bp.get("/api/datasets/<upload_id>/rows")
@describes(query=RowsQuery, answer={"rows": list, "total": int})
def api_rows(upload_id: str) -> Response:
    """Return a dataset's raw rows, or search them."""
    query = read_query(RowsQuery)
    library = services().library
    total = library.info(upload_id).rows
    if query.search:
        return jsonify(library.search(upload_id, query.search, query.offset, query.limit) | {"total": total})
    return jsonify(
        {"rows": services().datasets.cut(library.page(upload_id, query.offset, query.limit)), "total": total}
    )


@bp.post("/api/datasets/<upload_id>/map")
@describes(body=MappingBody, answer={"rows": list, "shape": str, "shown": list})
def api_map(upload_id: str) -> Response:
    """Preview the first rows with a column mapping applied. Nothing is saved.

    'shape' is 'examples', 'pairs' or 'ratings'. 'shown' has the texts of each row in parts: [text, whether the other
    answer of the pair lacks it].
    """
    body, found = read_body(MappingBody), services()
    rows, shape = found.library.mapped(upload_id, body.mapping, body.samples), Shape.of(body.mapping)
    shown = [row.json() for row in mapped_rows(rows, shape)]
    return jsonify({"rows": found.datasets.cut(rows), "shape": shape, "shown": shown})


@bp.post("/api/datasets/prepare")
@describes(body=PrepareBody, answer={"read": int, "left_out": dict, "removed": dict, "lengths": dict, "sha256": str})
def api_prepare() -> Response:
    """Prepare a dataset as training would. Returns row counts, removed rows, token lengths and a content hash."""
    return jsonify(services().library.prepare(read_body(PrepareBody).config))


@bp.get("/api/datasets/<upload_id>/prepared/<form>")
@describes(content="application/octet-stream")
def api_prepared(upload_id: str, form: str) -> Response:
    """Download the prepared rows as 'jsonl' or 'parquet'. 404 if the dataset has not been prepared."""
    path = services().library.prepared_file(upload_id, form)
    return send_file(path, as_attachment=True, download_name=f"{upload_id}-{path.name}")


@bp.get("/api/datasets/known")
@describes(query=KnownQuery, answer={"datasets": list[KnownDataset], "categories": list})
def api_known() -> Response:
    """List popular Hugging Face datasets with predefined column mappings."""
    query = read_query(KnownQuery)
    categories = list(dict.fromkeys(known.category for known in CATALOGUE))
    found = [known.model_dump(mode="json") for known in find(query.search, query.category)]
    return jsonify({"datasets": found, "categories": categories})


@bp.get("/api/datasets/tasks")
@describes(answer={"tasks": list})
def api_tasks() -> Response:
    """List the tasks that reasoning-gym can generate."""
    return jsonify({"tasks": services().library.tasks()})


@bp.get("/api/datasets/cache")
@describes(answer={"entries": list, "size": int})
def api_cache() -> Response:
    """List downloads from Hugging Face with their sizes in bytes."""
    entries = services().library.cache()
    return jsonify({"entries": [asdict(entry) for entry in entries], "size": sum(entry.size for entry in entries)})


@bp.delete("/api/datasets/cache")
@describes(answer={"freed": int})
def api_clear_cache() -> Response:
    """Delete all downloads, or one model or dataset with ``name``. 409 while a job may need them."""
    cleanup, name = services().cleanup, request.args.get("name")
    return jsonify({"freed": cleanup.download(name) if name else cleanup.all_downloads()})


def _info(info: UploadInfo) -> dict[str, Any]:
    return {**info.model_dump(mode="json"), "source": f"upload:{info.id}"}
