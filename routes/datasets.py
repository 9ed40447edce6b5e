"""Datasets: upload, list, preview, prepare, delete."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from typing import IO, Any, BinaryIO, cast

from flask import Blueprint, Request, Response, jsonify, request
from pydantic import Field
from werkzeug.wrappers import Response as AnyResponse

from core.data.ingest import AlreadyHere, HeadingChoice, OnBad
from core.dataset import Damage, FieldGuess, UploadInfo
from core.errors import Conflict, InvalidInput, TunesmithError
from core.model import DEMO_MODEL
from pages.datasets.index import datasets_page
from pages.datasets.show import SWITCHES, PreparingPage, dataset_page
from routes._api import Body, describes, read_body
from routes._guard import accepts_uploads
from routes._pages import page, say, say_deleted, to
from services.current import services
from services.datasets import library
from services.datasets.datasets import GENERATED, read_dataset_section
from services.forms.fields import read_names, shown, whole_number
from services.words import size

bp = Blueprint("datasets", __name__)
HUB = ("source", "subset", "split", "revision")


class PreviewBody(Body):
    """Which dataset to preview, and how many rows."""

    path: str = Field(
        min_length=1, max_length=500, description="upload:<id>, generated:arithmetic, or owner/name on Hugging Face."
    )
    samples: int = Field(5, ge=1, le=200, description="Number of rows.")
    offset: int = Field(0, ge=0, description="First row; uploads only.")
    subset: str | None = Field(None, description="Subset of a Hugging Face dataset.")
    split: str = Field("train", min_length=1, description="Split of a Hugging Face dataset.")
    revision: str | None = None


class PromptsBody(Body):
    """The model and dataset whose prompts to show."""

    config: dict[str, Any] = Field(description="A configuration. The sections model and dataset are enough.")
    samples: int = Field(3, ge=1, le=20, description="Number of rows.")


class UploadRequest(Request):
    """Stores a file in the uploads folder while it is being received: /tmp may be small, or in memory."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        folder = services().settings.home.uploads
        file = cast("IO[bytes]", tempfile.TemporaryFile("rb+", dir=folder))  # noqa: SIM115 - closed below
        self.arriving.append(file)
        return file

    @cached_property
    def arriving(self) -> list[IO[bytes]]:
        """Open files without a name on disk. Closing them deletes them."""
        return []

    def close(self) -> None:
        """Close them also if the request broke off before the form was complete."""
        super().close()
        for file in self.arriving:
            # A file that could not be written whole fails again when its last bytes are flushed.
            with contextlib.suppress(OSError):
                file.close()


@bp.record_once
def _use(state: Any) -> None:
    state.app.request_class = UploadRequest


@bp.get("/api/datasets/list")
@describes(answer={"datasets": list[UploadInfo], "damaged": list[Damage], "generated": list})
def api_list() -> Response:
    """All datasets, newest first, the generators, and damaged datasets, which can only be deleted."""
    datasets = services().datasets
    uploads = [
        {**info.model_dump(mode="json"), "source": f"upload:{info.id}", "used_by": list(datasets.used_by(info.id))}
        for info in datasets.list()
    ]
    damaged = [one.model_dump() for one in datasets.damaged()]
    return jsonify({"datasets": uploads, "damaged": damaged, "generated": list(GENERATED)})


@bp.post("/api/datasets/upload")
@accepts_uploads
@describes(answer=UploadInfo, status=201)
def api_upload() -> tuple[Response, int]:
    """Upload a file as the multipart field 'file', or rows as text in 'pasted'. 201 with the dataset.

    Other fields: 'pasted-name', 'bad_rows' (stop, skip), 'heading' (auto, yes, no: whether a table's first line has the
    column names) and 'again' (1 to store content that exists already). Without 'again', content that exists already is
    answered with 200, the existing dataset and 'already': true.
    """
    info, already = receive()
    known = {"already": True} if already else {}
    return jsonify({**info.model_dump(mode="json"), "source": f"upload:{info.id}", **known}), 200 if already else 201


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
    """Delete a dataset. Refused while an unfinished run uses it."""
    services().datasets.delete(upload_id)
    return "", 204


