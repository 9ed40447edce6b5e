"""The reproduction bundle: everything another machine needs to repeat a training and compare the result.

It is one zip file. ``bundle.json`` describes the other files; ``SHA256SUMS`` covers all of them. It never contains
secrets: a configuration has no tokens, and environment variables are not recorded.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import core.rewards
from core.config import RunConfig, dump, parse
from core.data.uploads import read_info
from core.environment import environment, known_attempts
from core.errors import Conflict, TunesmithError
from core.job_dir import JobDir, iter_rows, read_json
from core.job_rows import is_metric
from core.model import local_folder
from core.rewards import CATALOGUE
from core.settings import PROJECT, Home
from core.text import whole

FORMAT = 1
INFO, SUMS = "bundle.json", "SHA256SUMS"
ROWS = ("train.jsonl", "holdout.jsonl", "test.jsonl", "info.json")
LARGEST_ROWS = 64 * 1024 * 1024
"""Bytes. Rows that can be downloaded again are included up to this size; others always."""
WEIGHTS = ("*.safetensors", "*.gguf")
UPLOAD = "upload:"
REWARDS = PROJECT / "core" / "rewards"
PIECE = 1 << 20


def never() -> bool:
    """Never stop."""
    return False


class Cancelled(Exception):
    """The caller asked to stop; nothing was left behind."""


def write_bundle(session: JobDir, target: Path, *, home: Home, stop: Callable[[], bool] = never) -> None:
    """Write one zip file with a run's inputs and results.

    Args:
        session: The run's directory in ``outputs/``.
        target: The zip file to write; it appears by one rename.
        home: Location of base models and uploads.
        stop: Called between two files and while weights are hashed.

    Raises:
        Conflict: The run has not started, so there is nothing to reproduce.
        Cancelled: ``stop`` returned true.
    """
    info = read_json(session.prepared / "info.json")
    if info is None:
        raise Conflict(
            "This run has not read its data yet, so there is nothing to reproduce. Wait until it has started training."
        )
    config = parse(session.whole_config()["config"])
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
            _fill(_Writer(archive, stop), session, config, info, home, target.name)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _fill(pack: _Writer, session: JobDir, config: RunConfig, info: dict[str, Any], home: Home, name: str) -> None:
    asked = session.read_config()
    packed = packs_rows(session, config)
    known = known_attempts(session) or [environment()]
    about = {
        "format": FORMAT,
        "name": asked["name"],
        "session_id": session.path.name,
        "created_at": asked.get("created_at", ""),
        "seed": config.training.seed,
        "dataset": dataset_facts(config, info, home) | {"rows_packed": packed},
        "model": model_facts(config, home, pack.stop),
        "start": read_json(session.start_facts),
        "environment": known[-1],
        "attempts": known,
        "environment_noted": "at the start of the run"
        if session.environment.exists()
        else "when this bundle was created",
        "state": status.word if (status := session.read_status()) else "",
    }
    pack.text("config.json", _json(dump(config)))
    pack.text("given.json", _json(asked.get("given") or dump(config)))
    pack.text("requirements.txt", _requirements(about["environment"]))
    about["reward"] = _rewards(pack, config)
    for file in ROWS if packed else ("info.json",):
        pack.file(f"data/{file}", session.prepared / file)
    pack.file("metrics.jsonl", session.metrics)
    pack.file("evaluation.json", session.path / "evaluation.json")
    pack.file("kept.json", session.kept)
    pack.text(INFO, _json(about))
    pack.text("README.md", _readme(about, config, name))
    pack.text(SUMS, "".join(f"{digest}  {file}\n" for file, digest in sorted(pack.sums.items())))


class _Writer:
    """Adds files to the archive and keeps their hashes."""

    def __init__(self, archive: zipfile.ZipFile, stop: Callable[[], bool]) -> None:
        self._archive, self.stop = archive, stop
        self.sums: dict[str, str] = {}

    def text(self, name: str, text: str) -> None:
        data = text.encode()
        self._archive.writestr(name, data)
        self.sums[name] = hashlib.sha256(data).hexdigest()

    def file(self, name: str, path: Path) -> None:
        """An unchanged file; skipped if the run did not create it."""
        if not path.is_file():
            return
        digest = hashlib.sha256()
        with path.open("rb") as source, self._archive.open(name, "w", force_zip64=True) as packed:
            for piece in pieces(source, self.stop):
                packed.write(piece)
                digest.update(piece)
        self.sums[name] = digest.hexdigest()


def packs_rows(session: JobDir, config: RunConfig) -> bool:
    """Whether the rows are included: if they are small, or not available elsewhere."""
    size = sum((session.prepared / name).stat().st_size for name in ROWS if (session.prepared / name).exists())
    sources = [config.dataset.source, *(part.source for part in config.dataset.mix)]
    return size <= LARGEST_ROWS or any(source.startswith((UPLOAD, "/", ".", "~")) for source in sources)


def dataset_facts(config: RunConfig, info: dict[str, Any], home: Home) -> dict[str, Any]:
    """Where the rows come from, how many there are, and the hash of the prepared rows.

    Args:
        config: The run's configuration.
        info: ``prepared/info.json``.
        home: Location of uploads.
    """
    sources = [config.dataset, *config.dataset.mix] if config.dataset.source != "mix" else config.dataset.mix
    return {
        "sha256": info.get("sha256"),
        "train": info.get("train"),
        "holdout": info.get("holdout"),
        "test": info.get("test"),
        "sources": [_source(one, home) for one in sources],
    }


def _source(given: Any, home: Home) -> dict[str, Any]:
    facts = {"source": given.source, "subset": given.subset, "split": given.split, "revision": given.revision}
    if given.source.startswith(UPLOAD):
        known = read_info(home.uploads / given.source.removeprefix(UPLOAD))
        if known:
            facts |= {"name": known.name, "origin": known.origin, "sha256": known.sha256, "hub": known.hub}
    return {key: value for key, value in facts.items() if value}


def model_facts(config: RunConfig, home: Home, stop: Callable[[], bool] = never) -> dict[str, Any]:
    """The base model's name, its commit if from Hugging Face, and size and SHA-256 of its files.

    ``files`` is empty if the model is no longer on this machine.
    """
    folder, commit = base_folder(config.model.name, config.model.revision, home)
    found = {path for pattern in (*WEIGHTS, "*.json", "*.jinja") for path in folder.glob(pattern)} if folder else set()
    files = {
        path.name: {"size": path.stat().st_size, "sha256": sha256_of(path, stop)} for path in sorted(found)
    }  # resolved: files of Hugging Face's cache are links
    return {"name": config.model.name, "revision": config.model.revision, "commit": commit, "files": files}


def base_folder(name: str, revision: str | None, home: Home) -> tuple[Path | None, str | None]:
    """Where a base model is on this machine, and its commit; (None, None) where it is not here."""
    try:
        folder = local_folder(name, home)
    except TunesmithError:
        return None, None
    if folder:
        return folder, None
    cached = home.cache / "hub" / "hub" / f"models--{name.replace('/', '--')}"
    asked = cached / "refs" / (revision or "main")
    commit = asked.read_text().strip() if asked.is_file() else revision or ""
    snapshot = cached / "snapshots" / commit
    return (snapshot, commit) if re.fullmatch(r"[0-9a-f]{40}", commit) and snapshot.is_dir() else (None, None)


def _rewards(pack: _Writer, config: RunConfig) -> dict[str, Any]:
    """The reward with every setting filled in, custom code as files, and the source of the built-in ones."""
    parts = core.rewards.resolve(config.reward)
    own, used = {}, {}
    for part in parts:
        if source := part.params.get("source") if part.name == "python" else None:
            own[part.key] = f"rewards/{re.sub(r'[^A-Za-z0-9-]+', '-', part.key).strip('-') or 'own'}.py"
            pack.text(own[part.key], str(source))
        for name, file in reward_sources([part.name]).items():
            if name not in used:
                used[name] = {"part": part.key, "sha256": sha256_of(file)}
                pack.file(f"rewards/source/{name}", file)
    facts = {
        "section": config.reward.model_dump(mode="json"),
        "parts": [part.model_dump(mode="json") for part in parts],
        "saved_as": config.reward.saved_as,
        "own": own,
        "source": used,
        "maximum": core.rewards.maximum(config.reward),
    }
    pack.text("rewards/reward.json", _json(facts))
    return facts


def reward_sources(names: Iterable[str]) -> dict[str, Path]:
    """Source files of built-in rewards, including their imports, by path below ``core/rewards``."""
    todo = [path for name in names if (path := _defined_in(name))]
    found: dict[str, Path] = {}
    while todo:
        path = todo.pop()
        name = path.relative_to(REWARDS).as_posix()
        if name not in found:
            found[name] = path
            todo += _used_by(path)
    return dict(sorted(found.items()))


def _defined_in(name: str) -> Path | None:
    info = CATALOGUE[name]
    file = inspect.getsourcefile(inspect.unwrap(info.batch or info.function))
    path = Path(file).resolve() if file else None
    return path if path and path.is_relative_to(REWARDS) else None


def _used_by(path: Path) -> list[Path]:
    """Files below ``core/rewards`` that a file imports; not what only lists and describes rewards."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("core.rewards"):
            module = str(node.module)
            named |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    found = []
    for module in named - {"core.rewards", "core.rewards.info"}:
        place = REWARDS.joinpath(*module.split(".")[2:])
        found += [place.with_suffix(".py")] if place.with_suffix(".py").is_file() else sorted(place.glob("*.py"))
    return found


