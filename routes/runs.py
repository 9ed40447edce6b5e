"""Training runs: start, stop, resume, show, delete."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Blueprint, Response, jsonify, request
from pydantic import Field, model_validator
from werkzeug.wrappers import Response as AnyResponse

from core.config import RunConfig, parse
from core.errors import Conflict, InvalidInput, NotFound
from core.methods import DEFAULT, Need
from core.methods.method import JobType
from core.rewards import resolve
from core.rewards.reward_model import scored_by
from pages.runs.actions import changes_in_words
from pages.runs.address import Wanted
from pages.runs.index import runs_page
from pages.runs.show import RunPage, board
from routes._api import Body, describes, read_body, read_json, read_query
from routes._pages import back, page, say, say_deleted, to
from services.current import services
from services.runs.diagnosis import changed
from services.runs.reward_reports import another_seed, comparisons, require_scores, wanted_report
from services.runs.score_files import ScoredFile
from services.wizard.start import continued

bp = Blueprint("runs", __name__)


class StartBody(Body):
    """A run to start, from either ``config`` or ``config_name``."""

    config: dict[str, Any] | None = Field(None, description="A configuration; see the schema RunConfig.")
    config_name: str | None = Field(None, description="Name of a preset.")
    session_id: str | None = Field(None, description="Your own run ID, so that a retry starts no second run.")
    confirm_reward: bool = Field(False, description="Start even if the reward has loopholes.")

    @model_validator(mode="after")
    def _one(self) -> StartBody:
        if (self.config is None) == (self.config_name is None):
            raise ValueError("give either config or config_name")
        return self


class SessionBody(Body):
    """The run to act on."""

    session_id: str


class StopBody(SessionBody):
    """The run to stop, and how."""

    now: bool = Field(False, description="Stop immediately, without saving a checkpoint.")


class ScoreFileBody(Body):
    """The file to score."""

    dataset: str = Field(description="An uploaded dataset as upload:<id>, with prompt, chosen, rejected and subset.")


class NameBody(Body):
    """The run's new name."""

    name: str = Field(min_length=1, max_length=100)


class SessionsQuery(Body):
    """Which runs to list."""

    job_type: JobType | None = Field(None, description="Only runs of this kind: SL, RL, RLHF or DPO.")
    method: str | None = Field(None, description="Only runs of this method, by its key in GET /api/methods.")


class MetricsQuery(Body):
    """Which metric rows to return."""

    after: int = Field(0, ge=0, description="Only rows after this row number.")
    points: int | None = Field(None, ge=10, le=100_000, description="Downsample to about this many rows, for charts.")


class CompletionsQuery(Body):
    """Which groups to return."""

    step: int | None = Field(None, ge=0, description="Only groups of this step. Default: all, newest first.")
    phase: str | None = Field(None, description="training or evaluation.")
    limit: int = Field(20, ge=1, le=500)
    offset: int = Field(0, ge=0)


class LogsQuery(Body):
    """How much of the log to return."""

    tail: int = Field(200, ge=1, le=10_000, description="Number of lines from the end.")


@bp.post("/api/training/start")
@describes(body=StartBody, answer={"session_id": str, "status": str}, status=202)
def start() -> tuple[Response, int]:
    """Start a run. 422 if the configuration is invalid, 409 if the ID exists or the reward must be confirmed first.

    The run is queued until the device is free.
    """
    body, found = read_body(StartBody), services()
    given = body.config if body.config is not None else found.configs.load(body.config_name or "")
    found.preflight.admit(found.runs.check_start(given, session_id=body.session_id), body.confirm_reward)
    view = found.runs.start(given, session_id=body.session_id)
    return jsonify({"session_id": view.session_id, "status": view.job.status}), 202


@bp.post("/api/training/check")
@describes(body=RunConfig, answer={"state": str, "problems": list, "notes": list})
def check() -> Response:
    """Check whether a configuration is ready to start, without starting it. Problems are sorted by severity."""
    config, found = parse(read_json()), services()
    resolve(config.reward)
    notes = [note._asdict() for note in found.runs.check(config)]
    return jsonify({**found.preflight.look(config).json(), "notes": notes})


@bp.post("/api/training/stop")
@describes(body=StopBody, answer={"session_id": str, "status": str}, status=202)
def stop() -> tuple[Response, int]:
    """Stop a run after its current step with a checkpoint, or now without one. 409 if it has already ended."""
    body = read_body(StopBody)
    view = services().runs.stop(body.session_id, now=body.now)
    return jsonify({"session_id": view.session_id, "status": view.job.status}), 202


@bp.post("/api/training/resume")
@describes(body=SessionBody, answer={"session_id": str, "status": str}, status=202)
def resume() -> tuple[Response, int]:
    """Resume a stopped, failed or crashed run from its last checkpoint. 409 if it is stopping or completed."""
    view = services().runs.resume(read_body(SessionBody).session_id)
    return jsonify({"session_id": view.session_id, "status": view.job.status}), 202