def receive() -> tuple[UploadInfo, bool]:
    """The request's file or pasted rows, checked and kept, or the dataset that has them already; and which of the two.

    Raises:
        InvalidInput: Neither was sent, or it cannot be used.
    """
    file, form = request.files.get("file"), request.form
    pasted = form.get("pasted", "").strip()
    if file is not None and file.filename:
        stream, name = cast("BinaryIO", file.stream), file.filename
    elif pasted:
        stream, name = BytesIO(pasted.encode()), form.get("pasted-name", "").strip() or "Pasted rows"
    elif file is not None:  # what a browser sends where no file was chosen
        raise InvalidInput("Choose a file, or paste some rows.", field="file")
    else:
        raise InvalidInput("Send the file as the multipart field 'file', or rows as text in 'pasted'.", field="file")
    on_bad: OnBad = "skip" if form.get("bad_rows") == "skip" else "stop"
    heading: HeadingChoice = "yes" if form.get("heading") == "yes" else "no" if form.get("heading") == "no" else "auto"
    try:
        once = form.get("again") not in {"1", "true", "on"}
        return services().datasets.save_upload(stream, name, on_bad, heading=heading, once=once), False
    except AlreadyHere as error:
        return error.info, True


# --- pages ---


@bp.get("/datasets")
def index() -> str:
    """Every dataset."""
    return page("datasets/index.html", datasets_page(services(), request.args))


@bp.get("/datasets/<upload_id>")
def show(upload_id: str) -> str:
    """One dataset: its rows, its column mapping, and a preview of its preparation."""
    return page("datasets/show.html", dataset_page(services(), upload_id, request.args))


@bp.post("/datasets")
@accepts_uploads
def add() -> AnyResponse:
    """Save the uploaded file or the pasted rows."""
    try:
        info, already = receive()
    except TunesmithError as error:
        say(f"Nothing was saved. {error.message}", "problem")
        return to("datasets.index")
    return to("datasets.show", upload_id=info.id, **({"already": 1} if already else {}))


@bp.post("/datasets/fetch")
def fetch() -> AnyResponse:
    """Import a Hugging Face dataset, or use a popular one in the setup."""
    form = request.form
    known = library.known(form.get("known", ""))
    if known and form.get("action") == "use":
        return _chosen(known, "hub")
    section = known or {name: form[name].strip() for name in HUB if form.get(name, "").strip()}
    try:
        given = form.get("rows", "").strip()
        rows = whole_number(given)
        if given and not rows:
            raise InvalidInput("Number of rows: enter a whole number above 0, or leave it empty for all rows.")
        job = services().dataset_jobs.fetch(read_dataset_section(section), rows)
        say(f"Importing {job.name}.")
    except TunesmithError as error:
        say(error.message, "problem")
    return to("datasets.index")


@bp.post("/datasets/jobs/<job_id>")
def job(job_id: str) -> AnyResponse:
    """Cancel, resume, discard, or finish without the unusable rows."""
    jobs = services().dataset_jobs
    actions: dict[str, Callable[[], object]] = {
        "cancel": lambda: jobs.cancel(job_id),
        "resume": lambda: jobs.resume(job_id),
        "discard": lambda: jobs.discard(job_id),
        "skip": lambda: jobs.finish(job_id, "skip"),
        "heading-yes": lambda: jobs.finish(job_id, heading="yes"),
        "heading-no": lambda: jobs.finish(job_id, heading="no"),
    }
    try:
        actions.get(request.form.get("action", ""), lambda: None)()
    except AlreadyHere as error:
        return to("datasets.show", upload_id=error.info.id, already=1)
    except TunesmithError as error:
        say(error.message, "problem")
    return to("datasets.index")


