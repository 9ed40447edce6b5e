"""Rewards: list, test, save, edit, delete."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, request
from pydantic import Field
from werkzeug.wrappers import Response as AnyResponse

from core.errors import TunesmithError
from core.rewards import Account, charged_to
from pages.rewards.bench import bench_page
from pages.rewards.edit import edit_page, python_reward
from pages.rewards.index import rewards_page
from routes._api import Body, describes, read_body, read_query
from routes._pages import page, say, say_deleted, to
from services.current import services
from services.rewards.bench import FETCHED
from services.rewards.rewards import total_json

bp = Blueprint("rewards", __name__)


class TryBody(Body):
    """A reward, and a completion to score."""

    reward: dict[str, Any] = Field(description="A reward section of the configuration.")
    prompt: str = Field("", max_length=200_000, description="The question. Default: the row's instruction.")
    completion: str = Field(max_length=1_000_000, description="The completion to score.")
    row: dict[str, Any] = Field(
        default_factory=dict, description="Values by mapped name: instruction, response and other columns."
    )
    markers: dict[str, str] | None = Field(
        None, description="reasoning_start, reasoning_end, solution_start, solution_end."
    )
    dataset: dict[str, Any] | None = Field(
        None, description="A dataset section. Its rows determine what the reward derives from the data."
    )


@bp.get("/api/rewards/list")
@describes(answer={"presets": list, "rewards": list})
def api_list() -> Response:
    """List built-in rewards and components, with the columns and settings of each."""
    return jsonify(services().rewards.list())


@bp.post("/api/rewards/test")
@describes(body=TryBody, answer={"total": float, "components": dict})
def api_test() -> Response:
    """Score a completion exactly as training does. 400 if the row lacks a required value, 422 for an invalid reward."""
    body = read_body(TryBody)
    rows = services().bench.rows(body.dataset, FETCHED) if body.dataset else ()
    total = services().rewards.test(body.reward, body.prompt, body.completion, body.row, body.markers, rows)
    return jsonify(total_json(total))


class SaveRewardBody(Body):
    """A reward and the name to save it under."""

    name: str = Field(max_length=64, description="Lowercase letters, digits and dashes.")
    reward: dict[str, Any] = Field(description="A reward section of the configuration.")


class OnDataset(Body):
    """A reward and a dataset."""

    reward: dict[str, Any] = Field(description="A reward section of the configuration.")
    dataset: dict[str, Any] = Field(description="A dataset section of the configuration.")


class BenchBody(OnDataset):
    """Completions to score with one or two rewards."""

    compare: dict[str, Any] | None = Field(None, description="A second reward section.")
    row: int = Field(0, ge=0, description="Index of the row to answer.")
    completions: tuple[str, ...] = Field((), max_length=64, description="Completions to score.")
    model: str | None = Field(None, description="Sample completions from this model instead; see /api/models/list.")
    samples: int = Field(4, ge=1, le=16, description="Number of completions to sample.")


class DistributionBody(OnDataset):
    """A reward, a dataset, and how many rows to score."""

    rows: int = Field(100, ge=2, le=1000)


class SuggestBody(Body):
    """A dataset to suggest a reward for."""

    dataset: dict[str, Any] = Field(description="A dataset section of the configuration.")


class VersionQuery(Body):
    """Which version of a saved reward."""

    version: int | None = Field(None, ge=1, description="Default: the latest.")


@bp.post("/api/rewards/save")
@describes(body=SaveRewardBody, answer={"name": str, "version": int}, status=201)
def api_save() -> tuple[Response, int]:
    """Save a reward. If it differs from the saved one, a new version is created. 422 if it is invalid."""
    body = read_body(SaveRewardBody)
    return jsonify(services().saved_rewards.save(body.name, body.reward)), 201


@bp.get("/api/rewards/saved")
@describes(answer={"rewards": list})
def api_saved() -> Response:
    """List the saved rewards."""
    return jsonify({"rewards": services().saved_rewards.list()})


@bp.get("/api/rewards/saved/<name>")
@describes(query=VersionQuery, answer=dict)
def api_load(name: str) -> Response:
    """Return a saved reward."""
    return jsonify(services().saved_rewards.get(name, read_query(VersionQuery).version))


@bp.delete("/api/rewards/saved/<name>")
@describes(status=204)
def api_delete(name: str) -> tuple[str, int]:
    """Move a saved reward with all its versions to the trash."""
    services().saved_rewards.delete(name)
    return "", 204


@bp.post("/api/rewards/bench")
@describes(body=BenchBody, answer={"row": dict, "completions": list, "rewards": list, "decided": list, "spent": dict})
def api_bench() -> Response:
    """Score given or sampled completions with one or two rewards. Returns judge usage as 'spent'."""
    body, bench = read_body(BenchBody), services().bench
    texts = list(body.completions) or bench.write(body.model or "", body.dataset, body.row, body.samples, 128, 1.0)
    with charged_to(Account()) as account:
        answer = bench.score([one for one in (body.reward, body.compare) if one], body.dataset, texts, body.row)
    scored = [[total_json(total) for total in totals] for totals in answer["rewards"]]
    return _counted(
        {"row": answer["row"], "completions": texts, "rewards": scored, "decided": answer["decided"]}, account
    )


@bp.post("/api/rewards/adversarial")
@describes(
    body=OnDataset, answer={"attempts": list, "reference": float, "warnings": list, "sound": bool, "spent": dict}
)
def api_attack() -> Response:
    """Test a reward for loopholes: score adversarial answers, and warn if one scores as high as the reference."""
    body = read_body(OnDataset)
    with charged_to(Account()) as account:
        report = services().bench.attack(body.reward, body.dataset)
    return _counted(report.json(), account)


@bp.post("/api/rewards/distribution")
@describes(body=DistributionBody, answer={"rows": int, "right": dict, "another_row": dict, "spent": dict})
def api_distribution() -> Response:
    """Compare score distributions of correct answers and of other rows' answers."""
    body = read_body(DistributionBody)
    with charged_to(Account()) as account:
        found = services().bench.distribution(body.reward, body.dataset, body.rows)
    return _counted(found, account)


