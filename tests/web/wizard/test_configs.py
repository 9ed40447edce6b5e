"""Saved configurations over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from core.settings import Home
from services.wizard.configs import PRESETS
from tests.conftest import tiny
from tests.support.multipart import send_file


def names(client: FlaskClient, *, preset: bool) -> list[str]:
    return [one["name"] for one in client.get("/api/configs/list").get_json()["configs"] if one["preset"] is preset]


def save(client: FlaskClient, name: str, config: Any) -> Any:
    # As text: the test client's own encoder sorts keys.
    body = json.dumps({"name": name, "config": config})
    return client.post("/api/configs/save", data=body, content_type="application/json")


@pytest.mark.parametrize("name", ["plain", "GSM8K: 1/2", "../../x", ".hidden", "Größe (2)", "100%", "a%2Fb"])
def test_a_configuration_comes_back_key_for_key_under_any_name(client: FlaskClient, home: Home, name: str) -> None:
    """Saved, listed, loaded, downloaded, deleted; the file is in configs/."""
    config = tiny()
    assert save(client, name, config).status_code == 200
    assert names(client, preset=False) == [name]
    loaded = client.get("/api/configs/load", query_string={"name": name}).get_json()["config"]
    assert json.dumps(loaded, sort_keys=True) == json.dumps(config, sort_keys=True)
    got = client.get("/api/configs/download", query_string={"name": name})
    assert json.loads(got.data) == config
    assert list(json.loads(got.data)) == list(config)
    assert "attachment" in got.headers["Content-Disposition"]
    assert [path.parent for path in home.root.rglob("*.json") if "tiny" in path.read_text()] == [home.configs]
    assert client.delete(f"/api/configs/{name.replace('%', '%25').replace('/', '%2F')}").status_code == 204
    assert names(client, preset=False) == []


def test_a_wrong_configuration_is_not_saved_over_a_good_one(client: FlaskClient) -> None:
    """Every problem is reported, and the saved file stays."""
    save(client, "mine", tiny())
    refused = save(client, "mine", tiny() | {"colour": "red", "dataset": {}})
    assert refused.status_code == 422
    assert {"colour", "dataset.source"} == {problem["field"] for problem in refused.get_json()["error"]["problems"]}
    assert client.get("/api/configs/load?name=mine").get_json()["config"] == tiny()


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\nb", "\x00"])
def test_an_invalid_name_is_rejected(client: FlaskClient, name: str) -> None:
    """Empty, too long or unprintable."""
    refused = save(client, name, tiny())
    assert (refused.status_code, refused.get_json()["error"]["field"]) == (400, "name")


def test_a_broken_file_is_listed_with_its_problem(client: FlaskClient, home: Home) -> None:
    """One bad file never hides the others."""
    save(client, "good", tiny())
    (home.configs / "broken.json").write_text('{"name": ')
    (home.configs / "old.json").write_text(json.dumps(tiny() | {"colour": "red"}))
    (home.configs / "binary.json").write_bytes(b"\xff\x00")
    found = {
        one["name"]: one["problem"]
        for one in client.get("/api/configs/list").get_json()["configs"]
        if not one["preset"]
    }
    assert found["good"] is None
    assert "not valid JSON" in found["broken"]
    assert "not valid JSON" in found["binary"]
    assert "colour" in found["old"]
    assert client.get("/api/configs/load?name=broken").status_code == 400


def test_renaming_keeps_everything_but_the_name(client: FlaskClient) -> None:
    """Inside the file, too; a taken name is refused and nothing is lost."""
    save(client, "tiny", tiny())
    save(client, "other", tiny("other"))
    taken = client.post("/api/configs/rename", json={"name": "tiny", "new_name": "other"})
    assert taken.status_code == 409
    assert client.post("/api/configs/rename", json={"name": "tiny", "new_name": "huge"}).status_code == 200
    assert client.get("/api/configs/load?name=huge").get_json()["config"] == tiny("huge")
    assert client.get("/api/configs/load?name=tiny").status_code == 404
    assert client.get("/api/configs/load?name=other").get_json()["config"] == tiny("other")


def test_presets_can_be_read_and_not_changed(client: FlaskClient) -> None:
    """They come with the project and cannot be changed."""
    shipped = sorted(path.stem for path in PRESETS.glob("*.json"))
    assert sorted(names(client, preset=True)) == shipped
    name = shipped[0]
    assert client.get(f"/api/configs/load?name={name}").get_json()["config"]["name"] == name
    assert client.delete(f"/api/configs/{name}").status_code == 409
    assert save(client, name, tiny()).status_code == 409
    assert client.post("/api/configs/rename", json={"name": name, "new_name": "x"}).status_code == 409
    assert sorted(path.stem for path in PRESETS.glob("*.json")) == shipped


def upload(client: FlaskClient, data: bytes) -> Any:
    return send_file(client, "/api/configs/upload", data, "c.json")


def test_a_file_is_uploaded_under_the_name_inside_it(client: FlaskClient) -> None:
    """Once; a second upload reports the conflict. A file that is not a configuration is refused."""
    data = json.dumps(tiny("brought")).encode()
    assert upload(client, data).status_code == 201
    assert upload(client, data).status_code == 409
    assert upload(client, b"{").status_code == 400
    assert upload(client, b"[]").status_code == 400
    assert upload(client, b'{"name": "x"}').status_code == 422
    assert upload(client, b" " * (2 << 20)).status_code == 413
    assert client.post("/api/configs/upload", data={}).status_code == 400
    assert names(client, preset=False) == ["brought"]


def test_validating_tells_problems_and_notes_apart(client: FlaskClient) -> None:
    """Nothing is saved; a problem has its path, and a setting without effect is a note."""
    fine = client.post("/api/configs/validate", json={"config": tiny()}).get_json()
    assert fine["problems"] == []
    wrong = client.post("/api/configs/validate", json={"config": tiny(learning_rate=-1)}).get_json()
    assert [problem["field"] for problem in wrong["problems"]] == ["training.learning_rate"]
    unknown = tiny() | {"reward": {"type": "preset", "preset_name": "meth"}}
    found = client.post("/api/configs/validate", json={"config": unknown}).get_json()["problems"]
    assert [problem["field"] for problem in found] == ["reward.preset_name"]
    noted = client.post("/api/configs/validate", json={"config": tiny(num_epochs=3)}).get_json()["notes"]
    assert "training.num_epochs" in [note["field"] for note in noted]
    assert names(client, preset=False) == []


@pytest.mark.parametrize("text", ["[" * 100_000, '{"config":' + '{"a":' * 900 + "1" + "}" * 900 + "}"])
def test_deeply_nested_json_is_rejected(client: FlaskClient, text: str) -> None:
    """As a client error, not a server error."""
    for path in ("training/start", "configs/save"):
        refused = client.post(f"/api/{path}", data=text, content_type="application/json")
        assert 400 <= refused.status_code < 500
        assert (refused.json or {})["error"]["message"]
