"""Datasets: list, upload, preview, prepare, delete."""

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
from core.dataset import Damage, FieldGuess, Shape, UploadInfo
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
from services.wizard.fit import method_for
from services.words import size

bp = Blueprint("datasets", __name__)
HUB = ("source", "subset", "split", "revision")


class PreviewBody(Body):
    """A dataset to preview."""

    path: str = Field(
        min_length=1, max_length=500, description="upload:<id>, generated:arithmetic, or owner/name on Hugging Face."
    )
    samples: int = Field(5, ge=1, le=200, description="Number of rows.")
    offset: int = Field(0, ge=0, description="Rows to skip. Uploads only.")
    subset: str | None = Field(None, description="Subset of a Hugging Face dataset.")
    split: str = Field("train", min_length=1, description="Split of a Hugging Face dataset.")
    revision: str | None = None


class PromptsBody(Body):
    """A configuration whose prompts to preview."""

    config: dict[str, Any] = Field(description="A configuration. The sections model and dataset are enough.")
    samples: int = Field(3, ge=1, le=20, description="Number of rows.")


class TrainedBody(Body):
    """A configuration whose trained tokens to preview."""

    config: dict[str, Any] = Field(
        description="A configuration. Of its training section, train_on and max_sequence_length count."
    )
    samples: int = Field(1, ge=1, le=20, description="Number of rows.")


class UploadRequest(Request):
    """Stores incoming files in the uploads folder, because /tmp may be small or in memory."""

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
        """Open files without a directory entry. Closing them deletes them."""
        return []

    def close(self) -> None:
        """Close the files even if the request was aborted before the form was complete."""
        super().close()
        for file in self.arriving:
            # If writing failed, flushing the remaining bytes fails again.
            with contextlib.suppress(OSError):
                file.close()


@bp.record_once
def _use(state: Any) -> None:
    state.app.request_class = UploadRequest


@bp.get("/api/datasets/list")
@describes(answer={"datasets": list[UploadInfo], "damaged": list[Damage], "generated": list})
def api_list() -> Response:
    """List all datasets, newest first, with the generators and damaged datasets, which can only be deleted."""
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
    """Upload a dataset as the multipart field 'file', or rows as text in 'pasted'. 400 if it cannot be read.

    Other fields: 'pasted-name', 'bad_rows' (stop, skip), 'heading' (auto, yes, no: whether a table's first line is a
    header row) and 'again' (1 to store a duplicate). Without 'again', a duplicate returns 200 with the existing dataset
    and 'already': true.
    """
    info, already = receive()
    known = {"already": True} if already else {}
    return jsonify({**info.model_dump(mode="json"), "source": f"upload:{info.id}", **known}), 200 if already else 201


@bp.post("/api/datasets/preview")
@describes(body=PreviewBody, answer={"rows": list, "columns": list, "total": int, "fields": FieldGuess})
def api_preview() -> Response:
    """Preview rows of any dataset, with its detected question and answer columns."""
    body = read_body(PreviewBody)
    section = {"source": body.path, "subset": body.subset, "split": body.split, "revision": body.revision}
    return jsonify(services().datasets.preview(section, body.samples, body.offset))


@bp.post("/api/datasets/prompts")
@describes(body=PromptsBody, answer={"prompts": list, "template": str, "notes": list})
def api_prompts() -> Response:
    """Return the exact prompts that the model will receive for the first rows, with token counts."""
    body = read_body(PromptsBody)
    return jsonify(services().datasets.prompt_preview(body.config, body.samples))


@bp.post("/api/datasets/trained")
@describes(body=TrainedBody, answer={"train_on": str, "rows": list})
def api_trained() -> Response:
    """Return the tokens of the first rows with their weights in supervised fine-tuning, for each training.train_on."""
    body = read_body(TrainedBody)
    return jsonify(services().datasets.trained_preview(body.config, body.samples))