def _counted(answer: dict[str, Any], account: Account) -> Response:
    return jsonify(answer | {"spent": asdict(account.spent)})


@bp.post("/api/rewards/suggest")
@describes(body=SuggestBody, answer={"reward": dict, "dataset": dict, "reason": str})
def api_suggest() -> Response:
    """Suggest a reward, system prompt and answer tags for a dataset, with the reason."""
    return jsonify(services().bench.suggestion(read_body(SuggestBody).dataset))


# --- pages ---


@bp.get("/rewards")
def index() -> str:
    """List all rewards."""
    return page("rewards/index.html", rewards_page(services()))


@bp.route("/rewards/bench", methods=["GET", "POST"])
def bench() -> str:
    """Show the reward tester."""
    return page("rewards/bench.html", bench_page(services(), request.form or request.args))


@bp.post("/rewards/new")
def create() -> AnyResponse:
    """Create a reward: open the editor under a new name, or save the setup's reward under it."""
    name = request.form.get("name", "").strip()
    try:
        if request.form.get("action") == "draft":
            kept = services().saved_rewards.save(name, services().wizard.draft().reward.json())
            say(f"Saved as {name}, version {kept['version']}.", "good")
    except TunesmithError as error:
        say(f"The reward was not saved. {error.message}", "problem")
        return to("rewards.index")
    return to("rewards.edit", name=name)


@bp.get("/rewards/<name>")
def edit(name: str) -> str:
    """Show the editor of a reward."""
    return page("rewards/edit.html", edit_page(services(), name, version=read_query(VersionQuery).version))


@bp.post("/rewards/<name>")
def keep(name: str) -> str:
    """Test the edited code, or save it as a new version."""
    source, examples = request.form.get("source", "").replace("\r\n", "\n"), request.form.get("examples", "")
    if request.form.get("action") == "save":
        try:
            kept = services().saved_rewards.save(name, python_reward(source))
            say(f"Saved as version {kept['version']}.", "good")
        except TunesmithError as error:
            say(f"The reward was not saved. {error.message} Your code is still on the page.", "problem")
    return page("rewards/edit.html", edit_page(services(), name, source=source, examples=examples))


@bp.post("/rewards/<name>/use")
def use(name: str) -> AnyResponse:
    """Use a saved reward in the setup."""
    services().wizard.put(reward=services().saved_rewards.use(name))
    say(f"Your setup now uses {name}.", "good")
    return to("wizard.reward")


@bp.post("/rewards/<name>/delete")
def remove(name: str) -> AnyResponse:
    """Move a saved reward to the trash."""
    entry = services().saved_rewards.delete(name)
    say_deleted(f"Reward '{name}' deleted. Presets that used it keep their copy.", entry)
    return to("rewards.index")