@bp.get("/api/training/sessions")
@describes(query=SessionsQuery, answer={"sessions": list})
def sessions() -> Response:
    """List all runs, newest first, without their configurations."""
    query = read_query(SessionsQuery)
    found = [
        view
        for view in services().runs.list()
        if query.job_type in (None, view.job_type) and query.method in (None, view.method)
    ]
    return jsonify({"sessions": [view.json() for view in found]})


@bp.get("/api/training/sessions/<session_id>")
@describes(answer=dict)
def session(session_id: str) -> Response:
    """Return a run with its configuration."""
    return jsonify(services().runs.get(session_id).json())


@bp.get("/api/training/sessions/<session_id>/verdict")
@describes(answer=dict)
def verdict(session_id: str) -> Response:
    """Return a run's verdict: outcome, headline, evidence, advice, and suggested settings for a new run."""
    found = services().runs
    return jsonify(found.verdict(found.get(session_id)).json())


@bp.get("/api/training/sessions/<session_id>/reward-report")
@describes(answer={"report": dict, "agreement": list})
def reward_report(session_id: str) -> Response:
    """Return what a reward model's scores are worth, and how far other runs on the same held-out pairs agree."""
    found = services()
    found.runs.get(session_id)
    home = found.settings.home
    others = [(one.session_id, one.title) for one in found.models.scoring()]
    agreed = [one.json() for one in comparisons(home, session_id, others)]
    return jsonify({"report": wanted_report(home, session_id).json(), "agreement": agreed})


@bp.get("/api/training/sessions/<session_id>/score-files")
@describes(answer={"files": list})
def score_files(session_id: str) -> Response:
    """List the files that a run's reward model has scored, newest first, with the accuracy of each."""
    files = services().score_files.list(session_id)
    return jsonify({"files": [one.model_dump(mode="json") for one in files]})


@bp.post("/api/training/sessions/<session_id>/score-files")
@describes(body=ScoreFileBody, answer={"id": str, "state": str, "of": int}, status=202)
def score_file(session_id: str) -> tuple[Response, int]:
    """Score an uploaded file of prompts with right and wrong answers by a run's reward model (best-of-n)."""
    return jsonify(_score_file(session_id, read_body(ScoreFileBody).dataset).model_dump(mode="json")), 202


@bp.post("/api/training/sessions/<session_id>/score-files/<file_id>/cancel")
@describes(answer={"id": str}, status=202)
def cancel_score_file(session_id: str, file_id: str) -> tuple[Response, int]:
    """Stop scoring a file. 409 if it is not being scored."""
    return jsonify({"id": services().score_files.cancel(session_id, file_id).id}), 202


def _score_file(session_id: str, dataset: str) -> ScoredFile:
    found = services()
    kind, _, upload_id = dataset.partition(":")
    if kind != "upload":
        raise InvalidInput("Upload the file as a dataset first, then choose it.", field="dataset")
    return found.score_files.start(session_id, dataset, found.datasets.info(upload_id).name)


@bp.patch("/api/training/sessions/<session_id>")
@describes(body=NameBody, answer=dict)
def rename(session_id: str) -> Response:
    """Rename a run."""
    return jsonify(services().runs.rename(session_id, read_body(NameBody).name).json())


@bp.get("/api/training/sessions/<session_id>/metrics")
@describes(query=MetricsQuery, answer={"rows": list, "next": int})
def metrics(session_id: str) -> Response:
    """Return a run's metric rows after a row number. Pass 'next' as ``after`` for the rows that follow."""
    query = read_query(MetricsQuery)
    rows, following = services().runs.metrics(session_id, query.after, query.points)
    return jsonify({"rows": rows, "next": following})


@bp.get("/api/training/sessions/<session_id>/completions")
@describes(query=CompletionsQuery, answer={"groups": list, "total": int, "steps": list})
def completions(session_id: str) -> Response:
    """Return a run's groups: prompt, reference, and completions with advantages and rewards by component."""
    query = read_query(CompletionsQuery)
    return jsonify(services().runs.completions(session_id, query.step, query.limit, query.offset, query.phase))


@bp.get("/api/training/sessions/<session_id>/logs")
@describes(query=LogsQuery, content="text/plain")
def logs(session_id: str) -> Response:
    """Return the last lines of a run's log."""
    return Response(services().runs.log(session_id, read_query(LogsQuery).tail), mimetype="text/plain")


@bp.delete("/api/training/sessions/<session_id>")
@describes(status=204)
def delete(session_id: str) -> tuple[str, int]:
    """Move a run to the trash. 409 while it is running, queued or needed by another job."""
    services().runs.delete(session_id)
    return "", 204


# --- pages ---


