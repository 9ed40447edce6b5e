"""Training from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import PROJECT, Home, Settings
from flask_app import create_app
from services.jobs.launcher import LocalLauncher
from tests.conftest import SUPPORT, tiny
from tests.support.live import PATIENCE, Live, held


@pytest.fixture
def live(home: Home) -> Iterator[Live]:
    server = Live(home.root)
    yield server
    server.close()


def command(home: Home, *arguments: str) -> subprocess.Popen[str]:
    env = {"PATH": os.environ["PATH"], "TUNESMITH_HOME": str(home.root)}
    line = [sys.executable, "-m", "flask", "--app", "tests.support.server:command_app", *arguments]
    return subprocess.Popen(line, cwd=PROJECT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said(process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=PATIENCE)
    return text


def here(settings: Settings, *arguments: str) -> tuple[int, str]:
    """The exit code and output of a command, run in this process."""
    app = create_app(settings, launcher=LocalLauncher(settings, SUPPORT / "fake_worker.py"))
    done = app.test_cli_runner().invoke(args=arguments)
    app.extensions["tunesmith"].close()
    return done.exit_code, done.output


def config_file(folder: Path, text: str | None = None, **training: int) -> str:
    path = folder / "run.json"
    path.write_text(text if text is not None else json.dumps(tiny("from a file", **training)))
    return str(path)


def test_train_runs_to_the_end_and_shows_a_table(home: Home, tmp_path: Path) -> None:
    """Without a server it uses its own watcher; the server finds the run later."""
    process = command(home, "train", config_file(tmp_path))
    text = said(process)
    assert process.returncode == 0, text
    assert "training" in text
    assert "6 of 6" in text
    assert "Reward in training, first to last  0.010 to 0.060" in text


def test_train_hands_the_run_to_a_server_that_is_there(live: Live, home: Home, tmp_path: Path) -> None:
    """The run is followed on the server."""
    live.start()
    process = command(home, "train", config_file(tmp_path))
    text = said(process)
    assert process.returncode == 0, text
    sessions = live.ask("GET", "/api/training/sessions")["sessions"]
    assert [(run["name"], run["status"]) for run in sessions] == [("from a file", "completed")]


def test_a_reward_that_can_be_fooled_needs_a_flag(settings: Settings, home: Home, tmp_path: Path) -> None:
    """Refused with the reason and the flag's name; with the flag it runs."""
    parts = {"type": "composite", "components": [{"name": "length"}]}
    file = config_file(tmp_path, json.dumps({**tiny("fooled"), "reward": parts}))
    code, text = here(settings, "train", file)
    assert code == 1, text
    assert "has loopholes" in text
    assert "--confirm-reward" in text
    assert list(home.outputs.iterdir()) == []
    assert "6 of 6" in here(settings, "train", "--confirm-reward", file)[1]


def test_ctrl_c_stops_with_a_checkpoint_and_waits(home: Home, tmp_path: Path) -> None:
    """The run is stopped, not lost."""
    with held(home.root):
        process = command(home, "train", config_file(tmp_path))
        assert process.stdout
        lines = iter(process.stdout)
        text = next(line for line in lines if "training" in line)
        process.send_signal(signal.SIGINT)
        text += "".join(lines)
        assert process.wait(PATIENCE) == 3, text
        process.stdout.close()
    assert "with a checkpoint" in text
    status = json.loads(next(home.outputs.glob("*/status.json")).read_text())
    assert status["state"] == "stopped"
    assert status["checkpoint_step"] == status["step"]


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"name": "x",\n\n "model" 5}', "line 3"), (json.dumps({**tiny(), "modell": 1}), "modell: there is no field")],
)
def test_a_wrong_file_is_refused_in_a_sentence(
    settings: Settings, home: Home, tmp_path: Path, text: str, words: str
) -> None:
    """The message names the line or field, and nothing is started."""
    code, answer = here(settings, "train", config_file(tmp_path, text))
    assert code == 1
    assert words in answer
    assert "Traceback" not in answer
    assert list(settings.home.outputs.iterdir()) == []


def test_merge_follows_the_export_of_an_adapter_folder(settings: Settings, home: Home, tmp_path: Path) -> None:
    """Until it ends, then prints where the files are; a folder without an adapter is refused with a message."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    code, text = here(settings, "merge", str(folder), "builtin:smollm2-135m-instruct")
    assert code == 1
    assert "There is no adapter in" in text
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"")
    with held(home.root):  # The first stage is held until it has been read.
        process = command(home, "merge", str(folder), "builtin:smollm2-135m-instruct", "--as", "gguf", "-q", "q4_k_m")
        assert process.stdout
        text = ""
        while "stage 1 of 2" not in text and (line := process.stdout.readline()):
            text += line
    text += said(process)
    assert process.returncode == 0, text
    assert "stage 1 of 2" in text
    assert "model.gguf  256 bytes" in text
    assert next(home.exports.glob("*/files/model.gguf")).is_file()


def test_rebuild_finds_the_runs_on_disk(settings: Settings, home: Home, tmp_path: Path) -> None:
    """After the database is lost."""
    assert "6 of 6" in here(settings, "train", config_file(tmp_path))[1]
    for file in home.root.glob("catalogue.db*"):
        file.unlink()
    code, text = here(settings, "rebuild")
    assert "1 job found" in text
    assert code == 0
