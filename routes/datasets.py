"""Datasets: upload, list, look into, delete."""

from __future__ import annotations

import tempfile
from typing import IO, Any, cast

from flask import Blueprint, Request, Response, jsonify, request
from pydantic import Field

from core.dataset import FieldGuess, UploadInfo
from core.errors import InvalidInput
from routes._api import Body, describes, read_body
from routes._services import accepts_uploads, services
from services.datasets import GENERATED

bp = Blueprint("datasets", __name__)


class PreviewBody(Body):
    """Which dataset, and how many rows of it."""

    path: str = Field(
        min_length=1, max_length=500, description="upload:<id>, generated:arithmetic, or owner/name of the Hub."
    )
    samples: int = Field(5, ge=1, le=200, description="How many rows.")
    offset: int = Field(0, ge=0, description="First row; uploads only.")
    subset: str | None = Field(None, description="The Hub dataset's subset.")
    split: str = Field("train", min_length=1, description="The Hub dataset's split.")
    revision: str | None = None


class PromptsBody(Body):
    """Model and dataset whose prompts are wanted."""

    config: dict[str, Any] = Field(description="A configuration; its sections model and dataset are enough.")
    samples: int = Field(3, ge=1, le=20, description="How many rows.")


class UploadRequest(Request):
    """Keeps an uploaded file beside the other uploads while it arrives; /tmp may be small, or memory."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return cast("IO[bytes]", tempfile.TemporaryFile("rb+", dir=services().settings.home.uploads))


@bp.record_once
def _use(state: Any) -> None:
    state.app.request_class = UploadRequest


@bp.get("/api/datasets/list")
@describes(answer={"datasets": list[UploadInfo], "generated": list})
def api_list() -> Response:
    """Every upload, newest first, and the tasks that are made on the spot."""
    datasets = services().datasets
    uploads = [
        {**info.model_dump(mode="json"), "source": f"upload:{info.id}", "used_by": list(datasets.used_by(info.id))}
        for info in datasets.list()
    ]
    return jsonify({"datasets": uploads, "generated": list(GENERATED)})


@bp.post("/api/datasets/upload")
@accepts_uploads
@describes(answer=UploadInfo, status=201)
def api_upload() -> tuple[Response, int]:
    """Upload a file as multipart field 'file': JSONL, a JSON list, or CSV."""
    info = receive()
    return jsonify({**info.model_dump(mode="json"), "source": f"upload:{info.id}"}), 201


@bp.post("/api/datasets/preview")
@describes(body=PreviewBody, answer={"rows": list, "columns": list, "total": int, "fields": FieldGuess})
def api_preview() -> Response:
    """Some rows of any dataset, and which columns look like question and answer."""
    body = read_body(PreviewBody)
    section = {"source": body.path, "subset": body.subset, "split": body.split, "revision": body.revision}
    return jsonify(services().datasets.preview(section, body.samples, body.offset))


@bp.post("/api/datasets/prompts")
@describes(body=PromptsBody, answer={"prompts": list, "template": str, "notes": list})
def api_prompts() -> Response:
    """The exact prompts that the model will see for the first rows, with token counts."""
    body = read_body(PromptsBody)
    return jsonify(services().datasets.prompt_preview(body.config, body.samples))


@bp.delete("/api/datasets/<upload_id>")
@describes(status=204)
def api_delete(upload_id: str) -> tuple[str, int]:
    """Delete an upload; refused while a run that is not finished uses it."""
    services().datasets.delete(upload_id)
    return "", 204


def receive() -> UploadInfo:
    """The request's file, checked and kept.

    Raises:
        InvalidInput: No file was sent, or it cannot be used.
    """
    file = request.files.get("file")
    if file is None:
        raise InvalidInput("Send the file as the multipart field 'file'.", field="file")
    return services().datasets.save_upload(file.stream, file.filename or "")
