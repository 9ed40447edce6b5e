"""The seven steps: each a page of its own, each saving its own part of the draft."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, request, send_file, url_for
from flask import Response as AnyResponse
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from core.errors import InvalidInput, NotFound, TunesmithError
from pages.runs.show import Wanted
from pages.wizard import dataset as dataset_page
from pages.wizard import dataset_choice, steps
from pages.wizard.trial import sample
from routes._guard import accepts_uploads
from routes._pages import page, say, to
from routes.datasets import receive
from services.current import services
from services.datasets.preparation_jobs import DRAFT
from services.forms.fields import field_title
from services.forms.merge import Merged, read_was
from services.wizard.wizard import STEP, STEPS, read_step

bp = Blueprint("wizard", __name__)
Form = MultiDict[str, str]
ALREADY = "You already have this file. It was not stored again; the dataset that holds it is chosen."


@bp.get("/new")
def begin() -> Response:
    """To the first step that still wants something or was not looked at."""
    missing, wizard = steps.review_of(services()).missing, services().wizard
    wanted = (step.key for step in STEPS[:4] if step.key in missing or not wizard.ui(step.key).get("visited"))
    return to(f"wizard.{next(wanted, 'train')}")


@bp.post("/new/reset")
def reset() -> Response:
    """Clear the draft."""
    services().wizard.reset()
    say("All choices are cleared. Runs and files are as they were.")
    return to("wizard.model")


@bp.get("/new/model")
def model() -> str:
    """Step 1."""
    return page("wizard/model.html", steps.model_step(services()))


@bp.get("/new/dataset")
def dataset() -> str:
    """Step 2."""
    if request.args.get("already"):  # the page's script sent a file that is here
        say(ALREADY)
    return page("wizard/dataset.html", dataset_page.dataset_step(services()))


@bp.get("/new/dataset/preparation")
def preparation() -> str:
    """What training would make of the chosen dataset, wherever it is from."""
    return page("wizard/preparation.html", dataset_page.preparation_step(services()))


@bp.post("/new/dataset/preparation")
def prepare() -> Response:
    """Prepare all of it; the page shows how far it is, then the report."""
    services().preparations.start(DRAFT, dataset_page.preparable(services()))
    return to("wizard.preparation")


@bp.post("/new/dataset/preparation/stop")
def stop_preparing() -> Response:
    """End it; the report before stays."""
    services().preparations.stop(DRAFT)
    return to("wizard.preparation")


@bp.post("/new/dataset/limits")
def use_limits() -> Response:
    """Put the proposed lengths into the draft."""
    report, _ = services().library.draft_report(dataset_page.preparable(services()))
    if dataset_choice.take_limits(services(), report):
        say("The new run uses these limits.", "good")
    return to("wizard.preparation")


@bp.get("/new/dataset/prepared/<form>")
def prepared(form: str) -> AnyResponse:
    """The rows of the last report."""
    path = services().library.prepared_file(None, form)
    return send_file(path, as_attachment=True, download_name=path.name)


@bp.get("/new/configuration")
def configuration() -> str:
    """Step 3."""
    return page("wizard/configuration.html", steps.configuration_step(services()))


@bp.get("/new/reward")
def reward() -> str:
    """Step 4."""
    return page("wizard/reward.html", steps.reward_step(services()))


@bp.get("/new/train")
def train() -> str:
    """Step 5."""
    return page("wizard/train.html", steps.train_step(services(), Wanted.read(request.args), request.path))


@bp.get("/new/export")
def export() -> str:
    """Step 6."""
    return page("wizard/export.html", steps.export_step(services()))


@bp.get("/new/test")
def test() -> str:
    """Step 7."""
    wizard = services().wizard
    wizard.remember("test", session_id=wizard.session_id())
    return page("wizard/test.html", steps.chat_step(services()))


@bp.get("/new/<step>")
def unknown(step: str) -> str:
    """An address that no step has."""
    raise NotFound(f"There is no step {step!r}. The steps are listed at /new.")


@bp.post("/new/<step>")
@accepts_uploads
def save(step: str) -> Response:
    """Keep what was entered, do what the button says, and show the page again or the next one."""
    if step not in STEP:
        raise NotFound("There is no such step. The steps are listed at /new.")
    form, wizard = request.form.copy(), services().wizard
    action = form.get("action", "save")
    if action == "upload":
        _receive(form)
    source = str((wizard.draft().get("dataset") or {}).get("source") or "")
    merged = wizard.save(step, form, _READ.get(step))
    if step == "dataset":
        dataset_choice.follow_reward(services(), source)
    _tell(merged)
    if merged.refused:
        return to(f"wizard.{step}", refused=" ".join(merged.refused))
    answer = _act(step, action)
    if merged.elsewhere and answer.location == url_for(f"wizard.{step}"):
        return to(f"wizard.{step}", elsewhere=" ".join(merged.elsewhere))
    return answer


def _act(step: str, action: str) -> Response:
    """What the button says, after the form was kept."""
    wizard = services().wizard
    if action in _ACTIONS:
        return _ACTIONS[action]()
    if action.startswith("fix-"):
        return _fix(action.removeprefix("fix-"), step)
    if action.startswith("sample-"):
        wizard.remember("reward", completion=sample(services(), action.removeprefix("sample-")))
    if action.startswith("again-"):
        wizard.use_again(action.removeprefix("again-"))
    if action == "next" and step not in steps.review_of(services()).missing:
        return to(f"wizard.{STEPS[[one.key for one in STEPS].index(step) + 1].key}")
    return to(f"wizard.{step}")


def _tell(merged: Merged) -> None:
    """Say what another tab changed; the page's script reads the same from the address."""
    if merged.refused:
        names = ", ".join(f"'{field_title(path)}'" for path in merged.refused)
        say(f"Changed in another tab: {names}. Your change here was not saved. Reload to see what is set now.", "watch")
    elif merged.elsewhere:
        names = ", ".join(f"'{field_title(path)}'" for path in merged.elsewhere)
        say(f"Changed in another tab, and kept: {names}.", "watch")


