"""A run, its bundle, and the same run repeated in another home folder."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from core.errors import Conflict, InvalidInput
from core.job import JobState
from core.job_dir import JobDir
from core.model import Device
from core.reproduce import Cancelled, reward_sources, training_rewards, write_bundle
from core.rerun import compare, differences, read_bundle
from core.settings import PROJECT, Home
from tests.training.worker_runs import TINY, changed, make_run, work

pytestmark = pytest.mark.usefixtures("own_signals")
QUICK = {"training__seed": 7, "training__max_steps": 4, "training__rollout_engine": "transformers"}
OWN = "def reward(completion, prompt, row):\n    return min(1.0, len(completion) / 100), 'its length'\n"


@pytest.fixture(scope="module")
def bundled(models: Home, tmp_path_factory: pytest.TempPathFactory) -> tuple[JobDir, Path]:
    """A finished run and its bundle."""
    with pytest.MonkeyPatch.context() as patch:
        run = make_run(models, "to-reproduce", changed(TINY, **QUICK))
        assert work(run, patch, models) == JobState.COMPLETED
    file = tmp_path_factory.mktemp("bundle") / "tiny-bundle.zip"
    write_bundle(run, file, home=models)
    return run, file


@pytest.fixture
def elsewhere(models: Home, tmp_path: Path) -> Home:
    """Another installation, with the same base models and nothing else."""
    home = Home(tmp_path / "elsewhere")
    home.make()
    (home.cache / "models").symlink_to(models.cache / "models")
    return home


def test_one_command_gives_the_same_rewards(bundled: tuple[JobDir, Path], elsewhere: Home) -> None:
    """The real command in a fresh home folder: each step of the real worker earns the same reward."""
    run, file = bundled
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "flask_app", "reproduce", str(file)],
        cwd=PROJECT, env={"PATH": os.environ["PATH"], "TUNESMITH_HOME": str(elsewhere.root)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all file hashes match" in done.stdout
    assert "versions and hardware match" in done.stdout
    assert "All 4 steps have the same reward" in done.stdout
    again = JobDir(next(path for path in elsewhere.outputs.iterdir()))
    assert training_rewards(again.metrics) == training_rewards(run.metrics)
    assert len(set(training_rewards(run.metrics).values())) > 1


def test_what_a_bundle_holds(bundled: tuple[JobDir, Path], tmp_path: Path) -> None:
    """Configuration twice, versions, hashes of rows and base, reward with its source, seed, hardware, metrics."""
    run, file = bundled
    bundle = read_bundle(file, tmp_path)
    about = bundle.about
    assert bundle.given == run.read_config()["given"]
    assert about["seed"] == 7
    assert about["environment"]["packages"]["torch"] == importlib.metadata.version("torch")
    assert "llama-cpp-python" in about["environment"]["packages"]
    assert about["environment"]["hardware"]["memory_bytes"] > 0
    assert about["dataset"]["sha256"] == json.loads((run.prepared / "info.json").read_text())["sha256"]
    assert (tmp_path / "data" / "train.jsonl").read_text() == (run.prepared / "train.jsonl").read_text()
    assert len(about["model"]["files"]["model.safetensors"]["sha256"]) == 64
    assert (tmp_path / "rewards" / "source" / "form.py").is_file()
    assert (tmp_path / "metrics.jsonl").read_bytes() == run.metrics.read_bytes()
    assert "flask --app flask_app reproduce tiny-bundle.zip" in (tmp_path / "README.md").read_text()
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True, check=False)
    assert checked.returncode == 0


def test_what_a_reward_uses_is_part_of_its_source() -> None:
    """A change in how numbers are read affects scores like one in the reward itself; so do the sandbox's files."""
    assert {"numeric.py", "numbers.py", "answers.py"} == set(reward_sources(["numeric"]))
    assert {"maths.py", "boxed_code.py", "sandbox/guest.py"} < set(reward_sources(["math", "python"]))