def training_rewards(path: Path) -> dict[int, float]:
    """Mean reward by step from ``metrics.jsonl``; for repeated steps, the latest."""
    return {
        int(row["step"]): float(row["reward"])
        for row in iter_rows(path, is_metric)
        if row.get("phase") == "training" and "reward" in row
    }


def sha256_of(path: Path, stop: Callable[[], bool] = never) -> str:
    """Of a file's content. Raises Cancelled."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in pieces(file, stop):
            digest.update(piece)
    return digest.hexdigest()


def pieces(file: Any, stop: Callable[[], bool]) -> Iterator[bytes]:
    """A file in pieces of a mebibyte; raises Cancelled as soon as ``stop`` says so."""
    while piece := file.read(PIECE):
        if stop():
            raise Cancelled
        yield piece


def _requirements(found: dict[str, Any]) -> str:
    # A local build tag ('+cpu') is not a version on an index.
    lines = (f"{name}=={str(version).partition('+')[0]}\n" for name, version in found["packages"].items())
    return f"# Python {found['python']}, {found['platform']}\n{''.join(lines)}"


def ran_on(found: dict[str, Any]) -> str:
    """Hardware and system of an environment in a line."""
    ran = found["hardware"]
    memory = f"{ran['memory_bytes'] / 2**30:.0f} GiB"
    return f"{ran['name']} ({ran['kind']}), {ran['cores']} cores, {memory}; {found['platform']}"


def versions_line(found: dict[str, Any]) -> str:
    """The versions that matter most of an environment in a line."""
    names = ("torch", "transformers", "trl", "peft", "llama-cpp-python")
    installed = (f"{name} {found['packages'][name]}" for name in names if name in found["packages"])
    return ", ".join((f"Python {found['python']}", *installed))


def _json(data: Any) -> str:
    return whole(json.dumps(data, ensure_ascii=False, indent=1)) + "\n"


def _start_line(start: dict[str, Any] | None) -> str:
    """The earlier run that it went on from, which the bundle does not contain."""
    if not start:
        return ""
    step = f", step {start['step']}" if start.get("step") is not None else ""
    words = f"the run '{start.get('name', '')}' (`{start.get('reference', '')}`{step}), which must be on the machine"
    return f"| Continues from | {words} |\n"


def _readme(about: dict[str, Any], config: RunConfig, name: str) -> str:
    data, model, began = about["dataset"], about["model"], _start_line(about.get("start"))
    rows = (
        "The rows are in `data/`, split as in the run."
        if data["rows_packed"]
        else "The rows are not included. They are read again from their source, and their hash is compared."
    )
    return f"""# {about["name"]}: a training to run again

    flask --app flask_app reproduce {name}