def _receive(form: Form) -> None:
    """The file that was sent becomes the choice."""
    if "file" in request.files and request.files["file"].filename:
        try:
            info, already = receive()
            form["upload"] = f"upload:{info.id}"
            if already:
                say(ALREADY)
        except TunesmithError as error:
            say(f"{error.message} What you had chosen before is kept.", "problem")


def _read_model(step: str, form: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """The model that was ticked or named; 'Recommended' takes every setting of the adapter back to its default."""
    form, section = {**form, "model.name": form.get("choice") or form.get("model.name", "")}, before.get("model") or {}
    if form.get("ui.setup") == "recommended":
        section = {name: section[name] for name in ("name", "revision") if section.get(name)}
        own = {f"model.{name}" for name in (*steps.CUSTOM, *steps.ADVANCED)}
        form = {name: value for name, value in form.items() if name not in own} | {"checks": ""}
    return read_step(step, form, {"model": section})


def _read_dataset(_step: str, form: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    return {"dataset": dataset_choice.read(services(), form, before.get("dataset") or {})}


_READ = {"model": _read_model, "dataset": _read_dataset}


def _use_guess() -> Response:
    draft = services().wizard.draft().get("dataset") or {}
    found, _ = dataset_page.look(services(), draft)
    fields = (found or {}).get("fields") or {}
    if fields.get("instruction") and fields.get("response"):
        proposed = {
            "instruction_field": fields["instruction"],
            "response_field": fields["response"],
            "instruction_template": fields["template"],
            "extraction": fields["extraction"],
            "extraction_pattern": fields["pattern"],
        }
        services().wizard.put(
            dataset={**draft, **proposed} | ({"columns": fields["columns"]} if fields["columns"] else {})
        )
    return to("wizard.dataset")


def _take_known() -> Response:
    if dataset_choice.take_known(services(), request.form.get("known", "")):
        return _check()
    return to("wizard.dataset")


def _template(action: str) -> Response:
    form, library = request.form, services().library
    try:
        if action == "save":
            library.save_template(form.get("template-name", ""), services().wizard.draft().get("dataset") or {})
            say("The template is kept.", "good")
        elif action == "delete":
            library.delete_template(form.get("template", ""))
        else:
            dataset_choice.use_template(services(), form.get("template", ""))
    except TunesmithError as error:
        say(error.message, "problem")
    return to("wizard.dataset")


def _check() -> Response:
    try:
        dataset_page.fetch(services())
    except TunesmithError as error:
        say(error.message, "problem")
    return to("wizard.dataset")


def _suggest() -> Response:
    services().wizard.put(**dict.fromkeys(STEP["configuration"].sections))
    say("Every value of this step suits the model and this machine again.", "good")
    return to("wizard.configuration")


def _move_row(by: int) -> Response:
    wizard = services().wizard
    wizard.remember("reward", row=max(0, int(wizard.ui("reward").get("row", 0)) + by), completion="")
    return to("wizard.reward")


def _start() -> Response:
    found, confirmed = services(), bool(request.form.get("confirm_reward"))
    if read_was(request.form.get("was", "")).get("others", found.wizard.others("train")) != found.wizard.others(
        "train"
    ):
        say("It was not started: the choices were changed in another tab. Look at them here, then start.", "watch")
        return to("wizard.train")

    how = "To start anyway, tick 'Start with this reward all the same'."

    def start(config: dict[str, Any]) -> str:
        return found.runs.start(config, confirm=lambda whole: found.preflight.admit(whole, confirmed, how)).session_id

    try:
        found.wizard.start(start, lambda session_id: steps.gives_way(found, session_id))
    except TunesmithError as error:
        say(f"It was not started. {error.message} Your choices are kept.", "problem")
    return to("wizard.train")


def _fix(path: str, step: str) -> Response:
    """Make the change that the readiness list offers for a field."""
    fix = steps.review_of(services()).readiness.fix(path)
    if fix is None:
        say("This is no longer needed: the choices have changed.", "good")
    else:
        services().wizard.change(fix.values)
        say(f"Done: {fix.label}.", "good")
    return to(f"wizard.{step}")


def _probe() -> Response:
    wizard = services().wizard
    try:
        view = services().probes.start(wizard.config())
        wizard.remember("train", probe_id=view.probe_id)
        return to("probe.page_of", probe_id=view.probe_id)
    except TunesmithError as error:
        say(f"The probe was not started. {error.message}", "problem")
    return to("wizard.train")


def _apply_probe() -> Response:
    """Set what the probe's advice comes to, and ask again."""
    found = services()
    fix = steps.probe_fix(found, steps.latest_probe(found))
    if fix is None:
        say("The choices have changed since that probe. Probe again.", "watch")
        return to("wizard.train")
    found.wizard.change(fix.values)
    return _probe()


def _again() -> Response:
    services().wizard.put(session_id=None)
    return to("wizard.train")


def _keep() -> Response:
    config = services().wizard.config()
    try:
        services().configs.save(config["name"], config)
        say(f"Kept as '{config['name']}' among the configurations.", "good")
    except InvalidInput as error:
        say(error.message, "problem")
    return to("wizard.train")


_ACTIONS = {
    "prepare": prepare,
    "take-known": _take_known,
    "use-template": lambda: _template("use"),
    "save-template": lambda: _template("save"),
    "delete-template": lambda: _template("delete"),
    "use-guess": _use_guess,
    "check": _check,
    "suggest": _suggest,
    "next-row": lambda: _move_row(1),
    "previous-row": lambda: _move_row(-1),
    "start": _start,
    "again": _again,
    "probe": _probe,
    "apply-probe": _apply_probe,
    "keep": _keep,
}