@bp.delete("/api/datasets/<upload_id>")
@describes(status=204)
def api_delete(upload_id: str) -> tuple[str, int]:
    """Move a dataset to the trash. 409 while an unfinished job uses it."""
    services().datasets.delete(upload_id)
    return "", 204


def receive() -> tuple[UploadInfo, bool]:
    """Save the uploaded file or pasted rows as a dataset.

    Returns:
        The dataset, and whether it existed already with the same content.

    Raises:
        InvalidInput: Nothing was sent, or it cannot be read.
    """
    file, form = request.files.get("file"), request.form
    pasted = form.get("pasted", "").strip()
    if file is not None and file.filename:
        stream, name = cast("BinaryIO", file.stream), file.filename
    elif pasted:
        stream, name = BytesIO(pasted.encode()), form.get("pasted-name", "").strip() or "Pasted rows"
    elif file is not None:  # browsers send this if no file was chosen
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
    """List all datasets."""
    return page("datasets/index.html", datasets_page(services(), request.args))


@bp.get("/datasets/<upload_id>")
def show(upload_id: str) -> str:
    """Show a dataset: its rows, its column mapping, and the report of its preparation."""
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
    """Delete all downloads from Hugging Face."""
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
        # A name that contains a comma cannot be parsed back from the form.
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
    """Prepare the dataset as training would, without starting a run."""
    form, found = request.form, services()
    switches = {name: name in form for name in SWITCHES} | {"deduplicate": form.get("deduplicate", "off")}
    draft, section = found.wizard.config(), found.library.mapping(found.library.info(upload_id))
    config = {
        "model": draft.get("model") or {"name": DEMO_MODEL},
        "dataset": section | switches,
        "training": draft.get("training") or {},
        "evaluation": draft.get("evaluation") or {},
    }
    if (shape := Shape.of(section)) is Shape.EXAMPLES:
        config["reward"] = {"type": "preset", "preset_name": form.get("preset") or "math"}
    else:
        config["method"] = method_for(shape, found.wizard.method()).key
    found.preparations.start(upload_id, config)
    return to("datasets.preparing", upload_id=upload_id)


@bp.get("/datasets/<upload_id>/preparing")
def preparing(upload_id: str) -> str | AnyResponse:
    """Show the progress of a preparation, or redirect to its report once it is finished."""
    state = services().preparations.look(upload_id)
    if state is None or not state.under_way:
        if state:
            say(state.error, "problem")
        return to("datasets.show", upload_id=upload_id, _anchor="prepare")
    return page("datasets/preparing.html", PreparingPage(services().library.info(upload_id), state))


@bp.post("/datasets/<upload_id>/preparing/stop")
def stop_preparing(upload_id: str) -> AnyResponse:
    """Stop the preparation and keep the previous report."""
    services().preparations.stop(upload_id)
    return to("datasets.show", upload_id=upload_id, _anchor="prepare")


@bp.post("/datasets/<upload_id>/limits")
def use_limits(upload_id: str) -> AnyResponse:
    """Apply the suggested lengths to the setup."""
    if services().drafts.dataset.use_limits(services().library.report(upload_id)):
        say("Your setup now uses the suggested lengths.", "good")
    return to("datasets.show", upload_id=upload_id, _anchor="prepare")


@bp.post("/datasets/<upload_id>/use")
def use(upload_id: str) -> AnyResponse:
    """Use the dataset in the setup, with its column mapping."""
    info = services().library.info(upload_id)
    return _chosen(services().library.mapping(info), "upload")


def _chosen(section: dict[str, Any], kind: str) -> AnyResponse:
    services().drafts.dataset.use(section, kind)
    return to("wizard.dataset")


@bp.post("/datasets/<upload_id>/delete")
def remove(upload_id: str) -> AnyResponse:
    """Move the dataset to the trash, unless an unfinished job uses it."""
    try:
        say_deleted("Dataset deleted.", services().datasets.delete(upload_id))
    except Conflict as error:
        say(error.message, "problem")
        return to("datasets.show", upload_id=upload_id)
    return to("datasets.index")
