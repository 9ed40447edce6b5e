"""The steps of the wizard: each a page of its own, each saving its own part of the draft."""

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
    """To the first step that still wants something or was not looked at."""
    return to(f"wizard.{services().drafts.first_step()}")


@bp.post("/new/reset")
def reset() -> Response:
    """Clear the draft."""
    services().wizard.reset()
    say("Your setup was cleared. Runs and files are unchanged.")
    return to("wizard.model")


@bp.get("/new/model")
def model() -> str:
    """Step 1."""
    return page("wizard/model.html", model_step(services()))


@bp.get("/new/dataset")
def dataset() -> str:
    """Step 2."""
    if request.args.get("already"):  # the page's script sent a file that is here
        say(ALREADY)
    return page("wizard/dataset.html", dataset_step(services(), request.args))


@bp.get("/new/dataset/preparation")
def preparation() -> str:
    """What training would make of the chosen dataset, wherever it is from."""
    return page("wizard/preparation.html", preparation_step(services()))


@bp.post("/new/dataset/preparation")
def prepare() -> Response:
    """Prepare all of it; the page shows how far it is, then the report."""
    services().drafts.dataset.prepare()
    return to("wizard.preparation")


@bp.post("/new/dataset/preparation/stop")
def stop_preparing() -> Response:
    """End it; the report before stays."""
    services().preparations.stop(DRAFT)
    return to("wizard.preparation")


@bp.post("/new/dataset/limits")
def use_limits() -> Response:
    """Put the proposed lengths into the draft."""
    if services().drafts.dataset.use_own_limits():
        say("Your setup now uses the suggested lengths.", "good")
    return to("wizard.preparation")


@bp.get("/new/dataset/prepared/<form>")
def prepared(form: str) -> AnyResponse:
    """The rows of the last report."""
    path = services().library.prepared_file(None, form)
    return send_file(path, as_attachment=True, download_name=path.name)


@bp.get("/new/configuration")
def configuration() -> str:
    """Step 3."""
    return page("wizard/configuration.html", configuration_step(services()))


@bp.get("/new/reward")
def reward() -> str | Response:
    """Step 4, where the method has it."""
    shown = reward_step(services())
    if shown is None:
        say("This training method needs no reward.")
        return to("wizard.train")
    return page("wizard/reward.html", shown)


@bp.get("/new/train")
def train() -> str:
    """Step 5."""
    return page("wizard/train.html", train_step(services()))


@bp.get("/new/export")
def export() -> str:
    """Export the draft's run."""
    return page("wizard/export.html", export_step(services()))


@bp.get("/new/test")
def test() -> str:
    """Try the draft's run."""
    return page("wizard/test.html", chat_step(services()))


@bp.get("/new/<step>")
def unknown(step: str) -> str:
    """An address that no step has."""
    raise NotFound(f"There is no step {step!r}. Start at /new.")


@bp.post("/new/<step>")
@accepts_uploads
def save(step: str) -> Response:
    """Keep what was entered, do what the button says, and show the page again or the next one."""
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
    # The page's script reads from the address what another tab changed.
    told = {"refused": outcome.refused, "elsewhere": outcome.elsewhere}
    return to(f"wizard.{outcome.page}", **{name: " ".join(paths) for name, paths in told.items() if paths})


def _receive(form: Form) -> None:
    """The file that was sent, or the rows that were pasted, become the choice."""
    if ("file" in request.files and request.files["file"].filename) or form.get("pasted", "").strip():
        try:
            info, already = receive()
            form["upload"] = f"upload:{info.id}"
            if already:
                say(ALREADY)
        except TunesmithError as error:
            say(f"{error.message} Your previous choice is kept.", "problem")


def _download(action: str) -> None:
    """What a button of the Model step says about a download: ``download-<verb> <model or download>``."""
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
