"""Selects the secrets that a job needs; its worker gets no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from core.child import HUB_TOKEN, JUDGE_KEY
from core.errors import TunesmithError
from core.job_dir import JobDir, read_json
from core.settings import Home

_HERE = ("builtin:", "upload:", "generated:", "/", "./", "../", "~")
_OF_OTHERS = frozenset({"", "mix"})


def needed(config: Mapping[str, Any], home: Home) -> frozenset[str]:
    """The environment variables that a job with this configuration needs.

    Args:
        config: Its ``config.json``, for any kind of job.
        home: For an export's run.
    """
    hub = bool(of_hub(config, home))
    judge = any(part.get("name") == "judge" for part in _parts(_flat(config)))
    return frozenset({HUB_TOKEN} if hub else ()) | frozenset({JUDGE_KEY} if judge else ())


def of_hub(config: Mapping[str, Any], home: Home) -> frozenset[str]:
    """The Hugging Face models and datasets that a job with this configuration may load. Same arguments."""
    names = _names(_flat(config), home)
    return frozenset(name for name in names if name not in _OF_OTHERS and not name.startswith(_HERE))


def _flat(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``config.json`` of a run or a probe has the sections below ``config``; those of other jobs have none."""
    return {**config, **_section(config, "config")}


def _names(config: Mapping[str, Any], home: Home) -> Iterator[str]:
    """The models and datasets that a job may load."""
    yield str(_section(config, "model").get("name") or "")
    yield str(config.get("base") or "")
    dataset = _section(config, "dataset")
    for source in (dataset, *_list(dataset, "mix")):
        yield str(source.get("source") or "")
    for model in _list(config, "models"):
        yield str(_section(model, "resolved").get("base") or "")
    for part in _parts(config):
        if part.get("name") != "judge":
            yield str(_section(part, "params").get("model") or "")
    if config.get("session_id") and not config.get("models"):
        with suppress(TunesmithError):  # the run is gone: its export reports that
            run = read_json(JobDir.open(home.outputs, str(config["session_id"])).config)
            yield str(_section(_flat(run or {}), "model").get("name") or "")


def _parts(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _list(_section(config, "reward"), "components")


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _list(config: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [item for item in config.get(name) or () if isinstance(item, dict)]
