"""Exports sent to an Ollama server and to the Hub, with the real processes and the Hub's own client."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from huggingface_hub import ModelCard

from core.config import dump, parse
from core.job import Control, JobState, JobStatus
from core.job_dir import JobDir, JsonlWriter, write_json
from core.settings import Home, Settings
from flask_app import create_app
from services.exports import deliveries
from services.jobs.rebuild import rebuild
from tests.conftest import Browser, tiny
from tests.support.hub import TOKEN, Repo
from tests.support.hub_uploads import PIECE, UploadHub
from tests.support.live import PATIENCE, gone, until
from tests.support.ollama import OllamaServer

SESSION, EXPORT, BROKEN = "20260101-120000-aaaaaa", "20260101-130000-bbbbbb", "20260101-140000-cccccc"
MODELFILE = '''FROM ./sums-Q4_K_M.gguf

TEMPLATE """{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""

PARAMETER stop "<|im_end|>"
PARAMETER stop "<|endoftext|>"
PARAMETER temperature 0.7

SYSTEM """Give the result between
<SOLUTION> and </SOLUTION>."""
LICENSE """Apache-2.0"""
'''
GGUF = b"GGUF" + bytes(range(256)) * 4000


@dataclass
class Outside:
    """An application with a local Ollama server and Hub."""

    app: Flask
    ollama: OllamaServer
    hub: UploadHub
    home: Home

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def send(self, **body: Any) -> Any:
        return self.client.post(f"/api/exports/{EXPORT}/deliveries", json=body)

    def look(self, number: int = 1) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/api/exports/{EXPORT}/deliveries/{number}").get_json()
        return found

    def ended(self, number: int = 1) -> dict[str, Any]:
        return until(lambda: self.look(number), lambda found: not found["active"])


def lay_out(home: Home) -> None:
    """A finished run and its finished export, as their workers write them."""
    session = JobDir(home.outputs / SESSION)
    session.prepared.mkdir(parents=True)
    config = tiny("sums | and more")
    created = {"created_at": "2026-01-01T12:00:00+00:00"}
    write_json(session.config, {"kind": "train", "name": config["name"], **created, "config": dump(parse(config)),
                                "given": config})  # fmt: skip
    session.write_control(Control())
    session.write_status(JobStatus(state=JobState.COMPLETED, step=6, max_steps=6))
    write_json(session.prepared / "info.json", {"sha256": "ef" * 32, "train": 57, "holdout": 7, "test": 0})
    (session.prepared / "holdout.jsonl").write_text('{"instruction": "What is 4 + 5?", "response": "9"}\n')
    rows = JsonlWriter(session.metrics)
    for step, reward in ((0, 0.125), (6, 0.75)):
        rows.append({"phase": "evaluation", "step": step, "reward": reward, "samples": 7, "attempt": 1, "time": 0.0})
    rows.close()
    for name, state in ((EXPORT, JobState.COMPLETED), (BROKEN, JobState.FAILED)):
        run = JobDir(home.exports / name)
        run.files.mkdir(parents=True)
        write_json(run.config, {"kind": "export", "session_id": SESSION, "format": "gguf", "quantization": "q4_k_m",
                                "name": "sums", **created})  # fmt: skip
        run.write_control(Control())
        (run.files / "sums-Q4_K_M.gguf").write_bytes(GGUF)
        (run.files / "Modelfile").write_text(MODELFILE)
        files = [
            {"name": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in sorted(run.files.iterdir())
        ]
        report = {
            "subject": "Q4_K_M", "verdict": "loses_quality", "reason": "It earns less.", "prompts": 7,
            "top1_agreement": 0.91, "mean_kl": 0.02, "reward_drop": 0.1, "reward_drop_low": 0.01,
            "reward_drop_high": 0.2,
        }  # fmt: skip
        commands = [{"title": "Ollama", "text": "ollama run sums"}]
        if state is JobState.COMPLETED:  # it is written last, so a failed export has none
            write_json(run.result, {"files": files, "commands": commands, "fidelity": [report]})
        run.write_status(JobStatus(state=state, step=1, max_steps=1))


@pytest.fixture
def outside(home: Home, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    lay_out(home)
    monkeypatch.setattr(deliveries, "QUICK", PATIENCE)  # The server may be slow on a busy machine.
    with OllamaServer() as ollama, UploadHub({}) as hub:
        told = replace(settings, ollama_host=ollama.address, hf_token=TOKEN, hf_endpoint=hub.endpoint)
        app = create_app(told)
        services = app.extensions["tunesmith"]
        rebuild(home, services.database)
        yield Outside(app, ollama, hub, home)
        services.close()


def test_an_export_becomes_a_model_in_ollama_and_answers(outside: Outside) -> None:
    """The blob is stored under its hash, the create request has the Modelfile's parts, and the model answers."""
    assert outside.client.get("/api/deliveries/targets").get_json()["ollama"]["version"] == "0.12.6"
    response = outside.send(to="ollama", name="sums:v1")
    assert response.status_code == 202, response.get_json()
    ended = outside.ended()
    assert (ended["status"], ended["error"]) == ("done", "")
    digest = f"sha256:{hashlib.sha256(GGUF).hexdigest()}"
    assert outside.ollama.blobs == {digest: GGUF}
    made = outside.ollama.models["sums:v1"]
    assert made["files"] == {"sums-Q4_K_M.gguf": digest}
    assert made["parameters"] == {"stop": ["<|im_end|>", "<|endoftext|>"], "temperature": 0.7}
    assert made["system"] == "Give the result between\n<SOLUTION> and </SOLUTION>."
    assert made["template"].endswith("<|im_start|>assistant\n")
    assert made["license"] == ["Apache-2.0"]
    assert ended["question"] == "What is 4 + 5?"
    assert ended["answer"].strip() == "[Give the] 1 turns, last: What is 4 + 5?"
    assert ended["command"] == "ollama run sums:v1"
    assert ended["bytes"] == ended["total_bytes"] == len(GGUF)


def test_the_conversation_there_goes_on(outside: Outside) -> None:
    """Each turn includes the previous ones and is saved."""
    outside.send(to="ollama", name="sums")
    outside.ended()
    answer = outside.client.post(f"/api/exports/{EXPORT}/deliveries/1/chat", json={"message": "And 5 + 5?"})
    assert [turn["role"] for turn in answer.get_json()["messages"]] == ["user", "assistant"] * 2
    assert answer.get_json()["messages"][-1]["content"].strip() == "[Give the] 3 turns, last: And 5 + 5?"
    assert outside.look()["messages"] == answer.get_json()["messages"]
    assert outside.client.post(f"/api/exports/{EXPORT}/deliveries/1/chat", json={"message": " "}).status_code == 400


def test_a_model_of_that_name_is_replaced_only_on_request(outside: Outside) -> None:
    """A file that is already there is not sent again."""
    outside.send(to="ollama", name="sums")
    outside.ended()
    outside.send(to="ollama", name="sums")
    refused = outside.ended(2)
    assert refused["status"] == "failed"
    assert "already has a model sums" in refused["error"]
    assert refused["taken"]
    outside.client.post(f"/api/exports/{EXPORT}/deliveries/2/resume", json={"replace": True})
    assert outside.ended(2)["status"] == "done"
    assert sum(method == "POST" and path.startswith("/api/blobs/") for method, path in outside.ollama.calls) == 1


def test_ollamas_reason_for_a_refusal_is_passed_on(outside: Outside) -> None:
    """A file that is not a GGUF, a file changed after the export, an adapter that Ollama does not accept."""
    path = outside.home.exports / EXPORT / "files" / "sums-Q4_K_M.gguf"
    path.write_bytes(b"JUNK" + GGUF[4:])
    outside.send(to="ollama", name="sums")
    assert "has changed since it was exported" in outside.ended()["error"]
    path.write_bytes(GGUF)
    outside.ollama.adapters = False
    outside.send(to="ollama", name="sums", base="smollm2:135m")
    assert "LoRA adapters are no longer supported" in outside.ended(2)["error"]
    assert outside.ollama.models == {}


def test_an_adapter_names_its_base(outside: Outside) -> None:
    """Where Ollama accepts adapters, it is applied to the base model there."""
    outside.send(to="ollama", name="sums-adapter", base="smollm2:135m")
    assert outside.ended()["status"] == "done"
    made = outside.ollama.models["sums-adapter"]
    assert (made["from"], list(made["adapters"])) == ("smollm2:135m", ["sums-Q4_K_M.gguf"])
    assert "files" not in made


@pytest.mark.parametrize("to", ["ollama", "hub"])
def test_sending_is_canceled_and_taken_up_again(outside: Outside, to: str) -> None:
    """A partial upload is not visible there; the second attempt completes."""
    outside.ollama.go.clear()
    outside.hub.go.clear()
    outside.send(to=to, name="sums")
    until(outside.look, lambda found: found["bytes"] > 0 and found["message"].startswith(("Sending", "Uploading")))
    kept = outside.client.delete(f"/api/exports/{EXPORT}")
    assert (kept.status_code, "being sent as sums" in kept.get_json()["error"]["message"]) == (409, True)
    cancelled = outside.client.post(f"/api/exports/{EXPORT}/deliveries/1/cancel")
    assert (cancelled.status_code, cancelled.get_json()["status"]) == (202, "stopped")
    assert outside.ollama.models == {}
    assert all(repo.files == {} for repo in outside.hub.repos.values())
    outside.ollama.go.set()
    outside.hub.go.set()
    # The repository was created before the first upload and is still empty, so no confirmation is needed.
    outside.client.post(f"/api/exports/{EXPORT}/deliveries/1/resume")
    assert outside.ended()["status"] == "done"


def test_an_export_goes_to_the_hub_with_its_card(outside: Outside) -> None:
    """Private, large files by hash and in parts, published in one commit; the address is shown."""
    response = outside.send(to="hub", name="sums")
    assert response.status_code == 202, response.get_json()
    ended = outside.ended()
    assert (ended["status"], ended["error"]) == ("done", "")
    assert ended["url"] == f"{outside.hub.endpoint}/tester/sums"
    assert ended["files"] == ended["total_files"] == 2
    files = outside.hub.repos["tester/sums"].files
    assert outside.hub.visibility == {"tester/sums": "private"}
    assert files["sums-Q4_K_M.gguf"] == GGUF
    assert len(outside.hub.puts) == -(-len(GGUF) // PIECE)
    assert files["Modelfile"].decode() == MODELFILE
    head = ModelCard(files["README.md"].decode()).data.to_dict()
    assert head["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert (head["license"], head["pipeline_tag"]) == ("apache-2.0", "text-generation")
    assert {"gguf", "grpo"} <= set(head["tags"])


def test_a_repository_that_exists_is_not_written_over_unasked(outside: Outside) -> None:
    """Nothing is sent; after a confirmation, files with the same names are replaced and others stay."""
    outside.hub.repos["me/sums"] = Repo({"README.md": b"mine", "notes.txt": b"kept"}, kind="model")
    outside.send(to="hub", name="me/sums")
    refused = outside.ended()
    assert "The repository me/sums already exists on Hugging Face. Nothing was uploaded." in refused["error"]
    assert outside.hub.puts == []
    assert outside.hub.repos["me/sums"].files["README.md"] == b"mine"
    outside.client.post(f"/api/exports/{EXPORT}/deliveries/1/resume", json={"replace": True})
    assert outside.ended()["status"] == "done"
    assert outside.hub.repos["me/sums"].files["README.md"].startswith(b"---\n")
    assert outside.hub.repos["me/sums"].files["notes.txt"] == b"kept"


def test_a_token_is_required_and_never_revealed(outside: Outside, settings: Settings) -> None:
    """Without one nothing starts; a read-only one gets a clear error; it is in no file, log or response."""
    without = create_app(settings)
    answer = without.test_client().post(f"/api/exports/{EXPORT}/deliveries", json={"to": "hub", "name": "sums"})
    assert (answer.status_code, "HF_TOKEN" in answer.get_json()["error"]["message"]) == (409, True)
    without.extensions["tunesmith"].close()
    outside.hub.readonly = True
    outside.send(to="hub", name="sums")
    ended = outside.ended()
    assert "has no write access to sums" in ended["error"]
    folder = outside.home.exports / EXPORT / "deliveries" / "1"
    kept = b"".join(path.read_bytes() for path in folder.iterdir())
    assert TOKEN.encode() not in kept + json.dumps(ended).encode()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"to": "ollama", "name": "Sums Of Mine"}, 400, "lowercase letters"),
        ({"to": "hub", "name": "../sums"}, 400, "letters, digits"),
        ({"to": "hub", "name": "a/b/c"}, 400, "letters, digits"),
        ({"to": "ollama", "name": "sums", "file": "../../catalogue.db"}, 404, "no file"),
        ({"to": "disk", "name": "sums"}, 400, "to"),
    ],
)
def test_what_cannot_be_sent_is_refused(outside: Outside, body: dict[str, str], status: int, words: str) -> None:
    """With a message, and no delivery is created."""
    answer = outside.send(**body)
    assert (answer.status_code, words in answer.get_json()["error"]["message"]) == (status, True)
    assert outside.client.get(f"/api/exports/{EXPORT}/deliveries").get_json() == {"deliveries": []}


def test_an_export_that_failed_is_not_sent(outside: Outside) -> None:
    """Its files are incomplete, whatever is on the disk."""
    answer = outside.client.post(f"/api/exports/{BROKEN}/deliveries", json={"to": "ollama", "name": "sums"})
    assert (answer.status_code, "not finished" in answer.get_json()["error"]["message"]) == (409, True)


def test_a_delivery_goes_on_while_the_server_is_down(outside: Outside, settings: Settings) -> None:
    """The next server finds it finished; a killed one counts as failed; a running one protects its export."""
    outside.ollama.go.clear()
    outside.send(to="ollama", name="sums")
    outside.app.extensions["tunesmith"].close()
    outside.ollama.go.set()
    other = create_app(replace(settings, ollama_host=outside.ollama.address))
    again = replace_app(outside, other)
    assert again.ended()["status"] == "done"
    outside.ollama.go.clear()
    outside.ollama.blobs.clear()
    again.send(to="ollama", name="more")
    until(lambda: again.look(2), lambda found: found["message"].startswith(("Sending", "Uploading")))
    progress = json.loads((outside.home.exports / EXPORT / "deliveries" / "2" / "progress.json").read_text())
    os.kill(progress["pid"], 9)
    killed = again.ended(2)
    assert (killed["status"], "stopped unexpectedly" in killed["error"]) == ("failed", True)
    again.send(to="ollama", name="third")
    until(lambda: again.look(3), lambda found: found["message"].startswith(("Sending", "Uploading")))
    progress = json.loads((outside.home.exports / EXPORT / "deliveries" / "3" / "progress.json").read_text())
    refused = again.client.delete(f"/api/exports/{EXPORT}")
    assert (refused.status_code, "being sent as third" in refused.get_json()["error"]["message"]) == (409, True)
    again.client.post(f"/api/exports/{EXPORT}/deliveries/3/cancel")
    assert again.client.delete(f"/api/exports/{EXPORT}").status_code == 204
    until(lambda: gone(progress["pid"]), bool)
    other.extensions["tunesmith"].close()


def replace_app(outside: Outside, app: Flask) -> Outside:
    return Outside(app, outside.ollama, outside.hub, outside.home)


def test_the_page_offers_what_there_is(outside: Outside, home: Home, settings: Settings) -> None:
    """With a server and a token, two forms; without, what to do; and the conversation once the model is there."""
    browser = Browser(outside.app)
    page = browser.get(f"/exports/{EXPORT}").get_data(as_text=True)
    assert 'data-testid="form-ollama"' in page
    assert 'data-testid="form-hub"' in page
    browser.post(f"/exports/{EXPORT}/deliveries", form={"to": "ollama", "name": "sums"})
    outside.ended()
    browser.post(f"/exports/{EXPORT}/deliveries/1/chat", form={"message": "And 6 + 6?"})
    page = browser.get(f"/exports/{EXPORT}").get_data(as_text=True)
    assert "last: And 6 + 6?" in page
    assert "ollama run sums" in page
    without = create_app(replace(settings, ollama_host="127.0.0.1:9"))
    page = without.test_client().get(f"/exports/{EXPORT}").get_data(as_text=True)
    assert "(Connection refused). Start it with &#39;ollama serve&#39;, or set OLLAMA_HOST." in page
    assert 'data-testid="hub-missing"' in page
    without.extensions["tunesmith"].close()
