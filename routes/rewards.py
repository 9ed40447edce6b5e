"""Rewards: what there is, and trying one."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify
from pydantic import Field

from routes._api import Body, describes, read_body
from routes._services import services
from services.rewards import total_json

bp = Blueprint("rewards", __name__)


class TryBody(Body):
    """A reward, and a completion to try it on."""

    reward: dict[str, Any] = Field(description="A reward section of the configuration.")
    prompt: str = Field("", max_length=200_000, description="The question; empty for the row's instruction.")
    completion: str = Field(max_length=1_000_000, description="What the model might write.")
    row: dict[str, Any] = Field(
        default_factory=dict, description="By mapped names: instruction, response and further columns."
    )
    markers: dict[str, str] | None = Field(
        None, description="reasoning_start, reasoning_end, solution_start, solution_end."
    )


@bp.get("/api/rewards/list")
@describes(answer={"presets": list, "rewards": list})
def api_list() -> Response:
    """Ready-made combinations and single rewards, with what each needs and its settings."""
    return jsonify(services().rewards.list())


@bp.post("/api/rewards/test")
@describes(body=TryBody, answer={"total": float, "components": dict})
def api_test() -> Response:
    """Score one completion exactly as training does."""
    body = read_body(TryBody)
    return jsonify(
        total_json(services().rewards.test(body.reward, body.prompt, body.completion, body.row, body.markers))
    )