@bp.post("/datasets/cache/clear")
def clear() -> AnyResponse:
    """Delete what was downloaded from Hugging Face."""
    try:
        say(f"Freed {size(services().cleanup.all_downloads())}.", "good")
    except TunesmithError as error:
        say(error.message, "problem")
    return to("datasets.index")


@bp.post("/datasets/<upload_id>/change")
def change(upload_id: str) -> AnyResponse:
    """Rename the dataset, or save its column mapping."""
    form = request.form
    mapping: dict[str, Any] | None = None
    if "instruction_field" in form:
        mapping = {name: form[name] for name in library.MAPPED if name in form}
        template = mapping.get("instruction_template", "").replace("\r\n", "\n").strip()
        before = services().library.mapping(services().library.info(upload_id)).get("columns", {})
        text = form.get("columns", shown(before))
        # A name with a comma in it cannot be parsed back from what the form shows.
        columns = before if text == shown(before) else read_names(text)
        mapping |= {"instruction_template": template or None, "columns": columns}
    try:
        services().library.change(upload_id, name=form.get("name"), mapping=mapping)
        say("Saved.", "good")
    except TunesmithError as error:
        say(error.message, "problem")
    return to("datasets.show", upload_id=upload_id)


@bp.post("/datasets/<upload_id>/prepare")
def prepare(upload_id: str) -> AnyResponse:
    """Preview the preparation."""
    form, found = request.form, services()
    switches = {name: name in form for name in SWITCHES} | {"deduplicate": form.get("deduplicate", "off")}
    draft = found.wizard.config()
    config = {
        "model": draft.get("model") or {"name": DEMO_MODEL},
        "dataset": found.library.mapping(found.library.info(upload_id)) | switches,
        "training": draft.get("training") or {},
        "evaluation": draft.get("evaluation") or {},
        "reward": {"type": "preset", "preset_name": form.get("preset") or "math"},
    }
    found.preparations.start(upload_id, config)
    return to("datasets.preparing", upload_id=upload_id)


@bp.get("/datasets/<upload_id>/preparing")
def preparing(upload_id: str) -> str | AnyResponse:
    """The progress of a preparation; redirects to the report once it is finished."""
    state = services().preparations.look(upload_id)
    if state is None or not state.under_way:
        if state:
            say(state.error, "problem")
        return to("datasets.show", upload_id=upload_id, _anchor="prepare")
    return page("datasets/preparing.html", PreparingPage(services().library.info(upload_id), state))


@bp.post("/datasets/<upload_id>/preparing/stop")
def stop_preparing(upload_id: str) -> AnyResponse:
    """Stop it. The previous report is kept."""
    services().preparations.stop(upload_id)
    return to("datasets.show", upload_id=upload_id, _anchor="prepare")


@bp.post("/datasets/<upload_id>/limits")
def use_limits(upload_id: str) -> AnyResponse:
    """Use the suggested lengths in the setup."""
    if services().drafts.dataset.use_limits(services().library.report(upload_id)):
        say("Your setup now uses the suggested lengths.", "good")
    return to("datasets.show", upload_id=upload_id, _anchor="prepare")


@bp.post("/datasets/<upload_id>/use")
def use(upload_id: str) -> AnyResponse:
    """Use the dataset in the setup, with its mapping."""
    info = services().library.info(upload_id)
    return _chosen(services().library.mapping(info), "upload")


def _chosen(section: dict[str, Any], kind: str) -> AnyResponse:
    services().drafts.dataset.use(section, kind)
    return to("wizard.dataset")


@bp.post("/datasets/<upload_id>/delete")
def remove(upload_id: str) -> AnyResponse:
    """Delete the dataset, unless a run needs it."""
    try:
        say_deleted("Dataset deleted.", services().datasets.delete(upload_id))
    except Conflict as error:
        say(error.message, "problem")
        return to("datasets.show", upload_id=upload_id)
    return to("datasets.index")
