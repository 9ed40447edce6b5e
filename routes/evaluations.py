"""Evaluations: models answer the same prompts, and their answers are compared in pairs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request
from pydantic import Field
from werkzeug.wrappers import Response as AnyResponse

from core.config import RolloutEngine
from core.errors import Conflict, InvalidInput, NotFound, TunesmithError
from core.evaluation import MOST_MODELS, MOST_PROMPTS
from pages.evaluations.index import evaluations_page
from pages.evaluations.new import new_evaluation_page, read_form
from pages.evaluations.show import evaluation_page
from routes._api import Body, describes, read_body, read_query
from routes._guard import SMALL, accepts_uploads
from routes._pages import page, say, say_deleted, to
from services.current import services
from services.evaluations.request import Request
from services.evaluations.results import SHOWN, Wanted

bp = Blueprint("evaluations", __name__)


class EvaluationBody(Body):
    """The models to compare, the prompts, and how answers are generated and scored."""

    models: list[str] = Field(
        min_length=1, max_length=MOST_MODELS, description="Model references. All others are compared with the first."
    )
    session_id: str = Field("", description="Use this run's held-out rows; with dataset or text, only its settings.")
    dataset: dict[str, Any] | None = Field(None, description="Use a dataset; a dataset section of RunConfig.")
    text: str | None = Field(None, description="Use these prompts: plain text lines, JSON Lines or a JSON list.")
    limit: int = Field(64, ge=1, le=MOST_PROMPTS, description="Maximum number of prompts.")
    reward: dict[str, Any] | None = Field(None, description="A reward section of RunConfig. Default: the run's reward.")
    scored: bool = Field(True, description="False generates answers without scoring them.")
    system_prompt: str | None = Field(None, max_length=20_000, description="Default: the run's system prompt.")
    max_new_tokens: int | None = Field(None, ge=1, le=8192, description="In tokens. Default: the run's, or 256.")
    temperature: float = Field(0.0, ge=0, le=5, description="0 always picks the most likely token.")
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    name: str = Field("", max_length=100)
    rollout_engine: RolloutEngine | None = Field(
        None, description="Generation engine for base models and adapters on a CPU. Default: the run's, or auto."
    )


class ResultsQuery(Body):
    """Which answers to return."""

    q: str = Field("", max_length=200, description="Only rows with this text in prompt, reference or an answer.")
    model: int | None = Field(None, ge=0, lt=MOST_MODELS, description="Index of the model that 'show' applies to.")
    show: str = Field("all", description="all, right, wrong, improved, worsened, changed or problem.")
    limit: int = Field(50, ge=1, le=1000)
    offset: int = Field(0, ge=0)

    def wanted(self) -> Wanted:
        """Convert to the service's filter. Raises InvalidInput if ``show`` is not a known value."""
        if self.show not in SHOWN:
            raise InvalidInput(f"show is one of {', '.join(SHOWN)}.", field="show")
        return Wanted(self.q, self.model, self.show)


@bp.post("/api/evaluations/start")
@describes(body=EvaluationBody, answer={"evaluation_id": str, "status": str}, status=202)
def start() -> tuple[Response, int]:
    """Start an evaluation by adding it to the queue. 404 if a model or dataset is missing, 409 if not ready."""
    body = read_body(EvaluationBody).model_dump()
    view = services().evaluations.start(Request(**{**body, "models": tuple(body["models"])}))
    return jsonify({"evaluation_id": view.evaluation_id, "status": view.job.status}), 202


@bp.get("/api/evaluations/list")
@describes(answer={"evaluations": list})
def listed() -> Response:
    """List all evaluations, newest first, without their reports."""
    return jsonify({"evaluations": [view.json() for view in services().evaluations.list()]})


@bp.get("/api/evaluations/<evaluation_id>")
@describes(answer=dict)
def one(evaluation_id: str) -> Response:
    """Return an evaluation's status, and each model's paired comparison with the first ('reports')."""
    return jsonify(services().evaluations.get(evaluation_id).json())


@bp.get("/api/evaluations/<evaluation_id>/results")
@describes(query=ResultsQuery, answer={"rows": list, "total": int})
def results(evaluation_id: str) -> Response:
    """Return the prompts with every model's answer, as far as they are finished."""
    query = read_query(ResultsQuery)
    rows, total = services().evaluations.results(evaluation_id, query.wanted(), limit=query.limit, offset=query.offset)
    return jsonify({"rows": [row.json() for row in rows], "total": total})