in a folder where Tunesmith is set up. It checks every file of this bundle, says in what this machine differs from
the one that the training ran on, trains in the foreground, and compares the reward of every step at the end.

| | |
|---|---|
{began}| Base model | {model["name"]}{f", commit {model['commit']}" if model["commit"] else ""} |
| Data | {", ".join(one["source"] for one in data["sources"])}: {data["train"]} rows, {data["holdout"]} held out |
| Prepared rows, SHA-256 | `{data["sha256"]}` |
| Reward | {", ".join(f"{part['label'] or part['name']} × {part['weight']:g}" for part in about["reward"]["parts"])} |
| Seed | {about["seed"]} |
| Ran on | {ran_on(about["environment"])} |
| Versions | {versions_line(about["environment"])} |

On a CPU with the same versions the rewards are the same, step for step. On a GPU, or with other versions, they come
close and differ in the last digits first.

{rows} The versions above were noted {about["environment_noted"]}.

- `config.json` the complete configuration; `given.json` what a person had set of it
- `requirements.txt` every installed package with its version
- `rewards/` the reward with every setting, own Python, and the source of the built-in parts
- `metrics.jsonl` a row for each step; `evaluation.json` the comparison on held-out rows, where there was one;
  `kept.json` the best evaluation, where it decides about the result
- `bundle.json` all of this for programs; `SHA256SUMS` for `sha256sum -c SHA256SUMS`
"""
