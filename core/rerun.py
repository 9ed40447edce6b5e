"""Reads a reproduction bundle on another machine: checks it, lists differences, and compares results."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import RunConfig, parse
from core.environment import DECISIVE, environment
from core.errors import InvalidInput
from core.model import Device
from core.reproduce import FORMAT, INFO, PIECE, ROWS, SUMS, base_folder, reward_sources, sha256_of, training_rewards
from core.settings import Home
from core.text import json_line

LARGEST = 64 * 1024**3
"""Bytes that a bundle may unpack to."""
SAME = 1e-9
"""Rewards are read back from JSON; smaller differences are ignored."""
_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){0,3}")


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        folder: Where it was unpacked.
        about: ``bundle.json``.
        config: The configuration of the run.
    """

    folder: Path
    about: dict[str, Any]
    config: RunConfig

    @property
    def given(self) -> dict[str, Any]:
        """The configuration as a user gave it."""
        data: dict[str, Any] = json.loads((self.folder / "given.json").read_text("utf-8"))
        return data

    @property
    def rows(self) -> Path | None:
        """The folder with the prepared rows, or None if they must be read from their source again."""
        return self.folder / "data" if (self.folder / "data" / ROWS[0]).is_file() else None

    def rewards(self) -> dict[int, float]:
        """Mean reward by step of the original run."""
        return training_rewards(self.folder / "metrics.jsonl")


@dataclass(frozen=True)
class Difference:
    """A difference between the machines. ``decisive``: results may differ because of it."""

    what: str
    then: str
    now: str
    decisive: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {self.then} in the original run, {self.now} here"


@dataclass(frozen=True)
class Comparison:
    """Two reward curves.

    Attributes:
        steps: Number of shared steps.
        same: How many of them have the same reward.
        first: The first step that differs: (step, then, now), or None.
        largest: Largest difference of a step.
        then, now: Mean reward over the shared steps.
        missing: Steps that only one of the two has.
    """

    steps: int
    same: int
    first: tuple[int, float, float] | None
    largest: float
    then: float
    now: float
    missing: int

    @property
    def equal(self) -> bool:
        return self.steps > 0 and self.same == self.steps and not self.missing

    def words(self) -> str:
        """The outcome in one or two sentences."""
        if not self.steps:
            return "The two runs have no step in common, so they cannot be compared."
        if self.equal:
            return f"All {self.steps} steps have the same reward (mean {self.now:.4f}). The training was reproduced."
        told = f"{self.missing} steps are in only one of the two runs. " if self.missing else ""
        if self.first:
            step, then, now = self.first
            told += (
                f"{self.same} of {self.steps} steps have the same reward. The first difference is at step {step}: "
                f"{then:.4f} in the original run, {now:.4f} now. The largest difference is {self.largest:.4f}. "
            )
        return f"{told}Mean reward: {self.then:.4f} in the original run, {self.now:.4f} now."