@bp.get("/api/evaluations/<evaluation_id>/results.csv")
@describes(content="text/csv")
def table(evaluation_id: str) -> Response:
    """Download all answers as CSV, one answer per row."""
    return _download(services().evaluations.csv(evaluation_id), f"{evaluation_id}.csv", "text/csv")


@bp.get("/api/evaluations/<evaluation_id>/results.json")
@describes(answer={"evaluation": dict, "rows": list})
def whole(evaluation_id: str) -> Response:
    """Download a complete evaluation as JSON: models, reports, prompts and answers."""
    rows, _ = services().evaluations.results(evaluation_id)
    response = jsonify(
        {"evaluation": services().evaluations.get(evaluation_id).json(), "rows": [row.json() for row in rows]}
    )
    response.headers["Content-Disposition"] = f'attachment; filename="{evaluation_id}.json"'
    return response


@bp.post("/api/evaluations/<evaluation_id>/stop")
@describes(answer={"evaluation_id": str, "status": str}, status=202)
def stop(evaluation_id: str) -> tuple[Response, int]:
    """Stop an evaluation and keep its answers. 409 if it has already ended."""
    view = services().evaluations.stop(evaluation_id)
    return jsonify({"evaluation_id": view.evaluation_id, "status": view.job.status}), 202


@bp.post("/api/evaluations/<evaluation_id>/resume")
@describes(answer={"evaluation_id": str, "status": str}, status=202)
def resume(evaluation_id: str) -> tuple[Response, int]:
    """Resume an evaluation that was stopped, failed or crashed. 409 if it is stopping or completed."""
    view = services().evaluations.resume(evaluation_id)
    return jsonify({"evaluation_id": view.evaluation_id, "status": view.job.status}), 202


@bp.delete("/api/evaluations/<evaluation_id>")
@describes(status=204)
def delete(evaluation_id: str) -> tuple[str, int]:
    """Move an evaluation to the trash. 409 while it is running or queued."""
    services().evaluations.delete(evaluation_id)
    return "", 204


@bp.get("/api/training/sessions/<session_id>/evaluation")
@describes(answer=dict)
def of_run(session_id: str) -> Response:
    """Return a run's comparison of held-out answers before and after training. 404 if it has none."""
    found = services().evaluations.of_run(session_id)
    if found is None:
        raise NotFound("This run has no evaluation: it has not ended, or it had no held-out rows.")
    return jsonify(found.model_dump(mode="json"))


def _download(text: str, name: str, kind: str) -> Response:
    response = Response(text, mimetype=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


# --- pages ---


@bp.get("/evaluations")
def index() -> str:
    """List all evaluations."""
    return page("evaluations/index.html", evaluations_page(services()))


@bp.get("/evaluations/new")
def new() -> str:
    """Show the form for a new evaluation."""
    return page("evaluations/new.html", new_evaluation_page(services(), request.args))


@bp.post("/evaluations/new")
@accepts_uploads
def begin() -> AnyResponse | str:
    """Start the evaluation that the form describes, or show the form again with its values and the error."""
    if (request.content_length or 0) > SMALL:
        most = SMALL // 1024**2
        raise InvalidInput(f"The file is larger than {most} MiB. Use a dataset instead.", field="file")
    file = request.files.get("file")
    text = file.read().decode("utf-8", "replace") if file and file.filename else ""
    try:
        view = services().evaluations.start(read_form(services(), request.form, text))
    except TunesmithError as error:
        return page("evaluations/new.html", new_evaluation_page(services(), request.form, problem=error.message))
    return to("evaluations.show", evaluation_id=view.evaluation_id)


@bp.get("/evaluations/<evaluation_id>")
def show(evaluation_id: str) -> str:
    """Show an evaluation: progress, paired comparison, and answers."""
    return page("evaluations/show.html", evaluation_page(services(), evaluation_id, request.args))


@bp.post("/evaluations/<evaluation_id>/<action>")
def act(evaluation_id: str, action: str) -> AnyResponse:
    """Stop, resume or delete an evaluation."""
    evaluations = services().evaluations
    acts = {"stop": evaluations.stop, "resume": evaluations.resume, "delete": _delete}
    if action not in acts:
        raise NotFound("There is no such action on an evaluation.")
    try:
        acts[action](evaluation_id)
    except Conflict as error:
        say(error.message, "problem")
        return to("evaluations.show", evaluation_id=evaluation_id)
    return to("evaluations.index") if action == "delete" else to("evaluations.show", evaluation_id=evaluation_id)


def _delete(evaluation_id: str) -> None:
    say_deleted("Evaluation deleted.", services().evaluations.delete(evaluation_id))
