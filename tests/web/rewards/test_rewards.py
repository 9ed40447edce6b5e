"""Rewards over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

MATH = {"type": "preset", "preset_name": "math"}
ROW = {"instruction": "6 x 12?", "response": "6 x 12 = 72\n#### 72"}
RIGHT = "<start_working_out>6 x 12<end_working_out><SOLUTION>72</SOLUTION>"


def test_the_list_says_what_each_needs_and_whether_it_verifies(client: FlaskClient) -> None:
    """Enough to build a form: titles, needs, settings with defaults and limits."""
    found = client.get("/api/rewards/list").get_json()
    rewards = {reward["name"]: reward for reward in found["rewards"]}
    assert {name for name, reward in rewards.items() if reward["verifies"]} >= {"numeric", "exact"}
    assert rewards["numeric"]["needs"] == ["response"]
    assert rewards["format"]["needs"] == []
    assert {"name", "type", "default", "title", "description"} <= set(rewards["length"]["params"][0])
    presets = {preset["name"]: preset for preset in found["presets"]}
    assert {"math", "short_answer", "arithmetic"} <= set(presets)
    assert [part["name"] for part in presets["math"]["components"]] == ["numeric", "format"]


def test_the_page_names_needed_columns_in_words(client: FlaskClient) -> None:
    """The reference is 'an answer column'; other columns have the names used in the mapping."""
    page = " ".join(client.get("/rewards").text.split())
    assert "Needs an answer column." in page
    assert "Needs the column context." in page
    assert "Needs the columns entry_point, make_input, sizes." in page
    assert "Needs response" not in page


def test_a_completion_is_scored_with_parts_weights_and_reasons(client: FlaskClient) -> None:
    """The response has the documented format."""
    body = {"reward": MATH, "prompt": "6 x 12?", "completion": RIGHT, "row": ROW}
    found = client.post("/api/rewards/test", json=body).get_json()
    assert found["total"] == pytest.approx(1.2)
    assert found["components"]["numeric"] == {"score": 1.0, "weight": 1.0, "why": "72 matches the reference answer."}
    body["completion"] = RIGHT.replace("72<", "73<")
    assert client.post("/api/rewards/test", json=body).get_json()["components"]["numeric"]["score"] == 0


def test_own_markers_are_used(client: FlaskClient) -> None:
    """The request can include the configuration's answer tags."""
    body = {
        "reward": MATH,
        "completion": "<a>72</a>",
        "row": ROW,
        "markers": {"solution_start": "<a>", "solution_end": "</a>"},
    }
    assert client.post("/api/rewards/test", json=body).get_json()["components"]["numeric"]["score"] == 1


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"row": {"instruction": "6 x 12?"}}, 400, "row.response"),
        ({"reward": {"type": "preset", "preset_name": "meth"}}, 422, "reward.preset_name"),
        ({"reward": {"type": "composite", "components": [{"name": "nume"}]}}, 422, "reward.components.0.name"),
        (
            {"reward": {"type": "composite", "components": [{"name": "length", "params": {"minimum": "x"}}]}},
            422,
            "reward.components.0.params.minimum",
        ),
        ({"markers": {"start": "<a>"}}, 400, "markers"),
        ({"markers": {"solution_start": ""}}, 400, "markers.solution_start"),
        ({"markers": {"solution_end": "<SOLUTION>"}}, 400, "markers.solution_end"),
        ({"completion": None}, 400, "completion"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(
    client: FlaskClient, changes: dict[str, Any], status: int, field: str
) -> None:
    """A missing reference, unknown names, invalid settings, unknown tags."""
    body = {"reward": MATH, "prompt": "", "completion": RIGHT, "row": ROW, **changes}
    refused = client.post("/api/rewards/test", json=body)
    assert (refused.status_code, refused.get_json()["error"]["field"]) == (status, field)