@bp.get("/runs")
def index() -> str:
    """List all runs, filtered and sorted by the query string."""
    return page("runs/index.html", runs_page(services(), request.args))


@bp.get("/runs/<session_id>")
def show(session_id: str) -> str:
    """Show one tab of a run: overview, answers, charts, log or settings."""
    return page("runs/show.html", RunPage(board(services(), session_id, Wanted.read(request.args), request.path)))


@bp.get("/runs/<session_id>/config.json")
def config_file(session_id: str) -> Response:
    """Download a run's configuration as a file that can be imported as a preset."""
    text = json.dumps(services().runs.config(session_id), indent=2, ensure_ascii=False)
    named = {"Content-Disposition": f'attachment; filename="{session_id}.json"'}
    return Response(text, mimetype="application/json", headers=named)


@bp.post("/runs/<session_id>/<action>")
def act(session_id: str, action: str) -> AnyResponse:
    """Run the action of a button on a run's page."""
    if action not in _ACTS:
        raise NotFound("There is no such action for a run.")
    try:
        return _ACTS[action](session_id)
    except (Conflict, InvalidInput) as error:
        say(error.message, "problem")
        return back(f"/runs/{session_id}")


def _act_stop(session_id: str, *, at_once: bool = False) -> AnyResponse:
    services().runs.stop(session_id, now=at_once)
    return back(f"/runs/{session_id}")


def _act_resume(session_id: str) -> AnyResponse:
    services().runs.resume(session_id)
    return back(f"/runs/{session_id}")


def _act_rename(session_id: str) -> AnyResponse:
    services().runs.rename(session_id, request.form.get("name", ""))
    return to("runs.show", session_id=session_id)


def _act_again(session_id: str) -> AnyResponse:
    services().wizard.load(services().runs.config(session_id))
    say("Your setup now has the settings of that run. Change what you like, then start.", "good")
    return to("wizard.train")


def _act_continue(session_id: str) -> AnyResponse:
    services().wizard.load(continued(services().runs.config(session_id), session_id))
    say("Your setup now goes on from that run. Choose the method, the data, and the settings, then start.", "good")
    return to("wizard.model")


def _act_change(session_id: str) -> AnyResponse:
    found = services()
    view = found.runs.get(session_id)
    remedy = found.runs.verdict(view).remedy
    if remedy is None:
        raise Conflict("There is no suggested change for this run. Start a new run with its settings instead.")
    found.wizard.load(changed(view.config, remedy.changes))
    what = changes_in_words(remedy.changes)
    say(f"New run with {remedy.words}. {f'{what}. ' if what else ''}All other settings are the same.", "good")
    return to(f"wizard.{remedy.step}")


def _act_fix(session_id: str) -> AnyResponse:
    found = services()
    view = found.runs.get(session_id)
    step = found.runs.verdict(view).step
    found.wizard.load(view.config)
    said = (view.job.error or "").partition("\n")[0]
    say(f"Your setup now has the settings of that run. {f'It failed with: {said}' if said else ''}".strip(), "watch")
    return to(f"wizard.{step}")


def _act_use_reward(session_id: str) -> AnyResponse:
    found = services()
    view = found.runs.get(session_id)
    require_scores(view)
    reward = {"type": "composite", "components": [scored_by(session_id)]}
    # Of a method without a reward, the setup would not show it.
    method = {} if Need.REWARD in found.wizard.method().needs else {"method": DEFAULT}
    found.wizard.put(reward=reward, **method)
    say(f"Your setup now scores answers with {view.title}.", "good")
    return to("wizard.reward")


def _act_reseed(session_id: str) -> AnyResponse:
    found = services()
    view = found.runs.get(session_id)
    require_scores(view)
    found.wizard.load(changed(view.config, (another_seed(view),)))
    say("Your setup now has the settings of that run and another seed. Start it to compare both.", "good")
    return to("wizard.train")


def _act_score_file(session_id: str) -> AnyResponse:
    _score_file(session_id, request.form.get("dataset", ""))
    return to("runs.show", session_id=session_id)


def _act_score_cancel(session_id: str) -> AnyResponse:
    services().score_files.cancel(session_id, request.form.get("file", ""))
    return to("runs.show", session_id=session_id)


def _act_delete(session_id: str) -> AnyResponse:
    say_deleted("Run deleted.", services().runs.delete(session_id))
    return to("runs.index")


_ACTS: dict[str, Callable[[str], AnyResponse]] = {
    "stop": _act_stop,
    "stop-now": partial(_act_stop, at_once=True),
    "resume": _act_resume,
    "rename": _act_rename,
    "again": _act_again,
    "change": _act_change,
    "continue": _act_continue,
    "use-reward": _act_use_reward,
    "reseed": _act_reseed,
    "score-file": _act_score_file,
    "score-cancel": _act_score_cancel,
    "fix": _act_fix,
    "delete": _act_delete,
}