def test_own_python_is_a_separate_file(models: Home, tmp_path: Path) -> None:
    """As it was when the run was started."""
    part = {"name": "python", "label": "how long", "params": {"source": OWN}}
    reward = {"type": "composite", "components": [part], "saved_as": "how-long@2"}
    run = make_run(models, "own-reward", changed(TINY, reward=reward))
    run.prepared.mkdir()
    for name, text in (("train.jsonl", "{}\n"), ("holdout.jsonl", ""), ("info.json", '{"sha256": ""}')):
        (run.prepared / name).write_text(text)
    write_bundle(run, tmp_path / "own.zip", home=models)
    with zipfile.ZipFile(tmp_path / "own.zip") as archive:
        assert archive.read("rewards/how-long.py").decode() == OWN
        assert json.loads(archive.read("rewards/reward.json"))["saved_as"] == "how-long@2"


def test_differences_are_named(bundled: tuple[JobDir, Path], elsewhere: Home, tmp_path: Path) -> None:
    """Another version, machine or base model is reported; causes of different numbers come first."""
    bundle = read_bundle(bundled[1], tmp_path)
    then = bundle.about["environment"]
    then["packages"]["torch"] = "1.0"
    then["packages"]["flask"] = "0.1"
    then["hardware"]["cores"] = 999
    then["program"]["converter"] = "missing" if then["program"]["converter"] == "installed" else "installed"
    bundle.about["model"]["files"]["model.safetensors"]["sha256"] = "0" * 64
    found = differences(bundle, bundle.config, elsewhere, Device("cpu", "any", 1, 1, False))
    said = [str(one) for one in found]
    assert [one.decisive for one in found] == [True, True, True, True, False]
    assert any(line.startswith("llama.cpp's converter, for faster answers: ") for line in said)
    assert any(line.startswith("torch: 1.0 in the original run") for line in said)
    assert any("model.safetensors: 000000000000 in the original run" in line for line in said)
    assert any("cores" in line for line in said)
    assert "flask 0.1" in said[-1]


@pytest.mark.parametrize("harm", ["changed", "added", "cut", "outside", "no bundle"])
def test_a_damaged_bundle_is_refused_with_a_message(bundled: tuple[JobDir, Path], tmp_path: Path, harm: str) -> None:
    """And nothing is written outside the target folder."""
    file = tmp_path / "harmed.zip"
    with zipfile.ZipFile(bundled[1]) as archive, zipfile.ZipFile(file, "w") as other:
        for name in archive.namelist():
            data = archive.read(name)
            if harm == "no bundle" and name == "bundle.json":
                continue
            other.writestr(name, data + b" " if harm == "changed" and name == "config.json" else data)
        if harm in {"added", "outside"}:
            other.writestr("more.txt" if harm == "added" else "../out.txt", "x")
    if harm == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    folder = tmp_path / "inner"
    folder.mkdir()
    with pytest.raises(InvalidInput) as refused:
        read_bundle(file, folder)
    words = {"changed": "config.json", "added": "more.txt", "cut": "Copy it again", "outside": "not allowed"}
    assert words.get(harm, "not a reproduction bundle") in refused.value.message
    assert not (tmp_path / "out.txt").exists()


def test_a_run_that_has_not_begun_and_a_writing_that_is_canceled(models: Home, tmp_path: Path) -> None:
    """Nothing is left in either case."""
    run = make_run(models, "not-begun", TINY)
    with pytest.raises(Conflict, match="not read its data yet"):
        write_bundle(run, tmp_path / "no.zip", home=models)
    run.prepared.mkdir()
    (run.prepared / "info.json").write_text("{}")
    with pytest.raises(Cancelled):
        write_bundle(run, tmp_path / "no.zip", home=models, stop=lambda: True)
    assert list(tmp_path.iterdir()) == []


def test_different_curves_are_described() -> None:
    """How many steps match, which is the first that does not, and the largest difference."""
    found = compare({1: 0.5, 2: 0.25, 3: 1.0}, {1: 0.5, 2: 0.75, 4: 0.0})
    assert not found.equal
    assert "1 of 2 steps have the same reward" in found.words()
    assert "step 2: 0.2500 in the original run, 0.7500 now" in found.words()
    assert "2 steps are in only one of the two runs" in found.words()