def read_bundle(file: Path, folder: Path) -> Bundle:
    """Unpack a bundle and check every file against its hash.

    Args:
        file: The zip file.
        folder: An empty folder to unpack to; nothing is written outside it.

    Raises:
        InvalidInput: It is not a bundle, is damaged, or is from a newer version.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _unpack(archive, folder)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise InvalidInput(f"{file.name} is not a complete zip file: {error}. Copy it again.") from None
    _check_sums(file.name, folder)
    about: dict[str, Any] = json.loads((folder / INFO).read_text("utf-8"))
    if about.get("format") != FORMAT:
        raise InvalidInput(
            f"{file.name} was written by a newer version of Tunesmith. Update Tunesmith, then try again."
        )
    return Bundle(folder, about, parse(json.loads((folder / "config.json").read_text("utf-8"))))


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    entries = archive.infolist()
    if INFO not in archive.namelist() or SUMS not in archive.namelist():
        raise InvalidInput("This is not a reproduction bundle: bundle.json or SHA256SUMS is missing.")
    if sum(entry.file_size for entry in entries) > min(LARGEST, shutil.disk_usage(folder).free):
        raise InvalidInput("There is not enough disk space to unpack this bundle. Free some space, then try again.")
    for entry in entries:
        if not _NAME.fullmatch(entry.filename) or ".." in entry.filename:
            raise InvalidInput(f"The bundle contains a file named {entry.filename!r:.80}, which is not allowed.")
        target = folder / entry.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file, PIECE)


def _check_sums(name: str, folder: Path) -> None:
    lines = (line.split("  ", 1) for line in (folder / SUMS).read_text("utf-8").splitlines() if "  " in line)
    wanted = {file: digest for digest, file in lines}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {SUMS}
    wrong = [file for file in sorted(there & set(wanted)) if sha256_of(folder / file) != wanted[file]]
    wrong += sorted(there ^ set(wanted))
    if wrong:
        raise InvalidInput(f"{name} is damaged or was changed: the hash of {', '.join(wrong[:5])} does not match.")


def differences(bundle: Bundle, config: RunConfig, home: Home, device: Device) -> list[Difference]:
    """Differences from the bundle's machine: base model, rewards, versions, hardware; decisive ones first.

    Args:
        bundle: From another machine.
        config: What will be run: the bundle's, with another base model's place where one was given.
        home: Of this installation.
        device: This machine's device.
    """
    then, now = bundle.about["environment"], environment(device)
    found = [*_model(bundle, config, home), *_rewards(bundle), *_packages(then["packages"], now["packages"])]
    for what, title in (("code", "Tunesmith's code"), ("converter", "llama.cpp's converter, for faster answers")):
        was, is_ = then.get("program", {}).get(what), now["program"][what]
        if was not in {None, is_}:  # None: a bundle of an older version
            found.append(Difference(title, was[:12], is_[:12]))
    for what, decisive in (("python", False), ("platform", False), ("machine", True)):
        if then[what] != now[what]:
            found.append(Difference(what.capitalize(), then[what], now[what], decisive))
    for what in ("kind", "name", "cores"):
        was, is_ = then["hardware"].get(what), now["hardware"].get(what)
        if was != is_:
            found.append(Difference(f"Hardware ({what})", str(was), str(is_)))
    return sorted(found, key=lambda one: not one.decisive)


def _model(bundle: Bundle, config: RunConfig, home: Home) -> list[Difference]:
    then = bundle.about["model"]["files"]
    folder, _ = base_folder(config.model.name, config.model.revision, home)
    if folder is None:
        return [
            Difference(
                "Base model", config.model.name, "not on this machine yet; it will be downloaded when training starts"
            )
        ]
    return [
        Difference(f"Base model, {name}", _short_digest(facts["sha256"]), _short_digest(now))
        for name, facts in then.items()
        if (now := sha256_of(folder / name) if (folder / name).is_file() else None) != facts["sha256"]
    ]


def _rewards(bundle: Bundle) -> list[Difference]:
    files = reward_sources(part["name"] for part in bundle.about["reward"]["parts"])
    return [
        Difference(f"Source of the rewards, {name}", _short_digest(facts["sha256"]), _short_digest(now))
        for name, facts in bundle.about["reward"]["source"].items()
        if (now := sha256_of(files[name]) if name in files else None) != facts["sha256"]
    ]


def _packages(then: dict[str, str], now: dict[str, str]) -> list[Difference]:
    found = [
        Difference(name, then.get(name, "not installed"), now.get(name, "not installed"))
        for name in DECISIVE
        if then.get(name) != now.get(name)
    ]
    others = sorted(name for name in {*then, *now} - set(DECISIVE) if then.get(name) != now.get(name))
    if others:
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        was = ", ".join(f"{name} {then.get(name, 'absent')}" for name in others[:4])
        is_ = ", ".join(f"{name} {now.get(name, 'absent')}" for name in others[:4])
        found.append(Difference("Other packages", was + more, is_ + more, decisive=False))
    return found


def compare(then: dict[int, float], now: dict[int, float]) -> Comparison:
    """Two reward curves, step by step.

    >>> compare({1: 0.5, 2: 0.25}, {1: 0.5, 2: 0.75}).first
    (2, 0.25, 0.75)
    """
    shared = sorted(then.keys() & now.keys())
    apart = [(step, then[step], now[step]) for step in shared if abs(then[step] - now[step]) > SAME]
    count = max(1, len(shared))
    return Comparison(
        steps=len(shared),
        same=len(shared) - len(apart),
        first=apart[0] if apart else None,
        largest=max((abs(was - is_) for _, was, is_ in apart), default=0.0),
        then=sum(then[step] for step in shared) / count,
        now=sum(now[step] for step in shared) / count,
        missing=len(then.keys() ^ now.keys()),
    )


def rows_sha256(folder: Path) -> str:
    """The content hash of prepared rows, as a run computes it."""
    digest = hashlib.sha256()
    for name in ROWS[:-1]:
        for line in (folder / name).read_text("utf-8").splitlines() if (folder / name).is_file() else ():
            row = json.loads(line)
            digest.update(json_line(row, sort_keys=True, default=str))
    return digest.hexdigest()


def _short_digest(digest: str | None) -> str:
    return digest[:12] if digest else "not there"
