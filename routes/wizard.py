"""The steps of your setup. Each is a page that saves its own part."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, request, send_file
from flask import Response as AnyResponse
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from core.errors import NotFound, TunesmithError
from pages.wizard.configuration import configuration_step
from pages.wizard.dataset import dataset_step
from pages.wizard.export import export_step
from pages.wizard.model import model_step
from pages.wizard.preparation import preparation_step
from pages.wizard.reward import reward_step
from pages.wizard.test import chat_step
from pages.wizard.train import train_step
from routes._guard import accepts_uploads
from routes._pages import page, say, to
from routes.datasets import receive
from services.current import services
from services.datasets.preparation_jobs import DRAFT

bp = Blueprint("wizard", __name__)
Form = MultiDict[str, str]
ALREADY = "You already have this file. It was not stored again; the existing dataset is selected."


@bp.get("/new")
def begin() -> Response:
    """Redirect to the first step that is incomplete or has not been opened."""
    return to(f"wizard.{services().drafts.first_step()}")


@bp.post("/new/reset")
def reset() -> Response:
    """Clear the setup."""
    services().wizard.reset()
    say("Your setup was cleared. Runs and files are unchanged.")
    return to("wizard.model")


@bp.get("/new/model")
def model() -> str:
    """Show the Model step."""
    return page("wizard/model.html", model_step(services()))


@bp.get("/new/dataset")
def dataset() -> str:
    """Show the Dataset step."""
    if request.args.get("already"):  # the page's script uploaded a file that exists already
        say(ALREADY)
    return page("wizard/dataset.html", dataset_step(services(), request.args))


@bp.get("/new/dataset/preparation")
def preparation() -> str:
    """Show the preparation report of the selected dataset, from any source."""
    return page("wizard/preparation.html", preparation_step(services()))


@bp.post("/new/dataset/preparation")
def prepare() -> Response:
    """Prepare the whole dataset. The page shows the progress, then the report."""
    services().drafts.dataset.prepare()
    return to("wizard.preparation")


@bp.post("/new/dataset/preparation/stop")
def stop_preparing() -> Response:
    """Stop the preparation and keep the previous report."""
    services().preparations.stop(DRAFT)
    return to("wizard.preparation")


@bp.post("/new/dataset/limits")
def use_limits() -> Response:
    """Apply the suggested lengths to the setup."""
    if services().drafts.dataset.use_own_limits():
        say("Your setup now uses the suggested lengths.", "good")
    return to("wizard.preparation")


@bp.get("/new/dataset/prepared/<form>")
def prepared(form: str) -> AnyResponse:
    """Download the rows of the latest report."""
    path = services().library.prepared_file(None, form)
    return send_file(path, as_attachment=True, download_name=path.name)


@bp.get("/new/configuration")
def configuration() -> str:
    """Show the Settings step."""
    return page("wizard/configuration.html", configuration_step(services()))


@bp.get("/new/reward")
def reward() -> str | Response:
    """Show the Reward step, or skip it if the method needs no reward."""
    shown = reward_step(services())
    if shown is None:
        say("This training method needs no reward.")
        return to("wizard.train")
    return page("wizard/reward.html", shown)


@bp.get("/new/train")
def train() -> str:
    """Show the Train step."""
    return page("wizard/train.html", train_step(services()))


@bp.get("/new/export")
def export() -> str:
    """Show the Export step, for the run started from this setup."""
    return page("wizard/export.html", export_step(services()))


@bp.get("/new/test")
def test() -> str | Response:
    """Show the Test step, for the run started from this setup, or its page if it trained a reward model."""
    shown = chat_step(services())
    if shown is None:
        say("A reward model writes no answers. Its run's page has what its scores are worth.")
        return to("runs.show", session_id=services().wizard.draft().session_id)
    return page("wizard/test.html", shown)


@bp.get("/new/<step>")
def unknown(step: str) -> str:
    """Reject an unknown step with 404."""
    raise NotFound(f"There is no step {step!r}. Start at /new.")


@bp.post("/new/<step>")
@accepts_uploads
def save(step: str) -> Response:
    """Save the form, run the button's action, and show the same step or the next page."""
    form = request.form.copy()
    if form.get("action") == "upload":
        _receive(form)
    outcome = services().drafts.submit(step, form)
    if step == "model":
        _download(form.get("action", ""))
    for words, level in outcome.said:
        say(words, level)
    if outcome.page == "probe":
        return to("probe.page_of", probe_id=outcome.job_id)
    if outcome.page == "run":
        return to("runs.show", session_id=outcome.job_id)
    # The page's script reads from the URL which fields were rejected or changed in another tab.
    told = {"refused": outcome.refused, "elsewhere": outcome.elsewhere}
    return to(f"wizard.{outcome.page}", **{name: " ".join(paths) for name, paths in told.items() if paths})


def _receive(form: Form) -> None:
    """Save the uploaded file or pasted rows, and select them."""
    if ("file" in request.files and request.files["file"].filename) or form.get("pasted", "").strip():
        try:
            info, already = receive()
            form["upload"] = f"upload:{info.id}"
            if already:
                say(ALREADY)
        except TunesmithError as error:
            say(f"{error.message} Your previous choice is kept.", "problem")


def _download(action: str) -> None:
    """Handle a download button of the Model step: ``download-<verb> <model or download>``."""
    found, (verb, _, what) = services(), action.partition(" ")

    def start() -> None:
        model = found.wizard.draft().model
        found.downloads.start(what, model.text("revision") or None if model.name == what else None)

    verbs: dict[str, Callable[[], object]] = {
        "download-start": start,
        "download-pause": lambda: found.downloads.cancel(what),
        "download-resume": lambda: found.downloads.resume(what),
        "download-discard": lambda: found.downloads.discard(what),
    }
    if verb in verbs:
        try:
            verbs[verb]()
        except TunesmithError as error:
            say(error.message, "problem")
